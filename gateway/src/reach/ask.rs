//! One identity, one name: yes or no, and the rule that decides. Decided by the data path's own code.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use config::model::address::Address;
use config::model::listener::Listener;
use proxy::permission::{self, Verdict};
use proxy::rbac::{Facts, Notes, evaluate};
use serde_json::{Value, json};

use super::condition::Needs;
use super::edge::{Target, Way};

/// What is asked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Question<'a> {
    /// URI SANs of the client's certificate, in its order; none: it has no certificate.
    pub(super) identities: &'a [Box<str>],
    /// Server name.
    pub(super) name: &'a str,
    /// ALPN protocols, in the client's order.
    pub(super) alpn: &'a [String],
    /// The client's address.
    pub(super) source: Option<SocketAddr>,
}

/// What one listener does.
#[derive(Debug)]
pub(super) struct Answer {
    /// Which.
    pub(super) listener: Arc<str>,
    /// The chain that takes the connection.
    pub(super) chain: Option<String>,
    /// Where it goes; `None`: it is refused.
    pub(super) goes: Option<String>,
    /// What decides.
    pub(super) because: String,
}

impl Answer {
    /// It is permitted.
    pub(super) fn is_yes(&self) -> bool {
        self.goes.is_some()
    }
}

/// Asks every listener that there are ways of.
///
/// # Errors
/// Something has to be known that was not said.
pub(super) fn ask(ways: &[Way], question: &Question<'_>) -> Result<Vec<Answer>, String> {
    let mut answers: Vec<Answer> = Vec::new();
    for way in ways {
        if answers.last().is_none_or(|last| last.listener != way.listener.name) {
            answers.push(of_listener(ways, &way.listener, question)?);
        }
    }
    Ok(answers)
}

fn of_listener(ways: &[Way], listener: &Arc<Listener>, question: &Question<'_>) -> Result<Answer, String> {
    check_known(ways, listener, question)?;
    let local = match listener.addresses.first() {
        Some(Address::Socket(at)) => Some(*at),
        _ => None,
    };
    let connection = permission::Connection {
        server_name: question.name.as_bytes(),
        alpn: question.alpn,
        local,
        remote: question.source,
        uri_sans: question.identities,
    }
    .at(listener);
    let name = Arc::clone(&listener.name);
    let refused = |chain: Option<&Way>, because: String| Answer {
        listener: Arc::clone(&name),
        chain: chain.map(|way| way.name().to_owned()),
        goes: None,
        because,
    };
    let verdict = permission::judge(listener, &connection);
    let Some(chain) = verdict.chain() else {
        return Ok(refused(None, "no filter chain takes this server name".to_owned()));
    };
    let Some(way) = ways.iter().find(|way| Arc::ptr_eq(&way.chain, chain) && way.listener.name == listener.name) else {
        return Err(format!("a chain of listener \"{}\" was not looked at", listener.name));
    };
    if let Err(why) = way.clients.admit(question.identities) {
        return Ok(refused(Some(way), format!("TLS: {why}")));
    }
    if let Target::Refused(why) = &way.target {
        return Ok(refused(Some(way), why.clone()));
    }
    let facts = connection.facts(chain);
    let (mut permitted, mut policy) = match &verdict {
        Verdict::NoChain => (false, None),
        Verdict::Denied { policy, .. } => (false, policy.as_deref()),
        Verdict::Permitted { policy, .. } => (true, policy.as_deref()),
    };
    // Then every request of the connection, as far as it is the same for all.
    for policies in &way.requests.policies {
        if !permitted {
            break;
        }
        let ruling = evaluate(policies, &facts, &Notes::default());
        permitted = ruling.allowed;
        policy = ruling.policy.map(|name| &**name).or(policy.filter(|_| permitted));
    }
    if let Some(why) = way.requests.by_request.as_ref().filter(|_| permitted) {
        return Err(format!("listener \"{}\": {why}, so that there is no answer for all requests", listener.name));
    }
    let because = because(way, permitted, policy, &facts)?;
    let goes = permitted.then(|| way.target.to_string());
    Ok(Answer { goes, ..refused(Some(way), because) })
}

/// The rule that decides, in the words of the list. The data path decided already; that the list says the same is
/// what makes its words worth anything.
fn because(way: &Way, permitted: bool, policy: Option<&str>, facts: &Facts<'_>) -> Result<String, String> {
    if way.is_open() {
        return Ok("no permissions are asked".to_owned());
    }
    let what = if permitted { "allowed" } else { "denied" };
    let by = policy
        .map_or_else(|| "no policy matches, which is the default".to_owned(), |name| format!("the policy \"{name}\""));
    if way.rules.0.iter().any(|rule| rule.when.needs().notes) {
        return Ok(format!("{what}: {by}"));
    }
    match way.rules.decide(facts) {
        Some(rule) if rule.allow == permitted && (rule.policy.is_none() || rule.when.is_always()) => {
            Ok(format!("{what}: {by}"))
        }
        Some(rule) if rule.allow == permitted => Ok(format!("{what} by {by}: {}", rule.when)),
        _ => Err("the list of rules and the data path disagree: this is a bug, please report it".to_owned()),
    }
}

/// Nothing may hang on what was not said.
fn check_known(ways: &[Way], listener: &Arc<Listener>, question: &Question<'_>) -> Result<(), String> {
    let of_listener = || ways.iter().filter(|way| way.listener.name == listener.name);
    let rules =
        of_listener().flat_map(|way| &way.rules.0).fold(Needs::default(), |all, rule| all.with(rule.when.needs()));
    let chains = of_listener().any(|way| {
        let m = &way.chain.matches;
        !(m.source.is_empty() && m.direct_source.is_empty() && m.source_ports.is_empty())
            || m.source_type != config::model::chain::SourceType::Any
    });
    if question.source.is_none() && (rules.source || chains) {
        return Err(format!("listener \"{}\" decides by the client's address: say it with --source", listener.name));
    }
    Ok(())
}

/// For programs.
pub(super) fn json(answers: &[Answer]) -> Value {
    let one = |a: &Answer| json!({"listener": &*a.listener, "chain": a.chain, "permitted": a.is_yes(), "to": a.goes, "because": a.because});
    Value::Array(answers.iter().map(one).collect())
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { listener, chain, goes, because } = self;
        match goes {
            Some(goes) => writeln!(f, "yes: -> {goes}")?,
            None => writeln!(f, "no")?,
        }
        writeln!(f, "  because   {because}")?;
        if let Some(chain) = chain {
            writeln!(f, "  chain     {chain}")?;
        }
        write!(f, "  listener  {listener}")
    }
}
