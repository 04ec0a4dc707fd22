//! Subject alternative names: what a leaf carries, and what is wanted.

use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;

use super::certificate::Leaf;
use super::error::VerifyError;
use crate::model::tls::{Pattern, SanKind, SanMatch, StringMatch};

/// At least one name matches one of `wanted`. Nothing is copied unless it fails.
pub(super) fn check<'a>(
    leaf: &Leaf<'_>,
    wanted: impl Iterator<Item = &'a SanMatch> + Clone,
) -> Result<(), VerifyError> {
    let carried = general(&leaf.parsed).iter();
    if carried.filter_map(named).any(|(kind, name)| wanted.clone().any(|w| w.kind == kind && matches(w, &name))) {
        return Ok(());
    }
    let wanted = wanted.map(wording).collect::<Vec<_>>().join(" or ");
    Err(VerifyError::Name { leaf: leaf.label(), wanted, found: describe(&leaf.parsed) })
}

/// The first URI.
pub(super) fn uri<'a>(parsed: &'a X509Certificate<'_>) -> Option<&'a str> {
    general(parsed).iter().find_map(|name| match name {
        GeneralName::URI(uri) => Some(*uri),
        _ => None,
    })
}

/// Whether `name`, of the matcher's kind and in text form, matches. As in Envoy, an exact DNS matcher takes a
/// certificate's leading wildcard label, and DNS names match in any case.
pub fn matches(wanted: &SanMatch, name: &str) -> bool {
    match (&wanted.kind, &wanted.matcher.pattern) {
        (SanKind::Dns, Pattern::Exact(exact)) => dns_matches(exact, name),
        (SanKind::Ip, Pattern::Exact(exact)) => match (exact.parse::<IpAddr>(), name.parse::<IpAddr>()) {
            (Ok(a), Ok(b)) => a == b,
            _ => false,
        },
        _ => text_matches(&wanted.matcher, name),
    }
}

/// Most names told of a certificate, and characters of each: a stranger's may hold any number of any length.
const TOLD: usize = 16;
const LONGEST: usize = 256;

/// The first name in text form.
pub(super) fn first(parsed: &X509Certificate<'_>) -> Option<String> {
    general(parsed).iter().find_map(named).map(|(_, name)| name.into_owned())
}

/// All names in one line, for people.
pub(super) fn describe(parsed: &X509Certificate<'_>) -> String {
    let mut names = general(parsed).iter().filter_map(named);
    let told: Vec<String> = names.by_ref().take(TOLD).map(|(_, name)| tame(&name)).collect();
    match (told.is_empty(), names.count()) {
        (true, _) => "no names at all".to_owned(),
        (false, 0) => told.join(", "),
        (false, more) => format!("{} and {more} more", told.join(", ")),
    }
}

/// A stranger's text, fit for a log: no control characters, and not without end.
pub(super) fn tame(text: &str) -> String {
    let mut told = String::new();
    for (at, c) in text.chars().enumerate() {
        match c {
            _ if at == LONGEST => {
                told.push('…');
                break;
            }
            c if c.is_control() => told.extend(c.escape_default()),
            c => told.push(c),
        }
    }
    told
}

/// All names with their kinds.
pub(crate) fn names(parsed: &X509Certificate<'_>) -> Vec<(SanKind, String)> {
    general(parsed).iter().filter_map(named).map(|(kind, name)| (kind, name.into_owned())).collect()
}

fn general<'a>(parsed: &'a X509Certificate<'_>) -> &'a [GeneralName<'a>] {
    parsed.subject_alternative_name().ok().flatten().map_or(&[], |extension| &extension.value.general_names)
}

fn named<'a>(name: &GeneralName<'a>) -> Option<(SanKind, Cow<'a, str>)> {
    match name {
        GeneralName::DNSName(n) => Some((SanKind::Dns, Cow::Borrowed(n))),
        GeneralName::URI(n) => Some((SanKind::Uri, Cow::Borrowed(n))),
        GeneralName::RFC822Name(n) => Some((SanKind::Email, Cow::Borrowed(n))),
        GeneralName::IPAddress(bytes) => Some((SanKind::Ip, ip(bytes)?.to_string().into())),
        _ => None,
    }
}

fn ip(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(bytes).map(|b| IpAddr::V4(Ipv4Addr::from(b)));
    v4.or_else(|_| <[u8; 16]>::try_from(bytes).map(|b| IpAddr::V6(Ipv6Addr::from(b)))).ok()
}

/// As Envoy's `dnsNameMatch`: a certificate's first label may hold one `*`, unless it is an A-label.
fn dns_matches(wanted: &str, carried: &str) -> bool {
    if wanted.eq_ignore_ascii_case(carried) {
        return true;
    }
    let (Some((label, rest)), Some((pattern, parent))) = (wanted.split_once('.'), carried.split_once('.')) else {
        return false;
    };
    let Some((head, tail)) = pattern.split_once('*') else { return false };
    let is_ace = pattern.get(..4).is_some_and(|start| start.eq_ignore_ascii_case("xn--"));
    if is_ace || tail.contains('*') || parent.contains('*') || !rest.eq_ignore_ascii_case(parent) {
        return false;
    }
    let (label, head, tail) = (label.as_bytes(), head.as_bytes(), tail.as_bytes());
    let fits = !label.is_empty() && head.len() + tail.len() <= label.len();
    fits && label[..head.len()].eq_ignore_ascii_case(head)
        && label[label.len() - tail.len()..].eq_ignore_ascii_case(tail)
}

fn text_matches(matcher: &StringMatch, name: &str) -> bool {
    if matcher.ignore_case && !matches!(matcher.pattern, Pattern::Regex(_)) {
        return plain_matches(&matcher.pattern, &name.to_ascii_lowercase(), |p| p.to_ascii_lowercase().into());
    }
    plain_matches(&matcher.pattern, name, Cow::Borrowed)
}

fn plain_matches<'a>(pattern: &'a Pattern, name: &str, fold: impl FnOnce(&'a str) -> Cow<'a, str>) -> bool {
    match pattern {
        Pattern::Exact(p) => name == fold(p),
        Pattern::Prefix(p) => name.starts_with(&*fold(p)),
        Pattern::Suffix(p) => name.ends_with(&*fold(p)),
        Pattern::Contains(p) => name.contains(&*fold(p)),
        // A full match: the expression alone must cover the name, wherever else it may match.
        Pattern::Regex(r) => r.find_iter(name).any(|m| m.start() == 0 && m.end() == name.len()),
    }
}

fn wording(wanted: &SanMatch) -> String {
    let kind = match wanted.kind {
        SanKind::Dns => "DNS",
        SanKind::Uri => "URI",
        SanKind::Ip => "IP",
        SanKind::Email => "e-mail",
    };
    match &wanted.matcher.pattern {
        Pattern::Exact(p) => format!("{kind} {p}"),
        Pattern::Prefix(p) => format!("{kind} {p}…"),
        Pattern::Suffix(p) => format!("{kind} …{p}"),
        Pattern::Contains(p) => format!("{kind} …{p}…"),
        Pattern::Regex(r) => format!("{kind} matching {r}"),
    }
}
