//! From `config.listener.v3.Listener`.
//!
//! A listener may hold ten thousand chains of which an update changes one. So its encoding is taken apart first: what
//! is not a chain is decoded as a listener without chains (its hash is the [`Listener::frame_id`]), and a chain is
//! decoded only if none with the same bytes is in force.
#![allow(deprecated)] // Envoy still honours the fields it deprecates

mod filters;
mod frame;

use std::collections::HashMap;
use std::sync::Arc;

use envoy_types::pb::envoy::config::listener::v3 as pb;
use xxhash_rust::xxh3::xxh3_128;

use super::Listener;
use crate::model::chain::proto::{self as chain, Names, Setting, matching};
use crate::model::chain::{FilterChain, Handler};
use crate::model::tcp_proxy::proto::Shared;
use crate::reject::{Context, Ignored, Rejection, Unsupported, wire_fields};

/// Numbers of the fields that hold chains.
const FILTER_CHAINS: u32 = 3;
const DEFAULT_FILTER_CHAIN: u32 = 25;

/// A listener, and what else its encoding says.
pub(crate) struct Converted {
    /// The listener.
    pub(crate) listener: Listener,
    /// Chains that refuse their connections.
    pub(crate) unsupported: Vec<(Arc<str>, Unsupported)>,
    /// Chains that run their last good version, as the new one can't be run.
    pub(crate) held: Vec<(Arc<str>, Unsupported)>,
    /// Resources it refers to.
    pub(crate) names: Names,
    /// It says its own name; else it has that of its address.
    pub(crate) named: bool,
    /// Fields not honoured, of the chains that have any.
    pub(crate) notes: Notes,
}

/// Fields that are not honoured by the [id](FilterChain::id) of their chain, paths starting at the chain: a chain that
/// is taken over is not decoded again.
pub(crate) type Notes = HashMap<u128, Box<[Ignored]>>;

/// The version in force.
#[derive(Clone, Copy)]
pub(crate) struct InForce<'a> {
    /// The listener.
    pub(crate) listener: &'a Listener,
    /// What its chains do not honour.
    pub(crate) notes: Option<&'a Notes>,
}

/// Whether a listener is one of the control plane's own.
pub(crate) fn is_system(name: &str) -> bool {
    name.starts_with("kuma:") || name.starts_with("_kuma:") || name.starts_with("system_")
}

/// Converts an encoded listener. Chains of `previous` with the same bytes are taken over.
pub(crate) fn listener(
    cx: &mut Context,
    shared: &mut Shared,
    body: &[u8],
    previous: Option<InForce<'_>>,
) -> Result<Converted, Rejection> {
    let parts = Parts::split(body).ok_or_else(|| cx.reject("", "cannot be decoded: not a message"))?;
    let frame: pb::Listener = cx.decode(&parts.frame)?;
    let named = !frame.name.is_empty();
    let (mut listener, selection) = frame::frame(cx, shared, frame)?;
    listener.frame_id = xxh3_128(&parts.frame);
    let no_chain = parts.chains.is_empty() && parts.default.is_none();
    if no_chain && selection.is_none() {
        return Err(cx.reject("filter_chains", "no filter chains specified"));
    }
    let mut names = Names::default();
    let setting = Setting { shared, system: listener.system, unsupported: selection, names: &mut names };
    let mut chains = Chains::new(setting, previous);
    let converted = cx.each("filter_chains", parts.chains, |cx, body| chains.take(cx, body, false))?;
    listener.chains = converted.into_iter().flatten().collect();
    listener.default_chain = match parts.default {
        None => None,
        Some(body) => cx.at("default_filter_chain", |cx| chains.take(cx, body, true))?,
    };
    let Chains { unsupported, held, notes, .. } = chains;
    if let Some(i) = matching::overlapping(&listener.chains) {
        return Err(cx.item("filter_chains", i, |cx| {
            cx.reject("filter_chain_match", "multiple filter chains with the same matching rules are defined")
        }));
    }
    Ok(Converted { listener, unsupported, held, names, named, notes })
}

/// An encoded listener, taken apart.
struct Parts<'a> {
    /// All but the chains.
    frame: Vec<u8>,
    chains: Vec<&'a [u8]>,
    default: Option<&'a [u8]>,
}

impl<'a> Parts<'a> {
    fn split(body: &'a [u8]) -> Option<Self> {
        let mut parts = Self { frame: Vec::new(), chains: Vec::new(), default: None };
        for field in wire_fields(body)? {
            match field.number {
                FILTER_CHAINS if field.delimited => parts.chains.push(field.value),
                DEFAULT_FILTER_CHAIN if field.delimited => parts.default = Some(field.value),
                _ => parts.frame.extend_from_slice(field.raw),
            }
        }
        Some(parts)
    }
}

/// The chains in force, by what a new one is compared with.
#[derive(Default)]
struct Previous<'a> {
    by_id: HashMap<u128, &'a Arc<FilterChain>, foldhash::fast::RandomState>,
    all: &'a [Arc<FilterChain>],
    default: Option<&'a Arc<FilterChain>>,
    notes: Option<&'a Notes>,
}

impl<'a> Previous<'a> {
    fn of(previous: Option<InForce<'a>>) -> Self {
        let Some(InForce { listener, notes }) = previous else { return Self::default() };
        let good = listener.chains.iter().filter(|chain| is_good(chain));
        Self {
            by_id: good.map(|chain| (chain.id, chain)).collect(),
            all: &listener.chains,
            default: listener.default_chain.as_ref(),
            notes,
        }
    }

    /// The good version of a chain that can't be run any more: the one of its name, else the one of its match.
    fn version_of(&self, chain: &FilterChain) -> Option<&'a Arc<FilterChain>> {
        let same = |old: &FilterChain| match (&*chain.name, &*old.name) {
            ("", _) => old.matches == chain.matches,
            (new, old) => new == old,
        };
        self.all.iter().chain(self.default).find(|old| is_good(old) && same(old))
    }
}

fn is_good(chain: &FilterChain) -> bool {
    !matches!(chain.handler, Handler::Unsupported(_))
}

/// Converts the chains of one listener.
struct Chains<'a> {
    setting: Setting<'a>,
    previous: Previous<'a>,
    unsupported: Vec<(Arc<str>, Unsupported)>,
    held: Vec<(Arc<str>, Unsupported)>,
    notes: Notes,
}

impl<'a> Chains<'a> {
    fn new(setting: Setting<'a>, previous: Option<InForce<'a>>) -> Self {
        let (unsupported, held) = (Vec::new(), Vec::new());
        Self { setting, previous: Previous::of(previous), unsupported, held, notes: Notes::new() }
    }

    fn take(&mut self, cx: &mut Context, body: &[u8], default: bool) -> Result<Option<Arc<FilterChain>>, Rejection> {
        let id = chain::id(body);
        if let Some(known) = self.in_force(id, default) {
            let notes = self.previous.notes.and_then(|notes| notes.get(&id)).cloned();
            self.note(cx, id, notes.unwrap_or_default());
            return Ok(Some(known));
        }
        let mut inner = Context::default();
        let converted = chain::chain(&mut inner, &mut self.setting, body, default);
        let converted = converted.map_err(|Rejection { path, reason }| cx.reject(&path.0, reason))?;
        self.note(cx, id, inner.into_ignored());
        Ok(converted.map(|new| self.settle(cx, new)))
    }

    /// The chain with the same bytes. The default chain is another with the same bytes, as its match is not looked at.
    fn in_force(&self, id: u128, default: bool) -> Option<Arc<FilterChain>> {
        let known = match default {
            true => self.previous.default.filter(|chain| chain.id == id && is_good(chain)),
            false => self.previous.by_id.get(&id).copied(),
        };
        known.filter(|_| self.setting.unsupported.is_none()).cloned()
    }

    fn note(&mut self, cx: &mut Context, id: u128, notes: Box<[Ignored]>) {
        cx.adopt(&notes);
        if !notes.is_empty() {
            self.notes.insert(id, notes);
        }
    }

    /// A chain that can't be run gives way to its last good version.
    fn settle(&mut self, cx: &Context, mut new: FilterChain) -> Arc<FilterChain> {
        let Handler::Unsupported(why) = &mut new.handler else { return Arc::new(new) };
        // What stops the listener as a whole is named from the listener on.
        if self.setting.unsupported.is_none() {
            why.path = cx.path(&why.path.0);
        }
        let named = (Arc::clone(&new.name), why.clone());
        match self.previous.version_of(&new) {
            None => {
                self.unsupported.push(named);
                Arc::new(new)
            }
            Some(old) => {
                self.held.push(named);
                hold(old, new)
            }
        }
    }
}

/// The last good version, under the new match.
fn hold(old: &Arc<FilterChain>, new: FilterChain) -> Arc<FilterChain> {
    if old.matches == new.matches {
        return Arc::clone(old);
    }
    let id = xxh3_128(&[old.id.to_le_bytes(), new.id.to_le_bytes()].concat());
    Arc::new(FilterChain { id, matches: new.matches, ..FilterChain::clone(old) })
}

#[cfg(test)]
mod tests;
