//! The requests that go out, and the messages that must come back.
//!
//! All connections send the same messages in the same order, again and again, so the octets of one round are made once,
//! and to send is to take them at the right place.

use crate::json;
use flate2::{Compress, Compression, FlushCompress};

const TEXT: u8 = 0x81;
pub const COMPRESSED_TEXT: u8 = 0xc1;
const MASKED: u8 = 0x80;
const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
const CLOSE_NORMALLY: [u8; 2] = 1000_u16.to_be_bytes();
/// Short frames are written many at a time.
const CHUNK: usize = 64 * 1024;
/// Number of different messages that are compressed: more than fit into a window, so that the beginning of the next round
/// is not in it.
const DIFFERENT: usize = 200;
/// The end of a compressed message, which is removed before sending (RFC 7692, 7.2.1).
pub const TAIL: [u8; 4] = [0, 0, 0xff, 0xff];

/// How messages are compressed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Deflate {
    /// Each message refers to the ones before it.
    WithTakeover,
    /// Each message is compressed by itself.
    Each,
}

pub struct Frames {
    pub in_flight: usize,
    pub deflate: Option<Deflate>,
    /// Payloads of a round, as they must come back, uncompressed.
    pub payloads: Vec<Vec<u8>>,
    /// Masked frames of a round.
    requests: Vec<u8>,
    /// Where each of them ends.
    ends: Vec<usize>,
    /// The frame that comes back if all messages are equal.
    reply: Vec<u8>,
}

impl Frames {
    /// Returns frames that all have the same payload.
    pub fn equal(size: usize, in_flight: usize) -> Self {
        let payload: Vec<u8> = (b'a'..=b'z').cycle().take(size).collect();
        let request = frame(TEXT, &payload, Some(MASK));
        let requests = vec![request; in_flight.min(CHUNK.div_ceil(size + 1))];
        let reply = frame(TEXT, &payload, None);
        Self::new(in_flight, None, vec![payload], requests, reply)
    }

    /// Returns frames that hold different, compressed messages of JSON.
    pub fn compressed(size: usize, in_flight: usize, deflate: Deflate) -> Self {
        let payloads: Vec<_> = (0..DIFFERENT as u32).map(|seed| json::message(size, seed)).collect();
        let mut compress = Compress::new(Compression::default(), false);
        let requests = payloads.iter().map(|payload| {
            if deflate == Deflate::Each {
                compress.reset();
            }
            frame(COMPRESSED_TEXT, &compressed(&mut compress, payload), Some(MASK))
        });
        let requests = requests.collect();
        Self::new(in_flight, Some(deflate), payloads, requests, Vec::new())
    }

    fn new(
        in_flight: usize,
        deflate: Option<Deflate>,
        payloads: Vec<Vec<u8>>,
        requests: Vec<Vec<u8>>,
        reply: Vec<u8>,
    ) -> Self {
        let ends = requests.iter().scan(0, |end, request| {
            *end += request.len();
            Some(*end)
        });
        Self { in_flight, deflate, payloads, ends: ends.collect(), requests: requests.concat(), reply }
    }

    /// Returns how many octets the first messages have.
    pub fn octets_of(&self, messages: u64) -> u64 {
        let (rounds, rest) = (messages / self.ends.len() as u64, (messages % self.ends.len() as u64) as usize);
        rounds * self.requests.len() as u64 + rest.checked_sub(1).map_or(0, |last| self.ends[last] as u64)
    }

    /// Returns the octets to send next, at most `pending`, after `sent` octets. There are as many frames at once as
    /// possible: a busy peer's arrive like that.
    pub fn request_at(&self, sent: u64, pending: u64) -> &[u8] {
        let rest = &self.requests[(sent % self.requests.len() as u64) as usize..];
        &rest[..rest.len().min(usize::try_from(pending).unwrap_or(usize::MAX))]
    }

    /// Compares octets with those due after the first `received`; returns how many messages end within them. Since all
    /// replies are one frame, this covers opcode, length and content, and needs no buffer.
    pub fn check(&self, received: u64, octets: &[u8]) -> Option<usize> {
        let len = self.reply.len();
        let start = (received % len as u64) as usize;
        let (mut at, mut rest) = (start, octets);
        while !rest.is_empty() {
            let (now, later) = rest.split_at(rest.len().min(len - at));
            if now != &self.reply[at..at + now.len()] {
                return None;
            }
            (at, rest) = (0, later);
        }
        Some((start + octets.len()) / len)
    }

    pub fn reply_len(&self) -> usize {
        self.reply.len()
    }
}

pub fn close() -> Vec<u8> {
    frame(0x88, &CLOSE_NORMALLY, Some(MASK))
}

/// Returns a frame as a server sends it.
pub fn unmasked_text(payload: &[u8]) -> Vec<u8> {
    frame(TEXT, payload, None)
}

fn frame(first: u8, payload: &[u8], mask: Option<[u8; 4]>) -> Vec<u8> {
    let masked = if mask.is_some() { MASKED } else { 0 };
    let mut frame = vec![first];
    match payload.len() {
        len @ 0..126 => frame.push(masked | len as u8),
        len @ 126..=0xffff => {
            frame.push(masked | 126);
            frame.extend((len as u16).to_be_bytes());
        }
        len => {
            frame.push(masked | 127);
            frame.extend((len as u64).to_be_bytes());
        }
    }
    frame.extend(mask.iter().flatten());
    let key = mask.unwrap_or_default();
    frame.extend(payload.iter().zip(key.iter().cycle()).map(|(octet, mask)| octet ^ mask));
    frame
}

fn compressed(compress: &mut Compress, payload: &[u8]) -> Vec<u8> {
    // More room than any message needs, so that one call suffices.
    let mut out = Vec::with_capacity(payload.len() + 256);
    compress.compress_vec(payload, &mut out, FlushCompress::Sync).expect("there is room");
    assert!(out.ends_with(&TAIL), "a flushed message ends with an empty block");
    out.truncate(out.len() - TAIL.len());
    out
}
