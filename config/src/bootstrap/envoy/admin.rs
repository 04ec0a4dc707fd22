//! `admin`.

use std::path::PathBuf;

use envoy_types::pb::envoy::config::accesslog::v3::{AccessLog, access_log::ConfigType};
use envoy_types::pb::envoy::config::bootstrap::v3 as pb;
use envoy_types::pb::envoy::extensions::access_loggers::file::v3::FileAccessLog;

use super::super::Admin;
use crate::model::address::proto::address;
use crate::reject::{Context, Rejection, immaterial};

/// `None` where it has no address: Envoy too then starts no admin server.
#[allow(deprecated)]
pub(super) fn read(cx: &mut Context, admin: pb::Admin) -> Result<Option<Admin>, Rejection> {
    let pb::Admin {
        access_log,
        access_log_path,
        profile_path,
        address: at,
        socket_options,
        ignore_global_conn_limit,
        allow_paths,
    } = admin;
    immaterial(profile_path, "there is no CPU profiler to write with");
    immaterial(ignore_global_conn_limit, "the limit never concerns the admin server");
    cx.ignore("socket_options", &socket_options, "the system's defaults are used");
    cx.ignore("allow_paths", &allow_paths, "all paths are served");
    let mut access_logs: Vec<PathBuf> = Vec::new();
    if !access_log_path.is_empty() {
        access_logs.push(access_log_path.into());
    }
    for log in cx.each("access_log", access_log, file)? {
        access_logs.extend(log);
    }
    let Some(at) = at else { return Ok(None) };
    Ok(Some(Admin { address: cx.at("address", |cx| address(cx, at))?, access_logs }))
}

fn file(cx: &mut Context, log: AccessLog) -> Result<Option<PathBuf>, Rejection> {
    let AccessLog { name, filter, config_type } = log;
    cx.ignore("filter", &filter, "every request is logged");
    match config_type {
        Some(ConfigType::TypedConfig(any))
            if any.type_url.ends_with("/envoy.extensions.access_loggers.file.v3.FileAccessLog") =>
        {
            cx.at("typed_config", |cx| {
                let FileAccessLog { path, access_log_format } = cx.decode(&any.value)?;
                cx.ignore("log_format", &access_log_format, "Envoy's default format is used");
                cx.not_empty("path", &path)?;
                Ok(Some(path.into()))
            })
        }
        _ => {
            immaterial(name, "the type decides");
            cx.note("typed_config", "only file logs are written for the admin server");
            Ok(None)
        }
    }
}
