//! A connection without a transport: bytes in, events out, bytes out. Whoever has the socket moves the bytes.
//!
//! Pings, the peer's Close and its violations are answered here, so that every transport answers them alike.

use super::conn::mask_keys;
use super::conn::message::MessagePool;
use super::io::clock;
use super::perl::buffer::PerlBuffer;
use super::perl::ffi::{Perl, SV, State};
use super::perl::fork;
use super::perl::magic::{self, Kind};
use super::perl::sv;
use crate::engine::{
    CloseCode, CloseFrame, Config, Connection, ControlPayload, DeflateConfig, DeflatePool, Event, MaskKey, Notice,
    Opcode, Payload, ProtocolError, UsageError,
};
use bytes::{Buf, BytesMut};
use std::cell::RefCell;
use std::ptr::null_mut;
use std::rc::Rc;
use thiserror::Error;

/// The pools that all codecs of one interpreter share.
struct Pools {
    messages: MessagePool,
    deflate: Rc<DeflatePool>,
}

/// The reason why no frame was queued: a mistake of the program, or a failure of the machine.
#[derive(Debug, Error)]
pub enum CodecError {
    #[error(transparent)]
    Usage(#[from] UsageError),
    #[error("no random bytes for a masking key: {0}")]
    Random(#[from] getrandom::Error),
}

/// The state of one codec.
pub struct Codec {
    engine: Connection<PerlBuffer>,
    pools: Rc<Pools>,
    /// Bytes from the peer that are not parsed yet.
    input: BytesMut,
    /// Bytes for the peer that are not written yet.
    output: BytesMut,
}

/// A codec, owned by its Perl object.
pub type Shared = RefCell<Codec>;

impl Codec {
    /// Creates a codec, and hangs it on its object. `sub` is the XSUB that keeps what the interpreter's codecs share.
    ///
    /// # Safety
    /// Both values are live.
    pub unsafe fn attach(perl: Perl, object: *mut SV, sub: *mut SV, config: Config) {
        fork::watch();
        let create = || Pools { messages: MessagePool::new(perl), deflate: Rc::default() };
        // SAFETY: `sub` is live, and state of this kind is `Pools`.
        let pools = unsafe { magic::get_or_attach(perl, sub, Kind::CodecPools, create) };
        let mut engine = Connection::new(config);
        engine.configure(clock::monotonic(), |_| {});
        let codec = Self { engine, pools, input: BytesMut::new(), output: BytesMut::new() };
        let shared: Rc<Shared> = Rc::new(RefCell::new(codec));
        // SAFETY: `object` is live.
        unsafe { magic::attach(perl, object, State::new(Kind::Codec, &shared), null_mut()) };
    }

    /// Takes bytes from the peer.
    pub fn receive(&mut self, octets: &[u8]) {
        if self.engine.can_receive() {
            self.input.extend_from_slice(octets);
        }
    }

    /// Returns the next event as a reference to an array, or `None` if more bytes are needed:
    /// `['message', $message]`, `['pong', $octets]`, `['close', $code, $reason]` or `['failure', $text]`.
    pub fn next_event(&mut self, perl: Perl) -> Option<*mut SV> {
        loop {
            let Self { engine, pools, input, .. } = self;
            let mut rest = &mut input[..];
            let event = engine.receive(&mut rest);
            let left = rest.len();
            // The payload of a message is copied here, before the input moves.
            let event = event.map(|event| event.map(|event| Arrived::of(event, &pools.messages)));
            self.input.advance(self.input.len() - left);
            match event {
                Ok(None) => return None,
                Ok(Some(Arrived::Ping(payload))) => {
                    if let Err(text) = self.answer_ping(payload) {
                        return Some(failure(perl, &text));
                    }
                }
                Ok(Some(Arrived::Message(message))) => return Some(report(perl, "message", [message])),
                Ok(Some(Arrived::Pong(payload))) => return Some(self.pong(perl, &payload)),
                Ok(Some(Arrived::Close(frame))) => return Some(self.answer_close(perl, &frame)),
                Err(error) => return Some(self.fail(perl, error)),
            }
        }
    }

    /// Queues a frame. Returns `false` if the connection no longer sends.
    ///
    /// # Errors
    /// No such frame may exist, or there are no random bytes.
    pub fn send(&mut self, opcode: u8, payload: &[u8]) -> Result<bool, CodecError> {
        if !self.engine.can_send(opcode) {
            return Ok(false);
        }
        self.send_owed_pong()?;
        let mask = self.next_mask()?;
        Ok(self.engine.send(opcode, payload, mask, &mut self.output)?)
    }

    /// Queues a Close frame. Returns `false` if one was queued before, or none may be sent any more.
    ///
    /// # Errors
    /// There are no random bytes.
    pub fn close(&mut self, code: Option<CloseCode>, reason: &str) -> Result<bool, CodecError> {
        let mask = self.next_mask()?;
        Ok(self.engine.close(code, reason, mask, &mut self.output))
    }

    /// Returns the next bytes for the peer, at most `max`.
    pub fn output(&self, max: usize) -> &[u8] {
        &self.output[..self.output.len().min(max)]
    }

    /// Removes bytes that were written from the front of the output.
    ///
    /// # Errors
    /// There are no random bytes for the pong that may follow.
    pub fn written(&mut self, count: usize) -> Result<(), CodecError> {
        self.output.advance(count.min(self.output.len()));
        if self.output.is_empty() {
            // One large message must not hold its memory for the life of the connection.
            self.output = BytesMut::new();
        }
        if self.engine.defers_pong(self.output.len()) { Ok(()) } else { self.send_owed_pong() }
    }

    /// Gives up the connection: nothing more is parsed or queued, and what is queued is dropped.
    pub fn abandon(&mut self) {
        self.engine.abandon();
        self.input = BytesMut::new();
        self.output = BytesMut::new();
    }

    /// Returns `true` if a message may be sent.
    pub fn can_send(&self) -> bool {
        self.engine.can_send(Opcode::Text as u8)
    }

    /// Compresses messages from now on and accepts compressed ones. Returns `false` if it is too late for that.
    pub fn enable_deflate(&mut self, config: DeflateConfig) -> bool {
        self.engine.enable_deflate(config, &self.pools.deflate)
    }

    /// Queues a pong, or remembers to do so once the peer has read more.
    fn answer_ping(&mut self, payload: Box<ControlPayload>) -> Result<(), String> {
        self.engine.count_control(clock::monotonic).map_err(|error| self.close_after(error))?;
        if self.engine.defers_pong(self.output.len()) {
            self.engine.owe_pong(payload);
            return Ok(());
        }
        self.send(Opcode::Pong as u8, payload.as_slice()).map(|_| ()).map_err(|error| error.to_string())
    }

    fn pong(&mut self, perl: Perl, payload: &ControlPayload) -> *mut SV {
        match self.engine.count_control(clock::monotonic) {
            Ok(()) => report(perl, "pong", [self.pools.messages.received_string(payload.as_slice())]),
            Err(error) => self.fail(perl, error),
        }
    }

    fn answer_close(&mut self, perl: Perl, frame: &CloseFrame) -> *mut SV {
        if let Some(error) = frame.error {
            return self.fail(perl, error);
        }
        if self.engine.owes_close() {
            // Without random bytes there is no answer; the peer's Close counts all the same.
            let _ = self.close(frame.code.filter(|&code| code != CloseCode::NO_STATUS), "");
        }
        let code = frame.code.unwrap_or(CloseCode::NO_STATUS);
        let reason = self.pools.messages.received_string(frame.reason());
        report(perl, "close", [sv::new_number(perl, code.value().into()), reason])
    }

    fn fail(&mut self, perl: Perl, error: ProtocolError) -> *mut SV {
        failure(perl, &self.close_after(error))
    }

    /// Queues the Close frame that reports a violation, and returns its text.
    fn close_after(&mut self, error: ProtocolError) -> String {
        // Without random bytes there is no Close frame, but the connection fails anyway.
        if let Ok(mask) = self.next_mask() {
            self.engine.fail(error, mask, &mut self.output);
        }
        error.to_string()
    }

    fn send_owed_pong(&mut self) -> Result<(), CodecError> {
        if self.engine.owes_pong() {
            let mask = self.next_mask()?;
            self.engine.send_owed_pong(mask, &mut self.output)?;
        }
        Ok(())
    }

    fn next_mask(&self) -> Result<Option<MaskKey>, getrandom::Error> {
        if self.engine.is_masked() { mask_keys::next_key().map(Some) } else { Ok(None) }
    }
}

/// An event that borrows nothing of the input.
enum Arrived {
    Message(*mut SV),
    Ping(Box<ControlPayload>),
    Pong(Box<ControlPayload>),
    Close(Box<CloseFrame>),
}

impl Arrived {
    fn of(event: Event<'_, PerlBuffer>, messages: &MessagePool) -> Self {
        match event {
            // Chunks only arrive on a connection that streams.
            Event::Message { opcode, payload } | Event::Chunk { opcode, payload, .. } => Self::Message(match payload {
                Payload::Borrowed(octets) => messages.message(opcode as u8, octets),
                Payload::Owned(buffer) => messages.with_buffer(opcode as u8, buffer),
            }),
            Event::Ping(payload) | Event::Notice(Notice::Ping(payload)) => Self::Ping(payload),
            Event::Notice(Notice::Pong(payload)) => Self::Pong(payload),
            Event::Close(frame) => Self::Close(frame),
        }
    }
}

fn report<const N: usize>(perl: Perl, kind: &'static str, values: [*mut SV; N]) -> *mut SV {
    sv::new_array(perl, std::iter::once(sv::new_string(perl, kind.as_bytes())).chain(values))
}

fn failure(perl: Perl, text: &str) -> *mut SV {
    report(perl, "failure", [sv::new_string(perl, text.as_bytes())])
}

/// Returns the codec of an object. `None` if it has none, or belongs to another thread.
///
/// # Safety
/// The object outlives the result.
pub unsafe fn find<'a>(perl: Perl, object: *mut SV) -> Option<&'a Shared> {
    // SAFETY: the object outlives the result; state of this kind is a codec.
    unsafe { magic::on(perl, object).get(Kind::Codec) }
}

/// Frees the state if it is one of this file's. Returns `true` if it was.
///
/// # Safety
/// `state` hung on a value, and is not used again.
pub unsafe fn free(state: &State) -> bool {
    // SAFETY: state of a kind is the pointer of an `Rc` of its type, given up here once.
    unsafe {
        if state.is(Kind::Codec) {
            drop(Rc::from_raw(state.state.cast::<Shared>()));
        } else if state.is(Kind::CodecPools) {
            drop(Rc::from_raw(state.state.cast::<Pools>()));
        } else {
            return false;
        }
    }
    true
}
