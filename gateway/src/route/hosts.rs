//! Which virtual host a request is for: exact name, longest `*suffix`, longest `prefix*`, `*`.

use std::collections::HashMap;

use config::model::route::VirtualHost;

use super::prefixes::{Case, Prefixes};

/// The longest name that is looked up without allocating; DNS names have up to 253 bytes, ports up to 6.
const INLINE: usize = 300;

/// The index of all domains; values are positions of virtual hosts.
#[derive(Debug)]
pub(super) struct Hosts {
    exact: HashMap<Box<[u8]>, u32>,
    /// Texts backwards.
    suffixes: Prefixes<u32>,
    prefixes: Prefixes<u32>,
    any: Option<u32>,
}

impl Hosts {
    /// Domains are in lower case, and each stands in one virtual host only.
    pub(super) fn new<'a>(hosts: impl IntoIterator<Item = &'a VirtualHost>) -> Self {
        let mut exact = HashMap::new();
        let (mut suffixes, mut prefixes, mut any) = (Vec::new(), Vec::new(), None);
        for (at, host) in (0..).zip(hosts) {
            for domain in &host.domains {
                if &**domain == "*" {
                    any = Some(at);
                } else if let Some(suffix) = domain.strip_prefix('*') {
                    suffixes.push((suffix.bytes().rev().collect(), at));
                } else if let Some(prefix) = domain.strip_suffix('*') {
                    prefixes.push((prefix.as_bytes().into(), at));
                } else {
                    exact.insert(domain.as_bytes().into(), at);
                }
            }
        }
        Self {
            exact,
            suffixes: Prefixes::new(Case::Sensitive, suffixes),
            prefixes: Prefixes::new(Case::Sensitive, prefixes),
            any,
        }
    }

    /// The virtual host's position. `ignore_port`: a port at the end of `host` is not looked at.
    pub(super) fn find(&self, host: &[u8], ignore_port: bool, steps: &mut u32) -> Option<u32> {
        let host = if ignore_port { without_port(host) } else { host };
        let mut inline = [0; INLINE];
        match inline.get_mut(..host.len()) {
            Some(buffer) => {
                buffer.copy_from_slice(host);
                self.find_lower(buffer, steps)
            }
            None => self.find_lower(&mut host.to_vec(), steps),
        }
    }

    /// `host` is written over.
    fn find_lower(&self, host: &mut [u8], steps: &mut u32) -> Option<u32> {
        host.make_ascii_lowercase();
        *steps += 1;
        if let Some(&at) = self.exact.get(&*host) {
            return Some(at);
        }
        let prefix = wildcard(&self.prefixes, host, steps);
        if !self.suffixes.is_empty() {
            host.reverse();
            if let Some(at) = wildcard(&self.suffixes, host, steps) {
                return Some(at);
            }
        }
        prefix.or(self.any)
    }
}

/// A `*` stands for at least one character.
fn wildcard(index: &Prefixes<u32>, host: &[u8], steps: &mut u32) -> Option<u32> {
    let node = index.longest(host, steps)?;
    match node.text.len() == host.len() {
        true => index.parent(node).map(|node| node.value),
        false => Some(node.value),
    }
}

/// `host` without what stands behind its last colon, unless that is within the brackets of an IPv6 address.
pub(super) fn without_port(host: &[u8]) -> &[u8] {
    let colon = host.iter().rposition(|b| *b == b':');
    let bracket = host.iter().rposition(|b| *b == b']');
    match (colon, bracket) {
        (Some(colon), Some(bracket)) if bracket > colon => host,
        (Some(colon), _) => &host[..colon],
        (None, _) => host,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use config::model::route::RouteConfiguration;
    use proptest::prelude::*;

    use super::*;
    use crate::route::testing::configuration;

    fn hosts(domains: &[&[&str]]) -> RouteConfiguration {
        let hosts: Vec<String> =
            domains.iter().enumerate().map(|(n, d)| format!("{{name: h{n}, domains: {d:?}}}")).collect();
        configuration(&format!("virtual_hosts: [{}]", hosts.join(", ")))
    }

    fn find(domains: &[&[&str]], host: &str, ignore_port: bool) -> Option<u32> {
        let config = hosts(domains);
        Hosts::new(config.virtual_hosts.iter().map(|host| &**host)).find(host.as_bytes(), ignore_port, &mut 0)
    }

    #[test]
    fn the_most_specific_wins() {
        let all: &[&[&str]] = &[&["*"], &["www.*"], &["*.example.com"], &["*-bar.example.com"], &["A.example.com"]];
        assert_eq!(find(all, "a.EXAMPLE.com", false), Some(4));
        assert_eq!(find(all, "x-bar.example.com", false), Some(3));
        assert_eq!(find(all, "x.example.com", false), Some(2));
        assert_eq!(find(all, "www.example.com", false), Some(2));
        assert_eq!(find(all, "www.example.org", false), Some(1));
        assert_eq!(find(all, ".example.com", false), Some(0));
        assert_eq!(find(all, "www.", false), Some(0));
        assert_eq!(find(all, "", false), Some(0));
        assert_eq!(find(&all[1..], "other", false), None);
    }

    #[test]
    fn ports() {
        let all: &[&[&str]] = &[&["a.com"], &["a.com:8080"], &["[::1]"]];
        assert_eq!(find(all, "a.com:8080", false), Some(1));
        assert_eq!(find(all, "a.com:8080", true), Some(0));
        assert_eq!(find(all, "a.com:80", false), None);
        assert_eq!(find(all, "[::1]:80", true), Some(2));
        assert_eq!(find(all, "[::1]", true), Some(2));
    }

    #[test]
    fn a_long_name_is_looked_up_too() {
        let long = format!("{}.example.com", "a".repeat(1000));
        assert_eq!(find(&[&["*.example.com"]], &long, false), Some(0));
    }

    proptest! {
        #[test]
        fn as_envoys_rule_finds(
            domains in prop::collection::btree_set("[ab]{1,3}|\\*[ab]{1,3}|[ab]{1,3}\\*|\\*", 1..10),
            host in "[ab]{0,5}",
        ) {
            let each: Vec<[&str; 1]> = domains.iter().map(|d| [d.as_str()]).collect();
            let lists: Vec<&[&str]> = each.iter().map(|d| d.as_slice()).collect();
            let longest = |matches: &dyn Fn(&str) -> Option<usize>| {
                domains.iter().enumerate().filter_map(|(n, d)| Some((matches(d)?, n))).max().map(|(_, n)| n)
            };
            let exact = domains.iter().position(|d| *d == host);
            let suffix = longest(&|d| {
                d.strip_prefix('*').filter(|s| !s.is_empty() && host.len() > s.len() && host.ends_with(s)).map(str::len)
            });
            let prefix = longest(&|d| {
                d.strip_suffix('*').filter(|s| !s.is_empty() && host.len() > s.len() && host.starts_with(s)).map(str::len)
            });
            let any = domains.iter().position(|d| d == "*");
            let expected = exact.or(suffix).or(prefix).or(any).map(|n| u32::try_from(n).unwrap());
            prop_assert_eq!(find(&lists, &host, false), expected);
        }
    }
}
