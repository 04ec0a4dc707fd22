//! Clusters: active when their endpoints are known, warming until then.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Applied, Asked, Resource, Step, Store, check_name, parse};
use crate::model::cluster::Discovery;
use crate::model::endpoint::Assignment;
use crate::reject::Rejection;
use crate::snapshot::{ClusterEntry, Kind, Source};

impl Store {
    pub(super) fn upsert_cluster(&mut self, step: &mut Step, resource: &Resource) -> Result<(), Rejection> {
        let parsed = parse::cluster_with(&mut step.shared.interner, &resource.body)?;
        check_name(resource, &parsed.value.name)?;
        let known = self.snapshot.warming.get(&resource.name).or_else(|| self.snapshot.clusters.get(&resource.name));
        step.report.ignored(&resource.name, &parsed.ignored, known.map_or(&[], |entry| &*entry.ignored));
        if !self.snapshot.control_planes.contains(&resource.name) {
            step.report.unsupported(&resource.name, &parsed.unsupported);
        }
        self.ask(Kind::Cluster, &resource.name, Asked { routes: Vec::new(), secrets: parsed.names.secrets });

        let cluster = Arc::new(parsed.value);
        let (assignment, wait) = match &cluster.discovery {
            Discovery::Static(assignment) | Discovery::Dns { assignment, .. } => (Some(Arc::clone(assignment)), None),
            Discovery::Eds { service_name, initial_fetch_timeout } => {
                (self.assignments.get(service_name).cloned(), Some(*initial_fetch_timeout))
            }
        };
        let active = assignment.is_some();
        let entry = Arc::new(ClusterEntry {
            cluster,
            assignment: assignment.unwrap_or_default(),
            source: Arc::new(step.source(resource)),
            ignored: parsed.ignored,
        });
        match wait {
            Some(timeout) if !active => self.warm(step, entry, timeout),
            _ => self.activate(&mut step.applied, entry),
        }
        Ok(())
    }

    /// Puts a cluster to use, in the place of its predecessors.
    fn activate(&mut self, applied: &mut Applied, entry: Arc<ClusterEntry>) {
        let name = Arc::clone(&entry.cluster.name);
        // First the new reference, so that an assignment both refer to is not dropped in between.
        self.refer(&entry);
        self.stop_warming(&name);
        let old = self.snapshot.clusters.get(&name).cloned();
        self.state().clusters.insert_mut(Arc::clone(&name), entry);
        if let Some(old) = old {
            self.release(&old);
        }
        applied.changes.clusters.push(name);
    }

    /// Lets a cluster wait for its endpoints; its predecessor stays in use.
    fn warm(&mut self, step: &mut Step, entry: Arc<ClusterEntry>, timeout: Duration) {
        let name = Arc::clone(&entry.cluster.name);
        self.refer(&entry);
        self.stop_warming(&name);
        self.warming.start(&name, timeout);
        self.state().warming.insert_mut(name, entry);
        step.touched = true;
    }

    fn stop_warming(&mut self, name: &Arc<str>) {
        let Some(entry) = self.snapshot.warming.get(name).cloned() else { return };
        self.warming.stop(name);
        self.state().warming.remove_mut(name);
        self.release(&entry);
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
        self.asked.remove(&(Kind::Cluster, Arc::clone(name)));
        if self.snapshot.warming.contains_key(name) {
            self.stop_warming(name);
            step.touched = true;
        }
        if let Some(old) = self.snapshot.clusters.get(name).cloned() {
            self.state().clusters.remove_mut(name);
            self.release(&old);
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
                self.activate(&mut step.applied, entry);
            } else if let Some(entry) = self.snapshot.clusters.get(&name).filter(of_service) {
                let entry = with_endpoints(entry, assignment);
                self.state().clusters.insert_mut(Arc::clone(&name), entry);
                step.applied.changes.clusters.push(name);
            }
        }
    }

    /// Puts clusters whose `initial_fetch_timeout` is over at `now` to use, without endpoints.
    pub fn expire_warming(&mut self, now: Instant) -> Applied {
        let mut step = Step::new(Kind::Cluster, false);
        for name in self.warming.expired(now) {
            let Some(entry) = self.snapshot.warming.get(&name).cloned() else { continue };
            tracing::warn!(cluster = %name, "no endpoints came within initial_fetch_timeout; in use without any");
            self.activate(&mut step.applied, entry);
        }
        self.finish(step)
    }

    /// When [`Store::expire_warming`] has something to do.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.warming.next()
    }

    /// Notes what a resource asks of RDS and SDS.
    pub(super) fn ask(&mut self, kind: Kind, name: &Arc<str>, asked: Asked) {
        let key = (kind, Arc::clone(name));
        if asked.routes.is_empty() && asked.secrets.is_empty() {
            self.asked.remove(&key);
        } else {
            self.asked.insert(key, asked);
        }
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
