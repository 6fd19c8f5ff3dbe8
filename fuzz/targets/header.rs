//! Fuzzes the header parser: it must agree with the reference, decide as early as possible, and encode back to the same
//! bytes.
#![no_main]

use anyevent_websocket::engine::{FrameHeader, MAX_HEADER_LEN, encode_header};
use anyevent_websocket_fuzz::reference;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let longest = &bytes[..bytes.len().min(MAX_HEADER_LEN + 1)];
    let verdicts: Vec<_> = (0..=longest.len()).map(|cut| FrameHeader::parse(&longest[..cut])).collect();
    for (cut, verdict) in verdicts.iter().enumerate() {
        assert_eq!(*verdict, reference::header(&longest[..cut]), "cut at {cut}");
    }
    let certain: Vec<_> = verdicts.iter().filter(|verdict| **verdict != Ok(None)).collect();
    assert!(certain.iter().all(|verdict| *verdict == certain[0]), "more octets never change a verdict");
    if let Some(Ok(Some((header, len)))) = certain.first() {
        assert_eq!(verdicts.len() - certain.len(), *len, "the header, and no octet behind it, was needed");
        assert_eq!(encoded(header), longest[..*len]);
    }
});

/// Encodes a header again. The engine's encoder sets FIN, which a non-final frame lacks.
fn encoded(header: &FrameHeader) -> Vec<u8> {
    let mut out = Vec::new();
    encode_header(header.opcode as u8, header.payload_len, header.mask, &mut out);
    out[0] &= if header.fin { 0xff } else { 0x7f };
    out
}
