//! Fuzzes a connection with compression, in either role and with any parameters. Its peer compresses messages
//! correctly, wrongly or not at all, and the program makes any calls.
#![no_main]

use anyevent_websocket::engine::Config;
use anyevent_websocket_fuzz::compressed::{self, Compression, Piece};
use anyevent_websocket_fuzz::input::Limits;
use anyevent_websocket_fuzz::session::{Call, Session};
use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;

#[derive(Arbitrary, Debug)]
struct Input {
    limits: Limits,
    max_message_size: Option<u16>,
    compression: Compression,
    stream: Vec<Piece>,
    steps: Vec<Step>,
}

#[derive(Arbitrary, Debug)]
enum Step {
    Call(Call),
    ForgetIdleWindow,
}

fuzz_target!(|input: Input| {
    let config = Config::from(input.limits);
    let wire = compressed::wire(config, input.compression.into(), input.stream);
    let mut session = Session::new(compressed::terms(config, input.max_message_size, input.compression), wire);
    for step in input.steps {
        match step {
            Step::Call(call) => session.call(call),
            Step::ForgetIdleWindow => session.forget_idle_window(),
        }
    }
    session.finish();
});
