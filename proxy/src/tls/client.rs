//! TLS with endpoints: an UpstreamTlsContext as rustls' client configuration.

use std::sync::Arc;

use config::model::tls::{Identity, SecretRef, Trusted, UpstreamTls};
use config::verify::rustls::{Expect, server_verifier};
use rustls::client::danger::ServerCertVerifier;
use rustls::client::{ResolvesClientCert, Resumption};
use rustls::pki_types::{ServerName, UnixTime};
use rustls::{ClientConfig, Error};

use super::context::{Configured, Context, NotReady, Secrets, validation};
use super::cryptography::{provider, versions};
use super::error::TlsError;
use super::names::{self, ClientConfigs};
use super::server::identities;
use super::sessions::Sessions;
use super::{Facts, noting};

/// An UpstreamTlsContext at run time.
pub(crate) type ClientContext = Context<UpstreamTls, Client>;

/// What handshakes with endpoints use.
#[derive(Debug)]
pub(crate) struct Client {
    /// Where a server name is sent.
    named: Side,
    /// Where none is; with `auto_sni_san_validation` there is no name that could be looked for then, and the names of the
    /// validation count. Else the same.
    unnamed: Option<Side>,
    own: Option<Arc<Identity>>,
}

#[derive(Debug)]
struct Side {
    configs: ClientConfigs,
    servers: Arc<dyn ServerCertVerifier>,
}

impl Client {
    /// The certificate that is shown to those who ask. Whoever resumes does not; it is the same one then.
    pub(crate) fn own(&self) -> Option<&Arc<Identity>> {
        self.own.as_ref()
    }

    /// For a connection that sends this name.
    pub(crate) fn configs(&self, name: Option<&[u8]>) -> &ClientConfigs {
        &self.side(name).configs
    }

    /// A session of before is resumed on what the server showed then: it has to pass today's checks too.
    ///
    /// # Errors
    /// The certificate shown then is refused now.
    pub(crate) fn check_resumed(&self, facts: &Facts) -> Result<(), TlsError> {
        let (true, [leaf, rest @ ..]) = (facts.resumed, &*facts.peer_certificates) else { return Ok(()) };
        let name = facts.sni.as_deref();
        let dialled = name.and_then(|name| ServerName::try_from(name).ok());
        let dialled = dialled.unwrap_or(ServerName::IpAddress(std::net::Ipv4Addr::UNSPECIFIED.into()));
        let verdict = self.side(name).servers.verify_server_cert(leaf, rest, &dialled, &[], UnixTime::now());
        verdict.map(drop).map_err(TlsError::from)
    }

    fn side(&self, name: Option<&[u8]>) -> &Side {
        match (&self.unnamed, name) {
            (Some(unnamed), None) => unnamed,
            _ => &self.named,
        }
    }
}

impl Configured for UpstreamTls {
    type Ready = Client;

    fn secrets(&self) -> impl Iterator<Item = &Arc<SecretRef>> {
        Self::secrets(self)
    }

    fn build(&self, secrets: &Secrets) -> Result<Client, NotReady> {
        let own = identities(&self.certificates, secrets)?.first().cloned();
        let identity = own
            .clone()
            .map(|own| -> Arc<dyn ResolvesClientCert> { names::client_identity(Arc::new(noting::Own(own))) });
        let validation = self.validation.as_ref().map(|source| validation(secrets, source)).transpose()?;
        // Where the validation is a secret, only now it shows: a name alone, which anybody may claim, is no check.
        let anyone = validation.as_ref().is_none_or(|validation| matches!(validation.trusted, Trusted::Anyone));
        if self.auto_sni_san_validation && anyone {
            let why = "'auto_sni_san_validation' was configured without configuring a trusted CA";
            return Err(NotReady::Unusable(why.into()));
        }
        let side = |expect: Expect| {
            let servers = server_verifier(validation.clone(), expect);
            let config = config(self, &servers, identity.as_ref());
            let config = config.map_err(|error| NotReady::Unusable(error.to_string().into()))?;
            Ok(Side { configs: ClientConfigs::new(config), servers })
        };
        Ok(match self.auto_sni_san_validation {
            true => Client { named: side(Expect::Dialled)?, unnamed: Some(side(Expect::Configured)?), own },
            false => Client { named: side(Expect::Configured)?, unnamed: None, own },
        })
    }
}

/// A client's configuration that verifies by `servers`.
fn config(
    tls: &UpstreamTls,
    servers: &Arc<dyn ServerCertVerifier>,
    identity: Option<&Arc<dyn ResolvesClientCert>>,
) -> Result<ClientConfig, Error> {
    // rustls makes room for all of them at once.
    let most = (tls.max_session_keys as usize).min(1024);
    let sessions = (most > 0).then(|| Sessions::new(most));
    let builder = ClientConfig::builder_with_provider(provider(&tls.parameters))
        .with_protocol_versions(&versions(&tls.parameters))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(noting::Servers {
            inner: Arc::clone(servers),
            sessions: sessions.clone(),
        }));
    let mut config = match identity {
        Some(identity) => builder.with_client_cert_resolver(Arc::clone(identity)),
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = tls.alpn.iter().map(|name| name.to_vec()).collect();
    config.resumption = sessions.map_or_else(Resumption::disabled, |sessions| Resumption::store(sessions));
    Ok(config)
}
