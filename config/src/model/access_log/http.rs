//! What operators about HTTP take as arguments.

/// `NAME?OTHER` of `%REQ(…)%` and its like: the first that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeaderRef {
    /// Lower-case; may be a pseudo-header.
    pub name: Box<str>,
    /// In its absence this one.
    pub alternative: Option<Box<str>>,
    /// `%REQ_WITHOUT_QUERY(…)%`: what follows a `?` is cut off.
    pub without_query: bool,
}

/// `%PATH(query:source)%`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PathForm {
    /// With the query.
    pub query: bool,
    /// Which path.
    pub source: PathSource,
}

/// Which path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathSource {
    /// `x-envoy-original-path`.
    Original,
    /// `:path`.
    Path,
    /// The original one, else `:path`.
    OriginalOrPath,
}

/// `%GRPC_STATUS(…)%`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GrpcForm {
    /// `PermissionDenied`.
    Camel,
    /// `PERMISSION_DENIED`.
    Snake,
    /// `7`.
    Number,
}

/// `%REQUESTED_SERVER_NAME(order:host)%`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServerName {
    /// Which of the two.
    pub order: NameOrder,
    /// Which host.
    pub host: HostSource,
}

/// Whether the server name or the host is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameOrder {
    /// The server name only.
    SniOnly,
    /// The server name, else the host.
    SniFirst,
    /// The host, else the server name.
    HostFirst,
}

/// Which host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HostSource {
    /// `x-envoy-original-host`.
    Original,
    /// `:authority`.
    Host,
    /// The original one, else `:authority`.
    OriginalOrHost,
}

/// `%METADATA(of:namespace:key…)%`, `%DYNAMIC_METADATA(namespace:key…)%` and their like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetadataRef {
    /// Whose.
    pub of: MetadataSource,
    /// Namespace.
    pub namespace: Box<str>,
    /// The way down; empty: the whole namespace.
    pub path: Box<[Box<str>]>,
}

/// Whose metadata.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetadataSource {
    /// What filters noted.
    Dynamic,
    /// The cluster's.
    Cluster,
    /// The endpoint's.
    UpstreamHost,
    /// The route's.
    Route,
    /// The virtual host's.
    VirtualHost,
    /// The listener's, which is not kept: absent.
    Listener,
    /// The filter chain's, which is not kept: absent.
    FilterChain,
}

impl HeaderRef {
    /// `None`: more than one alternative, or no name of a header.
    pub(super) fn parse(text: &str, without_query: bool) -> Option<Self> {
        let valid = |name: &str| {
            let name = name.strip_prefix(':').unwrap_or(name);
            name.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
        };
        if !text.split('?').all(valid) {
            return None;
        }
        let mut names = text.split('?').map(str::to_ascii_lowercase);
        let name = names.next()?.into();
        let alternative = names.next().filter(|name| !name.is_empty()).map(Into::into);
        names.next().is_none().then_some(Self { name, alternative, without_query })
    }
}

impl PathForm {
    pub(super) fn parse(text: Option<&str>) -> Option<Self> {
        let (query, source) = split(text);
        Some(Self {
            query: match query {
                None | Some("WQ") => true,
                Some("NQ") => false,
                Some(_) => return None,
            },
            source: match source {
                None | Some("ORIG_OR_PATH") => PathSource::OriginalOrPath,
                Some("ORIG") => PathSource::Original,
                Some("PATH") => PathSource::Path,
                Some(_) => return None,
            },
        })
    }
}

impl GrpcForm {
    pub(super) fn parse(text: Option<&str>) -> Option<Self> {
        match text {
            None | Some("CAMEL_STRING") => Some(Self::Camel),
            Some("SNAKE_STRING") => Some(Self::Snake),
            Some("NUMBER") => Some(Self::Number),
            Some(_) => None,
        }
    }
}

impl ServerName {
    pub(super) fn parse(text: Option<&str>) -> Option<Self> {
        let (order, host) = split(text);
        Some(Self {
            order: match order {
                None | Some("SNI_ONLY") => NameOrder::SniOnly,
                Some("SNI_FIRST") => NameOrder::SniFirst,
                Some("HOST_FIRST") => NameOrder::HostFirst,
                Some(_) => return None,
            },
            host: match host {
                None | Some("ORIG_OR_HOST") => HostSource::OriginalOrHost,
                Some("ORIG") => HostSource::Original,
                Some("HOST") => HostSource::Host,
                Some(_) => return None,
            },
        })
    }
}

impl MetadataRef {
    /// `namespace:key:key`.
    pub(super) fn parse(of: MetadataSource, text: &str) -> Self {
        let mut parts = text.split(':').map(Box::from);
        let namespace = parts.next().unwrap_or_default();
        Self { of, namespace, path: parts.collect() }
    }

    /// `SOURCE:namespace:key:key`.
    pub(super) fn parse_any(text: &str) -> Option<Self> {
        let (source, rest) = text.split_once(':').unwrap_or((text, ""));
        let of = match source {
            "DYNAMIC" => MetadataSource::Dynamic,
            "CLUSTER" => MetadataSource::Cluster,
            "UPSTREAM_HOST" => MetadataSource::UpstreamHost,
            "ROUTE" => MetadataSource::Route,
            "VIRTUAL_HOST" => MetadataSource::VirtualHost,
            "LISTENER" => MetadataSource::Listener,
            "LISTENER_FILTER_CHAIN" => MetadataSource::FilterChain,
            _ => return None,
        };
        Some(Self::parse(of, rest))
    }
}

fn split(text: Option<&str>) -> (Option<&str>, Option<&str>) {
    match text {
        None => (None, None),
        Some(text) => match text.split_once(':') {
            Some((first, second)) => (Some(first), Some(second)),
            None => (Some(text), None),
        },
    }
}
