//! Log lines about the frames sent and received.

use std::fmt::Write;

/// Maximum number of payload bytes shown in a line.
const MAX_SHOWN: usize = 32;

/// The lines recorded since the last [`take`](Self::take), one per frame.
#[derive(Debug, Default)]
pub(super) struct Trace(String);

impl Trace {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn take(&mut self) -> String {
        std::mem::take(&mut self.0)
    }

    /// Records a frame; `payload` is the part of its `len` payload bytes that is at hand, unmasked.
    #[cold]
    #[inline(never)]
    pub(super) fn note(&mut self, direction: &str, fin: bool, opcode: u8, len: u64, payload: &[u8]) {
        if let (8, [high, low, reason @ ..]) = (opcode, payload) {
            let (code, reason) = (u16::from_be_bytes([*high, *low]), reason.escape_ascii());
            let _ = writeln!(self.0, "{direction} close, code {code}, reason \"{reason}\"");
            return;
        }
        let fin = if fin { "" } else { ", not final" };
        let shown = payload[..payload.len().min(MAX_SHOWN)].escape_ascii();
        let more = if len > MAX_SHOWN as u64 { "..." } else { "" };
        // Writing to a string cannot fail.
        let _ = writeln!(self.0, "{direction} {}{fin}, {len} bytes: \"{shown}\"{more}", name(opcode));
    }
}

fn name(opcode: u8) -> String {
    match opcode {
        0 => "continuation".to_owned(),
        1 => "text".to_owned(),
        2 => "binary".to_owned(),
        8 => "close".to_owned(),
        9 => "ping".to_owned(),
        10 => "pong".to_owned(),
        reserved => format!("opcode {reserved}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(fin: bool, opcode: u8, payload: &[u8]) -> String {
        let mut trace = Trace::default();
        trace.note("sent", fin, opcode, payload.len() as u64, payload);
        trace.take()
    }

    #[test]
    fn a_line_names_opcode_fin_length_and_the_first_bytes() {
        assert_eq!(line(true, 1, b"hi"), "sent text, 2 bytes: \"hi\"\n");
        assert_eq!(line(false, 2, b"\0\xff\"\n"), "sent binary, not final, 4 bytes: \"\\x00\\xff\\\"\\n\"\n");
        assert_eq!(line(true, 11, b""), "sent opcode 11, 0 bytes: \"\"\n");
        assert_eq!(line(true, 8, b"\x0f\xa0bye \xff"), "sent close, code 4000, reason \"bye \\xff\"\n");
        assert_eq!(line(true, 8, b"\x03\xe8"), "sent close, code 1000, reason \"\"\n");
        assert_eq!(line(true, 8, b""), "sent close, 0 bytes: \"\"\n");
        assert_eq!(line(true, 1, &[b'x'; 33]), format!("sent text, 33 bytes: \"{}\"...\n", "x".repeat(32)));
    }
}
