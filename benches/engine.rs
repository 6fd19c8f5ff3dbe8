//! Benchmarks of the engine's parts: run `cargo bench`, or `cargo bench -- mask` for some of them.

use anyevent_websocket::engine::{Config, Connection, Event, FrameHeader, Utf8Validator, apply_mask, encode_frame};
use bytes::BytesMut;
use divan::counter::{BytesCount, ItemsCount};
use divan::{Bencher, black_box};

const TEXT: u8 = 1;
const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
/// Maximum number of bytes per read, as in the binding.
const CHUNK: usize = 128 * 1024;

fn main() {
    divan::main();
}

fn text(len: usize) -> Vec<u8> {
    (b'a'..=b'z').cycle().take(len).collect()
}

fn masked_frame(payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    encode_frame(TEXT, payload, Some(KEY), &mut frame);
    frame
}

fn server() -> Connection<BytesMut> {
    Connection::new(Config::DEFAULT)
}

/// Returns the number of messages in `input`, which must end with one.
fn receive_all(connection: &mut Connection<BytesMut>, mut input: &mut [u8]) -> usize {
    let mut messages = 0;
    while let Some(event) = connection.receive(&mut input).expect("valid frames") {
        messages += usize::from(matches!(black_box(event), Event::Message { .. }));
    }
    messages
}

/// Parses one length of each of the three forms.
#[divan::bench(args = [125, 126, 65536])]
fn parse_header(bencher: Bencher, payload_len: usize) {
    let frame = masked_frame(&text(payload_len));
    bencher.bench(|| FrameHeader::parse(black_box(&frame)));
}

#[divan::bench(args = [128, 1024, 65536])]
fn mask(bencher: Bencher, len: usize) {
    let mut payload = text(len);
    bencher.counter(BytesCount::new(len)).bench_local(|| apply_mask(black_box(&mut payload), KEY, 0));
}

#[divan::bench(args = [128, 1024, 65536])]
fn encode_masked(bencher: Bencher, len: usize) {
    let (payload, mut out) = (text(len), Vec::with_capacity(len + 14));
    bencher.counter(BytesCount::new(len)).bench_local(|| {
        out.clear();
        encode_frame(TEXT, black_box(&payload), Some(KEY), &mut out);
    });
}

#[divan::bench(args = [("ASCII", "a"), ("Greek", "λ"), ("Chinese", "水")])]
fn validate_utf8_1_kib(bencher: Bencher, (_, letter): (&str, &str)) {
    let text = letter.repeat(1024 / letter.len());
    let mut validator = Utf8Validator::default();
    bencher
        .counter(BytesCount::new(text.len()))
        .bench_local(|| validator.feed(black_box(text.as_bytes())).and_then(|()| validator.finish()));
}

/// Assembles a message of 16 KiB from this many frames.
#[divan::bench(args = [2, 16, 128])]
fn assemble(bencher: Bencher, frames: usize) {
    const LEN: usize = 16 * 1024;
    let piece = text(LEN / frames);
    let mut input = Vec::new();
    for number in 0..frames {
        let opcode = if number == 0 { TEXT } else { 0 };
        let fin_at = input.len();
        encode_frame(opcode, &piece, Some(KEY), &mut input);
        if number + 1 < frames {
            input[fin_at] &= 0x7f;
        }
    }
    let mut connection = server();
    bencher.counter(BytesCount::new(LEN)).with_inputs(|| input.clone()).bench_local_refs(|input| {
        assert_eq!(receive_all(&mut connection, input), 1);
    });
}

#[divan::bench]
fn receive_chunk_of_128_byte_frames(bencher: Bencher) {
    let frame = masked_frame(&text(128));
    let frames = CHUNK / frame.len();
    let input = frame.repeat(frames);
    let mut connection = server();
    bencher.counter(ItemsCount::new(frames)).with_inputs(|| input.clone()).bench_local_refs(|input| {
        assert_eq!(receive_all(&mut connection, input), frames);
    });
}
