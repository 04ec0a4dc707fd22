//! The PROXY protocol towards an endpoint: who the client is, before all else on the connection.

use std::io;
use std::net::{IpAddr, SocketAddr};

use config::model::cluster::{ProxyHeader, ProxyVersion};
use ppp::v1;
use ppp::v2::{self, Builder};

/// The client and where it connected to.
pub(super) type Client = (SocketAddr, SocketAddr);

/// The header's bytes. Without a client (as of health checks) one of version 1 names our own connection, `own`, and one of
/// version 2 says `LOCAL`, both as in Envoy.
pub(super) fn header(config: &ProxyHeader, client: Option<Client>, own: Option<Client>) -> io::Result<Vec<u8>> {
    match (config.version, client) {
        (ProxyVersion::V1, client) => {
            let addresses = client.or(own).map_or(v1::Addresses::Unknown, |pair| one_family(pair).into());
            Ok(addresses.to_string().into_bytes())
        }
        (ProxyVersion::V2, None) => Builder::new(v2::Version::Two | v2::Command::Local, 0).build(),
        (ProxyVersion::V2, Some(client)) => {
            let command = v2::Version::Two | v2::Command::Proxy;
            let tlvs = config.tlvs.iter().map(|(kind, value)| (*kind, &**value));
            Builder::with_addresses(command, v2::Protocol::Stream, one_family(client)).write_payloads(tlvs)?.build()
        }
    }
}

/// A header has one family for both addresses.
fn one_family((source, destination): Client) -> Client {
    let mapped = |address: SocketAddr| match address.ip() {
        IpAddr::V4(ip) => SocketAddr::new(ip.to_ipv6_mapped().into(), address.port()),
        IpAddr::V6(_) => address,
    };
    match source.is_ipv4() == destination.is_ipv4() {
        true => (source, destination),
        false => (mapped(source), mapped(destination)),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn pair(source: &str, destination: &str) -> Option<Client> {
        Some((source.parse().unwrap(), destination.parse().unwrap()))
    }

    fn config(version: ProxyVersion, tlvs: &[(u8, &[u8])]) -> ProxyHeader {
        ProxyHeader { version, tlvs: tlvs.iter().map(|(kind, value)| (*kind, (*value).into())).collect() }
    }

    #[test]
    fn version_1() {
        let text = |client, own| {
            String::from_utf8(header(&config(ProxyVersion::V1, &[(1, b"x")]), client, own).unwrap()).unwrap()
        };
        let own = pair("127.0.0.1:9", "127.0.0.2:80");
        assert_eq!(
            text(pair("192.0.2.7:5000", "198.51.100.1:443"), own),
            "PROXY TCP4 192.0.2.7 198.51.100.1 5000 443\r\n"
        );
        assert_eq!(text(pair("[2001:db8::7]:1", "[::1]:2"), own), "PROXY TCP6 2001:db8::7 ::1 1 2\r\n");
        assert_eq!(text(pair("192.0.2.7:1", "[::1]:2"), own), "PROXY TCP6 ::ffff:192.0.2.7 ::1 1 2\r\n");
        assert_eq!(text(None, own), "PROXY TCP4 127.0.0.1 127.0.0.2 9 80\r\n");
        assert_eq!(text(None, None), "PROXY UNKNOWN\r\n");
    }

    #[test]
    fn version_2() {
        const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
        let bytes =
            |tlvs, client| header(&config(ProxyVersion::V2, tlvs), client, pair("127.0.0.1:1", "127.0.0.1:2")).unwrap();
        let client = pair("192.0.2.7:5000", "198.51.100.1:443");
        let addresses = [192, 0, 2, 7, 198, 51, 100, 1, 0x13, 0x88, 0x01, 0xbb];
        assert_eq!(bytes(&[], client), [SIGNATURE, &[0x21, 0x11, 0, 12], &addresses].concat());
        assert_eq!(
            bytes(&[(0xea, b"ab"), (0xea, b"c")], client),
            [SIGNATURE, &[0x21, 0x11, 0, 21], &addresses, &[0xea, 0, 2, b'a', b'b', 0xea, 0, 1, b'c']].concat()
        );
        let six = bytes(&[], pair("[2001:db8::7]:1", "[::1]:2"));
        assert_eq!((six.len(), &six[12..16]), (52, &[0x21, 0x21, 0, 36][..]));
        assert_eq!(bytes(&[(1, b"x")], None), [SIGNATURE, &[0x20, 0, 0, 0]].concat());
        let longest = vec![7; 65_535 - 36 - 3];
        let longest = bytes(&[(0xea, &longest)], pair("[2001:db8::7]:1", "[::1]:2"));
        assert_eq!((longest.len(), &longest[14..16]), (16 + 65_535, &[0xff, 0xff][..]));
    }
}
