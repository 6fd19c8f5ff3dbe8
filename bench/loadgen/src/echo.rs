//! Keeps messages in flight on many connections from one thread.

use crate::frames::Frames;
use crate::replies::Replies;
use crate::stream::{Endpoint, Stream};
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

const READ_BUFFER: usize = 1 << 20;
/// Maximum duration of a turn of the loop, so that a server that has stopped is noticed.
const TICK: Duration = Duration::from_millis(100);
const PATIENCE: Duration = Duration::from_secs(20);

/// When the next message goes out.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// On the connection on which a message came back.
    Echo,
    /// On the first connection, when a message has come back on all of them.
    Broadcast,
    /// Never: what is in flight may come back.
    Finish,
}

struct Connection {
    stream: Stream,
    replies: Replies,
    /// Number of messages that may have been sent by now.
    released: u64,
    /// Number of octets sent.
    sent: u64,
}

pub struct Load<'a> {
    frames: &'a Frames,
    poll: Poll,
    connections: Vec<Connection>,
    buffer: Vec<u8>,
    /// Number of messages that have come back, over all connections.
    pub echoed: u64,
    /// Number of octets that have come back.
    pub octets: u64,
    rule: Rule,
}

impl<'a> Load<'a> {
    /// Opens the connections, and puts messages in flight: on all of them, or for a broadcast on the first.
    pub fn open(endpoint: &Endpoint, frames: &'a Frames, connections: usize, rule: Rule) -> io::Result<Self> {
        let poll = Poll::new()?;
        let mut opened = Vec::with_capacity(connections);
        for number in 0..connections {
            let stream = endpoint.connect()?;
            stream.tcp().set_nonblocking(true)?;
            // Edge-triggered: every event must be answered by reading and writing as much as possible.
            poll.registry().register(
                &mut SourceFd(&stream.tcp().as_raw_fd()),
                Token(number),
                Interest::READABLE | Interest::WRITABLE,
            )?;
            opened.push(Connection { stream, replies: Replies::new(frames), released: 0, sent: 0 });
        }
        let buffer = vec![0; READ_BUFFER];
        let mut load = Self { frames, poll, connections: opened, buffer, echoed: 0, octets: 0, rule };
        let senders = if rule == Rule::Broadcast { 1 } else { connections };
        for connection in &mut load.connections[..senders] {
            connection.released = frames.in_flight as u64;
            connection.write(frames)?;
        }
        Ok(load)
    }

    pub fn run_until(&mut self, end: Instant) -> io::Result<()> {
        let mut events = Events::with_capacity(1024);
        let mut quiet_since = Instant::now();
        loop {
            let now = Instant::now();
            if now >= end {
                return Ok(());
            }
            self.poll.poll(&mut events, Some(TICK))?;
            if !events.is_empty() {
                quiet_since = now;
            } else if now - quiet_since > PATIENCE {
                return Err(io::Error::other("the server has stopped answering"));
            }
            for event in &events {
                self.serve(event.token().0)?;
            }
        }
    }

    /// Waits for the echoes of all messages in flight, and sends no more.
    pub fn finish_round(&mut self) -> io::Result<()> {
        self.rule = Rule::Finish;
        let (due, patience) = ((self.connections.len() * self.frames.in_flight) as u64, Instant::now() + PATIENCE);
        while self.echoed < due {
            self.run_until(Instant::now() + Duration::from_millis(1))?;
            if Instant::now() > patience {
                return Err(io::Error::other("some messages did not come back"));
            }
        }
        Ok(())
    }

    fn serve(&mut self, number: usize) -> io::Result<()> {
        let connection = &mut self.connections[number];
        let (echoed, octets) = connection.read(self.frames, &mut self.buffer)?;
        self.echoed += echoed as u64;
        self.octets += octets as u64;
        if self.rule == Rule::Echo {
            connection.released += echoed as u64;
        }
        connection.write(self.frames)?;
        if self.rule == Rule::Broadcast { self.broadcast() } else { Ok(()) }
    }

    fn broadcast(&mut self) -> io::Result<()> {
        let received_by_all = self.echoed / self.connections.len() as u64;
        let first = &mut self.connections[0];
        if first.released == received_by_all + self.frames.in_flight as u64 {
            return Ok(());
        }
        first.released = received_by_all + self.frames.in_flight as u64;
        first.write(self.frames)
    }
}

impl Connection {
    /// Reads everything available; returns how many messages that ends, and how many octets it is.
    fn read(&mut self, frames: &Frames, buffer: &mut [u8]) -> io::Result<(usize, usize)> {
        let (mut echoed, mut octets) = (0, 0);
        while let Some(len) = unless_blocked(self.stream.read(buffer))? {
            if len == 0 {
                return Err(io::Error::other("the server has closed a connection"));
            }
            echoed += self.replies.take(frames, &buffer[..len])?;
            octets += len;
            // A short read means that the socket is empty; with TLS it may just be the end of a record.
            if len < buffer.len() && matches!(self.stream, Stream::Plain(_)) {
                break;
            }
        }
        Ok((echoed, octets))
    }

    fn write(&mut self, frames: &Frames) -> io::Result<()> {
        let end = frames.octets_of(self.released);
        while self.sent < end {
            let octets = frames.request_at(self.sent, end - self.sent);
            let Some(len) = unless_blocked(self.stream.write(octets))? else { break };
            self.sent += len as u64;
        }
        unless_blocked(self.stream.flush()).map(drop)
    }
}

fn unless_blocked<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(error),
    }
}
