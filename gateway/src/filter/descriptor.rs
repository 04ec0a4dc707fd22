//! The descriptors of a request, by which its rate is limited.

use std::net::IpAddr;
use std::sync::Arc;

use config::model::http_filter::{
    DescriptorEntry, LocalRateLimit, MetadataEntry, MetadataFrom, RateLimit, RateLimitAction, VirtualHostLimits,
};
use config::model::metadata::Value;
use config::model::route::{QueryMatch, QueryTest, Substitution};
use proxy::report::http::joined;

use super::Call;
use super::header_mutation::text;

/// A descriptor of a request.
#[derive(Debug)]
pub(super) struct Descriptor {
    pub(super) entries: Box<[DescriptorEntry]>,
    /// Tokens that it takes.
    pub(super) hits: f64,
    /// Whether headers tell of it; `None`: as the filter says.
    pub(super) headers: Option<bool>,
}

/// What an action gives.
enum Entry {
    Is(DescriptorEntry),
    /// None, and that is no matter.
    Skipped,
    /// None, and so there is no descriptor.
    Missing,
}

/// By the filter's own rate limits, else by those of the route and of its virtual host.
pub(super) fn all(limit: &LocalRateLimit, call: &Call<'_>) -> Vec<Descriptor> {
    let route = &call.route;
    let (own, host): (&[RateLimit], &[RateLimit]) = match (&limit.rate_limits, limit.virtual_host_limits) {
        (own, _) if !own.is_empty() => (own, &[]),
        _ if route.cluster.is_none() => (&[], &[]),
        _ if route.include_host_rate_limits => (route.rate_limits, route.host_rate_limits),
        (_, VirtualHostLimits::Include) => (route.rate_limits, route.host_rate_limits),
        (_, VirtualHostLimits::Override) if route.rate_limits.is_empty() => (&[], route.host_rate_limits),
        (_, VirtualHostLimits::Override | VirtualHostLimits::Ignore) => (route.rate_limits, &[]),
    };
    let of_filter = !limit.rate_limits.is_empty();
    let applies = |rate: &&RateLimit| of_filter || (rate.stage == limit.stage && !rate.has_disable_key);
    own.iter().chain(host).filter(applies).filter_map(|rate| descriptor(rate, call)).collect()
}

fn descriptor(rate: &RateLimit, call: &Call<'_>) -> Option<Descriptor> {
    let mut entries = Vec::with_capacity(rate.actions.len());
    for action in &rate.actions {
        match entry(action, call) {
            Entry::Is(entry) => entries.push(entry),
            Entry::Skipped => {}
            Entry::Missing => return None,
        }
    }
    #[expect(clippy::cast_precision_loss, reason = "at most 1,000,000,000")]
    let hits = rate.hits.map_or(1.0, |hits| hits as f64);
    (!entries.is_empty()).then(|| Descriptor { entries: entries.into(), hits, headers: rate.headers })
}

fn is(key: &Arc<str>, value: impl Into<Arc<str>>) -> Entry {
    Entry::Is(DescriptorEntry { key: Arc::clone(key), value: value.into() })
}

fn absent(skip: bool) -> Entry {
    if skip { Entry::Skipped } else { Entry::Missing }
}

/// A formatted value, or its default; an empty one is none.
fn formatted(key: &Arc<str>, value: &Substitution, default: &Arc<str>, call: &Call<'_>) -> Entry {
    match text(value, call.flow) {
        text if !text.is_empty() => is(key, text),
        _ if !default.is_empty() => is(key, Arc::clone(default)),
        _ => Entry::Missing,
    }
}

fn entry(action: &RateLimitAction, call: &Call<'_>) -> Entry {
    let head = &call.flow.request;
    let remote = || call.flow.remote().map(|remote| remote.ip());
    match action {
        RateLimitAction::SourceCluster => is(&"source_cluster".into(), call.shared.node().cluster),
        RateLimitAction::DestinationCluster => is(&"destination_cluster".into(), call.route.cluster.unwrap_or("")),
        RateLimitAction::Header { name, key, skip_if_absent } => match joined(&head.headers, name.as_str()) {
            Some(value) => is(key, String::from_utf8_lossy(&value)),
            None => absent(*skip_if_absent),
        },
        RateLimitAction::Query { name, key, skip_if_absent } => match query(head.path.query(), name) {
            Some(value) => is(key, value),
            None => absent(*skip_if_absent),
        },
        RateLimitAction::RemoteAddress => match remote() {
            Some(ip) => is(&"remote_address".into(), ip.to_canonical().to_string()),
            None => Entry::Missing,
        },
        RateLimitAction::MaskedRemoteAddress(mask) => match remote().map(|ip| ip.to_canonical()) {
            Some(ip) => is(&"masked_remote_address".into(), masked(ip, mask.v4, mask.v6)),
            None => Entry::Missing,
        },
        RateLimitAction::Fixed { key, value, default } => formatted(key, value, default, call),
        RateLimitAction::Headers { key, value, default, headers, expect } => {
            match headers.iter().all(|header| head.holds(header)) == *expect {
                true => formatted(key, value, default, call),
                false => Entry::Missing,
            }
        }
        RateLimitAction::Queries { key, value, default, queries, expect } => {
            match queries.iter().all(|one| query_holds(one, head.path.query())) == *expect {
                true => formatted(key, value, default, call),
                false => Entry::Missing,
            }
        }
        RateLimitAction::RemoteAddressMatch { key, value, default, ranges, invert } => {
            let ip = remote().map(|ip| ip.to_canonical());
            match ip.is_some_and(|ip| ranges.iter().any(|range| range.contains(ip)) != *invert) {
                true => formatted(key, value, default, call),
                false => Entry::Missing,
            }
        }
        RateLimitAction::Metadata(entry) => metadata(entry, call),
    }
}

fn metadata(entry: &MetadataEntry, call: &Call<'_>) -> Entry {
    let fields = match entry.from {
        MetadataFrom::Dynamic => call.flow.metadata.namespace(&entry.namespace),
        MetadataFrom::Route => call.route.metadata.map_or(&[][..], |metadata| metadata.namespace(&entry.namespace)),
    };
    match find(fields, &entry.path) {
        Some(Value::String(text)) if !text.is_empty() => is(&entry.key, Arc::clone(text)),
        _ if !entry.default.is_empty() => is(&entry.key, Arc::clone(&entry.default)),
        _ => absent(entry.skip_if_absent),
    }
}

fn find<'a>(fields: &'a [(Arc<str>, Value)], path: &[Box<str>]) -> Option<&'a Value> {
    let (first, rest) = path.split_first()?;
    let (_, value) = fields.iter().find(|(key, _)| **key == **first)?;
    match (value, rest) {
        (value, []) => Some(value),
        (Value::Struct(fields), rest) => find(fields, rest),
        _ => None,
    }
}

/// The first value of a parameter, as it stands.
pub(super) fn query<'a>(query: Option<&'a str>, name: &str) -> Option<&'a str> {
    let pairs = query?.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    pairs.into_iter().find(|(known, _)| *known == name).map(|(_, value)| value)
}

fn query_holds(QueryMatch { name, test }: &QueryMatch, text: Option<&str>) -> bool {
    match (test, query(text, name)) {
        (QueryTest::Present(wanted), value) => value.is_some() == *wanted,
        (QueryTest::Text(text), Some(value)) => text.matches(value.as_bytes()),
        (QueryTest::Text(_), None) => false,
    }
}

/// `10.0.0.0/8`
fn masked(ip: IpAddr, v4: u8, v6: u8) -> String {
    match ip {
        IpAddr::V4(ip) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(v4)).unwrap_or(0);
            format!("{}/{v4}", std::net::Ipv4Addr::from(u32::from(ip) & mask))
        }
        IpAddr::V6(ip) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(v6)).unwrap_or(0);
            format!("{}/{v6}", std::net::Ipv6Addr::from(u128::from(ip) & mask))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_masked_and_parameters_found() {
        let v4 = |mask| masked("10.1.2.3".parse().unwrap_or(IpAddr::from([0; 4])), mask, 0);
        assert_eq!([v4(8), v4(0), v4(32)], ["10.0.0.0/8", "0.0.0.0/0", "10.1.2.3/32"]);
        assert_eq!(masked(IpAddr::from([0xfd00, 1, 2, 3, 4, 5, 6, 7]), 0, 32), "fd00:1::/32");
        assert_eq!((query(Some("a=1&b"), "b"), query(Some("a=1"), "c"), query(None, "a")), (Some(""), None, None));
    }
}
