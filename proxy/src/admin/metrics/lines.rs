//! Prometheus' text taken apart while it is written, line by line, so that it never stands in memory as a whole; what
//! the policy does not show is left out.

use std::borrow::Cow;
use std::io::{self, Write};

use super::policy::Policy;
use crate::metrics::Kind;

/// Takes the series that are shown.
pub(super) trait Series {
    /// A metric begins; not said for one without series.
    ///
    /// # Errors
    /// Those of where it goes.
    fn metric(&mut self, name: &str, kind: Kind) -> io::Result<()>;

    /// A line of that metric.
    ///
    /// # Errors
    /// Those of where it goes.
    fn sample(&mut self, sample: Sample<'_>) -> io::Result<()>;
}

/// A line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sample<'a> {
    /// Of the metric; histograms' end on `_bucket`, `_sum` and `_count`.
    pub(super) name: &'a str,
    /// Between the braces, as written.
    pub(super) labels: &'a str,
    /// As written.
    pub(super) value: &'a str,
}

/// What the renderer of Prometheus' text writes to.
pub(super) struct Lines<'a, S> {
    policy: &'a Policy,
    series: S,
    line: Vec<u8>,
    metric: Metric,
}

enum Metric {
    Hidden,
    /// Not said yet.
    New(String, Kind),
    Said,
}

impl<'a, S: Series> Lines<'a, S> {
    pub(super) fn new(policy: &'a Policy, series: S) -> Self {
        Self { policy, series, line: Vec::new(), metric: Metric::Hidden }
    }

    /// What took the series; all text is written.
    pub(super) fn into_series(self) -> S {
        self.series
    }

    fn take(&mut self, line: &str) -> io::Result<()> {
        if let Some(comment) = line.strip_prefix('#') {
            if let Some((name, kind)) = comment.strip_prefix(" TYPE ").and_then(|rest| rest.split_once(' ')) {
                self.begin(name, kind);
            }
            return Ok(());
        }
        let Some(sample) = Sample::parse(line) else { return Ok(()) };
        if matches!(self.metric, Metric::Hidden)
            || !labels(sample.labels).all(|(k, v)| self.policy.profile.shows_label(k, v))
        {
            return Ok(());
        }
        if let Metric::New(name, kind) = std::mem::replace(&mut self.metric, Metric::Said) {
            self.series.metric(&name, kind)?;
        }
        self.series.sample(sample)
    }

    fn begin(&mut self, name: &str, kind: &str) {
        let kind = match kind {
            "counter" => Kind::Counter,
            "histogram" => Kind::Histogram,
            _ => Kind::Gauge,
        };
        let shown = self.policy.profile.shows(name);
        self.metric = if shown { Metric::New(name.to_owned(), kind) } else { Metric::Hidden };
    }
}

impl<S: Series> Write for Lines<'_, S> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut rest = bytes;
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            let mut line = std::mem::take(&mut self.line);
            line.extend_from_slice(&rest[..end]);
            self.take(&String::from_utf8_lossy(&line))?;
            line.clear();
            self.line = line;
            rest = &rest[end + 1..];
        }
        self.line.extend_from_slice(rest);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> Sample<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let (series, value) = line.rsplit_once(' ')?;
        match series.split_once('{') {
            Some((name, labels)) => Some(Self { name, labels: labels.strip_suffix('}')?, value }),
            None => Some(Self { name: series, labels: "", value }),
        }
    }
}

/// Names and values (still escaped) of `a="b",c="d"`.
pub(super) fn labels(text: &str) -> impl Iterator<Item = (&str, &str)> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let (name, after) = rest.split_once("=\"")?;
        let mut escaped = false;
        let end = after.bytes().position(|byte| {
            let ends = byte == b'"' && !escaped;
            escaped = byte == b'\\' && !escaped;
            ends
        })?;
        rest = &after[end + 1..];
        Some((name.trim_start_matches(','), &after[..end]))
    })
}

/// A label's value as it was.
pub(super) fn unescape(value: &str) -> Cow<'_, str> {
    if !value.contains('\\') {
        return Cow::Borrowed(value);
    }
    let mut out = String::with_capacity(value.len());
    let mut chars = value.chars();
    while let Some(c) = chars.next() {
        out.push(match c {
            '\\' => match chars.next() {
                Some('n') => '\n',
                Some(other) => other,
                None => '\\',
            },
            other => other,
        });
    }
    Cow::Owned(out)
}

/// A value as it stands in a line.
pub(super) fn escape(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

/// Writes what is shown as Prometheus' text again, with the policy's labels.
pub(super) struct Text<W> {
    /// Name, and `name="value"`.
    added: Vec<(String, String)>,
    out: W,
}

impl<W: Write> Text<W> {
    pub(super) fn new(policy: &Policy, out: W) -> Self {
        let added = policy.labels.iter().map(|(name, value)| {
            // In the mesh's OpenTelemetry form, names have dots.
            let name: String =
                name.chars().map(|c| if c.is_ascii_alphanumeric() || c == '_' { c } else { '_' }).collect();
            let pair = format!("{name}=\"{}\"", escape(value));
            (name, pair)
        });
        Self { added: added.collect(), out }
    }

    /// Where it wrote.
    pub(super) fn into_inner(self) -> W {
        self.out
    }
}

impl<W: Write> Series for Text<W> {
    fn metric(&mut self, name: &str, kind: Kind) -> io::Result<()> {
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        writeln!(self.out, "# TYPE {name} {kind}")
    }

    fn sample(&mut self, Sample { name, labels: own, value }: Sample<'_>) -> io::Result<()> {
        self.out.write_all(name.as_bytes())?;
        let kept = labels(own).filter(|(name, _)| self.added.iter().all(|(added, _)| added != name));
        let mut before = '{';
        for (name, value) in kept {
            write!(self.out, "{before}{name}=\"{value}\"")?;
            before = ',';
        }
        for (_, pair) in &self.added {
            write!(self.out, "{before}{pair}")?;
            before = ',';
        }
        let close = if before == ',' { "}" } else { "" };
        writeln!(self.out, "{close} {value}")
    }
}
