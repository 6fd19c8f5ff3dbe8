//! The hash slots that are looked up for every message.
//!
//! Perl keeps one copy of each key of all hashes, so that a key is found by comparing pointers. That takes a tenth of the
//! instructions of perl's own lookup, of which an echo needs twenty.

use super::ffi::{self, HE, HEK, HV, Perl, SV, SVf_PROTECT, SVf_READONLY, SVphv_SHAREKEYS, SVs_GMG, SVs_RMG, xpvhv};
use std::ffi::c_char;
use std::marker::PhantomData;
use std::ptr::NonNull;

/// The slots of one kind of hash. [`slots`](crate::xs::perl::keys::slots) makes such a type.
pub trait Slot: Copy {
    /// Their names, by [`Self::index`].
    const NAMES: &'static [&'static str];

    /// Its place among the names.
    fn index(self) -> usize;
}

/// Makes an enum of slots and the type of its table: `slots! { pub enum MessageSlot, MessageKeys { Body = "body" } }`.
macro_rules! slots {
    ($(#[$doc:meta])* pub enum $Slot:ident, $Keys:ident { $($variant:ident = $name:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy)]
        pub enum $Slot { $($variant),+ }

        impl $crate::xs::perl::keys::Slot for $Slot {
            const NAMES: &'static [&'static str] = &[$($name),+];

            fn index(self) -> usize {
                self as usize
            }
        }

        /// One interpreter's copies of these keys.
        pub type $Keys = $crate::xs::perl::keys::KeyTable<$Slot, { [$($name),+].len() }>;
    };
}
pub(in crate::xs) use slots;

const HAS_SHARED_KEYS: u32 = SVphv_SHAREKEYS;
/// The flag of magic as well: such as may have a say in what a slot is, or not.
const HAS_MAGIC: u32 = SVphv_SHAREKEYS | SVs_RMG;

/// Whether a hash with magic has only what ties C or Rust state to it, as a connection has, and so is not tied.
fn has_ext_magic_alone(hv: *mut HV) -> bool {
    // SAFETY: a live hash; only one with a body of this kind has magic.
    unsafe {
        let magic = (*(*hv).sv_any.cast::<xpvhv>()).xmg_u.xmg_magic.as_ref();
        magic.is_some_and(|magic| magic.mg_type == b'~' as c_char && magic.mg_moremagic.is_null())
    }
}

/// One interpreter's copies of the keys; they live as long as it does.
pub struct KeyTable<S, const COUNT: usize>([NonNull<HEK>; COUNT], PhantomData<S>);

impl<S: Slot, const COUNT: usize> KeyTable<S, COUNT> {
    /// The keys of `perl`.
    pub fn new(perl: Perl) -> Self {
        let keys = std::array::from_fn(|index| {
            let name = S::NAMES[index];
            // SAFETY: a pointer and its length.
            let key = unsafe { ffi::ws_shared_key(perl, name.as_ptr().cast(), name.len() as i32) };
            NonNull::new(key).expect("a shared string has a key")
        });
        Self(keys, PhantomData)
    }

    /// The value in a slot of a hash.
    pub fn fetch(&self, perl: Perl, hv: *mut HV, slot: S) -> Option<*mut SV> {
        // SAFETY: `hv` is live.
        let flags = unsafe { (*hv).sv_flags };
        let is_plain = match flags & (SVphv_SHAREKEYS | SVs_RMG | SVs_GMG | SVf_READONLY | SVf_PROTECT) {
            HAS_SHARED_KEYS => true,
            HAS_MAGIC => has_ext_magic_alone(hv),
            _ => false,
        };
        if is_plain { self.find(hv, slot) } else { self.fetch_slowly(perl, hv, slot, false) }
    }

    /// The value in a slot of a hash, made if need be. A hash that the program has locked or tied may have none.
    pub fn fetch_lvalue(&self, perl: Perl, hv: *mut HV, slot: S) -> Option<*mut SV> {
        self.fetch(perl, hv, slot).or_else(|| self.fetch_slowly(perl, hv, slot, true))
    }

    /// Puts a value, whose reference count is handed over, into a new hash.
    pub fn store(&self, perl: Perl, hv: *mut HV, slot: S, value: *mut SV) {
        let name = S::NAMES[slot.index()];
        // SAFETY: a live hash without magic, and a key with its length and hash value.
        unsafe { ffi::ws_store(perl, hv, name.as_ptr().cast(), name.len() as i32, self.hash(slot), value) };
    }

    fn find(&self, hv: *mut HV, slot: S) -> Option<*mut SV> {
        let key = self.0[slot.index()].as_ptr();
        // SAFETY: a live hash with shared keys, without placeholders or magic that matters here: its buckets are chains of live entries.
        unsafe {
            let buckets = (*hv).sv_u.svu_hash;
            if buckets.is_null() {
                return None;
            }
            let mask = (*(*hv).sv_any.cast::<xpvhv>()).xhv_max;
            let mut entry: *mut HE = *buckets.add((*key).hek_hash as usize & mask);
            while let Some(found) = entry.as_ref() {
                if found.hent_hek == key {
                    return Some(found.he_valu.hent_val);
                }
                entry = found.hent_next;
            }
            None
        }
    }

    fn fetch_slowly(&self, perl: Perl, hv: *mut HV, slot: S, is_lvalue: bool) -> Option<*mut SV> {
        let name = S::NAMES[slot.index()];
        // SAFETY: a live hash, and a key with its length and hash value.
        let value =
            unsafe { ffi::ws_fetch(perl, hv, name.as_ptr().cast(), name.len() as i32, self.hash(slot), is_lvalue) };
        (!value.is_null()).then_some(value)
    }

    fn hash(&self, slot: S) -> u32 {
        // SAFETY: the keys live as long as their table.
        unsafe { self.0[slot.index()].as_ref().hek_hash }
    }
}
