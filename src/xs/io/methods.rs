//! Which handles' insides may be used: those whose methods are AnyEvent::Handle's own, as that module defines them. A program
//! may replace a method at any time, in a subclass or in the class itself; such a handle is only called.

use crate::xs::perl::ffi::{self, HV, Perl, SVs_OBJECT};
use crate::xs::perl::sv;
use std::cell::Cell;
use std::ffi::CStr;
use std::ptr::null_mut;

/// The methods whose work is done natively.
const METHODS: [&CStr; 7] =
    [c"on_read", c"push_write", c"start_read", c"stop_read", c"_drain_rbuf", c"_drain_wbuf", c"_error"];
/// Where they are defined; the path may begin anywhere.
const FILE: &CStr = c"AnyEvent/Handle.pm";

/// What was found in the class that was looked at last.
#[derive(Clone, Copy)]
struct Verdict {
    class: *mut HV,
    generation: u32,
    is_usual: bool,
}

/// Remembers what was found, as programs have one class of handles.
pub struct HandleMethods(Cell<Verdict>);

impl Default for HandleMethods {
    fn default() -> Self {
        Self(Cell::new(Verdict { class: null_mut(), generation: 0, is_usual: false }))
    }
}

impl HandleMethods {
    /// Whether the methods of a handle are AnyEvent::Handle's own now.
    pub fn are_usual(&self, perl: Perl, handle: *mut HV) -> bool {
        let last = self.0.get();
        // SAFETY: a live hash.
        if unsafe { ffi::ws_is_of_class(perl, handle, last.class, last.generation) } {
            return last.is_usual;
        }
        self.look_up(perl, handle)
    }

    #[cold]
    fn look_up(&self, perl: Perl, handle: *mut HV) -> bool {
        // SAFETY: a live hash; an object has a class.
        unsafe {
            if (*handle).sv_flags & SVs_OBJECT == 0 {
                return false;
            }
            let class = sv::class(handle.cast());
            let is_usual = METHODS.iter().all(|name| ffi::ws_is_defined_in(perl, class, name.as_ptr(), FILE.as_ptr()));
            // Looking methods up may have changed the number.
            self.0.set(Verdict { class, generation: ffi::ws_class_generation(perl, class), is_usual });
            is_usual
        }
    }
}
