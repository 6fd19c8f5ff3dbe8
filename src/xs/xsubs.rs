//! The XSUBs, in one table: the name of the Perl sub, what it takes and returns, and its body.

use super::codec::{self, Codec};
use super::conn::broadcast::Broadcast;
use super::conn::connection::{self, Connection, Failure, Lookup, Parts, Shared};
use super::conn::dispatch::{self, Ending};
use super::conn::interpreter::Interpreter;
use super::conn::perl_subs;
use super::conn::receive;
use super::handshake::{self, client, server::Server};
use super::io::{clock, tls};
use super::perl::ffi::{self, After, CV, Perl, SV, State, Xsub};
use super::perl::magic::Kind;
use super::perl::sv;
use crate::engine::handshake::{AcceptKey, DeflateTerms, EndTerms, Expected, Limits, Opening, encode_key};
use crate::engine::{CloseCode, Config, DeflateConfig, Opcode};
use std::ffi::{CString, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::{null, null_mut};
use std::slice;

/// Maximum size, in bytes, of the memory that the variable a codec has read from keeps.
const KEPT_READ_BUFFER: usize = 256 * 1024;

/// XSLoader calls this. A perl that can have several interpreters, as one with threads has, passes the one that calls.
#[unsafe(no_mangle)]
#[allow(non_snake_case, missing_docs)]
pub unsafe extern "C" fn boot_AnyEvent__WebSocket__Native(#[cfg(perl_usemultiplicity)] perl: Perl, cv: *mut CV) {
    #[cfg(not(perl_usemultiplicity))]
    let perl = null_mut();
    // SAFETY: perl's own arguments, passed on.
    unsafe { ffi::ws_boot(perl, cv) }
}

/// Checks that the functions below have the types declared in `interface.h`.
const _: () = {
    _ = [ffi::ws_rust_next_call as unsafe extern "C" fn(_, _, _) -> _, ws_rust_next_call];
    _ = [ffi::ws_rust_dispatched as unsafe extern "C" fn(_, _, _, _), ws_rust_dispatched];
    _ = [ffi::ws_rust_connection as unsafe extern "C" fn(_) -> _, ws_rust_connection];
    _ = [ffi::ws_rust_before_read as unsafe extern "C" fn(_), ws_rust_before_read];
    _ = [ffi::ws_rust_free as unsafe extern "C" fn(_) -> _, ws_rust_free];
};

/// The arguments of an XSUB.
struct Arguments<'a> {
    perl: Perl,
    sub: *mut CV,
    args: &'a [*mut SV],
}

impl Arguments<'_> {
    fn arg(&self, index: usize) -> Option<*mut SV> {
        self.args.get(index).copied()
    }

    fn integer(&self, index: usize) -> Option<i64> {
        sv::plain_integer(self.arg(index)?)
    }

    /// Returns a whole number, or `None` if the argument is undef or missing. Anything else is a mistake in the Perl half
    /// and must not become "no limit": the XSUB croaks.
    fn number(&self, index: usize, after: &mut After) -> Result<Option<u64>, ()> {
        match self.arg(index).filter(|&value| !sv::is_undef(value)) {
            None => Ok(None),
            Some(value) => match sv::plain_integer(value).and_then(|n| u64::try_from(n).ok()) {
                Some(number) => Ok(Some(number)),
                None => {
                    after.croaking(self.located(&format!("argument {index} must be a whole number")));
                    Err(())
                }
            },
        }
    }

    /// Returns a number from 0 to 255; 0 for undef, and for larger numbers.
    fn small_number(&self, index: usize, after: &mut After) -> Result<u8, ()> {
        Ok(self.number(index, after)?.and_then(|number| u8::try_from(number).ok()).unwrap_or_default())
    }

    /// Returns an opcode; one that does not exist if the argument is not an opcode's number.
    fn opcode(&self, index: usize) -> u8 {
        self.integer(index).and_then(|code| u8::try_from(code).ok()).unwrap_or(u8::MAX)
    }

    /// Returns the bytes of a plain string; an empty slice if the argument is something else.
    fn octets(&self, index: usize) -> &[u8] {
        self.arg(index).map_or(b"", sv::plain_octets)
    }

    /// Returns the bytes of a plain string; `None` if the argument is undef or missing.
    fn optional(&self, index: usize) -> Option<&[u8]> {
        self.arg(index).filter(|&value| !sv::is_undef(value)).map(sv::plain_octets)
    }

    /// Returns the arguments from `index` on as pairs of plain strings.
    fn pairs(&self, index: usize) -> Vec<(&[u8], &[u8])> {
        let octets = |&value: &*mut SV| sv::plain_octets(value);
        self.args
            .get(index..)
            .unwrap_or_default()
            .chunks_exact(2)
            .map(|pair| (octets(&pair[0]), octets(&pair[1])))
            .collect()
    }

    /// Returns the limits of a head.
    fn limits(&self, index: usize, after: &mut After) -> Result<Limits, ()> {
        Ok(handshake::limits(self.setting(index, after)?, self.setting(index + 1, after)?))
    }

    fn is_true(&self, index: usize) -> bool {
        self.integer(index).is_some_and(|n| n != 0)
    }

    /// Returns the connection of the first argument; croaks if that is not a connection.
    #[inline(always)]
    fn connection(&self, after: &mut After) -> Option<&Shared> {
        let object = self.arg(0).and_then(sv::referent);
        // SAFETY: perl keeps an XSUB's arguments while no Perl code runs.
        match object.map_or(Lookup::NotAConnection, |object| unsafe { connection::find(self.perl, object) }) {
            Lookup::Connection(shared) => Some(shared),
            Lookup::Gone => None,
            Lookup::NotAConnection if self.arg(0).is_some_and(|value| !sv::is_plain(value)) => {
                after.fetching();
                None
            }
            Lookup::NotAConnection => {
                after.croaking(self.located(
                    "not an AnyEvent::WebSocket::Connection: call this on what connect or establish has returned",
                ));
                None
            }
        }
    }

    /// Returns the codec of the first argument; croaks if that has none.
    fn codec(&self, after: &mut After) -> Option<&codec::Shared> {
        let object = self.arg(0).and_then(sv::referent);
        // SAFETY: perl keeps an XSUB's arguments while no Perl code runs.
        let found = object.and_then(|object| unsafe { codec::find(self.perl, object) });
        if found.is_none() {
            after.croaking(self.located("this connection belongs to another thread"));
        }
        found
    }

    /// Returns what compression is configured with, by the seven arguments of `enable_deflate`.
    fn deflate_config(&self, after: &mut After) -> Result<DeflateConfig, ()> {
        let numbers = [1, 3, 5, 6].map(|index| self.small_number(index, after));
        let [Ok(window_bits), Ok(peer_window_bits), Ok(level), Ok(mem_level)] = numbers else { return Err(()) };
        Ok(DeflateConfig {
            window_bits,
            no_context_takeover: self.is_true(2),
            peer_window_bits,
            peer_no_context_takeover: self.is_true(4),
            level,
            mem_level,
            threshold: self.number(7, after)?.and_then(|n| usize::try_from(n).ok()).unwrap_or_default(),
        })
    }

    /// Returns the connection that the handle callback belongs to.
    fn bound_connection(&self) -> Option<&Shared> {
        // SAFETY: perl keeps the sub that it calls.
        match unsafe { connection::find(self.perl, self.sub.cast()) } {
            Lookup::Connection(shared) => Some(shared),
            _ => None,
        }
    }

    /// Handles a call of a handle callback whose connection was freed: a handle that still exists reads for itself, and
    /// bytes it has read are discarded.
    fn call_without_connection(&self, argument: Option<*mut SV>, after: &mut After) {
        // SAFETY: perl keeps the sub that it calls.
        let left = unsafe { ffi::ws_orphaned_handle(self.perl, self.sub.cast()) };
        match argument {
            Some(handle) if left.is_null() || handle == left.cast() => {
                after.calling(perl_subs::DISCARD, [sv::new_reference(self.perl, handle)]);
            }
            _ if left.is_null() => {}
            _ => after.calling(perl_subs::READ_BY_HANDLE, [sv::new_reference(self.perl, left.cast())]),
        }
    }

    /// Returns the value of a setting, a whole number.
    fn setting(&self, index: usize, after: &mut After) -> Result<u64, ()> {
        self.number(index, after)?.ok_or_else(|| after.croaking(self.located("a setting must have a value")))
    }

    /// Returns the terms that an end wants, from four arguments: the server's and the client's `no_context_takeover`, and
    /// their `max_window_bits`.
    fn deflate_terms(&self, index: usize, after: &mut After) -> Result<DeflateTerms, ()> {
        let mut end = |index| {
            let max_window_bits = self.small_number(index + 2, after)?;
            Ok(EndTerms { no_context_takeover: self.is_true(index), max_window_bits })
        };
        Ok(DeflateTerms { server: end(index)?, client: end(index + 1)? })
    }

    /// Creates the four values that [`Self::deflate_terms`] reads.
    fn deflate_values(&self, terms: DeflateTerms) -> [*mut SV; 4] {
        let DeflateTerms { server, client } = terms;
        let values = [server.no_context_takeover.into(), client.no_context_takeover.into()];
        [values[0], values[1], server.max_window_bits, client.max_window_bits]
            .map(|value| sv::new_number(self.perl, value.into()))
    }

    fn located(&self, text: &str) -> *mut SV {
        // SAFETY: a pointer and its length.
        unsafe { ffi::ws_located(self.perl, text.as_ptr().cast(), text.len()) }
    }

    fn boolean(&self, value: bool) -> *mut SV {
        sv::new_number(self.perl, value.into())
    }
}

/// Settings passed by name.
struct Settings {
    config: Config,
    is_traced: bool,
}

impl Settings {
    /// Reads pairs of a name and a value, starting at argument `index`. Croaks if there is a mistake.
    fn of(call: &Arguments<'_>, index: usize, after: &mut After) -> Result<Self, ()> {
        let mut settings = Self { config: Config::DEFAULT, is_traced: false };
        for index in (index..call.args.len()).step_by(2) {
            let value = call.setting(index + 1, after)?;
            match sv::plain_octets(call.args[index]) {
                b"is_traced" => settings.is_traced = value != 0,
                name if settings.config.set(name, value) => {}
                _ => {
                    after.croaking(call.located("there is no such setting"));
                    return Err(());
                }
            }
        }
        Ok(settings)
    }
}

/// Runs an XSUB's body. A panic is a bug in this library: the program gets an exception, and the connection, if there is
/// one, is abandoned.
fn run(call: &Arguments<'_>, after: &mut After, body: impl FnOnce(&mut After)) {
    let Err(panic) = catch_unwind(AssertUnwindSafe(|| body(after))) else { return };
    let text = panic.downcast_ref::<&str>().map(|text| text.to_string());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
    *after = After::default();
    after.croaking(call.located(&format!("internal error: {text}")));
    let value = call.arg(0).and_then(sv::referent).unwrap_or(call.sub.cast());
    for value in [value, call.sub.cast()] {
        // SAFETY: perl keeps an XSUB and its arguments while no Perl code runs.
        if let Lookup::Connection(shared) = unsafe { connection::find(call.perl, value) } {
            abandon(shared);
        }
        // SAFETY: as above.
        if let Some(Ok(mut codec)) = unsafe { codec::find(call.perl, value) }.map(|shared| shared.try_borrow_mut()) {
            codec.abandon();
        }
    }
}

macro_rules! xsubs {
    (
        $(package $package:literal {
            $($(#[$doc:meta])* $name:ident = |$call:ident, $after:ident| $body:expr;)*
        })*
        without a name {
            $(#[$doc_of_unnamed:meta])* $unnamed:ident = |$its_call:ident, $its_after:ident| $its_body:expr;
        }
    ) => {
        /// The bodies that the trampoline calls.
        #[allow(unused_imports)]
        mod bodies {
            use super::*;
            $($(xsubs!(body $(#[$doc])* $name, $call, $after, $body);)*)*
            xsubs!(body $(#[$doc_of_unnamed])* $unnamed, $its_call, $its_after, $its_body);
        }

        /// The rows of the table.
        #[allow(non_camel_case_types, dead_code)]
        enum Row { $($($name,)*)* Count }

        /// The table, which ends with a row without a name.
        #[unsafe(no_mangle)]
        #[allow(non_upper_case_globals)]
        static ws_rust_xsubs: [Xsub; Row::Count as usize + 1] = [
            $($(Xsub {
                body: Some(bodies::$name),
                name: concat!($package, "::", stringify!($name), "\0").as_ptr().cast(),
            },)*)*
            Xsub { body: None, name: null() },
        ];

        static HANDLE_CALLBACK: Xsub = Xsub { body: Some(bodies::$unnamed), name: null() };
    };
    (body $(#[$doc:meta])* $name:ident, $call:ident, $after:ident, $body:expr) => {
        $(#[$doc])*
        pub(super) extern "C" fn $name(perl: Perl, sub: *mut CV, args: *mut *mut SV, items: i32, after: *mut After) {
            // SAFETY: the trampoline passes its own struct, and the stack from the first argument on.
            let (args, after) = unsafe { (slice::from_raw_parts(args, items as usize), &mut *after) };
            let call = Arguments { perl, sub, args };
            run(&call, after, |$after| { let $call = &call; $body });
        }
    };
}

xsubs! {
package "AnyEvent::WebSocket::Connection" {
    /// `$connection->send($string or $message)`: returns the connection.
    send = |call, after| {
        let Some(shared) = call.connection(after) else { return };
        send_fast(call, shared, after).unwrap_or_else(|| send_anything(call, after));
        // SAFETY: the interpreter is running this XSUB, and its first argument is live.
        unsafe {
            if ffi::ws_wants_value(call.perl) {
                after.returning(ffi::ws_new_copy(call.perl, call.args[0]));
            }
        }
    };
}
package "AnyEvent::WebSocket::Native::Engine" {
    /// `send_frame($connection, $opcode, $octets)`: returns an error text, or undef.
    send_frame = |call, after| {
        let Some(shared) = call.connection(after) else { return };
        let opcode = call.opcode(1);
        let octets = call.octets(2);
        if let Err(error) = shared.borrow_mut().send(opcode, octets, after) {
            after.returning(sv::new_string(call.perl, error.to_string().as_bytes()));
        }
    };
    /// `attach($connection, $handle, $name => $value, ...)`, with settings: returns the handle callback, which must become
    /// the handle's `on_read`, `on_eof` and `on_error`, and be called from the loop once.
    attach = |call, after| {
        let hash = |index| call.arg(index).and_then(sv::referent).filter(|&sv| sv::is_hash(sv)).map(|sv| sv.cast());
        let Ok(settings) = Settings::of(call, 2, after) else { return };
        let (Some(object), Some(handle)) = (hash(0), hash(1)) else {
            return after.croaking(call.located("the connection and its handle must be hashes"));
        };
        let interpreter = Interpreter::of(call.perl, call.sub.cast(), &ws_rust_xsubs[Row::send as usize]);
        let (config, is_traced) = (settings.config, settings.is_traced);
        let parts = Parts { interpreter, object, handle, handle_callback: &HANDLE_CALLBACK, config, is_traced };
        after.returning(Connection::attach(call.perl, parts));
    };
    /// `start($connection)`: delivers what has arrived so far; from now on, messages are delivered as they arrive.
    start = |call, after| {
        let Some(shared) = call.connection(after) else { return };
        shared.borrow_mut().is_started = true;
        let handle = shared.borrow().handle;
        receive::on_read(shared, handle, after);
    };
    /// `start_if_untouched($connection)`: returns true if nothing has arrived yet; messages are then delivered as they
    /// arrive, and may be read natively.
    start_if_untouched = |call, after| {
        let Some(shared) = call.connection(after) else { return };
        let connection = &mut *shared.borrow_mut();
        connection.is_started = connection.has_stock_handle() && connection.handle().is_untouched();
        after.returning(call.boolean(connection.is_started));
    };
    /// `take_read_buffer($connection)`: takes over what the handle has read, to be delivered later.
    take_read_buffer = |call, after| {
        let Some(shared) = call.connection(after) else { return };
        let handle = shared.borrow().handle;
        shared.borrow_mut().take_unread(handle);
    };
    /// `deliver_rest($connection)`: delivers the messages that were left for the loop's next iteration, which will not come.
    deliver_rest = |call, after| {
        let Some(shared) = call.connection(after) else { return };
        dispatch::deliver_rest(shared, after);
    };
    /// `dispatch_pending($connection)`: delivers the messages that wait behind one whose callback runs the event loop.
    dispatch_pending = |call, after| {
        let Some(shared) = call.connection(after) else { return };
        dispatch::deliver_pending(shared, after);
    };
    /// `put_back($connection, $is_streamed, $message, ...)`: has these messages delivered before those that have yet to be
    /// parsed, as parts of themselves if messages are streamed. Something else must start the dispatch.
    put_back = |call, after| {
        let Some(shared) = call.connection(after) else { return };
        for message in call.args.iter().skip(2).filter_map(|&message| sv::referent(message)) {
            shared.borrow_mut().put_back(sv::new_reference(call.perl, message), call.is_true(1));
        }
    };
    /// `set_paused($connection, $is_paused)`: pauses or resumes delivery.
    set_paused = |call, after| {
        let Some(shared) = call.connection(after) else { return };
        shared.borrow_mut().turn.set_paused(call.is_true(1));
    };
    /// `state($connection)`: returns the name of the state.
    state = |call, after| {
        let Some(shared) = call.connection(after) else { return };
        let connection = shared.borrow();
        let name = if connection.handle().is_destroyed() { "closed" } else { connection.engine.state_name() };
        after.returning(sv::new_string(call.perl, name.as_bytes()));
    };
    /// `traffic($connection)`: returns a reference to an array of names and numbers: what was received and sent, and with
    /// compression, the bytes before (`plain_...`) and after it (`wire_...`).
    traffic = |call, after| {
        let Some(shared) = call.connection(after) else { return };
        let engine = &shared.borrow().engine;
        let mut pairs = Vec::new();
        for (index, direction) in ["received", "sent"].into_iter().enumerate() {
            let savings = engine.compression().map(|both| [("plain", both[index].plain), ("wire", both[index].wire)]);
            for (name, count) in engine.traffic()[index].by_name().into_iter().chain(savings.into_iter().flatten()) {
                pairs.push(sv::new_string(call.perl, format!("{name}_{direction}").as_bytes()));
                pairs.push(sv::new_number(call.perl, count));
            }
        }
        after.returning(sv::new_array(call.perl, pairs));
    };
    /// `addresses($connection)`: returns a reference to an array of the peer's address and our own, packed.
    addresses = |call, after| {
        let Some(shared) = call.connection(after) else { return };
        let addresses = &shared.borrow().addresses;
        let both = [addresses.peer(), addresses.local()];
        after.returning(sv::new_array(call.perl, both.map(|address| sv::new_string(call.perl, address))));
    };
    /// `broadcast(\@connections, $opcode, $octets, $except or undef, $max_backlog or undef)`: returns an error text; or undef
    /// if an element must be fetched first; or a reference to an array of a count and four arrays: connections whose `send`
    /// must be called, values that are not ours, connections with a partial write, and [connection, errno] pairs.
    broadcast = |call, after| {
        let list = call.arg(0).and_then(sv::referent).filter(|&list| sv::is_plain_array(list));
        let Some(list) = list else { return after.croaking(call.located("the connections must be an array")) };
        let opcode = call.opcode(1);
        let octets = call.octets(2);
        let Ok(max_backlog) = call.number(4, after) else { return };
        let broadcast = Broadcast::new(opcode, octets, call.arg(3).and_then(sv::referent), max_backlog);
        let result = broadcast.run(call.perl, list.cast());
        match result {
            Err(error) => after.returning(sv::new_string(call.perl, error.to_string().as_bytes())),
            Ok(Some(outcome)) => after.returning(outcome.into_array(call.perl)),
            Ok(None) => {}
        }
    };
    /// `send_fragment($connection, $opcode, $octets, $is_final)`: returns an error text, or undef.
    send_fragment = |call, after| {
        let Some(shared) = call.connection(after) else { return };
        let is_binary = call.integer(1) == Some(Opcode::Binary as i64);
        let opcode = if is_binary { Opcode::Binary } else { Opcode::Text };
        let octets = call.octets(2);
        if let Err(error) = shared.borrow_mut().send_fragment(opcode, call.is_true(3), octets, after) {
            after.returning(sv::new_string(call.perl, error.to_string().as_bytes()));
        }
    };
    /// `set_streaming($connection, $streams)`: sets whether messages that begin from now on are delivered in parts.
    set_streaming = |call, after| {
        let Some(shared) = call.connection(after) else { return };
        shared.borrow_mut().engine.set_streaming(call.is_true(1));
    };
    /// `configure($connection, $name => $value, ...)`, with all settings but `masked` and `is_traced`, which stay as they
    /// are.
    configure = |call, after| {
        let Some(shared) = call.connection(after) else { return };
        let Ok(settings) = Settings::of(call, 1, after) else { return };
        shared.borrow_mut().engine.configure(clock::monotonic(), |config| {
            *config = Config { masked: config.masked, ..settings.config };
        });
    };
    /// `flush($connection)`: writes the frames that wait for the end of a dispatch.
    flush = |call, after| {
        let Some(shared) = call.connection(after) else { return };
        shared.borrow_mut().flush(after);
    };
    /// `can_close($connection)`: returns true if a Close frame may still be sent.
    can_close = |call, after| {
        let Some(shared) = call.connection(after) else { return };
        after.returning(call.boolean(shared.borrow().engine.can_send(Opcode::Close as u8)));
    };
    /// `owes_close($connection)`: returns true if the peer's Close frame was not answered yet.
    owes_close = |call, after| {
        let Some(shared) = call.connection(after) else { return };
        after.returning(call.boolean(shared.borrow().engine.owes_close()));
    };
    /// `send_close($connection, $code or undef, $octets)`: returns true if a Close frame was sent.
    send_close = |call, after| {
        let Some(shared) = call.connection(after) else { return };
        let Ok(code) = call.number(1, after) else { return };
        let code = code.map(|code| CloseCode::new(u16::try_from(code).unwrap_or_default()));
        let reason = call.octets(2);
        let reason = String::from_utf8_lossy(reason);
        match shared.borrow_mut().send_close(code, &reason, after) {
            Ok(is_sent) => after.returning(call.boolean(is_sent)),
            Err(error) => after.croaking(call.located(&error.to_string())),
        }
    };
    /// `sends_natively($connection)`: returns true if its `send` is ours, and not one that a subclass or a program has put
    /// there.
    sends_natively = |call, after| {
        let Some(shared) = call.connection(after) else { return };
        let connection = shared.borrow();
        after.returning(call.boolean(connection.interpreter.sends_natively(connection.object)));
    };
    /// `transport_closed($connection)`: returns true the first time.
    transport_closed = |call, after| {
        let Some(shared) = call.connection(after) else { return };
        let is_news = shared.borrow_mut().engine.transport_closed();
        after.returning(call.boolean(is_news));
    };
    /// `take_failure($connection)`: returns the reason why the connection fails, once: a reference to an array of a text or
    /// an exception, and true if it is an exception.
    take_failure = |call, after| {
        let Some(shared) = call.connection(after) else { return };
        let error = match shared.borrow_mut().failure.take() {
            None => return,
            Some(Failure::Violation(error)) => sv::new_string(call.perl, error.to_string().as_bytes()),
            Some(Failure::Exception(exception)) => {
                return after.returning(sv::new_array(call.perl, [exception, call.boolean(true)]));
            }
        };
        after.returning(sv::new_array(call.perl, [error, call.boolean(false)]));
    };
    /// `answer_ping($connection)`: the peer has read something; returns true if the last ping still waits for its answer.
    answer_ping = |call, after| {
        let Some(shared) = call.connection(after) else { return };
        let is_waiting = dispatch::answer_pending_ping(shared, after);
        after.returning(call.boolean(is_waiting));
    };
    /// `use_tls($path)`: uses the OpenSSL that the loaded library at that path is linked to.
    use_tls = |call, _after| {
        let path = call.octets(0);
        if let Ok(path) = CString::new(path) {
            tls::use_library(&path);
        }
    };
    /// `enable_deflate($connection, $window_bits, $no_context_takeover, $peer_window_bits, $peer_no_context_takeover,
    /// $level, $mem_level, $threshold)`: returns false if a message was already sent or received.
    enable_deflate = |call, after| {
        let Some(shared) = call.connection(after) else { return };
        let Ok(config) = call.deflate_config(after) else { return };
        let connection = &mut *shared.borrow_mut();
        let is_enabled = connection.engine.enable_deflate(config, &connection.interpreter.deflate);
        after.returning(call.boolean(is_enabled));
    };
    /// `forget_idle_window($connection)`: frees the window of sent messages if nothing was sent since the last call; returns
    /// true if there still is one.
    forget_idle_window = |call, after| {
        let Some(shared) = call.connection(after) else { return };
        let connection = &mut *shared.borrow_mut();
        after.returning(call.boolean(connection.engine.forget_idle_window()));
    };
    /// `deflate_offer($server_no_context_takeover, $client_no_context_takeover, $server_max_window_bits,
    /// $client_max_window_bits)`: returns the value of a request's Sec-WebSocket-Extensions.
    deflate_offer = |call, after| {
        let Ok(wanted) = call.deflate_terms(0, after) else { return };
        after.returning(sv::new_string(call.perl, wanted.offer().as_bytes()));
    };
    /// `deflate_accept($request_value, ...)`, with the arguments of `deflate_offer`: returns undef if the server must decline,
    /// or a reference to an array of the value of the response and the four terms agreed on.
    deflate_accept = |call, after| {
        let Ok(wanted) = call.deflate_terms(1, after) else { return };
        let Some((response, agreed)) = wanted.accept(call.octets(0)) else { return };
        let response = sv::new_string(call.perl, response.as_bytes());
        after.returning(sv::new_array(call.perl, [response].into_iter().chain(call.deflate_values(agreed))));
    };
    /// `deflate_confirm($response_value, ...)`, with the arguments of `deflate_offer`: returns an error text; or undef if the
    /// server has declined; or a reference to an array of the four terms agreed on.
    deflate_confirm = |call, after| {
        let Ok(wanted) = call.deflate_terms(1, after) else { return };
        match wanted.confirm(call.octets(0)) {
            Err(error) => after.returning(sv::new_string(call.perl, error.to_string().as_bytes())),
            Ok(Some(agreed)) => after.returning(sv::new_array(call.perl, call.deflate_values(agreed))),
            Ok(None) => {}
        }
    };
    /// `server_handshake($head_limit, $line_limit, $is_strict)`: returns the state of a handshake on the server's side.
    server_handshake = |call, after| {
        let Ok(limits) = call.limits(0, after) else { return };
        after.returning(Server::create(call.perl, limits, call.is_true(2)));
    };
    /// `read_request($handshake, $octets)`, with everything that has arrived so far: returns undef while that is not enough,
    /// `[$length]`, or `[undef, $error, $status]`.
    read_request = |call, after| {
        let Some(object) = call.arg(0) else { return };
        let result = Server::with(call.perl, object, |server| server.read(call.perl, call.octets(1)));
        result.flatten().into_iter().for_each(|result| after.returning(result));
    };
    /// `take_request($handshake, $target, $name => $value, ...)`, with a request that somebody else has read: returns the
    /// same, with a length of 0.
    take_request = |call, after| {
        let Some(object) = call.arg(0) else { return };
        let take = |server: &mut Server| server.take(call.perl, call.octets(1), call.pairs(2));
        Server::with(call.perl, object, take).into_iter().for_each(|result| after.returning(result));
    };
    /// `request($handshake)`: returns `[$target, [$name => $value, ...]]` of the request that was read.
    request = |call, after| {
        let Some(object) = call.arg(0) else { return };
        let request = Server::with(call.perl, object, |server| server.request(call.perl));
        request.flatten().into_iter().for_each(|request| after.returning(request));
    };
    /// `request_list($handshake, $name)`: returns the values of all fields with this name, joined by commas; or undef.
    request_list = |call, after| {
        let Some(object) = call.arg(0) else { return };
        let name = String::from_utf8_lossy(call.octets(1));
        let list = Server::with(call.perl, object, |server| server.joined(call.perl, &name));
        list.flatten().into_iter().for_each(|list| after.returning(list));
    };
    /// `acceptance($handshake, $subprotocol or undef, $extensions or undef)`: returns the response to the request that was
    /// read.
    acceptance = |call, after| {
        let Some(object) = call.arg(0) else { return };
        let accept = |server: &mut Server| server.acceptance(call.perl, call.optional(1), call.optional(2));
        Server::with(call.perl, object, accept).flatten().into_iter().for_each(|response| after.returning(response));
    };
    /// `new_key()`: returns a new Sec-WebSocket-Key.
    new_key = |call, after| {
        let mut nonce = [0; 16];
        match getrandom::fill(&mut nonce) {
            Ok(()) => after.returning(sv::new_string(call.perl, encode_key(nonce).as_bytes())),
            Err(error) => after.croaking(call.located(&format!("there are no random bytes: {error}"))),
        }
    };
    /// `opening($target, $host, $origin, $subprotocols or undef, $key, $is_draft, $replaces, $name => $value, ...)`: returns
    /// a client's request.
    opening = |call, after| {
        let opening = Opening {
            target: call.octets(0),
            host: call.octets(1),
            origin: call.octets(2),
            subprotocols: call.optional(3),
            key: call.octets(4),
            is_draft: call.is_true(5),
            replaces: call.is_true(6),
            more: call.pairs(7),
        };
        after.returning(sv::new_string(call.perl, &opening.encode()));
    };
    /// `client_handshake($head_limit, $line_limit, $is_strict, $key or undef, $offers, $has_other_subprotocols, $asks,
    /// $subprotocol, ...)`: returns the state of a handshake on the client's side. The key is undef if a server may answer
    /// to another one; `$offers` is the value of Sec-WebSocket-Extensions; with `$asks`, the subprotocols were asked for.
    client_handshake = |call, after| {
        let Ok(limits) = call.limits(0, after) else { return };
        let subprotocols = || call.args[7..].iter().map(|&one| sv::plain_octets(one).to_vec()).collect();
        let expected = Expected {
            is_strict: call.is_true(2),
            accept: call.optional(3).map(AcceptKey::of),
            extensions: call.octets(4).to_vec(),
            has_other_subprotocols: call.is_true(5),
            subprotocols: call.is_true(6).then(subprotocols),
        };
        after.returning(client::create(call.perl, limits, expected));
    };
    /// `read_response($handshake, $octets)`, with everything that has arrived so far: returns undef while that is not
    /// enough, `[$length, $subprotocol, $extensions]`, or `[undef, $error]`.
    read_response = |call, after| {
        let Some(object) = call.arg(0) else { return };
        client::read(call.perl, object, call.octets(1)).into_iter().for_each(|result| after.returning(result));
    };
    /// `read_refusal($handshake, $octets)`, with everything that has arrived so far: returns undef while the head of the
    /// final response is not complete, `[$length, $status, $reason, [$name => $value, ...]]`, or `[undef, $error]`.
    read_refusal = |call, after| {
        let Some(object) = call.arg(0) else { return };
        client::refusal(call.perl, object, call.octets(1)).into_iter().for_each(|result| after.returning(result));
    };
}
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
package "AnyEvent::WebSocket::Native" {
    /// `library_version()`.
    library_version = |call, after| {
        after.returning(sv::new_string(call.perl, env!("CARGO_PKG_VERSION").as_bytes()));
    };
}
without a name {
    /// The handle callback. If it is called with the handle, or with one that the handle passes calls on to, it is
    /// `on_error` if there are more arguments, `on_eof` if nothing is left to be read, and otherwise `on_read`. The event
    /// loop calls it with other arguments, when the connection has to start, and when the descriptor is readable.
    handle_callback = |call, after| {
        let hash = call.arg(0).and_then(sv::referent).filter(|&sv| sv::is_hash(sv));
        let Some(shared) = call.bound_connection() else { return call.call_without_connection(hash, after) };
        let connection = || sv::new_reference(call.perl, shared.borrow().object.cast());
        let handle = hash.map(<*mut SV>::cast).filter(|&hash| shared.borrow().is_read_through(hash));
        let is_started = shared.borrow().is_started;
        match (handle, call.arg(2)) {
            (Some(_), Some(message)) => after.calling(perl_subs::FINISH, [connection(), sv::retain(message)]),
            (Some(handle), None) if receive::is_at_eof(shared, handle) => {
                after.calling(perl_subs::FINISH, [connection()]);
            }
            (Some(handle), None) => receive::on_read(shared, handle, after),
            (None, _) if is_started => receive::readable(shared, after),
            (None, _) => after.calling(perl_subs::BEGIN, [connection()]),
        }
    };
}
}

/// Sends a string or a message of our own class. Returns `None` if sending, or reporting what is wrong, needs Perl code.
fn send_fast(call: &Arguments<'_>, shared: &Shared, after: &mut After) -> Option<()> {
    let message = call.arg(1)?;
    let (opcode, body) = match sv::referent(message) {
        None => (Opcode::Text as u8, message),
        Some(object) => {
            let (code, body) = shared.borrow().interpreter.messages.parts(object)?;
            (u8::try_from(code).ok()?, body)
        }
    };
    let payload = sv::wire_octets(body)?;
    shared.borrow_mut().send(opcode, payload, after).ok()
}

fn send_anything(call: &Arguments<'_>, after: &mut After) {
    match *call.args {
        [connection] => after.calling(perl_subs::SEND_ANYTHING, [sv::retain(connection)]),
        [connection, message, ..] => {
            after.calling(perl_subs::SEND_ANYTHING, [sv::retain(connection), sv::retain(message)]);
        }
        [] => {}
    }
}

/// Replaces `call` by the next call of the dispatch loop. Returns `false` if none is left.
#[unsafe(no_mangle)]
extern "C" fn ws_rust_next_call(connection: *const c_void, stack: *const c_void, call: *mut ffi::Call) -> bool {
    // SAFETY: the loop holds the object on which the connection hangs, and passes its own struct.
    let (shared, call) = unsafe { (&*connection.cast::<Shared>(), &mut *call) };
    let next = catch_unwind(AssertUnwindSafe(|| shared.borrow_mut().next_call(stack, call)));
    next.unwrap_or_else(|_| {
        abandon(shared);
        false
    })
}

/// Ends a dispatch; takes over the reference count of `exception`, with which a callback died.
#[unsafe(no_mangle)]
extern "C" fn ws_rust_dispatched(connection: *const c_void, exception: *mut SV, is_exiting: bool, after: *mut After) {
    // SAFETY: the loop holds the object on which the connection hangs, and passes its own struct.
    let (shared, after) = unsafe { (&*connection.cast::<Shared>(), &mut *after) };
    let outcome = match (is_exiting, exception.is_null()) {
        (true, _) => Ending::Exiting,
        (false, true) => Ending::Done,
        (false, false) => Ending::Died(exception),
    };
    if catch_unwind(AssertUnwindSafe(|| dispatch::end(shared, outcome, after))).is_err() {
        after.exiting = is_exiting;
        abandon(shared);
    }
}

fn abandon(shared: &Shared) {
    if let Ok(mut connection) = shared.try_borrow_mut() {
        connection.engine.abandon();
    }
}

/// Returns the connection of a state; null unless the state is an object's.
#[unsafe(no_mangle)]
extern "C" fn ws_rust_connection(state: State) -> *const c_void {
    if state.is(Kind::Object) { state.state } else { null() }
}

/// Perl code is about to read the slot of a handle that holds its TLS session.
#[unsafe(no_mangle)]
extern "C" fn ws_rust_before_read(state: State) {
    // SAFETY: the state hangs on the slot, and is a connection's.
    let shared = unsafe { state.get::<Shared>(Kind::WatchedSlot) };
    if let Some(Ok(mut connection)) = shared.map(|shared| shared.try_borrow_mut()) {
        if catch_unwind(AssertUnwindSafe(|| connection.encrypt_waiting())).is_err() {
            connection.engine.abandon();
        }
    }
}

/// Frees a state. Returns a value whose reference count C must give up, or null.
#[unsafe(no_mangle)]
extern "C" fn ws_rust_free(state: State) -> *mut SV {
    // SAFETY: C passes each state once. A panic cannot be reported here.
    let free = || {
        // SAFETY: C passes each state once, and it is freed by the one whose kind it is.
        unsafe { if handshake::free(&state) || codec::free(&state) { null_mut() } else { connection::free(state) } }
    };
    catch_unwind(AssertUnwindSafe(free)).unwrap_or(null_mut())
}
