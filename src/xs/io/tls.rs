//! Encrypts and decrypts natively, with the session of an AnyEvent::Handle.
//!
//! The handle's own methods take over if OpenSSL's functions are missing, and for everything but data: the end of the
//! session, an error, a handshake that waits for the peer.

use super::bio::MemoryBio;
use super::handle::{Handle, Slot};
use super::openssl::{self, Functions};
use crate::xs::perl::ffi::SV;
use crate::xs::perl::sv;
use std::ffi::{c_int, c_void};

/// SSL_ERROR_WANT_READ: the session has used all input.
const WANT_READ: c_int = 2;
/// Maximum payload of a TLS record, in bytes.
const RECORD: usize = 16 * 1024;

/// A handle's session. It must not be used after Perl code has run.
pub struct Session {
    functions: &'static Functions,
    memory: MemoryBio,
    ssl: *mut c_void,
    incoming: *mut c_void,
    outgoing: *mut c_void,
}

impl Session {
    /// Returns the session of a handle, if it can be used natively.
    pub fn of(handle: Handle<'_>) -> Option<Self> {
        let functions = openssl::functions()?;
        if handle.has(Slot::OnStartTls) {
            return None;
        }
        let pointer =
            |address: Option<i64>| address.filter(|&address| address != 0).map(|address| address as *mut c_void);
        let session = Self {
            functions,
            memory: MemoryBio::of_thread(functions)?,
            ssl: pointer(handle.tls_session())?,
            incoming: pointer(handle.integer(Slot::ReadBio))?,
            outgoing: pointer(handle.integer(Slot::WriteBio))?,
        };
        session.has_handle_bios().then_some(session)
    }

    /// Returns `true` if the session reads and writes the BIOs that the handle says.
    fn has_handle_bios(&self) -> bool {
        // SAFETY: the pointer is that of the handle's live session.
        unsafe {
            (self.functions.ssl_get_rbio)(self.ssl) == self.incoming
                && (self.functions.ssl_get_wbio)(self.ssl) == self.outgoing
        }
    }

    /// Decrypts bytes from the peer and appends the cleartext. Returns `true` if the handle's methods need not act.
    pub fn decrypt(&self, encrypted: &[u8], cleartext: &mut Vec<u8>) -> bool {
        // SAFETY: the pointers are those of the handle's live session.
        unsafe {
            // In a nested event loop, what the handle itself has read may not be decrypted yet.
            if (self.functions.bio_ctrl_pending)(self.incoming) > 0 {
                return self.hand_over(encrypted) && self.decrypt_records(cleartext);
            }
            let work = || self.decrypt_records(cleartext);
            let (is_done, rest) = self.memory.with_input(self.ssl, self.incoming, encrypted, work);
            self.hand_over(rest) && is_done
        }
    }

    /// Puts bytes from the peer where the handle's methods find them. Returns `false` if this fails.
    fn hand_over(&self, encrypted: &[u8]) -> bool {
        if encrypted.is_empty() {
            return true;
        }
        // SAFETY: the pointer is that of the handle's live session; the slice is passed with its length.
        let taken =
            unsafe { (self.functions.bio_write)(self.incoming, encrypted.as_ptr().cast(), encrypted.len() as c_int) };
        usize::try_from(taken) == Ok(encrypted.len())
    }

    /// Decrypts all input of the session. Returns `true` if the handle's methods need not act.
    fn decrypt_records(&self, cleartext: &mut Vec<u8>) -> bool {
        // SAFETY: the pointers are those of the handle's live session. SSL_read writes at most RECORD bytes, which were
        // reserved, and initialises the `count` bytes that `set_len` adds.
        unsafe {
            // An old error would be taken for one of SSL_read's.
            (self.functions.err_clear_error)();
            loop {
                cleartext.reserve(RECORD);
                let start = cleartext.spare_capacity_mut().as_mut_ptr();
                let count = (self.functions.ssl_read)(self.ssl, start.cast(), RECORD as c_int);
                if count > 0 {
                    cleartext.set_len(cleartext.len() + count as usize);
                    if self.has_input() {
                        continue;
                    }
                } else if (self.functions.ssl_get_error)(self.ssl, count) != WANT_READ {
                    return false;
                }
                return (self.functions.bio_ctrl_pending)(self.outgoing) == 0;
            }
        }
    }

    /// Returns `true` if some of the bytes from the peer were not decrypted yet. Asking takes less time than finding out
    /// with SSL_read.
    fn has_input(&self) -> bool {
        // SAFETY: the pointer is that of the handle's live session.
        unsafe {
            (self.functions.bio_ctrl_pending)((self.functions.ssl_get_rbio)(self.ssl)) > 0
                || (self.functions.ssl_has_pending)(self.ssl) != 0
        }
    }

    /// Encrypts as much of the start of `cleartext` as the session accepts, and appends the result to `encrypted`.
    /// Returns the number of bytes.
    fn encrypt(&self, cleartext: &[u8], encrypted: &mut Vec<u8>) -> usize {
        self.take_outgoing(encrypted);
        if cleartext.is_empty() {
            return 0;
        }
        let mut done = 0;
        let work = || {
            while done < cleartext.len() {
                let rest = &cleartext[done..];
                let len = rest.len().min(c_int::MAX as usize) as c_int;
                // SAFETY: the pointer is that of the handle's live session; `rest` is passed with its length.
                match usize::try_from(unsafe { (self.functions.ssl_write)(self.ssl, rest.as_ptr().cast(), len) }) {
                    Ok(count @ 1..) => done += count,
                    _ => break,
                }
            }
        };
        // SAFETY: the pointers are those of the handle's live session.
        unsafe { self.memory.with_output(self.ssl, self.outgoing, encrypted, work) };
        if done < cleartext.len() {
            // The handle's methods will try again, and would take an old error for a new one.
            // SAFETY: the function has no preconditions.
            unsafe { (self.functions.err_clear_error)() };
        }
        done
    }

    /// Like [`Self::encrypt`], for a header and its payload. Only the part of the payload is copied that is in one record
    /// with the header.
    pub fn encrypt_both(&self, header: &[u8], payload: &[u8], encrypted: &mut Vec<u8>) -> usize {
        let (start, rest) = payload.split_at(payload.len().min(RECORD - header.len()));
        let first = [header, start].concat();
        match self.encrypt(&first, encrypted) {
            done if done < first.len() => done,
            done => done + self.encrypt(rest, encrypted),
        }
    }

    /// Moves what the session has encrypted before.
    fn take_outgoing(&self, encrypted: &mut Vec<u8>) {
        // SAFETY: the pointer is that of the handle's live session. `pending` bytes are reserved, and BIO_read
        // initialises the `count` bytes that it returns.
        unsafe {
            let pending = (self.functions.bio_ctrl_pending)(self.outgoing);
            if pending == 0 {
                return;
            }
            encrypted.reserve(pending);
            let start = encrypted.spare_capacity_mut().as_mut_ptr();
            let count = (self.functions.bio_read)(self.outgoing, start.cast(), pending as c_int);
            encrypted.set_len(encrypted.len() + usize::try_from(count).unwrap_or(0));
        }
    }
}

/// Encrypts `cleartext`, a buffer of the handle, and appends the result to `encrypted`. Returns `true` if everything was
/// encrypted.
pub fn encrypt_queued(handle: Handle<'_>, cleartext: *mut SV, encrypted: &mut Vec<u8>) -> bool {
    if !sv::make_changeable(handle.perl(), cleartext) {
        return false;
    }
    let octets = sv::plain_octets(cleartext);
    let Some(session) = Session::of(handle) else { return octets.is_empty() };
    let done = session.encrypt(octets, encrypted);
    handle.consume(cleartext, done);
    sv::length(cleartext) == 0
}
