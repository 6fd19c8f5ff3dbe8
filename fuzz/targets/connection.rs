//! Fuzzes a connection in either role, with any bytes from the peer and any calls by the program.
#![no_main]

use anyevent_websocket::engine::Config;
use anyevent_websocket_fuzz::input::{self, Limits, Piece};
use anyevent_websocket_fuzz::session::{Call, Session};
use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;

#[derive(Arbitrary, Debug)]
struct Input {
    limits: Limits,
    stream: Vec<Piece>,
    calls: Vec<Call>,
}

fuzz_target!(|input: Input| {
    let config = Config::from(input.limits);
    let mut session = Session::new(config.into(), input::wire(config, input.stream));
    input.calls.into_iter().for_each(|call| session.call(call));
    session.finish();
});
