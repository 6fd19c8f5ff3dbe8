//! From the engine to callbacks.
//!
//! A loop in `glue.c` asks [`Connection::next_call`] what to call, calls it, and asks again; so no Rust frame is on the
//! stack while Perl runs. Callbacks that are due are queued in the connection: one that runs the event loop comes by here
//! again, and then those behind it are called before any later message is looked at.

use super::after::{After, shim};
use super::buffer::PerlBuffer;
use super::clock;
use super::connection::{Connection, Shared};
use super::ffi::{self, Perl};
use super::handle::Route;
use super::keys::Key;
use super::mask_keys;
use super::send;
use super::sv;
use super::turn::Left;
use crate::engine::{CloseFrame, ControlPayload, Event, Opcode, Payload, ProtocolError};
use libperl_rs::{AV, SV, thx};
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
    /// What is freed after the call.
    owned: [*mut SV; MAX_ARGS],
    /// Of `owned`: the message, to be made into the next one if the callbacks let it go.
    message: *mut SV,
    /// More than one frame is to be dispatched.
    are_many: bool,
}

impl Call {
    const EMPTY: Self = Self {
        sub: null_mut(),
        method: null(),
        args: [null_mut(); MAX_ARGS],
        count: 0,
        owned: [null_mut(); MAX_ARGS],
        message: null_mut(),
        are_many: false,
    };

    /// A method with arguments that are freed after the call.
    fn method<const N: usize>(name: &'static CStr, args: [*mut SV; N]) -> Self {
        let mut padded = [null_mut(); MAX_ARGS];
        padded[..N].copy_from_slice(&args);
        Self { method: name.as_ptr(), args: padded, count: N as c_int, owned: padded, ..Self::EMPTY }
    }

    fn next_message(callback: *mut SV, message: *mut SV) -> Self {
        let args = [message, null_mut(), null_mut()];
        Self { sub: callback, args, count: 1, owned: [message, callback, null_mut()], message, ..Self::EMPTY }
    }

    /// `entry` is an element of the list of each_message callbacks; if a program has made it something else, nothing is
    /// called. The sub that unregisters the callback is handed out in a scalar that is the callback's own.
    fn each_message(perl: Perl, entry: *mut SV, message: *mut SV, is_nested: bool) -> Self {
        let mut owned = [message, entry, null_mut()];
        let nothing = Self { owned, ..Self::EMPTY };
        let Some(entry) = sv::referent(entry).filter(|&entry| sv::is_plain_array(entry)) else { return nothing };
        let entry = entry.cast();
        let (Some(callback), Some(unregister)) = (element(perl, entry, 0), element(perl, entry, 1)) else {
            return nothing;
        };
        let Some(unregister) = sv::referent(unregister) else { return nothing };
        let unregister = match element(perl, entry, 2).filter(|_| !is_nested) {
            Some(kept) if sv::is_sole_reference_to(kept, unregister) => kept,
            _ => {
                let new = sv::new_reference(perl, unregister);
                match is_nested {
                    true => owned[2] = new,
                    false => sv::replace_element(perl, entry, 2, new),
                }
                new
            }
        };
        Self { sub: callback, args: [message, unregister, null_mut()], count: 2, owned, message, ..Self::EMPTY }
    }
}

/// Something that is due; all values' reference counts are the job's.
pub enum Job {
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
    if let Outcome::Exiting = outcome
        && connection.forks != mask_keys::fork_generation()
    {
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
                // SAFETY: a reference count of the job's; perl frees it when no Rust frame is left.
                unsafe { thx::Perl_sv_2mortal(perl, value) };
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

    /// What to call next on Perl's `stack`, now that `previous` has been called.
    pub fn next_call(&mut self, perl: Perl, stack: *const c_void, previous: &Call) -> Option<Call> {
        self.callback_stack = stack;
        if !previous.message.is_null() {
            self.messages.keep(previous.message);
        }
        if !previous.message.is_null() || !previous.method.is_null() {
            self.note_callback(perl);
        }
        loop {
            let job = match self.jobs.pop_front() {
                Some(job) => job,
                None if !self.turn.may_deliver() => return None,
                None => {
                    let job = self.next_event()?;
                    let is_complete = self.engine.is_frame_complete(self.inbox.rest());
                    if self.turn.note_next(is_complete, clock::monotonic) {
                        self.jobs.push_front(job);
                        return Some(Call { are_many: true, ..Call::method(c"_expect_recursion", []) });
                    }
                    job
                }
            };
            if let Some(call) = self.prepare(perl, job) {
                if self.cork.is_some() && !self.turn.is_quick() {
                    // Nobody knows how long this takes. What the kernel does not take waits for the end of the dispatch.
                    send::flush_natively(perl, self);
                }
                return Some(call);
            }
        }
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
            Job::Message(message) => self.call_for(perl, message),
            Job::Next { callback, message } => Some(Call::next_message(callback, message)),
            Job::Each { entry, message } => Some(Call::each_message(perl, entry, message, self.turn.is_nested())),
            Job::EachList { message } => {
                let each = self.callbacks(perl, Key::EachMessage);
                if each.is_some_and(|list| has_unpaired(perl, list)) {
                    self.jobs.push_front(Job::EachList { message });
                    return Some(Call::method(c"_pair_up", []));
                }
                let entries = each.into_iter().flat_map(|list| elements(perl, list));
                self.jobs.extend(entries.map(|entry| Job::Each { entry, message: sv::retain(message) }));
                // Freed by the loop as what it called last.
                Some(Call { owned: [message, null_mut(), null_mut()], message, ..Call::EMPTY })
            }
            Job::Chunk { message, is_final } => {
                Some(Call::method(c"_chunk_received", [message, sv::new_number(perl, is_final.into())]))
            }
            Job::Ping(_) | Job::TellPong(_) if let Some(error) = self.flood() => {
                self.engine.refuse();
                self.failure = Some(error);
                None
            }
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
        let next = self.callbacks(perl, Key::NextMessage).filter(|&list| len(perl, list) > 0);
        if let (None, Some(each)) = (next, self.callbacks(perl, Key::EachMessage))
            && len(perl, each) == 1
            && !has_unpaired(perl, each)
            && self.jobs.is_empty()
        {
            return Some(Call::each_message(perl, elements(perl, each).next()?, message, self.turn.is_nested()));
        }
        if let Some(next) = next {
            // SAFETY: the list is an array of ours; its elements' reference counts come with them.
            let callbacks = (0..len(perl, next)).map(|_| unsafe { thx::Perl_av_shift(perl, next) });
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

    /// What is wrong with a control frame that has just come, if they come too often.
    fn flood(&mut self) -> Option<ProtocolError> {
        self.control_rate.as_mut()?.count().err()
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
        // SAFETY: a live object.
        if !is_direct || unsafe { ffi::ws_send_is_overridden(perl, self.object) } != 0 {
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
        // SAFETY: new values.
        let (code, is_valid) = unsafe {
            let code = match frame.code {
                Some(code) => thx::Perl_newSViv(perl, code.value().into()),
                None => thx::Perl_newSV(perl, 0),
            };
            (code, thx::Perl_newSViv(perl, frame.error.is_none().into()))
        };
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

/// Whether the shim has yet to make pairs of a callback and its unregister sub, which callbacks alone take less memory than.
fn has_unpaired(perl: Perl, list: *mut AV) -> bool {
    let mut entries = (0..len(perl, list)).filter_map(|index| element(perl, list, index));
    entries.any(|entry| !sv::referent(entry).is_some_and(sv::is_plain_array))
}

fn len(perl: Perl, list: *mut AV) -> usize {
    // SAFETY: a live array.
    unsafe { (thx::AvFILLp(perl, list) + 1) as usize }
}

/// The element at an index, if it is there.
fn element(perl: Perl, list: *mut AV, index: usize) -> Option<*mut SV> {
    if index >= len(perl, list) {
        return None;
    }
    // SAFETY: a live array that reaches to this index; an element that is not there is null.
    Some(unsafe { *thx::AvARRAY(perl, list).add(index) }).filter(|element| !element.is_null())
}

/// The elements of an array, each kept alive for the caller as it is taken.
fn elements(perl: Perl, list: *mut AV) -> impl Iterator<Item = *mut SV> {
    (0..len(perl, list)).filter_map(move |index| element(perl, list, index)).map(sv::retain)
}
