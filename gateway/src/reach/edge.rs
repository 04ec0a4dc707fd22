//! What each filter chain of an edge lets through: whom, by which name, and where to.

use std::fmt;
use std::sync::Arc;

use config::model::address::Target as Place;
use config::model::chain::{Cidr, FilterChain, Handler, Match, NetworkFilter, SourceType, TransportProtocol};
use config::model::cluster::{Discovery, Transport};
use config::model::endpoint::Endpoint;
use config::model::listener::Listener;
use config::model::tcp_proxy::{Destination, Route};
use config::model::tls::{
    DownstreamTls, PartialValidation, Pattern, SanKind, SanMatch, Secret, SecretRef, Trusted, Validation,
    ValidationSource,
};
use config::snapshot::{ClusterEntry, Snapshot};
use config::verify::{SpiffeId, san_matches};

use super::http;
use super::rules::Rules;

/// One filter chain.
#[derive(Debug)]
pub(super) struct Way {
    /// The listener.
    pub(super) listener: Arc<Listener>,
    /// The chain.
    pub(super) chain: Arc<FilterChain>,
    /// Its place, where it has no name.
    pub(super) place: String,
    /// Who may come as far as the permissions.
    pub(super) clients: Clients,
    /// The permissions.
    pub(super) rules: Rules,
    /// Permissions of requests.
    pub(super) requests: http::Asked,
    /// Where to.
    pub(super) target: Target,
}

/// Who may come as far as the permissions.
#[derive(Debug)]
pub(super) enum Clients {
    /// Plain connections: anybody.
    Plain,
    /// TLS goes through as it is: who the client is, the service behind asks.
    PassedThrough,
    /// TLS ends here, certificates are not looked at.
    Unverified,
    /// TLS ends here with certificates.
    Mutual {
        /// What they are judged by.
        validation: Arc<Validation>,
        /// Without one nobody comes in.
        required: bool,
    },
    /// The secret that says whom to trust is not there, or can't be used: nobody.
    Nobody(String),
}

/// Where a chain leads.
#[derive(Debug)]
pub(super) enum Target {
    /// To these clusters, each with its endpoints.
    Clusters(Vec<(Arc<str>, Vec<String>)>),
    /// HTTP: to these clusters by its routes, each with its endpoints, and to those that headers of these names name.
    Http(Vec<(Arc<str>, Vec<String>)>, Vec<String>),
    /// The edge answers itself, and closes.
    Answer,
    /// Nowhere: connections are refused.
    Refused(String),
}

/// All chains of all listeners of the data path, by listener.
pub(super) fn ways(snapshot: &Snapshot) -> Vec<Way> {
    let mut listeners: Vec<&Arc<Listener>> = snapshot
        .listeners
        .values()
        .chain(snapshot.warming_listeners.values())
        .map(|entry| &entry.listener)
        .filter(|listener| !listener.system)
        .collect();
    listeners.sort_by(|a, b| a.name.cmp(&b.name));
    listeners.into_iter().flat_map(|listener| of_listener(snapshot, listener)).collect()
}

fn of_listener<'a>(snapshot: &'a Snapshot, listener: &'a Arc<Listener>) -> impl Iterator<Item = Way> + 'a {
    let numbered = listener.chains.iter().enumerate().map(|(i, chain)| (format!("filter_chains[{i}]"), chain));
    let default = listener.default_chain.iter().map(|chain| ("default_filter_chain".to_owned(), chain));
    numbered.chain(default).map(|(place, chain)| {
        let rbac = chain.filters.iter().filter_map(|filter| match filter {
            NetworkFilter::Rbac(rbac) => rbac.enforced.as_ref(),
            NetworkFilter::LocalRateLimit(_) => None,
        });
        let requests = match &chain.handler {
            Handler::Http(manager) => http::asked(snapshot, manager),
            Handler::TcpProxy(_) | Handler::DirectResponse(_) | Handler::System(_) | Handler::Unsupported(_) => {
                http::Asked::default()
            }
        };
        Way {
            listener: Arc::clone(listener),
            chain: Arc::clone(chain),
            place,
            clients: clients(snapshot, chain),
            rules: settled(Rules::of(rbac.chain(&requests.policies), chain.tls.is_some()), &chain.matches.server_names),
            requests,
            target: target(snapshot, chain),
        }
    })
}

/// A chain for exact names is only reached by these.
fn settled(rules: Rules, names: &[Arc<str>]) -> Rules {
    if names.iter().any(|name| name.starts_with('*')) { rules } else { rules.settled(names) }
}

fn clients(snapshot: &Snapshot, chain: &FilterChain) -> Clients {
    let Some(tls) = &chain.tls else {
        return if asks_for_tls(&chain.matches) { Clients::PassedThrough } else { Clients::Plain };
    };
    let DownstreamTls { validation, require_client_certificate, .. } = &**tls;
    let Some(source) = validation else {
        // Any certificate will do then.
        return match PartialValidation::default().complete() {
            Ok(validation) if *require_client_certificate => {
                Clients::Mutual { validation: Arc::new(validation), required: true }
            }
            _ => Clients::Unverified,
        };
    };
    let name = match source {
        ValidationSource::Sds { secret, .. } => Some(&secret.name),
        ValidationSource::Inline(_) => None,
    };
    // A dump does not say where a secret came from: one of the name is it.
    let by_name = |wanted: &SecretRef| {
        snapshot.secrets.iter().find(|(secret, _)| secret.name == wanted.name).map(|(_, entry)| entry)
    };
    let found = |secret: &SecretRef| match snapshot
        .secrets
        .get(secret)
        .or_else(|| by_name(secret))
        .map(|entry| &entry.secret)
    {
        Some(Secret::Validation(found)) => Some(found),
        _ => None,
    };
    match source.resolve(found) {
        Some(Ok(validation)) => {
            Clients::Mutual { required: *require_client_certificate || validation.demands_certificate(), validation }
        }
        Some(Err(why)) => Clients::Nobody(why.to_string()),
        None => Clients::Nobody(format!("the secret \"{}\" is not there", name.map_or("", |name| name))),
    }
}

fn asks_for_tls(matches: &Match) -> bool {
    matches.transport_protocol == TransportProtocol::Tls || !matches.server_names.is_empty()
}

fn target(snapshot: &Snapshot, chain: &FilterChain) -> Target {
    let of = |destination: &Destination| {
        let known = snapshot.clusters.get(&destination.cluster).or_else(|| snapshot.warming.get(&destination.cluster));
        let endpoints = known.map(|entry| endpoints(entry, destination));
        (Arc::clone(&destination.cluster), endpoints.unwrap_or_else(|| vec!["unknown cluster: refused".to_owned()]))
    };
    match &chain.handler {
        Handler::TcpProxy(proxy) => Target::Clusters(match &proxy.route {
            Route::Cluster(destination) => vec![of(destination)],
            Route::Weighted { clusters, .. } => clusters.iter().map(|(_, destination)| of(destination)).collect(),
        }),
        Handler::DirectResponse(_) => Target::Answer,
        Handler::Http(manager) => match http::routes(snapshot, manager) {
            Err(why) => Target::Refused(why),
            Ok(config) => {
                let (clusters, headers) = http::destinations(&config);
                let to = |cluster: &Arc<str>| of(&Destination { cluster: Arc::clone(cluster), metadata_match: None });
                match clusters.is_empty() && headers.is_empty() {
                    true => Target::Answer,
                    false => Target::Http(clusters.iter().map(to).collect(), headers),
                }
            }
        },
        Handler::System(_) => Target::Refused("HTTP of the control plane's own listeners".to_owned()),
        Handler::Unsupported(why) => {
            Target::Refused(format!("{} can't be run by this version ({})", why.what, why.path))
        }
    }
}

fn endpoints(entry: &ClusterEntry, destination: &Destination) -> Vec<String> {
    let dns = if matches!(entry.cluster.discovery, Discovery::Dns { .. }) { " (DNS)" } else { "" };
    let subset = if destination.metadata_match.is_some() { " (of its subset)" } else { "" };
    let one = |endpoint: &Endpoint| {
        let transport = match entry.cluster.transport_of(endpoint.metadata.as_deref()) {
            Transport::Raw => String::new(),
            Transport::Tls(_) => " (TLS)".to_owned(),
            Transport::ProxyProtocol { tls: None, .. } => " (PROXY protocol)".to_owned(),
            Transport::ProxyProtocol { tls: Some(_), .. } => " (PROXY protocol, TLS)".to_owned(),
            Transport::Unsupported(why) => format!(" ({} can't be run by this version: refused)", why.what),
        };
        format!("{}{dns}{transport}{subset}", at(&endpoint.target))
    };
    let mut all: Vec<String> =
        entry.assignment.localities.iter().flat_map(|locality| locality.endpoints.iter().map(one)).collect();
    all.dedup();
    if all.is_empty() { vec!["no endpoint: refused".to_owned()] } else { all }
}

fn at(target: &Place) -> String {
    match target {
        Place::Address(address) => address.to_string(),
        Place::Name { host, port } => format!("{host}:{port}"),
    }
}

impl Way {
    /// The chain's name, or its place.
    pub(super) fn name(&self) -> &str {
        if self.chain.name.is_empty() { &self.place } else { &self.chain.name }
    }

    /// What else a connection must have, besides a server name, so that the chain takes it.
    pub(super) fn besides(&self) -> Vec<String> {
        let Match {
            destination_port,
            destination,
            application_protocols,
            direct_source,
            source_type,
            source,
            source_ports,
            ..
        } = &self.chain.matches;
        let mut all = Vec::new();
        all.extend(destination_port.map(|port| format!("to port {port}")));
        let ranges = |all: &mut Vec<String>, what: &str, of: &[Cidr]| {
            if !of.is_empty() {
                let of: Vec<_> = of.iter().map(|c| format!("{}/{}", c.address, c.prefix)).collect();
                all.push(format!("{what} {}", of.join(" or ")));
            }
        };
        ranges(&mut all, "to", destination);
        if !application_protocols.is_empty() {
            all.push(format!("ALPN {}", application_protocols.join(" or ")));
        }
        ranges(&mut all, "from the socket's peer", direct_source);
        ranges(&mut all, "from", source);
        match source_type {
            SourceType::Any => {}
            SourceType::SameIpOrLoopback => all.push("from this host".to_owned()),
            SourceType::External => all.push("from another host".to_owned()),
        }
        if !source_ports.is_empty() {
            let ports: Vec<_> = source_ports.iter().map(u16::to_string).collect();
            all.push(format!("from port {}", ports.join(" or ")));
        }
        all
    }
}

/// `ACCEPT_UNTRUSTED`: whoever fails a check comes in all the same (`config::verify`).
fn accepts_all(validation: &Validation) -> bool {
    validation.accept_untrusted && !matches!(validation.trusted, Trusted::Spiffe(_))
}

impl Clients {
    /// Whether a client whose certificate (signed as it has to be) carries these URI SANs, or who has none, comes as
    /// far as the permissions.
    ///
    /// # Errors
    /// Why not.
    pub(super) fn admit(&self, identities: &[Box<str>]) -> Result<(), String> {
        match self {
            Self::Plain | Self::PassedThrough | Self::Unverified => Ok(()),
            Self::Nobody(why) => Err(why.clone()),
            Self::Mutual { required, .. } if identities.is_empty() => match required {
                true => Err("a client certificate is required".to_owned()),
                false => Ok(()),
            },
            Self::Mutual { validation, .. } if accepts_all(validation) => Ok(()),
            Self::Mutual { validation, .. } => {
                if let Trusted::Spiffe(trust) = &validation.trusted {
                    let id = identities.first().and_then(|first| first.parse::<SpiffeId>().ok());
                    let Some(id) = id else { return Err("it is no SPIFFE ID".to_owned()) };
                    if trust.bundle(id.trust_domain()).is_none() {
                        return Err(format!("the trust domain {} has no bundle here", id.trust_domain()));
                    }
                }
                let wanted = &validation.subject_alt_names;
                let matches = |name: &str| wanted.iter().any(|w| w.kind == SanKind::Uri && san_matches(w, name));
                if wanted.is_empty() || identities.iter().any(|name| matches(name)) {
                    return Ok(());
                }
                Err(format!("none of its names is {}", names(wanted)))
            }
        }
    }
}

impl fmt::Display for Clients {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Plain => f.write_str("anybody: plain connections"),
            Self::PassedThrough => f.write_str("anybody: TLS goes through, the service behind it asks who it is"),
            Self::Unverified => f.write_str("anybody: TLS ends here, certificates are not looked at"),
            Self::Nobody(why) => write!(f, "nobody: {why}"),
            Self::Mutual { validation, required } => {
                if accepts_all(validation) {
                    f.write_str("anybody's, whatever they are checked for: ")?;
                }
                match &validation.trusted {
                    Trusted::Ca(trust) => write!(f, "certificates of {} CAs", trust.certificates().len())?,
                    Trusted::Spiffe(trust) => {
                        let domains: Vec<_> = trust.bundles().iter().map(|(name, _)| &**name).collect();
                        write!(f, "SPIFFE identities of {}", domains.join(", "))?;
                    }
                    Trusted::Anyone => f.write_str("certificates of anybody")?,
                }
                if !validation.subject_alt_names.is_empty() {
                    write!(f, " with {}", names(&validation.subject_alt_names))?;
                }
                if *required { Ok(()) } else { f.write_str("; or none at all") }
            }
        }
    }
}

fn names(wanted: &[SanMatch]) -> String {
    let one = |w: &SanMatch| {
        let kind = match w.kind {
            SanKind::Dns => "DNS name",
            SanKind::Uri => "URI",
            SanKind::Ip => "IP",
            SanKind::Email => "e-mail address",
        };
        match &w.matcher.pattern {
            Pattern::Exact(text) => format!("{kind} {text}"),
            Pattern::Prefix(text) => format!("{kind} {text}…"),
            Pattern::Suffix(text) => format!("{kind} …{text}"),
            Pattern::Contains(text) => format!("{kind} …{text}…"),
            Pattern::Regex(regex) => format!("{kind} matching {regex}"),
        }
    };
    wanted.iter().map(one).collect::<Vec<_>>().join(" or ")
}
