//! Route configurations: who waits for them, what stays, who is asked.

use super::*;
use crate::model::hcm::{RouteRef, RouteSource};
use crate::snapshot::RouteEntry;

const ROUTES: &str = "envoy.config.route.v3.RouteConfiguration";
const HCM: &str = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager";

/// A listener whose chain has this manager.
fn listener(name: &str, version: &str, more: Value) -> Resource {
    let router = filter("router", "envoy.extensions.filters.http.router.v3.Router", json!({}));
    let mut manager = json!({"statPrefix": version, "httpFilters": [router]});
    testing::merge(&mut manager, more);
    let chains = json!([{"filters": [filter("hcm", HCM, manager)]}]);
    let body = json!({"name": name, "address": address("127.0.0.1", 1), "filterChains": chains});
    Resource { version: version.into(), ..resource(name, testing::listener(&body)) }
}

fn rds(route: &str) -> Value {
    json!({"rds": {"routeConfigName": route, "configSource": {"ads": {}}}})
}

fn routes(name: &str, version: &str) -> Resource {
    let hosts = json!([{"name": version, "domains": ["*"]}]);
    let body = testing::encode(ROUTES, &json!({"name": name, "virtualHosts": hosts}));
    Resource { version: version.into(), ..resource(name, body) }
}

fn bad(name: &str) -> Resource {
    let hosts = json!([{"name": "v", "domains": []}]);
    resource(name, testing::encode(ROUTES, &json!({"name": name, "virtualHosts": hosts})))
}

/// Something of Envoy's that can't be run.
fn foreign(name: &str) -> Resource {
    let vhds = json!({"configSource": {"ads": {}}});
    let body = testing::encode(ROUTES, &json!({"name": name, "vhds": vhds}));
    Resource { version: "2".into(), ..resource(name, body) }
}

fn key(name: &str) -> RouteRef {
    RouteRef { name: name.into(), source: RouteSource::Ads, initial_fetch_timeout: Duration::ZERO }
}

fn entry(store: &Store, name: &str) -> Option<Arc<RouteEntry>> {
    store.snapshot().routes.get(&key(name)).cloned()
}

/// The virtual host in force.
fn host(store: &Store, name: &str) -> Option<String> {
    Some(entry(store, name)?.config.as_ref().unwrap().virtual_hosts[0].name.to_string())
}

#[test]
fn a_listener_waits_for_its_routes() {
    let mut store = Store::default();
    let changes = good(&mut store, batch(Kind::Listener, vec![listener("l", "1", rds("r"))]));
    assert!(changes.is_empty() && store.snapshot().warming_listeners.contains_key("l"));
    assert_eq!(texts(&store.wanted(Kind::Route)), ["r"]);
    let changes = good(&mut store, batch(Kind::Route, vec![routes("r", "a")]));
    assert_eq!((texts(&changes.listeners), changes.routes.len()), (vec!["l"], 1));
    assert_eq!(host(&store, "r").as_deref(), Some("a"));

    // Another version changes the routes alone.
    let changes = good(&mut store, batch(Kind::Route, vec![routes("r", "b")]));
    assert_eq!((changes.listeners.len(), changes.routes.len()), (0, 1));
    assert_eq!(host(&store, "r").as_deref(), Some("b"));
    assert!(good(&mut store, batch(Kind::Route, vec![routes("r", "b")])).is_empty());
    // What is there is not waited for.
    assert_eq!(texts(&good(&mut store, batch(Kind::Listener, vec![listener("m", "1", rds("r"))])).listeners), ["m"]);
}

#[test]
fn a_successor_waits_while_its_predecessor_serves() {
    let mut store = Store::default();
    good(&mut store, batch(Kind::Listener, vec![listener("l", "1", rds("r"))]));
    good(&mut store, batch(Kind::Route, vec![routes("r", "a")]));
    assert!(good(&mut store, batch(Kind::Listener, vec![listener("l", "2", rds("s"))])).is_empty());
    assert_eq!(texts(&store.wanted(Kind::Route)), ["r", "s"]);
    let version = |store: &Store| store.snapshot().listeners.get("l").unwrap().source.version.to_string();
    assert_eq!(version(&store), "1");
    let changes = good(&mut store, batch(Kind::Route, vec![routes("s", "b")]));
    assert_eq!(version(&store), "2");
    // The old routes go with the old version.
    assert_eq!(changes.routes.iter().map(|route| &*route.name).collect::<Vec<_>>(), ["s", "r"]);
    assert_eq!((texts(&store.wanted(Kind::Route)), entry(&store, "r").is_none()), (vec!["s"], true));
}

#[test]
fn names_of_chains_that_are_taken_over_are_asked_for_too() {
    let mut store = Store::default();
    let more = |port: u16| {
        let router = filter("router", "envoy.extensions.filters.http.router.v3.Router", json!({}));
        let mut manager = json!({"statPrefix": "s", "httpFilters": [router]});
        testing::merge(&mut manager, rds("r"));
        let chains = json!([{"filters": [filter("hcm", HCM, manager)]}]);
        let body = json!({"name": "l", "address": address("127.0.0.1", port), "filterChains": chains});
        resource("l", testing::listener(&body))
    };
    good(&mut store, batch(Kind::Listener, vec![more(1)]));
    good(&mut store, batch(Kind::Route, vec![routes("r", "a")]));
    good(&mut store, batch(Kind::Listener, vec![more(2)]));
    assert_eq!((texts(&store.wanted(Kind::Route)), host(&store, "r").as_deref()), (vec!["r"], Some("a")));
}

#[test]
fn routes_that_do_not_come_or_are_bad_are_waited_for_no_more() {
    let mut store = Store::default();
    let mut impatient = rds("r");
    impatient["rds"]["configSource"]["initialFetchTimeout"] = "5s".into();
    good(&mut store, batch(Kind::Listener, vec![listener("l", "1", impatient)]));
    // That there is none ends no wait, as in Envoy.
    assert!(good(&mut store, removal(Kind::Route, &["r"])).is_empty());
    assert!(store.snapshot().warming_listeners.contains_key("l"));
    let due = store.next_deadline().unwrap();
    assert_eq!(texts(&store.expire_warming(due).changes.listeners), ["l"]);
    assert!(entry(&store, "r").is_none());

    good(&mut store, batch(Kind::Listener, vec![listener("m", "1", rds("s"))]));
    let applied = store.apply(batch(Kind::Route, vec![bad("s")]));
    assert_eq!(texts(&applied.changes.listeners), ["m"]);
    let [(name, _, rejection)] = &applied.rejected[..] else { panic!("{:?}", applied.rejected) };
    assert_eq!((&**name, rejection.path.to_string()), ("s", "virtual_hosts[0].domains".to_owned()));
    assert!(store.snapshot().rejected.contains_key(&(Kind::Route, "s".into())));
    good(&mut store, batch(Kind::Route, vec![routes("s", "a")]));
    assert!(store.snapshot().rejected.is_empty());
}

#[test]
fn the_last_good_version_stays() {
    let mut store = Store::default();
    good(&mut store, batch(Kind::Listener, vec![listener("l", "1", rds("r"))]));
    good(&mut store, batch(Kind::Route, vec![routes("r", "a")]));
    assert!(store.apply(batch(Kind::Route, vec![bad("r")])).changes.is_empty());
    assert_eq!(host(&store, "r").as_deref(), Some("a"));
    good(&mut store, batch(Kind::Route, vec![foreign("r")]));
    assert_eq!(host(&store, "r").as_deref(), Some("a"));
    assert!(entry(&store, "r").unwrap().held.is_some());
    assert_eq!(store.snapshot().counts().held, 1);
    // A removal is not heeded while they are in use, nor is what a complete response leaves out.
    assert!(good(&mut store, removal(Kind::Route, &["r"])).is_empty());
    assert!(good(&mut store, all(Kind::Route, vec![])).is_empty());
    assert_eq!(host(&store, "r").as_deref(), Some("a"));
    let changes = good(&mut store, removal(Kind::Listener, &["l"]));
    assert_eq!((changes.routes.len(), store.snapshot().routes.size()), (1, 0));
    assert!(store.wanted(Kind::Route).is_empty());
}

#[test]
fn routes_that_cannot_be_run_from_the_start_are_named() {
    let mut store = Store::default();
    good(&mut store, batch(Kind::Listener, vec![listener("l", "1", rds("r"))]));
    assert_eq!(texts(&good(&mut store, batch(Kind::Route, vec![foreign("r")])).listeners), ["l"]);
    let why = entry(&store, "r").unwrap().config.clone().unwrap_err();
    assert_eq!(why.path.to_string(), "vhds");
    let lines: Vec<String> = store.snapshot().findings().map(|finding| finding.to_string()).collect();
    assert_eq!(lines, ["route r: refuses its requests: vhds at vhds"]);
}

#[test]
fn files_of_routes_are_asked_for_by_name() {
    let mut store = Store::default();
    let source = json!({"pathConfigSource": {"path": "/etc/routes.yaml"}});
    let from_file = json!({"rds": {"routeConfigName": "r", "configSource": source}});
    good(&mut store, batch(Kind::Listener, vec![listener("l", "1", from_file)]));
    assert!(store.wanted(Kind::Route).is_empty());
    let [file] = &store.files()[..] else { panic!("not one file") };
    assert_eq!((file.kind, file.name.as_deref()), (Kind::Route, Some("r")));
    // The control plane's of the same name is another.
    assert!(good(&mut store, batch(Kind::Route, vec![routes("r", "ads")])).listeners.is_empty());
    let from = SecretSource::File { path: "/etc/routes.yaml".into(), watched_directory: None };
    let changes = good(&mut store, Batch { from, ..batch(Kind::Route, vec![routes("r", "file")]) });
    assert_eq!(texts(&changes.listeners), ["l"]);
}

#[test]
fn names_in_chains_that_cannot_be_run_are_asked_for_too() {
    let mut store = Store::default();
    let lua = filter("lua", "envoy.extensions.filters.http.lua.v3.Lua", json!({}));
    let router = filter("router", "envoy.extensions.filters.http.router.v3.Router", json!({}));
    let mut more = rds("r");
    testing::merge(&mut more, json!({"httpFilters": [lua, router]}));
    good(&mut store, batch(Kind::Listener, vec![listener("l", "1", more)]));
    assert_eq!(texts(&store.wanted(Kind::Route)), ["r"]);
}

#[test]
fn clusters_that_routes_of_their_own_name_are_there() {
    let to = |cluster: &str, validate: Value| {
        let route = json!({"match": {"prefix": "/"}, "route": {"cluster": cluster}});
        let hosts = json!([{"name": "v", "domains": ["*"], "routes": [route]}]);
        json!({"routeConfig": {"virtualHosts": hosts, "validateClusters": validate}})
    };
    let mut store = Store::default();
    good(&mut store, batch(Kind::Cluster, vec![eds("warming")]));
    for (cluster, validate, refused) in [
        ("warming", json!(null), false),
        ("nowhere", json!(false), false),
        ("nowhere", json!(null), true),
        ("nowhere", json!(true), true),
    ] {
        let applied = store.apply(batch(Kind::Listener, vec![listener(cluster, "1", to(cluster, validate))]));
        let reasons: Vec<_> = applied.rejected.iter().map(|(_, _, rejection)| rejection.to_string()).collect();
        let expected = "filter_chains[0].route_config: route: unknown cluster 'nowhere'".to_owned();
        assert_eq!(reasons, if refused { vec![expected] } else { vec![] });
    }
}
