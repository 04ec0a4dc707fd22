//! The admin server: Envoy's paths, on the control runtime.
//!
//! Small answers are made at once; those that grow with the configuration (`/config_dump`, `/clusters`, `/stats`) are
//! written by a thread of their own while they are sent, one resource after the other, no faster than the client reads.

mod answer;
mod certs;
mod clusters;
mod commands;
mod config_dump;
mod info;
mod metrics;
mod paths;
mod query;
mod ready;
mod runtime;
mod state;
mod stats;
mod stream;
mod zonegate;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use http::{Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use tokio::time::timeout;

use crate::lifecycle::drain::Watch;
use crate::system::reply::Body;
use crate::system::serve::{self, Handler, Limits};
use crate::system::socket::Socket;

pub use metrics::serve_metrics;
pub use state::{AdminState, Bootstrap, Level, LogLevels, Options};

use paths::Page;
use query::Query;
use stream::Writers;

/// A form in a body is never longer.
const MAX_FORM: usize = 64 * 1024;

/// Time for a form to arrive.
const FORM_TIME: Duration = Duration::from_secs(10);

/// The admin server.
#[derive(Clone)]
pub struct Admin {
    state: Arc<AdminState>,
    writers: Writers,
}

impl Admin {
    /// Serves on one socket until the future is dropped; `watch` ends the connections.
    pub async fn serve(socket: Socket, state: AdminState, watch: Watch) {
        let admin = Self { state: Arc::new(state), writers: Writers::default() };
        tracing::info!(address = %socket.address(), "admin address");
        loop {
            let incoming = socket.accept().await;
            let (admin, watch) = (admin.clone(), watch.clone());
            tokio::spawn(async move { serve::serve(incoming.io, admin, Limits::default(), &watch).await });
        }
    }

    async fn answer(&self, page: Page, query: Query) -> Response<Body> {
        let (state, writers) = (&self.state, &self.writers);
        match page {
            Page::Home => answer::html(paths::home()),
            Page::Help => answer::text(StatusCode::OK, paths::help()),
            Page::Contention => answer::text(StatusCode::OK, "Mutex contention tracing is not enabled."),
            Page::HotRestartVersion => answer::text(StatusCode::OK, "disabled"),
            Page::Certs => certs::certs(state),
            Page::Clusters => clusters::clusters(state, &query, writers),
            Page::ConfigDump => config_dump::config_dump(state, &query, writers),
            Page::InitDump => ready::init_dump(state),
            Page::Listeners => info::listeners(state, &query),
            Page::Memory => info::memory(),
            Page::Ready => ready::ready(state),
            Page::Runtime => runtime::runtime(state),
            Page::ServerInfo => info::server_info(state),
            Page::Stats => stats::stats(state, &query, writers),
            Page::StatsPrometheus => stats::prometheus(state, &query, writers),
            Page::Zonegate => zonegate::zonegate(state, &query, writers),
            Page::HealthCheckFail => commands::health_check(state, true),
            Page::HealthCheckOk => commands::health_check(state, false),
            Page::DrainListeners => commands::drain_listeners(state, &query).await,
            Page::Quit => commands::quit(state).await,
            Page::ReopenLogs => commands::reopen_logs(state).await,
            Page::ResetCounters => commands::reset_counters(state),
            Page::Logging => commands::logging(state, &query),
        }
    }
}

impl Handler for Admin {
    async fn handle(&self, request: Request<Incoming>) -> Response<Body> {
        let Some(path) = paths::find(request.uri().path()) else {
            return answer::text(StatusCode::NOT_FOUND, format!("invalid path. {}", paths::help()));
        };
        if path.changes && request.method() != Method::POST {
            let text = format!("Method {} not allowed, POST required.", request.method());
            return answer::text(StatusCode::METHOD_NOT_ALLOWED, text);
        }
        match parameters(request).await {
            Some(query) => self.answer(path.page, query).await,
            None => answer::text(StatusCode::BAD_REQUEST, "the form can't be read\n"),
        }
    }
}

/// Of the query; without one, of a form in the body.
async fn parameters(request: Request<Incoming>) -> Option<Query> {
    let query = Query::parse(request.uri().query().unwrap_or_default());
    let form = request.headers().get(header::CONTENT_TYPE);
    let form = form.is_some_and(|kind| kind.as_bytes().starts_with(b"application/x-www-form-urlencoded"));
    if !query.is_empty() || !form {
        return Some(query);
    }
    let body = timeout(FORM_TIME, Limited::new(request.into_body(), MAX_FORM).collect()).await.ok()?.ok()?;
    Some(Query::parse(std::str::from_utf8(&body.to_bytes()).ok()?))
}
