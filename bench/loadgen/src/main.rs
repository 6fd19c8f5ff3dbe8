//! Loads one WebSocket server, or one client, over loopback and prints what that cost it, as `key=value` pairs on one
//! line.
//!
//! * `echo`: keeps a number of messages in flight on each of a number of connections, for some seconds.
//! * `deflate`, `deflate_each`: the same with compressed JSON, with context takeover and without.
//! * `broadcast`: sends messages on one connection, and waits until each has come back on all of them.
//! * `idle`: opens connections, echoes a message on each, and looks at the server's memory.
//! * `connect`: connects, echoes one message and closes, one connection after the other, for some seconds.
//! * `feed`: sends as many messages as a client takes.
//!
//! Every octet that comes back is compared with what is due.

#![forbid(unsafe_code)]

mod echo;
mod feed;
mod frames;
mod handshake;
mod json;
mod process;
mod replies;
mod stream;

use echo::{Load, Rule};
use feed::Feed;
use frames::{Deflate, Frames};
use process::Process;
use std::io;
use std::time::{Duration, Instant};
use stream::Endpoint;

/// The arguments after the mode on the command line, all of them numbers.
struct Options {
    port: u16,
    pid: u32,
    tls: bool,
    size: usize,
    in_flight: usize,
    connections: usize,
    seconds: f64,
}

const USAGE: &str = "usage: loadgen echo|deflate|deflate_each|broadcast|idle|connect PORT PID TLS(0|1) BYTES IN_FLIGHT \
                     CONNECTIONS SECONDS\n       loadgen feed BYTES SECONDS [CERTIFICATE KEY]";
/// Time before a measurement: JIT compilers warm up, buffers find their size.
const WARM_UP: Duration = Duration::from_millis(500);

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match run(&arguments) {
        None => {
            eprintln!("{USAGE}");
            std::process::exit(2);
        }
        Some(Ok(line)) => println!("{line}"),
        Some(Err(error)) => {
            eprintln!("loadgen: {error}");
            std::process::exit(1);
        }
    }
}

/// Returns nothing if the arguments are wrong.
fn run(arguments: &[&str]) -> Option<io::Result<String>> {
    let (&mode, rest) = arguments.split_first()?;
    if mode == "feed" {
        return Some(parse_feed(rest)?.run());
    }
    let options = parse(rest)?;
    Some(match mode {
        "echo" => echo(&options, None, Rule::Echo),
        "deflate" => echo(&options, Some(Deflate::WithTakeover), Rule::Echo),
        "deflate_each" => echo(&options, Some(Deflate::Each), Rule::Echo),
        "broadcast" => echo(&options, None, Rule::Broadcast),
        "idle" => idle(&options),
        "connect" => connect(&options),
        _ => return None,
    })
}

fn parse(numbers: &[&str]) -> Option<Options> {
    let [port, pid, tls, size, in_flight, connections, seconds] = numbers else { return None };
    Some(Options {
        port: port.parse().ok()?,
        pid: pid.parse().ok()?,
        tls: *tls != "0",
        size: size.parse().ok()?,
        in_flight: in_flight.parse().ok()?,
        connections: connections.parse().ok()?,
        seconds: seconds.parse().ok()?,
    })
}

fn parse_feed<'a>(arguments: &[&'a str]) -> Option<Feed<'a>> {
    let (size, seconds, tls) = match *arguments {
        [size, seconds] => (size, seconds, None),
        [size, seconds, certificate, key] => (size, seconds, Some([certificate, key])),
        _ => return None,
    };
    Some(Feed { size: size.parse().ok()?, seconds: seconds.parse().ok()?, tls })
}

fn echo(options: &Options, deflate: Option<Deflate>, rule: Rule) -> io::Result<String> {
    let process = Process(options.pid);
    let frames = match deflate {
        None => Frames::equal(options.size, options.in_flight),
        Some(deflate) => Frames::compressed(options.size, options.in_flight, deflate),
    };
    let endpoint = Endpoint::new(options.port, options.tls, deflate);
    let mut load = Load::open(&endpoint, &frames, options.connections, rule)?;
    load.run_until(Instant::now() + WARM_UP)?;
    let (echoed, octets, memory) = (load.echoed, load.octets, process.resident_kib()?);
    let (cpu, start) = (process.cpu()?, Instant::now());
    load.run_until(start + Duration::from_secs_f64(options.seconds))?;
    let (elapsed, messages) = (start.elapsed().as_secs_f64(), load.echoed - echoed);
    if messages == 0 {
        return Err(io::Error::other("no message came back in time"));
    }
    Ok(format!(
        "{} messages={messages} rate={:.0} frame_octets={:.1} grown_kib={}",
        process.cpu()?.per_message(cpu, messages),
        messages as f64 / elapsed,
        (load.octets - octets) as f64 / messages as f64,
        process.resident_kib()? as i64 - memory as i64,
    ))
}

fn idle(options: &Options) -> io::Result<String> {
    let process = Process(options.pid);
    let (endpoint, frames) = (Endpoint::new(options.port, options.tls, None), Frames::equal(options.size, 1));
    // The memory of the first connections is mostly memory that the server keeps for all of them.
    let _first = open_and_settle(&endpoint, &frames, options.connections / 4)?;
    let memory = process.resident_kib()?;
    let _measured = open_and_settle(&endpoint, &frames, options.connections)?;
    let grown = process.resident_kib()?.saturating_sub(memory);
    Ok(format!("kib={:.3}", grown as f64 / options.connections as f64))
}

fn open_and_settle<'a>(endpoint: &Endpoint, frames: &'a Frames, connections: usize) -> io::Result<Load<'a>> {
    let mut load = Load::open(endpoint, frames, connections, Rule::Echo)?;
    load.finish_round()?;
    std::thread::sleep(Duration::from_millis(300));
    Ok(load)
}

fn connect(options: &Options) -> io::Result<String> {
    let process = Process(options.pid);
    let (endpoint, frames) = (Endpoint::new(options.port, options.tls, None), Frames::equal(options.size, 1));
    let warm = Instant::now() + WARM_UP;
    while Instant::now() < warm {
        endpoint.visit(&frames)?;
    }
    let (cpu, start, mut waits) = (process.cpu()?, Instant::now(), Vec::new());
    while start.elapsed().as_secs_f64() < options.seconds {
        waits.push(endpoint.visit(&frames)?);
    }
    let figures = process.cpu()?.per_message(cpu, waits.len() as u64);
    waits.sort();
    Ok(format!("{figures} wait_us={:.1} visits={}", waits[waits.len() / 2].as_secs_f64() * 1e6, waits.len()))
}
