//! An endpoint whose observable effects can all be compared, for the property tests and the fuzz targets.

use anyevent_websocket::engine::{
    CloseCode, CloseFrame, Config, Connection, DeflateConfig, DeflatePool, Event, MaskKey, MessageBuffer, Notice,
    Opcode, Payload, ProtocolError,
};
use bytes::BytesMut;
use std::rc::Rc;

pub const KEY: MaskKey = [0x37, 0xfa, 0x21, 0x3d];

/// An event that owns its data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    Message(Opcode, Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<u16>, Vec<u8>, Option<ProtocolError>),
    Violation(ProtocolError),
}

impl<B: MessageBuffer> From<Event<'_, B>> for Seen {
    fn from(event: Event<'_, B>) -> Self {
        match event {
            Event::Message { opcode, payload: Payload::Borrowed(octets) } => Self::Message(opcode, octets.into()),
            Event::Message { opcode, payload: Payload::Owned(mut buffer) } => {
                Self::Message(opcode, buffer.as_mut_slice().into())
            }
            Event::Chunk { .. } => unreachable!("nobody has asked for chunks"),
            Event::Ping(payload) => Self::Ping(payload.as_slice().into()),
            Event::Notice(Notice::Pong(payload)) => Self::Pong(payload.as_slice().into()),
            Event::Notice(notice) => unreachable!("the engine does not report {notice:?}"),
            Event::Close(frame) => Self::from(*frame),
        }
    }
}

impl From<CloseFrame> for Seen {
    fn from(frame: CloseFrame) -> Self {
        Self::Close(frame.code.map(CloseCode::value), frame.reason().into(), frame.error)
    }
}

/// Returns the peer's view of what was negotiated; the peer compresses with the same effort.
pub fn peer_of(deflate: DeflateConfig) -> DeflateConfig {
    DeflateConfig {
        window_bits: deflate.peer_window_bits,
        no_context_takeover: deflate.peer_no_context_takeover,
        peer_window_bits: deflate.window_bits,
        peer_no_context_takeover: deflate.no_context_takeover,
        ..deflate
    }
}

/// A connection and a program that echoes messages, answers pings and closes properly.
pub struct Endpoint {
    pub connection: Connection<BytesMut>,
    pub mask: Option<MaskKey>,
    /// The number of events after which the program closes by itself.
    closes_after: Option<usize>,
    pub seen: Vec<Seen>,
    pub sent: Vec<u8>,
}

impl Endpoint {
    pub fn new(config: Config, closes_after: Option<usize>) -> Self {
        let mask = config.masked.then_some(KEY);
        Self { connection: Connection::new(config), mask, closes_after, seen: Vec::new(), sent: Vec::new() }
    }

    pub fn compressing(config: Config, deflate: DeflateConfig, pool: &Rc<DeflatePool>) -> Self {
        let mut endpoint = Self::new(config, None);
        assert!(endpoint.connection.enable_deflate(deflate, pool));
        endpoint
    }

    /// Receives bytes; messages take the shortcut wherever possible.
    pub fn receive_shortly(&mut self, bytes: &[u8]) {
        let mut bytes = bytes.to_vec();
        let mut input = &mut bytes[..];
        while let Some((opcode, payload)) = self.connection.receive_whole(&mut input) {
            let seen = Seen::Message(opcode, payload.to_vec());
            self.answer(seen);
        }
        let rest = input.to_vec();
        self.receive(&rest);
    }

    /// Receives bytes, all of them through the input.
    pub fn receive(&mut self, bytes: &[u8]) {
        let mut bytes = bytes.to_vec();
        let mut input = &mut bytes[..];
        loop {
            match self.connection.receive(&mut input).map(|event| event.map(Seen::from)) {
                Ok(None) => break assert!(input.is_empty(), "all input is taken"),
                Ok(Some(seen)) => self.answer(seen),
                Err(error) => self.answer(Seen::Violation(error)),
            }
        }
    }

    /// Receives bytes; payload goes straight into the message wherever possible, the rest through the input.
    pub fn receive_directly(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        while let Some((buffer, missing)) = self.connection.payload_space().filter(|_| !rest.is_empty()) {
            let len = missing.min(rest.len() as u64) as usize;
            buffer.extend_from_slice(&rest[..len]);
            rest = &rest[len..];
            match self.connection.payload_appended(len).map(|event| event.map(Seen::from)) {
                Ok(None) => {}
                Ok(Some(seen)) => self.answer(seen),
                Err(error) => self.answer(Seen::Violation(error)),
            }
        }
        self.receive(rest);
    }

    fn answer(&mut self, seen: Seen) {
        match &seen {
            Seen::Message(opcode, payload) => self.send(*opcode, payload),
            Seen::Ping(payload) => self.send(Opcode::Pong, payload),
            Seen::Pong(_) => {}
            Seen::Violation(error) | Seen::Close(_, _, Some(error)) => {
                self.connection.fail(*error, self.mask, &mut self.sent);
            }
            Seen::Close(code, _, None) => self.close(code.map(CloseCode::new)),
        }
        self.seen.push(seen);
        if self.closes_after == Some(self.seen.len()) {
            self.close(Some(CloseCode::NORMAL));
        }
    }

    pub fn send(&mut self, opcode: Opcode, payload: &[u8]) {
        self.connection.send(opcode as u8, payload, self.mask, &mut self.sent).expect("such a frame may exist");
    }

    fn close(&mut self, code: Option<CloseCode>) {
        self.connection.close(code, "", self.mask, &mut self.sent);
    }
}
