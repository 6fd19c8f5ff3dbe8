//! Compressed messages: permessage-deflate (RFC 7692).
//!
//! A message is compressed as a whole, and the RSV1 bit of its first frame marks it. With context takeover a message
//! may refer to earlier ones, so each end keeps a window of what it sent and of what it received. The window for
//! sending may be dropped at any time: the peer does not notice.

use super::error::ProtocolError;
use super::opcode::Opcode;
use std::cell::RefCell;
use std::fmt;
use std::rc::Rc;
use zlib_rs::{DeflateFlush, Inflate, InflateFlush, Status};

/// The end of a sync flush: removed after compressing (7.2.1), and appended before inflating (7.2.2).
const TAIL: [u8; 4] = [0x00, 0x00, 0xff, 0xff];
/// Base-2 logarithm of the largest window of a deflate stream.
pub(super) const MAX_WINDOW_BITS: u8 = 15;
/// Base-2 logarithm of the smallest window that zlib compresses with. Streams made with a smaller one are inflated with
/// this one.
pub(super) const MIN_WINDOW_BITS: u8 = 9;
/// Number of bytes inflated at a time.
const PIECE: usize = 16 * 1024;
/// Maximum size, in bytes, of the scratch buffer that is kept between messages.
const KEEP_SCRATCH: usize = 64 * 1024;
/// Maximum number of unused compressors, and of unused inflaters, that are kept.
const MAX_SPARES: usize = 4;
/// Maximum length, in bytes, of a payload that is compressed: zlib counts in 32 bits.
const MAX_COMPRESSED: usize = 1 << 30;

/// The parameters negotiated in the handshake, and how this end compresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeflateConfig {
    /// Base-2 logarithm of the window for sending, 8 to 15. zlib cannot compress with 8; nothing is compressed then.
    pub window_bits: u8,
    /// Each message sent is compressed on its own.
    pub no_context_takeover: bool,
    /// Base-2 logarithm of the peer's window, 8 to 15.
    pub peer_window_bits: u8,
    /// Each message received was compressed on its own.
    pub peer_no_context_takeover: bool,
    /// zlib's compression level, from 1 (fast) to 9 (small).
    pub level: u8,
    /// zlib's memory level, 1 to 9.
    pub mem_level: u8,
    /// Minimum length, in bytes, of a payload that is compressed.
    pub threshold: usize,
}

/// Compressors and inflaters that no connection uses, shared by all connections that are given this pool.
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

    /// Returns an inflater with an empty window.
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

    /// Returns memory to work in; it is initialised, with any contents.
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

/// The parameters of a compressor: level, memory level, window bits.
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
            // Negative means a raw stream, without a header or a checksum.
            window_bits: -i32::from(window_bits),
            mem_level: mem_level.into(),
            ..zlib_rs::DeflateConfig::default()
        };
        Self { key, zlib: zlib_rs::Deflate::new_with_config(config) }
    }

    /// Compresses `payload` to the start of `out` and returns the compressed length, in bytes; `None` if that would not
    /// be less than the payload's.
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

/// The compressed message being received.
#[derive(Debug)]
struct Incoming {
    frames: u64,
    /// Number of bytes inflated so far.
    inflated: u64,
    /// Number of bytes inflated before the current frame.
    inflated_before: u64,
    is_empty: bool,
}

/// The extension's state in one connection.
pub(super) struct Deflate {
    config: DeflateConfig,
    pool: Rc<DeflatePool>,
    /// Present while there is a window of sent messages.
    compressor: Option<Compressor>,
    /// Nothing was compressed since [`Self::forget_idle_window`] was last called.
    is_idle: bool,
    inflater: Option<Inflate>,
    incoming: Option<Incoming>,
    received: Savings,
    sent: Savings,
}

/// The savings by compression in one direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Savings {
    /// Bytes of the messages that compression was tried on, before compression.
    pub plain: u64,
    /// Bytes of their payloads on the wire.
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

    /// Returns the configuration with which messages are compressed if each is compressed on its own.
    pub(super) fn shared_config(&self) -> Option<DeflateConfig> {
        self.config.no_context_takeover.then_some(self.config)
    }

    /// Counts a sent payload that compression has made `saved` bytes shorter.
    pub(super) fn count_sent(&mut self, payload_len: usize, saved: usize) {
        self.sent.count(payload_len as u64, payload_len - saved);
    }

    /// Returns the savings of what was received and of what was sent, in this order.
    pub(super) fn savings(&self) -> [Savings; 2] {
        [self.received, self.sent]
    }

    /// Returns `true` if such a frame is to be compressed: only messages may be (6.1), and they must be long enough.
    pub(super) fn should_compress(&self, opcode: u8, payload_len: usize) -> bool {
        let is_message = opcode == Opcode::Text as u8 || opcode == Opcode::Binary as u8;
        let can_compress = self.config.window_bits >= MIN_WINDOW_BITS && payload_len <= MAX_COMPRESSED;
        is_message && can_compress && payload_len >= self.config.threshold.max(1)
    }

    /// Passes a compressed payload to `send`, or `None` if compression does not make it smaller.
    pub(super) fn compress(&mut self, payload: &[u8], send: impl FnOnce(Option<&[u8]>)) {
        let mut compressor = self.compressor.take().unwrap_or_else(|| self.pool.compressor(&self.config));
        let mut scratch = self.pool.scratch();
        let len = compressor.compress(payload, &mut scratch);
        send(len.map(|len| &scratch[..len]));
        self.pool.keep_scratch(scratch);
        self.is_idle = false;
        match (len, self.config.no_context_takeover) {
            // The peer does not see what was not sent compressed, so it must not stay in our window. Nor can this
            // compressor be reused: zlib-rs 0.6 loses its place when a compressor that still has output is reset.
            (None, _) => {}
            (Some(_), true) => self.pool.keep_compressor(compressor),
            (Some(_), false) => self.compressor = Some(compressor),
        }
    }

    /// Returns `true` if there is a window of sent messages.
    pub(super) fn has_window(&self) -> bool {
        self.compressor.is_some()
    }

    /// Frees the window of sent messages if nothing was compressed since the last call. Returns `true` if there still
    /// is one.
    pub(super) fn forget_idle_window(&mut self) -> bool {
        if self.is_idle {
            self.compressor = None;
        }
        self.is_idle = true;
        self.has_window()
    }

    /// Begins a data frame.
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

    /// Returns `true` if the message being received is compressed.
    pub(super) fn is_inflating(&self) -> bool {
        self.incoming.is_some()
    }

    /// Inflates the next bytes of a message and passes them to `take` piece by piece. A message may inflate to as much
    /// as its frames could have carried uncompressed: `max_payload_size` for each frame so far. In a streamed message
    /// this applies to each frame by itself.
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
        let result = inflating.inflate_part(octets, ends_message);
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

/// Everything needed to inflate a part of a message.
struct Inflating<'a, F> {
    inflater: Inflate,
    scratch: Vec<u8>,
    limit: Option<u64>,
    incoming: &'a mut Incoming,
    take: F,
}

impl<F: FnMut(&[u8]) -> Result<(), ProtocolError>> Inflating<'_, F> {
    fn inflate_part(&mut self, octets: &[u8], ends_message: bool) -> Result<(), ProtocolError> {
        if self.scratch.len() < PIECE {
            self.scratch.resize(PIECE, 0);
        }
        self.incoming.is_empty &= octets.is_empty();
        self.inflate(octets)?;
        // An empty message has no block for the tail to end.
        if ends_message && !self.incoming.is_empty { self.inflate(&TAIL) } else { Ok(()) }
    }

    fn inflate(&mut self, octets: &[u8]) -> Result<(), ProtocolError> {
        let mut rest = octets;
        let mut is_drained = true;
        while !(rest.is_empty() && is_drained) {
            let read;
            (read, is_drained) = self.step(rest)?;
            rest = &rest[read..];
        }
        Ok(())
    }

    /// Inflates as much as fits into the scratch buffer. Returns the number of bytes read, and `true` if no output is
    /// left.
    fn step(&mut self, octets: &[u8]) -> Result<(usize, bool), ProtocolError> {
        let (start_in, start_out) = (self.inflater.total_in(), self.inflater.total_out());
        let status = self.inflater.decompress(octets, &mut self.scratch[..PIECE], InflateFlush::SyncFlush);
        let status = status.map_err(|_| ProtocolError::CorruptDeflate)?;
        let read = (self.inflater.total_in() - start_in) as usize;
        let written = (self.inflater.total_out() - start_out) as usize;
        self.emit(written)?;
        // A block with BFINAL ends the stream but not the message (7.2.3.4): what follows has a new window.
        if status == Status::StreamEnd {
            self.inflater.reset(false);
        } else if read == 0 && written == 0 && !octets.is_empty() {
            return Err(ProtocolError::CorruptDeflate);
        }
        Ok((read, written < PIECE))
    }

    fn emit(&mut self, written: usize) -> Result<(), ProtocolError> {
        let inflated_before = self.incoming.inflated;
        self.incoming.inflated += written as u64;
        let Some(limit) = self.limit.filter(|&limit| self.incoming.inflated > limit) else {
            return (self.take)(&self.scratch[..written]);
        };
        // Validate the bytes within the limit first, as happens when they arrive one by one.
        (self.take)(&self.scratch[..(limit - inflated_before) as usize])?;
        Err(ProtocolError::InflatedTooBig { limit })
    }
}
