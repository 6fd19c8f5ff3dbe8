//! The connection's side of permessage-deflate: what is compressed, and where inflated octets go.

use super::Connection;
use crate::engine::assembler::MessageBuffer;
use crate::engine::deflate::{Deflate, DeflateConfig, DeflatePool, Savings};
use crate::engine::error::ProtocolError;
use crate::engine::event::{Event, Payload};
use crate::engine::frame::{self, RSV1};
use crate::engine::mask::MaskKey;
use bytes::BufMut;
use std::rc::Rc;

impl<B: MessageBuffer> Connection<B> {
    /// Has messages compressed from now on, and takes compressed ones, as the handshake has agreed on. Says `false`, and
    /// does nothing, if a message has gone either way already.
    pub fn enable_deflate(&mut self, config: DeflateConfig, pool: &Rc<DeflatePool>) -> bool {
        let is_unused = self.received.messages() + self.sent.messages() == 0;
        if is_unused {
            self.deflate = Some(Box::new(Deflate::new(config, Rc::clone(pool))));
        }
        is_unused
    }

    /// Whether [`Self::send`] would try to compress such a frame, for which [`Self::send_header`] is not to be used.
    pub fn compresses(&self, opcode: u8, payload_len: usize) -> bool {
        self.deflate.as_ref().is_some_and(|deflate| deflate.is_for(opcode, payload_len))
    }

    /// Whether memory is kept for a window of what was sent, of which [`Self::forget_idle_window`] frees it.
    pub fn has_window(&self) -> bool {
        self.deflate.as_ref().is_some_and(|deflate| deflate.has_window())
    }

    /// Drops the window of what was sent, if nothing was since the last call; says whether there still is one. The
    /// messages that follow are compressed no worse than the first ones.
    pub fn forget_idle_window(&mut self) -> bool {
        self.deflate.as_mut().is_some_and(|deflate| deflate.forget_idle_window())
    }

    /// How much compression has saved: of what was received, and of what was sent; `None` without it.
    pub fn compression(&self) -> Option<[Savings; 2]> {
        self.deflate.as_ref().map(|deflate| deflate.savings())
    }

    /// With what [`Self::send`] would compress such a frame, if messages are compressed each by itself: the frame that
    /// [`Self::encode_compressed`] makes on one connection will do on all that have the same here, and do not mask.
    pub fn shared_compression(&self, opcode: u8, payload_len: usize) -> Option<DeflateConfig> {
        self.deflate.as_ref().filter(|deflate| deflate.is_for(opcode, payload_len))?.alone()
    }

    /// Appends such a frame without sending it; returns by how many bytes it is shorter than uncompressed.
    pub fn encode_compressed(&mut self, opcode: u8, payload: &[u8], out: &mut impl BufMut) -> usize {
        self.compressing(opcode, payload.len()).map_or(0, |deflate| encode_frame(deflate, opcode, payload, None, out))
    }

    /// A payload that was admitted went out shorter by so many bytes.
    pub fn note_saved(&mut self, payload_len: usize, saved: usize) {
        self.sent.bytes -= saved as u64;
        if let Some(deflate) = &mut self.deflate {
            deflate.count_sent(payload_len, saved);
        }
    }

    /// The reserved bits that mean something.
    pub(super) fn negotiated_bits(&self) -> u8 {
        if self.deflate.is_some() { RSV1 } else { 0 }
    }

    /// What compresses such a frame, if it is to be compressed.
    pub(super) fn compressing(&mut self, opcode: u8, payload_len: usize) -> Option<&mut Deflate> {
        self.deflate.as_deref_mut().filter(|deflate| deflate.is_for(opcode, payload_len))
    }

    /// Whether the message that is being received is compressed.
    pub(super) fn is_inflating(&self) -> bool {
        self.deflate.as_ref().is_some_and(|deflate| deflate.is_inflating())
    }

    /// Takes unmasked payload of a compressed message.
    #[cold]
    pub(super) fn inflate<'a>(
        &mut self,
        octets: &[u8],
        ends_message: bool,
    ) -> Result<Option<Event<'a, B>>, ProtocolError> {
        let Self { deflate, message, config, .. } = self;
        if let Some(deflate) = deflate {
            let (limit, is_streamed) = (config.max_payload_size, message.is_streamed());
            deflate.inflate(octets, ends_message, limit, is_streamed, |piece| message.append_inflated(piece))?;
        }
        if self.message.is_streamed() {
            let (opcode, mut buffer) = self.message.take_chunk(ends_message)?;
            let is_something = ends_message || !buffer.as_mut_slice().is_empty();
            let chunk = Event::Chunk { opcode, payload: Payload::Owned(buffer), is_final: ends_message };
            return Ok(is_something.then_some(chunk));
        }
        if ends_message { self.finish_message() } else { Ok(None) }
    }
}

/// Appends a whole frame, compressed if that makes it smaller; returns by how many bytes that is.
#[cold]
pub(super) fn encode_frame(
    deflate: &mut Deflate,
    opcode: u8,
    payload: &[u8],
    mask: Option<MaskKey>,
    out: &mut impl BufMut,
) -> usize {
    let mut saved = 0;
    deflate.compress(payload, |compressed| match compressed {
        Some(compressed) => {
            saved = payload.len() - compressed.len();
            frame::encode_frame(opcode | RSV1, compressed, mask, out);
        }
        None => frame::encode_frame(opcode, payload, mask, out),
    });
    saved
}
