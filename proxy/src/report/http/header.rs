//! Headers as `HeaderMatcher` sees them: for routes, filters, permissions and access logs alike.

use config::model::route::{HeaderKey, HeaderMatch, HeaderTest};
use http::{HeaderMap, HeaderName, HeaderValue};

use super::inline::Side;
use super::{RequestHead, ResponseHead, joined};

impl RequestHead {
    /// Whether a header is as it must be.
    pub fn holds(&self, one: &HeaderMatch) -> bool {
        match &one.name {
            HeaderKey::Name(name) => holds(one, &self.headers, (name, Side::Request)),
            pseudo => holds_for(one, self.value(pseudo).as_deref().into_iter()),
        }
    }
}

impl ResponseHead {
    /// Whether a header is as it must be.
    pub fn holds(&self, one: &HeaderMatch) -> bool {
        match &one.name {
            HeaderKey::Name(name) => holds(one, &self.headers, (name, Side::Response)),
            HeaderKey::Status => holds_for(one, [self.status.as_str().as_bytes()].into_iter()),
            HeaderKey::Method | HeaderKey::Path | HeaderKey::Authority | HeaderKey::Scheme | HeaderKey::Protocol => {
                without(one)
            }
        }
    }
}

/// Whether it holds where there is no such header.
pub fn without(one: &HeaderMatch) -> bool {
    holds_for(one, std::iter::empty())
}

fn holds(one: &HeaderMatch, headers: &HeaderMap, (name, side): (&HeaderName, Side)) -> bool {
    match side.is_one_line(name) {
        // What Envoy keeps on one line is looked at as one.
        true => holds_for(one, joined(headers, name.as_str()).as_deref().into_iter()),
        false => holds_for(one, headers.get_all(name).iter().map(HeaderValue::as_bytes)),
    }
}

/// One of the values must match, of several lines any. Without any line it does not match, nor the contrary.
fn holds_for<'a>(one: &HeaderMatch, mut values: impl Iterator<Item = &'a [u8]>) -> bool {
    let first = values.next().or(one.missing_is_empty.then_some(b""));
    let matches = match (&one.test, first) {
        (HeaderTest::Present(present), first) => first.is_some() == *present,
        (_, None) => return false,
        (HeaderTest::Text(text), Some(first)) => text.matches(first) || values.any(|value| text.matches(value)),
        (HeaderTest::Range(start, end), Some(first)) => {
            let within = |value| integer(value).is_some_and(|n| (*start..*end).contains(&n));
            within(first) || values.any(within)
        }
    };
    matches != one.invert
}

/// As `absl::SimpleAtoi` reads it: blanks around it are passed over.
pub fn integer<N: std::str::FromStr>(text: &[u8]) -> Option<N> {
    std::str::from_utf8(text).ok()?.trim_ascii().parse().ok()
}
