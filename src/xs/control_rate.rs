//! How many pings and pongs a peer may send.

use crate::engine::ProtocolError;
use std::time::{Duration, Instant};

const WINDOW: Duration = Duration::from_secs(1);

/// Counts control frames in windows of a second.
pub struct ControlRate {
    limit: u64,
    count: u64,
    since: Instant,
}

impl ControlRate {
    /// At most `limit` frames a second.
    pub fn new(limit: u64) -> Self {
        Self { limit, count: 0, since: Instant::now() }
    }

    /// Counts a frame.
    ///
    /// # Errors
    /// It is one too many.
    pub fn count(&mut self) -> Result<(), ProtocolError> {
        if self.since.elapsed() >= WINDOW {
            *self = Self::new(self.limit);
        }
        self.count += 1;
        if self.count > self.limit { Err(ProtocolError::TooManyControls { limit: self.limit }) } else { Ok(()) }
    }
}
