//! Route configurations from YAML, and requests for them.

use std::net::SocketAddr;
use std::sync::Arc;

use config::model::address::Address;
use config::model::route::RouteConfiguration;
use http::{HeaderMap, HeaderName, HeaderValue};
use proxy::report::flow::Flow;
use proxy::report::http::{HttpFlow, Protocol, RequestHead, Scheme};

/// A route configuration.
pub(crate) fn configuration(yaml: &str) -> RouteConfiguration {
    try_configuration(yaml).unwrap_or_else(|e| panic!("{yaml}: {e}"))
}

/// A route configuration, or why it is refused.
pub(crate) fn try_configuration(yaml: &str) -> Result<RouteConfiguration, String> {
    let schema = config::json::Converter::new().map_err(|e| e.to_string())?;
    let body = schema.text_to_bytes("envoy.config.route.v3.RouteConfiguration", yaml).map_err(|e| e.to_string())?;
    let (read, _) = RouteConfiguration::read(&body).map_err(|e| e.to_string())?;
    read.map_err(|e| e.to_string())
}

/// A request's head. `url`: authority and path.
pub(crate) fn request(method: &str, url: &str, headers: &[(&str, &str)]) -> RequestHead {
    let (authority, path) = url.find('/').map_or((url, "/"), |at| url.split_at(at));
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        let name = HeaderName::from_bytes(name.as_bytes()).unwrap_or_else(|e| panic!("{name}: {e}"));
        map.append(name, HeaderValue::from_str(value).unwrap_or_else(|e| panic!("{value}: {e}")));
    }
    RequestHead {
        method: method.parse().unwrap_or_else(|e| panic!("{method}: {e}")),
        scheme: Scheme::Http,
        authority: HeaderValue::from_str(authority).unwrap_or_else(|e| panic!("{authority}: {e}")),
        path: path.parse().unwrap_or_else(|e| panic!("{path}: {e}")),
        headers: map,
        protocol: None,
    }
}

/// A request that has just been read.
pub(crate) fn flow(method: &str, url: &str, headers: &[(&str, &str)]) -> HttpFlow {
    let local = Address::Socket(SocketAddr::from(([127, 0, 0, 1], 80)));
    let connection = Flow::new(7, Some(SocketAddr::from(([10, 0, 0, 1], 1234))), local);
    HttpFlow::new(Arc::new(connection), 1, Protocol::Http11, request(method, url, headers))
}
