//! The functions of `glue.c`; their contracts stand there.

use super::after::After;
use super::connection::State;
use libperl_rs::{CV, HV, PerlInterpreter, SV};
use std::ffi::{c_char, c_int, c_void};
use std::os::fd::RawFd;

/// The interpreter, passed explicitly everywhere; ignored by a perl that has only one.
pub type Perl = *mut PerlInterpreter;

unsafe extern "C" {
    pub fn ws_send_is_overridden(perl: Perl, object: *mut HV) -> c_int;
    pub fn ws_io(perl: Perl, fh: *mut SV) -> *mut SV;
    pub fn ws_fd(perl: Perl, fh: *mut SV) -> c_int;
    pub fn ws_is_destroyed(perl: Perl, handle: *mut HV) -> c_int;
    pub fn ws_read(fd: RawFd, start: *mut c_void, len: usize) -> isize;
    pub fn ws_write(fd: RawFd, start: *const c_void, len: usize) -> isize;
    pub fn ws_addresses(fd: RawFd, out: *mut c_char, len: *mut [usize; 2]);
    pub fn ws_write_both(
        fd: RawFd,
        first: *const c_void,
        first_len: usize,
        second: *const c_void,
        second_len: usize,
    ) -> isize;
    pub fn ws_is_last_act(perl: Perl, stack: *const c_void) -> c_int;
    pub fn ws_is_defined_in(perl: Perl, class: *mut HV, name: *const c_char, file: *const c_char) -> c_int;
    pub fn ws_reserve(perl: Perl, sv: *mut SV, extra: usize) -> *mut c_char;
    pub fn ws_set_length(perl: Perl, sv: *mut SV, len: usize);
    pub fn ws_empty(perl: Perl, sv: *mut SV, keep: usize);
    pub fn ws_fetch(perl: Perl, hash: *mut HV, key: *const c_char, len: i32, hashed: u32, is_lvalue: bool) -> *mut SV;
    pub fn ws_set_times(perl: Perl, first: *mut SV, second: *mut SV, seconds: f64);
    pub fn ws_is_tainting(perl: Perl) -> c_int;
    pub fn ws_taint(perl: Perl, sv: *mut SV);
    pub fn ws_take_buffer(sv: *mut SV, capacity: *mut usize) -> *mut c_char;
    pub fn ws_state_attach(perl: Perl, sv: *mut SV, state: State, keeps: *mut SV);
    pub fn ws_state(perl: Perl, sv: *mut SV) -> State;
    pub fn ws_left_handle(perl: Perl, hook: *mut SV) -> *mut HV;
    pub fn ws_new_hook(perl: Perl, state: State) -> *mut SV;
    pub fn ws_class_generation(perl: Perl, class: *mut HV) -> u32;
    pub fn ws_is_of_class(perl: Perl, object: *mut HV, class: *mut HV, generation: u32) -> c_int;
    pub fn ws_has_destructor(perl: Perl, class: *mut HV) -> c_int;
    pub fn ws_wants_value(perl: Perl) -> c_int;
    pub fn ws_located(perl: Perl, text: *const c_char, len: usize) -> *mut SV;
}

/// Declares the trampolines, whose signature depends on whether this perl has threads.
macro_rules! trampolines {
    ($($name:ident)*) => {
        #[cfg(perl_useithreads)]
        unsafe extern "C" { $(pub fn $name(perl: *mut PerlInterpreter, cv: *mut CV);)* }
        #[cfg(not(perl_useithreads))]
        unsafe extern "C" { $(pub fn $name(cv: *mut CV);)* }
    };
}

trampolines! {
    ws_xs_send ws_xs_send_frame ws_xs_attach ws_xs_start ws_xs_is_untouched ws_xs_send_fragment
    ws_xs_set_streaming ws_xs_set_limits ws_xs_broadcast ws_xs_state ws_xs_traffic ws_xs_addresses ws_xs_hold
    ws_xs_watch_backlog ws_xs_take_read_buffer ws_xs_deliver_rest ws_xs_resume ws_xs_flush ws_xs_can_close
    ws_xs_close ws_xs_transport_closed ws_xs_answer_ping ws_xs_use_tls ws_xs_enable_deflate
    ws_xs_forget_idle_window ws_xs_library_version ws_xs_dispatch ws_boot
}

/// What a trampoline calls.
pub type Entry = unsafe extern "C" fn(Perl, *mut CV, *mut *mut SV, i32, *mut After);
