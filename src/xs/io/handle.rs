//! The AnyEvent::Handle as the binding sees it: a hash that is asked each time, since the program may do with it what it
//! likes. Nothing about it is remembered, above all no descriptor number.

use super::clock;
use super::descriptor::{self, WriteError};
use crate::xs::perl::ffi::{self, AV, HV, Perl, SV};
use crate::xs::perl::keys::slots;
use crate::xs::perl::sv;
use std::os::fd::RawFd;
use std::ptr::null_mut;

/// A write buffer that has been emptied keeps at most this much memory, bytes.
const KEEP_WRITE_BUFFER: usize = 4096;

slots! {
    /// A slot of an AnyEvent::Handle.
    pub enum Slot, Keys {
        Activity = "_activity",
        Autocork = "autocork",
        Eof = "_eof",
        Fh = "fh",
        OnDrain = "on_drain",
        OnRead = "on_read",
        OnStartTls = "_on_starttls",
        Queue = "_queue",
        Rbuf = "rbuf",
        ReadActivity = "_ractivity",
        ReadBio = "_rbio",
        ReadWatcher = "_rw",
        Tls = "tls",
        TlsRbuf = "_tls_rbuf",
        TlsWbuf = "_tls_wbuf",
        Wbuf = "wbuf",
        WriteActivity = "_wactivity",
        WriteBio = "_wbio",
        WriteWatcher = "_ww",
    }
}

/// A handle's hash, for as long as no Perl code runs.
#[derive(Clone, Copy)]
pub struct Handle<'k> {
    perl: Perl,
    keys: &'k Keys,
    hv: *mut HV,
}

/// How far writing has come.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Written {
    /// The kernel has taken everything.
    All,
    /// The handle's own watcher waits to write the rest.
    Later,
    /// The handle's methods have to go on: the kernel did not take everything, or someone wants to know what is queued.
    ByHandle,
}

impl<'k> Handle<'k> {
    /// Looks at a handle.
    pub fn new(perl: Perl, keys: &'k Keys, hv: *mut HV) -> Self {
        Self { perl, keys, hv }
    }

    /// The interpreter it belongs to.
    pub fn perl(self) -> Perl {
        self.perl
    }

    /// The value in a slot.
    fn slot(self, slot: Slot) -> Option<*mut SV> {
        self.keys.fetch(self.perl, self.hv, slot)
    }

    /// The value in a slot, made if need be.
    fn slot_lvalue(self, slot: Slot) -> Option<*mut SV> {
        self.keys.fetch_lvalue(self.perl, self.hv, slot)
    }

    /// Whether a slot is there.
    pub fn has(self, slot: Slot) -> bool {
        self.slot(slot).is_some()
    }

    /// The number in a slot.
    pub fn integer(self, slot: Slot) -> Option<i64> {
        sv::plain_integer(self.slot(slot)?)
    }

    /// The buffer of bytes to be written.
    pub fn write_buffer(self) -> Option<*mut SV> {
        self.slot_lvalue(Slot::Wbuf)
    }

    /// How many bytes wait for the peer to read what was sent before.
    pub fn backlog(self) -> usize {
        self.slot(Slot::Wbuf).map_or(0, sv::length)
    }

    /// A new reference to the handle.
    pub fn reference(self) -> *mut SV {
        sv::new_reference(self.perl, self.hv.cast())
    }

    /// The descriptor, if there is one that read(2) and write(2) can use.
    pub fn fd(self) -> Option<RawFd> {
        fileno(self.perl, self.slot(Slot::Fh)?)
    }

    /// Whether the bytes on the descriptor are encrypted.
    pub fn is_tls(self) -> bool {
        self.is_slot_set(Slot::Tls)
    }

    /// The address of its TLS session.
    pub fn tls_session(self) -> Option<i64> {
        sv::watched_integer(self.slot(Slot::Tls)?)
    }

    /// The value that holds the address of its TLS session. Perl code reads it before it uses the session.
    pub fn tls_slot(self) -> Option<*mut SV> {
        self.slot(Slot::Tls)
    }

    /// The file handle, if there is one.
    pub fn fh(self) -> Option<*mut SV> {
        self.slot(Slot::Fh).filter(|&fh| sv::is_set(fh))
    }

    /// The buffer of bytes to be encrypted.
    pub fn plain_buffer(self) -> Option<*mut SV> {
        self.slot_lvalue(Slot::TlsWbuf)
    }

    /// Where octets can be written as they are, past an empty buffer.
    pub fn outlet(self) -> Option<Outlet> {
        let fh = self.slot(Slot::Fh)?;
        let buffer = self.write_buffer()?;
        let is_open = !self.is_tls() && self.is_idle(buffer);
        is_open.then(|| Outlet { fh, buffer, activity: self.activity(Slot::WriteActivity) })
    }

    /// Whether all that arrives goes to `on_read` and to nobody else.
    pub fn reads_for(self, on_read: *mut SV) -> bool {
        self.has_on_read(on_read) && self.has_empty_queue()
    }

    /// Whether this is its `on_read`.
    pub fn has_on_read(self, on_read: *mut SV) -> bool {
        self.slot(Slot::OnRead).and_then(sv::referent) == Some(on_read)
    }

    /// Whether the program has destroyed it.
    pub fn is_destroyed(self) -> bool {
        // SAFETY: a live hash.
        unsafe { ffi::ws_is_destroyed(self.perl, self.hv) }
    }

    /// Whether its descriptor carries octets as they are, and none of them has been read that nobody has looked at.
    pub fn is_untouched(self) -> bool {
        let has_read = self.read_buffer().is_some_and(|buffer| sv::length(buffer) > 0);
        !has_read && !self.is_eof() && !self.is_tls() && self.has_empty_queue() && self.fd().is_some()
    }

    fn has_empty_queue(self) -> bool {
        match self.slot(Slot::Queue).and_then(sv::referent) {
            // SAFETY: AnyEvent::Handle keeps an array there.
            Some(queue) => !sv::is_array(queue) || unsafe { sv::slots(queue.cast::<AV>()) }.is_empty(),
            None => true,
        }
    }

    /// Whether the end of file was read.
    pub fn is_eof(self) -> bool {
        self.is_slot_set(Slot::Eof)
    }

    /// Whether reading is not stopped.
    pub fn is_reading(self) -> bool {
        self.has(Slot::ReadWatcher)
    }

    /// The buffer of bytes that nobody has looked at.
    pub fn read_buffer(self) -> Option<*mut SV> {
        self.slot(Slot::Rbuf)
    }

    /// All that nobody has looked at, in its order: what was decrypted while a callback ran is kept apart.
    pub fn read_buffers(self) -> impl Iterator<Item = *mut SV> {
        let buffers = [Slot::Rbuf, Slot::TlsRbuf].map(|slot| self.slot(slot));
        buffers.into_iter().flatten().filter(|&buffer| sv::length(buffer) > 0)
    }

    /// Notes that bytes came, for the handle's timeouts.
    pub fn note_read(self) {
        self.activity(Slot::ReadActivity).note(self.perl, clock::wall());
    }

    fn note_written(self, count: usize) {
        if count > 0 {
            self.activity(Slot::WriteActivity).note(self.perl, clock::wall());
        }
    }

    fn activity(self, slot: Slot) -> Activity {
        Activity([Slot::Activity, slot].map(|slot| self.slot_lvalue(slot)))
    }

    /// Whether nothing is queued, and nobody wants to know of what is.
    pub fn is_idle(self, buffer: *mut SV) -> bool {
        sv::length(buffer) == 0 && ![Slot::OnDrain, Slot::Autocork].into_iter().any(|slot| self.is_slot_set(slot))
    }

    /// Writes a header and a payload. Returns how many bytes of both the kernel took.
    ///
    /// # Errors
    /// The connection is broken.
    pub fn write_both(self, fh: *mut SV, header: &[u8], payload: &[u8]) -> Result<usize, WriteError> {
        let written = fileno(self.perl, fh).map_or(Ok(0), |fd| descriptor::write_both(fd, header, payload))?;
        self.note_written(written);
        Ok(written)
    }

    /// Writes what is queued, as far as that takes none of the handle's methods.
    ///
    /// # Errors
    /// The connection is broken.
    pub fn write_queued(self, fh: *mut SV, buffer: *mut SV) -> Result<Written, WriteError> {
        if sv::length(buffer) == 0 {
            return Ok(Written::All);
        }
        if self.is_slot_set(Slot::WriteWatcher) {
            return Ok(Written::Later);
        }
        let is_watched = self.is_slot_set(Slot::OnDrain) || self.is_slot_set(Slot::Autocork);
        if is_watched || !sv::make_changeable(self.perl, buffer) {
            return Ok(Written::ByHandle);
        }
        let octets = sv::plain_octets(buffer);
        let written = fileno(self.perl, fh).map_or(Ok(0), |fd| descriptor::write(fd, octets))?;
        self.note_written(written);
        let is_all = written == octets.len();
        self.consume(buffer, written);
        Ok(if is_all { Written::All } else { Written::ByHandle })
    }

    /// Takes bytes off the start of a buffer that is changeable.
    pub fn consume(self, buffer: *mut SV, count: usize) {
        let octets = sv::plain_octets(buffer);
        // SAFETY: `buffer` is a changeable string, and `count` lies in it.
        unsafe {
            match count {
                0 => {}
                _ if count == octets.len() => ffi::ws_empty(self.perl, buffer, KEEP_WRITE_BUFFER),
                _ => ffi::ws_chop(self.perl, buffer, count),
            }
        }
    }

    fn is_slot_set(self, slot: Slot) -> bool {
        self.slot(slot).is_some_and(sv::is_set)
    }
}

/// What it takes to write, for as long as no Perl code runs.
pub struct Outlet {
    fh: *mut SV,
    pub buffer: *mut SV,
    pub activity: Activity,
}

impl Outlet {
    /// What the file handle stands for; null if it is none.
    pub fn io(&self, perl: Perl) -> *mut SV {
        // SAFETY: `fh` is live.
        unsafe { ffi::ws_io(perl, self.fh).cast() }
    }

    /// The descriptor, if there is one that write(2) can use.
    pub fn fd(&self, perl: Perl) -> Option<RawFd> {
        fileno(perl, self.fh)
    }
}

fn fileno(perl: Perl, fh: *mut SV) -> Option<RawFd> {
    // SAFETY: `fh` is live.
    let fd = unsafe { ffi::ws_fd(perl, fh) };
    (fd >= 0).then_some(fd)
}

/// The slots that say when bytes last came or went, for as long as no Perl code runs.
pub struct Activity([Option<*mut SV>; 2]);

impl Activity {
    /// It was at a time of [`clock::wall`].
    pub fn note(&self, perl: Perl, now: f64) {
        let [first, second] = self.0.map(|slot| slot.unwrap_or(null_mut()));
        // SAFETY: live slots.
        unsafe { ffi::ws_set_times(perl, first, second, now) };
    }
}
