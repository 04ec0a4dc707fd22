//! What can go wrong in a run.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

/// Why a measurement gave no figure. Any of these ends the run: a figure from a run in which
/// connections failed would flatter the proxy that failed them.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A connection could not be opened, or broke.
    #[error("{doing} ({address}): {source}")]
    Connection {
        /// What was being done.
        doing: &'static str,
        /// The address that was connected to.
        address: SocketAddr,
        /// The error of the operating system.
        source: io::Error,
    },
    /// The peer took longer than its deadline.
    #[error("{doing} ({address}): no answer within {seconds} s")]
    Deadline {
        /// What was being done.
        doing: &'static str,
        /// The address that was connected to.
        address: SocketAddr,
        /// The deadline, in seconds.
        seconds: u64,
    },
    /// Bytes arrived that were not sent, or fewer, or more.
    #[error("wrong bytes from {address} after {after} right ones of {expected}")]
    WrongBytes {
        /// The address that was connected to.
        address: SocketAddr,
        /// Right bytes before the first wrong one, or before the end.
        after: u64,
        /// Bytes that were to come.
        expected: u64,
    },
    /// The accounts of a process could not be read.
    #[error("accounts of process {pid}: {source}")]
    Accounts {
        /// The process.
        pid: u32,
        /// The error of the operating system.
        source: io::Error,
    },
    /// The proxy's files could not be written or its command not be started.
    #[error("proxy {name}: {doing} {path}: {source}", path = path.display())]
    Start {
        /// The proxy's name.
        name: String,
        /// What was being done.
        doing: &'static str,
        /// The file or program.
        path: PathBuf,
        /// The error of the operating system.
        source: io::Error,
    },
    /// The proxy ended, or did not carry a connection in time.
    #[error("proxy {name}: {why}; the end of its log:\n{log}")]
    NotReady {
        /// The proxy's name.
        name: String,
        /// What was seen.
        why: String,
        /// The last lines of its standard output and error.
        log: String,
    },
    /// The backend or the runtime could not be set up.
    #[error("setting up the load generator: {0}")]
    Setup(#[source] io::Error),
    /// Certificates or the client's TLS could not be set up.
    #[error("setting up TLS: {0}")]
    Tls(String),
    /// A task of the load generator ended without a result.
    #[error("a task of the load generator failed: {0}")]
    Task(String),
}
