//! Rust state on Perl values, as ext magic: freed with the value, and absent from its copy in another thread.

use super::ffi::{self, Perl, SV, State};
use std::rc::Rc;

/// What hangs on a value; each kind is the pointer of an `Rc`.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u16)]
pub enum Kind {
    // 0 is nothing.
    /// On an object: its connection.
    Object = 1,
    /// On the sub that AnyEvent holds: its connection.
    Sub,
    /// On an XSUB, which each interpreter has for itself: what belongs to the interpreter.
    Interpreter,
    /// On a value whose reading is watched: a connection.
    Reader,
}

impl State {
    /// One more owner of `state`, to hang on a value.
    pub fn new<T>(kind: Kind, state: &Rc<T>) -> Self {
        Self { kind: kind as u16, state: Rc::into_raw(Rc::clone(state)).cast() }
    }

    /// One more owner of what hangs on a value as `kind`, which is a `T`, to hang on another as `new_kind`. `None` if it
    /// has gone.
    ///
    /// # Safety
    /// As for [`Self::get`].
    pub unsafe fn share<T>(&self, kind: Kind, new_kind: Kind) -> Option<Self> {
        // SAFETY: promised by the caller: the pointer of an `Rc`.
        unsafe {
            self.get::<T>(kind)?;
            Rc::increment_strong_count(self.state.cast::<T>());
        }
        Some(Self { kind: new_kind as u16, state: self.state })
    }

    /// Whether it is of this kind.
    pub fn is(&self, kind: Kind) -> bool {
        self.kind == kind as u16
    }

    /// What it points to, if it is of this kind and still there.
    ///
    /// # Safety
    /// What is of this kind is a `T`. The value that it hangs on outlives the result.
    pub unsafe fn get<'a, T>(&self, kind: Kind) -> Option<&'a T> {
        // SAFETY: promised by the caller; null is not looked at.
        if self.is(kind) { unsafe { self.state.cast::<T>().as_ref() } } else { None }
    }
}

/// Hangs `state` on a value. What `keeps` is, if it is not null, lives as long as the value does.
///
/// # Safety
/// Both are live.
pub unsafe fn attach(perl: Perl, value: *mut SV, state: State, keeps: *mut SV) {
    // SAFETY: promised by the caller.
    unsafe { ffi::ws_state_attach(perl, value, state, keeps) };
}

/// Has `state`'s connection told each time before Perl code reads a value.
///
/// # Safety
/// The value is live.
pub unsafe fn watch_reads(perl: Perl, value: *mut SV, state: State) {
    // SAFETY: promised by the caller.
    unsafe { ffi::ws_watch_reads(perl, value, state) };
}

/// What hangs on a value.
///
/// # Safety
/// It is live.
pub unsafe fn on(perl: Perl, value: *mut SV) -> State {
    // SAFETY: promised by the caller.
    unsafe { ffi::ws_state(perl, value) }
}
