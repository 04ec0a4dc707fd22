//! From a response to its answer: what is delivered, what came of it, and the words of a NACK.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use envoy_types::pb::google::rpc::Status as Detail;

use super::resource::{Entry, Refused};
use crate::reject::Rejection;
use crate::snapshot::Kind;
use crate::store::{Applied, Batch, Resource};

/// A response on its way to the store.
#[derive(Debug)]
pub struct Delivery {
    /// To be applied, also when it is empty: the control plane said that there is nothing.
    pub batch: Batch,
    /// To be handed back with the result.
    pub unsettled: Unsettled,
}

/// A response that is neither ACKed nor NACKed yet.
#[derive(Debug)]
#[must_use = "a response that is never settled is never answered"]
pub struct Unsettled {
    pub(super) kind: Kind,
    pub(super) nonce: String,
    pub(super) version: Arc<str>,
    pub(super) given: Vec<Given>,
    pub(super) removed: Vec<Arc<str>>,
    /// What did not even reach the store.
    pub(super) refused: Vec<Refused>,
}

/// A resource that was handed to the store.
#[derive(Debug)]
pub(super) struct Given {
    pub(super) name: Arc<str>,
    pub(super) version: Arc<str>,
    pub(super) ttl: Option<Duration>,
}

/// What came of a response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Of which kind it was.
    pub kind: Kind,
    /// Its version: of the response (state of the world) or of the whole system (incremental; may be empty).
    pub version: Arc<str>,
    /// How many resources were put in force, renewed or removed.
    pub accepted: usize,
    /// How many were refused.
    pub rejected: usize,
    /// The words of the NACK; `None` for an ACK.
    pub error: Option<Arc<str>>,
}

/// A NACK's text is a gRPC message like another; the server's limit is 4 MiB, and people read only the beginning.
const LONGEST_TEXT: usize = 8 * 1024;
/// `google.rpc.Code.INVALID_ARGUMENT`.
const INVALID_ARGUMENT: i32 = 3;

/// Splits entries into what the store shall see and what is to be remembered of it.
pub(super) fn hand_over(entries: Vec<Entry>) -> (Vec<Resource>, Vec<Given>) {
    let mut upserts = Vec::with_capacity(entries.len());
    let mut given = Vec::with_capacity(entries.len());
    for Entry { name, version, body, ttl } in entries {
        if let Some(body) = body {
            upserts.push(Resource { name: Arc::clone(&name), version: Arc::clone(&version), body });
            given.push(Given { name, version, ttl });
        }
    }
    (upserts, given)
}

impl Unsettled {
    pub(super) fn outcome(&self, applied: &Applied, accepted: usize) -> Outcome {
        let early = self.refused.iter().map(|refused| (&refused.name, &refused.rejection));
        let late = applied.rejected.iter().map(|(name, _, rejection)| (name, rejection));
        let all: Vec<_> = early.chain(late).collect();
        Outcome {
            kind: self.kind,
            version: Arc::clone(&self.version),
            accepted,
            rejected: all.len(),
            error: (!all.is_empty()).then(|| text(&all).into()),
        }
    }
}

/// `name: path: reason` for each, and how many did not fit.
fn text(rejections: &[(&Arc<str>, &Rejection)]) -> String {
    let mut text = String::new();
    for (count, (name, Rejection { path, reason })) in rejections.iter().enumerate() {
        if text.len() > LONGEST_TEXT {
            let _ = write!(text, "; and {} more", rejections.len() - count);
            break;
        }
        let separator = if count == 0 { "" } else { "; " };
        let path = if path.0.is_empty() { String::new() } else { format!("{path}: ") };
        let _ = write!(text, "{separator}{name}: {path}{reason}");
    }
    text
}

/// The `error_detail` of a NACK.
pub(super) fn detail(message: &str) -> Detail {
    Detail { code: INVALID_ARGUMENT, message: message.to_owned(), details: Vec::new() }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;
    use crate::reject::FieldPath;

    #[test]
    fn a_nack_names_each_resource_its_field_and_the_reason_and_stays_short() {
        let rejection = Rejection { path: FieldPath("filters[0].name".into()), reason: "unknown".into() };
        let bare = Rejection { path: FieldPath::default(), reason: "cannot be decoded".into() };
        let (a, b): (Arc<str>, Arc<str>) = ("a".into(), "b".into());
        let words = text(&[(&a, &rejection), (&b, &bare)]);
        assert_eq!(words, "a: filters[0].name: unknown; b: cannot be decoded");

        let many = vec![(&a, &rejection); 10_000];
        let words = text(&many);
        assert!(words.len() < LONGEST_TEXT + 100, "{}", words.len());
        let told = words.matches("unknown").count();
        assert!(words.ends_with(&format!("; and {} more", 10_000 - told)), "{words}");
    }
}
