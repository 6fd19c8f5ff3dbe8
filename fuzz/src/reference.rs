//! RFC 6455 once more, from the whole stream, one octet at a time, and with no thought of speed.

use crate::support::Seen;
use anyevent_websocket::engine::{CloseCode, Config, FrameHeader, MAX_HEADER_LEN, MaskKey, Opcode, ProtocolError};

/// A header as its octets have it, lawful or not.
#[derive(Debug)]
pub struct RawHeader {
    pub first_byte: u8,
    pub payload_len: u64,
    pub mask: Option<MaskKey>,
    pub len: usize,
    length_octets: usize,
}

impl RawHeader {
    /// `None` if it is cut off.
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

/// What [`FrameHeader::parse`] should say.
pub fn header(bytes: &[u8]) -> Result<Option<(FrameHeader, usize)>, ProtocolError> {
    let &[first, second, ..] = bytes else { return Ok(None) };
    let (fin, opcode) = (first >= 0x80, first % 16);
    match first {
        _ if first & 0x70 > 0 => return Err(ProtocolError::ReservedBits),
        _ if ![0, 1, 2, 8, 9, 10].contains(&opcode) => return Err(ProtocolError::ReservedOpcode(opcode)),
        _ if opcode >= 8 && !fin => return Err(ProtocolError::FragmentedControl),
        _ if opcode >= 8 && second & 127 > 125 => return Err(ProtocolError::OversizedControl),
        _ => {}
    }
    // A wrong length is certain before the key is here.
    let without_key = [&[first, second & 127], &bytes[2..bytes.len().min(MAX_HEADER_LEN)]].concat();
    if let Some(error) = RawHeader::read(&without_key).and_then(|raw| raw.length_error()) {
        return Err(error);
    }
    let opcode = Opcode::try_from(opcode)?;
    Ok(RawHeader::read(bytes).map(|raw| {
        (FrameHeader { fin, opcode, is_compressed: false, mask: raw.mask, payload_len: raw.payload_len }, raw.len)
    }))
}

/// The first octets of a payload, unmasked.
pub fn unmasked(octets: &[u8], mask: Option<MaskKey>) -> Vec<u8> {
    let key = mask.unwrap_or_default();
    octets.iter().enumerate().map(|(i, octet)| octet ^ key[i % 4]).collect()
}

/// A message that is not at its end.
struct Message {
    opcode: Opcode,
    payload: Vec<u8>,
    parts: u64,
}

/// All that a connection should report of `wire`, up to what ends it.
pub fn events(config: Config, mut wire: &[u8]) -> Vec<Seen> {
    let mut seen = Vec::new();
    let mut message = None;
    loop {
        match frame(config, &mut wire, &mut message) {
            Ok(Step::Event(event)) => seen.push(event),
            Ok(Step::NoEvent) => {}
            Ok(Step::End) => return seen,
            Err(error) => {
                seen.push(Seen::Violation(error));
                return seen;
            }
        }
        if matches!(seen.last(), Some(Seen::Close(..))) {
            return seen;
        }
    }
}

enum Step {
    Event(Seen),
    NoEvent,
    End,
}

/// Takes one frame, or what there is of it.
fn frame(config: Config, wire: &mut &[u8], message: &mut Option<Message>) -> Result<Step, ProtocolError> {
    let Some((header, at)) = header(wire)? else { return Ok(Step::End) };
    check(config, &header)?;
    let arrived = &wire[at..];
    let is_whole = arrived.len() as u64 >= header.payload_len;
    let len = if is_whole { header.payload_len as usize } else { arrived.len() };
    let payload = unmasked(&arrived[..len], header.mask);
    *wire = &arrived[len..];
    if !header.opcode.is_control() {
        let event = data(config, &header, payload, is_whole, message)?;
        return Ok(if is_whole { event } else { Step::End });
    }
    Ok(if is_whole { Step::Event(control(header.opcode, payload)) } else { Step::End })
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

fn data(
    config: Config,
    header: &FrameHeader,
    payload: Vec<u8>,
    is_whole: bool,
    message: &mut Option<Message>,
) -> Result<Step, ProtocolError> {
    let ends = header.fin && is_whole;
    let current = begin(config, header, message)?;
    current.payload.extend(payload);
    text_error(config, current, ends).map_or(Ok(()), Err)?;
    let ended = message.take_if(|_| ends);
    Ok(ended.map_or(Step::NoEvent, |message| Step::Event(Seen::Message(message.opcode, message.payload))))
}

/// The message that the frame belongs to, which it may begin.
fn begin<'a>(
    config: Config,
    header: &FrameHeader,
    message: &'a mut Option<Message>,
) -> Result<&'a mut Message, ProtocolError> {
    match (header.opcode, &message) {
        (Opcode::Continuation, None) => return Err(ProtocolError::UnexpectedContinuation),
        (Opcode::Text | Opcode::Binary, Some(_)) => return Err(ProtocolError::InterleavedMessage),
        _ => {}
    }
    let message = message.get_or_insert(Message { opcode: header.opcode, payload: vec![], parts: 0 });
    message.parts += 1;
    if !header.fin && message.parts >= config.max_fragments {
        return Err(ProtocolError::TooManyFragments { limit: config.max_fragments });
    }
    Ok(message)
}

fn text_error(config: Config, message: &Message, ends: bool) -> Option<ProtocolError> {
    let error = str::from_utf8(&message.payload).err()?;
    let is_certain = ends || error.error_len().is_some();
    (config.strict && message.opcode == Opcode::Text && is_certain).then_some(ProtocolError::InvalidUtf8)
}
