//! Fuzzes two endpoints with compression: each must receive what the other sends, in any pieces, with fragments and
//! control frames in between.
#![no_main]

use anyevent_websocket::engine::{Config, DeflateConfig, DeflatePool, Opcode};
use anyevent_websocket_fuzz::compressed::Compression;
use anyevent_websocket_fuzz::input::{Few, LONGEST, Octets, pieces};
use anyevent_websocket_fuzz::support::{Endpoint, Seen, peer_of};
use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;
use std::rc::Rc;

#[derive(Arbitrary, Debug)]
struct Input {
    from_client: bool,
    compression: Compression,
    steps: Vec<Step>,
    /// The lengths of the pieces, used in turn.
    cuts: Vec<Few>,
}

#[derive(Arbitrary, Debug)]
enum Step {
    Message { is_text: bool, payload: Octets },
    Fragment { payload: Octets, is_final: bool },
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    ForgetIdleWindow,
}

struct Sender {
    endpoint: Endpoint,
    /// Number of payload bytes so far.
    plain: usize,
    /// The payload so far of a message being sent in fragments.
    begun: Option<Vec<u8>>,
    /// The events that the other end should report.
    expected: Vec<Seen>,
}

impl Sender {
    fn step(&mut self, step: Step) {
        match step {
            Step::Message { is_text, payload } => self.message(is_text, payload.into_vec()),
            Step::Fragment { payload, is_final } => self.fragment(&payload.into_vec(), is_final),
            Step::Ping(payload) => self.control(Opcode::Ping, payload, Seen::Ping),
            Step::Pong(payload) => self.control(Opcode::Pong, payload, Seen::Pong),
            Step::ForgetIdleWindow => drop(self.endpoint.connection.forget_idle_window()),
        }
    }

    fn message(&mut self, is_text: bool, payload: Vec<u8>) {
        if self.begun.is_some() {
            return self.fragment(&payload, false);
        }
        self.plain += payload.len();
        let opcode = if is_text { Opcode::Text } else { Opcode::Binary };
        self.endpoint.send(opcode, &payload);
        self.expected.push(Seen::Message(opcode, payload));
    }

    fn fragment(&mut self, payload: &[u8], is_final: bool) {
        let Endpoint { connection, mask, sent, .. } = &mut self.endpoint;
        assert_eq!(connection.send_fragment(Opcode::Binary, is_final, payload, *mask, sent), Ok(true));
        self.plain += payload.len();
        let mut message = self.begun.take().unwrap_or_default();
        message.extend(payload);
        if is_final {
            self.expected.push(Seen::Message(Opcode::Binary, message));
        } else {
            self.begun = Some(message);
        }
    }

    fn control(&mut self, opcode: Opcode, mut payload: Vec<u8>, seen: fn(Vec<u8>) -> Seen) {
        payload.truncate(125);
        self.endpoint.send(opcode, &payload);
        self.expected.push(seen(payload));
    }
}

/// Returns the answers of an endpoint to these events.
fn answers(seen: &[Seen]) -> Vec<Seen> {
    let answers = seen.iter().filter_map(|seen| match seen {
        Seen::Ping(payload) => Some(Seen::Pong(payload.clone())),
        Seen::Pong(_) => None,
        _ => Some(seen.clone()),
    });
    answers.collect()
}

fuzz_target!(|input: Input| {
    let deflate = DeflateConfig::from(input.compression);
    let pool = Rc::new(DeflatePool::default());
    let [here, there] = [input.from_client, !input.from_client].map(|masked| Config {
        masked,
        ..Config::DEFAULT
    });
    let endpoint = Endpoint::compressing(here, deflate, &pool);
    let mut sender = Sender { endpoint, plain: 0, begun: None, expected: Vec::new() };
    for step in input.steps {
        if sender.plain < LONGEST {
            sender.step(step);
        }
    }
    if sender.begun.is_some() {
        sender.fragment(b"", true);
    }
    let cuts = input.cuts.iter().copied();
    let mut receiver = Endpoint::compressing(there, peer_of(deflate), &pool);
    pieces(&sender.endpoint.sent, cuts.clone()).for_each(|piece| receiver.receive(piece));
    assert_eq!(receiver.seen, sender.expected);
    pieces(&receiver.sent, cuts).for_each(|piece| sender.endpoint.receive(piece));
    assert_eq!(sender.endpoint.seen, answers(&sender.expected));
});
