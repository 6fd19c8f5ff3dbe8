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
}
