//! Frame opcodes (RFC 6455, 5.2).

use super::error::ProtocolError;

/// The type of a frame. Reserved opcodes have no variant, because the parser refuses them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Opcode {
    /// 0: a further frame of a fragmented message.
    Continuation = 0,
    /// 1: a text message, in UTF-8.
    Text = 1,
    /// 2: a binary message.
    Binary = 2,
    /// 8: begins or completes the closing handshake.
    Close = 8,
    /// 9: asks for a pong.
    Ping = 9,
    /// 10: answers a ping, or is sent unsolicited.
    Pong = 10,
}

impl Opcode {
    /// "Control frames are identified by opcodes where the most significant bit of the opcode is 1." (5.5)
    pub const fn is_control(self) -> bool {
        self as u8 & 8 != 0
    }
}

impl TryFrom<u8> for Opcode {
    type Error = ProtocolError;

    /// # Errors
    /// [`ProtocolError::ReservedOpcode`] for 3 to 7 and from 11 on.
    fn try_from(code: u8) -> Result<Self, ProtocolError> {
        Ok(match code {
            0 => Self::Continuation,
            1 => Self::Text,
            2 => Self::Binary,
            8 => Self::Close,
            9 => Self::Ping,
            10 => Self::Pong,
            _ => return Err(ProtocolError::ReservedOpcode(code)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_assigned_code_round_trips_and_every_other_is_refused() {
        for code in 0..=15u8 {
            match Opcode::try_from(code) {
                Ok(opcode) => assert_eq!(opcode as u8, code),
                Err(error) => {
                    assert!((3..=7).contains(&code) || code > 10);
                    assert_eq!(error, ProtocolError::ReservedOpcode(code));
                }
            }
        }
    }

    #[test]
    fn control_opcodes_are_close_ping_and_pong() {
        let control: Vec<u8> = (0..=15).filter(|&c| Opcode::try_from(c).is_ok_and(Opcode::is_control)).collect();
        assert_eq!(control, [8, 9, 10]);
    }
}
