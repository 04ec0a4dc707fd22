//! The list, for people and for programs.

use std::fmt;
use std::io::{self, Write};

use serde_json::{Value, json};

use super::edge::{Target, Way};
use super::rules::Rule;

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Clusters(clusters) => {
                for (i, (cluster, endpoints)) in clusters.iter().enumerate() {
                    let or = if i > 0 { " | " } else { "" };
                    write!(f, "{or}{cluster} -> {}", endpoints.join(", "))?;
                }
                Ok(())
            }
            Self::Http(clusters, headers) => {
                f.write_str("HTTP, by its routes: ")?;
                for (i, (cluster, endpoints)) in clusters.iter().enumerate() {
                    let or = if i > 0 { " | " } else { "" };
                    write!(f, "{or}{cluster} -> {}", endpoints.join(", "))?;
                }
                for (i, header) in headers.iter().enumerate() {
                    let or = if i > 0 || !clusters.is_empty() { " | " } else { "" };
                    write!(f, "{or}any cluster that the request's {header} names")?;
                }
                Ok(())
            }
            Self::Answer => f.write_str("an answer of the edge's own"),
            Self::Refused(why) => write!(f, "refused: {why}"),
        }
    }
}

impl Way {
    /// Nobody is asked for permission.
    pub(super) fn is_open(&self) -> bool {
        self.requests.by_request.is_none() && self.asks_no_connection()
    }

    /// No connection is asked for permission, though requests may be.
    fn asks_no_connection(&self) -> bool {
        matches!(&*self.rules.0, [Rule { allow: true, policy: None, when }] if when.is_always())
    }

    /// The server names that lead here.
    pub(super) fn names(&self) -> String {
        match &*self.chain.matches.server_names {
            [] => "any other name".to_owned(),
            names => names.join(", "),
        }
    }
}

/// One block for each chain: names, clients, the rules in order, and where they lead.
pub(super) fn text(ways: &[Way], out: &mut impl Write) -> io::Result<()> {
    let mut listener = "";
    for way in ways {
        if listener != &*way.listener.name {
            let addresses: Vec<_> = way.listener.addresses.iter().map(ToString::to_string).collect();
            writeln!(out, "listener {} ({})", way.listener.name, addresses.join(", "))?;
            listener = &way.listener.name;
        }
        writeln!(out, "\n  {}", way.names())?;
        for besides in way.besides() {
            writeln!(out, "    and       {besides}")?;
        }
        writeln!(out, "    chain     {}", way.name())?;
        writeln!(out, "    clients   {}", way.clients)?;
        let leads = !matches!(way.target, Target::Refused(_));
        if leads && way.is_open() {
            writeln!(out, "    allowed   anyone of them: no permissions are asked")?;
        }
        if let Some(why) = way.requests.by_request.as_ref().filter(|_| leads) {
            writeln!(out, "    besides   {why}: not every request is allowed that these rules allow")?;
        }
        for rule in way.rules.0.iter().filter(|_| leads && !way.is_open()) {
            let what = if rule.allow { "allowed" } else { "denied" };
            writeln!(out, "    {what:9} {}", in_words(rule))?;
        }
        writeln!(out, "    -> {}", way.target)?;
    }
    Ok(())
}

fn in_words(rule: &Rule) -> String {
    match &rule.policy {
        Some(policy) => format!("{} [{policy}]", rule.when),
        None if rule.when.is_always() => "anyone else".to_owned(),
        None => rule.when.to_string(),
    }
}

/// The same for programs: rules are in order, the first that applies decides.
pub(super) fn json(ways: &[Way]) -> Value {
    let rule =
        |rule: &Rule| json!({"allow": rule.allow, "when": rule.when.to_string(), "policy": rule.policy.as_deref()});
    let one = |(cluster, endpoints): &(std::sync::Arc<str>, Vec<String>)| json!({"cluster": &**cluster, "endpoints": endpoints});
    let target = |target: &Target| match target {
        Target::Clusters(clusters) => json!({"clusters": clusters.iter().map(one).collect::<Vec<_>>()}),
        Target::Http(clusters, headers) => {
            let clusters: Vec<_> = clusters.iter().map(one).collect();
            json!({"http": true, "clusters": clusters, "clusters_by_header": headers})
        }
        Target::Answer => json!({"answer": true}),
        Target::Refused(why) => json!({"refused": why}),
    };
    let way = |way: &Way| {
        json!({
            "listener": &*way.listener.name,
            "chain": way.name(),
            "server_names": way.chain.matches.server_names.iter().map(|name| &**name).collect::<Vec<_>>(),
            "besides": way.besides(),
            "clients": way.clients.to_string(),
            "rules": way.rules.0.iter().map(rule).collect::<Vec<_>>(),
            "by_request": way.requests.by_request,
            "to": target(&way.target),
        })
    };
    Value::Array(ways.iter().map(way).collect())
}
