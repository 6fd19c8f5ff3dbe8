//! A second implementation of inflating (RFC 7692), which takes each frame at once and does not care about memory.

use zlib_rs::{Inflate, InflateFlush, Status};

/// The end of a message, which a sender removes (7.2.1).
const TAIL: [u8; 4] = [0x00, 0x00, 0xff, 0xff];

/// The inflater for one direction of a connection.
pub struct Inflater {
    zlib: Inflate,
    no_context_takeover: bool,
}

/// The outcome of inflating a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Done,
    Corrupt,
    /// The limit was reached, so the rest is unknown.
    Full,
}

impl Inflater {
    /// Creates an inflater with the largest window: zlib-rs inflates with no smaller one, whatever it is told.
    pub fn new(no_context_takeover: bool) -> Self {
        Self { zlib: Inflate::new(false, 15), no_context_takeover }
    }

    /// Inflates `octets` and appends the result, until `out` has `at_most` bytes.
    pub fn inflate(&mut self, octets: &[u8], at_most: usize, out: &mut Vec<u8>) -> Outcome {
        let mut rest = octets;
        while out.len() < at_most {
            let (len, start_in, start_out) = (out.len(), self.zlib.total_in(), self.zlib.total_out());
            out.resize(at_most, 0);
            let status = self.zlib.decompress(rest, &mut out[len..], InflateFlush::SyncFlush);
            out.truncate(len + (self.zlib.total_out() - start_out) as usize);
            rest = &rest[(self.zlib.total_in() - start_in) as usize..];
            match status {
                Err(_) => return Outcome::Corrupt,
                Ok(Status::StreamEnd) => self.zlib.reset(false),
                Ok(_) => {}
            }
            if rest.is_empty() && out.len() < at_most {
                return Outcome::Done;
            }
        }
        Outcome::Full
    }

    /// Ends a message: inflates the tail that the sender removed.
    pub fn end(&mut self, at_most: usize, out: &mut Vec<u8>) -> Outcome {
        let outcome = self.inflate(&TAIL, at_most, out);
        if self.no_context_takeover {
            self.zlib.reset(false);
        }
        outcome
    }
}
