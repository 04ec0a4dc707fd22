//! HTTP as the control plane's own listeners use it: inline routes to a cluster or a direct response.
//!
//! Every other HTTP connection manager waits for the gateway (`chain::Handler::Unsupported`).

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

/// An HTTP connection manager with inline routes.
#[derive(Clone, Debug)]
pub struct HttpManager {
    /// Prefix of its metrics: `http.<stat_prefix>.…`.
    pub stat_prefix: Arc<str>,
    /// Virtual hosts; a domain `*` matches all.
    pub virtual_hosts: Box<[VirtualHost]>,
    /// `server_name` of the `server:` header; Envoy's default is `envoy`.
    pub server_name: Arc<str>,
    /// `normalize_path`.
    pub normalize_path: bool,
    /// `common_http_protocol_options.idle_timeout`; `None`: Envoy's 1 h.
    pub idle_timeout: Option<Duration>,
    /// `request_headers_timeout`.
    pub request_headers_timeout: Option<Duration>,
    /// `stream_idle_timeout`; Envoy's default is 5 min.
    pub stream_idle_timeout: Option<Duration>,
}

/// `route.v3.VirtualHost`.
#[derive(Clone, Debug)]
pub struct VirtualHost {
    /// Name.
    pub name: Arc<str>,
    /// Exact names, `*.suffix`, `prefix.*`, `*`; lower-case.
    pub domains: Box<[Arc<str>]>,
    /// In order; the first that matches wins.
    pub routes: Box<[Route]>,
}

/// `route.v3.Route`.
#[derive(Clone, Debug)]
pub struct Route {
    /// Path.
    pub path: PathMatch,
    /// All must hold.
    pub headers: Box<[HeaderMatch]>,
    /// What to do.
    pub action: Action,
    /// `response_headers_to_add` (name lower-case, value, overwrite).
    pub response_headers: Box<[HeaderAdd]>,
    /// `request_headers_to_add`.
    pub request_headers: Box<[HeaderAdd]>,
}

/// A header to set or append; the value is literal.
#[derive(Clone, Debug)]
pub struct HeaderAdd {
    /// Lower-case name.
    pub name: Box<str>,
    /// Literal value.
    pub value: Box<str>,
    /// Overwrite instead of append.
    pub overwrite: bool,
}

/// How a path is matched (without its query).
#[derive(Clone, Debug)]
pub enum PathMatch {
    /// `prefix`.
    Prefix(Box<str>),
    /// `path`.
    Exact(Box<str>),
}

/// A header that must be there, with a value or without one.
#[derive(Clone, Debug)]
pub struct HeaderMatch {
    /// Lower-case name.
    pub name: Box<str>,
    /// Its value; `None`: present is enough.
    pub value: Option<crate::model::tls::StringMatch>,
    /// `invert_match`.
    pub invert: bool,
}

/// What a route does.
#[derive(Clone, Debug)]
pub enum Action {
    /// Forward.
    Cluster {
        /// Cluster name.
        cluster: Arc<str>,
        /// Replaces what the path match matched.
        prefix_rewrite: Option<Box<str>>,
        /// Whole answer; Envoy's default is 15 s, zero: none.
        timeout: Duration,
    },
    /// Answer at once.
    Direct {
        /// HTTP status.
        status: u16,
        /// Body.
        body: Bytes,
    },
}

pub(crate) mod proto;
