//! Joins the frames of a message (RFC 6455, 5.4).

use super::config::Config;
use super::error::ProtocolError;
use super::frame::FrameHeader;
use super::opcode::Opcode;
use super::utf8::Utf8Validator;
use bytes::BytesMut;

/// Where the payload of an unfinished message grows. A binding brings its own, so that no finished message is copied.
pub trait MessageBuffer: Default {
    /// Appends payload that is already unmasked.
    fn extend_from_slice(&mut self, payload: &[u8]);
    /// All that has been appended.
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

/// The message that is being received, if any, and the rules for what may follow.
#[derive(Debug)]
pub(super) struct Assembler<B> {
    /// Opcode of the message's first frame; `None` between messages.
    opcode: Option<Opcode>,
    /// Non-final frames of this message so far.
    fragments: u64,
    max_fragments: u64,
    /// Payload of this message's frames so far, as they announce it, bytes.
    size: u64,
    max_size: u64,
    /// What compressed payload of this message has become so far, bytes.
    inflated: u64,
    /// Messages that begin now are handed on in parts.
    streams: bool,
    /// As is the one that is being received.
    is_streamed: bool,
    /// Text of messages that begin now is checked.
    is_strict: bool,
    /// As is that of the message that is being received. `None`: text is taken as it comes.
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
            max_size: u64::MAX,
            inflated: 0,
            streams: false,
            is_streamed: false,
            is_strict: config.strict,
            validator: None,
            buffer: B::default(),
        }
    }

    /// Has a changed configuration take effect.
    pub(super) fn configure(&mut self, config: &Config) {
        self.max_fragments = config.max_fragments;
        self.is_strict = config.strict;
    }

    pub(super) fn set_max_size(&mut self, limit: Option<u64>) {
        self.max_size = limit.unwrap_or(u64::MAX);
    }

    pub(super) fn set_streaming(&mut self, streams: bool) {
        self.streams = streams;
    }

    /// Whether the message that is being received is handed on in parts.
    pub(super) fn is_streamed(&self) -> bool {
        self.is_streamed
    }

    /// Takes the header of a data frame, and says whether it may stand here.
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
        // Of a streamed message nothing piles up.
        if !header.fin && !self.is_streamed {
            self.fragments += 1;
            if self.fragments >= self.max_fragments {
                return Err(ProtocolError::TooManyFragments { limit: self.max_fragments });
            }
        }
        Ok(())
    }

    fn check_size(&self, size: u64) -> Result<(), ProtocolError> {
        if size > self.max_size { Err(ProtocolError::MessageTooBig { size, limit: self.max_size }) } else { Ok(()) }
    }

    /// Takes payload that was compressed.
    pub(super) fn append_inflated(&mut self, payload: &[u8]) -> Result<(), ProtocolError> {
        self.inflated = self.inflated.saturating_add(payload.len() as u64);
        self.check_size(self.inflated)?;
        self.append(payload)
    }

    /// Takes unmasked payload.
    pub(super) fn append(&mut self, payload: &[u8]) -> Result<(), ProtocolError> {
        self.validate(payload)?;
        self.buffer.extend_from_slice(payload);
        Ok(())
    }

    /// The buffer itself, for payload that is read straight into it; [`Self::appended`] must follow.
    pub(super) fn buffer_mut(&mut self) -> &mut B {
        &mut self.buffer
    }

    /// Takes the last `len` bytes of the buffer as the next payload, after `unmask` has been at them.
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

    /// Ends the message, whose payload is in the buffer.
    pub(super) fn finish(&mut self) -> Result<(Opcode, B), ProtocolError> {
        let opcode = self.finish_checks()?;
        Ok((opcode, std::mem::take(&mut self.buffer)))
    }

    /// Ends a message that came as one frame, whose `payload` never had to be put into the buffer.
    pub(super) fn finish_unbuffered(&mut self, payload: &[u8]) -> Result<Opcode, ProtocolError> {
        self.validate(payload)?;
        self.finish_checks()
    }

    /// Checks payload that is handed on as it comes; returns the message's opcode.
    pub(super) fn pass_on(&mut self, payload: &[u8], is_final: bool) -> Result<Opcode, ProtocolError> {
        self.validate(payload)?;
        match self.opcode {
            Some(opcode) if !is_final => Ok(opcode),
            _ => self.finish_checks(),
        }
    }

    /// Takes out what has been put into the buffer of a streamed message, and checked; returns the message's opcode, too.
    pub(super) fn take_chunk(&mut self, is_final: bool) -> Result<(Opcode, B), ProtocolError> {
        let opcode = self.pass_on(&[], is_final)?;
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

    /// The validator, if this message is text and text is to be checked.
    fn text_validator(&mut self) -> Option<&mut Utf8Validator> {
        self.validator.as_mut().filter(|_| self.opcode == Some(Opcode::Text))
    }
}
