//! The XSUBs of opening handshakes.

use super::arguments::Arguments;
use super::table::{run, xsubs};
use crate::engine::handshake::{AcceptKey, Expected, Opening, PlainUrl, encode_key};
use crate::xs::handshake::answering::{self, Outcome};
use crate::xs::handshake::server::Server;
use crate::xs::handshake::{self, client};
use crate::xs::io::{descriptor, handle};
use crate::xs::perl::ffi::{self, After, CV, Perl, SV, Xsub};
use crate::xs::perl::sv;
use std::ffi::CString;

xsubs! {
package "AnyEvent::WebSocket::Native::Engine" {
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
    /// `has_stock_methods($handle)`: returns true if the handle's methods are AnyEvent::Handle's own.
    has_stock_methods = |call, after| {
        let handle = call.arg(0).and_then(sv::referent);
        let is_stock = |handle| handshake::has_stock_methods(call.perl, call.sub.cast(), handle);
        after.returning(call.boolean(handle.is_some_and(is_stock)));
    };
    /// `has_stock_methods_named($handle, $name, ...)`: returns true if these of the handle's methods are AnyEvent::Handle's own.
    has_stock_methods_named = |call, after| {
        let Some(handle) = call.arg(0).and_then(sv::referent) else { return };
        let names = call.args[1..].iter().map(|&name| CString::new(sv::plain_octets(name)).unwrap_or_default());
        after.returning(call.boolean(handshake::has_stock_methods_named(call.perl, handle, names)));
    };
    /// `has_own_sub($package, $name, $file)`: returns true if the package's sub of this name is the one that was defined there, in a
    /// file whose path ends with `$file`.
    has_own_sub = |call, after| {
        let names = [0, 1, 2].map(|index| CString::new(call.octets(index)).unwrap_or_default());
        let [package, name, file] = names.each_ref().map(|name| name.as_ptr());
        // SAFETY: these are C strings.
        after.returning(call.boolean(unsafe { ffi::ws_has_sub(call.perl, package, name, file) }));
    };
    /// `class_generation($class)`: returns a number that changes whenever a method of the class may have changed.
    class_generation = |call, after| {
        let class = CString::new(call.octets(0)).unwrap_or_default();
        // SAFETY: the name is a C string; perl keeps the stash while no Perl code runs.
        let generation = unsafe { ffi::ws_generation_of(call.perl, class.as_ptr()) };
        after.returning(sv::new_number(call.perl, generation.into()));
    };
    /// `prepare_stream($fh)`: does to a file handle what AnyEvent::Handle does to its own. Returns false, and does nothing, if it
    /// has no descriptor, or is a socket that is no stream.
    prepare_stream = |call, after| {
        let fd = call.arg(0).and_then(|fh| handle::fileno(call.perl, fh));
        after.returning(call.boolean(fd.is_some_and(descriptor::prepare_stream)));
    };
    /// `answer_request($handle, $head_limit, $line_limit, $is_strict)`: reads from the handle's socket, and answers a request that is
    /// complete and valid. Returns undef if it cannot read; 0 if nothing has arrived; 1 if it has answered; a reference to what has
    /// arrived if that is something else; and minus the errno if writing failed.
    answer_request = |call, after| {
        let Ok(limits) = call.limits(1, after) else { return };
        let Some(handle) = call.arg(0).and_then(sv::referent).filter(|&sv| sv::is_hash(sv)) else { return };
        let terms = (limits, call.is_true(3));
        let outcome = answering::answer(call.perl, call.sub.cast(), handle.cast(), terms, after);
        after.returning(match outcome {
            Outcome::Unreadable => sv::new_undef(call.perl),
            Outcome::Nothing => sv::new_number(call.perl, 0),
            Outcome::Answered => sv::new_number(call.perl, 1),
            Outcome::Failed(errno) => sv::new_string(call.perl, format!("-{errno}").as_bytes()),
            Outcome::Other(octets) => {
                sv::free_later(call.perl, octets);
                sv::new_reference(call.perl, octets)
            }
        });
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
        let Ok(key) = random_key(call, after) else { return };
        after.returning(sv::new_string(call.perl, key.as_bytes()));
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
    /// `plain_url($url)`: returns `[$scheme, $host, $port]`; undef for a URL that the module URI would change, or that is not
    /// for a WebSocket. Also undef for a tainted URL: URI returns parts that are not tainted, and programs rely on that.
    plain_url = |call, after| {
        if call.arg(0).is_some_and(sv::is_tainted) {
            return;
        }
        let Some(url) = PlainUrl::parse(call.octets(0)) else { return };
        let texts = [if url.is_secure { "wss" } else { "ws" }, url.host];
        let [scheme, host] = texts.map(|text| sv::new_string(call.perl, text.as_bytes()));
        after.returning(sv::new_array(call.perl, [scheme, host, sv::new_number(call.perl, url.port.into())]));
    };
    /// `plain_opening($head_limit, $line_limit, $is_strict, $url)`, for such a URL: returns the state of a handshake on the client's
    /// side that offers nothing, and the request: `[$handshake, $request]`.
    plain_opening = |call, after| {
        let Ok(limits) = call.limits(0, after) else { return };
        let Ok(key) = random_key(call, after) else { return };
        let Some(url) = PlainUrl::parse(call.octets(3)) else { return };
        let request = url.opening(&key);
        let accept = Some(AcceptKey::of(key.as_bytes()));
        let expected = Expected { is_strict: call.is_true(2), accept, ..Expected::default() };
        let handshake = client::create(call.perl, limits, expected);
        after.returning(sv::new_array(call.perl, [handshake, sv::new_string(call.perl, &request)]));
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
}

/// Returns a new Sec-WebSocket-Key; croaks if the system has no random bytes.
fn random_key(call: &Arguments<'_>, after: &mut After) -> Result<String, ()> {
    let mut nonce = [0; 16];
    getrandom::fill(&mut nonce)
        .map_err(|error| after.croaking(call.located(&format!("there are no random bytes: {error}"))))?;
    Ok(encode_key(nonce))
}
