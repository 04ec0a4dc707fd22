//! `http_filters`; the last one is the router.

use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3 as pb;
use pb::http_filter::ConfigType;

use super::{Part, router};
use crate::model::extension;
use crate::model::hcm::Router;
use crate::model::tcp_proxy::proto::Shared;
use crate::reject::{Context, Unsupported};

pub(super) fn filters(cx: &mut Context, shared: &mut Shared, filters: Vec<pb::HttpFilter>) -> Part<Router> {
    let last = filters.len().saturating_sub(1);
    let mut unsupported: Option<Unsupported> = None;
    let mut found = None;
    for (i, pb::HttpFilter { name, is_optional, disabled, config_type }) in filters.into_iter().enumerate() {
        cx.item("http_filters", i, |cx| {
            cx.not_empty("name", &name)?;
            let any = match config_type {
                Some(ConfigType::ConfigDiscovery(_)) => {
                    let why = cx.unsupported("config_discovery", "filter configuration by ECDS");
                    unsupported.get_or_insert(why);
                    return Ok(());
                }
                Some(ConfigType::TypedConfig(any)) => Some(any),
                None => None,
            };
            let (type_name, body) = extension::required(cx, &name, any)?;
            match &*type_name {
                router::TYPE if i != last => Err(cx.reject("", "the router must be the last filter")),
                router::TYPE => match cx.at("typed_config", |cx| router::router(cx, shared, &body))? {
                    Ok(router) => {
                        found = Some(router);
                        Ok(())
                    }
                    Err(why) => {
                        unsupported.get_or_insert(why);
                        Ok(())
                    }
                },
                other => {
                    let _ = (is_optional, disabled);
                    extension::check_known(cx, extension::Category::Http, &name, other)?;
                    let why = cx.unsupported("typed_config", other);
                    unsupported.get_or_insert(why);
                    Ok(())
                }
            }
        })?;
    }
    match (unsupported, found) {
        (Some(why), _) => Ok(Err(why)),
        (None, Some(router)) => Ok(Ok(router)),
        (None, None) => Err(cx.reject("http_filters", "the router must be the last filter")),
    }
}
