//! From `SPIFFECertValidatorConfig`.

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use envoy_types::pb::envoy::config::core::v3 as core;
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3 as pb;
use pb::spiffe_cert_validator_config::TrustDomain;
use rustls_pki_types::CertificateDer;
use serde::Deserialize;

use super::{Fault, Trusts};
use crate::model::extension;
use crate::model::tls::SpiffeTrust;
use crate::reject::{Context, Rejection, immaterial};
use crate::verify::Trust;

/// Reads a data source and takes note of its file.
type Read<'a> = dyn FnMut(&mut Context, core::DataSource) -> Result<Vec<u8>, Rejection> + 'a;

/// Bundles by name.
type Bundles = Vec<(Arc<str>, Arc<Trust>)>;

/// Converts a custom validator; SPIFFE's is the only one.
pub(super) fn validator(
    cx: &mut Context,
    trusts: &Trusts,
    custom: core::TypedExtensionConfig,
    read: &mut Read<'_>,
) -> Result<Arc<SpiffeTrust>, Fault> {
    let core::TypedExtensionConfig { name, typed_config } = custom;
    let (type_name, body) = extension::required(cx, &name, typed_config)?;
    if &*type_name != "envoy.extensions.transport_sockets.tls.v3.SPIFFECertValidatorConfig" {
        return Err(cx.unsupported("typed_config", &type_name).into());
    }
    cx.at("typed_config", |cx| {
        let pb::SpiffeCertValidatorConfig { trust_domains, trust_bundles } = cx.decode(&body)?;
        let bundles = match trust_bundles {
            Some(source) => {
                immaterial(trust_domains, "trust_bundles has precedence");
                cx.at("trust_bundles", |cx| {
                    let json = read(cx, source)?;
                    bundle_map(cx, &json)
                })?
            }
            None => listed(cx, trusts, trust_domains, read)?,
        };
        Ok(Arc::new(SpiffeTrust::new(bundles)))
    })
}

fn listed(
    cx: &mut Context,
    trusts: &Trusts,
    domains: Vec<TrustDomain>,
    read: &mut Read<'_>,
) -> Result<Bundles, Rejection> {
    let mut bundles = Bundles::new();
    for (index, domain) in domains.into_iter().enumerate() {
        let TrustDomain { name, trust_bundle, workload_trust_domain } = domain;
        cx.item("trust_domains", index, |cx| {
            cx.not_empty("name", &name)?;
            let source = cx.required("trust_bundle", trust_bundle)?;
            let trust = cx.at("trust_bundle", |cx| {
                let pem = read(cx, source)?;
                trusts.trust(cx, &pem)
            })?;
            if !workload_trust_domain.is_empty() {
                cx.note("workload_trust_domain", "no connection has this filter state: the bundle is trusted by none");
                return Ok(());
            }
            if bundles.iter().any(|(known, _)| **known == *name) {
                let reason = format!("Multiple trust bundles are given for one trust domain for {name}");
                return Err(cx.reject("name", reason));
            }
            bundles.push((name.into(), trust));
            Ok(())
        })?;
    }
    Ok(bundles)
}

/// A SPIFFE trust bundle map: trust domain -> bundle (SPIFFE Trust Domain and Bundle §4, a JWK Set).
#[derive(Deserialize)]
struct BundleMap {
    trust_domains: BTreeMap<String, Bundle>,
}

#[derive(Deserialize)]
struct Bundle {
    keys: Vec<Key>,
}

/// A JWK; of those for X.509-SVIDs the certificates count.
#[derive(Deserialize)]
struct Key {
    #[serde(default)]
    r#use: String,
    #[serde(default)]
    x5c: Vec<String>,
}

fn bundle_map(cx: &mut Context, json: &[u8]) -> Result<Bundles, Rejection> {
    let map: BundleMap =
        serde_json::from_slice(json).map_err(|e| cx.reject("", format!("is no SPIFFE trust bundle map: {e}")))?;
    if map.trust_domains.is_empty() {
        return Err(cx.reject("", "No trust domains found in SPIFFE bundle"));
    }
    let mut bundles = Bundles::new();
    for (name, Bundle { keys }) in map.trust_domains {
        let x509 = keys.into_iter().filter(|key| key.r#use == "x509-svid");
        let certificates = x509.flat_map(|key| key.x5c).map(|text| {
            let der = STANDARD.decode(text).map_err(|e| cx.reject("", format!("{name}: x5c is not Base64: {e}")))?;
            Ok(CertificateDer::from(der))
        });
        let certificates: Vec<CertificateDer<'static>> = certificates.collect::<Result<_, Rejection>>()?;
        let trust = Trust::new(&certificates).map_err(|e| cx.reject("", format!("{name}: {e}")))?;
        bundles.push((name.into(), Arc::new(trust)));
    }
    Ok(bundles)
}
