//! TLS contexts as Envoy and we take them alike.

use serde_json::{Value, json};

use crate::bootstrap::{kind, merged};
use crate::ca::{Authority, Leaf};

/// The transport socket of a chain; `common` is its common_tls_context, `more` is merged into the context.
pub fn downstream(common: Value, more: Value) -> Value {
    socket("Downstream", common, more)
}

/// The same of a chain whose clients must show a certificate, as in a mesh.
pub fn mutual(common: Value) -> Value {
    downstream(common, json!({"require_client_certificate": true}))
}

/// The transport socket of a cluster.
pub fn upstream(common: Value, more: Value) -> Value {
    socket("Upstream", common, more)
}

fn socket(side: &str, common: Value, more: Value) -> Value {
    let context = json!({
        "@type": kind(&format!("envoy.extensions.transport_sockets.tls.v3.{side}TlsContext")),
        "common_tls_context": common,
    });
    json!({"transport_socket": {"name": "envoy.transport_sockets.tls", "typed_config": merged(context, more)}})
}

/// A pair, inline.
pub fn pair(certificate: &str, key: &str) -> Value {
    json!({"certificate_chain": {"inline_string": certificate}, "private_key": {"inline_string": key}})
}

/// What is shown: these certificates, inline.
pub fn shows(leaves: &[&Leaf]) -> Value {
    json!({"tls_certificates": leaves.iter().map(|leaf| pair(&leaf.certificate, &leaf.key)).collect::<Vec<_>>()})
}

/// Who is trusted: these roots, inline; `more` is merged into the validation context.
pub fn trusts(roots: &[&Authority], more: Value) -> Value {
    json!({"validation_context": merged(roots_of(roots), more)})
}

pub(crate) fn roots_of(roots: &[&Authority]) -> Value {
    json!({"trusted_ca": {"inline_string": roots.iter().map(|root| root.pem()).collect::<String>()}})
}

/// What is shown: the secret of this name.
pub fn shows_secret(name: &str) -> Value {
    json!({"tls_certificate_sds_secret_configs": [by_ads(name)]})
}

/// Who is trusted: the secret of this name, with `more` beside it, as Kuma combines the two.
pub fn trusts_secret(name: &str, more: Value) -> Value {
    json!({"combined_validation_context": {
        "default_validation_context": merged(json!({}), more),
        "validation_context_sds_secret_config": by_ads(name),
    }})
}

fn by_ads(name: &str) -> Value {
    json!({"name": name, "sds_config": {"ads": {}, "resource_api_version": "V3"}})
}

/// The peer's certificate must hold an identity that begins so.
pub fn identity_prefix(prefix: &str) -> Value {
    json!({"match_typed_subject_alt_names": [{"san_type": "URI", "matcher": {"prefix": prefix}}]})
}

/// The peer's certificate must hold exactly this name (`DNS`, `URI`, `IP_ADDRESS`).
pub fn name_exact(san_type: &str, name: &str) -> Value {
    json!({"match_typed_subject_alt_names": [{"san_type": san_type, "matcher": {"exact": name}}]})
}

/// Trust domains, each with roots of its own (Envoy's SPIFFE validator); to be merged into a validation context.
pub fn trust_domains(domains: &[(&str, &[&Authority])]) -> Value {
    let bundle = |roots: &[&Authority]| roots.iter().map(|root| root.pem()).collect::<String>();
    let domain =
        |(name, roots): &(&str, &[&Authority])| json!({"name": name, "trust_bundle": {"inline_string": bundle(roots)}});
    json!({"custom_validator_config": {
        "name": "envoy.tls.cert_validator.spiffe",
        "typed_config": {
            "@type": kind("envoy.extensions.transport_sockets.tls.v3.SPIFFECertValidatorConfig"),
            "trust_domains": domains.iter().map(domain).collect::<Vec<_>>(),
        },
    }})
}
