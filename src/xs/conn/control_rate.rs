//! How many pings and pongs a peer may send.

use crate::engine::ProtocolError;
use std::time::{Duration, Instant};

const WINDOW: Duration = Duration::from_secs(1);

/// Counts control frames in windows of a second. One that is opened late, since nothing was read or nothing came, has room
/// for the seconds that have gone.
pub struct ControlRate {
    limit: u64,
    room: u64,
    since: Instant,
}

impl ControlRate {
    /// At most `limit` frames a second.
    pub fn new(limit: u64) -> Self {
        Self { limit, room: limit, since: Instant::now() }
    }

    /// Counts a frame.
    ///
    /// # Errors
    /// It is one too many.
    pub fn count(&mut self) -> Result<(), ProtocolError> {
        let elapsed = self.since.elapsed();
        if elapsed >= WINDOW {
            let seconds = elapsed.as_secs() + 1;
            *self = Self { room: self.limit.saturating_mul(seconds), ..Self::new(self.limit) };
        }
        match self.room.checked_sub(1) {
            Some(room) => self.room = room,
            None => return Err(ProtocolError::TooManyControls { limit: self.limit }),
        }
        Ok(())
    }
}
