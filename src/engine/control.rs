//! Control frames: which pings are answered, and how many pings and pongs the peer may send.

use super::Nanos;
use super::config::Config;
use super::error::ProtocolError;
use super::event::ControlPayload;

/// Maximum backlog, in bytes, with which a ping is answered at once; beyond it the pong is only owed. "If an endpoint
/// receives a Ping frame and has not yet sent Pong frame(s) in response to previous Ping frame(s), the endpoint MAY
/// elect to send a Pong frame for only the most recently processed Ping frame." (RFC 6455, 5.5.3)
const MAX_PONG_BACKLOG: usize = 64 * 1024;

const SECOND: Nanos = 1_000_000_000;

/// The pong owed by one connection, and the rate limit for its peer's pings and pongs.
#[derive(Debug, Default)]
pub(super) struct Controls {
    owed_pong: Option<Box<ControlPayload>>,
    rate: Option<Box<Rate>>,
}

impl Controls {
    /// Returns `true` if a peer that has yet to read `backlog` bytes has to wait for its pong.
    pub(super) fn is_too_far_behind(backlog: usize) -> bool {
        backlog > MAX_PONG_BACKLOG
    }

    /// Remembers that a pong is owed for this ping, instead of any owed before. Returns `true` if none was.
    pub(super) fn owe_pong(&mut self, payload: Box<ControlPayload>) -> bool {
        self.owed_pong.replace(payload).is_none()
    }

    pub(super) fn owes_pong(&self) -> bool {
        self.owed_pong.is_some()
    }

    pub(super) fn take_owed_pong(&mut self) -> Option<Box<ControlPayload>> {
        self.owed_pong.take()
    }

    /// Applies a configuration. A new limit counts from `now` on; if that is `None`, from the first frame on.
    pub(super) fn configure(&mut self, config: &Config, now: Option<Nanos>) {
        match (config.max_control_rate, &mut self.rate) {
            (Some(limit), Some(rate)) if rate.limit == limit => rate.since = rate.since.or(now),
            (limit, rate) => *rate = limit.map(|limit| Box::new(Rate { limit, left: limit, since: now })),
        }
    }

    /// Counts a ping or pong.
    ///
    /// # Errors
    /// The peer exceeded the limit.
    pub(super) fn count(&mut self, now: impl FnOnce() -> Nanos) -> Result<(), ProtocolError> {
        self.rate.as_mut().map_or(Ok(()), |rate| rate.count(now()))
    }
}

/// The number of frames that the peer may still send. Each second that passes adds the limit, even if nothing arrived or
/// was read in it.
#[derive(Debug)]
struct Rate {
    limit: u64,
    left: u64,
    /// The time up to which seconds were added; `None` before the first frame.
    since: Option<Nanos>,
}

impl Rate {
    fn count(&mut self, now: Nanos) -> Result<(), ProtocolError> {
        let since = self.since.get_or_insert(now);
        let seconds = now.saturating_sub(*since) / SECOND;
        *since += seconds * SECOND;
        self.left = self.left.saturating_add(self.limit.saturating_mul(seconds));
        self.left = self.left.checked_sub(1).ok_or(ProtocolError::TooManyControls { limit: self.limit })?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limited(limit: u64) -> Controls {
        let mut controls = Controls::default();
        set_limit(&mut controls, Some(limit));
        controls
    }

    /// Sets the limit when the clock shows 5 seconds.
    fn set_limit(controls: &mut Controls, limit: Option<u64>) {
        controls.configure(&Config { max_control_rate: limit, ..Config::DEFAULT }, Some(5 * SECOND));
    }

    /// Returns how many of `count` frames are accepted `seconds` after the limit was set.
    fn taken(controls: &mut Controls, seconds: u64, count: usize) -> usize {
        (0..count).filter(|_| controls.count(|| (5 + seconds) * SECOND).is_ok()).count()
    }

    #[test]
    fn without_a_limit_the_clock_is_not_read() {
        let mut controls = Controls::default();
        assert_eq!(controls.count(|| unreachable!()), Ok(()));
    }

    #[test]
    fn a_second_has_room_for_the_limit() {
        let mut controls = limited(3);
        assert_eq!(taken(&mut controls, 0, 5), 3);
        assert_eq!(controls.count(|| 5 * SECOND), Err(ProtocolError::TooManyControls { limit: 3 }));
    }

    #[test]
    fn the_next_second_has_room_again() {
        let mut controls = limited(3);
        assert_eq!(taken(&mut controls, 0, 3), 3);
        assert_eq!(taken(&mut controls, 1, 10), 3);
        assert_eq!(taken(&mut controls, 2, 10), 3);
    }

    #[test]
    fn seconds_without_a_frame_add_up() {
        let mut controls = limited(3);
        assert_eq!(taken(&mut controls, 9, 50), 30);
    }

    #[test]
    fn a_limit_of_many_seconds_does_not_overflow() {
        let mut controls = limited(u64::MAX);
        assert_eq!(taken(&mut controls, 100, 10), 10);
    }

    #[test]
    fn a_new_limit_takes_the_place_of_the_old() {
        let mut controls = limited(1);
        assert_eq!(taken(&mut controls, 0, 2), 1);
        set_limit(&mut controls, Some(2));
        assert_eq!(taken(&mut controls, 0, 3), 2);
        set_limit(&mut controls, None);
        assert_eq!(taken(&mut controls, 0, 1000), 1000);
    }

    #[test]
    fn another_setting_does_not_renew_the_limit() {
        let mut controls = limited(3);
        assert_eq!(taken(&mut controls, 0, 2), 2);
        set_limit(&mut controls, Some(3));
        assert_eq!(taken(&mut controls, 0, 5), 1);
    }

    #[test]
    fn without_a_time_seconds_count_from_the_first_frame() {
        let mut controls = Controls::default();
        controls.configure(&Config { max_control_rate: Some(3), ..Config::DEFAULT }, None);
        assert_eq!(taken(&mut controls, 1000, 5), 3);
    }

    #[test]
    fn only_the_last_ping_is_answered_for_a_peer_that_is_behind() {
        let mut controls = Controls::default();
        assert!(!Controls::is_too_far_behind(MAX_PONG_BACKLOG));
        assert!(Controls::is_too_far_behind(MAX_PONG_BACKLOG + 1));
        assert!(controls.owe_pong(payload(b"first")));
        assert!(!controls.owe_pong(payload(b"last")));
        assert_eq!(controls.take_owed_pong().unwrap().as_slice(), b"last");
        assert!(!controls.owes_pong());
    }

    fn payload(octets: &[u8]) -> Box<ControlPayload> {
        let mut payload = Box::<ControlPayload>::default();
        payload.append(octets);
        payload
    }
}
