//! The hash slots that are looked up for every message.
//!
//! All of perl's hashes share one copy of each key, so a key can be found by comparing pointers. This takes a tenth of
//! the instructions of perl's own lookup, and an echo needs twenty lookups.

use super::ffi::{self, HE, HEK, HV, Perl, SV, SVf_PROTECT, SVf_READONLY, SVphv_SHAREKEYS, SVs_GMG, SVs_RMG, xpvhv};
use super::places::Places;
use std::ffi::c_char;
use std::marker::PhantomData;
use std::ptr::NonNull;

/// The slots of one kind of hash; the macro [`slots`] creates such a type.
pub trait Slot: Copy {
    /// The slots' names, indexed by [`Self::index`].
    const NAMES: &'static [&'static str];

    /// Returns the index of its name.
    fn index(self) -> usize;
}

/// Defines an enum of slots, and the type of its key table: `slots! { pub enum MessageSlot, MessageKeys { Body = "body"
/// } }`.
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

        /// One interpreter's pointers to these keys.
        pub type $Keys = $crate::xs::perl::keys::KeyTable<$Slot, { [$($name),+].len() }>;
    };
}
pub(in crate::xs) use slots;

const HAS_SHARED_KEYS: u32 = SVphv_SHAREKEYS;
/// Flags of a hash with shared keys that also has magic; whether the magic affects lookups is checked separately.
const HAS_MAGIC: u32 = SVphv_SHAREKEYS | SVs_RMG;

/// Returns `true` if a hash with magic has only ext magic, as a connection has, and thus is not tied.
fn has_only_ext_magic(hv: *mut HV) -> bool {
    // SAFETY: `hv` is a live hash with magic, so its body is an `xpvhv`.
    unsafe {
        let magic = (*(*hv).sv_any.cast::<xpvhv>()).xmg_u.xmg_magic.as_ref();
        magic.is_some_and(|magic| magic.mg_type == b'~' as c_char && magic.mg_moremagic.is_null())
    }
}

/// One interpreter's pointers to the shared keys, which are never freed.
pub struct KeyTable<S, const COUNT: usize>([NonNull<HEK>; COUNT], PhantomData<S>);

impl<S: Slot, const COUNT: usize> KeyTable<S, COUNT> {
    /// Looks up the keys in the interpreter `perl`.
    pub fn new(perl: Perl) -> Self {
        let keys = std::array::from_fn(|index| {
            let name = S::NAMES[index];
            // SAFETY: `name` is passed with its length.
            let key = unsafe { ffi::ws_shared_key(perl, name.as_ptr().cast(), name.len() as i32) };
            NonNull::new(key).expect("a shared string has a key")
        });
        Self(keys, PhantomData)
    }

    /// Returns the value in a slot of a hash.
    pub fn fetch(&self, perl: Perl, hv: *mut HV, slot: S) -> Option<*mut SV> {
        // SAFETY: `hv` is live.
        let flags = unsafe { (*hv).sv_flags };
        let is_plain = match flags & (SVphv_SHAREKEYS | SVs_RMG | SVs_GMG | SVf_READONLY | SVf_PROTECT) {
            HAS_SHARED_KEYS => true,
            HAS_MAGIC => has_only_ext_magic(hv),
            _ => false,
        };
        if is_plain { self.find(hv, slot) } else { self.fetch_slowly(perl, hv, slot, false) }
    }

    /// Returns the value in a slot of a hash, and creates the slot if needed. Returns `None` if the program has locked
    /// the hash without it, or tied it.
    pub fn fetch_lvalue(&self, perl: Perl, hv: *mut HV, slot: S) -> Option<*mut SV> {
        self.fetch(perl, hv, slot).or_else(|| self.fetch_slowly(perl, hv, slot, true))
    }

    /// Stores a value in a new hash, and takes over its reference count.
    pub fn store(&self, perl: Perl, hv: *mut HV, slot: S, value: *mut SV) {
        let name = S::NAMES[slot.index()];
        // SAFETY: `hv` is a live hash without magic, and the key has its right length and hash value.
        unsafe { ffi::ws_store(perl, hv, name.as_ptr().cast(), name.len() as i32, self.hash(slot), value) };
    }

    fn find(&self, hv: *mut HV, slot: S) -> Option<*mut SV> {
        let key = self.0[slot.index()].as_ptr();
        // SAFETY: `hv` is a live hash with shared keys, so its buckets are chains of live entries. It has no placeholders,
        // because a hash with placeholders has magic of another type, and `fetch` does not come here.
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

    /// Adds the places that looking up these slots touches, and those of their values.
    pub fn add_places(&self, hv: *mut HV, slots: impl IntoIterator<Item = S>, places: &mut Places) {
        // SAFETY: `hv` is a live hash, so its buckets, if any, are chains of live entries.
        unsafe {
            let body: *mut xpvhv = (*hv).sv_any.cast();
            places.add(hv);
            places.add(body);
            places.add((*body).xmg_u.xmg_magic);
            let buckets = (*hv).sv_u.svu_hash;
            if buckets.is_null() {
                return;
            }
            for key in slots.into_iter().map(|slot| self.0[slot.index()].as_ptr()) {
                let bucket = buckets.add((*key).hek_hash as usize & (*body).xhv_max);
                places.add(bucket);
                let mut entry: *mut HE = *bucket;
                while let Some(found) = entry.as_ref() {
                    places.add(entry);
                    if found.hent_hek == key {
                        places.add_value(found.he_valu.hent_val);
                        break;
                    }
                    entry = found.hent_next;
                }
            }
        }
    }

    fn fetch_slowly(&self, perl: Perl, hv: *mut HV, slot: S, is_lvalue: bool) -> Option<*mut SV> {
        let name = S::NAMES[slot.index()];
        // SAFETY: `hv` is a live hash, and the key has its right length and hash value.
        let value =
            unsafe { ffi::ws_fetch(perl, hv, name.as_ptr().cast(), name.len() as i32, self.hash(slot), is_lvalue) };
        (!value.is_null()).then_some(value)
    }

    fn hash(&self, slot: S) -> u32 {
        // SAFETY: the keys live as long as their table.
        unsafe { self.0[slot.index()].as_ref().hek_hash }
    }
}

/// Returns `true` if a hash has this key.
pub fn has_key(perl: Perl, hv: *mut HV, name: &str) -> bool {
    // SAFETY: `hv` is a live hash, and the key has its right length; a hash value of 0 has perl compute it.
    unsafe { !ffi::ws_fetch(perl, hv, name.as_ptr().cast(), name.len() as i32, 0, false).is_null() }
}
