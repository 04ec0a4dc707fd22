//! Subject alternative names: what a leaf carries, and what is wanted.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;

use super::certificate::Leaf;
use super::error::VerifyError;
use crate::model::tls::{Pattern, SanKind, SanMatch, StringMatch};

/// At least one name matches one of `wanted`.
pub(super) fn check(leaf: &Leaf<'_>, wanted: &[SanMatch]) -> Result<(), VerifyError> {
    let names = names(&leaf.parsed);
    if names.iter().any(|(kind, name)| wanted.iter().any(|w| w.kind == *kind && matches(w, name))) {
        return Ok(());
    }
    let wanted = wanted.iter().map(wording).collect::<Vec<_>>().join(" or ");
    Err(VerifyError::Name { leaf: leaf.label(), wanted, found: describe(&leaf.parsed) })
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

/// All names in text form, for people.
pub(super) fn list(parsed: &X509Certificate<'_>) -> Vec<String> {
    names(parsed).into_iter().map(|(_, name)| name).collect()
}

/// The same in one line.
pub(super) fn describe(parsed: &X509Certificate<'_>) -> String {
    let names = list(parsed);
    if names.is_empty() { "no names at all".to_owned() } else { names.join(", ") }
}

pub(crate) fn names(parsed: &X509Certificate<'_>) -> Vec<(SanKind, String)> {
    let Ok(Some(extension)) = parsed.subject_alternative_name() else { return Vec::new() };
    let named = extension.value.general_names.iter().filter_map(|name| match name {
        GeneralName::DNSName(n) => Some((SanKind::Dns, (*n).to_owned())),
        GeneralName::URI(n) => Some((SanKind::Uri, (*n).to_owned())),
        GeneralName::RFC822Name(n) => Some((SanKind::Email, (*n).to_owned())),
        GeneralName::IPAddress(bytes) => Some((SanKind::Ip, ip(bytes)?.to_string())),
        _ => None,
    });
    named.collect()
}

fn ip(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(bytes).map(|b| IpAddr::V4(Ipv4Addr::from(b)));
    v4.or_else(|_| <[u8; 16]>::try_from(bytes).map(|b| IpAddr::V6(Ipv6Addr::from(b)))).ok()
}

fn dns_matches(wanted: &str, carried: &str) -> bool {
    if wanted.eq_ignore_ascii_case(carried) {
        return true;
    }
    let (Some(parent), Some((first, rest))) = (carried.strip_prefix("*."), wanted.split_once('.')) else {
        return false;
    };
    !first.is_empty() && !parent.is_empty() && rest.eq_ignore_ascii_case(parent)
}

fn text_matches(matcher: &StringMatch, name: &str) -> bool {
    let fold = |s: &str| if matcher.ignore_case { s.to_ascii_lowercase() } else { s.to_owned() };
    match &matcher.pattern {
        Pattern::Exact(p) => fold(name) == fold(p),
        Pattern::Prefix(p) => fold(name).starts_with(&fold(p)),
        Pattern::Suffix(p) => fold(name).ends_with(&fold(p)),
        Pattern::Contains(p) => fold(name).contains(&fold(p)),
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
