//! `google_grpc`: Kuma's form where tokens may change (`KUMA_DP_SERVER_AUTHN_ENABLE_RELOADABLE_TOKENS`).

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use core::data_source::Specifier;
use core::grpc_service::GoogleGrpc;
use core::grpc_service::google_grpc::call_credentials::{
    CredentialSpecifier as Call, MetadataCredentialsFromPlugin, metadata_credentials_from_plugin::ConfigType,
};
use core::grpc_service::google_grpc::channel_args::Value;
use core::grpc_service::google_grpc::channel_args::value::ValueSpecifier;
use core::grpc_service::google_grpc::{CallCredentials, channel_credentials::CredentialSpecifier as Channel};
use envoy_types::pb::envoy::config::core::v3 as core;
use envoy_types::pb::envoy::config::grpc_credential::v3::FileBasedMetadataConfig;

use super::tls;
use crate::model::data_source;
use crate::reject::{Context, Rejection, immaterial};
use crate::xds::target::{Keepalive, Peer, Target};
use crate::xds::token::{Metadata, Secret};

/// What it comes to.
pub(super) struct Google {
    /// Where the server is.
    pub(super) target: Target,
    /// The token.
    pub(super) credentials: Vec<Metadata>,
    /// Longest response.
    pub(super) max_message: Option<usize>,
}

/// gRPC's own, for a channel that says nothing.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(20);

/// Reads it.
pub(super) fn read(cx: &mut Context, grpc: GoogleGrpc) -> Result<Google, Rejection> {
    let GoogleGrpc {
        target_uri,
        channel_credentials,
        channel_credentials_plugin,
        call_credentials,
        call_credentials_plugin,
        stat_prefix,
        credentials_factory_name,
        config,
        per_stream_buffer_limit_bytes,
        channel_args,
    } = grpc;
    immaterial(stat_prefix, "statistics of the control plane's stream have one name");
    immaterial(credentials_factory_name, "the call credentials' own type decides");
    immaterial(per_stream_buffer_limit_bytes, "requests are small and few");
    cx.ignore("config", &config, "there is no plugin to configure");
    cx.ignore("call_credentials_plugin", &call_credentials_plugin, "the plugin is not run");
    if !channel_credentials_plugin.is_empty() {
        return Err(cx.reject("channel_credentials_plugin", "only channel_credentials.ssl_credentials is supported"));
    }
    let (host, peer, authority) = target_uri_parts(cx, &target_uri)?;
    let tls = match channel_credentials.and_then(|c| c.credential_specifier) {
        None => None,
        Some(Channel::SslCredentials(ssl)) => Some(cx.at("channel_credentials", |cx| tls::ssl(cx, ssl, &host))?),
        Some(_) => return Err(cx.reject("channel_credentials", "only ssl_credentials are supported")),
    };
    let credentials = cx.each("call_credentials", call_credentials, call)?.into_vec();
    let args = channel_args.map(|a| a.args).unwrap_or_default();
    let (keepalive, max_message) = cx.at("channel_args", |cx| self::args(cx, args));
    let peers = vec![peer];
    let keepalive = Some(keepalive);
    let target = Target { peers, authority: authority.into(), tls, connect_timeout: CONNECT_TIMEOUT, keepalive };
    Ok(Google { target, credentials, max_message })
}

/// `host:port`, `dns:host:port`, `dns:///host:port`, `unix:path`.
fn target_uri_parts(cx: &Context, uri: &str) -> Result<(String, Peer, String), Rejection> {
    if let Some(path) = uri.strip_prefix("unix:") {
        let path = path.strip_prefix("//").unwrap_or(path);
        return Ok(("localhost".to_owned(), Peer::Path(path.into()), "localhost".to_owned()));
    }
    let bare = uri.strip_prefix("dns:").unwrap_or(uri).trim_start_matches('/');
    let Some((host, port)) = bare.rsplit_once(':') else {
        return Err(cx.reject("target_uri", format!("{uri:?} is not host:port")));
    };
    let port = port.parse().map_err(|_| cx.reject("target_uri", format!("{uri:?} has no port")))?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    cx.not_empty("target_uri", host)?;
    let peer = match host.parse::<IpAddr>() {
        Ok(ip) => Peer::Address((ip, port).into()),
        Err(_) => Peer::Name(host.into(), port),
    };
    Ok((host.to_owned(), peer, bare.to_owned()))
}

fn call(cx: &mut Context, CallCredentials { credential_specifier }: CallCredentials) -> Result<Metadata, Rejection> {
    let refuse = |cx: &Context| cx.reject("", "only access_token and file_based_metadata are supported");
    match cx.required("credential_specifier", credential_specifier)? {
        Call::AccessToken(token) => {
            Ok(Metadata { key: "authorization".into(), prefix: "Bearer ".into(), value: Secret::Inline(token.into()) })
        }
        Call::FromPlugin(MetadataCredentialsFromPlugin { name, config_type }) => {
            immaterial(name, "the type decides");
            let Some(ConfigType::TypedConfig(any)) = config_type else { return Err(refuse(cx)) };
            if !any.type_url.ends_with("FileBasedMetadataConfig") {
                return Err(refuse(cx));
            }
            cx.at("from_plugin", |cx| {
                let config = cx.decode(&any.value)?;
                file_based(cx, config)
            })
        }
        _ => Err(refuse(cx)),
    }
}

fn file_based(cx: &mut Context, config: FileBasedMetadataConfig) -> Result<Metadata, Rejection> {
    let FileBasedMetadataConfig { secret_data, header_key, header_prefix } = config;
    let source = cx.required("secret_data", secret_data)?;
    let value = match source.specifier {
        Some(Specifier::Filename(path)) => Secret::File(path.into()),
        _ => {
            let bytes = cx.at("secret_data", |cx| data_source::read(cx, source))?;
            let text = std::str::from_utf8(&bytes).map_err(|_| cx.reject("secret_data", "is not text"))?;
            Secret::Inline(text.trim().into())
        }
    };
    let key = if header_key.is_empty() { "authorization".to_owned() } else { header_key.to_ascii_lowercase() };
    Ok(Metadata { key: key.into(), prefix: header_prefix.into(), value })
}

/// Keepalive, and the longest message. Without arguments gRPC sends no PINGs; we do, since silence must be noticed.
fn args(cx: &mut Context, args: HashMap<String, Value>) -> (Keepalive, Option<usize>) {
    let mut keepalive = Keepalive::default();
    let mut max_message = None;
    let mut unknown = false;
    for (name, value) in args {
        let number = match value.value_specifier {
            Some(ValueSpecifier::IntValue(n)) => u64::try_from(n).ok(),
            Some(ValueSpecifier::StringValue(_)) | None => None,
        };
        match (name.as_str(), number) {
            ("grpc.keepalive_time_ms", Some(ms @ 1..)) => keepalive.interval = Duration::from_millis(ms),
            ("grpc.keepalive_timeout_ms", Some(ms @ 1..)) => keepalive.timeout = Duration::from_millis(ms),
            ("grpc.max_receive_message_length", n) => max_message = n.and_then(|n| usize::try_from(n).ok()),
            ("grpc.http2.max_pings_without_data" | "grpc.keepalive_permit_without_calls", n) => {
                immaterial(n, "PINGs are sent all the time");
            }
            _ => unknown = true,
        }
    }
    if unknown {
        cx.note("args", "an argument that only gRPC's own library knows");
    }
    (keepalive, max_message)
}
