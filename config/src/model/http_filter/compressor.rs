//! `envoy.filters.http.compressor`: bodies are compressed where the other side takes that.
#![allow(deprecated)] // Envoy still honours the fields it deprecates

mod library;

use std::sync::Arc;

use envoy_types::pb::envoy::config::core::v3::{RuntimeFeatureFlag, TypedExtensionConfig};
use envoy_types::pb::envoy::extensions::filters::http::compressor::v3 as pb;
use envoy_types::pb::envoy::r#type::matcher::v3::StringMatcher;
use http::StatusCode;

pub use self::library::{Brotli, BrotliMode, Gzip, GzipStrategy, Library, Zstd};
use super::RuntimeFlag;
use super::proto::{Part, run};
use crate::model::matcher::proto::text;
use crate::model::matcher::{TextMatch, TextPattern};
use crate::model::metadata::proto::Interner;
use crate::reject::{Context, Rejection};

/// `Compressor`.
#[derive(Clone, Debug)]
pub struct Compressor {
    /// `compressor_library.name`: stands in the statistics' names.
    pub name: Arc<str>,
    /// `compressor_library.typed_config`.
    pub library: Library,
    /// `choose_first`: of encodings of the same weight the client's first is taken, not the last filter's.
    pub choose_first: bool,
    /// `request_direction_config`; `None`: requests are left alone.
    pub request: Option<RequestDirection>,
    /// `response_direction_config`, or the deprecated fields.
    pub response: ResponseDirection,
}

/// `CommonDirectionConfig`.
#[derive(Clone, Debug)]
pub struct Direction {
    /// `enabled`; Envoy's default is true.
    pub enabled: RuntimeFlag,
    /// `min_content_length`; Envoy's default is 30.
    pub min_content_length: u32,
    /// `content_type`, `content_type_matcher`; Envoy's list where both are empty.
    pub content_types: Box<[TextMatch]>,
}

/// `RequestDirectionConfig`.
#[derive(Clone, Debug)]
pub struct RequestDirection {
    /// What both directions have.
    pub common: Direction,
}

/// `ResponseDirectionConfig`.
#[derive(Clone, Debug)]
pub struct ResponseDirection {
    /// What both directions have.
    pub common: Direction,
    /// Its statistics have `response.` in their names: it was configured as a direction of its own.
    pub named: bool,
    /// `disable_on_etag_header`.
    pub disable_on_etag: bool,
    /// `weaken_etag_on_compress`.
    pub weaken_etag: bool,
    /// `remove_accept_encoding_header`.
    pub remove_accept_encoding: bool,
    /// `uncompressible_response_codes`.
    pub uncompressible: Box<[StatusCode]>,
    /// `status_header_enabled`: `x-envoy-compression-status` tells what was decided.
    pub status_header: bool,
}

/// `CompressorPerRoute`.
#[derive(Clone, Debug)]
pub enum CompressorPerRoute {
    /// `disabled`: answers are left alone.
    Disabled,
    /// `overrides`.
    Overrides {
        /// `response_direction_config`: it is compressed even if the filter's own direction is not enabled.
        response: bool,
        /// `response_direction_config.remove_accept_encoding_header`.
        remove_accept_encoding: Option<bool>,
        /// `compressor_library`.
        library: Option<Library>,
    },
}

/// Envoy's list of types that are compressed.
const CONTENT_TYPES: [&str; 20] = [
    "text/html",
    "text/plain",
    "text/css",
    "application/javascript",
    "application/x-javascript",
    "text/javascript",
    "text/x-javascript",
    "text/ecmascript",
    "text/js",
    "text/jscript",
    "text/x-js",
    "application/ecmascript",
    "application/x-json",
    "application/xml",
    "application/json",
    "image/svg+xml",
    "text/xml",
    "application/xhtml+xml",
    "application/grpc-web",
    "application/grpc-web+proto",
];
/// Envoy's shortest body that is compressed.
const MIN_CONTENT_LENGTH: u32 = 30;

pub(super) fn config(cx: &mut Context, interner: &mut Interner, body: &[u8]) -> Part<Compressor> {
    let pb::Compressor {
        content_length,
        content_type,
        disable_on_etag_header,
        remove_accept_encoding_header,
        runtime_enabled,
        compressor_library,
        request_direction_config,
        response_direction_config,
        choose_first,
    } = cx.decode(body)?;
    let library = cx.required("compressor_library", compressor_library)?;
    let name = interner.string(&library.name);
    let library = run!(cx.at("compressor_library", |cx| self::library(cx, library))?);
    let request = match request_direction_config {
        None => None,
        Some(pb::compressor::RequestDirectionConfig { common_config }) => {
            let common = cx.at("request_direction_config", |cx| direction(cx, interner, common_config, false))?;
            Some(RequestDirection { common: run!(common) })
        }
    };
    let response = match response_direction_config {
        Some(config) => run!(cx.at("response_direction_config", |cx| self::response(cx, interner, config))?),
        None => {
            let common = pb::compressor::CommonDirectionConfig {
                enabled: runtime_enabled.clone(),
                min_content_length: content_length,
                content_type: content_type.clone(),
                content_type_matcher: Vec::new(),
            };
            ResponseDirection {
                common: run!(direction(cx, interner, Some(common), true)?),
                named: false,
                disable_on_etag: disable_on_etag_header,
                weaken_etag: false,
                remove_accept_encoding: remove_accept_encoding_header,
                uncompressible: Box::default(),
                status_header: false,
            }
        }
    };
    if response.named {
        const BESIDE: &str = "the directions' own fields are in force, as in Envoy";
        cx.ignore("content_length", &content_length, BESIDE);
        cx.ignore("content_type", &content_type, BESIDE);
        cx.ignore("disable_on_etag_header", &disable_on_etag_header, BESIDE);
        cx.ignore("remove_accept_encoding_header", &remove_accept_encoding_header, BESIDE);
        cx.ignore("runtime_enabled", &runtime_enabled, BESIDE);
    }
    Ok(Ok(Compressor { name, library, choose_first, request, response }))
}

fn library(cx: &mut Context, config: TypedExtensionConfig) -> Part<Library> {
    let TypedExtensionConfig { name, typed_config } = config;
    cx.not_empty("name", &name)?;
    library::library(cx, &name, typed_config)
}

fn response(
    cx: &mut Context,
    interner: &mut Interner,
    config: pb::compressor::ResponseDirectionConfig,
) -> Part<ResponseDirection> {
    let pb::compressor::ResponseDirectionConfig {
        common_config,
        disable_on_etag_header,
        weaken_etag_on_compress,
        remove_accept_encoding_header,
        uncompressible_response_codes,
        status_header_enabled,
    } = config;
    let common = run!(direction(cx, interner, common_config, true)?);
    let mut uncompressible = Vec::with_capacity(uncompressible_response_codes.len());
    cx.each("uncompressible_response_codes", uncompressible_response_codes, |cx, code| {
        let valid = u16::try_from(code).ok().filter(|code| (200..600).contains(code));
        let code = valid.and_then(|code| StatusCode::from_u16(code).ok());
        let code = code.ok_or_else(|| cx.reject("", "value must be inside range [200, 600)"))?;
        if uncompressible.contains(&code) {
            return Err(cx.reject("", "repeated value must contain unique items"));
        }
        uncompressible.push(code);
        Ok(())
    })?;
    Ok(Ok(ResponseDirection {
        common,
        named: true,
        disable_on_etag: disable_on_etag_header,
        weaken_etag: weaken_etag_on_compress,
        remove_accept_encoding: remove_accept_encoding_header,
        uncompressible: uncompressible.into(),
        status_header: status_header_enabled,
    }))
}

/// An absent direction of requests is off until it is enabled, one of answers is on.
fn direction(
    cx: &mut Context,
    interner: &mut Interner,
    config: Option<pb::compressor::CommonDirectionConfig>,
    default: bool,
) -> Part<Direction> {
    let pb::compressor::CommonDirectionConfig { enabled, min_content_length, content_type, content_type_matcher } =
        config.unwrap_or_default();
    cx.at("common_config", |cx| {
        let enabled = match enabled {
            None => RuntimeFlag { key: interner.string(""), default },
            Some(flag) => cx.at("enabled", |cx| self::flag(cx, interner, flag))?,
        };
        let content_types = run!(content_types(cx, content_type, content_type_matcher)?);
        let min_content_length = min_content_length.map(|length| length.value).filter(|length| *length > 0);
        let min_content_length = min_content_length.unwrap_or(MIN_CONTENT_LENGTH);
        Ok(Ok(Direction { enabled, min_content_length, content_types }))
    })
}

fn content_types(cx: &mut Context, exact: Vec<String>, matchers: Vec<StringMatcher>) -> Part<Box<[TextMatch]>> {
    let literal = |text: &str| TextMatch { pattern: TextPattern::Exact(text.into()), ignore_case: true };
    if exact.is_empty() && matchers.is_empty() {
        return Ok(Ok(CONTENT_TYPES.iter().map(|text| literal(text)).collect()));
    }
    let matchers = cx.each("content_type_matcher", matchers, text::envoy)?;
    let matchers: Result<Vec<_>, _> = matchers.into_vec().into_iter().collect();
    Ok(matchers.map(|matchers| exact.iter().map(|text| literal(text)).chain(matchers).collect()))
}

fn flag(
    cx: &Context,
    interner: &mut Interner,
    RuntimeFeatureFlag { default_value, runtime_key }: RuntimeFeatureFlag,
) -> Result<RuntimeFlag, Rejection> {
    cx.not_empty("runtime_key", &runtime_key)?;
    let default = cx.required("default_value", default_value)?.value;
    Ok(RuntimeFlag { key: interner.string(&runtime_key), default })
}

pub(super) fn per_route(cx: &mut Context, body: &[u8]) -> Part<CompressorPerRoute> {
    use pb::compressor_per_route::Override;
    let pb::CompressorPerRoute { r#override } = cx.decode(body)?;
    let overrides = match cx.required("override", r#override)? {
        Override::Disabled(true) => return Ok(Ok(CompressorPerRoute::Disabled)),
        Override::Disabled(false) => return Err(cx.reject("disabled", "value must equal true")),
        Override::Overrides(overrides) => overrides,
    };
    let pb::CompressorOverrides { response_direction_config, compressor_library } = overrides;
    let library = match compressor_library {
        None => None,
        Some(config) => {
            Some(run!(cx.at("overrides", |cx| cx.at("compressor_library", |cx| self::library(cx, config)))?))
        }
    };
    Ok(Ok(CompressorPerRoute::Overrides {
        response: response_direction_config.is_some(),
        remove_accept_encoding: response_direction_config
            .and_then(|pb::ResponseDirectionOverrides { remove_accept_encoding_header }| remove_accept_encoding_header)
            .map(|flag| flag.value),
        library,
    }))
}
