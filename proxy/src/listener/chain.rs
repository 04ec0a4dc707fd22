//! Which filter chain takes a connection: Envoy's rule (`listener.v3.FilterChainMatch`), most specific first, criterion
//! by criterion, without going back.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use config::model::chain::{Cidr, FilterChain, Match, SourceType, TransportProtocol};
use config::model::listener::Listener;
use sni::table::{Builder, Table};

use super::state::ChainState;

/// What is known of a connection when its chain is chosen.
#[derive(Clone, Debug)]
pub(crate) struct Facts<'a, A> {
    /// Where the client connected to; `None` on a Unix socket.
    pub(crate) local: Option<SocketAddr>,
    /// The client, after the PROXY protocol.
    pub(crate) remote: Option<SocketAddr>,
    /// The socket's peer.
    pub(crate) direct_remote: Option<SocketAddr>,
    /// As sent; empty or `None` match only chains that ask for no name.
    pub(crate) server_name: Option<&'a [u8]>,
    /// A ClientHello was seen.
    pub(crate) tls: bool,
    /// ALPN protocols in the client's order.
    pub(crate) alpn: A,
}

/// The chains of one version of a listener, arranged for matching.
#[derive(Debug)]
pub(crate) struct Chains {
    groups: Box<[Group]>,
    chains: Box<[Arc<ChainState>]>,
    default: Option<Arc<ChainState>>,
}

/// Chains with the same destination criteria, by server name.
#[derive(Debug)]
struct Group {
    port: Option<u16>,
    range: Option<Cidr>,
    names: Table<Candidates>,
    any: Candidates,
}

/// Chains that differ in no criterion looked at so far. Nearly always one: that costs no allocation.
#[derive(Clone, Debug, Default)]
enum Candidates {
    #[default]
    None,
    One(u32),
    Many(Box<[u32]>),
}

impl Candidates {
    fn push(&mut self, chain: u32) {
        match self {
            Self::None => *self = Self::One(chain),
            Self::One(first) if *first == chain => {}
            Self::One(first) => *self = Self::Many(Box::new([*first, chain])),
            Self::Many(all) if all.contains(&chain) => {}
            Self::Many(all) => *all = all.iter().copied().chain([chain]).collect(),
        }
    }

    fn as_slice(&self) -> &[u32] {
        match self {
            Self::None => &[],
            Self::One(one) => std::slice::from_ref(one),
            Self::Many(all) => all,
        }
    }
}

impl Chains {
    /// Arranges the chains of `listener`; `state` yields the run-time state of each.
    pub(crate) fn new(listener: &Listener, mut state: impl FnMut(&Arc<FilterChain>) -> Arc<ChainState>) -> Self {
        let mut groups: Vec<Draft> = Vec::new();
        for (index, chain) in (0_u32..).zip(&listener.chains) {
            let ranges: Vec<Option<Cidr>> = match &*chain.matches.destination {
                [] => vec![None],
                ranges => ranges.iter().copied().map(Some).collect(),
            };
            for range in ranges {
                let at = groups.iter().position(|g| g.port == chain.matches.destination_port && g.range == range);
                let at = at.unwrap_or_else(|| {
                    groups.push(Draft { port: chain.matches.destination_port, range, ..Draft::default() });
                    groups.len() - 1
                });
                groups[at].add(&chain.matches, index);
            }
        }
        Self {
            groups: groups.into_iter().map(Draft::build).collect(),
            chains: listener.chains.iter().map(&mut state).collect(),
            default: listener.default_chain.as_ref().map(state),
        }
    }

    /// Every chain, the default one last.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<ChainState>> {
        self.chains.iter().chain(&self.default)
    }

    /// The chain that takes the connection, else the default chain, else none.
    pub(crate) fn find<'a, A>(&self, facts: &Facts<'a, A>) -> Option<&Arc<ChainState>>
    where
        A: Iterator<Item = &'a [u8]> + Clone,
    {
        self.matching(facts).or(self.default.as_ref())
    }

    fn matching<'a, A>(&self, facts: &Facts<'a, A>) -> Option<&Arc<ChainState>>
    where
        A: Iterator<Item = &'a [u8]> + Clone,
    {
        let group = self.group(facts.local)?;
        let named = facts.server_name.filter(|name| !name.is_empty()).and_then(|name| group.names.get(name));
        let index = match named.unwrap_or(&group.any).as_slice() {
            [] => None,
            [only] => self.matches(*only).is_some_and(|m| accepts(m, facts)).then_some(*only),
            several => self.narrow(several, facts),
        };
        self.chains.get(index? as usize)
    }

    fn matches(&self, index: u32) -> Option<&Match> {
        self.chains.get(index as usize).map(|state| &state.chain.matches)
    }

    /// The group for the destination: its port first, then the longest range.
    fn group(&self, local: Option<SocketAddr>) -> Option<&Group> {
        if let [only] = &*self.groups
            && only.port.is_none()
            && only.range.is_none()
        {
            return Some(only);
        }
        let port = local.map(|a| a.port());
        let with_port = self.groups.iter().any(|g| g.port.is_some() && g.port == port);
        let groups = self.groups.iter().filter(|g| if with_port { g.port == port } else { g.port.is_none() });
        groups
            .filter_map(|g| specificity(g.range, local.map(|a| a.ip())).map(|s| (s, g)))
            .max_by_key(|(s, _)| *s)
            .map(|(_, g)| g)
    }

    /// Keeps, criterion by criterion, the candidates that match it most specifically.
    fn narrow<'a, A>(&self, candidates: &[u32], facts: &Facts<'a, A>) -> Option<u32>
    where
        A: Iterator<Item = &'a [u8]> + Clone,
    {
        let mut left = candidates.to_vec();
        for criterion in CRITERIA {
            let score = |index: &u32| self.matches(*index).and_then(|m| criterion.score(m, facts));
            let best = left.iter().filter_map(score).max()?;
            left.retain(|index| score(index) == Some(best));
        }
        left.first().copied()
    }
}

/// What is looked at after destination and server name.
#[derive(Clone, Copy, Debug)]
enum Criterion {
    Transport,
    Alpn,
    DirectSource,
    SourceType,
    Source,
    SourcePort,
}

/// In Envoy's order.
const CRITERIA: [Criterion; 6] = [
    Criterion::Transport,
    Criterion::Alpn,
    Criterion::DirectSource,
    Criterion::SourceType,
    Criterion::Source,
    Criterion::SourcePort,
];

impl Criterion {
    /// How specifically `m` matches: 0 where it does not ask; `None` where it does not match.
    fn score<'a, A>(self, m: &Match, facts: &Facts<'a, A>) -> Option<u32>
    where
        A: Iterator<Item = &'a [u8]> + Clone,
    {
        match self {
            Self::Transport => transport(m.transport_protocol, facts.tls),
            Self::Alpn => alpn(m, facts.alpn.clone()),
            Self::DirectSource => ranges(&m.direct_source, facts.direct_remote),
            Self::SourceType => source_type(m.source_type, facts),
            Self::Source => ranges(&m.source, facts.remote),
            Self::SourcePort => match (&*m.source_ports, facts.remote) {
                ([], _) => Some(0),
                (ports, Some(remote)) if ports.contains(&remote.port()) => Some(1),
                _ => None,
            },
        }
    }
}

fn accepts<'a, A>(m: &Match, facts: &Facts<'a, A>) -> bool
where
    A: Iterator<Item = &'a [u8]> + Clone,
{
    CRITERIA.iter().all(|criterion| criterion.score(m, facts).is_some())
}

/// A group being put together.
#[derive(Default)]
struct Draft {
    port: Option<u16>,
    range: Option<Cidr>,
    names: std::collections::BTreeMap<Arc<str>, Candidates>,
    any: Candidates,
}

impl Draft {
    fn add(&mut self, matches: &Match, index: u32) {
        if matches.server_names.is_empty() {
            self.any.push(index);
        }
        for name in &matches.server_names {
            self.names.entry(Arc::clone(name)).or_default().push(index);
        }
    }

    fn build(self) -> Group {
        let mut names = Builder::new();
        for (name, candidates) in self.names {
            // The model has refused names that are no pattern.
            let _ = names.insert(&name, candidates);
        }
        Group { port: self.port, range: self.range, names: names.build(), any: self.any }
    }
}

fn transport(wanted: TransportProtocol, tls: bool) -> Option<u32> {
    match (wanted, tls) {
        (TransportProtocol::Any, _) => Some(0),
        (TransportProtocol::Tls, true) | (TransportProtocol::RawBuffer, false) => Some(1),
        (TransportProtocol::Tls, false) | (TransportProtocol::RawBuffer, true) => None,
    }
}

/// The client's first protocol that a chain asks for wins.
fn alpn<'a>(matches: &Match, offered: impl Iterator<Item = &'a [u8]>) -> Option<u32> {
    if matches.application_protocols.is_empty() {
        return Some(0);
    }
    let place = (0_u32..).zip(offered).find(|(_, p)| matches.application_protocols.iter().any(|a| a.as_bytes() == *p));
    place.map(|(place, _)| u32::MAX - place)
}

fn source_type<A>(wanted: SourceType, facts: &Facts<'_, A>) -> Option<u32> {
    let local = match (facts.remote, facts.local) {
        (None, _) => true,
        (Some(remote), local) => remote.ip().is_loopback() || local.is_some_and(|l| l.ip() == remote.ip()),
    };
    match (wanted, local) {
        (SourceType::Any, _) => Some(0),
        (SourceType::SameIpOrLoopback, true) | (SourceType::External, false) => Some(1),
        (SourceType::SameIpOrLoopback, false) | (SourceType::External, true) => None,
    }
}

/// The longest of `ranges` that holds the address; none at all is the least specific.
fn ranges(ranges: &[Cidr], address: Option<SocketAddr>) -> Option<u32> {
    if ranges.is_empty() {
        return Some(0);
    }
    ranges.iter().filter_map(|range| specificity(Some(*range), address.map(|a| a.ip()))).max()
}

fn specificity(range: Option<Cidr>, address: Option<IpAddr>) -> Option<u32> {
    match (range, address) {
        (None, _) => Some(0),
        (Some(range), Some(address)) if range.contains(address.to_canonical()) => Some(u32::from(range.prefix) + 1),
        (Some(_), _) => None,
    }
}

#[cfg(test)]
mod tests;
