//! Close status codes (RFC 6455, 7.4, and the IANA registry).

use std::fmt;

/// The status code of a Close frame. It can be any 16-bit number, because peers send what they like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CloseCode(u16);

impl CloseCode {
    /// 1000: the connection has fulfilled its purpose.
    pub const NORMAL: Self = Self(1000);
    /// 1002: the peer violated the protocol.
    pub const PROTOCOL_ERROR: Self = Self(1002);
    /// 1005: never sent; reports that a Close frame contained no code.
    pub const NO_STATUS: Self = Self(1005);
    /// 1007: a text message is not UTF-8.
    pub const INVALID_PAYLOAD: Self = Self(1007);
    /// 1008: the peer violated the receiver's policy.
    pub const POLICY_VIOLATION: Self = Self(1008);
    /// 1009: a message is too big for the receiver.
    pub const TOO_BIG: Self = Self(1009);

    /// Wraps a number read from the wire or given by the caller.
    pub const fn new(code: u16) -> Self {
        Self(code)
    }

    /// Returns the number.
    pub const fn value(self) -> u16 {
        self.0
    }

    /// Returns `true` if an endpoint may send this code: the registry assigns it, or it is in the range for libraries
    /// (3000 to 3999) or applications (4000 to 4999). 1004 to 1006 and 1015 "MUST NOT be set as a status code in a
    /// Close control frame" (7.4.1).
    pub const fn is_allowed_on_the_wire(self) -> bool {
        matches!(self.0, 1000..=1003 | 1007..=1014 | 3000..=4999)
    }
}

impl fmt::Display for CloseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wire_takes_assigned_library_and_application_codes_only() {
        let refused = [0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535];
        let allowed = [1000, 1001, 1002, 1003, 1007, 1008, 1011, 1014, 3000, 3999, 4000, 4999];
        assert!(refused.iter().all(|&c| !CloseCode::new(c).is_allowed_on_the_wire()));
        assert!(allowed.iter().all(|&c| CloseCode::new(c).is_allowed_on_the_wire()));
    }
}
