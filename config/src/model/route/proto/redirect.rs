//! `RedirectAction` and `DirectResponseAction`.

use bytes::Bytes;
use envoy_types::pb::envoy::config::route::v3 as pb;
use http::StatusCode;
use pb::redirect_action::{PathRewriteSpecifier, RedirectResponseCode, SchemeRewriteSpecifier};

use super::mutation::{header_value, substitution};
use super::{Part, rewrite};
use crate::model::data_source;
use crate::model::route::{DirectResponse, Redirect, RedirectPath, RedirectScheme};
use crate::reject::{Context, Rejection};

/// Converts a `RedirectAction`.
pub(super) fn redirect(cx: &mut Context, action: pb::RedirectAction) -> Result<Redirect, Rejection> {
    let pb::RedirectAction {
        host_redirect,
        port_redirect,
        response_code,
        strip_query,
        scheme_rewrite_specifier,
        path_rewrite_specifier,
    } = action;
    header_value(cx, "host_redirect", host_redirect.as_bytes())?;
    let scheme = match scheme_rewrite_specifier {
        None | Some(SchemeRewriteSpecifier::HttpsRedirect(false)) => None,
        Some(SchemeRewriteSpecifier::HttpsRedirect(true)) => Some(RedirectScheme::Https),
        Some(SchemeRewriteSpecifier::SchemeRedirect(scheme)) if scheme.is_empty() => None,
        Some(SchemeRewriteSpecifier::SchemeRedirect(scheme)) => {
            header_value(cx, "scheme_redirect", scheme.as_bytes())?;
            Some(RedirectScheme::Scheme(scheme.into()))
        }
    };
    let path = match path_rewrite_specifier {
        None => None,
        Some(PathRewriteSpecifier::PathRedirect(path)) => {
            header_value(cx, "path_redirect", path.as_bytes())?;
            (!path.is_empty()).then(|| RedirectPath::Path(path.into()))
        }
        Some(PathRewriteSpecifier::PrefixRewrite(prefix)) => {
            header_value(cx, "prefix_rewrite", prefix.as_bytes())?;
            (!prefix.is_empty()).then(|| RedirectPath::Prefix(prefix.into()))
        }
        Some(PathRewriteSpecifier::RegexRewrite(regex)) => {
            Some(RedirectPath::Regex(cx.at("regex_rewrite", |cx| rewrite::regex(cx, regex))?))
        }
        Some(PathRewriteSpecifier::PathRewrite(format)) => (!format.is_empty())
            .then(|| substitution(cx, "path_rewrite", &format))
            .transpose()?
            .map(RedirectPath::Format),
    };
    Ok(Redirect {
        host: host_redirect.into(),
        port: port_redirect,
        scheme,
        path,
        status: match cx.variant("response_code", response_code)? {
            RedirectResponseCode::MovedPermanently => StatusCode::MOVED_PERMANENTLY,
            RedirectResponseCode::Found => StatusCode::FOUND,
            RedirectResponseCode::SeeOther => StatusCode::SEE_OTHER,
            RedirectResponseCode::TemporaryRedirect => StatusCode::TEMPORARY_REDIRECT,
            RedirectResponseCode::PermanentRedirect => StatusCode::PERMANENT_REDIRECT,
        },
        strip_query,
    })
}

/// Converts a `DirectResponseAction`.
pub(super) fn direct(cx: &mut Context, action: pb::DirectResponseAction, max_body: u32) -> Part<DirectResponse> {
    let pb::DirectResponseAction { status, body, body_format } = action;
    if body_format.is_some() {
        return Ok(Err(cx.unsupported("body_format", "body_format")));
    }
    let status = match u16::try_from(status).map(StatusCode::from_u16) {
        Ok(Ok(code)) if (200..600).contains(&status) => code,
        _ => return Err(cx.reject("status", "value must be inside range [200, 600)")),
    };
    let body = match body {
        None => Bytes::new(),
        Some(source) => cx.at("body", |cx| data_source::read(cx, source))?,
    };
    if u64::try_from(body.len()).is_ok_and(|length| length > u64::from(max_body)) {
        let why = format!("response body size is {} bytes; maximum is {max_body}", body.len());
        return Err(cx.reject("body", why));
    }
    Ok(Ok(DirectResponse { status, body }))
}
