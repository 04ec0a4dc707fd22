//! Header mutations at work: what is removed, then what is overwritten, then what is added, as Envoy's `HeaderParser`.

use bytes::Bytes;
use config::model::route::{self as model, AppendAction, HeaderFormat};
use http::header::Entry;
use http::{HeaderMap, HeaderName, HeaderValue};
use proxy::report::Formatter;
use proxy::report::http::HttpFlow;

use proxy::report::http::Side;

/// The mutations of one level, ready for use.
#[derive(Clone, Debug)]
pub struct HeaderMutations {
    remove: Box<[HeaderName]>,
    add: Box<[HeaderAdd]>,
    /// Each can be done on its own: none looks at the request, and none at another's header.
    plain: bool,
}

/// A header to add.
#[derive(Clone, Debug)]
pub struct HeaderAdd {
    name: HeaderName,
    value: Value,
    action: AppendAction,
    keep_empty: bool,
}

#[derive(Clone, Debug)]
enum Value {
    Literal(HeaderValue),
    Format(Box<Formatter>),
}

/// What is left of a header to add once its value is known.
#[derive(Debug)]
enum Step {
    Overwrite(HeaderName, HeaderValue),
    Append(HeaderName, HeaderValue),
}

impl HeaderMutations {
    /// Makes them ready; `None`: there is nothing to do.
    pub fn compile(config: &model::HeaderMutations) -> Option<Box<Self>> {
        let add = config.add.iter().map(HeaderAdd::compile).collect();
        (!config.is_empty()).then(|| Box::new(Self { remove: config.remove.clone(), add, plain: config.plain }))
    }

    /// Changes the request's headers.
    pub fn apply_request(&self, flow: &mut HttpFlow) {
        self.remove(&mut flow.request.headers);
        if self.plain {
            self.plain(&mut flow.request.headers, Side::Request);
        } else {
            let steps = self.plan(&flow.request.headers, flow);
            commit(steps, &mut flow.request.headers, Side::Request);
        }
    }

    /// Changes the answer's headers, if there is an answer.
    pub fn apply_response(&self, flow: &mut HttpFlow) {
        let Some(response) = &mut flow.response else { return };
        self.remove(&mut response.headers);
        if self.plain {
            self.plain(&mut response.headers, Side::Response);
            return;
        }
        let steps = flow.response.as_ref().map(|response| self.plan(&response.headers, flow)).unwrap_or_default();
        if let Some(response) = &mut flow.response {
            commit(steps, &mut response.headers, Side::Response);
        }
    }

    /// Changes the headers of an answer of our own: its values do not see the answer, as in Envoy.
    pub fn apply_local(&self, headers: &mut HeaderMap, flow: &HttpFlow) {
        self.remove(headers);
        match self.plain {
            true => self.plain(headers, Side::Response),
            false => commit(self.plan(headers, flow), headers, Side::Response),
        }
    }

    fn plain(&self, headers: &mut HeaderMap, side: Side) {
        for add in &self.add {
            if let Value::Literal(value) = &add.value
                && let Some(step) = add.with_value(headers, value.clone())
            {
                step.commit(headers, side);
            }
        }
    }

    fn remove(&self, headers: &mut HeaderMap) {
        for name in &self.remove {
            headers.remove(name);
        }
    }

    /// What is to be done, all values taken from the headers as they are.
    fn plan(&self, headers: &HeaderMap, flow: &HttpFlow) -> Vec<Step> {
        self.add.iter().filter_map(|add| add.step(headers, flow)).collect()
    }
}

impl HeaderAdd {
    /// Makes one ready.
    pub fn compile(config: &model::HeaderAdd) -> Self {
        let model::HeaderAdd { name, value, action, keep_empty } = config;
        let value = match value {
            HeaderFormat::Literal(value) => Value::Literal(value.clone()),
            HeaderFormat::Format(template) => Value::Format(Box::new(Formatter::new((**template).clone()))),
        };
        Self { name: name.clone(), value, action: *action, keep_empty: *keep_empty }
    }

    /// Changes `headers`, which are none of the flow's own.
    pub fn apply(&self, headers: &mut HeaderMap, flow: &HttpFlow, side: Side) {
        if let Some(step) = self.step(headers, flow) {
            step.commit(headers, side);
        }
    }

    fn step(&self, headers: &HeaderMap, flow: &HttpFlow) -> Option<Step> {
        let value = match &self.value {
            Value::Literal(value) => value.clone(),
            Value::Format(formatter) => header_value(formatter.text(flow)),
        };
        self.with_value(headers, value)
    }

    fn with_value(&self, headers: &HeaderMap, value: HeaderValue) -> Option<Step> {
        if value.is_empty() && !self.keep_empty {
            return None;
        }
        let is_there = || headers.contains_key(&self.name);
        let name = self.name.clone();
        match self.action {
            AppendAction::AppendIfExistsOrAdd => Some(Step::Append(name, value)),
            AppendAction::AddIfAbsent => (!is_there()).then(|| Step::Append(name, value)),
            AppendAction::OverwriteIfExists => is_there().then(|| Step::Overwrite(name, value)),
            AppendAction::OverwriteIfExistsOrAdd => Some(Step::Overwrite(name, value)),
        }
    }
}

/// A value that a formatter made: what cannot stand in a header is left out.
pub(super) fn header_value(text: String) -> HeaderValue {
    HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static(""))
}

/// First what overwrites, then what is added.
fn commit(steps: Vec<Step>, headers: &mut HeaderMap, side: Side) {
    let (overwriting, adding): (Vec<_>, Vec<_>) =
        steps.into_iter().partition(|step| matches!(step, Step::Overwrite(..)));
    overwriting.into_iter().chain(adding).for_each(|step| step.commit(headers, side));
}

impl Step {
    fn commit(self, headers: &mut HeaderMap, side: Side) {
        match self {
            Self::Overwrite(name, value) => drop(headers.insert(name, value)),
            Self::Append(name, value) => append(headers, name, value, side),
        }
    }
}

/// Adds a value; where Envoy keeps one line of the header, to the end of that line.
pub fn append(headers: &mut HeaderMap, name: HeaderName, value: HeaderValue, side: Side) {
    let one_line = side.is_one_line(&name);
    match headers.entry(name) {
        Entry::Occupied(mut known) if one_line && !known.get().is_empty() => {
            let joined = [known.get().as_bytes(), b",", value.as_bytes()].concat();
            // Two values and a comma are a value.
            known.insert(HeaderValue::from_maybe_shared(Bytes::from(joined)).unwrap_or(value));
        }
        Entry::Occupied(mut known) if one_line => drop(known.insert(value)),
        Entry::Occupied(mut known) => known.append(value),
        Entry::Vacant(vacant) => drop(vacant.insert(value)),
    }
}
