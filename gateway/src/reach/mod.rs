//! `zone-egress reach FILE`: what an edge lets through, read from a configuration, without running it.
//!
//! It lists every (identity, server name) -> cluster -> endpoint that is permitted, and answers for one of them, with
//! the rule that decides. What it says is what the data path does with the same configuration: answers come from the
//! data path's own code (`proxy::permission`), and the list is tested against it.

mod ask;
mod condition;
mod edge;
mod http;
#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod http_tests;
mod load;
#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod open_tests;
mod print;
mod rules;
#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests;

use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args as _, FromArgMatches as _};

use load::load;

/// `reach`.
pub const COMMAND: proxy::app::Extra = proxy::app::Extra { command, run };

#[derive(Debug, clap::Args)]
struct Args {
    /// An Envoy bootstrap (YAML, JSON, .pb), or the /config_dump?include_eds of a running edge (JSON)
    file: PathBuf,
    /// Answer for this identity (SPIFFE ID); several: the URI SANs of one certificate, in its order
    #[arg(long = "from", value_name = "SPIFFE-ID", requires = "to")]
    from: Vec<Box<str>>,
    /// Answer for this server name (SNI)
    #[arg(long, value_name = "NAME")]
    to: Option<String>,
    /// ALPN protocols of the client, where chains ask for them
    #[arg(long, value_name = "PROTOCOL")]
    alpn: Vec<String>,
    /// Address of the client, where chains or permissions ask for it
    #[arg(long, value_name = "IP:PORT")]
    source: Option<SocketAddr>,
    /// Only this listener
    #[arg(long, value_name = "NAME")]
    listener: Option<String>,
    /// How to print
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    Text,
    Json,
}

fn command() -> clap::Command {
    let command = clap::Command::new("reach")
        .about("Lists who may go where by a configuration, or answers for one identity and name");
    Args::augment_args(command).after_help(
        "\
Examples:
  zone-egress reach bootstrap.yaml
  curl -s 'localhost:9901/config_dump?include_eds' > dump.json && zone-egress reach dump.json
  zone-egress reach dump.json --from spiffe://default/backend --to sni.extsvc.default.payments.443

With --to the answer is yes (exit code 0) or no (exit code 1), and the rule that decides.",
    )
}

fn run(matches: &clap::ArgMatches) -> Result<(), String> {
    let args = Args::from_arg_matches(matches).map_err(|error| error.to_string())?;
    let loaded = load(&args.file).map_err(|error| error.to_string())?;
    for refused in &loaded.refused {
        let _ = writeln!(std::io::stderr(), "not looked at: {refused}");
    }
    let mut ways = edge::ways(&loaded.snapshot);
    if let Some(only) = &args.listener {
        ways.retain(|way| *way.listener.name == **only);
    }
    if ways.is_empty() {
        return Err("there is no listener to look at".to_owned());
    }
    let mut out = std::io::stdout().lock();
    let written = match &args.to {
        None if args.format == Format::Json => writeln!(out, "{:#}", print::json(&ways)),
        None => print::text(&ways, &mut out),
        Some(name) => {
            let question = ask::Question { identities: &args.from, name, alpn: &args.alpn, source: args.source };
            let answers = ask::ask(&ways, &question)?;
            let permitted = answers.iter().any(ask::Answer::is_yes);
            let written = match args.format {
                Format::Json => writeln!(out, "{:#}", ask::json(&answers)),
                Format::Text => answers.iter().try_for_each(|answer| writeln!(out, "{answer}")),
            };
            if written.is_ok() && !permitted {
                return Err("not permitted".to_owned());
            }
            written
        }
    };
    written.map_err(|error| format!("cannot write to standard output: {error}"))
}
