//! The frame header codec (RFC 6455, 5.2).

use super::error::ProtocolError;
use super::mask::{MaskKey, apply_mask};
use super::opcode::Opcode;
use bytes::BufMut;

/// The longest header: two bytes, a 64-bit length, a masking key.
pub const MAX_HEADER_LEN: usize = 14;
/// RFC 6455, 5.5.
pub const MAX_CONTROL_PAYLOAD: usize = 125;

const FIN: u8 = 0x80;
const RSV: u8 = 0x70;
/// Marks a compressed message (RFC 7692, 6); also in the opcode of a frame that is to be sent.
pub(super) const RSV1: u8 = 0x40;
const OPCODE: u8 = 0x0f;
const MASKED: u8 = 0x80;
const LEN: u8 = 0x7f;
const LEN_16: u8 = 126;
const LEN_64: u8 = 127;
/// Payload is masked through a block on the stack, small enough that zeroing it does not show.
const MASK_BLOCK: usize = 512;

/// Everything that stands before a frame's payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameHeader {
    /// The last frame of its message.
    pub fin: bool,
    /// What the payload is.
    pub opcode: Opcode,
    /// The first frame of a compressed message.
    pub is_compressed: bool,
    /// Present if the payload is masked.
    pub mask: Option<MaskKey>,
    /// Payload length, bytes; a claim until that much has arrived.
    pub payload_len: u64,
}

impl FrameHeader {
    /// Reads a header from the start of `bytes`; also returns its length in bytes. `None` asks for more bytes.
    ///
    /// # Errors
    /// A [`ProtocolError`] if no valid header starts like this, as soon as that is certain.
    pub fn parse(bytes: &[u8]) -> Result<Option<(Self, usize)>, ProtocolError> {
        Self::parse_with(bytes, 0)
    }

    /// As [`Self::parse`], but some of the reserved bits have a meaning. Inlined, as calling it costs a message a hundred
    /// instructions more.
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

/// What is wrong with a first byte that has reserved bits set.
#[cold]
fn reserved_bits(first: u8) -> ProtocolError {
    match (first & RSV, Opcode::try_from(first & OPCODE)) {
        (RSV1, Ok(Opcode::Text | Opcode::Binary)) => ProtocolError::UnexpectedCompression,
        _ => ProtocolError::ReservedBits,
    }
}

/// Appends a final frame's header to `out`, the length in its shortest form. Of `opcode` the lower four bits count, and
/// the one for RSV1.
pub fn encode_header(opcode: u8, payload_len: u64, mask: Option<MaskKey>, out: &mut impl BufMut) {
    encode_header_after(FIN | opcode & (RSV1 | OPCODE), payload_len, mask, out);
}

/// Appends a frame's header with this first byte to `out`.
fn encode_header_after(first: u8, payload_len: u64, mask: Option<MaskKey>, out: &mut impl BufMut) {
    let masked = if mask.is_some() { MASKED } else { 0 };
    out.put_u8(first);
    match payload_len {
        0..126 => out.put_u8(masked | payload_len as u8),
        126..=0xffff => {
            out.put_u8(masked | LEN_16);
            out.put_u16(payload_len as u16);
        }
        _ => {
            out.put_u8(masked | LEN_64);
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

/// Reads what follows the 7-bit length; returns the payload length and the bytes behind it.
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

/// Appends a whole, final frame to `out`; with a `mask`, copying and masking in one pass. Of `opcode` the lower four bits
/// count, and the one for RSV1; it is a number, because what is sent is the caller's affair.
pub fn encode_frame(opcode: u8, payload: &[u8], mask: Option<MaskKey>, out: &mut impl BufMut) {
    encode_header(opcode, payload.len() as u64, mask, out);
    encode_payload(payload, mask, out);
}

/// Appends one of the frames of a message to `out`; with `is_final`, the last.
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
