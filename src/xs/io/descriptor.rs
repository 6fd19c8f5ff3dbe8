//! Reading from and writing to a descriptor.

use crate::xs::perl::ffi;
use std::os::fd::RawFd;

/// What came of reading.
pub enum Read {
    /// So many bytes.
    Bytes(usize),
    /// Nothing now.
    Nothing,
    /// The peer will send no more.
    Eof,
    /// It failed, with this errno.
    Failed(i32),
}

/// What a system call on a descriptor came to.
enum Outcome {
    Done(usize),
    /// Nothing can be done now.
    Blocked,
    /// It failed, with this errno.
    Failed(i32),
}

impl Outcome {
    /// `returned` is a count, or a negative errno.
    fn of(returned: isize) -> Self {
        match usize::try_from(returned) {
            Ok(count) => Self::Done(count),
            Err(_) => match -returned as i32 {
                libc::EAGAIN | libc::EINTR => Self::Blocked,
                errno => Self::Failed(errno),
            },
        }
    }
}

/// Reads into uninitialised memory.
///
/// # Safety
/// `start` has room for `len` bytes.
pub unsafe fn read(fd: RawFd, start: *mut u8, len: usize) -> Read {
    // SAFETY: promised by the caller.
    match Outcome::of(unsafe { ffi::ws_read(fd, start.cast(), len) }) {
        Outcome::Done(0) => Read::Eof,
        Outcome::Done(count) => Read::Bytes(count),
        Outcome::Blocked => Read::Nothing,
        Outcome::Failed(errno) => Read::Failed(errno),
    }
}

/// The packed addresses of a socket's peer and of its own end, one after the other, and the length of the first. Empty are
/// those of what is no socket.
pub fn addresses(fd: RawFd) -> (Box<[u8]>, usize) {
    let (mut out, mut len) = ([0u8; ffi::ADDRESSES_SIZE], [0; 2]);
    // SAFETY: `out` is as large as it has to be.
    unsafe { ffi::ws_addresses(fd, out.as_mut_ptr().cast(), len.as_mut_ptr()) };
    (out[..len[0] + len[1]].into(), len[0])
}

/// An errno with which writing has failed for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WriteError(pub i32);

/// Writes octets. Returns how many of them the kernel took.
///
/// # Errors
/// The connection is broken.
pub fn write(fd: RawFd, octets: &[u8]) -> Result<usize, WriteError> {
    // SAFETY: a slice's own memory.
    written(unsafe { ffi::ws_write(fd, octets.as_ptr().cast(), octets.len()) })
}

/// Writes a header and a payload. Returns how many bytes of both the kernel took.
///
/// # Errors
/// The connection is broken.
pub fn write_both(fd: RawFd, header: &[u8], payload: &[u8]) -> Result<usize, WriteError> {
    let (header, header_len) = (header.as_ptr().cast(), header.len());
    // SAFETY: slices' own memory.
    written(unsafe { ffi::ws_write_both(fd, header, header_len, payload.as_ptr().cast(), payload.len()) })
}

fn written(returned: isize) -> Result<usize, WriteError> {
    match Outcome::of(returned) {
        Outcome::Done(count) => Ok(count),
        Outcome::Blocked => Ok(0),
        Outcome::Failed(errno) => Err(WriteError(errno)),
    }
}
