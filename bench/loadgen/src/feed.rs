//! A server that sends to one client as much as it takes, and looks at what that costs the client.
//!
//! The client says who it is by asking for the path `/PID`, and answers a message of another length than the others with
//! the number of messages that it has received before.

use crate::process::Process;
use crate::{WARM_UP, frames, handshake};
use rustls::crypto::ring::cipher_suite::TLS13_AES_256_GCM_SHA384;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Number of octets written at once.
const BURST: usize = 256 * 1024;
const PATIENCE: Duration = Duration::from_secs(20);
const LAST_MESSAGE: &[u8] = b"How many?";

pub struct Feed<'a> {
    pub size: usize,
    pub seconds: f64,
    /// Files with the certificate and its key; TLS only if they are given.
    pub tls: Option<[&'a str; 2]>,
}

impl Feed<'_> {
    /// Prints the port that it listens on, feeds one client, and returns the figures.
    pub fn run(&self) -> io::Result<String> {
        let config = self.tls.map(server_config).transpose()?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        println!("{}", listener.local_addr()?.port());
        let (mut tcp, _) = listener.accept()?;
        tcp.set_nodelay(true)?;
        tcp.set_read_timeout(Some(PATIENCE))?;
        tcp.set_write_timeout(Some(PATIENCE))?;
        match config {
            None => self.serve(&mut tcp),
            Some(config) => {
                let server = ServerConnection::new(config).map_err(io::Error::other)?;
                self.serve(&mut StreamOwned::<_, TcpStream>::new(server, tcp))
            }
        }
    }

    fn serve(&self, stream: &mut (impl Read + Write)) -> io::Result<String> {
        let path = handshake::answer(stream)?;
        let pid = path.trim_start_matches('/').parse().map_err(|_| io::Error::other("the path is no process"))?;
        let process = Process(pid);
        let frame = frames::unmasked_text(&vec![b'x'; self.size]);
        let burst = frame.repeat(1 + BURST / frame.len());
        let mut messages = 0;
        let mut send_for = |stream: &mut _, duration| {
            let end = Instant::now() + duration;
            while Instant::now() < end {
                Write::write_all(stream, &burst)?;
                messages += (burst.len() / frame.len()) as u64;
            }
            io::Result::Ok(messages)
        };
        let before = send_for(stream, WARM_UP)?;
        let cpu = process.cpu()?;
        let after = send_for(stream, Duration::from_secs_f64(self.seconds))?;
        // The sockets hold as many messages at the end as at the beginning, so the difference counts what was received.
        let figures = process.cpu()?.per_message(cpu, after - before);
        let received = ask_how_many(stream)?;
        if received != after {
            return Err(io::Error::other(format!("the client has received {received} messages of {after}")));
        }
        Ok(format!("{figures} messages={}", after - before))
    }
}

fn ask_how_many(stream: &mut (impl Read + Write)) -> io::Result<u64> {
    stream.write_all(&frames::unmasked_text(LAST_MESSAGE))?;
    stream.flush()?;
    // A short, masked frame.
    let mut header = [0; 6];
    stream.read_exact(&mut header)?;
    let [_, len, mask @ ..] = header;
    let mut digits = vec![0; usize::from(len & 0x7f)];
    stream.read_exact(&mut digits)?;
    digits.iter_mut().zip(mask.iter().cycle()).for_each(|(digit, mask)| *digit ^= mask);
    String::from_utf8_lossy(&digits).parse().map_err(|_| io::Error::other("the client does not answer with a number"))
}

fn server_config([certificate, key]: [&str; 2]) -> io::Result<Arc<ServerConfig>> {
    let certificate = CertificateDer::from_pem_file(certificate).map_err(io::Error::other)?;
    let key = PrivateKeyDer::from_pem_file(key).map_err(io::Error::other)?;
    // The cipher on which all servers agree with the load generator; clients have different preferences.
    let provider = CryptoProvider { cipher_suites: vec![TLS13_AES_256_GCM_SHA384], ..ring::default_provider() };
    let builder = ServerConfig::builder_with_provider(Arc::new(provider));
    let builder = builder.with_protocol_versions(&[&rustls::version::TLS13]).map_err(io::Error::other)?;
    let config = builder.with_no_client_auth().with_single_cert(vec![certificate], key);
    Ok(Arc::new(config.map_err(io::Error::other)?))
}
