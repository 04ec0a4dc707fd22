//! `matcher_tree`: one input, looked up in a map, among address ranges or among domains.

use std::net::IpAddr;

use super::{Data, Found, Input, Inputs, OnMatch};
use crate::model::chain::Cidr;

/// One input and where its values lead.
#[derive(Clone, Debug)]
pub struct Tree<A, I = Input> {
    /// What is looked up.
    pub input: I,
    /// How.
    pub kind: TreeKind<A, I>,
}

/// Keys and where they lead, sorted.
pub type Map<A, I = Input> = Box<[(Box<str>, OnMatch<A, I>)]>;

/// `tree_type`.
#[derive(Clone, Debug)]
pub enum TreeKind<A, I = Input> {
    /// `exact_match_map`, sorted by key.
    Exact(Map<A, I>),
    /// `prefix_match_map`, sorted by key: the longest prefix first, then shorter ones.
    Prefix(Map<A, I>),
    /// `IPMatcher`, in the order in which they are tried: the longest range first.
    Ip {
        /// In order.
        ranges: Box<[IpRange]>,
        /// Where they lead.
        outcomes: Box<[OnMatch<A, I>]>,
    },
    /// `ServerNameMatcher`.
    Domains(Domains<A, I>),
}

/// A range of an `IPMatcher`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IpRange {
    /// The range.
    pub range: Cidr,
    /// Only if no longer range holds the address.
    pub exclusive: bool,
    /// Which of the outcomes.
    pub outcome: usize,
}

/// A `ServerNameMatcher`: exact names, then `*.suffix` from the longest on, then `*`.
#[derive(Clone, Debug)]
pub struct Domains<A, I = Input> {
    /// Name and which of the outcomes, sorted.
    pub exact: Box<[(Box<str>, usize)]>,
    /// Suffix without `*.` and which of the outcomes, sorted.
    pub wildcards: Box<[(Box<str>, usize)]>,
    /// `*`.
    pub any: Option<usize>,
    /// Where they lead.
    pub outcomes: Box<[OnMatch<A, I>]>,
}

impl<A, I> Tree<A, I> {
    /// Looks the input up; what holds otherwise is the matcher's.
    pub(super) fn find(&self, inputs: &impl Inputs<I>) -> Found<&A> {
        let key = match inputs.input(&self.input) {
            Data::NotAvailable => return Found::Undecided,
            Data::Absent => return Found::Nothing,
            Data::Bytes(key) => key,
        };
        match &self.kind {
            TreeKind::Exact(map) => settle(lookup(map, &key), inputs),
            TreeKind::Prefix(map) => {
                settle((0..=key.len()).rev().filter_map(|end| lookup(map, key.get(..end)?)), inputs)
            }
            TreeKind::Ip { ranges, outcomes } => {
                let Some(address) = address(&key) else { return Found::Nothing };
                let mut alone = true;
                for range in ranges.iter().filter(|range| range.range.contains(address)) {
                    if !alone && range.exclusive {
                        continue;
                    }
                    match settle(outcomes.get(range.outcome), inputs) {
                        Found::Nothing => alone = false,
                        found => return found,
                    }
                }
                Found::Nothing
            }
            TreeKind::Domains(domains) => settle(domains.candidates(&key), inputs),
        }
    }

    /// Everything it may lead to.
    pub(super) fn outcomes(&self) -> Vec<&OnMatch<A, I>> {
        match &self.kind {
            TreeKind::Exact(map) | TreeKind::Prefix(map) => map.iter().map(|(_, outcome)| outcome).collect(),
            TreeKind::Ip { outcomes, .. } | TreeKind::Domains(Domains { outcomes, .. }) => outcomes.iter().collect(),
        }
    }
}

/// The first candidate that leads somewhere.
fn settle<'a, A: 'a, I: 'a>(
    candidates: impl IntoIterator<Item = &'a OnMatch<A, I>>,
    inputs: &impl Inputs<I>,
) -> Found<&'a A> {
    candidates.into_iter().map(|c| c.find(inputs)).find(|f| !matches!(f, Found::Nothing)).unwrap_or(Found::Nothing)
}

fn lookup<'a, T>(map: &'a [(Box<str>, T)], key: &[u8]) -> Option<&'a T> {
    let at = map.binary_search_by(|(k, _)| k.as_bytes().cmp(key)).ok()?;
    map.get(at).map(|(_, value)| value)
}

fn address(key: &[u8]) -> Option<IpAddr> {
    std::str::from_utf8(key).ok()?.parse().ok()
}

impl<A, I> Domains<A, I> {
    fn candidates<'a, 'n>(&'a self, name: &'n [u8]) -> impl Iterator<Item = &'a OnMatch<A, I>> + use<'a, 'n, A, I> {
        let dots = name.iter().enumerate().filter(|(_, byte)| **byte == b'.');
        let wildcards = dots.filter_map(|(at, _)| lookup(&self.wildcards, name.get(at + 1..)?));
        let all = lookup(&self.exact, name).into_iter().chain(wildcards).chain(&self.any);
        // Envoy looks up no empty name.
        all.filter(|_| !name.is_empty()).filter_map(|index| self.outcomes.get(*index))
    }
}
