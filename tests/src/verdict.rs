//! What became of a client of the mesh: served, or refused, and with which words.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use rustls::ClientConfig;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::client::{line, mtls};
use crate::wait::within;

/// As the client sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Whoever is behind the proxy sent its banner, and then every byte back.
    Served(String),
    /// The TLS alert that came.
    Alert(String),
    /// The connection ended without a word.
    Closed,
    /// The client itself refused whom it met.
    ServerRefused(String),
}

impl Verdict {
    /// Whether a backend of this name served.
    pub fn is_served_by(&self, name: &str) -> bool {
        *self == Self::Served(name.to_owned())
    }
}

/// Shakes hands, waits for the banner, sends a word, reads it back, and ends.
pub async fn call(proxy: SocketAddr, sni: &str, client: &Arc<ClientConfig>) -> Verdict {
    match within("a call", exchange(proxy, sni, client)).await {
        Ok(banner) => Verdict::Served(banner),
        Err(error) => judge(&error),
    }
}

async fn exchange(proxy: SocketAddr, sni: &str, client: &Arc<ClientConfig>) -> io::Result<String> {
    const WORD: &[u8] = b"a word that comes back";
    let mut stream = mtls(proxy, sni, Arc::clone(client)).await?;
    let banner = line(&mut stream).await?;
    stream.write_all(WORD).await?;
    let mut back = [0; WORD.len()];
    stream.read_exact(&mut back).await?;
    if back != WORD {
        return Err(io::Error::other("other bytes came back"));
    }
    stream.shutdown().await?;
    // The end may come without TLS' own word for it.
    let _ = stream.read_to_end(&mut Vec::new()).await;
    Ok(banner)
}

fn judge(error: &io::Error) -> Verdict {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        Some(rustls::Error::AlertReceived(alert)) => Verdict::Alert(format!("{alert:?}")),
        Some(other) => Verdict::ServerRefused(other.to_string()),
        None => Verdict::Closed,
    }
}
