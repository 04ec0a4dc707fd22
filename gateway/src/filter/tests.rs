//! What routes say to filters.
#![allow(clippy::unwrap_used, clippy::panic)]

mod bed;
mod each;

use std::sync::Arc;

use config::model::http_filter::{Buffer, BufferPerRoute, PerRoute as Config};

use super::{PerFilter, PerRoute, RouteView};

fn level(config: Config) -> PerFilter {
    PerFilter::compile(&[(Arc::from("b"), config)])
}

#[test]
fn the_most_specific_level_says_whether_a_filter_runs() {
    let names = [Arc::from("a"), Arc::from("b")];
    let (off, on) = (level(Config::Disabled), level(Config::Buffer(BufferPerRoute::Disabled)));
    let view = |levels| RouteView { names: &names, levels, ..RouteView::default() };
    // Nothing is said: as the list has it.
    assert!(view([None; 4]).runs(1, false) && !view([None; 4]).runs(1, true));
    // A configuration is as good as a switch, and the nearest level wins.
    assert!(view([None, Some(&on), Some(&off), None]).runs(1, true));
    assert!(!view([None, Some(&off), Some(&on), None]).runs(1, false));
    // It is for the filter of that name alone.
    assert!(view([None, Some(&off), None, None]).runs(0, false));
}

#[test]
fn the_most_specific_configuration_of_its_kind_is_found() {
    let names = [Arc::from("b")];
    let limit = |max_request_bytes| level(Config::Buffer(BufferPerRoute::Buffer(Buffer { max_request_bytes })));
    let (route, host) = (limit(1), limit(2));
    let view = RouteView { names: &names, levels: [None, Some(&route), Some(&host), None], ..RouteView::default() };
    let all: Vec<u32> = view
        .all(0)
        .map(|config| match config {
            PerRoute::Buffer(BufferPerRoute::Buffer(buffer)) => buffer.max_request_bytes,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(all, [1, 2]);
    let found = view.specific(0, |config| match config {
        PerRoute::Buffer(BufferPerRoute::Buffer(buffer)) => Some(buffer.max_request_bytes),
        _ => None,
    });
    assert_eq!(found, Some(1));
}
