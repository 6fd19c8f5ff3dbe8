//! The XSUBs of connections.

use super::arguments::{Arguments, Settings};
use super::table::{run, xsubs};
use crate::engine::{Config, Opcode};
use crate::xs::conn::broadcast::Broadcast;
use crate::xs::conn::connection::{Connection, Failure, Parts, Shared};
use crate::xs::conn::dispatch;
use crate::xs::conn::interpreter::Interpreter;
use crate::xs::conn::perl_subs;
use crate::xs::conn::receive;
use crate::xs::io::{clock, openssl};
use crate::xs::perl::ffi::{self, After, CV, Perl, SV, Xsub};
use crate::xs::perl::sv;
use std::ffi::CString;
use std::ptr::null_mut;

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
        let interpreter = Interpreter::of(call.perl, call.sub.cast(), &TABLE[Row::send as usize], &UNREGISTER);
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
        if connection.is_started {
            connection.handle().free_empty_read_buffer();
        }
        after.returning(call.boolean(connection.is_started));
    };
    /// `read_natively($connection)`: the handle has begun to read, from now on natively, if it allows that and messages are
    /// delivered as they arrive.
    read_natively = |call, after| {
        let Some(shared) = call.connection(after) else { return };
        receive::read_again(shared, after);
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
        let Ok(code) = call.close_code(1, after) else { return };
        match shared.borrow_mut().send_close(code, &String::from_utf8_lossy(call.octets(2)), after) {
            Ok(is_sent) => after.returning(call.boolean(is_sent)),
            Err(error) => after.croaking(call.located(&error.to_string())),
        }
    };
    /// `close_at_once($connection, $code or undef, $octets)`: sends a Close frame, and then ends the stream to the peer. Returns 0 if
    /// nothing was done, because that needs Perl code; 1 if the frame was sent; 2 if all is done.
    close_at_once = |call, after| {
        let Some(shared) = call.connection(after) else { return };
        let Ok(code) = call.close_code(1, after) else { return };
        match shared.borrow_mut().close_at_once(code, &String::from_utf8_lossy(call.octets(2)), after) {
            Ok(progress) => after.returning(sv::new_number(call.perl, progress as u64)),
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
    /// `end_quietly($connection)`: notes that the transport is closed, and returns true if that is news. Does nothing, and returns
    /// false, if a message or a failure has to be reported first.
    end_quietly = |call, after| {
        let Some(shared) = call.connection(after) else { return };
        let connection = &mut *shared.borrow_mut();
        let is_quiet = !connection.has_rest() && connection.failure.is_none();
        after.returning(call.boolean(is_quiet && connection.engine.transport_closed()));
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
    /// `share_guard($connection, $timer, \&start, \&stop)`: arms the nested-loop guard for this connection with a timer that
    /// runs, and from now on with the same timer for all connections.
    share_guard = |call, after| {
        let Some(shared) = call.connection(after) else { return };
        let &[_, timer, start, stop] = call.args else { return };
        let connection = shared.borrow();
        connection.interpreter.burst_guard.share(call.perl, [timer, start, stop], &connection.guarded());
    };
    /// `take_guarded()`: the timer that all connections share has fired. Returns a reference to an array of the connection that
    /// was guarded first, or undef if it is gone; and of true if the timer guards others.
    take_guarded = |call, after| {
        // SAFETY: the name is a C string; perl keeps the sub of a package, unless a program deletes it.
        let interpreter = unsafe {
            let attach = ffi::ws_sub(call.perl, TABLE[Row::attach as usize].name);
            if attach.is_null() { None } else { Interpreter::on(call.perl, attach.cast()) }
        };
        let (first, is_more) = interpreter.map_or((None, false), |interpreter| interpreter.burst_guard.take());
        let first = first.and_then(|connection| connection.downcast::<Shared>().ok());
        let object = first.map_or(null_mut(), |shared| shared.borrow().object);
        let object = if object.is_null() { sv::new_undef(call.perl) } else { sv::new_reference(call.perl, object.cast()) };
        after.returning(sv::new_array(call.perl, [object, call.boolean(is_more)]));
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
            openssl::use_library(&path);
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
}
without a name {
    /// The handle callback. If it is called with the handle, or with one that the handle passes calls on to, it is
    /// `on_error` if there are more arguments, `on_eof` if nothing is left to be read, and otherwise `on_read`. The event
    /// loop calls it with other arguments, when the connection has to start, and when the descriptor is readable.
    HANDLE_CALLBACK: handle_callback = |call, after| {
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
    /// The sub that an each_message callback gets to unregister itself.
    UNREGISTER: unregister = |call, after| {
        let Some((shared, callback)) = call.registration() else { return };
        let connection = shared.borrow();
        if !connection.object.is_null() {
            let address = sv::new_number(call.perl, callback as u64);
            after.calling(perl_subs::UNREGISTER_EACH, [connection.reference(), address]);
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
