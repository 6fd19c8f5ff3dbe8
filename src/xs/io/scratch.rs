//! Buffers that the connections of an interpreter share.

use std::cell::Cell;

/// Size of a shared buffer, in bytes.
pub const SIZE: usize = 128 * 1024;

/// The place of a shared buffer while nothing uses it.
#[derive(Default)]
pub struct Scratch(Cell<Option<Vec<u8>>>);

impl Scratch {
    /// Takes the buffer, which is empty. If something else uses it, returns a vector without memory.
    pub fn take(&self) -> Vec<u8> {
        self.0.take().unwrap_or_default()
    }

    /// Gives back the buffer. Another one, or one that has grown, is freed.
    pub fn give_back(&self, mut bytes: Vec<u8>) {
        bytes.clear();
        if bytes.capacity() == SIZE {
            self.0.set(Some(bytes));
        }
    }

    /// Lends the buffer to `work`.
    pub fn lend<R>(&self, work: impl FnOnce(&mut Vec<u8>) -> R) -> R {
        let mut bytes = self.take();
        bytes.reserve_exact(SIZE);
        let result = work(&mut bytes);
        self.give_back(bytes);
        result
    }
}
