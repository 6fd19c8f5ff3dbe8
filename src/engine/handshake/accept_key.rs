//! The nonce of a handshake, and the server's proof that it has read it (RFC 6455, 4.2.2).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest, Sha1};

/// RFC 6455, 1.3: what a server appends to the client's key.
const SUFFIX: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// The value of Sec-WebSocket-Accept that belongs to a client's Sec-WebSocket-Key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AcceptKey(String);

impl AcceptKey {
    /// Computes the value for `key`, the text of the header.
    pub fn of(key: &[u8]) -> Self {
        let digest = Sha1::new().chain_update(key).chain_update(SUFFIX).finalize();
        Self(STANDARD.encode(digest))
    }

    /// Returns the text of the header.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Returns the text of Sec-WebSocket-Key for 16 random bytes.
pub fn encode_key(nonce: [u8; 16]) -> String {
    STANDARD.encode(nonce)
}

/// Returns `true` if `key` is 16 bytes in base64, which RFC 6455, 4.2.1 asks of clients.
pub(super) fn is_well_formed(key: &[u8]) -> bool {
    STANDARD.decode(key).is_ok_and(|nonce| nonce.len() == 16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_the_rfc() {
        assert_eq!(AcceptKey::of(b"dGhlIHNhbXBsZSBub25jZQ==").as_str(), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn keys_that_are_encoded_are_well_formed() {
        assert!(is_well_formed(encode_key([7; 16]).as_bytes()));
    }

    #[test]
    fn other_keys_are_not() {
        for key in ["", "0", "AAAA", "AAAAAAAAAAAAAAAAAAAAAAA=", "dGhlIHNhbXBsZSBub25jZQ", "dGhlIHNhbXBsZSBub25jZQ==="]
        {
            assert!(!is_well_formed(key.as_bytes()), "{key}");
        }
    }
}
