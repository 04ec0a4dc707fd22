//! From the command line to what is done, and from errors to exit codes: 0, or 1 with one message on stderr.

use std::ffi::OsString;
use std::io::Write as _;
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser as _};

use crate::args::{Cli, Command, Mode};
use crate::env::Env;
use crate::envoy::EnvoyError;
use crate::logging::{self, LogError};
use crate::run::RunError;
use crate::serve::ServeError;
use crate::wait::WaitError;
use crate::{envoy, run, serve, validate, version, wait};

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
    /// Neither a command nor a file.
    #[error("nothing to do: give a command (run, wait, validate, version) or a bootstrap with -c FILE; see --help")]
    Nothing,
    /// Standard output is gone.
    #[error("cannot write to standard output: {0}")]
    Output(#[from] std::io::Error),
}

/// The program.
pub fn main(args: impl IntoIterator<Item = OsString>, env: &Env) -> ExitCode {
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are "errors" that go to stdout.
            let failed = error.use_stderr();
            let _ = error.print();
            return if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS };
        }
    };
    match execute(cli, env) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "Error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn execute(cli: Cli, env: &Env) -> Result<(), CliError> {
    match cli.command {
        Some(Command::Version(args)) => Ok(writeln!(std::io::stdout(), "{}", version::text(args.detailed))?),
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
            let config = run::config::RunConfig::resolve(&args, env).map_err(RunError::from)?;
            let data_path = config.data_path_level.as_deref();
            let log = logging::start(&cli.log, data_path, config.component_levels.as_deref())?;
            let settings = run::prepare(config)?;
            Ok(serve::serve(settings, log)?)
        }
        None if cli.envoy.config_path.is_none() && cli.envoy.config_yaml.is_none() => {
            Cli::command().write_long_help(&mut std::io::stderr())?;
            Err(CliError::Nothing)
        }
        None if cli.envoy.mode == Some(Mode::Validate) => {
            let report = validate::report(envoy::bootstrap(&cli.envoy));
            report.print(crate::args::Format::Text, &mut std::io::stdout())?;
            report.verdict().map_err(CliError::Invalid)
        }
        None => {
            let log = logging::start(&cli.log, None, cli.envoy.component_log_level.as_deref())?;
            let settings = envoy::prepare(&cli.envoy)?;
            Ok(serve::serve(settings, log)?)
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn call(args: &[&str]) -> Result<(), String> {
        let cli = Cli::try_parse_from(args).map_err(|e| e.to_string())?;
        execute(cli, &Env::default()).map_err(|e| e.to_string())
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
    fn a_bad_file_is_named() {
        let error = call(&["zone-ingress", "-l", "off", "-c", "/nowhere.yaml"]).unwrap_err();
        assert!(error.contains("cannot read /nowhere.yaml"), "{error}");
        let error = call(&["kuma-dp", "run", "--proxy-type=gateway"]).unwrap_err();
        assert!(error.contains("invalid proxy type \"gateway\""), "{error}");
    }
}
