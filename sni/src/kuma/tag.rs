use std::fmt;

/// `service{k=v,…}`: the value of `kuma.io/service` and the other tags, sorted by key.
///
/// Tag values keep the case the sender wrote; Envoy's logs show the name in lower case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TagName<'a> {
    /// The service, e.g. `echo_ns_svc_8080`.
    pub service: &'a str,
    /// What stands between the braces: whole pairs, at least one unless there are no braces.
    tags: &'a str,
}

impl<'a> TagName<'a> {
    /// Reads a tag name as Kuma's `TagsFromSNI` does, a service without tags included. Stricter in
    /// one point: the brace is closed once, at the end.
    pub fn parse(name: &'a str) -> Option<Self> {
        let Some((service, rest)) = name.split_once('{') else {
            return Some(Self { service: name, tags: "" });
        };
        let tags = rest.strip_suffix('}')?;
        let is_pair = |pair: &str| pair.bytes().filter(|&byte| byte == b'=').count() == 1;
        if tags.contains(['{', '}']) || !tags.split(',').all(is_pair) {
            return None;
        }
        Some(Self { service, tags })
    }

    /// Key and value of each tag, in the order sent.
    pub fn tags(&self) -> Tags<'a> {
        Tags(self.tags)
    }
}

impl fmt::Display for TagName<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.service)?;
        self.tags().try_for_each(|(key, value)| write!(f, " {key}={value}"))
    }
}

/// The tags of a [`TagName`].
#[derive(Clone, Copy, Debug)]
pub struct Tags<'a>(&'a str);

impl<'a> Iterator for Tags<'a> {
    type Item = (&'a str, &'a str);

    fn next(&mut self) -> Option<Self::Item> {
        let (pair, rest) = self.0.split_once(',').unwrap_or((self.0, ""));
        self.0 = rest;
        pair.split_once('=')
    }
}
