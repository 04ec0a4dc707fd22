//! From a dotted name to a metric with labels: Envoy's default tags (`source/common/config/well_known_names.cc`), as
//! far as they can occur here, and the bootstrap's `stats_config.stats_tags`.

use std::ops::Range;

use regex::{Regex, RegexSet};

/// One `stats_config.stats_tags` entry with a regex.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TagSpecifier {
    /// `tag_name`.
    pub name: String,
    /// `regex`: the first group is cut out of the name, the second (else the first) is the value.
    pub regex: String,
}

/// A tag specifier that can't be used; the others work.
#[derive(Debug, thiserror::Error)]
#[error("stats_tags {name:?}: {source}")]
pub struct TagsError {
    /// `tag_name`.
    pub name: String,
    /// Why the expression is not understood. Look-around is not (nor is it in RE2).
    pub source: regex::Error,
}

impl TagsError {
    /// The expression uses look-around, which Envoy's dialect (ECMAScript) has.
    pub fn is_look_around(&self) -> bool {
        matches!(&self.source, regex::Error::Syntax(text) if text.contains("look-around"))
    }
}

/// Takes tags out of names.
#[derive(Clone, Debug)]
pub struct Tags {
    custom: Vec<(String, Regex)>,
    any: RegexSet,
    /// Label and value that every series has.
    fixed: Vec<(String, String)>,
}

/// A name without its tags, and they.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Tagged {
    pub(super) name: String,
    /// Label and value.
    pub(super) tags: Vec<(String, String)>,
}

impl Default for Tags {
    fn default() -> Self {
        Self { custom: Vec::new(), any: RegexSet::empty(), fixed: Vec::new() }
    }
}

impl Tags {
    /// Envoy's default tags and these; what can't be used comes back beside it.
    pub fn new(specifiers: &[TagSpecifier]) -> (Self, Vec<TagsError>) {
        let (mut custom, mut errors) = (Vec::new(), Vec::new());
        for TagSpecifier { name, regex } in specifiers {
            match Regex::new(regex) {
                Ok(regex) => custom.push((label(name), regex)),
                Err(source) => errors.push(TagsError { name: name.clone(), source }),
            }
        }
        let any = RegexSet::new(custom.iter().map(|(_, regex)| regex.as_str())).unwrap_or_default();
        (Self { custom, any, fixed: Vec::new() }, errors)
    }

    /// And these on every series (`fixed_value`): name and value.
    #[must_use]
    pub fn with_fixed(mut self, tags: impl IntoIterator<Item = (String, String)>) -> Self {
        self.fixed.extend(tags.into_iter().map(|(name, value)| (label(&name), value)));
        self
    }

    /// The same on a series whose labels are known without looking at its name.
    pub(super) fn add_fixed(&self, mut series: Tagged) -> Tagged {
        series.tags.splice(0..0, self.fixed.iter().cloned());
        series
    }

    /// Splits `name`. All tags are looked for in the whole name; what they cut out may overlap.
    pub(super) fn split(&self, name: &str) -> Tagged {
        let mut found = Found { name, cut: Vec::new(), tags: self.fixed.clone() };
        if self.custom.len() > self.any.len() || self.any.is_match(name) {
            for (label, regex) in &self.custom {
                found.custom(label, regex);
            }
        }
        found.defaults();
        found.finish()
    }
}

struct Found<'a> {
    name: &'a str,
    cut: Vec<Range<usize>>,
    tags: Vec<(String, String)>,
}

impl<'a> Found<'a> {
    fn custom(&mut self, label: &str, regex: &Regex) {
        let Some(groups) = regex.captures(self.name) else { return };
        let Some(cut) = groups.get(1) else { return };
        let value = groups.get(2).unwrap_or(cut);
        self.cut.push(cut.range());
        self.tags.push((label.to_owned(), value.as_str().to_owned()));
    }

    fn defaults(&mut self) {
        let Some((family, rest)) = self.name.split_once('.') else { return };
        match family {
            "cluster" => {
                self.token("envoy_cluster_name", rest);
                self.ssl(rest, "cipher_suite");
            }
            "tcp" => self.token("envoy_tcp_prefix", rest),
            "http" => self.http(rest),
            "local_rate_limit" => self.token("envoy_local_network_ratelimit_prefix", rest),
            "listener" => self.listener(rest),
            "proxy_proto" => self.proxy_protocol(rest),
            "sds" => self.token("envoy_xds_resource_name", rest),
            "zonegate" => match rest.strip_prefix("rbac_policy.") {
                Some(rest) => self.rbac_policy(rest),
                None => self.own(rest),
            },
            prefix if rest.starts_with("http_local_rate_limit.") => {
                self.take("envoy_local_http_ratelimit_prefix", prefix, rest);
            }
            // Of all prefixes Envoy takes those of one token only.
            prefix if rest.starts_with("rbac.") => self.take("envoy_rbac_prefix", prefix, rest),
            _ => {}
        }
        self.response_class();
    }

    /// `$.**`: the first token is the value.
    fn token(&mut self, label: &str, rest: &'a str) {
        if let Some((value, tail)) = rest.split_once('.') {
            self.take(label, value, tail);
        }
    }

    fn take(&mut self, label: &str, value: &str, tail: &str) {
        let end = self.name.len() - tail.len();
        self.cut.push(end - value.len() - 1..end);
        self.tags.push((label.to_owned(), value.to_owned()));
    }

    fn http(&mut self, rest: &'a str) {
        self.token("envoy_http_conn_manager_prefix", rest);
        // http.<prefix>.rds.<route configuration, dots and all>.<stat>
        let Some((_, tail)) = rest.split_once('.') else { return };
        self.filter(tail);
        let Some((route, stat)) = tail.strip_prefix("rds.").and_then(|tail| tail.rsplit_once('.')) else { return };
        self.take("envoy_rds_route_config", route, stat);
    }

    /// `fault.<downstream cluster>.<stat>`, `rbac.<prefix>.<stat>`, `rbac.[<prefix>.]policy.<name>.<stat>`
    fn filter(&mut self, tail: &'a str) {
        if let Some((cluster, stat)) = tail.strip_prefix("fault.").and_then(|rest| rest.rsplit_once('.')) {
            self.take("envoy_fault_downstream_cluster", cluster, stat);
        }
        let Some(rest) = tail.strip_prefix("rbac.") else { return };
        let rest = match rest.split_once('.') {
            Some((prefix, rest)) if prefix != "policy" => {
                self.take("envoy_rbac_http_prefix", prefix, rest);
                rest
            }
            _ => rest,
        };
        if let Some((policy, stat)) = rest.strip_prefix("policy.").and_then(|rest| rest.rsplit_once('.')) {
            self.take("envoy_rbac_policy_name", policy, stat);
        }
    }

    fn listener(&mut self, rest: &'a str) {
        let Some((address, tail)) = address(rest) else { return };
        if let Some((worker, stat)) = tail.strip_prefix("worker_").and_then(|tail| tail.split_once('.'))
            && worker.bytes().all(|byte| byte.is_ascii_digit())
        {
            self.take("envoy_worker_id", worker, stat);
        }
        if let Some((_, after)) = rest.split_once(".http.") {
            self.token("envoy_http_conn_manager_prefix", after);
        }
        if address != "admin" {
            self.take("envoy_listener_address", address, tail);
        }
        self.ssl(tail, "envoy_ssl_cipher");
    }

    /// `….ssl.<what>.<value>`; Envoy's labels of cipher suites differ between listeners and clusters.
    fn ssl(&mut self, rest: &'a str, cipher: &str) {
        let Some((_, stat)) = rest.rsplit_once("ssl.") else { return };
        let Some((what, value)) = stat.split_once('.') else { return };
        let label = match what {
            "ciphers" => cipher,
            "curves" => "envoy_ssl_curve",
            "sigalgs" => "envoy_ssl_sigalg",
            "versions" => "envoy_ssl_version",
            _ => return,
        };
        let start = self.name.len() - value.len() - 1;
        self.cut.push(start..self.name.len());
        self.tags.push((label.to_owned(), value.to_owned()));
    }

    fn proxy_protocol(&mut self, rest: &'a str) {
        let mut rest = rest;
        if let Some((prefix, tail)) = rest.split_once('.')
            && prefix != "versions"
        {
            self.take("envoy_proxy_protocol_prefix", prefix, tail);
            rest = tail;
        }
        if let Some((version, stat)) = rest.strip_prefix("versions.v").and_then(|rest| rest.split_once('.')) {
            self.take("envoy_proxy_protocol_version", version, stat);
            let end = self.name.len() - rest.len();
            self.cut.push(end..end + "versions.v".len());
        }
    }

    /// `zonegate.listener.<address>.close.<reason>`, `zonegate.secret.<name, dots and all>.<stat>`
    fn own(&mut self, rest: &'a str) {
        if let Some((secret, stat)) = rest.strip_prefix("secret.").and_then(|rest| rest.rsplit_once('.')) {
            return self.take("secret", secret, stat);
        }
        let Some((address, tail)) = rest.strip_prefix("listener.").and_then(address) else { return };
        self.take("envoy_listener_address", address, tail);
        if let Some(reason) = tail.strip_prefix("close.") {
            let start = self.name.len() - reason.len() - 1;
            self.cut.push(start..self.name.len());
            self.tags.push(("reason".to_owned(), reason.to_owned()));
        }
    }

    /// `zonegate.rbac_policy.<prefix>.policy.<name>.<stat>`: prefix and name may have dots.
    fn rbac_policy(&mut self, rest: &'a str) {
        const POLICY: &str = ".policy.";
        let Some((prefix, tail)) = rest.split_once(POLICY) else { return };
        let Some((policy, stat)) = tail.rsplit_once('.') else { return };
        self.take("envoy_rbac_prefix", prefix, &self.name[self.name.len() - tail.len() - POLICY.len() + 1..]);
        self.take("policy", policy, stat);
        let end = self.name.len() - tail.len();
        self.cut.push(end + 1 - POLICY.len()..end);
    }

    /// `…_rq_<class>xx`
    fn response_class(&mut self) {
        let Some(rest) = self.name.strip_suffix("xx") else { return };
        if let Some(class) = rest.as_bytes().last().filter(|class| class.is_ascii_digit())
            && rest[..rest.len() - 1].ends_with("_rq_")
        {
            self.cut.push(rest.len() - 1..rest.len());
            self.tags.push(("envoy_response_code_class".to_owned(), char::from(*class).to_string()));
        }
    }

    fn finish(mut self) -> Tagged {
        self.cut.sort_unstable_by_key(|range| range.start);
        let mut name = String::with_capacity(self.name.len());
        let mut from = 0;
        for range in self.cut {
            name.push_str(self.name.get(from..range.start).unwrap_or_default());
            from = from.max(range.end);
        }
        name.push_str(self.name.get(from..).unwrap_or_default());
        Tagged { name, tags: self.tags }
    }
}

/// Splits `<address>_<port>.<tail>` (the address has dots itself) or `<stat_prefix>.<tail>`.
fn address(rest: &str) -> Option<(&str, &str)> {
    let is_port = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let is_host = |text: &str| {
        let v6 = text.starts_with('[') && text.ends_with(']');
        v6 || (text.contains('.') && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.'))
    };
    for (at, _) in rest.match_indices('.') {
        if let Some((host, port)) = rest[..at].rsplit_once('_')
            && is_port(port)
            && is_host(host)
        {
            return Some((&rest[..at], &rest[at + 1..]));
        }
    }
    rest.split_once('.')
}

/// A label as Prometheus allows it.
pub(super) fn label(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() || c == '_' { c } else { '_' }).collect()
}
