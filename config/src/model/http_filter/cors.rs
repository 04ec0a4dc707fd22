//! `envoy.filters.http.cors`: which web pages of other origins may ask (Fetch standard, "CORS protocol").

use envoy_types::pb::envoy::extensions::filters::http::cors::v3 as pb;

use super::common::fraction;
use super::proto::{Part, run};
use crate::model::matcher::TextMatch;
use crate::model::matcher::proto::text;
use crate::model::metadata::proto::Interner;
use crate::model::route::RuntimeFraction;
use crate::reject::Context;

/// `CorsPolicy`. What is not set on the route is its virtual host's, then its configuration's.
#[derive(Clone, Debug)]
pub struct CorsPolicy {
    /// `allow_origin_string_match`: one of them must match `Origin`; empty: the next level's hold.
    pub origins: Box<[TextMatch]>,
    /// `allow_methods`; empty: the next level's.
    pub methods: Box<str>,
    /// `allow_headers`; empty: the next level's.
    pub headers: Box<str>,
    /// `expose_headers`; empty: the next level's.
    pub expose: Box<str>,
    /// `max_age`; empty: the next level's.
    pub max_age: Box<str>,
    /// `allow_credentials`.
    pub credentials: Option<bool>,
    /// `filter_enabled`; `None`: always.
    pub enabled: Option<RuntimeFraction>,
    /// `shadow_enabled`; `None`: never.
    pub shadow: Option<RuntimeFraction>,
    /// `allow_private_network_access`.
    pub private_network: Option<bool>,
    /// `forward_not_matching_preflights`; Envoy's default is true.
    pub forward_not_matching: Option<bool>,
}

pub(super) fn per_route(cx: &mut Context, interner: &mut Interner, body: &[u8]) -> Part<CorsPolicy> {
    let pb::CorsPolicy {
        allow_origin_string_match,
        allow_methods,
        allow_headers,
        expose_headers,
        max_age,
        allow_credentials,
        filter_enabled,
        shadow_enabled,
        allow_private_network_access,
        forward_not_matching_preflights,
    } = cx.decode(body)?;
    let origins = cx.each("allow_origin_string_match", allow_origin_string_match, text::envoy)?;
    let origins = run!(origins.into_vec().into_iter().collect::<Result<_, _>>());
    Ok(Ok(CorsPolicy {
        origins,
        methods: allow_methods.into(),
        headers: allow_headers.into(),
        expose: expose_headers.into(),
        max_age: max_age.into(),
        credentials: allow_credentials.map(|flag| flag.value),
        enabled: fraction(cx, interner, "filter_enabled", filter_enabled)?,
        shadow: fraction(cx, interner, "shadow_enabled", shadow_enabled)?,
        private_network: allow_private_network_access.map(|flag| flag.value),
        forward_not_matching: forward_not_matching_preflights.map(|flag| flag.value),
    }))
}
