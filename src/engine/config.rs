//! The configuration of a connection.

/// The configuration of a connection. Limits apply to what is received, never to what is sent.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// Mask outgoing frames: the endpoint is a client.
    pub masked: bool,
    /// Enforce two rules that peers in use are known to break: text is UTF-8, and clients mask while servers do not.
    pub strict: bool,
    /// Maximum payload length of one frame, in bytes; `None` for no limit.
    pub max_payload_size: Option<u64>,
    /// Maximum number of frames in one message; 0 means 1. Streamed messages may have any number.
    pub max_fragments: u64,
    /// Maximum payload length of a whole message, in bytes; `None` for no limit.
    pub max_message_size: Option<u64>,
    /// Maximum number of pings and pongs that the peer may send per second; `None` for no limit.
    pub max_control_rate: Option<u64>,
}

impl Config {
    /// A lenient server without limits.
    pub const DEFAULT: Self = Self {
        masked: false,
        strict: false,
        max_payload_size: None,
        max_fragments: u64::MAX,
        max_message_size: None,
        max_control_rate: None,
    };

    /// Changes the setting that programs know by this name. As a limit, 0 means no limit, except for `max_fragments`.
    /// Returns `false` if there is no such setting.
    pub fn set(&mut self, name: &[u8], value: u64) -> bool {
        let limit = Some(value).filter(|&value| value != 0);
        match name {
            b"masked" => self.masked = value != 0,
            b"strict" => self.strict = value != 0,
            b"max_payload_size" => self.max_payload_size = limit,
            b"max_fragments" => self.max_fragments = value,
            b"max_message_size" => self.max_message_size = limit,
            b"max_control_rate" => self.max_control_rate = limit,
            _ => return false,
        }
        true
    }
}
