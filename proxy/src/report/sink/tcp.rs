//! Lines to a log server over TCP: one connection, made anew when it broke; what can't be sent is dropped and counted.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Instant;

use super::queue::{Lines, Next};
use super::{Counts, Options};
use crate::metrics::ZonegateStat;

/// Sends until the queue is closed and empty.
pub(super) fn run(lines: &Lines, address: &str, options: Options, counts: &Counts) {
    let mut server = Server { address, options, stream: None, not_before: None };
    loop {
        match lines.next(None) {
            Next::Lines(batch) => {
                server.look();
                batch.iter().for_each(|line| server.send(line, counts));
            }
            Next::Timeout | Next::Reopen => {}
            Next::Closed => return,
        }
    }
}

struct Server<'a> {
    address: &'a str,
    options: Options,
    stream: Option<TcpStream>,
    /// After a failure: no attempt before then.
    not_before: Option<Instant>,
}

impl Server<'_> {
    /// Gives up a connection that the server has closed.
    fn look(&mut self) {
        if self.stream.as_mut().is_some_and(is_over) {
            self.stream = None;
        }
    }

    fn send(&mut self, line: &str, counts: &Counts) {
        let stream = match &mut self.stream {
            Some(stream) => stream,
            None if self.not_before.is_some_and(|time| Instant::now() < time) => {
                return counts.own.inc(ZonegateStat::AccessLogDroppedConnectFailed);
            }
            none => match connect(self.address, self.options) {
                Ok(stream) => {
                    tracing::info!(address = self.address, "access log: connected to the TCP log destination");
                    self.not_before = None;
                    none.insert(stream)
                }
                Err(error) => {
                    self.not_before = Some(Instant::now() + self.options.tcp_backoff);
                    tracing::warn!(address = self.address, %error, "access log: no connection, lines are dropped");
                    return counts.own.inc(ZonegateStat::AccessLogDroppedConnectFailed);
                }
            },
        };
        match stream.write_all(line.as_bytes()) {
            Ok(()) => counts.own.inc(ZonegateStat::AccessLogWritten),
            Err(error) => {
                tracing::warn!(address = self.address, %error, "access log: line lost");
                self.stream = None;
                counts.own.inc(ZonegateStat::AccessLogDroppedWriteFailed);
            }
        }
    }
}

fn connect(address: &str, options: Options) -> io::Result<TcpStream> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in address.to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, options.tcp_timeout) {
            Ok(stream) => {
                stream.set_nodelay(true)?;
                stream.set_write_timeout(Some(options.tcp_timeout))?;
                return Ok(stream);
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// The server closed: what we write now would be lost without notice. (It has nothing to say; bytes are ignored.)
fn is_over(stream: &mut TcpStream) -> bool {
    if stream.set_nonblocking(true).is_err() {
        return true;
    }
    let mut ignored = [0; 256];
    let over = loop {
        match stream.read(&mut ignored) {
            Ok(0) => break true,
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break false,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => break true,
        }
    };
    over || stream.set_nonblocking(false).is_err()
}
