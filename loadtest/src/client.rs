//! One connection of the load, with a deadline on every step and every byte checked.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::error::Error;
use crate::hello::client_hello;
use crate::order::{Order, Pattern};

const DEADLINE: Duration = Duration::from_secs(20);
const BUFFER: usize = 64 * 1024;
/// Bytes of one ping.
pub const PING: usize = 64;

/// Where the load goes, and how.
#[derive(Clone, Debug)]
pub struct Target {
    /// The proxy.
    pub address: SocketAddr,
    /// Through mutual TLS that the proxy ends.
    pub tls: Option<Arc<ClientConfig>>,
}

/// Bytes, in the clear or through TLS.
trait Bytes: AsyncRead + AsyncWrite + Unpin + Send + std::fmt::Debug {}
impl Bytes for TcpStream {}
impl Bytes for TlsStream<TcpStream> {}

/// A connection whose hello has been sent.
#[derive(Debug)]
pub struct Client {
    stream: Box<dyn Bytes>,
    address: SocketAddr,
}

impl Client {
    /// Connects, and sends the hello: the first bytes of the connection, or, where the proxy ends TLS, the first inside
    /// it, so that the backend finds its order in either.
    pub async fn open(to: &Target, server_name: &str, order: Order) -> Result<Self, Error> {
        let address = to.address;
        let stream = step("connecting", address, TcpStream::connect(address)).await?;
        stream.set_nodelay(true).map_err(|source| Error::Connection { doing: "set_nodelay", address, source })?;
        let stream: Box<dyn Bytes> = match &to.tls {
            None => Box::new(stream),
            Some(config) => {
                let name = ServerName::try_from(server_name.to_owned()).map_err(|e| Error::Tls(e.to_string()))?;
                let connector = TlsConnector::from(Arc::clone(config));
                Box::new(step("shaking hands", address, connector.connect(name, stream)).await?)
            }
        };
        let mut client = Self { stream, address };
        let hello = client_hello(server_name, &order.random());
        client.write(&hello).await?;
        Ok(client)
    }

    /// Reads to the end of the stream: exactly so many bytes of the pattern.
    pub async fn receive(&mut self, pattern: &Pattern, expected: u64) -> Result<(), Error> {
        let len = usize::try_from(expected).unwrap_or(BUFFER).clamp(1, BUFFER);
        let mut buffer = vec![0; len];
        let mut after = 0;
        loop {
            let read = step("receiving", self.address, self.stream.read(&mut buffer)).await?;
            let received = buffer.get(..read).unwrap_or_default();
            let agreed = pattern.agree(after, received);
            after += agreed as u64;
            if agreed < read || after > expected || (read == 0 && after < expected) {
                return Err(Error::WrongBytes { address: self.address, after, expected });
            }
            if read == 0 {
                return Ok(());
            }
        }
    }

    /// Sends so many bytes of the pattern, and awaits the word that all of them arrived.
    pub async fn send(&mut self, pattern: &Pattern, bytes: u64) -> Result<(), Error> {
        let mut sent = 0;
        while sent < bytes {
            let piece = pattern.piece(sent, (bytes - sent).min(BUFFER as u64));
            self.write(piece).await?;
            sent += piece.len() as u64;
        }
        let mut word = [0];
        step("awaiting the receipt", self.address, self.stream.read_exact(&mut word)).await.map(drop)
    }

    /// One round trip to a backend that echoes; `number` makes the ping differ from others.
    pub async fn ping(&mut self, number: u64) -> Result<(), Error> {
        let mut sent = [0; PING];
        for (to, from) in sent.iter_mut().zip(number.to_be_bytes().into_iter().cycle()) {
            *to = from;
        }
        self.write(&sent).await?;
        let mut received = [0; PING];
        step("awaiting an echo", self.address, self.stream.read_exact(&mut received)).await?;
        let after = sent.iter().zip(&received).take_while(|(a, b)| a == b).count();
        if after < PING {
            return Err(Error::WrongBytes { address: self.address, after: after as u64, expected: PING as u64 });
        }
        Ok(())
    }

    /// Ends the stream, and awaits the other end's; no byte may come before it.
    pub async fn finish(mut self) -> Result<(), Error> {
        step("ending the stream", self.address, self.stream.shutdown()).await?;
        let mut more = [0];
        match step("awaiting the end of the stream", self.address, self.stream.read(&mut more)).await? {
            0 => Ok(()),
            _ => Err(Error::WrongBytes { address: self.address, after: 0, expected: 0 }),
        }
    }

    async fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        step("sending", self.address, self.stream.write_all(bytes)).await?;
        step("sending", self.address, self.stream.flush()).await
    }
}

async fn step<T>(
    doing: &'static str,
    address: SocketAddr,
    work: impl Future<Output = io::Result<T>>,
) -> Result<T, Error> {
    match timeout(DEADLINE, work).await {
        Ok(done) => done.map_err(|source| Error::Connection { doing, address, source }),
        Err(_) => Err(Error::Deadline { doing, address, seconds: DEADLINE.as_secs() }),
    }
}
