//! Perl strings.

use super::ffi::{
    self, AV, HV, Perl, SV, SVf_FAKE, SVf_IOK, SVf_IsCOW, SVf_NOK, SVf_POK, SVf_PROTECT, SVf_READONLY, SVf_ROK,
    SVf_UTF8, SVp_IOK, SVp_NOK, SVs_GMG, SVs_OBJECT, SVs_RMG, SVs_SMG, svtype, xpv, xpvav, xpviv, xpvmg,
};
use bytes::buf::UninitSlice;
use std::ffi::c_char;
use std::slice;

/// The part of a value's flags that is its type.
const TYPE_MASK: u32 = 0xff;

/// Whether a value may be read as it stands: no get magic, but that it may be tainted.
#[inline(always)]
pub fn is_plain(sv: *mut SV) -> bool {
    // SAFETY: callers pass live SVs.
    unsafe { (*sv).sv_flags & SVs_GMG == 0 || has_taint_alone(sv) }
}

#[cold]
unsafe fn has_taint_alone(sv: *mut SV) -> bool {
    // SAFETY: the caller passes a live value with magic, whose body begins like this.
    let magic = unsafe { (*(*sv).sv_any.cast::<xpvmg>()).xmg_u.xmg_magic.as_ref() };
    magic.is_some_and(|magic| magic.mg_type == b't' as c_char && magic.mg_moremagic.is_null())
}

/// What a reference points at.
pub fn referent(sv: *mut SV) -> Option<*mut SV> {
    // SAFETY: callers pass live SVs; ROK says which member of the union is in use.
    unsafe { (is_plain(sv) && (*sv).sv_flags & SVf_ROK != 0).then(|| (*sv).sv_u.svu_rv) }
}

/// Whether a value is an array, and no object.
pub fn is_plain_array(sv: *mut SV) -> bool {
    // SAFETY: callers pass live SVs.
    unsafe { (*sv).sv_flags & (TYPE_MASK | SVs_OBJECT) == svtype::SVt_PVAV as u32 }
}

/// Whether a value is an array.
pub fn is_array(sv: *mut SV) -> bool {
    // SAFETY: callers pass live SVs.
    unsafe { (*sv).sv_flags & TYPE_MASK == svtype::SVt_PVAV as u32 }
}

/// Whether a value is a hash.
pub fn is_hash(sv: *mut SV) -> bool {
    // SAFETY: callers pass live SVs.
    unsafe { (*sv).sv_flags & TYPE_MASK == svtype::SVt_PVHV as u32 }
}

/// Whether a value is undef, as far as it may be read as it stands.
pub fn is_undef(sv: *mut SV) -> bool {
    // SAFETY: callers pass live SVs.
    is_plain(sv) && unsafe { (*sv).sv_flags & 0xff00 == 0 }
}

/// An integer that needs no conversion.
pub fn plain_integer(sv: *mut SV) -> Option<i64> {
    // SAFETY: IOK without magic: the integer is there to be read.
    unsafe { (is_plain(sv) && (*sv).sv_flags & SVf_IOK != 0).then(|| integer(sv)) }
}

/// As [`plain_integer`], also of a value whose reading is watched.
pub fn watched_integer(sv: *mut SV) -> Option<i64> {
    // SAFETY: callers pass live SVs; IOK: the integer is there to be read.
    plain_integer(sv)
        .or_else(|| unsafe { (ffi::ws_has_watched_reads(sv) && (*sv).sv_flags & SVf_IOK != 0).then(|| integer(sv)) })
}

/// The integer of a value.
///
/// # Safety
/// It is IOK.
#[allow(clippy::unnecessary_cast, reason = "an integer of perl's may be smaller")]
unsafe fn integer(sv: *mut SV) -> i64 {
    // SAFETY: promised by the caller: it has a body that starts like xpviv, or perl pretends so.
    unsafe { (*(*sv).sv_any.cast::<xpviv>()).xiv_u.xivu_iv as i64 }
}

/// Whether a plain value is true enough for a flag of an AnyEvent::Handle: any reference, or a string or number that
/// is not empty or zero.
pub fn is_set(sv: *mut SV) -> bool {
    // SAFETY: callers pass live SVs; the flags say what may be read.
    unsafe {
        let flags = (*sv).sv_flags;
        match flags & (SVf_ROK | SVf_POK | SVf_IOK) {
            0 => flags & 0xff00 != 0,
            kind if kind & SVf_ROK != 0 => true,
            kind if kind & SVf_IOK != 0 => integer(sv) != 0,
            _ => !matches!(octets(sv), b"" | b"0"),
        }
    }
}

/// A string's octets as they go onto the wire: those of a string with the UTF8 flag are UTF-8. `None` for what is not
/// simply a string: references, numbers, undef, magic, and characters that UTF-8 cannot encode.
pub fn wire_octets<'a>(sv: *mut SV) -> Option<&'a [u8]> {
    // SAFETY: POK without magic or reference: the string buffer is there to be read. The caller does nothing to the
    // scalar while it holds the slice.
    unsafe {
        let flags = (*sv).sv_flags;
        if flags & (SVs_GMG | SVf_ROK | SVf_POK) != SVf_POK {
            return None;
        }
        let octets = octets(sv);
        (flags & SVf_UTF8 == 0 || simdutf8::basic::from_utf8(octets).is_ok()).then_some(octets)
    }
}

/// Where a string is.
///
/// # Safety
/// `sv` is POK.
unsafe fn start(sv: *mut SV) -> *mut u8 {
    // SAFETY: promised by the caller: this member of the union is in use.
    unsafe { (*sv).sv_u.svu_pv.cast() }
}

/// The string buffer of `sv`.
///
/// # Safety
/// `sv` is POK, and stays as it is while the slice lives.
unsafe fn octets<'a>(sv: *mut SV) -> &'a [u8] {
    // SAFETY: promised by the caller.
    unsafe { slice::from_raw_parts(start(sv), length(sv)) }
}

/// The length of a string, bytes; 0 for anything else.
pub fn length(sv: *mut SV) -> usize {
    // SAFETY: a POK value has a body that starts like xpv.
    unsafe { if (*sv).sv_flags & SVf_POK == 0 { 0 } else { (*(*sv).sv_any.cast::<xpv>()).xpv_cur } }
}

/// How much memory a string has, bytes.
pub fn capacity(sv: *mut SV) -> usize {
    // SAFETY: callers pass plain strings, of which this member of the union is the capacity.
    unsafe { (*(*sv).sv_any.cast::<xpv>()).xpv_len_u.xpvlenu_len }
}

/// Changes a string that has no magic and one owner. Most such strings have the memory already, and take it for themselves.
///
/// # Safety
/// It is one.
pub unsafe fn set_octets(perl: Perl, sv: *mut SV, octets: &[u8]) {
    // SAFETY: promised by the caller; there is room for the octets and the NUL behind them.
    unsafe {
        if (*sv).sv_flags & SVf_IsCOW != 0 || capacity(sv) <= octets.len() {
            return ffi::ws_set_string(perl, sv, octets.as_ptr().cast(), octets.len());
        }
        let start = start(sv);
        start.copy_from_nonoverlapping(octets.as_ptr(), octets.len());
        *start.add(octets.len()) = 0;
        (*(*sv).sv_any.cast::<xpv>()).xpv_cur = octets.len();
    }
}

/// The octets of a plain string, empty for anything else.
pub fn plain_octets<'a>(sv: *mut SV) -> &'a [u8] {
    // SAFETY: POK, and the caller does nothing to the scalar while it holds the slice.
    unsafe { if (*sv).sv_flags & SVf_POK == 0 { b"" } else { octets(sv) } }
}

/// Makes a string that native code may change in place: it shares its memory with no copy. Returns `false` if it cannot be
/// one, as when it is read-only.
pub fn make_changeable(perl: Perl, sv: *mut SV) -> bool {
    // SAFETY: callers pass live SVs.
    is_simple(sv) || unsafe { !ffi::ws_reserve(perl, sv, 0).is_null() }
}

/// Whether a value is a string of octets and nothing else, and native code may change it in place.
fn is_simple(sv: *mut SV) -> bool {
    const SPECIAL: u32 = SVf_READONLY | SVf_PROTECT | SVf_ROK | SVf_FAKE | SVf_IsCOW | SVs_GMG | SVs_SMG | SVs_RMG;
    const OTHER: u32 = SVf_UTF8 | SVf_IOK | SVf_NOK | SVp_IOK | SVp_NOK;
    // SAFETY: callers pass live SVs.
    unsafe { (*sv).sv_flags & (SPECIAL | OTHER | SVf_POK) == SVf_POK }
}

/// A new string of octets.
pub fn new_string(perl: Perl, octets: &[u8]) -> *mut SV {
    // SAFETY: copies `octets`.
    unsafe { ffi::ws_new_string(perl, octets.as_ptr().cast(), octets.len()) }
}

/// A new, empty string that perl frees unless someone else takes an interest.
pub fn new_mortal_string(perl: Perl) -> *mut SV {
    let string = new_string(perl, b"");
    free_later(perl, string);
    string
}

/// A new whole number.
pub fn new_number(perl: Perl, number: u64) -> *mut SV {
    // SAFETY: a new value.
    unsafe { ffi::ws_new_number(perl, number) }
}

/// A reference to a new array of values, whose reference counts are handed over.
pub fn new_array(perl: Perl, values: impl IntoIterator<Item = *mut SV>) -> *mut SV {
    let values: Vec<*mut SV> = values.into_iter().collect();
    // SAFETY: a pointer and its length.
    unsafe { ffi::ws_new_array(perl, values.as_ptr(), values.len()) }
}

/// A new value that is undef.
pub fn new_undef(perl: Perl) -> *mut SV {
    // SAFETY: a new value.
    unsafe { ffi::ws_new_undef(perl) }
}

/// Gives up a reference count when no Rust frame is left, as a destructor may be called.
pub fn free_later(perl: Perl, sv: *mut SV) {
    // SAFETY: `sv` is live.
    unsafe { ffi::ws_free_later(perl, sv) };
}

/// A new reference to `sv`, which it keeps alive.
pub fn new_reference(perl: Perl, sv: *mut SV) -> *mut SV {
    // SAFETY: `sv` is live.
    unsafe { ffi::ws_new_reference(perl, sv) }
}

/// Whether a value is a reference to `referent`, as it was made, and has one owner.
pub fn is_sole_reference_to(value: *mut SV, referent: *mut SV) -> bool {
    // SAFETY: callers pass live SVs; ROK says which member of the union is in use.
    unsafe { (*value).sv_refcnt == 1 && (*value).sv_flags & !TYPE_MASK == SVf_ROK && (*value).sv_u.svu_rv == referent }
}

/// The elements of an array, null where there is none.
///
/// # Safety
/// The array is live, and nobody changes it while the slice lives: no Perl code runs.
pub unsafe fn slots<'a>(array: *mut AV) -> &'a [*mut SV] {
    // SAFETY: promised by the caller; an array that has ever had an element has memory for all up to the last.
    unsafe {
        match (*(*array).sv_any.cast::<xpvav>()).xav_fill + 1 {
            len @ 1.. => slice::from_raw_parts((*array).sv_u.svu_array, len as usize),
            _ => &[],
        }
    }
}

/// The class of an object.
///
/// # Safety
/// It is one.
pub unsafe fn class(object: *mut SV) -> *mut HV {
    // SAFETY: promised by the caller: its body starts like xpvmg.
    unsafe { (*(*object).sv_any.cast::<xpvmg>()).xmg_stash }
}

/// One more owner of `sv`.
pub fn retain(sv: *mut SV) -> *mut SV {
    // SAFETY: `sv` is live.
    unsafe { (*sv).sv_refcnt += 1 };
    sv
}

/// Appends octets to a Perl string; they count once [`Self::finish`] is called.
pub struct Appender {
    perl: Perl,
    sv: *mut SV,
    start: *mut u8,
    len: usize,
    capacity: usize,
}

impl Appender {
    /// Makes room for `extra` bytes; `None` if `sv` cannot be a string of octets.
    pub fn new(perl: Perl, sv: *mut SV, extra: usize) -> Option<Self> {
        if is_simple(sv) && capacity(sv) > length(sv).saturating_add(extra) {
            // SAFETY: a string, with room for the NUL.
            let start = unsafe { start(sv) };
            let len = length(sv);
            return Some(Self { perl, sv, start, len, capacity: len + extra });
        }
        // SAFETY: `sv` is live.
        let start = unsafe { ffi::ws_reserve(perl, sv, extra) };
        let len = length(sv);
        (!start.is_null()).then(|| Self { perl, sv, start: start.cast(), len, capacity: len + extra })
    }

    /// Makes what was appended part of the string.
    pub fn finish(self) {
        // SAFETY: up to `len` everything is initialised, and there is room for the NUL behind it.
        unsafe {
            if is_simple(self.sv) {
                *self.start.add(self.len) = 0;
                (*(*self.sv).sv_any.cast::<xpv>()).xpv_cur = self.len;
            } else {
                ffi::ws_set_length(self.perl, self.sv, self.len);
            }
        }
    }
}

// SAFETY: `len` never passes `capacity`, which was reserved, and `chunk_mut` is what lies between them.
unsafe impl bytes::BufMut for Appender {
    fn remaining_mut(&self) -> usize {
        self.capacity - self.len
    }

    unsafe fn advance_mut(&mut self, count: usize) {
        assert!(count <= self.remaining_mut());
        self.len += count;
    }

    fn chunk_mut(&mut self) -> &mut UninitSlice {
        // SAFETY: reserved by `new`.
        unsafe { UninitSlice::from_raw_parts_mut(self.start.add(self.len), self.remaining_mut()) }
    }
}
