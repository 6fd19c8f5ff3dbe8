//! Masking (RFC 6455, 5.3): "octet i of the transformed data is the XOR of octet i of the original data with octet at
//! index i modulo 4 of the masking key".

/// The four octets a client XORs its payload with.
pub type MaskKey = [u8; 4];

/// XORs `payload` in place with `key`; `offset` is the number of payload bytes of this frame that came before it.
///
/// Masking and unmasking are the same operation.
pub fn apply_mask(payload: &mut [u8], key: MaskKey, offset: u64) {
    let key = rotated(key, offset);
    let wide = u64::from_ne_bytes(doubled(key));
    let mut blocks = payload.chunks_exact_mut(8);
    for block in &mut blocks {
        let word = u64::from_ne_bytes((&*block).try_into().expect("chunks of 8")) ^ wide;
        block.copy_from_slice(&word.to_ne_bytes());
    }
    for (octet, mask) in blocks.into_remainder().iter_mut().zip(key.iter().cycle()) {
        *octet ^= mask;
    }
}

/// Returns the key rotated to its position `offset` bytes into the payload.
fn rotated(key: MaskKey, offset: u64) -> MaskKey {
    let mut key = key;
    key.rotate_left((offset % 4) as usize);
    key
}

fn doubled([a, b, c, d]: MaskKey) -> [u8; 8] {
    [a, b, c, d, a, b, c, d]
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: MaskKey = [0x37, 0xfa, 0x21, 0x3d];

    fn reference(payload: &[u8], offset: usize) -> Vec<u8> {
        payload.iter().enumerate().map(|(i, b)| b ^ KEY[(i + offset) % 4]).collect()
    }

    #[test]
    fn rfc_5_7_masked_hello() {
        let mut payload = [0x7f, 0x9f, 0x4d, 0x51, 0x58];
        apply_mask(&mut payload, KEY, 0);
        assert_eq!(&payload, b"Hello");
    }

    #[test]
    fn every_length_and_offset_matches_the_definition() {
        let original: Vec<u8> = (0..67).collect();
        for len in 0..=original.len() {
            for offset in 0..9 {
                let mut payload = original[..len].to_vec();
                apply_mask(&mut payload, KEY, offset);
                assert_eq!(payload, reference(&original[..len], offset as usize));
            }
        }
    }

    #[test]
    fn split_anywhere_gives_the_same_octets() {
        let original: Vec<u8> = (0..40).collect();
        for split in 0..=original.len() {
            let mut payload = original.clone();
            let (head, tail) = payload.split_at_mut(split);
            apply_mask(head, KEY, 0);
            apply_mask(tail, KEY, split as u64);
            assert_eq!(payload, reference(&original, 0));
        }
    }
}
