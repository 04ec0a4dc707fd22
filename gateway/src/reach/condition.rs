//! Conditions on a connection, as the configuration states them: to be printed, and to be tried on facts.

use std::fmt;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use config::model::chain::Cidr;
use config::model::matcher::{Input, TextMatch, TextPattern};
use proxy::rbac::{Facts, Peer};

/// A condition. Parts are shared: the same guard stands before many rules.
#[derive(Clone, Debug)]
pub(super) enum Condition {
    /// All of them; none: always.
    All(Vec<Rc<Condition>>),
    /// One of them; none: never.
    Any(Vec<Rc<Condition>>),
    /// The contrary.
    Not(Rc<Condition>),
    /// A text about the connection is there and looks like this.
    Text(Input, TextMatch),
    /// The server name looks like this; an empty one where there is none.
    Name(TextMatch),
    /// One of the names of the peer's certificate looks like this (`authenticated.principal_name`).
    Principal(TextMatch),
    /// The connection speaks TLS that ends here.
    Tls,
    /// A certificate was sent, and verified.
    Verified,
    /// An address lies in a range.
    Within(Side, Cidr),
    /// The port that was connected to: from, and up to but without.
    Port(u32, u32),
    /// Depends on what an earlier filter noted, which is only known while a connection is judged.
    Noted,
}

/// Which address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    /// Where the client connected to.
    Destination,
    /// The client, after the PROXY protocol.
    Source,
    /// The socket's peer.
    DirectSource,
}

/// What has to be known of a connection to try a condition on it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Needs {
    /// The client's address.
    pub(super) source: bool,
    /// The address that was connected to.
    pub(super) destination: bool,
    /// Notes of earlier filters.
    pub(super) notes: bool,
}

impl Condition {
    /// Always holds.
    pub(super) fn always() -> Rc<Self> {
        Rc::new(Self::All(Vec::new()))
    }

    /// Never holds.
    pub(super) fn never() -> Rc<Self> {
        Rc::new(Self::Any(Vec::new()))
    }

    /// Both.
    pub(super) fn and(self: &Rc<Self>, other: &Rc<Self>) -> Rc<Self> {
        match (&**self, &**other) {
            (Self::All(none), _) if none.is_empty() => Rc::clone(other),
            (_, Self::All(none)) if none.is_empty() => Rc::clone(self),
            (Self::Any(none), _) if none.is_empty() => Rc::clone(self),
            (_, Self::Any(none)) if none.is_empty() => Rc::clone(other),
            _ => Rc::new(Self::All(self.conjuncts().into_iter().chain(other.conjuncts()).collect())),
        }
    }

    fn conjuncts(self: &Rc<Self>) -> Vec<Rc<Self>> {
        match &**self {
            Self::All(all) => all.clone(),
            _ => vec![Rc::clone(self)],
        }
    }

    /// One of them.
    pub(super) fn any(all: Vec<Rc<Self>>) -> Rc<Self> {
        if let Some(always) = all.iter().find(|one| one.is_always()) {
            return Rc::clone(always);
        }
        let mut left: Vec<_> = all.into_iter().filter(|one| !one.is_never()).collect();
        match left.len() {
            1 => left.remove(0),
            _ => Rc::new(Self::Any(left)),
        }
    }

    /// The contrary.
    pub(super) fn negated(self: &Rc<Self>) -> Rc<Self> {
        match &**self {
            Self::All(none) if none.is_empty() => Self::never(),
            Self::Any(none) if none.is_empty() => Self::always(),
            Self::Not(inner) => Rc::clone(inner),
            _ => Rc::new(Self::Not(Rc::clone(self))),
        }
    }

    /// It can't fail.
    pub(super) fn is_always(&self) -> bool {
        matches!(self, Self::All(all) if all.is_empty())
    }

    /// It can't hold.
    pub(super) fn is_never(&self) -> bool {
        matches!(self, Self::Any(any) if any.is_empty())
    }

    /// Whether it holds. [`Condition::Noted`] does not: whoever asks looks at [`Condition::needs`] first.
    pub(super) fn holds(&self, facts: &Facts<'_>) -> bool {
        match self {
            Self::All(all) => all.iter().all(|one| one.holds(facts)),
            Self::Any(any) => any.iter().any(|one| one.holds(facts)),
            Self::Not(inner) => !inner.holds(facts),
            Self::Text(input, text) => value(*input, facts).is_some_and(|value| text.matches(&value)),
            Self::Name(text) => text.matches(&facts.server_name.to_ascii_lowercase()),
            Self::Principal(text) => facts.peer.is_some_and(|peer| {
                let names = peer.uri_sans.iter().chain(peer.dns_sans).map(|name| &**name).chain([peer.subject]);
                names.into_iter().any(|name| text.matches(name.as_bytes()))
            }),
            Self::Tls => facts.peer.is_some(),
            Self::Verified => facts.peer.is_some_and(|peer| peer.verified),
            Self::Within(side, range) => side.of(facts).is_some_and(|at| range.contains(at.ip().to_canonical())),
            Self::Port(from, to) => facts.local.is_some_and(|at| (*from..*to).contains(&u32::from(at.port()))),
            Self::Noted => false,
        }
    }

    /// The same where the server name is one of `names`: what these settle is not asked any more.
    pub(super) fn settled(self: &Rc<Self>, names: &[Arc<str>]) -> Rc<Self> {
        let all = |conditions: &[Rc<Self>]| conditions.iter().map(|one| one.settled(names)).collect::<Vec<_>>();
        match &**self {
            Self::Text(Input::ServerName, text) | Self::Name(text) if !names.is_empty() => {
                let matching = names.iter().filter(|name| text.matches(name.as_bytes())).count();
                match matching {
                    0 => Self::never(),
                    n if n == names.len() => Self::always(),
                    _ => Rc::clone(self),
                }
            }
            Self::All(conditions) => all(conditions).iter().fold(Self::always(), |sum, one| sum.and(one)),
            Self::Any(conditions) => Self::any(all(conditions)),
            Self::Not(inner) => inner.settled(names).negated(),
            _ => Rc::clone(self),
        }
    }

    /// What has to be known to try it.
    pub(super) fn needs(&self) -> Needs {
        let joined = |all: &[Rc<Self>]| all.iter().fold(Needs::default(), |sum, one| sum.with(one.needs()));
        let mut needs = Needs::default();
        match self {
            Self::All(all) | Self::Any(all) => return joined(all),
            Self::Not(inner) => return inner.needs(),
            Self::Within(side, _) => match side {
                Side::Destination => needs.destination = true,
                Side::Source | Side::DirectSource => needs.source = true,
            },
            Self::Text(input, _) => match input {
                Input::DestinationIp | Input::DestinationPort => needs.destination = true,
                Input::SourceIp | Input::SourcePort | Input::DirectSourceIp => needs.source = true,
                _ => {}
            },
            Self::Port(..) => needs.destination = true,
            Self::Noted => needs.notes = true,
            Self::Name(_) | Self::Principal(_) | Self::Tls | Self::Verified => {}
        }
        needs
    }
}

impl Needs {
    /// Either's.
    #[must_use]
    pub(super) fn with(self, other: Self) -> Self {
        Self {
            source: self.source || other.source,
            destination: self.destination || other.destination,
            notes: self.notes || other.notes,
        }
    }
}

impl Side {
    fn of(self, facts: &Facts<'_>) -> Option<SocketAddr> {
        match self {
            Self::Destination => facts.local,
            Self::Source => facts.remote,
            Self::DirectSource => facts.direct_remote,
        }
    }
}

/// An input as matching trees see it; several names are joined with commas.
fn value(input: Input, facts: &Facts<'_>) -> Option<Vec<u8>> {
    let ip = |at: Option<SocketAddr>| at.map(|at| at.ip().to_canonical().to_string().into_bytes());
    let port = |at: Option<SocketAddr>| at.map(|at| at.port().to_string().into_bytes());
    let joined = |names: &[Box<str>]| (!names.is_empty()).then(|| names.join(",").into_bytes());
    let peer = facts.peer;
    match input {
        Input::DestinationIp => ip(facts.local),
        Input::DestinationPort => port(facts.local),
        Input::SourceIp => ip(facts.remote),
        Input::SourcePort => port(facts.remote),
        Input::DirectSourceIp => ip(facts.direct_remote),
        Input::ServerName => (!facts.server_name.is_empty()).then(|| facts.server_name.to_ascii_lowercase()),
        Input::NetworkNamespace => None,
        Input::UriSan => peer.and_then(|Peer { uri_sans, .. }| joined(uri_sans)),
        Input::DnsSan => peer.and_then(|Peer { dns_sans, .. }| joined(dns_sans)),
        Input::Subject => {
            peer.and_then(|Peer { subject, .. }| (!subject.is_empty()).then(|| subject.as_bytes().to_vec()))
        }
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All(all) if all.is_empty() => f.write_str("anyone"),
            Self::Any(any) if any.is_empty() => f.write_str("no one"),
            Self::All(all) => list(f, all, " and "),
            Self::Any(any) => list(f, any, " or "),
            Self::Not(inner) if inner.is_compound() => write!(f, "not ({inner})"),
            Self::Not(inner) => write!(f, "not {inner}"),
            Self::Text(input, text) => write!(f, "{} {}", name(*input), Wording(text)),
            Self::Name(text) => write!(f, "SNI {}", Wording(text)),
            Self::Principal(text) => write!(f, "identity {}", Wording(text)),
            Self::Tls => f.write_str("any identity"),
            Self::Verified => f.write_str("any verified identity"),
            Self::Within(side, Cidr { address, prefix }) => {
                let side = match side {
                    Side::Destination => "destination",
                    Side::Source => "client",
                    Side::DirectSource => "socket's peer",
                };
                write!(f, "{side} in {address}/{prefix}")
            }
            Self::Port(from, to) if from + 1 == *to => write!(f, "port {from}"),
            Self::Port(from, to) => write!(f, "port {from} to {}", to.saturating_sub(1)),
            Self::Noted => f.write_str("what an earlier filter noted"),
        }
    }
}

impl Condition {
    fn is_compound(&self) -> bool {
        matches!(self, Self::All(all) | Self::Any(all) if all.len() > 1)
    }
}

fn list(f: &mut fmt::Formatter<'_>, all: &[Rc<Condition>], between: &str) -> fmt::Result {
    for (i, one) in all.iter().enumerate() {
        if i > 0 {
            f.write_str(between)?;
        }
        if one.is_compound() { write!(f, "({one})")? } else { write!(f, "{one}")? }
    }
    Ok(())
}

fn name(input: Input) -> &'static str {
    match input {
        Input::DestinationIp => "destination",
        Input::DestinationPort => "port",
        Input::SourceIp => "client",
        Input::SourcePort => "client's port",
        Input::DirectSourceIp => "socket's peer",
        Input::ServerName => "SNI",
        Input::NetworkNamespace => "network namespace",
        Input::UriSan => "identity",
        Input::DnsSan => "DNS name",
        Input::Subject => "subject",
    }
}

/// A text match in words.
struct Wording<'a>(&'a TextMatch);

impl fmt::Display for Wording<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0.pattern {
            TextPattern::Exact(text) => write!(f, "is {text}")?,
            TextPattern::Prefix(text) => write!(f, "begins with {text}")?,
            TextPattern::Suffix(text) => write!(f, "ends with {text}")?,
            TextPattern::Contains(text) => write!(f, "contains {text}")?,
            TextPattern::Regex(regex) => write!(f, "matches {regex}")?,
        }
        if self.0.ignore_case { f.write_str(" in any case") } else { Ok(()) }
    }
}
