//! One resource of the dump, as the message Envoy has for it.

use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use config::json::Converter;
use config::snapshot::{Kind, Rejected, Source};
use envoy_types::pb::envoy::admin::v3::UpdateFailureState;
use envoy_types::pb::envoy::admin::v3::clusters_config_dump::{DynamicCluster, StaticCluster};
use envoy_types::pb::envoy::admin::v3::endpoints_config_dump::{DynamicEndpointConfig, StaticEndpointConfig};
use envoy_types::pb::envoy::admin::v3::listeners_config_dump::{DynamicListener, DynamicListenerState, StaticListener};
use envoy_types::pb::envoy::admin::v3::routes_config_dump::{DynamicRouteConfig, StaticRouteConfig};
use envoy_types::pb::envoy::admin::v3::secrets_config_dump::{DynamicSecret, StaticSecret};
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::Secret;
use envoy_types::pb::google::protobuf::{Any, Timestamp};
use prost::{Message, Name};
use serde_json::{Value, json};

use super::super::state::Bootstrap;
use super::assignment::assignment;
use crate::upstream::Cluster;

/// One resource. Cheap: a handle on what is encoded only when it is written.
pub(super) enum Item {
    Bootstrap(Bootstrap),
    Time(SystemTime),
    StaticCluster(Arc<Source>),
    /// In force, refused, or both.
    DynamicCluster {
        source: Option<Arc<Source>>,
        rejected: Option<Arc<Rejected>>,
    },
    StaticListener(Arc<Source>),
    DynamicListener {
        name: Arc<str>,
        source: Option<Arc<Source>>,
        /// Waits for its secrets.
        warming: Option<Arc<Source>>,
        rejected: Option<Arc<Rejected>>,
    },
    StaticEndpoints(Arc<Cluster>),
    DynamicEndpoints(Arc<Cluster>),
    /// Inline in a listener.
    StaticRoute {
        body: Bytes,
        updated: SystemTime,
    },
    DynamicRoute(Arc<Source>),
    StaticSecret {
        name: Arc<str>,
        source: Arc<Source>,
    },
    /// In force, refused, or both; with neither it is waited for.
    DynamicSecret {
        name: Arc<str>,
        source: Option<Arc<Source>>,
        rejected: Option<Arc<Rejected>>,
    },
}

impl Item {
    /// Full name of its message.
    pub(super) fn message(&self) -> String {
        match self {
            Self::Bootstrap(_) => "envoy.config.bootstrap.v3.Bootstrap".into(),
            Self::Time(_) => Timestamp::full_name(),
            Self::StaticCluster(_) => StaticCluster::full_name(),
            Self::DynamicCluster { .. } => DynamicCluster::full_name(),
            Self::StaticListener(_) => StaticListener::full_name(),
            Self::DynamicListener { .. } => DynamicListener::full_name(),
            Self::StaticEndpoints(_) => StaticEndpointConfig::full_name(),
            Self::DynamicEndpoints(_) => DynamicEndpointConfig::full_name(),
            Self::StaticRoute { .. } => StaticRouteConfig::full_name(),
            Self::DynamicRoute(_) => DynamicRouteConfig::full_name(),
            Self::StaticSecret { .. } => StaticSecret::full_name(),
            Self::DynamicSecret { .. } => DynamicSecret::full_name(),
        }
    }

    /// As it is shown. What can't be converted leaves a gap, not a broken dump.
    pub(super) fn to_json(&self, converter: &Converter) -> Value {
        let message = self.message();
        converter.to_json(&message, &self.encode()).unwrap_or_else(|error| {
            tracing::warn!(message, %error, "a resource can't be shown in /config_dump");
            json!({})
        })
    }

    fn encode(&self) -> Vec<u8> {
        match self {
            Self::Bootstrap(bootstrap) => bootstrap.body.to_vec(),
            Self::Time(at) => timestamp(*at).encode_to_vec(),
            Self::StaticCluster(source) => {
                let last_updated = Some(timestamp(source.updated));
                StaticCluster { cluster: any(Kind::Cluster, &source.body), last_updated }.encode_to_vec()
            }
            Self::DynamicCluster { source, rejected } => DynamicCluster {
                version_info: version(source.as_ref()),
                cluster: source.as_ref().and_then(|source| any(Kind::Cluster, &source.body)),
                last_updated: source.as_ref().map(|source| timestamp(source.updated)),
                error_state: rejected.as_ref().map(|rejected| failure(Kind::Cluster, rejected)),
                ..DynamicCluster::default()
            }
            .encode_to_vec(),
            Self::StaticListener(source) => {
                let last_updated = Some(timestamp(source.updated));
                StaticListener { listener: any(Kind::Listener, &source.body), last_updated }.encode_to_vec()
            }
            Self::DynamicListener { name, source, warming, rejected } => DynamicListener {
                name: name.to_string(),
                active_state: source.as_deref().map(listener_state),
                warming_state: warming.as_deref().map(listener_state),
                error_state: rejected.as_ref().map(|rejected| failure(Kind::Listener, rejected)),
                ..DynamicListener::default()
            }
            .encode_to_vec(),
            Self::StaticEndpoints(cluster) => {
                let endpoint_config = any(Kind::Endpoints, &assignment(cluster).encode_to_vec());
                StaticEndpointConfig { endpoint_config, ..StaticEndpointConfig::default() }.encode_to_vec()
            }
            Self::DynamicEndpoints(cluster) => {
                let endpoint_config = any(Kind::Endpoints, &assignment(cluster).encode_to_vec());
                DynamicEndpointConfig { endpoint_config, ..DynamicEndpointConfig::default() }.encode_to_vec()
            }
            Self::StaticRoute { body, updated } => {
                let last_updated = Some(timestamp(*updated));
                StaticRouteConfig { route_config: any(Kind::Route, body), last_updated }.encode_to_vec()
            }
            Self::DynamicRoute(source) => DynamicRouteConfig {
                version_info: source.version.to_string(),
                route_config: any(Kind::Route, &source.body),
                last_updated: Some(timestamp(source.updated)),
                ..DynamicRouteConfig::default()
            }
            .encode_to_vec(),
            Self::StaticSecret { name, source } => StaticSecret {
                name: name.to_string(),
                last_updated: Some(timestamp(source.updated)),
                secret: any(Kind::Secret, &source.body),
            }
            .encode_to_vec(),
            Self::DynamicSecret { name, source, rejected } => DynamicSecret {
                name: name.to_string(),
                // As Envoy says of one that has not come.
                version_info: source.as_ref().map_or("uninitialized", |source| &source.version).to_owned(),
                last_updated: source.as_ref().map(|source| timestamp(source.updated)),
                secret: match source {
                    Some(source) => any(Kind::Secret, &source.body),
                    None => any(Kind::Secret, &Secret { name: name.to_string(), ..Secret::default() }.encode_to_vec()),
                },
                error_state: rejected.as_ref().map(|rejected| failure(Kind::Secret, rejected)),
                ..DynamicSecret::default()
            }
            .encode_to_vec(),
        }
    }
}

fn listener_state(source: &Source) -> DynamicListenerState {
    DynamicListenerState {
        version_info: source.version.to_string(),
        listener: any(Kind::Listener, &source.body),
        last_updated: Some(timestamp(source.updated)),
    }
}

fn version(source: Option<&Arc<Source>>) -> String {
    source.map(|source| source.version.to_string()).unwrap_or_default()
}

fn any(kind: Kind, body: &[u8]) -> Option<Any> {
    Some(Any { type_url: kind.type_url().into(), value: body.to_vec() })
}

fn failure(kind: Kind, rejected: &Rejected) -> UpdateFailureState {
    UpdateFailureState {
        failed_configuration: any(kind, &rejected.body).filter(is_readable),
        last_update_attempt: Some(timestamp(rejected.at)),
        details: rejected.rejection.to_string(),
        version_info: rejected.version.to_string(),
    }
}

/// Whether what is printed for it can be read again: one malformed resource must not make the control plane refuse
/// the whole dump.
fn is_readable(any: &Any) -> bool {
    let message = any.type_url.rsplit('/').next().unwrap_or_default();
    let again = Converter::new().and_then(|converter| {
        let printed = converter.to_json(message, &any.value)?;
        converter.to_bytes(message, &printed)
    });
    again.is_ok()
}

/// To the millisecond, as Envoy shows times.
fn timestamp(at: SystemTime) -> Timestamp {
    let since = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let nanos = i32::try_from(since.subsec_millis()).unwrap_or(0) * 1_000_000;
    Timestamp { seconds: i64::try_from(since.as_secs()).unwrap_or(i64::MAX), nanos }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use config::reject::{FieldPath, Rejection};

    use super::*;

    fn refused(body: &'static [u8]) -> Value {
        let rejected = Rejected {
            rejection: Rejection { path: FieldPath("".into()), reason: "malformed".into() },
            version: "1".into(),
            at: SystemTime::UNIX_EPOCH,
            body: Bytes::from_static(body),
        };
        let item =
            Item::DynamicListener { name: "x".into(), source: None, warming: None, rejected: Some(Arc::new(rejected)) };
        item.to_json(&Converter::new().unwrap())["error_state"].clone()
    }

    #[test]
    fn a_malformed_resource_is_named_but_not_shown() {
        let shown = refused(b"\x0a\x01x");
        assert_eq!(shown["failed_configuration"]["name"], "x");
        for body in [&b"\xff\xff"[..], b"\x0a\x05x"] {
            let shown = refused(body);
            assert!(shown.get("failed_configuration").is_none(), "{shown}");
            assert_eq!(shown["version_info"], "1");
        }
        // An address, then a filter chain whose filter holds an Any that does not decode.
        let url = b"type.googleapis.com/envoy.config.listener.v3.Listener";
        let mut any = vec![0x0a, url.len() as u8];
        any.extend_from_slice(url);
        any.extend_from_slice(&[0x12, 1, 0xff]);
        let nest = |tag: u8, inner: &[u8]| [&[tag, inner.len() as u8], inner].concat();
        let listener = nest(0x1a, &nest(0x1a, &nest(0x22, &any)));
        let shown = refused(listener.leak());
        assert!(shown.get("failed_configuration").is_none(), "{shown}");
    }
}
