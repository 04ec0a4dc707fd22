//! `overload_manager`.

use std::sync::Arc;
use std::time::Duration;

use envoy_types::pb::envoy::config::overload::v3 as pb;
use envoy_types::pb::envoy::extensions::resource_monitors::downstream_connections::v3::DownstreamConnectionsConfig;
use envoy_types::pb::envoy::extensions::resource_monitors::fixed_heap::v3::FixedHeapConfig;
use envoy_types::pb::envoy::extensions::resource_monitors::injected_resource::v3::InjectedResourceConfig;
use envoy_types::pb::google::protobuf::Any;
use pb::resource_monitor::ConfigType;
use pb::scale_timers_overload_action_config::{ScaleTimer, TimerType, scale_timer::OverloadAdjust};
use pb::trigger::TriggerOneof;

use super::super::overload::{
    Monitor, MonitoredResource, Overload, OverloadAction, OverloadActionKind as Kind, ScaledMinimum, ScaledTimer,
    TimerKind, Trigger,
};
use crate::reject::{Context, Rejection, immaterial};

pub(super) fn read(cx: &mut Context, manager: Option<pb::OverloadManager>) -> Result<Overload, Rejection> {
    let Some(manager) = manager else { return Ok(Overload::default()) };
    let pb::OverloadManager { refresh_interval, resource_monitors, actions, loadshed_points, buffer_factory_config } =
        manager;
    immaterial(buffer_factory_config, "how Envoy accounts for its buffers");
    cx.ignore("loadshed_points", &loadshed_points, "the point is not watched");
    let mut overload = Overload {
        refresh_interval: cx.longer_than("refresh_interval", refresh_interval, Duration::ZERO)?,
        ..Overload::default()
    };
    let mut names: Vec<Arc<str>> = Vec::new();
    let mut monitors = Vec::new();
    for (i, monitor) in resource_monitors.into_iter().enumerate() {
        names.push(monitor.name.as_str().into());
        monitors.extend(cx.item("resource_monitors", i, |cx| self::monitor(cx, monitor, &mut overload))?);
    }
    overload.monitors = monitors.into();
    let actions = cx.each("actions", actions, |cx, action| self::action(cx, action, &names))?;
    overload.actions = actions.into_iter().flatten().collect();
    Ok(overload)
}

fn monitor(cx: &mut Context, monitor: pb::ResourceMonitor, into: &mut Overload) -> Result<Option<Monitor>, Rejection> {
    let pb::ResourceMonitor { name, config_type } = monitor;
    let Some(ConfigType::TypedConfig(any)) = config_type else { return Ok(None) };
    let resource = cx.at("typed_config", |cx| match any.type_url.rsplit('.').next() {
        Some("DownstreamConnectionsConfig") => {
            let DownstreamConnectionsConfig { max_active_downstream_connections: max } = cx.decode(&any.value)?;
            match u64::try_from(max) {
                Ok(max @ 1..) => into.max_connections = Some(max),
                _ => return Err(cx.reject("max_active_downstream_connections", "value must be greater than 0")),
            }
            Ok(None)
        }
        Some("FixedHeapConfig") => {
            let FixedHeapConfig { max_heap_size_bytes, max_heap_size_bytes_runtime } = cx.decode(&any.value)?;
            cx.ignore("max_heap_size_bytes_runtime", &max_heap_size_bytes_runtime, "its default is used");
            if max_heap_size_bytes == 0 {
                return Err(cx.reject("max_heap_size_bytes", "value must be greater than 0"));
            }
            Ok(Some(MonitoredResource::Heap(max_heap_size_bytes)))
        }
        Some("InjectedResourceConfig") => {
            let InjectedResourceConfig { filename } = cx.decode(&any.value)?;
            cx.not_empty("filename", &filename)?;
            Ok(Some(MonitoredResource::Injected(filename.into())))
        }
        _ => {
            cx.note("", "the resource is not watched");
            Ok(None)
        }
    })?;
    Ok(resource.map(|resource| Monitor { name: name.into(), resource }))
}

fn action(
    cx: &mut Context,
    action: pb::OverloadAction,
    known: &[Arc<str>],
) -> Result<Option<OverloadAction>, Rejection> {
    let pb::OverloadAction { name, triggers, typed_config } = action;
    let kind = match name.strip_prefix("envoy.overload_actions.").unwrap_or_default() {
        "stop_accepting_requests" => Kind::StopAcceptingRequests,
        "disable_http_keepalive" => Kind::DisableHttpKeepalive,
        "stop_accepting_connections" => Kind::StopAcceptingConnections,
        "reject_incoming_connections" => Kind::RejectIncomingConnections,
        "shrink_heap" => Kind::ShrinkHeap,
        "reduce_timeouts" => {
            let config = cx.required("typed_config", typed_config)?;
            Kind::ReduceTimeouts(cx.at("typed_config", |cx| timers(cx, &config))?)
        }
        "reset_high_memory_stream" => {
            cx.note("name", "the action is not taken: buffers of streams are bounded as they are");
            return Ok(None);
        }
        _ => return Err(cx.reject("name", format!("unknown overload action {name}"))),
    };
    let triggers = cx.each("triggers", triggers, |cx, trigger| self::trigger(cx, trigger, known))?;
    if triggers.is_empty() {
        return Err(cx.reject("triggers", "value must contain at least 1 item(s)"));
    }
    Ok(Some(OverloadAction { kind, triggers }))
}

fn trigger(cx: &mut Context, trigger: pb::Trigger, known: &[Arc<str>]) -> Result<Trigger, Rejection> {
    let pb::Trigger { name, trigger_oneof } = trigger;
    let Some(resource) = known.iter().find(|known| ***known == *name) else {
        return Err(cx.reject("name", format!("unknown trigger resource {name}")));
    };
    let within = |field: &str, value: f64| match value {
        0.0..=1.0 => Ok(value),
        _ => Err(cx.reject(field, "value must be inside range [0, 1]")),
    };
    let (from, saturation) = match cx.required("trigger_oneof", trigger_oneof)? {
        TriggerOneof::Threshold(pb::ThresholdTrigger { value }) => {
            let value = within("threshold.value", value)?;
            (value, value)
        }
        TriggerOneof::Scaled(pb::ScaledTrigger { scaling_threshold, saturation_threshold }) => {
            let from = within("scaled.scaling_threshold", scaling_threshold)?;
            let saturation = within("scaled.saturation_threshold", saturation_threshold)?;
            if from >= saturation {
                return Err(cx.reject("scaled", "scaling_threshold must be less than saturation_threshold"));
            }
            (from, saturation)
        }
    };
    Ok(Trigger { resource: Arc::clone(resource), from, saturation })
}

fn timers(cx: &mut Context, config: &Any) -> Result<Box<[ScaledTimer]>, Rejection> {
    let pb::ScaleTimersOverloadActionConfig { timer_scale_factors } = cx.decode(&config.value)?;
    cx.each("timer_scale_factors", timer_scale_factors, |cx, ScaleTimer { timer, overload_adjust }| {
        let timer = match cx.variant("timer", timer)? {
            TimerType::Unspecified => return Err(cx.reject("timer", "value must not be in list [0]")),
            TimerType::HttpDownstreamConnectionIdle => TimerKind::HttpConnectionIdle,
            TimerType::HttpDownstreamStreamIdle => TimerKind::HttpStreamIdle,
            TimerType::TransportSocketConnect => TimerKind::TransportConnect,
            TimerType::HttpDownstreamConnectionMax => TimerKind::HttpConnectionMax,
            TimerType::HttpDownstreamStreamFlush => TimerKind::HttpStreamFlush,
        };
        let minimum = match cx.required("overload_adjust", overload_adjust)? {
            OverloadAdjust::MinTimeout(time) => {
                ScaledMinimum::Time(cx.duration("min_timeout", Some(time))?.unwrap_or_default())
            }
            OverloadAdjust::MinScale(percent) => ScaledMinimum::Percent(cx.percent("min_scale", percent.value)?),
        };
        Ok(ScaledTimer { timer, minimum })
    })
}
