//! Perl values, mostly strings.
//!
//! Every value passed to this module must be live. A slice that it returns is valid only until Perl code runs or the
//! value is changed.

use super::ffi::{
    self, AV, HV, Perl, SV, SVf_FAKE, SVf_IOK, SVf_IsCOW, SVf_NOK, SVf_POK, SVf_PROTECT, SVf_READONLY, SVf_ROK,
    SVf_UTF8, SVp_IOK, SVp_NOK, SVs_GMG, SVs_OBJECT, SVs_RMG, SVs_SMG, svtype, xpv, xpvav, xpviv, xpvmg,
};
use bytes::buf::UninitSlice;
use std::ffi::c_char;
use std::slice;

/// Mask of the flag bits that encode a value's type.
pub const TYPE_MASK: u32 = 0xff;
/// Mask of the flag bits of a value that is not undef.
const OK_MASK: u32 = 0xff00;

/// Returns `true` if a value can be read directly: it has no get magic except perhaps taint.
#[inline(always)]
pub fn is_plain(sv: *mut SV) -> bool {
    // SAFETY: callers pass live SVs.
    unsafe { (*sv).sv_flags & SVs_GMG == 0 || has_only_taint(sv) }
}

#[cold]
unsafe fn has_only_taint(sv: *mut SV) -> bool {
    // SAFETY: the caller passes a live value with magic, whose body starts like `xpvmg`.
    let magic = unsafe { (*(*sv).sv_any.cast::<xpvmg>()).xmg_u.xmg_magic.as_ref() };
    magic.is_some_and(|magic| magic.mg_type == b't' as c_char && magic.mg_moremagic.is_null())
}

/// Returns `true` if a value is tainted (perlsec) and has no other magic.
pub fn is_tainted(sv: *mut SV) -> bool {
    // SAFETY: callers pass live SVs.
    unsafe { (*sv).sv_flags & SVs_GMG != 0 && has_only_taint(sv) }
}

/// Returns the value that a reference points to.
pub fn referent(sv: *mut SV) -> Option<*mut SV> {
    // SAFETY: callers pass live SVs; ROK shows which member of the union is in use.
    unsafe { (is_plain(sv) && (*sv).sv_flags & SVf_ROK != 0).then(|| (*sv).sv_u.svu_rv) }
}

/// Returns `true` if a value is an unblessed array.
pub fn is_plain_array(sv: *mut SV) -> bool {
    // SAFETY: callers pass live SVs.
    unsafe { (*sv).sv_flags & (TYPE_MASK | SVs_OBJECT) == svtype::SVt_PVAV as u32 }
}

/// Returns `true` if a value is blessed.
pub fn is_object(sv: *mut SV) -> bool {
    // SAFETY: callers pass live SVs.
    unsafe { (*sv).sv_flags & SVs_OBJECT != 0 }
}

/// Returns `true` if a value is an array that native code may change: it is not read-only and has no magic.
pub fn is_changeable_array(sv: *mut SV) -> bool {
    const SPECIAL: u32 = SVf_READONLY | SVf_PROTECT | SVs_GMG | SVs_SMG | SVs_RMG;
    // SAFETY: callers pass live SVs.
    unsafe { (*sv).sv_flags & (TYPE_MASK | SPECIAL) == svtype::SVt_PVAV as u32 }
}

/// Returns `true` if a value is an array.
pub fn is_array(sv: *mut SV) -> bool {
    // SAFETY: callers pass live SVs.
    unsafe { (*sv).sv_flags & TYPE_MASK == svtype::SVt_PVAV as u32 }
}

/// Returns `true` if a value is a hash.
pub fn is_hash(sv: *mut SV) -> bool {
    // SAFETY: callers pass live SVs.
    unsafe { (*sv).sv_flags & TYPE_MASK == svtype::SVt_PVHV as u32 }
}

/// Returns `true` if a value can be read directly and is undef.
pub fn is_undef(sv: *mut SV) -> bool {
    // SAFETY: callers pass live SVs.
    is_plain(sv) && unsafe { (*sv).sv_flags & OK_MASK == 0 }
}

/// Returns the integer of a value that needs no conversion.
pub fn plain_integer(sv: *mut SV) -> Option<i64> {
    // SAFETY: the value has IOK and no get magic, so its integer can be read.
    unsafe { (is_plain(sv) && (*sv).sv_flags & SVf_IOK != 0).then(|| integer(sv)) }
}

/// Like [`plain_integer`], but also for a value whose reading is watched.
pub fn watched_integer(sv: *mut SV) -> Option<i64> {
    plain_integer(sv).or_else(|| {
        // SAFETY: callers pass live SVs; IOK: the integer is there to be read.
        unsafe { (ffi::ws_has_watched_reads(sv) && (*sv).sv_flags & SVf_IOK != 0).then(|| integer(sv)) }
    })
}

/// Returns the integer of a value.
///
/// # Safety
/// The value has IOK.
#[allow(clippy::unnecessary_cast, reason = "an integer of perl's may be smaller")]
unsafe fn integer(sv: *mut SV) -> i64 {
    // SAFETY: the caller guarantees IOK, and then `sv_any` can be read like an `xpviv`, even for a bodyless integer.
    unsafe { (*(*sv).sv_any.cast::<xpviv>()).xiv_u.xivu_iv as i64 }
}

/// Returns `true` if a slot of an AnyEvent::Handle counts as set: it holds a reference, or a string or number other
/// than the empty string or zero. A floating-point zero counts as set too; that only costs the native path.
pub fn is_set(sv: *mut SV) -> bool {
    // SAFETY: callers pass live SVs; the flags show which members can be read.
    unsafe {
        let flags = (*sv).sv_flags;
        match flags & (SVf_ROK | SVf_POK | SVf_IOK) {
            0 => flags & OK_MASK != 0,
            kind if kind & SVf_ROK != 0 => true,
            kind if kind & SVf_IOK != 0 => integer(sv) != 0,
            _ => !matches!(octets(sv), b"" | b"0"),
        }
    }
}

/// Returns the bytes of a string as they are sent, UTF-8 if it has the UTF8 flag. Returns `None` for references,
/// numbers, undef, magical values, and strings with characters that UTF-8 cannot encode.
pub fn wire_octets<'a>(sv: *mut SV) -> Option<&'a [u8]> {
    // SAFETY: the value has POK, no magic and no reference, so its string buffer can be read; the caller leaves the
    // scalar alone while it holds the slice.
    unsafe {
        let flags = (*sv).sv_flags;
        if flags & (SVs_GMG | SVf_ROK | SVf_POK) != SVf_POK {
            return None;
        }
        let octets = octets(sv);
        (flags & SVf_UTF8 == 0 || simdutf8::basic::from_utf8(octets).is_ok()).then_some(octets)
    }
}

/// Returns the start of a string.
///
/// # Safety
/// `sv` has POK.
unsafe fn start(sv: *mut SV) -> *mut u8 {
    // SAFETY: the caller guarantees POK, so this member of the union is in use.
    unsafe { (*sv).sv_u.svu_pv.cast() }
}

/// Returns the bytes of a string.
///
/// # Safety
/// `sv` has POK, and nothing changes it while the slice lives.
unsafe fn octets<'a>(sv: *mut SV) -> &'a [u8] {
    // SAFETY: a value with POK has a buffer of at least its length, which nothing changes.
    unsafe { slice::from_raw_parts(start(sv), length(sv)) }
}

/// Returns the length of a string, in bytes; 0 for other values.
pub fn length(sv: *mut SV) -> usize {
    // SAFETY: a value with POK has a body that starts like `xpv`.
    unsafe { if (*sv).sv_flags & SVf_POK == 0 { 0 } else { (*(*sv).sv_any.cast::<xpv>()).xpv_cur } }
}

/// Returns the size of a string's memory, in bytes.
pub fn capacity(sv: *mut SV) -> usize {
    // SAFETY: callers pass plain strings, for which this member of the union is the capacity.
    unsafe { (*(*sv).sv_any.cast::<xpv>()).xpv_len_u.xpvlenu_len }
}

/// Replaces the bytes of a string, in its own memory if that is large enough and not shared.
///
/// # Safety
/// It is a string without magic that has only one owner.
pub unsafe fn set_octets(perl: Perl, sv: *mut SV, octets: &[u8]) {
    // SAFETY: the caller guarantees the string's state, and its memory has room for the bytes and the NUL.
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

/// Returns the bytes of a plain string; an empty slice for other values.
pub fn plain_octets<'a>(sv: *mut SV) -> &'a [u8] {
    // SAFETY: the value has POK, and the caller leaves the scalar alone while it holds the slice.
    unsafe { if (*sv).sv_flags & SVf_POK == 0 { b"" } else { octets(sv) } }
}

/// Converts a value to a string of bytes that native code may change in place, unshared. Returns `false` if that is
/// impossible, for example because it is read-only.
pub fn make_changeable(perl: Perl, sv: *mut SV) -> bool {
    // SAFETY: callers pass live SVs.
    is_simple(sv) || unsafe { !ffi::ws_reserve(perl, sv, 0).is_null() }
}

/// Returns `true` if a value is a string of bytes, nothing else, and native code may change it in place.
fn is_simple(sv: *mut SV) -> bool {
    const SPECIAL: u32 = SVf_READONLY | SVf_PROTECT | SVf_ROK | SVf_FAKE | SVf_IsCOW | SVs_GMG | SVs_SMG | SVs_RMG;
    const OTHER: u32 = SVf_UTF8 | SVf_IOK | SVf_NOK | SVp_IOK | SVp_NOK;
    // SAFETY: callers pass live SVs.
    unsafe { (*sv).sv_flags & (SPECIAL | OTHER | SVf_POK) == SVf_POK }
}

/// Creates a string of bytes.
pub fn new_string(perl: Perl, octets: &[u8]) -> *mut SV {
    // SAFETY: perl copies `octets`.
    unsafe { ffi::ws_new_string(perl, octets.as_ptr().cast(), octets.len()) }
}

/// Creates an empty string that perl frees soon, unless something else takes a reference count.
pub fn new_mortal_string(perl: Perl) -> *mut SV {
    let string = new_string(perl, b"");
    free_later(perl, string);
    string
}

/// Creates a whole number.
pub fn new_number(perl: Perl, number: u64) -> *mut SV {
    // SAFETY: this only creates a value.
    unsafe { ffi::ws_new_number(perl, number) }
}

/// Creates an array of values, whose reference counts it takes over, and returns a reference to it.
pub fn new_array(perl: Perl, values: impl IntoIterator<Item = *mut SV>) -> *mut SV {
    let values: Vec<*mut SV> = values.into_iter().collect();
    // SAFETY: the values are passed with their number.
    unsafe { ffi::ws_new_array(perl, values.as_ptr(), values.len()) }
}

/// Creates a value that is undef.
pub fn new_undef(perl: Perl) -> *mut SV {
    // SAFETY: this only creates a value.
    unsafe { ffi::ws_new_undef(perl) }
}

/// Gives up a reference count once no Rust frame is left, because a destructor may run.
pub fn free_later(perl: Perl, sv: *mut SV) {
    // SAFETY: `sv` is live.
    unsafe { ffi::ws_free_later(perl, sv) };
}

/// Creates a reference to `sv`, which it keeps alive.
pub fn new_reference(perl: Perl, sv: *mut SV) -> *mut SV {
    // SAFETY: `sv` is live.
    unsafe { ffi::ws_new_reference(perl, sv) }
}

/// Returns the elements of an array, null where one is missing.
///
/// # Safety
/// The array is live, and nothing changes it while the slice lives: no Perl code runs.
pub unsafe fn slots<'a>(array: *mut AV) -> &'a [*mut SV] {
    // SAFETY: the caller guarantees the lifetime; a non-empty array has memory for all elements up to the last.
    unsafe {
        match (*(*array).sv_any.cast::<xpvav>()).xav_fill + 1 {
            len @ 1.. => slice::from_raw_parts((*array).sv_u.svu_array, len as usize),
            _ => &[],
        }
    }
}

/// Returns the class of an object.
///
/// # Safety
/// `object` is a blessed value.
pub unsafe fn class(object: *mut SV) -> *mut HV {
    // SAFETY: the caller passes an object, whose body starts like `xpvmg`.
    unsafe { (*(*object).sv_any.cast::<xpvmg>()).xmg_stash }
}

/// Takes another reference count of `sv`.
pub fn retain(sv: *mut SV) -> *mut SV {
    // SAFETY: `sv` is live.
    unsafe { (*sv).sv_refcnt += 1 };
    sv
}

/// Appends bytes to a Perl string; [`Self::finish`] makes them part of it.
pub struct Appender {
    perl: Perl,
    sv: *mut SV,
    start: *mut u8,
    len: usize,
    capacity: usize,
}

impl Appender {
    /// Makes room for `extra` bytes. Returns `None` if `sv` cannot be made a string of bytes.
    pub fn new(perl: Perl, sv: *mut SV, extra: usize) -> Option<Self> {
        if is_simple(sv) && capacity(sv) > length(sv).saturating_add(extra) {
            // SAFETY: `sv` is a string.
            let start = unsafe { start(sv) };
            let len = length(sv);
            return Some(Self { perl, sv, start, len, capacity: len + extra });
        }
        // SAFETY: `sv` is live.
        let start = unsafe { ffi::ws_reserve(perl, sv, extra) };
        let len = length(sv);
        (!start.is_null()).then(|| Self { perl, sv, start: start.cast(), len, capacity: len + extra })
    }

    /// Makes the appended bytes part of the string.
    pub fn finish(self) {
        // SAFETY: all bytes up to `len` are initialised, and there is room for the NUL after them.
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

// SAFETY: `len` never exceeds `capacity`, which was reserved, and `chunk_mut` is the memory between them.
unsafe impl bytes::BufMut for Appender {
    fn remaining_mut(&self) -> usize {
        self.capacity - self.len
    }

    unsafe fn advance_mut(&mut self, count: usize) {
        assert!(count <= self.remaining_mut());
        self.len += count;
    }

    fn chunk_mut(&mut self) -> &mut UninitSlice {
        // SAFETY: `new` reserved this memory.
        unsafe { UninitSlice::from_raw_parts_mut(self.start.add(self.len), self.remaining_mut()) }
    }

    /// There is a single chunk, so this needs no loop.
    #[inline]
    fn put_slice(&mut self, octets: &[u8]) {
        assert!(octets.len() <= self.remaining_mut());
        self.chunk_mut()[..octets.len()].copy_from_slice(octets);
        self.len += octets.len();
    }
}
