//! The paths that bytes take: through the descriptor, the handle's TLS session, or the handle's own methods.

use super::descriptor::WriteError;
use super::handle::{Handle, Written};
use super::scratch::Scratch;
use super::tls::{self, Session};
use crate::xs::perl::ffi::SV;
use crate::xs::perl::sv;
use std::os::fd::RawFd;

/// The path of outgoing bytes.
#[derive(Clone, Copy)]
pub enum Route {
    /// Append to the handle's write buffer, and write(2) it.
    Native { fh: *mut SV, buffer: *mut SV },
    /// Append to the handle's unencrypted buffer, encrypt it, and write(2) the result.
    Tls { fh: *mut SV, buffer: *mut SV },
    /// Pass this string, which we own, to the handle's `push_write`.
    PushWrite { frame: *mut SV },
}

impl Route {
    /// Returns the path through a handle. `is_stock` is `true` if its methods are AnyEvent::Handle's own.
    pub fn of(handle: Handle<'_>, is_stock: bool) -> Self {
        let native = || {
            let fh = handle.fh()?;
            match handle.is_tls() {
                true => handle.unencrypted_buffer().map(|buffer| Self::Tls { fh, buffer }),
                false => handle.write_buffer().map(|buffer| Self::Native { fh, buffer }),
            }
        };
        let route = if is_stock { native() } else { None };
        route.unwrap_or_else(|| Self::PushWrite { frame: sv::new_mortal_string(handle.perl()) })
    }

    /// Returns the buffer that frames are appended to.
    pub fn buffer(self) -> *mut SV {
        match self {
            Self::Native { buffer, .. } | Self::Tls { buffer, .. } => buffer,
            Self::PushWrite { frame } => frame,
        }
    }

    /// Returns `true` if frames go through the handle's `push_write`.
    pub fn is_push_write(self) -> bool {
        matches!(self, Self::PushWrite { .. })
    }

    /// Writes what is queued, as far as possible without the handle's methods. What is encrypted
    /// passes through `scratch`.
    ///
    /// # Errors
    /// The connection is broken.
    #[inline]
    pub fn write_queued(self, handle: Handle<'_>, scratch: &Scratch) -> Result<Written, WriteError> {
        match self {
            Self::Native { fh, buffer } => handle.write_queued(fh, buffer),
            Self::Tls { fh, buffer } => {
                let Some(write_buffer) = handle.changeable_write_buffer() else { return Ok(Written::ByHandle) };
                scratch.lend(|encrypted| {
                    let is_encrypted = tls::encrypt_queued(handle, buffer, encrypted);
                    let written = handle.write_behind(fh, write_buffer, encrypted)?;
                    Ok(if is_encrypted { written } else { Written::ByHandle })
                })
            }
            Self::PushWrite { frame } if sv::length(frame) == 0 => Ok(Written::All),
            Self::PushWrite { .. } => Ok(Written::ByHandle),
        }
    }
}

/// The source of incoming bytes.
pub enum Source {
    Plain(RawFd),
    Tls(RawFd, Session),
}

impl Source {
    /// Returns the source, or `None` if the handle must read for itself.
    pub fn of(handle: Handle<'_>) -> Option<Self> {
        let fd = handle.fd()?;
        if handle.is_tls() { Session::of(handle).map(|session| Self::Tls(fd, session)) } else { Some(Self::Plain(fd)) }
    }
}
