//! From `config.core.v3.GrpcService` and `HttpService`.
#![allow(deprecated)] // Envoy still honours the fields it deprecates

use std::time::Duration;

use envoy_types::pb::envoy::config::core::v3 as pb;
use pb::grpc_service::{EnvoyGrpc, TargetSpecifier};
use pb::http_uri::HttpUpstreamType;

use super::{GrpcService, HttpService};
use crate::reject::{Context, Rejection, Unsupported, immaterial};

const NO_RETRY: &str = "what could not be sent is dropped and counted";

/// A gRPC service; `Err`: one that is not reached through a cluster.
pub(crate) fn grpc(cx: &mut Context, service: pb::GrpcService) -> Result<Result<GrpcService, Unsupported>, Rejection> {
    let pb::GrpcService { timeout, initial_metadata, retry_policy, target_specifier } = service;
    cx.ignore("retry_policy", &retry_policy, NO_RETRY);
    let timeout = cx.duration("timeout", timeout)?;
    let metadata = cx.each("initial_metadata", initial_metadata, |cx, header| {
        let pb::HeaderValue { key, value, raw_value } = header;
        cx.ignore("raw_value", &raw_value, "value is sent");
        cx.not_empty("key", &key)?;
        Ok::<_, Rejection>((key.to_ascii_lowercase().into(), value.into()))
    })?;
    match cx.required("target_specifier", target_specifier)? {
        TargetSpecifier::GoogleGrpc(_) => Ok(Err(cx.unsupported("google_grpc", "Google's gRPC library"))),
        TargetSpecifier::EnvoyGrpc(target) => cx.at("envoy_grpc", |cx| {
            let EnvoyGrpc { cluster_name, authority, retry_policy, max_receive_message_length, skip_envoy_headers } =
                target;
            cx.ignore("retry_policy", &retry_policy, NO_RETRY);
            immaterial(max_receive_message_length, "answers are a few bytes, and bounded");
            immaterial(skip_envoy_headers, "no x-envoy headers are sent");
            cx.not_empty("cluster_name", &cluster_name)?;
            Ok(Ok(GrpcService { cluster: cluster_name.into(), authority: authority.into(), timeout, metadata }))
        }),
    }
}

/// An HTTP service.
pub(crate) fn http(cx: &mut Context, service: pb::HttpService) -> Result<HttpService, Rejection> {
    let pb::HttpService { http_uri, request_headers_to_add, formatters } = service;
    cx.ignore("formatters", &formatters, "header values are sent as they are");
    let uri = cx.required("http_uri", http_uri)?;
    let headers = cx.each("request_headers_to_add", request_headers_to_add, |cx, add| {
        let pb::HeaderValueOption { header, append, append_action, keep_empty_value } = add;
        immaterial((append, append_action), "nothing was there before");
        let pb::HeaderValue { key, value, raw_value } = cx.required("header", header)?;
        cx.ignore("raw_value", &raw_value, "value is sent");
        cx.not_empty("header.key", &key)?;
        let kept = keep_empty_value || !value.is_empty();
        Ok::<_, Rejection>(kept.then(|| (Box::from(key.to_ascii_lowercase()), Box::from(value))))
    })?;
    let headers = headers.into_iter().flatten().collect();
    cx.at("http_uri", |cx| {
        let pb::HttpUri { uri, timeout, http_upstream_type } = uri;
        let (https, rest) = match (uri.strip_prefix("http://"), uri.strip_prefix("https://")) {
            (Some(rest), _) => (false, rest),
            (None, Some(rest)) => (true, rest),
            (None, None) => (false, &*uri),
        };
        let (authority, path) = match rest.find('/') {
            Some(at) => rest.split_at(at),
            None => (rest, "/"),
        };
        cx.not_empty("uri", &uri)?;
        let HttpUpstreamType::Cluster(cluster) = cx.required("http_upstream_type", http_upstream_type)?;
        cx.not_empty("cluster", &cluster)?;
        // A URI may be a path alone.
        let authority = if authority.is_empty() { &cluster } else { authority };
        let timeout = cx.duration("timeout", timeout)?;
        Ok(HttpService {
            authority: Box::from(authority),
            cluster: cluster.as_str().into(),
            path: path.into(),
            https,
            timeout: cx.required("timeout", timeout)?.max(Duration::from_millis(1)),
            headers,
        })
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests {
    use prost::Message as _;
    use serde_json::{Value, json};

    use super::*;
    use crate::model::testing::{encode, path, paths};

    fn grpc_of(value: &Value) -> Result<Result<GrpcService, Unsupported>, Rejection> {
        let body = encode("envoy.config.core.v3.GrpcService", value);
        grpc(&mut Context::default(), pb::GrpcService::decode(body).unwrap())
    }

    fn http_of(value: &Value) -> (Result<HttpService, Rejection>, Vec<String>) {
        let body = encode("envoy.config.core.v3.HttpService", value);
        let mut cx = Context::default();
        let service = http(&mut cx, pb::HttpService::decode(body).unwrap());
        (service, paths(&cx.into_ignored()))
    }

    #[test]
    fn grpc_goes_through_a_cluster() {
        let service = grpc_of(&json!({"envoyGrpc": {"clusterName": "c", "authority": "a"}, "timeout": "2s",
            "initialMetadata": [{"key": "X-Key", "value": "v"}]}));
        let service = service.unwrap().unwrap();
        assert_eq!((&*service.cluster, &*service.authority), ("c", "a"));
        assert_eq!(service.timeout, Some(Duration::from_secs(2)));
        assert_eq!(*service.metadata, [("x-key".into(), "v".into())]);
        let google = grpc_of(&json!({"googleGrpc": {"targetUri": "t", "statPrefix": "s"}}));
        assert_eq!(google.unwrap().unwrap_err().path.to_string(), "google_grpc");
        assert_eq!(path(grpc_of(&json!({}))), "target_specifier");
        assert_eq!(path(grpc_of(&json!({"envoyGrpc": {}}))), "envoy_grpc.cluster_name");
    }

    #[test]
    fn uris_are_split() {
        let service =
            |uri: &str| http_of(&json!({"httpUri": {"uri": uri, "cluster": "c", "timeout": "1s"}})).0.unwrap();
        let split = |uri: &str| {
            let HttpService { authority, path, https, .. } = service(uri);
            (authority.to_string(), path.to_string(), https)
        };
        assert_eq!(split("http://a:4318/v1/traces?x"), ("a:4318".into(), "/v1/traces?x".into(), false));
        assert_eq!(split("https://a"), ("a".into(), "/".into(), true));
        assert_eq!(split("/api/v2/spans"), ("c".into(), "/api/v2/spans".into(), false));
        assert_eq!(path(http_of(&json!({"httpUri": {"cluster": "c"}})).0), "http_uri.uri");
        assert_eq!(path(http_of(&json!({"httpUri": {"uri": "http://x", "cluster": "c"}})).0), "http_uri.timeout");
        assert_eq!(path(http_of(&json!({})).0), "http_uri");
    }
}
