//! The verdict of the allocation oracle for people and for programs.

use std::fmt::Write as _;

use crate::facts::memory::alloc::{Rule, Says, Verdict};
use crate::model::text::Text;
use crate::report::documents::{AllocV1, RuleV1};
use crate::report::text::{Style, printable};
use crate::tr;

/// The verdict as text. `question` says who wants how much.
pub fn render(question: &Text, verdict: &Verdict, style: &Style) -> String {
    let say = |text: &Text| printable(&text.render(style.lang));
    let mut out = format!("{}: {}\n\n", say(question), say(&word(verdict.says())));
    for rule in &verdict.rules {
        let _ = writeln!(out, "{:<14} {}: {}", rule.name, say(&word(rule.says)), say(&rule.text));
        if !rule.formula.is_empty() {
            let _ = writeln!(out, "{:<14} {}", "", printable(&rule.formula));
        }
    }
    out
}

/// The same for programs.
pub fn json(bytes: u64, verdict: &Verdict, style: &Style) -> AllocV1 {
    let of = |rule: &Rule| RuleV1 {
        rule: rule.name,
        says: rule.says,
        formula: rule.formula.clone(),
        text: rule.text.render(style.lang),
    };
    AllocV1 { schema: "sickbay/alloc/v1", bytes, says: verdict.says(), rules: verdict.rules.iter().map(of).collect() }
}

fn word(says: Says) -> Text {
    match says {
        Says::Grants => tr!("granted"),
        Says::Refuses => tr!("refused (ENOMEM)"),
        Says::Unsure => tr!("undetermined"),
        Says::Later => tr!("granted, but not available"),
    }
}
