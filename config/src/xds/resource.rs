//! Resources as they stand in a response, checked one by one: a bad one is refused, the others are delivered.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use envoy_types::pb::envoy::service::discovery::v3::Resource as Wrapper;
use envoy_types::pb::google::protobuf::Any;
use hashbrown::HashMap;
use prost::Message;

use super::kind_of;
use crate::reject::{FieldPath, Rejection};
use crate::snapshot::Kind;

/// One resource of a response.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) name: Arc<str>,
    pub(crate) version: Arc<str>,
    /// `None`: a heartbeat, which only renews the time to live of the version that we hold.
    pub(crate) body: Option<Bytes>,
    pub(crate) ttl: Option<Duration>,
}

/// A resource that does not get as far as the store.
#[derive(Debug)]
pub(crate) struct Refused {
    pub(crate) name: Arc<str>,
    pub(crate) rejection: Rejection,
}

impl Refused {
    pub(crate) fn new(name: &str, path: &str, reason: impl Into<Box<str>>) -> Self {
        Self { name: name.into(), rejection: Rejection { path: FieldPath(path.into()), reason: reason.into() } }
    }
}

/// The first field of every kind is its name (`ClusterLoadAssignment.cluster_name` included).
#[derive(Clone, PartialEq, Message)]
struct Named {
    #[prost(string, tag = "1")]
    name: String,
}

/// A resource of an incremental response. `index` is its place in the response, for one that has no name.
pub(super) fn incremental(kind: Kind, index: usize, wrapper: Wrapper) -> Result<Entry, Refused> {
    let name = match (wrapper.name, wrapper.resource_name) {
        (name, _) if !name.is_empty() => name,
        (_, Some(located)) if !located.name.is_empty() => located.name,
        _ => return Err(Refused::new(&format!("resources[{index}]"), "name", "is empty")),
    };
    let ttl = ttl(&name, wrapper.ttl)?;
    let body = wrapper.resource.map(|any| body(kind, &name, any)).transpose()?;
    Ok(Entry { name: name.into(), version: wrapper.version.into(), body, ttl })
}

/// A resource of a state-of-the-world response (or of a file): bare, or in an `envoy.service.discovery.v3.Resource`.
pub(crate) fn bundled(kind: Kind, index: usize, any: Any, version: &Arc<str>) -> Result<Entry, Refused> {
    let place = || format!("resources[{index}]");
    if !any.type_url.ends_with("/envoy.service.discovery.v3.Resource") {
        let bytes = body(kind, &place(), any)?;
        let name = name_in(&bytes, &place())?;
        return Ok(Entry { name, version: Arc::clone(version), body: Some(bytes), ttl: None });
    }
    let wrapper = Wrapper::decode(any.value.as_slice()).map_err(|error| undecodable(&place(), &error))?;
    if wrapper.name.is_empty() && wrapper.resource_name.is_none() {
        // The name may stand in the resource alone.
        let inner = wrapper.resource.ok_or_else(|| Refused::new(&place(), "resource", "is missing"))?;
        let bytes = body(kind, &place(), inner)?;
        let name = name_in(&bytes, &place())?;
        let ttl = ttl(&name, wrapper.ttl)?;
        return Ok(Entry { name, version: Arc::clone(version), body: Some(bytes), ttl });
    }
    // The version of a state-of-the-world resource is that of its response.
    incremental(kind, index, wrapper).map(|entry| Entry { version: Arc::clone(version), ..entry })
}

/// Sorts entries from refusals. A name that occurs twice is refused altogether, since neither copy has precedence.
pub(super) fn unique(parsed: impl Iterator<Item = Result<Entry, Refused>>) -> (Vec<Entry>, Vec<Refused>) {
    let mut refused: Vec<Refused> = Vec::new();
    let mut entries: Vec<Entry> = Vec::with_capacity(parsed.size_hint().0);
    let mut seen: HashMap<Arc<str>, u32> = HashMap::with_capacity(parsed.size_hint().0);
    for item in parsed {
        let name = match &item {
            Ok(entry) => &entry.name,
            Err(refusal) => &refusal.name,
        };
        *seen.entry(Arc::clone(name)).or_default() += 1;
        match item {
            Ok(entry) => entries.push(entry),
            Err(refusal) => refused.push(refusal),
        }
    }
    if seen.values().any(|count| *count > 1) {
        entries.retain(|entry| seen.get(&entry.name) == Some(&1));
        refused.retain(|refusal| seen.get(&refusal.name) == Some(&1));
        let mut twice: Vec<_> = seen.into_iter().filter(|(_, count)| *count > 1).map(|(name, _)| name).collect();
        twice.sort_unstable();
        refused.extend(twice.iter().map(|name| Refused::new(name, "name", "occurs twice in one response")));
    }
    (entries, refused)
}

fn body(kind: Kind, name: &str, any: Any) -> Result<Bytes, Refused> {
    if kind_of(&any.type_url) == Some(kind) {
        return Ok(Bytes::from(any.value));
    }
    let reason = format!("is {:?} in a response of {:?}", any.type_url, kind.type_url());
    Err(Refused::new(name, "resource.@type", reason))
}

fn name_in(bytes: &Bytes, place: &str) -> Result<Arc<str>, Refused> {
    let named = Named::decode(bytes.clone()).map_err(|error| undecodable(place, &error))?;
    if named.name.is_empty() { Err(Refused::new(place, "name", "is empty")) } else { Ok(named.name.into()) }
}

fn ttl(name: &str, ttl: Option<envoy_types::pb::google::protobuf::Duration>) -> Result<Option<Duration>, Refused> {
    let Some(ttl) = ttl else { return Ok(None) };
    match (u64::try_from(ttl.seconds), u32::try_from(ttl.nanos)) {
        (Ok(seconds), Ok(nanos)) if nanos < 1_000_000_000 => Ok(Some(Duration::new(seconds, nanos))),
        _ => Err(Refused::new(name, "ttl", "is not a positive duration")),
    }
}

fn undecodable(place: &str, error: &prost::DecodeError) -> Refused {
    Refused::new(place, "", format!("cannot be decoded: {error}"))
}
