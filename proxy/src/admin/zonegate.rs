//! `/zonegate`: what the configuration asks for and this proxy does not do, and how the control plane's streams are.

mod secrets;

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::sync::Arc;
use std::time::SystemTime;

use config::model::cluster::Transport;
use config::snapshot::{Kind, Snapshot};
use config::xds::Status;
use config::xds::status::Connection;
use http::Response;
use serde_json::{Value, json};

use super::answer;
use super::query::Query;
use super::state::AdminState;
use super::stream::Writers;
use crate::system::reply::Body;

pub(super) fn zonegate(state: &AdminState, query: &Query, writers: &Writers) -> Response<Body> {
    let page = Page {
        snapshot: state.view.snapshot.load_full(),
        listening: state.system.all(),
        xds: state.view.status.load_full(),
        servers: state.view.secret_servers.load_full(),
    };
    if query.get("format") == Some("json") {
        return answer::json_stream(writers, move |out| answer::pretty(out, &page.to_json()));
    }
    answer::text_stream(writers, move |out| page.write(out))
}

struct Page {
    snapshot: Arc<Snapshot>,
    listening: Vec<crate::system::Status>,
    xds: Arc<Status>,
    servers: Arc<BTreeMap<Arc<str>, Arc<Status>>>,
}

/// One thing to tell: where, and what.
struct Line {
    kind: &'static str,
    resource: Arc<str>,
    path: String,
    text: String,
}

impl Page {
    /// Fields that are set and not honoured.
    fn ignored(&self) -> Vec<Line> {
        let line = |kind, resource: &Arc<str>, ignored: &config::reject::Ignored| Line {
            kind,
            resource: Arc::clone(resource),
            path: ignored.path.to_string(),
            text: ignored.note.to_string(),
        };
        let listeners = self.snapshot.all_listeners();
        let secrets = self.snapshot.secrets.iter();
        let clusters = self.snapshot.clusters.iter().chain(self.snapshot.warming.iter());
        let notes = self.snapshot.endpoint_notes.iter();
        sorted(
            listeners
                .flat_map(|(name, entry)| entry.ignored.iter().map(move |i| line("listener", name, i)))
                .chain(clusters.flat_map(|(name, entry)| entry.ignored.iter().map(move |i| line("cluster", name, i))))
                .chain(
                    secrets
                        .flat_map(|(secret, entry)| entry.ignored.iter().map(move |i| line("secret", &secret.name, i))),
                )
                .chain(notes.flat_map(|(name, ignored)| ignored.iter().map(move |i| line("endpoints", name, i))))
                .collect(),
        )
    }

    /// Resources whose newest version is refused.
    fn rejected(&self) -> Vec<Line> {
        let lines = self.snapshot.rejected.iter().map(|((kind, name), rejected)| Line {
            kind: kind_name(*kind),
            resource: Arc::clone(name),
            path: rejected.rejection.path.to_string(),
            text: format!("{} (version {:?})", rejected.rejection.reason, &*rejected.version),
        });
        sorted(lines.collect())
    }

    /// Chains and clusters that refuse their connections; not those of the xDS client.
    fn refusing(&self) -> Vec<Line> {
        let lines = self.snapshot.all_listeners().flat_map(|(name, entry)| {
            entry.unsupported.iter().map(move |(chain, why)| Line {
                kind: "listener",
                resource: Arc::clone(name),
                path: why.path.to_string(),
                text: format!("chain {chain} refuses its connections: {}", why.what),
            })
        });
        let clusters = self.snapshot.clusters.iter().chain(self.snapshot.warming.iter());
        let clusters = clusters.filter(|(name, _)| !self.snapshot.control_planes.contains(name));
        let clusters = clusters.filter_map(|(name, entry)| {
            let Transport::Unsupported(why) = &entry.cluster.transport else { return None };
            let text = format!("refuses its connections: {}", why.what);
            Some(Line { kind: "cluster", resource: Arc::clone(name), path: why.path.to_string(), text })
        });
        sorted(lines.chain(clusters).collect())
    }

    /// Chains that stay as they were.
    fn held(&self) -> Vec<Line> {
        let lines = self.snapshot.held.iter().flat_map(|(name, chains)| {
            chains.iter().map(move |(chain, why)| Line {
                kind: "listener",
                resource: Arc::clone(name),
                path: why.path.to_string(),
                text: format!("chain {chain} stays at its last good version: {}", why.what),
            })
        });
        sorted(lines.collect())
    }

    fn sections(&self) -> [(&'static str, &'static str, Vec<Line>); 4] {
        [
            ("rejected", "rejected resources (the last good version of each stays in force)", self.rejected()),
            ("unsupported", "chains that refuse their connections (and clusters)", self.refusing()),
            ("held", "chains that stay at their last good version", self.held()),
            ("ignored", "fields that are set and not honoured", self.ignored()),
        ]
    }

    fn write(&self, out: &mut impl Write) -> io::Result<()> {
        let Snapshot { generation, listeners, warming_listeners, clusters, warming, .. } = &*self.snapshot;
        writeln!(
            out,
            "configuration {generation}: {} listeners, {} waiting for secrets; {} clusters, {} waiting for endpoints or \
             secrets",
            listeners.size(),
            warming_listeners.size(),
            clusters.size(),
            warming.size()
        )?;
        for (_, title, lines) in self.sections() {
            writeln!(out, "\n{title}: {}", lines.len())?;
            for Line { kind, resource, path, text } in lines {
                writeln!(out, "  {kind} {resource}: {path}: {text}")?;
            }
        }
        secrets::write(&self.snapshot, &self.servers, out)?;
        writeln!(out, "\ncontrol plane's own listeners: {}", self.listening.len())?;
        for status in &self.listening {
            match &status.bound {
                Ok(at) => writeln!(out, "  {} listens on {at}", status.listener)?,
                Err(error) => writeln!(out, "  {} can't listen on {}: {error}", status.listener, status.address)?,
            }
        }
        write_xds(&self.xds, out)
    }

    fn to_json(&self) -> Value {
        let mut page = json!({"generation": self.snapshot.generation});
        for (name, _, lines) in self.sections() {
            let lines: Vec<Value> = lines
                .iter()
                .map(|l| json!({"kind": l.kind, "resource": &*l.resource, "path": l.path, "text": l.text}))
                .collect();
            page[name] = lines.into();
        }
        let listening = self.listening.iter().map(|status| {
            let (bound, error) = match &status.bound {
                Ok(at) => (Some(at.to_string()), None),
                Err(error) => (None, Some(error)),
            };
            json!({"listener": &*status.listener, "address": status.address.to_string(), "bound": bound, "error": error})
        });
        page["listening"] = listening.collect::<Vec<_>>().into();
        page["xds"] = xds_json(&self.xds);
        page["secrets"] = secrets::json(&self.snapshot);
        page["secret_servers"] = self.servers.iter().map(|(name, s)| (name.to_string(), xds_json(s))).collect();
        page
    }
}

fn sorted(mut lines: Vec<Line>) -> Vec<Line> {
    lines.sort_unstable_by(|a, b| (a.kind, &a.resource, &a.path).cmp(&(b.kind, &b.resource, &b.path)));
    lines
}

fn write_xds(status: &Status, out: &mut impl Write) -> io::Result<()> {
    let connection = match status.connection {
        Connection::Idle => "not connected".to_owned(),
        Connection::Connecting => "connecting".to_owned(),
        Connection::Connected(since) => format!("connected for {} s", age(since)),
        Connection::Waiting(since) => format!("waiting for {} s before the next attempt", age(since)),
    };
    writeln!(out, "\ncontrol plane: {connection}, {:?}", &*status.identifier)?;
    writeln!(
        out,
        "  streams: {} opened, {} failed, {} closed, {} silent",
        status.opened, status.failed, status.closed, status.silences
    )?;
    if let Some(failure) = &status.last_error {
        writeln!(out, "  last error, {} s ago: {}", age(failure.at), failure.text)?;
    }
    for (kind, of_kind) in status.kinds.iter().filter(|(_, k)| k.update_attempt > 0 || k.silent) {
        writeln!(
            out,
            "  {}: version {:?}, {} resources, {} updates, {} rejected{}",
            kind_name(kind),
            &*of_kind.version,
            of_kind.resources,
            of_kind.update_attempt,
            of_kind.update_rejected,
            if of_kind.silent { ", SILENT: asked for and not answered" } else { "" },
        )?;
        if let Some(error) = &of_kind.error {
            writeln!(out, "    last rejection, {} s ago: {}", age(error.at), error.text)?;
        }
    }
    Ok(())
}

fn xds_json(status: &Status) -> Value {
    let kinds: serde_json::Map<String, Value> = status
        .kinds
        .iter()
        .map(|(kind, k)| {
            let value = json!({
                "version": &*k.version,
                "resources": k.resources,
                "update_attempt": k.update_attempt,
                "update_success": k.update_success,
                "update_rejected": k.update_rejected,
                "update_failure": k.update_failure,
                "silent": k.silent,
                "error": k.error.as_ref().map(|error| &*error.text),
            });
            (kind_name(kind).to_owned(), value)
        })
        .collect();
    json!({
        "connected": status.connection.is_up(),
        "identifier": &*status.identifier,
        "opened": status.opened,
        "failed": status.failed,
        "closed": status.closed,
        "silences": status.silences,
        "last_error": status.last_error.as_ref().map(|error| &*error.text),
        "kinds": kinds,
    })
}

fn age(since: SystemTime) -> u64 {
    since.elapsed().map_or(0, |age| age.as_secs())
}

const fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Cluster => "cluster",
        Kind::Endpoints => "endpoints",
        Kind::Listener => "listener",
        Kind::Route => "route",
        Kind::Secret => "secret",
        Kind::Runtime => "runtime",
    }
}
