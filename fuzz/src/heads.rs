//! A second reading of opening handshakes, from RFC 9112 and RFC 6455: each verdict is made anew from all bytes so far,
//! one byte after the other, and without the crate that the engine uses.

use anyevent_websocket::engine::handshake::{Expected, HeadError, Limits, RequestError, ResponseError, ServersAnswer};

/// A name in lower case and a value.
type Pair = (Vec<u8>, Vec<u8>);

/// Fields, in order.
pub type Pairs = Vec<Pair>;

/// The target, the fields and the length of a request.
pub type Request = (Vec<u8>, Pairs, usize);

/// The status, the reason, the fields and the length of a refusal's head.
pub type Refusal = (u16, Vec<u8>, Pairs, usize);

const MAX_INTERIM: usize = 8;

enum Line {
    Whole { text: Vec<u8>, has_cr: bool },
    Unfinished,
    TooLong,
}

struct Wire<'a> {
    octets: &'a [u8],
    at: usize,
    limits: Limits,
    is_strict: bool,
}

impl Wire<'_> {
    fn line(&mut self) -> Line {
        let mut text = Vec::new();
        for (at, &octet) in self.octets.iter().enumerate().skip(self.at) {
            if at - self.at >= self.limits.line || at >= self.limits.head {
                return Line::TooLong;
            }
            if octet == b'\n' {
                self.at = at + 1;
                let has_cr = text.last() == Some(&b'\r');
                text.truncate(text.len() - usize::from(has_cr));
                return Line::Whole { text, has_cr };
            }
            text.push(octet);
        }
        Line::Unfinished
    }

    /// Returns the next line; `None` if it has not arrived.
    fn text(&mut self) -> Result<Option<Vec<u8>>, HeadError> {
        match self.line() {
            Line::Unfinished => Ok(None),
            Line::TooLong => Err(HeadError::TooLong),
            Line::Whole { has_cr: false, .. } if self.is_strict => Err(HeadError::InvalidField),
            Line::Whole { text, .. } => Ok(Some(text)),
        }
    }

    /// Reads fields, none of which may be odd in any way.
    fn lawful_fields(&mut self) -> Result<Option<Pairs>, HeadError> {
        let mut pairs = Pairs::new();
        while let Some(text) = self.text()? {
            if text.is_empty() {
                return Ok(Some(pairs));
            }
            match field(&text)? {
                Some(pair) => pairs.push(pair),
                None => return Err(HeadError::InvalidField),
            }
        }
        Ok(None)
    }

    /// Reads fields as a lenient client does.
    fn any_fields(&mut self) -> Result<Option<Pairs>, HeadError> {
        let mut unfolded: Vec<Vec<u8>> = Vec::new();
        while let Some(text) = self.text()? {
            if text.is_empty() {
                let pairs: Result<Vec<_>, _> = unfolded.iter().map(|text| field(text)).collect();
                return Ok(Some(pairs?.into_iter().flatten().collect()));
            }
            match unfolded.last_mut() {
                Some(last) if is_space(text[0]) => last.extend(text),
                _ if is_space(text[0]) || text.contains(&b':') => unfolded.push(text),
                _ => return Err(HeadError::InvalidField),
            }
        }
        Ok(None)
    }
}

/// Takes a field apart; `None` if its name is not a token.
fn field(text: &[u8]) -> Result<Option<Pair>, HeadError> {
    let mut halves = text.splitn(2, |&octet| octet == b':');
    let (Some(name), Some(value)) = (halves.next(), halves.next()) else { return Err(HeadError::InvalidField) };
    if name.is_empty() {
        return Err(HeadError::InvalidField);
    }
    if !name.iter().all(|&octet| is_tchar(octet)) {
        return Ok(None);
    }
    if !value.iter().all(|&octet| matches!(octet, b'\t' | 0x20..=0x7e | 0x80..)) {
        return Err(HeadError::InvalidField);
    }
    Ok(Some((name.to_ascii_lowercase(), without_space(value))))
}

fn is_space(octet: u8) -> bool {
    octet == b' ' || octet == b'\t'
}

fn is_tchar(octet: u8) -> bool {
    matches!(octet, b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z')
        || matches!(octet, b'!' | b'#'..=b'\'' | b'*' | b'+' | b'-' | b'.' | b'^' | b'_' | b'`' | b'|' | b'~')
}

fn without_space(value: &[u8]) -> Vec<u8> {
    let mut value: Vec<u8> = value.iter().copied().skip_while(|&octet| is_space(octet)).collect();
    while value.last().is_some_and(|&octet| is_space(octet)) {
        value.pop();
    }
    value
}

fn values<'a>(pairs: &'a Pairs, name: &str) -> Vec<&'a [u8]> {
    pairs.iter().filter(|(own, _)| own == name.as_bytes()).map(|(_, value)| &value[..]).collect()
}

/// Returns the last value if it is neither empty nor "0", which Perl takes for false.
fn truth<'a>(pairs: &'a Pairs, name: &str) -> Option<&'a [u8]> {
    values(pairs, name).last().copied().filter(|value| ![&b""[..], b"0"].contains(value))
}

fn is_listed(pairs: &Pairs, name: &str, wanted: &str) -> bool {
    let list = values(pairs, name).join(&b","[..]).to_ascii_lowercase();
    list.split(|&octet| octet == b',').any(|element| without_space(element) == wanted.as_bytes())
}

fn asks_for_upgrade(pairs: &Pairs) -> bool {
    is_listed(pairs, "upgrade", "websocket") && is_listed(pairs, "connection", "upgrade")
}

/// Returns the expected result of `ServerHandshake::receive`.
pub fn request(octets: &[u8], limits: Limits, is_strict: bool) -> Result<Option<Request>, RequestError> {
    let mut wire = Wire { octets, at: 0, limits, is_strict };
    let line = loop {
        match octets.get(wire.at) {
            None => return Ok(None),
            Some(&first) if is_tchar(first) || is_space(first) || first == b'\r' || first == b'\n' => {}
            Some(_) => return Err(RequestError::RequestLine),
        }
        match wire.text()? {
            None => return Ok(None),
            Some(line) if line.is_empty() => {}
            Some(line) => break line,
        }
    };
    let target = target(&line, is_strict)?;
    let Some(pairs) = wire.lawful_fields()? else { return Ok(None) };
    let has_length = values(&pairs, "content-length").concat().iter().any(|&digit| digit != b'0');
    let has_body = has_length || !values(&pairs, "transfer-encoding").is_empty();
    if has_body || is_strict && octets.len() > wire.at {
        return Err(RequestError::Leftovers);
    }
    check_request(&pairs, is_strict)?;
    Ok(Some((target, pairs, wire.at)))
}

fn target(line: &[u8], is_strict: bool) -> Result<Vec<u8>, RequestError> {
    let words: Vec<&[u8]> = line.split(|&octet| is_space(octet)).collect();
    let words: Vec<&[u8]> = if is_strict { words } else { words.into_iter().filter(|word| !word.is_empty()).collect() };
    let &[method, target, version] = &words[..] else { return Err(RequestError::RequestLine) };
    let lower_case = target.to_ascii_lowercase();
    let is_lawful = [b"/".as_slice(), b"http://", b"https://"].iter().any(|start| lower_case.starts_with(start))
        && !method.is_empty()
        && !version.is_empty()
        && !line.contains(&b'\t')
        && target.iter().all(|octet| (b'!'..=b'~').contains(octet) && *octet != b'#');
    if line.contains(&0) || line.contains(&b'\r') || is_strict && !is_lawful {
        return Err(RequestError::RequestLine);
    }
    match (method == b"GET", version == b"HTTP/1.1") {
        (false, _) => Err(RequestError::Method),
        (true, false) => Err(RequestError::HttpVersion),
        (true, true) => Ok(target.to_vec()),
    }
}

fn check_request(pairs: &Pairs, is_strict: bool) -> Result<(), RequestError> {
    let has = |name: &str| truth(pairs, name).is_some();
    let is_single = |name: &&str| values(pairs, name).len() == 1;
    if !asks_for_upgrade(pairs) {
        return Err(RequestError::NoUpgrade);
    }
    if !has("host") {
        return Err(RequestError::Invalid);
    }
    if has("sec-websocket-key1") && has("sec-websocket-key2") {
        return Err(RequestError::TwoKeys);
    }
    let key = truth(pairs, "sec-websocket-key").ok_or(RequestError::NoKey)?;
    if truth(pairs, "sec-websocket-version") != Some(b"13") {
        return Err(RequestError::Version);
    }
    let singletons = ["host", "sec-websocket-key", "sec-websocket-version"];
    if is_strict && !(singletons.iter().all(is_single) && is_nonce(key)) {
        return Err(RequestError::Invalid);
    }
    Ok(())
}

/// Returns `true` for 16 bytes in base64: 22 characters, of which the last has two bits, and the padding.
fn is_nonce(key: &[u8]) -> bool {
    let is_digit = |octet: &u8| octet.is_ascii_alphanumeric() || b"+/".contains(octet);
    key.len() == 24 && key.ends_with(b"==") && key[..22].iter().all(is_digit) && b"AQgw".contains(&key[21])
}

/// Returns the expected result of `ClientHandshake::receive`.
pub fn response(octets: &[u8], limits: Limits, expected: &Expected) -> Result<Option<ServersAnswer>, ResponseError> {
    let mut wire = Wire { octets, at: 0, limits, is_strict: expected.is_strict };
    for count in 0.. {
        let Some(line) = wire.text()? else { return Ok(None) };
        let code = status(&line).filter(|_| line.starts_with(b"HTTP/1.1")).map(|(code, _)| code);
        if !matches!(code, Some(100..=199)) {
            return Err(ResponseError::StatusLine(line));
        }
        let fields = if expected.is_strict { wire.lawful_fields() } else { wire.any_fields() };
        let Some(pairs) = fields? else { return Ok(None) };
        if code == Some(101) {
            return check_response(&pairs, wire.at, expected).map(Some);
        }
        if count == MAX_INTERIM {
            return Err(HeadError::TooLong.into());
        }
    }
    unreachable!("the number of interim responses is limited")
}

/// Returns the code and the reason of a status line.
fn status(line: &[u8]) -> Option<(u16, &[u8])> {
    if line.len() < 12 || &line[..7] != b"HTTP/1." || line[8] != b' ' || !line[7].is_ascii_digit() {
        return None;
    }
    let code =
        std::str::from_utf8(&line[9..12]).ok().filter(|code| code.bytes().all(|digit| digit.is_ascii_digit()))?;
    let reason = match line.get(12) {
        None => &line[12..],
        Some(b' ') => &line[13..],
        Some(_) => return None,
    };
    Some((code.parse().ok()?, reason))
}

fn check_response(pairs: &Pairs, len: usize, expected: &Expected) -> Result<ServersAnswer, ResponseError> {
    let proof = truth(pairs, "sec-websocket-accept");
    let is_right = match &expected.accept {
        Some(accept) => proof == Some(accept.as_str().as_bytes()),
        None => proof.is_some(),
    };
    let chosen = values(pairs, "sec-websocket-protocol");
    let has_two = values(pairs, "sec-websocket-accept").len() > 1 || chosen.len() > 1;
    let extensions = values(pairs, "sec-websocket-extensions");
    let extensions = (!extensions.is_empty()).then(|| extensions.join(&b", "[..]));
    let offers = names(&expected.extensions).unwrap_or_default();
    let is_offered = |name: &Vec<u8>| offers.iter().any(|offer| offer.eq_ignore_ascii_case(name));
    let are_offered =
        names(extensions.as_deref().unwrap_or_default()).is_some_and(|accepted| accepted.iter().all(is_offered));
    if !asks_for_upgrade(pairs) || !is_right || expected.is_strict && has_two || !are_offered {
        return Err(ResponseError::Invalid);
    }
    let chosen = chosen.last().map(|chosen| chosen.to_vec());
    let subprotocol = match (&expected.subprotocols, chosen) {
        (None, Some(_)) if expected.is_strict && !expected.has_other_subprotocols => {
            return Err(ResponseError::Invalid);
        }
        (None, _) => None,
        (Some(_), None) => return Err(ResponseError::NoSubprotocol),
        (Some(requested), Some(got)) if requested.contains(&got) => Some(got),
        (Some(requested), Some(got)) => {
            return Err(ResponseError::SubprotocolMismatch { requested: requested.clone(), got });
        }
    };
    Ok(ServersAnswer { subprotocol, extensions, len })
}

/// Returns the names in a list of extensions (RFC 6455, 9.1); `None` if it is malformed.
fn names(list: &[u8]) -> Option<Vec<Vec<u8>>> {
    // Each token becomes "t", a quoted string "q", and the rest stays: then the grammar is one of characters.
    let (mut shape, mut tokens) = (String::new(), Vec::new());
    let mut octets = list.iter().copied().peekable();
    while let Some(octet) = octets.next() {
        match octet {
            b' ' | b'\t' => {}
            b',' | b';' | b'=' => shape.push(octet.into()),
            b'"' => {
                shape.push('q');
                loop {
                    match octets.next()? {
                        b'"' => break,
                        b'\\' => drop(octets.next()?),
                        _ => {}
                    }
                }
            }
            _ if is_tchar(octet) => {
                let mut token = vec![octet];
                while let Some(octet) = octets.next_if(|&octet| is_tchar(octet)) {
                    token.push(octet);
                }
                if shape.rsplit(',').next() == Some("") {
                    tokens.push(token);
                }
                shape.push('t');
            }
            _ => return None,
        }
    }
    let is_parameter = |shape: &str| ["t", "t=t", "t=q"].contains(&shape);
    let is_extension = |shape: &str| {
        let mut parts = shape.split(';');
        parts.next() == Some("t") && parts.all(is_parameter)
    };
    shape.split(',').all(|shape| shape.is_empty() || is_extension(shape)).then_some(tokens)
}

/// Returns the expected result of `ClientHandshake::receive_refusal`.
pub fn refusal(octets: &[u8], limits: Limits) -> Result<Option<Refusal>, HeadError> {
    let mut wire = Wire { octets, at: 0, limits, is_strict: false };
    for count in 0.. {
        let Some(line) = wire.text()? else { return Ok(None) };
        let (code, reason) = status(&line).ok_or(HeadError::InvalidField)?;
        let Some(pairs) = wire.any_fields()? else { return Ok(None) };
        if code == 101 || code / 100 != 1 {
            return Ok(Some((code, reason.to_vec(), pairs, wire.at)));
        }
        if count == MAX_INTERIM {
            return Err(HeadError::TooLong);
        }
    }
    unreachable!("the number of interim responses is limited")
}
