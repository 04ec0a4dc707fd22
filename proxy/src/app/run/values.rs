//! One setting: its flag, else its variable, else its default.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use super::config::ConfigError;
use crate::app::duration::{parse_bool, parse_duration};
use crate::app::env::Env;

/// A flag, else its variable.
#[derive(Clone, Copy)]
pub(super) struct Values<'a> {
    /// Variables.
    pub(super) env: &'a Env,
}

impl Values<'_> {
    pub(super) fn text(self, flag: &Option<String>, variable: &str) -> Option<String> {
        flag.clone().or_else(|| self.env.get(variable).map(str::to_owned)).filter(|v| !v.is_empty())
    }

    pub(super) fn path(self, flag: &Option<PathBuf>, variable: &str) -> Option<PathBuf> {
        flag.clone().or_else(|| self.env.get(variable).map(PathBuf::from)).filter(|p| !p.as_os_str().is_empty())
    }

    pub(super) fn flag(self, flag: Option<bool>, variable: &'static str, default: bool) -> Result<bool, ConfigError> {
        self.parsed(flag, variable, parse_bool).map(|v| v.unwrap_or(default))
    }

    pub(super) fn duration(
        self,
        flag: Option<Duration>,
        variable: &'static str,
        millis: u64,
    ) -> Result<Duration, ConfigError> {
        self.parsed(flag, variable, parse_duration).map(|v| v.unwrap_or(Duration::from_millis(millis)))
    }

    pub(super) fn number(self, flag: Option<u64>, variable: &'static str) -> Result<Option<u64>, ConfigError> {
        self.parsed(flag, variable, |text| text.parse().map_err(|_| format!("{text:?} is not a number")))
    }

    pub(super) fn concurrency(self, flag: Option<usize>) -> Result<Option<NonZeroUsize>, ConfigError> {
        let number = self.number(flag.map(|n| n as u64), "KUMA_DATAPLANE_RUNTIME_CONCURRENCY")?;
        Ok(number.and_then(|n| NonZeroUsize::new(usize::try_from(n).ok()?)))
    }

    fn parsed<T>(
        self,
        flag: Option<T>,
        name: &'static str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Result<Option<T>, ConfigError> {
        match (flag, self.env.get(name)) {
            (Some(value), _) => Ok(Some(value)),
            (None, Some(text)) => parse(text).map(Some).map_err(|reason| ConfigError::Env { name, reason }),
            (None, None) => Ok(None),
        }
    }
}
