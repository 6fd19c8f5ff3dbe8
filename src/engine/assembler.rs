//! Assembles messages from frames (RFC 6455, 5.4).

use super::config::Config;
use super::error::ProtocolError;
use super::frame::FrameHeader;
use super::opcode::Opcode;
use super::utf8::Utf8Validator;
use bytes::BytesMut;

/// The buffer in which an unfinished message grows. A binding supplies its own type, so that finished messages need no
/// copy.
pub trait MessageBuffer: Default {
    /// Appends payload that is already unmasked.
    fn extend_from_slice(&mut self, payload: &[u8]);
    /// Returns everything appended so far.
    fn as_mut_slice(&mut self) -> &mut [u8];
}

impl MessageBuffer for BytesMut {
    fn extend_from_slice(&mut self, payload: &[u8]) {
        BytesMut::extend_from_slice(self, payload);
    }

    fn as_mut_slice(&mut self) -> &mut [u8] {
        self
    }
}

/// The message being received, if any, and the rules for the frame that may come next.
#[derive(Debug)]
pub(super) struct Assembler<B> {
    /// Opcode of the message's first frame; `None` between messages.
    opcode: Option<Opcode>,
    /// Number of non-final frames of this message so far.
    fragments: u64,
    max_fragments: u64,
    /// Total payload length announced by this message's frame headers so far, in bytes.
    size: u64,
    max_size: u64,
    /// Number of bytes that this message's compressed payload has inflated to so far.
    inflated: u64,
    /// Messages that begin from now on are passed on in chunks.
    streams: bool,
    /// The message being received is passed on in chunks.
    is_streamed: bool,
    /// The text of messages that begin from now on is validated.
    is_strict: bool,
    /// The validator for the message being received; `None` if text is not validated.
    validator: Option<Utf8Validator>,
    buffer: B,
}

impl<B: MessageBuffer> Assembler<B> {
    pub(super) fn new(config: &Config) -> Self {
        Self {
            opcode: None,
            fragments: 0,
            max_fragments: config.max_fragments,
            size: 0,
            max_size: config.max_message_size.unwrap_or(u64::MAX),
            inflated: 0,
            streams: false,
            is_streamed: false,
            is_strict: config.strict,
            validator: None,
            buffer: B::default(),
        }
    }

    /// Applies a changed configuration.
    pub(super) fn configure(&mut self, config: &Config) {
        self.max_fragments = config.max_fragments;
        self.is_strict = config.strict;
        self.max_size = config.max_message_size.unwrap_or(u64::MAX);
    }

    pub(super) fn set_streaming(&mut self, streams: bool) {
        self.streams = streams;
    }

    /// Returns `true` if the message being received is passed on in chunks.
    pub(super) fn is_streamed(&self) -> bool {
        self.is_streamed
    }

    /// Returns `true` if the next frame begins a message with which nothing is done but to check its size.
    #[inline]
    pub(super) fn passes_on(&self) -> bool {
        self.opcode.is_none() && !self.streams && !self.is_strict
    }

    /// Takes the header of a data frame.
    ///
    /// # Errors
    /// The frame may not come here, or the message exceeds a limit.
    pub(super) fn begin_frame(&mut self, header: &FrameHeader) -> Result<(), ProtocolError> {
        match (header.opcode, self.opcode) {
            (Opcode::Continuation, None) => return Err(ProtocolError::UnexpectedContinuation),
            (Opcode::Continuation, Some(_)) => {}
            (_, Some(_)) => return Err(ProtocolError::InterleavedMessage),
            (opcode, None) => {
                self.opcode = Some(opcode);
                self.is_streamed = self.streams;
                if self.is_strict != self.validator.is_some() {
                    self.validator = self.is_strict.then(Utf8Validator::default);
                }
            }
        }
        self.size = self.size.saturating_add(header.payload_len);
        self.check_size(self.size)?;
        // A streamed message does not accumulate, so its frames are not counted.
        if !header.fin && !self.is_streamed {
            self.fragments += 1;
            if self.fragments >= self.max_fragments {
                return Err(ProtocolError::TooManyFragments { limit: self.max_fragments });
            }
        }
        Ok(())
    }

    pub(super) fn check_size(&self, size: u64) -> Result<(), ProtocolError> {
        if size > self.max_size { Err(ProtocolError::MessageTooBig { size, limit: self.max_size }) } else { Ok(()) }
    }

    /// Appends payload that was compressed, after inflating.
    pub(super) fn append_inflated(&mut self, payload: &[u8]) -> Result<(), ProtocolError> {
        self.inflated = self.inflated.saturating_add(payload.len() as u64);
        self.check_size(self.inflated)?;
        self.append(payload)
    }

    /// Appends unmasked payload.
    pub(super) fn append(&mut self, payload: &[u8]) -> Result<(), ProtocolError> {
        self.validate(payload)?;
        self.buffer.extend_from_slice(payload);
        Ok(())
    }

    /// Returns the buffer, so that payload can be read straight into it; call [`Self::appended`] afterwards.
    pub(super) fn buffer_mut(&mut self) -> &mut B {
        &mut self.buffer
    }

    /// Counts the last `len` bytes of the buffer as payload, after `unmask` has unmasked them.
    pub(super) fn appended(&mut self, len: usize, unmask: impl FnOnce(&mut [u8])) -> Result<(), ProtocolError> {
        let all = self.buffer.as_mut_slice();
        let start = all.len() - len;
        let payload = &mut all[start..];
        unmask(payload);
        match &mut self.validator {
            Some(validator) if self.opcode == Some(Opcode::Text) => {
                validator.feed(payload).map_err(|_| ProtocolError::InvalidUtf8)
            }
            _ => Ok(()),
        }
    }

    /// Ends the message and returns its opcode and buffered payload.
    pub(super) fn finish(&mut self) -> Result<(Opcode, B), ProtocolError> {
        let opcode = self.finish_checks()?;
        Ok((opcode, std::mem::take(&mut self.buffer)))
    }

    /// Ends a single-frame message whose `payload` was never put into the buffer.
    pub(super) fn finish_unbuffered(&mut self, payload: &[u8]) -> Result<Opcode, ProtocolError> {
        self.validate(payload)?;
        self.finish_checks()
    }

    /// Validates payload that is passed on as a chunk. Returns the message's opcode.
    pub(super) fn check_chunk(&mut self, payload: &[u8], is_final: bool) -> Result<Opcode, ProtocolError> {
        self.validate(payload)?;
        match self.opcode {
            Some(opcode) if !is_final => Ok(opcode),
            _ => self.finish_checks(),
        }
    }

    /// Takes the validated chunk of a streamed message out of the buffer. Returns it with the message's opcode.
    pub(super) fn take_chunk(&mut self, is_final: bool) -> Result<(Opcode, B), ProtocolError> {
        let opcode = self.check_chunk(&[], is_final)?;
        Ok((opcode, std::mem::take(&mut self.buffer)))
    }

    fn finish_checks(&mut self) -> Result<Opcode, ProtocolError> {
        if let Some(validator) = self.text_validator() {
            validator.finish().map_err(|_| ProtocolError::InvalidUtf8)?;
        }
        self.fragments = 0;
        self.size = 0;
        self.inflated = 0;
        Ok(self.opcode.take().expect("a message ends only after its first frame began it"))
    }

    fn validate(&mut self, payload: &[u8]) -> Result<(), ProtocolError> {
        match self.text_validator() {
            Some(validator) => validator.feed(payload).map_err(|_| ProtocolError::InvalidUtf8),
            None => Ok(()),
        }
    }

    /// Returns the validator if this is a text message and text is validated.
    fn text_validator(&mut self) -> Option<&mut Utf8Validator> {
        self.validator.as_mut().filter(|_| self.opcode == Some(Opcode::Text))
    }
}
