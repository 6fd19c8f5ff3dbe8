//! The connection's side of permessage-deflate: which messages are compressed, and where inflated payload goes.

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
    /// Compresses messages from now on and accepts compressed ones, as negotiated in the handshake. Returns `false`,
    /// and does nothing, if a message was already sent or received.
    pub fn enable_deflate(&mut self, config: DeflateConfig, pool: &Rc<DeflatePool>) -> bool {
        let is_unused = self.received.messages() + self.sent.messages() == 0;
        if is_unused {
            self.deflate = Some(Box::new(Deflate::new(config, Rc::clone(pool))));
        }
        is_unused
    }

    /// Returns `true` if [`Self::send`] would try to compress such a frame; then [`Self::send_header`] must not be used
    /// for it.
    pub fn compresses(&self, opcode: u8, payload_len: usize) -> bool {
        self.deflate.as_ref().is_some_and(|deflate| deflate.should_compress(opcode, payload_len))
    }

    /// Returns `true` if memory is held for the compression window of sent messages; [`Self::forget_idle_window`] frees
    /// it.
    pub fn has_window(&self) -> bool {
        self.deflate.as_ref().is_some_and(|deflate| deflate.has_window())
    }

    /// Frees the compression window of sent messages if nothing was compressed since the last call. Returns `true` if
    /// there still is one. The next messages then compress like the first ones of the connection.
    pub fn forget_idle_window(&mut self) -> bool {
        self.deflate.as_mut().is_some_and(|deflate| deflate.forget_idle_window())
    }

    /// Returns what compression has saved of the received and of the sent messages, in this order; `None` without
    /// compression.
    pub fn compression(&self) -> Option<[Savings; 2]> {
        self.deflate.as_ref().map(|deflate| deflate.savings())
    }

    /// Returns the configuration with which [`Self::send`] would compress such a frame, if each message is compressed
    /// on its own. A frame that [`Self::encode_compressed`] makes on one connection is valid on all unmasked
    /// connections that return the same value here.
    pub fn shared_compression(&self, opcode: u8, payload_len: usize) -> Option<DeflateConfig> {
        self.deflate.as_ref().filter(|deflate| deflate.should_compress(opcode, payload_len))?.shared_config()
    }

    /// Appends such a compressed frame without sending it. Returns by how many bytes it is shorter than the
    /// uncompressed one.
    pub fn encode_compressed(&mut self, opcode: u8, payload: &[u8], out: &mut impl BufMut) -> usize {
        self.compressing(opcode, payload.len()).map_or(0, |deflate| encode_frame(deflate, opcode, payload, None, out))
    }

    /// Corrects the counts after [`Self::begin_send`]: the payload was sent `saved` bytes shorter.
    pub fn note_saved(&mut self, payload_len: usize, saved: usize) {
        self.sent.bytes -= saved as u64;
        if let Some(deflate) = &mut self.deflate {
            deflate.count_sent(payload_len, saved);
        }
    }

    /// Returns the reserved header bits to which the handshake has given a meaning.
    pub(super) fn negotiated_bits(&self) -> u8 {
        if self.deflate.is_some() { RSV1 } else { 0 }
    }

    /// Returns the compressor for such a frame, if it is to be compressed.
    pub(super) fn compressing(&mut self, opcode: u8, payload_len: usize) -> Option<&mut Deflate> {
        self.deflate.as_deref_mut().filter(|deflate| deflate.should_compress(opcode, payload_len))
    }

    /// Returns `true` if the message being received is compressed.
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

/// Appends a whole frame, compressed if that makes it smaller. Returns the number of bytes saved.
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
