//! From the command line to what is done, and from errors to exit codes: 0, or 1 with one message on stderr.

use std::ffi::OsString;
use std::io::Write as _;
use std::process::ExitCode;

use clap::{ArgMatches, CommandFactory as _, FromArgMatches as _};

use crate::app::args::{Cli, Command, Mode};
use crate::app::env::Env;
use crate::app::envoy::EnvoyError;
use crate::app::logging::{self, LogError};
use crate::app::role::{Extra, Role};
use crate::app::run::RunError;
use crate::app::serve::ServeError;
use crate::app::wait::WaitError;
use crate::app::{envoy, run, serve, validate, version, wait};

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// The log cannot be written as asked.
    #[error(transparent)]
    Log(#[from] LogError),
    /// `run`, before anything is served.
    #[error(transparent)]
    Run(#[from] RunError),
    /// `-c`, before anything is served.
    #[error(transparent)]
    Envoy(#[from] EnvoyError),
    /// While serving.
    #[error(transparent)]
    Serve(#[from] ServeError),
    /// `wait`.
    #[error(transparent)]
    Wait(#[from] WaitError),
    /// `validate` found something; it was printed.
    #[error("{0}")]
    Invalid(String),
    /// A command of this program alone.
    #[error("{0}")]
    Extra(String),
    /// Neither a command nor a file.
    #[error("nothing to do: give a command (run, wait, validate, version) or a bootstrap with -c FILE; see --help")]
    Nothing,
    /// Standard output is gone.
    #[error("cannot write to standard output: {0}")]
    Output(#[from] std::io::Error),
}

/// The program, whatever name it was called by.
pub fn main(role: &Role, args: impl IntoIterator<Item = OsString>, env: &Env) -> ExitCode {
    let called = match Called::parse(role, args) {
        Ok(called) => called,
        Err(error) => {
            // Help and version are "errors" that go to stdout.
            let failed = error.use_stderr();
            let _ = error.print();
            return if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS };
        }
    };
    match called.execute(role, env) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "Error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The command line of this program.
pub(crate) fn command(role: &Role) -> clap::Command {
    let command = Cli::command().name(role.program).about(role.about).after_help(role.examples());
    role.extra.iter().fold(command, |command, extra| command.subcommand((extra.command)()))
}

/// What was called.
enum Called {
    Common(Box<Cli>),
    Extra(Extra, ArgMatches),
}

impl Called {
    fn parse<T: Into<OsString> + Clone>(role: &Role, args: impl IntoIterator<Item = T>) -> Result<Self, clap::Error> {
        let matches = command(role).try_get_matches_from(args)?;
        if let Some((name, of)) = matches.subcommand()
            && let Some(extra) = role.extra.iter().find(|extra| (extra.command)().get_name() == name)
        {
            return Ok(Self::Extra(*extra, of.clone()));
        }
        Cli::from_arg_matches(&matches).map(|cli| Self::Common(Box::new(cli)))
    }

    fn execute(self, role: &Role, env: &Env) -> Result<(), CliError> {
        match self {
            Self::Common(cli) => execute(role, *cli, env),
            Self::Extra(extra, matches) => (extra.run)(&matches).map_err(CliError::Extra),
        }
    }
}

fn execute(role: &Role, cli: Cli, env: &Env) -> Result<(), CliError> {
    match cli.command {
        Some(Command::Version(args)) => Ok(writeln!(std::io::stdout(), "{}", version::text(role, args.detailed))?),
        Some(Command::Validate(args)) => {
            let report = validate::file(&args.file);
            report.print(args.format, &mut std::io::stdout())?;
            report.verdict().map_err(CliError::Invalid)
        }
        Some(Command::Wait(args)) => {
            logging::start(&cli.log, None, None)?;
            Ok(wait::wait(&args)?)
        }
        Some(Command::Run(args)) => {
            let config = run::config::RunConfig::resolve(role, &args, env).map_err(RunError::from)?;
            let data_path = config.data_path_level.as_deref();
            let log = logging::start(&cli.log, data_path, config.component_levels.as_deref())?;
            let settings = run::prepare(config)?;
            Ok(serve::serve(role, settings, log)?)
        }
        None if cli.envoy.config_path.is_none() && cli.envoy.config_yaml.is_none() => {
            command(role).write_long_help(&mut std::io::stderr())?;
            Err(CliError::Nothing)
        }
        None if cli.envoy.mode == Some(Mode::Validate) => {
            let report = validate::report(envoy::bootstrap(&cli.envoy));
            report.print(crate::app::args::Format::Text, &mut std::io::stdout())?;
            report.verdict().map_err(CliError::Invalid)
        }
        None => {
            let log = logging::start(&cli.log, None, cli.envoy.component_log_level.as_deref())?;
            let settings = envoy::prepare(&cli.envoy)?;
            Ok(serve::serve(role, settings, log)?)
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::app::role::testing::{EGRESS, INGRESS};

    fn call(args: &[&str]) -> Result<(), String> {
        called(&INGRESS, args)
    }

    fn called(role: &Role, args: &[&str]) -> Result<(), String> {
        Called::parse(role, args).map_err(|e| e.to_string())?.execute(role, &Env::default()).map_err(|e| e.to_string())
    }

    #[test]
    fn nothing_to_do_is_an_error() {
        assert!(call(&["zone-ingress"]).unwrap_err().starts_with("nothing to do"));
    }

    #[test]
    fn either_name_answers() {
        call(&["kuma-dp", "version"]).unwrap();
        call(&["zone-ingress", "version", "-a"]).unwrap();
    }

    #[test]
    fn a_command_of_its_own() {
        const EXTRA: Extra = Extra {
            command: || clap::Command::new("reach").arg(clap::Arg::new("FILE").required(true)),
            run: |matches| Err(format!("reach {}", matches.get_one::<String>("FILE").unwrap())),
        };
        let role = Role { extra: &[EXTRA], ..EGRESS };
        assert_eq!(called(&role, &["zone-egress", "reach", "f"]).unwrap_err(), "reach f");
        assert!(called(&EGRESS, &["zone-egress", "reach", "f"]).unwrap_err().contains("reach"));
        assert!(called(&role, &["zone-egress", "reach"]).unwrap_err().contains("FILE"));
    }

    #[test]
    fn help_is_the_programs_own() {
        let help = called(&EGRESS, &["kuma-dp", "--help"]).unwrap_err();
        assert!(help.starts_with("Egress.") && help.contains("zone-egress validate bootstrap.yaml"), "{help}");
        let refused = called(&EGRESS, &["zone-egress", "run", "--proxy-type=ingress", "--name", "i"]).unwrap_err();
        assert_eq!(
            refused,
            "invalid proxy type \"ingress\": zone-egress takes dataplane and egress; use zone-ingress for it"
        );
    }

    #[test]
    fn a_bad_file_is_named() {
        let error = call(&["zone-ingress", "-l", "off", "-c", "/nowhere.yaml"]).unwrap_err();
        assert!(error.contains("cannot read /nowhere.yaml"), "{error}");
        let error = call(&["kuma-dp", "run", "--proxy-type=gateway"]).unwrap_err();
        assert!(error.contains("invalid proxy type \"gateway\""), "{error}");
    }
}
