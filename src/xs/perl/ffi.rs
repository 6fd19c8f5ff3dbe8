//! What C and Rust share: perl's types, the functions of `glue/`, whose contracts stand there, and the structs, which stand in `glue.h` as well.
//!
//! Of perl's own functions Rust calls none. What is a function in one version of perl may be a macro in the next, or not be
//! exported by the perl executable; so each stands in `glue/`, where perl's headers decide.

use std::ffi::{c_char, c_int, c_void};
use std::os::fd::RawFd;

pub use libperl_sys::{
    AV, CV, HE, HEK, HV, PerlInterpreter, SV, SVf_FAKE, SVf_IOK, SVf_IsCOW, SVf_NOK, SVf_POK, SVf_PROTECT,
    SVf_READONLY, SVf_ROK, SVf_UTF8, SVp_IOK, SVp_NOK, SVp_POK, SVphv_SHAREKEYS, SVs_GMG, SVs_OBJECT, SVs_RMG, SVs_SMG,
    svtype, xpv, xpvav, xpvhv, xpviv, xpvmg,
};

/// The interpreter, passed explicitly everywhere; ignored by a perl that has only one.
pub type Perl = *mut PerlInterpreter;

pub const MAX_CALLS: usize = 8;
pub const MAX_ARGS: usize = 3;

/// A Perl sub to call, in the shim.
#[repr(C)]
pub struct SubCall {
    /// Its full name.
    pub sub: *const c_char,
    pub args: [*mut SV; MAX_ARGS],
}

/// What an XSUB does after Rust has returned: filled in by Rust, carried out by the trampoline.
#[repr(C)]
pub struct After {
    pub dispatch: *mut SV,
    pub connection: *const c_void,
    pub dispatch_loop: *mut CV,
    pub error: *mut SV,
    pub topic: *mut SV,
    pub returns: *mut SV,
    pub croak: *mut SV,
    pub needs_fetch: c_int,
    pub exiting: c_int,
    pub calls: c_int,
    pub call: [SubCall; MAX_CALLS],
}

/// What is to be called next. The connection comes before the arguments.
#[repr(C)]
pub struct Call {
    /// A code reference, or null for a method.
    pub sub: *mut SV,
    pub method: *const c_char,
    pub args: [*mut SV; MAX_ARGS],
    pub count: c_int,
    /// The first of `owned` is a message, to be made into the next one if the callbacks let it go.
    pub has_message: bool,
    /// More than one frame is to be dispatched.
    pub are_many: bool,
    /// What is freed after the call.
    pub owned: [*mut SV; MAX_ARGS],
}

/// What hangs on a Perl value's magic.
#[repr(C)]
pub struct State {
    pub kind: u16,
    /// Null if it has gone, or is another thread's.
    pub state: *const c_void,
}

unsafe extern "C" {
    // values.c
    pub fn ws_new_undef(perl: Perl) -> *mut SV;
    pub fn ws_new_string(perl: Perl, start: *const c_char, len: usize) -> *mut SV;
    pub fn ws_new_number(perl: Perl, number: u64) -> *mut SV;
    pub fn ws_new_reference(perl: Perl, sv: *mut SV) -> *mut SV;
    pub fn ws_new_copy(perl: Perl, sv: *mut SV) -> *mut SV;
    pub fn ws_new_array(perl: Perl, values: *const *mut SV, count: usize) -> *mut SV;
    pub fn ws_new_object(perl: Perl, class: *mut HV) -> *mut SV;
    pub fn ws_new_string_in(perl: Perl, start: *mut c_char, len: usize, capacity: usize) -> *mut SV;
    pub fn ws_free_later(perl: Perl, sv: *mut SV);
    pub fn ws_realloc(start: *mut c_void, size: usize) -> *mut c_void;
    pub fn ws_free(start: *mut c_void);
    pub fn ws_set_string(perl: Perl, sv: *mut SV, start: *const c_char, len: usize);
    pub fn ws_chop(perl: Perl, sv: *mut SV, count: usize);
    pub fn ws_shift(perl: Perl, array: *mut AV) -> *mut SV;
    pub fn ws_replace_element(perl: Perl, array: *mut AV, index: isize, value: *mut SV);
    pub fn ws_class(perl: Perl, name: *const c_char) -> *mut HV;
    pub fn ws_sub(perl: Perl, name: *const c_char) -> *mut CV;
    pub fn ws_shared_key(perl: Perl, name: *const c_char, len: i32) -> *mut HEK;
    pub fn ws_store(perl: Perl, hash: *mut HV, key: *const c_char, len: i32, hashed: u32, value: *mut SV);
    pub fn ws_fetch(perl: Perl, hash: *mut HV, key: *const c_char, len: i32, hashed: u32, is_lvalue: bool) -> *mut SV;
    pub fn ws_reserve(perl: Perl, sv: *mut SV, extra: usize) -> *mut c_char;
    pub fn ws_set_length(perl: Perl, sv: *mut SV, len: usize);
    pub fn ws_empty(perl: Perl, sv: *mut SV, keep: usize);
    pub fn ws_take_buffer(sv: *mut SV, capacity: *mut usize) -> *mut c_char;
    pub fn ws_set_times(perl: Perl, first: *mut SV, second: *mut SV, seconds: f64);
    pub fn ws_is_tainting(perl: Perl) -> c_int;
    pub fn ws_taint(perl: Perl, sv: *mut SV);
    pub fn ws_class_generation(perl: Perl, class: *mut HV) -> u32;
    pub fn ws_is_of_class(perl: Perl, object: *mut HV, class: *mut HV, generation: u32) -> c_int;
    pub fn ws_is_defined_in(perl: Perl, class: *mut HV, name: *const c_char, file: *const c_char) -> c_int;
    pub fn ws_has_destructor(perl: Perl, class: *mut HV) -> c_int;
    pub fn ws_is_destroyed(perl: Perl, handle: *mut HV) -> c_int;
    // state.c
    pub fn ws_state_attach(perl: Perl, sv: *mut SV, state: State, keeps: *mut SV);
    pub fn ws_state(perl: Perl, sv: *mut SV) -> State;
    pub fn ws_left_handle(perl: Perl, hook: *mut SV) -> *mut HV;
    pub fn ws_new_hook(perl: Perl, xsub: *const Xsub, state: State) -> *mut SV;
    // calls.c
    pub fn ws_has_xsub(perl: Perl, object: *mut HV, method: *const c_char, xsub: *const Xsub) -> c_int;
    pub fn ws_is_last_act(perl: Perl, stack: *const c_void) -> c_int;
    pub fn ws_wants_value(perl: Perl) -> c_int;
    pub fn ws_located(perl: Perl, text: *const c_char, len: usize) -> *mut SV;
    // system.c
    pub fn ws_io(perl: Perl, fh: *mut SV) -> *mut SV;
    pub fn ws_fd(perl: Perl, fh: *mut SV) -> c_int;
    pub fn ws_read(fd: RawFd, start: *mut c_void, len: usize) -> isize;
    pub fn ws_write(fd: RawFd, start: *const c_void, len: usize) -> isize;
    pub fn ws_write_both(
        fd: RawFd,
        first: *const c_void,
        first_len: usize,
        second: *const c_void,
        second_len: usize,
    ) -> isize;
    pub fn ws_addresses(fd: RawFd, out: *mut c_char, len: *mut [usize; 2]);
}

#[cfg(perl_useithreads)]
unsafe extern "C" {
    pub fn ws_boot(perl: *mut PerlInterpreter, cv: *mut CV);
}
#[cfg(not(perl_useithreads))]
unsafe extern "C" {
    pub fn ws_boot(cv: *mut CV);
}

/// What the trampoline calls.
pub type Body = unsafe extern "C" fn(Perl, *mut CV, *mut *mut SV, i32, *mut After);

/// A row of the table of XSUBs.
#[repr(C)]
pub struct Xsub {
    pub body: Body,
    /// The full name of the Perl sub; null for the hook, which has none, and behind the last.
    pub name: *const c_char,
}

// SAFETY: the name is a constant.
unsafe impl Sync for Xsub {}
