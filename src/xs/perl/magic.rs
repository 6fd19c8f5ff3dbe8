//! Rust state on Perl values, as ext magic. It is freed with the value, and a copy of the value in another thread does
//! not have it.

use super::ffi::{self, Perl, SV, State};
use std::ptr::null_mut;
use std::rc::Rc;

/// The type of the state that hangs on a value; each is the pointer of an `Rc`.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u16)]
pub enum Kind {
    // 0 means that there is none.
    /// State of an object: its connection.
    Object = 1,
    /// State of a handle callback: its connection.
    HandleCallback,
    /// State of an XSUB, of which each interpreter has its own copy: the `Interpreter`.
    Interpreter,
    /// State of a slot whose reading is watched: a connection.
    WatchedSlot,
    /// State of a sub that unregisters a callback: what it unregisters.
    Registration,
    /// State of a scalar: a server's opening handshake.
    ServerHandshake,
    /// State of a scalar: a client's opening handshake.
    ClientHandshake,
    /// State of a codec's object.
    Codec,
    /// State of an XSUB, of which each interpreter has its own copy: what its codecs share.
    CodecPools,
    /// State of an XSUB, of which each interpreter has its own copy: what it knows of the handles of handshakes.
    Handles,
}

impl State {
    /// Creates another owner of `state`, to hang on a value.
    pub fn new<T>(kind: Kind, state: &Rc<T>) -> Self {
        Self { kind: kind as u16, state: Rc::into_raw(Rc::clone(state)).cast() }
    }

    /// Creates another owner of the state, a `T`, to hang on another value as `new_kind`. Returns `None` if the state was
    /// freed.
    ///
    /// # Safety
    /// As for [`Self::get`].
    pub unsafe fn share<T>(&self, kind: Kind, new_kind: Kind) -> Option<Self> {
        // SAFETY: state of this kind is the pointer of an `Rc<T>`, and `get` has shown that it exists.
        unsafe {
            self.get::<T>(kind)?;
            Rc::increment_strong_count(self.state.cast::<T>());
        }
        Some(Self { kind: new_kind as u16, state: self.state })
    }

    /// Returns `true` if the state is of this kind.
    pub fn is(&self, kind: Kind) -> bool {
        self.kind == kind as u16
    }

    /// Returns the state if it is of this kind and still exists.
    ///
    /// # Safety
    /// State of this kind is a `T`, and the value it hangs on outlives the result.
    pub unsafe fn get<'a, T>(&self, kind: Kind) -> Option<&'a T> {
        // SAFETY: the caller guarantees the type and the lifetime; `as_ref` checks for null.
        if self.is(kind) { unsafe { self.state.cast::<T>().as_ref() } } else { None }
    }
}

/// Hangs `state` on a value. Unless `keeps` is null, it lives at least as long as the value.
///
/// # Safety
/// Both values are live.
pub unsafe fn attach(perl: Perl, value: *mut SV, state: State, keeps: *mut SV) {
    // SAFETY: both values are live.
    unsafe { ffi::ws_state_attach(perl, value, state, keeps) };
}

/// Arranges that the connection is told each time before Perl code reads the value.
///
/// # Safety
/// The value is live.
pub unsafe fn watch_reads(perl: Perl, value: *mut SV, state: State) {
    // SAFETY: the value is live.
    unsafe { ffi::ws_watch_reads(perl, value, state) };
}

/// Returns the state that hangs on a value.
///
/// # Safety
/// The value is live.
pub unsafe fn on(perl: Perl, value: *mut SV) -> State {
    // SAFETY: the value is live.
    unsafe { ffi::ws_state(perl, value) }
}

/// Returns the state of this kind that hangs on a value; creates it if there is none.
///
/// # Safety
/// The value is live, and state of this kind is a `T`.
pub unsafe fn get_or_attach<T>(perl: Perl, value: *mut SV, kind: Kind, create: impl FnOnce() -> T) -> Rc<T> {
    // SAFETY: the caller guarantees the type, and `get` has shown that the state exists.
    unsafe {
        let found = on(perl, value);
        if found.get::<T>(kind).is_some() {
            Rc::increment_strong_count(found.state.cast::<T>());
            return Rc::from_raw(found.state.cast());
        }
        let state = Rc::new(create());
        attach(perl, value, State::new(kind, &state), null_mut());
        state
    }
}
