//! Frames that have been sent, and are not written yet: they wait in a buffer of the handle.
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

/// The buffers of the handle in which frames wait.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Place {
    /// What the kernel gets next.
    #[default]
    WriteBuffer,
    /// What the TLS session encrypts next.
    Unencrypted,
}

/// What a connection has to write.
#[derive(Debug, Default)]
pub struct Outbox {
    writing: Writing,
    /// Where the first frame waits.
    place: Place,
    /// Length of that buffer before the first frame, bytes.
    mark: usize,
    /// The process in which the frames were sent. A child that it forks must not write them a second time.
    process: Process,
}

impl Outbox {
    /// A frame was appended to a buffer of this many bytes.
    pub fn queue(&mut self, place: Place, mark: usize, process: Process) {
        if self.is_empty() {
            *self = Self { writing: Writing::Waiting, place, mark, process };
        }
    }

    /// Returns `true` if a frame that waits in this buffer comes behind those that wait already.
    pub fn may_wait_in(&self, place: Place) -> bool {
        self.is_empty() || self.waits_in(place)
    }

    /// Returns `true` if all frames wait in this buffer.
    pub fn waits_in(&self, place: Place) -> bool {
        self.writing == Writing::Waiting && self.place == place
    }

    /// The frames were encrypted, into a write buffer of this many bytes.
    pub fn note_encrypted(&mut self, mark: usize) {
        self.place = Place::WriteBuffer;
        self.mark = mark;
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

    /// Forgets frames that a parent of this process sent, which are the parent's to write. Returns the buffer in which they
    /// are, and how many of its bytes to keep.
    pub fn forget_inherited(&mut self, process: Process) -> Option<(Place, usize)> {
        let is_inherited = !self.is_empty() && self.process != process;
        is_inherited.then(|| {
            self.clear();
            (self.place, self.mark)
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
        *self = Self { writing, place: Place::WriteBuffer, mark: 0, process };
    }
}

#[cfg(test)]
mod tests {
    use super::Place::*;
    use super::*;

    const PARENT: Process = 7;
    const CHILD: Process = 8;

    #[test]
    fn frames_wait_until_they_are_written() {
        let mut outbox = Outbox::default();
        assert!(outbox.is_empty() && outbox.may_try());
        outbox.queue(WriteBuffer, 10, PARENT);
        outbox.queue(WriteBuffer, 30, PARENT);
        assert!(!outbox.is_empty() && outbox.may_try());
        assert!(outbox.clear());
        assert!(outbox.is_empty());
        assert!(!outbox.clear());
    }

    #[test]
    fn what_the_kernel_did_not_take_is_not_tried_again_without_perl() {
        let mut outbox = Outbox::default();
        outbox.queue(WriteBuffer, 0, PARENT);
        outbox.note_attempt(Ok(false), PARENT);
        assert!(!outbox.may_try());
        outbox.queue(WriteBuffer, 99, PARENT);
        assert!(!outbox.may_try());
        assert_eq!(outbox.error(), None);
        outbox.note_attempt(Ok(true), PARENT);
        assert!(outbox.is_empty());
    }

    #[test]
    fn a_failure_is_remembered() {
        let mut outbox = Outbox::default();
        outbox.queue(WriteBuffer, 0, PARENT);
        outbox.note_attempt(Err(32), PARENT);
        outbox.queue(WriteBuffer, 5, PARENT);
        assert_eq!(outbox.error(), Some(32));
        assert!(!outbox.may_try());
    }

    #[test]
    fn a_child_forgets_its_parent_s_frames_and_keeps_what_was_there_before() {
        let mut outbox = Outbox::default();
        assert_eq!(outbox.forget_inherited(CHILD), None);
        outbox.queue(WriteBuffer, 10, PARENT);
        assert_eq!(outbox.forget_inherited(PARENT), None);
        assert!(outbox.has_frames_of(PARENT) && !outbox.has_frames_of(CHILD));
        assert_eq!(outbox.forget_inherited(CHILD), Some((WriteBuffer, 10)));
        assert!(outbox.is_empty());
        outbox.queue(WriteBuffer, 3, CHILD);
        assert!(outbox.has_frames_of(CHILD));
        assert_eq!(outbox.forget_inherited(CHILD), None);
    }

    #[test]
    fn a_child_forgets_all_of_what_its_parent_has_tried_to_write() {
        for result in [Ok(false), Err(32)] {
            let mut outbox = Outbox::default();
            outbox.queue(WriteBuffer, 10, PARENT);
            outbox.note_attempt(result, PARENT);
            assert_eq!(outbox.forget_inherited(CHILD), Some((WriteBuffer, 0)));
            assert_eq!(outbox.error(), None);
        }
    }

    #[test]
    fn unencrypted_frames_keep_their_order() {
        let mut outbox = Outbox::default();
        assert!(outbox.may_wait_in(Unencrypted) && !outbox.waits_in(Unencrypted));
        outbox.queue(Unencrypted, 4, PARENT);
        assert!(outbox.may_wait_in(Unencrypted) && !outbox.may_wait_in(WriteBuffer));
        outbox.note_encrypted(20);
        assert!(!outbox.may_wait_in(Unencrypted), "one that waits to be encrypted would be written behind later ones");
        assert!(outbox.waits_in(WriteBuffer));
        assert_eq!(outbox.forget_inherited(CHILD), Some((WriteBuffer, 20)));
        outbox.queue(Unencrypted, 4, PARENT);
        assert_eq!(outbox.forget_inherited(CHILD), Some((Unencrypted, 4)));
    }
}
