//! When messages are delivered, and which frames may wait for one another.
//!
//! A dispatch delivers what has been read, message by message. As long as another whole frame is buffered, it is a *burst*:
//! replies wait for those to the messages behind theirs, so that they leave together. Waiting must not hurt:
//!
//! * a frame waits only if callbacks of this connection have been quick lately, and only until a deadline;
//! * the caller adds that sending the frame was the last thing its callback did;
//! * a burst that has kept the event loop for too long leaves the rest to the loop's next turn.
//!
//! ```text
//!                    hold                       finish
//!      Flowing <──────────────> Held     (any) ────────> Final
//!       │   ^      release       ^
//!       │   │ leave              │ hold
//!       v   │                    │
//!      Yielded ──────────────────┘
//! ```
//!
//! Nothing leaves `Final`: the transport is gone, and what is left is delivered whatever the program wants.

use crate::engine::Nanos;

/// How long a frame may wait for those behind it.
const MAX_WAIT: Nanos = 1_000_000;
/// How long one burst may keep the event loop.
const MAX_BURST: Nanos = 10_000_000;
/// A callback that takes longer than a frame may wait is slow.
const MAX_QUICK: Nanos = MAX_WAIT;
/// How long a quick callback promises that the next one is quick, too.
const QUICK_LASTS: Nanos = 20_000_000;

/// What may be delivered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Delivery {
    #[default]
    Flowing,
    /// The burst has had its time.
    Yielded,
    /// The program has paused the connection.
    Held,
    /// The transport is gone.
    Final,
}

/// A dispatch with more than one whole frame.
#[derive(Debug)]
struct Burst {
    /// When frames have waited long enough.
    flush_by: Nanos,
    yield_at: Nanos,
    /// When the clock was looked at last.
    looked_at: Nanos,
    /// Another whole frame is buffered behind the one that is being dispatched.
    is_next_complete: bool,
}

/// What is left when the outermost dispatch of a burst ends.
#[derive(Debug, PartialEq, Eq)]
pub enum Left {
    /// Nothing: the guard against nested event loops is no longer needed.
    Nothing,
    /// Messages, for the loop's next turn.
    Messages,
}

/// Where a connection's dispatches stand.
#[derive(Debug, Default)]
pub struct Turn {
    delivery: Delivery,
    /// How many dispatches are on the stack.
    depth: u32,
    /// Depth of the dispatch whose nested-loop guard is armed; 0 if none.
    guarded_depth: u32,
    burst: Option<Burst>,
    /// Until when callbacks count as quick; 0 if they do not.
    quick_until: Nanos,
}

impl Turn {
    /// A dispatch begins.
    pub fn enter(&mut self) {
        self.depth += 1;
    }

    /// A dispatch ends. Returns what the outermost dispatch of a burst has left.
    pub fn leave(&mut self) -> Option<Left> {
        self.depth -= 1;
        self.guarded_depth = self.guarded_depth.min(self.depth);
        if self.depth > 0 {
            return None;
        }
        let has_yielded = self.delivery == Delivery::Yielded;
        if has_yielded {
            self.delivery = Delivery::Flowing;
        }
        self.burst.take().map(|_| if has_yielded { Left::Messages } else { Left::Nothing })
    }

    /// Whether no dispatch is on the stack.
    pub fn is_idle(&self) -> bool {
        self.depth == 0
    }

    /// Whether the dispatch that is running is called by a callback of another one.
    pub fn is_nested(&self) -> bool {
        self.depth > 1
    }

    /// Whether another message may be looked at now.
    pub fn may_deliver(&self) -> bool {
        matches!(self.delivery, Delivery::Flowing | Delivery::Final)
    }

    /// Notes whether another complete frame is buffered behind the one to be dispatched. Returns `true` the first time at
    /// this depth: the caller must then arm the timer that resumes the dispatch if a callback runs a nested event loop.
    pub fn note_next(&mut self, is_complete: bool, now: impl FnOnce() -> Nanos) -> bool {
        match &mut self.burst {
            Some(burst) => burst.is_next_complete = is_complete,
            None if is_complete => self.begin_burst(now()),
            None => return false,
        }
        let must_arm = is_complete && self.guarded_depth < self.depth;
        if must_arm {
            self.guarded_depth = self.depth;
        }
        must_arm
    }

    fn begin_burst(&mut self, now: Nanos) {
        if now > self.quick_until {
            self.quick_until = 0;
        }
        self.burst =
            Some(Burst { flush_by: now + MAX_WAIT, yield_at: now + MAX_BURST, looked_at: now, is_next_complete: true });
    }

    /// A callback has returned. Returns `true` if frames have waited long enough.
    pub fn note_callback(&mut self, now: impl FnOnce() -> Nanos) -> bool {
        let Some(burst) = self.burst.as_mut().filter(|burst| burst.is_next_complete) else { return false };
        let now = now();
        let is_quick = now - burst.looked_at < MAX_QUICK;
        burst.looked_at = now;
        self.quick_until = if is_quick { now + QUICK_LASTS } else { 0 };
        if self.depth == 1 && self.delivery == Delivery::Flowing && now > burst.yield_at {
            self.delivery = Delivery::Yielded;
        }
        now > burst.flush_by
    }

    /// Whether a frame may wait for those to the messages behind this one.
    pub fn may_wait(&self) -> bool {
        self.delivery != Delivery::Held
            && self.is_quick()
            && self.burst.as_ref().is_some_and(|burst| burst.is_next_complete)
    }

    /// Whether callbacks have been quick lately, so that what waits already may wait for another one to end.
    pub fn is_quick(&self) -> bool {
        self.quick_until > 0
    }

    /// All frames that waited are written: what waits from now on may do so as long.
    pub fn note_flush(&mut self, now: impl FnOnce() -> Nanos) {
        if let Some(burst) = &mut self.burst {
            burst.flush_by = now() + MAX_WAIT;
        }
    }

    /// The program pauses the connection, or resumes it.
    pub fn hold(&mut self, is_held: bool) {
        self.delivery = match (self.delivery, is_held) {
            (Delivery::Final, _) => Delivery::Final,
            (_, true) => Delivery::Held,
            (Delivery::Held, false) => Delivery::Flowing,
            (delivery, false) => delivery,
        };
    }

    /// The transport is gone: what is left is delivered now.
    pub fn finish(&mut self) {
        self.delivery = Delivery::Final;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A clock that stands until it is told to move.
    struct Clock(Nanos);

    impl Clock {
        fn new() -> Self {
            Self(1_000_000_000)
        }

        fn pass(&mut self, micros: u64) {
            self.0 += 1_000 * micros;
        }
    }

    /// A turn in the middle of a burst, whose callbacks have been quick.
    fn quick_burst(clock: &mut Clock) -> Turn {
        let mut turn = Turn::default();
        turn.enter();
        assert!(turn.note_next(true, || clock.0), "the guard is armed");
        clock.pass(10);
        assert!(!turn.note_callback(|| clock.0));
        turn
    }

    #[test]
    fn a_single_frame_is_no_burst_and_looks_at_no_clock() {
        let mut turn = Turn::default();
        turn.enter();
        assert!(!turn.note_next(false, || unreachable!()));
        assert!(!turn.may_wait());
        assert!(!turn.note_callback(|| unreachable!()));
        turn.note_flush(|| unreachable!());
        assert_eq!(turn.leave(), None);
        assert!(turn.is_idle());
    }

    #[test]
    fn the_first_reply_of_a_burst_does_not_wait_and_the_next_ones_do() {
        let mut clock = Clock::new();
        let mut turn = Turn::default();
        turn.enter();
        turn.note_next(true, || clock.0);
        assert!(!turn.may_wait(), "nothing is known of the callbacks yet");
        clock.pass(10);
        turn.note_callback(|| clock.0);
        assert!(!turn.note_next(true, || clock.0), "the guard is armed once");
        assert!(turn.may_wait());
        turn.note_next(false, || clock.0);
        assert!(!turn.may_wait(), "nothing is behind the last one");
        assert!(turn.is_quick(), "but what waits may wait for its reply");
        assert_eq!(turn.leave(), Some(Left::Nothing));
    }

    #[test]
    fn quick_callbacks_are_remembered_for_a_while() {
        for (pause, waits) in [(1_000, true), (19_000, true), (21_000, false)] {
            let mut clock = Clock::new();
            let mut turn = quick_burst(&mut clock);
            turn.leave();
            clock.pass(pause);
            turn.enter();
            turn.note_next(true, || clock.0);
            assert_eq!(turn.may_wait(), waits, "after {pause} us");
        }
    }

    #[test]
    fn after_a_slow_callback_nothing_waits_until_one_was_quick() {
        let mut clock = Clock::new();
        let mut turn = quick_burst(&mut clock);
        clock.pass(1_001);
        assert!(turn.note_callback(|| clock.0), "what waits has waited long enough");
        assert!(!turn.may_wait() && !turn.is_quick());
        clock.pass(10);
        turn.note_callback(|| clock.0);
        assert!(turn.may_wait());
    }

    #[test]
    fn frames_wait_for_a_millisecond_from_the_last_flush() {
        let mut clock = Clock::new();
        let mut turn = quick_burst(&mut clock);
        for (micros, is_late) in [(200, false), (200, false), (200, false), (200, false), (200, true)] {
            clock.pass(micros);
            assert_eq!(turn.note_callback(|| clock.0), is_late);
        }
        turn.note_flush(|| clock.0);
        clock.pass(200);
        assert!(!turn.note_callback(|| clock.0));
    }

    #[test]
    fn a_burst_yields_after_its_time_and_goes_on_later() {
        let mut clock = Clock::new();
        let mut turn = quick_burst(&mut clock);
        clock.pass(10_000);
        turn.note_callback(|| clock.0);
        assert!(!turn.may_deliver());
        assert_eq!(turn.leave(), Some(Left::Messages));
        assert!(turn.may_deliver());
    }

    #[test]
    fn a_nested_dispatch_does_not_yield_and_needs_a_guard_of_its_own() {
        let mut clock = Clock::new();
        let mut turn = quick_burst(&mut clock);
        turn.enter();
        assert!(turn.note_next(true, || clock.0));
        clock.pass(20_000);
        turn.note_callback(|| clock.0);
        assert!(turn.may_deliver());
        assert_eq!(turn.leave(), None);
        assert!(!turn.is_idle());
        turn.enter();
        assert!(turn.note_next(true, || clock.0), "the guard of that depth has gone with it");
    }

    #[test]
    fn a_program_that_pauses_gets_nothing_until_it_resumes() {
        let mut clock = Clock::new();
        let mut turn = quick_burst(&mut clock);
        assert!(turn.may_wait());
        turn.hold(true);
        assert!(!turn.may_deliver());
        assert!(!turn.may_wait(), "nothing comes that it could wait for");
        clock.pass(20_000);
        turn.note_callback(|| clock.0);
        assert_eq!(turn.leave(), Some(Left::Nothing), "resuming goes on with it");
        assert!(!turn.may_deliver());
        turn.hold(false);
        assert!(turn.may_deliver());
    }

    #[test]
    fn pausing_a_burst_that_has_yielded_counts() {
        let mut clock = Clock::new();
        let mut turn = quick_burst(&mut clock);
        clock.pass(20_000);
        turn.note_callback(|| clock.0);
        turn.hold(false);
        assert!(!turn.may_deliver(), "resuming what is not paused changes nothing");
        turn.hold(true);
        turn.leave();
        assert!(!turn.may_deliver());
    }

    #[test]
    fn the_last_dispatch_neither_yields_nor_pauses() {
        let mut clock = Clock::new();
        let mut turn = quick_burst(&mut clock);
        turn.hold(true);
        turn.finish();
        assert!(turn.may_deliver());
        clock.pass(20_000);
        turn.note_callback(|| clock.0);
        assert!(turn.may_deliver());
        turn.hold(true);
        assert!(turn.may_deliver());
        assert_eq!(turn.leave(), Some(Left::Nothing));
    }
}
