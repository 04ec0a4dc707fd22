//! What a request's hash is made of (`HashPolicy`), for ring hash and Maglev.

use std::time::Duration;

use super::{HeaderKey, RegexRewrite};

/// `HashPolicy`.
#[derive(Clone, Debug)]
pub struct HashPolicy {
    /// `policy_specifier`.
    pub source: HashSource,
    /// `terminal`: where there is a hash by now, no further policy is looked at.
    pub terminal: bool,
}

/// `policy_specifier`.
#[derive(Clone, Debug)]
pub enum HashSource {
    /// `header`: all its values, sorted.
    Header {
        /// Which.
        name: HeaderKey,
        /// `regex_rewrite` of each value.
        rewrite: Option<Box<RegexRewrite>>,
    },
    /// `cookie`.
    Cookie(Box<CookieHash>),
    /// `connection_properties.source_ip`.
    SourceIp,
    /// `query_parameter`: its first value.
    QueryParameter(Box<str>),
    /// `filter_state`.
    FilterState(Box<str>),
}

/// `Cookie`.
#[derive(Clone, Debug)]
pub struct CookieHash {
    /// `name`.
    pub name: Box<str>,
    /// `ttl`: a cookie that is not there is made, and lives so long; zero: as long as the session.
    pub ttl: Option<Duration>,
    /// `path`; may be empty.
    pub path: Box<str>,
    /// `attributes`: names and values.
    pub attributes: Box<[(Box<str>, Box<str>)]>,
}
