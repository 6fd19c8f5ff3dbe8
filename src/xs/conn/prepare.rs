//! Turns jobs into calls.

use super::burst_guard::TimerCall;
use super::callbacks;
use super::connection::{Connection, Failure};
use super::interpreter::{Interpreter, Slot};
use super::job::Job;
use super::perl_subs;
use crate::engine::{CloseFrame, ControlPayload, Notice, Opcode};
use crate::xs::io::clock;
use crate::xs::perl::ffi::{self, Call, SV};
use crate::xs::perl::keys;
use crate::xs::perl::sv;
use std::ptr::null_mut;

impl Connection {
    /// Does the part of a job that needs no Perl code. Returns the call for the rest, if any.
    #[inline]
    pub fn prepare(&mut self, job: Job) -> Option<Call> {
        if self.engine.has_trace() {
            self.jobs.push_front(job);
            return Some(Call::perl_sub(perl_subs::TRACE, [self.trace_lines()]));
        }
        match job {
            Job::ArmGuard => Some(Call::begin_burst(self.arm_guard())),
            Job::Message(message) | Job::PutBack { message, is_streamed: false } => self.message_call(message),
            Job::PutBack { message, is_streamed: true } => Some(self.chunk_call(message, true)),
            Job::NextMessage { callback, message } => Some(Call::next_message(callback, message)),
            Job::EachMessage { callback, message } => Some(self.each_message_call(callback, message)),
            Job::QueueEachMessage { message } => Some(self.queue_each(message)),
            Job::Chunk { message, is_final } => Some(self.chunk_call(message, is_final)),
            Job::Ping(_) | Job::Pong(_) if !self.count_control() => None,
            Job::Ping(payload) => {
                if self.may_have_callbacks("ping") {
                    self.jobs.push_front(Job::Notify(Notice::Ping(payload.clone())));
                }
                self.answer_or_defer(payload)
            }
            Job::Pong(notice) | Job::Notify(notice) => self.notify(&notice),
            Job::AnswerPing(payload) => self.answer_or_defer(payload),
            Job::Close(frame) => Some(self.close_received(&frame)),
            Job::Fail(error) => {
                self.failure = Some(Failure::Violation(error));
                None
            }
        }
    }

    /// Returns the sub that arms the guard against nested event loops, and its argument; nothing if it is armed already. Not
    /// inlined: that would cost 80 instructions for each message.
    #[inline(never)]
    fn arm_guard(&self) -> Option<(*mut SV, *mut SV)> {
        let Interpreter { burst_guard, begin_burst, .. } = &*self.interpreter;
        if !burst_guard.is_shared() {
            return Some((*begin_burst, self.reference()));
        }
        burst_guard.arm(&self.guarded()).map(|TimerCall { sub, timer }| (sub, sv::retain(timer)))
    }

    /// Returns the callback for messages if there is one of each_message, and no other, and no jobs are queued.
    #[inline]
    pub fn only_callback(&self) -> Option<*mut SV> {
        // SAFETY: the lists are live arrays, and no Perl code runs.
        let slots = |list| unsafe { sv::slots(list) };
        let has_next = self.callbacks(Slot::NextMessage).is_some_and(|list| !slots(list).is_empty());
        let each = self.callbacks(Slot::EachMessage).filter(|_| !has_next && self.jobs.is_empty())?;
        match *slots(each) {
            [callback] if !callback.is_null() => Some(callback),
            _ => None,
        }
    }

    /// Returns the call directly if there is only one callback and no jobs are queued; otherwise queues jobs.
    fn message_call(&mut self, message: *mut SV) -> Option<Call> {
        if let Some(callback) = self.only_callback() {
            return Some(self.each_message_call(sv::retain(callback), message));
        }
        // SAFETY: the lists are live arrays, and no Perl code runs.
        let slots = |list| unsafe { sv::slots(list) };
        let next = self.callbacks(Slot::NextMessage).filter(|&list| !slots(list).is_empty());
        self.jobs.push_front(Job::QueueEachMessage { message });
        if let Some(next) = next {
            let perl = self.perl();
            // SAFETY: the list is a live array; its elements' reference counts are taken over.
            let shift = |_| unsafe { ffi::ws_shift(perl, next) };
            let callbacks: Vec<_> = (0..slots(next).len()).map(shift).collect();
            self.queue_first(
                callbacks.into_iter().map(|callback| Job::NextMessage { callback, message: sv::retain(message) }),
            );
        }
        None
    }

    /// Queues jobs before all others, because these are about later messages.
    fn queue_first(&mut self, jobs: impl DoubleEndedIterator<Item = Job>) {
        jobs.rev().for_each(|job| self.jobs.push_front(job));
    }

    fn chunk_call(&self, message: *mut SV, is_final: bool) -> Call {
        Call::perl_sub(perl_subs::CHUNK_RECEIVED, [message, sv::new_number(self.perl(), is_final.into())])
    }

    /// Queues the each_message callbacks.
    fn queue_each(&mut self, message: *mut SV) -> Call {
        let callbacks = self.callbacks(Slot::EachMessage).map(callbacks::elements).unwrap_or_default();
        self.queue_first(
            callbacks.into_iter().map(|callback| Job::EachMessage { callback, message: sv::retain(message) }),
        );
        // The loop frees the message together with the values of its last call.
        Call::nothing(message, null_mut())
    }

    /// Counts a control frame. Returns `false` if it exceeds the limit, which fails the connection.
    fn count_control(&mut self) -> bool {
        let result = self.engine.count_control(clock::monotonic);
        if let Err(error) = result {
            self.failure = Some(Failure::Violation(error));
        }
        result.is_ok()
    }

    /// Answers a ping, or defers the pong until the peer has read more.
    fn answer_or_defer(&mut self, payload: Box<ControlPayload>) -> Option<Call> {
        if !self.sends_pongs_natively() {
            let pong = self.interpreter.messages.message(Opcode::Pong as u8, payload.as_slice());
            return Some(Call::method(c"send", [pong]));
        }
        if self.engine.defers_pong(self.handle().backlog()) {
            self.flush_natively();
        }
        if self.engine.defers_pong(self.handle().backlog()) {
            return self.engine.owe_pong(payload).then(|| Call::perl_sub(perl_subs::EXPECT_DRAIN, []));
        }
        // The pong is dropped if there are no random bytes for a mask, or the write buffer is not a string of octets.
        let _ = self.send_later(Opcode::Pong as u8, payload.as_slice());
        None
    }

    /// Returns `false` if the method `send` must send pongs, because it is not ours or the handle is not a stock one.
    fn sends_pongs_natively(&self) -> bool {
        !self.route().is_push_write() && self.interpreter.sends_natively(self.object)
    }

    /// Returns `true` if a callback was ever registered for an event that the original does not have.
    fn may_have_callbacks(&self, event: &str) -> bool {
        keys::has_key(self.perl(), self.object, &format!("_ws_{event}_cb"))
    }

    /// Creates the call of the sub that calls the callbacks for an event, if there may be any.
    fn notify(&self, notice: &Notice) -> Option<Call> {
        if !self.may_have_callbacks(notice.name()) {
            return None;
        }
        let name = sv::new_string(self.perl(), notice.name().as_bytes());
        Some(match notice.payload() {
            Some(payload) => {
                Call::perl_sub(perl_subs::CALL_BACK, [name, self.interpreter.messages.received_string(payload)])
            }
            None => Call::perl_sub(perl_subs::CALL_BACK, [name]),
        })
    }

    /// Creates a call of the sub that sets the attributes of a Close frame and, if the frame is valid, answers it.
    fn close_received(&mut self, frame: &CloseFrame) -> Call {
        if let Some(error) = frame.error {
            self.jobs.push_front(Job::Fail(error));
        }
        let reason = self.interpreter.messages.received_string(frame.reason());
        let code = match frame.code {
            Some(code) => sv::new_number(self.perl(), code.value().into()),
            None => sv::new_undef(self.perl()),
        };
        let is_valid = sv::new_number(self.perl(), frame.error.is_none().into());
        Call::perl_sub(perl_subs::CLOSE_RECEIVED, [code, reason, is_valid])
    }
}
