//! The XSUBs of codecs.

use super::arguments::{Arguments, Settings};
use super::table::{run, xsubs};
use crate::engine::CloseCode;
use crate::xs::codec::Codec;
use crate::xs::perl::ffi::{self, After, CV, Perl, SV, Xsub};
use crate::xs::perl::sv;

/// Maximum size, in bytes, of the memory that the variable a codec has read from keeps.
const KEPT_READ_BUFFER: usize = 256 * 1024;

xsubs! {
package "AnyEvent::WebSocket::Native::Codec" {
    /// `attach_codec($codec, $name => $value, ...)`, with settings: makes a codec of the hash.
    attach_codec = |call, after| {
        let Ok(settings) = Settings::of(call, 1, after) else { return };
        let object = call.arg(0).and_then(sv::referent).filter(|&sv| sv::is_hash(sv));
        let Some(object) = object else { return after.croaking(call.located("a codec must be a hash")) };
        // SAFETY: perl keeps an XSUB and its arguments while no Perl code runs.
        unsafe { Codec::attach(call.perl, object, call.sub.cast(), settings.config) };
    };
    /// `feed($codec, $octets)`: takes bytes from the peer, and empties the variable.
    feed = |call, after| {
        let Some(shared) = call.codec(after) else { return };
        shared.borrow_mut().receive(call.octets(1));
        if let Some(octets) = call.arg(1) {
            // SAFETY: the value is live.
            unsafe { ffi::ws_empty(call.perl, octets, KEPT_READ_BUFFER) };
        }
    };
    /// `next_event($codec)`: returns an array whose first element is the kind; see `codec.rs`. Nothing if more bytes are
    /// needed.
    next_event = |call, after| {
        let Some(shared) = call.codec(after) else { return };
        let event = shared.borrow_mut().next_event(call.perl);
        if let Some(event) = event {
            after.returning(event);
        }
    };
    /// `queue_frame($codec, $opcode, $octets)`: returns an error text; nothing if the frame was queued, or the connection no
    /// longer sends.
    queue_frame = |call, after| {
        let Some(shared) = call.codec(after) else { return };
        if let Err(error) = shared.borrow_mut().send(call.opcode(1), call.octets(2)) {
            after.returning(sv::new_string(call.perl, error.to_string().as_bytes()));
        }
    };
    /// `queue_close($codec, $code or undef, $octets)`: returns true if a Close frame was queued.
    queue_close = |call, after| {
        let Some(shared) = call.codec(after) else { return };
        let Ok(code) = call.number(1, after) else { return };
        let code = code.map(|code| CloseCode::new(u16::try_from(code).unwrap_or_default()));
        match shared.borrow_mut().close(code, &String::from_utf8_lossy(call.octets(2))) {
            Ok(is_queued) => after.returning(call.boolean(is_queued)),
            Err(error) => after.croaking(call.located(&error.to_string())),
        }
    };
    /// `output($codec, $max)`: returns the next bytes for the peer, at most so many.
    output = |call, after| {
        let Some(shared) = call.codec(after) else { return };
        let max = call.integer(1).and_then(|max| usize::try_from(max).ok()).unwrap_or_default();
        after.returning(sv::new_string(call.perl, shared.borrow().output(max)));
    };
    /// `written($codec, $count)`: removes bytes that were written from the output.
    written = |call, after| {
        let Some(shared) = call.codec(after) else { return };
        let count = call.integer(1).and_then(|count| usize::try_from(count).ok()).unwrap_or_default();
        if let Err(error) = shared.borrow_mut().written(count) {
            after.croaking(call.located(&error.to_string()));
        }
    };
    /// `may_send($codec)`: returns true if a message may be sent.
    may_send = |call, after| {
        let Some(shared) = call.codec(after) else { return };
        after.returning(call.boolean(shared.borrow().can_send()));
    };
    /// `give_up($codec)`: gives up the connection; nothing more is parsed or queued.
    give_up = |call, after| {
        let Some(shared) = call.codec(after) else { return };
        shared.borrow_mut().abandon();
    };
    /// `compress($codec, ...)`, with the arguments of `Engine::enable_deflate`: returns false if a message was already
    /// sent or received.
    compress = |call, after| {
        let Some(shared) = call.codec(after) else { return };
        let Ok(config) = call.deflate_config(after) else { return };
        after.returning(call.boolean(shared.borrow_mut().enable_deflate(config)));
    };
}
}
