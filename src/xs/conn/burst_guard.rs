//! The guard against nested event loops: a timer that continues dispatches. On EV, all connections of an interpreter share
//! one. A new timer for each burst takes as long as delivering two messages.

use crate::xs::perl::ffi::{Perl, SV};
use crate::xs::perl::sv;
use std::any::Any;
use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};

/// A connection, whose type this module does not know.
pub type Guarded = Weak<dyn Any>;

/// The shared timer, and the connections whose dispatches it continues. It runs while there are any.
#[derive(Default)]
pub struct BurstGuard {
    timer: Cell<Option<Timer>>,
    guarded: RefCell<Vec<Guarded>>,
}

/// An EV::Timer, and references to two of its methods; these are reference counts of them.
#[derive(Clone, Copy)]
struct Timer {
    timer: *mut SV,
    start: *mut SV,
    stop: *mut SV,
}

/// A call of a method of the timer.
pub struct TimerCall {
    /// The method.
    pub sub: *mut SV,
    /// A reference to the timer.
    pub timer: *mut SV,
}

impl BurstGuard {
    /// Uses a timer from now on, which is running; `connection` is the first that it guards. Takes references to the timer and
    /// to its methods.
    pub fn share(&self, perl: Perl, [timer, start, stop]: [*mut SV; 3], connection: &Guarded) {
        let copy = |reference| sv::referent(reference).map(|value| sv::new_reference(perl, value));
        if let (Some(timer), Some(start), Some(stop)) = (copy(timer), copy(start), copy(stop)) {
            self.timer.set(Some(Timer { timer, start, stop }));
            self.guarded.borrow_mut().push(connection.clone());
        }
    }

    /// Returns `true` if there is a timer to share.
    pub fn is_shared(&self) -> bool {
        self.timer.get().is_some()
    }

    /// Guards a connection. Returns the call that starts the timer, unless it is running.
    pub fn arm(&self, connection: &Guarded) -> Option<TimerCall> {
        let guarded = &mut *self.guarded.borrow_mut();
        let is_running = !guarded.is_empty();
        if !guarded.iter().any(|other| other.ptr_eq(connection)) {
            guarded.push(connection.clone());
        }
        let Timer { timer, start, .. } = self.timer.get().filter(|_| !is_running)?;
        Some(TimerCall { sub: start, timer })
    }

    /// Ends the guarding of a connection. Returns the call that stops the timer, if it guards no other.
    pub fn disarm(&self, connection: &Guarded) -> Option<TimerCall> {
        let guarded = &mut *self.guarded.borrow_mut();
        let count = guarded.len();
        guarded.retain(|other| !other.ptr_eq(connection));
        let Timer { timer, stop, .. } = self.timer.get().filter(|_| guarded.is_empty() && count > 0)?;
        Some(TimerCall { sub: stop, timer })
    }

    /// Ends the guarding of the connection that was guarded first, because the timer has fired, which stops it. Returns the
    /// connection, if it still exists, and `true` if the timer must be started again, for others.
    pub fn take(&self) -> (Option<Rc<dyn Any>>, bool) {
        let guarded = &mut *self.guarded.borrow_mut();
        let first = if guarded.is_empty() { None } else { guarded.remove(0).upgrade() };
        (first, !guarded.is_empty())
    }
}
