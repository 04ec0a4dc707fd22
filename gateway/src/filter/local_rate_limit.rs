//! `envoy.filters.http.local_ratelimit`.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::time::Instant;

use config::model::http_filter::{DescriptorEntry, LocalRateLimit};
use http::header::RETRY_AFTER;
use http::{HeaderName, HeaderValue, Response};
use proxy::metrics::{HttpLocalRateLimitStat as Stat, Scope};
use proxy::report::flow::Flow;
use proxy::report::http::Flag;
use proxy::shared::Shared;

use super::bucket::Bucket;
use super::descriptor::{self, Descriptor};
use super::header_mutation::Adds;
use super::states::State;
use super::{Call, PerRoute as Config, enabled};
use crate::http::body::Body;
use crate::http::reply::Reply;

static LIMIT: HeaderName = HeaderName::from_static("x-ratelimit-limit");
static REMAINING: HeaderName = HeaderName::from_static("x-ratelimit-remaining");
static RESET: HeaderName = HeaderName::from_static("x-ratelimit-reset");
const RESOURCE_EXHAUSTED: u8 = 8;

/// What a route has: a limit with buckets of its own.
pub(super) type PerRoute = Arc<Limit>;

/// A configured limit and its buckets.
#[derive(Debug)]
pub(super) struct Limit {
    config: Arc<LocalRateLimit>,
    /// A route's are made when they are first needed.
    stats: OnceLock<Arc<Scope<Stat>>>,
    buckets: Buckets,
    /// By connection, where each has its own.
    connections: Mutex<HashMap<u64, OfConnection>>,
    request_headers: Adds,
    response_headers: Adds,
}

/// Gone when its connection is.
type OfConnection = (Weak<Flow>, Arc<Buckets>);
type Recent = (Box<[DescriptorEntry]>, Arc<Bucket>);

/// What is told of a bucket with the answer.
#[derive(Debug)]
pub(super) struct Seen {
    limit: u64,
    remaining: u64,
    reset: u64,
}

/// The buckets of a limit.
#[derive(Debug)]
struct Buckets {
    default: Option<Arc<Bucket>>,
    exact: HashMap<Box<[DescriptorEntry]>, Known>,
    wildcards: Box<[Wildcard]>,
}

#[derive(Clone, Debug)]
struct Known {
    bucket: Arc<Bucket>,
    shadow: bool,
}

/// A descriptor with an entry of any value: each has a bucket, the most recent ones are kept.
#[derive(Debug)]
struct Wildcard {
    config: config::model::http_filter::Descriptor,
    most: usize,
    /// The most recent last.
    recent: Mutex<Vec<Recent>>,
}

/// What the buckets say of a request.
struct Verdict {
    allowed: bool,
    shadow: bool,
    bucket: Option<Arc<Bucket>>,
    /// What the descriptor says about headers.
    headers: Option<bool>,
}

impl Limit {
    /// A chain's own, listed from the beginning.
    pub(super) fn counted(config: &Arc<LocalRateLimit>, shared: &Shared) -> Arc<Self> {
        let limit = Self::compile(config);
        limit.stats(shared);
        limit
    }

    fn stats(&self, shared: &Shared) -> &Arc<Scope<Stat>> {
        self.stats.get_or_init(|| shared.registry.http_local_rate_limit(&self.config.stat_prefix))
    }

    pub(super) fn compile(config: &Arc<LocalRateLimit>) -> Arc<Self> {
        Arc::new(Self {
            stats: OnceLock::new(),
            buckets: Buckets::new(config),
            connections: Mutex::default(),
            request_headers: Adds::compile(&config.request_headers),
            response_headers: Adds::compile(&config.response_headers),
            config: Arc::clone(config),
        })
    }

    pub(super) fn request(&self, at: usize, call: &mut Call<'_>) -> Option<Reply> {
        let own = call.route.specific(at, |config| match config {
            Config::LocalRateLimit(limit) => Some(limit),
            _ => None,
        });
        own.map_or(self, |limit| limit).apply(at, call)
    }

    fn apply(&self, at: usize, call: &mut Call<'_>) -> Option<Reply> {
        let holds = |fraction: &Option<_>| fraction.as_ref().is_some_and(|fraction| enabled(fraction, call.shared));
        if !holds(&self.config.enabled) {
            return None;
        }
        let stats = Arc::clone(self.stats(call.shared));
        stats.inc(Stat::Enabled);
        let descriptors =
            if self.config.descriptors.is_empty() { Vec::new() } else { descriptor::all(&self.config, call) };
        let now = Instant::now();
        let verdict = match self.config.per_connection {
            false => self.buckets.take(&descriptors, self.config.always_consume_default, now),
            true => {
                let buckets = self.of_connection(&call.flow.connection);
                buckets.take(&descriptors, self.config.always_consume_default, now)
            }
        };
        let seen = verdict.bucket.as_ref().map(|bucket| Seen {
            limit: bucket.max(),
            remaining: bucket.remaining(now),
            reset: bucket.reset_seconds(now),
        });
        let reset = seen.as_ref().map(|seen| seen.reset);
        if let Some(seen) = seen
            && verdict.headers.unwrap_or(self.config.headers)
        {
            call.states.put(at, State::Limited(seen));
        }
        if verdict.allowed {
            stats.inc(Stat::Ok);
            return None;
        }
        stats.inc(Stat::RateLimited);
        if verdict.shadow {
            stats.inc(Stat::ShadowMode);
            return None;
        }
        if !holds(&self.config.enforced) {
            self.request_headers.apply_to_request(call.flow);
            return None;
        }
        stats.inc(Stat::Enforced);
        Some(self.refusal(call, reset))
    }

    fn refusal(&self, call: &Call<'_>, reset: Option<u64>) -> Reply {
        let reply = Reply::new(self.config.status, "local_rate_limited").body("local_rate_limited");
        let mut reply = reply.flag(Flag::RateLimited);
        if let Some(reset) = reset.filter(|_| self.config.retry_after) {
            reply.headers.insert(RETRY_AFTER, HeaderValue::from(reset));
        }
        self.response_headers.apply(&mut reply.headers, call.flow);
        if self.config.resource_exhausted { reply.grpc(RESOURCE_EXHAUSTED) } else { reply }
    }

    fn of_connection(&self, flow: &Arc<Flow>) -> Arc<Buckets> {
        /// From how many on those of connections that are gone are looked for.
        const PURGE: usize = 64;
        let mut connections = self.connections.lock().unwrap_or_else(PoisonError::into_inner);
        if connections.len() >= PURGE && connections.len().is_power_of_two() {
            connections.retain(|_, (flow, _)| flow.strong_count() > 0);
        }
        let new = || (Arc::downgrade(flow), Arc::new(Buckets::new(&self.config)));
        Arc::clone(&connections.entry(flow.id).or_insert_with(new).1)
    }
}

impl Buckets {
    fn new(config: &LocalRateLimit) -> Self {
        let (wildcards, exact): (Vec<_>, Vec<_>) =
            config.descriptors.iter().partition(|d| d.entries.iter().any(|entry| entry.value.is_empty()));
        let known = |d: &config::model::http_filter::Descriptor| Known {
            bucket: Arc::new(Bucket::new(&d.bucket)),
            shadow: d.shadow,
        };
        let most = usize::try_from(config.max_dynamic).unwrap_or(usize::MAX);
        let wildcard =
            |d: &config::model::http_filter::Descriptor| Wildcard { config: d.clone(), most, recent: Mutex::default() };
        Self {
            default: config.bucket.as_ref().map(|bucket| Arc::new(Bucket::new(bucket))),
            exact: exact.into_iter().map(|d| (d.entries.clone(), known(d))).collect(),
            wildcards: wildcards.into_iter().map(wildcard).collect(),
        }
    }

    fn find(&self, entries: &[DescriptorEntry]) -> Option<Known> {
        if let Some(known) = self.exact.get(entries) {
            return Some(known.clone());
        }
        self.wildcards.iter().find_map(|wildcard| wildcard.bucket(entries))
    }

    /// Takes a token of each bucket that a descriptor has, the slowest first, and of the default one.
    fn take(&self, descriptors: &[Descriptor], always_default: bool, now: Instant) -> Verdict {
        let found = |d: &Descriptor| self.find(&d.entries).map(|known| (known, d.hits, d.headers));
        let mut matched: Vec<_> = descriptors.iter().filter_map(found).collect();
        matched.sort_by(|(a, ..), (b, ..)| a.bucket.rate().total_cmp(&b.bucket.rate()));
        for (known, hits, headers) in &matched {
            if !known.bucket.take(*hits, now) {
                let bucket = Some(Arc::clone(&known.bucket));
                return Verdict { allowed: false, shadow: known.shadow, bucket, headers: *headers };
            }
        }
        let first = matched.into_iter().next();
        if let Some(default) = self.default.as_ref().filter(|_| first.is_none() || always_default)
            && !default.take(1.0, now)
        {
            return Verdict { allowed: false, shadow: false, bucket: Some(Arc::clone(default)), headers: None };
        }
        match first {
            Some((known, _, headers)) => {
                Verdict { allowed: true, shadow: known.shadow, bucket: Some(known.bucket), headers }
            }
            None => Verdict { allowed: true, shadow: false, bucket: self.default.clone(), headers: None },
        }
    }
}

impl Wildcard {
    fn bucket(&self, entries: &[DescriptorEntry]) -> Option<Known> {
        let fits = |(wanted, have): (&DescriptorEntry, &DescriptorEntry)| {
            wanted.key == have.key && (wanted.value.is_empty() || wanted.value == have.value)
        };
        let all = &self.config.entries;
        if all.len() != entries.len() || !all.iter().zip(entries).all(fits) {
            return None;
        }
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        let found = recent.iter().position(|(known, _)| **known == *entries);
        let entry = match found {
            Some(at) => recent.remove(at),
            None => {
                if recent.len() >= self.most {
                    recent.remove(0);
                }
                (entries.into(), Arc::new(Bucket::new(&self.config.bucket)))
            }
        };
        let bucket = Arc::clone(&entry.1);
        recent.push(entry);
        Some(Known { bucket, shadow: self.config.shadow })
    }
}

/// Tells what is left.
pub(super) fn response(at: usize, call: &mut Call<'_>, response: &mut Response<Body>) {
    let Some(State::Limited(Seen { limit, remaining, reset })) = call.states.get(at) else { return };
    let headers = response.headers_mut();
    headers.append(LIMIT.clone(), HeaderValue::from(*limit));
    headers.append(REMAINING.clone(), HeaderValue::from(*remaining));
    headers.append(RESET.clone(), HeaderValue::from(*reset));
}
