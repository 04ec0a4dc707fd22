//! From `HttpConnectionManager` and `config.route.v3`, as far as the control plane's own listeners use them.
#![allow(deprecated)] // Envoy still honours the fields it deprecates

mod action;
mod manager;
mod route;

pub(crate) use manager::manager;

use crate::reject::{Context, IsSet, Rejection, Unsupported};

/// A part, or what in it can't be run: a rule that is not understood must not be passed over.
type Part<T> = Result<Result<T, Unsupported>, Rejection>;

/// Unwraps a part, or returns what can't be run.
macro_rules! run {
    ($part:expr) => {
        match $part {
            Ok(part) => part,
            Err(unsupported) => return Ok(Err(unsupported)),
        }
    };
}
use run;

/// The first of the fields that is set.
fn first_set(cx: &Context, fields: &[(&str, &dyn IsSet)]) -> Option<Unsupported> {
    fields.iter().find(|(_, value)| value.is_set()).map(|(field, _)| cx.unsupported(field, field))
}

#[cfg(test)]
mod tests;
