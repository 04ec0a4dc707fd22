//! Permissions as a list of rules of which the first that applies decides: what RBAC filters come to, whichever form
//! they have.
//!
//! A matching tree is flattened: what stands below a predicate becomes rules that ask for the predicate too, and where
//! a branch leads nowhere the rules behind it have their turn, as in the tree.

use std::rc::Rc;
use std::sync::Arc;

use config::model::chain::Cidr;
use config::model::matcher::{
    Domains, FieldMatcher, Input, IpRange, Matcher, MatcherKind, OnMatch, Predicate, TextMatch, TextPattern, Then,
    Tree, TreeKind,
};
use config::model::rbac::{Action, Effect, Policies, Policy, Rule as Term};
use proxy::rbac::Facts;

use super::condition::{Condition, Side};

/// One rule.
#[derive(Clone, Debug)]
pub(super) struct Rule {
    /// When it applies, unless one before it did.
    pub(super) when: Rc<Condition>,
    /// What it says then.
    pub(super) allow: bool,
    /// The policies behind it; empty: none, it is what holds otherwise.
    pub(super) policy: Option<Arc<str>>,
}

/// Rules in order; the last applies always.
#[derive(Clone, Debug)]
pub(super) struct Rules(pub(super) Vec<Rule>);

impl Rules {
    /// Those of all RBAC filters of a chain together: each has to allow. `tls`: the chain ends TLS, so that clients
    /// have an identity.
    pub(super) fn of<'a>(enforced: impl IntoIterator<Item = &'a Policies>, tls: bool) -> Self {
        let lists: Vec<Self> = enforced.into_iter().map(|policies| Self::of_policies(policies, tls)).collect();
        lists.into_iter().reduce(|first, second| first.then(&second)).unwrap_or_else(Self::open)
    }

    /// Everybody may.
    fn open() -> Self {
        Self(vec![Rule { when: Condition::always(), allow: true, policy: None }])
    }

    /// Which rule decides.
    pub(super) fn decide(&self, facts: &Facts<'_>) -> Option<&Rule> {
        self.0.iter().find(|rule| rule.when.holds(facts))
    }

    /// Both have to allow.
    fn then(self, second: &Self) -> Self {
        let mut rules = Vec::new();
        for first in self.0 {
            if !first.allow {
                rules.push(first);
                continue;
            }
            rules.extend(second.0.iter().map(|rule| Rule { when: first.when.and(&rule.when), ..rule.clone() }));
        }
        Self(rules)
    }

    fn of_policies(policies: &Policies, tls: bool) -> Self {
        let mut rules = Vec::new();
        match policies {
            Policies::Rules { effect: Effect::Log, .. } => return Self::open(),
            Policies::Rules { effect, policies } => {
                let allow = *effect == Effect::Allow;
                rules.extend(policies.iter().map(|policy| Rule {
                    when: met(policy),
                    allow,
                    policy: Some(Arc::clone(&policy.name)),
                }));
                rules.push(Rule { when: Condition::always(), allow: !allow, policy: None });
            }
            Policies::Tree(matcher) => {
                Flattened { rules: &mut rules, tls }.matcher(matcher, &Condition::always());
                rules.push(Rule { when: Condition::always(), allow: false, policy: None });
            }
        }
        Self(rules).shortened()
    }

    /// Without what can't apply, and what comes after a rule that always does.
    fn shortened(mut self) -> Self {
        self.0.retain(|rule| !rule.when.is_never());
        let end = self.0.iter().position(|rule| rule.when.is_always()).map_or(self.0.len(), |at| at + 1);
        self.0.truncate(end);
        self
    }

    /// Those that are left for connections whose server name is one of `names`.
    pub(super) fn settled(self, names: &[Arc<str>]) -> Self {
        let rules = self.0.into_iter().map(|rule| Rule { when: rule.when.settled(names), ..rule });
        Self(rules.collect()).shortened()
    }
}

/// One of the permissions and one of the principals.
fn met(policy: &Policy) -> Rc<Condition> {
    let one = |terms: &[Term]| Condition::any(terms.iter().map(term).collect());
    one(&policy.permissions).and(&one(&policy.principals))
}

fn term(term: &Term) -> Rc<Condition> {
    let all = |terms: &[Term]| terms.iter().map(self::term).collect::<Vec<_>>();
    match term {
        Term::Any => Condition::always(),
        Term::Never => Condition::never(),
        Term::And(terms) => all(terms).iter().fold(Condition::always(), |sum, one| sum.and(one)),
        Term::Or(terms) => Condition::any(all(terms)),
        Term::Not(inner) => self::term(inner).negated(),
        Term::DestinationIp(range) => Rc::new(Condition::Within(Side::Destination, *range)),
        Term::DestinationPort(port) => Rc::new(Condition::Port((*port).into(), u32::from(*port) + 1)),
        Term::DestinationPorts(from, to) => Rc::new(Condition::Port(*from, *to)),
        Term::ServerName(text) => Rc::new(Condition::Name(text.clone())),
        Term::Metadata(_) => Rc::new(Condition::Noted),
        Term::Authenticated(None) => Rc::new(Condition::Tls),
        Term::Authenticated(Some(text)) => Rc::new(Condition::Principal(text.clone())),
        // Of requests: no network filter has them.
        Term::Header(_) | Term::UrlPath(_) | Term::UriTemplate(_) | Term::HttpMetadata(_) => Condition::never(),
        Term::Verified => Rc::new(Condition::Verified),
        Term::RemoteIp(range) => Rc::new(Condition::Within(Side::Source, *range)),
        Term::DirectRemoteIp(range) => Rc::new(Condition::Within(Side::DirectSource, *range)),
    }
}

/// When a predicate holds, and when it does not; neither: it asks for what can't be had.
struct Asked {
    yes: Rc<Condition>,
    no: Rc<Condition>,
}

struct Flattened<'a> {
    rules: &'a mut Vec<Rule>,
    tls: bool,
}

impl Flattened<'_> {
    fn matcher(&mut self, matcher: &Matcher<Action>, under: &Rc<Condition>) {
        match &matcher.kind {
            MatcherKind::None => {}
            MatcherKind::List(list) => list.iter().for_each(|field| self.field(field, under)),
            MatcherKind::Tree(tree) => self.tree(tree, under),
        }
        if let Some(otherwise) = &matcher.on_no_match {
            self.outcome(otherwise, under);
        }
    }

    fn field(&mut self, FieldMatcher { predicate, on_match }: &FieldMatcher<Action>, under: &Rc<Condition>) {
        let Asked { yes, no } = self.predicate(predicate);
        let undecided = yes.negated().and(&no.negated());
        // Exactly one of the two, where everything can be had.
        if self.lacks(predicate) {
            self.rules.push(Rule { when: under.and(&undecided), allow: false, policy: None });
        }
        self.outcome(on_match, &under.and(&yes));
    }

    fn outcome(&mut self, outcome: &OnMatch<Action>, when: &Rc<Condition>) {
        match &outcome.then {
            Then::Action(_) if outcome.keep_matching => {}
            Then::Action(Action { name, effect }) => {
                let rule =
                    Rule { when: Rc::clone(when), allow: *effect != Effect::Deny, policy: Some(Arc::clone(name)) };
                self.rules.push(rule);
            }
            // Only what can't be decided ends there.
            Then::Matcher(matcher) if outcome.keep_matching => {
                let mut inner = Vec::new();
                Flattened { rules: &mut inner, tls: self.tls }.matcher(matcher, when);
                self.rules.extend(undecided_only(inner));
            }
            Then::Matcher(matcher) => self.matcher(matcher, when),
        }
    }

    fn tree(&mut self, Tree { input, kind }: &Tree<Action>, under: &Rc<Condition>) {
        if self.unavailable(*input) {
            return self.rules.push(Rule { when: Rc::clone(under), allow: false, policy: None });
        }
        let is = |pattern: TextPattern| text(*input, pattern);
        match kind {
            TreeKind::Exact(map) => {
                map.iter().for_each(|(key, then)| self.outcome(then, &under.and(&is(TextPattern::Exact(key.clone())))));
            }
            TreeKind::Prefix(map) => {
                let mut map: Vec<_> = map.iter().collect();
                map.sort_by_key(|(key, _)| std::cmp::Reverse(key.len()));
                for (key, then) in map {
                    self.outcome(then, &under.and(&is(TextPattern::Prefix(key.clone()))));
                }
            }
            TreeKind::Ip { ranges, outcomes } => self.ranges(*input, ranges, outcomes, under),
            TreeKind::Domains(domains) => self.domains(*input, domains, under),
        }
    }

    fn ranges(&mut self, input: Input, ranges: &[IpRange], outcomes: &[OnMatch<Action>], under: &Rc<Condition>) {
        let mut longer: Vec<Rc<Condition>> = Vec::new();
        for IpRange { range, exclusive, outcome } in ranges {
            let within = within(input, *range);
            let alone = if *exclusive { Condition::any(longer.clone()).negated() } else { Condition::always() };
            if let Some(then) = outcomes.get(*outcome) {
                self.outcome(then, &under.and(&within).and(&alone));
            }
            longer.push(within);
        }
    }

    fn domains(&mut self, input: Input, domains: &Domains<Action>, under: &Rc<Condition>) {
        let Domains { exact, wildcards, any, outcomes } = domains;
        let mut wildcards: Vec<_> = wildcards.iter().collect();
        wildcards.sort_by_key(|(suffix, _)| std::cmp::Reverse(suffix.len()));
        let exact = exact.iter().map(|(name, to)| (TextPattern::Exact(name.clone()), to));
        let wildcards =
            wildcards.into_iter().map(|(suffix, to)| (TextPattern::Suffix(format!(".{suffix}").into()), to));
        // `*` takes every name, but not none.
        let any = any.iter().map(|to| (TextPattern::Prefix("".into()), to));
        for (pattern, to) in exact.chain(wildcards).chain(any) {
            if let Some(then) = outcomes.get(*to) {
                self.outcome(then, &under.and(&text(input, pattern)));
            }
        }
    }

    fn predicate(&self, predicate: &Predicate) -> Asked {
        match predicate {
            Predicate::Single(input, _) if self.unavailable(*input) => {
                Asked { yes: Condition::never(), no: Condition::never() }
            }
            Predicate::Single(input, matched) => {
                let yes = Rc::new(Condition::Text(*input, matched.clone()));
                Asked { no: yes.negated(), yes }
            }
            // The first that matches decides, even behind one that can't be decided.
            Predicate::Or(all) => {
                let all: Vec<Asked> = all.iter().map(|one| self.predicate(one)).collect();
                let no = all.iter().fold(Condition::always(), |sum, one| sum.and(&one.no));
                Asked { yes: Condition::any(all.into_iter().map(|one| one.yes).collect()), no }
            }
            // In order: the first that does not match decides, but not behind one that can't be decided.
            Predicate::And(all) => {
                let (mut yes, mut no) = (Condition::always(), Vec::new());
                for one in all.iter().map(|one| self.predicate(one)) {
                    no.push(yes.and(&one.no));
                    yes = yes.and(&one.yes);
                }
                Asked { yes, no: Condition::any(no) }
            }
            Predicate::Not(inner) => {
                let Asked { yes, no } = self.predicate(inner);
                Asked { yes: no, no: yes }
            }
        }
    }

    /// Identities are not to be had where TLS passes through.
    fn unavailable(&self, input: Input) -> bool {
        !self.tls && matches!(input, Input::UriSan | Input::DnsSan | Input::Subject)
    }

    fn lacks(&self, predicate: &Predicate) -> bool {
        match predicate {
            Predicate::Single(input, _) => self.unavailable(*input),
            Predicate::Or(all) | Predicate::And(all) => all.iter().any(|one| self.lacks(one)),
            Predicate::Not(inner) => self.lacks(inner),
        }
    }
}

/// Of rules whose actions are only noted: those that end because something can't be decided, as far as no action
/// comes first.
fn undecided_only(rules: Vec<Rule>) -> Vec<Rule> {
    let mut before = Vec::new();
    let mut left = Vec::new();
    for rule in rules {
        if rule.policy.is_none() {
            left.push(Rule { when: rule.when.and(&Condition::any(before.clone()).negated()), ..rule });
        } else {
            before.push(rule.when);
        }
    }
    left
}

fn text(input: Input, pattern: TextPattern) -> Rc<Condition> {
    Rc::new(Condition::Text(input, TextMatch { pattern, ignore_case: false }))
}

/// Ranges are only looked up for addresses.
fn within(input: Input, range: Cidr) -> Rc<Condition> {
    let side = match input {
        Input::DestinationIp => Side::Destination,
        Input::DirectSourceIp => Side::DirectSource,
        Input::SourceIp => Side::Source,
        _ => return Condition::never(),
    };
    Rc::new(Condition::Within(side, range))
}
