//! The interface between C and Rust: perl's types, and the declarations in `glue/interface.h`.
//!
//! Rust calls none of perl's own functions. A function in one version of perl may be a macro in the next, or missing
//! from the symbols that perl exports; so `glue/` wraps each one, and perl's headers decide.

pub use libperl_sys::{
    AV, CV, HE, HEK, HV, IO, PerlInterpreter, SV, SVf_FAKE, SVf_IOK, SVf_IsCOW, SVf_NOK, SVf_POK, SVf_PROTECT,
    SVf_READONLY, SVf_ROK, SVf_UTF8, SVp_IOK, SVp_NOK, SVp_POK, SVphv_SHAREKEYS, SVs_GMG, SVs_OBJECT, SVs_RMG, SVs_SMG,
    SVs_TEMP, svtype, xpv, xpvav, xpvcv, xpvhv, xpviv, xpvmg,
};

/// The interpreter. It is passed explicitly everywhere; a perl that has only one ignores it.
pub type Perl = *mut PerlInterpreter;

pub use interface::*;

/// The declarations that bindgen makes from `glue/interface.h`.
#[allow(
    clippy::upper_case_acronyms,
    missing_docs,
    non_camel_case_types,
    non_upper_case_globals,
    unsafe_op_in_unsafe_fn,
    dead_code
)]
mod interface {
    use super::{AV, CV, HEK, HV, IO, PerlInterpreter, SV};

    type STRLEN = usize;
    type SSize_t = isize;

    include!(concat!(env!("OUT_DIR"), "/interface.rs"));
}

/// Maximum number of subs that an XSUB may call after Rust has returned.
pub const MAX_CALLS: usize = WS_MAX_CALLS as usize;
/// Maximum number of arguments for such a sub, and for a callback after the connection.
pub const MAX_ARGS: usize = WS_MAX_ARGS as usize;
/// Size of a buffer that holds two socket addresses, in bytes.
pub const ADDRESSES_SIZE: usize = WS_ADDRESSES_SIZE as usize;
/// Number of addresses through which a descriptor is found.
pub const FILE_ADDRESSES: usize = WS_FILE_ADDRESSES as usize;
/// Number of cache lines that are prefetched for a dispatch.
pub const FOOTPRINT: usize = WS_FOOTPRINT as usize;

/// The callback to call next. It gets the connection, and then the arguments.
pub type Call = ws_call;
/// The kind of such a call.
pub type CallKind = ws_call_kind;
/// A sub of the Perl half to call.
pub type SubCall = ws_sub_call;
/// The Rust state that hangs on a Perl value's magic.
pub type State = ws_state;
/// What an XSUB does after Rust has returned. Rust fills it in, and the trampoline carries it out.
pub type After = ws_after;
/// A row of the table of XSUBs.
pub type Xsub = ws_xsub;

// SAFETY: an `Xsub` is never written to, and its name is a constant string.
unsafe impl Sync for Xsub {}
