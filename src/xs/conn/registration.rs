//! The subs that unregister each_message callbacks, which these get as an argument. Most callbacks let theirs go; it is then
//! used for the next call, of whichever connection, so that connections hold none.

use super::connection::{Connection, Shared};
use crate::xs::perl::bound_sub::BoundSub;
use crate::xs::perl::ffi::{Call, SV, State};
use crate::xs::perl::magic::Kind;
use crate::xs::perl::sv;
use std::cell::RefCell;
use std::rc::{Rc, Weak};

/// The state of a sub: the callback that it unregisters.
#[derive(Default)]
pub struct Registration(RefCell<Registered>);

/// One callback of one connection.
#[derive(Default)]
struct Registered {
    connection: Weak<Shared>,
    address: usize,
}

impl Registration {
    /// Returns the connection, if it still exists, and the address of the callback.
    pub fn get(&self) -> Option<(Rc<Shared>, usize)> {
        let registered = self.0.borrow();
        Some((registered.connection.upgrade()?, registered.address))
    }

    fn set(&self, connection: &Weak<Shared>, address: usize) {
        let registered = &mut *self.0.borrow_mut();
        if !registered.connection.ptr_eq(connection) {
            registered.connection = connection.clone();
        }
        registered.address = address;
    }
}

/// Returns the state of a sub that unregisters a callback. It lives as long as something holds the sub.
fn registration<'a>(sub: &BoundSub) -> &'a Registration {
    // SAFETY: the caller holds the sub, and this is the type of its state.
    unsafe { &*sub.state.cast::<Registration>() }
}

impl Connection {
    /// Creates the call of an each_message callback; takes over the reference counts of both. Always inlined, as is
    /// [`Self::recycle_unregister_sub`]: calls of both cost 25 instructions more per message.
    #[inline(always)]
    pub fn each_message_call(&self, callback: *mut SV, message: *mut SV) -> Call {
        let subs = &self.interpreter.unregister_subs;
        let sub = subs.spare.take().unwrap_or_else(|| self.new_unregister_sub());
        let address = sv::referent(callback).map_or(0, |callback| callback as usize);
        registration(&sub).set(&self.this, address);
        let reference = sub.reference;
        subs.lent.set(Some(sub));
        Call::each_message(callback, message, reference)
    }

    #[cold]
    fn new_unregister_sub(&self) -> Box<BoundSub> {
        let state = State::new(Kind::Registration, &Rc::new(Registration::default()));
        Box::new(BoundSub::new(self.perl(), self.interpreter.unregister, state))
    }

    /// Keeps the sub that a callback was passed for the next call, unless the callback has changed it, or something else
    /// still has it.
    #[inline(always)]
    pub fn recycle_unregister_sub(&self, reference: *mut SV) {
        let subs = &self.interpreter.unregister_subs;
        // A nested dispatch may have lent another one since.
        let Some(sub) = subs.lent.take().filter(|sub| sub.reference == reference && sub.is_untouched()) else { return };
        sv::retain(reference);
        if let Some(old) = subs.spare.replace(Some(sub)) {
            sv::free_later(self.perl(), old.reference);
        }
    }
}

/// Frees a state that is a registration. Returns `false` if it is something else.
///
/// # Safety
/// `state` hung on a value, and is not used again.
pub unsafe fn free(state: &State) -> bool {
    if state.is(Kind::Registration) {
        // SAFETY: state of this kind is the pointer of an `Rc<Registration>`, given up here once.
        drop(unsafe { Rc::from_raw(state.state.cast::<Registration>()) });
    }
    state.is(Kind::Registration)
}
