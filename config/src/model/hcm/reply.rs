//! `local_reply_config`: how answers of our own are changed.

use bytes::Bytes;
use http::{HeaderValue, StatusCode};

use crate::model::access_log::{Filter, Format};
use crate::model::route::HeaderAdd;

/// `LocalReplyConfig`.
#[derive(Clone, Debug)]
pub struct LocalReply {
    /// In order; the first whose filter matches is done.
    pub mappers: Box<[ReplyMapper]>,
    /// `body_format`; `None`: the body as it is, as `text/plain`.
    pub format: Option<ReplyFormat>,
}

/// `ResponseMapper`.
#[derive(Clone, Debug)]
pub struct ReplyMapper {
    /// Which answers.
    pub filter: Filter,
    /// `status_code`: the new one.
    pub status: Option<StatusCode>,
    /// `body`: the new one.
    pub body: Option<Bytes>,
    /// `body_format_override`, in the place of [`LocalReply::format`].
    pub format: Option<ReplyFormat>,
    /// `headers_to_add`.
    pub headers: Box<[HeaderAdd]>,
}

/// `SubstitutionFormatString` of a body (`%LOCAL_REPLY_BODY%` is what it would be without).
#[derive(Clone, Debug)]
pub struct ReplyFormat {
    /// Text or JSON.
    pub format: Format,
    /// `omit_empty_values`.
    pub omit_empty: bool,
    /// `content_type`; Envoy's default is `text/plain` for a text and `application/json` for JSON.
    pub content_type: HeaderValue,
}
