//! The octets that go out and must come back.
//!
//! All messages of a run are equal, so both directions of every connection repeat one frame: to check an echo is to
//! compare octets at the right place of that frame, which covers opcode, length and content, and needs no buffer.

const TEXT: u8 = 0x81;
const MASKED: u8 = 0x80;
const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
const CLOSE_NORMALLY: [u8; 2] = 1000_u16.to_be_bytes();
/// Short frames are written many at a time.
const CHUNK: usize = 64 * 1024;

pub struct Frames {
    pub in_flight: usize,
    /// Masked frames, one after the other.
    requests: Vec<u8>,
    pub request_len: usize,
    /// One frame, not masked.
    reply: Vec<u8>,
}

impl Frames {
    pub fn new(size: usize, in_flight: usize) -> Self {
        let payload: Vec<u8> = (b'a'..=b'z').cycle().take(size).collect();
        let request = frame(TEXT, &payload, Some(MASK));
        let copies = in_flight.min(CHUNK.div_ceil(request.len()));
        Self {
            in_flight,
            request_len: request.len(),
            requests: request.repeat(copies),
            reply: frame(TEXT, &payload, None),
        }
    }

    /// Returns the octets to send next, at most `pending`, after `sent` octets. There are as many frames at once as
    /// possible: a busy peer's arrive like that.
    pub fn request_at(&self, sent: u64, pending: usize) -> &[u8] {
        let at = (sent % self.request_len as u64) as usize;
        &self.requests[at..self.requests.len().min(at + pending)]
    }

    /// Compares octets with those due after the first `received`; returns how many messages end within them.
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
