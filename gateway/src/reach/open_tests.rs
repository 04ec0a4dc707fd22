//! What an edge lets through must never be told as refused.

use std::sync::Arc;

use config::model::tls::{PartialValidation, Pattern, SanKind, SanMatch, StringMatch, Validation};
use serde_json::{Value, json};

use super::ask::{Question, ask};
use super::edge::{Clients, ways};
use super::load::load;

/// A listener whose one chain denies the name `closed`.
fn bootstrap(inspects: bool) -> Value {
    let kind = |name: &str| format!("type.googleapis.com/envoy.extensions.filters.{name}");
    let inspector = json!({"name": "i", "typed_config": {"@type": kind("listener.tls_inspector.v3.TlsInspector")}});
    let policy =
        json!({"permissions": [{"requested_server_name": {"exact": "closed"}}], "principals": [{"any": true}]});
    let filters = json!([
        {"name": "r", "typed_config": {"@type": kind("network.rbac.v3.RBAC"), "stat_prefix": "r",
            "rules": {"action": "DENY", "policies": {"p": policy}}}},
        {"name": "d", "typed_config": {"@type": kind("network.direct_response.v3.Config"), "response": {"inline_string": "x"}}},
    ]);
    json!({"static_resources": {"listeners": [{"name": "l",
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": 1}},
        "listener_filters": if inspects { vec![inspector] } else { Vec::new() },
        "filter_chains": [{"filters": filters}]}]}})
}

/// The data path knows a server name only where it reads the ClientHello.
#[test]
fn a_name_that_nobody_reads_decides_nothing() {
    for inspects in [true, false] {
        let file = tempfile::Builder::new().suffix(".json").tempfile().unwrap();
        std::fs::write(file.path(), bootstrap(inspects).to_string()).unwrap();
        let loaded = load(file.path()).unwrap();
        assert!(loaded.refused.is_empty(), "{:?}", loaded.refused);
        let question = Question { identities: &[], name: "closed", alpn: &[], source: None };
        let answers = ask(&ways(&loaded.snapshot), &question).unwrap();
        assert_eq!(answers.iter().map(super::ask::Answer::is_yes).collect::<Vec<_>>(), [!inspects], "{answers:?}");
    }
}

#[test]
fn whoever_is_let_in_whatever_the_checks_say_is_told_so() {
    let anyone = PartialValidation::default().complete().unwrap();
    let matcher = StringMatch { pattern: Pattern::Exact("spiffe://a/b".into()), ignore_case: false };
    let names = [SanMatch { kind: SanKind::Uri, matcher }];
    let strict = Validation { subject_alt_names: names.into(), ..anyone };
    let admitted = |validation: &Validation| {
        let clients = Clients::Mutual { validation: Arc::new(validation.clone()), required: true };
        (clients.admit(&["spiffe://c/d".into()]).is_ok(), clients.to_string().contains("whatever"))
    };
    assert_eq!(admitted(&strict), (false, false));
    assert_eq!(admitted(&Validation { accept_untrusted: true, ..strict }), (true, true));
}
