//! `InternalRedirectPolicy`.

use std::collections::HashSet;

use envoy_types::pb::envoy::config::core::v3::TypedExtensionConfig;
use envoy_types::pb::envoy::config::route::v3 as pb;
use envoy_types::pb::envoy::extensions::internal_redirect::allow_listed_routes::v3::AllowListedRoutesConfig;
use envoy_types::pb::envoy::extensions::internal_redirect::previous_routes::v3::PreviousRoutesConfig;
use envoy_types::pb::envoy::extensions::internal_redirect::safe_cross_scheme::v3::SafeCrossSchemeConfig;
use http::StatusCode;

use super::{Part, header_name, run};
use crate::model::extension;
use crate::model::metadata::proto::Interner;
use crate::model::route::{InternalRedirect, RedirectPredicate};
use crate::reject::Context;

const ALLOW_LISTED: &str = "envoy.extensions.internal_redirect.allow_listed_routes.v3.AllowListedRoutesConfig";
const PREVIOUS_ROUTES: &str = "envoy.extensions.internal_redirect.previous_routes.v3.PreviousRoutesConfig";
const SAFE_CROSS_SCHEME: &str = "envoy.extensions.internal_redirect.safe_cross_scheme.v3.SafeCrossSchemeConfig";
/// What the API allows, and Envoy heeds.
const MAX_CODES: usize = 5;
const CODES: [u32; 5] = [301, 302, 303, 307, 308];

/// Converts an `InternalRedirectPolicy`.
pub(super) fn policy(
    cx: &mut Context,
    interner: &mut Interner,
    policy: pb::InternalRedirectPolicy,
) -> Part<InternalRedirect> {
    let pb::InternalRedirectPolicy {
        max_internal_redirects,
        redirect_response_codes,
        predicates,
        allow_cross_scheme_redirect,
        response_headers_to_copy,
    } = policy;
    if redirect_response_codes.len() > MAX_CODES {
        let why = format!("value must contain no more than {MAX_CODES} item(s)");
        return Err(cx.reject("redirect_response_codes", why));
    }
    let mut names = HashSet::new();
    if let Some(twice) = response_headers_to_copy.iter().position(|name| !names.insert(name)) {
        return Err(
            cx.item("response_headers_to_copy", twice, |cx| cx.reject("", "repeated value must contain unique items"))
        );
    }
    let mut converted = Vec::with_capacity(predicates.len());
    for (i, predicate) in predicates.into_iter().enumerate() {
        converted.push(run!(cx.item("predicates", i, |cx| self::predicate(cx, interner, predicate))?));
    }
    let codes: Box<[StatusCode]> = match redirect_response_codes.is_empty() {
        true => Box::new([StatusCode::FOUND]),
        false => {
            let codes = redirect_response_codes.into_iter().filter(|code| CODES.contains(code));
            codes
                .filter_map(|code| u16::try_from(code).ok())
                .filter_map(|code| StatusCode::from_u16(code).ok())
                .collect()
        }
    };
    Ok(Ok(InternalRedirect {
        max: max_internal_redirects.map_or(1, |w| w.value),
        codes,
        predicates: converted.into(),
        cross_scheme: allow_cross_scheme_redirect,
        copy: cx.each("response_headers_to_copy", response_headers_to_copy, |cx, name| {
            match name.starts_with(':') || name.eq_ignore_ascii_case("host") {
                true => Err(cx.reject("", ":-prefixed headers or Hosts may not be specified here.")),
                false => header_name(cx, "", &name),
            }
        })?,
    }))
}

fn predicate(
    cx: &mut Context,
    interner: &mut Interner,
    TypedExtensionConfig { name, typed_config }: TypedExtensionConfig,
) -> Part<RedirectPredicate> {
    let (type_name, body) = extension::required(cx, &name, typed_config)?;
    cx.at("typed_config", |cx| {
        Ok(Ok(match &*type_name {
            ALLOW_LISTED => {
                let AllowListedRoutesConfig { allowed_route_names } = cx.decode(&body)?;
                let names = cx.each("allowed_route_names", allowed_route_names, |cx, name| {
                    cx.not_empty("", &name).map(|()| interner.string(&name))
                })?;
                RedirectPredicate::AllowListed(names)
            }
            PREVIOUS_ROUTES => {
                let PreviousRoutesConfig {} = cx.decode(&body)?;
                RedirectPredicate::PreviousRoutes
            }
            SAFE_CROSS_SCHEME => {
                let SafeCrossSchemeConfig {} = cx.decode(&body)?;
                RedirectPredicate::SafeCrossScheme
            }
            other if other.starts_with("envoy.extensions.internal_redirect.") => {
                return Ok(Err(cx.unsupported("", other)));
            }
            other => return Err(extension::unknown(cx, &name, other)),
        }))
    })
}
