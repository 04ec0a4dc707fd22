//! Whom to trust, and the names a peer must carry.

use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3 as pb;
use envoy_types::pb::envoy::r#type::matcher::v3 as matcher;
use pb::certificate_validation_context::TrustChainVerification;
use regex::Regex;

use super::certificates;
use crate::model::data_source;
use crate::model::tls::{Pattern, SanKind, SanMatch, StringMatch, Validation};
use crate::reject::{Context, Rejection, Unsupported, immaterial};
use crate::verify::Trust;

/// `None`: the client is not verified at all.
pub(crate) type Validated = Option<Result<Validation, Unsupported>>;

pub(crate) fn validation(cx: &mut Context, context: pb::CertificateValidationContext) -> Result<Validated, Rejection> {
    let pb::CertificateValidationContext {
        trusted_ca,
        ca_certificate_provider_instance,
        system_root_certs,
        watched_directory,
        verify_certificate_spki,
        verify_certificate_hash,
        match_typed_subject_alt_names,
        match_subject_alt_names,
        require_signed_certificate_timestamp,
        crl,
        allow_expired_certificate,
        trust_chain_verification,
        custom_validator_config,
        only_verify_leaf_cert_crl,
        max_verify_depth,
        suppress_client_ca_list,
    } = context;
    immaterial(only_verify_leaf_cert_crl, "goes with crl");
    immaterial(suppress_client_ca_list, "a hint to the client, which is free to send any certificate");
    cx.ignore("watched_directory", &watched_directory, "the files are read once");
    cx.ignore("allow_expired_certificate", &allow_expired_certificate, "expired certificates are refused");
    cx.ignore("max_verify_depth", &max_verify_depth, "the library's own bound holds");
    let trust: TrustChainVerification = cx.variant("trust_chain_verification", trust_chain_verification)?;
    // What narrows the set of accepted peers must not be passed over.
    let refused = [
        ("ca_certificate_provider_instance", ca_certificate_provider_instance.is_some()),
        ("system_root_certs", system_root_certs.is_some()),
        ("verify_certificate_spki", !verify_certificate_spki.is_empty()),
        ("verify_certificate_hash", !verify_certificate_hash.is_empty()),
        ("require_signed_certificate_timestamp", require_signed_certificate_timestamp.is_some()),
        ("crl", crl.is_some()),
        ("custom_validator_config", custom_validator_config.is_some()),
        ("trust_chain_verification", trust != TrustChainVerification::VerifyTrustChain),
    ];
    if let Some((field, _)) = refused.into_iter().find(|(_, set)| *set) {
        return Ok(Some(Err(cx.unsupported(field, field))));
    }
    let typed = cx.each("match_typed_subject_alt_names", match_typed_subject_alt_names, san)?;
    // The deprecated list matches any kind of name.
    let untyped = cx.each("match_subject_alt_names", match_subject_alt_names, |cx, m| {
        let kinds = [SanKind::Dns, SanKind::Uri, SanKind::Ip, SanKind::Email];
        let matcher = string_match(cx, m)?;
        Ok(kinds.map(|kind| SanMatch { kind, matcher: matcher.clone() }))
    })?;
    let subject_alt_names: Box<[_]> = typed.into_iter().chain(untyped.into_iter().flatten()).collect();
    let Some(ca) = trusted_ca else {
        return match subject_alt_names.is_empty() {
            true => Ok(None),
            false => Err(cx.reject(
                "trusted_ca",
                "SAN-based verification of peer certificates without trusted CA is insecure and not allowed",
            )),
        };
    };
    let trusted_ca = cx.at("trusted_ca", |cx| {
        let pem = data_source::read(cx, ca)?;
        certificates(cx, &pem)
    })?;
    let trust = Trust::new(&trusted_ca).map_err(|e| cx.reject("trusted_ca", e.to_string()))?;
    Ok(Some(Ok(Validation { subject_alt_names, ..Validation::by_ca(trust.into()) })))
}

fn san(cx: &mut Context, san: pb::SubjectAltNameMatcher) -> Result<SanMatch, Rejection> {
    use pb::subject_alt_name_matcher::SanType;
    let pb::SubjectAltNameMatcher { san_type, matcher, oid } = san;
    let kind = match cx.variant("san_type", san_type)? {
        SanType::Unspecified => return Err(cx.reject("san_type", "value must not be SAN_TYPE_UNSPECIFIED")),
        SanType::OtherName => return Err(cx.reject("san_type", "OTHER_NAME is not supported")),
        SanType::Email => SanKind::Email,
        SanType::Dns => SanKind::Dns,
        SanType::Uri => SanKind::Uri,
        SanType::IpAddress => SanKind::Ip,
    };
    immaterial(oid, "for OTHER_NAME");
    let matcher = cx.required("matcher", matcher)?;
    Ok(SanMatch { kind, matcher: cx.at("matcher", |cx| string_match(cx, matcher))? })
}

/// Converts a StringMatcher.
pub(crate) fn string_match(cx: &mut Context, matcher: matcher::StringMatcher) -> Result<StringMatch, Rejection> {
    use matcher::string_matcher::MatchPattern;
    let matcher::StringMatcher { ignore_case, match_pattern } = matcher;
    let some = |field, text: String| cx.not_empty(field, &text).map(|()| text.into_boxed_str());
    let pattern = match cx.required("match_pattern", match_pattern)? {
        MatchPattern::Exact(text) => Pattern::Exact(text.into()),
        MatchPattern::Prefix(text) => Pattern::Prefix(some("prefix", text)?),
        MatchPattern::Suffix(text) => Pattern::Suffix(some("suffix", text)?),
        MatchPattern::Contains(text) => Pattern::Contains(some("contains", text)?),
        MatchPattern::SafeRegex(matcher) => Pattern::Regex(Box::new(cx.at("safe_regex", |cx| regex(cx, matcher))?)),
        MatchPattern::Custom(_) => return Err(cx.reject("custom", "custom matchers are not supported")),
    };
    Ok(StringMatch { pattern, ignore_case })
}

/// A regex that matches the whole text, as RE2's FullMatch.
pub(crate) fn regex(cx: &Context, matcher: matcher::RegexMatcher) -> Result<Regex, Rejection> {
    let matcher::RegexMatcher { regex, engine_type } = matcher;
    immaterial(engine_type, "there is one engine; its program size is bounded by itself");
    cx.not_empty("regex", &regex)?;
    Regex::new(&format!(r"\A(?:{regex})\z"))
        .map_err(|e| cx.reject("regex", format!("is not a regular expression: {e}")))
}
