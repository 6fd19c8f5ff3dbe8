//! Memory for message bodies.

use super::ffi::{self, Perl, SV};
use crate::engine::MessageBuffer;
use std::cell::RefCell;
use std::ptr::null_mut;
use std::slice;

/// Maximum size, in bytes, of the memory that an interpreter recycles.
const MAX_SPARE_MEMORY: usize = 8 * 1024 * 1024;
/// Maximum number of recycled buffers; each large message searches them.
const MAX_SPARES: usize = 64;
/// A message's memory is at most this many times its length.
const MAX_SLACK: usize = 2;

/// Recycles the memory of large messages, so that the kernel need not map and zero fresh pages for each. There is one
/// pool per interpreter, because perl may account for memory per interpreter.
#[derive(Default)]
pub struct SpareBuffers(RefCell<Vec<PerlBuffer>>);

impl SpareBuffers {
    /// Takes the memory of a plain string that has no other owner; if the pool is full, it frees the oldest buffers.
    pub fn keep_memory_of(&self, sv: *mut SV) {
        let mut capacity = 0;
        // SAFETY: callers pass a plain string of their own, whose memory came from perl's allocator.
        let start = unsafe { ffi::ws_take_buffer(sv, &raw mut capacity) };
        let buffer = PerlBuffer { start: start.cast(), len: 0, capacity };
        let mut spares = self.0.borrow_mut();
        spares.push(buffer);
        let is_too_much = |spares: &[PerlBuffer]| {
            spares.len() > MAX_SPARES || spares.iter().map(|spare| spare.capacity).sum::<usize>() > MAX_SPARE_MEMORY
        };
        while is_too_much(&spares) {
            spares.remove(0);
        }
    }

    /// Makes room for `extra` bytes in `buffer`, or for all `missing` bytes if a recycled buffer is large enough.
    pub fn reserve(&self, buffer: &mut PerlBuffer, extra: usize, missing: usize) {
        if buffer.len + extra < buffer.capacity {
            return;
        }
        match self.take(buffer.len.saturating_add(missing).saturating_add(1)) {
            Some(mut spare) => {
                spare.extend_from_slice(buffer.as_mut_slice());
                *buffer = spare;
            }
            None => buffer.reserve(extra),
        }
    }

    fn take(&self, needed: usize) -> Option<PerlBuffer> {
        let mut spares = self.0.borrow_mut();
        let fits = |spare: &PerlBuffer| (needed..=needed.saturating_mul(MAX_SLACK)).contains(&spare.capacity);
        let (index, _) = spares.iter().enumerate().filter(|(_, s)| fits(s)).min_by_key(|(_, s)| s.capacity)?;
        Some(spares.swap_remove(index))
    }
}

/// A growing message in memory from perl's allocator, which becomes a scalar without a copy.
#[derive(Debug)]
pub struct PerlBuffer {
    start: *mut u8,
    len: usize,
    capacity: usize,
}

impl Default for PerlBuffer {
    fn default() -> Self {
        Self { start: null_mut(), len: 0, capacity: 0 }
    }
}

impl PerlBuffer {
    /// Makes room for `extra` bytes and for the NUL that ends a Perl string.
    pub fn reserve(&mut self, extra: usize) {
        let needed = self.len.checked_add(extra).and_then(|n| n.checked_add(1)).expect("fits the address space");
        if needed <= self.capacity {
            return;
        }
        self.capacity = needed.max(self.capacity.saturating_mul(2)).max(64);
        // SAFETY: `start` is null or came from the same allocator.
        self.start = unsafe { ffi::ws_realloc(self.start.cast(), self.capacity).cast() };
    }

    /// Returns the length of the message, in bytes.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Returns the address and size of the reserved memory after the message, for read(2).
    pub fn spare(&mut self) -> (*mut u8, usize) {
        // SAFETY: the result is within the allocation.
        let start = if self.start.is_null() { null_mut() } else { unsafe { self.start.add(self.len) } };
        (start, self.capacity.saturating_sub(self.len + 1))
    }

    /// Counts `count` bytes of the spare memory as part of the message.
    ///
    /// # Safety
    /// They are initialised.
    pub unsafe fn add_len(&mut self, count: usize) {
        self.len += count;
        assert!(self.len < self.capacity);
    }

    /// Turns the message into a Perl string that takes over the memory.
    pub fn into_sv(mut self, perl: Perl) -> *mut SV {
        self.reserve(0);
        self.trim();
        // SAFETY: `start` has `len` initialised bytes and room for the NUL; the scalar takes it over.
        unsafe {
            *self.start.add(self.len) = 0;
            let start = std::mem::replace(&mut self.start, null_mut());
            ffi::ws_new_string_in(perl, start.cast(), self.len, self.capacity)
        }
    }

    /// Shrinks the memory if it is much larger than the message, which the program may keep for long.
    fn trim(&mut self) {
        let needed = self.len + 1;
        if self.capacity > needed.saturating_mul(MAX_SLACK).max(64) {
            // SAFETY: `start` came from the same allocator; initialised bytes are kept.
            self.start = unsafe { ffi::ws_realloc(self.start.cast(), needed).cast() };
            self.capacity = needed;
        }
    }
}

impl MessageBuffer for PerlBuffer {
    fn extend_from_slice(&mut self, payload: &[u8]) {
        self.reserve(payload.len());
        // SAFETY: room was reserved, and `payload` does not overlap it.
        unsafe {
            self.start.add(self.len).copy_from_nonoverlapping(payload.as_ptr(), payload.len());
            self.add_len(payload.len());
        }
    }

    fn as_mut_slice(&mut self) -> &mut [u8] {
        if self.len == 0 {
            return &mut [];
        }
        // SAFETY: the first `len` bytes are initialised, and this buffer owns them.
        unsafe { slice::from_raw_parts_mut(self.start, self.len) }
    }
}

impl Drop for PerlBuffer {
    fn drop(&mut self) {
        // SAFETY: `start` is null, or memory from this allocator that nothing else owns.
        unsafe { ffi::ws_free(self.start.cast()) };
    }
}
