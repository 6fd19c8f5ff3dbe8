//! Loads one WebSocket server over loopback and prints what that cost the server, as `key=value` pairs on one line.
//!
//! * `loadgen echo ...`: keeps a number of messages in flight on each of a number of connections, for some seconds.
//! * `loadgen idle ...`: opens connections, echoes a message on each, and looks at the server's memory.
//! * `loadgen connect ...`: connects, echoes one message and closes, one connection after the other, for some seconds.
//!
//! Every octet that comes back is compared with what is due.

#![forbid(unsafe_code)]

mod echo;
mod frames;
mod process;
mod stream;

use frames::Frames;
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

const USAGE: &str = "usage: loadgen echo|idle|connect PORT PID TLS(0|1) BYTES IN_FLIGHT CONNECTIONS SECONDS";
/// Time before a measurement: JIT compilers warm up, buffers find their size.
const WARM_UP: Duration = Duration::from_millis(500);

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let Some((mode, options)) = arguments.split_first().and_then(|(mode, rest)| Some((mode, parse(rest)?))) else {
        eprintln!("{USAGE}");
        std::process::exit(2);
    };
    let result = match mode.as_str() {
        "echo" => echo(&options),
        "idle" => idle(&options),
        "connect" => connect(&options),
        _ => Err(io::Error::other(USAGE)),
    };
    match result {
        Ok(line) => println!("{line}"),
        Err(error) => {
            eprintln!("loadgen: {error}");
            std::process::exit(1);
        }
    }
}

fn parse(numbers: &[String]) -> Option<Options> {
    let [port, pid, tls, size, in_flight, connections, seconds] = numbers else { return None };
    Some(Options {
        port: port.parse().ok()?,
        pid: pid.parse().ok()?,
        tls: tls != "0",
        size: size.parse().ok()?,
        in_flight: in_flight.parse().ok()?,
        connections: connections.parse().ok()?,
        seconds: seconds.parse().ok()?,
    })
}

fn echo(options: &Options) -> io::Result<String> {
    let process = Process(options.pid);
    let frames = Frames::new(options.size, options.in_flight);
    let mut load = echo::Load::open(&Endpoint::new(options.port, options.tls), &frames, options.connections)?;
    load.run_until(Instant::now() + WARM_UP)?;
    let (cpu, memory, echoed, start) = (process.cpu()?, process.resident_kib()?, load.echoed, Instant::now());
    load.run_until(start + Duration::from_secs_f64(options.seconds))?;
    let (elapsed, messages) = (start.elapsed().as_secs_f64(), load.echoed - echoed);
    if messages == 0 {
        return Err(io::Error::other("no message came back in time"));
    }
    Ok(format!(
        "cpu_us={:.4} messages={messages} rate={:.0} grown_kib={}",
        micros(process.cpu()? - cpu) / messages as f64,
        messages as f64 / elapsed,
        process.resident_kib()? as i64 - memory as i64,
    ))
}

fn idle(options: &Options) -> io::Result<String> {
    let process = Process(options.pid);
    let (endpoint, frames) = (Endpoint::new(options.port, options.tls), Frames::new(options.size, 1));
    // The memory of the first connections is mostly memory that the server keeps for all of them.
    let _first = open_and_settle(&endpoint, &frames, options.connections / 4)?;
    let memory = process.resident_kib()?;
    let _measured = open_and_settle(&endpoint, &frames, options.connections)?;
    let grown = process.resident_kib()?.saturating_sub(memory);
    Ok(format!("kib={:.3}", grown as f64 / options.connections as f64))
}

fn open_and_settle<'a>(endpoint: &Endpoint, frames: &'a Frames, connections: usize) -> io::Result<echo::Load<'a>> {
    let mut load = echo::Load::open(endpoint, frames, connections)?;
    load.finish_round()?;
    std::thread::sleep(Duration::from_millis(300));
    Ok(load)
}

fn connect(options: &Options) -> io::Result<String> {
    let process = Process(options.pid);
    let (endpoint, frames) = (Endpoint::new(options.port, options.tls), Frames::new(options.size, 1));
    let warm = Instant::now() + WARM_UP;
    while Instant::now() < warm {
        endpoint.visit(&frames)?;
    }
    let (cpu, start, mut waits) = (process.cpu()?, Instant::now(), Vec::new());
    while start.elapsed().as_secs_f64() < options.seconds {
        waits.push(micros(endpoint.visit(&frames)?));
    }
    let cpu_us = micros(process.cpu()? - cpu) / waits.len() as f64;
    waits.sort_by(f64::total_cmp);
    Ok(format!("cpu_us={cpu_us:.3} wait_us={:.1} visits={}", waits[waits.len() / 2], waits.len()))
}

fn micros(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}
