//! TCP probes: connect, or connect, send and look for the answer.

use std::io;

use config::model::address::Address;
use config::model::cluster::{HealthCheck, Probe, SocketOptions};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, timeout_at};

use super::Verdict;
use crate::error::ConnectError;
use crate::stream::Stream;
use crate::upstream::connect::open;
use crate::upstream::host::Host;

/// More than this in one answer and it is not the expected one.
pub(super) const LONGEST: usize = 1 << 20;

/// Probes one address; keeps the connection between probes where the check says so.
pub(super) struct Prober<'a> {
    host: &'a Host,
    address: Address,
    options: Option<&'a SocketOptions>,
    send: &'a [u8],
    receive: &'a [Box<[u8]>],
    reuse: bool,
    kept: Option<Stream>,
}

impl<'a> Prober<'a> {
    pub(super) fn new(
        check: &'a HealthCheck,
        host: &'a Host,
        address: Address,
        options: Option<&'a SocketOptions>,
    ) -> Self {
        let (send, receive) = match &check.probe {
            Probe::Tcp { send, receive } => (send.as_deref().unwrap_or_default(), &**receive),
            Probe::Http(_) | Probe::Grpc(_) | Probe::Unsupported(_) => (&[][..], &[][..]),
        };
        Self { host, address, options, send, receive, reuse: check.reuse_connection, kept: None }
    }

    /// One probe, over at `deadline`.
    pub(super) async fn probe(&mut self, deadline: Instant) -> Verdict {
        let kept = self.kept.take();
        let Ok(result) = timeout_at(deadline, self.exchange(kept)).await else { return Verdict::Timeout };
        match result {
            Ok(stream) => {
                self.kept = stream.filter(|_| self.reuse);
                Verdict::Passed
            }
            Err(_) => Verdict::Network,
        }
    }

    /// Ready when the host ends the kept connection; never, when there is none.
    pub(super) async fn broken(&mut self) {
        let mut rest = [0; 256];
        while let Some(stream) = &mut self.kept {
            // What comes unasked between two probes belongs to none.
            if !matches!(stream.read(&mut rest).await, Ok(n) if n > 0) {
                self.kept = None;
                return;
            }
        }
        std::future::pending().await
    }

    /// Connects as traffic does, over TLS where the host is reached so.
    async fn open(&self) -> Result<Stream, ConnectError> {
        let mut socket = open(&self.address, self.options).await?;
        let transport = &self.host.detail().transport;
        transport.introduce(&mut socket, None).await?;
        transport.secure(socket, self.host, false, &mut None).await
    }

    /// The connection is given back when it was used for more than connecting: a mere connect is tried anew each time.
    async fn exchange(&self, kept: Option<Stream>) -> io::Result<Option<Stream>> {
        let mut stream = match kept {
            Some(stream) => stream,
            None => self.open().await.map_err(|_| io::ErrorKind::ConnectionRefused)?,
        };
        if self.receive.is_empty() {
            return Ok(None);
        }
        stream.write_all(self.send).await?;
        let mut answer = Vec::new();
        let mut chunk = [0; 4096];
        while !contains_in_order(&answer, self.receive) {
            let n = stream.read(&mut chunk).await?;
            if n == 0 || answer.len() + n > LONGEST {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            answer.extend_from_slice(&chunk[..n]);
        }
        Ok(Some(stream))
    }
}

/// Every block occurs, each after the one before it (Envoy: `PayloadMatcher::match`).
pub(super) fn contains_in_order(mut answer: &[u8], blocks: &[Box<[u8]>]) -> bool {
    for block in blocks.iter().filter(|b| !b.is_empty()) {
        match answer.windows(block.len()).position(|window| *window == **block) {
            Some(at) => answer = &answer[at + block.len()..],
            None => return false,
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_in_order() {
        let blocks = |list: &[&str]| list.iter().map(|b| b.as_bytes().into()).collect::<Vec<Box<[u8]>>>();
        assert!(contains_in_order(b"+PONG\r\n", &blocks(&["PONG"])));
        assert!(contains_in_order(b"a--b--c", &blocks(&["a", "b", "c"])));
        assert!(!contains_in_order(b"b--a", &blocks(&["a", "b"])));
        assert!(!contains_in_order(b"ab", &blocks(&["ab", "b"])), "blocks do not overlap");
        assert!(!contains_in_order(b"", &blocks(&["x"])));
        assert!(contains_in_order(b"", &[]));
    }
}
