//! Keeps messages in flight on many connections from one thread.

use crate::frames::Frames;
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

struct Connection {
    stream: Stream,
    /// Number of octets received over the connection's life.
    received: u64,
    sent: u64,
    /// Number of octets that wait until the socket takes them.
    pending: usize,
}

pub struct Load<'a> {
    frames: &'a Frames,
    poll: Poll,
    connections: Vec<Connection>,
    buffer: Vec<u8>,
    /// Number of messages echoed, over all connections.
    pub echoed: u64,
    /// `true` if an echo is answered with another message.
    goes_on: bool,
}

impl<'a> Load<'a> {
    /// Opens the connections, and puts messages in flight on all of them.
    pub fn open(endpoint: &Endpoint, frames: &'a Frames, connections: usize) -> io::Result<Self> {
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
            opened.push(Connection { stream, received: 0, sent: 0, pending: 0 });
        }
        let buffer = vec![0; READ_BUFFER];
        let mut load = Self { frames, poll, connections: opened, buffer, echoed: 0, goes_on: true };
        for connection in &mut load.connections {
            connection.pending = frames.in_flight * frames.request_len;
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
        self.goes_on = false;
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
        let echoed = connection.read(self.frames, &mut self.buffer)?;
        self.echoed += echoed as u64;
        if self.goes_on {
            connection.pending += echoed * self.frames.request_len;
        }
        connection.write(self.frames)
    }
}

impl Connection {
    /// Reads everything available; returns how many messages that ends.
    fn read(&mut self, frames: &Frames, buffer: &mut [u8]) -> io::Result<usize> {
        let mut echoed = 0;
        while let Some(len) = unless_blocked(self.stream.read(buffer))? {
            if len == 0 {
                return Err(io::Error::other("the server has closed a connection"));
            }
            let ended = frames.check(self.received, &buffer[..len]);
            echoed += ended.ok_or_else(|| io::Error::other("an echo differs from what was sent"))?;
            self.received += len as u64;
            // A short read means that the socket is empty; with TLS it may just be the end of a record.
            if len < buffer.len() && matches!(self.stream, Stream::Plain(_)) {
                break;
            }
        }
        Ok(echoed)
    }

    fn write(&mut self, frames: &Frames) -> io::Result<()> {
        while self.pending > 0 {
            let octets = frames.request_at(self.sent, self.pending);
            let Some(len) = unless_blocked(self.stream.write(octets))? else { break };
            self.sent += len as u64;
            self.pending -= len;
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
