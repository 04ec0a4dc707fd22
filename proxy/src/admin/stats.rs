//! `/stats` and `/stats/prometheus`.

use std::io::BufWriter;

use http::{Response, StatusCode};
use regex::Regex;

use super::answer;
use super::query::Query;
use super::state::AdminState;
use super::stream::Writers;
use crate::books;
use crate::lifecycle::ready::State;
use crate::metrics::ServerStat;
use crate::metrics::render::{self, Histograms, KindFilter};
use crate::system::reply::Body;

pub(super) fn stats(state: &AdminState, query: &Query, writers: &Writers) -> Response<Body> {
    match query.get("format") {
        Some("prometheus") => prometheus(state, query, writers),
        Some("json") => written(state, query, |state, query| {
            answer::json_stream(writers, move |out| render::json(&state.registry, &query, out))
        }),
        None | Some("text") => written(state, query, |state, query| {
            answer::text_stream(writers, move |out| render::text(&state.registry, &query, out))
        }),
        Some(_) => answer::text(StatusCode::BAD_REQUEST, "usage: /stats?format=(json|prometheus|text)\n\n"),
    }
}

pub(super) fn prometheus(state: &AdminState, query: &Query, writers: &Writers) -> Response<Body> {
    written(state, query, |state, query| {
        answer::text_stream(writers, move |out| {
            render::prometheus(&state.registry, &state.tags, &query, &mut BufWriter::new(out))
        })
    })
}

fn written(
    state: &AdminState,
    query: &Query,
    write: impl FnOnce(AdminState, render::Query) -> Response<Body>,
) -> Response<Body> {
    match parse(query) {
        Ok(parsed) => {
            refresh(state);
            write(state.clone(), parsed)
        }
        Err(error) => answer::text(StatusCode::BAD_REQUEST, error),
    }
}

pub(super) fn parse(query: &Query) -> Result<render::Query, &'static str> {
    let filter = query.get("filter").filter(|filter| !filter.is_empty());
    let filter = filter.map(Regex::new).transpose().map_err(|_| "Invalid re2 regex")?;
    let kind = match query.get("type") {
        None | Some("All") => None,
        Some("Counters") => Some(KindFilter::Counters),
        Some("Gauges") => Some(KindFilter::Gauges),
        Some("Histograms") => Some(KindFilter::Histograms),
        Some("TextReadouts") => Some(KindFilter::TextReadouts),
        Some(_) => return Err("invalid &type= param"),
    };
    let histograms = match query.get("histogram_buckets") {
        None | Some("" | "none" | "summary") => Histograms::Summary,
        Some("cumulative") => Histograms::Cumulative,
        Some("disjoint") => Histograms::Disjoint,
        Some(_) => return Err("usage: /stats?histogram_buckets=(cumulative|disjoint|summary)\n"),
    };
    Ok(render::Query {
        used_only: query.has("usedonly"),
        filter,
        text_readouts: query.has("text_readouts"),
        kind,
        histograms,
    })
}

/// Gauges that are true only at the moment somebody looks; those of the process the registry keeps itself.
pub(super) fn refresh(state: &AdminState) {
    let server = state.registry.server();
    let now = state.readiness.state();
    server.set(ServerStat::State, i64::from(now.number()));
    server.set(ServerStat::Live, i64::from(now != State::Draining));
    books::count_findings(&state.registry, &state.view.snapshot.load());
}
