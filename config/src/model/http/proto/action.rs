//! What a route does, and the headers it adds.

use std::time::Duration;

use core::header_value_option::HeaderAppendAction;
use envoy_types::pb::envoy::config::core::v3 as core;
use envoy_types::pb::envoy::config::route::v3 as pb;
use pb::route_action::{ClusterSpecifier, HostRewriteSpecifier};

use super::{Part, first_set, run};
use crate::model::data_source;
use crate::model::http::{Action, HeaderAdd};
use crate::reject::{Context, IsSet, Rejection, immaterial};

/// Envoy's default route timeout.
const TIMEOUT: Duration = Duration::from_secs(15);

pub(super) fn forward(cx: &mut Context, action: pb::RouteAction) -> Part<Action> {
    let pb::RouteAction {
        cluster_not_found_response_code,
        metadata_match,
        prefix_rewrite,
        regex_rewrite,
        path_rewrite_policy,
        path_rewrite,
        append_x_forwarded_host,
        timeout,
        idle_timeout,
        flush_timeout,
        early_data_policy,
        retry_policy,
        retry_policy_typed_config,
        request_mirror_policies,
        priority,
        rate_limits,
        include_vh_rate_limits,
        hash_policy,
        cors,
        max_grpc_timeout,
        grpc_timeout_offset,
        upgrade_configs,
        internal_redirect_policy,
        internal_redirect_action,
        max_internal_redirects,
        hedge_policy,
        max_stream_duration,
        cluster_specifier,
        host_rewrite_specifier,
    } = action;
    immaterial((cors, rate_limits, include_vh_rate_limits), "for filters, none of which run");
    immaterial(
        (max_grpc_timeout, grpc_timeout_offset, max_internal_redirects, early_data_policy),
        "not gRPC, no 0-RTT",
    );
    immaterial((priority, hash_policy, append_x_forwarded_host), "one host on this machine, which reads neither");
    immaterial((hedge_policy, flush_timeout), "every request is tried once");
    cx.ignore("cluster_not_found_response_code", &cluster_not_found_response_code, "503 is answered");
    cx.ignore("idle_timeout", &idle_timeout, "the timeout of the whole answer holds");
    cx.ignore("retry_policy", &retry_policy, "every request is tried once");
    cx.ignore("retry_policy_typed_config", &retry_policy_typed_config, "every request is tried once");
    cx.ignore("request_mirror_policies", &request_mirror_policies, "nothing is mirrored");
    cx.ignore("max_stream_duration", &max_stream_duration, "the timeout of the whole answer holds");
    let host = match host_rewrite_specifier {
        Some(HostRewriteSpecifier::AutoHostRewrite(_)) | None => None,
        Some(_) => Some(cx.unsupported("host_rewrite_specifier", "host_rewrite_specifier")),
    };
    let refused: [(&str, &dyn IsSet); 7] = [
        ("metadata_match", &metadata_match),
        ("regex_rewrite", &regex_rewrite),
        ("path_rewrite_policy", &path_rewrite_policy),
        ("path_rewrite", &path_rewrite),
        ("upgrade_configs", &upgrade_configs),
        ("internal_redirect_policy", &internal_redirect_policy),
        ("internal_redirect_action", &internal_redirect_action),
    ];
    if let Some(unsupported) = first_set(cx, &refused).or(host) {
        return Ok(Err(unsupported));
    }
    let cluster = match cx.required("cluster_specifier", cluster_specifier)? {
        ClusterSpecifier::Cluster(name) => name,
        _ => return Ok(Err(cx.unsupported("cluster_specifier", "cluster_specifier other than cluster"))),
    };
    cx.not_empty("cluster", &cluster)?;
    Ok(Ok(Action::Cluster {
        cluster: cluster.into(),
        prefix_rewrite: (!prefix_rewrite.is_empty()).then(|| prefix_rewrite.into()),
        timeout: cx.duration("timeout", timeout)?.unwrap_or(TIMEOUT),
    }))
}

pub(super) fn direct(cx: &mut Context, action: pb::DirectResponseAction, max_body: u32) -> Result<Action, Rejection> {
    let pb::DirectResponseAction { status, body, body_format } = action;
    let status = match u16::try_from(status) {
        Ok(status @ 200..600) => status,
        _ => return Err(cx.reject("status", "value must be inside range [200, 600)")),
    };
    cx.ignore("body_format", &body_format, "the body is written as it is");
    let body = match body {
        None => bytes::Bytes::new(),
        Some(source) => cx.at("body", |cx| data_source::read(cx, source))?,
    };
    if u64::try_from(body.len()).is_ok_and(|length| length > u64::from(max_body)) {
        return Err(cx.reject("body", format!("response body size is {}, but maximum is {max_body}", body.len())));
    }
    Ok(Action::Direct { status, body })
}

pub(super) fn header_adds(
    cx: &mut Context,
    field: &'static str,
    adds: Vec<core::HeaderValueOption>,
) -> Part<Box<[HeaderAdd]>> {
    let mut converted = Vec::with_capacity(adds.len());
    for (i, add) in adds.into_iter().enumerate() {
        if let Some(add) = run!(cx.item(field, i, |cx| header_add(cx, add))?) {
            converted.push(add);
        }
    }
    Ok(Ok(converted.into()))
}

fn header_add(cx: &mut Context, add: core::HeaderValueOption) -> Part<Option<HeaderAdd>> {
    let core::HeaderValueOption { header, append, append_action, keep_empty_value } = add;
    let core::HeaderValue { key, value, raw_value } = cx.required("header", header)?;
    if key.is_empty() || !key.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(cx.reject("header.key", "is not a header name"));
    }
    if value.contains(['\r', '\n', '\0']) {
        return Err(cx.reject("header.value", "is not a header value"));
    }
    if value.contains('%') || !raw_value.is_empty() {
        return Ok(Err(cx.unsupported("header.value", "a header value that is not literal")));
    }
    let action: HeaderAppendAction = cx.variant("append_action", append_action)?;
    let overwrite = match (append, action) {
        (Some(append), _) => !append.value,
        (None, HeaderAppendAction::AppendIfExistsOrAdd) => false,
        (None, HeaderAppendAction::OverwriteIfExistsOrAdd) => true,
        (None, HeaderAppendAction::AddIfAbsent | HeaderAppendAction::OverwriteIfExists) => {
            return Ok(Err(cx.unsupported("append_action", "append_action ADD_IF_ABSENT or OVERWRITE_IF_EXISTS")));
        }
    };
    if value.is_empty() && !keep_empty_value {
        return Ok(Ok(None));
    }
    Ok(Ok(Some(HeaderAdd { name: key.to_ascii_lowercase().into(), value: value.into(), overwrite })))
}
