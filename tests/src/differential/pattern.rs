//! Texts for patterns: some that match, some that nearly do.

use proptest::strategy::{Strategy, ValueTree};
use proptest::string::string_regex;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use serde_json::Value;

/// A text that matches this regex, the same for the same seed; printable, as far as the regex lets it be.
pub fn matching(regex: &str, seed: u8) -> String {
    // What any character will do for, does better with letters than with all of Unicode.
    let tame = regex.replace(".*", "[a-z]{0,8}").replace(".+", "[a-z]{1,8}").replace("[^/]", "[a-z0-9]");
    let mut bytes = [7; 32];
    bytes[0] = seed;
    let random = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let mut runner = TestRunner::new_with_rng(Config::default(), random);
    let tree = string_regex(&tame).ok().and_then(|strategy| strategy.new_tree(&mut runner).ok());
    tree.map_or_else(|| "abc".to_owned(), |tree| tree.current().chars().filter(char::is_ascii_graphic).collect())
}

/// What a StringMatcher takes, and what it nearly takes.
pub struct Texts {
    /// Taken.
    pub good: Vec<String>,
    /// Not taken, as a rule.
    pub bad: Vec<String>,
}

/// Of a StringMatcher.
pub fn texts(matcher: &Value) -> Texts {
    let field = |name: &str| matcher[name].as_str();
    let folded = matcher["ignore_case"] == true;
    let (good, bad) = if let Some(exact) = field("exact") {
        (vec![exact.to_owned()], vec![format!("{exact}x"), cut(exact), format!(" {exact},{exact}")])
    } else if let Some(start) = field("prefix") {
        (vec![start.to_owned(), format!("{start}more")], vec![cut(start), format!("x{start}")])
    } else if let Some(end) = field("suffix") {
        (vec![end.to_owned(), format!("more{end}")], vec![cut(end), format!("{end}x")])
    } else if let Some(part) = field("contains") {
        (vec![part.to_owned(), format!("a{part}b")], vec![cut(part)])
    } else if let Some(regex) = matcher["safe_regex"]["regex"].as_str() {
        let good = vec![matching(regex, 1), matching(regex, 2)];
        (good.clone(), vec![format!("{}!\"", good[0]), format!("!{}", good[0]), String::new()])
    } else {
        (vec!["anything".to_owned()], Vec::new())
    };
    let cased = good.iter().map(|text| text.to_ascii_uppercase()).filter(|text| !good.contains(text));
    let cased: Vec<_> = cased.collect();
    if folded {
        return Texts { good: good.iter().cloned().chain(cased).collect(), bad };
    }
    Texts { good, bad: bad.into_iter().chain(cased).collect() }
}

/// Without its last character.
pub fn cut(text: &str) -> String {
    let mut chars = text.chars();
    chars.next_back();
    chars.as_str().to_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn regexes_are_met() {
        assert!(matching("application/.*", 3).starts_with("application/"));
        assert_eq!(matching("/a[0-9]{3}", 1).len(), 5);
        assert_eq!(matching(".*sh", 9), matching(".*sh", 9));
        assert!(texts(&json!({"exact": "Ab", "ignore_case": true})).good.contains(&"AB".to_owned()));
    }
}
