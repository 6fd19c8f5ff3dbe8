//! An AnyEvent::Handle, seen as a hash. Its slots are read anew each time, because the program may change them. Nothing
//! about it is cached, least of all a descriptor number.

use super::clock;
use super::descriptor::{self, WriteError};
use crate::xs::perl::ffi::{self, AV, HV, Perl, SV};
use crate::xs::perl::keys::slots;
use crate::xs::perl::places::Places;
use crate::xs::perl::sv::{self, Appender};
use bytes::BufMut;
use std::os::fd::RawFd;
use std::ptr::{null, null_mut};

/// Maximum size, in bytes, of the memory that an empty write buffer keeps.
const KEEP_WRITE_BUFFER: usize = 4096;

slots! {
    /// A slot of an AnyEvent::Handle.
    pub enum Slot, Keys {
        Activity = "_activity",
        Autocork = "autocork",
        Eof = "_eof",
        Fh = "fh",
        Linger = "linger",
        LowWaterMark = "low_water_mark",
        OnDrain = "on_drain",
        OnEof = "on_eof",
        OnRead = "on_read",
        OnStartTls = "_on_starttls",
        Queue = "_queue",
        Rbuf = "rbuf",
        ReadActivity = "_ractivity",
        ReadBio = "_rbio",
        ReadWatcher = "_rw",
        SkipDrainRbuf = "_skip_drain_rbuf",
        Tls = "tls",
        TlsRbuf = "_tls_rbuf",
        TlsWbuf = "_tls_wbuf",
        Wbuf = "wbuf",
        WriteActivity = "_wactivity",
        WriteBio = "_wbio",
        WriteWatcher = "_ww",
    }
}

/// The slots that a message touches, apart from the file handle's; those needed first come first.
const TOUCHED: [Slot; 13] = [
    Slot::OnRead,
    Slot::Queue,
    Slot::Tls,
    Slot::Rbuf,
    Slot::TlsRbuf,
    Slot::ReadActivity,
    Slot::Activity,
    Slot::Wbuf,
    Slot::Linger,
    Slot::WriteWatcher,
    Slot::OnDrain,
    Slot::Autocork,
    Slot::WriteActivity,
];

/// A handle's hash. It must not be used after Perl code has run.
#[derive(Clone, Copy)]
pub struct Handle<'k> {
    perl: Perl,
    keys: &'k Keys,
    hv: *mut HV,
}

/// The progress of writing.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Written {
    /// The kernel took everything.
    All,
    /// The handle's own watcher will write the rest.
    Later,
    /// The handle's own methods must continue: the kernel did not take everything, or a callback must learn what is
    /// queued.
    ByHandle,
}

impl<'k> Handle<'k> {
    /// Wraps a handle's hash.
    pub fn new(perl: Perl, keys: &'k Keys, hv: *mut HV) -> Self {
        Self { perl, keys, hv }
    }

    /// Returns the interpreter that the handle belongs to.
    pub fn perl(self) -> Perl {
        self.perl
    }

    /// Returns the value in a slot.
    fn slot(self, slot: Slot) -> Option<*mut SV> {
        self.keys.fetch(self.perl, self.hv, slot)
    }

    /// Returns the value in a slot, and creates the slot if needed.
    fn slot_lvalue(self, slot: Slot) -> Option<*mut SV> {
        self.keys.fetch_lvalue(self.perl, self.hv, slot)
    }

    /// Returns `true` if a slot exists.
    pub fn has(self, slot: Slot) -> bool {
        self.slot(slot).is_some()
    }

    /// Returns the integer in a slot.
    pub fn integer(self, slot: Slot) -> Option<i64> {
        sv::plain_integer(self.slot(slot)?)
    }

    /// Returns the buffer of bytes to be written, and creates it if needed.
    pub fn write_buffer(self) -> Option<*mut SV> {
        self.slot_lvalue(Slot::Wbuf)
    }

    /// Returns the buffer of bytes to be written, if native code may change it.
    pub fn changeable_write_buffer(self) -> Option<*mut SV> {
        self.write_buffer().filter(|&buffer| sv::make_changeable(self.perl, buffer))
    }

    /// Returns the backlog: the number of bytes that wait until the peer has read earlier ones, encrypted or not.
    pub fn backlog(self) -> usize {
        self.write_buffer_len() + self.slot(Slot::TlsWbuf).map_or(0, sv::length)
    }

    /// Returns the number of bytes to be written.
    pub fn write_buffer_len(self) -> usize {
        self.slot(Slot::Wbuf).map_or(0, sv::length)
    }

    /// Creates a reference to the handle.
    pub fn reference(self) -> *mut SV {
        sv::new_reference(self.perl, self.hv.cast())
    }

    /// Returns the descriptor, if the handle has one that read(2) and write(2) can use.
    pub fn fd(self) -> Option<RawFd> {
        fileno(self.perl, self.slot(Slot::Fh)?)
    }

    /// Returns `true` if the transport is encrypted.
    pub fn is_tls(self) -> bool {
        self.is_slot_set(Slot::Tls)
    }

    /// Returns the address of the TLS session.
    pub fn tls_session(self) -> Option<i64> {
        sv::watched_integer(self.slot(Slot::Tls)?)
    }

    /// Returns the value that holds the address of the TLS session; Perl code reads it before it uses the session.
    pub fn tls_slot(self) -> Option<*mut SV> {
        self.slot(Slot::Tls)
    }

    /// Returns the file handle, if there is one.
    pub fn fh(self) -> Option<*mut SV> {
        self.slot(Slot::Fh).filter(|&fh| sv::is_set(fh))
    }

    /// Returns the buffer of bytes to be encrypted, and creates it if needed.
    pub fn unencrypted_buffer(self) -> Option<*mut SV> {
        self.slot_lvalue(Slot::TlsWbuf)
    }

    /// Returns `true` if bytes wait to be encrypted.
    pub fn has_unencrypted(self) -> bool {
        self.slot(Slot::TlsWbuf).is_some_and(|buffer| sv::length(buffer) > 0)
    }

    /// Returns the means to write bytes directly, if the stream is not encrypted and [`Self::is_idle`] allows it.
    pub fn writer(self) -> Option<DirectWriter> {
        let fh = self.slot(Slot::Fh)?;
        let buffer = self.write_buffer()?;
        let is_open = !self.is_tls() && self.is_idle(buffer);
        is_open.then(|| DirectWriter { fh, buffer, activity: self.activity(Slot::WriteActivity) })
    }

    /// Returns `true` if the handle discards what is not written yet when it is destroyed.
    pub fn discards_unwritten(self) -> bool {
        self.slot(Slot::Linger).is_some_and(|linger| !sv::is_set(linger))
    }

    /// Returns `true` if `on_read` gets everything that arrives, and nothing else does.
    pub fn reads_for(self, on_read: *mut SV) -> bool {
        self.has_on_read(on_read) && self.has_empty_queue()
    }

    /// Returns `true` if the handle's `on_read` is this sub.
    pub fn has_on_read(self, on_read: *mut SV) -> bool {
        self.slot(Slot::OnRead).and_then(sv::referent) == Some(on_read)
    }

    /// Returns `true` if all that the handle would do at the end of file is to call this sub, its `on_eof`.
    pub fn has_only_on_eof(self, on_eof: *mut SV) -> bool {
        let calls = self.slot(Slot::OnEof).and_then(sv::referent) == Some(on_eof);
        calls && self.read_buffers().next().is_none() && !self.has(Slot::SkipDrainRbuf) && !self.has(Slot::TlsRbuf)
    }

    /// Returns `true` if nothing waits to be written, and no callback or option of the handle has to do with writing.
    pub fn writes_freely(self) -> bool {
        const OTHERS: [Slot; 4] = [Slot::WriteWatcher, Slot::OnDrain, Slot::Autocork, Slot::LowWaterMark];
        !self.is_tls() && self.write_buffer_len() == 0 && !OTHERS.into_iter().any(|slot| self.has(slot))
    }

    /// Returns `true` if the program has destroyed the handle.
    pub fn is_destroyed(self) -> bool {
        // SAFETY: `hv` is a live hash.
        unsafe { ffi::ws_is_destroyed(self.perl, self.hv) }
    }

    /// Returns `true` if the stream is open and not encrypted, and nothing that was read from it is still unprocessed.
    pub fn is_untouched(self) -> bool {
        let has_read = self.read_buffer().is_some_and(|buffer| sv::length(buffer) > 0);
        !has_read && !self.is_eof() && !self.is_tls() && self.has_empty_queue() && self.fd().is_some()
    }

    fn has_empty_queue(self) -> bool {
        match self.slot(Slot::Queue).and_then(sv::referent) {
            // SAFETY: it is an array, and no Perl code runs.
            Some(queue) => !sv::is_array(queue) || unsafe { sv::slots(queue.cast::<AV>()) }.is_empty(),
            None => true,
        }
    }

    /// Returns `true` if the end of file was read.
    pub fn is_eof(self) -> bool {
        self.is_slot_set(Slot::Eof)
    }

    /// Returns `true` unless reading is stopped.
    pub fn is_reading(self) -> bool {
        self.has(Slot::ReadWatcher)
    }

    /// Returns the buffer of bytes read but not yet processed.
    pub fn read_buffer(self) -> Option<*mut SV> {
        self.slot(Slot::Rbuf)
    }

    /// Frees the memory of the read buffer if it is empty. The handle needs it only for what it reads itself, and then has 2 KiB or
    /// more.
    pub fn free_empty_read_buffer(self) {
        if let Some(buffer) = self.read_buffer().filter(|&buffer| sv::length(buffer) == 0) {
            // SAFETY: `buffer` is live, and no Perl code runs.
            unsafe { ffi::ws_empty(self.perl, buffer, 0) };
        }
    }

    /// Returns the non-empty buffers of unprocessed bytes, in order. AnyEvent::Handle keeps bytes that it decrypts
    /// during a callback in a buffer of their own.
    pub fn read_buffers(self) -> impl Iterator<Item = *mut SV> {
        let buffers = [Slot::Rbuf, Slot::TlsRbuf].map(|slot| self.slot(slot));
        buffers.into_iter().flatten().filter(|&buffer| sv::length(buffer) > 0)
    }

    /// Records that bytes arrived, for the handle's timeouts.
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

    /// Returns `true` if `buffer`, the handle's write buffer, is empty, and no callback or option of the handle
    /// requires that frames pass through it.
    pub fn is_idle(self, buffer: *mut SV) -> bool {
        sv::length(buffer) == 0 && ![Slot::OnDrain, Slot::Autocork].into_iter().any(|slot| self.is_slot_set(slot))
    }

    /// Writes a header and a payload. Returns how many bytes of both together the kernel took.
    ///
    /// # Errors
    /// The connection is broken.
    pub fn write_both(self, fh: *mut SV, header: &[u8], payload: &[u8]) -> Result<usize, WriteError> {
        let written = fileno(self.perl, fh).map_or(Ok(0), |fd| descriptor::write_both(fd, header, payload))?;
        self.note_written(written);
        Ok(written)
    }

    /// Writes what is queued, as far as this works without the handle's methods.
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
        let must_drain_by_handle = self.is_slot_set(Slot::OnDrain) || self.is_slot_set(Slot::Autocork);
        if must_drain_by_handle || !sv::make_changeable(self.perl, buffer) {
            return Ok(Written::ByHandle);
        }
        let octets = sv::plain_octets(buffer);
        let written = fileno(self.perl, fh).map_or(Ok(0), |fd| descriptor::write(fd, octets))?;
        self.note_written(written);
        let is_all = written == octets.len();
        self.consume(buffer, written);
        Ok(if is_all { Written::All } else { Written::ByHandle })
    }

    /// Writes `octets` behind what is queued in a changeable write buffer, as far as this works without the handle's
    /// methods. What the kernel does not take is queued.
    ///
    /// # Errors
    /// The connection is broken.
    pub fn write_behind(self, fh: *mut SV, buffer: *mut SV, octets: &[u8]) -> Result<Written, WriteError> {
        if !self.is_idle(buffer) || self.is_slot_set(Slot::WriteWatcher) {
            self.queue(buffer, octets);
            return self.write_queued(fh, buffer);
        }
        let written = match fileno(self.perl, fh) {
            Some(fd) if !octets.is_empty() => descriptor::write(fd, octets)?,
            _ => 0,
        };
        self.note_written(written);
        self.queue(buffer, &octets[written..]);
        Ok(if written == octets.len() { Written::All } else { Written::ByHandle })
    }

    /// Appends bytes to a changeable buffer.
    pub fn queue(self, buffer: *mut SV, octets: &[u8]) {
        if octets.is_empty() {
            return;
        }
        let mut out = Appender::new(self.perl, buffer, octets.len()).expect("the buffer is changeable");
        out.put_slice(octets);
        out.finish();
    }

    /// Removes `count` bytes from the start of a changeable buffer.
    pub fn consume(self, buffer: *mut SV, count: usize) {
        let octets = sv::plain_octets(buffer);
        // SAFETY: `buffer` is a changeable string of at least `count` bytes.
        unsafe {
            match count {
                0 => {}
                _ if count == octets.len() => ffi::ws_empty(self.perl, buffer, KEEP_WRITE_BUFFER),
                _ => ffi::ws_chop(self.perl, buffer, count),
            }
        }
    }

    /// Adds the places that a message touches. The descriptor comes first, because it takes the most steps to find.
    pub fn add_places(self, places: &mut Places) {
        self.keys.add_places(self.hv, [Slot::Fh], places);
        if let Some(fh) = self.fh() {
            let mut found = [null(); ffi::FILE_ADDRESSES];
            // SAFETY: `fh` is live, and `found` has the size that `ws_file_addresses` expects.
            unsafe { ffi::ws_file_addresses(self.perl, fh, found.as_mut_ptr()) };
            places.extend(found);
        }
        self.keys.add_places(self.hv, TOUCHED, places);
    }

    fn is_slot_set(self, slot: Slot) -> bool {
        self.slot(slot).is_some_and(sv::is_set)
    }
}

/// Everything needed to write directly. It must not be used after Perl code has run.
pub struct DirectWriter {
    fh: *mut SV,
    pub buffer: *mut SV,
    pub activity: Activity,
}

impl DirectWriter {
    /// Returns the IO object of the file handle; null if it has none.
    pub fn io(&self, perl: Perl) -> *mut SV {
        // SAFETY: `fh` is live.
        unsafe { ffi::ws_io(perl, self.fh).cast() }
    }

    /// Returns the descriptor, if there is one that write(2) can use.
    pub fn fd(&self, perl: Perl) -> Option<RawFd> {
        fileno(perl, self.fh)
    }
}

/// Returns the descriptor of a file handle, if it has one that read(2) and write(2) can use.
pub fn fileno(perl: Perl, fh: *mut SV) -> Option<RawFd> {
    // SAFETY: `fh` is live.
    let fd = unsafe { ffi::ws_fd(perl, fh) };
    (fd >= 0).then_some(fd)
}

/// The slots that hold the times of the last activity. They must not be used after Perl code has run.
pub struct Activity([Option<*mut SV>; 2]);

impl Activity {
    /// Records activity at `now`, a time of [`clock::wall`].
    pub fn note(&self, perl: Perl, now: f64) {
        let [first, second] = self.0.map(|slot| slot.unwrap_or(null_mut()));
        // SAFETY: the slots are live, or null.
        unsafe { ffi::ws_set_times(perl, first, second, now) };
    }
}
