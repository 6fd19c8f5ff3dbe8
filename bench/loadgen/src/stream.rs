//! Connections to the server, plain or TLS, behind their opening handshake.

use crate::frames::{self, Deflate, Frames};
use crate::handshake;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme, StreamOwned};
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(20);

pub enum Stream {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl Stream {
    pub fn tcp(&self) -> &TcpStream {
        match self {
            Self::Plain(tcp) => tcp,
            Self::Tls(tls) => &tls.sock,
        }
    }
}

impl Read for Stream {
    fn read(&mut self, octets: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(tcp) => tcp.read(octets),
            Self::Tls(tls) => tls.read(octets),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(tcp) => tcp.write(octets),
            Self::Tls(tls) => tls.write(octets),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(tcp) => tcp.flush(),
            Self::Tls(tls) => tls.flush(),
        }
    }
}

/// The server's address.
pub struct Endpoint {
    port: u16,
    tls: Option<Arc<ClientConfig>>,
    deflate: Option<Deflate>,
}

impl Endpoint {
    pub fn new(port: u16, tls: bool, deflate: Option<Deflate>) -> Self {
        Self { port, tls: tls.then(trusting_config), deflate }
    }

    /// Returns a blocking connection that has been upgraded.
    pub fn connect(&self) -> io::Result<Stream> {
        let tcp = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port))?;
        tcp.set_nodelay(true)?;
        tcp.set_read_timeout(Some(PATIENCE))?;
        let mut stream = match &self.tls {
            None => Stream::Plain(tcp),
            Some(config) => {
                let name = ServerName::from(std::net::IpAddr::from(Ipv4Addr::LOCALHOST));
                let client = ClientConnection::new(config.clone(), name).map_err(io::Error::other)?;
                Stream::Tls(Box::new(StreamOwned::new(client, tcp)))
            }
        };
        handshake::ask(&mut stream, self.port, self.deflate)?;
        Ok(stream)
    }

    /// Connects, exchanges one message and closes; returns the time from the start until the message came back.
    pub fn visit(&self, frames: &Frames) -> io::Result<Duration> {
        let start = Instant::now();
        let mut stream = self.connect()?;
        stream.write_all(frames.request_at(0, frames.octets_of(1)))?;
        let mut reply = vec![0; frames.reply_len()];
        stream.read_exact(&mut reply)?;
        let wait = start.elapsed();
        if frames.check(0, &reply).is_none() {
            return Err(io::Error::other("an echo differs from what was sent"));
        }
        stream.write_all(&frames::close())?;
        // The server answers, and closes first or waits for us to do so: read its answer, but do not wait for EOF.
        stream.read_exact(&mut [0; 4])?;
        Ok(wait)
    }
}

/// Accepts any certificate: the server's is made for this run.
fn trusting_config() -> Arc<ClientConfig> {
    let provider = Arc::new(ring::default_provider());
    let verifier = Arc::new(Trusting(provider.clone()));
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.expect("ring has all versions").dangerous();
    Arc::new(builder.with_custom_certificate_verifier(verifier).with_no_client_auth())
}

#[derive(Debug)]
struct Trusting(Arc<CryptoProvider>);

impl ServerCertVerifier for Trusting {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
