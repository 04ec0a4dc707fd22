//! Where a client is sent to (`RedirectAction`).

use http::StatusCode;

use super::{RegexRewrite, Substitution};

/// `RedirectAction`.
#[derive(Clone, Debug)]
pub struct Redirect {
    /// `host_redirect`; empty: the request's.
    pub host: Box<str>,
    /// `port_redirect`; 0: the request's.
    pub port: u32,
    /// `scheme_rewrite_specifier`.
    pub scheme: Option<RedirectScheme>,
    /// `path_rewrite_specifier`.
    pub path: Option<RedirectPath>,
    /// `response_code`.
    pub status: StatusCode,
    /// `strip_query`.
    pub strip_query: bool,
}

/// `scheme_rewrite_specifier`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RedirectScheme {
    /// `https_redirect`.
    Https,
    /// `scheme_redirect`.
    Scheme(Box<str>),
}

/// `path_rewrite_specifier`.
#[derive(Clone, Debug)]
pub enum RedirectPath {
    /// `path_redirect`: the path, and the query where it has one.
    Path(Box<str>),
    /// `prefix_rewrite`: what was matched is replaced by this.
    Prefix(Box<str>),
    /// `regex_rewrite`: every match of the expression.
    Regex(RegexRewrite),
    /// `path_rewrite`: the path; an empty result changes nothing.
    Format(Substitution),
}
