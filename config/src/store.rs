//! Raw resources in, snapshots out: parse, keep the last good version, join, warm, diff.
//!
//! What a batch costs follows what it changes: maps are persistent, endpoints reach their clusters through an index,
//! and a filter chain whose bytes are in force is taken over as it is.

mod batch;
mod clusters;
mod demand;
mod endpoints;
mod listeners;
mod other;
mod parse;
mod redact;
mod report;
mod routes;
mod secrets;
mod sources;
mod warming;

pub use batch::{Applied, Batch, Resource};
pub use parse::{Endpoints, Parsed, parse_cluster, parse_endpoints, parse_listener};

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::SystemTime;

use xxhash_rust::xxh3::xxh3_128;

use crate::model::endpoint::Assignment;
use crate::model::hcm::{RouteRef, RouteSource};
use crate::model::listener::proto::Notes;
use crate::model::metadata::proto::Interner;
use crate::model::tcp_proxy::proto::Shared;
use crate::model::tls::proto::Trusts;
use crate::model::tls::{SecretRef, SecretSource};
use crate::reject::{FieldPath, Rejection};
use crate::snapshot::{Kind, Rejected, Snapshot, Source};
use clusters::Waiting;
use demand::{Demands, User};
use listeners::Pending;
use secrets::InFiles;
use warming::Deadlines;

/// Holds what is in force. Lives on the control runtime; readers get [`Snapshot`]s.
#[derive(Debug, Default)]
pub struct Store {
    snapshot: Arc<Snapshot>,
    /// Parsed assignments by name, also those of clusters that are not known yet.
    assignments: HashMap<Arc<str>, Arc<Assignment>>,
    /// Clusters, active or warming, by the assignment they refer to; one that is both stands twice.
    services: HashMap<Arc<str>, Vec<Arc<str>>>,
    /// Until when clusters wait for their assignment.
    endpoints_due: Deadlines<Arc<str>>,
    /// Who refers to which secret and waits for it.
    demands: Demands<SecretRef>,
    /// Which listener refers to which route configuration and waits for it.
    route_demands: Demands<RouteRef>,
    /// Route configurations that the listeners in force refer to; only where there are any.
    routes_in_force: HashMap<Arc<str>, Box<[Arc<RouteRef>]>>,
    /// Secrets that the resources in force refer to; only where there are any.
    in_force: HashMap<User, Box<[Arc<SecretRef>]>>,
    /// What the warming clusters wait for.
    waiting: HashMap<Arc<str>, Waiting>,
    /// What goes with the warming listeners.
    pending: HashMap<Arc<str>, Pending>,
    /// Secrets that their source has no more, and that something refers to.
    gone: HashSet<Arc<SecretRef>>,
    /// Secrets that stand in files.
    in_files: HashMap<Arc<SecretRef>, InFiles>,
    /// One copy of equal bundles of certificates.
    trusts: Trusts,
    /// Names of RDS in chains that can't be run, by listener: asked for too, as a control plane may wait until a client
    /// has asked for all that it has.
    routes: HashMap<Arc<str>, Vec<Arc<str>>>,
    /// What the chains of each listener do not honour.
    chain_notes: HashMap<Arc<str>, Notes>,
}

/// What is at hand while one batch is applied.
struct Step {
    now: SystemTime,
    fixed: bool,
    from: SecretSource,
    shared: Shared,
    report: report::Report,
    applied: Applied,
    /// Something other than the data path's concern has changed.
    touched: bool,
}

impl Store {
    /// These clusters are the xDS client's, not the data path's.
    #[must_use]
    pub fn with_control_planes(mut self, names: Arc<[Arc<str>]>) -> Self {
        self.state().control_planes = names;
        self
    }

    /// Applies one batch.
    pub fn apply(&mut self, batch: Batch) -> Applied {
        let Batch { kind, upserts, mut removed, complete, fixed, from } = batch;
        let from = if fixed { SecretSource::Static } else { from };
        let mut step = Step { from, ..Step::new(kind, fixed, &self.trusts) };
        if complete {
            let present: HashSet<&str> = upserts.iter().map(|r| &*r.name).collect();
            removed.extend(self.names(&step, kind).into_iter().filter(|name| !present.contains(&**name)));
        }
        let mut seen = HashSet::with_capacity(upserts.len());
        for resource in upserts {
            if seen.insert(Arc::clone(&resource.name)) {
                self.upsert(&mut step, kind, resource);
            } else {
                let reason = format!("duplicate resource {} found", resource.name).into();
                self.reject(&mut step, kind, resource, Rejection { path: FieldPath::default(), reason });
            }
        }
        for name in removed {
            self.remove(&mut step, kind, &name);
        }
        self.finish(step)
    }

    /// What is in force.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&self.snapshot)
    }

    /// The names of `kind` that the resources in force or warming refer to and that are asked of the control plane (EDS,
    /// RDS, SDS), sorted.
    pub fn wanted(&self, kind: Kind) -> Vec<Arc<str>> {
        let mut names: Vec<Arc<str>> = match kind {
            Kind::Endpoints => self.services.keys().cloned().collect(),
            Kind::Route => {
                let of_stream = self.route_demands.iter().filter(|route| route.source == RouteSource::Ads);
                of_stream.map(|route| &route.name).chain(self.routes.values().flatten()).cloned().collect()
            }
            Kind::Secret => self.demands.names(&SecretSource::Ads),
            Kind::Cluster | Kind::Listener | Kind::Runtime => Vec::new(),
        };
        names.sort_unstable();
        names.dedup();
        names
    }

    fn upsert(&mut self, step: &mut Step, kind: Kind, resource: Resource) {
        match self.known(step, kind, &resource) {
            // As Envoy: what the bootstrap holds is not the control plane's to change, nor an error.
            Known::Fixed => {
                tracing::debug!(?kind, name = %resource.name, "ignored: a static resource has this name");
                return;
            }
            Known::Same => {
                self.make_good(kind, &resource.name, step);
                return self.refresh(step, kind, &resource);
            }
            Known::Other => {}
        }
        let result = match kind {
            Kind::Cluster => self.upsert_cluster(step, &resource),
            Kind::Endpoints => self.upsert_endpoints(step, &resource),
            Kind::Listener => self.upsert_listener(step, &resource),
            Kind::Secret => self.upsert_secret(step, &resource),
            Kind::Route => self.upsert_route(step, &resource),
            Kind::Runtime => {
                self.upsert_other(step, kind, &resource);
                Ok(())
            }
        };
        match result {
            Ok(()) => self.make_good(kind, &resource.name, step),
            Err(rejection) => self.reject(step, kind, resource, rejection),
        }
    }

    /// What is known of a resource that has come.
    fn known(&self, step: &Step, kind: Kind, resource: &Resource) -> Known {
        if kind == Kind::Secret {
            let entry = self.snapshot.secrets.get(&*step.secret(&resource.name));
            // The body was not kept as it came.
            let same = entry.is_some_and(|entry| entry.received == xxh3_128(&resource.body));
            return if same { Known::Same } else { Known::Other };
        }
        if kind == Kind::Route {
            let entry = step.route(&resource.name).and_then(|route| self.snapshot.routes.get(&route));
            let same = entry.is_some_and(|entry| entry.source.body == resource.body);
            return if same { Known::Same } else { Known::Other };
        }
        match self.source(kind, &resource.name) {
            Some(source) if source.fixed && !step.fixed => Known::Fixed,
            Some(source) if source.body == resource.body => Known::Same,
            _ => Known::Other,
        }
    }

    fn remove(&mut self, step: &mut Step, kind: Kind, name: &Arc<str>) {
        if self.source(kind, name).is_some_and(|source| source.fixed && !step.fixed) {
            return;
        }
        self.make_good(kind, name, step);
        match kind {
            Kind::Cluster => self.remove_cluster(step, name),
            Kind::Endpoints => self.remove_endpoints(step, name),
            Kind::Listener => self.remove_listener(step, name),
            Kind::Secret => self.remove_secret(step, name),
            Kind::Route => self.remove_route(step, name),
            Kind::Runtime => self.remove_other(step, kind, name),
        }
    }

    /// Replaces the source of a resource whose bytes are the same.
    fn refresh(&mut self, step: &mut Step, kind: Kind, resource: &Resource) {
        step.touched = true;
        let name = &resource.name;
        // The bytes that are held already, so that those which came can go.
        let body = self.source(kind, name).map_or_else(|| resource.body.clone(), |source| source.body.clone());
        let source = Arc::new(Source { body, ..step.source(resource) });
        match kind {
            Kind::Cluster => self.refresh_cluster(name, source),
            Kind::Endpoints => {
                self.state().endpoints.insert_mut(Arc::clone(name), source);
            }
            Kind::Listener => self.refresh_listener(name, source),
            Kind::Secret => self.refresh_secret(step, resource),
            Kind::Route => self.refresh_route(step, resource),
            Kind::Runtime => {
                self.state().other.insert_mut((kind, Arc::clone(name)), source);
            }
        }
    }

    fn reject(&mut self, step: &mut Step, kind: Kind, resource: Resource, rejection: Rejection) {
        let Resource { name, version, mut body } = resource;
        step.report.rejected(&name, &rejection);
        step.touched = true;
        let mut listed = Arc::clone(&name);
        if kind == Kind::Secret {
            let secret = step.secret(&name);
            body = redact::secret(&body).body;
            listed = secrets::rejected_as(&secret);
            // As in Envoy: what refers to it can't be helped by waiting.
            self.settle_secret(step, &secret);
        }
        if kind == Kind::Route
            && let Some(route) = step.route(&name)
        {
            listed = route.to_string().into();
            // As in Envoy: a listener can't be helped by waiting.
            self.settle_route(step, &route);
        }
        let rejected = Rejected { rejection: rejection.clone(), version: Arc::clone(&version), at: step.now, body };
        self.state().rejected.insert_mut((kind, listed), Arc::new(rejected));
        step.applied.rejected.push((name, version, rejection));
    }

    /// Forgets the rejection of a resource that is good again, or gone.
    fn make_good(&mut self, kind: Kind, name: &Arc<str>, step: &mut Step) {
        let listed = match kind {
            Kind::Secret => secrets::rejected_as(&step.secret(name)),
            Kind::Route => step.route(name).map_or_else(|| Arc::clone(name), |route| route.to_string().into()),
            Kind::Cluster | Kind::Endpoints | Kind::Listener | Kind::Runtime => Arc::clone(name),
        };
        self.forget_rejection(step, kind, &listed);
    }

    fn forget_rejection(&mut self, step: &mut Step, kind: Kind, listed: &Arc<str>) {
        let key = (kind, Arc::clone(listed));
        if self.snapshot.rejected.contains_key(&key) {
            self.state().rejected.remove_mut(&key);
            step.touched = true;
        }
    }

    /// Where the newest good version of a resource came from.
    fn source(&self, kind: Kind, name: &Arc<str>) -> Option<&Arc<Source>> {
        let snapshot = &*self.snapshot;
        match kind {
            Kind::Cluster => {
                let entry = snapshot.warming.get(name).or_else(|| snapshot.clusters.get(name));
                entry.map(|entry| &entry.source)
            }
            Kind::Endpoints => snapshot.endpoints.get(name),
            Kind::Listener => {
                let entry = snapshot.warming_listeners.get(name).or_else(|| snapshot.listeners.get(name));
                entry.map(|entry| &entry.source)
            }
            // Their names are not unique.
            Kind::Route | Kind::Secret => None,
            Kind::Runtime => snapshot.other.get(&(kind, Arc::clone(name))),
        }
    }

    /// Names of all resources of a kind, refused ones too.
    fn names(&self, step: &Step, kind: Kind) -> HashSet<Arc<str>> {
        let snapshot = &*self.snapshot;
        if kind == Kind::Secret {
            return self.secret_names(&step.from);
        }
        if kind == Kind::Route {
            return routes::route_source(&step.from).map(|source| self.route_names(&source)).unwrap_or_default();
        }
        let refused = snapshot.rejected.keys().filter(|(k, _)| *k == kind).map(|(_, name)| name);
        let mut names: HashSet<Arc<str>> = refused.cloned().collect();
        match kind {
            Kind::Cluster => names.extend(snapshot.clusters.keys().chain(snapshot.warming.keys()).cloned()),
            Kind::Endpoints => names.extend(snapshot.endpoints.keys().cloned()),
            Kind::Listener => {
                names.extend(snapshot.listeners.keys().chain(snapshot.warming_listeners.keys()).cloned());
            }
            // Their names are not unique.
            Kind::Route | Kind::Secret => {}
            Kind::Runtime => {
                names.extend(snapshot.other.keys().filter(|(k, _)| *k == kind).map(|(_, name)| Arc::clone(name)));
            }
        }
        names
    }

    /// The snapshot to write to: a new one if somebody holds the last.
    fn state(&mut self) -> &mut Snapshot {
        Arc::make_mut(&mut self.snapshot)
    }

    fn finish(&mut self, step: Step) -> Applied {
        let Step { mut applied, mut touched, report, .. } = step;
        report.finish();
        touched |= self.list_missing(!applied.changes.secrets.is_empty());
        for names in [&mut applied.changes.listeners, &mut applied.changes.clusters] {
            names.sort_unstable();
            names.dedup();
        }
        if touched || !applied.changes.is_empty() {
            self.state().generation += 1;
        }
        applied
    }
}

/// What is known of a resource that has come.
enum Known {
    /// It is the bootstrap's.
    Fixed,
    /// These bytes are held.
    Same,
    /// It is new, or other bytes are held.
    Other,
}

impl Step {
    fn new(kind: Kind, fixed: bool, trusts: &Trusts) -> Self {
        let shared = Shared { interner: Interner::with_trusts(trusts.clone()), ..Shared::default() };
        Self {
            now: SystemTime::now(),
            fixed,
            from: SecretSource::Ads,
            shared,
            report: report::Report::new(kind),
            applied: Applied::default(),
            touched: false,
        }
    }

    fn source(&self, resource: &Resource) -> Source {
        Source {
            body: resource.body.clone(),
            version: Arc::clone(&resource.version),
            updated: self.now,
            fixed: self.fixed,
        }
    }

    /// The secret of that name.
    fn secret(&self, name: &Arc<str>) -> Arc<SecretRef> {
        let timeout = std::time::Duration::ZERO;
        Arc::new(SecretRef { name: Arc::clone(name), source: self.from.clone(), initial_fetch_timeout: timeout })
    }
}

/// A resource must have the name that the response says it has.
fn check_name(resource: &Resource, own: &str) -> Result<(), Rejection> {
    if own == &*resource.name {
        return Ok(());
    }
    let reason = format!("the resource is named {} in the response and {own} in itself", resource.name).into();
    Err(Rejection { path: FieldPath("name".into()), reason })
}

#[cfg(test)]
mod tests;
