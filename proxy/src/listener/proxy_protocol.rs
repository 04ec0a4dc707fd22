//! The PROXY protocol, versions 1 and 2, parsed by `ppp` (the one crate for it that knows both and partial input).

use std::future::poll_fn;
use std::net::{IpAddr, SocketAddr};
use std::task::{Poll, ready};

use config::model::listener::ProxyProtocol;
use ppp::{HeaderResult, PartialResult, v1, v2};

use crate::control::Control;
use crate::error::CloseReason;
use crate::metrics::{ProxyProtocolStat, Scope};
use crate::relay::with_buffer;
use crate::stream::Stream;

/// A v2 header may be this long, its addresses and TLVs included (spec §2.2: 16 + 65,535).
const LONGEST: usize = 16 + 65_535;

/// What the header said.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Origin {
    /// Client and destination; `None` for `LOCAL`, `UNKNOWN`, Unix addresses, and where the header is absent.
    pub(crate) addresses: Option<(SocketAddr, SocketAddr)>,
    /// Bytes that came behind it.
    pub(crate) rest: Vec<u8>,
}

/// Reads a header.
///
/// # Errors
/// [`CloseReason::ProxyProtocol`] where it is malformed, of a version not allowed, or absent and required; else as
/// [`first_bytes`](super::inspect::first_bytes).
pub(crate) async fn read(
    stream: &mut Stream,
    control: &Control,
    wanted: &ProxyProtocol,
    stats: &Scope<ProxyProtocolStat>,
) -> Result<Origin, CloseReason> {
    let mut got = Vec::new();
    poll_fn(|cx| {
        control.watch(cx);
        loop {
            if control.kill_code().is_some() {
                return Poll::Ready(Err(control.hello_kill()));
            }
            let read = ready!(with_buffer(|buffer| match stream.poll_read_slice(cx, &mut buffer[..4096]) {
                Poll::Pending => Poll::Pending,
                Poll::Ready(Ok(0)) => Poll::Ready(Err(CloseReason::HelloEof)),
                Poll::Ready(Err(error)) => Poll::Ready(Err(super::inspect::failed(&error))),
                Poll::Ready(Ok(n)) => {
                    got.extend_from_slice(&buffer[..n]);
                    Poll::Ready(Ok(()))
                }
            }));
            if let Err(reason) = read {
                return Poll::Ready(Err(reason));
            }
            if let Some(done) = parse(&mut got, wanted, stats) {
                return Poll::Ready(done);
            }
        }
    })
    .await
}

/// `None`: more bytes are needed.
fn parse(
    got: &mut Vec<u8>,
    wanted: &ProxyProtocol,
    stats: &Scope<ProxyProtocolStat>,
) -> Option<Result<Origin, CloseReason>> {
    if !could_be_header(got) {
        let stat = if wanted.allow_without {
            ProxyProtocolStat::NotFoundAllowed
        } else {
            ProxyProtocolStat::NotFoundDisallowed
        };
        stats.inc(stat);
        let plain = Origin { addresses: None, rest: std::mem::take(got) };
        return Some(if wanted.allow_without { Ok(plain) } else { Err(CloseReason::ProxyProtocol) });
    }
    let header = HeaderResult::parse(got);
    if header.is_incomplete() && got.len() < LONGEST {
        return None;
    }
    let (allowed, found, disallowed, error) = match &header {
        HeaderResult::V1(_) => (
            wanted.v1,
            ProxyProtocolStat::VersionsV1Found,
            ProxyProtocolStat::VersionsV1Disallowed,
            ProxyProtocolStat::VersionsV1Error,
        ),
        HeaderResult::V2(_) => (
            wanted.v2,
            ProxyProtocolStat::VersionsV2Found,
            ProxyProtocolStat::VersionsV2Disallowed,
            ProxyProtocolStat::VersionsV2Error,
        ),
    };
    let parsed = match header {
        HeaderResult::V1(Ok(header)) => Some((header.header.len(), v1_addresses(&header.addresses))),
        HeaderResult::V2(Ok(header)) => Some((header.len(), v2_addresses(&header))),
        HeaderResult::V1(Err(_)) | HeaderResult::V2(Err(_)) => None,
    };
    let Some((length, addresses)) = parsed else {
        stats.inc(error);
        return Some(Err(CloseReason::ProxyProtocol));
    };
    stats.inc(if allowed { found } else { disallowed });
    if !allowed {
        return Some(Err(CloseReason::ProxyProtocol));
    }
    Some(Ok(Origin { addresses, rest: got.split_off(length.min(got.len())) }))
}

/// Whether the bytes begin, or may still begin, like a header of either version.
fn could_be_header(got: &[u8]) -> bool {
    [v1::PROTOCOL_PREFIX.as_bytes(), v2::PROTOCOL_PREFIX].iter().any(|prefix| {
        let n = prefix.len().min(got.len());
        got[..n] == prefix[..n]
    })
}

fn v1_addresses(addresses: &v1::Addresses) -> Option<(SocketAddr, SocketAddr)> {
    match addresses {
        v1::Addresses::Tcp4(a) => {
            Some(pair(a.source_address, a.source_port, a.destination_address, a.destination_port))
        }
        v1::Addresses::Tcp6(a) => {
            Some(pair(a.source_address, a.source_port, a.destination_address, a.destination_port))
        }
        v1::Addresses::Unknown => None,
    }
}

fn v2_addresses(header: &v2::Header<'_>) -> Option<(SocketAddr, SocketAddr)> {
    if header.command == v2::Command::Local {
        return None;
    }
    match &header.addresses {
        v2::Addresses::IPv4(a) => {
            Some(pair(a.source_address, a.source_port, a.destination_address, a.destination_port))
        }
        v2::Addresses::IPv6(a) => {
            Some(pair(a.source_address, a.source_port, a.destination_address, a.destination_port))
        }
        v2::Addresses::Unix(_) | v2::Addresses::Unspecified => None,
    }
}

fn pair(source: impl Into<IpAddr>, source_port: u16, to: impl Into<IpAddr>, to_port: u16) -> (SocketAddr, SocketAddr) {
    (SocketAddr::new(source.into(), source_port), SocketAddr::new(to.into(), to_port))
}
