//! Clusters: active when their endpoints and secrets are known, warming until then.

use std::sync::Arc;
use std::time::Instant;

use super::{Applied, Resource, Step, Store, check_name, parse, secrets};
use crate::model::cluster::Discovery;
use crate::model::endpoint::Assignment;
use crate::model::tls::SecretRef;
use crate::reject::Rejection;
use crate::snapshot::{ClusterEntry, Kind, Source};

/// What a warming cluster waits for.
#[derive(Debug)]
pub(super) struct Waiting {
    /// Its endpoints.
    endpoints: bool,
    /// All secrets that it refers to; which of them are missing is known to the demands.
    secrets: Secrets,
}

/// What one cluster refers to.
type Secrets = Box<[Arc<SecretRef>]>;

impl Store {
    pub(super) fn upsert_cluster(&mut self, step: &mut Step, resource: &Resource) -> Result<(), Rejection> {
        let parsed = parse::cluster_with(&mut step.shared.interner, &resource.body)?;
        check_name(resource, &parsed.value.name)?;
        let secrets = secrets::of_cluster(&parsed.value);
        self.check_static(&secrets)?;
        let known = self.snapshot.warming.get(&resource.name).or_else(|| self.snapshot.clusters.get(&resource.name));
        step.report.ignored(&resource.name, &parsed.ignored, known.map_or(&[], |entry| &*entry.ignored));
        if !self.snapshot.control_planes.contains(&resource.name) {
            step.report.unsupported(&resource.name, &parsed.unsupported, &[]);
        }
        if parsed.value.trusts_anyone() && known.is_none_or(|entry| !entry.cluster.trusts_anyone()) {
            step.report.trusts_anyone(&resource.name);
        }

        let cluster = Arc::new(parsed.value);
        let (assignment, wait) = match &cluster.discovery {
            Discovery::Static(assignment) | Discovery::Dns { assignment, .. } => (Some(Arc::clone(assignment)), None),
            Discovery::Eds { service_name, initial_fetch_timeout } => {
                (self.assignments.get(service_name).cloned(), Some(*initial_fetch_timeout))
            }
        };
        let wait = wait.filter(|_| assignment.is_none());
        let entry = Arc::new(ClusterEntry {
            cluster,
            assignment: assignment.unwrap_or_default(),
            source: Arc::new(step.source(resource)),
            ignored: parsed.ignored,
        });
        // First the new references, so that what old and new refer to is not dropped in between.
        self.refer(&entry);
        self.refer_to_secrets(&secrets);
        self.stop_warming(step, &resource.name);
        let user = (Kind::Cluster, Arc::clone(&resource.name));
        if !self.demands.wait(&user, &secrets) && wait.is_none() {
            self.activate(step, entry, secrets);
            return Ok(());
        }
        if let Some(timeout) = wait {
            self.endpoints_due.start(&resource.name, timeout);
        }
        let waiting = Waiting { endpoints: wait.is_some(), secrets };
        self.waiting.insert(Arc::clone(&resource.name), waiting);
        self.state().warming.insert_mut(Arc::clone(&resource.name), entry);
        step.touched = true;
        Ok(())
    }

    /// Puts a cluster, whose references are counted, in the place of its predecessor.
    fn activate(&mut self, step: &mut Step, entry: Arc<ClusterEntry>, secrets: Secrets) {
        let name = Arc::clone(&entry.cluster.name);
        let old = self.snapshot.clusters.get(&name).cloned();
        self.state().clusters.insert_mut(Arc::clone(&name), entry);
        if let Some(old) = old {
            self.release(&old);
        }
        self.replace_secrets(step, (Kind::Cluster, Arc::clone(&name)), secrets);
        step.applied.changes.clusters.push(name);
    }

    /// Puts a warming cluster to use if it waits for nothing more.
    pub(super) fn activate_complete(&mut self, step: &mut Step, name: &Arc<str>) {
        let waits = self.waiting.get(name).is_none_or(|waiting| waiting.endpoints);
        if waits || self.demands.is_waiting(&(Kind::Cluster, Arc::clone(name))) {
            return;
        }
        if let Some((entry, secrets)) = self.take_warming(name) {
            self.activate(step, entry, secrets);
        }
    }

    /// Ends a wait; the references are still counted.
    fn take_warming(&mut self, name: &Arc<str>) -> Option<(Arc<ClusterEntry>, Secrets)> {
        let Waiting { endpoints: _, secrets } = self.waiting.remove(name)?;
        self.endpoints_due.stop(name);
        self.demands.stop_waiting(&(Kind::Cluster, Arc::clone(name)), &secrets);
        let entry = self.snapshot.warming.get(name).cloned()?;
        self.state().warming.remove_mut(name);
        Some((entry, secrets))
    }

    fn stop_warming(&mut self, step: &mut Step, name: &Arc<str>) {
        if let Some((entry, secrets)) = self.take_warming(name) {
            self.release(&entry);
            self.release_secrets(step, &secrets);
        }
    }

    fn refer(&mut self, entry: &ClusterEntry) {
        if let Discovery::Eds { service_name, .. } = &entry.cluster.discovery {
            self.services.entry(Arc::clone(service_name)).or_default().push(Arc::clone(&entry.cluster.name));
        }
    }

    /// Takes back what [`Store::refer`] did; endpoints that nobody refers to any more go too.
    fn release(&mut self, entry: &ClusterEntry) {
        let Discovery::Eds { service_name, .. } = &entry.cluster.discovery else { return };
        let Some(clusters) = self.services.get_mut(service_name) else { return };
        if let Some(i) = clusters.iter().position(|name| *name == entry.cluster.name) {
            clusters.swap_remove(i);
        }
        if clusters.is_empty() {
            self.services.remove(service_name);
            self.drop_endpoints(service_name);
        }
    }

    pub(super) fn remove_cluster(&mut self, step: &mut Step, name: &Arc<str>) {
        if self.snapshot.warming.contains_key(name) {
            self.stop_warming(step, name);
            step.touched = true;
        }
        if let Some(old) = self.snapshot.clusters.get(name).cloned() {
            self.state().clusters.remove_mut(name);
            self.release(&old);
            self.replace_secrets(step, (Kind::Cluster, Arc::clone(name)), Box::default());
            step.applied.changes.clusters.push(Arc::clone(name));
        }
    }

    pub(super) fn refresh_cluster(&mut self, name: &Arc<str>, source: Arc<Source>) {
        let refreshed = |entry: &ClusterEntry| {
            Arc::new(ClusterEntry {
                cluster: Arc::clone(&entry.cluster),
                assignment: Arc::clone(&entry.assignment),
                source: Arc::clone(&source),
                ignored: entry.ignored.clone(),
            })
        };
        if let Some(entry) = self.snapshot.warming.get(name).map(|e| refreshed(e)) {
            self.state().warming.insert_mut(Arc::clone(name), entry);
        } else if let Some(entry) = self.snapshot.clusters.get(name).map(|e| refreshed(e)) {
            self.state().clusters.insert_mut(Arc::clone(name), entry);
        }
    }

    /// Gives the clusters that refer to an assignment its new endpoints.
    pub(super) fn join(&mut self, step: &mut Step, service: &Arc<str>, assignment: &Arc<Assignment>) {
        let mut names = self.services.get(service).cloned().unwrap_or_default();
        names.sort_unstable();
        names.dedup();
        for name in names {
            let of_service = |entry: &&Arc<ClusterEntry>| matches!(&entry.cluster.discovery, Discovery::Eds { service_name, .. } if service_name == service);
            if let Some(entry) = self.snapshot.warming.get(&name).filter(of_service) {
                let entry = with_endpoints(entry, assignment);
                self.state().warming.insert_mut(Arc::clone(&name), entry);
                step.touched = true;
                self.stop_awaiting_endpoints(step, &name);
            } else if let Some(entry) = self.snapshot.clusters.get(&name).filter(of_service) {
                let entry = with_endpoints(entry, assignment);
                self.state().clusters.insert_mut(Arc::clone(&name), entry);
                step.applied.changes.clusters.push(name);
            }
        }
    }

    /// The endpoints are there, or will not come.
    fn stop_awaiting_endpoints(&mut self, step: &mut Step, name: &Arc<str>) {
        self.endpoints_due.stop(name);
        if let Some(waiting) = self.waiting.get_mut(name) {
            waiting.endpoints = false;
        }
        self.activate_complete(step, name);
    }

    /// What has waited for its `initial_fetch_timeout` at `now` goes on without: clusters without endpoints, clusters
    /// and listeners without secrets, listeners without routes.
    pub fn expire_warming(&mut self, now: Instant) -> Applied {
        let mut step = Step::new(Kind::Cluster, false, &self.trusts);
        for name in self.endpoints_due.expired(now) {
            tracing::warn!(cluster = %name, "no endpoints came within initial_fetch_timeout");
            self.stop_awaiting_endpoints(&mut step, &name);
        }
        self.expire_secrets(&mut step, now);
        self.expire_routes(&mut step, now);
        self.finish(step)
    }

    /// When [`Store::expire_warming`] has something to do.
    pub fn next_deadline(&self) -> Option<Instant> {
        [self.endpoints_due.next(), self.demands.next_deadline(), self.route_demands.next_deadline()]
            .into_iter()
            .flatten()
            .min()
    }
}

fn with_endpoints(entry: &ClusterEntry, assignment: &Arc<Assignment>) -> Arc<ClusterEntry> {
    Arc::new(ClusterEntry {
        cluster: Arc::clone(&entry.cluster),
        assignment: Arc::clone(assignment),
        source: Arc::clone(&entry.source),
        ignored: entry.ignored.clone(),
    })
}
