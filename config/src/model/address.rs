//! Addresses to listen on and to connect to (`envoy.config.core.v3.Address`).

use std::fmt;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

/// An address that needs no resolution.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Address {
    /// IP and port.
    Socket(SocketAddr),
    /// A Unix domain socket; `mode` is the permission of the socket file a listener creates (0 = leave it).
    Pipe {
        /// Path in the file system; a leading `@` means the abstract namespace, as in Envoy.
        path: Arc<Path>,
        /// Permission bits, `core.v3.Pipe.mode`.
        mode: u32,
    },
}

impl fmt::Display for Address {
    /// Envoy's form: `1.2.3.4:5`, `[::1]:5`, or the path.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Socket(a) => a.fmt(f),
            Self::Pipe { path, .. } => path.display().fmt(f),
        }
    }
}

/// Where an endpoint is: an address, or a name still to be resolved (STRICT_DNS).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Target {
    /// Ready to connect to.
    Address(Address),
    /// A DNS name and port.
    Name {
        /// DNS name.
        host: Arc<str>,
        /// TCP port.
        port: u16,
    },
}

/// From `config.core.v3.Address`.
pub(crate) mod proto {
    use std::net::{IpAddr, SocketAddr};
    use std::path::Path;
    use std::sync::Arc;

    use envoy_types::pb::envoy::config::core::v3 as pb;
    use pb::address::Address as Kind;
    use pb::socket_address::{PortSpecifier, Protocol};

    use super::{Address, Target};
    use crate::reject::{Context, Rejection, immaterial};

    /// Permission bits that fit `Pipe.mode` (0777).
    const MAX_MODE: u32 = 0o777;

    /// An address that must not need resolution.
    pub(crate) fn address(cx: &mut Context, address: pb::Address) -> Result<Address, Rejection> {
        match target(cx, address)? {
            Target::Address(address) => Ok(address),
            Target::Name { host, .. } => Err(cx.at("socket_address", |cx| {
                cx.reject(
                    "address",
                    format!("malformed IP address: {host}; a name needs a cluster of type STRICT_DNS or LOGICAL_DNS"),
                )
            })),
        }
    }

    /// An address or a name.
    pub(crate) fn target(cx: &mut Context, pb::Address { address }: pb::Address) -> Result<Target, Rejection> {
        match cx.required("", address)? {
            Kind::SocketAddress(address) => cx.at("socket_address", |cx| socket(cx, address)),
            Kind::Pipe(pipe) => cx.at("pipe", |cx| self::pipe(cx, pipe)).map(Target::Address),
            Kind::EnvoyInternalAddress(_) => {
                Err(cx.reject("envoy_internal_address", "internal listeners are not supported"))
            }
        }
    }

    fn pipe(cx: &Context, pb::Pipe { path, mode }: pb::Pipe) -> Result<Address, Rejection> {
        /// What fits into sockaddr_un.
        const MAX_PATH: usize = 107;
        cx.not_empty("path", &path)?;
        if path.len() > MAX_PATH {
            return Err(cx.reject("path", format!("longer than {MAX_PATH} bytes")));
        }
        if mode > MAX_MODE {
            return Err(cx.reject("mode", "value must be less than or equal to 511"));
        }
        Ok(Address::Pipe { path: Arc::from(Path::new(&path)), mode })
    }

    fn socket(cx: &mut Context, address: pb::SocketAddress) -> Result<Target, Rejection> {
        let pb::SocketAddress {
            protocol,
            address,
            resolver_name,
            ipv4_compat,
            network_namespace_filepath,
            port_specifier,
        } = address;
        if cx.variant::<Protocol>("protocol", protocol)? == Protocol::Udp {
            return Err(cx.reject("protocol", "UDP is not supported"));
        }
        cx.not_empty("address", &address)?;
        if !resolver_name.is_empty() {
            return Err(cx.reject("resolver_name", format!("unknown address resolver: {resolver_name}")));
        }
        immaterial(
            ipv4_compat,
            "std binds IPv6 sockets as the system does; sockets of ours are never v6-only by choice",
        );
        cx.ignore("network_namespace_filepath", &network_namespace_filepath, "the process's own namespace is used");
        let port = match cx.required("port_specifier", port_specifier)? {
            PortSpecifier::PortValue(port) => cx.port("port_value", port)?,
            PortSpecifier::NamedPort(_) => return Err(cx.reject("named_port", "named ports are not supported")),
        };
        Ok(match address.parse::<IpAddr>() {
            Ok(ip) => Target::Address(Address::Socket(SocketAddr::new(ip, port))),
            Err(_) => Target::Name { host: address.into(), port },
        })
    }

    #[cfg(test)]
    #[allow(clippy::unwrap_used)]
    mod tests {
        use super::*;

        fn of(address: &str, port: u32) -> pb::Address {
            pb::Address {
                address: Some(Kind::SocketAddress(pb::SocketAddress {
                    address: address.into(),
                    port_specifier: Some(PortSpecifier::PortValue(port)),
                    ..Default::default()
                })),
            }
        }

        #[test]
        fn addresses_and_names_are_told_apart() {
            let mut cx = Context::default();
            assert_eq!(address(&mut cx, of("::1", 5)).unwrap().to_string(), "[::1]:5");
            let name = Target::Name { host: "a.b".into(), port: 7 };
            assert_eq!(target(&mut cx, of("a.b", 7)).unwrap(), name);
            let refused = address(&mut cx, of("a.b", 7)).unwrap_err();
            assert_eq!(refused.path.to_string(), "socket_address.address");
        }

        #[test]
        fn what_envoy_refuses_is_refused() {
            let mut cx = Context::default();
            assert!(target(&mut cx, of("1.2.3.4", 65536)).is_err());
            assert!(target(&mut cx, of("", 1)).is_err());
            assert!(target(&mut cx, pb::Address::default()).is_err());
            let pipe =
                |path: &str, mode| pb::Address { address: Some(Kind::Pipe(pb::Pipe { path: path.into(), mode })) };
            assert!(target(&mut cx, pipe("", 0)).is_err());
            assert!(target(&mut cx, pipe("/p", 512)).is_err());
            assert!(target(&mut cx, pipe("/p", 511)).is_ok());
        }
    }
}
