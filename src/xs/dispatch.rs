//! From the engine to callbacks.

use super::after::{After, shim};
use super::connection::{Connection, Shared};
use super::ffi::{self, Called, Perl};
use super::handle::Route;
use super::message;
use super::send;
use super::sv::{self, PerlBuffer};
use crate::engine::{CloseFrame, ControlPayload, Event, Opcode, Payload, ProtocolError};
use libperl_rs::{AV, SV, thx};
use std::ffi::CStr;
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
        let Connection { engine, inbox, message_class, .. } = &mut *connection;
        loop {
            let mut input = inbox.rest_mut();
            let event = engine.receive(&mut input).transpose();
            let left = input.len();
            let delivery = event.map(|event| convert(self.perl, *message_class, event));
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
                self.each(vec![message], |message| self.message(message))?;
                self.write_if_late();
                Ok(())
            }
            Delivery::Ping(payload) => self.ping(payload),
            Delivery::Close(frame) => self.close(frame),
            Delivery::Violation(error) => Err(Stop::Violation(error)),
        }
    }

    fn message(&self, message: *mut SV) -> Result<(), Stop> {
        let (next, each) = {
            let connection = self.shared.borrow();
            (connection.next_message, connection.each_message)
        };
        self.each(self.take_all(next), |callback| self.call(callback, &[self.connection, message]))?;
        self.each(self.copy_all(each), |entry| {
            let (callback, unregister) = self.entry(entry);
            self.call(callback, &[self.connection, message, unregister])
        })
    }

    /// Goes through values whose reference counts are handed over, up to the first that stops the dispatch.
    fn each(&self, values: Vec<*mut SV>, visit: impl Fn(*mut SV) -> Result<(), Stop>) -> Result<(), Stop> {
        let mut outcome = Ok(());
        for value in values {
            outcome = outcome.and_then(|()| visit(value));
            if let Err(Stop::Exiting) = outcome {
                break;
            }
            let released = self.release(value);
            outcome = outcome.and(released);
        }
        outcome
    }

    /// The parts of an element of `each_message`.
    fn entry(&self, entry: *mut SV) -> (*mut SV, *mut SV) {
        // SAFETY: `on` makes them references to arrays of two, and nobody else has them.
        unsafe {
            let pair = thx::AvARRAY(self.perl, sv::referent(entry).expect("a reference").cast::<AV>());
            (*pair, *pair.add(1))
        }
    }

    /// Empties an array; its elements' reference counts go to the caller.
    fn take_all(&self, list: *mut AV) -> Vec<*mut SV> {
        // SAFETY: an array of ours.
        unsafe {
            let len = thx::AvFILLp(self.perl, list) + 1;
            (0..len).map(|_| thx::Perl_av_shift(self.perl, list)).collect()
        }
    }

    /// The elements of an array, kept alive for the caller.
    fn copy_all(&self, list: *mut AV) -> Vec<*mut SV> {
        // SAFETY: an array of ours, without holes.
        unsafe {
            let len = thx::AvFILLp(self.perl, list) + 1;
            (0..len as usize).map(|i| sv::retain(*thx::AvARRAY(self.perl, list).add(i))).collect()
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
                let mut connection = self.shared.borrow_mut();
                connection.engine.abandon();
                connection.inbox.clear();
                // SAFETY: a copy of `$@`.
                Err(Stop::Died(unsafe { ffi::ws_exception(self.perl) }))
            }
        }
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
        let (object, class) = {
            let connection = self.shared.borrow();
            (connection.object, connection.message_class)
        };
        let is_direct = !matches!(self.shared.borrow().route(self.perl), Route::PushWrite);
        // SAFETY: a live object.
        if !is_direct || unsafe { ffi::ws_send_is_overridden(self.perl, object) } != 0 {
            let body = sv::new_string(self.perl, payload.as_slice());
            let pong = message::new(self.perl, class, Opcode::Pong as u8, body);
            return self.call_method(c"send", &[pong]);
        }
        // A pong that cannot be masked for want of random bytes is not sent; no frame could be.
        let _ = send::send_later(self.perl, self.shared, Opcode::Pong, payload.as_slice());
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
    convert(perl, connection.message_class, arrival)
}

/// Takes an event out of the buffers it may lie in; `None` if nobody asked for it.
fn convert(
    perl: Perl,
    class: *mut libperl_rs::HV,
    event: Result<Event<'_, PerlBuffer>, ProtocolError>,
) -> Option<Delivery> {
    Some(match event {
        Ok(Event::Message { opcode, payload }) => {
            let body = match payload {
                Payload::Borrowed(octets) => sv::new_string(perl, octets),
                Payload::Owned(buffer) => buffer.into_sv(perl),
            };
            Delivery::Message(message::new(perl, class, opcode as u8, body))
        }
        Ok(Event::Ping(payload)) => Delivery::Ping(payload),
        Ok(Event::Pong(_)) => return None,
        Ok(Event::Close(frame)) => Delivery::Close(frame),
        Err(error) => Delivery::Violation(error),
    })
}
