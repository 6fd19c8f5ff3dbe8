//! One whole connection: takes the bytes that arrive and returns events; takes messages to send and returns bytes.

use super::Nanos;
use super::assembler::{Assembler, MessageBuffer};
use super::config::Config;
use super::control::Controls;
use super::deflate::Deflate;
use super::error::ProtocolError;
use super::event::{CloseFrame, ControlPayload, Event, Notice, Payload};
use super::frame::{FrameHeader, MAX_HEADER_LEN};
use super::mask::apply_mask;
use super::opcode::Opcode;
use super::state::State;
use super::trace::Trace;
use super::traffic::Traffic;

mod compression;
mod control_frames;
mod sending;

/// A frame whose payload is still arriving.
#[derive(Clone, Copy, Debug)]
struct Incoming {
    header: FrameHeader,
    received: u64,
}

impl Incoming {
    fn remaining(&self) -> u64 {
        self.header.payload_len - self.received
    }

    /// Unmasks the next bytes of the payload.
    fn unmask(&self, octets: &mut [u8]) {
        if let Some(key) = self.header.mask {
            apply_mask(octets, key, self.received);
        }
    }
}

/// One endpoint of a WebSocket connection, after the opening handshake.
///
/// `B` is the buffer in which messages that arrive in pieces are assembled.
#[derive(Debug)]
pub struct Connection<B> {
    config: Config,
    state: State,
    /// The beginning of a header that is not complete yet.
    partial_header: [u8; MAX_HEADER_LEN],
    partial_header_len: u8,
    incoming: Option<Incoming>,
    /// The control frame being received, once some of it has arrived.
    control: Option<Box<ControlPayload>>,
    controls: Controls,
    message: Assembler<B>,
    /// The opcode of the message being sent in fragments.
    fragmented: Option<Opcode>,
    received: Traffic,
    sent: Traffic,
    trace: Option<Box<Trace>>,
    deflate: Option<Box<Deflate>>,
}

impl<B: MessageBuffer> Connection<B> {
    /// Creates a connection whose opening handshake is done.
    pub fn new(config: Config) -> Self {
        let mut controls = Controls::default();
        controls.configure(&config, None);
        Self {
            config,
            state: State::default(),
            partial_header: [0; MAX_HEADER_LEN],
            partial_header_len: 0,
            incoming: None,
            control: None,
            controls,
            message: Assembler::new(&config),
            fragmented: None,
            received: Traffic::default(),
            sent: Traffic::default(),
            trace: None,
            deflate: None,
        }
    }

    /// Consumes `input` up to and including the first frame that causes an event, and unmasks the payload in place.
    /// `None` means that all of `input` was consumed and more bytes are needed; call this until it returns `None`.
    ///
    /// After the peer's Close, a violation or the end of the transport, all input is discarded.
    ///
    /// # Errors
    /// The peer's violation, reported once; answer it with [`Self::fail`].
    pub fn receive<'a>(&mut self, input: &mut &'a mut [u8]) -> Result<Option<Event<'a, B>>, ProtocolError> {
        if !self.state.can_receive() {
            *input = &mut [];
            return Ok(None);
        }
        let result = self.decode(input);
        self.note_outcome(&result);
        result
    }

    /// Takes the message with which the input begins, if it is one uncompressed frame that has arrived as a whole, and the
    /// connection does nothing with messages but pass them on. Otherwise returns `None`, and changes nothing:
    /// [`Self::receive`] must be called. This is a shortcut that most messages take. Passing on their events costs as much
    /// as parsing them.
    #[inline]
    pub fn receive_whole<'a>(&mut self, input: &mut &'a mut [u8]) -> Option<(Opcode, &'a [u8])> {
        let is_between_frames = self.incoming.is_none() && self.partial_header_len == 0 && self.state.can_receive();
        if !is_between_frames || self.trace.is_some() || !self.message.passes_on() {
            return None;
        }
        let (header, at) = FrameHeader::parse_with(input, 0).ok()??;
        let is_message = header.fin && matches!(header.opcode, Opcode::Text | Opcode::Binary);
        let is_here = header.payload_len <= (input.len() - at) as u64;
        if !is_message || !is_here || self.message.check_size(header.payload_len).is_err() {
            return None;
        }
        let incoming = self.begin_frame(header).ok()?;
        take_front(input, at);
        let octets = self.take_payload(incoming, input);
        self.incoming = None;
        Some((self.message.finish_unbuffered(octets).ok()?, octets))
    }

    /// Returns the buffer of the message being received, so that payload can be read straight into it, and the number
    /// of bytes that the current frame still lacks. Returns `None` unless the next byte belongs to a message that is
    /// neither compressed nor streamed. Append the payload masked, as it arrived, and call [`Self::payload_appended`].
    pub fn payload_space(&mut self) -> Option<(&mut B, u64)> {
        let is_for_buffer = self.state.can_receive() && !self.is_inflating() && !self.message.is_streamed();
        let incoming = self.incoming.filter(|i| !i.header.opcode.is_control() && is_for_buffer)?;
        Some((self.message.buffer_mut(), incoming.remaining()))
    }

    /// Processes `len` bytes that were appended to the buffer of [`Self::payload_space`], no more than it said were
    /// missing.
    ///
    /// # Errors
    /// The peer's violation, reported once; answer it with [`Self::fail`].
    ///
    /// # Panics
    /// If the connection expected no payload.
    pub fn payload_appended(&mut self, len: usize) -> Result<Option<Event<'static, B>>, ProtocolError> {
        let incoming = self.incoming.as_mut().expect("payload was expected");
        let before = *incoming;
        incoming.received += len as u64;
        let appended = self.message.appended(len, |payload| {
            before.unmask(payload);
            note_received(&mut self.trace, before, payload);
        });
        let result = appended.and_then(|()| self.end_of_data_frame());
        self.note_outcome(&result);
        result
    }

    /// Returns `true` if `input` starts with at least one complete frame. Call this only right after [`Self::receive`]
    /// has returned an event, with the input that it left.
    pub fn is_frame_complete(&self, input: &[u8]) -> bool {
        self.state.can_receive()
            && matches!(FrameHeader::parse_with(input, self.negotiated_bits()),
                Ok(Some((header, at))) if header.payload_len <= (input.len() - at) as u64)
    }

    /// Gives up the connection without a Close frame: nothing more is sent or received.
    pub fn abandon(&mut self) {
        self.state = self.state.abandoned();
    }

    /// Reports that the transport is closed. Returns `true` the first time.
    pub fn transport_closed(&mut self) -> bool {
        self.deflate = None;
        let is_news = !self.state.is_closed();
        self.state = State::Closed;
        is_news
    }

    /// Returns `true` if [`Self::send`] would append a frame with this opcode: a Close frame may be sent in states in
    /// which others may not.
    pub fn can_send(&self, opcode: u8) -> bool {
        if opcode == Opcode::Close as u8 { self.state.can_send_close() } else { self.state.can_send() }
    }

    /// Returns `true` if the peer's Close frame was not answered yet.
    pub fn owes_close(&self) -> bool {
        self.state.owes_close()
    }

    /// Returns `true` if [`Self::receive`] still processes its input.
    pub fn can_receive(&self) -> bool {
        self.state.can_receive()
    }

    /// Returns `true` if nothing more is sent or received, but the transport has yet to close.
    pub fn is_draining(&self) -> bool {
        self.state.is_draining()
    }

    /// Changes the configuration. Limits apply from the next frame on, and text validation (`strict`) from the next
    /// message on; a new limit for control frames counts from `now` on.
    pub fn configure(&mut self, now: Nanos, change: impl FnOnce(&mut Config)) {
        change(&mut self.config);
        self.message.configure(&self.config);
        self.controls.configure(&self.config, Some(now));
    }

    /// Sets whether messages that begin from now on are reported as [`Event::Chunk`]s. These may have any number of
    /// frames.
    pub fn set_streaming(&mut self, streams: bool) {
        self.message.set_streaming(streams);
    }

    /// Returns `true` while a message is being sent in fragments: no other message may be sent until it ends.
    pub fn is_sending_fragments(&self) -> bool {
        self.fragmented.is_some()
    }

    /// Returns what was received and what was sent, in this order.
    pub fn traffic(&self) -> [Traffic; 2] {
        [self.received, self.sent]
    }

    /// Returns the connection's state as programs see it: `open`, `closing` or `closed`.
    pub fn state_name(&self) -> &'static str {
        self.state.name()
    }

    /// Starts recording each frame for [`Self::take_trace`].
    pub fn trace_frames(&mut self) {
        self.trace = Some(Box::default());
    }

    /// Returns `true` if frames are recorded for [`Self::take_trace`].
    pub fn is_traced(&self) -> bool {
        self.trace.is_some()
    }

    /// Returns `true` if [`Self::take_trace`] would return anything.
    pub fn has_trace(&self) -> bool {
        self.trace.as_ref().is_some_and(|trace| !trace.is_empty())
    }

    /// Returns the recorded log lines, one per frame, and removes them.
    #[cold]
    pub fn take_trace(&mut self) -> String {
        self.trace.as_mut().map(|trace| trace.take()).unwrap_or_default()
    }

    /// Returns `true` if outgoing frames need a masking key.
    pub fn is_masked(&self) -> bool {
        self.config.masked
    }

    fn decode<'a>(&mut self, input: &mut &'a mut [u8]) -> Result<Option<Event<'a, B>>, ProtocolError> {
        loop {
            let incoming = match self.incoming {
                Some(incoming) => incoming,
                None => match self.take_header(input)? {
                    Some(header) => self.begin_frame(header)?,
                    None => return Ok(None),
                },
            };
            let is_whole = input.len() as u64 >= incoming.remaining();
            let event = match incoming.header.opcode.is_control() {
                true => self.take_control_payload(incoming, input),
                false => self.take_data_payload(incoming, input)?,
            };
            if event.is_some() || !is_whole {
                return Ok(event);
            }
        }
    }

    /// Reads a header from the input, continuing one whose beginning arrived earlier.
    fn take_header(&mut self, input: &mut &mut [u8]) -> Result<Option<FrameHeader>, ProtocolError> {
        if self.partial_header_len == 0 {
            if let Some((header, len)) = FrameHeader::parse_with(input, self.negotiated_bits())? {
                take_front(input, len);
                return Ok(Some(header));
            }
        }
        while !input.is_empty() {
            self.partial_header[usize::from(self.partial_header_len)] = take_front(input, 1)[0];
            self.partial_header_len += 1;
            let partial_header = &self.partial_header[..usize::from(self.partial_header_len)];
            if let Some((header, _)) = FrameHeader::parse_with(partial_header, self.negotiated_bits())? {
                self.partial_header_len = 0;
                return Ok(Some(header));
            }
        }
        Ok(None)
    }

    /// Checks a header against the rules and limits, and begins its frame.
    fn begin_frame(&mut self, header: FrameHeader) -> Result<Incoming, ProtocolError> {
        self.check_mask(&header)?;
        if let Some(limit) = self.config.max_payload_size.filter(|&limit| header.payload_len > limit) {
            return Err(ProtocolError::PayloadTooBig { announced: header.payload_len, limit });
        }
        if !header.opcode.is_control() {
            self.message.begin_frame(&header)?;
            if let Some(deflate) = &mut self.deflate {
                deflate.begin_frame(header.opcode, header.is_compressed);
            }
        }
        self.received.count_frame(header.opcode as u8, header.payload_len);
        let incoming = Incoming { header, received: 0 };
        self.incoming = Some(incoming);
        Ok(incoming)
    }

    /// "A client MUST mask all frames that it sends to the server", "a server MUST NOT mask any frames" (5.1).
    fn check_mask(&self, header: &FrameHeader) -> Result<(), ProtocolError> {
        match (self.config.strict, self.config.masked, header.mask) {
            (true, false, None) => Err(ProtocolError::UnmaskedFrame),
            (true, true, Some(_)) => Err(ProtocolError::MaskedFrame),
            _ => Ok(()),
        }
    }

    fn take_control_payload<'a>(&mut self, incoming: Incoming, input: &mut &'a mut [u8]) -> Option<Event<'a, B>> {
        let octets = self.take_payload(incoming, input);
        let mut payload = self.control.take().unwrap_or_default();
        payload.append(octets);
        if !self.advance(incoming, octets.len()) {
            self.control = Some(payload);
            return None;
        }
        Some(match incoming.header.opcode {
            Opcode::Ping => Event::Ping(payload),
            Opcode::Pong => Event::Notice(Notice::Pong(payload)),
            _ => Event::Close(Box::new(CloseFrame::parse(*payload))),
        })
    }

    fn take_data_payload<'a>(
        &mut self,
        incoming: Incoming,
        input: &mut &'a mut [u8],
    ) -> Result<Option<Event<'a, B>>, ProtocolError> {
        let octets = self.take_payload(incoming, input);
        let ends = self.advance(incoming, octets.len());
        if self.is_inflating() {
            return self.inflate(octets, ends && incoming.header.fin);
        }
        if self.message.is_streamed() {
            return self.chunk(octets, ends && incoming.header.fin);
        }
        let is_alone = incoming.header.opcode != Opcode::Continuation && incoming.received == 0;
        if ends && incoming.header.fin && is_alone {
            let opcode = self.message.finish_unbuffered(octets)?;
            return Ok(Some(Event::Message { opcode, payload: Payload::Borrowed(octets) }));
        }
        self.message.append(octets)?;
        if ends && incoming.header.fin { self.finish_message() } else { Ok(None) }
    }

    fn chunk<'a>(&mut self, octets: &'a [u8], is_final: bool) -> Result<Option<Event<'a, B>>, ProtocolError> {
        let opcode = self.message.check_chunk(octets, is_final)?;
        let is_something = is_final || !octets.is_empty();
        Ok(is_something.then_some(Event::Chunk { opcode, payload: Payload::Borrowed(octets), is_final }))
    }

    /// Takes the next bytes of the frame's payload off the input and unmasks them.
    fn take_payload<'a>(&mut self, incoming: Incoming, input: &mut &'a mut [u8]) -> &'a mut [u8] {
        let len = incoming.remaining().min(input.len() as u64) as usize;
        let octets = take_front(input, len);
        incoming.unmask(octets);
        note_received(&mut self.trace, incoming, octets);
        octets
    }

    /// Ends the data frame if all of its payload has arrived.
    fn end_of_data_frame(&mut self) -> Result<Option<Event<'static, B>>, ProtocolError> {
        match self.incoming {
            Some(incoming) if incoming.remaining() == 0 => {
                self.incoming = None;
                if incoming.header.fin { self.finish_message() } else { Ok(None) }
            }
            _ => Ok(None),
        }
    }

    fn finish_message(&mut self) -> Result<Option<Event<'static, B>>, ProtocolError> {
        let (opcode, buffer) = self.message.finish()?;
        Ok(Some(Event::Message { opcode, payload: Payload::Owned(buffer) }))
    }

    /// Counts payload as received. Returns `true` if the frame ends with it.
    fn advance(&mut self, mut incoming: Incoming, len: usize) -> bool {
        incoming.received += len as u64;
        let ends = incoming.remaining() == 0;
        self.incoming = if ends { None } else { Some(incoming) };
        ends
    }

    fn note_outcome(&mut self, result: &Result<Option<Event<'_, B>>, ProtocolError>) {
        match result {
            Ok(Some(Event::Close(frame))) if frame.error.is_none() => self.state = self.state.received_close(),
            Ok(Some(Event::Close(_))) | Err(_) => self.state = self.state.violated(),
            Ok(_) => {}
        }
    }
}

/// Records a frame in the trace when its first payload bytes arrive.
fn note_received(trace: &mut Option<Box<Trace>>, incoming: Incoming, payload: &[u8]) {
    let Some(trace) = trace else { return };
    if incoming.received == 0 && (!payload.is_empty() || incoming.header.payload_len == 0) {
        let FrameHeader { fin, opcode, payload_len, .. } = incoming.header;
        trace.note("received", fin, opcode as u8, payload_len, payload);
    }
}

fn take_front<'a>(input: &mut &'a mut [u8], len: usize) -> &'a mut [u8] {
    let (front, rest) = std::mem::take(input).split_at_mut(len);
    *input = rest;
    front
}

#[cfg(test)]
#[path = "connection_tests.rs"]
mod tests;
