//! Certificates to test with.

use std::sync::Arc;

use config::model::tls::{
    Certificates, DownstreamTls, Identity, Parameters, Pattern, Resumption, SanKind, SanMatch, StringMatch, Tickets,
    Validation, ValidationSource,
};
use config::verify::Trust;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair, SanType};
use rustls::pki_types::PrivateKeyDer;
use rustls::sign::SingleCertAndKey;
use rustls::{ClientConfig, RootCertStore};

/// A certificate authority, as the control plane's for its admin calls.
pub(super) struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    pub(super) fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self { issuer: CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap() }
    }

    fn issue(&self, name: SanType, usage: ExtendedKeyUsagePurpose) -> Identity {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.subject_alt_names = vec![name];
        params.extended_key_usages = vec![usage];
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Identity::new(vec![certificate.der().clone()], &PrivateKeyDer::Pkcs8(key.serialize_der().into())).unwrap()
    }

    /// A server context that takes only clients of this authority with that DNS name.
    pub(super) fn downstream_tls(&self, client: &str) -> DownstreamTls {
        let server = self.issue(SanType::IpAddress([127, 0, 0, 1].into()), ExtendedKeyUsagePurpose::ServerAuth);
        let matcher = StringMatch { pattern: Pattern::Exact(client.into()), ignore_case: false };
        let trust = Trust::new(&[self.issuer.der().clone()]).unwrap();
        let validation = Validation {
            subject_alt_names: [SanMatch { kind: SanKind::Dns, matcher }].into(),
            ..Validation::by_ca(trust.into())
        };
        DownstreamTls {
            certificates: Certificates::Inline([Arc::new(server)].into()),
            validation: Some(ValidationSource::Inline(Arc::new(validation))),
            require_client_certificate: true,
            require_sni: false,
            alpn: Box::default(),
            parameters: Parameters::default(),
            resumption: Resumption { tickets: Tickets::Own, stateful: true, lifetime: None },
            prefer_client_ciphers: false,
            full_scan_certs_on_sni_mismatch: false,
            id: 0,
        }
    }

    /// A client of this authority.
    pub(super) fn client(&self, name: Option<&str>) -> Arc<ClientConfig> {
        self.client_of(name.map(|name| self.client_identity(name)))
    }

    /// A client with our certificate that trusts another authority's servers.
    pub(super) fn client_trusting(&self, other: &Self, name: &str) -> Arc<ClientConfig> {
        other.client_of(Some(self.client_identity(name)))
    }

    fn client_identity(&self, name: &str) -> Identity {
        self.issue(SanType::DnsName(name.try_into().unwrap()), ExtendedKeyUsagePurpose::ClientAuth)
    }

    fn client_of(&self, identity: Option<Identity>) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(self.issuer.der().clone()).unwrap();
        let builder = ClientConfig::builder_with_provider(config::verify::rustls::provider());
        let builder = builder.with_safe_default_protocol_versions().unwrap().with_root_certificates(roots);
        Arc::new(match identity {
            Some(identity) => builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(identity.certified))),
            None => builder.with_no_client_auth(),
        })
    }
}
