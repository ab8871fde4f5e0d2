//! What decides on a packet, as a person calls it: a zone, a jail, a rule of a user, a line of a file.

use std::path::PathBuf;

use sickbay_formats::filter::evaluate::{Answer, By};
use sickbay_formats::filter::origin::{Origin, Program};
use sickbay_formats::filter::{RuleSet, Verdict};

use super::user_rule;
use crate::facts::Facts;
use crate::model::text::Text;
use crate::tr;

/// What decides.
#[derive(Clone, Debug)]
pub struct Decider {
    /// Who or what, in words that go into a sentence.
    pub what: Text,
    /// The rule as it is written; of a policy the chain with it.
    pub rule: String,
    /// Where it stands: a line of a file, or the command that printed it.
    pub place: String,
    /// The file and the line, where it is a file of the target.
    pub file: Option<(PathBuf, usize)>,
    /// Packets that met it, where they are counted.
    pub packets: Option<u64>,
    /// The program that made it.
    pub program: Option<&'static str>,
    /// The zone, jail or rule of that program.
    pub object: Option<String>,
}

/// Says what a rule or policy is.
pub fn decider(facts: &Facts, rules: &RuleSet, answer: &Answer, by: By) -> Option<Decider> {
    let (chain, rule) = rules.rule(by)?;
    let (table, name) = (&*chain.table, &*chain.name);
    let at = rule.map_or(chain.at, |rule| rule.at);
    let source = rules.files.get(at.file).cloned().unwrap_or_default();
    // Of programs that print rules the line says nothing.
    let is_file = source.starts_with('/');
    let origin = rules.origin(answer, by);
    let mut object = origin.as_ref().and_then(|origin| origin.object.clone());
    let mut place = if is_file { rules.place(at) } else { source.clone() };
    let mut file = (is_file && at.line > 0).then(|| (PathBuf::from(&source), at.line));
    let mut what = match (&origin, rule, by.rule) {
        (Some(Origin { program: Program::Firewalld, object: Some(zone) }), ..) => {
            tr!("firewalld's zone {zone}", zone = zone.as_str())
        }
        (Some(Origin { program: Program::Fail2ban, object: Some(jail) }), ..) => {
            tr!("fail2ban's jail {jail}", jail = jail.as_str())
        }
        (Some(Origin { program: Program::Ufw, .. }), None, _) => tr!("ufw's default policy"),
        (Some(Origin { program, .. }), ..) => {
            tr!("{program}'s rule in chain {chain}", program = program.name(), chain = name)
        }
        (None, None, _) | (None, _, None) => tr!("the policy of chain {chain} in table {table}", chain = name, table),
        (None, Some(_), Some(number)) => {
            tr!("rule {number} of chain {chain} in table {table}", number = number + 1, chain = name, table)
        }
    };
    if let (Some(Origin { program: Program::Ufw, .. }), Some(rule)) = (&origin, rule)
        && let Some((found, tuple)) = user_rule(facts, rule)
    {
        what = tr!("ufw's rule \"{rule}\"", rule = tuple.as_str());
        object = Some(tuple);
        if let Some((path, line)) = found.rsplit_once(':') {
            file = line.parse().ok().map(|line| (PathBuf::from(path), line));
        }
        place = found;
    }
    let policy = || match chain.policy {
        Verdict::Accept => "policy accept",
        _ => "policy drop",
    };
    Some(Decider {
        what,
        rule: rule.map_or_else(|| format!("chain {name}: {}", policy()), |rule| rule.text.clone()),
        place,
        file,
        packets: rule.map_or(chain.packets, |rule| rule.packets),
        program: origin.map(|origin| origin.program.name()),
        object,
    })
}
