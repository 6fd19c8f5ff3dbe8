//! The frame header codec (RFC 6455, 5.2).

use super::error::ProtocolError;
use super::mask::{MaskKey, apply_mask};
use super::opcode::Opcode;
use bytes::BufMut;

/// Maximum length of a header, in bytes: two bytes, a 64-bit length and a masking key.
pub const MAX_HEADER_LEN: usize = 14;
/// Maximum payload length of a control frame, in bytes (RFC 6455, 5.5).
pub const MAX_CONTROL_PAYLOAD: usize = 125;

const FIN: u8 = 0x80;
const RSV: u8 = 0x70;
/// Marks the first frame of a compressed message (RFC 7692, 6). May be set in the opcode passed to the encoders.
pub(super) const RSV1: u8 = 0x40;
const OPCODE: u8 = 0x0f;
const MASKED: u8 = 0x80;
const LEN: u8 = 0x7f;
const LEN_16: u8 = 126;
const LEN_64: u8 = 127;
/// Size of the block, in bytes, through which payload is masked. It is small enough for zeroing it to cost next to
/// nothing.
const MASK_BLOCK: usize = 512;

/// A frame header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameHeader {
    /// This is the last frame of its message.
    pub fin: bool,
    /// The type of the payload.
    pub opcode: Opcode,
    /// This is the first frame of a compressed message.
    pub is_compressed: bool,
    /// The masking key, if the payload is masked.
    pub mask: Option<MaskKey>,
    /// Payload length, in bytes; only a claim until that much has arrived.
    pub payload_len: u64,
}

impl FrameHeader {
    /// Parses a header at the start of `bytes`. Returns it with its own length, in bytes; `None` means that more bytes
    /// are needed.
    ///
    /// # Errors
    /// A [`ProtocolError`] as soon as it is certain that no valid header starts like this.
    pub fn parse(bytes: &[u8]) -> Result<Option<(Self, usize)>, ProtocolError> {
        Self::parse_with(bytes, 0)
    }

    /// Parses a header like [`Self::parse`], but allows the reserved bits in `negotiated`. Always inlined, because a
    /// call costs a hundred instructions more per message.
    #[inline(always)]
    pub(super) fn parse_with(bytes: &[u8], negotiated: u8) -> Result<Option<(Self, usize)>, ProtocolError> {
        let &[first, second, ref rest @ ..] = bytes else { return Ok(None) };
        if first & RSV & !negotiated != 0 {
            return Err(reserved_bits(first));
        }
        let fin = first & FIN != 0;
        let opcode = Opcode::try_from(first & OPCODE)?;
        let is_compressed = first & RSV1 != 0;
        if is_compressed && !matches!(opcode, Opcode::Text | Opcode::Binary) {
            return Err(ProtocolError::MisplacedRsv1);
        }
        check_control(opcode, fin, second & LEN)?;
        let Some((payload_len, rest)) = parse_length(second & LEN, rest)? else { return Ok(None) };
        let (mask, rest) = match (second & MASKED != 0, rest.split_first_chunk::<4>()) {
            (false, _) => (None, rest),
            (true, Some((key, rest))) => (Some(*key), rest),
            (true, None) => return Ok(None),
        };
        Ok(Some((Self { fin, opcode, is_compressed, mask, payload_len }, bytes.len() - rest.len())))
    }
}

/// Returns the error for a first byte that has reserved bits set.
#[cold]
fn reserved_bits(first: u8) -> ProtocolError {
    match (first & RSV, Opcode::try_from(first & OPCODE)) {
        (RSV1, Ok(Opcode::Text | Opcode::Binary)) => ProtocolError::UnexpectedCompression,
        _ => ProtocolError::ReservedBits,
    }
}

/// Appends the header of a final frame to `out`, with the length in its shortest form. Only the lower four bits and
/// RSV1 of `opcode` are used.
pub fn encode_header(opcode: u8, payload_len: u64, mask: Option<MaskKey>, out: &mut impl BufMut) {
    encode_header_after(FIN | opcode & (RSV1 | OPCODE), payload_len, mask, out);
}

/// Appends a frame header with this first byte to `out`.
#[inline]
fn encode_header_after(first: u8, payload_len: u64, mask: Option<MaskKey>, out: &mut impl BufMut) {
    let masked = if mask.is_some() { MASKED } else { 0 };
    match payload_len {
        0..126 => out.put_slice(&[first, masked | payload_len as u8]),
        126..=0xffff => {
            let [high, low] = (payload_len as u16).to_be_bytes();
            out.put_slice(&[first, masked | LEN_16, high, low]);
        }
        _ => {
            out.put_slice(&[first, masked | LEN_64]);
            out.put_u64(payload_len);
        }
    }
    if let Some(key) = mask {
        out.put_slice(&key);
    }
}

/// "All control frames MUST have a payload length of 125 bytes or less and MUST NOT be fragmented." (5.5)
fn check_control(opcode: Opcode, fin: bool, short_len: u8) -> Result<(), ProtocolError> {
    match opcode.is_control() {
        true if !fin => Err(ProtocolError::FragmentedControl),
        true if short_len > MAX_CONTROL_PAYLOAD as u8 => Err(ProtocolError::OversizedControl),
        _ => Ok(()),
    }
}

/// Parses the extended payload length, if `short_len` announces one. Returns the payload length and the bytes after it.
fn parse_length(short_len: u8, rest: &[u8]) -> Result<Option<(u64, &[u8])>, ProtocolError> {
    match short_len {
        LEN_16 => {
            let Some((len, rest)) = rest.split_first_chunk() else { return Ok(None) };
            let len = u16::from_be_bytes(*len);
            if len < u16::from(LEN_16) {
                return Err(ProtocolError::NonMinimalLength);
            }
            Ok(Some((len.into(), rest)))
        }
        LEN_64 => {
            let Some((len, rest)) = rest.split_first_chunk() else { return Ok(None) };
            match u64::from_be_bytes(*len) {
                len if len >> 63 != 0 => Err(ProtocolError::LengthTopBit),
                0..=0xffff => Err(ProtocolError::NonMinimalLength),
                len => Ok(Some((len, rest))),
            }
        }
        len => Ok(Some((len.into(), rest))),
    }
}

/// Appends a whole, final frame to `out`; with a `mask`, it copies and masks in one pass. Only the lower four bits and
/// RSV1 of `opcode` are used. It is a number because callers may send reserved opcodes too.
pub fn encode_frame(opcode: u8, payload: &[u8], mask: Option<MaskKey>, out: &mut impl BufMut) {
    encode_header(opcode, payload.len() as u64, mask, out);
    encode_payload(payload, mask, out);
}

/// Appends one frame of a fragmented message to `out`; with `is_final`, the last one.
pub(super) fn encode_fragment(
    opcode: u8,
    is_final: bool,
    payload: &[u8],
    mask: Option<MaskKey>,
    out: &mut impl BufMut,
) {
    encode_header_after(if is_final { FIN | opcode } else { opcode }, payload.len() as u64, mask, out);
    encode_payload(payload, mask, out);
}

#[inline]
fn encode_payload(payload: &[u8], mask: Option<MaskKey>, out: &mut impl BufMut) {
    let Some(key) = mask else { return out.put_slice(payload) };
    let mut block = [0; MASK_BLOCK];
    for chunk in payload.chunks(MASK_BLOCK) {
        let block = &mut block[..chunk.len()];
        block.copy_from_slice(chunk);
        apply_mask(block, key, 0);
        out.put_slice(block);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: MaskKey = [1, 2, 3, 4];

    fn header(payload_len: u64, mask: Option<MaskKey>) -> FrameHeader {
        FrameHeader { fin: true, opcode: Opcode::Binary, is_compressed: false, mask, payload_len }
    }

    #[test]
    fn every_length_form_round_trips_and_asks_for_more_until_whole() {
        for payload_len in [0, 1, 125, 126, 127, 0xffff, 0x1_0000, u64::MAX >> 1] {
            for mask in [None, Some(KEY)] {
                let mut wire = Vec::new();
                encode_header(2, payload_len, mask, &mut wire);
                for cut in 0..wire.len() {
                    assert_eq!(FrameHeader::parse(&wire[..cut]), Ok(None), "{payload_len} cut at {cut}");
                }
                let len = wire.len();
                wire.extend(b"trailing");
                assert_eq!(FrameHeader::parse(&wire), Ok(Some((header(payload_len, mask), len))));
            }
        }
    }

    #[test]
    fn violations_are_seen_as_soon_as_they_are_certain() {
        let vectors: [(&[u8], ProtocolError); 12] = [
            (b"\xc1\x00", ProtocolError::UnexpectedCompression),
            (b"\xe1\x00", ProtocolError::ReservedBits),
            (b"\xc9\x00", ProtocolError::ReservedBits),
            (b"\xa1\x00", ProtocolError::ReservedBits),
            (b"\x91\x00", ProtocolError::ReservedBits),
            (b"\x83\x00", ProtocolError::ReservedOpcode(3)),
            (b"\x8f\x00", ProtocolError::ReservedOpcode(15)),
            (b"\x09\x00", ProtocolError::FragmentedControl),
            (b"\x89\x7e", ProtocolError::OversizedControl),
            (b"\x82\x7e\x00\x7d", ProtocolError::NonMinimalLength),
            (b"\x82\x7f\x00\x00\x00\x00\x00\x00\xff\xff", ProtocolError::NonMinimalLength),
            (b"\x82\x7f\x80\x00\x00\x00\x00\x00\x00\x00", ProtocolError::LengthTopBit),
        ];
        for (wire, error) in vectors {
            assert_eq!(FrameHeader::parse(wire), Err(error), "{wire:x?}");
            assert_eq!(FrameHeader::parse(&wire[..wire.len() - 1]), Ok(None), "{wire:x?}");
        }
    }

    #[test]
    fn masked_frames_decode_to_their_payload_across_mask_blocks() {
        for len in [0, 3, MASK_BLOCK - 1, MASK_BLOCK, 2 * MASK_BLOCK + 5] {
            let payload: Vec<u8> = (0..len).map(|i| i as u8).collect();
            let mut wire = Vec::new();
            encode_frame(1, &payload, Some(KEY), &mut wire);
            let (parsed, at) = FrameHeader::parse(&wire).unwrap().unwrap();
            assert_eq!((parsed.payload_len, parsed.mask), (len as u64, Some(KEY)));
            apply_mask(&mut wire[at..], KEY, 0);
            assert_eq!(wire[at..], payload);
        }
    }
}
