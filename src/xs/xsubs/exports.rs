//! The functions that the C half calls: when the library is loaded, and between two calls of Perl code.

use super::arguments::Arguments;
use super::table::{abandon, run, xsubs};
use super::{codec, connection, handshake};
use crate::xs::codec as codecs;
use crate::xs::conn::connection::{self as connections, Shared};
use crate::xs::conn::dispatch::{self, Ending};
use crate::xs::conn::registration;
use crate::xs::handshake as handshakes;
use crate::xs::perl::ffi::{self, After, CV, Perl, SV, State, Xsub};
use crate::xs::perl::magic::Kind;
use crate::xs::perl::sv;
use std::ffi::c_void;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::{null, null_mut};

xsubs! {
package "AnyEvent::WebSocket::Native" {
    /// `library_version()`.
    library_version = |call, after| {
        after.returning(sv::new_string(call.perl, env!("CARGO_PKG_VERSION").as_bytes()));
    };
}
}

/// Pointers to tables of XSUBs; the last is null.
#[repr(transparent)]
struct Tables([*const Xsub; 5]);

// SAFETY: neither the pointers nor the tables are ever written to.
unsafe impl Sync for Tables {}

/// All XSUBs.
#[unsafe(no_mangle)]
#[allow(non_upper_case_globals)]
static ws_rust_tables: Tables =
    Tables([connection::TABLE.as_ptr(), handshake::TABLE.as_ptr(), codec::TABLE.as_ptr(), TABLE.as_ptr(), null()]);

/// XSLoader calls this. A perl that can have several interpreters, as one with threads has, passes the one that calls.
#[unsafe(no_mangle)]
#[allow(non_snake_case, missing_docs)]
pub unsafe extern "C" fn boot_AnyEvent__WebSocket__Native(#[cfg(perl_usemultiplicity)] perl: Perl, cv: *mut CV) {
    #[cfg(not(perl_usemultiplicity))]
    let perl = null_mut();
    // SAFETY: perl's own arguments, passed on.
    unsafe { ffi::ws_boot(perl, cv) }
}

/// Checks that the functions below have the types declared in `interface.h`.
const _: () = {
    _ = [ffi::ws_rust_next_call as unsafe extern "C" fn(_, _, _) -> _, ws_rust_next_call];
    _ = [ffi::ws_rust_dispatched as unsafe extern "C" fn(_, _, _, _), ws_rust_dispatched];
    _ = [ffi::ws_rust_connection as unsafe extern "C" fn(_) -> _, ws_rust_connection];
    _ = [ffi::ws_rust_before_read as unsafe extern "C" fn(_), ws_rust_before_read];
    _ = [ffi::ws_rust_free as unsafe extern "C" fn(_) -> _, ws_rust_free];
};

/// Replaces `call` by the next call of the dispatch loop. Returns `false` if none is left.
#[unsafe(no_mangle)]
extern "C" fn ws_rust_next_call(connection: *const c_void, stack: *const c_void, call: *mut ffi::Call) -> bool {
    // SAFETY: the loop holds the object on which the connection hangs, and passes its own struct.
    let (shared, call) = unsafe { (&*connection.cast::<Shared>(), &mut *call) };
    let next = catch_unwind(AssertUnwindSafe(|| shared.borrow_mut().next_call(stack, call)));
    next.unwrap_or_else(|_| {
        abandon(shared);
        false
    })
}

/// Ends a dispatch; takes over the reference count of `exception`, with which a callback died.
#[unsafe(no_mangle)]
extern "C" fn ws_rust_dispatched(connection: *const c_void, exception: *mut SV, is_exiting: bool, after: *mut After) {
    // SAFETY: the loop holds the object on which the connection hangs, and passes its own struct.
    let (shared, after) = unsafe { (&*connection.cast::<Shared>(), &mut *after) };
    let outcome = match (is_exiting, exception.is_null()) {
        (true, _) => Ending::Exiting,
        (false, true) => Ending::Done,
        (false, false) => Ending::Died(exception),
    };
    if catch_unwind(AssertUnwindSafe(|| dispatch::end(shared, outcome, after))).is_err() {
        after.exiting = is_exiting;
        abandon(shared);
    }
}

/// Returns the connection of a state; null unless the state is an object's.
#[unsafe(no_mangle)]
extern "C" fn ws_rust_connection(state: State) -> *const c_void {
    if state.is(Kind::Object) { state.state } else { null() }
}

/// Perl code is about to read the slot of a handle that holds its TLS session.
#[unsafe(no_mangle)]
extern "C" fn ws_rust_before_read(state: State) {
    // SAFETY: the state hangs on the slot, and is a connection's.
    let shared = unsafe { state.get::<Shared>(Kind::WatchedSlot) };
    if let Some(Ok(mut connection)) = shared.map(|shared| shared.try_borrow_mut()) {
        if catch_unwind(AssertUnwindSafe(|| connection.encrypt_waiting())).is_err() {
            connection.engine.abandon();
        }
    }
}

/// Frees a state. Returns a value whose reference count C must give up, or null.
#[unsafe(no_mangle)]
extern "C" fn ws_rust_free(state: State) -> *mut SV {
    // SAFETY: C passes each state once. A panic cannot be reported here.
    let free = || {
        // SAFETY: C passes each state once, and it is freed by the one whose kind it is.
        unsafe {
            let is_freed = handshakes::free(&state) || codecs::free(&state) || registration::free(&state);
            if is_freed { null_mut() } else { connections::free(state) }
        }
    };
    catch_unwind(AssertUnwindSafe(free)).unwrap_or(null_mut())
}
