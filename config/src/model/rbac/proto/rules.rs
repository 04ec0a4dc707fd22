//! `config.rbac.v3.RBAC`: policies with permissions and principals.
#![allow(deprecated)] // Envoy still honours the fields it deprecates

mod metadata;
mod principal;

use envoy_types::pb::envoy::config::rbac::v3 as pb;
use envoy_types::pb::envoy::config::route::v3::HeaderMatcher;
use envoy_types::pb::envoy::r#type::matcher::v3::{PathMatcher, path_matcher};
use envoy_types::pb::envoy::r#type::v3::Int32Range;
use pb::permission::Rule as PbRule;
use pb::rbac::AuditLoggingOptions;

use super::{all, name};
use crate::model::chain::proto::matching::cidr;
use crate::model::extension;
use crate::model::matcher::proto::{at_least, text};
use crate::model::metadata::proto::Interner;
use crate::model::rbac::{Policies, Policy, Rule};
use crate::model::route::proto::{header_match, path_template};
use crate::reject::{Context, IsSet, Rejection, Unsupported, immaterial};

/// A part of the configuration; the inner error: it can't be evaluated here.
type Converted<T> = Result<Result<T, Unsupported>, Rejection>;

/// How deep rules may nest; prost bounds it too.
const MAX_DEPTH: usize = 64;

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Layer {
    /// A network filter, of a connection.
    Network,
    /// An HTTP filter, of a request.
    Http,
}

/// Where a rule stands.
#[derive(Clone, Copy, Debug)]
struct At {
    layer: Layer,
    /// How much deeper it may go.
    depth: usize,
}

/// Converts a rule set.
pub(super) fn rules<I>(
    cx: &mut Context,
    interner: &mut Interner,
    layer: Layer,
    pb::Rbac { action, policies, audit_logging_options }: pb::Rbac,
) -> Converted<Policies<I>> {
    let effect =
        super::effect(action).ok_or_else(|| cx.reject("action", "value must be one of the defined enum values"))?;
    if let Some(AuditLoggingOptions { audit_condition, logger_configs }) = audit_logging_options {
        cx.at("audit_logging_options", |cx| {
            cx.variant::<pb::rbac::audit_logging_options::AuditCondition>("audit_condition", audit_condition)?;
            immaterial(logger_configs, "reported as a whole");
            Ok(())
        })?;
        cx.note("audit_logging_options", "no audit log is written, as in Envoy; access logs name the policy");
    }
    let mut sorted: Vec<_> = policies.into_iter().collect();
    sorted.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
    let converted: Result<Box<[_]>, _> = sorted
        .into_iter()
        .map(|(key, policy)| cx.key("policies", &key, |cx| self::policy(cx, interner, (&key, layer), policy)))
        .collect();
    Ok(all(converted?).map(|policies| Policies::Rules { effect, policies }))
}

fn policy(
    cx: &mut Context,
    interner: &mut Interner,
    (key, layer): (&str, Layer),
    pb::Policy { permissions, principals, condition, checked_condition, cel_config }: pb::Policy,
) -> Converted<Policy> {
    at_least(cx, "permissions", permissions.len(), 1)?;
    at_least(cx, "principals", principals.len(), 1)?;
    let top = At { layer, depth: MAX_DEPTH };
    let permissions = cx.each("permissions", permissions, |cx, one| permission(cx, one, top))?;
    let principals = cx.each("principals", principals, |cx, one| principal::principal(cx, one, top))?;
    if condition.is_set() || checked_condition.is_set() {
        return Ok(Err(cx.unsupported("condition", "a CEL condition")));
    }
    immaterial(cel_config, "goes with a condition");
    let both = all(permissions).and_then(|permissions| Ok((permissions, all(principals)?)));
    Ok(both.map(|(permissions, principals)| Policy { name: name(interner, key), permissions, principals }))
}

/// A header's rule, which Envoy takes from HTTP filters only.
fn header(cx: &mut Context, at: At, header: HeaderMatcher) -> Converted<Rule> {
    match at.layer {
        Layer::Network => Err(cx.reject("header", "Found header rule, not supported by RBAC network filter")),
        Layer::Http => {
            let header = cx.at("header", |cx| header_match(cx, header))?;
            Ok(header.map(|header| Rule::Header(Box::new(header))))
        }
    }
}

fn deeper(cx: &Context, at: At) -> Result<At, Rejection> {
    let depth = at.depth.checked_sub(1).ok_or_else(|| cx.reject("", "nested too deep"))?;
    Ok(At { depth, ..at })
}

fn permission(cx: &mut Context, pb::Permission { rule }: pb::Permission, at: At) -> Converted<Rule> {
    let at = deeper(cx, at)?;
    let set = |cx: &mut Context, pb::permission::Set { rules }: pb::permission::Set| {
        at_least(cx, "rules", rules.len(), 1)?;
        Ok(all(cx.each("rules", rules, |cx, one| permission(cx, one, at))?))
    };
    Ok(Ok(match cx.required("rule", rule)? {
        PbRule::AndRules(rules) => return Ok(cx.at("and_rules", |cx| set(cx, rules))?.map(Rule::And)),
        PbRule::OrRules(rules) => return Ok(cx.at("or_rules", |cx| set(cx, rules))?.map(Rule::Or)),
        PbRule::NotRule(rule) => {
            let rule = cx.at("not_rule", |cx| permission(cx, *rule, at))?;
            return Ok(rule.map(|rule| Rule::Not(Box::new(rule))));
        }
        PbRule::Any(any) => any_rule(cx, any)?,
        PbRule::Header(matcher) => return header(cx, at, matcher),
        PbRule::UrlPath(path) => return cx.at("url_path", |cx| url_path(cx, at, path)),
        PbRule::DestinationIp(range) => Rule::DestinationIp(cx.at("destination_ip", |cx| cidr(cx, range))?),
        PbRule::DestinationPort(port) => Rule::DestinationPort(cx.port("destination_port", port)?),
        PbRule::DestinationPortRange(range) => cx.at("destination_port_range", |cx| ports(cx, &range))?,
        PbRule::Metadata(matcher) => return cx.at("metadata", |cx| metadata::metadata(cx, at, matcher)),
        PbRule::SourcedMetadata(matcher) => return cx.at("sourced_metadata", |cx| metadata::sourced(cx, at, matcher)),
        PbRule::RequestedServerName(matcher) => {
            let matcher = cx.at("requested_server_name", |cx| text::envoy(cx, matcher))?;
            return Ok(matcher.map(Rule::ServerName));
        }
        PbRule::Matcher(config) => {
            return cx
                .at("matcher", |cx| foreign(cx, &config.name, config.typed_config, "envoy.extensions.rbac.matchers."));
        }
        PbRule::UriTemplate(config) if at.layer == Layer::Http => {
            let template = cx.at("uri_template", |cx| path_template(cx, config))?;
            return Ok(template.map(|template| Rule::UriTemplate(Box::new(template))));
        }
        PbRule::UriTemplate(config) => {
            return cx.at("uri_template", |cx| {
                foreign(cx, &config.name, config.typed_config, "envoy.extensions.path.match.")
            });
        }
    }))
}

fn any_rule(cx: &Context, any: bool) -> Result<Rule, Rejection> {
    if any { Ok(Rule::Any) } else { Err(cx.reject("any", "value must equal true")) }
}

/// A connection has no path, so that it never matches; the matcher must be well-formed.
fn url_path(cx: &mut Context, at: At, PathMatcher { rule }: PathMatcher) -> Converted<Rule> {
    let path_matcher::Rule::Path(path) = cx.required("rule", rule)?;
    Ok(cx.at("path", |cx| text::envoy(cx, path))?.map(|text| match at.layer {
        Layer::Network => Rule::Never,
        Layer::Http => Rule::UrlPath(text),
    }))
}

fn ports(cx: &Context, Int32Range { start, end }: &Int32Range) -> Result<Rule, Rejection> {
    let bound = |field, value: &i32| match u32::try_from(*value) {
        Ok(value @ 0..=65_536) => Ok(value),
        _ => Err(cx.reject(field, format!("range {field} {value} is out of bounds"))),
    };
    let (from, to) = (bound("start", start)?, bound("end", end)?);
    match from < to {
        true => Ok(Rule::DestinationPorts(from, to)),
        false => Err(cx.reject("", format!("range start {from} cannot be greater or equal than range end {to}"))),
    }
}

/// An extension: known to Envoy by its package, else refused. None of them runs here.
fn foreign(
    cx: &Context,
    name: &str,
    config: Option<envoy_types::pb::google::protobuf::Any>,
    package: &str,
) -> Converted<Rule> {
    let (type_name, _body) = extension::required(cx, name, config)?;
    match type_name.starts_with(package) {
        true => Ok(Err(cx.unsupported("typed_config", &type_name))),
        false => Err(extension::unknown(cx, name, &type_name)),
    }
}
