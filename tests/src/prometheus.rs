//! Statistics read back from Prometheus' text format, and what changed in them.

use std::collections::BTreeMap;

/// Samples by name and labels, as one text: `envoy_cluster_upstream_cx_total{envoy_cluster_name="a"}`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Stats(BTreeMap<String, f64>);

impl Stats {
    /// Reads the text format; comments are skipped.
    ///
    /// # Panics
    /// On a line that is no sample.
    pub fn parse(text: &str) -> Self {
        let samples = text.lines().filter(|l| !l.is_empty() && !l.starts_with('#')).map(|line| {
            let (name, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("no sample: {line}"));
            let value = value.parse().unwrap_or_else(|_| panic!("no number: {line}"));
            (sorted_labels(name), value)
        });
        Self(samples.collect())
    }

    /// The sum over all samples of a family, whatever their labels.
    pub fn sum(&self, family: &str) -> f64 {
        self.0.iter().filter(|(name, _)| of_family(name) == family).map(|(_, value)| value).sum()
    }

    /// One sample, if it is there.
    pub fn get(&self, name: &str) -> Option<f64> {
        self.0.get(&sorted_labels(name)).copied()
    }

    /// Whether a family has any sample.
    pub fn has(&self, family: &str) -> bool {
        self.0.keys().any(|name| of_family(name) == family)
    }

    /// All families, once each.
    pub fn families(&self) -> Vec<&str> {
        let mut all: Vec<_> = self.0.keys().map(|name| of_family(name)).collect();
        all.dedup();
        all
    }

    /// What changed since `before`, without the samples that didn't.
    pub fn since(&self, before: &Self) -> Self {
        let changes = self.0.iter().map(|(name, now)| (name.clone(), now - before.0.get(name).unwrap_or(&0.0)));
        Self(changes.filter(|(_, change)| *change != 0.0).collect())
    }

    /// Only what `keep` wants, by family.
    pub fn only(&self, keep: impl Fn(&str) -> bool) -> Self {
        Self(self.0.iter().filter(|(name, _)| keep(of_family(name))).map(|(n, v)| (n.clone(), *v)).collect())
    }

    /// Text replaced in every name, to make two proxies' labels comparable.
    pub fn replace(&self, from: &str, to: &str) -> Self {
        Self(self.0.iter().map(|(name, value)| (name.replace(from, to), *value)).collect())
    }

    /// One line a sample.
    pub fn lines(&self) -> Vec<String> {
        self.0.iter().map(|(name, value)| format!("{name} {value}")).collect()
    }
}

fn of_family(name: &str) -> &str {
    name.split('{').next().unwrap_or(name)
}

/// The labels in the order of their names; `{}` is left out.
fn sorted_labels(name: &str) -> String {
    let Some((family, labels)) = name.split_once('{') else { return name.to_owned() };
    let labels = labels.trim_end_matches('}');
    let mut each: Vec<&str> = Vec::new();
    let (mut start, mut quoted, mut escaped) = (0, false, false);
    for (i, c) in labels.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => quoted = !quoted,
            ',' if !quoted => {
                each.push(&labels[start..i]);
                start = i + 1;
            }
            _ => {}
        }
    }
    each.push(&labels[start..]);
    each.retain(|label| !label.is_empty());
    each.sort_unstable();
    if each.is_empty() { family.to_owned() } else { format!("{family}{{{}}}", each.join(",")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEFORE: &str = "# TYPE a counter\na{y=\"1,{2}\",x=\"q\"} 3\na{} 1\nb 2\n";

    #[test]
    fn labels_are_compared_in_any_order() {
        let stats = Stats::parse(BEFORE);
        assert_eq!(stats.get("a{x=\"q\",y=\"1,{2}\"}"), Some(3.0));
        assert_eq!(stats.get("a"), Some(1.0));
        assert_eq!(stats.sum("a"), 4.0);
        assert_eq!(stats.families(), ["a", "b"]);
    }

    #[test]
    fn changes_only() {
        let after = Stats::parse("a{x=\"q\",y=\"1,{2}\"} 5\na 1\nb 2\nc 7\n");
        let changes = after.since(&Stats::parse(BEFORE));
        assert_eq!(changes.lines(), ["a{x=\"q\",y=\"1,{2}\"} 2", "c 7"]);
        assert_eq!(changes.only(|f| f == "c").lines(), ["c 7"]);
    }
}
