//! What changes something: health, drain, end, logs, counters.

use std::fmt::Write as _;
use std::time::Duration;

use http::{Response, StatusCode};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::answer;
use super::query::Query;
use super::state::{AdminState, Level};
use crate::lifecycle::drain::DrainListeners;
use crate::lifecycle::signal::Event;
use crate::system::reply::Body;

/// Time for the main loop to take an event.
const TAKEN: Duration = Duration::from_secs(5);

pub(super) fn health_check(state: &AdminState, fail: bool) -> Response<Body> {
    state.readiness.fail_health_check(fail);
    answer::ok()
}

pub(super) async fn drain_listeners(state: &AdminState, query: &Query) -> Response<Body> {
    let which = DrainListeners {
        inbound_only: query.has("inboundonly"),
        graceful: query.has("graceful"),
        skip_exit: query.has("skip_exit"),
    };
    send(&state.events, Event::DrainListeners(which)).await
}

pub(super) async fn quit(state: &AdminState) -> Response<Body> {
    send(&state.events, Event::Quit).await
}

pub(super) async fn reopen_logs(state: &AdminState) -> Response<Body> {
    send(&state.events, Event::ReopenLogs).await
}

pub(super) fn reset_counters(state: &AdminState) -> Response<Body> {
    state.registry.reset_counters();
    answer::ok()
}

async fn send(events: &mpsc::Sender<Event>, event: Event) -> Response<Body> {
    match timeout(TAKEN, events.send(event)).await {
        Ok(Ok(())) => answer::ok(),
        Ok(Err(_)) | Err(_) => answer::text(StatusCode::SERVICE_UNAVAILABLE, "the process is about to end\n"),
    }
}

pub(super) fn logging(state: &AdminState, query: &Query) -> Response<Body> {
    let mut status = StatusCode::OK;
    let mut text = String::new();
    if let Err(error) = change_levels(state, query) {
        status = StatusCode::BAD_REQUEST;
        let _ = write!(text, "error: {error}\n\n");
        text.push_str("usage: /logging?<name>=<level> (change single level)\n");
        text.push_str("usage: /logging?paths=name1:level1,name2:level2,... (change multiple levels)\n");
        text.push_str("usage: /logging?level=<level> (change all levels)\n");
        text.push_str("levels: ");
        Level::ALL.iter().for_each(|level| {
            let _ = write!(text, "{} ", level.as_str());
        });
        text.push('\n');
    }
    text.push_str("active loggers:\n");
    for (target, level) in state.log.all() {
        let _ = writeln!(text, "  {target}: {}", level.as_str());
    }
    text.push('\n');
    answer::text(status, text)
}

fn change_levels(state: &AdminState, query: &Query) -> Result<(), String> {
    let changes: Vec<(Option<&str>, Level)> = match query.pairs() {
        [] => return Ok(()),
        [(name, value)] => match name.as_str() {
            "level" if value.is_empty() => return Ok(()),
            "level" => vec![(None, level(value)?)],
            "paths" => {
                let pairs = value.split(',').filter(|pair| !pair.is_empty());
                pairs.map(|pair| pair_of(pair.trim())).collect::<Result<_, _>>()?
            }
            target => vec![(Some(target), level(value)?)],
        },
        _ => return Err("invalid number of parameters".into()),
    };
    changes.into_iter().try_for_each(|(target, level)| state.log.set(target, level))
}

fn pair_of(pair: &str) -> Result<(Option<&str>, Level), String> {
    match pair.rsplit_once(':') {
        Some((name, value)) if !name.is_empty() && !value.is_empty() => Ok((Some(name), level(value)?)),
        _ => Err("empty logger name or empty logger level".into()),
    }
}

fn level(name: &str) -> Result<Level, String> {
    Level::parse(name).ok_or_else(|| "unknown logger level".into())
}
