//! What has gone over a connection so far.

use super::opcode::Opcode;

/// Counts of one direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Frames of all kinds.
    pub frames: u64,
    /// Bytes of their payloads.
    pub bytes: u64,
    /// Of the frames: pings.
    pub pings: u64,
    /// Of the frames: pongs.
    pub pongs: u64,
    /// Of the frames: those that neither begin a message, nor are pings or pongs.
    others: u64,
}

impl Traffic {
    /// Messages of which at least the first frame's header has gone.
    pub fn messages(&self) -> u64 {
        self.frames - self.pings - self.pongs - self.others
    }

    #[inline]
    pub(super) fn count_frame(&mut self, opcode: u8, payload_len: u64) {
        self.frames += 1;
        self.bytes += payload_len;
        if opcode != Opcode::Text as u8 && opcode != Opcode::Binary as u8 {
            self.count_other(opcode);
        }
    }

    #[cold]
    fn count_other(&mut self, opcode: u8) {
        let count = match Opcode::try_from(opcode) {
            Ok(Opcode::Ping) => &mut self.pings,
            Ok(Opcode::Pong) => &mut self.pongs,
            _ => &mut self.others,
        };
        *count += 1;
    }
}
