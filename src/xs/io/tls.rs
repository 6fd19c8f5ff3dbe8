//! Encrypts and decrypts natively, with the session of an AnyEvent::Handle.
//!
//! The session reads from one memory BIO and writes to another. The functions are those of the OpenSSL that Net::SSLeay
//! is linked to. The handle's own methods take over if these functions are missing, and for everything but data: the end
//! of the session, an error, a handshake that waits for the peer.

use super::handle::{Handle, Slot};
use crate::xs::perl::ffi::SV;
use crate::xs::perl::sv::{self, Appender};
use bytes::BufMut;
use std::ffi::{CStr, c_int, c_void};
use std::sync::OnceLock;

/// SSL_ERROR_WANT_READ: the session has used all input.
const WANT_READ: c_int = 2;
/// Maximum payload of a TLS record, in bytes.
const RECORD: usize = 16 * 1024;

macro_rules! functions {
    ($($field:ident = $name:literal: fn($($argument:ty),*) $(-> $result:ty)?;)*) => {
        /// Functions of OpenSSL.
        struct Functions {
            $($field: unsafe extern "C" fn($($argument),*) $(-> $result)?,)*
        }

        impl Functions {
            /// Looks up the functions in a loaded library and its dependencies. Returns `None` if one is missing.
            ///
            /// # Safety
            /// `library` is a handle from dlopen(3) that is never closed.
            unsafe fn find(library: *mut c_void) -> Option<Self> {
                $(
                    // SAFETY: `library` is an open handle, and the name ends with a NUL.
                    let $field = unsafe { libc::dlsym(library, concat!($name, "\0").as_ptr().cast()) };
                    if $field.is_null() {
                        return None;
                    }
                )*
                // SAFETY: these are the types that OpenSSL documents.
                Some(unsafe { Self { $($field: std::mem::transmute::<
                    *mut c_void,
                    unsafe extern "C" fn($($argument),*) $(-> $result)?,
                >($field),)* } })
            }
        }
    };
}

functions! {
    ssl_read = "SSL_read": fn(*mut c_void, *mut c_void, c_int) -> c_int;
    ssl_write = "SSL_write": fn(*mut c_void, *const c_void, c_int) -> c_int;
    ssl_has_pending = "SSL_has_pending": fn(*const c_void) -> c_int;
    ssl_get_error = "SSL_get_error": fn(*const c_void, c_int) -> c_int;
    bio_read = "BIO_read": fn(*mut c_void, *mut c_void, c_int) -> c_int;
    bio_write = "BIO_write": fn(*mut c_void, *const c_void, c_int) -> c_int;
    bio_ctrl_pending = "BIO_ctrl_pending": fn(*mut c_void) -> usize;
    err_clear_error = "ERR_clear_error": fn();
}

static FUNCTIONS: OnceLock<Functions> = OnceLock::new();

/// Makes sessions use the OpenSSL that the loaded library at `path` is linked to. If that is not loaded, or lacks a
/// function, the handle's own methods stay in use.
pub fn use_library(path: &CStr) {
    // SAFETY: `path` ends with a NUL. RTLD_NOLOAD loads nothing, and the handle is never closed, so the functions stay
    // valid.
    let functions = unsafe {
        let library = libc::dlopen(path.as_ptr(), libc::RTLD_LAZY | libc::RTLD_NOLOAD);
        if library.is_null() { None } else { Functions::find(library) }
    };
    if let Some(functions) = functions {
        // Another thread may have found the same ones first.
        let _ = FUNCTIONS.set(functions);
    }
}

/// A handle's session. It must not be used after Perl code has run.
pub struct Session {
    functions: &'static Functions,
    ssl: *mut c_void,
    incoming: *mut c_void,
    outgoing: *mut c_void,
}

impl Session {
    /// Returns the session of a handle, if it can be used natively.
    pub fn of(handle: Handle<'_>) -> Option<Self> {
        let functions = FUNCTIONS.get()?;
        if handle.has(Slot::OnStartTls) {
            return None;
        }
        let pointer =
            |address: Option<i64>| address.filter(|&address| address != 0).map(|address| address as *mut c_void);
        Some(Self {
            functions,
            ssl: pointer(handle.tls_session())?,
            incoming: pointer(handle.integer(Slot::ReadBio))?,
            outgoing: pointer(handle.integer(Slot::WriteBio))?,
        })
    }

    /// Decrypts bytes from the peer and appends the cleartext. Returns `true` if the handle's methods need not act.
    pub fn decrypt(&self, encrypted: &[u8], cleartext: &mut Vec<u8>) -> bool {
        // SAFETY: the pointers are those of the handle's live session. SSL_read writes at most RECORD bytes, which were
        // reserved, and initialises the `count` bytes that `set_len` adds.
        unsafe {
            let taken = (self.functions.bio_write)(self.incoming, encrypted.as_ptr().cast(), encrypted.len() as c_int);
            if taken < 0 || taken as usize != encrypted.len() {
                return false;
            }
            loop {
                cleartext.reserve(RECORD);
                (self.functions.err_clear_error)();
                let count = (self.functions.ssl_read)(
                    self.ssl,
                    cleartext.spare_capacity_mut().as_mut_ptr().cast(),
                    RECORD as c_int,
                );
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
        // SAFETY: the pointers are those of the handle's live session.
        unsafe {
            (self.functions.bio_ctrl_pending)(self.incoming) > 0 || (self.functions.ssl_has_pending)(self.ssl) != 0
        }
    }

    /// Encrypts as much of the start of `cleartext` as the session accepts. Returns the number of bytes.
    pub fn encrypt(&self, cleartext: &[u8]) -> usize {
        let mut done = 0;
        while done < cleartext.len() {
            let rest = &cleartext[done..];
            // SAFETY: the pointers are those of the handle's live session; `rest` is passed with its length.
            let count = unsafe {
                (self.functions.err_clear_error)();
                (self.functions.ssl_write)(self.ssl, rest.as_ptr().cast(), rest.len().min(c_int::MAX as usize) as c_int)
            };
            if count <= 0 {
                break;
            }
            done += count as usize;
        }
        done
    }

    /// Moves encrypted bytes from the session to the handle's write buffer. Returns `false` if the buffer cannot hold
    /// them.
    pub fn take_outgoing(&self, handle: Handle<'_>, buffer: *mut SV) -> bool {
        // SAFETY: the pointer is that of the handle's live session.
        let pending = unsafe { (self.functions.bio_ctrl_pending)(self.outgoing) };
        if pending == 0 {
            return true;
        }
        let Some(mut out) = Appender::new(handle.perl(), buffer, pending) else { return false };
        // SAFETY: `pending` bytes were reserved, and BIO_read initialises the `count` bytes that it returns.
        unsafe {
            let start = out.chunk_mut().as_mut_ptr();
            let count = (self.functions.bio_read)(self.outgoing, start.cast(), pending as c_int);
            out.advance_mut(count.max(0) as usize);
        }
        out.finish();
        true
    }
}

/// Encrypts `cleartext`, a buffer of the handle, into the write buffer. Returns `true` if everything was encrypted.
pub fn encrypt_queued(handle: Handle<'_>, cleartext: *mut SV) -> bool {
    if !sv::make_changeable(handle.perl(), cleartext) {
        return false;
    }
    let octets = sv::plain_octets(cleartext);
    let (Some(session), Some(buffer)) = (Session::of(handle), handle.write_buffer()) else { return octets.is_empty() };
    let done = session.encrypt(octets);
    handle.consume(cleartext, done);
    session.take_outgoing(handle, buffer) && sv::length(cleartext) == 0
}
