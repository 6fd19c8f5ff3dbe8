//! Opening handshakes, as Perl sees them: values that hold the engine's state, and results as arrays.
//!
//! A result is undef while more bytes are needed, `[length, ...]` when the head is complete, and `[undef, text, ...]`
//! for an error.

pub mod answering;
pub mod client;
pub mod server;

use super::io::handle;
use super::io::methods::{self, HandleMethods};
use super::perl::ffi::{Perl, SV, State};
use super::perl::magic::{self, Kind};
use super::perl::sv;
use crate::engine::handshake::{Fields, Limits};
use std::cell::RefCell;
use std::ffi::CString;
use std::ptr::null_mut;
use std::rc::Rc;

/// Creates a scalar that owns `state`, and returns a reference to it.
fn new_object<T>(perl: Perl, kind: Kind, state: T) -> *mut SV {
    let scalar = sv::new_mortal_string(perl);
    // SAFETY: the scalar was just created.
    unsafe { magic::attach(perl, scalar, State::new(kind, &Rc::new(RefCell::new(state))), null_mut()) };
    sv::new_reference(perl, scalar)
}

/// Runs `body` with the state that the referenced scalar owns. Returns `None` if it has none of this kind: it is
/// something else, or belongs to another thread.
///
/// # Safety
/// State of this kind is a `RefCell<T>`.
unsafe fn with_state<T, R>(perl: Perl, object: *mut SV, kind: Kind, body: impl FnOnce(&mut T) -> R) -> Option<R> {
    let scalar = sv::referent(object)?;
    // SAFETY: perl keeps an XSUB's arguments while no Perl code runs, and the caller guarantees the type.
    let state = unsafe { magic::on(perl, scalar).get::<RefCell<T>>(kind)? };
    let state = &mut *state.try_borrow_mut().ok()?;
    Some(body(state))
}

/// The state that all handles of an interpreter's handshakes share.
pub struct Handles {
    keys: handle::Keys,
    methods: HandleMethods,
}

impl Handles {
    /// Returns the state that hangs on the XSUB `sub`, which runs; creates it if needed.
    fn on(perl: Perl, sub: *mut SV) -> Rc<Self> {
        let create = || Self { keys: handle::Keys::new(perl), methods: HandleMethods::default() };
        // SAFETY: perl keeps an XSUB that runs, and state of this kind is the pointer of an `Rc<Handles>`.
        unsafe { magic::get_or_attach(perl, sub, Kind::Handles, create) }
    }
}

/// Returns `true` if the methods of `handle` are AnyEvent::Handle's own. The result is cached on the XSUB `sub`.
pub fn has_stock_methods(perl: Perl, sub: *mut SV, handle: *mut SV) -> bool {
    sv::is_hash(handle) && Handles::on(perl, sub).methods.are_stock(perl, handle.cast())
}

/// Returns `true` if the methods of `handle` with these names are AnyEvent::Handle's own.
pub fn has_stock_methods_named(perl: Perl, handle: *mut SV, mut names: impl Iterator<Item = CString>) -> bool {
    // SAFETY: an object has a class.
    sv::is_object(handle) && names.all(|name| unsafe { methods::is_stock(perl, sv::class(handle), &name) })
}

/// Frees a state if it is of a kind that is used here. Returns `false` if it is something else.
///
/// # Safety
/// The state is live, and is not used again if this returns `true`.
pub unsafe fn free(state: &State) -> bool {
    // SAFETY: state of a kind is the pointer of an `Rc` of its type, given up here once.
    unsafe {
        match () {
            () if state.is(Kind::ServerHandshake) => drop(Rc::from_raw(state.state.cast::<server::State>())),
            () if state.is(Kind::ClientHandshake) => drop(Rc::from_raw(state.state.cast::<client::State>())),
            () if state.is(Kind::Handles) => drop(Rc::from_raw(state.state.cast::<Handles>())),
            () => return false,
        }
    }
    true
}

/// Returns limits, in bytes.
pub fn limits(head: u64, line: u64) -> Limits {
    let size = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
    Limits { head: size(head), line: size(line) }
}

/// Returns a string whose bytes are the characters of `text`, which go up to U+00FF.
fn new_text(perl: Perl, text: &str) -> *mut SV {
    let octets: Vec<u8> = text.chars().map(|character| u8::try_from(character).unwrap_or(b'?')).collect();
    sv::new_string(perl, &octets)
}

fn new_optional(perl: Perl, octets: Option<&[u8]>) -> *mut SV {
    octets.map_or_else(|| sv::new_undef(perl), |octets| sv::new_string(perl, octets))
}

/// Returns a reference to an array of names and values.
fn new_fields(perl: Perl, fields: &Fields) -> *mut SV {
    let pairs = fields.iter().flat_map(|(name, value)| [name, value]);
    sv::new_array(perl, pairs.map(|octets| sv::new_string(perl, octets)))
}
