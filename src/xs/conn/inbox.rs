//! Bytes that have arrived.

use crate::xs::io::descriptor::{self, Read};
use std::os::fd::RawFd;

/// At most this much is read per readiness, bytes, so that one fast peer cannot starve the loop.
pub const READ_SIZE: usize = 128 * 1024;

/// Where the common read buffer is while nobody has it.
type Scratch = std::cell::Cell<Option<Vec<u8>>>;

/// Bytes that have arrived and not been looked at; between dispatches mostly empty, and then without memory.
#[derive(Default)]
pub struct Inbox {
    bytes: Vec<u8>,
    start: usize,
}

impl Inbox {
    /// What is left.
    pub fn rest_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[self.start..]
    }

    /// What is left.
    pub fn rest(&self) -> &[u8] {
        &self.bytes[self.start..]
    }

    /// Keeps the last `len` bytes.
    pub fn keep_last(&mut self, len: usize) {
        self.start = self.bytes.len() - len;
    }

    /// Has what is left wait in memory of its own.
    pub fn keep_rest(&mut self, scratch: &Scratch) {
        if !self.rest().is_empty() {
            let rest = self.rest().to_vec();
            self.clear(scratch);
            self.bytes = rest;
        }
    }

    /// Adds bytes behind those that are there.
    pub fn append(&mut self, scratch: &Scratch, bytes: &[u8]) {
        self.make_room(scratch);
        self.bytes.extend_from_slice(bytes);
    }

    /// Adds what `decrypt` appends behind the bytes that are there.
    pub fn decrypt_into<R>(&mut self, scratch: &Scratch, decrypt: impl FnOnce(&mut Vec<u8>) -> R) -> R {
        self.make_room(scratch);
        decrypt(&mut self.bytes)
    }

    /// Takes the common read buffer, unless there are bytes here, or another dispatch has it.
    fn make_room(&mut self, scratch: &Scratch) {
        if self.rest().is_empty() {
            self.clear(scratch);
            self.bytes = scratch.take().unwrap_or_default();
        }
    }

    /// Discards what is left, and gives the read buffer back.
    pub fn clear(&mut self, scratch: &Scratch) {
        let mut bytes = std::mem::take(&mut self.bytes);
        self.start = 0;
        bytes.clear();
        if bytes.capacity() == READ_SIZE {
            scratch.set(Some(bytes));
        }
    }

    /// Reads once, behind the bytes that are there.
    pub fn read(&mut self, scratch: &Scratch, fd: RawFd) -> Read {
        self.make_room(scratch);
        self.bytes.reserve_exact(READ_SIZE - self.bytes.len().min(READ_SIZE / 2));
        let spare = self.bytes.spare_capacity_mut();
        let (start, room) = (spare.as_mut_ptr().cast(), spare.len().min(READ_SIZE));
        // SAFETY: `room` bytes at `start` are ours.
        let read = unsafe { descriptor::read(fd, start, room) };
        if let Read::Bytes(count) = read {
            // SAFETY: read(2) has initialised them.
            unsafe { self.bytes.set_len(self.bytes.len() + count) };
        }
        read
    }
}
