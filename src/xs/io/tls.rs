//! TLS: what AnyEvent::Handle does with its Net::SSLeay objects, done natively.
//!
//! The handle's session reads from one memory BIO and writes to another. The functions are those that Net::SSLeay itself
//! is linked to; without them, and wherever anything but data comes up - the end of the session, an
//! error, a handshake that waits for the peer - the handle's own methods go on from where this leaves off.

use super::handle::{Handle, Slot};
use crate::xs::perl::ffi::SV;
use crate::xs::perl::sv::{self, Appender};
use bytes::BufMut;
use std::ffi::{CStr, c_int, c_void};
use std::sync::OnceLock;

/// SSL_ERROR_WANT_READ: all that has arrived is used up.
const WANT_READ: c_int = 2;
/// A TLS record carries at most this much, bytes.
const RECORD: usize = 16 * 1024;

macro_rules! functions {
    ($($field:ident = $name:literal: fn($($argument:ty),*) $(-> $result:ty)?;)*) => {
        /// Functions of OpenSSL.
        struct Functions {
            $($field: unsafe extern "C" fn($($argument),*) $(-> $result)?,)*
        }

        impl Functions {
            /// Finds them in a loaded library, or in what that depends on. Returns `None` if one is not there.
            ///
            /// # Safety
            /// `library` is what dlopen(3) has returned for a library that stays loaded.
            unsafe fn find(library: *mut c_void) -> Option<Self> {
                $(
                    // SAFETY: promised by the caller.
                    let $field = unsafe { libc::dlsym(library, concat!($name, "\0").as_ptr().cast()) };
                    if $field.is_null() {
                        return None;
                    }
                )*
                // SAFETY: OpenSSL's documentation says that they have these types.
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
    ssl_get_error = "SSL_get_error": fn(*const c_void, c_int) -> c_int;
    bio_read = "BIO_read": fn(*mut c_void, *mut c_void, c_int) -> c_int;
    bio_write = "BIO_write": fn(*mut c_void, *const c_void, c_int) -> c_int;
    bio_ctrl_pending = "BIO_ctrl_pending": fn(*mut c_void) -> usize;
    err_clear_error = "ERR_clear_error": fn();
}

static FUNCTIONS: OnceLock<Functions> = OnceLock::new();

/// Has sessions use the OpenSSL that the loaded library at `path` is linked to. If that is not loaded, or lacks a function,
/// the handle's own methods stay in use.
pub fn use_library(path: &CStr) {
    // SAFETY: a string that ends with a NUL; nothing is loaded. What is found is never closed, and so stays loaded.
    let functions = unsafe {
        let library = libc::dlopen(path.as_ptr(), libc::RTLD_LAZY | libc::RTLD_NOLOAD);
        if library.is_null() { None } else { Functions::find(library) }
    };
    if let Some(functions) = functions {
        // Another thread may have found the same ones first.
        let _ = FUNCTIONS.set(functions);
    }
}

/// A handle's session, for as long as no Perl code runs.
pub struct Session {
    functions: &'static Functions,
    ssl: *mut c_void,
    incoming: *mut c_void,
    outgoing: *mut c_void,
}

impl Session {
    /// The session of a handle, if it has one that can be used natively.
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

    /// Takes bytes from the peer and appends what they mean; says whether that was all there is to do.
    pub fn decrypt(&self, encrypted: &[u8], plain: &mut Vec<u8>) -> bool {
        // SAFETY: the session's own objects, and buffers with their lengths; a memory BIO takes everything.
        unsafe {
            let taken = (self.functions.bio_write)(self.incoming, encrypted.as_ptr().cast(), encrypted.len() as c_int);
            if taken < 0 || taken as usize != encrypted.len() {
                return false;
            }
            loop {
                plain.reserve(RECORD);
                (self.functions.err_clear_error)();
                let count = (self.functions.ssl_read)(
                    self.ssl,
                    plain.spare_capacity_mut().as_mut_ptr().cast(),
                    RECORD as c_int,
                );
                if count <= 0 {
                    let is_drained = (self.functions.ssl_get_error)(self.ssl, count) == WANT_READ;
                    return is_drained && (self.functions.bio_ctrl_pending)(self.outgoing) == 0;
                }
                plain.set_len(plain.len() + count as usize);
            }
        }
    }

    /// Encrypts as much of `plain` as the session takes now, from its start; says how much that was.
    pub fn encrypt(&self, plain: &[u8]) -> usize {
        let mut done = 0;
        while done < plain.len() {
            let rest = &plain[done..];
            // SAFETY: the session's own objects, and a buffer with its length.
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

    /// Moves what the session has for the peer to a handle's write buffer; says `false` if that cannot take it.
    pub fn take_outgoing(&self, handle: Handle<'_>, buffer: *mut SV) -> bool {
        // SAFETY: the session's own object.
        let pending = unsafe { (self.functions.bio_ctrl_pending)(self.outgoing) };
        if pending == 0 {
            return true;
        }
        let Some(mut out) = Appender::new(handle.perl(), buffer, pending) else { return false };
        // SAFETY: as much as is pending was reserved, and so much of it is initialised as was read.
        unsafe {
            let start = out.chunk_mut().as_mut_ptr();
            let count = (self.functions.bio_read)(self.outgoing, start.cast(), pending as c_int);
            out.advance_mut(count.max(0) as usize);
        }
        out.finish();
        true
    }
}

/// Encrypts what is in `plain`, a string of the handle's, into its write buffer; says whether that was all of it.
pub fn encrypt_queued(handle: Handle<'_>, plain: *mut SV) -> bool {
    if !sv::make_changeable(handle.perl(), plain) {
        return false;
    }
    let octets = sv::plain_octets(plain);
    let (Some(session), Some(buffer)) = (Session::of(handle), handle.write_buffer()) else { return octets.is_empty() };
    let done = session.encrypt(octets);
    handle.consume(plain, done);
    session.take_outgoing(handle, buffer) && sv::length(plain) == 0
}
