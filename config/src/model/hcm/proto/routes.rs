//! `route_specifier`: routes of its own, or those that RDS brings.

use std::sync::Arc;

use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3 as pb;
use pb::http_connection_manager::RouteSpecifier;

use super::{Part, run};
use crate::model::hcm::{RouteRef, RouteSource, Routes};
use crate::model::route;
use crate::model::tcp_proxy::proto::Shared;
use crate::model::tls::SecretSource;
use crate::model::tls::proto::{self as tls, Fault};
use crate::reject::{Context, Rejection};

pub(super) fn routes(cx: &mut Context, shared: &mut Shared, specifier: Option<RouteSpecifier>) -> Part<Routes> {
    match cx.required("route_specifier", specifier)? {
        RouteSpecifier::RouteConfig(config) => {
            let config = cx.at("route_config", |cx| route::proto::configuration(cx, &mut shared.interner, config))?;
            Ok(Ok(Routes::Inline(Arc::new(run!(config)))))
        }
        RouteSpecifier::Rds(rds) => cx.at("rds", |cx| self::rds(cx, shared, rds)),
        RouteSpecifier::ScopedRoutes(_) => Ok(Err(cx.unsupported("scoped_routes", "scoped routes"))),
    }
}

fn rds(cx: &mut Context, shared: &mut Shared, rds: pb::Rds) -> Part<Routes> {
    let pb::Rds { config_source, route_config_name } = rds;
    let interner = &mut shared.interner;
    let source = cx.required("config_source", config_source)?;
    let source = cx.at("config_source", |cx| match tls::config_source(cx, interner, source) {
        Ok(source) => Ok(Ok(source)),
        Err(Fault::Unsupported(unsupported)) => Ok(Err(unsupported)),
        Err(Fault::Rejected(rejection)) => Err::<_, Rejection>(rejection),
    })?;
    let (source, initial_fetch_timeout) = run!(source);
    let source = match source {
        SecretSource::Ads | SecretSource::Static => RouteSource::Ads,
        SecretSource::File { path, watched_directory } => RouteSource::File { path, watched_directory },
        SecretSource::Grpc(_) => {
            return Ok(Err(cx.unsupported("config_source.api_config_source", "routes of a server of their own")));
        }
    };
    let name = interner.string(&route_config_name);
    Ok(Ok(Routes::Rds(Arc::new(RouteRef { name, source, initial_fetch_timeout }))))
}
