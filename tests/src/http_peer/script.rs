//! What a server is to do, as its client tells it.

use serde_json::{Value, json};

/// What becomes of one attempt. The last step stands for all attempts after it, too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// The status.
    pub status: u16,
    /// Headers beside those that HTTP needs.
    pub headers: Vec<(String, String)>,
    /// How many bytes of a text that compresses well.
    pub size: usize,
    /// Sent after the body.
    pub trailers: Vec<(String, String)>,
    /// Milliseconds before the answer.
    pub wait: u64,
    /// The stream is reset.
    pub reset: Option<Reset>,
}

/// When a stream is reset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reset {
    /// In the place of an answer.
    Before,
    /// After the head and half of the body.
    Within,
}

impl Default for Step {
    fn default() -> Self {
        Self { status: 200, headers: Vec::new(), size: 19, trailers: Vec::new(), wait: 0, reset: None }
    }
}

impl Step {
    /// An answer with this status and nothing special.
    pub fn status(status: u16) -> Self {
        Self { status, ..Self::default() }
    }

    /// The same with one more header.
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    fn to_json(&self) -> Value {
        let reset = self.reset.map(|reset| match reset {
            Reset::Before => "before",
            Reset::Within => "within",
        });
        json!({"status": self.status, "headers": self.headers, "size": self.size, "trailers": self.trailers,
            "wait": self.wait, "reset": reset})
    }

    /// As [`write()`] writes it; whatever is not said is as in [`Step::default`].
    pub fn of_json(value: &Value) -> Self {
        let pairs = |field: &str| {
            let pair = |pair: &Value| Some((pair[0].as_str()?.to_owned(), pair[1].as_str()?.to_owned()));
            value[field].as_array().into_iter().flatten().filter_map(pair).collect()
        };
        let number = |field: &str| value[field].as_u64().unwrap_or_default();
        Self {
            status: value["status"].as_u64().and_then(|status| u16::try_from(status).ok()).unwrap_or(200),
            headers: pairs("headers"),
            size: value["size"].as_u64().and_then(|size| usize::try_from(size).ok()).unwrap_or(Self::default().size),
            trailers: pairs("trailers"),
            wait: number("wait"),
            reset: match value["reset"].as_str() {
                Some("before") => Some(Reset::Before),
                Some(_) => Some(Reset::Within),
                None => None,
            },
        }
    }

    /// The body: lines of text, the same for the same size.
    pub fn body(&self) -> Vec<u8> {
        b"a body that is here\n".iter().copied().cycle().take(self.size).collect()
    }
}

/// A header's value for [`super::SCRIPT`].
pub fn write(steps: &[Step]) -> String {
    Value::Array(steps.iter().map(Step::to_json).collect()).to_string()
}

/// The step for this attempt, counted from 0.
pub(super) fn read(text: &str, attempt: usize) -> Step {
    let Ok(Value::Array(steps)) = serde_json::from_str(text) else { return Step::default() };
    steps.get(attempt).or(steps.last()).map_or_else(Step::default, Step::of_json)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comes_back_as_written() {
        let last = Step { wait: 3, reset: Some(Reset::Within), ..Step::status(200).with("etag", "x") };
        let steps = [Step { trailers: vec![("t".into(), "1".into())], ..Step::status(503) }, last.clone()];
        let text = write(&steps);
        assert_eq!([read(&text, 0), read(&text, 1), read(&text, 9)], [steps[0].clone(), last.clone(), last]);
        assert_eq!(read("nonsense", 0), Step::default());
        assert_eq!(Step::default().body().len(), 19);
    }
}
