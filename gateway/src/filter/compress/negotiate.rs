//! Which encoding a client gets (RFC 9110 §12.5.3), as Envoy chooses it.

use std::sync::Arc;

use config::model::http_filter::Compressor;

/// A compressor that could do it.
#[derive(Debug)]
pub(super) struct Candidate {
    pub(super) encoding: &'static str,
    pub(super) content_types: Arc<Compressor>,
    pub(super) choose_first: bool,
}

/// What was chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Choice {
    /// The client named it.
    Encoding(&'static str),
    /// The client takes any: the first of ours.
    Any(&'static str),
    /// No compression.
    Identity,
    /// Nothing that the client takes is here.
    Invalid,
}

impl Choice {
    /// `Content-Encoding`
    pub(super) fn encoding(&self) -> Option<&'static str> {
        match self {
            Self::Encoding(encoding) | Self::Any(encoding) => Some(encoding),
            Self::Identity | Self::Invalid => None,
        }
    }
}

impl Candidate {
    fn takes(&self, content_type: &[u8]) -> bool {
        let response = &self.content_types.response;
        content_type.is_empty() || response.common.content_types.iter().any(|text| text.matches(content_type))
    }
}

/// One entry of `Accept-Encoding`.
struct Wish<'a> {
    encoding: &'a [u8],
    weight: f32,
}

/// Chooses for a body of this type.
pub(super) fn choose(header: &[u8], content_type: &[u8], candidates: &[&Candidate]) -> Choice {
    let mut allowed: Vec<&'static str> = Vec::new();
    for candidate in candidates.iter().filter(|candidate| candidate.takes(content_type)) {
        if !allowed.contains(&candidate.encoding) {
            allowed.push(candidate.encoding);
        }
    }
    let wishes: Vec<Wish<'_>> =
        header.split(|byte| *byte == b',').filter(|token| !token.is_empty()).filter_map(wish).collect();
    allowed.retain(|known| !wishes.iter().any(|wish| wish.weight == 0.0 && wish.encoding == known.as_bytes()));
    let Some(first) = allowed.first() else { return Choice::Invalid };
    let mut best: Option<&Wish<'_>> = None;
    for wish in &wishes {
        let known =
            matches!(wish.encoding, b"identity" | b"*") || allowed.iter().any(|a| a.as_bytes() == wish.encoding);
        if known && wish.weight > best.map_or(0.0, |best| best.weight) {
            best = Some(wish);
        }
    }
    let Some(best) = best else { return Choice::Invalid };
    match best.encoding {
        b"identity" => Choice::Identity,
        b"*" => Choice::Any(first),
        encoding => {
            // With the same weight, ours decide: a filter that is to be chosen first is.
            let equal = |known: &&&Candidate| {
                known.choose_first
                    && wishes
                        .iter()
                        .any(|wish| wish.weight >= best.weight && wish.encoding == known.encoding.as_bytes())
                    && allowed.contains(&known.encoding)
            };
            let chosen = candidates.iter().find(equal).map(|candidate| candidate.encoding);
            let named = allowed.iter().find(|known| known.as_bytes() == encoding).copied();
            chosen.or(named).map_or(Choice::Invalid, Choice::Encoding)
        }
    }
}

fn wish(token: &[u8]) -> Option<Wish<'_>> {
    let mut parts = token.splitn(2, |byte| *byte == b';');
    let encoding = parts.next()?.trim_ascii();
    let Some(parameter) = parts.next() else { return Some(Wish { encoding, weight: 1.0 }) };
    let mut pair = parameter.splitn(2, |byte| *byte == b'=');
    let name = pair.next()?.trim_ascii();
    match pair.next() {
        Some(value) if name.eq_ignore_ascii_case(b"q") => {
            let weight = std::str::from_utf8(value.trim_ascii()).ok()?.parse().ok()?;
            Some(Wish { encoding, weight })
        }
        _ => Some(Wish { encoding, weight: 1.0 }),
    }
}

#[cfg(test)]
mod tests {
    use config::model::http_filter::{Direction, Gzip, GzipStrategy, Library, ResponseDirection, RuntimeFlag};

    use super::*;

    fn candidate(encoding: &'static str) -> Candidate {
        let common = Direction {
            enabled: RuntimeFlag { key: "".into(), default: true },
            min_content_length: 30,
            content_types: Box::default(),
        };
        let response = ResponseDirection {
            common,
            named: false,
            disable_on_etag: false,
            weaken_etag: false,
            remove_accept_encoding: false,
            uncompressible: Box::default(),
            status_header: false,
        };
        let library = Library::Gzip(Gzip { level: None, strategy: GzipStrategy::Default, window_bits: 12 });
        let config = Compressor { name: "c".into(), library, choose_first: false, request: None, response };
        Candidate { encoding, content_types: Arc::new(config), choose_first: false }
    }

    #[test]
    fn the_heaviest_wish_that_can_be_met() {
        let (gzip, br) = (candidate("gzip"), candidate("br"));
        let rows = [
            ("gzip", Choice::Encoding("gzip")),
            ("br;q=0.1, gzip;q=0.2", Choice::Encoding("gzip")),
            ("gzip, br", Choice::Encoding("gzip")),
            ("deflate, br", Choice::Encoding("br")),
            ("*", Choice::Any("gzip")),
            ("gzip;q=0, *", Choice::Any("br")),
            ("identity, gzip", Choice::Identity),
            ("gzip;q=x, br;q=0", Choice::Invalid),
            ("zstd", Choice::Invalid),
            ("", Choice::Invalid),
        ];
        for (header, expected) in rows {
            assert_eq!(choose(header.as_bytes(), b"", &[&gzip, &br]), expected, "{header}");
        }
    }
}
