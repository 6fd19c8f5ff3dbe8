//! A connection in either role, with octets that arrive as they like and a program that does what it likes.
#![no_main]

use anyevent_websocket_fuzz::input::{Limits, Piece};
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
    let mut wire = Vec::new();
    input.stream.into_iter().for_each(|piece| piece.append_to(&mut wire));
    let mut session = Session::new(input.limits.into(), wire);
    input.calls.into_iter().for_each(|call| session.call(call));
    session.finish();
});
