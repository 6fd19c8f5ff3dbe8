//! Sends one message to many connections, encoded once.

use super::connection::{self, Connection, Engine};
use crate::engine::{DeflateConfig, MAX_HEADER_LEN, UsageError, encode_frame};
use crate::xs::io::clock;
use crate::xs::io::descriptor::{self, WriteError};
use crate::xs::io::handle::{DirectWriter, Written};
use crate::xs::io::tls::{self, Session};
use crate::xs::io::transport::Route;
use crate::xs::perl::ffi::{AV, HV, Perl, SV};
use crate::xs::perl::sv::{self, Appender};
use bytes::BufMut;
use std::cell::{Cell, RefCell};
use std::hint::black_box;
use std::os::fd::RawFd;
use std::rc::Rc;

/// Number of connections that are prepared before the first of them is written to. Each write(2) evicts the
/// connections' data and this code from the processor's caches.
const GROUP: usize = 32;

/// One message to broadcast, and which recipients to skip.
pub struct Broadcast<'a> {
    opcode: u8,
    payload: &'a [u8],
    /// The encoded frames: first the uncompressed one, then one for each compression that was needed.
    frames: RefCell<Vec<Rc<Frame>>>,
    /// The object to skip.
    except: Option<*mut SV>,
    /// Maximum backlog, in bytes; connections with a larger one are skipped.
    max_backlog: Option<u64>,
    now: f64,
    last_class: Cell<Option<(*mut HV, bool)>>,
}

/// One encoding of the message.
struct Frame {
    compression: Option<DeflateConfig>,
    octets: Vec<u8>,
    /// The number of bytes saved by compression.
    saved: usize,
}

/// A connection whose transport takes the frame directly.
struct Recipient {
    element: *mut SV,
    frame: Rc<Frame>,
    path: Path,
}

/// How a frame gets to a recipient.
enum Path {
    /// The descriptor. This must not be used after Perl code has run.
    Plain { writer: DirectWriter, fd: RawFd },
    /// The handle's TLS session.
    Encrypted,
}

/// The result of a broadcast.
#[derive(Default)]
pub struct Deliveries {
    /// Number of connections that the message is sent to.
    pub count: u64,
    /// Connections whose `send` must be called, for example because they mask, or have bytes queued.
    pub rest: Vec<*mut SV>,
    /// Elements that are not connections of ours; they are not counted.
    pub foreign: Vec<*mut SV>,
    /// Connections whose socket took only part of the frame; their handles write the rest.
    pub partly_written: Vec<*mut SV>,
    /// Connections whose socket failed, with the error.
    pub broken: Vec<(*mut SV, WriteError)>,
}

impl Deliveries {
    /// Returns a reference to an array of all fields. It holds the elements themselves, because copying a tied one runs
    /// Perl code.
    pub fn into_array(self, perl: Perl) -> *mut SV {
        let list = |elements: Vec<*mut SV>| sv::new_array(perl, elements.into_iter().map(sv::retain));
        let pair = |(element, WriteError(errno))| {
            sv::new_array(perl, [sv::retain(element), sv::new_number(perl, errno.unsigned_abs().into())])
        };
        let broken = sv::new_array(perl, self.broken.into_iter().map(pair));
        let count = sv::new_number(perl, self.count);
        sv::new_array(perl, [count, list(self.rest), list(self.foreign), list(self.partly_written), broken])
    }
}

impl<'a> Broadcast<'a> {
    /// Prepares a broadcast.
    pub fn new(opcode: u8, payload: &'a [u8], except: Option<*mut SV>, max_backlog: Option<u64>) -> Self {
        let mut octets = Vec::with_capacity(MAX_HEADER_LEN + payload.len());
        encode_frame(opcode, payload, None, &mut octets);
        let frames = RefCell::new(vec![Rc::new(Frame { compression: None, octets, saved: 0 })]);
        Self { opcode, payload, frames, except, max_backlog, now: clock::wall(), last_class: Cell::new(None) }
    }

    /// Sends the message to the connections in the list. Returns `None`, and sends nothing, if reading an element would
    /// run Perl code.
    ///
    /// # Errors
    /// The opcode or the payload's length is invalid.
    pub fn run(&self, perl: Perl, list: *mut AV) -> Result<Option<Deliveries>, UsageError> {
        let mut deliveries = Deliveries::default();
        // SAFETY: `list` is live, and so are its elements while no Perl code runs.
        let elements = unsafe { sv::slots(list) }.iter().copied();
        let elements: Vec<*mut SV> = elements.filter(|element| !element.is_null()).collect();
        if !elements.iter().all(|&element| sv::is_plain(element)) {
            return Ok(None);
        }
        // That code may also empty the list.
        elements.iter().for_each(|&element| sv::free_later(perl, sv::retain(element)));
        for group in elements.chunks(GROUP) {
            prefetch(perl, group);
            let mut recipients = Vec::with_capacity(group.len());
            for &element in group {
                recipients.extend(self.select(perl, element, &mut deliveries)?);
            }
            // The encrypted ones come last, because OpenSSL may call Perl code, which invalidates the other paths.
            recipients.sort_by_key(|recipient| matches!(recipient.path, Path::Encrypted));
            for recipient in &recipients {
                match self.write_to(perl, recipient) {
                    Ok(true) => {}
                    Ok(false) => deliveries.partly_written.push(recipient.element),
                    Err(error) => deliveries.broken.push((recipient.element, error)),
                }
            }
        }
        Ok(Some(deliveries))
    }

    /// Counts the message for one element of the list, unless it is skipped. Returns the recipient if the frame can be
    /// written directly.
    fn select(
        &self,
        perl: Perl,
        element: *mut SV,
        deliveries: &mut Deliveries,
    ) -> Result<Option<Recipient>, UsageError> {
        let object = sv::referent(element);
        if object.is_some() && object == self.except {
            return Ok(None);
        }
        // SAFETY: the list keeps the object alive, and no Perl code runs.
        let shared = object.and_then(|object| unsafe { connection::of_object(perl, object) });
        let Some(mut connection) = shared.map(|shared| shared.borrow_mut()) else {
            deliveries.foreign.push(element);
            return Ok(None);
        };
        if !connection.engine.can_send(self.opcode) || self.is_too_far_behind(&connection) {
            return Ok(None);
        }
        let recipient = self.prepare_recipient(perl, element, &mut connection);
        match &recipient {
            Some(recipient) => self.count(&mut connection.engine, &recipient.frame)?,
            None if connection.handle().is_destroyed() => return Ok(None),
            None => deliveries.rest.push(element),
        }
        deliveries.count += 1;
        Ok(recipient)
    }

    /// Returns the recipient if the frame can bypass the handle; the rest of a partial write goes into the handle's
    /// buffer.
    fn prepare_recipient(&self, perl: Perl, element: *mut SV, connection: &mut Connection) -> Option<Recipient> {
        let engine = &mut connection.engine;
        if engine.is_sending_fragments() || engine.is_masked() || engine.is_traced() || engine.owes_pong() {
            return None;
        }
        let frame = self.frame_for(engine)?;
        if !connection.has_stock_handle() || self.overrides_send(connection) {
            return None;
        }
        let path = if connection.handle().is_tls() { encrypted_path(connection) } else { plain_path(perl, connection) };
        Some(Recipient { element, frame, path: path? })
    }

    fn count(&self, engine: &mut Engine, frame: &Frame) -> Result<(), UsageError> {
        engine.begin_send(self.opcode, self.payload)?;
        if frame.compression.is_some() {
            engine.note_saved(self.payload.len(), frame.saved);
        }
        Ok(())
    }

    fn is_too_far_behind(&self, connection: &Connection) -> bool {
        self.max_backlog.is_some_and(|max| connection.handle().backlog() as u64 > max)
    }

    /// Writes the frame. Returns `true` if the kernel took all of it.
    fn write_to(&self, perl: Perl, recipient: &Recipient) -> Result<bool, WriteError> {
        let octets = &recipient.frame.octets;
        match &recipient.path {
            Path::Plain { writer, fd } => self.write_plainly(perl, octets, writer, *fd),
            Path::Encrypted => {
                let find = |object| {
                    // SAFETY: the list keeps the object alive, and no Perl code runs.
                    unsafe { connection::of_object(perl, object) }
                };
                let shared = sv::referent(recipient.element).and_then(find);
                shared.map_or(Ok(true), |shared| shared.borrow().encrypt_and_write(octets))
            }
        }
    }

    fn write_plainly(&self, perl: Perl, octets: &[u8], writer: &DirectWriter, fd: RawFd) -> Result<bool, WriteError> {
        let DirectWriter { buffer, activity, .. } = writer;
        // The buffer is not empty if the list contains the connection twice.
        let is_first = sv::length(*buffer) == 0;
        let written = if is_first { descriptor::write(fd, octets)? } else { 0 };
        if written > 0 {
            activity.note(perl, self.now);
        }
        let rest = &octets[written..];
        if !rest.is_empty() {
            let mut out = Appender::new(perl, *buffer, rest.len()).expect("it was a string of octets");
            out.put_slice(rest);
            out.finish();
        }
        Ok(rest.is_empty())
    }

    /// Returns the frame for a connection; `None` if that needs a frame of its own.
    fn frame_for(&self, engine: &mut Engine) -> Option<Rc<Frame>> {
        let compression = engine.shared_compression(self.opcode, self.payload.len());
        if compression.is_none() && engine.compresses(self.opcode, self.payload.len()) {
            return None;
        }
        let mut frames = self.frames.borrow_mut();
        if let Some(frame) = frames.iter().find(|frame| frame.compression == compression) {
            return Some(Rc::clone(frame));
        }
        let mut octets = Vec::new();
        let saved = engine.encode_compressed(self.opcode, self.payload, &mut octets);
        frames.push(Rc::new(Frame { compression, octets, saved }));
        frames.last().map(Rc::clone)
    }

    /// Returns `true` if the object's class overrides `send`. The last result is cached, because most elements have the
    /// same class.
    fn overrides_send(&self, connection: &Connection) -> bool {
        // SAFETY: a connection's object is live and blessed.
        let class = unsafe { sv::class(connection.object.cast()) };
        match self.last_class.get() {
            Some((last, answer)) if last == class => answer,
            _ => {
                let answer = !connection.interpreter.sends_natively(connection.object);
                self.last_class.set(Some((class, answer)));
                answer
            }
        }
    }
}

/// Returns the path past the handle, if there is one.
fn plain_path(perl: Perl, connection: &Connection) -> Option<Path> {
    let writer = connection.handle().writer()?;
    // The buffer is prepared now, because after a partial write the rest must be stored.
    Appender::new(perl, writer.buffer, 0)?;
    let fd = writer.fd(perl)?;
    Some(Path::Plain { writer, fd })
}

/// Returns the path through the TLS session, if nothing is queued before the frame, and what cannot be written yet has a place
/// to wait in.
fn encrypted_path(connection: &Connection) -> Option<Path> {
    let handle = connection.handle();
    let is_free =
        connection.outbox.is_empty() && handle.backlog() == 0 && handle.is_idle(handle.changeable_write_buffer()?);
    let has_place = is_free && sv::make_changeable(handle.perl(), handle.unencrypted_buffer()?);
    (has_place && Session::of(handle).is_some()).then_some(Path::Encrypted)
}

impl Connection {
    /// Encrypts a frame and writes it. Returns `false` if something is left to the handle's methods. Does nothing if Perl
    /// code that OpenSSL has called for another connection made [`encrypted_path`] unusable.
    fn encrypt_and_write(&self, octets: &[u8]) -> Result<bool, WriteError> {
        let handle = self.handle();
        let (Route::Tls { fh, buffer }, Some(write_buffer)) = (self.route(), handle.changeable_write_buffer()) else {
            return Ok(true);
        };
        if !sv::make_changeable(handle.perl(), buffer) {
            return Ok(true);
        }
        handle.queue(buffer, octets);
        self.interpreter.encrypted_scratch.lend(|encrypted| {
            let is_encrypted = tls::encrypt_queued(handle, buffer, encrypted);
            Ok(handle.write_behind(fh, write_buffer, encrypted)? == Written::All && is_encrypted)
        })
    }
}

/// Loads the memory that sending to these connections reads. A connection is spread over dozens of cache lines that
/// lead from one to the next; in a short loop the processor waits for those of many connections at once.
fn prefetch(perl: Perl, elements: &[*mut SV]) {
    // SAFETY: the list keeps the objects alive, and no Perl code runs.
    let of = |&element: &*mut SV| unsafe { connection::of_object(perl, sv::referent(element)?) };
    let found: Vec<_> = elements.iter().filter_map(of).collect();
    let connections: Vec<_> = found.iter().map(|shared| shared.borrow()).collect();
    let stock = connections.iter().filter(|connection| connection.has_stock_handle());
    let handles: Vec<_> = stock.map(|connection| connection.handle()).collect();
    for handle in &handles {
        black_box(handle.is_tls());
    }
    let writers: Vec<_> = handles.iter().filter_map(|handle| handle.writer()).collect();
    for writer in &writers {
        black_box(writer.io(perl));
    }
    for writer in &writers {
        black_box(writer.fd(perl));
    }
}
