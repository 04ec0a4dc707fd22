//! What the configuration in force does not honour: counts for metrics, a list for the admin page and `/ready`.

use std::fmt;
use std::sync::Arc;

use super::{Kind, ListenerEntry, Snapshot};
use crate::reject::{Ignored, Rejection, Unsupported};

/// Numbers of what is not honoured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Resources whose newest version was refused.
    pub rejected: usize,
    /// Fields set and not honoured.
    pub ignored: usize,
    /// Chains (and clusters) that refuse their connections.
    pub unsupported: usize,
    /// Chains that run their last good version.
    pub held: usize,
}

/// One thing that is not honoured.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    /// Of which kind the resource is.
    pub kind: Kind,
    /// Name of the resource.
    pub resource: Arc<str>,
    /// What it is about.
    pub what: What,
}

/// What a [`Finding`] is about.
#[derive(Clone, Debug, PartialEq)]
pub enum What {
    /// The newest version was refused.
    Rejected(Rejection),
    /// A field is not honoured.
    Ignored(Ignored),
    /// A chain (empty: one without a name, or a cluster) refuses its connections.
    Unsupported(Arc<str>, Unsupported),
    /// A chain runs its last good version.
    Held(Arc<str>, Unsupported),
}

impl fmt::Display for Finding {
    /// One line for people: `listener l: filter_chains[0].…: not honoured: …`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, resource, what } = self;
        write!(f, "{} {resource}: ", kind.noun())?;
        match what {
            What::Rejected(rejection) => write!(f, "refused, the last good version stays: {rejection}"),
            What::Ignored(Ignored { path, note }) => write!(f, "{path}: not honoured: {note}"),
            What::Unsupported(_, why) if *kind == Kind::Cluster => write!(f, "refuses its connections: {why}"),
            What::Unsupported(_, why) if *kind == Kind::Route => write!(f, "refuses its requests: {why}"),
            What::Held(_, why) if *kind == Kind::Route => write!(f, "runs its last good version: {why}"),
            What::Unsupported(chain, why) => write!(f, "chain {chain:?} refuses its connections: {why}"),
            What::Held(chain, why) => write!(f, "chain {chain:?} runs its last good version: {why}"),
        }
    }
}

impl Snapshot {
    /// Counts what is not honoured; goes over all resources.
    pub fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        for finding in self.findings() {
            let count = match finding.what {
                What::Rejected(_) => &mut counts.rejected,
                What::Ignored(_) => &mut counts.ignored,
                What::Unsupported(..) => &mut counts.unsupported,
                What::Held(..) => &mut counts.held,
            };
            *count += 1;
        }
        counts
    }

    /// All that is not honoured, in no order.
    pub fn findings(&self) -> impl Iterator<Item = Finding> {
        let rejected = self.rejected.iter().map(|((kind, name), rejected)| Finding {
            kind: *kind,
            resource: Arc::clone(name),
            what: What::Rejected(rejected.rejection.clone()),
        });
        rejected.chain(self.ignored()).chain(self.refusing()).chain(self.holding())
    }

    /// In force or warming; one that is both occurs twice.
    pub fn all_listeners(&self) -> impl Iterator<Item = (&Arc<str>, &Arc<ListenerEntry>)> {
        self.listeners.iter().chain(&self.warming_listeners)
    }

    fn ignored(&self) -> impl Iterator<Item = Finding> {
        let clusters = self.clusters.iter().chain(&self.warming);
        let clusters = clusters.map(|(name, entry)| (Kind::Cluster, name, &*entry.ignored));
        let listeners = self.all_listeners().map(|(name, entry)| (Kind::Listener, name, &*entry.ignored));
        let endpoints = self.endpoint_notes.iter().map(|(name, notes)| (Kind::Endpoints, name, &**notes));
        let secrets = self.secrets.iter().map(|(secret, entry)| (Kind::Secret, &secret.name, &*entry.ignored));
        let routes = self.routes.iter().map(|(route, entry)| (Kind::Route, &route.name, &*entry.ignored));
        clusters.chain(listeners).chain(endpoints).chain(secrets).chain(routes).flat_map(|(kind, name, ignored)| {
            ignored.iter().map(move |ignored| Finding {
                kind,
                resource: Arc::clone(name),
                what: What::Ignored(ignored.clone()),
            })
        })
    }

    fn refusing(&self) -> impl Iterator<Item = Finding> {
        use crate::model::cluster::Transport;
        let clusters = self.clusters.iter().chain(&self.warming).filter_map(|(name, entry)| {
            let Transport::Unsupported(why) = &entry.cluster.transport else { return None };
            if self.control_planes.contains(name) {
                return None;
            }
            let what = What::Unsupported("".into(), why.clone());
            Some(Finding { kind: Kind::Cluster, resource: Arc::clone(name), what })
        });
        let chains = self.all_listeners().flat_map(|(name, entry)| {
            entry.unsupported.iter().map(move |(chain, why)| Finding {
                kind: Kind::Listener,
                resource: Arc::clone(name),
                what: What::Unsupported(Arc::clone(chain), why.clone()),
            })
        });
        let routes = self.routes.iter().filter_map(|(route, entry)| {
            let why = entry.config.as_ref().err()?.clone();
            Some(Finding {
                kind: Kind::Route,
                resource: Arc::clone(&route.name),
                what: What::Unsupported("".into(), why),
            })
        });
        clusters.chain(chains).chain(routes)
    }

    fn holding(&self) -> impl Iterator<Item = Finding> {
        let routes = self.routes.iter().filter_map(|(route, entry)| {
            let why = entry.held.clone()?;
            Some(Finding { kind: Kind::Route, resource: Arc::clone(&route.name), what: What::Held("".into(), why) })
        });
        routes.chain(self.holding_listeners())
    }

    fn holding_listeners(&self) -> impl Iterator<Item = Finding> {
        self.held.iter().flat_map(|(name, held)| {
            held.0.iter().map(move |(chain, why)| Finding {
                kind: Kind::Listener,
                resource: Arc::clone(name),
                what: What::Held(Arc::clone(chain), why.clone()),
            })
        })
    }
}

impl Kind {
    /// Its name in sentences.
    pub const fn noun(self) -> &'static str {
        match self {
            Self::Cluster => "cluster",
            Self::Endpoints => "endpoints",
            Self::Listener => "listener",
            Self::Route => "route",
            Self::Secret => "secret",
            Self::Runtime => "runtime",
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::model::testing::{self, address, tcp_proxy};
    use crate::store::{Batch, Resource, Store};

    #[test]
    fn everything_that_is_not_honoured_is_counted_and_named() {
        let mut store = Store::default();
        let mut apply = |kind, name: &str, body| {
            let upserts = vec![Resource { name: name.into(), version: "1".into(), body }];
            store.apply(Batch::new(kind, upserts));
        };
        let cluster = |more: serde_json::Value| {
            let mut cluster = json!({"name": "c", "preconnectPolicy": {}});
            testing::merge(&mut cluster, more);
            testing::cluster(&cluster)
        };
        apply(Kind::Cluster, "c", cluster(json!({"type": "ORIGINAL_DST", "lbPolicy": "CLUSTER_PROVIDED"})));
        apply(Kind::Cluster, "c", cluster(json!({"connectTimeout": "0s"})));
        let chain = json!({"name": "x", "filters": [tcp_proxy(json!({"tunnelingConfig": {"hostname": "h"}}))]});
        let listener = json!({"name": "l", "address": address("127.0.0.1", 1), "filterChains": [chain]});
        apply(Kind::Listener, "l", testing::listener(&listener));

        let snapshot = store.snapshot();
        assert_eq!(snapshot.counts(), Counts { rejected: 1, ignored: 1, unsupported: 2, held: 0 });
        let mut lines: Vec<String> = snapshot.findings().map(|f| f.to_string()).collect();
        lines.sort();
        assert_eq!(
            lines,
            [
                "cluster c: preconnect_policy: not honoured: no connection is made ahead",
                "cluster c: refused, the last good version stays: connect_timeout: value must be greater than 0ns",
                "cluster c: refuses its connections: ORIGINAL_DST at type",
                "listener l: chain \"x\" refuses its connections: tunneling_config at \
                 filter_chains[0].filters[0].typed_config.tunneling_config",
            ]
        );
    }
    #[test]
    fn the_control_planes_own_cluster_is_no_finding() {
        let body = testing::cluster(&json!({"name": "ads", "type": "ORIGINAL_DST", "lbPolicy": "CLUSTER_PROVIDED"}));
        let batch = |name: &str| {
            let upserts = vec![Resource { name: name.into(), version: "".into(), body: body.clone() }];
            Batch { fixed: true, ..Batch::new(Kind::Cluster, upserts) }
        };
        let mut store = Store::default();
        store.apply(batch("ads"));
        assert_eq!(store.snapshot().counts().unsupported, 1);
        let mut store = Store::default().with_control_planes(["ads".into()].into());
        store.apply(batch("ads"));
        assert_eq!(store.snapshot().counts(), Counts::default());
    }
}
