//! `loadtest`: the costs of proxies side by side. See the README beside this crate.

use std::io;
use std::process::ExitCode;

use loadtest::args::{self, Command, Options};
use loadtest::error::Error;
use loadtest::report::Report;
use loadtest::run::run;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::signal::unix::{SignalKind, signal};

fn main() -> ExitCode {
    match args::parse(std::env::args().skip(1)) {
        Ok(Command::Help) => {
            print!("{}", args::USAGE);
            ExitCode::SUCCESS
        }
        Ok(Command::Run(options)) => measure(&options),
        Err(error) => {
            eprint!("loadtest: {error}\n\n{}", args::USAGE);
            ExitCode::from(2)
        }
    }
}

fn measure(options: &Options) -> ExitCode {
    raise_descriptor_limit();
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("loadtest: setting up the runtime: {error}");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(until_signal(options)) {
        Ok(Some(Ok(report))) => {
            print!("{report}");
            ExitCode::SUCCESS
        }
        Ok(Some(Err(error))) => {
            eprintln!("loadtest: {error}");
            ExitCode::FAILURE
        }
        Ok(None) => {
            eprintln!("loadtest: ended by a signal");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("loadtest: setting up signals: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The run's result, or `None` if SIGINT or SIGTERM came first. The proxies are in process groups of
/// their own, so that a signal ends them only by way of their drop.
async fn until_signal(options: &Options) -> io::Result<Option<Result<Report, Error>>> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        ended = run(options, |line| eprintln!("{line}")) => Ok(Some(ended)),
        _ = interrupt.recv() => Ok(None),
        _ = terminate.recv() => Ok(None),
    }
}

/// An idle connection takes two descriptors here and two in the proxy, which inherits the limit.
/// Where it cannot be raised, the scenario that needs more says so.
fn raise_descriptor_limit() {
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
}
