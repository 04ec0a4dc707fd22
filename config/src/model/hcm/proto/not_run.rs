//! Fields of a connection manager that are read and not acted upon: said where they are set.

use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3 as pb;
use pb::http_connection_manager::HcmAccessLogOptions;

use crate::reject::{Context, Unsupported};

/// Reports them. What must not be passed over makes the manager unsupported.
pub(super) fn report(cx: &mut Context, manager: &pb::HttpConnectionManager) -> Option<Unsupported> {
    cx.ignore("drain_timeout_jitter", &manager.drain_timeout_jitter, "the timeout is kept exactly");
    cx.ignore("stream_flush_timeout", &manager.stream_flush_timeout, "stream_idle_timeout holds to the last byte");
    cx.ignore("proxy_status_config", &manager.proxy_status_config, "no Proxy-Status header is written");
    if let Some(options) = &manager.http_protocol_options {
        let note = "headers of answers are written in lower case";
        cx.at("http_protocol_options", |cx| cx.ignore("header_key_format", &options.header_key_format, note));
    }
    let on = manager.stream_error_on_invalid_http_message.filter(|f| f.value);
    cx.ignore("stream_error_on_invalid_http_message", &on, BAD_MESSAGE);
    const AT_END: &str = "a line is written at the end only";
    cx.ignore("flush_access_log_on_new_request", &manager.flush_access_log_on_new_request, AT_END);
    cx.ignore("access_log_flush_interval", &manager.access_log_flush_interval, AT_END);
    if let Some(options) = &manager.access_log_options {
        let HcmAccessLogOptions {
            access_log_flush_interval,
            flush_access_log_on_new_request,
            flush_log_on_tunnel_successfully_established,
        } = options;
        cx.at("access_log_options", |cx| {
            cx.ignore("access_log_flush_interval", access_log_flush_interval, AT_END);
            cx.ignore("flush_access_log_on_new_request", flush_access_log_on_new_request, AT_END);
            let on_tunnel = flush_log_on_tunnel_successfully_established;
            cx.ignore("flush_log_on_tunnel_successfully_established", on_tunnel, AT_END);
        });
    }
    // They may take off what must not come from outside.
    let early = !manager.early_header_mutation_extensions.is_empty();
    early.then(|| cx.unsupported("early_header_mutation_extensions", "early_header_mutation_extensions"))
}

/// Why `…stream_error_on_invalid_http_message` is not honoured.
pub(super) const BAD_MESSAGE: &str = "the codec settles whether a bad message ends its connection";
