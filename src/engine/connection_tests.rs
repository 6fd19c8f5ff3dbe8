use super::*;
use crate::engine::{CloseCode, MaskKey, UsageError, encode_frame};
use bytes::BytesMut;

#[path = "connection/compression_tests.rs"]
mod compression;

const KEY: MaskKey = [0x37, 0xfa, 0x21, 0x3d];

const LENIENT: Config = Config { max_payload_size: Some(65536), max_fragments: 128, ..Config::DEFAULT };
const STRICT_SERVER: Config = Config { strict: true, ..LENIENT };
const STRICT_CLIENT: Config = Config { masked: true, ..STRICT_SERVER };

/// An event that owns its data, so that runs can be compared.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Seen {
    Text(Vec<u8>),
    Binary(Vec<u8>),
    Chunk(u8, Vec<u8>, bool),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<u16>, Vec<u8>, Option<ProtocolError>),
    Violation(ProtocolError),
}

fn text(body: &str) -> Seen {
    Seen::Text(body.into())
}

fn seen(event: Event<'_, BytesMut>) -> Seen {
    match event {
        Event::Chunk { opcode, payload, is_final } => Seen::Chunk(opcode as u8, octets_of(payload), is_final),
        Event::Message { opcode, payload } => {
            let octets = octets_of(payload);
            if opcode == Opcode::Text { Seen::Text(octets) } else { Seen::Binary(octets) }
        }
        Event::Ping(payload) => Seen::Ping(payload.as_slice().into()),
        Event::Notice(Notice::Pong(payload)) => Seen::Pong(payload.as_slice().into()),
        Event::Notice(notice) => unreachable!("the engine does not report {notice:?}"),
        Event::Close(frame) => Seen::Close(frame.code.map(CloseCode::value), frame.reason().into(), frame.error),
    }
}

fn octets_of(payload: Payload<'_, BytesMut>) -> Vec<u8> {
    match payload {
        Payload::Borrowed(octets) => octets.to_vec(),
        Payload::Owned(buffer) => buffer.to_vec(),
    }
}

/// How messages are received.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Way {
    /// By [`Connection::receive`].
    General,
    /// By [`Connection::receive_whole`] where that takes them.
    Shortcut,
}

fn feed(connection: &mut Connection<BytesMut>, bytes: Vec<u8>, events: &mut Vec<Seen>) {
    feed_by(Way::General, connection, bytes, events);
}

fn feed_by(way: Way, connection: &mut Connection<BytesMut>, mut bytes: Vec<u8>, events: &mut Vec<Seen>) {
    let mut input = &mut bytes[..];
    loop {
        if way == Way::Shortcut {
            while let Some((opcode, payload)) = connection.receive_whole(&mut input) {
                events.push(seen(Event::Message { opcode, payload: Payload::Borrowed(payload) }));
            }
        }
        match connection.receive(&mut input) {
            Ok(Some(event)) => events.push(seen(event)),
            Ok(None) => break assert!(input.is_empty(), "all input is taken"),
            Err(error) => events.push(Seen::Violation(error)),
        }
    }
}

/// Feeds a byte stream to fresh connections in pieces of every size, with the shortcut and without, and asserts that all report
/// the same events, and the same traffic.
fn run(config: Config, wire: &[u8]) -> Vec<Seen> {
    run_each(|| Connection::new(config), wire)
}

fn run_each(connection: impl Fn() -> Connection<BytesMut>, wire: &[u8]) -> Vec<Seen> {
    let in_pieces_of = |size: usize, way: Way| {
        let mut events = Vec::new();
        let mut connection = connection();
        for piece in wire.chunks(size) {
            feed_by(way, &mut connection, piece.to_vec(), &mut events);
        }
        (events, connection.traffic())
    };
    let whole = in_pieces_of(wire.len().max(1), Way::General);
    for size in (1..wire.len().min(40)).chain([wire.len().max(1)]) {
        for way in [Way::General, Way::Shortcut] {
            assert_eq!(in_pieces_of(size, way), whole, "in pieces of {size}, {way:?}");
        }
    }
    whole.0
}

fn frame(first_byte: u8, payload: &[u8]) -> Vec<u8> {
    assert!(payload.len() < 126);
    [&[first_byte, payload.len() as u8], payload].concat()
}

#[test]
fn rfc_5_7_examples() {
    assert_eq!(run(LENIENT, b"\x81\x05Hello"), [text("Hello")]);
    assert_eq!(run(LENIENT, b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58"), [text("Hello")]);
    assert_eq!(run(LENIENT, b"\x01\x03Hel\x80\x02lo"), [text("Hello")]);
    assert_eq!(run(LENIENT, b"\x89\x05Hello"), [Seen::Ping(b"Hello".into())]);
    assert_eq!(run(LENIENT, b"\x8a\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58"), [Seen::Pong(b"Hello".into())]);
    let binary: Vec<u8> = (0..=255).collect();
    assert_eq!(run(LENIENT, &[b"\x82\x7e\x01\x00", &binary[..]].concat()), [Seen::Binary(binary)]);
}

#[test]
fn the_shortcut_takes_a_message_that_is_a_whole_frame_and_leaves_the_rest() {
    let mut bytes = [frame(0x81, b"text"), frame(0x82, b""), frame(0x89, b"ping"), frame(0x81, b"more")].concat();
    let mut connection = Connection::<BytesMut>::new(LENIENT);
    let mut input = &mut bytes[..];
    assert_eq!(connection.receive_whole(&mut input), Some((Opcode::Text, &b"text"[..])));
    assert_eq!(connection.receive_whole(&mut input), Some((Opcode::Binary, &b""[..])));
    assert_eq!(connection.receive_whole(&mut input), None, "a control frame");
    assert_eq!(input, [frame(0x89, b"ping"), frame(0x81, b"more")].concat());
    assert!(matches!(connection.receive(&mut input), Ok(Some(Event::Ping(_)))));
    assert_eq!(connection.receive_whole(&mut &mut input[..5]), None, "a part of a frame");
    assert_eq!(connection.receive_whole(&mut input), Some((Opcode::Text, &b"more"[..])), "is not taken");
}

#[test]
fn the_shortcut_is_closed_if_more_has_to_be_done_with_a_message() {
    let short = |change: fn(&mut Connection<BytesMut>)| {
        let mut connection = Connection::new(LENIENT);
        change(&mut connection);
        connection.receive_whole(&mut &mut frame(0x81, b"text")[..]).is_some()
    };
    assert!(short(|_| {}));
    assert!(!short(|connection| connection.set_streaming(true)));
    assert!(!short(|connection| connection.trace_frames()));
    assert!(!short(|connection| connection.configure(0, |config| config.strict = true)));
    assert!(!short(|connection| connection.configure(0, |config| config.max_payload_size = Some(3))));
    assert!(!short(|connection| connection.configure(0, |config| config.max_message_size = Some(3))));
    assert!(!short(|connection| feed(connection, frame(0x01, b"begun"), &mut Vec::new())));
    assert!(!short(|connection| feed(connection, b"\x81\x05begun"[..4].to_vec(), &mut Vec::new())));
    assert!(!short(|connection| feed(connection, b"\x81".to_vec(), &mut Vec::new())));
    assert!(!short(|connection| feed(connection, b"\x89\x05pi".to_vec(), &mut Vec::new())));
    assert!(!short(|connection| feed(connection, frame(0x88, b""), &mut Vec::new())));
    assert!(!short(|connection| connection.abandon()));
}

#[test]
fn control_frames_come_between_the_fragments_of_a_message() {
    let wire = [frame(0x01, b"a"), frame(0x89, b"p"), frame(0x00, b""), frame(0x8a, b""), frame(0x80, b"b")].concat();
    assert_eq!(run(LENIENT, &wire), [Seen::Ping(b"p".into()), Seen::Pong(b"".into()), text("ab")]);
}

#[test]
fn empty_messages_are_messages() {
    assert_eq!(run(LENIENT, b"\x81\x00\x82\x80abcd\x01\x00\x80\x00"), [text(""), Seen::Binary(vec![]), text("")]);
}

#[test]
fn violations_end_the_stream_whatever_trails() {
    use ProtocolError::*;
    let vectors: [(&[u8], ProtocolError); 9] = [
        (b"\x80\x01a", UnexpectedContinuation),
        (b"\x00\x01a", UnexpectedContinuation),
        (b"\x01\x01a\x81\x01b", InterleavedMessage),
        (b"\x01\x01a\x02\x01b", InterleavedMessage),
        (b"\xc1\x00", UnexpectedCompression),
        (b"\x83\x00", ReservedOpcode(3)),
        (b"\x09\x00", FragmentedControl),
        (b"\x82\x7e\x00\x05Hello", NonMinimalLength),
        (b"\x82\x7f\x00\x00\x00\x00\x00\x01\x00\x01", PayloadTooBig { announced: 65537, limit: 65536 }),
    ];
    for (wire, error) in vectors {
        assert_eq!(run(LENIENT, wire), [Seen::Violation(error)], "{wire:x?}");
        assert_eq!(run(LENIENT, &[wire, b"\x81\x01x"].concat()), [Seen::Violation(error)], "{wire:x?} with a trailer");
        assert_eq!(
            run(LENIENT, &[b"\x81\x01x", wire].concat()),
            [text("x"), Seen::Violation(error)],
            "{wire:x?} later"
        );
    }
}

#[test]
fn a_payload_of_exactly_the_limit_passes_and_no_limit_is_none() {
    let config = Config { max_payload_size: Some(5), ..LENIENT };
    assert_eq!(run(config, b"\x81\x05Hello"), [text("Hello")]);
    let error = ProtocolError::PayloadTooBig { announced: 6, limit: 5 };
    assert_eq!(run(config, b"\x81\x06Hello!"), [Seen::Violation(error)]);
    let huge = b"\x82\x7f\x7f\xff\xff\xff\xff\xff\xff\xff";
    assert_eq!(run(Config { max_payload_size: None, ..LENIENT }, huge), []);
}

#[test]
fn the_frames_of_a_message_count_together_and_control_frames_do_not() {
    let run = |wire: &[u8]| {
        let limited = || {
            let mut connection = Connection::new(LENIENT);
            connection.configure(0, |config| config.max_message_size = Some(4));
            connection
        };
        run_each(limited, wire)
    };
    let fits = [frame(0x01, b"ab"), frame(0x89, b"a ping"), frame(0x80, b"cd")].concat();
    let events = [Seen::Ping(b"a ping".into()), text("abcd")];
    assert_eq!(run(&[&fits[..], &fits].concat()), [&events[..], &events].concat());
    let error = Seen::Violation(ProtocolError::MessageTooBig { size: 5, limit: 4 });
    assert_eq!(run(&[frame(0x01, b"ab"), frame(0x80, b"cde")].concat()), std::slice::from_ref(&error));
    assert_eq!(run(&frame(0x82, b"abcde")), [error]);
}

#[test]
fn traffic_is_counted_both_ways() {
    let mut connection = Connection::<BytesMut>::new(LENIENT);
    let wire = [frame(0x01, b"ab"), frame(0x89, b"ping"), frame(0x80, b"c"), frame(0x8a, b""), frame(0x01, b"d")];
    feed(&mut connection, wire.concat(), &mut Vec::new());
    let mut out = Vec::new();
    for (opcode, payload) in [(2, &b"abc"[..]), (9, b"x"), (10, b"ping")] {
        assert_eq!(connection.send(opcode, payload, None, &mut out), Ok(true));
    }
    assert!(connection.close(Some(CloseCode::NORMAL), "bye", None, &mut out));
    assert_eq!(connection.send(1, b"too late", None, &mut out), Ok(false));
    let [received, sent] = connection.traffic();
    assert_eq!((received.frames, received.bytes, received.pings, received.pongs), (5, 8, 1, 1));
    assert_eq!((sent.frames, sent.bytes, sent.pings, sent.pongs), (4, 13, 1, 1));
    assert_eq!((received.messages(), sent.messages()), (2, 1));
}

#[test]
fn the_trace_has_a_line_for_each_frame_however_it_arrives() {
    let wire = [frame(0x01, b"ab"), frame(0x89, b""), frame(0x80, b"c")].concat();
    let expected = "received text, not final, 2 bytes: \"ab\"\nreceived ping, 0 bytes: \"\"\n\
                    received continuation, 1 bytes: \"c\"\nsent text, 2 bytes: \"ok\"\n";
    for cut in 0..wire.len() {
        let mut connection = Connection::<BytesMut>::new(LENIENT);
        connection.trace_frames();
        for part in [&wire[..cut], &wire[cut..]] {
            feed(&mut connection, part.to_vec(), &mut Vec::new());
        }
        assert_eq!(connection.send(1, b"ok", None, &mut Vec::new()), Ok(true));
        assert!(connection.has_trace());
        let lines = connection.take_trace();
        // A frame that arrives in pieces is traced with its first piece.
        assert_eq!(lines.replace("\"a\"", "\"ab\""), expected, "cut at {cut}");
        assert!(!connection.has_trace() && connection.take_trace().is_empty());
    }
}

/// Returns the events, with the chunks of each message joined, and the number of chunks.
fn streamed(config: Config, wire: &[u8], piece: usize) -> (Vec<Seen>, usize) {
    let mut connection = Connection::new(config);
    connection.set_streaming(true);
    let mut events = Vec::new();
    wire.chunks(piece).for_each(|piece| feed(&mut connection, piece.to_vec(), &mut events));
    let count = events.iter().filter(|event| matches!(event, Seen::Chunk(..))).count();
    let mut joined: Vec<Seen> = Vec::new();
    for event in events {
        match (joined.last_mut(), event) {
            (Some(Seen::Chunk(opcode, all, is_final @ false)), Seen::Chunk(also, octets, ends)) if *opcode == also => {
                all.extend(octets);
                *is_final = ends;
            }
            (_, event) => joined.push(event),
        }
    }
    (joined, count)
}

#[test]
fn a_streamed_message_comes_as_it_arrives_and_is_checked_all_the_same() {
    let many: Vec<u8> = (0..200).flat_map(|n| frame(if n == 0 { 0x02 } else { 0x00 }, b"ab")).collect();
    let wire = [&frame(0x81, "é".as_bytes())[..], &many, &frame(0x80, b""), &frame(0x81, b"")].concat();
    for piece in [1, 2, 7, wire.len()] {
        let (events, count) = streamed(STRICT_CLIENT, &wire, piece);
        let all =
            [Seen::Chunk(1, "é".into(), true), Seen::Chunk(2, b"ab".repeat(200), true), Seen::Chunk(1, vec![], true)];
        assert_eq!(events, all, "in pieces of {piece}");
        assert!(count > 200, "beyond max_fragments, too");
    }
    let (events, _) = streamed(STRICT_CLIENT, &[frame(0x01, b"a\xc3"), frame(0x80, b"a")].concat(), 1);
    assert_eq!(events[1..], [Seen::Violation(ProtocolError::InvalidUtf8)], "across frames");
    let (events, _) = streamed(STRICT_CLIENT, &[frame(0x01, b"a\xc3"), frame(0x80, b"")].concat(), 100);
    assert_eq!(events[1..], [Seen::Violation(ProtocolError::InvalidUtf8)], "cut off");
}

#[test]
fn pings_may_come_between_the_chunks_and_whole_messages_after_streaming() {
    let mut connection = Connection::new(LENIENT);
    connection.set_streaming(true);
    let mut events = Vec::new();
    feed(&mut connection, [frame(0x01, b"a"), frame(0x89, b"p")].concat(), &mut events);
    connection.set_streaming(false);
    feed(&mut connection, [frame(0x80, b"b"), frame(0x81, b"whole")].concat(), &mut events);
    let expected =
        [Seen::Chunk(1, b"a".into(), false), Seen::Ping(b"p".into()), Seen::Chunk(1, b"b".into(), true), text("whole")];
    assert_eq!(events, expected, "what has begun goes on as it began");
}

#[test]
fn fragments_are_sent_as_one_message_and_others_wait_for_its_end() {
    let (mut connection, mut out) = (Connection::<BytesMut>::new(LENIENT), Vec::new());
    for (payload, is_final) in [(&b"a"[..], false), (b"", false), (b"b", true)] {
        assert_eq!(connection.send_fragment(Opcode::Binary, is_final, payload, None, &mut out), Ok(true));
        assert_eq!(connection.is_sending_fragments(), !is_final);
        if !is_final {
            let refused = Err(UsageError::MessageInProgress);
            assert_eq!(connection.send(1, b"x", None, &mut out), refused);
            assert_eq!(connection.send_fragment(Opcode::Text, true, b"x", None, &mut out), refused);
        }
        assert_eq!(connection.send(9, b"", None, &mut out), Ok(true), "control frames do not");
    }
    assert_eq!(out, b"\x02\x01a\x89\x00\x00\x00\x89\x00\x80\x01b\x89\x00");
    assert_eq!(connection.send_fragment(Opcode::Text, true, b"c", Some(KEY), &mut out), Ok(true), "a message of one");
    assert_eq!(connection.traffic()[1].messages(), 2);
    assert!(connection.close(None, "", None, &mut out));
    assert_eq!(connection.send_fragment(Opcode::Text, true, b"d", None, &mut out), Ok(false));
}

#[test]
fn too_many_control_frames_are_answered_as_a_violation() {
    let mut connection = Connection::<BytesMut>::new(LENIENT);
    connection.configure(0, |config| config.max_control_rate = Some(1));
    assert_eq!(connection.count_control(|| 0), Ok(()));
    assert!(connection.can_receive());
    assert_eq!(connection.count_control(|| 0), Err(ProtocolError::TooManyControls { limit: 1 }));
    assert_eq!((connection.can_receive(), connection.state_name()), (false, "closing"));
    let mut out = Vec::new();
    assert!(connection.fail(ProtocolError::TooManyControls { limit: 1 }, None, &mut out));
    assert_eq!(out, b"\x88\x02\x03\xf0");
    assert!(connection.transport_closed());
    assert_eq!(connection.state_name(), "closed");
}

#[test]
fn the_pong_that_is_owed_comes_before_what_is_sent_next() {
    let mut connection = Connection::<BytesMut>::new(LENIENT);
    let mut out = Vec::new();
    assert!(!connection.defers_pong(65_536));
    assert!(connection.defers_pong(65_537));
    assert!(connection.owe_pong(Box::default()));
    connection.send_owed_pong(None, &mut out).unwrap();
    connection.send_owed_pong(None, &mut out).unwrap();
    assert_eq!(out, b"\x8a\x00", "once");
    assert!(connection.close(None, "", None, &mut out));
    assert!(!connection.defers_pong(65_537), "no pong is sent any more");
}

#[test]
fn the_fragment_with_the_number_of_the_limit_is_refused() {
    let config = Config { max_fragments: 3, ..LENIENT };
    let two = [frame(0x01, b"a"), frame(0x00, b"b")].concat();
    assert_eq!(run(config, &[&two[..], b"\x80\x01c"].concat()), [text("abc")]);
    let error = ProtocolError::TooManyFragments { limit: 3 };
    assert_eq!(run(config, &[&two[..], b"\x00\x01c"].concat()), [Seen::Violation(error)]);
    let again = [&two[..], b"\x80\x01c", &two[..], b"\x80\x01c"].concat();
    assert_eq!(run(config, &again), [text("abc"), text("abc")], "each message counts from nought");
}

#[test]
fn close_frames_are_reported_as_received_with_the_rule_they_break() {
    use ProtocolError::*;
    let close = |body: &[u8]| run(LENIENT, &[frame(0x88, body), frame(0x81, b"late")].concat());
    assert_eq!(close(b""), [Seen::Close(Some(1005), vec![], None)]);
    assert_eq!(close(b"\x03\xe8bye"), [Seen::Close(Some(1000), b"bye".into(), None)]);
    assert_eq!(close(b"\x03"), [Seen::Close(None, vec![], Some(TruncatedCloseCode))]);
    let reserved = InvalidCloseCode(CloseCode::NO_STATUS);
    assert_eq!(close(b"\x03\xedbb"), [Seen::Close(Some(1005), b"bb".into(), Some(reserved))]);
    assert_eq!(close(b"\x03\xe8\xff"), [Seen::Close(Some(1000), vec![0xff], Some(InvalidCloseReason))]);
}

#[test]
fn strict_refuses_bad_utf8_at_the_first_bad_byte_of_an_unfinished_frame() {
    let error = Seen::Violation(ProtocolError::InvalidUtf8);
    let masked = |payload: &[u8]| {
        let mut out = Vec::new();
        encode_frame(1, payload, Some(KEY), &mut out);
        out
    };
    let bad = masked(b"ok\xff and much more");
    assert_eq!(run(STRICT_SERVER, &bad), std::slice::from_ref(&error));
    assert_eq!(run(STRICT_SERVER, &bad[..9]), std::slice::from_ref(&error), "the frame is not complete yet");
    assert_eq!(run(STRICT_SERVER, &masked(b"cut \xe2\x82")), [error]);
    assert_eq!(run(STRICT_SERVER, &masked("κόσμε".as_bytes())), [text("κόσμε")]);
    let mut binary = bad.clone();
    binary[0] = 0x82;
    assert!(matches!(run(STRICT_SERVER, &binary)[..], [Seen::Binary(_)]), "octets are not text");
    assert!(matches!(run(LENIENT, &bad)[..], [Seen::Text(_)]), "lenient by default");
}

#[test]
fn strict_holds_each_role_to_its_masking() {
    let unmasked = b"\x81\x01a";
    let masked = b"\x81\x81\0\0\0\0a";
    assert_eq!(run(STRICT_SERVER, unmasked), [Seen::Violation(ProtocolError::UnmaskedFrame)]);
    assert_eq!(run(STRICT_SERVER, masked), [text("a")]);
    assert_eq!(run(STRICT_CLIENT, masked), [Seen::Violation(ProtocolError::MaskedFrame)]);
    assert_eq!(run(STRICT_CLIENT, unmasked), [text("a")]);
}

#[test]
fn payload_read_straight_into_the_buffer_is_the_same_message() {
    let body: Vec<u8> = (0..5000u32).map(|i| i as u8).collect();
    let mut wire = Vec::new();
    encode_frame(2, &body, Some(KEY), &mut wire);
    for step in [1, 7, 1000, 4992] {
        let mut connection = Connection::<BytesMut>::new(LENIENT);
        let (mut head, mut rest) = (wire[..11].to_vec(), &wire[11..]);
        assert!(connection.payload_space().is_none(), "no payload is due before a header");
        assert_eq!(connection.receive(&mut &mut head[..]), Ok(None));
        let event = loop {
            let (buffer, missing) = connection.payload_space().expect("payload is due");
            assert_eq!(missing, rest.len() as u64);
            let (piece, tail) = rest.split_at(step.min(rest.len()));
            buffer.extend_from_slice(piece);
            rest = tail;
            if let Some(event) = connection.payload_appended(piece.len()).expect("valid") {
                break seen(event);
            }
        };
        assert_eq!(event, Seen::Binary(body.clone()), "in steps of {step}");
    }
}

#[test]
fn complete_frames_are_told_from_cut_ones() {
    let mut connection = Connection::<BytesMut>::new(LENIENT);
    assert!(connection.is_frame_complete(b"\x81\x01a"));
    assert!(connection.is_frame_complete(b"\x81\x00more"));
    assert!(!connection.is_frame_complete(b"\x81\x02a"));
    assert!(!connection.is_frame_complete(b"\x81"));
    connection.abandon();
    assert!(!connection.is_frame_complete(b"\x81\x01a"));
}

#[test]
fn sending_masks_when_a_key_is_given_and_stops_after_close() {
    let mut connection = Connection::<BytesMut>::new(STRICT_CLIENT);
    let mut out = Vec::new();
    assert_eq!(connection.send(1, b"Hello", Some(KEY), &mut out), Ok(true));
    assert_eq!(out, b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58");
    out.clear();
    assert!(connection.close(Some(CloseCode::NORMAL), "bye", None, &mut out));
    assert_eq!(out, b"\x88\x05\x03\xe8bye");
    assert!(!connection.close(None, "", None, &mut out), "one Close frame only");
    assert_eq!(connection.send(1, b"late", None, &mut out), Ok(false));
    assert_eq!(out.len(), 7);
}

#[test]
fn a_close_frame_sent_by_hand_begins_the_closing_handshake() {
    let mut connection = Connection::<BytesMut>::new(LENIENT);
    let mut out = Vec::new();
    assert_eq!(connection.send(8, b"", None, &mut out), Ok(true));
    assert!(!connection.can_send(1) && connection.can_receive());
}

#[test]
fn a_close_frame_sent_by_hand_answers_the_peer_s() {
    let mut connection = Connection::<BytesMut>::new(LENIENT);
    feed(&mut connection, b"\x88\x00".to_vec(), &mut Vec::new());
    let mut out = Vec::new();
    assert_eq!(connection.send(1, b"late", None, &mut out), Ok(false));
    assert_eq!(connection.send(8, b"", None, &mut out), Ok(true));
    assert_eq!(connection.send(8, b"", None, &mut out), Ok(false));
    assert_eq!(out, b"\x88\x00");
}

#[test]
fn close_reasons_are_cut_between_characters() {
    for (reason, kept) in [("x".repeat(124), 123), ("é".repeat(62), 122), ("x".repeat(123), 123)] {
        let mut out = Vec::new();
        Connection::<BytesMut>::new(LENIENT).close(Some(CloseCode::NORMAL), &reason, None, &mut out);
        assert_eq!(&out[4..], &reason.as_bytes()[..kept]);
    }
}

#[test]
fn a_header_sent_alone_is_that_of_the_whole_frame() {
    for len in [0, 125, 126, 65536] {
        let (mut header, mut whole) = (Vec::new(), Vec::new());
        let mut connection = Connection::<BytesMut>::new(LENIENT);
        let payload = vec![7; len];
        assert_eq!(connection.send_header(2, &payload, &mut header), Ok(true));
        assert_eq!(connection.send(2, &payload, None, &mut whole), Ok(true));
        assert_eq!(header, whole[..whole.len() - len]);
    }
}

#[test]
fn reserved_opcodes_may_be_sent_but_no_number_beyond_four_bits() {
    let mut connection = Connection::<BytesMut>::new(LENIENT);
    let mut out = Vec::new();
    assert_eq!(connection.send(3, b"x", None, &mut out), Ok(true));
    assert_eq!(connection.send(16, b"x", None, &mut out), Err(UsageError::OpcodeOutOfRange));
    assert_eq!(out, b"\x83\x01x");
}

#[test]
fn oversized_control_frames_are_the_caller_s_mistake() {
    let mut connection = Connection::<BytesMut>::new(LENIENT);
    let mut out = Vec::new();
    assert_eq!(connection.send(9, &[0; 126], None, &mut out), Err(UsageError::OversizedControl(126)));
    assert!(out.is_empty());
    assert_eq!(connection.send(9, &[0; 125], None, &mut out), Ok(true));
}

#[test]
fn the_peer_s_close_is_answered_once_and_ends_receiving() {
    let mut connection = Connection::<BytesMut>::new(LENIENT);
    let mut events = Vec::new();
    feed(&mut connection, b"\x88\x02\x03\xe8".to_vec(), &mut events);
    assert!(!connection.can_send(1) && !connection.can_receive());
    let mut out = Vec::new();
    assert!(connection.close(Some(CloseCode::NORMAL), "", None, &mut out));
    assert!(!connection.close(None, "", None, &mut out));
    assert_eq!(out, b"\x88\x02\x03\xe8");
}

#[test]
fn a_violation_is_answered_once_with_its_code_unless_our_close_is_out() {
    let answer = |connection: &mut Connection<BytesMut>| {
        let error = connection.receive(&mut &mut b"\x83\x00".to_vec()[..]).unwrap_err();
        let mut out = Vec::new();
        assert!(!connection.can_send(1));
        connection.fail(error, None, &mut out);
        assert!(!connection.fail(error, None, &mut out));
        out
    };
    let mut connection = Connection::new(LENIENT);
    assert_eq!(answer(&mut connection), b"\x88\x02\x03\xea");
    let mut connection = Connection::new(LENIENT);
    connection.close(None, "", None, &mut Vec::new());
    assert_eq!(answer(&mut connection), b"");
}

#[test]
fn messages_still_arrive_after_our_close() {
    let mut connection = Connection::<BytesMut>::new(LENIENT);
    connection.close(None, "", None, &mut Vec::new());
    let mut events = Vec::new();
    feed(&mut connection, b"\x81\x01a\x88\x00\x81\x01b".to_vec(), &mut events);
    assert_eq!(events, [text("a"), Seen::Close(Some(1005), vec![], None)]);
}

#[test]
fn the_end_of_the_transport_is_news_once() {
    let mut connection = Connection::<BytesMut>::new(LENIENT);
    assert!(connection.transport_closed());
    assert!(!connection.transport_closed());
    assert!(!connection.can_send(1) && !connection.can_receive());
}
