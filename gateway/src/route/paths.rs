//! Which routes of a virtual host a path may lead to, in their order, without looking at the others.

use std::collections::BTreeMap;

use config::model::route::{PathMatch, Route};

use super::prefixes::{Case, Node, Prefixes};

/// Positions of routes, ascending.
type Positions = Box<[u32]>;

/// The index of one virtual host.
#[derive(Debug)]
pub(super) struct Paths {
    sensitive: Prefixes<Literal>,
    insensitive: Prefixes<Literal>,
    /// Expressions, templates, CONNECT: asked each time.
    others: Positions,
}

/// What a literal path stands for.
#[derive(Debug, Default)]
struct Literal {
    exact: Positions,
    prefix: Positions,
    separated: Positions,
}

#[derive(Default)]
struct Lists {
    exact: Vec<u32>,
    prefix: Vec<u32>,
    separated: Vec<u32>,
}

impl Paths {
    pub(super) fn new<'a>(routes: impl IntoIterator<Item = &'a Route>) -> Self {
        let (mut sensitive, mut insensitive) = (BTreeMap::<Box<[u8]>, Lists>::new(), BTreeMap::new());
        let mut others = Vec::new();
        for (at, route) in (0..).zip(routes) {
            let (text, pick): (_, fn(&mut Lists) -> &mut Vec<u32>) = match &route.matches.path {
                PathMatch::Exact(text) => (text, |lists| &mut lists.exact),
                PathMatch::Prefix(text) => (text, |lists| &mut lists.prefix),
                PathMatch::SeparatedPrefix(text) => (text, |lists| &mut lists.separated),
                PathMatch::Regex(_) | PathMatch::Template(_) | PathMatch::Connect => {
                    others.push(at);
                    continue;
                }
            };
            let lists = match route.matches.case_sensitive {
                true => sensitive.entry(text.as_bytes().into()).or_default(),
                false => insensitive.entry(text.to_ascii_lowercase().into_bytes().into()).or_default(),
            };
            pick(lists).push(at);
        }
        Self {
            sensitive: index(Case::Sensitive, sensitive),
            insensitive: index(Case::Insensitive, insensitive),
            others: others.into(),
        }
    }

    /// The routes whose path matches, as far as it is a literal one; `None`: a request without a path.
    pub(super) fn candidates<'a>(&'a self, path: Option<&'a [u8]>, steps: &mut u32) -> Candidates<'a> {
        let path = path.unwrap_or_default();
        Candidates {
            path,
            lists: [
                (&self.sensitive, self.sensitive.longest(path, steps)),
                (&self.insensitive, self.insensitive.longest(path, steps)),
            ],
            others: &self.others,
            next: 0,
        }
    }
}

fn index(case: Case, texts: BTreeMap<Box<[u8]>, Lists>) -> Prefixes<Literal> {
    let literal = |Lists { exact, prefix, separated }: Lists| Literal {
        exact: exact.into(),
        prefix: prefix.into(),
        separated: separated.into(),
    };
    Prefixes::new(case, texts.into_iter().map(|(text, lists)| (text, literal(lists))))
}

/// Positions of routes, ascending.
pub(super) struct Candidates<'a> {
    path: &'a [u8],
    lists: [(&'a Prefixes<Literal>, Option<&'a Node<Literal>>); 2],
    others: &'a [u32],
    next: u32,
}

impl Iterator for Candidates<'_> {
    type Item = u32;

    fn next(&mut self) -> Option<u32> {
        let mut best = first(self.others, self.next);
        for (index, deepest) in self.lists {
            let mut node = deepest;
            while let Some(at) = node {
                let rest = &self.path[at.text.len()..];
                let Literal { exact, prefix, separated } = &at.value;
                let whole = rest.is_empty();
                let separate = whole || rest.first() == Some(&b'/');
                let exact = first(exact, self.next).filter(|_| whole);
                let separated = first(separated, self.next).filter(|_| separate);
                let here = [best, exact, separated, first(prefix, self.next)];
                best = here.into_iter().flatten().min();
                node = index.parent(at);
            }
        }
        self.next = best?.checked_add(1)?;
        best
    }
}

/// The first that is not before `from`.
fn first(positions: &[u32], from: u32) -> Option<u32> {
    positions.get(positions.partition_point(|at| *at < from)).copied()
}
