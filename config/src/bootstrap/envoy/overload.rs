//! `overload_manager`: the limits that matter to a proxy of connections.

use envoy_types::pb::envoy::config::overload::v3 as pb;
use envoy_types::pb::envoy::extensions::resource_monitors::downstream_connections::v3::DownstreamConnectionsConfig;
use envoy_types::pb::envoy::extensions::resource_monitors::fixed_heap::v3::FixedHeapConfig;
use pb::resource_monitor::ConfigType;

use super::super::Overload;
use crate::reject::{Context, Rejection, immaterial};

/// Reads the monitors; actions need a load of the heap that Envoy measures and we don't.
pub(super) fn read(cx: &mut Context, manager: Option<pb::OverloadManager>) -> Result<Overload, Rejection> {
    let Some(manager) = manager else { return Ok(Overload::default()) };
    let pb::OverloadManager { refresh_interval, resource_monitors, actions, loadshed_points, buffer_factory_config } =
        manager;
    immaterial(refresh_interval, "the limit on connections holds at every moment");
    immaterial(buffer_factory_config, "how Envoy accounts for its buffers");
    cx.ignore("actions", &actions, "the action is not taken");
    cx.ignore("loadshed_points", &loadshed_points, "the point is not watched");
    let mut overload = Overload::default();
    cx.each("resource_monitors", resource_monitors, |cx, monitor| self::monitor(cx, monitor, &mut overload))?;
    Ok(overload)
}

fn monitor(cx: &mut Context, monitor: pb::ResourceMonitor, overload: &mut Overload) -> Result<(), Rejection> {
    let pb::ResourceMonitor { name, config_type } = monitor;
    immaterial(name, "the type decides");
    let Some(ConfigType::TypedConfig(any)) = config_type else { return Ok(()) };
    cx.at("typed_config", |cx| match any.type_url.rsplit('.').next() {
        Some("DownstreamConnectionsConfig") => {
            let DownstreamConnectionsConfig { max_active_downstream_connections: max } = cx.decode(&any.value)?;
            match u64::try_from(max) {
                Ok(max @ 1..) => overload.max_connections = Some(max),
                _ => return Err(cx.reject("max_active_downstream_connections", "value must be greater than 0")),
            }
            Ok(())
        }
        Some("FixedHeapConfig") => {
            let FixedHeapConfig { max_heap_size_bytes, max_heap_size_bytes_runtime } = cx.decode(&any.value)?;
            cx.ignore("max_heap_size_bytes_runtime", &max_heap_size_bytes_runtime, "its default is used");
            overload.max_heap = Some(max_heap_size_bytes);
            Ok(())
        }
        _ => {
            cx.note("", "the resource is not watched");
            Ok(())
        }
    })
}
