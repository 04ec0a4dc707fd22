//! Which of many texts a text starts with: a sorted array, each text with the longest other one that it starts with.
//!
//! The longest is found by one binary search and the way up; all others are above it. Nothing is allocated.

use std::cmp::Ordering;

/// How texts are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Case {
    /// As they are.
    Sensitive,
    /// ASCII letters in either case; the index holds lower-case texts.
    Insensitive,
}

/// The index.
#[derive(Debug)]
pub(super) struct Prefixes<T> {
    case: Case,
    nodes: Box<[Node<T>]>,
}

/// A text and what stands for it.
#[derive(Debug)]
pub(super) struct Node<T> {
    pub(super) text: Box<[u8]>,
    pub(super) value: T,
    parent: Option<u32>,
}

impl<T> Prefixes<T> {
    /// An index of texts, each of which is there once; in lower case where case does not matter.
    pub(super) fn new(case: Case, texts: impl IntoIterator<Item = (Box<[u8]>, T)>) -> Self {
        let mut nodes: Vec<_> = texts.into_iter().map(|(text, value)| Node { text, value, parent: None }).collect();
        nodes.sort_unstable_by(|a, b| a.text.cmp(&b.text));
        let mut open: Vec<u32> = Vec::new();
        for at in 0..nodes.len() {
            while let Some(&last) = open.last()
                && !nodes[at].text.starts_with(&nodes[last as usize].text)
            {
                open.pop();
            }
            nodes[at].parent = open.last().copied();
            // Nobody has four billion routes in one virtual host.
            open.extend(u32::try_from(at));
        }
        Self { case, nodes: nodes.into() }
    }

    /// Nothing is in it.
    pub(super) fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// The longest text that `text` starts with. `steps` counts comparisons.
    pub(super) fn longest(&self, text: &[u8], steps: &mut u32) -> Option<&Node<T>> {
        let after = self.nodes.partition_point(|node| {
            *steps += 1;
            self.compare(&node.text, text) != Ordering::Greater
        });
        let mut node = self.nodes.get(after.checked_sub(1)?)?;
        loop {
            *steps += 1;
            if self.starts_with(text, &node.text) {
                return Some(node);
            }
            node = self.parent(node)?;
        }
    }

    /// The longest shorter text that this one starts with.
    pub(super) fn parent(&self, node: &Node<T>) -> Option<&Node<T>> {
        self.nodes.get(node.parent? as usize)
    }

    fn compare(&self, known: &[u8], text: &[u8]) -> Ordering {
        match self.case {
            Case::Sensitive => known.cmp(text),
            Case::Insensitive => known.iter().copied().cmp(text.iter().map(u8::to_ascii_lowercase)),
        }
    }

    fn starts_with(&self, text: &[u8], known: &[u8]) -> bool {
        match self.case {
            Case::Sensitive => text.starts_with(known),
            Case::Insensitive => text.get(..known.len()).is_some_and(|head| head.eq_ignore_ascii_case(known)),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn index(case: Case, texts: &[&str]) -> Prefixes<()> {
        Prefixes::new(case, texts.iter().map(|text| (text.as_bytes().into(), ())))
    }

    fn all(prefixes: &Prefixes<()>, text: &str) -> Vec<String> {
        let mut found = Vec::new();
        let mut next = prefixes.longest(text.as_bytes(), &mut 0);
        while let Some(node) = next {
            found.push(String::from_utf8_lossy(&node.text).into_owned());
            next = prefixes.parent(node);
        }
        found
    }

    #[test]
    fn the_longest_and_all_above_it() {
        let prefixes = index(Case::Sensitive, &["/", "/a", "/a/b", "/ab", "/b"]);
        assert_eq!(all(&prefixes, "/a/b/c"), ["/a/b", "/a", "/"]);
        assert_eq!(all(&prefixes, "/a/c"), ["/a", "/"]);
        assert_eq!(all(&prefixes, "/z"), ["/"]);
        assert!(all(&prefixes, "x").is_empty() && all(&index(Case::Sensitive, &[]), "x").is_empty());
    }

    #[test]
    fn case_may_not_matter() {
        assert_eq!(all(&index(Case::Insensitive, &["/a", "/a/b"]), "/A/Bc"), ["/a/b", "/a"]);
        assert!(all(&index(Case::Sensitive, &["/a"]), "/A").is_empty());
    }

    #[test]
    fn many_texts_cost_few_comparisons() {
        let texts: Vec<String> = (0..10_000).map(|n| format!("/service-{n:05}/")).collect();
        let prefixes = Prefixes::new(Case::Sensitive, texts.iter().map(|text| (text.as_bytes().into(), ())));
        let mut steps = 0;
        assert!(prefixes.longest(b"/service-07777/x", &mut steps).is_some());
        assert!(steps < 20, "{steps}");
    }

    proptest! {
        #[test]
        fn as_a_plain_search_finds(texts in prop::collection::btree_set("[ab]{0,4}", 0..12), text in "[abAB]{0,6}") {
            for case in [Case::Sensitive, Case::Insensitive] {
                let known: Vec<&str> = texts.iter().map(String::as_str).collect();
                let folded = if case == Case::Insensitive { text.to_ascii_lowercase() } else { text.clone() };
                let mut expected: Vec<&str> = known.iter().copied().filter(|t| folded.starts_with(t)).collect();
                expected.sort_by_key(|t| std::cmp::Reverse(t.len()));
                prop_assert_eq!(all(&index(case, &known), &text), expected);
            }
        }
    }
}
