//! The connection's side of sending: which frames may be sent in which state, and how they change it.

use super::{Connection, compression};
use crate::engine::assembler::MessageBuffer;
use crate::engine::close_code::CloseCode;
use crate::engine::error::{ProtocolError, UsageError};
use crate::engine::event::ControlPayload;
use crate::engine::frame::{MAX_CONTROL_PAYLOAD, encode_fragment, encode_frame, encode_header};
use crate::engine::mask::MaskKey;
use crate::engine::opcode::Opcode;
use crate::engine::utf8::char_prefix;
use bytes::BufMut;

const MAX_OPCODE: u8 = 15;
const CONTROL_BIT: u8 = 8;

impl<B: MessageBuffer> Connection<B> {
    /// Appends a frame to `out` if the connection may still send it. Returns `true` if it did. A Close frame sent this
    /// way begins or completes the closing handshake. Pass a `mask` if, and only if, [`Self::is_masked`]. The frame
    /// takes at most [`MAX_HEADER_LEN`](crate::engine::MAX_HEADER_LEN) bytes more than the payload, because compression
    /// that does not make it smaller is skipped.
    ///
    /// # Errors
    /// [`UsageError`] if no such frame may exist; nothing is appended.
    #[inline]
    pub fn send(
        &mut self,
        opcode: u8,
        payload: &[u8],
        mask: Option<MaskKey>,
        out: &mut impl BufMut,
    ) -> Result<bool, UsageError> {
        let may_send = self.begin_send(opcode, payload)?;
        if may_send {
            match self.compressing(opcode, payload.len()) {
                Some(deflate) => {
                    let saved = compression::encode_frame(deflate, opcode, payload, mask, out);
                    self.note_saved(payload.len(), saved);
                }
                None => encode_frame(opcode, payload, mask, out),
            }
        }
        Ok(may_send)
    }

    /// Appends the header alone of an unmasked frame that [`Self::send`] would append; the caller sends the payload
    /// after it. Returns `true` if it did.
    ///
    /// # Errors
    /// Those of [`Self::send`].
    pub fn send_header(&mut self, opcode: u8, payload: &[u8], out: &mut impl BufMut) -> Result<bool, UsageError> {
        let may_send = self.begin_send(opcode, payload)?;
        if may_send {
            encode_header(opcode, payload.len() as u64, None, out);
        }
        Ok(may_send)
    }

    /// Records a frame as sent, if it may be sent, without encoding it: the caller already has its bytes. Returns
    /// `true` if it may.
    ///
    /// # Errors
    /// Those of [`Self::send`].
    pub fn begin_send(&mut self, opcode: u8, payload: &[u8]) -> Result<bool, UsageError> {
        if opcode > MAX_OPCODE {
            return Err(UsageError::OpcodeOutOfRange);
        }
        if opcode & CONTROL_BIT != 0 && payload.len() > MAX_CONTROL_PAYLOAD {
            return Err(UsageError::OversizedControl(payload.len()));
        }
        if self.fragmented.is_some() && opcode & CONTROL_BIT == 0 {
            return Err(UsageError::MessageInProgress);
        }
        let may_send = self.can_send(opcode);
        if may_send {
            self.note_sent(opcode, true, payload);
        }
        Ok(may_send)
    }

    /// Appends the next frame of a fragmented message, uncompressed; with `is_final`, the last one. `opcode` is that of
    /// the message, in each call. Returns `false`, and appends nothing, if the connection no longer sends.
    ///
    /// # Errors
    /// [`UsageError::MessageInProgress`] if the message being sent has another opcode.
    pub fn send_fragment(
        &mut self,
        opcode: Opcode,
        is_final: bool,
        payload: &[u8],
        mask: Option<MaskKey>,
        out: &mut impl BufMut,
    ) -> Result<bool, UsageError> {
        if self.fragmented.is_some_and(|begun| begun != opcode) {
            return Err(UsageError::MessageInProgress);
        }
        if !self.state.can_send() {
            return Ok(false);
        }
        let code = if self.fragmented.is_some() { Opcode::Continuation } else { opcode } as u8;
        self.fragmented = if is_final { None } else { Some(opcode) };
        self.note_sent(code, is_final, payload);
        encode_fragment(code, is_final, payload, mask, out);
        Ok(true)
    }

    #[inline]
    fn note_sent(&mut self, opcode: u8, fin: bool, payload: &[u8]) {
        let len = payload.len() as u64;
        self.sent.count_frame(opcode, len);
        if let Some(trace) = &mut self.trace {
            trace.note("sent", fin, opcode, len, payload);
        }
        if opcode == Opcode::Close as u8 {
            self.state = self.state.sent_close();
        }
    }

    /// Begins the closing handshake, or answers the peer's Close: appends a Close frame to `out` unless one was sent
    /// before. Returns `true` if it did. Without a code the body is empty. A reason that does not fit is cut at a
    /// character boundary.
    pub fn close(
        &mut self,
        code: Option<CloseCode>,
        reason: &str,
        mask: Option<MaskKey>,
        out: &mut impl BufMut,
    ) -> bool {
        if !self.can_send(Opcode::Close as u8) {
            return false;
        }
        let mut body = ControlPayload::default();
        if let Some(code) = code {
            body.append(&code.value().to_be_bytes());
            body.append(char_prefix(reason, MAX_CONTROL_PAYLOAD - 2).as_bytes());
        }
        encode_frame(Opcode::Close as u8, body.as_slice(), mask, out);
        self.note_sent(Opcode::Close as u8, true, body.as_slice());
        true
    }

    /// Answers a violation by appending a Close frame to `out`, unless one was sent before. Returns `true` if it did.
    pub fn fail(&mut self, error: ProtocolError, mask: Option<MaskKey>, out: &mut impl BufMut) -> bool {
        self.close(Some(error.close_code()), "", mask, out)
    }
}
