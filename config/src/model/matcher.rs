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

use super::route::HeaderKey;

/// A matcher: a list, a tree, or nothing but what holds when nothing matches.
#[derive(Clone, Debug)]
pub struct Matcher<A, I = Input> {
    /// What is looked at.
    pub kind: MatcherKind<A, I>,
    /// When nothing matches.
    pub on_no_match: Option<OnMatch<A, I>>,
}

/// `matcher_type`.
#[derive(Clone, Debug)]
pub enum MatcherKind<A, I = Input> {
    /// None: straight to [`Matcher::on_no_match`].
    None,
    /// `matcher_list`: the first that matches.
    List(Box<[FieldMatcher<A, I>]>),
    /// `matcher_tree`: one input looked up.
    Tree(Tree<A, I>),
}

/// An entry of a list.
#[derive(Clone, Debug)]
pub struct FieldMatcher<A, I = Input> {
    /// Whether it matches.
    pub predicate: Predicate<I>,
    /// Then.
    pub on_match: OnMatch<A, I>,
}

/// What a match leads to.
#[derive(Clone, Debug)]
pub struct OnMatch<A, I = Input> {
    /// Where to.
    pub then: Then<A, I>,
    /// Only noted: matching goes on as if it had not matched.
    pub keep_matching: bool,
}

/// An action, or another matcher.
#[derive(Clone, Debug)]
pub enum Then<A, I = Input> {
    /// Ends.
    Action(A),
    /// Goes on there.
    Matcher(Box<Matcher<A, I>>),
}

/// `Predicate`.
#[derive(Clone, Debug)]
pub enum Predicate<I = Input> {
    /// An input and how it must look.
    Single(I, TextMatch),
    /// One of them.
    Or(Box<[Self]>),
    /// All of them.
    And(Box<[Self]>),
    /// The contrary.
    Not(Box<Self>),
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

/// What is looked at of a request and its answer (`type.matcher.v3.Http…MatchInput`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HttpInput {
    /// Of its connection.
    Connection(Input),
    /// `HttpRequestHeaderMatchInput`: several are joined with commas.
    RequestHeader(HeaderKey),
    /// `HttpResponseHeaderMatchInput`.
    ResponseHeader(HeaderKey),
    /// `HttpRequestQueryParamMatchInput`: the first value.
    Query(Box<str>),
    /// `HttpResponseStatusCodeMatchInput`.
    Status,
    /// `HttpResponseStatusCodeClassMatchInput`: `2xx`.
    StatusClass,
    /// `HttpResponseLocalReplyMatchInput`: `true` or `false`.
    LocalReply,
}

/// Where inputs come from.
pub trait Inputs<I = Input> {
    /// The value of an input.
    fn input(&self, input: &I) -> Data<'_>;
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

impl<A, I> Matcher<A, I> {
    /// Follows the tree.
    pub fn find(&self, inputs: &impl Inputs<I>) -> Found<&A> {
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
        let outcomes: Vec<&OnMatch<A, I>> = match &self.kind {
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

fn first<'a, A, I>(list: &'a [FieldMatcher<A, I>], inputs: &impl Inputs<I>) -> Found<&'a A> {
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

impl<A, I> OnMatch<A, I> {
    fn find(&self, inputs: &impl Inputs<I>) -> Found<&A> {
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

impl<I> Predicate<I> {
    /// Whether it matches; `None`: an input cannot be had.
    pub fn matches(&self, inputs: &impl Inputs<I>) -> Option<bool> {
        match self {
            Self::Single(input, text) => match inputs.input(input) {
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
