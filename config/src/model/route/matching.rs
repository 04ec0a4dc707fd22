//! Which requests a route takes (`RouteMatch`).

use std::fmt;
use std::sync::Arc;

use http::HeaderName;
use regex::bytes::Regex;

use super::PathTemplate;
use crate::model::matcher::TextMatch;

/// `RouteMatch`: all parts must hold.
#[derive(Clone, Debug)]
pub struct RouteMatch {
    /// `path_specifier`.
    pub path: PathMatch,
    /// `case_sensitive`, of literal paths.
    pub case_sensitive: bool,
    /// `grpc`: the request is a gRPC one.
    pub grpc: bool,
    /// `runtime_fraction`: only so many requests.
    pub fraction: Option<Box<RuntimeFraction>>,
    /// `headers`.
    pub headers: Box<[HeaderMatch]>,
    /// `query_parameters`.
    pub query: Box<[QueryMatch]>,
    /// `cookies`.
    pub cookies: Box<[CookieMatch]>,
    /// `tls_context`.
    pub tls: Option<TlsMatch>,
}

/// `path_specifier`; query and fragment are not looked at.
#[derive(Clone, Debug)]
pub enum PathMatch {
    /// `prefix`; an empty one is as good as `/`.
    Prefix(Box<str>),
    /// `path`.
    Exact(Box<str>),
    /// `path_separated_prefix`: the prefix, and then nothing or a `/`.
    SeparatedPrefix(Box<str>),
    /// `safe_regex`, the whole path.
    Regex(Box<Regex>),
    /// `connect_matcher`: CONNECT requests, whatever their path.
    Connect,
    /// `path_match_policy` with `envoy.path.match.uri_template.uri_template_matcher`.
    Template(Box<PathTemplate>),
}

/// `RuntimeFractionalPercent`: `numerator` of `denominator` requests, unless the runtime says otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuntimeFraction {
    /// `runtime_key`; empty: none.
    pub key: Arc<str>,
    /// Of [`RuntimeFraction::denominator`].
    pub numerator: u32,
    /// 100, 10,000 or 1,000,000.
    pub denominator: u32,
}

/// A header, or what HTTP/2 calls a pseudo header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HeaderKey {
    /// `:method`.
    Method,
    /// `:path`, with its query.
    Path,
    /// `:authority`, and `host`.
    Authority,
    /// `:scheme`.
    Scheme,
    /// `:protocol` of an extended CONNECT.
    Protocol,
    /// `:status` of a response.
    Status,
    /// Any other.
    Name(HeaderName),
}

impl fmt::Display for HeaderKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Method => ":method",
            Self::Path => ":path",
            Self::Authority => ":authority",
            Self::Scheme => ":scheme",
            Self::Protocol => ":protocol",
            Self::Status => ":status",
            Self::Name(name) => name.as_str(),
        })
    }
}

/// `HeaderMatcher`.
#[derive(Clone, Debug)]
pub struct HeaderMatch {
    /// Which header; of several lines one must match.
    pub name: HeaderKey,
    /// How it must be.
    pub test: HeaderTest,
    /// `invert_match`: the contrary; a header that is not there still does not match, but for `present_match`.
    pub invert: bool,
    /// `treat_missing_header_as_empty`.
    pub missing_is_empty: bool,
}

/// `header_match_specifier`.
#[derive(Clone, Debug)]
pub enum HeaderTest {
    /// `present_match`, and where nothing is specified (`true`).
    Present(bool),
    /// The value.
    Text(Box<TextMatch>),
    /// `range_match`: a whole number of at least the first and less than the second.
    Range(i64, i64),
}

/// `QueryParameterMatcher`.
#[derive(Clone, Debug)]
pub struct QueryMatch {
    /// Name.
    pub name: Box<str>,
    /// How the first value must be.
    pub test: QueryTest,
}

/// `query_parameter_match_specifier`.
#[derive(Clone, Debug)]
pub enum QueryTest {
    /// `present_match`, and where nothing is specified (`true`).
    Present(bool),
    /// `string_match`.
    Text(Box<TextMatch>),
}

/// `CookieMatcher`.
#[derive(Clone, Debug)]
pub struct CookieMatch {
    /// Name.
    pub name: Box<str>,
    /// How its value must be.
    pub text: Box<TextMatch>,
    /// `invert_match`.
    pub invert: bool,
}

/// `TlsContextMatchOptions`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TlsMatch {
    /// The client showed a certificate, or showed none.
    pub presented: Option<bool>,
    /// It was verified, or was not.
    pub validated: Option<bool>,
}
