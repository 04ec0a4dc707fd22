//! `validate`: what would become of a bootstrap file, without running it.

mod http;
#[cfg(test)]
mod tests;

use std::fmt;
use std::io::{self, Write};
use std::path::Path;

use config::bootstrap::envoy as bootstrap_file;
use config::bootstrap::{Bootstrap, Source};
use config::model::cluster::Transport;
use config::reject::{Ignored, Unsupported};
use config::snapshot::{Kind, Snapshot};
use config::source::once;
use config::store::Store;
use serde_json::json;

use crate::app::args::Format;

/// Everything that was found.
#[derive(Debug, Default)]
pub struct Report {
    findings: Vec<Finding>,
    listeners: usize,
    clusters: usize,
    http: Vec<http::HttpChain>,
}

/// One thing to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// `listener "inbound"`, `bootstrap`, …
    pub resource: String,
    /// Field path; empty for all of it.
    pub path: String,
    /// In words.
    pub text: String,
}

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Refused, or refuses connections.
    Error,
    /// In use, but for this field.
    NotHonoured,
}

impl Severity {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::NotHonoured => "not honoured",
        }
    }
}

/// Looks at a file.
pub fn file(path: &Path) -> Report {
    report(bootstrap_file::load(Some(path), None))
}

/// Looks at a bootstrap, or at why there is none.
pub fn report<E: fmt::Display>(bootstrap: Result<Bootstrap, E>) -> Report {
    let mut report = Report::default();
    match bootstrap {
        Ok(bootstrap) => report.bootstrap(&bootstrap),
        Err(error) => report.error("bootstrap", "", error.to_string()),
    }
    report.findings.sort_by_key(|f| f.severity);
    report
}

impl Report {
    fn bootstrap(&mut self, bootstrap: &Bootstrap) {
        self.ignored("bootstrap", &bootstrap.ignored);
        let mut store = Store::default().with_control_planes(bootstrap.dynamic.control_planes());
        for batch in &bootstrap.fixed {
            self.apply(&mut store, batch.clone());
        }
        let dynamic = &bootstrap.dynamic;
        let sources = [&dynamic.clusters, &dynamic.listeners].into_iter().flatten();
        let files = sources.filter_map(|s| if let Source::File(file) = s { Some(file) } else { None });
        for file in dynamic.files.iter().chain(files) {
            match once::load(file) {
                Ok((batch, refused)) => {
                    for (name, rejection) in refused {
                        self.error(label(file.kind, &name), &rejection.path.0, rejection.reason.to_string());
                    }
                    self.apply(&mut store, batch);
                }
                Err(error) => self.error(format!("file {}", file.path.display()), "", error.to_string()),
            }
        }
        self.snapshot(&store.snapshot());
    }

    fn apply(&mut self, store: &mut Store, batch: config::store::Batch) {
        let kind = batch.kind;
        for (name, _, rejection) in store.apply(batch).rejected {
            self.error(label(kind, &name), &rejection.path.0, rejection.reason.to_string());
        }
    }

    fn snapshot(&mut self, snapshot: &Snapshot) {
        self.listeners = snapshot.listeners.size();
        self.clusters = snapshot.clusters.size() + snapshot.warming.size();
        for (name, entry) in snapshot.listeners.iter() {
            let resource = label(Kind::Listener, name);
            for (chain, unsupported) in &entry.unsupported {
                self.unsupported(&resource, &format!("filter chain \"{chain}\" refuses its connections"), unsupported);
            }
            self.ignored(&resource, &entry.ignored);
        }
        for (name, entry) in snapshot.clusters.iter().chain(snapshot.warming.iter()) {
            let resource = label(Kind::Cluster, name);
            if let Transport::Unsupported(unsupported) = &entry.cluster.transport
                && !snapshot.control_planes.contains(name)
            {
                self.unsupported(&resource, "refuses its connections", unsupported);
            }
            self.ignored(&resource, &entry.ignored);
        }
        self.http = http::chains(snapshot);
        for (route, entry) in snapshot.routes.iter() {
            let resource = label(Kind::Route, &route.name);
            if let Some(unsupported) = entry.config.as_ref().err().or(entry.held.as_ref()) {
                self.unsupported(&resource, "refuses its requests", unsupported);
            }
            self.ignored(&resource, &entry.ignored);
        }
        for (name, notes) in snapshot.endpoint_notes.iter() {
            self.ignored(&label(Kind::Endpoints, name), notes);
        }
    }

    fn error(&mut self, resource: impl Into<String>, path: &str, text: String) {
        let (resource, path) = (resource.into(), path.to_owned());
        self.findings.push(Finding { severity: Severity::Error, resource, path, text });
    }

    fn unsupported(&mut self, resource: &str, what: &str, unsupported: &Unsupported) {
        self.error(resource, &unsupported.path.0, format!("{what}: {} can't be run by this version", unsupported.what));
    }

    fn ignored(&mut self, resource: &str, ignored: &[Ignored]) {
        for Ignored { path, note } in ignored {
            self.findings.push(Finding {
                severity: Severity::NotHonoured,
                resource: resource.to_owned(),
                path: path.to_string(),
                text: (*note).to_owned(),
            });
        }
    }

    /// What was found, errors first.
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// Writes all of it.
    ///
    /// # Errors
    /// The output's.
    pub fn print(&self, format: Format, out: &mut impl Write) -> io::Result<()> {
        match format {
            Format::Text => self.findings.iter().try_for_each(|f| writeln!(out, "{f}")).and_then(|()| {
                let (listeners, clusters) = (self.listeners, self.clusters);
                self.http.iter().try_for_each(|chain| writeln!(out, "{chain}"))?;
                if self.errors() == 0 {
                    writeln!(out, "OK: {listeners} listeners, {clusters} clusters")
                } else {
                    Ok(())
                }
            }),
            Format::Json => {
                let list = |severity| {
                    let of = self.findings.iter().filter(move |f| f.severity == severity);
                    of.map(|f| json!({"resource": f.resource, "path": f.path, "text": f.text})).collect::<Vec<_>>()
                };
                let document = json!({
                    "ok": self.errors() == 0,
                    "listeners": self.listeners,
                    "clusters": self.clusters,
                    "http": self.http.iter().map(http::HttpChain::json).collect::<Vec<_>>(),
                    "errors": list(Severity::Error),
                    "not_honoured": list(Severity::NotHonoured),
                });
                writeln!(out, "{document:#}")
            }
        }
    }

    /// Whether all is accepted.
    ///
    /// # Errors
    /// In words, how much is not.
    pub fn verdict(&self) -> Result<(), String> {
        match self.errors() {
            0 => Ok(()),
            1 => Err("1 error was found".to_owned()),
            n => Err(format!("{n} errors were found")),
        }
    }

    fn errors(&self) -> usize {
        self.findings.iter().filter(|f| f.severity == Severity::Error).count()
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: ", self.severity.as_str(), self.resource)?;
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.text)
    }
}

fn label(kind: Kind, name: &str) -> String {
    let kind = match kind {
        Kind::Cluster => "cluster",
        Kind::Endpoints => "endpoints",
        Kind::Listener => "listener",
        Kind::Route => "route",
        Kind::Secret => "secret",
        Kind::Runtime => "runtime",
    };
    format!("{kind} \"{name}\"")
}
