//! How a connection behaves.

/// How a connection behaves. Limits bound what is received, never what is sent.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// Mask outgoing frames: the client role.
    pub masked: bool,
    /// Enforce the rules that working peers are known to break: UTF-8 in text, masking by role.
    pub strict: bool,
    /// Largest payload of one frame, bytes; `None` is no bound.
    pub max_payload_size: Option<u64>,
    /// The non-final frame of a message with this number is refused.
    pub max_fragments: u64,
}
