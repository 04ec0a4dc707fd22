//! `loadtest`: the costs of proxies side by side. See the README beside this crate.

use std::process::ExitCode;

use loadtest::args::{self, Command, Options};
use loadtest::run::run;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

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
    // Proxies are in process groups of their own, so Ctrl-C reaches them only through their drop.
    let ended = runtime.block_on(async {
        tokio::select! {
            ended = run(options, |line| eprintln!("{line}")) => Some(ended),
            _ = tokio::signal::ctrl_c() => None,
        }
    });
    match ended {
        Some(Ok(report)) => {
            print!("{report}");
            ExitCode::SUCCESS
        }
        Some(Err(error)) => {
            eprintln!("loadtest: {error}");
            ExitCode::FAILURE
        }
        None => ExitCode::from(130),
    }
}

/// An idle connection takes two descriptors here and two in the proxy, which inherits the limit.
/// Where it cannot be raised, the scenario that needs more says so.
fn raise_descriptor_limit() {
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
}
