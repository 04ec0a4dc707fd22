//! What rustls' callbacks saw while a handshake was driven on this thread.
//!
//! rustls does not tell afterwards which certificate was presented and which algorithm the peer signed with. Its
//! callbacks know, and they run within the call that drives the handshake: they leave a note here, which
//! [`Notes::take`] picks up right after that call, before anything else can run on the thread.

use std::cell::RefCell;
use std::sync::Arc;

use config::model::tls::Identity;
use rustls::SignatureScheme;
use rustls::pki_types::CertificateDer;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Notes {
    /// The certificate that we presented.
    pub(crate) presented: Option<Arc<Identity>>,
    /// What the peer signed with.
    pub(crate) signed: Option<SignatureScheme>,
    /// The certificate that was refused.
    pub(crate) refused: Option<CertificateDer<'static>>,
    /// The client named no server, and has to.
    pub(crate) lacks_server_name: bool,
}

thread_local! {
    static NOTES: RefCell<Notes> = const { RefCell::new(Notes::NONE) };
}

impl Notes {
    const NONE: Self = Self { presented: None, signed: None, refused: None, lacks_server_name: false };

    /// Adds what was noted since it was last asked.
    pub(crate) fn take(&mut self) {
        let Self { presented, signed, refused, lacks_server_name } = NOTES.take();
        self.presented = presented.or(self.presented.take());
        self.signed = signed.or(self.signed);
        self.refused = refused.or(self.refused.take());
        self.lacks_server_name |= lacks_server_name;
    }
}

/// We present this one.
pub(super) fn presents(identity: &Arc<Identity>) {
    NOTES.with_borrow_mut(|notes| notes.presented = Some(Arc::clone(identity)));
}

/// The peer has signed so.
pub(super) fn signed(scheme: SignatureScheme) {
    NOTES.with_borrow_mut(|notes| notes.signed = Some(scheme));
}

/// The peer's certificate was refused.
pub(super) fn refused(certificate: &CertificateDer<'_>) {
    NOTES.with_borrow_mut(|notes| notes.refused = Some(certificate.clone().into_owned()));
}

/// The client named no server, and has to.
pub(super) fn lacks_server_name() {
    NOTES.with_borrow_mut(|notes| notes.lacks_server_name = true);
}
