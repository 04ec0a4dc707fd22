//! `envoy.filters.http.header_mutation`: one change after the other, each seeing those before.

use std::sync::Arc;

use config::model::access_log::{Piece, Template};
use config::model::http_filter::{HeaderMutator, Mutations as Config, QueryMutation};
use config::model::matcher::TextMatch;
use config::model::route::{AppendAction, HeaderAdd, HeaderFormat, HeaderMutation};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Response};
use proxy::report::Formatter;
use proxy::report::http::{HttpFlow, ResponseHead};

use super::{Call, PerRoute as Compiled};
use crate::http::body::Body;

/// What a route has.
pub(super) type PerRoute = Arc<Mutations>;

/// The filter.
#[derive(Debug)]
pub(super) struct Mutator {
    own: Arc<Mutations>,
    most_specific_last: bool,
}

/// The changes of one level.
#[derive(Debug)]
pub(super) struct Mutations {
    request: Box<[Change]>,
    query: Box<[QueryChange]>,
    response: Box<[Change]>,
    response_trailers: Arc<[Change]>,
    request_trailers: Arc<[Change]>,
}

/// Headers to add, one after the other.
#[derive(Debug)]
pub(super) struct Adds(Box<[Add]>);

#[derive(Debug)]
enum Change {
    Remove(HeaderName),
    RemoveMatching(Box<TextMatch>),
    Add(Add),
}

#[derive(Debug)]
struct Add {
    name: HeaderName,
    value: Value,
    action: AppendAction,
    keep_empty: bool,
}

#[derive(Debug)]
enum Value {
    Literal(HeaderValue),
    Format(Box<Formatter>),
}

#[derive(Debug)]
enum QueryChange {
    Remove(Box<str>),
    Add { key: Box<str>, value: Box<Formatter>, action: AppendAction },
}

impl Adds {
    pub(super) fn compile(config: &[HeaderAdd]) -> Self {
        Self(config.iter().map(Add::compile).collect())
    }

    /// Adds to headers that are none of the request's.
    pub(super) fn apply(&self, headers: &mut HeaderMap, flow: &HttpFlow) {
        for add in &self.0 {
            let value = add.value(flow);
            add.put(headers, value);
        }
    }

    /// Adds to the request's.
    pub(super) fn apply_to_request(&self, flow: &mut HttpFlow) {
        for add in &self.0 {
            let value = add.value(flow);
            add.put(&mut flow.request.headers, value);
        }
    }
}

impl Add {
    fn compile(config: &HeaderAdd) -> Self {
        let value = match &config.value {
            HeaderFormat::Literal(value) => Value::Literal(value.clone()),
            HeaderFormat::Format(template) => Value::Format(Box::new(Formatter::new((**template).clone()))),
        };
        Self { name: config.name.clone(), value, action: config.action, keep_empty: config.keep_empty }
    }

    /// `None`: there is nothing to add.
    fn value(&self, flow: &HttpFlow) -> Option<HeaderValue> {
        let value = match &self.value {
            Value::Literal(value) => value.clone(),
            Value::Format(format) => HeaderValue::from_bytes(format.text(flow).as_bytes()).ok()?,
        };
        (self.keep_empty || !value.is_empty()).then_some(value)
    }

    /// The same, where the answer can be looked at, too.
    fn value_of_answer(&self, flow: &mut HttpFlow, response: &Response<Body>) -> Option<HeaderValue> {
        if let Value::Literal(_) = &self.value {
            return self.value(flow);
        }
        let head = ResponseHead { status: response.status(), headers: response.headers().clone() };
        let before = flow.response.replace(head);
        let value = self.value(flow);
        flow.response = before;
        value
    }

    fn put(&self, headers: &mut HeaderMap, value: Option<HeaderValue>) {
        let Some(value) = value else { return };
        let there = headers.contains_key(&self.name);
        match self.action {
            AppendAction::AppendIfExistsOrAdd => drop(headers.append(self.name.clone(), value)),
            AppendAction::AddIfAbsent if there => {}
            AppendAction::OverwriteIfExists if !there => {}
            AppendAction::AddIfAbsent | AppendAction::OverwriteIfExistsOrAdd | AppendAction::OverwriteIfExists => {
                headers.insert(self.name.clone(), value);
            }
        }
    }
}

impl Change {
    fn compile(config: &HeaderMutation) -> Self {
        match config {
            HeaderMutation::Remove(name) => Self::Remove(name.clone()),
            HeaderMutation::RemoveMatching(text) => Self::RemoveMatching(text.clone()),
            HeaderMutation::Add(add) => Self::Add(Add::compile(add)),
        }
    }

    /// Done to the headers that `of` finds in the flow.
    fn apply(&self, flow: &mut HttpFlow, mut of: impl FnMut(&mut HttpFlow) -> &mut HeaderMap) {
        match self {
            Self::Add(add) => {
                let value = add.value(flow);
                add.put(of(flow), value);
            }
            other => other.apply_to(of(flow)),
        }
    }

    fn apply_to(&self, headers: &mut HeaderMap) {
        match self {
            Self::Remove(name) => drop(headers.remove(name)),
            Self::RemoveMatching(text) => {
                let matching = headers.keys().filter(|name| text.matches(name.as_str().as_bytes()));
                let matching: Vec<HeaderName> = matching.cloned().collect();
                for name in matching {
                    headers.remove(name);
                }
            }
            Self::Add(add) => {
                // Without a request to look at, a value stands for itself.
                if let Value::Literal(value) = &add.value {
                    add.put(headers, Some(value.clone()));
                }
            }
        }
    }
}

impl Mutations {
    pub(super) fn compile(config: &Config) -> Arc<Self> {
        let changes = |list: &[HeaderMutation]| list.iter().map(Change::compile).collect::<Vec<_>>();
        let query = |one: &QueryMutation| match one {
            QueryMutation::Remove(key) => QueryChange::Remove(key.clone()),
            QueryMutation::Add { key, value, action } => {
                QueryChange::Add { key: key.clone(), value: Box::new(Formatter::new(value.clone())), action: *action }
            }
        };
        Arc::new(Self {
            request: changes(&config.request).into(),
            query: config.query.iter().map(query).collect(),
            response: changes(&config.response).into(),
            response_trailers: changes(&config.response_trailers).into(),
            request_trailers: changes(&config.request_trailers).into(),
        })
    }
}

impl Mutator {
    pub(super) fn compile(config: &Arc<HeaderMutator>) -> Self {
        let own = Mutations::compile(&config.mutations);
        Self { own, most_specific_last: config.most_specific_last }
    }

    /// The filter's own, then the levels': the most general first where the most specific is to win.
    fn all<'a>(&'a self, at: usize, call: &Call<'a>) -> Vec<&'a Mutations> {
        let mut levels: Vec<&'a Mutations> = call
            .route
            .all(at)
            .filter_map(|config| match config {
                Compiled::HeaderMutation(mutations) => Some(&**mutations),
                _ => None,
            })
            .collect();
        if self.most_specific_last {
            levels.reverse();
        }
        levels.insert(0, &self.own);
        levels
    }

    pub(super) fn request(&self, at: usize, call: &mut Call<'_>, body: &mut Body) {
        for mutations in self.all(at, call) {
            for change in &mutations.request {
                change.apply(call.flow, |flow| &mut flow.request.headers);
            }
            if !mutations.query.is_empty() {
                change_query(&mutations.query, call.flow);
            }
            if !mutations.request_trailers.is_empty() {
                *body = with_trailers(std::mem::take(body), &mutations.request_trailers);
            }
        }
    }

    pub(super) fn response(&self, at: usize, call: &mut Call<'_>, response: &mut Response<Body>) {
        for mutations in self.all(at, call) {
            for change in &mutations.response {
                match change {
                    Change::Add(add) => {
                        let value = add.value_of_answer(call.flow, response);
                        add.put(response.headers_mut(), value);
                    }
                    other => other.apply_to(response.headers_mut()),
                }
            }
            if !mutations.response_trailers.is_empty() {
                let body = std::mem::take(response.body_mut());
                *response.body_mut() = with_trailers(body, &mutations.response_trailers);
            }
        }
    }
}

/// Changes the trailers, if there are some.
fn with_trailers(body: Body, changes: &Arc<[Change]>) -> Body {
    use http_body_util::BodyExt as _;
    if hyper::body::Body::is_end_stream(&body) {
        return body;
    }
    let changes = Arc::clone(changes);
    Body::boxed(body.map_frame(move |frame| match frame.into_trailers() {
        Ok(mut trailers) => {
            changes.iter().for_each(|change| change.apply_to(&mut trailers));
            hyper::body::Frame::trailers(trailers)
        }
        Err(frame) => frame,
    }))
}

fn change_query(changes: &[QueryChange], flow: &mut HttpFlow) {
    let path = &flow.request.path;
    let mut pairs: Vec<(String, String)> = path
        .query()
        .into_iter()
        .flat_map(|query| query.split('&'))
        .filter(|pair| !pair.is_empty())
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect();
    for change in changes {
        match change {
            QueryChange::Remove(key) => pairs.retain(|(known, _)| **known != **key),
            QueryChange::Add { key, value, action } => {
                let value = value.text(flow);
                let there = pairs.iter().any(|(known, _)| **known == **key);
                match action {
                    AppendAction::AddIfAbsent if there => continue,
                    AppendAction::OverwriteIfExists if !there => continue,
                    AppendAction::OverwriteIfExists | AppendAction::OverwriteIfExistsOrAdd => {
                        pairs.retain(|(known, _)| **known != **key);
                    }
                    AppendAction::AppendIfExistsOrAdd | AppendAction::AddIfAbsent => {}
                }
                pairs.push((key.to_string(), value));
            }
        }
    }
    let query: Vec<String> = pairs.iter().map(|(key, value)| format!("{key}={value}")).collect();
    let mark = if query.is_empty() { "" } else { "?" };
    let text = format!("{}{mark}{}", flow.request.path.path(), query.join("&"));
    if let Ok(path) = PathAndQuery::try_from(text) {
        flow.request.path = path;
    }
}

/// A template over a request as it is now.
pub(super) fn text(template: &Template, flow: &HttpFlow) -> String {
    match &*template.0 {
        [Piece::Literal(literal)] => literal.to_string(),
        _ => Formatter::new(template.clone()).text(flow),
    }
}
