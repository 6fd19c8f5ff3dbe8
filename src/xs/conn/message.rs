//! Message objects, as the class in Message.pm makes them: a blessed hash with `body` and `opcode`.

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
/// Of a message whose body has more memory than this, bytes, only that memory is kept.
const MAX_SPARE_BODY: usize = 4096;
/// Up to this length, bytes, a body counts as small. Small and large messages are reused separately, so that a small one
/// that the program keeps does not hold a large one's memory.
const MAX_SMALL_BODY: usize = 256;
/// A large body may have at most this many times the memory it needs.
const MAX_WASTE: usize = 8;
const TYPE_MASK: u32 = 0xff;

/// A message that nobody else has.
#[derive(Clone, Copy)]
struct Unused {
    /// The only reference to it.
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

/// Makes one interpreter's messages.
///
/// Most callbacks look at their message and let it go. Such a message is made into the next one, which takes half the
/// instructions of freeing it and making another.
pub struct MessagePool {
    perl: Perl,
    keys: Keys,
    class: *mut HV,
    /// What comes from the network is tainted: perl runs with -T.
    is_tainting: bool,
    pub spares: SpareBuffers,
    /// Messages that nobody else has: one with a small body, and one with a large body.
    unused: [Cell<Option<Unused>>; 2],
    /// The flags of a message's hash as we made it: without magic, weak references, iterators or locks.
    pristine: Cell<u32>,
    /// What the class was like when it was last seen not to have a destructor.
    generation: Cell<Option<u32>>,
}

impl MessagePool {
    /// The class is made if need be.
    pub fn new(perl: Perl) -> Self {
        // SAFETY: a string, and a running interpreter.
        let (class, is_tainting) = unsafe { (ffi::ws_class(perl, CLASS.as_ptr()), ffi::ws_is_tainting(perl)) };
        Self {
            perl,
            keys: Keys::new(perl),
            class,
            is_tainting,
            spares: SpareBuffers::default(),
            unused: Default::default(),
            pristine: Cell::new(0),
            generation: Cell::new(None),
        }
    }

    /// A reference to a message with these octets.
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
        // SAFETY: plain values that nobody else has.
        unsafe {
            sv::set_octets(self.perl, unused.body, octets);
            (*unused.opcode).sv_u.svu_iv = opcode.into();
        }
        unused.message
    }

    /// Takes the unused message for a body of this length.
    fn take_unused(&self, len: usize) -> Option<Unused> {
        let place = self.unused_for(len);
        let unused = place.get()?;
        if len > MAX_SMALL_BODY && sv::capacity(unused.body) > MAX_WASTE * len {
            return None;
        }
        place.set(None);
        Some(unused)
    }

    /// Where an unused message with a body of this length is.
    fn unused_for(&self, len: usize) -> &Cell<Option<Unused>> {
        &self.unused[usize::from(len > MAX_SMALL_BODY)]
    }

    /// A reference to a message that was put together.
    pub fn with_buffer(&self, opcode: u8, mut buffer: PerlBuffer) -> *mut SV {
        if buffer.len() <= MAX_SPARE_BODY {
            return self.message(opcode, buffer.as_mut_slice());
        }
        self.with_body(opcode, buffer.into_sv(self.perl))
    }

    /// A new string that the peer has sent.
    pub fn received_string(&self, octets: &[u8]) -> *mut SV {
        self.received(sv::new_string(self.perl, octets))
    }

    /// A new value that the peer has sent.
    fn received(&self, value: *mut SV) -> *mut SV {
        if self.is_tainting {
            // SAFETY: a new value.
            unsafe { ffi::ws_taint(self.perl, value) };
        }
        value
    }

    /// A reference to a message; the body's reference count is handed over.
    fn with_body(&self, opcode: u8, body: *mut SV) -> *mut SV {
        self.received(body);
        // SAFETY: a live class.
        let reference = unsafe { ffi::ws_new_object(self.perl, self.class) };
        let hv: *mut HV = sv::referent(reference).expect("a new reference").cast();
        self.keys.store(self.perl, hv, Slot::Body, body);
        self.keys.store(self.perl, hv, Slot::Opcode, sv::new_number(self.perl, opcode.into()));
        // SAFETY: a live hash.
        self.pristine.set(unsafe { (*hv).sv_flags });
        reference
    }

    /// Keeps a message for the next one, if it is as it was made and nobody but the caller has any part of it.
    pub fn keep(&self, message: *mut SV) {
        let Some(unused) = self.as_unused(message).filter(|_| self.has_no_destructor()) else { return };
        let body = unused.body;
        // SAFETY: a live value.
        let is_shared = unsafe { (*body).sv_flags & SVf_IsCOW != 0 };
        let (len, capacity) = (sv::length(body), sv::capacity(body));
        // Memory that is not perl's has no capacity.
        if !is_shared && capacity > len && (len > MAX_SPARE_BODY || capacity > 2 * MAX_SPARE_BODY) {
            self.spares.keep_memory_of(body);
        } else if len > MAX_SMALL_BODY || capacity <= 2 * MAX_SMALL_BODY {
            sv::retain(message);
            if let Some(old) = self.unused_for(len).replace(Some(unused)) {
                sv::free_later(self.perl, old.message);
            }
        }
    }

    /// A message that nobody but the caller has any part of, and that is as it was made.
    fn as_unused(&self, message: *mut SV) -> Option<Unused> {
        let object = sv::referent(message)?;
        // SAFETY: the reference, its hash and the values in it are live; the flags tell what they are.
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
            let is_plain = is_plain(body, svtype::SVt_PV, SVf_POK | SVp_POK)
                && is_plain(opcode, svtype::SVt_IV, SVf_IOK | SVp_IOK);
            is_plain.then_some(Unused { message, body, opcode })
        }
    }

    fn has_no_destructor(&self) -> bool {
        // SAFETY: a live stash.
        unsafe {
            let generation = Some(ffi::ws_class_generation(self.perl, self.class));
            if self.generation.get() != generation {
                let has_one = ffi::ws_has_destructor(self.perl, self.class);
                self.generation.set(generation.filter(|_| !has_one));
            }
            self.generation.get() == generation
        }
    }

    /// The opcode and the body's scalar of a message that is of this very class, so that no method need be called.
    pub fn parts(&self, object: *mut SV) -> Option<(i64, *mut SV)> {
        // SAFETY: `object` is live; an object's body has a stash.
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

/// Whether a value is of this type, has these flags and at most the one for a shared buffer besides, and one owner.
unsafe fn is_plain(value: *mut SV, kind: svtype, flags: u32) -> bool {
    // SAFETY: the caller passes a live value.
    unsafe {
        (*value).sv_refcnt == 1
            && (*value).sv_flags & !(SVf_IsCOW | TYPE_MASK) == flags
            && (*value).sv_flags & TYPE_MASK == kind as u32
    }
}
