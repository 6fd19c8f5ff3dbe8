//! From the engine to callbacks.

use super::after::{After, shim};
use super::connection::{Connection, Shared};
use super::ffi::{self, Called, Perl};
use super::handle::Route;
use super::message::Messages;
use super::send;
use super::sv::{self, PerlBuffer};
use crate::engine::{CloseFrame, ControlPayload, Event, Opcode, Payload, ProtocolError};
use libperl_rs::{AV, SV, thx};
use std::ffi::CStr;
use std::rc::Rc;
use std::time::Instant;

/// What the engine said of bytes that never were in the inbox.
pub type Arrival = Result<Event<'static, PerlBuffer>, ProtocolError>;

/// An event with nothing borrowed, ready for Perl.
enum Delivery {
    Message(*mut SV),
    Ping(ControlPayload),
    Close(CloseFrame),
    Violation(ProtocolError),
}

/// A callback to be called; all values' reference counts are the job's.
pub enum Job {
    /// A next_message callback.
    Next { callback: *mut SV, message: *mut SV },
    /// The each_message callbacks, of which the list is looked at only now.
    EachList { message: *mut SV },
    /// An element of the list of each_message callbacks.
    Each { entry: *mut SV, message: *mut SV },
}

impl Job {
    /// The values whose reference counts are the job's.
    fn values(&self) -> [Option<*mut SV>; 2] {
        match *self {
            Self::Next { callback, message } => [Some(callback), Some(message)],
            Self::EachList { message } => [None, Some(message)],
            Self::Each { entry, message } => [Some(entry), Some(message)],
        }
    }
}

/// Why a dispatch ends before its input does.
enum Stop {
    Violation(ProtocolError),
    Died(*mut SV),
    Exiting,
}

/// Dispatches `arrival` and all that is in the inbox, and then writes what was sent meanwhile.
pub fn pump(perl: Perl, shared: &Shared, arrival: Option<Arrival>, after: &mut After) {
    let object = sv::retain(shared.borrow().object.cast());
    shared.borrow_mut().depth += 1;
    // SAFETY: paired with ws_leave, but for an exit, which unwinds perl's stacks itself.
    unsafe { ffi::ws_enter(perl) };
    let dispatch = Dispatch { perl, shared, connection: sv::new_reference(perl, object) };
    let mut stop = dispatch.run(arrival).err();
    if !matches!(stop, Some(Stop::Exiting)) {
        stop = dispatch.end().err().or(stop);
    }
    let is_exiting = matches!(stop, Some(Stop::Exiting));
    {
        let mut connection = shared.borrow_mut();
        connection.depth -= 1;
        connection.frames_follow &= connection.depth > 0;
    }
    match stop {
        Some(Stop::Violation(error)) => {
            // Without random bytes for its mask the Close frame stays unsent; the connection is down all the same.
            let _ = send::fail(perl, shared, error, after);
            let text = sv::new_string(perl, error.to_string().as_bytes());
            after.calling(shim::FAILED, [sv::new_reference(perl, object), text]);
        }
        Some(Stop::Died(exception)) => {
            send::flush(perl, shared, after);
            after.calling(shim::FAILED, [sv::new_reference(perl, object), exception]);
        }
        Some(Stop::Exiting) | None => send::flush(perl, shared, after),
    }
    if is_exiting {
        return after.exiting();
    }
    // SAFETY: references this function made. The last one may be the connection's.
    unsafe {
        ffi::ws_leave(perl);
        if Called::from(ffi::ws_release(perl, object)) == Called::Exiting {
            after.exiting();
        }
    }
}

struct Dispatch<'a> {
    perl: Perl,
    shared: &'a Shared,
    /// A reference to the object, which callbacks get.
    connection: *mut SV,
}

impl Dispatch<'_> {
    fn run(&self, arrival: Option<Arrival>) -> Result<(), Stop> {
        self.run_jobs()?;
        let mut next = arrival.map(|arrival| delivery(self.perl, &self.shared.borrow(), arrival));
        loop {
            let delivery = match next.take() {
                Some(Some(delivery)) => delivery,
                _ => match self.next_delivery() {
                    Some(delivery) => delivery,
                    None => return Ok(()),
                },
            };
            self.note_what_follows()?;
            self.deliver(delivery)?;
        }
    }

    /// The next event in the inbox that concerns Perl.
    fn next_delivery(&self) -> Option<Delivery> {
        let mut connection = self.shared.borrow_mut();
        let Connection { engine, inbox, messages, .. } = &mut *connection;
        loop {
            let mut input = inbox.rest_mut();
            let event = engine.receive(&mut input).transpose();
            let left = input.len();
            let delivery = event.map(|event| convert(self.perl, messages, event));
            inbox.keep_last(left);
            match delivery {
                Some(Some(delivery)) => return Some(delivery),
                Some(None) => {}
                None => {
                    inbox.clear();
                    return None;
                }
            }
        }
    }

    /// Looks for a whole frame behind this one: replies may wait for it, and a callback that runs the event loop must
    /// find a way on.
    fn note_what_follows(&self) -> Result<(), Stop> {
        let mut connection = self.shared.borrow_mut();
        connection.frames_follow = connection.engine.is_frame_complete(connection.inbox.rest());
        if !connection.frames_follow || connection.dispatching_since.is_some() {
            return Ok(());
        }
        connection.dispatching_since = Some(Instant::now());
        drop(connection);
        self.call_method(c"_expect_recursion", &[])
    }

    /// Undoes what [`Self::note_what_follows`] did, at the end of the outermost dispatch.
    fn end(&self) -> Result<(), Stop> {
        let is_armed = {
            let mut connection = self.shared.borrow_mut();
            connection.depth == 1 && connection.dispatching_since.take().is_some()
        };
        if is_armed {
            self.call_method(c"_forget_recursion", &[])?;
        }
        self.release(self.connection)
    }

    fn deliver(&self, delivery: Delivery) -> Result<(), Stop> {
        match delivery {
            Delivery::Message(message) => {
                self.message(message)?;
                self.write_if_late();
                Ok(())
            }
            Delivery::Ping(payload) => self.ping(payload),
            Delivery::Close(frame) => self.close(frame),
            Delivery::Violation(error) => Err(Stop::Violation(error)),
        }
    }

    /// Queues a message's callbacks and calls them; unless there is just one, which needs no queue.
    fn message(&self, message: *mut SV) -> Result<(), Stop> {
        let (next, each) = self.lists();
        let is_simple = self.len(next) == 0 && self.len(each) == 1 && self.shared.borrow().jobs.is_empty();
        if is_simple {
            let entry = self.element(each, 0);
            let called = self.call_entry(entry, message);
            return self.release_after(called, [entry, message]);
        }
        let mut connection = self.shared.borrow_mut();
        // SAFETY: the list is an array of ours.
        let callbacks = (0..self.len(next)).map(|_| unsafe { thx::Perl_av_shift(self.perl, next) });
        connection.jobs.extend(callbacks.map(|callback| Job::Next { callback, message: sv::retain(message) }));
        connection.jobs.push_back(Job::EachList { message });
        drop(connection);
        self.run_jobs()
    }

    /// Calls the callbacks in the queue. A callback that runs the event loop comes by here again: then those behind it
    /// are called before any later message is looked at, so that each callback sees all messages in order.
    fn run_jobs(&self) -> Result<(), Stop> {
        loop {
            let Some(job) = self.shared.borrow_mut().jobs.pop_front() else { return Ok(()) };
            match job {
                Job::Next { callback, message } => {
                    let called = self.call(callback, &[self.connection, message]);
                    self.release_after(called, [callback, message])?;
                }
                Job::EachList { message } => {
                    let (_, each) = self.lists();
                    let entries = (0..self.len(each)).map(|index| self.element(each, index));
                    let jobs = entries.map(|entry| Job::Each { entry, message: sv::retain(message) });
                    self.shared.borrow_mut().jobs.extend(jobs);
                    self.release(message)?;
                }
                Job::Each { entry, message } => {
                    let called = self.call_entry(entry, message);
                    self.release_after(called, [entry, message])?;
                }
            }
        }
    }

    fn lists(&self) -> (*mut AV, *mut AV) {
        let connection = self.shared.borrow();
        (connection.next_message, connection.each_message)
    }

    fn len(&self, list: *mut AV) -> usize {
        // SAFETY: an array of ours.
        unsafe { (thx::AvFILLp(self.perl, list) + 1) as usize }
    }

    /// An element of an array, kept alive for the caller.
    fn element(&self, list: *mut AV, index: usize) -> *mut SV {
        // SAFETY: an array of ours, without holes.
        unsafe { sv::retain(*thx::AvARRAY(self.perl, list).add(index)) }
    }

    fn call_entry(&self, entry: *mut SV, message: *mut SV) -> Result<(), Stop> {
        let (callback, unregister) = self.entry(entry);
        self.call(callback, &[self.connection, message, unregister])
    }

    /// Gives up what a call needed, and passes on how it ended.
    fn release_after(&self, called: Result<(), Stop>, values: [*mut SV; 2]) -> Result<(), Stop> {
        if let Err(Stop::Exiting) = called {
            return called;
        }
        let [callback, message] = values;
        let is_kept = self.shared.borrow().messages.keep(message);
        let released = self.release(callback).and_then(|()| if is_kept { Ok(()) } else { self.release(message) });
        called.and(released)
    }

    /// The parts of an element of `each_message`.
    fn entry(&self, entry: *mut SV) -> (*mut SV, *mut SV) {
        // SAFETY: `on` makes them references to arrays of two, and nobody else has them.
        unsafe {
            let pair = thx::AvARRAY(self.perl, sv::referent(entry).expect("a reference").cast::<AV>());
            (*pair, *pair.add(1))
        }
    }

    fn call(&self, callback: *mut SV, args: &[*mut SV]) -> Result<(), Stop> {
        // SAFETY: live values.
        let called = unsafe { ffi::ws_call(self.perl, callback, args.as_ptr(), args.len() as i32) };
        self.check(called.into())
    }

    /// Calls a method of the connection, as a subclass may have it.
    fn call_method(&self, name: &'static CStr, args: &[*mut SV]) -> Result<(), Stop> {
        let all: Vec<*mut SV> = std::iter::once(self.connection).chain(args.iter().copied()).collect();
        // SAFETY: live values.
        let called = unsafe { ffi::ws_call_method(self.perl, name.as_ptr(), all.as_ptr(), all.len() as i32) };
        let checked = self.check(called.into());
        args.iter().try_for_each(|&arg| self.release(arg)).and(checked)
    }

    fn check(&self, called: Called) -> Result<(), Stop> {
        match called {
            Called::Returned => Ok(()),
            Called::Exiting => Err(Stop::Exiting),
            Called::Died => {
                // SAFETY: a copy of `$@`.
                let exception = unsafe { ffi::ws_exception(self.perl) };
                Err(self.give_up().err().unwrap_or(Stop::Died(exception)))
            }
        }
    }

    /// Nothing more is delivered.
    fn give_up(&self) -> Result<(), Stop> {
        let jobs = {
            let mut connection = self.shared.borrow_mut();
            connection.engine.abandon();
            connection.inbox.clear();
            std::mem::take(&mut connection.jobs)
        };
        jobs.iter().flat_map(Job::values).flatten().try_for_each(|value| self.release(value))
    }

    fn release(&self, sv: *mut SV) -> Result<(), Stop> {
        // SAFETY: a reference count of ours.
        self.check(unsafe { ffi::ws_release(self.perl, sv) }.into())
    }

    /// Writes the replies that have waited too long for those behind them.
    fn write_if_late(&self) {
        let is_late = {
            let connection = self.shared.borrow();
            connection.cork.is_some() && !connection.may_cork()
        };
        if is_late {
            // What the kernel does not take now waits for the end of the dispatch.
            send::flush_natively(self.perl, self.shared);
        }
    }

    /// Answers a ping: through `send`, if a subclass has its own.
    fn ping(&self, payload: ControlPayload) -> Result<(), Stop> {
        let (object, messages) = {
            let connection = self.shared.borrow();
            (connection.object, Rc::clone(&connection.messages))
        };
        let is_direct = !matches!(self.shared.borrow().route(self.perl), Route::PushWrite { .. });
        // SAFETY: a live object.
        if !is_direct || unsafe { ffi::ws_send_is_overridden(self.perl, object) } != 0 {
            let pong = messages.message(Opcode::Pong as u8, payload.as_slice());
            return self.call_method(c"send", &[pong]);
        }
        // A pong that cannot be masked for want of random bytes is not sent; no frame could be.
        let _ = send::send_later(self.perl, self.shared, Opcode::Pong as u8, payload.as_slice());
        Ok(())
    }

    /// Hands a Close frame to the shim, which sets the attributes and, if the frame is in order, closes.
    fn close(&self, frame: CloseFrame) -> Result<(), Stop> {
        // SAFETY: new values.
        let (code, is_valid) = unsafe {
            let code = match frame.code {
                Some(code) => thx::Perl_newSViv(self.perl, code.value().into()),
                None => thx::Perl_newSV(self.perl, 0),
            };
            (code, thx::Perl_newSViv(self.perl, frame.error.is_none().into()))
        };
        let reason = sv::new_string(self.perl, frame.reason());
        self.call_method(c"_close_received", &[code, reason, is_valid])?;
        frame.error.map_or(Ok(()), |error| Err(Stop::Violation(error)))
    }
}

fn delivery(perl: Perl, connection: &Connection, arrival: Arrival) -> Option<Delivery> {
    convert(perl, &connection.messages, arrival)
}

/// Takes an event out of the buffers it may lie in; `None` if nobody asked for it.
fn convert(perl: Perl, messages: &Messages, event: Result<Event<'_, PerlBuffer>, ProtocolError>) -> Option<Delivery> {
    Some(match event {
        Ok(Event::Message { opcode, payload }) => Delivery::Message(match payload {
            Payload::Borrowed(octets) => messages.message(opcode as u8, octets),
            Payload::Owned(buffer) => messages.message_with_body(opcode as u8, buffer.into_sv(perl)),
        }),
        Ok(Event::Ping(payload)) => Delivery::Ping(payload),
        Ok(Event::Pong(_)) => return None,
        Ok(Event::Close(frame)) => Delivery::Close(frame),
        Err(error) => Delivery::Violation(error),
    })
}
