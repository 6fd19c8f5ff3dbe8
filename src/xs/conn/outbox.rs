//! Frames that have been sent, and are not written yet: they wait in the handle's write buffer.
//!
//! ```text
//!              queue                 the kernel takes a part
//!     Empty ──────────> Waiting ─────────────────────────────> Unfinished
//!       ^                 │  │           writing fails
//!       │ all is written  │  └───────────────────────────────> Failed
//!       └─────────────────┘
//! ```
//!
//! An `Unfinished` or `Failed` outbox waits until Perl code may run, as the handle's own methods have to go on from there.

/// A process, as [`fork::generation`](crate::xs::perl::fork::generation) tells it from its children.
pub type Process = u32;

/// How far writing has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Writing {
    #[default]
    Empty,
    Waiting,
    Unfinished,
    /// With this errno.
    Failed(i32),
}

/// What a connection has to write.
#[derive(Debug, Default)]
pub struct Outbox {
    writing: Writing,
    /// Length of the handle's buffer before the first frame, bytes.
    mark: usize,
    /// The process in which the frames were sent. A child that it forks must not write them a second time.
    process: Process,
}

impl Outbox {
    /// A frame was appended to a buffer of this many bytes.
    pub fn queue(&mut self, mark: usize, process: Process) {
        if self.is_empty() {
            *self = Self { writing: Writing::Waiting, mark, process };
        }
    }

    /// Returns `true` if nothing is to be written.
    pub fn is_empty(&self) -> bool {
        self.writing == Writing::Empty
    }

    /// Returns `true` if frames wait that were sent in this process.
    pub fn has_frames_of(&self, process: Process) -> bool {
        !self.is_empty() && self.process == process
    }

    /// Returns `true` if writing may be tried without Perl code.
    pub fn may_try(&self) -> bool {
        matches!(self.writing, Writing::Empty | Writing::Waiting)
    }

    /// Returns the errno with which writing has failed.
    pub fn error(&self) -> Option<i32> {
        match self.writing {
            Writing::Failed(errno) => Some(errno),
            _ => None,
        }
    }

    /// Forgets frames that a parent of this process sent, which are the parent's to write. Returns how many bytes of the
    /// handle's buffer are to be kept.
    pub fn forget_inherited(&mut self, process: Process) -> Option<usize> {
        let is_inherited = !self.is_empty() && self.process != process;
        is_inherited.then(|| {
            self.clear();
            self.mark
        })
    }

    /// All is written, or somebody else's to write. Returns `true` if frames were waiting.
    pub fn clear(&mut self) -> bool {
        let waited = !self.is_empty();
        self.writing = Writing::Empty;
        waited
    }

    /// Writing was tried without Perl code: `Ok(true)` if all was taken, `Ok(false)` if Perl code has to go on, or else an
    /// errno.
    pub fn note_attempt(&mut self, result: Result<bool, i32>, process: Process) {
        let writing = match result {
            Ok(true) => Writing::Empty,
            Ok(false) => Writing::Unfinished,
            Err(errno) => Writing::Failed(errno),
        };
        *self = Self { writing, mark: 0, process };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARENT: Process = 7;
    const CHILD: Process = 8;

    #[test]
    fn frames_wait_until_they_are_written() {
        let mut outbox = Outbox::default();
        assert!(outbox.is_empty() && outbox.may_try());
        outbox.queue(10, PARENT);
        outbox.queue(30, PARENT);
        assert!(!outbox.is_empty() && outbox.may_try());
        assert!(outbox.clear());
        assert!(outbox.is_empty());
        assert!(!outbox.clear());
    }

    #[test]
    fn what_the_kernel_did_not_take_is_not_tried_again_without_perl() {
        let mut outbox = Outbox::default();
        outbox.queue(0, PARENT);
        outbox.note_attempt(Ok(false), PARENT);
        assert!(!outbox.may_try());
        outbox.queue(99, PARENT);
        assert!(!outbox.may_try());
        assert_eq!(outbox.error(), None);
        outbox.note_attempt(Ok(true), PARENT);
        assert!(outbox.is_empty());
    }

    #[test]
    fn a_failure_is_remembered() {
        let mut outbox = Outbox::default();
        outbox.queue(0, PARENT);
        outbox.note_attempt(Err(32), PARENT);
        outbox.queue(5, PARENT);
        assert_eq!(outbox.error(), Some(32));
        assert!(!outbox.may_try());
    }

    #[test]
    fn a_child_forgets_its_parent_s_frames_and_keeps_what_was_there_before() {
        let mut outbox = Outbox::default();
        assert_eq!(outbox.forget_inherited(CHILD), None);
        outbox.queue(10, PARENT);
        assert_eq!(outbox.forget_inherited(PARENT), None);
        assert!(outbox.has_frames_of(PARENT) && !outbox.has_frames_of(CHILD));
        assert_eq!(outbox.forget_inherited(CHILD), Some(10));
        assert!(outbox.is_empty());
        outbox.queue(3, CHILD);
        assert!(outbox.has_frames_of(CHILD));
        assert_eq!(outbox.forget_inherited(CHILD), None);
    }

    #[test]
    fn a_child_forgets_all_of_what_its_parent_has_tried_to_write() {
        for result in [Ok(false), Err(32)] {
            let mut outbox = Outbox::default();
            outbox.queue(10, PARENT);
            outbox.note_attempt(result, PARENT);
            assert_eq!(outbox.forget_inherited(CHILD), Some(0));
            assert_eq!(outbox.error(), None);
        }
    }
}
