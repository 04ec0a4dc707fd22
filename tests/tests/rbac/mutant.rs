//! Mistakes that an evaluator could make, made in its rules.

use config::model::matcher::{Matcher, MatcherKind, Predicate, Then};
use config::model::rbac::{Action, Effect, Policies, Rbac, Rule};

/// A kind of mistake.
#[derive(Clone, Copy, Debug)]
pub enum Mutant {
    /// Allow for deny, and deny for allow.
    Effect,
    /// The first permission, or the first predicate, the other way round.
    Permission,
    /// The first principal the other way round.
    Principal,
    /// One of them for all of them, and all for one.
    AndOr,
    /// The last one that matches wins.
    LastWins,
    /// Nothing is done where nothing matches.
    NoMatch,
}

/// All.
pub const ALL: [Mutant; 6] =
    [Mutant::Effect, Mutant::Permission, Mutant::Principal, Mutant::AndOr, Mutant::LastWins, Mutant::NoMatch];

impl Mutant {
    /// The filter with the mistake; `None`: there is no place for it.
    pub fn of(self, rbac: &Rbac) -> Option<Rbac> {
        let mut wrong = rbac.clone();
        let made = match wrong.enforced.as_mut()? {
            Policies::Rules { effect, policies } => match self {
                Self::Effect => flip(effect),
                Self::Permission => policies.first_mut().map(|policy| negate(&mut policy.permissions[0])),
                Self::Principal => policies.first_mut().map(|policy| negate(&mut policy.principals[0])),
                Self::AndOr => policies
                    .iter_mut()
                    .find_map(|policy| policy.permissions.iter_mut().chain(&mut policy.principals).find_map(swap)),
                Self::LastWins | Self::NoMatch => None,
            },
            Policies::Tree(matcher) => in_tree(self, matcher),
        };
        made.map(|()| wrong)
    }
}

fn flip(effect: &mut Effect) -> Option<()> {
    *effect = match effect {
        Effect::Allow => Effect::Deny,
        Effect::Deny => Effect::Allow,
        Effect::Log => return None,
    };
    Some(())
}

fn negate(rule: &mut Rule) {
    let before = std::mem::replace(rule, Rule::Any);
    *rule = Rule::Not(Box::new(before));
}

fn swap(rule: &mut Rule) -> Option<()> {
    let before = std::mem::replace(rule, Rule::Any);
    let (after, swapped) = match before {
        Rule::And(rules) if rules.len() > 1 => (Rule::Or(rules), true),
        Rule::Or(rules) if rules.len() > 1 => (Rule::And(rules), true),
        other => (other, false),
    };
    *rule = after;
    swapped.then_some(())
}

fn in_tree(mutant: Mutant, matcher: &mut Matcher<Action>) -> Option<()> {
    let MatcherKind::List(fields) = &mut matcher.kind else {
        return match mutant {
            Mutant::NoMatch => matcher.on_no_match.take().map(drop),
            _ => None,
        };
    };
    match mutant {
        Mutant::Effect => fields.iter_mut().find_map(|field| match &mut field.on_match.then {
            Then::Action(action) => flip(&mut action.effect),
            Then::Matcher(_) => None,
        }),
        Mutant::Permission => {
            let first = &mut fields[0].predicate;
            let before = std::mem::replace(first, Predicate::Or(Box::default()));
            *first = Predicate::Not(Box::new(before));
            Some(())
        }
        Mutant::Principal => None,
        Mutant::AndOr => fields.iter_mut().find_map(|field| {
            let before = std::mem::replace(&mut field.predicate, Predicate::Or(Box::default()));
            let (after, swapped) = match before {
                Predicate::Or(all) => (Predicate::And(all), true),
                Predicate::And(all) => (Predicate::Or(all), true),
                other => (other, false),
            };
            field.predicate = after;
            swapped.then_some(())
        }),
        Mutant::LastWins => {
            fields.reverse();
            (fields.len() > 1).then_some(())
        }
        Mutant::NoMatch => matcher.on_no_match.take().map(drop),
    }
}
