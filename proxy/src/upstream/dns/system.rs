//! The system's resolver: `/etc/resolv.conf` and `/etc/hosts`, read once when first needed.

use std::net::IpAddr;
use std::sync::OnceLock;
use std::time::Duration;

use config::model::cluster::DnsFamily;
use hickory_resolver::TokioResolver;
use hickory_resolver::config::ResolveHosts;
use hickory_resolver::net::NetError;
use hickory_resolver::proto::rr::{RData, RecordType};

use super::{Answer, Query, Resolve, ResolveError};

/// Resolves by the system's settings, without a cache of its own: how often to ask is the cluster's business.
#[derive(Default)]
pub struct System {
    resolver: OnceLock<TokioResolver>,
}

impl std::fmt::Debug for System {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("System")
    }
}

impl Resolve for System {
    fn resolve<'a>(&'a self, name: &'a str, family: DnsFamily) -> Query<'a> {
        Box::pin(async move {
            let resolver = self.resolver()?;
            match family {
                DnsFamily::V4Only => lookup(resolver, name, RecordType::A).await,
                DnsFamily::V6Only => lookup(resolver, name, RecordType::AAAA).await,
                DnsFamily::V4Preferred => first(resolver, name, [RecordType::A, RecordType::AAAA]).await,
                DnsFamily::Auto => first(resolver, name, [RecordType::AAAA, RecordType::A]).await,
                DnsFamily::All => both(resolver, name).await,
            }
        })
    }
}

impl System {
    /// Made on first use, and again as long as the settings can't be read.
    fn resolver(&self) -> Result<&TokioResolver, ResolveError> {
        if let Some(resolver) = self.resolver.get() {
            return Ok(resolver);
        }
        let mut builder = TokioResolver::builder_tokio().map_err(|e| refusal(&e))?;
        let options = builder.options_mut();
        options.cache_size = 0;
        options.use_hosts_file = ResolveHosts::Always;
        let resolver = builder.build().map_err(|e| refusal(&e))?;
        Ok(self.resolver.get_or_init(|| resolver))
    }
}

fn refusal(error: &NetError) -> ResolveError {
    ResolveError(error.to_string())
}

async fn lookup(resolver: &TokioResolver, name: &str, kind: RecordType) -> Result<Answer, ResolveError> {
    let found = match resolver.lookup(name, kind).await {
        Ok(found) => found,
        Err(error) if error.is_no_records_found() => return Ok(Answer::default()),
        Err(error) => return Err(refusal(&error)),
    };
    let mut answer = Answer::default();
    let mut ttl = None;
    for record in found.answers() {
        let address: IpAddr = match &record.data {
            RData::A(a) => a.0.into(),
            RData::AAAA(a) => a.0.into(),
            _ => continue,
        };
        answer.addresses.push(address);
        ttl = Some(ttl.map_or(record.ttl, |least: u32| least.min(record.ttl)));
    }
    answer.ttl = Duration::from_secs(u64::from(ttl.unwrap_or_default()));
    Ok(answer)
}

/// The first kind that has addresses. That there are none is known only when neither query failed.
async fn first(resolver: &TokioResolver, name: &str, kinds: [RecordType; 2]) -> Result<Answer, ResolveError> {
    let preferred = lookup(resolver, name, kinds[0]).await;
    match preferred {
        Ok(answer) if !answer.addresses.is_empty() => return Ok(answer),
        _ => {}
    }
    let other = lookup(resolver, name, kinds[1]).await?;
    if other.addresses.is_empty() { preferred } else { Ok(other) }
}

async fn both(resolver: &TokioResolver, name: &str) -> Result<Answer, ResolveError> {
    let (v4, v6) = tokio::join!(lookup(resolver, name, RecordType::A), lookup(resolver, name, RecordType::AAAA));
    match (v4, v6) {
        (Ok(mut all), Ok(v6)) => {
            all.ttl = match (all.addresses.is_empty(), v6.addresses.is_empty()) {
                (false, false) => all.ttl.min(v6.ttl),
                (true, _) => v6.ttl,
                (_, true) => all.ttl,
            };
            all.addresses.extend(v6.addresses);
            Ok(all)
        }
        (Ok(one), Err(error)) | (Err(error), Ok(one)) => {
            if one.addresses.is_empty() {
                Err(error)
            } else {
                Ok(one)
            }
        }
        (Err(error), Err(_)) => Err(error),
    }
}
