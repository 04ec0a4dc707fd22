//! Consistent hashing: a table made once for a list of hosts, asked by hash.

use std::sync::Arc;

use config::model::cluster::LbPolicy;
use config::model::metadata::{Metadata, Value};

use super::maglev::Maglev;
use super::ring_hash::Ring;
use crate::upstream::host::Host;

/// A table for RING_HASH or MAGLEV.
#[derive(Debug)]
pub(crate) struct Table {
    hosts: Box<[Arc<Host>]>,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Ring(Ring),
    Maglev(Maglev),
}

/// What a table is made from: hosts with their shares, which sum up to 1.
#[derive(Debug, Default)]
pub(crate) struct Shares {
    hosts: Vec<Arc<Host>>,
    shares: Vec<f64>,
}

impl Shares {
    /// Adds hosts that divide `part` of the whole among them by weight.
    pub(crate) fn add(&mut self, hosts: &[Arc<Host>], part: f64) {
        let sum: f64 = hosts.iter().map(|h| f64::from(h.weight())).sum();
        self.shares.extend(hosts.iter().map(|h| f64::from(h.weight()) * part / sum));
        self.hosts.extend_from_slice(hosts);
    }
}

impl Table {
    /// `None` for policies that do not hash.
    pub(crate) fn new(policy: &LbPolicy, shares: Shares, by_hostname: bool) -> Option<Self> {
        let Shares { hosts, shares } = shares;
        let keys: Vec<String> = hosts.iter().map(|h| hash_key(h, by_hostname)).collect();
        let kind = match policy {
            LbPolicy::RingHash(options) => Kind::Ring(Ring::new(&keys, &shares, *options)),
            LbPolicy::Maglev { table_size } => Kind::Maglev(Maglev::new(&keys, &shares, *table_size)),
            LbPolicy::RoundRobin | LbPolicy::LeastRequest { .. } | LbPolicy::Random => return None,
        };
        Some(Self { hosts: hosts.into(), kind })
    }

    /// The host of `hash`; another one for each `attempt`, as far as the table holds others.
    pub(crate) fn choose(&self, hash: u64, attempt: u32) -> Option<&Arc<Host>> {
        let index = match &self.kind {
            Kind::Ring(ring) => ring.find(hash, attempt)?,
            Kind::Maglev(maglev) => maglev.find(hash, attempt)?,
        };
        self.hosts.get(index)
    }
}

/// What stands for a host: `hash_key` of its `envoy.lb` metadata, else its name or its address.
fn hash_key(host: &Host, by_hostname: bool) -> String {
    let detail = host.detail();
    let fields = detail.metadata.as_ref().map(|m| m.namespace(Metadata::LB)).unwrap_or_default();
    match fields.iter().find(|(key, _)| key.as_ref() == "hash_key") {
        Some((_, Value::String(key))) if !key.is_empty() => key.to_string(),
        _ if by_hostname => detail.hostname.as_deref().unwrap_or_default().to_owned(),
        _ => host.address().to_string(),
    }
}
