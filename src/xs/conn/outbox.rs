//! Frames that were sent but not written yet. They wait in a buffer of the handle.
//!
//! ```text
//!              queue               Perl code must continue
//!     Empty ──────────> Waiting ─────────────────────────────> Unfinished
//!       ^                 │  │           writing fails
//!       │ all is written  │  └───────────────────────────────> Failed
//!       └─────────────────┘
//! ```
//!
//! Writing can also be tried when the outbox is `Empty`, because the handle's buffer may hold other bytes. `clear`
//! empties it in every state.
//!
//! An `Unfinished` or `Failed` outbox waits until Perl code may run, because only the handle's own methods can
//! continue.

/// A process, as identified by [`fork::generation`](crate::xs::perl::fork::generation).
pub type Process = u32;

/// The progress of writing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Writing {
    #[default]
    Empty,
    Waiting,
    Unfinished,
    /// Writing failed with this errno.
    Failed(i32),
}

/// The buffer of the handle in which frames wait.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Place {
    /// The bytes that are written next.
    #[default]
    WriteBuffer,
    /// The bytes that the TLS session encrypts next.
    Unencrypted,
}

/// The state of a connection's unwritten frames.
#[derive(Debug, Default)]
pub struct Outbox {
    writing: Writing,
    /// The buffer in which the first of the frames waits.
    place: Place,
    /// Length of that buffer before the first of the frames, in bytes.
    mark: usize,
    /// The process that sent the frames. A child that it forks must not write them again.
    process: Process,
}

impl Outbox {
    /// Notes that a frame was appended to a buffer of `mark` bytes.
    pub fn queue(&mut self, place: Place, mark: usize, process: Process) {
        if self.is_empty() {
            *self = Self { writing: Writing::Waiting, place, mark, process };
        }
    }

    /// Returns `true` if a frame that waits in `place` will be written after those that wait already.
    pub fn may_wait_in(&self, place: Place) -> bool {
        self.is_empty() || self.waits_in(place)
    }

    /// Returns `true` if frames wait, and all of them in `place`.
    pub fn waits_in(&self, place: Place) -> bool {
        self.writing == Writing::Waiting && self.place == place
    }

    /// Notes that the frames were encrypted, into a write buffer that held `mark` bytes.
    pub fn note_encrypted(&mut self, mark: usize) {
        self.place = Place::WriteBuffer;
        self.mark = mark;
    }

    /// Returns `true` if nothing has to be written.
    pub fn is_empty(&self) -> bool {
        self.writing == Writing::Empty
    }

    /// Returns `true` if frames that this process sent are waiting.
    pub fn has_frames_of(&self, process: Process) -> bool {
        !self.is_empty() && self.process == process
    }

    /// Returns `true` if writing can be tried without running Perl code.
    pub fn may_try(&self) -> bool {
        matches!(self.writing, Writing::Empty | Writing::Waiting)
    }

    /// Returns the errno with which writing failed.
    pub fn error(&self) -> Option<i32> {
        match self.writing {
            Writing::Failed(errno) => Some(errno),
            _ => None,
        }
    }

    /// Forgets the frames that a parent of this process sent, because the parent writes them. Returns the buffer in which
    /// they wait, and the length in bytes to which it must be cut.
    pub fn forget_inherited(&mut self, process: Process) -> Option<(Place, usize)> {
        let is_inherited = !self.is_empty() && self.process != process;
        is_inherited.then(|| {
            self.clear();
            (self.place, self.mark)
        })
    }

    /// Notes that everything was written, or that something else will write it. Returns `true` if frames were waiting.
    pub fn clear(&mut self) -> bool {
        let waited = !self.is_empty();
        self.writing = Writing::Empty;
        waited
    }

    /// Notes the result of writing without Perl code: `Ok(true)` if Perl code need not continue, `Ok(false)` if it must,
    /// or an errno.
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
