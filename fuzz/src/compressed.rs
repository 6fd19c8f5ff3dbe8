//! Input chosen by the fuzzer for compression: how both ends compress, and what a peer sends.

use crate::input::{self, Few, Kind, Masking, Octets};
use crate::reference::{RawHeader, Terms};
use crate::support::peer_of;
use anyevent_websocket::engine::{Config, Connection, DeflateConfig, MaskKey};
use arbitrary::Arbitrary;
use bytes::BytesMut;

const RSV1: u8 = 0x40;

/// Maximum length of a stream, in bytes: it may inflate to a thousand times as many.
const LONGEST_WIRE: usize = 16 * 1024;

/// Maximum size that a message may inflate to if the input sets no limit, in bytes.
const LONGEST_MESSAGE: u64 = 128 * 1024;

/// Any parameters that can be negotiated, and any that a program can ask for.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub struct Compression {
    window_bits: u8,
    no_context_takeover: bool,
    peer_window_bits: u8,
    peer_no_context_takeover: bool,
    level: u8,
    mem_level: u8,
    threshold: Few,
}

impl From<Compression> for DeflateConfig {
    fn from(compression: Compression) -> Self {
        Self {
            window_bits: 8 + compression.window_bits % 8,
            no_context_takeover: compression.no_context_takeover,
            peer_window_bits: 8 + compression.peer_window_bits % 8,
            peer_no_context_takeover: compression.peer_no_context_takeover,
            level: 1 + compression.level % 9,
            mem_level: 1 + compression.mem_level % 9,
            threshold: compression.threshold.into(),
        }
    }
}

/// Returns the terms for a connection, always with some limit to what a message inflates to.
pub fn terms(config: Config, max_message_size: Option<u16>, compression: Compression) -> Terms {
    let bound = max_message_size.map(u64::from);
    let max_message_size = if config.max_payload_size.is_none() { bound.or(Some(LONGEST_MESSAGE)) } else { bound };
    Terms { config, max_message_size, deflate: Some(compression.into()) }
}

/// A part of a stream; mostly a message that is compressed correctly.
#[derive(Arbitrary, Clone, Debug)]
pub enum Piece {
    Message(Message),
    /// A frame that is marked as compressed, with any payload.
    Marked {
        fin: bool,
        kind: Kind,
        masking: Masking,
        payload: Octets,
    },
    Uncompressed(input::Piece),
}

#[derive(Arbitrary, Clone, Debug)]
pub struct Message {
    is_text: bool,
    payload: Octets,
    /// The lengths of its frames except the last.
    cuts: Vec<Few>,
    masking: Masking,
    /// The place of a damaged byte, and the bits to change in it.
    damage: Option<(u16, u8)>,
}

/// The peer of an endpoint; it compresses as negotiated.
struct Peer {
    config: Config,
    connection: Connection<BytesMut>,
    plain: usize,
    wire: Vec<u8>,
}

impl Peer {
    fn new(config: Config, deflate: DeflateConfig) -> Self {
        let mut connection = Connection::new(config);
        assert!(connection.enable_deflate(peer_of(deflate), &Default::default()));
        Self { config, connection, plain: 0, wire: Vec::new() }
    }

    fn append(&mut self, piece: Piece) {
        match piece {
            Piece::Uncompressed(piece) => piece.append_to(self.config, &mut self.wire),
            Piece::Message(message) => self.append_message(message),
            Piece::Marked { fin, kind, masking, payload } => {
                let first_byte = u8::from(fin) << 7 | RSV1 | kind as u8;
                input::append_frame(first_byte, &payload.into_vec(), masking.key(self.config), &mut self.wire);
            }
        }
    }

    fn append_message(&mut self, message: Message) {
        let payload = message.payload.into_vec();
        self.plain += payload.len();
        let mut frame = Vec::new();
        let opcode = if message.is_text { 1 } else { 2 };
        assert_eq!(self.connection.send(opcode, &payload, None, &mut frame), Ok(true));
        let header = RawHeader::read(&frame).expect("a whole header");
        let mut octets = frame.split_off(header.len);
        if let Some((at, change)) = message.damage.filter(|_| !octets.is_empty()) {
            let at = usize::from(at) % octets.len();
            octets[at] ^= change;
        }
        self.append_fragments(header.first_byte, &octets, &message.cuts, message.masking.key(self.config));
    }

    fn append_fragments(&mut self, first_byte: u8, octets: &[u8], lengths: &[Few], mask: Option<MaskKey>) {
        const FIN: u8 = 0x80;
        let (mut first_byte, mut rest) = (first_byte & !FIN, octets);
        for length in lengths {
            let (part, left) = rest.split_at(rest.len().min(usize::from(*length)));
            input::append_frame(first_byte, part, mask, &mut self.wire);
            (first_byte, rest) = (0, left);
        }
        input::append_frame(FIN | first_byte, rest, mask, &mut self.wire);
    }
}

/// Returns the bytes that a peer sends to an endpoint with this configuration.
pub fn wire(config: Config, deflate: DeflateConfig, stream: Vec<Piece>) -> Vec<u8> {
    let mut peer = Peer::new(config, deflate);
    for piece in stream {
        if peer.wire.len() < LONGEST_WIRE && peer.plain < input::LONGEST {
            peer.append(piece);
        }
    }
    peer.wire
}
