//! Who the client is, as far as it is believed, and what is told of that
//! (`ConnectionManagerUtility::mutateRequestHeaders`).

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use config::model::address::Address;
use config::model::hcm::{ForwardProto, OriginalIp, SchemeHeader, TrustedProxies};
use http::{HeaderMap, HeaderName, HeaderValue};
use proxy::report::http::{HttpFlow, Protocol, Scheme, joined};

use super::chain::Chain;
use super::reply::Reply;

pub(super) static X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
static X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
static X_FORWARDED_PORT: HeaderName = HeaderName::from_static("x-forwarded-port");

/// What the addresses say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Judged {
    /// The request comes from inside.
    pub(super) internal: bool,
    /// We are the first to see it, and it comes from outside.
    pub(super) edge: bool,
}

/// Finds the client, and says so in `x-forwarded-…`.
pub(super) fn judge(chain: &Chain, flow: &mut HttpFlow) -> Result<Judged, Reply> {
    let manager = &*chain.manager;
    let peer = flow.connection.remote;
    let (remote, trusted) = match manager.use_remote_address {
        true => first_hop(chain, flow, peer),
        false => detect(chain, flow, peer)?,
    };
    let tls = flow.connection.tls.is_some();
    let headers = &mut flow.request.headers;
    if !headers.contains_key(&X_FORWARDED_PROTO) {
        headers.insert(X_FORWARDED_PROTO.clone(), proto(manager.forward_proto.as_deref(), &flow.connection.local, tls));
    }
    if manager.append_x_forwarded_port && !headers.contains_key(&X_FORWARDED_PORT) {
        insert_port(headers, &flow.connection.local);
    }
    // HTTP/1 has no scheme of its own.
    if flow.protocol != Protocol::Http2 {
        flow.request.scheme = match headers.get(&X_FORWARDED_PROTO).map(HeaderValue::as_bytes) {
            Some(said) if said.eq_ignore_ascii_case(b"https") => Scheme::Https,
            Some(said) if said.eq_ignore_ascii_case(b"http") => Scheme::Http,
            _ => flow.request.scheme,
        };
    }
    if let SchemeHeader::Overwrite { https } = manager.scheme {
        let scheme = if https { Scheme::Https } else { Scheme::Http };
        flow.request.scheme = scheme;
        headers.insert(X_FORWARDED_PROTO.clone(), HeaderValue::from_static(scheme.as_str()));
    }
    let internal = trusted
        && match remote {
            Some(remote) => manager.internal_addresses.contains(remote.ip()),
            None => manager.internal_addresses.unix_sockets,
        };
    flow.internal = internal;
    flow.remote = remote.filter(|remote| Some(*remote) != peer);
    Ok(Judged { internal, edge: !internal && manager.use_remote_address })
}

/// `use_remote_address`: the peer is the client, but for so many proxies before us.
fn first_hop(chain: &Chain, flow: &mut HttpFlow, peer: Option<SocketAddr>) -> (Option<SocketAddr>, bool) {
    let manager = &*chain.manager;
    let tls = flow.connection.tls.is_some();
    let headers = &mut flow.request.headers;
    let hops = manager.xff_num_trusted_hops;
    let trusted = !headers.contains_key(&X_FORWARDED_FOR);
    let told = (hops > 0).then(|| last_but(headers, hops - 1)).flatten();
    let remote = told.map(|ip| SocketAddr::new(ip, 0)).or(peer);
    if !manager.skip_xff_append {
        append_peer(chain, headers, peer);
    }
    if hops == 0 || !headers.contains_key(&X_FORWARDED_PROTO) {
        headers.insert(X_FORWARDED_PROTO.clone(), proto(manager.forward_proto.as_deref(), &flow.connection.local, tls));
    }
    if manager.append_x_forwarded_port && (hops == 0 || !headers.contains_key(&X_FORWARDED_PORT)) {
        insert_port(headers, &flow.connection.local);
    }
    (remote, trusted)
}

/// Others before us know the client.
fn detect(chain: &Chain, flow: &mut HttpFlow, peer: Option<SocketAddr>) -> Result<(Option<SocketAddr>, bool), Reply> {
    let manager = &*chain.manager;
    let headers = &mut flow.request.headers;
    if manager.original_ip.is_empty() {
        // Only a single address may be that of an internal client.
        let told = last_but(headers, manager.xff_num_trusted_hops);
        let single = joined(headers, X_FORWARDED_FOR.as_str()).is_some_and(|all| !all.contains(&b','));
        return Ok(match told {
            Some(ip) => (Some(SocketAddr::new(ip, 0)), single && manager.xff_num_trusted_hops == 0),
            None => (peer, false),
        });
    }
    for extension in &manager.original_ip {
        match extension {
            OriginalIp::Xff { trusted, skip_append } => {
                let single = joined(headers, X_FORWARDED_FOR.as_str()).is_some_and(|all| !all.contains(&b','));
                let told = match trusted {
                    TrustedProxies::Hops(hops) => last_but(headers, *hops).map(|ip| (ip, single)),
                    TrustedProxies::Networks(networks) => {
                        let known = |ip: IpAddr| networks.iter().any(|network| network.contains(ip));
                        peer.filter(|peer| known(peer.ip())).and_then(|_| beyond(headers, known)).map(|ip| (ip, single))
                    }
                };
                if !skip_append {
                    append_peer(chain, headers, peer);
                }
                if let Some((ip, single)) = told {
                    return Ok((Some(SocketAddr::new(ip, 0)), single));
                }
            }
            OriginalIp::CustomHeader { name, trusted, reject } => {
                let told = headers.get(name).and_then(|value| value.to_str().ok()?.trim().parse::<IpAddr>().ok());
                match (told, reject) {
                    (Some(ip), _) => return Ok((Some(SocketAddr::new(ip, 0)), *trusted)),
                    (None, Some(status)) => return Err(Reply::new(*status, "rejected_because_detection_failed")),
                    (None, None) => {}
                }
            }
        }
    }
    Ok((peer, false))
}

/// Appends the peer to `x-forwarded-for`; from the same host, our own address.
fn append_peer(chain: &Chain, headers: &mut HeaderMap, peer: Option<SocketAddr>) {
    let Some(ip) = peer.map(|peer| peer.ip()) else { return };
    // Only these two are loopback's to Envoy (`Network::Utility::isLoopbackAddress`).
    let loopback = ip == Ipv4Addr::LOCALHOST || ip == Ipv6Addr::LOCALHOST;
    let ip = match if loopback { chain.own_ip } else { ip } {
        IpAddr::V4(v4) if chain.manager.represent_ipv4_as_mapped => IpAddr::V6(v4.to_ipv6_mapped()),
        other => other,
    };
    let mut text = String::with_capacity(64);
    if let Some(before) = joined(headers, X_FORWARDED_FOR.as_str())
        && let Ok(before) = std::str::from_utf8(&before)
        && !before.is_empty()
    {
        text.push_str(before);
        text.push(',');
    }
    // Writing to a String can't fail.
    let _ = write!(text, "{ip}");
    if let Ok(value) = HeaderValue::from_str(&text) {
        headers.insert(X_FORWARDED_FOR.clone(), value);
    }
}

/// The address before the last `skip` ones of `x-forwarded-for` (`Utility::getLastAddressFromXFF`).
fn last_but(headers: &HeaderMap, skip: u32) -> Option<IpAddr> {
    let all = joined(headers, X_FORWARDED_FOR.as_str())?;
    let text = std::str::from_utf8(&all).ok()?;
    text.rsplit(',').nth(skip as usize)?.trim_matches([' ', '\t']).parse().ok()
}

/// The last address that is none of those known.
fn beyond(headers: &HeaderMap, known: impl Fn(IpAddr) -> bool) -> Option<IpAddr> {
    let all = joined(headers, X_FORWARDED_FOR.as_str())?;
    let text = std::str::from_utf8(&all).ok()?;
    let mut found = None;
    for word in text.rsplit(',') {
        let ip: IpAddr = word.trim_matches([' ', '\t']).parse().ok()?;
        found = Some(ip);
        if !known(ip) {
            break;
        }
    }
    found
}

fn proto(forward: Option<&ForwardProto>, local: &Address, tls: bool) -> HeaderValue {
    let port = match local {
        Address::Socket(local) => Some(local.port()),
        Address::Pipe { .. } => None,
    };
    let named = forward.zip(port).and_then(|(forward, port)| {
        let https = forward.https.contains(&port);
        (https || forward.http.contains(&port)).then_some(https)
    });
    HeaderValue::from_static(if named.unwrap_or(tls) { "https" } else { "http" })
}

fn insert_port(headers: &mut HeaderMap, local: &Address) {
    if let Address::Socket(local) = local {
        headers.insert(X_FORWARDED_PORT.clone(), HeaderValue::from(local.port()));
    }
}
