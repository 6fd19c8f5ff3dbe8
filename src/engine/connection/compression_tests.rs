//! permessage-deflate (RFC 7692): how a connection reads byte streams, and what it sends.

use super::*;
use crate::engine::{DeflateConfig, DeflatePool};
use std::rc::Rc;

const TAKEOVER: DeflateConfig = DeflateConfig {
    window_bits: 12,
    no_context_takeover: false,
    peer_window_bits: 12,
    peer_no_context_takeover: false,
    level: 1,
    mem_level: 5,
    threshold: 0,
};
const NO_TAKEOVER: DeflateConfig =
    DeflateConfig { no_context_takeover: true, peer_no_context_takeover: true, ..TAKEOVER };

fn compressing(config: Config, deflate: DeflateConfig) -> Connection<BytesMut> {
    let mut connection = Connection::new(config);
    assert!(connection.enable_deflate(deflate, &Rc::new(DeflatePool::default())));
    connection
}

fn run_deflate(wire: &[u8]) -> Vec<Seen> {
    run_each(|| compressing(LENIENT, TAKEOVER), wire)
}

fn sent(connection: &mut Connection<BytesMut>, opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    assert_eq!(connection.send(opcode, payload, None, &mut out), Ok(true));
    assert!(out.len() <= MAX_HEADER_LEN + payload.len(), "no more room than for the payload as it is");
    out
}

/// Bytes without any pattern, which do not compress.
fn noise(len: usize) -> Vec<u8> {
    let mut state = 1u64;
    std::iter::repeat_with(|| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    })
    .take(len)
    .collect()
}

/// `count` zeros, compressed.
fn bomb(count: usize) -> Vec<u8> {
    sent(&mut compressing(LENIENT, TAKEOVER), 2, &vec![0; count])
}

#[test]
fn rfc_7692_examples() {
    let hello = [text("Hello")];
    assert_eq!(run_deflate(b"\xc1\x07\xf2\x48\xcd\xc9\xc9\x07\x00"), hello, "7.2.3.1, one block");
    assert_eq!(run_deflate(b"\x41\x03\xf2\x48\xcd\x80\x04\xc9\xc9\x07\x00"), hello, "7.2.3.1, two fragments");
    assert_eq!(run_deflate(b"\xc1\x0b\x00\x05\x00\xfa\xff\x48\x65\x6c\x6c\x6f\x00"), hello, "7.2.3.3, not compressed");
    assert_eq!(run_deflate(b"\xc1\x08\xf3\x48\xcd\xc9\xc9\x07\x00\x00"), hello, "7.2.3.4, BFINAL");
    let two_blocks = b"\xc1\x0d\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00";
    assert_eq!(run_deflate(two_blocks), hello, "7.2.3.5, two blocks");
    assert_eq!(run_deflate(b"\xc1\x01\x00"), [text("")], "7.2.3.6, an empty message");
}

#[test]
fn rfc_7692_7_2_3_2_a_message_refers_to_the_one_before_if_the_context_is_taken_over() {
    let twice = b"\xc1\x07\xf2\x48\xcd\xc9\xc9\x07\x00\xc1\x05\xf2\x00\x11\x00\x00";
    assert_eq!(run_deflate(twice), [text("Hello"), text("Hello")]);
    let without = run_each(|| compressing(LENIENT, NO_TAKEOVER), twice);
    assert_eq!(without, [text("Hello"), Seen::Violation(ProtocolError::CorruptDeflate)]);
}

#[test]
fn messages_go_on_after_one_that_ends_with_bfinal() {
    let hello = b"\xc1\x08\xf3\x48\xcd\xc9\xc9\x07\x00\x00\xc1\x07\xf2\x48\xcd\xc9\xc9\x07\x00";
    let wire = [&hello[..], b"\xc1\x05\xf2\x00\x11\x00\x00\x81\x01x"].concat();
    assert_eq!(run_deflate(&wire), [text("Hello"), text("Hello"), text("Hello"), text("x")]);
}

#[test]
fn uncompressed_messages_and_control_frames_come_between_and_leave_the_window_alone() {
    let fragments =
        b"\xc1\x07\xf2\x48\xcd\xc9\xc9\x07\x00\x81\x01x\x41\x02\xf2\x00\x89\x01p\x00\x00\x80\x03\x11\x00\x00";
    assert_eq!(run_deflate(fragments), [text("Hello"), text("x"), Seen::Ping(b"p".into()), text("Hello")]);
}

#[test]
fn a_compressed_message_without_any_octets_is_empty() {
    assert_eq!(run_deflate(b"\xc1\x00\x41\x00\x80\x00\xc1\x01\x00"), [text(""), text(""), text("")]);
}

#[test]
fn violations_of_rfc_7692_end_the_stream_whatever_trails() {
    use ProtocolError::*;
    let vectors: [(&str, &[u8], ProtocolError); 8] = [
        ("RSV1 on a ping", b"\xc9\x00", MisplacedRsv1),
        ("RSV1 on a Close", b"\xc8\x00", MisplacedRsv1),
        ("RSV1 on a continuation", b"\x41\x02\xf2\x48\xc0\x05\xcd\xc9\xc9\x07\x00", MisplacedRsv1),
        ("RSV1 on a continuation of an uncompressed message", b"\x01\x01a\xc0\x01b", MisplacedRsv1),
        ("RSV2", b"\xa1\x00", ReservedBits),
        ("RSV1 and RSV3", b"\xd1\x00", ReservedBits),
        ("a reserved block type", b"\xc1\x02\x06\x00", CorruptDeflate),
        ("a distance before the window", b"\xc1\x05\xf2\x00\x11\x00\x00", CorruptDeflate),
    ];
    for (name, wire, error) in vectors {
        assert_eq!(run_deflate(wire), [Seen::Violation(error)], "{name}");
        assert_eq!(run_deflate(&[wire, b"\x81\x01x"].concat()), [Seen::Violation(error)], "{name}, with a trailer");
        let later = [b"\x81\x01x", wire].concat();
        assert_eq!(run_deflate(&later), [text("x"), Seen::Violation(error)], "{name}, later");
    }
    let hello = b"\xc1\x07\xf2\x48\xcd\xc9\xc9\x07\x00";
    assert_eq!(run(LENIENT, hello), [Seen::Violation(UnexpectedCompression)], "RSV1 without the extension");
}

#[test]
fn strict_validates_inflated_text_at_the_first_bad_byte() {
    let mut sender = compressing(LENIENT, TAKEOVER);
    let strict = || compressing(Config { masked: true, ..STRICT_SERVER }, TAKEOVER);
    let good = sent(&mut sender, 1, "κόσμε κόσμε κόσμε".as_bytes());
    assert_eq!(good[0], 0xc1, "is compressed");
    assert_eq!(run_each(strict, &good), [text("κόσμε κόσμε κόσμε")]);
    let mut sender = compressing(LENIENT, TAKEOVER);
    let bad = sent(&mut sender, 1, &[b"ok\xff and much more".repeat(9), noise(60)].concat());
    assert_eq!(bad[0], 0xc1, "is compressed");
    let error = [Seen::Violation(ProtocolError::InvalidUtf8)];
    assert_eq!(run_each(strict, &bad), error);
    assert_eq!(run_each(strict, &bad[..40]), error, "the frame is not complete yet");
    assert!(matches!(run_deflate(&bad)[..], [Seen::Text(_)]), "lenient by default");
}

#[test]
fn what_one_end_sends_the_other_gets_with_every_window_and_level() {
    let text: Vec<u8> = (0..3000u32).flat_map(|i| format!("{{\"n\":{}}}", i * i % 977).into_bytes()).collect();
    let messages = [&text[..], &text[..200], b"", &noise(300), &text[100..], b"x", &noise(20_000), &text];
    for window_bits in 9..=15 {
        for (level, mem_level, no_context_takeover) in [(1, 5, false), (1, 1, true), (6, 9, false), (9, 1, true)] {
            let here = DeflateConfig { window_bits, level, mem_level, no_context_takeover, ..TAKEOVER };
            let there = DeflateConfig {
                peer_window_bits: window_bits,
                peer_no_context_takeover: no_context_takeover,
                ..TAKEOVER
            };
            let mut sender = compressing(LENIENT, here);
            let wire: Vec<u8> = messages.iter().flat_map(|m| sent(&mut sender, 2, m)).collect();
            let seen: Vec<Seen> = messages.iter().map(|m| Seen::Binary(m.to_vec())).collect();
            let mut events = Vec::new();
            feed(&mut compressing(LENIENT, there), wire, &mut events);
            assert!(events == seen, "window {window_bits}, level {level}, no takeover {no_context_takeover}");
        }
    }
}

#[test]
fn only_messages_from_the_threshold_on_that_get_smaller_are_compressed() {
    let mut sender = compressing(LENIENT, DeflateConfig { threshold: 100, ..TAKEOVER });
    assert_eq!(sent(&mut sender, 1, &[b'a'; 99])[0], 0x81, "below the threshold");
    assert_eq!(sent(&mut sender, 1, &[b'a'; 100])[0], 0xc1, "at the threshold");
    assert_eq!(sent(&mut sender, 9, &[b'a'; 125])[0], 0x89, "a ping");
    assert_eq!(sent(&mut sender, 3, &[b'a'; 125])[0], 0x83, "a reserved opcode");
    assert_eq!(sent(&mut sender, 2, &noise(500))[0], 0x82, "noise");
    let mut sender = compressing(LENIENT, TAKEOVER);
    assert_eq!(sent(&mut sender, 1, b"")[0], 0x81, "nothing");
    let mut sender = compressing(LENIENT, DeflateConfig { window_bits: 8, ..TAKEOVER });
    assert_eq!(sent(&mut sender, 1, &[b'a'; 1000])[0], 0x81, "with a window that zlib has not");
}

#[test]
fn compressed_frames_are_masked_when_a_key_is_given() {
    let payload = b"masked and compressed and masked and compressed";
    let (mut masked, mut plain) = (Vec::new(), Vec::new());
    for (key, out) in [(Some(KEY), &mut masked), (None, &mut plain)] {
        assert_eq!(compressing(LENIENT, TAKEOVER).send(1, payload, key, out), Ok(true));
    }
    let (header, at) = FrameHeader::parse_with(&masked, 0x40).unwrap().unwrap();
    assert_eq!((header.is_compressed, header.mask), (true, Some(KEY)));
    apply_mask(&mut masked[at..], KEY, 0);
    assert_eq!(masked[at..], plain[2..]);
}

#[test]
fn the_second_of_equal_messages_is_small_only_with_takeover() {
    let payload = noise(400).iter().map(|octet| b'a' + octet % 26).collect::<Vec<_>>();
    for (config, is_small) in [(TAKEOVER, true), (NO_TAKEOVER, false)] {
        let mut sender = compressing(LENIENT, DeflateConfig { level: 6, ..config });
        let (first, second) = (sent(&mut sender, 1, &payload), sent(&mut sender, 1, &payload));
        assert_eq!(second.len() * 10 < first.len(), is_small);
        assert_eq!(sender.has_window(), is_small);
        if !is_small {
            assert_eq!(first, second, "by itself");
        }
    }
}

#[test]
fn an_idle_window_is_dropped_and_nobody_notices() {
    let mut sender = compressing(LENIENT, TAKEOVER);
    let payload = b"the same words again and again, the same words".repeat(3);
    let first = sent(&mut sender, 1, &payload);
    assert!(sender.has_window() && sender.forget_idle_window(), "used a moment ago");
    let second = sent(&mut sender, 1, &payload);
    assert!(sender.forget_idle_window(), "used since");
    assert!(!sender.forget_idle_window() && !sender.has_window(), "not used since");
    let third = sent(&mut sender, 1, &payload);
    assert!(second.len() < first.len() && third == first);
    let body = text(std::str::from_utf8(&payload).unwrap());
    assert_eq!(run_deflate(&[first, second, third].concat()), [body.clone(), body.clone(), body]);
}

#[test]
fn inflated_messages_may_have_what_their_frames_could_have_brought_uncompressed() {
    let config = Config { max_payload_size: Some(1000), ..LENIENT };
    let seen = |wire: &[u8]| run_each(|| compressing(config, TAKEOVER), wire);
    let too_big = |limit| [Seen::Violation(ProtocolError::InflatedTooBig { limit })];
    assert_eq!(seen(&bomb(1000)), [Seen::Binary(vec![0; 1000])], "at the limit");
    assert_eq!(seen(&bomb(1001)), too_big(1000), "above it");
    let halves = |count: usize| {
        let whole = bomb(count);
        [&[0x42, 0][..], &[0x80, whole[1]], &whole[2..]].concat()
    };
    assert_eq!(seen(&halves(2000)), [Seen::Binary(vec![0; 2000])], "twice of that in two frames");
    assert_eq!(seen(&halves(2001)), too_big(2000), "but no more");
    let twice = [bomb(1000), bomb(1000)].concat();
    assert_eq!(seen(&twice).len(), 2, "each message counts from nought");
}

#[test]
fn a_streamed_message_may_have_in_each_frame_what_that_could_have_brought_uncompressed() {
    let config = Config { max_payload_size: Some(1000), ..LENIENT };
    let run = |frames: &[Vec<u8>]| {
        let mut connection = compressing(config, TAKEOVER);
        connection.set_streaming(true);
        let mut events = Vec::new();
        feed(&mut connection, frames.concat(), &mut events);
        events
    };
    let (first, empty) = (vec![0x42, 0], vec![0x00, 0]);
    let last = |count: usize| [&[0x80][..], &bomb(count)[1..]].concat();
    let whole = [Seen::Chunk(2, vec![0; 1000], true)];
    assert_eq!(run(&[first.clone(), empty.clone(), last(1000)]), whole, "at the limit");
    let too_big = [Seen::Violation(ProtocolError::InflatedTooBig { limit: 1000 })];
    assert_eq!(run(&[first, empty, last(1001)]), too_big, "frames of nothing make no room");
}

#[test]
fn max_message_size_bounds_what_a_streamed_message_is_inflated_to() {
    let whole = bomb(2000);
    let halves = [&[0x42, 1, whole[2], 0x80, whole[1] - 1][..], &whole[3..]].concat();
    let connection = |limit| {
        let mut connection = compressing(LENIENT, TAKEOVER);
        connection.set_streaming(true);
        connection.configure(0, |config| config.max_message_size = Some(limit));
        connection
    };
    let too_big = Seen::Violation(ProtocolError::MessageTooBig { size: 2000, limit: 1999 });
    let mut events = Vec::new();
    feed(&mut connection(2000), [&halves[..], &halves].concat(), &mut events);
    assert_eq!(events.iter().filter(|event| matches!(event, Seen::Chunk(_, _, true))).count(), 2, "each from nought");
    events.clear();
    feed(&mut connection(1999), halves, &mut events);
    assert_eq!(events.last(), Some(&too_big));
}

#[test]
fn text_that_is_invalid_within_the_limit_and_goes_on_beyond_it_is_invalid() {
    let config = Config { max_payload_size: Some(1000), strict: true, ..LENIENT };
    let wire = sent(&mut compressing(LENIENT, TAKEOVER), 1, &[b"\xff", &[b'a'; 1000][..]].concat());
    let masked = || [&[wire[0], wire[1] | 0x80, 0, 0, 0, 0][..], &wire[2..]].concat();
    let seen = run_each(|| compressing(config, TAKEOVER), &masked());
    assert_eq!(seen, [Seen::Violation(ProtocolError::InvalidUtf8)]);
}

#[test]
fn a_bomb_is_refused_before_its_memory_is_spent() {
    let wire = bomb(4_000_000);
    assert!(wire.len() < 65536, "fits a frame of {}", wire.len());
    let mut connection = compressing(LENIENT, TAKEOVER);
    let mut events = Vec::new();
    feed(&mut connection, wire, &mut events);
    assert_eq!(events, [Seen::Violation(ProtocolError::InflatedTooBig { limit: 65536 })]);
    assert!(connection.message.buffer_mut().capacity() <= 4 * 65536, "as much as is allowed was inflated");
}

#[test]
fn connections_of_one_pool_do_not_mix_their_messages() {
    let pool = Rc::new(DeflatePool::default());
    let connection = |config| {
        let mut connection = Connection::<BytesMut>::new(LENIENT);
        assert!(connection.enable_deflate(config, &pool));
        connection
    };
    let payload = b"first half and second half, first half and second half";
    let wire = sent(&mut connection(NO_TAKEOVER), 1, payload);
    let other = sent(&mut connection(DeflateConfig { window_bits: 15, ..NO_TAKEOVER }), 1, payload);
    let (head, tail) = wire.split_at(wire.len() / 2);
    let mut receivers: Vec<_> = (0..9).map(|_| connection(NO_TAKEOVER)).collect();
    let mut events = Vec::new();
    for piece in [head, tail, &other, head, tail] {
        receivers.iter_mut().for_each(|receiver| feed(receiver, piece.to_vec(), &mut events));
    }
    assert_eq!(events, vec![text(std::str::from_utf8(payload).unwrap()); 27]);
}

#[test]
fn it_is_enabled_only_before_the_first_message() {
    let pool = Rc::new(DeflatePool::default());
    let mut connection = Connection::<BytesMut>::new(LENIENT);
    feed(&mut connection, b"\x89\x01p".to_vec(), &mut Vec::new());
    sent(&mut connection, 9, b"p");
    assert!(connection.enable_deflate(TAKEOVER, &pool), "control frames do not count");
    let mut connection = Connection::<BytesMut>::new(LENIENT);
    sent(&mut connection, 1, b"sent");
    assert!(!connection.enable_deflate(TAKEOVER, &pool));
    let mut connection = Connection::<BytesMut>::new(LENIENT);
    feed(&mut connection, b"\x81\x7dbegun".to_vec(), &mut Vec::new());
    assert!(!connection.enable_deflate(TAKEOVER, &pool));
    assert!(!connection.compresses(1, 1000));
}

#[test]
fn payload_of_a_compressed_message_is_never_read_straight_into_the_buffer() {
    let mut connection = compressing(LENIENT, TAKEOVER);
    feed(&mut connection, b"\xc1\x07\xf2\x48".to_vec(), &mut Vec::new());
    assert!(connection.payload_space().is_none());
    let mut events = Vec::new();
    feed(&mut connection, b"\xcd\xc9\xc9\x07\x00\x81\x05He".to_vec(), &mut events);
    assert_eq!(events, [text("Hello")]);
    assert!(connection.payload_space().is_some(), "of an uncompressed one it is");
}

#[test]
fn connections_without_it_pay_a_pointer() {
    assert_eq!(size_of::<Option<Box<Deflate>>>(), size_of::<usize>());
}
