//! A second implementation of RFC 6455: it reads the whole stream, byte by byte, and does not care about speed.

use crate::inflater::{Inflater, Outcome};
use crate::support::Seen;
use anyevent_websocket::engine::{
    CloseCode, Config, DeflateConfig, FrameHeader, MAX_HEADER_LEN, MaskKey, Opcode, ProtocolError,
};

/// The configuration of a connection before the first byte arrives.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    pub config: Config,
    pub max_message_size: Option<u64>,
    pub deflate: Option<DeflateConfig>,
}

impl From<Config> for Terms {
    fn from(config: Config) -> Self {
        Self { config, max_message_size: None, deflate: None }
    }
}

/// A header as it was received, valid or not.
#[derive(Debug)]
pub struct RawHeader {
    pub first_byte: u8,
    pub payload_len: u64,
    pub mask: Option<MaskKey>,
    pub len: usize,
    length_octets: usize,
}

impl RawHeader {
    /// Reads a header; returns `None` if it is incomplete.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let short_len = bytes.get(1)? & 127;
        let length_octets = [0, 2, 8][usize::from(short_len.saturating_sub(125))];
        let long_len = bytes.get(2..2 + length_octets)?.iter().fold(0, |len, &octet| len << 8 | u64::from(octet));
        let payload_len = if length_octets == 0 { short_len.into() } else { long_len };
        let key_octets = if bytes[1] & 128 == 0 { 0 } else { 4 };
        let len = 2 + length_octets + key_octets;
        let mask = bytes.get(2 + length_octets..len)?.try_into().ok();
        Some(Self { first_byte: bytes[0], payload_len, mask, len, length_octets })
    }

    fn length_error(&self) -> Option<ProtocolError> {
        let least = [0, 0, 126, 0, 0, 0, 0, 0, 0x1_0000][self.length_octets];
        match self.payload_len {
            len if len > i64::MAX as u64 => Some(ProtocolError::LengthTopBit),
            len if len < least => Some(ProtocolError::NonMinimalLength),
            _ => None,
        }
    }
}

/// Returns the expected result of [`FrameHeader::parse`].
pub fn header(bytes: &[u8]) -> Result<Option<(FrameHeader, usize)>, ProtocolError> {
    header_with(bytes, false)
}

/// Returns the result expected of a connection on which compression was negotiated, or was not.
pub fn header_with(bytes: &[u8], compresses: bool) -> Result<Option<(FrameHeader, usize)>, ProtocolError> {
    let &[first, second, ..] = bytes else { return Ok(None) };
    let (fin, is_compressed, opcode) = (first >= 0x80, first & 0x40 > 0, first % 16);
    match first {
        _ if first & 0x30 > 0 => return Err(ProtocolError::ReservedBits),
        _ if is_compressed && !compresses && [1, 2].contains(&opcode) => {
            return Err(ProtocolError::UnexpectedCompression);
        }
        _ if is_compressed && !compresses => return Err(ProtocolError::ReservedBits),
        _ if ![0, 1, 2, 8, 9, 10].contains(&opcode) => return Err(ProtocolError::ReservedOpcode(opcode)),
        _ if is_compressed && ![1, 2].contains(&opcode) => return Err(ProtocolError::MisplacedRsv1),
        _ if opcode >= 8 && !fin => return Err(ProtocolError::FragmentedControl),
        _ if opcode >= 8 && second & 127 > 125 => return Err(ProtocolError::OversizedControl),
        _ => {}
    }
    // A wrong length is certain even before the masking key arrives.
    let without_key = [&[first, second & 127], &bytes[2..bytes.len().min(MAX_HEADER_LEN)]].concat();
    if let Some(error) = RawHeader::read(&without_key).and_then(|raw| raw.length_error()) {
        return Err(error);
    }
    let opcode = Opcode::try_from(opcode)?;
    Ok(RawHeader::read(bytes)
        .map(|raw| (FrameHeader { fin, opcode, is_compressed, mask: raw.mask, payload_len: raw.payload_len }, raw.len)))
}

/// Unmasks the first bytes of a payload.
pub fn unmasked(octets: &[u8], mask: Option<MaskKey>) -> Vec<u8> {
    let key = mask.unwrap_or_default();
    octets.iter().enumerate().map(|(i, octet)| octet ^ key[i % 4]).collect()
}

/// The events that a connection should report.
pub struct Events {
    seen: Vec<Seen>,
    /// The errors of which one should end the stream; empty if none should.
    violations: Vec<ProtocolError>,
}

impl Events {
    pub fn check(&self, seen: &[Seen]) {
        match seen {
            [before @ .., Seen::Violation(error)] => {
                assert_eq!(before, self.seen);
                assert!(self.violations.iter().any(|violation| is_same(*violation, *error)), "{error}");
            }
            _ => assert_eq!((seen, &[][..]), (&self.seen[..], &self.violations[..])),
        }
    }
}

/// Returns `true` for equal errors; sizes may differ if a message inflates in pieces of another size.
fn is_same(ours: ProtocolError, theirs: ProtocolError) -> bool {
    use ProtocolError::MessageTooBig;
    match (ours, theirs) {
        (MessageTooBig { size: most, limit: ours }, MessageTooBig { size, limit: theirs }) => {
            ours == theirs && (ours + 1..=most).contains(&size)
        }
        _ => ours == theirs,
    }
}

/// Returns the events that a connection should report for `wire`, up to the one that ends it.
pub fn events(terms: &Terms, wire: &[u8]) -> Events {
    let mut reader = Reader::new(terms, wire);
    let mut seen = Vec::new();
    let violations = loop {
        match reader.frame() {
            Ok(Step::Event(event)) => seen.push(event),
            Ok(Step::NoEvent) => {}
            Ok(Step::End) => break vec![],
            Err(violations) => break violations,
        }
        if matches!(seen.last(), Some(Seen::Close(..))) {
            break vec![];
        }
    };
    Events { seen, violations }
}

enum Step {
    Event(Seen),
    NoEvent,
    End,
}

/// An unfinished message.
struct Message {
    opcode: Opcode,
    is_compressed: bool,
    payload: Vec<u8>,
    /// Total payload length announced by its frames.
    wire_len: u64,
    parts: u64,
}

struct Reader<'a> {
    terms: &'a Terms,
    wire: &'a [u8],
    message: Option<Message>,
    inflater: Inflater,
}

impl<'a> Reader<'a> {
    fn new(terms: &'a Terms, wire: &'a [u8]) -> Self {
        let no_context_takeover = terms.deflate.is_some_and(|deflate| deflate.peer_no_context_takeover);
        Self { terms, wire, message: None, inflater: Inflater::new(no_context_takeover) }
    }

    /// Takes one frame, or as much of it as has arrived.
    fn frame(&mut self) -> Result<Step, Vec<ProtocolError>> {
        let header = header_with(self.wire, self.terms.deflate.is_some()).map_err(|error| vec![error])?;
        let Some((header, at)) = header else { return Ok(Step::End) };
        check(self.terms.config, &header).map_err(|error| vec![error])?;
        let arrived = &self.wire[at..];
        let is_whole = arrived.len() as u64 >= header.payload_len;
        let len = if is_whole { header.payload_len as usize } else { arrived.len() };
        let payload = unmasked(&arrived[..len], header.mask);
        self.wire = &arrived[len..];
        if !header.opcode.is_control() {
            let event = self.data(&header, payload, is_whole)?;
            return Ok(if is_whole { event } else { Step::End });
        }
        Ok(if is_whole { Step::Event(control(header.opcode, payload)) } else { Step::End })
    }

    fn data(&mut self, header: &FrameHeader, payload: Vec<u8>, is_whole: bool) -> Result<Step, Vec<ProtocolError>> {
        let ends = header.fin && is_whole;
        let message = begin(self.terms, header, &mut self.message).map_err(|error| vec![error])?;
        let mut violations = vec![];
        if message.is_compressed {
            violations = inflate(self.terms, &mut self.inflater, message, &payload, ends);
        } else {
            message.payload.extend(payload);
        }
        violations.extend(text_error(self.terms.config, message, ends));
        if !violations.is_empty() {
            return Err(violations);
        }
        let ended = self.message.take_if(|_| ends);
        Ok(ended.map_or(Step::NoEvent, |message| Step::Event(Seen::Message(message.opcode, message.payload))))
    }
}

/// Number of bytes that may be inflated before the limit is checked.
const UNSEEN: u64 = 16 * 1024;

/// Returns all errors of the message so far. Which of them is found first depends on how its bytes arrive.
fn inflate(
    terms: &Terms,
    inflater: &mut Inflater,
    message: &mut Message,
    octets: &[u8],
    ends: bool,
) -> Vec<ProtocolError> {
    let frames_limit = terms.config.max_payload_size.map(|size| size * message.parts);
    let limit = frames_limit.into_iter().chain(terms.max_message_size).min().expect("some bound");
    let at_most = (limit + UNSEEN) as usize + 1;
    let mut outcome = inflater.inflate(octets, at_most, &mut message.payload);
    if outcome == Outcome::Done && ends && message.wire_len > 0 {
        outcome = inflater.end(at_most, &mut message.payload);
    }
    let size = message.payload.len() as u64;
    let inflated_too_big = frames_limit.filter(|&limit| size > limit);
    let message_too_big = terms.max_message_size.filter(|&limit| size > limit);
    (outcome == Outcome::Corrupt)
        .then_some(ProtocolError::CorruptDeflate)
        .into_iter()
        .chain(inflated_too_big.map(|limit| ProtocolError::InflatedTooBig { limit }))
        .chain(message_too_big.map(|limit| ProtocolError::MessageTooBig { size, limit }))
        .collect()
}

fn check(config: Config, header: &FrameHeader) -> Result<(), ProtocolError> {
    if config.strict && config.masked == header.mask.is_some() {
        return Err(if config.masked { ProtocolError::MaskedFrame } else { ProtocolError::UnmaskedFrame });
    }
    match config.max_payload_size {
        Some(limit) if header.payload_len > limit => {
            Err(ProtocolError::PayloadTooBig { announced: header.payload_len, limit })
        }
        _ => Ok(()),
    }
}

fn control(opcode: Opcode, payload: Vec<u8>) -> Seen {
    match opcode {
        Opcode::Ping => Seen::Ping(payload),
        Opcode::Pong => Seen::Pong(payload),
        _ => close(&payload),
    }
}

fn close(body: &[u8]) -> Seen {
    if body.len() < 2 {
        let is_empty = body.is_empty();
        return Seen::Close(is_empty.then_some(1005), vec![], (!is_empty).then_some(ProtocolError::TruncatedCloseCode));
    }
    let code = u16::from(body[0]) * 256 + u16::from(body[1]);
    let reason = body[2..].to_vec();
    let is_assigned = (1000..=1014).contains(&code) && ![1004, 1005, 1006].contains(&code);
    let error = match str::from_utf8(&reason) {
        _ if !is_assigned && !(3000..5000).contains(&code) => {
            Some(ProtocolError::InvalidCloseCode(CloseCode::new(code)))
        }
        Err(_) => Some(ProtocolError::InvalidCloseReason),
        Ok(_) => None,
    };
    Seen::Close(Some(code), reason, error)
}

/// Returns the message that the frame belongs to, and begins it if needed.
fn begin<'a>(
    terms: &Terms,
    header: &FrameHeader,
    message: &'a mut Option<Message>,
) -> Result<&'a mut Message, ProtocolError> {
    match (header.opcode, &message) {
        (Opcode::Continuation, None) => return Err(ProtocolError::UnexpectedContinuation),
        (Opcode::Text | Opcode::Binary, Some(_)) => return Err(ProtocolError::InterleavedMessage),
        _ => {}
    }
    let FrameHeader { opcode, is_compressed, payload_len, .. } = *header;
    let message = message.get_or_insert(Message { opcode, is_compressed, payload: vec![], wire_len: 0, parts: 0 });
    message.parts += 1;
    message.wire_len = message.wire_len.saturating_add(payload_len);
    if let Some(limit) = terms.max_message_size.filter(|&limit| message.wire_len > limit) {
        return Err(ProtocolError::MessageTooBig { size: message.wire_len, limit });
    }
    let limit = terms.config.max_fragments;
    if !header.fin && message.parts >= limit { Err(ProtocolError::TooManyFragments { limit }) } else { Ok(message) }
}

fn text_error(config: Config, message: &Message, ends: bool) -> Option<ProtocolError> {
    let error = str::from_utf8(&message.payload).err()?;
    let is_certain = ends || error.error_len().is_some();
    (config.strict && message.opcode == Opcode::Text && is_certain).then_some(ProtocolError::InvalidUtf8)
}
