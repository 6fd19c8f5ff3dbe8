//! Reading from and writing to a descriptor.
//!
//! A socket takes recv(2) and send(2), which do what read(2) and write(2) do, less what the kernel does for files. It says so
//! if it is none: then these do it.

use libc::{c_void, ssize_t};
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
    let start = start.cast::<c_void>();
    // SAFETY: promised by the caller.
    let count = unsafe { or_as_file(libc::recv(fd, start, len, 0), || libc::read(fd, start, len)) };
    match count {
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
    let (start, len) = (octets.as_ptr().cast(), octets.len());
    // SAFETY: a slice's own memory.
    let count = unsafe { or_as_file(libc::send(fd, start, len, 0), || libc::write(fd, start, len)) };
    count.max(0) as usize
}

/// Writes a header and a payload; how many bytes of both the kernel took, 0 if it failed.
pub fn write_vectored(fd: RawFd, header: &[u8], payload: &[u8]) -> usize {
    let slices = [IoSlice::new(header), IoSlice::new(payload)];
    // SAFETY: an IoSlice is an iovec.
    let count = unsafe { libc::writev(fd, slices.as_ptr().cast(), slices.len() as i32) };
    count.max(0) as usize
}

fn or_as_file(count: ssize_t, as_file: impl FnOnce() -> ssize_t) -> ssize_t {
    let is_no_socket = count < 0 && io::Error::last_os_error().raw_os_error() == Some(libc::ENOTSOCK);
    if is_no_socket { as_file() } else { count }
}
