use std::net::IpAddr;

use super::refusal::Malformed;
use crate::wire::Input;

const HOST_NAME: u8 = 0;
/// BoringSSL's `TLSEXT_MAXLEN_host_name`.
const MAX_HOST_NAME: usize = 255;

/// What the `server_name` extension (RFC 6066 §3) says.
///
/// BoringSSL, and so Envoy's `tls_inspector`, takes exactly one entry, of type host_name, of 1 to
/// 255 bytes without NUL; apart from that any bytes, an IP literal too. Given anything else it
/// fails the handshake, and Envoy then treats the connection as "not TLS": a filter chain that
/// asks for transport protocol `tls` or for a server name does not match. [`ServerName::as_bytes`]
/// follows that: it is `None` for all that Envoy would not match on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ServerName<'a> {
    /// No such extension. Envoy matches as for the empty name.
    Absent,
    /// One host name, as sent: any case, any bytes but NUL.
    Host(&'a [u8]),
    /// One host name that is an IPv4 or IPv6 literal, which RFC 6066 forbids and Envoy matches
    /// like any other name.
    Ip(&'a [u8]),
    /// More than one entry; the first entry's name. Refused by BoringSSL.
    Several(&'a [u8]),
    /// A host name of no bytes. Refused by BoringSSL.
    Empty,
    /// A host name of more than 255 bytes. Refused by BoringSSL.
    TooLong(&'a [u8]),
    /// A host name with a NUL byte. Refused by BoringSSL.
    Nul(&'a [u8]),
    /// One entry of another type than host_name (0). Refused by BoringSSL.
    OtherType(u8),
}

impl<'a> ServerName<'a> {
    /// Reads the extension's body.
    pub(super) fn parse(body: &'a [u8]) -> Result<Self, Malformed> {
        let mut body = Input::new(body);
        let list = body.vec16().filter(|_| body.is_empty()).ok_or(Malformed::ServerNameList)?;
        let mut list = Input::new(list);
        let (kind, name) = entry(&mut list)?;
        if !list.is_empty() {
            while !list.is_empty() {
                entry(&mut list)?;
            }
            return Ok(Self::Several(name));
        }
        Ok(match kind {
            HOST_NAME => Self::host(name),
            other => Self::OtherType(other),
        })
    }

    /// The name that Envoy would match on: as sent, in any case.
    pub const fn as_bytes(&self) -> Option<&'a [u8]> {
        match self {
            Self::Host(name) | Self::Ip(name) => Some(name),
            _ => None,
        }
    }

    /// Whether BoringSSL refuses the hello because of this, which makes the connection "not TLS"
    /// to Envoy.
    pub const fn is_refused(&self) -> bool {
        !matches!(self, Self::Absent | Self::Host(_) | Self::Ip(_))
    }

    /// The kind as a metrics label, snake_case.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Absent => "absent",
            Self::Host(_) => "host",
            Self::Ip(_) => "ip",
            Self::Several(_) => "several",
            Self::Empty => "empty",
            Self::TooLong(_) => "too_long",
            Self::Nul(_) => "nul",
            Self::OtherType(_) => "other_type",
        }
    }

    fn host(name: &'a [u8]) -> Self {
        match name {
            [] => Self::Empty,
            name if name.len() > MAX_HOST_NAME => Self::TooLong(name),
            name if memchr::memchr(0, name).is_some() => Self::Nul(name),
            name if is_ip_literal(name) => Self::Ip(name),
            name => Self::Host(name),
        }
    }
}

fn is_ip_literal(name: &[u8]) -> bool {
    str::from_utf8(name).is_ok_and(|name| name.parse::<IpAddr>().is_ok())
}

fn entry<'a>(list: &mut Input<'a>) -> Result<(u8, &'a [u8]), Malformed> {
    let kind = list.u8().ok_or(Malformed::ServerNameList)?;
    let name = list.vec16().ok_or(Malformed::ServerNameList)?;
    Ok((kind, name))
}
