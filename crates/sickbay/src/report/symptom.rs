//! What may cause an error, for people and for programs.

use std::fmt::Write as _;

use crate::ask::symptom::{Cause, Says, Symptom};
use crate::model::text::Text;
use crate::report::documents::{CauseV1, SymptomV1};
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

/// The same for programs.
pub fn json(symptom: &Symptom, causes: &[Cause], style: &Style) -> SymptomV1 {
    let say = |text: &Text| text.render(style.lang);
    let of = |cause: &Cause| CauseV1 { cause: say(&cause.what), says: cause.says, seen: say(&cause.seen) };
    SymptomV1 { schema: "sickbay/symptom/v1", error: name(symptom), causes: causes.iter().map(of).collect() }
}

fn name(symptom: &Symptom) -> &'static str {
    symptom.words.first().copied().unwrap_or_default()
}
