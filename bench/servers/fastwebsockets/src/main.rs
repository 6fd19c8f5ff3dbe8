//! Echoes on fastwebsockets, on one thread.

#![forbid(unsafe_code)]

use fastwebsockets::upgrade::{UpgradeFut, upgrade};
use fastwebsockets::{FragmentCollector, OpCode, WebSocketError};
use hyper::body::{Bytes, Incoming};
use hyper::{Request, Response, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};

#[tokio::main(flavor = "current_thread")]
async fn main() -> std::io::Result<()> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    println!("{} fastwebsockets {}", listener.local_addr()?.port(), locked_version("fastwebsockets"));
    loop {
        let (tcp, _) = listener.accept().await?;
        tcp.set_nodelay(true)?;
        tokio::spawn(serve(tcp));
    }
}

/// Returns the version of a dependency, as in `Cargo.lock`.
fn locked_version(name: &str) -> &'static str {
    let entry = format!("name = \"{name}\"\nversion = \"");
    let version = include_str!("../Cargo.lock").split_once(&entry).and_then(|(_, rest)| rest.split_once('"'));
    version.map_or("of unknown version", |(version, _)| version)
}

async fn serve(tcp: TcpStream) {
    let service = service_fn(async |mut request: Request<Incoming>| {
        let (response, upgraded) = upgrade(&mut request)?;
        tokio::spawn(echo(upgraded));
        Ok::<Response<http_body_util::Empty<Bytes>>, WebSocketError>(response)
    });
    // An error means that the peer has ended.
    let _ = http1::Builder::new().serve_connection(TokioIo::new(tcp), service).with_upgrades().await;
}

async fn echo(upgraded: UpgradeFut) -> Result<(), WebSocketError> {
    let mut socket = FragmentCollector::new(upgraded.await?);
    loop {
        let frame = socket.read_frame().await?;
        match frame.opcode {
            OpCode::Text | OpCode::Binary => socket.write_frame(frame).await?,
            OpCode::Close => return Ok(()),
            _ => {}
        }
    }
}
