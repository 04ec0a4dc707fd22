//! Matching trees (`xds.type.matcher.v3.Matcher`): which action inputs of a connection lead to, as Envoy's
//! `source/common/matcher` finds it.
//!
//! A tree knows neither where inputs come from ([`Inputs`]) nor what an action is (`A`).

mod regex;
mod text;
mod tree;

pub(crate) use self::regex::{full_match, search};
pub use self::text::{TextMatch, TextPattern};
pub use self::tree::{Domains, IpRange, Map, Tree, TreeKind};

use std::borrow::Cow;

/// A matcher: a list, a tree, or nothing but what holds when nothing matches.
#[derive(Clone, Debug)]
pub struct Matcher<A> {
    /// What is looked at.
    pub kind: MatcherKind<A>,
    /// When nothing matches.
    pub on_no_match: Option<OnMatch<A>>,
}

/// `matcher_type`.
#[derive(Clone, Debug)]
pub enum MatcherKind<A> {
    /// None: straight to [`Matcher::on_no_match`].
    None,
    /// `matcher_list`: the first that matches.
    List(Box<[FieldMatcher<A>]>),
    /// `matcher_tree`: one input looked up.
    Tree(Tree<A>),
}

/// An entry of a list.
#[derive(Clone, Debug)]
pub struct FieldMatcher<A> {
    /// Whether it matches.
    pub predicate: Predicate,
    /// Then.
    pub on_match: OnMatch<A>,
}

/// What a match leads to.
#[derive(Clone, Debug)]
pub struct OnMatch<A> {
    /// Where to.
    pub then: Then<A>,
    /// Only noted: matching goes on as if it had not matched.
    pub keep_matching: bool,
}

/// An action, or another matcher.
#[derive(Clone, Debug)]
pub enum Then<A> {
    /// Ends.
    Action(A),
    /// Goes on there.
    Matcher(Box<Matcher<A>>),
}

/// `Predicate`.
#[derive(Clone, Debug)]
pub enum Predicate {
    /// An input and how it must look.
    Single(Input, TextMatch),
    /// One of them.
    Or(Box<[Predicate]>),
    /// All of them.
    And(Box<[Predicate]>),
    /// The contrary.
    Not(Box<Predicate>),
}

/// What is looked at (`extensions.matching.common_inputs.{network,ssl}.v3`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input {
    /// `DestinationIPInput`.
    DestinationIp,
    /// `DestinationPortInput`.
    DestinationPort,
    /// `SourceIPInput`: after the PROXY protocol.
    SourceIp,
    /// `SourcePortInput`.
    SourcePort,
    /// `DirectSourceIPInput`: the socket's peer.
    DirectSourceIp,
    /// `ServerNameInput`.
    ServerName,
    /// `NetworkNamespaceInput`.
    NetworkNamespace,
    /// `UriSanInput`: all URI SANs of the peer, joined with commas.
    UriSan,
    /// `DnsSanInput`: all DNS SANs, joined with commas.
    DnsSan,
    /// `SubjectInput`.
    Subject,
}

/// Where inputs come from.
pub trait Inputs {
    /// The value of an input.
    fn input(&self, input: Input) -> Data<'_>;
}

/// The value of an input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Data<'a> {
    /// It cannot be had (SANs without TLS): what asks for it cannot be decided, and so nothing that comes after.
    NotAvailable,
    /// There is none; matches nothing.
    Absent,
    /// It.
    Bytes(Cow<'a, [u8]>),
}

/// Where a matcher led.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found<T> {
    /// To an action.
    Action(T),
    /// Nowhere.
    Nothing,
    /// An input that cannot be had was asked for.
    Undecided,
}

impl<A> Matcher<A> {
    /// Follows the tree.
    pub fn find(&self, inputs: &impl Inputs) -> Found<&A> {
        let found = match &self.kind {
            MatcherKind::None => Found::Nothing,
            MatcherKind::List(list) => first(list, inputs),
            MatcherKind::Tree(tree) => tree.find(inputs),
        };
        match (found, &self.on_no_match) {
            (Found::Nothing, Some(otherwise)) => otherwise.find(inputs),
            (found, _) => found,
        }
    }

    /// All actions, in no order.
    pub fn actions(&self) -> Vec<&A> {
        let mut actions = Vec::new();
        self.collect(&mut actions);
        actions
    }

    fn collect<'a>(&'a self, actions: &mut Vec<&'a A>) {
        let outcomes: Vec<&OnMatch<A>> = match &self.kind {
            MatcherKind::None => Vec::new(),
            MatcherKind::List(list) => list.iter().map(|field| &field.on_match).collect(),
            MatcherKind::Tree(tree) => tree.outcomes(),
        };
        for outcome in outcomes.into_iter().chain(&self.on_no_match) {
            match &outcome.then {
                Then::Action(action) => actions.push(action),
                Then::Matcher(matcher) => matcher.collect(actions),
            }
        }
    }
}

fn first<'a, A>(list: &'a [FieldMatcher<A>], inputs: &impl Inputs) -> Found<&'a A> {
    for FieldMatcher { predicate, on_match } in list {
        match predicate.matches(inputs) {
            None => return Found::Undecided,
            Some(false) => {}
            Some(true) => match on_match.find(inputs) {
                Found::Nothing => {}
                found => return found,
            },
        }
    }
    Found::Nothing
}

impl<A> OnMatch<A> {
    fn find(&self, inputs: &impl Inputs) -> Found<&A> {
        let found = match &self.then {
            Then::Action(action) => Found::Action(action),
            Then::Matcher(matcher) => matcher.find(inputs),
        };
        match found {
            Found::Action(_) if self.keep_matching => Found::Nothing,
            found => found,
        }
    }
}

impl Predicate {
    /// Whether it matches; `None`: an input cannot be had.
    pub fn matches(&self, inputs: &impl Inputs) -> Option<bool> {
        match self {
            Self::Single(input, text) => match inputs.input(*input) {
                Data::NotAvailable => None,
                Data::Absent => Some(false),
                Data::Bytes(bytes) => Some(text.matches(&bytes)),
            },
            // The first that matches decides, even behind one that cannot be decided.
            Self::Or(all) => {
                let mut decided = true;
                for predicate in all {
                    match predicate.matches(inputs) {
                        Some(true) => return Some(true),
                        Some(false) => {}
                        None => decided = false,
                    }
                }
                decided.then_some(false)
            }
            // In order: the first that does not match decides, but not behind one that cannot be decided.
            Self::And(all) => {
                for predicate in all {
                    match predicate.matches(inputs) {
                        Some(true) => {}
                        other => return other,
                    }
                }
                Some(true)
            }
            Self::Not(predicate) => predicate.matches(inputs).map(|matches| !matches),
        }
    }
}

pub(crate) mod proto;
#[cfg(test)]
mod tests;
