//! From the engine to callbacks.
//!
//! A loop in `glue/calls.c` asks [`Connection::next_call`] what to call, calls it, and asks again; so no Rust frame is on the
//! stack while Perl runs. Callbacks that are due are queued in the connection: one that runs the event loop comes by here
//! again, and then those behind it are called before any later message is looked at.

use super::connection::{Connection, Failure, Shared};
use super::job::Job;
use super::shim;
use super::turn::Left;
use crate::engine::{Event, ProtocolError};
use crate::xs::io::clock;
use crate::xs::perl::buffer::PerlBuffer;
use crate::xs::perl::ffi::{After, Call, SV};
use crate::xs::perl::fork;
use crate::xs::perl::sv;
use std::ffi::c_void;
use std::ptr::{from_ref, null};

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
pub fn finish(shared: &Shared, outcome: Outcome, after: &mut After) {
    let connection = &mut *shared.borrow_mut();
    let left = connection.turn.leave();
    connection.running.stack = null();
    if matches!(outcome, Outcome::Exiting) && connection.running.process != fork::generation() {
        return connection.exit_in_child(after);
    }
    if connection.turn.is_idle() {
        connection.leave_to_loop(left, after);
    }
    if let Some(Failure::Violation(error)) = connection.failure {
        if let Outcome::Died(exception) = outcome {
            sv::free_later(connection.perl(), exception);
        }
        // Without random bytes for its mask the Close frame stays unsent; the connection is down all the same.
        let _ = connection.fail(error, after);
        return after.calling(shim::FAILED, [connection.reference()]);
    }
    connection.flush(after);
    connection.trace(after);
    match outcome {
        Outcome::Done => {}
        Outcome::Exiting => after.exiting(),
        Outcome::Died(exception) => connection.give_up(exception, after),
    }
}

impl Connection {
    /// Has the trampoline dispatch what has arrived; `shared` is where this connection is.
    pub fn dispatch(&mut self, shared: &Shared, after: &mut After) {
        self.turn.enter();
        self.running.process = fork::generation();
        after.dispatching(sv::retain(self.object.cast()), from_ref(shared).cast(), self.interpreter.dispatch_loop);
    }

    /// Decides what to call next on Perl's `stack`, now that `call` has been called, and puts it there. Returns `false` if
    /// nothing is left.
    pub fn next_call(&mut self, stack: *const c_void, call: &mut Call) -> bool {
        self.running.stack = stack;
        if call.has_message {
            self.interpreter.messages.keep(call.owned[0]);
        }
        if call.has_message || !call.method.is_null() {
            self.note_callback();
        }
        while let Some(job) = self.next_job() {
            if let Some(next) = self.prepare(job) {
                *call = next;
                if !self.outbox.is_empty() && !self.turn.is_quick() {
                    // Nobody knows how long this takes. What the kernel does not take waits for the end of the dispatch.
                    self.flush_natively();
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

    /// After a callback, writes replies that have waited too long for those behind them.
    fn note_callback(&mut self) {
        if self.turn.note_callback(clock::monotonic) && !self.outbox.is_empty() {
            self.flush_natively();
        }
    }

    /// A callback that has forked calls `exit` in the child. What was to be done, and is to be written, is the parent's to do;
    /// but not what was sent here.
    fn exit_in_child(&mut self, after: &mut After) {
        after.forget_calls();
        if self.outbox.has_frames_of(fork::generation()) {
            self.flush(after);
        }
        after.exiting();
    }

    /// The outermost dispatch is over: what it has left waits for the loop.
    fn leave_to_loop(&mut self, left: Option<Left>, after: &mut After) {
        self.inbox.keep_rest(&self.interpreter.scratch);
        // First, as what is called otherwise may dispatch again.
        match left {
            Some(Left::Messages) => after.calling_first(shim::GO_ON_LATER, [self.reference()]),
            Some(Left::Nothing) => after.calling_first(shim::FORGET_RECURSION, [self.reference()]),
            None => {}
        }
    }

    /// A callback has died: nothing more is delivered.
    fn give_up(&mut self, exception: *mut SV, after: &mut After) {
        self.failure = Some(Failure::Exception(exception));
        self.engine.abandon();
        self.clear_inbox();
        for value in std::mem::take(&mut self.jobs).iter().flat_map(Job::values) {
            sv::free_later(self.perl(), value);
        }
        after.calling(shim::FAILED, [self.reference()]);
    }
}
