//! Counts of the frames and bytes sent and received.

use super::opcode::Opcode;

/// The counts of one direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// All frames.
    pub frames: u64,
    /// Bytes of payload in all frames.
    pub bytes: u64,
    /// Ping frames.
    pub pings: u64,
    /// Pong frames.
    pub pongs: u64,
    /// Frames that neither begin a message nor are pings or pongs.
    others: u64,
}

impl Traffic {
    /// Returns the number of messages of which at least the first frame's header was sent or received.
    pub fn messages(&self) -> u64 {
        self.frames - self.pings - self.pongs - self.others
    }

    /// Returns the counts, with the names by which programs know them.
    pub fn by_name(&self) -> [(&'static str, u64); 5] {
        [
            ("messages", self.messages()),
            ("frames", self.frames),
            ("bytes", self.bytes),
            ("pings", self.pings),
            ("pongs", self.pongs),
        ]
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
