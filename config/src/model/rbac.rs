//! Who may connect to whom (`extensions.filters.network.rbac.v3.RBAC`).

use std::sync::Arc;
use std::time::Duration;

use super::chain::Cidr;
use super::matcher::{Input, Matcher, TextMatch};
use super::metadata::Value;
use super::route::{HeaderMatch, PathTemplate};

/// A network RBAC filter.
#[derive(Clone, Debug)]
pub struct Rbac {
    /// Prefix of its statistics, without a dot at the end: `<stat_prefix>.rbac.…`.
    pub stat_prefix: Arc<str>,
    /// `shadow_rules_stat_prefix` as written: prefix of the shadow's keys in metadata, and of its statistics.
    pub shadow_prefix: Arc<str>,
    /// What is enforced; `None`: everything is allowed, and nothing counted.
    pub enforced: Option<Policies>,
    /// What is only tried: counted and noted.
    pub shadow: Option<Policies>,
    /// A connection that is denied is held so long before it is closed.
    pub delay_deny: Option<Duration>,
}

/// Either form of rules.
#[derive(Clone, Debug)]
pub enum Policies<I = Input> {
    /// `rules`.
    Rules {
        /// What happens on a match.
        effect: Effect,
        /// In Envoy's order: by name, byte by byte.
        policies: Box<[Policy]>,
    },
    /// `matcher`. Where it leads nowhere, the connection is denied.
    Tree(Matcher<Action, I>),
}

/// `envoy.config.rbac.v3.RBAC.Action`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Effect {
    /// Allowed if it matches (of a rule set: denied if nothing does).
    Allow,
    /// Denied if it matches (of a rule set: allowed if nothing does).
    Deny,
    /// Allowed; whether it matched is noted for access logs (`envoy.common`: `access_log_hint`).
    Log,
}

/// `envoy.config.rbac.v3.Action`: where a tree leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Action {
    /// Of the policy; never empty.
    pub name: Arc<str>,
    /// What happens.
    pub effect: Effect,
}

/// A policy: one of the permissions and one of the principals must match.
#[derive(Clone, Debug)]
pub struct Policy {
    /// Its key in the rule set; may be empty.
    pub name: Arc<str>,
    /// What is asked for; never empty.
    pub permissions: Box<[Rule]>,
    /// Who asks; never empty.
    pub principals: Box<[Rule]>,
}

/// A `Permission` or a `Principal`.
#[derive(Clone, Debug)]
pub enum Rule {
    /// Always.
    Any,
    /// Never: about HTTP (`url_path`) or a route, of which a connection has none.
    Never,
    /// `header`, of a request.
    Header(Box<HeaderMatch>),
    /// `url_path`, of a request: without its query.
    UrlPath(TextMatch),
    /// `uri_template`, of a request.
    UriTemplate(Box<PathTemplate>),
    /// `metadata`, `sourced_metadata` of a request.
    HttpMetadata(Box<HttpMetadataMatch>),
    /// All of them.
    And(Box<[Rule]>),
    /// One of them.
    Or(Box<[Rule]>),
    /// The contrary.
    Not(Box<Rule>),
    /// `destination_ip`.
    DestinationIp(Cidr),
    /// `destination_port`.
    DestinationPort(u16),
    /// `destination_port_range`: from, and up to but without.
    DestinationPorts(u32, u32),
    /// `requested_server_name`; an empty text where there is none.
    ServerName(TextMatch),
    /// `metadata`, `sourced_metadata`.
    Metadata(Box<MetadataMatch>),
    /// `authenticated`: a URI SAN, else a DNS SAN, else the subject matches; `None`: any peer that speaks TLS, even
    /// without a certificate.
    Authenticated(Option<TextMatch>),
    /// `envoy.rbac.principals.mtls_authenticated`: any peer whose certificate was verified.
    Verified,
    /// `source_ip`, `remote_ip`: after the PROXY protocol.
    RemoteIp(Cidr),
    /// `direct_remote_ip`: the socket's peer.
    DirectRemoteIp(Cidr),
}

/// `type.matcher.v3.MetadataMatcher` over what RBAC filters note about a connection: the only dynamic metadata here.
#[derive(Clone, Debug)]
pub struct MetadataMatch {
    /// `filter`: the namespace.
    pub namespace: Box<str>,
    /// `path`, one key. A longer path leads nowhere and is `None`.
    pub key: Option<Box<str>>,
    /// How the value must look.
    pub value: ValueMatch,
    /// The contrary.
    pub invert: bool,
}

/// `type.matcher.v3.MetadataMatcher` over dynamic metadata of a request.
#[derive(Clone, Debug)]
pub struct HttpMetadataMatch {
    /// `filter`: the namespace.
    pub namespace: Box<str>,
    /// `path`; never empty.
    pub path: Box<[Box<str>]>,
    /// How the value must look.
    pub value: ValueMatch,
    /// The contrary.
    pub invert: bool,
    /// Of the request's route, not of the request.
    pub of_route: bool,
}

/// `type.matcher.v3.ValueMatcher`.
#[derive(Clone, Debug)]
pub enum ValueMatch {
    /// `null_match`, `double_match`, `list_match`: no value here is one.
    Never,
    /// `string_match`.
    Text(TextMatch),
    /// `bool_match`.
    Bool(bool),
    /// `present_match`.
    Present(bool),
    /// `or_match`.
    Or(Box<[ValueMatch]>),
}

/// A value that an RBAC filter noted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Noted<'a> {
    /// A text.
    Text(&'a str),
    /// A boolean.
    Bool(bool),
}

impl ValueMatch {
    /// Whether a value of a request's metadata, or its absence, matches.
    pub fn matches_value(&self, value: Option<&Value>) -> bool {
        match (self, value) {
            (_, None) => self.matches(None),
            (Self::Or(any), value) => any.iter().any(|one| one.matches_value(value)),
            (_, Some(Value::String(text))) => self.matches(Some(Noted::Text(text))),
            (_, Some(Value::Bool(value))) => self.matches(Some(Noted::Bool(*value))),
            (Self::Present(wanted), Some(_)) => *wanted,
            (Self::Never | Self::Text(_) | Self::Bool(_), Some(_)) => false,
        }
    }

    /// Whether the value, or its absence, matches.
    pub fn matches(&self, value: Option<Noted<'_>>) -> bool {
        match (self, value) {
            (Self::Never, _) => false,
            (Self::Text(text), Some(Noted::Text(value))) => text.matches(value.as_bytes()),
            (Self::Bool(wanted), Some(Noted::Bool(value))) => *wanted == value,
            (Self::Present(wanted), value) => *wanted && value.is_some(),
            (Self::Or(any), value) => any.iter().any(|one| one.matches(value)),
            (Self::Text(_) | Self::Bool(_), _) => false,
        }
    }
}

impl HttpMetadataMatch {
    /// Whether what stands under the namespace matches.
    pub fn matches(&self, fields: &[(Arc<str>, Value)]) -> bool {
        self.value.matches_value(find(fields, &self.path)) != self.invert
    }
}

/// Follows a path of keys.
fn find<'a>(fields: &'a [(Arc<str>, Value)], path: &[Box<str>]) -> Option<&'a Value> {
    let (first, rest) = path.split_first()?;
    let (_, value) = fields.iter().find(|(key, _)| **key == **first)?;
    match (value, rest) {
        (value, []) => Some(value),
        (Value::Struct(fields), rest) => find(fields, rest),
        _ => None,
    }
}

impl<I> Policies<I> {
    /// The names of all policies, sorted, each once.
    pub fn names(&self) -> Vec<&Arc<str>> {
        let mut names: Vec<&Arc<str>> = match self {
            Self::Rules { policies, .. } => policies.iter().map(|policy| &policy.name).collect(),
            Self::Tree(matcher) => matcher.actions().into_iter().map(|action| &action.name).collect(),
        };
        names.sort_unstable();
        names.dedup();
        names
    }

    /// A [`Effect::Log`] is among the actions: whether one was reached is then noted each time.
    pub fn logs(&self) -> bool {
        match self {
            Self::Rules { effect, .. } => *effect == Effect::Log,
            Self::Tree(matcher) => matcher.actions().iter().any(|action| action.effect == Effect::Log),
        }
    }
}

pub(crate) mod proto;
