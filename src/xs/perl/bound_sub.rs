//! Anonymous subs with a state, which are used again.

use super::ffi::{self, Perl, SV, SVf_ROK, SVs_TEMP, State, Xsub, xpvcv};
use super::sv::{self, TYPE_MASK};
use std::ffi::c_void;

/// A reference to an anonymous sub with a state. A program that gets the reference may change it, or keep it or the sub.
#[derive(Clone, Copy)]
pub struct BoundSub {
    pub reference: *mut SV,
    /// The state that hangs on the sub.
    pub state: *const c_void,
    sub: *mut SV,
    /// The traits that the sub had when it was created.
    traits: Traits,
}

/// The properties of a sub that change when a program blesses it, undefines it, or takes a weak reference to it.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Traits {
    flags: u32,
    /// The flags of a sub alone. They also show whether it still has a body.
    sub_flags: u32,
    /// The first of its magic.
    magic: *const c_void,
}

impl BoundSub {
    /// Creates a sub; the caller owns the reference.
    pub fn new(perl: Perl, xsub: &'static Xsub, state: State) -> Self {
        let pointer = state.state;
        // SAFETY: the interpreter is running.
        let reference = unsafe { ffi::ws_new_bound_sub(perl, xsub, state) };
        let sub = sv::referent(reference).expect("a new reference");
        // SAFETY: `sub` is a new sub.
        let traits = unsafe { Traits::of(sub) };
        Self { reference, state: pointer, sub, traits }
    }

    /// Returns `true` if the reference and the sub are as they were created, and only the caller has the reference, which
    /// alone refers to the sub: there are no weak references either, because these are magic.
    pub fn is_untouched(&self) -> bool {
        const MORTAL: u32 = SVs_TEMP;
        let (reference, sub) = (self.reference, self.sub);
        // SAFETY: the caller has the reference. ROK shows that it still holds the sub.
        unsafe {
            let refers =
                (*reference).sv_flags & !(TYPE_MASK | MORTAL) == SVf_ROK && (*reference).sv_u.svu_rv == self.sub;
            refers && (*reference).sv_refcnt == 1 && (*sub).sv_refcnt == 1 && Traits::of(sub) == self.traits
        }
    }
}

impl Traits {
    /// Reads the traits of a sub.
    ///
    /// # Safety
    /// The sub is live.
    unsafe fn of(sub: *mut SV) -> Self {
        // SAFETY: the body of a sub is an `xpvcv`.
        unsafe {
            let body = (*sub).sv_any.cast::<xpvcv>();
            let magic = (*body).xmg_u.xmg_magic.cast::<c_void>();
            Self { flags: (*sub).sv_flags, sub_flags: (*body).xcv_flags, magic }
        }
    }
}
