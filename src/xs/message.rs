//! Message objects, as the class in Message.pm makes them: a blessed hash with `body` and `opcode`.

use super::ffi::Perl;
use super::sv::{self, Key};
use libperl_rs::{HV, SV, SVf_PROTECT, thx};

const CLASS: &[u8] = b"AnyEvent::WebSocket::Message";

/// The class's stash, made if need be.
pub fn class(perl: Perl) -> *mut HV {
    let create = libperl_rs::GV_ADD as i32;
    // SAFETY: a pointer and its length.
    unsafe { thx::Perl_gv_stashpvn(perl, CLASS.as_ptr().cast(), CLASS.len() as u32, create) }
}

/// A reference to a new message; the body's reference count is handed over.
pub fn new(perl: Perl, class: *mut HV, opcode: u8, body: *mut SV) -> *mut SV {
    // SAFETY: a new hash, its slots, and a reference that is its only owner.
    unsafe {
        let hv = thx::Perl_newHV(perl);
        sv::store(perl, hv, Key::Body, body);
        sv::store(perl, hv, Key::Opcode, thx::Perl_newSViv(perl, opcode.into()));
        let reference = thx::Perl_newRV_noinc(perl, hv.cast());
        thx::Perl_sv_bless(perl, reference, class)
    }
}

/// The opcode and the body's scalar of a message that is of this very class, so that no method need be called.
pub fn parts(perl: Perl, class: *mut HV, object: *mut SV) -> Option<(i64, *mut SV)> {
    // SAFETY: `object` is live; an object's body has a stash.
    unsafe {
        let is_message = thx::SvTYPE(perl, object) == libperl_rs::svtype::SVt_PVHV
            && (*object).sv_flags & (libperl_rs::SVs_OBJECT | libperl_rs::SVs_RMG | SVf_PROTECT)
                == libperl_rs::SVs_OBJECT
            && thx::SvSTASH(perl, object) == class;
        if !is_message || class.is_null() {
            return None;
        }
    }
    let hv = object.cast();
    let opcode = sv::plain_integer(perl, sv::fetch(perl, hv, Key::Opcode)?)?;
    Some((opcode, sv::fetch(perl, hv, Key::Body)?))
}
