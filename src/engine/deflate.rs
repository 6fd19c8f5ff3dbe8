//! Compressed messages: permessage-deflate (RFC 7692).
//!
//! A message is compressed as a whole, and marked by the bit RSV1 of its first frame. With context takeover a message may
//! refer to those before it, so each end keeps a window of what it sent and received; the window for sending may be
//! dropped at any time, since the peer does not notice.

use super::error::ProtocolError;
use super::opcode::Opcode;
use std::cell::RefCell;
use std::fmt;
use std::rc::Rc;
use zlib_rs::{DeflateFlush, Inflate, InflateFlush, Status};

/// What a sync flush ends with: cut off after compressing (7.2.1), added before inflating (7.2.2).
const TAIL: [u8; 4] = [0x00, 0x00, 0xff, 0xff];
/// The largest window of a deflate stream, as the base-2 logarithm.
const MAX_WINDOW_BITS: u8 = 15;
/// The smallest window that zlib compresses with; what was made for less is inflated with this one.
const MIN_WINDOW_BITS: u8 = 9;
/// How much is inflated at a time, bytes.
const PIECE: usize = 16 * 1024;
/// A scratch buffer keeps at most this much memory between messages, bytes.
const KEEP_SCRATCH: usize = 64 * 1024;
/// At most so many unused compressors, and so many inflaters, wait for the next message that needs one.
const MAX_SPARES: usize = 4;
/// Longer payloads, bytes, go out as they are: zlib counts in 32 bits.
const MAX_COMPRESSED: usize = 1 << 30;

/// What the handshake has agreed on, and how this end compresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeflateConfig {
    /// The base-2 logarithm of the window for sending, 8 to 15. zlib cannot do 8: then nothing is compressed.
    pub window_bits: u8,
    /// Each message that is sent is compressed by itself.
    pub no_context_takeover: bool,
    /// The base-2 logarithm of the peer's window, 8 to 15.
    pub peer_window_bits: u8,
    /// Each message that is received was compressed by itself.
    pub peer_no_context_takeover: bool,
    /// zlib's level, 1 to 9: from fast to small.
    pub level: u8,
    /// zlib's memory level, 1 to 9.
    pub mem_level: u8,
    /// Shorter payloads, bytes, are sent as they are.
    pub threshold: usize,
}

/// Compressors and inflaters that no connection holds on to, for all connections that are given this pool.
#[derive(Default)]
pub struct DeflatePool(RefCell<Spares>);

#[derive(Default)]
struct Spares {
    compressors: Vec<Compressor>,
    inflaters: Vec<Inflate>,
    scratch: Vec<u8>,
}

impl fmt::Debug for DeflatePool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeflatePool").finish_non_exhaustive()
    }
}

impl DeflatePool {
    fn compressor(&self, config: &DeflateConfig) -> Compressor {
        let key = Compressor::key(config);
        let mut spares = self.0.borrow_mut();
        match spares.compressors.iter().position(|spare| spare.key == key) {
            Some(index) => {
                let mut compressor = spares.compressors.swap_remove(index);
                compressor.zlib.reset();
                compressor
            }
            None => Compressor::new(key),
        }
    }

    fn keep_compressor(&self, compressor: Compressor) {
        let mut spares = self.0.borrow_mut();
        spares.compressors.truncate(MAX_SPARES - 1);
        spares.compressors.push(compressor);
    }

    /// An inflater without a window.
    fn inflater(&self) -> Inflate {
        let Some(mut inflater) = self.0.borrow_mut().inflaters.pop() else {
            return Inflate::new(false, MAX_WINDOW_BITS);
        };
        inflater.reset(false);
        inflater
    }

    fn keep_inflater(&self, inflater: Inflate) {
        let mut spares = self.0.borrow_mut();
        spares.inflaters.truncate(MAX_SPARES - 1);
        spares.inflaters.push(inflater);
    }

    /// Memory to work in, zeroed or used before.
    fn scratch(&self) -> Vec<u8> {
        std::mem::take(&mut self.0.borrow_mut().scratch)
    }

    fn keep_scratch(&self, mut scratch: Vec<u8>) {
        if scratch.len() > KEEP_SCRATCH {
            scratch.truncate(KEEP_SCRATCH);
            scratch.shrink_to_fit();
        }
        self.0.borrow_mut().scratch = scratch;
    }
}

/// What a compressor is made from: level, memory level, window bits.
type Key = (u8, u8, u8);

struct Compressor {
    key: Key,
    zlib: zlib_rs::Deflate,
}

impl Compressor {
    fn key(config: &DeflateConfig) -> Key {
        (config.level, config.mem_level, config.window_bits)
    }

    fn new(key: Key) -> Self {
        let (level, mem_level, window_bits) = key;
        let config = zlib_rs::DeflateConfig {
            level: level.into(),
            // Negative: without a header or a checksum.
            window_bits: -i32::from(window_bits),
            mem_level: mem_level.into(),
            ..zlib_rs::DeflateConfig::default()
        };
        Self { key, zlib: zlib_rs::Deflate::new_with_config(config) }
    }

    /// Compresses `payload` to the start of `out`, and says to how many bytes; `None` if that is no less than it was.
    fn compress(&mut self, payload: &[u8], out: &mut Vec<u8>) -> Option<usize> {
        let limit = payload.len() + TAIL.len();
        let (start_in, start_out) = (self.zlib.total_in(), self.zlib.total_out());
        loop {
            let read = (self.zlib.total_in() - start_in) as usize;
            let written = (self.zlib.total_out() - start_out) as usize;
            if written == out.len().min(limit) {
                if written == limit {
                    return None;
                }
                out.resize((out.len() * 2).clamp(PIECE, limit.max(PIECE)), 0);
            }
            let room = out.len().min(limit);
            self.zlib.compress(&payload[read..], &mut out[written..room], DeflateFlush::SyncFlush).ok()?;
            let written = (self.zlib.total_out() - start_out) as usize;
            if written < room {
                return Some(written - TAIL.len());
            }
        }
    }
}

/// The message that is being received, if it is compressed.
#[derive(Debug)]
struct Incoming {
    frames: u64,
    /// So far, bytes.
    inflated: u64,
    /// Before the frame that is being received.
    inflated_before: u64,
    is_empty: bool,
}

/// One connection's part in the extension.
pub(super) struct Deflate {
    config: DeflateConfig,
    pool: Rc<DeflatePool>,
    /// Present as long as there is a window.
    compressor: Option<Compressor>,
    /// The compressor has not been used since [`Self::forget_idle_window`] was called.
    is_idle: bool,
    inflater: Option<Inflate>,
    incoming: Option<Incoming>,
    received: Savings,
    sent: Savings,
}

/// How much compression has saved in one direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Savings {
    /// Bytes of messages that compression was tried on.
    pub plain: u64,
    /// Bytes of payload that they took on the wire.
    pub wire: u64,
}

impl Savings {
    fn count(&mut self, plain: u64, wire: usize) {
        self.plain += plain;
        self.wire += wire as u64;
    }
}

impl fmt::Debug for Deflate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Deflate")
            .field("config", &self.config)
            .field("incoming", &self.incoming)
            .finish_non_exhaustive()
    }
}

impl Deflate {
    pub(super) fn new(config: DeflateConfig, pool: Rc<DeflatePool>) -> Self {
        Self {
            config,
            pool,
            compressor: None,
            is_idle: false,
            inflater: None,
            incoming: None,
            received: Savings::default(),
            sent: Savings::default(),
        }
    }

    /// With what messages are compressed, each by itself; `None` if they are not.
    pub(super) fn alone(&self) -> Option<DeflateConfig> {
        self.config.no_context_takeover.then_some(self.config)
    }

    /// A payload was sent that compression has made shorter by so many bytes.
    pub(super) fn count_sent(&mut self, payload_len: usize, saved: usize) {
        self.sent.count(payload_len as u64, payload_len - saved);
    }

    /// Of what was received, and of what was sent.
    pub(super) fn savings(&self) -> [Savings; 2] {
        [self.received, self.sent]
    }

    /// Whether a payload is worth a try. Nothing but messages is compressed (6.1).
    pub(super) fn is_for(&self, opcode: u8, payload_len: usize) -> bool {
        let is_message = opcode == Opcode::Text as u8 || opcode == Opcode::Binary as u8;
        let can_compress = self.config.window_bits >= MIN_WINDOW_BITS && payload_len <= MAX_COMPRESSED;
        is_message && can_compress && payload_len >= self.config.threshold.max(1)
    }

    /// Hands a payload to `send`, compressed if that makes it smaller.
    pub(super) fn compress(&mut self, payload: &[u8], send: impl FnOnce(Option<&[u8]>)) {
        let mut compressor = self.compressor.take().unwrap_or_else(|| self.pool.compressor(&self.config));
        let mut scratch = self.pool.scratch();
        let len = compressor.compress(payload, &mut scratch);
        send(len.map(|len| &scratch[..len]));
        self.pool.keep_scratch(scratch);
        self.is_idle = false;
        match (len, self.config.no_context_takeover) {
            // What the peer does not get compressed is not in its window, and so must not stay in ours. Nor is this one
            // kept for another message: zlib-rs 0.6 loses its place when a compressor with output left in it is reset.
            (None, _) => {}
            (Some(_), true) => self.pool.keep_compressor(compressor),
            (Some(_), false) => self.compressor = Some(compressor),
        }
    }

    /// Whether there is a window of what was sent.
    pub(super) fn has_window(&self) -> bool {
        self.compressor.is_some()
    }

    /// Drops the window of what was sent, if nothing was since the last call; says whether there still is one.
    pub(super) fn forget_idle_window(&mut self) -> bool {
        if self.is_idle {
            self.compressor = None;
        }
        self.is_idle = true;
        self.has_window()
    }

    /// A data frame begins.
    pub(super) fn begin_frame(&mut self, opcode: Opcode, is_compressed: bool) {
        match &mut self.incoming {
            Some(incoming) if opcode == Opcode::Continuation => {
                incoming.frames += 1;
                incoming.inflated_before = incoming.inflated;
            }
            incoming => {
                let new = Incoming { frames: 1, inflated: 0, inflated_before: 0, is_empty: true };
                *incoming = is_compressed.then_some(new);
            }
        }
    }

    /// Whether the message that is being received is compressed.
    pub(super) fn is_inflating(&self) -> bool {
        self.incoming.is_some()
    }

    /// Inflates the next octets of a message, and hands them to `take` piece by piece. A message may have as much as
    /// its frames could have brought uncompressed: `max_payload_size` for each of them. One that is handed on in parts
    /// may have that in each frame, however little the frames before it had.
    pub(super) fn inflate(
        &mut self,
        octets: &[u8],
        ends_message: bool,
        max_payload_size: Option<u64>,
        is_streamed: bool,
        take: impl FnMut(&[u8]) -> Result<(), ProtocolError>,
    ) -> Result<(), ProtocolError> {
        let Some(mut incoming) = self.incoming.take() else { return Ok(()) };
        let inflater = self.inflater.take().unwrap_or_else(|| self.new_inflater());
        let inflated_before = incoming.inflated;
        let limit = max_payload_size.map(|size| match is_streamed {
            true => incoming.inflated_before.saturating_add(size),
            false => size.saturating_mul(incoming.frames),
        });
        let mut inflating = Inflating { inflater, scratch: self.pool.scratch(), limit, incoming: &mut incoming, take };
        let result = inflating.message_part(octets, ends_message);
        let Inflating { inflater, scratch, .. } = inflating;
        self.pool.keep_scratch(scratch);
        self.received.count(incoming.inflated - inflated_before, octets.len());
        if !ends_message {
            self.incoming = Some(incoming);
        }
        if ends_message && self.config.peer_no_context_takeover {
            self.pool.keep_inflater(inflater);
        } else {
            self.inflater = Some(inflater);
        }
        result
    }

    fn new_inflater(&self) -> Inflate {
        match self.config.peer_no_context_takeover {
            true => self.pool.inflater(),
            false => Inflate::new(false, self.config.peer_window_bits.clamp(MIN_WINDOW_BITS, MAX_WINDOW_BITS)),
        }
    }
}

/// What it takes to inflate a part of a message.
struct Inflating<'a, F> {
    inflater: Inflate,
    scratch: Vec<u8>,
    limit: Option<u64>,
    incoming: &'a mut Incoming,
    take: F,
}

impl<F: FnMut(&[u8]) -> Result<(), ProtocolError>> Inflating<'_, F> {
    fn message_part(&mut self, octets: &[u8], ends_message: bool) -> Result<(), ProtocolError> {
        if self.scratch.len() < PIECE {
            self.scratch.resize(PIECE, 0);
        }
        self.incoming.is_empty &= octets.is_empty();
        self.octets(octets)?;
        // Without any octets there is no block for the tail to end.
        if ends_message && !self.incoming.is_empty { self.octets(&TAIL) } else { Ok(()) }
    }

    fn octets(&mut self, octets: &[u8]) -> Result<(), ProtocolError> {
        let mut rest = octets;
        let mut is_drained = true;
        while !(rest.is_empty() && is_drained) {
            let read;
            (read, is_drained) = self.step(rest)?;
            rest = &rest[read..];
        }
        Ok(())
    }

    /// Inflates as much as there is room for; returns how much was read, and whether nothing is left to be written.
    fn step(&mut self, octets: &[u8]) -> Result<(usize, bool), ProtocolError> {
        let (start_in, start_out) = (self.inflater.total_in(), self.inflater.total_out());
        let status = self.inflater.decompress(octets, &mut self.scratch[..PIECE], InflateFlush::SyncFlush);
        let status = status.map_err(|_| ProtocolError::CorruptDeflate)?;
        let read = (self.inflater.total_in() - start_in) as usize;
        let written = (self.inflater.total_out() - start_out) as usize;
        self.hand_on(written)?;
        // A block with BFINAL ends a stream, but not the message (7.2.3.4): what follows has a window of its own.
        if status == Status::StreamEnd {
            self.inflater.reset(false);
        } else if read == 0 && written == 0 && !octets.is_empty() {
            return Err(ProtocolError::CorruptDeflate);
        }
        Ok((read, written < PIECE))
    }

    fn hand_on(&mut self, written: usize) -> Result<(), ProtocolError> {
        let inflated_before = self.incoming.inflated;
        self.incoming.inflated += written as u64;
        let Some(limit) = self.limit.filter(|&limit| self.incoming.inflated > limit) else {
            return (self.take)(&self.scratch[..written]);
        };
        // What is within the limit is looked at first, as it is if the octets come one by one.
        (self.take)(&self.scratch[..(limit - inflated_before) as usize])?;
        Err(ProtocolError::InflatedTooBig { limit })
    }
}
