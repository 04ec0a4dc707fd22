use std::sync::Arc;

use config::model::access_log::{Format, JsonNode, Operator as Op, Piece, Template};
use config::model::chain::NetworkFilter;
use config::model::rbac::{Effect, Policies, Policy, Rbac, Rule};

use super::super::flow::Flow;
use super::super::value::Subject;
use super::super::{LogType, format};
use super::flow;
use crate::error::CloseReason;
use crate::metrics::Registry;
use crate::rbac::{Facts, Gate};

/// A connection that shadow rules would have let through, and that those in force did not.
fn denied() -> Flow {
    let rules = |effect| Policies::Rules {
        effect,
        policies: [Policy { name: "a b".into(), permissions: [Rule::Any].into(), principals: [Rule::Any].into() }]
            .into(),
    };
    let rbac = Rbac {
        stat_prefix: "x".into(),
        shadow_prefix: "".into(),
        enforced: Some(rules(Effect::Deny)),
        shadow: Some(rules(Effect::Allow)),
        delay_deny: None,
    };
    let gate = Gate::new(&[NetworkFilter::Rbac(Arc::new(rbac))], &Registry::new(1));
    let mut flow = flow();
    flow.ruling = Some(Box::new(gate.rule(&Facts::default())));
    flow.close = Some(CloseReason::RbacDenied);
    flow
}

fn noted(text: &str) -> Op {
    match Template::parse(&format!("%DYNAMIC_METADATA({text})%")).unwrap().0.into_vec().pop() {
        Some(Piece::Operator { operator, .. }) => operator,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_denial_as_envoy_wrote_it() {
    let flow = denied();
    let rows = [
        (Op::ConnectionTerminationDetails, "rbac_access_denied_matched_policy[a_b]", None),
        (noted("envoy.filters.network.rbac:shadow_effective_policy_id"), "a b", None),
        (
            noted("envoy.filters.network.rbac"),
            r#"{"shadow_effective_policy_id":"a b","shadow_engine_result":"allowed"}"#,
            Some(r#"{"k":{"shadow_effective_policy_id":"a b","shadow_engine_result":"allowed"}}"#),
        ),
        (noted("envoy.common:access_log_hint"), "-", Some(r#"{"k":null}"#)),
        (Op::RbacPolicy, "a b", None),
        (Op::CloseReason, "rbac_denied", None),
        (Op::ResponseFlags, "-", None),
    ];
    for (operator, text, json) in rows {
        let template = Template([Piece::Operator { operator: operator.clone(), max_length: None }].into());
        let subject = Subject::of_connection(&flow, LogType::NotSet, "vm");
        let fields = [("k".into(), JsonNode::Template(template.clone()))].into();
        assert_eq!(format::line(&Format::Text(template), false, &subject).trim_end(), text, "{operator:?}");
        let json = json.map_or_else(|| format!(r#"{{"k":{}}}"#, serde_json::json!(text)), str::to_owned);
        if text != "-" || operator != Op::ResponseFlags {
            assert_eq!(format::line(&Format::Json(fields), false, &subject).trim_end(), json, "{operator:?}");
        }
    }
}
