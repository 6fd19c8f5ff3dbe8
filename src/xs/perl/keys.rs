//! The hash keys that are looked up for every message.
//!
//! Perl keeps one copy of each key of all hashes, so that a key is found by comparing pointers. That takes a tenth of the
//! instructions of perl's own lookup, of which an echo needs twenty.

use super::ffi::{self, HE, HEK, HV, Perl, SV, SVf_PROTECT, SVf_READONLY, SVphv_SHAREKEYS, SVs_GMG, SVs_RMG, xpvhv};
use std::ffi::c_char;
use std::ptr::NonNull;

/// A slot of an AnyEvent::Handle, a connection or a message.
#[derive(Clone, Copy)]
pub enum Key {
    Activity,
    Autocork,
    Body,
    EachMessage,
    Eof,
    Fh,
    NextMessage,
    OnDrain,
    OnRead,
    OnStartTls,
    Opcode,
    Ping,
    Pong,
    Queue,
    Rbuf,
    ReadActivity,
    ReadBio,
    ReadWatcher,
    Tls,
    TlsRbuf,
    TlsWbuf,
    Wbuf,
    WriteActivity,
    WriteBio,
    WriteWatcher,
}

const NAMES: [&str; 25] = [
    "_activity",
    "autocork",
    "body",
    "_each_message_cb",
    "_eof",
    "fh",
    "_next_message_cb",
    "on_drain",
    "on_read",
    "_on_starttls",
    "opcode",
    "_ping_cb",
    "_pong_cb",
    "_queue",
    "rbuf",
    "_ractivity",
    "_rbio",
    "_rw",
    "tls",
    "_tls_rbuf",
    "_tls_wbuf",
    "wbuf",
    "_wactivity",
    "_wbio",
    "_ww",
];

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
pub struct KeyTable([NonNull<HEK>; NAMES.len()]);

impl KeyTable {
    /// The keys of `perl`.
    pub fn new(perl: Perl) -> Self {
        Self(NAMES.map(|name| {
            // SAFETY: a pointer and its length.
            let key = unsafe { ffi::ws_shared_key(perl, name.as_ptr().cast(), name.len() as i32) };
            NonNull::new(key).expect("a shared string has a key")
        }))
    }

    /// The value in a slot of a hash.
    pub fn fetch(&self, perl: Perl, hv: *mut HV, key: Key) -> Option<*mut SV> {
        // SAFETY: `hv` is live.
        let flags = unsafe { (*hv).sv_flags };
        let is_plain = match flags & (SVphv_SHAREKEYS | SVs_RMG | SVs_GMG | SVf_READONLY | SVf_PROTECT) {
            HAS_SHARED_KEYS => true,
            HAS_MAGIC => has_ext_magic_alone(hv),
            _ => false,
        };
        if is_plain { self.find(hv, key) } else { self.fetch_slowly(perl, hv, key, false) }
    }

    /// The value in a slot of a hash, made if need be. A hash that the program has locked or tied may have none.
    pub fn fetch_lvalue(&self, perl: Perl, hv: *mut HV, key: Key) -> Option<*mut SV> {
        self.fetch(perl, hv, key).or_else(|| self.fetch_slowly(perl, hv, key, true))
    }

    /// Puts a value, whose reference count is handed over, into a new hash.
    pub fn store(&self, perl: Perl, hv: *mut HV, key: Key, value: *mut SV) {
        let name = NAMES[key as usize];
        // SAFETY: a live hash without magic, and a key with its length and hash value.
        unsafe { ffi::ws_store(perl, hv, name.as_ptr().cast(), name.len() as i32, self.hash(key), value) };
    }

    fn find(&self, hv: *mut HV, key: Key) -> Option<*mut SV> {
        let key = self.0[key as usize].as_ptr();
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

    fn fetch_slowly(&self, perl: Perl, hv: *mut HV, key: Key, is_lvalue: bool) -> Option<*mut SV> {
        let name = NAMES[key as usize];
        // SAFETY: a live hash, and a key with its length and hash value.
        let slot =
            unsafe { ffi::ws_fetch(perl, hv, name.as_ptr().cast(), name.len() as i32, self.hash(key), is_lvalue) };
        (!slot.is_null()).then_some(slot)
    }

    fn hash(&self, key: Key) -> u32 {
        // SAFETY: the keys live as long as their table.
        unsafe { self.0[key as usize].as_ref().hek_hash }
    }
}
