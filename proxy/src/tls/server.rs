//! TLS with clients: a DownstreamTlsContext as rustls' server configuration.

use std::sync::Arc;

use config::model::tls::{Certificates, DownstreamTls, Identity, SecretRef, Tickets as Asked, Validation};
use config::verify::rustls::client_verifier;
use config::verify::{Presented, vouches};
use rustls::ServerConfig;
use rustls::pki_types::UnixTime;
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, ProducesTickets};

use super::Facts;
use super::context::{Configured, Context, NotReady, Secrets, identity, ticket_keys, validation};
use super::cryptography::{provider, versions};
use super::error::TlsError;
use super::names::{self, NoTickets, ServerConfigs};
use super::noting;
use super::selector::Selector;
use super::tickets::Tickets;

/// A DownstreamTlsContext at run time.
pub(crate) type ServerContext = Context<DownstreamTls, Server>;

/// What handshakes with clients use.
#[derive(Debug)]
pub(crate) struct Server {
    /// For the data path.
    pub(crate) configs: Arc<ServerConfigs>,
    /// For the control plane's own listeners, which speak through tokio-rustls.
    pub(crate) config: Arc<ServerConfig>,
    /// How clients are verified; `None`: they are not asked.
    clients: Option<Arc<dyn ClientCertVerifier>>,
    validation: Option<Arc<Validation>>,
}

impl Server {
    /// rustls takes a resumed session for verified. It was, at its time: whoever resumes has to pass today's checks too.
    ///
    /// # Errors
    /// The certificate shown then is refused now, or there was none and there has to be one.
    pub(crate) fn check_resumed(&self, facts: &Facts) -> Result<(), TlsError> {
        let Some(verifier) = self.clients.as_ref().filter(|_| facts.resumed) else { return Ok(()) };
        match &*facts.peer_certificates {
            [] if verifier.client_auth_mandatory() => Err(TlsError::NoCertificate),
            [] => Ok(()),
            [leaf, rest @ ..] => match verifier.verify_client_cert(leaf, rest, UnixTime::now()) {
                Ok(_) => Ok(()),
                Err(error) => Err(error.into()),
            },
        }
    }

    /// The client has shown a certificate that is not only let in, but verified.
    pub(crate) fn has_verified(&self, facts: &Facts) -> bool {
        match (&self.validation, &*facts.peer_certificates) {
            (Some(validation), [leaf, rest @ ..]) => {
                vouches(validation, Presented { leaf, intermediates: rest }, UnixTime::now())
            }
            _ => false,
        }
    }
}

impl Configured for DownstreamTls {
    type Ready = Server;

    fn secrets(&self) -> impl Iterator<Item = &Arc<SecretRef>> {
        Self::secrets(self)
    }

    fn build(&self, secrets: &Secrets) -> Result<Server, NotReady> {
        let identities = identities(&self.certificates, secrets)?;
        if identities.is_empty() {
            return Err(NotReady::Unusable("there is no certificate".into()));
        }
        let validation = self.validation.as_ref().map(|source| validation(secrets, source)).transpose()?;
        let asked = validation.is_some() || self.require_client_certificate;
        let clients = asked.then(|| client_verifier(validation.clone(), self.require_client_certificate));
        let builder = ServerConfig::builder_with_provider(provider(&self.parameters))
            .with_protocol_versions(&versions(&self.parameters))
            .map_err(unusable)?;
        let builder = match &clients {
            Some(verifier) => {
                let noting = Arc::new(noting::Clients(Arc::clone(verifier)));
                builder.with_client_cert_verifier(names::client_verifier(noting))
            }
            None => builder.with_no_client_auth(),
        };
        let mut config = builder.with_cert_resolver(Arc::new(Selector::new(identities, self)));
        config.alpn_protocols = self.alpn.iter().map(|name| name.to_vec()).collect();
        config.ignore_client_order = !self.prefer_client_ciphers;
        // Sessions are the client's to keep: none of them is held here.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        if let Some(tickets) = tickets(self, secrets)? {
            config.ticketer = tickets;
            config.send_tls13_tickets = 1;
        }
        let mut system = config.clone();
        // A probe or a call of the control plane never comes back for its session, and nobody would check it again.
        system.send_tls13_tickets = 0;
        system.ticketer = Arc::new(NoTickets);
        Ok(Server { configs: Arc::new(ServerConfigs::new(config)), config: Arc::new(system), clients, validation })
    }
}

/// What seals session tickets; `None`: none are given out.
fn tickets(tls: &DownstreamTls, secrets: &Secrets) -> Result<Option<Arc<dyn ProducesTickets>>, NotReady> {
    let lifetime = tls.resumption.lifetime;
    let keys = match &tls.resumption.tickets {
        Asked::Off => return Ok(None),
        Asked::Own => None,
        Asked::Keys(keys) => Some(Arc::clone(keys)),
        Asked::Sds(secret) => Some(ticket_keys(secrets, secret)?),
    };
    let tickets = match keys {
        None => Tickets::own(lifetime),
        Some(keys) => Tickets::shared(&keys, tls.id, lifetime),
    };
    Ok(Some(tickets.map_err(unusable)?))
}

fn unusable(error: rustls::Error) -> NotReady {
    NotReady::Unusable(error.to_string().into())
}

/// Those of a context, in its order.
pub(super) fn identities(certificates: &Certificates, secrets: &Secrets) -> Result<Box<[Arc<Identity>]>, NotReady> {
    match certificates {
        Certificates::Inline(identities) => Ok(identities.clone()),
        Certificates::Sds(names) => names.iter().map(|name| identity(secrets, name)).collect(),
    }
}
