//! Decides whether a handle's internals may be used: only if its methods are those that AnyEvent::Handle defines. A
//! program may replace a method at any time, in a subclass or in the class itself; then the binding only calls the
//! handle's methods.

use crate::xs::perl::ffi::{self, HV, Perl};
use crate::xs::perl::sv;
use std::cell::Cell;
use std::ffi::CStr;
use std::ptr::null_mut;

/// The methods whose work is done natively. `_dotls` is not among them: AnyEvent::Handle calls it as a function.
const METHODS: [&CStr; 9] = [
    c"on_eof",
    c"on_error",
    c"on_read",
    c"push_write",
    c"start_read",
    c"stop_read",
    c"_drain_rbuf",
    c"_drain_wbuf",
    c"_error",
];
/// The methods that shut down the write side.
const SHUTDOWN_METHODS: [&CStr; 2] = [c"push_shutdown", c"on_drain"];
/// The package that defines them.
const PACKAGE: &CStr = c"AnyEvent::Handle";
/// The end of the path of the file that defines them.
const FILE: &CStr = c"AnyEvent/Handle.pm";

/// The result for the class that was checked last.
#[derive(Clone, Copy)]
struct CachedResult {
    class: *mut HV,
    generation: u32,
    stock: Stock,
}

/// Which of a handle's methods are at present those of AnyEvent::Handle.
#[derive(Clone, Copy)]
pub enum Stock {
    /// One that reads or writes is not.
    No,
    /// All are that read and write, but not those that shut down the write side.
    Transfer,
    All,
}

/// Returns `true` if a class has the method of this name that AnyEvent::Handle defines.
///
/// # Safety
/// `class` is a live stash.
pub unsafe fn is_stock(perl: Perl, class: *mut HV, name: &CStr) -> bool {
    // SAFETY: the caller guarantees the class; the others are C strings.
    unsafe { ffi::ws_is_defined_in(perl, class, name.as_ptr(), PACKAGE.as_ptr(), FILE.as_ptr()) }
}

/// Caches the result of the last check: programs mostly have a single class of handles.
pub struct HandleMethods(Cell<CachedResult>);

impl Default for HandleMethods {
    fn default() -> Self {
        Self(Cell::new(CachedResult { class: null_mut(), generation: 0, stock: Stock::No }))
    }
}

impl HandleMethods {
    /// Returns `true` if the handle's methods are at present those of AnyEvent::Handle.
    #[inline]
    pub fn are_stock(&self, perl: Perl, handle: *mut HV) -> bool {
        !matches!(self.stock(perl, handle), Stock::No)
    }

    /// Returns which methods are at present those of AnyEvent::Handle.
    #[inline]
    pub fn stock(&self, perl: Perl, handle: *mut HV) -> Stock {
        let last = self.0.get();
        // SAFETY: `handle` is a live hash. `last.class` may be freed; it is only compared.
        if unsafe { ffi::ws_is_of_class(perl, handle, last.class, last.generation) } {
            return last.stock;
        }
        self.look_up(perl, handle)
    }

    #[cold]
    fn look_up(&self, perl: Perl, handle: *mut HV) -> Stock {
        // SAFETY: `handle` is a live hash, and an object has a class.
        unsafe {
            if !sv::is_object(handle.cast()) {
                return Stock::No;
            }
            let class = sv::class(handle.cast());
            let have_all = |names: &[&CStr]| names.iter().all(|name| is_stock(perl, class, name));
            let stock = match (have_all(&METHODS), have_all(&SHUTDOWN_METHODS)) {
                (false, _) => Stock::No,
                (true, false) => Stock::Transfer,
                (true, true) => Stock::All,
            };
            // Looking up methods may have changed the generation, so read it only now.
            self.0.set(CachedResult { class, generation: ffi::ws_class_generation(perl, class), stock });
            stock
        }
    }
}
