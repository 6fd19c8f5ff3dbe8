//! The connection's side of pings and pongs.

use super::Connection;
use crate::engine::Nanos;
use crate::engine::assembler::MessageBuffer;
use crate::engine::control::Controls;
use crate::engine::error::{ProtocolError, UsageError};
use crate::engine::event::ControlPayload;
use crate::engine::mask::MaskKey;
use crate::engine::opcode::Opcode;
use bytes::BufMut;

impl<B: MessageBuffer> Connection<B> {
    /// Counts a ping or pong that was received. The clock is read only if
    /// there is a limit.
    ///
    /// # Errors
    /// The peer exceeded the limit; answer this violation with [`Self::fail`].
    pub fn count_control(&mut self, now: impl FnOnce() -> Nanos) -> Result<(), ProtocolError> {
        let result = self.controls.count(now);
        if result.is_err() {
            self.state = self.state.violated();
        }
        result
    }

    /// Returns `true` if the pong for a ping has to wait because the peer has yet to read `backlog` bytes: pass the
    /// ping to [`Self::owe_pong`].
    pub fn defers_pong(&self, backlog: usize) -> bool {
        Controls::is_too_far_behind(backlog) && self.can_send(Opcode::Pong as u8)
    }

    /// Remembers that a pong is owed for this ping, and no longer for earlier ones. Returns `true` if none was owed:
    /// the caller must then call [`Self::take_owed_pong`] when the peer has read something.
    pub fn owe_pong(&mut self, ping: Box<ControlPayload>) -> bool {
        self.controls.owe_pong(ping)
    }

    /// Returns `true` if a pong is owed.
    pub fn owes_pong(&self) -> bool {
        self.controls.owes_pong()
    }

    /// Takes the payload of the pong that is owed, so that it can be sent.
    pub fn take_owed_pong(&mut self) -> Option<Box<ControlPayload>> {
        self.controls.take_owed_pong()
    }

    /// Appends the pong that is owed, if any; it must precede the next frame.
    ///
    /// # Errors
    /// Those of [`Self::send`].
    pub fn send_owed_pong(&mut self, mask: Option<MaskKey>, out: &mut impl BufMut) -> Result<(), UsageError> {
        if let Some(payload) = self.take_owed_pong() {
            self.send(Opcode::Pong as u8, payload.as_slice(), mask, out)?;
        }
        Ok(())
    }
}
