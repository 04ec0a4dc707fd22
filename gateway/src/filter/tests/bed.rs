//! One filter, and routes behind it, from the configuration as it is sent.

use std::sync::Arc;

use config::model::chain::Handler;
use config::model::hcm::Routes;
use config::store::parse_listener;
use http::Response;
use proxy::metrics::Registry;
use proxy::report::Sinks;
use proxy::report::http::HttpFlow;
use proxy::shared::{Limits, Shared};
use proxy::upstream::Clusters;
use serde_json::{Value, json};

use super::super::{Call, Chain, RouteView, States};
use crate::http::body::Body;
use crate::http::reply::Reply;
use crate::route::{Env, Table};

/// A filter at work.
pub(super) struct Bed {
    pub(super) shared: Arc<Shared>,
    chain: Chain,
    table: Table,
}

/// A configuration of the package `envoy.extensions.filters.http`.
pub(super) fn typed(kind: &str, mut config: Value) -> Value {
    config["@type"] = format!("type.googleapis.com/envoy.extensions.filters.http.{kind}").into();
    config
}

impl Bed {
    /// The filter `x`, what the virtual host has for it, and what its route `/r` has.
    pub(super) fn new(filter: Value, host: Option<Value>, route: Option<Value>) -> Self {
        let own = |config: Option<Value>| config.map_or(json!({}), |config| json!({"x": config}));
        let to = json!({"cluster": "c"});
        let manager = json!({
            "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3\
                .HttpConnectionManager",
            "statPrefix": "s",
            "httpFilters": [
                {"name": "x", "typedConfig": filter},
                {"name": "router", "typedConfig": typed("router.v3.Router", json!({}))},
            ],
            "routeConfig": {"virtualHosts": [{
                "name": "v", "domains": ["*"], "typedPerFilterConfig": own(host),
                "routes": [
                    {"match": {"prefix": "/r"}, "route": to, "typedPerFilterConfig": own(route)},
                    {"match": {"prefix": "/"}, "route": to},
                ],
            }]},
        });
        let listener = json!({
            "name": "l",
            "address": {"socketAddress": {"address": "127.0.0.1", "portValue": 1}},
            "filterChains": [{"filters": [{"name": "hcm", "typedConfig": manager}]}],
        });
        let schema = config::json::Converter::new().unwrap();
        let body = schema.text_to_bytes("envoy.config.listener.v3.Listener", &listener.to_string()).unwrap();
        let parsed = parse_listener(&body.into(), None).unwrap();
        let Handler::Http(manager) = &parsed.value.chains[0].handler else { panic!("{parsed:?}") };
        let Routes::Inline(routes) = &manager.routes else { panic!("not inline") };
        let registry = Registry::new(1);
        let clusters = Clusters::new(Arc::clone(&registry), tokio::runtime::Handle::current());
        let sinks = Sinks::new(&registry, Default::default());
        let shared = Shared::new(clusters, registry, sinks, Limits::default(), None);
        Self { chain: Chain::compile(&manager.filters, "s", &shared), table: Table::compile(routes), shared }
    }

    /// The answer of the filter itself, if it gives one, and what is left of the body.
    pub(super) async fn request(&self, flow: &mut HttpFlow, body: Body) -> (Option<Reply>, Body) {
        let (reply, body, _) = self.exchange(flow, body, Response::new(Body::Empty)).await;
        (reply, body)
    }

    /// The same, and what becomes of the upstream's answer.
    pub(super) async fn exchange(
        &self,
        flow: &mut HttpFlow,
        mut body: Body,
        mut response: Response<Body>,
    ) -> (Option<Reply>, Body, Response<Body>) {
        let matched = self.table.find(flow, &Env::default());
        let mut states = States::default();
        let route = RouteView::of(matched.as_ref(), &self.chain);
        let mut call = Call { flow, states: &mut states, route, shared: &self.shared };
        let reply = super::super::request(&self.chain, &mut call, &mut body).await;
        super::super::response(&self.chain, &mut call, &mut response);
        (reply, body, response)
    }
}
