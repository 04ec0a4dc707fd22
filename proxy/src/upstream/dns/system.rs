//! The system's resolver: `/etc/resolv.conf` and `/etc/hosts`, read when first needed and again when they changed.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use config::model::cluster::DnsFamily;
use hickory_resolver::TokioResolver;
use hickory_resolver::config::{ResolveHosts, ResolverConfig, ResolverOpts};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::op::ResponseCode;
use hickory_resolver::proto::rr::{RData, RecordType};

use super::{Answer, Query, Resolve, ResolveError};

/// What the system's settings are made of.
const FILES: [&str; 2] = ["/etc/resolv.conf", "/etc/hosts"];
/// hickory's greatest time to live, in seconds: it is also that of `/etc/hosts`, which can change at any time.
const FOREVER: u32 = 86_400;

/// Resolves by the system's settings, or by given ones. It has no cache: how often to ask is the cluster's business.
#[derive(Default)]
pub struct System {
    settings: Option<Box<(ResolverConfig, ResolverOpts)>>,
    made: Mutex<Option<(Stamp, Arc<TokioResolver>)>>,
}

/// When the files of the system's settings were last changed.
type Stamp = [Option<SystemTime>; 2];

impl std::fmt::Debug for System {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("System")
    }
}

impl Resolve for System {
    fn resolve<'a>(&'a self, name: &'a str, family: DnsFamily) -> Query<'a> {
        Box::pin(async move {
            let resolver = &*self.resolver()?;
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
    /// Asks the name servers of `config` instead of the system's.
    pub fn with_settings(config: ResolverConfig, options: ResolverOpts) -> Self {
        Self { settings: Some(Box::new((config, options))), made: Mutex::default() }
    }

    /// Made on first use, and again when the settings changed or could not be read.
    fn resolver(&self) -> Result<Arc<TokioResolver>, ResolveError> {
        let stamp = match self.settings {
            Some(_) => Stamp::default(),
            None => FILES.map(changed),
        };
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((of, resolver)) = &*made
            && *of == stamp
        {
            return Ok(Arc::clone(resolver));
        }
        let mut builder = match self.settings.as_deref() {
            Some((config, options)) => {
                TokioResolver::builder_with_config(config.clone(), TokioRuntimeProvider::default())
                    .with_options(options.clone())
            }
            None => TokioResolver::builder_tokio().map_err(|e| refusal(&e))?,
        };
        let options = builder.options_mut();
        options.cache_size = 0;
        options.use_hosts_file = ResolveHosts::Always;
        // Aliases have a time to live too.
        options.preserve_intermediates = true;
        let resolver = Arc::new(builder.build().map_err(|e| refusal(&e))?);
        *made = Some((stamp, Arc::clone(&resolver)));
        Ok(resolver)
    }
}

fn changed(path: &str) -> Option<SystemTime> {
    Path::new(path).metadata().and_then(|m| m.modified()).ok()
}

fn refusal(error: &NetError) -> ResolveError {
    ResolveError(error.to_string())
}

/// The name server says that there is nothing: NXDOMAIN, or a good answer without records.
fn says_nothing(error: &NetError) -> bool {
    matches!(error, NetError::Dns(DnsError::NoRecordsFound(none))
        if matches!(none.response_code, ResponseCode::NoError | ResponseCode::NXDomain))
}

async fn lookup(resolver: &TokioResolver, name: &str, kind: RecordType) -> Result<Answer, ResolveError> {
    let found = match resolver.lookup(name, kind).await {
        Ok(found) => found,
        Err(error) if says_nothing(&error) => return Ok(Answer::default()),
        Err(error) => return Err(refusal(&error)),
    };
    let mut addresses = Vec::new();
    let mut ttl = FOREVER;
    for record in found.answers() {
        ttl = ttl.min(record.ttl);
        match &record.data {
            RData::A(a) => addresses.push(a.0.into()),
            RData::AAAA(a) => addresses.push(a.0.into()),
            _ => {}
        }
    }
    let ttl = if ttl == FOREVER { 0 } else { ttl };
    Ok(Answer { addresses, ttl: Duration::from_secs(u64::from(ttl)) })
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
            all.ttl = match (all.ttl.is_zero(), v6.ttl.is_zero()) {
                (false, false) => all.ttl.min(v6.ttl),
                _ => all.ttl.max(v6.ttl),
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
