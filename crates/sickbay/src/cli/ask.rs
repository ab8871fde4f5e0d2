//! The question before repairs: each is shown, and each is asked for by itself.

use std::collections::HashMap;
use std::io::{BufRead, Write};

use super::{Context, Format};
use crate::model::diagnosis::Diagnosis;
use crate::repair::plan::{Plan, Step, StepIdentity};
use crate::report::json_v1::finding_id;
use crate::report::text;
use crate::tr;

/// What the user has answered so far. Nothing is asked twice: a repair that comes again, since it waited for another or
/// the target was opened anew in between, is known by what it does.
pub(super) struct Answers {
    yes: bool,
    known: HashMap<StepIdentity, bool>,
}

impl Answers {
    /// With `yes` nothing is asked.
    pub(super) fn new(yes: bool) -> Answers {
        Answers { yes, known: HashMap::new() }
    }

    /// Shows what of a plan is new, with its findings unless the user has `seen` them in a report, asks, and leaves in the
    /// plan what was agreed to; `false` when the user wants to stop.
    pub(super) fn decide(&mut self, context: &Context, diagnosis: &Diagnosis, plan: &mut Plan, seen: bool) -> bool {
        let is_new = |step: &&Step| !self.known.contains_key(&step.identity);
        let new = Plan { steps: plan.steps.iter().filter(is_new).cloned().collect() };
        if !new.steps.is_empty() {
            for index in new.steps.iter().filter_map(|step| step.finding).filter(|_| !seen && !self.yes) {
                aside(context, &text::render_cause(&diagnosis.findings, index, &context.style));
            }
            aside(context, &text::render_plan(&new, &context.style));
            if self.yes {
                self.known.extend(new.steps.into_iter().map(|step| (step.identity, true)));
            } else if !self.ask(context, &new.steps) {
                return false;
            }
        }
        plan.steps.retain(|step| self.known.get(&step.identity) == Some(&true));
        true
    }

    fn ask(&mut self, context: &Context, steps: &[Step]) -> bool {
        let mut all = false;
        for step in steps {
            let answer = if all { Answer::Yes } else { question(context, step, steps.len()) };
            match answer {
                Answer::Quit => {
                    // Nothing was done yet: what was agreed to before falls with the rest.
                    steps.iter().for_each(|step| _ = self.known.remove(&step.identity));
                    return false;
                }
                Answer::All => all = true,
                Answer::Yes | Answer::No => {}
            }
            self.known.insert(step.identity.clone(), answer != Answer::No);
        }
        true
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Answer {
    Yes,
    No,
    All,
    Quit,
}

fn question(context: &Context, step: &Step, count: usize) -> Answer {
    let id = step.finding.map(finding_id).unwrap_or_else(|| step.check.to_owned());
    loop {
        let title = &step.repair.title;
        let prompt = tr!("{id}: {title}: apply this repair?", id, title);
        aside(context, &format!("{} [y,n,a,q,?] ", context.say(&prompt)));
        let _ = std::io::stdout().flush();
        let mut answer = String::new();
        match std::io::stdin().lock().read_line(&mut answer) {
            // The end of the input is no answer to anything.
            Ok(0) | Err(_) => {
                aside(context, "\n");
                return Answer::Quit;
            }
            Ok(_) => {}
        }
        match answer.trim() {
            "y" | "Y" | "yes" => return Answer::Yes,
            "n" | "N" | "no" => return Answer::No,
            "a" | "A" => return Answer::All,
            "q" | "Q" => return Answer::Quit,
            _ => {
                for line in [
                    tr!("y  apply this repair"),
                    tr!("n  leave this finding as it is"),
                    tr!("a  apply this repair and all that follow in this plan"),
                    tr!("q  stop, and apply none of this plan"),
                ] {
                    aside(context, &format!("  {}\n", context.say(&line)));
                }
                if count > 1 {
                    let hint = tr!("sickbay fix --only {id} applies this one alone", id = id.as_str());
                    aside(context, &format!("  {}\n", context.say(&hint)));
                }
            }
        }
    }
}

/// What is said on the way. Standard output is the report's alone where a program reads it.
pub(super) fn aside(context: &Context, text: &str) {
    match context.format {
        Format::Text => context.print(text),
        Format::Json => eprint!("{text}"),
    }
}
