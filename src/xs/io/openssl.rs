//! The functions of the OpenSSL that Net::SSLeay is linked to. They are looked up when Net::SSLeay is loaded, because
//! this library is not linked to any OpenSSL.

use std::ffi::{CStr, c_char, c_int, c_long, c_void};
use std::sync::OnceLock;

/// Reads from a BIO.
pub type ReadBio = unsafe extern "C" fn(*mut c_void, *mut c_char, c_int) -> c_int;
/// Writes to a BIO.
pub type WriteBio = unsafe extern "C" fn(*mut c_void, *const c_char, c_int) -> c_int;
/// Frees what belongs to a BIO.
pub type DestroyBio = unsafe extern "C" fn(*mut c_void) -> c_int;
/// Asks a BIO something, or has it do something.
pub type ControlBio = unsafe extern "C" fn(*mut c_void, c_int, c_long, *mut c_void) -> c_long;

macro_rules! functions {
    ($($field:ident = $name:literal: fn($($argument:ty),*) $(-> $result:ty)?;)*) => {
        /// Functions of OpenSSL.
        pub struct Functions {
            $(pub $field: unsafe extern "C" fn($($argument),*) $(-> $result)?,)*
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
    ssl_get_rbio = "SSL_get_rbio": fn(*const c_void) -> *mut c_void;
    ssl_get_wbio = "SSL_get_wbio": fn(*const c_void) -> *mut c_void;
    ssl_set0_rbio = "SSL_set0_rbio": fn(*mut c_void, *mut c_void);
    ssl_set0_wbio = "SSL_set0_wbio": fn(*mut c_void, *mut c_void);
    bio_meth_new = "BIO_meth_new": fn(c_int, *const c_char) -> *mut c_void;
    bio_meth_set_read = "BIO_meth_set_read": fn(*mut c_void, ReadBio) -> c_int;
    bio_meth_set_write = "BIO_meth_set_write": fn(*mut c_void, WriteBio) -> c_int;
    bio_meth_set_ctrl = "BIO_meth_set_ctrl": fn(*mut c_void, ControlBio) -> c_int;
    bio_meth_set_destroy = "BIO_meth_set_destroy": fn(*mut c_void, DestroyBio) -> c_int;
    bio_new = "BIO_new": fn(*mut c_void) -> *mut c_void;
    bio_up_ref = "BIO_up_ref": fn(*mut c_void) -> c_int;
    bio_free = "BIO_free": fn(*mut c_void) -> c_int;
    bio_set_init = "BIO_set_init": fn(*mut c_void, c_int);
    bio_set_data = "BIO_set_data": fn(*mut c_void, *mut c_void);
    bio_get_data = "BIO_get_data": fn(*mut c_void) -> *mut c_void;
    bio_set_flags = "BIO_set_flags": fn(*mut c_void, c_int);
    bio_clear_flags = "BIO_clear_flags": fn(*mut c_void, c_int);
    bio_read = "BIO_read": fn(*mut c_void, *mut c_void, c_int) -> c_int;
    bio_write = "BIO_write": fn(*mut c_void, *const c_void, c_int) -> c_int;
    bio_ctrl_pending = "BIO_ctrl_pending": fn(*mut c_void) -> usize;
    err_clear_error = "ERR_clear_error": fn();
}

static FUNCTIONS: OnceLock<Functions> = OnceLock::new();

/// Returns the functions, if they were found.
pub fn functions() -> Option<&'static Functions> {
    FUNCTIONS.get()
}

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
