//! The state of a connection in its closing handshake. Every transition is in this file.
//!
//! ```text
//!            close()                     peer's Close, or a violation,
//!   Open ─────────────────> CloseSent ── or abandon() ─────────────────┐
//!    │ │ │                                                              v
//!    │ │ └─ peer's Close ─> CloseReceived ── close() or abandon() ──> Draining
//!    │ └─── violation ────> Failed ───────── fail() or abandon() ───────^
//!    └───── abandon() ──────────────────────────────────────────────────┘
//!
//!   any ── the transport is gone ──> Closed
//! ```

/// One connection's state. It allows at most one Close frame to be sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum State {
    /// Messages may be sent and received.
    #[default]
    Open,
    /// Our Close frame was sent; messages are still received until the peer's Close.
    CloseSent,
    /// The peer's Close frame was received; ours is owed.
    CloseReceived,
    /// The peer broke a rule; the Close frame that reports it is owed.
    Failed,
    /// Nothing more is sent or received; the transport has yet to close.
    Draining,
    /// The transport is closed.
    Closed,
}

impl State {
    pub(super) fn can_send(self) -> bool {
        self == Self::Open
    }

    pub(super) fn can_send_close(self) -> bool {
        matches!(self, Self::Open | Self::CloseReceived | Self::Failed)
    }

    /// Returns `true` if the peer's Close frame was not answered yet.
    pub(super) fn owes_close(self) -> bool {
        self == Self::CloseReceived
    }

    pub(super) fn can_receive(self) -> bool {
        matches!(self, Self::Open | Self::CloseSent)
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::CloseSent | Self::CloseReceived | Self::Failed | Self::Draining => "closing",
            Self::Closed => "closed",
        }
    }

    pub(super) fn is_draining(self) -> bool {
        self == Self::Draining
    }

    pub(super) fn is_closed(self) -> bool {
        self == Self::Closed
    }

    /// Our Close frame was sent.
    pub(super) fn sent_close(self) -> Self {
        match self {
            Self::Open => Self::CloseSent,
            Self::CloseReceived | Self::Failed => Self::Draining,
            other => other,
        }
    }

    /// A valid Close frame was received from the peer.
    pub(super) fn received_close(self) -> Self {
        match self {
            Self::Open => Self::CloseReceived,
            Self::CloseSent => Self::Draining,
            other => other,
        }
    }

    /// The peer broke a rule.
    pub(super) fn violated(self) -> Self {
        match self {
            Self::Open => Self::Failed,
            Self::CloseSent => Self::Draining,
            other => other,
        }
    }

    /// The program gives up the connection.
    pub(super) fn abandoned(self) -> Self {
        if self.is_closed() { self } else { Self::Draining }
    }
}

#[cfg(test)]
mod tests {
    use super::State::*;

    #[test]
    fn the_transport_s_end_and_failure_are_absorbing() {
        for state in [Draining, Closed] {
            assert_eq!(state.sent_close(), state);
            assert_eq!(state.received_close(), state);
            assert_eq!(state.violated(), state);
            assert_eq!(state.abandoned(), state);
            assert!(!state.can_send() && !state.can_send_close() && !state.can_receive());
        }
    }

    #[test]
    fn at_most_one_close_frame_is_ever_sent() {
        for first in [Open, Open.received_close(), Open.violated()] {
            assert!(first.can_send_close());
            let after = first.sent_close();
            assert!(!after.can_send_close() && !after.can_send());
            assert!(!after.received_close().can_send_close());
            assert!(!after.violated().can_send_close());
        }
    }

    #[test]
    fn messages_count_after_our_close_until_the_peer_s() {
        assert!(Open.sent_close().can_receive());
        assert!(!Open.sent_close().received_close().can_receive());
    }
}
