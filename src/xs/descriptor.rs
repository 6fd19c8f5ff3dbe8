//! Reading from and writing to a descriptor.

use super::ffi;
use std::io::{self, IoSlice};
use std::os::fd::RawFd;

/// What came of reading.
pub enum Read {
    /// So many bytes.
    Bytes(usize),
    /// Nothing now.
    Nothing,
    /// The peer will send no more.
    Eof,
    /// Bytes, behind which the TLS session ends, or has something other than data to say.
    TlsEnd,
    /// It failed, with this errno.
    Failed(i32),
}

/// Reads into uninitialised memory.
///
/// # Safety
/// `start` has room for `len` bytes.
pub unsafe fn read(fd: RawFd, start: *mut u8, len: usize) -> Read {
    // SAFETY: promised by the caller.
    match unsafe { ffi::ws_read(fd, start.cast(), len) } {
        0 => Read::Eof,
        count @ 1.. => Read::Bytes(count as usize),
        _ => match io::Error::last_os_error().raw_os_error() {
            Some(libc::EAGAIN | libc::EINTR) => Read::Nothing,
            errno => Read::Failed(errno.unwrap_or_default()),
        },
    }
}

/// Writes octets; how many of them the kernel took, 0 if it failed.
pub fn write(fd: RawFd, octets: &[u8]) -> usize {
    // SAFETY: a slice's own memory.
    let count = unsafe { ffi::ws_write(fd, octets.as_ptr().cast(), octets.len()) };
    count.max(0) as usize
}

/// Writes a header and a payload; how many bytes of both the kernel took, 0 if it failed.
pub fn write_vectored(fd: RawFd, header: &[u8], payload: &[u8]) -> usize {
    let slices = [IoSlice::new(header), IoSlice::new(payload)];
    // SAFETY: an IoSlice is an iovec.
    let count = unsafe { libc::writev(fd, slices.as_ptr().cast(), slices.len() as i32) };
    count.max(0) as usize
}
