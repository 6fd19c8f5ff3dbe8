//! System calls on a descriptor.

use crate::xs::perl::ffi;
use std::os::fd::RawFd;

/// The result of reading.
pub enum Read {
    /// The number of bytes read, at least 1.
    Bytes(usize),
    /// Nothing can be read now.
    Nothing,
    /// The peer will send nothing more.
    Eof,
    /// Reading failed with this errno.
    Failed(i32),
}

impl Read {
    /// Interprets `returned`, which is a count or a negative errno.
    fn of(returned: isize) -> Self {
        match SyscallResult::of(returned) {
            SyscallResult::Done(0) => Self::Eof,
            SyscallResult::Done(count) => Self::Bytes(count),
            SyscallResult::Blocked => Self::Nothing,
            SyscallResult::Failed(errno) => Self::Failed(errno),
        }
    }
}

/// The result of a system call.
enum SyscallResult {
    Done(usize),
    /// The call would block, or was interrupted.
    Blocked,
    /// The call failed with this errno.
    Failed(i32),
}

impl SyscallResult {
    /// Interprets `returned`, which is a count or a negative errno.
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

/// Reads into memory that need not be initialised.
///
/// # Safety
/// `start` has room for `len` bytes.
pub unsafe fn read(fd: RawFd, start: *mut u8, len: usize) -> Read {
    // SAFETY: the caller guarantees the room.
    Read::of(unsafe { ffi::ws_read(fd, start.cast(), len) })
}

/// The packed addresses of a socket's two ends. They are empty if the descriptor is not a socket.
#[derive(Default)]
pub struct Addresses {
    /// The peer's address, and then that of the socket itself.
    octets: Box<[u8]>,
    peer_len: usize,
}

impl Addresses {
    /// Returns the peer's address.
    pub fn peer(&self) -> &[u8] {
        &self.octets[..self.peer_len]
    }

    /// Returns the socket's own address.
    pub fn local(&self) -> &[u8] {
        &self.octets[self.peer_len..]
    }
}

/// Returns the addresses of a socket.
pub fn addresses(fd: RawFd) -> Addresses {
    let (mut out, mut len) = ([0u8; ffi::ADDRESSES_SIZE], [0; 2]);
    // SAFETY: `out` has the size that `ws_addresses` expects.
    unsafe { ffi::ws_addresses(fd, out.as_mut_ptr().cast(), len.as_mut_ptr()) };
    Addresses { octets: out[..len[0] + len[1]].into(), peer_len: len[0] }
}

/// Makes a descriptor nonblocking, and out-of-band data a part of the stream. Returns `false`, and does nothing, if it is a
/// socket that is no stream.
pub fn prepare_stream(fd: RawFd) -> bool {
    // SAFETY: the system checks the descriptor.
    unsafe { ffi::ws_prepare_stream(fd) }
}

/// Ends the stream to the peer.
pub fn shut_down(fd: RawFd) {
    // SAFETY: the system checks the descriptor.
    unsafe { ffi::ws_shut_down(fd) };
}

/// Makes the kernel hold back what is written, so that it travels in one packet with the end of the stream; or stops that.
pub fn hold_packets(fd: RawFd, holds: bool) {
    // SAFETY: the system checks the descriptor.
    unsafe { ffi::ws_hold_packets(fd, holds) };
}

/// Finds out what reading from a socket would return. A pending error is reported only once: the caller must not drop it.
pub fn peek(fd: RawFd) -> Read {
    // SAFETY: the system checks the descriptor.
    Read::of(unsafe { ffi::ws_peek(fd) })
}

/// The errno with which writing failed for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WriteError(pub i32);

/// Writes bytes. Returns the number of bytes that the kernel took.
///
/// # Errors
/// The connection is broken.
pub fn write(fd: RawFd, octets: &[u8]) -> Result<usize, WriteError> {
    // SAFETY: the slice is passed with its length.
    written(unsafe { ffi::ws_write(fd, octets.as_ptr().cast(), octets.len()) })
}

/// Writes a header and a payload. Returns how many bytes of both together the kernel took.
///
/// # Errors
/// The connection is broken.
pub fn write_both(fd: RawFd, header: &[u8], payload: &[u8]) -> Result<usize, WriteError> {
    let (header, header_len) = (header.as_ptr().cast(), header.len());
    // SAFETY: both slices are passed with their lengths.
    written(unsafe { ffi::ws_write_both(fd, header, header_len, payload.as_ptr().cast(), payload.len()) })
}

fn written(returned: isize) -> Result<usize, WriteError> {
    match SyscallResult::of(returned) {
        SyscallResult::Done(count) => Ok(count),
        SyscallResult::Blocked => Ok(0),
        SyscallResult::Failed(errno) => Err(WriteError(errno)),
    }
}
