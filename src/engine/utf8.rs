//! UTF-8 validation of text that arrives in pieces.

/// Returns the longest prefix of `text` that fits into `max_len` bytes and ends at a character boundary.
pub fn char_prefix(text: &str, max_len: usize) -> &str {
    let end = (0..=max_len.min(text.len())).rev().find(|&end| text.is_char_boundary(end));
    &text[..end.unwrap_or_default()]
}

/// The bytes seen so far are not the start of any UTF-8 text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidUtf8;

/// A validator that takes text piece by piece and fails at the first byte that makes it invalid.
#[derive(Clone, Debug, Default)]
pub struct Utf8Validator {
    /// The bytes of a character that the last piece left incomplete.
    partial: [u8; 4],
    partial_len: u8,
}

impl Utf8Validator {
    /// Validates the next piece.
    ///
    /// # Errors
    /// [`InvalidUtf8`] as soon as the text so far is not a prefix of valid UTF-8.
    pub fn feed(&mut self, piece: &[u8]) -> Result<(), InvalidUtf8> {
        let rest = self.complete_partial(piece)?;
        match simdutf8::compat::from_utf8(rest) {
            Ok(_) => Ok(()),
            Err(error) if error.error_len().is_some() => Err(InvalidUtf8),
            Err(error) => {
                let tail = &rest[error.valid_up_to()..];
                self.partial[..tail.len()].copy_from_slice(tail);
                self.partial_len = tail.len() as u8;
                Ok(())
            }
        }
    }

    /// Ends the text and resets the validator for the next one.
    ///
    /// # Errors
    /// [`InvalidUtf8`] if the last character is incomplete.
    pub fn finish(&mut self) -> Result<(), InvalidUtf8> {
        if std::mem::take(&mut self.partial_len) == 0 { Ok(()) } else { Err(InvalidUtf8) }
    }

    /// Moves bytes from `piece` to the incomplete character until it is complete. Returns the remaining bytes.
    fn complete_partial<'a>(&mut self, piece: &'a [u8]) -> Result<&'a [u8], InvalidUtf8> {
        let mut rest = piece;
        while let (1.., [next, tail @ ..]) = (self.partial_len, rest) {
            self.partial[usize::from(self.partial_len)] = *next;
            self.partial_len += 1;
            rest = tail;
            match std::str::from_utf8(&self.partial[..usize::from(self.partial_len)]) {
                Ok(_) => self.partial_len = 0,
                Err(error) if error.error_len().is_some() => return Err(InvalidUtf8),
                Err(_) => {}
            }
        }
        Ok(rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_ends_between_characters() {
        for (max_len, prefix) in [(0, ""), (1, "a"), (2, "a"), (3, "aé"), (4, "aé"), (5, "aé"), (6, "aé☺"), (99, "aé☺")]
        {
            assert_eq!(char_prefix("aé☺", max_len), prefix);
        }
    }

    fn verdict(pieces: &[&[u8]]) -> Result<(), InvalidUtf8> {
        let mut validator = Utf8Validator::default();
        for piece in pieces {
            validator.feed(piece)?;
        }
        validator.finish()
    }

    #[test]
    fn any_two_cuts_agree_with_the_standard_library() {
        let texts: [&[u8]; 8] = [
            "κόσμε \u{10ffff} ascii".as_bytes(),
            b"",
            b"\xce\xba\xed\xa0\x80",
            b"\xf4\x90\x80\x80",
            b"\xc0\xaf",
            b"abc\x80",
            "\u{fffe}".as_bytes(),
            b"\xe2\x82",
        ];
        for text in texts {
            let expected = std::str::from_utf8(text).map(|_| ()).map_err(|_| InvalidUtf8);
            for a in 0..=text.len() {
                for b in a..=text.len() {
                    assert_eq!(verdict(&[&text[..a], &text[a..b], &text[b..]]), expected, "{text:x?} at {a}, {b}");
                }
            }
        }
    }

    #[test]
    fn fails_at_the_first_impossible_byte() {
        let mut validator = Utf8Validator::default();
        assert!(validator.feed(b"\xf4").is_ok());
        assert!(validator.feed(b"\x90").is_err());
    }

    #[test]
    fn is_reusable_after_finish() {
        let mut validator = Utf8Validator::default();
        assert!(validator.feed(b"\xe2").is_ok());
        assert!(validator.finish().is_err());
        assert!(validator.feed(b"a").is_ok());
        assert!(validator.finish().is_ok());
    }
}
