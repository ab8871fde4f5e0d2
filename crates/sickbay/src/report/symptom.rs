//! What may cause an error, for people and for programs.

use std::fmt::Write as _;

use crate::ask::symptom::{Cause, Says, Symptom};
use crate::model::text::Text;
use crate::report::text::{Style, printable};
use crate::tr;

/// The causes, ranked.
pub fn render(symptom: &Symptom, causes: &[Cause], style: &Style) -> String {
    let say = |text: &Text| printable(&text.render(style.lang));
    let mut out = format!(
        "{}\n\n",
        say(&tr!("possible causes of \"{error}\", and what this machine shows", error = name(symptom)))
    );
    for (index, cause) in causes.iter().enumerate() {
        let (mark, word) = match cause.says {
            Says::For => ("✗", tr!("true here")),
            Says::Open => ("?", tr!("undetermined")),
            Says::Against => ("–", tr!("not true here")),
        };
        let _ = writeln!(out, "{:>2}. {mark} {}", index + 1, say(&cause.what));
        let _ = writeln!(out, "      {}: {}", say(&word), say(&cause.seen));
    }
    out
}

/// The same as JSON.
pub fn json(symptom: &Symptom, causes: &[Cause], style: &Style) -> serde_json::Value {
    let list: Vec<_> = causes
        .iter()
        .map(|cause| {
            let (what, seen) = (cause.what.render(style.lang), cause.seen.render(style.lang));
            serde_json::json!({"cause": what, "says": cause.says, "seen": seen})
        })
        .collect();
    serde_json::json!({"schema": "sickbay/symptom/v1", "error": name(symptom), "causes": list})
}

fn name(symptom: &Symptom) -> &'static str {
    symptom.words.first().copied().unwrap_or_default()
}
