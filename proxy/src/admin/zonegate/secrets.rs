//! The secrets of `/zonegate`: where each comes from, its version, and when it expires. Nothing of their content.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::sync::Arc;

use config::model::tls::{Secret, SecretRef, SecretSource};
use config::snapshot::{SecretEntry, Snapshot};
use config::xds::Status;
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::age;
use crate::expiry::not_after;

pub(super) fn write(
    snapshot: &Snapshot,
    servers: &BTreeMap<Arc<str>, Arc<Status>>,
    out: &mut impl Write,
) -> io::Result<()> {
    writeln!(out, "\nsecrets: {}, waited for: {}", snapshot.secrets.size(), snapshot.missing_secrets.len())?;
    for (secret, entry) in sorted(snapshot) {
        let (what, from) = (what(&entry.secret), from(secret));
        let until = until(entry).map(|at| format!(", until {at}")).unwrap_or_default();
        writeln!(out, "  {}: {what} from {from}, version {:?}{until}", secret.name, &*entry.source.version)?;
    }
    for secret in &*snapshot.missing_secrets {
        writeln!(out, "  {}: has not come from {}", secret.name, from(secret))?;
    }
    for (name, status) in servers {
        writeln!(
            out,
            "  server {name}: {:?}, {} streams opened, {} failed",
            status.connection, status.opened, status.failed
        )?;
        if let Some(failure) = &status.last_error {
            writeln!(out, "    last error, {} s ago: {}", age(failure.at), failure.text)?;
        }
    }
    Ok(())
}

pub(super) fn json(snapshot: &Snapshot) -> Value {
    let held = sorted(snapshot).into_iter().map(|(secret, entry)| {
        json!({
            "name": &*secret.name,
            "source": from(secret),
            "type": what(&entry.secret),
            "version": &*entry.source.version,
            "not_after": until(entry),
        })
    });
    let missing = snapshot.missing_secrets.iter();
    let missing = missing.map(|secret| json!({"name": &*secret.name, "source": from(secret), "type": null}));
    held.chain(missing).collect()
}

fn sorted(snapshot: &Snapshot) -> Vec<(&Arc<SecretRef>, &Arc<SecretEntry>)> {
    let mut all: Vec<_> = snapshot.secrets.iter().collect();
    all.sort_by_cached_key(|(secret, _)| secret.to_string());
    all
}

fn from(secret: &SecretRef) -> String {
    match &secret.source {
        SecretSource::Ads => "the control plane".to_owned(),
        SecretSource::Static => "the bootstrap".to_owned(),
        SecretSource::File { path, .. } => format!("file {}", path.display()),
        SecretSource::Grpc(server) => format!("server {}", server.cluster),
    }
}

const fn what(secret: &Secret) -> &'static str {
    match secret {
        Secret::Certificate(_) => "certificate",
        Secret::Validation(_) => "validation",
        Secret::TicketKeys(_) => "ticket keys",
        Secret::Generic => "generic",
    }
}

fn until(entry: &SecretEntry) -> Option<String> {
    OffsetDateTime::from(not_after(&entry.secret)?).format(&Rfc3339).ok()
}
