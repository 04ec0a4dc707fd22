//! `layered_runtime`: the few keys that mean something here, and the layers that come by RTDS.

use envoy_types::pb::envoy::config::bootstrap::v3 as pb;
use envoy_types::pb::envoy::config::core::v3::config_source::ConfigSourceSpecifier;
use envoy_types::pb::google::protobuf::Struct;
use pb::runtime_layer::LayerSpecifier;

use super::super::Dynamic;
use crate::reject::{Context, Rejection, immaterial};
use crate::runtime::{LISTENER_LIMIT, Layer, Layers, Numbers};

/// The older way to limit connections; the overload manager's has precedence.
const LIMIT: &str = "overload.global_downstream_max_connections";

/// Collects the layers; returns them and the limit on connections, if a static layer sets one.
pub(super) fn read(
    cx: &mut Context,
    runtime: Option<pb::LayeredRuntime>,
    dynamic: &mut Dynamic,
) -> Result<(Layers, Option<u64>), Rejection> {
    let pb::LayeredRuntime { layers } = runtime.unwrap_or_default();
    let (mut limit, mut known) = (None, Layers::default());
    cx.each("layers", layers, |cx, layer| {
        let pb::RuntimeLayer { name, layer_specifier } = layer;
        cx.not_empty("name", &name)?;
        match cx.required("layer_specifier", layer_specifier)? {
            LayerSpecifier::StaticLayer(values) => {
                let numbers = Numbers::read(&values);
                cx.at("static_layer", |cx| note(cx, &values));
                // Later layers cover earlier ones.
                limit = numbers.get(LIMIT).or(limit);
                known.0.push(Layer::Fixed(numbers));
            }
            LayerSpecifier::RtdsLayer(pb::runtime_layer::RtdsLayer { name, rtds_config }) => {
                let source = cx.required("rtds_layer.rtds_config", rtds_config)?.config_source_specifier;
                match source {
                    Some(ConfigSourceSpecifier::Ads(_) | ConfigSourceSpecifier::Self_(_)) => {
                        known.0.push(Layer::Dynamic(name.as_str().into()));
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
    Ok((known, limit))
}

/// Says so where there are values that count for nothing.
fn note(cx: &mut Context, values: &Struct) {
    let (before, after) = LISTENER_LIMIT;
    // Bounds on the size of RE2's programs: ours are linear in time and bounded by the library.
    let counts = |key: &str| {
        key == LIMIT
            || key.starts_with("re2.")
            || before.starts_with(key)
            || key.starts_with(before) && key.ends_with(after)
    };
    if !values.fields.keys().all(|key| counts(key)) {
        cx.note("", "of runtime values only the limits on connections count, of all and of one listener");
    }
}
