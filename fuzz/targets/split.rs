//! Fuzzes how a stream is split: whole, in any pieces, and in pieces with payload read straight into its message.
//! Events and answers must be the same, and agree with the reference.
#![no_main]

use anyevent_websocket::engine::Config;
use anyevent_websocket_fuzz::input::{self, Few, Limits, Piece};
use anyevent_websocket_fuzz::reference;
use anyevent_websocket_fuzz::support::Endpoint;
use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;

#[derive(Arbitrary, Debug)]
struct Input {
    limits: Limits,
    closes_after: Option<u8>,
    /// The lengths of the pieces, used in turn, and whether payload of the piece goes straight into its message.
    cuts: Vec<(Few, bool)>,
    stream: Vec<Piece>,
}

fuzz_target!(|input: Input| {
    let config = Config::from(input.limits);
    let wire = input::wire(config, input.stream);
    let [mut whole, mut cut] = [(); 2].map(|()| Endpoint::new(config, input.closes_after.map(usize::from)));
    whole.receive(&wire);
    receive_cut(&mut cut, &wire, &input.cuts);
    assert_eq!(cut.seen, whole.seen);
    assert_eq!(cut.sent, whole.sent);
    reference::events(&config.into(), &wire).check(&whole.seen);
});

fn receive_cut(endpoint: &mut Endpoint, wire: &[u8], cuts: &[(Few, bool)]) {
    let mut directly = cuts.iter().map(|(_, directly)| *directly).cycle();
    for piece in input::pieces(wire, cuts.iter().map(|(length, _)| *length)) {
        if directly.next() == Some(true) { endpoint.receive_directly(piece) } else { endpoint.receive(piece) }
    }
}
