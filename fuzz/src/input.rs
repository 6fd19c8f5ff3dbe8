//! Input chosen by the fuzzer: the limits, and the bytes that a peer sends.

use anyevent_websocket::engine::{Config, MaskKey, encode_frame};
use arbitrary::Arbitrary;

/// Limits small enough to be reached.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub struct Limits {
    masked: bool,
    strict: bool,
    max_payload_size: Option<u16>,
    max_fragments: u8,
}

impl From<Limits> for Config {
    fn from(limits: Limits) -> Self {
        Self {
            masked: limits.masked,
            strict: limits.strict,
            max_payload_size: limits.max_payload_size.map(u64::from),
            max_fragments: u64::from(limits.max_fragments % 8),
            ..Config::DEFAULT
        }
    }
}

/// A number of bytes; mostly so small that characters, lengths and keys are split.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub struct Few(u8);

impl From<Few> for usize {
    fn from(Few(number): Few) -> Self {
        if number < 192 { usize::from(number % 8) } else { number.into() }
    }
}

/// A part of a stream; mostly a frame, so that the fuzzer need not discover how to build one.
#[derive(Arbitrary, Clone, Debug)]
pub enum Piece {
    Frame { fin: bool, kind: Kind, masking: Masking, payload: Octets },
    Raw(Vec<u8>),
}

/// A masking key, used mostly as the peer's role requires.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub struct Masking {
    key: MaskKey,
    oddity: u8,
}

impl Masking {
    pub fn key(self, to: Config) -> Option<MaskKey> {
        let is_odd = self.oddity == u8::MAX;
        (to.masked == is_odd).then_some(self.key)
    }
}

#[derive(Arbitrary, Clone, Copy, Debug)]
pub enum Kind {
    Continuation = 0,
    Text = 1,
    Binary = 2,
    Close = 8,
    Ping = 9,
    Pong = 10,
}

/// A payload, which may be longer than an input of the fuzzer.
#[derive(Arbitrary, Clone, Debug)]
pub enum Octets {
    These(Vec<u8>),
    Text(Vec<char>),
    Many {
        octet: u8,
        len: u16,
    },
    /// A payload so long that its length has the longest form.
    TooMany {
        octet: u8,
        beyond: u8,
    },
}

impl Octets {
    pub fn into_vec(self) -> Vec<u8> {
        match self {
            Self::These(octets) => octets,
            Self::Text(characters) => characters.into_iter().collect::<String>().into_bytes(),
            Self::Many { octet, len } => vec![octet; len.into()],
            Self::TooMany { octet, beyond } => vec![octet; 0x1_0000 + usize::from(beyond)],
        }
    }
}

/// Maximum length of a stream, in bytes: longer ones take more time but find nothing new.
pub const LONGEST: usize = 128 * 1024;

impl Piece {
    pub fn append_to(self, config: Config, wire: &mut Vec<u8>) {
        match self {
            Self::Raw(octets) => wire.extend(octets),
            Self::Frame { fin, kind, masking, payload } => {
                append_frame(u8::from(fin) << 7 | kind as u8, &payload.into_vec(), masking.key(config), wire);
            }
        }
    }
}

/// Appends a frame, even one that nobody may send.
pub fn append_frame(first_byte: u8, payload: &[u8], mask: Option<MaskKey>, wire: &mut Vec<u8>) {
    let start = wire.len();
    encode_frame(0, payload, mask, wire);
    wire[start] = first_byte;
}

/// Returns the bytes that a peer sends to an endpoint with this configuration.
pub fn wire(config: Config, stream: Vec<Piece>) -> Vec<u8> {
    let mut wire = Vec::new();
    for piece in stream {
        if wire.len() < LONGEST {
            piece.append_to(config, &mut wire);
        }
    }
    wire
}

/// Splits a stream into pieces of at least these lengths, which are used in turn.
pub fn pieces(mut wire: &[u8], lengths: impl Iterator<Item = Few> + Clone) -> impl Iterator<Item = &[u8]> {
    // Long streams are split into long pieces, so that no input takes too long.
    let least = 1 + wire.len() / 1024;
    let mut lengths = lengths.map(usize::from).cycle();
    std::iter::from_fn(move || {
        let length = least + lengths.next().unwrap_or(0);
        let (piece, rest) = wire.split_at(wire.len().min(length));
        wire = rest;
        (!piece.is_empty()).then_some(piece)
    })
}
