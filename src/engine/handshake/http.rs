//! Heads of HTTP messages: a first line, fields and an empty line (RFC 9112, 2).

use std::borrow::Cow;
use std::ops::Range;
use thiserror::Error;

/// How large a head may be, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Maximum length of the head, and of all heads of a response together.
    pub head: usize,
    /// Maximum length of a line.
    pub line: usize,
}

/// A head is not one, or is too large.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum HeadError {
    /// A line is no field: it has no colon, or a name or value with bytes that these must not have (RFC 9110, 5).
    #[error("Invalid field")]
    InvalidField,
    /// The head or a line exceeds its limit.
    #[error("Message is too long")]
    TooLong,
}

/// How strictly a head is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// A field may continue on lines that begin with a space, and one whose name is not a token is ignored. Servers have
    /// always been read in this way.
    Response,
    /// Neither is allowed.
    Request,
    /// As for a request, and each line ends in CR LF.
    Strict,
}

/// Finds the end of a head that arrives in pieces. Searches each byte and checks each line once.
#[derive(Debug)]
pub struct HeadReader {
    limits: Limits,
    dialect: Dialect,
    /// The place of the first line, with its end, once it has arrived.
    first_line: Option<Range<usize>>,
    /// The length of the lines that have been checked.
    checked: usize,
    /// The length of what has been searched for the end of a line.
    searched: usize,
}

impl HeadReader {
    /// Creates a reader for one head.
    pub fn new(limits: Limits, dialect: Dialect) -> Self {
        Self { limits, dialect, first_line: None, checked: 0, searched: 0 }
    }

    /// Skips empty lines before the first line, which a server should (RFC 9112, 2.2), and returns what follows them.
    pub fn skip_empty_lines<'a>(&mut self, octets: &'a [u8]) -> &'a [u8] {
        let line_ends: &[&[u8]] = if self.dialect == Dialect::Strict { &[b"\r\n"] } else { &[b"\r\n", b"\n"] };
        while self.first_line.is_none() {
            let rest = &octets[self.checked..];
            match line_ends.iter().find(|line| rest.starts_with(line)) {
                Some(line) if line.len() <= self.longest() => self.checked += line.len(),
                _ => return rest,
            }
        }
        &octets[self.first_line.as_ref().map_or(self.checked, |place| place.start)..]
    }

    /// Returns the first line, without its end, once it has arrived. `octets` is everything that has arrived so far.
    ///
    /// # Errors
    /// The line is too long.
    pub fn first_line<'a>(&mut self, octets: &'a [u8]) -> Result<Option<&'a [u8]>, HeadError> {
        if self.first_line.is_none() {
            let Some(end) = self.next_line_end(octets)? else { return Ok(None) };
            let place = self.checked..end;
            self.check_end_of_line(&octets[place.clone()])?;
            self.checked = end;
            self.first_line = Some(place);
        }
        Ok(self.first_line.clone().map(|place| without_line_end(&octets[place])))
    }

    /// Returns the fields and the length of the head once it has arrived.
    ///
    /// # Errors
    /// A line is no field, or the head is too large.
    pub fn fields(&mut self, octets: &[u8]) -> Result<Option<(Fields, usize)>, HeadError> {
        self.first_line(octets)?;
        let Some(first_line_end) = self.first_line.as_ref().map(|place| place.end) else { return Ok(None) };
        while let Some(end) = self.next_line_end(octets)? {
            let line = &octets[self.checked..end];
            self.check_end_of_line(line)?;
            if without_line_end(line).is_empty() {
                let block = &octets[first_line_end..end];
                return Ok(Some((Fields::parse(block, self.dialect)?, end)));
            }
            self.check(line)?;
            self.checked = end;
        }
        Ok(None)
    }

    /// Returns how long the line that begins at `checked` may be.
    fn longest(&self) -> usize {
        self.limits.line.min(self.limits.head - self.checked)
    }

    /// Returns the end of the line that begins at `checked`, if it has arrived.
    fn next_line_end(&mut self, octets: &[u8]) -> Result<Option<usize>, HeadError> {
        let longest = self.longest();
        let start = self.searched.max(self.checked);
        let end = octets.len().min(self.checked + longest);
        if let Some(at) = octets[start..end].iter().position(|&octet| octet == b'\n') {
            return Ok(Some(start + at + 1));
        }
        if octets.len() - self.checked > longest {
            return Err(HeadError::TooLong);
        }
        self.searched = end;
        Ok(None)
    }

    fn check_end_of_line(&self, line: &[u8]) -> Result<(), HeadError> {
        if self.dialect == Dialect::Strict && !line.ends_with(b"\r\n") { Err(HeadError::InvalidField) } else { Ok(()) }
    }

    /// Reports a line that is no field as soon as it has arrived.
    fn check(&self, line: &[u8]) -> Result<(), HeadError> {
        if self.dialect == Dialect::Response {
            let is_continued = matches!(line.first(), Some(b' ' | b'\t'));
            return if is_continued || line.contains(&b':') { Ok(()) } else { Err(HeadError::InvalidField) };
        }
        parse(line, &mut [httparse::EMPTY_HEADER; 1]).map(|_| ())
    }
}

fn parse<'a>(block: &'a [u8], places: &mut [httparse::Header<'a>]) -> Result<usize, HeadError> {
    match httparse::parse_headers(block, places) {
        Ok(httparse::Status::Complete((_, headers))) => Ok(headers.len()),
        Ok(httparse::Status::Partial) => Ok(0),
        Err(_) => Err(HeadError::InvalidField),
    }
}

/// Returns a line without CR LF or LF.
fn without_line_end(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// The fields of a head, in order. Names are in lower case; values have no space around them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fields {
    /// All names and values, one after the other.
    octets: Vec<u8>,
    /// Where each field's name and value end; a name begins where the value before it ends.
    ends: Vec<(usize, usize)>,
}

impl Fields {
    /// Creates fields from names and values that were already taken apart.
    pub fn new<'a>(pairs: impl IntoIterator<Item = (&'a [u8], &'a [u8])>) -> Self {
        let pairs = pairs.into_iter();
        let mut fields = Self { octets: Vec::with_capacity(256), ends: Vec::with_capacity(pairs.size_hint().0) };
        for (name, value) in pairs {
            fields.octets.extend(name.iter().map(u8::to_ascii_lowercase));
            let name_end = fields.octets.len();
            fields.octets.extend_from_slice(trimmed(value));
            fields.ends.push((name_end, fields.octets.len()));
        }
        fields
    }

    /// Parses fields and the empty line after them.
    fn parse(block: &[u8], dialect: Dialect) -> Result<Self, HeadError> {
        let block = if dialect == Dialect::Response { without_oddities(block) } else { Cow::Borrowed(block) };
        let mut places = vec![httparse::EMPTY_HEADER; block.iter().filter(|&&octet| octet == b'\n').count()];
        let count = parse(&block, &mut places)?;
        Ok(Self::new(places[..count].iter().map(|header| (header.name.as_bytes(), header.value))))
    }

    /// Returns all names and values, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let mut start = 0;
        self.ends.iter().map(move |&(name_end, value_end)| {
            let name = &self.octets[start..name_end];
            start = value_end;
            (name, &self.octets[name_end..value_end])
        })
    }

    /// Returns the values of the fields with this name, in order.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        self.iter().filter(move |(own, _)| *own == name.as_bytes()).map(|(_, value)| value)
    }

    /// Returns the value of the last field with this name.
    pub fn last<'a>(&'a self, name: &'a str) -> Option<&'a [u8]> {
        self.all(name).last()
    }

    /// Returns the values of all fields with this name as one list (RFC 9110, 5.3).
    pub fn joined(&self, name: &str) -> Option<Vec<u8>> {
        let values: Vec<&[u8]> = self.all(name).collect();
        (!values.is_empty()).then(|| values.join(&b", "[..]))
    }

    /// Returns `true` if a list, perhaps in several fields, has this element. Case is ignored.
    pub fn list_has(&self, name: &str, element: &str) -> bool {
        let mut elements = self.all(name).flat_map(|value| value.split(|&octet| octet == b','));
        elements.any(|own| trimmed(own).eq_ignore_ascii_case(element.as_bytes()))
    }

    /// Returns `true` if more than one field has this name.
    pub fn is_repeated(&self, name: &str) -> bool {
        self.all(name).nth(1).is_some()
    }

    /// Returns `true` if the fields announce a body (RFC 9112, 6).
    pub fn announce_body(&self) -> bool {
        self.last("transfer-encoding").is_some()
            || self.all("content-length").any(|length| length.iter().any(|&digit| digit != b'0'))
    }
}

/// Returns a value without the spaces and tabs around it (RFC 9110, 5.5).
fn trimmed(mut value: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    value
}

/// Joins continued lines with the line before them (RFC 9112, 5.2), and leaves out fields whose name is not a token.
fn without_oddities(block: &[u8]) -> Cow<'_, [u8]> {
    let is_odd = |line: &[u8]| matches!(line.first(), Some(b' ' | b'\t')) || !has_token(line);
    if !block.split_inclusive(|&octet| octet == b'\n').any(is_odd) {
        return Cow::Borrowed(block);
    }
    let mut unfolded: Vec<Vec<u8>> = Vec::new();
    for line in block.split_inclusive(|&octet| octet == b'\n') {
        match unfolded.last_mut() {
            Some(field) if matches!(line.first(), Some(b' ' | b'\t')) => {
                field.truncate(without_line_end(field).len());
                field.extend_from_slice(line);
            }
            _ => unfolded.push(line.to_vec()),
        }
    }
    unfolded.retain(|field| has_token(field));
    Cow::Owned(unfolded.concat())
}

/// Returns `false` if a field's name has bytes that no token has (RFC 9110, 5.6.2). An empty name counts as one: that is
/// an error, and not ignored.
fn has_token(line: &[u8]) -> bool {
    let name = line.split(|&octet| octet == b':').next().unwrap_or_default();
    name.len() == line.len() || name.iter().copied().all(is_token)
}

/// Returns `true` for a byte of a token (RFC 9110, 5.6.2).
pub(super) fn is_token(octet: u8) -> bool {
    octet.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&octet)
}

#[cfg(test)]
#[path = "http_tests.rs"]
mod tests;
