//! `envoy.filters.http.header_mutation`: headers, trailers and query parameters are changed.
#![allow(deprecated)] // Envoy still honours the fields it deprecates

use std::sync::Arc;

use envoy_types::pb::envoy::config::core::v3::{KeyValueAppend, KeyValueMutation, KeyValuePair};
use envoy_types::pb::envoy::extensions::filters::http::header_mutation::v3 as pb;
use envoy_types::pb::google::protobuf::value::Kind;

use super::common::header_mutations;
use super::proto::{Part, run};
use crate::model::route::proto::substitution;
use crate::model::route::{AppendAction, HeaderMutation, Substitution};
use crate::reject::Context;

/// `HeaderMutation`.
#[derive(Clone, Debug)]
pub struct HeaderMutator {
    /// Its own, the first that are applied.
    pub mutations: Arc<Mutations>,
    /// `most_specific_header_mutations_wins`: the route's are applied after its virtual host's, not before.
    pub most_specific_last: bool,
}

/// `Mutations`.
#[derive(Clone, Debug, Default)]
pub struct Mutations {
    /// `request_mutations`.
    pub request: Box<[HeaderMutation]>,
    /// `query_parameter_mutations`.
    pub query: Box<[QueryMutation]>,
    /// `response_mutations`.
    pub response: Box<[HeaderMutation]>,
    /// `response_trailers_mutations`.
    pub response_trailers: Box<[HeaderMutation]>,
    /// `request_trailers_mutations`.
    pub request_trailers: Box<[HeaderMutation]>,
}

/// `KeyValueMutation`.
#[derive(Clone, Debug)]
pub enum QueryMutation {
    /// `remove`.
    Remove(Box<str>),
    /// `append`.
    Add {
        /// Name.
        key: Box<str>,
        /// Value, with operators.
        value: Substitution,
        /// What happens where it is there already.
        action: AppendAction,
    },
}

pub(super) fn config(cx: &mut Context, body: &[u8]) -> Part<HeaderMutator> {
    let pb::HeaderMutation { mutations, most_specific_header_mutations_wins } = cx.decode(body)?;
    let mutations = run!(cx.at("mutations", |cx| self::mutations(cx, mutations.unwrap_or_default()))?);
    Ok(Ok(HeaderMutator { mutations: Arc::new(mutations), most_specific_last: most_specific_header_mutations_wins }))
}

pub(super) fn per_route(cx: &mut Context, body: &[u8]) -> Part<Mutations> {
    let pb::HeaderMutationPerRoute { mutations } = cx.decode(body)?;
    cx.at("mutations", |cx| self::mutations(cx, mutations.unwrap_or_default()))
}

fn mutations(cx: &mut Context, mutations: pb::Mutations) -> Part<Mutations> {
    let pb::Mutations {
        request_mutations,
        query_parameter_mutations,
        response_mutations,
        response_trailers_mutations,
        request_trailers_mutations,
    } = mutations;
    let query = cx.each("query_parameter_mutations", query_parameter_mutations, self::query)?;
    let query = run!(query.into_vec().into_iter().collect::<Result<_, _>>());
    Ok(Ok(Mutations {
        request: run!(header_mutations(cx, "request_mutations", request_mutations)?),
        query,
        response: run!(header_mutations(cx, "response_mutations", response_mutations)?),
        response_trailers: run!(header_mutations(cx, "response_trailers_mutations", response_trailers_mutations)?),
        request_trailers: run!(header_mutations(cx, "request_trailers_mutations", request_trailers_mutations)?),
    }))
}

fn query(cx: &mut Context, KeyValueMutation { append, remove }: KeyValueMutation) -> Part<QueryMutation> {
    use envoy_types::pb::envoy::config::core::v3::key_value_append::KeyValueAppendAction as Pb;
    let Some(KeyValueAppend { record, entry, action }) = append else {
        cx.not_empty("remove", &remove)?;
        return Ok(Ok(QueryMutation::Remove(remove.into())));
    };
    if !remove.is_empty() {
        return Err(cx.reject("", "Only one of 'append'/'remove can be specified."));
    }
    cx.at("append", |cx| {
        let action = match cx.variant("action", action)? {
            Pb::AppendIfExistsOrAdd => AppendAction::AppendIfExistsOrAdd,
            Pb::AddIfAbsent => AppendAction::AddIfAbsent,
            Pb::OverwriteIfExistsOrAdd => AppendAction::OverwriteIfExistsOrAdd,
            Pb::OverwriteIfExists => AppendAction::OverwriteIfExists,
        };
        let (key, text) = match (record, entry) {
            (Some(KeyValuePair { key, value }), _) => {
                let Some(Kind::StringValue(text)) = value.and_then(|value| value.kind) else {
                    return Err(cx.reject("record.value", "Only string value is allowed for record value."));
                };
                (key, text)
            }
            (None, Some(entry)) => (entry.key, String::from_utf8_lossy(&entry.value).into_owned()),
            (None, None) => return Err(cx.reject("", "No record specified.")),
        };
        cx.not_empty("record.key", &key)?;
        let value = substitution(cx, "record.value", &text)?;
        Ok(Ok(QueryMutation::Add { key: key.into(), value, action }))
    })
}
