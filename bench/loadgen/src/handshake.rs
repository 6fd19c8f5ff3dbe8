//! The opening handshake, from both ends.

use crate::frames::Deflate;
use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use std::io::{self, Read, Write};

const GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

impl Deflate {
    fn offer(self) -> &'static str {
        match self {
            Self::WithTakeover => "permessage-deflate",
            Self::Each => "permessage-deflate; server_no_context_takeover; client_no_context_takeover",
        }
    }

    /// Returns `true` if the server compresses as offered. It may choose another window.
    fn is_in(self, answer: &str) -> bool {
        let answer = answer.to_ascii_lowercase();
        let has_takeover = !answer.contains("server_no_context_takeover");
        answer.contains("\r\nsec-websocket-extensions: permessage-deflate")
            && has_takeover == (self == Self::WithTakeover)
            && (!has_takeover || !answer.contains("client_no_context_takeover"))
    }
}

/// Asks a server to upgrade a connection.
pub fn ask(stream: &mut (impl Read + Write), port: u16, deflate: Option<Deflate>) -> io::Result<()> {
    let offer = deflate.map_or(String::new(), |deflate| format!("Sec-WebSocket-Extensions: {}\r\n", deflate.offer()));
    let request = format!(
        "GET / HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n{offer}\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: bm90aGluZyB0byBoaWRlIQ==\r\n\r\n"
    );
    stream.write_all(request.as_bytes())?;
    let answer = read_head(stream)?;
    if !answer.starts_with("HTTP/1.1 101 ") {
        return Err(io::Error::other(format!("no upgrade: {answer}")));
    }
    if deflate.is_some_and(|deflate| !deflate.is_in(&answer)) {
        return Err(io::Error::other("the server does not compress as it is asked to"));
    }
    Ok(())
}

/// Answers a client's request; returns its path.
pub fn answer(stream: &mut (impl Read + Write)) -> io::Result<String> {
    let request = read_head(stream)?;
    let path = request.split(' ').nth(1);
    let key = request.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("Sec-WebSocket-Key").then(|| value.trim())
    });
    let (Some(path), Some(key)) = (path, key) else { return Err(io::Error::other("the request is no upgrade")) };
    let accept = base64(digest(&SHA1_FOR_LEGACY_USE_ONLY, format!("{key}{GUID}").as_bytes()).as_ref());
    let response = format!(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Accept: {accept}\r\n\r\n"
    );
    stream.write_all(response.as_bytes())?;
    stream.flush()?;
    Ok(path.to_owned())
}

/// Reads up to the empty line. The other end must not send anything behind it yet.
fn read_head(stream: &mut impl Read) -> io::Result<String> {
    let (mut head, mut octets) = (Vec::new(), [0; 4096]);
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read(&mut octets)? {
            0 => return Err(io::Error::other("closed in the handshake")),
            len => head.extend(&octets[..len]),
        }
    }
    Ok(String::from_utf8_lossy(&head).into_owned())
}

fn base64(octets: &[u8]) -> String {
    octets
        .chunks(3)
        .flat_map(|three| {
            let bits = (0..3).fold(0, |bits, at| bits << 8 | u32::from(three.get(at).copied().unwrap_or(0)));
            (0..4).map(
                move |at| {
                    if at > three.len() { '=' } else { char::from(BASE64[(bits >> (18 - 6 * at)) as usize % 64]) }
                },
            )
        })
        .collect()
}
