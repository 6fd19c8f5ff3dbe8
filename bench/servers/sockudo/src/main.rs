//! Echoes on sockudo-ws, on one thread.

#![forbid(unsafe_code)]

use futures_util::{SinkExt, StreamExt};
use sockudo_ws::handshake::server_handshake;
use sockudo_ws::{Config, Message, Result, Role, WebSocketStream};
use tokio::net::{TcpListener, TcpStream};

#[tokio::main(flavor = "current_thread")]
async fn main() -> std::io::Result<()> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    println!("{} sockudo-ws {}", listener.local_addr()?.port(), locked_version("sockudo-ws"));
    loop {
        let (tcp, _) = listener.accept().await?;
        tcp.set_nodelay(true)?;
        tokio::spawn(echo(tcp));
    }
}

/// Returns the version of a dependency, as in `Cargo.lock`.
fn locked_version(name: &str) -> &'static str {
    let entry = format!("name = \"{name}\"\nversion = \"");
    let version = include_str!("../Cargo.lock").split_once(&entry).and_then(|(_, rest)| rest.split_once('"'));
    version.map_or("of unknown version", |(version, _)| version)
}

async fn echo(mut tcp: TcpStream) -> Result<()> {
    let leftover = server_handshake(&mut tcp).await?.leftover;
    let mut socket = WebSocketStream::from_raw_with_leftover(tcp, Role::Server, Config::default(), leftover);
    while let Some(message) = socket.next().await {
        let message = message?;
        if matches!(message, Message::Text(_) | Message::Binary(_)) {
            // The frame goes out, with those of other messages that have arrived, before the next read.
            socket.feed(message).await?;
        }
    }
    Ok(())
}
