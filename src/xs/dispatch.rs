//! From the engine to callbacks.
//!
//! A loop in `glue.c` asks [`Connection::next_call`] what to call, calls it, and asks again; so no Rust frame is on the
//! stack while Perl runs. Callbacks that are due are queued in the connection: one that runs the event loop comes by here
//! again, and then those behind it are called before any later message is looked at.

use super::after::{After, shim};
use super::buffer::PerlBuffer;
use super::callbacks::{self, Pair};
use super::clock;
use super::connection::{Connection, Shared};
use super::ffi::{self, Perl, SV};
use super::handle::Route;
use super::keys::Key;
use super::mask_keys;
use super::send;
use super::sv;
use super::turn::Left;
use crate::engine::{CloseFrame, ControlPayload, Event, Opcode, Payload, ProtocolError};
use std::cell::RefCell;
use std::ffi::{CStr, c_char, c_int, c_void};
use std::ptr::{from_ref, null, null_mut};

/// With more than this queued, bytes, only the last of the unanswered pings is answered: "If an endpoint receives a Ping
/// frame and has not yet sent Pong frame(s) in response to previous Ping frame(s), the endpoint MAY elect to send a Pong
/// frame for only the most recently processed Ping frame." (RFC 6455, 5.5.3)
const MAX_PONG_BACKLOG: usize = 64 * 1024;

const MAX_ARGS: usize = 3;

/// What is to be called next; the same struct stands in `glue.c`, which puts the connection before the arguments.
#[repr(C)]
pub struct Call {
    /// A code reference, or null for a method.
    sub: *mut SV,
    method: *const c_char,
    args: [*mut SV; MAX_ARGS],
    count: c_int,
    /// The first of `owned` is a message, to be made into the next one if the callbacks let it go.
    has_message: bool,
    /// More than one frame is to be dispatched.
    are_many: bool,
    /// What is freed after the call.
    owned: [*mut SV; MAX_ARGS],
}

impl Call {
    const EMPTY: Self = Self {
        sub: null_mut(),
        method: null(),
        args: [null_mut(); MAX_ARGS],
        count: 0,
        has_message: false,
        are_many: false,
        owned: [null_mut(); MAX_ARGS],
    };

    /// A method with arguments that are freed after the call.
    fn method<const N: usize>(name: &'static CStr, args: [*mut SV; N]) -> Self {
        let mut padded = [null_mut(); MAX_ARGS];
        padded[..N].copy_from_slice(&args);
        Self { method: name.as_ptr(), args: padded, count: N as c_int, owned: padded, ..Self::EMPTY }
    }

    fn next_message(callback: *mut SV, message: *mut SV) -> Self {
        let args = [message, null_mut(), null_mut()];
        Self { sub: callback, args, count: 1, has_message: true, owned: [message, callback, null_mut()], ..Self::EMPTY }
    }

    /// `entry` is the element that refers to the pair; its reference count is handed over.
    #[inline]
    fn each_message(perl: Perl, entry: *mut SV, pair: Pair, message: *mut SV, is_nested: bool) -> Self {
        // An outer call of the callback may still have what was handed out last.
        let (unregister, once) = match is_nested {
            false => (pair.hand_out(perl), null_mut()),
            true => {
                let once = pair.hand_out_once(perl);
                (once, once)
            }
        };
        let (args, owned) = ([message, unregister, null_mut()], [message, entry, once]);
        Self { sub: pair.callback, args, count: 2, has_message: true, owned, ..Self::EMPTY }
    }

    /// Calls nothing; what the job has is freed.
    fn nothing(message: *mut SV, other: *mut SV) -> Self {
        Self { has_message: true, owned: [message, other, null_mut()], ..Self::EMPTY }
    }
}

/// Something that is due; all values' reference counts are the job's.
pub enum Job {
    /// A callback may run the event loop from now on, and must not keep the messages behind it from being delivered.
    ExpectRecursion,
    /// A message nobody has seen.
    Message(*mut SV),
    /// A next_message callback.
    Next { callback: *mut SV, message: *mut SV },
    /// The each_message callbacks, of which the list is looked at only now.
    EachList { message: *mut SV },
    /// An element of the list of each_message callbacks.
    Each { entry: *mut SV, message: *mut SV },
    /// A part of a message nobody has seen.
    Chunk { message: *mut SV, is_final: bool },
    /// A ping nobody has seen.
    Ping(Box<ControlPayload>),
    /// A ping is to be answered.
    AnswerPing(Box<ControlPayload>),
    /// The callbacks for pings are to be called.
    TellPing(Box<ControlPayload>),
    /// The callbacks for pongs are to be called.
    TellPong(Box<ControlPayload>),
    /// The peer's Close frame is to be answered.
    Close(Box<CloseFrame>),
    /// The connection is to be failed.
    Fail(ProtocolError),
}

impl Job {
    /// The values whose reference counts are the job's.
    fn values(&self) -> impl Iterator<Item = *mut SV> {
        let values = match *self {
            Self::Next { callback, message } => [callback, message],
            Self::Each { entry, message } => [entry, message],
            Self::Message(message) | Self::EachList { message } | Self::Chunk { message, .. } => [message, null_mut()],
            _ => [null_mut(); 2],
        };
        values.into_iter().filter(|value| !value.is_null())
    }
}

/// How the loop came to its end.
pub enum Outcome {
    /// Nothing is left to be called.
    Done,
    /// A callback died with this exception, whose reference count is handed over.
    Died(*mut SV),
    /// A callback called `exit`.
    Exiting,
}

/// Has the trampoline dispatch all that has arrived, and what comes while it does.
pub fn pump(shared: &Shared, after: &mut After) {
    shared.borrow_mut().dispatch(shared, after);
}

/// The transport is gone: has the trampoline dispatch what a dispatch has left, to the end.
pub fn deliver_rest(shared: &Shared, after: &mut After) {
    let connection = &mut *shared.borrow_mut();
    if connection.turn.is_idle() && !connection.inbox.rest().is_empty() {
        connection.turn.finish();
        connection.dispatch(shared, after);
    }
}

/// Answers the last of the pings that came while too much was queued, if that has changed; says whether one still waits.
pub fn answer_pending_ping(perl: Perl, shared: &Shared, after: &mut After) -> bool {
    let connection = &mut *shared.borrow_mut();
    if connection.handle(perl).backlog() > MAX_PONG_BACKLOG && connection.engine.can_send(Opcode::Pong as u8) {
        return true;
    }
    if let Some(payload) = connection.pending_pong.take() {
        connection.jobs.push_back(Job::AnswerPing(payload));
        connection.dispatch(shared, after);
    }
    false
}

/// The dispatch that [`pump`] asked for is over: writes what was sent meanwhile, and says what is to be called for that.
pub fn finish(perl: Perl, shared: &RefCell<Connection>, outcome: Outcome, after: &mut After) {
    let connection = &mut *shared.borrow_mut();
    let left = connection.turn.leave();
    connection.callback_stack = null();
    if matches!(outcome, Outcome::Exiting) && connection.forks != mask_keys::fork_generation() {
        // What was to be done, and is to be written, is the parent's to do; but not what was sent here.
        after.forget_calls();
        if connection.cork.as_ref().is_none_or(|cork| cork.forks != mask_keys::fork_generation()) {
            return after.exiting();
        }
    }
    if connection.turn.is_idle() {
        connection.inbox.keep_rest(&connection.messages.scratch);
        // First, as what is called otherwise may dispatch again.
        match left {
            Some(Left::Messages) => after.calling_first(shim::GO_ON_LATER, [connection.reference(perl)]),
            Some(Left::Nothing) => after.calling_first(shim::FORGET_RECURSION, [connection.reference(perl)]),
            None => {}
        }
    }
    if let Some(error) = connection.failure.take() {
        let text = sv::new_string(perl, error.to_string().as_bytes());
        after.calling_first(shim::FAILING, [connection.reference(perl), text]);
        // Without random bytes for its mask the Close frame stays unsent; the connection is down all the same.
        let _ = send::fail(perl, connection, error, after);
        return after.calling(shim::FAILED, [connection.reference(perl)]);
    }
    if let Outcome::Died(exception) = outcome {
        let is_exception = sv::new_number(perl, 1);
        after.calling_first(shim::FAILING, [connection.reference(perl), exception, is_exception]);
    }
    send::flush(perl, connection, after);
    send::trace(perl, connection, after);
    match outcome {
        Outcome::Done => {}
        Outcome::Exiting => after.exiting(),
        Outcome::Died(_) => {
            connection.engine.abandon();
            connection.clear_inbox();
            for value in std::mem::take(&mut connection.jobs).iter().flat_map(Job::values) {
                sv::free_later(perl, value);
            }
            after.calling(shim::FAILED, [connection.reference(perl)]);
        }
    }
}

impl Connection {
    /// `shared` is where this connection is.
    fn dispatch(&mut self, shared: &Shared, after: &mut After) {
        self.turn.enter();
        self.forks = mask_keys::fork_generation();
        after.dispatching(sv::retain(self.object.cast()), from_ref(shared).cast(), &self.messages);
    }

    /// Decides what to call next on Perl's `stack`, now that `call` has been called, and puts it there. Returns `false` if
    /// nothing is left.
    pub fn next_call(&mut self, perl: Perl, stack: *const c_void, call: &mut Call) -> bool {
        self.callback_stack = stack;
        if call.has_message {
            self.messages.keep(call.owned[0]);
        }
        if call.has_message || !call.method.is_null() {
            self.note_callback(perl);
        }
        while let Some(job) = self.next_job() {
            if let Some(next) = self.prepare(perl, job) {
                *call = next;
                if self.cork.is_some() && !self.turn.is_quick() {
                    // Nobody knows how long this takes. What the kernel does not take waits for the end of the dispatch.
                    send::flush_natively(perl, self);
                }
                return true;
            }
        }
        false
    }

    /// What is due, or else the next event, if it may be looked at now.
    #[inline]
    fn next_job(&mut self) -> Option<Job> {
        if let Some(job) = self.jobs.pop_front() {
            return Some(job);
        }
        if !self.turn.may_deliver() {
            return None;
        }
        let job = self.next_event()?;
        let is_complete = self.engine.is_frame_complete(self.inbox.rest());
        if self.turn.note_next(is_complete, clock::monotonic) {
            self.jobs.push_front(job);
            return Some(Job::ExpectRecursion);
        }
        Some(job)
    }

    /// The next event in the inbox.
    fn next_event(&mut self) -> Option<Job> {
        let Self { engine, inbox, messages, .. } = self;
        let mut input = inbox.rest_mut();
        let event = engine.receive(&mut input).transpose();
        let left = input.len();
        let job = event.map(|event| messages.job(event));
        inbox.keep_last(left);
        if job.is_none() {
            inbox.clear(&messages.scratch);
        }
        job
    }

    /// Takes what the engine said of bytes that never were in the inbox.
    pub fn queue(&mut self, event: Result<Event<'_, PerlBuffer>, ProtocolError>) {
        let job = self.messages.job(event);
        self.jobs.push_back(job);
    }

    fn prepare(&mut self, perl: Perl, job: Job) -> Option<Call> {
        if self.engine.has_trace() {
            self.jobs.push_front(job);
            return Some(Call::method(c"_trace", [self.trace_lines(perl)]));
        }
        match job {
            Job::ExpectRecursion => Some(Call { are_many: true, ..Call::method(c"_expect_recursion", []) }),
            Job::Message(message) => self.call_for(perl, message),
            Job::Next { callback, message } => Some(Call::next_message(callback, message)),
            Job::Each { entry, message } => Some(match Pair::of(entry) {
                Some(pair) => Call::each_message(perl, entry, pair, message, self.turn.is_nested()),
                None => Call::nothing(message, entry),
            }),
            Job::EachList { message } => {
                let each = self.callbacks(perl, Key::EachMessage);
                if each.is_some_and(callbacks::has_unpaired) {
                    self.jobs.push_front(Job::EachList { message });
                    return Some(Call::method(c"_pair_up", []));
                }
                let entries = each.map(callbacks::elements).unwrap_or_default();
                let jobs = entries.into_iter().map(|entry| Job::Each { entry, message: sv::retain(message) });
                self.jobs.extend(jobs);
                // Freed by the loop as what it called last.
                Some(Call::nothing(message, null_mut()))
            }
            Job::Chunk { message, is_final } => {
                Some(Call::method(c"_chunk_received", [message, sv::new_number(perl, is_final.into())]))
            }
            Job::Ping(_) | Job::TellPong(_) if self.is_flooded() => None,
            Job::Ping(payload) => {
                if self.callbacks(perl, Key::Ping).is_some() {
                    self.jobs.push_front(Job::TellPing(payload.clone()));
                }
                self.answer_in_time(perl, payload)
            }
            Job::AnswerPing(payload) => self.answer_in_time(perl, payload),
            Job::TellPing(payload) => Some(self.tell(c"_ping_received", &payload)),
            Job::TellPong(payload) => self.callbacks(perl, Key::Pong).map(|_| self.tell(c"_pong_received", &payload)),
            Job::Close(frame) => Some(self.answer_close(perl, &frame)),
            Job::Fail(error) => {
                self.failure = Some(error);
                None
            }
        }
    }

    /// The call for a message with one callback; if there are more, they are queued.
    fn call_for(&mut self, perl: Perl, message: *mut SV) -> Option<Call> {
        // SAFETY: live arrays, and no Perl code runs.
        let slots = |list| unsafe { sv::slots(list) };
        let next = self.callbacks(perl, Key::NextMessage).filter(|&list| !slots(list).is_empty());
        if let (None, Some(each), true) = (next, self.callbacks(perl, Key::EachMessage), self.jobs.is_empty()) {
            if let (&[entry], Some(pair)) = (slots(each), slots(each).first().and_then(|&entry| Pair::of(entry))) {
                return Some(Call::each_message(perl, sv::retain(entry), pair, message, self.turn.is_nested()));
            }
        }
        if let Some(next) = next {
            // SAFETY: a live array; its elements' reference counts come with them.
            let callbacks = (0..slots(next).len()).map(|_| unsafe { ffi::ws_shift(perl, next) });
            self.jobs.extend(callbacks.map(|callback| Job::Next { callback, message: sv::retain(message) }));
        }
        self.jobs.push_back(Job::EachList { message });
        None
    }

    /// Whether the peer does not read what it is sent.
    fn is_peer_behind(&mut self, perl: Perl) -> bool {
        if self.handle(perl).backlog() > MAX_PONG_BACKLOG {
            send::flush_natively(perl, self);
        }
        self.handle(perl).backlog() > MAX_PONG_BACKLOG
    }

    /// Counts a control frame. Returns whether they come too often, which ends the connection.
    fn is_flooded(&mut self) -> bool {
        let Some(Err(error)) = self.control_rate.as_mut().map(|rate| rate.count()) else { return false };
        self.engine.refuse();
        self.failure = Some(error);
        true
    }

    /// Answers a ping, once the peer reads.
    fn answer_in_time(&mut self, perl: Perl, payload: Box<ControlPayload>) -> Option<Call> {
        if self.is_peer_behind(perl) {
            let is_first = self.pending_pong.replace(payload).is_none();
            return is_first.then(|| Call::method(c"_expect_drain", []));
        }
        self.answer_ping(perl, &payload)
    }

    /// Answers a ping: through `send`, if a subclass has its own.
    fn answer_ping(&mut self, perl: Perl, payload: &ControlPayload) -> Option<Call> {
        let is_direct = !matches!(self.route(perl), Route::PushWrite { .. });
        if !is_direct || !self.messages.sends_natively(self.object) {
            let pong = self.messages.message(Opcode::Pong as u8, payload.as_slice());
            return Some(Call::method(c"send", [pong]));
        }
        // A pong that cannot be masked for want of random bytes is not sent; no frame could be.
        let _ = send::send_later(perl, self, Opcode::Pong as u8, payload.as_slice());
        None
    }

    /// Has the shim tell the program of a control frame.
    fn tell(&self, method: &'static CStr, payload: &ControlPayload) -> Call {
        Call::method(method, [self.messages.received_string(payload.as_slice())])
    }

    /// Hands a Close frame to the shim, which sets the attributes and, if the frame is in order, closes.
    fn answer_close(&mut self, perl: Perl, frame: &CloseFrame) -> Call {
        if let Some(error) = frame.error {
            self.jobs.push_front(Job::Fail(error));
        }
        let reason = self.messages.received_string(frame.reason());
        let code = match frame.code {
            Some(code) => sv::new_number(perl, code.value().into()),
            None => sv::new_undef(perl),
        };
        let is_valid = sv::new_number(perl, frame.error.is_none().into());
        Call::method(c"_close_received", [code, reason, is_valid])
    }

    /// After a callback, writes replies that have waited too long for those behind them.
    fn note_callback(&mut self, perl: Perl) {
        if self.turn.note_callback(clock::monotonic) && self.cork.is_some() {
            send::flush_natively(perl, self);
        }
    }
}

impl super::message::Messages {
    /// Takes an event out of the buffers it may lie in.
    fn job(&self, event: Result<Event<'_, PerlBuffer>, ProtocolError>) -> Job {
        match event {
            Ok(Event::Message { opcode, payload: Payload::Borrowed(octets) }) => {
                Job::Message(self.message(opcode as u8, octets))
            }
            Ok(Event::Message { opcode, payload: Payload::Owned(buffer) }) => {
                Job::Message(self.message_of_buffer(opcode as u8, buffer))
            }
            Ok(Event::Chunk { opcode, payload: Payload::Borrowed(octets), is_final }) => {
                Job::Chunk { message: self.message(opcode as u8, octets), is_final }
            }
            Ok(Event::Chunk { opcode, payload: Payload::Owned(buffer), is_final }) => {
                Job::Chunk { message: self.message_of_buffer(opcode as u8, buffer), is_final }
            }
            Ok(Event::Ping(payload)) => Job::Ping(payload),
            Ok(Event::Pong(payload)) => Job::TellPong(payload),
            Ok(Event::Close(frame)) => Job::Close(frame),
            Err(error) => Job::Fail(error),
        }
    }
}
