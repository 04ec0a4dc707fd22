//! `matcher_tree.custom_match`: address ranges and domains.

use std::collections::HashSet;

use envoy_types::pb::envoy::config::core::v3::CidrRange;
use envoy_types::pb::xds::core::v3::TypedExtensionConfig;

use super::{Reader, at_least};
use crate::model::chain::proto::matching;
use crate::model::extension;
use crate::model::matcher::{Domains, IpRange, OnMatch, TreeKind};
use crate::reject::{Context, Rejection};

/// The messages of `xds/type/matcher/v3/{ip,domain}.proto`, which envoy-types leaves out.
mod wire {
    use envoy_types::pb::xds::core::v3::CidrRange;
    use envoy_types::pb::xds::r#type::matcher::v3::matcher::OnMatch;

    /// `IPMatcher`.
    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct IpMatcher {
        #[prost(message, repeated, tag = "1")]
        pub(super) range_matchers: Vec<IpRangeMatcher>,
    }

    /// `IPMatcher.IPRangeMatcher`.
    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct IpRangeMatcher {
        #[prost(message, repeated, tag = "1")]
        pub(super) ranges: Vec<CidrRange>,
        #[prost(message, optional, tag = "2")]
        pub(super) on_match: Option<OnMatch>,
        #[prost(bool, tag = "3")]
        pub(super) exclusive: bool,
    }

    /// `ServerNameMatcher`.
    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct ServerNameMatcher {
        #[prost(message, repeated, tag = "1")]
        pub(super) domain_matchers: Vec<DomainMatcher>,
    }

    /// `ServerNameMatcher.DomainMatcher`.
    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct DomainMatcher {
        #[prost(string, repeated, tag = "1")]
        pub(super) domains: Vec<String>,
        #[prost(message, optional, tag = "2")]
        pub(super) on_match: Option<OnMatch>,
    }
}

impl<A, I> Reader<'_, A, I> {
    /// Converts a custom tree; one that Envoy does not know either is refused.
    pub(super) fn custom(
        &mut self,
        cx: &mut Context,
        TypedExtensionConfig { name, typed_config }: TypedExtensionConfig,
    ) -> Result<TreeKind<A, I>, Rejection> {
        let (type_name, body) = extension::required(cx, &name, typed_config)?;
        match &*type_name {
            "xds.type.matcher.v3.IPMatcher" => {
                cx.at("typed_config", |cx| self.deeper(cx, |reader, cx| reader.ip(cx, &body)))
            }
            "xds.type.matcher.v3.ServerNameMatcher" => {
                cx.at("typed_config", |cx| self.deeper(cx, |reader, cx| reader.domains(cx, &body)))
            }
            _ => Err(extension::unknown(cx, &name, &type_name)),
        }
    }

    fn ip(&mut self, cx: &mut Context, body: &[u8]) -> Result<TreeKind<A, I>, Rejection> {
        let wire::IpMatcher { range_matchers } = cx.decode(body)?;
        let mut ranges = Vec::new();
        let mut index = 0..;
        let outcomes = cx.each("range_matchers", range_matchers, |cx, matcher| {
            let wire::IpRangeMatcher { ranges: of_matcher, on_match, exclusive } = matcher;
            let outcome = index.next().unwrap_or(usize::MAX);
            at_least(cx, "ranges", of_matcher.len(), 1)?;
            let converted = cx.each("ranges", of_matcher, |cx, range| {
                let envoy_types::pb::xds::core::v3::CidrRange { address_prefix, prefix_len } = range;
                let length = prefix_len.as_ref().map_or(0, |length| length.value);
                let range = matching::cidr(cx, CidrRange { address_prefix, prefix_len })?;
                Ok((length, IpRange { range, exclusive, outcome }))
            })?;
            ranges.extend(converted);
            self.required_on_match(cx, on_match)
        })?;
        // Envoy goes by the length as written, beyond the address' own too.
        ranges.sort_by_key(|(length, range)| (std::cmp::Reverse(*length), range.outcome));
        Ok(TreeKind::Ip { ranges: ranges.into_iter().map(|(_, range)| range).collect(), outcomes })
    }

    fn domains(&mut self, cx: &mut Context, body: &[u8]) -> Result<TreeKind<A, I>, Rejection> {
        let wire::ServerNameMatcher { domain_matchers } = cx.decode(body)?;
        let mut seen = HashSet::new();
        let (mut exact, mut wildcards, mut any) = (Vec::new(), Vec::new(), None);
        let mut index = 0..;
        let outcomes = cx.each("domain_matchers", domain_matchers, |cx, matcher| {
            let wire::DomainMatcher { domains, on_match } = matcher;
            let outcome = index.next().unwrap_or(usize::MAX);
            at_least(cx, "domains", domains.len(), 1)?;
            cx.each("domains", domains, |cx, domain| {
                if !seen.insert(domain.clone()) {
                    return Err(cx.reject("", format!("Duplicate domain in ServerNameMatcher: {domain}")));
                }
                match parse_domain(&domain) {
                    Some(Domain::Any) => any = any.or(Some(outcome)),
                    Some(Domain::Wildcard(suffix)) => wildcards.push((Box::<str>::from(suffix), outcome)),
                    Some(Domain::Exact(name)) => exact.push((Box::<str>::from(name), outcome)),
                    None => return Err(cx.reject("", format!("Invalid wildcard domain format: {domain}"))),
                }
                Ok(())
            })?;
            self.required_on_match(cx, on_match)
        })?;
        exact.sort_unstable();
        wildcards.sort_unstable();
        Ok(TreeKind::Domains(Domains { exact: exact.into(), wildcards: wildcards.into(), any, outcomes }))
    }

    fn required_on_match(
        &mut self,
        cx: &mut Context,
        on_match: Option<envoy_types::pb::xds::r#type::matcher::v3::matcher::OnMatch>,
    ) -> Result<OnMatch<A, I>, Rejection> {
        // Envoy reads an absent one without looking; it is refused here.
        let on_match = cx.required("on_match", on_match)?;
        cx.at("on_match", |cx| self.on_match(cx, on_match))
    }
}

enum Domain<'a> {
    Any,
    Wildcard(&'a str),
    Exact(&'a str),
}

fn parse_domain(domain: &str) -> Option<Domain<'_>> {
    match domain.strip_prefix("*.") {
        _ if domain == "*" => Some(Domain::Any),
        Some(suffix) if !suffix.is_empty() && !suffix.contains('*') => Some(Domain::Wildcard(suffix)),
        None if !domain.is_empty() && !domain.contains('*') => Some(Domain::Exact(domain)),
        _ => None,
    }
}
