//! What rules say of facts.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::sync::Arc;

use config::model::chain::Cidr;
use config::model::matcher::{Data, Found, HttpInput, Input, Inputs};
use config::model::rbac::{Action, Effect, MetadataMatch, Policies, Policy, Rule};

use super::{Facts, Notes};
use crate::report::http::RequestHead;

/// What a filter's rules decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict<'a> {
    /// The connection may go on.
    pub allowed: bool,
    /// The policy that matched; `None`: none did.
    pub policy: Option<&'a Arc<str>>,
    /// What access logs are told (`envoy.common`: `access_log_hint`), where an action is to log.
    pub log: Option<bool>,
}

/// Decides. `notes` is what RBAC filters noted of this connection before.
pub fn evaluate<'a, I>(policies: &'a Policies<I>, facts: &Facts<'_>, notes: &Notes) -> Verdict<'a>
where
    for<'f> Asked<'f>: Inputs<I>,
{
    let asked = Asked::new(facts, notes);
    match policies {
        Policies::Rules { effect, policies } => {
            let policy = policies.iter().find(|policy| asked.meets(policy)).map(|policy| &policy.name);
            let matched = policy.is_some();
            match effect {
                Effect::Allow => Verdict { allowed: matched, policy, log: None },
                Effect::Deny => Verdict { allowed: !matched, policy, log: None },
                Effect::Log => Verdict { allowed: true, policy, log: Some(matched) },
            }
        }
        Policies::Tree(matcher) => match matcher.find(&asked) {
            Found::Action(Action { name, effect }) => {
                let log = policies.logs().then_some(*effect == Effect::Log);
                Verdict { allowed: *effect != Effect::Deny, policy: Some(name), log }
            }
            // To Envoy "undecided" is as good as nothing.
            Found::Nothing | Found::Undecided => Verdict { allowed: false, policy: None, log: None },
        },
    }
}

/// Envoy keeps server names in lower case.
fn folded(name: &[u8]) -> Cow<'_, [u8]> {
    match name.iter().any(u8::is_ascii_uppercase) {
        true => Cow::Owned(name.to_ascii_lowercase()),
        false => Cow::Borrowed(name),
    }
}

/// Facts, as matchers ask for them.
#[derive(Debug)]
pub struct Asked<'a> {
    facts: &'a Facts<'a>,
    server_name: Cow<'a, [u8]>,
    notes: &'a Notes,
}

impl<'a> Asked<'a> {
    /// Of these facts, and of what RBAC filters noted before.
    pub fn new(facts: &'a Facts<'a>, notes: &'a Notes) -> Self {
        Self { facts, server_name: folded(facts.server_name), notes }
    }

    fn meets(&self, policy: &Policy) -> bool {
        policy.permissions.iter().any(|rule| self.matches(rule))
            && policy.principals.iter().any(|rule| self.matches(rule))
    }

    fn matches(&self, rule: &Rule) -> bool {
        let Facts { peer, local, remote, direct_remote, request, .. } = self.facts;
        match rule {
            Rule::Any => true,
            Rule::Never => false,
            Rule::And(rules) => rules.iter().all(|rule| self.matches(rule)),
            Rule::Or(rules) => rules.iter().any(|rule| self.matches(rule)),
            Rule::Not(rule) => !self.matches(rule),
            Rule::DestinationIp(range) => within(*range, *local),
            Rule::DestinationPort(port) => local.is_some_and(|local| local.port() == *port),
            Rule::DestinationPorts(from, to) => local.is_some_and(|local| (*from..*to).contains(&local.port().into())),
            Rule::ServerName(text) => text.matches(&self.server_name),
            Rule::Metadata(matcher) => self.noted(matcher),
            Rule::Authenticated(name) => match (peer, name) {
                (None, _) => false,
                (Some(_), None) => true,
                (Some(peer), Some(name)) => {
                    let sans = peer.uri_sans.iter().chain(peer.dns_sans).map(|san| &**san);
                    sans.chain([peer.subject]).any(|who| name.matches(who.as_bytes()))
                }
            },
            Rule::Header(header) => request.is_some_and(|request| request.head.holds(header)),
            Rule::UrlPath(text) => request.is_some_and(|request| text.matches(path(request.head).as_bytes())),
            Rule::UriTemplate(template) => {
                request.is_some_and(|request| template.regex.is_match(path(request.head).as_bytes()))
            }
            Rule::HttpMetadata(matcher) => request.is_some_and(|request| {
                let fields = match matcher.of_route {
                    false => request.metadata.namespace(&matcher.namespace),
                    true => request.route.map_or(&[][..], |metadata| metadata.namespace(&matcher.namespace)),
                };
                matcher.matches(fields)
            }),
            Rule::Verified => peer.is_some_and(|peer| peer.verified),
            Rule::RemoteIp(range) => within(*range, *remote),
            Rule::DirectRemoteIp(range) => within(*range, *direct_remote),
        }
    }

    fn noted(&self, MetadataMatch { namespace, key, value, invert }: &MetadataMatch) -> bool {
        let noted = key.as_ref().and_then(|key| self.notes.get(namespace, key));
        value.matches(noted) != *invert
    }
}

/// Without its query and fragment.
fn path(head: &RequestHead) -> &str {
    if head.has_path() { head.path.path() } else { "" }
}

fn within(range: Cidr, address: Option<SocketAddr>) -> bool {
    address.is_some_and(|address| range.contains(address.ip().to_canonical()))
}

impl Inputs<HttpInput> for Asked<'_> {
    fn input(&self, input: &HttpInput) -> Data<'_> {
        let Some(request) = &self.facts.request else { return Data::NotAvailable };
        match input {
            HttpInput::Connection(input) => Inputs::<Input>::input(self, input),
            HttpInput::RequestHeader(key) => request.head.value(key).map_or(Data::Absent, Data::Bytes),
            // Refused when the configuration was read.
            HttpInput::Query(_)
            | HttpInput::ResponseHeader(_)
            | HttpInput::Status
            | HttpInput::StatusClass
            | HttpInput::LocalReply => Data::NotAvailable,
        }
    }
}

impl Inputs<Input> for Asked<'_> {
    fn input(&self, input: &Input) -> Data<'_> {
        let Facts { peer, local, remote, direct_remote, .. } = self.facts;
        let bytes = |text: String| Data::Bytes(Cow::Owned(text.into_bytes()));
        let ip =
            |address: &Option<SocketAddr>| address.map_or(Data::Absent, |a| bytes(a.ip().to_canonical().to_string()));
        let port = |address: &Option<SocketAddr>| address.map_or(Data::Absent, |a| bytes(a.port().to_string()));
        match (input, peer) {
            (Input::DestinationIp, _) => ip(local),
            (Input::DestinationPort, _) => port(local),
            (Input::SourceIp, _) => ip(remote),
            (Input::SourcePort, _) => port(remote),
            (Input::DirectSourceIp, _) => ip(direct_remote),
            (Input::ServerName, _) if self.server_name.is_empty() => Data::Absent,
            (Input::ServerName, _) => Data::Bytes(Cow::Borrowed(&self.server_name)),
            // Listeners are all in this process' own.
            (Input::NetworkNamespace, _) => Data::Absent,
            (Input::UriSan | Input::DnsSan | Input::Subject, None) => Data::NotAvailable,
            (Input::UriSan, Some(peer)) => joined(peer.uri_sans),
            (Input::DnsSan, Some(peer)) => joined(peer.dns_sans),
            (Input::Subject, Some(peer)) if peer.subject.is_empty() => Data::Absent,
            (Input::Subject, Some(peer)) => Data::Bytes(Cow::Borrowed(peer.subject.as_bytes())),
        }
    }
}

/// Several names as one input.
fn joined(names: &[Box<str>]) -> Data<'_> {
    match names {
        [] => Data::Absent,
        [only] => Data::Bytes(Cow::Borrowed(only.as_bytes())),
        several => Data::Bytes(Cow::Owned(several.join(",").into_bytes())),
    }
}
