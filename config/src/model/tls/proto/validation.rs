//! From `CertificateValidationContext`: whom to trust, and the names a peer must carry.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3 as pb;
use pb::certificate_validation_context::TrustChainVerification;

use super::certificate::watched_file;
use super::{Fault, Trusts, anchors, spiffe, string_match};
use crate::bootstrap::kuma::system_bundle;
use crate::model::data_source::{MAX_BUNDLE, Watched, watched};
use crate::model::tls::{Crls, Incomplete, PartialValidation, Pins, SanKind, SanMatch, Validation};
use crate::reject::{Context, Rejection, immaterial};
use crate::verify::Trust;

/// Converts a context that stands alone.
pub(crate) fn validation(
    cx: &mut Context,
    trusts: &Trusts,
    context: pb::CertificateValidationContext,
) -> Result<Validation, Fault> {
    let partial = partial(cx, trusts, context)?;
    partial.complete().map_err(|why| match why {
        Incomplete::Unsupported(unsupported) => Fault::Unsupported(unsupported),
        other @ (Incomplete::NamesWithoutCa | Incomplete::CrlWithoutCa | Incomplete::ExpiryWithoutCa) => {
            Fault::Rejected(cx.reject("trusted_ca", other.to_string()))
        }
    })
}

/// Converts a context that may be merged with another.
pub(super) fn partial(
    cx: &mut Context,
    trusts: &Trusts,
    context: pb::CertificateValidationContext,
) -> Result<PartialValidation, Rejection> {
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
    let verification: TrustChainVerification = cx.variant("trust_chain_verification", trust_chain_verification)?;
    let mut partial = PartialValidation {
        allow_expired: allow_expired_certificate,
        accept_untrusted: verification == TrustChainVerification::AcceptUntrusted,
        max_depth: max_verify_depth.map(|w| w.value),
        leaf_crl_only: only_verify_leaf_cert_crl,
        hide_authorities: suppress_client_ca_list,
        ..PartialValidation::default()
    };
    if partial.max_depth.is_some_and(|depth| depth > 100) {
        return Err(cx.reject("max_verify_depth.value", "value must be less than or equal to 100"));
    }
    // What narrows the set of accepted peers must not be passed over.
    for (field, set) in [
        ("ca_certificate_provider_instance", ca_certificate_provider_instance.is_some()),
        ("require_signed_certificate_timestamp", require_signed_certificate_timestamp.is_some_and(|f| f.value)),
    ] {
        if set {
            partial.unsupported = Some(cx.unsupported(field, field));
        }
    }
    let folder = watched_directory.as_ref();
    let mut files = Vec::new();
    let mut read = |cx: &mut Context, source| {
        let Watched { bytes, file } = watched(cx, source, MAX_BUNDLE)?;
        files.extend(file.map(|file| watched_file(file, folder)));
        Ok::<_, Rejection>(bytes)
    };
    if let Some(ca) = trusted_ca {
        partial.ca = Some(cx.at("trusted_ca", |cx| {
            let pem = read(cx, ca)?;
            trusts.trust(cx, &pem)
        })?);
    } else if system_root_certs.is_some() {
        partial.ca = Some(cx.at("system_root_certs", |cx| system(cx, trusts))?);
    }
    if let Some(crl) = crl {
        let lists = cx.at("crl", |cx| {
            let pem = read(cx, crl)?;
            anchors::crls(cx, &pem)
        })?;
        partial.crls = Some(Arc::new(Crls(lists)));
    }
    if let Some(custom) = custom_validator_config {
        match cx.at("custom_validator_config", |cx| spiffe::validator(cx, trusts, custom, &mut read)) {
            Ok(spiffe) => partial.spiffe = Some(spiffe),
            Err(Fault::Unsupported(unsupported)) => partial.unsupported = Some(unsupported),
            Err(Fault::Rejected(rejection)) => return Err(rejection),
        }
    }
    partial.pins = Pins {
        certificates: cx.each("verify_certificate_hash", verify_certificate_hash, |cx, hash| digest(cx, &hash))?,
        keys: cx.each("verify_certificate_spki", verify_certificate_spki, |cx, hash| key_digest(cx, &hash))?,
    };
    match names(cx, match_typed_subject_alt_names, match_subject_alt_names) {
        Ok(names) => partial.subject_alt_names = names,
        Err(Fault::Unsupported(unsupported)) => partial.unsupported = Some(unsupported),
        Err(Fault::Rejected(rejection)) => return Err(rejection),
    }
    partial.files = files.into();
    Ok(partial)
}

/// The system's roots.
fn system(cx: &mut Context, trusts: &Trusts) -> Result<Arc<Trust>, Rejection> {
    let path = system_bundle().ok_or_else(|| cx.reject("", "this system has no CA bundle"))?;
    let pem = std::fs::read(&path).map_err(|e| cx.reject("", format!("cannot read {}: {e}", path.display())))?;
    trusts.trust(cx, &pem)
}

/// SHA-256 in hexadecimal, also as a fingerprint with colons.
fn digest(cx: &Context, text: &str) -> Result<[u8; 32], Rejection> {
    let bad = || cx.reject("", format!("Invalid hex-encoded SHA-256 {text}"));
    let digits: Vec<u8> = match text.len() {
        95 => text.bytes().filter(|byte| *byte != b':').collect(),
        _ => text.bytes().collect(),
    };
    let nibble = |digit: u8| char::from(digit).to_digit(16).and_then(|n| u8::try_from(n).ok());
    let bytes: Option<Vec<u8>> = digits
        .chunks(2)
        .map(|pair| match *pair {
            [high, low] => Some(nibble(high)? << 4 | nibble(low)?),
            _ => None,
        })
        .collect();
    bytes.and_then(|bytes| bytes.try_into().ok()).ok_or_else(bad)
}

/// SHA-256 in Base64.
fn key_digest(cx: &Context, text: &str) -> Result<[u8; 32], Rejection> {
    let decoded = STANDARD.decode(text).ok().and_then(|bytes| bytes.try_into().ok());
    decoded.ok_or_else(|| cx.reject("", format!("Invalid base64-encoded SHA-256 {text}")))
}

fn names(
    cx: &mut Context,
    typed: Vec<pb::SubjectAltNameMatcher>,
    untyped: Vec<envoy_types::pb::envoy::r#type::matcher::v3::StringMatcher>,
) -> Result<Box<[SanMatch]>, Fault> {
    if !typed.is_empty() && !untyped.is_empty() {
        let reason = "SAN-based verification using both match_typed_subject_alt_names and the deprecated \
                      match_subject_alt_names is not allowed";
        return Err(cx.reject("match_subject_alt_names", reason).into());
    }
    let typed = cx.each("match_typed_subject_alt_names", typed, san)?;
    // The deprecated list matches any kind of name.
    let untyped = cx.each("match_subject_alt_names", untyped, |cx, matcher| {
        let kinds = [SanKind::Dns, SanKind::Uri, SanKind::Ip, SanKind::Email];
        let matcher = string_match(cx, matcher)?;
        Ok::<_, Rejection>(kinds.map(|kind| SanMatch { kind, matcher: matcher.clone() }))
    })?;
    Ok(typed.into_iter().chain(untyped.into_iter().flatten()).collect())
}

fn san(cx: &mut Context, san: pb::SubjectAltNameMatcher) -> Result<SanMatch, Fault> {
    use pb::subject_alt_name_matcher::SanType;
    let pb::SubjectAltNameMatcher { san_type, matcher, oid } = san;
    let kind = match cx.variant("san_type", san_type)? {
        SanType::Unspecified => return Err(cx.reject("san_type", "value must not be SAN_TYPE_UNSPECIFIED").into()),
        SanType::OtherName => return Err(cx.unsupported("san_type", "san_type OTHER_NAME").into()),
        SanType::Email => SanKind::Email,
        SanType::Dns => SanKind::Dns,
        SanType::Uri => SanKind::Uri,
        SanType::IpAddress => SanKind::Ip,
    };
    immaterial(oid, "for OTHER_NAME");
    let matcher = cx.required("matcher", matcher)?;
    Ok(SanMatch { kind, matcher: cx.at("matcher", |cx| string_match(cx, matcher))? })
}
