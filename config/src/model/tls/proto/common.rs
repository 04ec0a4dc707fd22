//! From `CommonTlsContext`.

use std::sync::Arc;

use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3 as pb;
use pb::common_tls_context::{CombinedCertificateValidationContext, ValidationContextType};

use super::{Fault, certificate, parameters, sds, validation};
use crate::model::metadata::proto::Interner;
use crate::model::tls::{Certificates, Parameters, PartialValidation, ValidationSource};
use crate::reject::{Context, Rejection};

/// What servers and clients have in common.
pub(super) struct Common {
    pub(super) certificates: Certificates,
    pub(super) validation: Option<ValidationSource>,
    pub(super) alpn: Box<[Box<[u8]>]>,
    pub(super) parameters: Parameters,
}

impl Common {
    /// How many certificates there are.
    pub(super) fn certificates(&self) -> usize {
        self.certificates.inline().len() + self.certificates.secrets().len()
    }
}

pub(super) fn common(
    cx: &mut Context,
    interner: &mut Interner,
    context: pb::CommonTlsContext,
) -> Result<Common, Fault> {
    let pb::CommonTlsContext {
        tls_params,
        tls_certificates,
        tls_certificate_sds_secret_configs,
        tls_certificate_provider_instance,
        custom_tls_certificate_selector,
        tls_certificate_certificate_provider,
        tls_certificate_certificate_provider_instance,
        alpn_protocols,
        custom_handshaker,
        key_log,
        validation_context_type,
    } = context;
    let refused = [
        ("tls_certificate_provider_instance", tls_certificate_provider_instance.is_some()),
        ("custom_tls_certificate_selector", custom_tls_certificate_selector.is_some()),
        ("tls_certificate_certificate_provider", tls_certificate_certificate_provider.is_some()),
        ("tls_certificate_certificate_provider_instance", tls_certificate_certificate_provider_instance.is_some()),
        ("custom_handshaker", custom_handshaker.is_some()),
    ];
    if let Some((field, _)) = refused.into_iter().find(|(_, set)| *set) {
        return Err(cx.unsupported(field, field).into());
    }
    cx.ignore("key_log", &key_log, "session keys are never written");
    let parameters = cx.at("tls_params", |cx| parameters(cx, tls_params.unwrap_or_default()))?;
    // As in Envoy, those in the context have precedence, and an empty one is passed over.
    let inline = tls_certificates.into_iter().filter(|certificate| *certificate != pb::TlsCertificate::default());
    let inline = cx.each("tls_certificates", inline, certificate::identity)?;
    let field = "tls_certificate_sds_secret_configs";
    let of_sds =
        cx.each(field, tls_certificate_sds_secret_configs, |cx, config| sds::reference(cx, interner, config))?;
    let certificates = match inline.is_empty() && !of_sds.is_empty() {
        true => Certificates::Sds(of_sds),
        false => Certificates::Inline(inline),
    };
    let validation = validation_context_type.map(|context| source(cx, interner, context)).transpose()?;
    let alpn = alpn_protocols.into_iter().map(|name| alpn(cx, name)).collect::<Result<_, _>>()?;
    Ok(Common { certificates, validation, alpn, parameters })
}

/// RFC 7301: 1 to 255 bytes.
fn alpn(cx: &Context, name: String) -> Result<Box<[u8]>, Rejection> {
    match name.len() {
        1..=255 => Ok(name.into_bytes().into()),
        _ => Err(cx.reject("alpn_protocols", "Invalid ALPN protocol string: 1 to 255 bytes are needed")),
    }
}

fn source(
    cx: &mut Context,
    interner: &mut Interner,
    context: ValidationContextType,
) -> Result<ValidationSource, Fault> {
    match context {
        ValidationContextType::ValidationContext(context) => {
            let trusts = interner.trusts();
            cx.at("validation_context", |cx| validation::validation(cx, &trusts, context))
                .map(|validation| ValidationSource::Inline(Arc::new(validation)))
        }
        ValidationContextType::ValidationContextSdsSecretConfig(config) => {
            let secret = cx.at("validation_context_sds_secret_config", |cx| sds::reference(cx, interner, config))?;
            Ok(ValidationSource::Sds { secret, default: Arc::new(PartialValidation::default()) })
        }
        ValidationContextType::CombinedValidationContext(combined) => {
            cx.at("combined_validation_context", |cx| self::combined(cx, interner, combined))
        }
        ValidationContextType::ValidationContextCertificateProvider(_)
        | ValidationContextType::ValidationContextCertificateProviderInstance(_) => {
            Err(cx.unsupported("validation_context_type", "certificate provider").into())
        }
    }
}

fn combined(
    cx: &mut Context,
    interner: &mut Interner,
    combined: CombinedCertificateValidationContext,
) -> Result<ValidationSource, Fault> {
    let CombinedCertificateValidationContext {
        default_validation_context,
        validation_context_sds_secret_config,
        validation_context_certificate_provider,
        validation_context_certificate_provider_instance,
    } = combined;
    for (field, set) in [
        ("validation_context_certificate_provider", validation_context_certificate_provider.is_some()),
        (
            "validation_context_certificate_provider_instance",
            validation_context_certificate_provider_instance.is_some(),
        ),
    ] {
        if set {
            return Err(cx.unsupported(field, field).into());
        }
    }
    let context = cx.required("default_validation_context", default_validation_context)?;
    let trusts = interner.trusts();
    let default = cx.at("default_validation_context", |cx| validation::partial(cx, &trusts, context))?;
    let config = cx.required("validation_context_sds_secret_config", validation_context_sds_secret_config)?;
    let secret = cx.at("validation_context_sds_secret_config", |cx| sds::reference(cx, interner, config))?;
    if let Some(unsupported) = default.unsupported {
        return Err(unsupported.into());
    }
    Ok(ValidationSource::Sds { secret, default: Arc::new(default) })
}
