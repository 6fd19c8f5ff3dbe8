//! From the engine to callbacks.
//!
//! A loop in `glue.c` asks [`Connection::next_call`] what to call, calls it, and asks again; so no Rust frame is on the
//! stack while Perl runs. Callbacks that are due are queued in the connection: one that runs the event loop comes by here
//! again, and then those behind it are called before any later message is looked at.

use super::callbacks::{self, Pair};
use super::connection::{Connection, Shared};
use super::interpreter::Slot;
use super::job::Job;
use super::send;
use super::shim;
use super::turn::Left;
use crate::engine::{CloseFrame, ControlPayload, Event, Opcode, ProtocolError};
use crate::xs::io::clock;
use crate::xs::io::handle::Route;
use crate::xs::perl::buffer::PerlBuffer;
use crate::xs::perl::ffi::{self, After, Call, SV};
use crate::xs::perl::fork;
use crate::xs::perl::sv;
use std::cell::RefCell;
use std::ffi::{CStr, c_void};
use std::ptr::{from_ref, null, null_mut};

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
pub fn answer_pending_ping(shared: &Shared, after: &mut After) -> bool {
    let connection = &mut *shared.borrow_mut();
    if connection.engine.defers_pong(connection.handle().backlog()) {
        return true;
    }
    if let Some(payload) = connection.engine.take_owed_pong() {
        connection.jobs.push_back(Job::AnswerPing(payload));
        connection.dispatch(shared, after);
    }
    false
}

/// The dispatch that [`pump`] asked for is over: writes what was sent meanwhile, and says what is to be called for that.
pub fn finish(shared: &RefCell<Connection>, outcome: Outcome, after: &mut After) {
    let connection = &mut *shared.borrow_mut();
    let left = connection.turn.leave();
    connection.callback_stack = null();
    if matches!(outcome, Outcome::Exiting) && connection.forks != fork::generation() {
        // What was to be done, and is to be written, is the parent's to do; but not what was sent here.
        after.forget_calls();
        if connection.cork.as_ref().is_none_or(|cork| cork.forks != fork::generation()) {
            return after.exiting();
        }
    }
    if connection.turn.is_idle() {
        connection.inbox.keep_rest(&connection.interpreter.scratch);
        // First, as what is called otherwise may dispatch again.
        match left {
            Some(Left::Messages) => after.calling_first(shim::GO_ON_LATER, [connection.reference()]),
            Some(Left::Nothing) => after.calling_first(shim::FORGET_RECURSION, [connection.reference()]),
            None => {}
        }
    }
    if let Some(error) = connection.failure.take() {
        let text = sv::new_string(connection.perl(), error.to_string().as_bytes());
        after.calling_first(shim::FAILING, [connection.reference(), text]);
        // Without random bytes for its mask the Close frame stays unsent; the connection is down all the same.
        let _ = send::fail(connection, error, after);
        return after.calling(shim::FAILED, [connection.reference()]);
    }
    if let Outcome::Died(exception) = outcome {
        let is_exception = sv::new_number(connection.perl(), 1);
        after.calling_first(shim::FAILING, [connection.reference(), exception, is_exception]);
    }
    send::flush(connection, after);
    send::trace(connection, after);
    match outcome {
        Outcome::Done => {}
        Outcome::Exiting => after.exiting(),
        Outcome::Died(_) => {
            connection.engine.abandon();
            connection.clear_inbox();
            for value in std::mem::take(&mut connection.jobs).iter().flat_map(Job::values) {
                sv::free_later(connection.perl(), value);
            }
            after.calling(shim::FAILED, [connection.reference()]);
        }
    }
}

impl Connection {
    /// `shared` is where this connection is.
    fn dispatch(&mut self, shared: &Shared, after: &mut After) {
        self.turn.enter();
        self.forks = fork::generation();
        after.dispatching(sv::retain(self.object.cast()), from_ref(shared).cast(), self.interpreter.dispatch_loop);
    }

    /// Decides what to call next on Perl's `stack`, now that `call` has been called, and puts it there. Returns `false` if
    /// nothing is left.
    pub fn next_call(&mut self, stack: *const c_void, call: &mut Call) -> bool {
        self.callback_stack = stack;
        if call.has_message {
            self.interpreter.messages.keep(call.owned[0]);
        }
        if call.has_message || !call.method.is_null() {
            self.note_callback();
        }
        while let Some(job) = self.next_job() {
            if let Some(next) = self.prepare(job) {
                *call = next;
                if self.cork.is_some() && !self.turn.is_quick() {
                    // Nobody knows how long this takes. What the kernel does not take waits for the end of the dispatch.
                    send::flush_natively(self);
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
        let Self { engine, inbox, interpreter, .. } = self;
        let mut input = inbox.rest_mut();
        let event = engine.receive(&mut input).transpose();
        let left = input.len();
        let job = event.map(|event| Job::of(event, &interpreter.messages));
        inbox.keep_last(left);
        if job.is_none() {
            inbox.clear(&interpreter.scratch);
        }
        job
    }

    /// Takes what the engine said of bytes that never were in the inbox.
    pub fn queue(&mut self, event: Result<Event<'_, PerlBuffer>, ProtocolError>) {
        let job = Job::of(event, &self.interpreter.messages);
        self.jobs.push_back(job);
    }

    fn prepare(&mut self, job: Job) -> Option<Call> {
        if self.engine.has_trace() {
            self.jobs.push_front(job);
            return Some(Call::method(c"_trace", [self.trace_lines()]));
        }
        match job {
            Job::ExpectRecursion => Some(Call { are_many: true, ..Call::method(c"_expect_recursion", []) }),
            Job::Message(message) => self.call_for(message),
            Job::Next { callback, message } => Some(Call::next_message(callback, message)),
            Job::Each { entry, message } => Some(match Pair::of(entry) {
                Some(pair) => Call::each_message(self.perl(), entry, pair, message, self.turn.is_nested()),
                None => Call::nothing(message, entry),
            }),
            Job::EachList { message } => {
                let each = self.callbacks(Slot::EachMessage);
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
                Some(Call::method(c"_chunk_received", [message, sv::new_number(self.perl(), is_final.into())]))
            }
            Job::Ping(_) | Job::TellPong(_) if self.is_flooded() => None,
            Job::Ping(payload) => {
                if self.callbacks(Slot::Ping).is_some() {
                    self.jobs.push_front(Job::TellPing(payload.clone()));
                }
                self.answer_in_time(payload)
            }
            Job::AnswerPing(payload) => self.answer_in_time(payload),
            Job::TellPing(payload) => Some(self.tell(c"_ping_received", &payload)),
            Job::TellPong(payload) => self.callbacks(Slot::Pong).map(|_| self.tell(c"_pong_received", &payload)),
            Job::Close(frame) => Some(self.answer_close(&frame)),
            Job::Fail(error) => {
                self.failure = Some(error);
                None
            }
        }
    }

    /// The call for a message with one callback; if there are more, they are queued.
    fn call_for(&mut self, message: *mut SV) -> Option<Call> {
        // SAFETY: live arrays, and no Perl code runs.
        let slots = |list| unsafe { sv::slots(list) };
        let next = self.callbacks(Slot::NextMessage).filter(|&list| !slots(list).is_empty());
        if let (None, Some(each), true) = (next, self.callbacks(Slot::EachMessage), self.jobs.is_empty()) {
            if let (&[entry], Some(pair)) = (slots(each), slots(each).first().and_then(|&entry| Pair::of(entry))) {
                return Some(Call::each_message(self.perl(), sv::retain(entry), pair, message, self.turn.is_nested()));
            }
        }
        if let Some(next) = next {
            let perl = self.perl();
            // SAFETY: a live array; its elements' reference counts come with them.
            let callbacks = (0..slots(next).len()).map(|_| unsafe { ffi::ws_shift(perl, next) });
            self.jobs.extend(callbacks.map(|callback| Job::Next { callback, message: sv::retain(message) }));
        }
        self.jobs.push_back(Job::EachList { message });
        None
    }

    /// Counts a control frame. Returns `true` if they come too often, which ends the connection.
    fn is_flooded(&mut self) -> bool {
        self.failure = self.failure.or(self.engine.count_control(clock::monotonic).err());
        self.failure.is_some()
    }

    /// Answers a ping, once the peer reads.
    fn answer_in_time(&mut self, payload: Box<ControlPayload>) -> Option<Call> {
        if self.engine.defers_pong(self.handle().backlog()) {
            send::flush_natively(self);
        }
        if self.engine.defers_pong(self.handle().backlog()) {
            return self.engine.owe_pong(payload).then(|| Call::method(c"_expect_drain", []));
        }
        self.answer_ping(&payload)
    }

    /// Answers a ping: through `send`, if a subclass has its own.
    fn answer_ping(&mut self, payload: &ControlPayload) -> Option<Call> {
        let is_direct = !matches!(self.route(), Route::PushWrite { .. });
        if !is_direct || !self.interpreter.sends_natively(self.object) {
            let pong = self.interpreter.messages.message(Opcode::Pong as u8, payload.as_slice());
            return Some(Call::method(c"send", [pong]));
        }
        // A pong that cannot be masked for want of random bytes is not sent; no frame could be.
        let _ = send::send_later(self, Opcode::Pong as u8, payload.as_slice());
        None
    }

    /// Has the shim tell the program of a control frame.
    fn tell(&self, method: &'static CStr, payload: &ControlPayload) -> Call {
        Call::method(method, [self.interpreter.messages.received_string(payload.as_slice())])
    }

    /// Hands a Close frame to the shim, which sets the attributes and, if the frame is in order, closes.
    fn answer_close(&mut self, frame: &CloseFrame) -> Call {
        if let Some(error) = frame.error {
            self.jobs.push_front(Job::Fail(error));
        }
        let reason = self.interpreter.messages.received_string(frame.reason());
        let code = match frame.code {
            Some(code) => sv::new_number(self.perl(), code.value().into()),
            None => sv::new_undef(self.perl()),
        };
        let is_valid = sv::new_number(self.perl(), frame.error.is_none().into());
        Call::method(c"_close_received", [code, reason, is_valid])
    }

    /// After a callback, writes replies that have waited too long for those behind them.
    fn note_callback(&mut self) {
        if self.turn.note_callback(clock::monotonic) && self.cork.is_some() {
            send::flush_natively(self);
        }
    }
}
