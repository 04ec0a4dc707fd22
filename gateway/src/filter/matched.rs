//! `ExtensionWithMatcher`: requests for which its filter is skipped.

use std::borrow::Cow;
use std::sync::Arc;

use config::model::http_filter::{Matched as Config, Skip};
use config::model::matcher::{Data, Found, HttpInput, Inputs};
use http::Response;
use proxy::rbac::{Asked, Notes};
use proxy::report::http::joined;

use super::states::State;
use super::{Call, Filter, PerRoute, rbac};
use crate::http::body::Body;

/// A filter that some requests skip.
#[derive(Debug)]
pub(super) struct Matched {
    config: Arc<Config>,
    pub(super) filter: Filter,
}

impl Matched {
    pub(super) fn compile(config: &Arc<Config>, filter: Filter) -> Self {
        Self { config: Arc::clone(config), filter }
    }

    /// Whether the filter is skipped; what was decided of the request holds for its answer.
    pub(super) fn skips(&self, at: usize, call: &mut Call<'_>, response: Option<&Response<Body>>) -> bool {
        if let Some(State::Skipped) = call.states.get(at) {
            return true;
        }
        let own = call.route.specific(at, |config| match config {
            PerRoute::Matched(skip) => Some(&**skip),
            _ => None,
        });
        // Without any, Envoy skips it.
        let skips = match own.or(self.config.skip.as_ref()) {
            None => true,
            Some(skip) => leads(skip, call, response),
        };
        if skips && response.is_none() {
            call.states.put(at, State::Skipped);
        }
        skips
    }
}

fn leads(skip: &Skip, call: &Call<'_>, response: Option<&Response<Body>>) -> bool {
    let certificate = rbac::Certificate::of(call);
    let facts = rbac::facts(call, &certificate);
    let notes = Notes::default();
    let seen = Seen { request: Asked::new(&facts, &notes), call, response };
    matches!(skip.find(&seen), Found::Action(()))
}

struct Seen<'a> {
    request: Asked<'a>,
    call: &'a Call<'a>,
    response: Option<&'a Response<Body>>,
}

impl Inputs<HttpInput> for Seen<'_> {
    fn input(&self, input: &HttpInput) -> Data<'_> {
        let text = |text: &str| Data::Bytes(Cow::Owned(text.as_bytes().to_vec()));
        match (input, self.response) {
            (HttpInput::Connection(_) | HttpInput::RequestHeader(_), _) => {
                Inputs::<HttpInput>::input(&self.request, input)
            }
            (HttpInput::Query(name), _) => match super::descriptor::query(self.call.flow.request.path.query(), name) {
                Some(value) => Data::Bytes(Cow::Borrowed(value.as_bytes())),
                None => Data::Absent,
            },
            (_, None) => Data::NotAvailable,
            (HttpInput::ResponseHeader(config::model::route::HeaderKey::Name(name)), Some(response)) => {
                joined(response.headers(), name.as_str()).map_or(Data::Absent, Data::Bytes)
            }
            (
                HttpInput::ResponseHeader(config::model::route::HeaderKey::Status) | HttpInput::Status,
                Some(response),
            ) => text(response.status().as_str()),
            (HttpInput::ResponseHeader(_), Some(_)) => Data::Absent,
            (HttpInput::StatusClass, Some(response)) => text(&format!("{}xx", response.status().as_u16() / 100)),
            (HttpInput::LocalReply, Some(_)) => {
                text(if self.call.flow.details == "via_upstream" { "false" } else { "true" })
            }
        }
    }
}
