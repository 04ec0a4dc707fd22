//! From `xds.type.matcher.v3.Matcher`.

mod custom;
mod inputs;
pub(crate) mod text;

use envoy_types::pb::xds::core::v3::TypedExtensionConfig;
use envoy_types::pb::xds::r#type::matcher::v3 as pb;
use pb::matcher::matcher_list::predicate::{MatchType, PredicateList, SinglePredicate, single_predicate};
use pb::matcher::matcher_list::{self, Predicate as PbPredicate};
use pb::matcher::{MatcherType, matcher_tree, on_match};

use super::{FieldMatcher, HttpInput, Map, Matcher, MatcherKind, OnMatch, Predicate, Then, Tree, TreeKind};
use crate::model::extension;
use crate::reject::{Context, Rejection, Unsupported};

/// How deep matchers may nest; prost bounds it too, but begins anew in every `Any`.
const MAX_DEPTH: usize = 32;

/// Converts an action: its type name, its body, the extension's name.
pub(crate) type ActionReader<'a, A> =
    &'a mut dyn FnMut(&mut Context, (&str, &[u8]), &str) -> Result<Result<A, Unsupported>, Rejection>;

/// Converts an input. The inner error: it can't be had here.
type InputReader<'a, I> = &'a dyn Fn(&mut Context, TypedExtensionConfig) -> Result<Result<I, Unsupported>, Rejection>;

/// Converts matchers with one kind of action.
pub(crate) struct Reader<'a, A, I> {
    action: ActionReader<'a, A>,
    input: InputReader<'a, I>,
    /// The first part that can't be evaluated here.
    unsupported: Option<Unsupported>,
    depth: usize,
}

/// Converts the matcher of a network filter. Envoy takes no `keep_matching` there.
///
/// The inner error: a part of it can't be evaluated here.
pub(crate) fn network<A>(
    cx: &mut Context,
    filter: &'static str,
    action: ActionReader<'_, A>,
    matcher: pb::Matcher,
) -> Result<Result<Matcher<A>, Unsupported>, Rejection> {
    let input = |cx: &mut Context, config| inputs::network(cx, filter, config);
    Reader { action, input: &input, unsupported: None, depth: MAX_DEPTH }.read(cx, matcher)
}

/// Converts the matcher of an HTTP filter. Where `only_requests` names the filter, it may look at requests alone.
///
/// The inner error: a part of it can't be evaluated here.
pub(crate) fn http<A>(
    cx: &mut Context,
    only_requests: Option<&'static str>,
    action: ActionReader<'_, A>,
    matcher: pb::Matcher,
) -> Result<Result<Matcher<A, HttpInput>, Unsupported>, Rejection> {
    let input = |cx: &mut Context, config| inputs::http(cx, only_requests, config);
    Reader { action, input: &input, unsupported: None, depth: MAX_DEPTH }.read(cx, matcher)
}

impl<A, I> Reader<'_, A, I> {
    fn read(mut self, cx: &mut Context, matcher: pb::Matcher) -> Result<Result<Matcher<A, I>, Unsupported>, Rejection> {
        let matcher = self.matcher(cx, matcher)?;
        Ok(self.unsupported.map_or(Ok(matcher), Err))
    }

    fn deeper<T>(
        &mut self,
        cx: &mut Context,
        then: impl FnOnce(&mut Self, &mut Context) -> Result<T, Rejection>,
    ) -> Result<T, Rejection> {
        self.depth = self.depth.checked_sub(1).ok_or_else(|| cx.reject("", "nested too deep"))?;
        let result = then(self, cx);
        self.depth += 1;
        result
    }

    /// Notes that a part can't be evaluated.
    fn cannot(&mut self, unsupported: Unsupported) {
        self.unsupported.get_or_insert(unsupported);
    }

    fn matcher(&mut self, cx: &mut Context, matcher: pb::Matcher) -> Result<Matcher<A, I>, Rejection> {
        let pb::Matcher { on_no_match, matcher_type } = matcher;
        let kind = match matcher_type {
            None => MatcherKind::None,
            Some(MatcherType::MatcherList(list)) => {
                MatcherKind::List(cx.at("matcher_list", |cx| self.deeper(cx, |r, cx| r.list(cx, list)))?)
            }
            Some(MatcherType::MatcherTree(tree)) => {
                cx.at("matcher_tree", |cx| self.deeper(cx, |r, cx| r.tree(cx, tree)))?
            }
        };
        let on_no_match = match on_no_match {
            None => None,
            Some(otherwise) => Some(cx.at("on_no_match", |cx| self.deeper(cx, |r, cx| r.on_match(cx, *otherwise)))?),
        };
        Ok(Matcher { kind, on_no_match })
    }

    fn list(
        &mut self,
        cx: &mut Context,
        pb::matcher::MatcherList { matchers }: pb::matcher::MatcherList,
    ) -> Result<Box<[FieldMatcher<A, I>]>, Rejection> {
        at_least(cx, "matchers", matchers.len(), 1)?;
        cx.each("matchers", matchers, |cx, matcher_list::FieldMatcher { predicate, on_match }| {
            let predicate = cx.required("predicate", predicate)?;
            let on_match = cx.required("on_match", on_match)?;
            Ok(FieldMatcher {
                predicate: cx.at("predicate", |cx| self.predicate(cx, predicate))?,
                on_match: cx.at("on_match", |cx| self.on_match(cx, on_match))?,
            })
        })
    }

    fn predicate(
        &mut self,
        cx: &mut Context,
        PbPredicate { match_type }: PbPredicate,
    ) -> Result<Predicate<I>, Rejection> {
        let several = |cx: &mut Context, reader: &mut Self, PredicateList { predicate }: PredicateList| {
            at_least(cx, "predicate", predicate.len(), 2)?;
            cx.each("predicate", predicate, |cx, one| reader.deeper(cx, |r, cx| r.predicate(cx, one)))
        };
        Ok(match cx.required("match_type", match_type)? {
            MatchType::SinglePredicate(single) => cx.at("single_predicate", |cx| self.single(cx, single))?,
            MatchType::OrMatcher(list) => Predicate::Or(cx.at("or_matcher", |cx| several(cx, self, list))?),
            MatchType::AndMatcher(list) => Predicate::And(cx.at("and_matcher", |cx| several(cx, self, list))?),
            MatchType::NotMatcher(inner) => {
                let inner = cx.at("not_matcher", |cx| self.deeper(cx, |r, cx| r.predicate(cx, *inner)))?;
                Predicate::Not(Box::new(inner))
            }
        })
    }

    fn single(&mut self, cx: &mut Context, single: SinglePredicate) -> Result<Predicate<I>, Rejection> {
        let SinglePredicate { input, matcher } = single;
        let input = cx.required("input", input)?;
        let input = cx.at("input", |cx| self.input(cx, input))?;
        let text = match cx.required("matcher", matcher)? {
            single_predicate::Matcher::ValueMatch(text) => cx.at("value_match", |cx| text::xds(cx, text))?,
            single_predicate::Matcher::CustomMatch(config) => {
                Err(cx.at("custom_match", |cx| inputs::custom_match(cx, config))?)
            }
        };
        match (input, text) {
            (Some(input), Ok(text)) => Ok(Predicate::Single(input, text)),
            (_, Err(unsupported)) => {
                self.cannot(unsupported);
                Ok(Predicate::Or(Box::default()))
            }
            (None, Ok(_)) => Ok(Predicate::Or(Box::default())),
        }
    }

    /// `None`: it can't be had here, which is noted.
    fn input(&mut self, cx: &mut Context, config: TypedExtensionConfig) -> Result<Option<I>, Rejection> {
        Ok(match (self.input)(cx, config)? {
            Ok(input) => Some(input),
            Err(unsupported) => {
                self.cannot(unsupported);
                None
            }
        })
    }

    fn on_match(
        &mut self,
        cx: &mut Context,
        pb::matcher::OnMatch { keep_matching, on_match }: pb::matcher::OnMatch,
    ) -> Result<OnMatch<A, I>, Rejection> {
        if keep_matching {
            return Err(cx.reject("keep_matching", "keep_matching is not supported in this context"));
        }
        let then = match cx.required("on_match", on_match)? {
            on_match::OnMatch::Matcher(matcher) => {
                let matcher = cx.at("matcher", |cx| self.deeper(cx, |r, cx| r.matcher(cx, *matcher)))?;
                Then::Matcher(Box::new(matcher))
            }
            on_match::OnMatch::Action(TypedExtensionConfig { name, typed_config }) => {
                match cx.at("action", |cx| {
                    let (type_name, body) = extension::required(cx, &name, typed_config)?;
                    (self.action)(cx, (&type_name, &body), &name)
                })? {
                    Ok(action) => Then::Action(action),
                    Err(unsupported) => {
                        self.cannot(unsupported);
                        Then::Matcher(Box::new(Matcher { kind: MatcherKind::None, on_no_match: None }))
                    }
                }
            }
        };
        Ok(OnMatch { then, keep_matching })
    }

    fn tree(
        &mut self,
        cx: &mut Context,
        pb::matcher::MatcherTree { input, tree_type }: pb::matcher::MatcherTree,
    ) -> Result<MatcherKind<A, I>, Rejection> {
        let input = cx.required("input", input)?;
        let input = cx.at("input", |cx| self.input(cx, input))?;
        let kind = match cx.required("tree_type", tree_type)? {
            matcher_tree::TreeType::ExactMatchMap(map) => {
                TreeKind::Exact(cx.at("exact_match_map", |cx| self.map(cx, map))?)
            }
            matcher_tree::TreeType::PrefixMatchMap(map) => {
                TreeKind::Prefix(cx.at("prefix_match_map", |cx| self.map(cx, map))?)
            }
            matcher_tree::TreeType::CustomMatch(config) => cx.at("custom_match", |cx| self.custom(cx, config))?,
        };
        Ok(match input {
            Some(input) => MatcherKind::Tree(Tree { input, kind }),
            None => MatcherKind::None,
        })
    }

    fn map(
        &mut self,
        cx: &mut Context,
        pb::matcher::matcher_tree::MatchMap { map }: pb::matcher::matcher_tree::MatchMap,
    ) -> Result<Map<A, I>, Rejection> {
        at_least(cx, "map", map.len(), 1)?;
        let mut entries: Vec<_> = map.into_iter().collect();
        entries.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        let convert = |(key, on_match): (String, _)| {
            let on_match = cx.key("map", &key, |cx| self.on_match(cx, on_match))?;
            Ok((key.into_boxed_str(), on_match))
        };
        entries.into_iter().map(convert).collect()
    }
}

/// A repeated field or map with too few entries.
pub(crate) fn at_least(cx: &Context, field: &str, have: usize, need: usize) -> Result<(), Rejection> {
    if have >= need { Ok(()) } else { Err(cx.reject(field, format!("value must contain at least {need} item(s)"))) }
}
