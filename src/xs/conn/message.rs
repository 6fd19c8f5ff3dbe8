//! Message objects, as Message.pm defines them: a blessed hash with `body` and `opcode`.

use crate::engine::MessageBuffer;
use crate::xs::perl::buffer::{PerlBuffer, SpareBuffers};
use crate::xs::perl::ffi::{
    self, HV, Perl, SV, SVf_IOK, SVf_IsCOW, SVf_POK, SVp_IOK, SVp_POK, SVs_OBJECT, svtype, xpvhv,
};
use crate::xs::perl::keys::slots;
use crate::xs::perl::sv;
use std::cell::Cell;
use std::ffi::CStr;

const CLASS: &CStr = c"AnyEvent::WebSocket::Message";
/// Bodies with more than this many bytes are recycled as bare buffers, smaller ones together with their message object.
const MAX_SPARE_BODY: usize = 4096;
/// Maximum length, in bytes, of a small body. Small and large messages are reused separately, so that a small one that
/// the program keeps does not hold the memory of a large one.
const MAX_SMALL_BODY: usize = 256;
/// The memory of a reused large body is at most this many times its length.
const MAX_WASTE: usize = 8;

/// A message that nothing else refers to.
#[derive(Clone, Copy)]
struct Unused {
    /// The only reference to the message.
    message: *mut SV,
    body: *mut SV,
    opcode: *mut SV,
}

slots! {
    /// A slot of a message.
    pub enum Slot, Keys {
        Body = "body",
        Opcode = "opcode",
    }
}

/// Creates the message objects of one interpreter.
///
/// Most callbacks read their message and let it go. Such an object is reused for the next message, which takes half the
/// instructions of freeing it and creating another.
pub struct MessagePool {
    perl: Perl,
    keys: Keys,
    class: *mut HV,
    /// Received data is marked as tainted, because perl runs with -T.
    is_tainting: bool,
    pub spares: SpareBuffers,
    /// The unused messages: one with a small body, and one with a large body.
    unused: [Cell<Option<Unused>>; 2],
    /// The flags of a message's hash when created: without magic, weak references, iterators or locks.
    pristine: Cell<u32>,
    /// The generation of the class in which it had no destructor.
    generation: Cell<Option<u32>>,
}

impl MessagePool {
    /// Creates a pool, and the class if it does not exist.
    pub fn new(perl: Perl) -> Self {
        // SAFETY: the name is a C string, and the interpreter is running.
        let (class, is_tainting) = unsafe { (ffi::ws_class(perl, CLASS.as_ptr()), ffi::ws_is_tainting(perl)) };
        Self {
            perl,
            keys: Keys::new(perl),
            // Kept, because a program may delete the package.
            class: sv::retain(class.cast()).cast(),
            is_tainting,
            spares: SpareBuffers::default(),
            unused: Default::default(),
            pristine: Cell::new(0),
            generation: Cell::new(None),
        }
    }

    /// Returns a reference to a message with this body.
    pub fn message(&self, opcode: u8, octets: &[u8]) -> *mut SV {
        if octets.len() > MAX_SPARE_BODY {
            let mut buffer = PerlBuffer::default();
            self.spares.reserve(&mut buffer, octets.len(), octets.len());
            buffer.extend_from_slice(octets);
            return self.with_body(opcode, buffer.into_sv(self.perl));
        }
        let Some(unused) = self.take_unused(octets.len()) else {
            return self.with_body(opcode, sv::new_string(self.perl, octets));
        };
        // SAFETY: these are plain values with no other owner.
        unsafe {
            sv::set_octets(self.perl, unused.body, octets);
            (*unused.opcode).sv_u.svu_iv = opcode.into();
        }
        unused.message
    }

    /// Takes the unused message for a body of this length, if there is one.
    fn take_unused(&self, len: usize) -> Option<Unused> {
        let place = self.unused_for(len);
        let unused = place.get()?;
        if len > MAX_SMALL_BODY && sv::capacity(unused.body) > MAX_WASTE * len {
            return None;
        }
        place.set(None);
        Some(unused)
    }

    /// Returns the place of the unused message for a body of this length.
    fn unused_for(&self, len: usize) -> &Cell<Option<Unused>> {
        &self.unused[usize::from(len > MAX_SMALL_BODY)]
    }

    /// Returns a reference to a message whose body was assembled in `buffer`.
    pub fn with_buffer(&self, opcode: u8, mut buffer: PerlBuffer) -> *mut SV {
        if buffer.len() <= MAX_SPARE_BODY {
            return self.message(opcode, buffer.as_mut_slice());
        }
        self.with_body(opcode, buffer.into_sv(self.perl))
    }

    /// Creates a string with data from the peer.
    pub fn received_string(&self, octets: &[u8]) -> *mut SV {
        self.received(sv::new_string(self.perl, octets))
    }

    /// Marks a new value as data from the peer.
    fn received(&self, value: *mut SV) -> *mut SV {
        if self.is_tainting {
            // SAFETY: `value` is new and live.
            unsafe { ffi::ws_taint(self.perl, value) };
        }
        value
    }

    /// Returns a reference to a message with this body, whose reference count it takes over.
    fn with_body(&self, opcode: u8, body: *mut SV) -> *mut SV {
        self.received(body);
        // SAFETY: the class is live.
        let reference = unsafe { ffi::ws_new_object(self.perl, self.class) };
        let hv: *mut HV = sv::referent(reference).expect("a new reference").cast();
        self.keys.store(self.perl, hv, Slot::Body, body);
        self.keys.store(self.perl, hv, Slot::Opcode, sv::new_number(self.perl, opcode.into()));
        // SAFETY: `hv` is a live hash.
        self.pristine.set(unsafe { (*hv).sv_flags });
        reference
    }

    /// Keeps a message for reuse, if it is unchanged and only the caller has a reference to any part of it.
    #[inline]
    pub fn keep(&self, message: *mut SV) {
        let Some(unused) = self.as_unused(message).filter(|_| self.has_no_destructor()) else { return };
        let body = unused.body;
        // SAFETY: `body` is live.
        let is_shared = unsafe { (*body).sv_flags & SVf_IsCOW != 0 };
        let (len, capacity) = (sv::length(body), sv::capacity(body));
        // A body in memory that is not perl's has no capacity.
        if !is_shared && capacity > len && (len > MAX_SPARE_BODY || capacity > 2 * MAX_SPARE_BODY) {
            self.spares.keep_memory_of(body);
        } else if len > MAX_SMALL_BODY || capacity <= 2 * MAX_SMALL_BODY {
            sv::retain(message);
            if let Some(old) = self.unused_for(len).replace(Some(unused)) {
                sv::free_later(self.perl, old.message);
            }
        }
    }

    /// Returns a message's parts if it is unchanged and only the caller has a reference to any of them.
    #[inline]
    fn as_unused(&self, message: *mut SV) -> Option<Unused> {
        let object = sv::referent(message)?;
        // SAFETY: the reference, its hash and the values in it are live, and the flags show their types.
        unsafe {
            let is_sole = (*message).sv_refcnt == 1 && (*object).sv_refcnt == 1;
            if !is_sole || (*object).sv_flags != self.pristine.get() || sv::class(object) != self.class {
                return None;
            }
            let hv: *mut HV = object.cast();
            if (*(*hv).sv_any.cast::<xpvhv>()).xhv_keys != 2 {
                return None;
            }
            let body = self.keys.fetch(self.perl, hv, Slot::Body)?;
            let opcode = self.keys.fetch(self.perl, hv, Slot::Opcode)?;
            let is_unchanged = is_unchanged(body, svtype::SVt_PV, SVf_POK | SVp_POK)
                && is_unchanged(opcode, svtype::SVt_IV, SVf_IOK | SVp_IOK);
            is_unchanged.then_some(Unused { message, body, opcode })
        }
    }

    fn has_no_destructor(&self) -> bool {
        // SAFETY: the class is live.
        unsafe {
            let generation = Some(ffi::ws_class_generation(self.perl, self.class));
            if self.generation.get() != generation {
                let has_one = ffi::ws_has_destructor(self.perl, self.class);
                self.generation.set(generation.filter(|_| !has_one));
            }
            self.generation.get() == generation
        }
    }

    /// Returns the opcode and the body's scalar of an object that is exactly of this class, so that no method needs to
    /// be called.
    #[inline]
    pub fn parts(&self, object: *mut SV) -> Option<(i64, *mut SV)> {
        // SAFETY: `object` is live, and the body of an object has a class.
        let is_message =
            unsafe { sv::is_hash(object) && (*object).sv_flags & SVs_OBJECT != 0 && sv::class(object) == self.class };
        if !is_message {
            return None;
        }
        let hv = object.cast();
        let opcode = sv::plain_integer(self.keys.fetch(self.perl, hv, Slot::Opcode)?)?;
        Some((opcode, self.keys.fetch(self.perl, hv, Slot::Body)?))
    }
}

/// Returns `true` if a value is of this type, has only these flags (and perhaps a shared buffer), and has one owner.
unsafe fn is_unchanged(value: *mut SV, kind: svtype, flags: u32) -> bool {
    // SAFETY: the caller passes a live value.
    unsafe {
        (*value).sv_refcnt == 1
            && (*value).sv_flags & !(SVf_IsCOW | sv::TYPE_MASK) == flags
            && (*value).sv_flags & sv::TYPE_MASK == kind as u32
    }
}
