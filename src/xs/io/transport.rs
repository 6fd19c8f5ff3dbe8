//! How bytes come from the peer and go to it: by way of the descriptor, of the handle's TLS session, or of the handle's own
//! methods.

use super::descriptor::WriteError;
use super::handle::{Handle, Written};
use super::tls::{self, Session};
use crate::xs::perl::ffi::SV;
use crate::xs::perl::sv;
use std::os::fd::RawFd;

/// How outgoing bytes leave.
#[derive(Clone, Copy)]
pub enum Route {
    /// Append to the handle's write buffer, then write(2) to the file handle.
    Native { fh: *mut SV, buffer: *mut SV },
    /// Append to the handle's buffer of what is to be encrypted, then encrypt, and write(2) to the file handle.
    Tls { fh: *mut SV, buffer: *mut SV },
    /// Call its `push_write` with this string of ours.
    PushWrite { frame: *mut SV },
}

impl Route {
    /// The way through a handle; `is_usual` if its methods are AnyEvent::Handle's own.
    pub fn of(handle: Handle<'_>, is_usual: bool) -> Self {
        let native = || {
            let fh = handle.fh()?;
            match handle.is_tls() {
                true => handle.plain_buffer().map(|buffer| Self::Tls { fh, buffer }),
                false => handle.write_buffer().map(|buffer| Self::Native { fh, buffer }),
            }
        };
        let route = if is_usual { native() } else { None };
        route.unwrap_or_else(|| Self::PushWrite { frame: sv::new_mortal_string(handle.perl()) })
    }

    /// The buffer that frames are appended to.
    pub fn buffer(self) -> *mut SV {
        match self {
            Self::Native { buffer, .. } | Self::Tls { buffer, .. } => buffer,
            Self::PushWrite { frame } => frame,
        }
    }

    /// Returns `true` if the handle's methods do it all.
    pub fn is_foreign(self) -> bool {
        matches!(self, Self::PushWrite { .. })
    }

    /// Writes what is queued, as far as that takes none of the handle's methods.
    ///
    /// # Errors
    /// The connection is broken.
    pub fn write_queued(self, handle: Handle<'_>) -> Result<Written, WriteError> {
        match self {
            Self::Native { fh, buffer } => handle.write_queued(fh, buffer),
            Self::Tls { fh, buffer } => {
                let is_encrypted = tls::encrypt_queued(handle, buffer);
                let buffer = handle.write_buffer();
                let written = buffer.map_or(Ok(Written::All), |buffer| handle.write_queued(fh, buffer))?;
                Ok(if is_encrypted { written } else { Written::ByHandle })
            }
            Self::PushWrite { frame } if sv::length(frame) == 0 => Ok(Written::All),
            Self::PushWrite { .. } => Ok(Written::ByHandle),
        }
    }
}

/// Where bytes come from.
pub enum Source {
    Plain(RawFd),
    Tls(RawFd, Session),
}

impl Source {
    /// Where they can be read natively; `None` if the handle has to read for itself.
    pub fn of(handle: Handle<'_>) -> Option<Self> {
        let fd = handle.fd()?;
        if handle.is_tls() { Session::of(handle).map(|session| Self::Tls(fd, session)) } else { Some(Self::Plain(fd)) }
    }
}
