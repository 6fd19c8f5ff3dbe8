//! A connection beside a model of it that knows only which frames have gone either way.

use crate::inflater::{Inflater, Outcome};
use crate::input::{Few, Octets};
use crate::reference::{self, RawHeader, Terms};
use crate::support::Seen;
use anyevent_websocket::engine::{
    CloseCode, Connection, MAX_CONTROL_PAYLOAD, MaskKey, MessageBuffer, ProtocolError, UsageError,
};
use arbitrary::Arbitrary;
use std::cell::Cell;
use std::rc::Rc;

/// Maximum payload length for a header sent alone, in bytes: the payload has to exist.
const LONGEST: usize = 100_000;

const CLOSE: u8 = 8;
const READ_SIZE: usize = 4096;

/// A call that a program makes, at any time.
#[derive(Arbitrary, Clone, Debug)]
pub enum Call {
    /// At most this many bytes arrive, and the connection reports one event.
    Receive {
        at_most: Few,
    },
    /// The same, but payload is read straight into its message where possible.
    ReceiveDirectly {
        at_most: Few,
    },
    /// As many bytes arrive as one read returns, and a message takes the shortcut if it can.
    ReceiveMuch,
    Send {
        opcode: u8,
        payload: Octets,
        mask: Option<MaskKey>,
    },
    SendHeader {
        opcode: u8,
        payload_len: usize,
    },
    Close {
        code: Option<u16>,
        reason: String,
        mask: Option<MaskKey>,
    },
    /// Answers the last violation.
    Fail {
        mask: Option<MaskKey>,
    },
    Abandon,
    TransportClosed,
}

thread_local! {
    /// Number of bytes in all message buffers.
    static HELD: Cell<usize> = const { Cell::new(0) };
}

/// A message buffer that counts its bytes.
#[derive(Debug, Default)]
struct Counted(Vec<u8>);

impl MessageBuffer for Counted {
    fn extend_from_slice(&mut self, payload: &[u8]) {
        HELD.set(HELD.get() + payload.len());
        self.0.extend_from_slice(payload);
    }

    fn as_mut_slice(&mut self) -> &mut [u8] {
        &mut self.0
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        HELD.set(HELD.get() - self.0.len());
    }
}

pub struct Session {
    terms: Terms,
    connection: Connection<Counted>,
    /// The peer's inflater.
    inflater: Inflater,
    /// The bytes that the peer sends.
    wire: Vec<u8>,
    /// Number of bytes that have arrived.
    at: usize,
    /// Number of bytes that the connection has processed.
    looked_at: usize,
    seen: Vec<Seen>,
    out: Vec<u8>,
    close_is_out: bool,
    peer_is_done: bool,
    is_abandoned: bool,
    is_gone: bool,
}

impl Session {
    pub fn new(terms: Terms, wire: Vec<u8>) -> Self {
        let mut connection = Connection::new(terms.config);
        connection.configure(0, |config| config.max_message_size = terms.max_message_size);
        if let Some(deflate) = terms.deflate {
            assert!(connection.enable_deflate(deflate, &Rc::default()));
        }
        let no_context_takeover = terms.deflate.is_some_and(|deflate| deflate.no_context_takeover);
        Self {
            terms,
            connection,
            inflater: Inflater::new(no_context_takeover),
            wire,
            at: 0,
            looked_at: 0,
            seen: Vec::new(),
            out: Vec::new(),
            close_is_out: false,
            peer_is_done: false,
            is_abandoned: false,
            is_gone: false,
        }
    }

    pub fn call(&mut self, call: Call) {
        match call {
            Call::Receive { at_most } => self.receive(at_most.into()),
            Call::ReceiveDirectly { at_most } => self.receive_directly(at_most.into()),
            Call::ReceiveMuch => self.receive_shortly(READ_SIZE),
            Call::Send { opcode, payload, mask } => self.send(opcode, &payload.into_vec(), mask),
            Call::SendHeader { opcode, payload_len } => self.send_header(opcode, payload_len % LONGEST),
            Call::Close { code, reason, mask } => self.close(code, &reason, mask),
            Call::Fail { mask } => self.fail(mask),
            Call::Abandon => self.abandon(),
            Call::TransportClosed => self.transport_closed(),
        }
        self.check_state();
        self.check_memory();
    }

    /// Lets the rest arrive, and compares all events with those of the reference.
    pub fn finish(mut self) {
        while self.can_receive() && !self.rest().is_empty() {
            self.receive(READ_SIZE);
        }
        self.check_state();
        reference::events(&self.terms, &self.wire[..self.looked_at]).check(&self.seen);
        drop(self.connection);
        assert_eq!(HELD.get(), 0, "a connection takes its memory along");
    }

    /// Returns the bytes that have yet to arrive.
    fn rest(&self) -> &[u8] {
        &self.wire[self.at..]
    }

    fn can_receive(&self) -> bool {
        !self.peer_is_done && !self.is_abandoned && !self.is_gone
    }

    fn can_close(&self) -> bool {
        !self.close_is_out && !self.is_abandoned && !self.is_gone
    }

    fn can_send(&self, opcode: u8) -> bool {
        self.can_close() && (opcode == CLOSE || !self.peer_is_done)
    }

    fn check_state(&self) {
        assert_eq!(self.connection.can_receive(), self.can_receive());
        assert!((0..=15).all(|opcode| self.connection.can_send(opcode) == self.can_send(opcode)));
        assert_eq!(self.connection.is_masked(), self.terms.config.masked);
    }

    /// Checks that no more memory is held than has arrived: a length in a header is only a claim.
    fn check_memory(&self) {
        let Terms { config, max_message_size, deflate } = self.terms;
        let held = HELD.get() as u64;
        assert!(deflate.is_some() || held <= self.looked_at as u64, "{held} octets held of {}", self.looked_at);
        let frames = config.max_fragments.max(1);
        assert!(config.max_payload_size.is_none_or(|limit| held <= limit * frames), "more held than a message");
        assert!(max_message_size.is_none_or(|limit| held <= limit), "more held than max_message_size");
    }

    fn receive(&mut self, at_most: usize) {
        let offered = self.rest()[..at_most.min(self.rest().len())].to_vec();
        let mut octets = offered.clone();
        let mut input = &mut octets[..];
        let result = self.connection.receive(&mut input).map(|event| event.map(Seen::from));
        let left = input.len();
        let used = if result.is_err() { offered.len() } else { offered.len() - left };
        self.at += used;
        if !self.can_receive() {
            return assert_eq!((result, left), (Ok(None), 0), "input is discarded");
        }
        match &result {
            Ok(None) => assert_eq!(left, 0, "all input is taken"),
            Ok(Some(_)) => assert_eq!(*input, offered[used..], "what is not taken is untouched"),
            Err(_) => {}
        }
        self.looked_at = self.at;
        self.note(result);
        self.check_next_frame();
    }

    fn receive_shortly(&mut self, at_most: usize) {
        let offered = self.rest()[..at_most.min(self.rest().len())].to_vec();
        let mut octets = offered.clone();
        let mut input = &mut octets[..];
        let Some((opcode, payload)) = self.connection.receive_whole(&mut input) else {
            assert_eq!(octets, offered, "a refusal changes nothing");
            return self.receive(at_most);
        };
        assert!(self.can_receive());
        let seen = Seen::Message(opcode, payload.to_vec());
        let used = offered.len() - input.len();
        assert_eq!(*input, offered[used..], "what is not taken is untouched");
        self.at += used;
        self.looked_at = self.at;
        self.note(Ok(Some(seen)));
        self.check_next_frame();
    }

    fn receive_directly(&mut self, at_most: usize) {
        let Some((buffer, missing)) = self.connection.payload_space() else { return self.receive(at_most) };
        assert!(missing > 0 && self.terms.config.max_payload_size.is_none_or(|limit| missing <= limit));
        let rest = &self.wire[self.at..];
        let len = at_most.min(rest.len()).min(usize::try_from(missing).unwrap_or(usize::MAX));
        buffer.extend_from_slice(&rest[..len]);
        self.at += len;
        self.looked_at = self.at;
        let result = self.connection.payload_appended(len).map(|event| event.map(Seen::from));
        self.note(result);
    }

    fn note(&mut self, result: Result<Option<Seen>, ProtocolError>) {
        let seen = match result {
            Ok(None) => return,
            Ok(Some(seen)) => seen,
            Err(error) => Seen::Violation(error),
        };
        if let Some(error) = violation(&seen) {
            assert!(error.close_code().is_allowed_on_the_wire(), "{} answers {error}", error.close_code());
        }
        self.peer_is_done = matches!(seen, Seen::Close(..) | Seen::Violation(_));
        self.seen.push(seen);
    }

    fn check_next_frame(&self) {
        let is_whole = match reference::header_with(self.rest(), self.terms.deflate.is_some()) {
            Ok(Some((header, at))) => (self.rest().len() - at) as u64 >= header.payload_len,
            _ => false,
        };
        assert_eq!(self.connection.is_frame_complete(self.rest()), is_whole && self.can_receive());
    }

    fn send(&mut self, opcode: u8, payload: &[u8], mask: Option<MaskKey>) {
        let before = self.out.len();
        let result = self.connection.send(opcode, payload, mask, &mut self.out);
        self.check_admission(opcode, payload.len(), result);
        let sent = if result == Ok(true) { Some(payload) } else { None };
        self.check_frame(before, opcode, sent, mask);
    }

    fn send_header(&mut self, opcode: u8, payload_len: usize) {
        if self.connection.compresses(opcode, payload_len) {
            return self.send(opcode, &vec![0; payload_len], None);
        }
        let before = self.out.len();
        let result = self.connection.send_header(opcode, &vec![0; payload_len], &mut self.out);
        self.check_admission(opcode, payload_len, result);
        let header = self.out.split_off(before);
        assert_eq!(header.is_empty(), result != Ok(true));
        if let Some(read) = RawHeader::read(&header) {
            let expected = (0x80 | opcode, payload_len as u64, None, header.len());
            assert_eq!((read.first_byte, read.payload_len, read.mask, read.len), expected);
        }
    }

    fn check_admission(&mut self, opcode: u8, payload_len: usize, result: Result<bool, UsageError>) {
        let expected = match opcode {
            16.. => Err(UsageError::OpcodeOutOfRange),
            8.. if payload_len > MAX_CONTROL_PAYLOAD => Err(UsageError::OversizedControl(payload_len)),
            _ => Ok(self.can_send(opcode)),
        };
        assert_eq!(result, expected);
        self.close_is_out |= opcode == CLOSE && result == Ok(true);
    }

    fn close(&mut self, code: Option<u16>, reason: &str, mask: Option<MaskKey>) {
        let (before, can_close) = (self.out.len(), self.can_close());
        let is_sent = self.connection.close(code.map(CloseCode::new), reason, mask, &mut self.out);
        assert_eq!(is_sent, can_close);
        self.close_is_out |= is_sent;
        let kept = (0..=reason.len().min(MAX_CONTROL_PAYLOAD - 2)).rev().find(|&at| reason.is_char_boundary(at));
        let reason = &reason[..kept.unwrap_or_default()];
        let body = code.map_or(vec![], |code| [&code.to_be_bytes(), reason.as_bytes()].concat());
        self.check_frame(before, CLOSE, is_sent.then_some(&body), mask);
    }

    fn fail(&mut self, mask: Option<MaskKey>) {
        let Some(error) = self.seen.last().and_then(violation) else { return };
        let code = error.close_code();
        let (before, can_close) = (self.out.len(), self.can_close());
        let is_sent = self.connection.fail(error, mask, &mut self.out);
        assert_eq!(is_sent, can_close);
        self.close_is_out |= is_sent;
        self.check_frame(before, CLOSE, is_sent.then_some(&code.value().to_be_bytes()), mask);
    }

    /// Checks that the output after `before` is this frame, or nothing.
    fn check_frame(&mut self, before: usize, opcode: u8, payload: Option<&[u8]>, mask: Option<MaskKey>) {
        let frame = self.out.split_off(before);
        let Some(payload) = payload else { return assert!(frame.is_empty(), "nothing may be sent") };
        let header = RawHeader::read(&frame).expect("a whole header");
        let octets = reference::unmasked(&frame[header.len..], mask);
        assert_eq!((header.payload_len, header.mask), (octets.len() as u64, mask));
        if header.first_byte == 0xc0 | opcode {
            return self.check_compressed(opcode, &octets, payload);
        }
        assert_eq!(header.first_byte, 0x80 | opcode);
        assert_eq!(octets, payload);
    }

    fn check_compressed(&mut self, opcode: u8, octets: &[u8], payload: &[u8]) {
        let deflate = self.terms.deflate.expect("compression was negotiated");
        assert!(matches!(opcode, 1 | 2) && payload.len() >= deflate.threshold);
        assert!(octets.len() < payload.len(), "{} octets for {}", octets.len(), payload.len());
        let (mut inflated, at_most) = (Vec::new(), payload.len() + 1);
        assert_eq!(self.inflater.inflate(octets, at_most, &mut inflated), Outcome::Done);
        assert_eq!(self.inflater.end(at_most, &mut inflated), Outcome::Done);
        assert_eq!(inflated, payload);
    }

    pub fn forget_idle_window(&mut self) {
        let had_window = self.connection.has_window();
        let has_window = self.connection.forget_idle_window();
        assert!(has_window == self.connection.has_window() && has_window <= had_window);
    }

    fn abandon(&mut self) {
        self.connection.abandon();
        self.is_abandoned = true;
    }

    fn transport_closed(&mut self) {
        assert_eq!(self.connection.transport_closed(), !self.is_gone, "news once");
        self.is_gone = true;
    }
}

fn violation(seen: &Seen) -> Option<ProtocolError> {
    match seen {
        Seen::Violation(error) | Seen::Close(_, _, Some(error)) => Some(*error),
        _ => None,
    }
}
