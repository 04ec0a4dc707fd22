//! What a batch brought that is not honoured, said once in the log.

use std::sync::Arc;

use crate::reject::{Ignored, Rejection, Unsupported};
use crate::snapshot::Kind;

/// Lines of one batch, at most; ten thousand clusters with the same odd field are one finding.
const MAX_LINES: usize = 20;

/// A chain, and why it refuses its connections.
type Refusing = (Arc<str>, Unsupported);

/// Writes the log of one batch.
#[derive(Debug)]
pub(super) struct Report {
    kind: Kind,
    lines: usize,
}

impl Report {
    pub(super) fn new(kind: Kind) -> Self {
        Self { kind, lines: 0 }
    }

    /// A refused resource.
    pub(super) fn rejected(&mut self, name: &str, rejection: &Rejection) {
        if self.line() {
            let (kind, path, reason) = (self.kind.type_url(), &rejection.path, &rejection.reason);
            tracing::warn!(resource = %name, kind, %path, %reason, "resource refused; its last good version stays");
        }
    }

    /// Fields that are not honoured and were not known before.
    pub(super) fn ignored(&mut self, name: &str, ignored: &[Ignored], known: &[Ignored]) {
        for Ignored { path, note } in ignored.iter().filter(|i| !known.contains(i)) {
            if self.line() {
                tracing::warn!(resource = %name, kind = self.kind.type_url(), %path, note, "field not honoured");
            }
        }
    }

    /// What refuses its connections, and was not known to before. A chain that is only at another place is known.
    pub(super) fn unsupported(&mut self, name: &str, chains: &[Refusing], known: &[Refusing]) {
        let same = |(chain, why): &Refusing, (other, before): &Refusing| {
            chain == other && why.what == before.what && (!chain.is_empty() || why.path == before.path)
        };
        let new = chains.iter().filter(|chain| !known.iter().any(|before| same(chain, before)));
        self.chains(name, new, "not supported in this version; its connections are refused");
    }

    /// TLS towards endpoints whose certificates nobody looks at: as configured, and as in Envoy.
    pub(super) fn trusts_anyone(&mut self, name: &str) {
        if self.line() {
            let kind = self.kind.type_url();
            tracing::warn!(resource = %name, kind, "TLS without a validation context: the endpoints' certificates are not verified");
        }
    }

    /// Chains that run their last good version.
    pub(super) fn held(&mut self, name: &str, chains: &[Refusing]) {
        self.chains(name, chains.iter(), "not supported in this version; the last good version of the chain stays");
    }

    fn chains<'a>(&mut self, name: &str, chains: impl Iterator<Item = &'a Refusing>, message: &'static str) {
        for (chain, Unsupported { what, path }) in chains {
            if self.line() {
                let kind = self.kind.type_url();
                tracing::warn!(resource = %name, kind, %chain, %what, %path, "{message}");
            }
        }
    }

    /// Says nothing more.
    pub(super) fn mute(&mut self) {
        self.lines = MAX_LINES;
    }

    fn line(&mut self) -> bool {
        self.lines += 1;
        self.lines <= MAX_LINES
    }

    /// Says how many lines were left out.
    pub(super) fn finish(self) {
        if let Some(more) = self.lines.checked_sub(MAX_LINES).filter(|more| *more > 0) {
            tracing::warn!(kind = self.kind.type_url(), more, "more of the same; the admin page lists all");
        }
    }
}
