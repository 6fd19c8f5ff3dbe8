//! Decides when messages are delivered, and which frames are batched.
//!
//! A dispatch delivers the messages that have been read, one by one. Once another complete frame is buffered behind the
//! current one, the dispatch is a *burst*: replies to the earlier messages wait for later ones, so that one write sends
//! them all. Batching must not delay a reply noticeably, nor starve other connections:
//!
//! * A frame waits only if recent callbacks of this connection were quick, and only until a deadline.
//! * The caller also requires that sending the frame is the last thing its callback does.
//! * A burst that has kept the event loop busy for too long yields: it resumes in the loop's next iteration, even if that
//!   is one of a nested event loop.
//!
//! A waiting frame is written once its deadline has passed and the running callback has returned. If that callback is
//! unexpectedly slow, the frame waits as long.
//!
//! ```text
//!                  set_paused(true)                  finish
//!           Flowing <─────────────> Paused    (any) ────────> Final
//!            │   ^  set_paused(false)  ^
//!   note_    │   │                     │
//!   callback │   │ leave               │ set_paused(true)
//!            v   │                     │
//!           Yielded ───────────────────┘
//! ```
//!
//! Nothing leaves `Final`: the transport is closed, and the remaining messages are delivered even if the program
//! pauses.

use crate::engine::Nanos;

/// How long a frame may wait for later ones.
const MAX_WAIT: Nanos = 1_000_000;
/// How long a burst may keep the event loop busy.
const MAX_BURST: Nanos = 10_000_000;
/// Duration from which a callback counts as slow.
const MAX_QUICK: Nanos = 1_000_000;
/// How long callbacks are assumed to be quick after a quick one.
const QUICK_LASTS: Nanos = 20_000_000;

/// The state of delivery.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Delivery {
    #[default]
    Flowing,
    /// The burst has used up its time.
    Yielded,
    /// The program has paused the connection.
    Paused,
    /// The transport is closed.
    Final,
}

/// A dispatch in which more than one complete frame is buffered.
#[derive(Debug)]
struct Burst {
    /// When the waiting frames must be written.
    flush_by: Nanos,
    yield_at: Nanos,
    /// When the clock was last read.
    looked_at: Nanos,
    /// Another complete frame is buffered behind the current one.
    is_next_complete: bool,
}

/// The work left over when the outermost dispatch of a burst ends.
#[derive(Debug, PartialEq, Eq)]
pub enum Remaining {
    /// Nothing is left: the guard against nested event loops can be disarmed.
    Nothing,
    /// Messages are left for the loop's next iteration.
    Messages,
}

/// The scheduling state of a connection's dispatches.
#[derive(Debug, Default)]
pub struct Turn {
    delivery: Delivery,
    /// Number of dispatches on the stack.
    depth: u32,
    /// Depth of the dispatch whose nested-loop guard is armed; 0 if none.
    guarded_depth: u32,
    burst: Option<Burst>,
    /// When recent callbacks cease to count as quick; 0 if they do not.
    quick_until: Nanos,
}

impl Turn {
    /// Begins a dispatch.
    pub fn enter(&mut self) {
        self.depth += 1;
    }

    /// Ends a dispatch. Returns what is left over if it was the outermost one of a burst.
    pub fn leave(&mut self) -> Option<Remaining> {
        self.depth -= 1;
        self.guarded_depth = self.guarded_depth.min(self.depth);
        if self.depth > 0 {
            return None;
        }
        let has_yielded = self.delivery == Delivery::Yielded;
        if has_yielded {
            self.delivery = Delivery::Flowing;
        }
        self.burst.take().map(|_| if has_yielded { Remaining::Messages } else { Remaining::Nothing })
    }

    /// Returns `true` if no dispatch is running.
    pub fn is_idle(&self) -> bool {
        self.depth == 0
    }

    /// Returns `true` if the current dispatch runs inside a callback of another one.
    pub fn is_nested(&self) -> bool {
        self.depth > 1
    }

    /// Returns `true` if another message may be delivered now. A burst that has yielded resumes early if a callback of
    /// its current message runs a nested event loop, because the callback may be waiting for the messages behind.
    pub fn may_deliver(&self) -> bool {
        match self.delivery {
            Delivery::Flowing | Delivery::Final => true,
            Delivery::Yielded => self.is_nested(),
            Delivery::Paused => false,
        }
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

    /// Notes that a callback has returned. Returns `true` if waiting frames must be written now.
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

    /// Returns `true` if a frame sent now may wait for the replies to the messages behind the current one.
    pub fn may_wait(&self) -> bool {
        self.delivery != Delivery::Paused
            && self.is_quick()
            && self.burst.as_ref().is_some_and(|burst| burst.is_next_complete)
    }

    /// Returns `true` if recent callbacks were quick, so that waiting frames may go on waiting during the next one.
    pub fn is_quick(&self) -> bool {
        self.quick_until > 0
    }

    /// Notes that all waiting frames were written, which restarts the deadline.
    pub fn note_flush(&mut self, now: impl FnOnce() -> Nanos) {
        if let Some(burst) = &mut self.burst {
            burst.flush_by = now() + MAX_WAIT;
        }
    }

    /// Pauses or resumes delivery, as the program wants.
    pub fn set_paused(&mut self, is_paused: bool) {
        self.delivery = match (self.delivery, is_paused) {
            (Delivery::Final, _) => Delivery::Final,
            (_, true) => Delivery::Paused,
            (Delivery::Paused, false) => Delivery::Flowing,
            (delivery, false) => delivery,
        };
    }

    /// Notes that the transport is closed: the remaining messages are delivered now.
    pub fn finish(&mut self) {
        self.delivery = Delivery::Final;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A clock that moves only when told to.
    struct Clock(Nanos);

    impl Clock {
        fn new() -> Self {
            Self(1_000_000_000)
        }

        fn pass(&mut self, micros: u64) {
            self.0 += 1_000 * micros;
        }
    }

    /// Returns a turn in the middle of a burst, after a quick callback.
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
        assert_eq!(turn.leave(), Some(Remaining::Nothing));
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
        assert_eq!(turn.leave(), Some(Remaining::Messages));
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
    fn a_dispatch_nested_in_a_burst_that_has_yielded_delivers() {
        let mut clock = Clock::new();
        let mut turn = quick_burst(&mut clock);
        clock.pass(20_000);
        turn.note_callback(|| clock.0);
        turn.enter();
        assert!(turn.may_deliver());
        assert_eq!(turn.leave(), None);
        assert!(!turn.may_deliver());
        assert_eq!(turn.leave(), Some(Remaining::Messages));
    }

    #[test]
    fn a_program_that_pauses_gets_nothing_until_it_resumes() {
        let mut clock = Clock::new();
        let mut turn = quick_burst(&mut clock);
        assert!(turn.may_wait());
        turn.set_paused(true);
        assert!(!turn.may_deliver());
        assert!(!turn.may_wait(), "nothing comes that it could wait for");
        clock.pass(20_000);
        turn.note_callback(|| clock.0);
        assert_eq!(turn.leave(), Some(Remaining::Nothing), "resuming goes on with it");
        assert!(!turn.may_deliver());
        turn.set_paused(false);
        assert!(turn.may_deliver());
    }

    #[test]
    fn pausing_a_burst_that_has_yielded_counts() {
        let mut clock = Clock::new();
        let mut turn = quick_burst(&mut clock);
        clock.pass(20_000);
        turn.note_callback(|| clock.0);
        turn.set_paused(false);
        assert!(!turn.may_deliver(), "resuming what is not paused changes nothing");
        turn.set_paused(true);
        turn.leave();
        assert!(!turn.may_deliver());
    }

    #[test]
    fn the_last_dispatch_neither_yields_nor_pauses() {
        let mut clock = Clock::new();
        let mut turn = quick_burst(&mut clock);
        turn.set_paused(true);
        turn.finish();
        assert!(turn.may_deliver());
        clock.pass(20_000);
        turn.note_callback(|| clock.0);
        assert!(turn.may_deliver());
        turn.set_paused(true);
        assert!(turn.may_deliver());
        assert_eq!(turn.leave(), Some(Remaining::Nothing));
    }
}
