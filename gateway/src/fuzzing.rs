//! What random inputs are thrown at (`make fuzz`): what stands between the network and everything else in HTTP/1.

use config::model::hcm::{EscapedSlashes, Manager};
use http::uri::PathAndQuery;

use crate::http::h1::head::Rules;
use crate::http::h1::{Gate, Then};
use crate::http::path::{Normal, normalise};

const RULES: Rules =
    Rules { max_bytes: 4096, max_headers: 16, absolute: true, chunked_length: false, any_method: false, http10: true };

const BROKEN: &str = "broken";

/// However a stream is cut, the same passes the gate, and it ends the same way.
///
/// # Panics
/// If not.
pub fn gate(stream: &[u8]) {
    let whole = through(stream, stream.len());
    for size in [1, 3, 7] {
        assert_eq!(through(stream, size), whole, "in pieces of {size}");
    }
    let (passed, heads, end) = whole;
    if end.as_deref() == Some(BROKEN) {
        return;
    }
    // What has passed passes again.
    let (again, heads_again, _) = through(&stream[..passed], passed.max(1));
    assert_eq!((again, heads_again), (passed, heads));
}

/// How much passes, how many heads that is, and what ended it.
fn through(stream: &[u8], size: usize) -> (usize, u32, Option<String>) {
    let mut gate = Gate::new(RULES);
    let (mut passed, mut heads, mut read) = (0, 0, 0);
    while read < stream.len() {
        read = (read + size).min(stream.len());
        let seen = gate.look(&stream[passed..read]);
        passed += seen.pass;
        heads += seen.heads;
        match seen.then {
            Then::Nothing | Then::Beginning => {}
            Then::Refused(refusal) => return (passed, heads, Some(refusal.details.to_owned())),
            // How much of a body comes through before it breaks is nobody's concern.
            Then::Broken => return (0, heads, Some(BROKEN.to_owned())),
        }
    }
    (passed, heads, None)
}

/// A path that was made normal is normal, and has no dot segments.
///
/// # Panics
/// If not.
pub fn path(text: &[u8]) {
    let Ok(path) = PathAndQuery::try_from(text) else { return };
    for escaped_slashes in [EscapedSlashes::Keep, EscapedSlashes::UnescapeAndForward] {
        let manager = Manager { normalize_path: true, merge_slashes: true, escaped_slashes, ..Manager::default() };
        let normal = match normalise(&manager, &path) {
            Normal::Same => path.clone(),
            Normal::Changed(path) | Normal::Redirect(path) => path,
            Normal::Rejected => continue,
        };
        let only = normal.path();
        assert!(only.starts_with('/') || !path.as_str().starts_with('/'), "{normal}");
        assert!(!only.split('/').any(|segment| segment == "." || segment == ".."), "{normal}");
        assert!(!only.contains("//"), "{normal}");
    }
}
