//! Subsets of hosts by metadata (`lb_subset_config`; Envoy: `SubsetLoadBalancer`).

use std::hash::{BuildHasher, Hash, Hasher};
use std::sync::Arc;

use config::model::cluster::{SubsetFallback, SubsetSelector, Subsets};
use config::model::metadata::{Metadata, Value};
use hashbrown::{HashMap, HashTable};

use super::cluster::Pick;
use super::host::Host;
use super::pool::{Group, Picked, Pool, Rules};

type Field = (Arc<str>, Value);

/// The subsets of one cluster.
#[derive(Debug, Default)]
pub(super) struct Index {
    hasher: foldhash::fast::RandomState,
    subsets: HashTable<Subset>,
    /// Hosts of `default_subset`, where some fallback asks for them.
    default: Option<Box<Pool>>,
}

#[derive(Debug)]
struct Subset {
    /// Sorted by key.
    fields: Box<[Field]>,
    hosts: Members,
}

#[derive(Debug)]
enum Members {
    /// `single_host_per_subset`: the first host of the highest priority that has one, whatever its health.
    Single(Arc<Host>),
    Pool(Pool),
}

/// A subset while its hosts are collected, by group.
struct Found {
    single: bool,
    hosts: Vec<Vec<Arc<Host>>>,
}

/// Which way a choice went, for the statistics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// A subset was found.
    Selected,
    /// A selector's own fallback; Envoy counts nothing for it.
    SelectorFallback,
    /// The cluster's fallback.
    Fallback,
    /// `panic_mode_any`.
    FallbackPanic,
    /// No way led to hosts.
    None,
}

/// How a choice in a subset index is made: the index, its settings, and the pool of all hosts.
#[derive(Clone, Copy)]
pub(super) struct Chooser<'a> {
    /// The index.
    pub(super) index: &'a Index,
    /// Its settings.
    pub(super) settings: &'a Subsets,
    /// All hosts.
    pub(super) any: &'a Pool,
    /// The policy.
    pub(super) cluster: &'a config::model::cluster::Cluster,
}

impl Chooser<'_> {
    /// Chooses a host for the route's metadata.
    pub(super) fn pick(self, pick: &Pick<'_>) -> (Picked, Way) {
        self.pick_fields(pick.metadata_match.map_or(&[], |f| f), pick)
    }

    fn pick_fields(self, fields: &[Field], pick: &Pick<'_>) -> (Picked, Way) {
        if let Some(subset) = self.index.find(fields) {
            let picked = match &subset.hosts {
                Members::Single(host) => Picked { host: Some(Arc::clone(host)), ..Picked::default() },
                Members::Pool(pool) => pool.pick(self.cluster, pick),
            };
            return (picked, Way::Selected);
        }
        let selector = self.settings.selectors.iter().find(|s| same_keys(s, fields));
        match selector.and_then(|s| s.fallback.map(|fallback| (s, fallback))) {
            Some((_, SubsetFallback::AnyEndpoint)) => (self.any.pick(self.cluster, pick), Way::SelectorFallback),
            Some((_, SubsetFallback::DefaultSubset)) => (self.pick_default(pick), Way::SelectorFallback),
            Some((selector, SubsetFallback::KeysSubset)) => self.pick_fewer(selector, fields, pick),
            Some((_, SubsetFallback::NoFallback)) => (Picked::default(), Way::None),
            None => self.fall_back(pick),
        }
    }

    /// The same again with the selector's `fallback_keys_subset`.
    fn pick_fewer(self, selector: &SubsetSelector, fields: &[Field], pick: &Pick<'_>) -> (Picked, Way) {
        let fewer: Vec<Field> =
            fields.iter().filter(|(key, _)| selector.fallback_keys.contains(key)).cloned().collect();
        if fewer.len() < fields.len() {
            self.pick_fields(&fewer, pick)
        } else {
            // Envoy refuses such a configuration; going on would never end.
            (Picked::default(), Way::None)
        }
    }

    fn fall_back(self, pick: &Pick<'_>) -> (Picked, Way) {
        let picked = match self.settings.fallback {
            SubsetFallback::NoFallback | SubsetFallback::KeysSubset => return (Picked::default(), Way::None),
            SubsetFallback::AnyEndpoint => self.any.pick(self.cluster, pick),
            SubsetFallback::DefaultSubset => self.pick_default(pick),
        };
        if picked.host.is_none() && self.settings.panic_mode_any {
            return (self.any.pick(self.cluster, pick), Way::FallbackPanic);
        }
        (picked, Way::Fallback)
    }

    fn pick_default(self, pick: &Pick<'_>) -> Picked {
        self.index.default.as_ref().map(|pool| pool.pick(self.cluster, pick)).unwrap_or_default()
    }
}

fn same_keys(selector: &SubsetSelector, fields: &[Field]) -> bool {
    selector.keys.len() == fields.len() && selector.keys.iter().zip(fields).all(|(key, field)| *key == field.0)
}

impl Index {
    /// Divides the hosts.
    pub(super) fn new(groups: &[Group], settings: &Subsets, rules: Rules<'_>) -> Self {
        let mut members: HashMap<Vec<HashField>, Found> = HashMap::new();
        for (at, group) in groups.iter().enumerate() {
            for host in &group.hosts {
                for (position, selector) in settings.selectors.iter().enumerate() {
                    if settings.selectors[..position].iter().any(|s| s.keys == selector.keys) {
                        continue;
                    }
                    for fields in matches(selector, host, settings.list_as_any) {
                        let slot = members.entry(fields.into_iter().map(HashField).collect()).or_insert_with(|| {
                            Found { single: selector.single_host, hosts: vec![Vec::new(); groups.len()] }
                        });
                        if !slot.hosts[at].iter().any(|h| Arc::ptr_eq(h, host)) {
                            slot.hosts[at].push(Arc::clone(host));
                        }
                    }
                }
            }
        }
        let mut index = Self::default();
        for (fields, Found { single, hosts }) in members {
            let groups = narrow(groups, hosts, settings);
            let first =
                groups.iter().filter(|g| !g.hosts.is_empty()).min_by_key(|g| g.priority).and_then(|g| g.hosts.first());
            let hosts = match first {
                Some(host) if single => Members::Single(Arc::clone(host)),
                _ => Members::Pool(Pool::new(&groups, rules)),
            };
            index.insert(Subset { fields: fields.into_iter().map(|f| f.0).collect(), hosts });
        }
        index.default = wants_default(settings).then(|| {
            let hosts = groups.iter().map(|g| g.hosts.iter().filter(|h| is_default(h, settings)).cloned().collect());
            Box::new(Pool::new(&narrow(groups, hosts.collect(), settings), rules))
        });
        index
    }

    /// How many subsets have hosts.
    pub(super) fn len(&self) -> usize {
        self.subsets.len()
    }

    fn insert(&mut self, subset: Subset) {
        let hash = hash_fields(&self.hasher, &subset.fields);
        let hasher = &self.hasher;
        self.subsets.insert_unique(hash, subset, |s| hash_fields(hasher, &s.fields));
    }

    fn find(&self, fields: &[Field]) -> Option<&Subset> {
        if fields.is_empty() {
            return None;
        }
        self.subsets.find(hash_fields(&self.hasher, fields), |s| *s.fields == *fields)
    }
}

/// The groups with fewer hosts.
fn narrow(groups: &[Group], hosts: Vec<Vec<Arc<Host>>>, settings: &Subsets) -> Vec<Group> {
    let scale = |group: &Group, left: usize| match group.weight {
        Some(weight) if settings.scale_locality_weight && !group.hosts.is_empty() => {
            Some((f64::from(weight) * left as f64 / group.hosts.len() as f64).round() as u32)
        }
        weight => weight,
    };
    groups
        .iter()
        .zip(hosts)
        .map(|(group, hosts)| Group {
            priority: group.priority,
            locality: Arc::clone(&group.locality),
            weight: scale(group, hosts.len()),
            hosts,
        })
        .collect()
}

fn wants_default(settings: &Subsets) -> bool {
    settings.fallback == SubsetFallback::DefaultSubset
        || settings.selectors.iter().any(|s| s.fallback == Some(SubsetFallback::DefaultSubset))
}

fn is_default(host: &Host, settings: &Subsets) -> bool {
    let detail = host.detail();
    let fields = detail.metadata.as_ref().map(|m| m.namespace(Metadata::LB)).unwrap_or_default();
    settings.default_subset.iter().all(|(key, wanted)| match find(fields, key) {
        Some(Value::List(list)) if settings.list_as_any => list.contains(wanted),
        Some(value) => value == wanted,
        None => false,
    })
}

/// The values a host has for all of a selector's keys: none, one set, or with `list_as_any` one for each combination.
fn matches(selector: &SubsetSelector, host: &Host, list_as_any: bool) -> Vec<Vec<Field>> {
    let detail = host.detail();
    let fields = detail.metadata.as_ref().map(|m| m.namespace(Metadata::LB)).unwrap_or_default();
    let mut sets = vec![Vec::new()];
    for key in &selector.keys {
        let values = match find(fields, key) {
            None => return Vec::new(),
            Some(Value::List(list)) if list_as_any => &**list,
            Some(value) => std::slice::from_ref(value),
        };
        sets = sets
            .iter()
            .flat_map(|set: &Vec<Field>| {
                values.iter().map(move |value| {
                    let mut set = set.clone();
                    set.push((Arc::clone(key), value.clone()));
                    set
                })
            })
            .collect();
    }
    sets.retain(|set| !set.is_empty());
    sets
}

fn find<'a>(fields: &'a [Field], key: &str) -> Option<&'a Value> {
    let at = fields.binary_search_by(|(k, _)| k.as_ref().cmp(key)).ok()?;
    fields.get(at).map(|(_, value)| value)
}

/// A field as a key while subsets are collected. JSON knows no NaN, so equality is total here.
#[derive(PartialEq)]
struct HashField(Field);

impl Eq for HashField {}

impl Hash for HashField {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.0.hash(state);
        hash_value(&self.0.1, state);
    }
}

fn hash_fields(build: &impl BuildHasher, fields: &[Field]) -> u64 {
    let mut state = build.build_hasher();
    for (key, value) in fields {
        key.hash(&mut state);
        hash_value(value, &mut state);
    }
    state.finish()
}

fn hash_value<H: Hasher>(value: &Value, state: &mut H) {
    std::mem::discriminant(value).hash(state);
    match value {
        Value::Null => {}
        Value::Bool(b) => b.hash(state),
        // -0.0 equals 0.0 and must hash alike.
        Value::Number(n) => (n + 0.0).to_bits().hash(state),
        Value::String(s) => s.hash(state),
        Value::List(list) => list.iter().for_each(|v| hash_value(v, state)),
        Value::Struct(fields) => fields.iter().for_each(|(key, value)| {
            key.hash(state);
            hash_value(value, state);
        }),
    }
}

#[cfg(test)]
#[path = "subset_tests.rs"]
mod tests;
