//! rustls' two kinds of connection under one set of verbs.

use std::sync::Arc;

use rustls::client::UnbufferedClientConnection;
use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{ConnectionState, EncodeError, EncodeTlsData, UnbufferedStatus};
use rustls::{CommonState, HandshakeKind};

use crate::tls::error::TlsError;
use crate::tls::facts::Facts;
use crate::tls::names::ServerConfigs;
use crate::tls::records::{Kernel, Records};

/// Which end this is.
pub(super) enum Role {
    /// A server that has no ClientHello yet, and so does not know which configuration it needs.
    Listening(Arc<ServerConfigs>),
    Server(Box<UnbufferedServerConnection>),
    Client(Box<UnbufferedClientConnection>),
}

/// What rustls wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// To be asked again.
    Again,
    /// The same; what it wrote starts there.
    Wrote { from: usize },
    /// Another record, if the handshake is not over.
    Idle,
    /// The peer said goodbye.
    Closed,
    /// There is application data, which the way records are shown rules out.
    Early,
}

impl Role {
    /// Shows rustls these records; how many bytes at the front it is done with.
    pub(super) fn process(&mut self, records: &mut [u8], out: &mut Vec<u8>) -> (usize, Result<Step, rustls::Error>) {
        match self {
            Self::Listening(_) => (0, Ok(Step::Idle)),
            Self::Server(connection) => take(connection.process_tls_records(records), out),
            Self::Client(connection) => take(connection.process_tls_records(records), out),
        }
    }

    pub(super) fn is_handshaking(&self) -> bool {
        self.common().is_none_or(CommonState::is_handshaking)
    }

    /// There are records of ours to be had by further steps.
    pub(super) fn wants_write(&self) -> bool {
        self.common().is_some_and(CommonState::wants_write)
    }

    /// What the handshake came to.
    pub(super) fn facts(&self, sni: Option<Box<[u8]>>) -> Result<Facts, TlsError> {
        let known = self.common().and_then(|c| Some((c, c.protocol_version()?, c.negotiated_cipher_suite()?)));
        let (common, version, suite) = known.ok_or(rustls::Error::HandshakeNotComplete)?;
        Ok(Facts {
            version,
            suite: suite.suite(),
            group: common.negotiated_key_exchange_group().map(|group| group.name()),
            resumed: common.handshake_kind() == Some(HandshakeKind::Resumed),
            sni,
            alpn: common.alpn_protocol().map(Box::from),
            peer_certificates: common.peer_certificates().map(Box::from).unwrap_or_default(),
        })
    }

    /// Takes the keys out and lets go of all that only the handshake needed.
    pub(super) fn into_records(self, masked: bool) -> Result<Records, TlsError> {
        match self {
            Self::Listening(_) => Err(rustls::Error::HandshakeNotComplete.into()),
            Self::Server(connection) => {
                let (secrets, kernel) = connection.dangerous_into_kernel_connection()?;
                Records::new(secrets, Kernel::Server(kernel))
            }
            Self::Client(connection) => {
                let (secrets, kernel) = connection.dangerous_into_kernel_connection()?;
                Records::new(secrets, Kernel::Client { kernel, resumable: !masked })
            }
        }
    }

    fn common(&self) -> Option<&CommonState> {
        match self {
            Self::Listening(_) => None,
            Self::Server(connection) => Some(connection),
            Self::Client(connection) => Some(connection),
        }
    }
}

fn take<D>(status: UnbufferedStatus<'_, '_, D>, out: &mut Vec<u8>) -> (usize, Result<Step, rustls::Error>) {
    let step = status.state.map(|state| match state {
        ConnectionState::EncodeTlsData(data) => encode(data, out),
        ConnectionState::TransmitTlsData(data) => {
            data.done();
            Step::Again
        }
        ConnectionState::BlockedHandshake | ConnectionState::WriteTraffic(_) => Step::Idle,
        ConnectionState::PeerClosed | ConnectionState::Closed => Step::Closed,
        _ => Step::Early,
    });
    (status.discard, step)
}

/// Appends one record of rustls'.
fn encode<D>(mut data: EncodeTlsData<'_, D>, out: &mut Vec<u8>) -> Step {
    let from = out.len();
    if let Err(EncodeError::InsufficientSize(wanted)) = data.encode(&mut []) {
        out.resize(from + wanted.required_size, 0);
        // It has the room that it asked for.
        let _ = data.encode(&mut out[from..]);
    }
    Step::Wrote { from }
}
