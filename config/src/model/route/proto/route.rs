//! `Route`.

use std::sync::Arc;

use envoy_types::pb::envoy::config::route::v3 as pb;
use envoy_types::pb::google::protobuf::{UInt32Value, UInt64Value};
use pb::route::Action as PbAction;

use super::{Part, Scope, first_set, forward, header_mutations, matching, redirect, run};
use crate::model::http_filter::proto::per_filter;
use crate::model::metadata::proto::metadata;
use crate::model::route::{Action, BufferLimit, Decorator, Route};
use crate::model::tracing;
use crate::reject::{Context, IsSet, Rejection};

/// Converts a `Route`.
pub(super) fn route(cx: &mut Context, scope: &mut Scope<'_>, route: pb::Route) -> Part<Route> {
    let pb::Route {
        name,
        r#match,
        metadata: route_metadata,
        decorator,
        typed_per_filter_config,
        request_headers_to_add,
        request_headers_to_remove,
        response_headers_to_add,
        response_headers_to_remove,
        tracing,
        per_request_buffer_limit_bytes,
        stat_prefix,
        request_body_buffer_limit,
        route_specifiers,
        action,
    } = route;
    let refused: [(&str, &dyn IsSet); 1] = [("route_specifiers", &route_specifiers)];
    if let Some(unsupported) = first_set(cx, &refused) {
        return Ok(Err(unsupported));
    }
    let per_filter = run!(per_filter(cx, scope.interner, typed_per_filter_config)?);
    let matches = cx.required("match", r#match)?;
    let matches = run!(cx.at("match", |cx| matching::route_match(cx, scope.interner, matches))?);
    let action = match cx.required("action", action)? {
        PbAction::Route(action) => {
            Action::Forward(Arc::new(run!(cx.at("route", |cx| forward::action(cx, scope, (action, &matches)))?)))
        }
        PbAction::Redirect(action) => {
            Action::Redirect(Arc::new(cx.at("redirect", |cx| redirect::redirect(cx, action))?))
        }
        PbAction::DirectResponse(action) => {
            let direct = cx.at("direct_response", |cx| redirect::direct(cx, action, scope.max_body))?;
            Action::Direct(Arc::new(run!(direct)))
        }
        PbAction::FilterAction(_) => return Ok(Err(cx.unsupported("filter_action", "filter_action"))),
        PbAction::NonForwardingAction(_) => {
            return Ok(Err(cx.unsupported("non_forwarding_action", "non_forwarding_action")));
        }
    };
    let request_headers = (request_headers_to_add, request_headers_to_remove);
    let response_headers = (response_headers_to_add, response_headers_to_remove);
    let (request_headers, response_headers) = header_mutations(cx, request_headers, response_headers)?;
    let own_limit = buffer_limit(per_request_buffer_limit_bytes, request_body_buffer_limit);
    Ok(Ok(Route {
        name: scope.interner.string(&name),
        matches,
        per_filter,
        action,
        request_headers,
        response_headers,
        buffer_limit: own_limit.or(scope.buffer_limit),
        stat_prefix: (!stat_prefix.is_empty()).then(|| scope.interner.string(&stat_prefix)),
        decorator: match decorator {
            None => None,
            Some(decorator) => Some(Box::new(cx.at("decorator", |cx| self::decorator(cx, decorator))?)),
        },
        metadata: cx.at("metadata", |cx| metadata(cx, scope.interner, route_metadata))?,
        tracing: match tracing {
            None => None,
            Some(tracing) => Some(Box::new(cx.at("tracing", |cx| tracing::proto::route(cx, tracing))?)),
        },
    }))
}

fn decorator(cx: &mut Context, decorator: pb::Decorator) -> Result<Decorator, Rejection> {
    let pb::Decorator { operation, propagate } = decorator;
    cx.not_empty("operation", &operation)?;
    Ok(Decorator { operation: operation.into(), propagate: propagate.is_none_or(|w| w.value) })
}

/// `per_request_buffer_limit_bytes`, and `request_body_buffer_limit`, which covers it.
pub(super) fn buffer_limit(at_most: Option<UInt32Value>, exactly: Option<UInt64Value>) -> Option<BufferLimit> {
    match (exactly, at_most) {
        (Some(limit), _) => Some(BufferLimit::Exactly(limit.value)),
        (None, limit) => limit.map(|limit| BufferLimit::AtMost(limit.value)),
    }
}
