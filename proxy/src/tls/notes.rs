//! What rustls' callbacks saw while a handshake was driven on this thread.
//!
//! rustls does not tell afterwards which certificate was presented and which algorithm the peer signed with. Its
//! callbacks know, and they run within the call that drives the handshake: they leave a note here, which
//! [`take`] picks up right after that call, before anything else can run on the thread.

use std::cell::RefCell;
use std::sync::Arc;

use config::model::tls::Identity;
use rustls::SignatureScheme;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Notes {
    /// The certificate that we presented.
    pub(crate) presented: Option<Arc<Identity>>,
    /// What the peer signed with.
    pub(crate) signed: Option<SignatureScheme>,
}

thread_local! {
    static NOTES: RefCell<Notes> = const { RefCell::new(Notes { presented: None, signed: None }) };
}

/// We present this one.
pub(super) fn presents(identity: &Arc<Identity>) {
    NOTES.with_borrow_mut(|notes| notes.presented = Some(Arc::clone(identity)));
}

/// The peer has signed so.
pub(super) fn signed(scheme: SignatureScheme) {
    NOTES.with_borrow_mut(|notes| notes.signed = Some(scheme));
}

/// What was noted since the last call; adds to `notes`.
pub(crate) fn take(notes: &mut Notes) {
    let Notes { presented, signed } = NOTES.take();
    notes.presented = presented.or(notes.presented.take());
    notes.signed = signed.or(notes.signed);
}
