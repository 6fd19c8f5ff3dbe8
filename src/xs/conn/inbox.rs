//! The buffer for bytes that have arrived.

use crate::xs::io::descriptor::{self, Read};
use crate::xs::io::scratch::{self, Scratch};
use std::os::fd::RawFd;

/// Maximum number of bytes read per readiness event, so that one fast peer cannot starve the event loop.
pub const READ_SIZE: usize = scratch::SIZE;

/// The bytes received but not yet parsed. Between dispatches it is mostly empty, and then holds no memory.
#[derive(Default)]
pub struct Inbox {
    bytes: Vec<u8>,
    start: usize,
}

impl Inbox {
    /// Returns the unparsed bytes.
    pub fn unread_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[self.start..]
    }

    /// Returns the unparsed bytes.
    pub fn unread(&self) -> &[u8] {
        &self.bytes[self.start..]
    }

    /// Marks all but the last `len` bytes as parsed.
    pub fn keep_last(&mut self, len: usize) {
        self.start = self.bytes.len() - len;
    }

    /// Copies the unparsed bytes to memory of their own, and gives back the shared read buffer.
    #[inline]
    pub fn detach(&mut self, scratch: &Scratch) {
        let unread = self.unread().to_vec();
        self.clear(scratch);
        self.bytes = unread;
    }

    /// Appends bytes.
    pub fn append(&mut self, scratch: &Scratch, bytes: &[u8]) {
        self.make_room(scratch);
        self.bytes.extend_from_slice(bytes);
    }

    /// Appends the bytes that `decrypt` adds to the vector.
    pub fn decrypt_into<R>(&mut self, scratch: &Scratch, decrypt: impl FnOnce(&mut Vec<u8>) -> R) -> R {
        self.make_room(scratch);
        if self.bytes.capacity() == 0 {
            self.bytes.reserve_exact(READ_SIZE);
        }
        decrypt(&mut self.bytes)
    }

    /// Takes the shared read buffer if the inbox is empty; if another inbox has it, starts a new buffer.
    fn make_room(&mut self, scratch: &Scratch) {
        if self.unread().is_empty() {
            self.clear(scratch);
            self.bytes = scratch.take();
        }
    }

    /// Discards all bytes, and gives back the shared read buffer.
    pub fn clear(&mut self, scratch: &Scratch) {
        self.start = 0;
        scratch.give_back(std::mem::take(&mut self.bytes));
    }

    /// Reads once, and appends the bytes.
    pub fn read(&mut self, scratch: &Scratch, fd: RawFd) -> Read {
        self.make_room(scratch);
        self.bytes.reserve_exact(READ_SIZE - self.bytes.len().min(READ_SIZE / 2));
        let spare = self.bytes.spare_capacity_mut();
        let (start, room) = (spare.as_mut_ptr().cast(), spare.len().min(READ_SIZE));
        // SAFETY: `start` is the inbox's own spare memory of at least `room` bytes.
        let read = unsafe { descriptor::read(fd, start, room) };
        if let Read::Bytes(count) = read {
            // SAFETY: read(2) has initialised these bytes.
            unsafe { self.bytes.set_len(self.bytes.len() + count) };
        }
        read
    }
}
