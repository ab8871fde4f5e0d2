//! Advice for a machine, and what became of it.

use std::fmt::Write as _;

use schemars::JsonSchema;
use serde::Serialize;

use super::machine;
use crate::model::repair::Risk;
use crate::model::text::Lang;
use crate::report::text::{Style, printable};
use crate::tr;
use crate::tune::advice::{Advice, Advices, Held, What};
use crate::tune::kernel::Machine;
use crate::tune::work::Work;

/// Advice for a machine: `sickbay/tune/v1`. Fields are only ever added.
#[derive(Debug, Serialize, JsonSchema)]
pub struct TuneV1 {
    /// Always `sickbay/tune/v1`.
    pub schema: &'static str,
    /// Its kernel.
    pub kernel: String,
    /// Its memory in bytes; null when unknown.
    pub memory: Option<u64>,
    /// Its processors; null when unknown.
    pub cpus: Option<u64>,
    /// What it is for, and the programs that tell it.
    pub works: Vec<WorkV1>,
    /// The advice.
    pub advice: Vec<AdviceV1>,
    /// What could not be looked at.
    pub untold: Vec<String>,
    /// The journal entry of what was applied; null when nothing was.
    pub journal: Option<String>,
}

/// What a machine is for.
#[derive(Debug, Serialize, JsonSchema)]
pub struct WorkV1 {
    /// In a word.
    pub work: Work,
    /// The programs that tell it; none when the user said it.
    pub programs: Vec<String>,
}

/// One piece of advice.
#[derive(Debug, Serialize, JsonSchema)]
pub struct AdviceV1 {
    /// The kernel parameter; `LimitNOFILE` for the limit of a unit.
    pub key: String,
    /// The unit, for its limit.
    pub unit: Option<String>,
    /// What it is now.
    pub now: String,
    /// The line that sets it, `/etc/sysctl.conf:3`; null for a default.
    pub set_by: Option<String>,
    /// What it should be.
    pub value: String,
    /// The reason, as a sentence.
    pub reason: String,
    /// What it may cost.
    pub risk: Risk,
    /// On which kernels it is of use.
    pub kernels: String,
    /// What it is known from.
    pub sources: Vec<&'static str>,
    /// What became of it, once applied.
    pub held: Option<HeldV1>,
}

/// What became of a piece of advice.
#[derive(Debug, Serialize, JsonSchema)]
pub struct HeldV1 {
    /// What it is now.
    pub now: Option<String>,
    /// What it will be after a restart.
    pub after_restart: Option<String>,
    /// Whether it holds.
    pub holds: bool,
}

/// The advice for programs. `held` says of each what became of it, if anything was applied.
pub fn advice_json(advices: &Advices, applied: Option<(&str, &[Option<Held>])>, lang: Lang) -> TuneV1 {
    let one = |(index, advice): (usize, &Advice)| {
        let (key, unit) = match &advice.what {
            What::Sysctl(key) => (key.clone(), None),
            What::Files(unit) => ("LimitNOFILE".to_owned(), Some(unit.clone())),
        };
        let held = applied.and_then(|(_, held)| held.get(index)?.clone());
        AdviceV1 {
            key,
            unit,
            now: advice.now.clone(),
            set_by: advice.set_by.clone(),
            value: advice.value.clone(),
            reason: advice.reason.render(lang),
            risk: advice.risk,
            kernels: advice.kernels.render(lang),
            sources: advice.sources.clone(),
            held: held.map(|held| HeldV1 { now: held.now, after_restart: held.later, holds: held.holds }),
        }
    };
    let Machine { kernel, memory, cpus, .. } = &advices.machine;
    TuneV1 {
        schema: "sickbay/tune/v1",
        kernel: kernel.release.clone(),
        memory: memory.map(|kib| kib.saturating_mul(1024)),
        cpus: *cpus,
        works: advices
            .works
            .iter()
            .map(|(work, programs)| WorkV1 { work: *work, programs: programs.iter().cloned().collect() })
            .collect(),
        advice: advices.list.iter().enumerate().map(one).collect(),
        untold: advices.untold.iter().map(|why| why.render(lang)).collect(),
        journal: applied.map(|(journal, _)| journal.to_owned()),
    }
}

/// The advice for people.
pub fn advice(advices: &Advices, style: &Style) -> String {
    let mut out = String::new();
    let Machine { kernel, memory, cpus, .. } = &advices.machine;
    style.titled(&mut out, &tr!("machine"), &machine(Some(&kernel.release), *memory, *cpus, style));
    let works = advices.works.iter().map(|(work, programs)| {
        let programs: Vec<&str> = programs.iter().map(String::as_str).collect();
        match programs.is_empty() {
            true => style.say(&work.name()),
            false => format!("{} ({})", style.say(&work.name()), printable(&programs.join(", "))),
        }
    });
    style.titled(&mut out, &tr!("work"), &works.collect::<Vec<_>>().join(", "));
    out.push('\n');
    for advice in &advices.list {
        let risk = match advice.risk {
            Risk::Safe => tr!("safe"),
            Risk::Risky => tr!("risky"),
            Risk::Manual => tr!("manual"),
        };
        let _ = writeln!(
            out,
            "{}: {} -> {} ({})",
            printable(&advice.what.name()),
            printable(&advice.now),
            advice.value,
            style.say(&risk)
        );
        let set_by = match &advice.set_by {
            Some(place) => style.say(&tr!("{now}, set by {place}", now = advice.now.as_str(), place = place.as_str())),
            None => style.say(&tr!("{now}, which no file sets", now = advice.now.as_str())),
        };
        style.titled(&mut out, &tr!("now"), &set_by);
        style.titled(&mut out, &tr!("why"), &style.say(&advice.reason));
        style.titled(&mut out, &tr!("kernels"), &style.say(&advice.kernels));
        style.titled(&mut out, &tr!("source"), &advice.sources.join(", "));
        out.push('\n');
    }
    for why in &advices.untold {
        let _ = writeln!(
            out,
            "{}",
            style.wrapped(&format!("{}: {}", style.say(&tr!("undetermined")), style.say(why)), 0, 4)
        );
    }
    let count = advices.list.len();
    let _ = match count {
        0 => writeln!(out, "{}", style.say(&tr!("nothing to recommend: what runs here has what it needs"))),
        _ => writeln!(
            out,
            "{}",
            style.say(&tr!("{count} {count?recommendation|recommendations} · sickbay tune --apply", count))
        ),
    };
    out
}

/// What became of advice that was applied, for people.
pub fn held(advices: &Advices, journal: &str, held: &[Option<Held>], style: &Style) -> String {
    let mut out = String::new();
    for (advice, held) in advices.list.iter().zip(held) {
        let Some(held) = held else { continue };
        let unknown = || style.say(&tr!("unknown"));
        let (now, later) = (held.now.clone().unwrap_or_else(unknown), held.later.clone().unwrap_or_else(unknown));
        let name = advice.what.name();
        let line = match (held.holds, &advice.what) {
            (true, What::Sysctl(_)) => tr!("{name} is {now}, and {later} after a restart ✓", name, now, later),
            (true, What::Files(_)) => tr!("{name} is {later} from the unit's next start on ✓", name, later),
            (false, _) => tr!("{name} is {now}, and {later} after a restart ✗", name, now, later),
        };
        let _ = writeln!(out, "{}", style.say(&line));
    }
    let _ = writeln!(out, "{}", style.say(&tr!("journal entry {journal}: sickbay undo takes it back", journal)));
    out
}
