//! What came back.

/// How an answer ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// All of it came.
    Whole,
    /// The stream was reset, or the connection closed, within it.
    Cut,
    /// There was no answer at all.
    None,
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// `HTTP/1.1` or `HTTP/2.0`.
    pub version: String,
    /// 0: none.
    pub status: u16,
    /// In order, HTTP/1's as they were written.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
    /// After the body.
    pub trailers: Vec<(String, String)>,
    /// Statuses of informational responses before it.
    pub informational: Vec<u16>,
    /// Whether all came.
    pub end: End,
}

impl Answer {
    /// No answer.
    pub fn none() -> Self {
        Self {
            version: String::new(),
            status: 0,
            headers: Vec::new(),
            body: Vec::new(),
            trailers: Vec::new(),
            informational: Vec::new(),
            end: End::None,
        }
    }

    /// The first header of this name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(own, _)| own.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}
