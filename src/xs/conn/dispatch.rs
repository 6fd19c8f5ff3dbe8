//! From the engine to callbacks.
//!
//! A loop in `glue/calls.c` asks [`Connection::next_call`] for a call, makes it, and asks again; so no Rust frame is on
//! the stack while Perl code runs. Pending callbacks are queued in the connection. If a callback runs a nested event
//! loop, the nested dispatch first calls those that are still queued and only then delivers later messages.

use super::burst_guard::TimerCall;
use super::connection::{Connection, Failure, Shared};
use super::job::Job;
use super::perl_subs;
use super::turn::Remaining;
use crate::engine::{Event, ProtocolError};
use crate::xs::io::clock;
use crate::xs::perl::buffer::PerlBuffer;
use crate::xs::perl::ffi::{After, Call, SV};
use crate::xs::perl::fork;
use crate::xs::perl::sv;
use std::ffi::c_void;
use std::ptr::{from_ref, null};

/// How a dispatch ended.
pub enum Ending {
    /// No call is left to be made.
    Done,
    /// A callback died with this exception, whose reference count is taken over.
    Died(*mut SV),
    /// A callback called `exit`.
    Exiting,
}

/// Asks the trampoline to dispatch everything that has arrived, including what arrives meanwhile.
pub fn start(shared: &Shared, after: &mut After) {
    shared.borrow_mut().start_dispatch(shared, after);
}

/// Asks the trampoline to dispatch what a dispatch has left. In a process that was forked off meanwhile that is the
/// parent's.
pub fn deliver_pending(shared: &Shared, after: &mut After) {
    let connection = &mut *shared.borrow_mut();
    if connection.last_dispatch.process == fork::generation() {
        connection.start_dispatch(shared, after);
    }
}

/// Asks the trampoline to dispatch the remaining messages, after the transport has closed.
pub fn deliver_rest(shared: &Shared, after: &mut After) {
    let connection = &mut *shared.borrow_mut();
    if connection.has_rest() {
        connection.turn.finish();
        connection.start_dispatch(shared, after);
    }
}

/// Sends the pong that is owed, if the peer has read enough. Returns `true` if it is still too far behind.
pub fn answer_pending_ping(shared: &Shared, after: &mut After) -> bool {
    let connection = &mut *shared.borrow_mut();
    if connection.engine.defers_pong(connection.handle().backlog()) {
        return true;
    }
    if let Some(payload) = connection.engine.take_owed_pong() {
        connection.jobs.push_back(Job::AnswerPing(payload));
        connection.start_dispatch(shared, after);
    }
    false
}

/// Ends a dispatch: writes the frames sent in it, and schedules the calls that must follow.
pub fn end(shared: &Shared, ending: Ending, after: &mut After) {
    let connection = &mut *shared.borrow_mut();
    let has_taken = connection.take_handle_input();
    let mut left = connection.turn.leave();
    if has_taken && connection.turn.is_idle() && connection.turn.may_deliver() {
        left = Some(Remaining::Messages);
    }
    connection.last_dispatch.stack = null();
    if matches!(ending, Ending::Exiting) && connection.last_dispatch.process != fork::generation() {
        return connection.exit_in_child(after);
    }
    if connection.footprint.note_dispatch() {
        connection.renew_footprint();
    }
    if connection.turn.is_idle() {
        connection.leave_to_loop(left, after);
    }
    if let Some(Failure::Violation(error)) = connection.failure {
        match ending {
            Ending::Done => {}
            Ending::Exiting => after.continue_exit(),
            Ending::Died(exception) => sv::free_later(connection.perl(), exception),
        }
        // Without random bytes for a mask, or a write buffer that is a string of octets, no Close frame is sent, but the
        // connection fails anyway.
        let _ = connection.fail(error, after);
        connection.flush(after);
        return after.calling(perl_subs::FAILED, [connection.reference()]);
    }
    connection.flush(after);
    connection.trace(after);
    match ending {
        Ending::Done => connection.look_for_eof(after),
        Ending::Exiting => after.continue_exit(),
        Ending::Died(exception) => connection.fail_with_exception(exception, after),
    }
}

impl Connection {
    /// Returns `true` if messages were left for the loop's next iteration.
    pub fn has_rest(&self) -> bool {
        self.turn.is_idle() && (!self.inbox.unread().is_empty() || !self.jobs.is_empty())
    }

    /// Asks the trampoline to dispatch what has arrived; `shared` holds this connection.
    pub fn start_dispatch(&mut self, shared: &Shared, after: &mut After) {
        if self.turn.is_idle() {
            self.last_dispatch.calls = 0;
        }
        self.turn.enter();
        self.last_dispatch.process = fork::generation();
        after.dispatching(sv::retain(self.object.cast()), from_ref(shared).cast(), &self.interpreter.dispatch_loop);
    }

    /// Replaces `call`, which was just made on Perl's `stack`, by the next one. Returns `false` if none is left.
    #[inline]
    pub fn next_call(&mut self, stack: *const c_void, call: &mut Call) -> bool {
        self.last_dispatch.stack = stack;
        if let Some(message) = call.message() {
            self.interpreter.messages.keep(message);
        }
        if let Some(reference) = call.unregister_sub() {
            self.recycle_unregister_sub(reference);
        }
        if call.may_run_program() {
            self.note_callback();
        }
        let has_call = self.prepare_next(call);
        if has_call && !self.outbox.is_empty() && !self.turn.is_quick() {
            // The next callback may be slow. Bytes that the kernel does not take wait for the end of the dispatch.
            self.flush_natively();
        }
        has_call
    }

    /// Replaces `call` by the next one. Returns `false` if none is left.
    #[inline]
    fn prepare_next(&mut self, call: &mut Call) -> bool {
        if let Some(message) = self.next_whole_message() {
            if let Some(callback) = self.only_callback() {
                *call = self.each_message_call(sv::retain(callback), message);
                return true;
            }
            self.jobs.push_front(Job::Message(message));
        }
        while let Some(job) = self.next_job() {
            if let Some(next) = self.prepare(job) {
                *call = next;
                return true;
            }
        }
        false
    }

    /// Returns the next message if it needs no job: nothing must be done before it is delivered.
    #[inline]
    fn next_whole_message(&mut self) -> Option<*mut SV> {
        let Self { engine, inbox, interpreter, .. } = self;
        if !self.jobs.is_empty() || !self.turn.may_deliver() || inbox.unread().is_empty() {
            return None;
        }
        let mut input = inbox.unread_mut();
        let (opcode, octets) = engine.receive_whole(&mut input)?;
        let left = input.len();
        let message = interpreter.messages.message(opcode as u8, octets);
        inbox.keep_last(left);
        if self.must_arm_guard() {
            self.jobs.extend([Job::ArmGuard, Job::Message(message)]);
            return None;
        }
        Some(message)
    }

    /// Notes whether another complete frame is buffered. Returns `true` if the nested-loop guard must be armed before the
    /// current one is dispatched.
    #[inline]
    fn must_arm_guard(&mut self) -> bool {
        let is_complete = self.engine.is_frame_complete(self.inbox.unread());
        self.turn.note_next(is_complete, clock::monotonic)
    }

    /// Returns the next queued job, or else the next event if it may be delivered now.
    #[inline]
    fn next_job(&mut self) -> Option<Job> {
        if let Some(job) = self.jobs.pop_front() {
            if matches!(job, Job::PutBack { .. }) && !self.turn.may_deliver() {
                self.jobs.push_front(job);
                return None;
            }
            return Some(job);
        }
        if !self.turn.may_deliver() {
            return None;
        }
        let job = self.next_event()?;
        if self.must_arm_guard() {
            self.jobs.push_front(job);
            return Some(Job::ArmGuard);
        }
        Some(job)
    }

    /// Takes the next event from the inbox.
    #[inline]
    fn next_event(&mut self) -> Option<Job> {
        let Self { engine, inbox, interpreter, .. } = self;
        if inbox.unread().is_empty() {
            inbox.clear(&interpreter.scratch);
            return None;
        }
        let mut input = inbox.unread_mut();
        let event = engine.receive(&mut input).transpose();
        let left = input.len();
        let job = event.map(|event| Job::of(event, &interpreter.messages));
        inbox.keep_last(left);
        if job.is_none() {
            inbox.clear(&interpreter.scratch);
        }
        job
    }

    /// Queues the result of parsing bytes that were never in the inbox.
    pub fn queue_event(&mut self, event: Result<Event<'_, PerlBuffer>, ProtocolError>) {
        let job = Job::of(event, &self.interpreter.messages);
        self.jobs.push_back(job);
    }

    /// Queues a message that `receive` has not taken, to be delivered before those that have yet to be parsed. Takes over
    /// its reference count.
    pub fn put_back(&mut self, message: *mut SV, is_streamed: bool) {
        self.jobs.push_back(Job::PutBack { message, is_streamed });
    }

    /// Notes that a callback has returned, and writes the frames that have waited too long.
    fn note_callback(&mut self) {
        self.last_dispatch.calls = self.last_dispatch.calls.saturating_add(1);
        if self.turn.note_callback(clock::monotonic) && !self.outbox.is_empty() {
            self.flush_natively();
        }
    }

    /// Handles an `exit` in a child that a callback has forked. Pending calls and the parent's frames are left to the
    /// parent, but frames sent in the child are written.
    fn exit_in_child(&mut self, after: &mut After) {
        after.forget_calls();
        if self.outbox.has_frames_of(fork::generation()) {
            self.flush(after);
        }
        after.continue_exit();
    }

    /// Takes what the handle itself has read while a callback ran the event loop. AnyEvent::Handle would not offer it to
    /// `on_read` if it is as long as what `on_read` has just taken. Returns `true` if there is something.
    fn take_handle_input(&mut self) -> bool {
        let handle = self.handle();
        let is_ours = handle.read_buffers().next().is_some() && handle.reads_for(self.handle_callback);
        if is_ours {
            self.take_unread(self.handle);
        }
        is_ours
    }

    /// Ends the outermost dispatch: messages that are left wait for the event loop.
    fn leave_to_loop(&mut self, remaining: Option<Remaining>, after: &mut After) {
        self.inbox.detach(&self.interpreter.scratch);
        if let Some(remaining) = remaining {
            self.end_burst(remaining, after);
        }
    }

    /// Ends a burst, by a call that comes before all others and before destructors, because those may start a dispatch.
    #[inline(never)]
    fn end_burst(&mut self, remaining: Remaining, after: &mut After) {
        let guard = &self.interpreter.burst_guard;
        let timer_call = match (remaining, guard.is_shared()) {
            (Remaining::Messages, true) => guard.arm(&self.guarded()),
            (Remaining::Nothing, true) => guard.disarm(&self.guarded()),
            (Remaining::Messages, false) => {
                return after.calling_first(perl_subs::YIELD_TO_LOOP, [self.reference()]);
            }
            (Remaining::Nothing, false) => return after.calling_first(perl_subs::DISARM_GUARD, [self.reference()]),
        };
        if let Some(TimerCall { sub, timer }) = timer_call {
            after.calling_sub_first(sub, [sv::retain(timer)]);
        }
    }

    /// Ends the connection after a callback has died: nothing more is delivered.
    fn fail_with_exception(&mut self, exception: *mut SV, after: &mut After) {
        if let Some(Failure::Exception(earlier)) = self.failure.replace(Failure::Exception(exception)) {
            sv::free_later(self.perl(), earlier);
        }
        self.engine.abandon();
        self.clear_inbox();
        self.clear_jobs();
        after.calling(perl_subs::FAILED, [self.reference()]);
    }
}
