//! The command line.

use crate::mutual::Keys;
use crate::proxy::Spec;
use crate::scenario::Scenario;

/// What `--help` prints.
pub const USAGE: &str = "\
Usage: loadtest [OPTIONS] --proxy NAME=COMMAND [--proxy NAME=COMMAND]...

Measures what each proxy costs per unit of work, in turn, and prints medians and ratios to the last.

  --proxy NAME=COMMAND  A proxy. {config} in COMMAND becomes the path of an Envoy bootstrap. COMMAND
                        is split at white space, without a shell; it must stay in the foreground
  --scenario S          conn, bulk, upload, pingpong, idle or all [all]
  --tls KEYS            The proxy ends mutual TLS with keys of this kind: rsa, ecdsa, or rsa-ecdsa
                        (an RSA authority, ECDSA at both ends)
  --rounds N            Rounds that count, after one that does not [5]
  --names N             Server names, each with a filter chain and a cluster [1000]
  --quick               A tenth of the work: to see that it runs, not for figures
  -h, --help            This
";

const MAX_ROUNDS: u32 = 1000;
const MAX_NAMES: u32 = 100_000;

/// What a run does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// The proxies, at least one, with different names.
    pub proxies: Vec<Spec>,
    /// The scenarios, at least one.
    pub scenarios: Vec<Scenario>,
    /// Rounds that count, at least 1.
    pub rounds: u32,
    /// Server names, at least 1.
    pub names: u32,
    /// The proxy ends mutual TLS.
    pub tls: Option<Keys>,
}

/// What the command line asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Measure.
    Run(Options),
    /// Print [`USAGE`].
    Help,
}

/// What is wrong with the command line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ArgsError {
    /// No such flag.
    #[error("unknown argument {0:?}")]
    Unknown(String),
    /// The flag stands at the end.
    #[error("{0} needs a value")]
    NoValue(String),
    /// Not a whole number in the range.
    #[error("{flag} {value:?}: not a whole number from 1 to {max}")]
    Number {
        /// The flag.
        flag: &'static str,
        /// Its value.
        value: String,
        /// The greatest value.
        max: u32,
    },
    /// No such scenario.
    #[error("--scenario {0:?}: not one of conn, bulk, upload, pingpong, idle, all")]
    Scenario(String),
    /// No such kind of keys.
    #[error("--tls {0:?}: not one of rsa, ecdsa, rsa-ecdsa")]
    Keys(String),
    /// Not NAME=COMMAND.
    #[error("--proxy {0:?}: not NAME=COMMAND with both")]
    Proxy(String),
    /// The command would run without the configuration.
    #[error("--proxy {0:?}: no {{config}} in its command")]
    NoConfig(String),
    /// Two proxies with one name.
    #[error("--proxy {0:?}: this name is there twice")]
    Twice(String),
    /// Nothing to measure.
    #[error("no --proxy")]
    NoProxy,
}

/// Parses the arguments behind the program's name.
pub fn parse(arguments: impl IntoIterator<Item = String>) -> Result<Command, ArgsError> {
    let mut arguments = arguments.into_iter();
    let (mut proxies, mut rounds, mut names, mut divisor) = (Vec::new(), 5, 1000, 1);
    let (mut wanted, mut tls) = ("all".to_owned(), None);
    while let Some(flag) = arguments.next() {
        let mut value = || arguments.next().ok_or_else(|| ArgsError::NoValue(flag.clone()));
        match flag.as_str() {
            "-h" | "--help" => return Ok(Command::Help),
            "--quick" => divisor = 10,
            "--rounds" => rounds = number("--rounds", value()?, MAX_ROUNDS)?,
            "--names" => names = number("--names", value()?, MAX_NAMES)?,
            "--scenario" => wanted = value()?,
            "--tls" => tls = Some(keys(value()?)?),
            "--proxy" => add(&mut proxies, proxy(&value()?)?)?,
            _ => return Err(ArgsError::Unknown(flag)),
        }
    }
    if proxies.is_empty() {
        return Err(ArgsError::NoProxy);
    }
    let scenarios: Vec<_> =
        Scenario::all(divisor).into_iter().filter(|it| wanted == "all" || wanted == it.name()).collect();
    if scenarios.is_empty() {
        return Err(ArgsError::Scenario(wanted));
    }
    Ok(Command::Run(Options { proxies, scenarios, rounds, names, tls }))
}

fn number(flag: &'static str, value: String, max: u32) -> Result<u32, ArgsError> {
    match value.parse() {
        Ok(number) if (1..=max).contains(&number) => Ok(number),
        _ => Err(ArgsError::Number { flag, value, max }),
    }
}

fn keys(value: String) -> Result<Keys, ArgsError> {
    let found = Keys::ALL.into_iter().find(|(name, _)| *name == value);
    found.map(|(_, keys)| keys).ok_or(ArgsError::Keys(value))
}

fn proxy(value: &str) -> Result<Spec, ArgsError> {
    let wrong = || ArgsError::Proxy(value.to_owned());
    let (name, command) = value.split_once('=').ok_or_else(wrong)?;
    let command: Vec<String> = command.split_whitespace().map(str::to_owned).collect();
    if name.trim().is_empty() || command.is_empty() {
        return Err(wrong());
    }
    if !command.iter().any(|word| word.contains("{config}")) {
        return Err(ArgsError::NoConfig(value.to_owned()));
    }
    Ok(Spec { name: name.trim().to_owned(), command })
}

fn add(proxies: &mut Vec<Spec>, spec: Spec) -> Result<(), ArgsError> {
    if proxies.iter().any(|other| other.name == spec.name) {
        return Err(ArgsError::Twice(spec.name));
    }
    proxies.push(spec);
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests {
    use super::*;

    fn of(words: &[&str]) -> Result<Command, ArgsError> {
        parse(words.iter().map(|&word| word.to_owned()))
    }

    #[test]
    fn everything() {
        let command = of(&[
            "--tls",
            "rsa-ecdsa",
            "--rounds",
            "3",
            "--scenario",
            "bulk",
            "--names",
            "9",
            "--proxy",
            "a=x -c {config} -k=v",
            "--quick",
        ]);
        let Ok(Command::Run(options)) = command else { panic!("{command:?}") };
        assert_eq!((options.rounds, options.names, options.tls), (3, 9, Some(Keys::RsaEcdsa)));
        assert_eq!(options.scenarios, [Scenario::all(10)[1]]);
        assert_eq!(options.proxies[0].name, "a");
        assert_eq!(options.proxies[0].command, ["x", "-c", "{config}", "-k=v"]);
        assert_eq!(of(&["--rounds", "3", "-h"]), Ok(Command::Help));
    }

    #[test]
    fn all_scenarios_unless_told() {
        let Ok(Command::Run(options)) = of(&["--proxy", "a=x {config}"]) else { panic!() };
        assert_eq!(options.scenarios, Scenario::all(1));
        assert_eq!(options.rounds, 5);
    }

    #[test]
    fn what_is_wrong_is_said() {
        let cases: [(&[&str], &str); 10] = [
            (&["--tls", "dsa"], "--tls \"dsa\": not one of rsa, ecdsa, rsa-ecdsa"),
            (&[], "no --proxy"),
            (&["--proxy"], "--proxy needs a value"),
            (&["--round", "3"], "unknown argument \"--round\""),
            (&["--rounds", "0"], "--rounds \"0\": not a whole number from 1 to 1000"),
            (&["--names", "x"], "--names \"x\": not a whole number from 1 to 100000"),
            (&["--proxy", "a="], "--proxy \"a=\": not NAME=COMMAND with both"),
            (&["--proxy", "a=x"], "--proxy \"a=x\": no {config} in its command"),
            (&["--proxy", "a=x {config}", "--proxy", "a=y {config}"], "--proxy \"a\": this name is there twice"),
            (
                &["--proxy", "a=x {config}", "--scenario", "tls"],
                "--scenario \"tls\": not one of conn, bulk, upload, pingpong, idle, all",
            ),
        ];
        for (words, message) in cases {
            assert_eq!(of(words).unwrap_err().to_string(), message);
        }
    }
}
