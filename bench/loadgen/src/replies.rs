//! Checks what comes back on one connection.

use crate::frames::{COMPRESSED_TEXT, Frames, TAIL};
use flate2::{Decompress, FlushDecompress};
use std::io;

pub enum Replies {
    /// All are the same frame; the number of octets received over the connection's life.
    Equal(u64),
    Compressed(Box<Compressed>),
}

pub struct Compressed {
    /// Inflates both ways: a message compressed by itself just does not refer to what came before.
    inflate: Decompress,
    /// A frame that is not complete.
    waiting: Vec<u8>,
    /// Number of messages received.
    messages: u64,
    text: Vec<u8>,
}

impl Replies {
    pub fn new(frames: &Frames) -> Self {
        if frames.deflate.is_none() {
            return Self::Equal(0);
        }
        let size = frames.payloads.iter().map(Vec::len).max().unwrap_or_default();
        let text = Vec::with_capacity(size + 1);
        let inflate = Decompress::new(false);
        Self::Compressed(Box::new(Compressed { inflate, waiting: Vec::new(), messages: 0, text }))
    }

    /// Takes octets that have arrived; returns how many messages end within them.
    ///
    /// # Errors
    ///
    /// If they are not the messages that are due.
    pub fn take(&mut self, frames: &Frames, octets: &[u8]) -> io::Result<usize> {
        match self {
            Self::Equal(received) => {
                let ended = frames.check(*received, octets);
                *received += octets.len() as u64;
                ended.ok_or_else(|| io::Error::other("an echo differs from what was sent"))
            }
            Self::Compressed(replies) => replies.take(frames, octets),
        }
    }
}

impl Compressed {
    fn take(&mut self, frames: &Frames, octets: &[u8]) -> io::Result<usize> {
        self.waiting.extend(octets);
        let waiting = std::mem::take(&mut self.waiting);
        let (mut ended, mut rest) = (0, &waiting[..]);
        while let Some((payload, later)) = split_frame(rest)? {
            self.inflate(payload)?;
            let due = &frames.payloads[(self.messages % frames.payloads.len() as u64) as usize];
            if self.text != *due {
                return Err(io::Error::other("an echo differs from what was sent"));
            }
            self.messages += 1;
            ended += 1;
            rest = later;
        }
        self.waiting = rest.to_vec();
        Ok(ended)
    }

    fn inflate(&mut self, payload: &[u8]) -> io::Result<()> {
        self.text.clear();
        for octets in [payload, &TAIL] {
            let before = self.inflate.total_in();
            self.inflate.decompress_vec(octets, &mut self.text, FlushDecompress::Sync)?;
            // The text has room for the longest message and one octet more.
            if self.inflate.total_in() - before != octets.len() as u64 {
                return Err(io::Error::other("a message is too long"));
            }
        }
        Ok(())
    }
}

/// Returns the payload of the first frame and what comes after it, if the frame is complete.
fn split_frame(octets: &[u8]) -> io::Result<Option<(&[u8], &[u8])>> {
    let &[first, short, ref rest @ ..] = octets else { return Ok(None) };
    if first != COMPRESSED_TEXT {
        return Err(io::Error::other("an echo is not compressed"));
    }
    let (len, rest) = match (short, rest) {
        (0..126, rest) => (usize::from(short), rest),
        (126, [high, low, rest @ ..]) => (usize::from(u16::from_be_bytes([*high, *low])), rest),
        (126, _) => return Ok(None),
        _ => return Err(io::Error::other("a frame is too long")),
    };
    Ok(rest.split_at_checked(len))
}
