//! `layered_runtime`: the few keys that mean something here, and the layers that come by RTDS.

use envoy_types::pb::envoy::config::bootstrap::v3 as pb;
use envoy_types::pb::envoy::config::core::v3::config_source::ConfigSourceSpecifier;
use envoy_types::pb::google::protobuf::{Struct, value::Kind};
use pb::runtime_layer::LayerSpecifier;

use super::super::Dynamic;
use crate::reject::{Context, Rejection, immaterial};

/// The older way to limit connections; the overload manager's has precedence.
const LIMIT: &str = "overload.global_downstream_max_connections";

/// Collects RTDS layers; returns the limit on connections, if a static layer sets one.
pub(super) fn read(
    cx: &mut Context,
    runtime: Option<pb::LayeredRuntime>,
    dynamic: &mut Dynamic,
) -> Result<Option<u64>, Rejection> {
    let pb::LayeredRuntime { layers } = runtime.unwrap_or_default();
    let mut limit = None;
    cx.each("layers", layers, |cx, layer| {
        let pb::RuntimeLayer { name, layer_specifier } = layer;
        cx.not_empty("name", &name)?;
        match cx.required("layer_specifier", layer_specifier)? {
            LayerSpecifier::StaticLayer(values) => {
                // Later layers cover earlier ones.
                limit = cx.at("static_layer", |cx| self::values(cx, &values)).or(limit);
            }
            LayerSpecifier::RtdsLayer(pb::runtime_layer::RtdsLayer { name, rtds_config }) => {
                let source = cx.required("rtds_layer.rtds_config", rtds_config)?.config_source_specifier;
                match source {
                    Some(ConfigSourceSpecifier::Ads(_) | ConfigSourceSpecifier::Self_(_)) => {
                        dynamic.layers.push(name.into());
                    }
                    _ => cx.note("rtds_layer", "only runtime layers by ADS are asked for"),
                }
            }
            LayerSpecifier::DiskLayer(_) => cx.note("disk_layer", "runtime values are not read from files"),
            LayerSpecifier::AdminLayer(admin) => immaterial(admin, "the admin server changes no runtime values"),
        }
        Ok(())
    })?;
    Ok(limit)
}

fn values(cx: &mut Context, Struct { fields }: &Struct) -> Option<u64> {
    let mut limit = None;
    let mut others = false;
    for (key, value) in fields {
        match key.as_str() {
            LIMIT => limit = value.kind.as_ref().and_then(integer),
            // Bounds on the size of RE2's programs; ours are linear in time and bounded by the library.
            k if k.starts_with("re2.") => {}
            _ => others = true,
        }
    }
    if others {
        cx.note("", "of runtime values only overload.global_downstream_max_connections counts");
    }
    limit
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked to be whole and in range")]
fn integer(kind: &Kind) -> Option<u64> {
    match kind {
        Kind::NumberValue(n) if n.fract() == 0.0 && (0.0..9e15).contains(n) => Some(*n as u64),
        Kind::StringValue(s) => s.parse().ok(),
        _ => None,
    }
}
