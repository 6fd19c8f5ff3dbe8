//! A handshake on the client's side.

use super::{new_fields, new_object, new_optional, new_text, with_state};
use crate::engine::handshake::{ClientHandshake, Expected, Limits};
use crate::xs::perl::ffi::{Perl, SV};
use crate::xs::perl::magic::Kind;
use crate::xs::perl::sv;
use std::cell::RefCell;

/// The state that hangs on the Perl value.
pub type State = RefCell<ClientHandshake>;

/// Creates the Perl value.
pub fn create(perl: Perl, limits: Limits, expected: Expected) -> *mut SV {
    new_object(perl, Kind::ClientHandshake, ClientHandshake::new(limits, expected))
}

/// Reads the response: `[length, subprotocol, extensions]`, or `[undef, text]`; `None` asks for more.
pub fn read(perl: Perl, object: *mut SV, octets: &[u8]) -> Option<*mut SV> {
    let read = |handshake: &mut ClientHandshake| handshake.receive(octets).transpose();
    // SAFETY: `create` makes this type for this kind.
    let result = unsafe { with_state(perl, object, Kind::ClientHandshake, read)?? };
    Some(match result {
        Ok(answer) => {
            let [subprotocol, extensions] =
                [answer.subprotocol, answer.extensions].map(|value| new_optional(perl, value.as_deref()));
            sv::new_array(perl, [sv::new_number(perl, answer.len as u64), subprotocol, extensions])
        }
        Err(error) => sv::new_array(perl, [sv::new_undef(perl), new_text(perl, &error.to_string())]),
    })
}

/// Reads the head of a response that refuses: `[length, status, reason, [name, value, ...]]`, or `[undef, text]`; `None`
/// asks for more.
pub fn refusal(perl: Perl, object: *mut SV, octets: &[u8]) -> Option<*mut SV> {
    let read = |handshake: &mut ClientHandshake| handshake.receive_refusal(octets).transpose();
    // SAFETY: `create` makes this type for this kind.
    let result = unsafe { with_state(perl, object, Kind::ClientHandshake, read)?? };
    Some(match result {
        Ok(refusal) => sv::new_array(
            perl,
            [
                sv::new_number(perl, refusal.len as u64),
                sv::new_number(perl, refusal.status.into()),
                sv::new_string(perl, &refusal.reason),
                new_fields(perl, &refusal.fields),
            ],
        ),
        Err(error) => sv::new_array(perl, [sv::new_undef(perl), new_text(perl, &error.to_string())]),
    })
}
