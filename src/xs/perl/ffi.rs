//! What C and Rust share: perl's types, and what `glue/interface.h` declares.
//!
//! Of perl's own functions Rust calls none. What is a function in one version of perl may be a macro in the next, or not be
//! exported by the perl executable; so each stands in `glue/`, where perl's headers decide.

pub use libperl_sys::{
    AV, CV, HE, HEK, HV, IO, PerlInterpreter, SV, SVf_FAKE, SVf_IOK, SVf_IsCOW, SVf_NOK, SVf_POK, SVf_PROTECT,
    SVf_READONLY, SVf_ROK, SVf_UTF8, SVp_IOK, SVp_NOK, SVp_POK, SVphv_SHAREKEYS, SVs_GMG, SVs_OBJECT, SVs_RMG, SVs_SMG,
    svtype, xpv, xpvav, xpvhv, xpviv, xpvmg,
};

/// The interpreter, passed explicitly everywhere; ignored by a perl that has only one.
pub type Perl = *mut PerlInterpreter;

pub use interface::*;

/// What bindgen makes of `glue/interface.h`.
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

/// How many subs an XSUB may end in.
pub const MAX_CALLS: usize = WS_MAX_CALLS as usize;
/// How many arguments these, and callbacks, may have behind the connection.
pub const MAX_ARGS: usize = WS_MAX_ARGS as usize;
/// How many bytes two addresses of a socket may have.
pub const ADDRESSES_SIZE: usize = WS_ADDRESSES_SIZE as usize;

/// What is to be called next. The connection comes before the arguments.
pub type Call = ws_call;
/// A Perl sub to call, in the shim.
pub type SubCall = ws_sub_call;
/// What hangs on a Perl value's magic.
pub type State = ws_state;
/// What an XSUB does after Rust has returned: filled in by Rust, carried out by the trampoline.
pub type After = ws_after;
/// A row of the table of XSUBs.
pub type Xsub = ws_xsub;

// SAFETY: the name is a constant.
unsafe impl Sync for Xsub {}
