//! Answers the usual request: one that arrives in one piece, and whose response depends on the request alone.

use super::{Handles, server};
use crate::engine::handshake::Limits;
use crate::xs::conn::perl_subs;
use crate::xs::io::descriptor::{self, Read, WriteError};
use crate::xs::io::handle::Handle;
use crate::xs::perl::ffi::{After, HV, Perl, SV};
use crate::xs::perl::sv;
use std::mem::MaybeUninit;
use std::os::fd::RawFd;
use std::slice;

/// The number of bytes to read at once. Few requests have more.
const READ_SIZE: usize = 2048;

/// The memory for these bytes.
type Buffer = MaybeUninit<[u8; READ_SIZE]>;

/// The result of [`answer`].
pub enum Outcome {
    /// There is no descriptor to read from.
    Unreadable,
    /// Nothing has arrived, or the handle reports the end of file or an error.
    Nothing,
    /// The request was answered.
    Answered,
    /// Writing the response failed with this errno.
    Failed(i32),
    /// Something else has arrived: this string.
    Other(*mut SV),
}

/// Reads from the handle's descriptor, and answers a request that is complete and valid. The state that handles share is kept on the
/// XSUB `sub`.
pub fn answer(
    perl: Perl,
    sub: *mut SV,
    handle: *mut HV,
    (limits, is_strict): (Limits, bool),
    after: &mut After,
) -> Outcome {
    let handles = Handles::on(perl, sub);
    let is_stock = handles.methods.are_stock(perl, handle);
    let handle = Handle::new(perl, &handles.keys, handle);
    let mut buffer = Buffer::uninit();
    let Some(fd) = handle.fd() else { return Outcome::Unreadable };
    let Some(octets) = arriving(handle, fd, &mut buffer, after) else { return Outcome::Nothing };
    let response = server::response(octets, limits, is_strict);
    match response.filter(|_| is_stock && !handle.is_reading() && handle.writes_freely()) {
        Some(response) => write(handle, &response, after),
        None => Outcome::Other(sv::new_string(perl, octets)),
    }
}

/// Reads once.
fn arriving<'a>(handle: Handle<'_>, fd: RawFd, buffer: &'a mut Buffer, after: &mut After) -> Option<&'a [u8]> {
    // SAFETY: the buffer has the room.
    let read = unsafe { descriptor::read(fd, buffer.as_mut_ptr().cast(), READ_SIZE) };
    match read {
        Read::Bytes(count) => {
            handle.note_read();
            // SAFETY: read(2) has initialised these bytes.
            return Some(unsafe { slice::from_raw_parts(buffer.as_ptr().cast(), count) });
        }
        Read::Nothing => {}
        Read::Eof => after.calling(perl_subs::READ_EOF, [handle.reference()]),
        Read::Failed(errno) => {
            let errno = sv::new_number(handle.perl(), errno.unsigned_abs().into());
            after.calling(perl_subs::READ_ERROR, [handle.reference(), errno]);
        }
    }
    None
}

/// Writes the response. The handle writes what the kernel does not take at once.
fn write(handle: Handle<'_>, response: &[u8], after: &mut After) -> Outcome {
    let written = handle.fh().map_or(Ok(0), |fh| handle.write_both(fh, response, b""));
    match written {
        Err(WriteError(errno)) => return Outcome::Failed(errno),
        Ok(count) if count == response.len() => {}
        Ok(count) => {
            let rest = sv::new_string(handle.perl(), &response[count..]);
            after.calling(perl_subs::PUSH_WRITE, [handle.reference(), rest]);
        }
    }
    Outcome::Answered
}
