//! The accept loop of one socket on one worker.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use tokio::net::{TcpListener, UnixListener};
use tokio_util::sync::CancellationToken;

use super::active::Active;
use super::bind::Bound;
use crate::connection;
use crate::metrics::ListenerStat;
use crate::shared::Shared;
use crate::stream::Stream;

/// A connection as the system handed it over.
#[derive(Debug)]
pub(crate) struct Accepted {
    pub(crate) stream: Stream,
    /// `None` on a Unix socket.
    pub(crate) peer: Option<SocketAddr>,
    /// Which of the listener's addresses it came in on.
    pub(crate) address: usize,
}

#[derive(Debug)]
enum Socket {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Socket {
    async fn accept(&self) -> io::Result<(Stream, Option<SocketAddr>)> {
        match self {
            Self::Tcp(socket) => socket.accept().await.map(|(s, peer)| (Stream::Tcp(s), Some(peer))),
            Self::Unix(socket) => socket.accept().await.map(|(s, _)| (Stream::Unix(s), None)),
        }
    }
}

/// Accepts until `stop`, then takes what is still in the queue: those clients believe to be connected.
pub(super) async fn run(
    bound: Bound,
    address: usize,
    active: Arc<Active>,
    shared: Arc<Shared>,
    stop: CancellationToken,
) {
    let socket = match bound {
        Bound::Tcp(socket) => TcpListener::from_std(socket).map(Socket::Tcp),
        Bound::Unix(socket) => UnixListener::from_std(socket).map(Socket::Unix),
    };
    let socket = match socket {
        Ok(socket) => socket,
        Err(error) => return tracing::error!(listener = &**active.name(), %error, "socket can't be watched"),
    };
    let mut backoff = Backoff::default();
    loop {
        let accepted = tokio::select! {
            biased;
            () = stop.cancelled() => break,
            () = pause(&shared), if shared.overload.stops_accepting() => continue,
            accepted = socket.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                backoff.reset();
                start(Accepted { stream, peer, address }, &active, &shared);
            }
            Err(error) => backoff.failed(&error, &active).await,
        }
    }
    loop {
        let rest = tokio::select! {
            biased;
            accepted = socket.accept() => accepted,
            () = std::future::ready(()) => break,
        };
        if let Ok((stream, peer)) = rest {
            start(Accepted { stream, peer, address }, &active, &shared);
        }
    }
}

/// While no connection is to be accepted.
async fn pause(shared: &Shared) {
    /// Between one look and the next.
    const LOOK: Duration = Duration::from_millis(50);
    while shared.overload.stops_accepting() {
        tokio::time::sleep(LOOK).await;
    }
}

fn start(accepted: Accepted, active: &Arc<Active>, shared: &Arc<Shared>) {
    if shared.overload.rejects_connection() {
        // As Envoy: closed before anything is known of it, and not logged.
        active.stats.inc(ListenerStat::DownstreamCxOverloadReject);
        return;
    }
    tokio::spawn(connection::serve(accepted, Arc::clone(active), Arc::clone(shared)));
}

/// What an accept error is about (accept(2), "Error handling").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cause {
    /// One connection that ended before it was taken: go on.
    Connection,
    /// Descriptors or memory are short: wait, else the loop spins.
    Resources,
}

fn cause(error: &io::Error) -> Cause {
    const SHORT: [i32; 5] = [
        Errno::MFILE.raw_os_error(),
        Errno::NFILE.raw_os_error(),
        Errno::NOBUFS.raw_os_error(),
        Errno::NOMEM.raw_os_error(),
        Errno::PERM.raw_os_error(),
    ];
    match error.raw_os_error() {
        Some(code) if SHORT.contains(&code) => Cause::Resources,
        _ => Cause::Connection,
    }
}

/// Waits after errors, longer and longer, and tells of it now and then.
#[derive(Debug, Default)]
struct Backoff {
    failures: u32,
    told: Option<Instant>,
}

impl Backoff {
    const FIRST: Duration = Duration::from_millis(10);
    const LONGEST: Duration = Duration::from_secs(1);
    const TELL_EVERY: Duration = Duration::from_secs(10);

    fn reset(&mut self) {
        self.failures = 0;
    }

    async fn failed(&mut self, error: &io::Error, active: &Active) {
        if self.told.is_none_or(|told| told.elapsed() >= Self::TELL_EVERY) {
            self.told = Some(Instant::now());
            tracing::warn!(listener = &**active.name(), %error, "accept failed");
        }
        active.accept_failed();
        if cause(error) == Cause::Resources {
            tokio::time::sleep(self.next()).await;
        }
    }

    /// Doubles up to a second; half of it is random, so that workers don't come back together.
    fn next(&mut self) -> Duration {
        let full = Self::FIRST.saturating_mul(1 << self.failures.min(7)).min(Self::LONGEST);
        self.failures += 1;
        full.mul_f64(0.5 + fastrand::f64() / 2.0)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn sorts_errors() {
        let cause_of = |errno: Errno| cause(&io::Error::from(errno));
        assert_eq!(cause_of(Errno::MFILE), Cause::Resources);
        assert_eq!(cause_of(Errno::NOBUFS), Cause::Resources);
        assert_eq!(cause_of(Errno::CONNABORTED), Cause::Connection);
        assert_eq!(cause_of(Errno::PROTO), Cause::Connection);
    }

    #[test]
    fn waits_longer_and_longer_but_never_above_a_second() {
        let mut backoff = Backoff::default();
        let waits: Vec<_> = (0..12).map(|_| backoff.next()).collect();
        assert!(waits[0] >= Backoff::FIRST / 2 && waits[0] <= Backoff::FIRST);
        assert!(waits[11] >= Backoff::LONGEST / 2 && waits.iter().all(|w| *w <= Backoff::LONGEST));
        backoff.reset();
        assert!(backoff.next() <= Backoff::FIRST);
    }
}
