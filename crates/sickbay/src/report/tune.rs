//! What `sickbay tune` says, for people and for programs.

use std::fmt::Write as _;

use annotate_snippets::{Group, Level, Origin as Place};
use schemars::JsonSchema;
use serde::Serialize;
use unicode_width::UnicodeWidthStr;

use crate::facts::memory::size;
use crate::model::finding::Line;
use crate::model::repair::Risk;
use crate::model::text::{Lang, Text};
use crate::report::text::{Style, printable, snippet};
use crate::tr;
use crate::tune::advice::{Advice, Advices, Held, What};
use crate::tune::capacity::{Capacity, Counts, Limit, Whose};
use crate::tune::kernel::Machine;
use crate::tune::knowledge::{Judgement, Verdict};
use crate::tune::lint::{Lint, name};
use crate::tune::origin::{How, Origin, Setting};
use crate::tune::work::Work;

/// What is said of a list: `sickbay/tune-lint/v1`. Fields are only ever added.
#[derive(Debug, Serialize, JsonSchema)]
pub struct LintV1 {
    /// Always `sickbay/tune-lint/v1`.
    pub schema: &'static str,
    /// The kernel that it was judged for; null when for an old and a new one alike.
    pub kernel: Option<String>,
    /// Memory of the machine in bytes; null when unknown.
    pub memory: Option<u64>,
    /// Its processors; null when unknown.
    pub cpus: Option<u64>,
    /// Every line that sets something or should.
    pub lines: Vec<LineV1>,
    /// Lines that do not go together.
    pub pairs: Vec<PairV1>,
}

/// A line.
#[derive(Debug, Serialize, JsonSchema)]
pub struct LineV1 {
    /// The list.
    pub file: String,
    /// From 1 on.
    pub line: usize,
    /// The whole line.
    pub text: String,
    /// The parameter, or the domain, kind and name of a limit; empty for a line that sets nothing.
    pub key: String,
    /// What it is set to.
    pub value: String,
    /// In a word.
    pub verdict: Verdict,
    /// The reason, as a sentence.
    pub message: String,
    /// What to set instead.
    pub suggested: Option<String>,
    /// What it is known from: a document of the kernel's, a commit, a thread (`project#number`).
    pub sources: Vec<&'static str>,
}

/// Two lines.
#[derive(Debug, Serialize, JsonSchema)]
pub struct PairV1 {
    /// Their numbers.
    pub lines: [usize; 2],
    /// What they set.
    pub keys: [String; 2],
    /// In a word.
    pub verdict: Verdict,
    /// The reason, as a sentence.
    pub message: String,
    /// What to set instead.
    pub suggested: Option<String>,
    /// What it is known from.
    pub sources: Vec<&'static str>,
}

/// The lint for programs.
pub fn lint_json(lint: &Lint, lang: Lang) -> LintV1 {
    LintV1 {
        schema: "sickbay/tune-lint/v1",
        kernel: lint.kernel.as_ref().map(|kernel| kernel.release.clone()),
        memory: lint.memory.map(|kib| kib.saturating_mul(1024)),
        cpus: lint.cpus,
        lines: lint
            .lines
            .iter()
            .map(|line| LineV1 {
                file: lint.file.clone(),
                line: line.line,
                text: line.text.clone(),
                key: line.key.clone(),
                value: line.value.clone(),
                verdict: line.said.verdict,
                message: line.said.message.render(lang),
                suggested: line.said.suggested.clone(),
                sources: line.said.sources.clone(),
            })
            .collect(),
        pairs: lint
            .pairs
            .iter()
            .map(|pair| PairV1 {
                lines: pair.lines,
                keys: pair.keys.clone(),
                verdict: pair.said.verdict,
                message: pair.said.message.render(lang),
                suggested: pair.said.suggested.clone(),
                sources: pair.said.sources.clone(),
            })
            .collect(),
    }
}

/// The lint for people: what needs nothing in a line each, everything else with its line of the list.
pub fn lint(lint: &Lint, style: &Style) -> String {
    let mut out = String::new();
    let kernel = lint.kernel.as_ref().map(|kernel| kernel.release.as_str());
    style.titled(&mut out, &tr!("list"), &printable(&lint.file));
    style.titled(&mut out, &tr!("judged for"), &machine(kernel, lint.memory, lint.cpus, style));
    out.push('\n');
    for line in &lint.lines {
        if matches!(line.said.verdict, Verdict::Ok | Verdict::Default) {
            let word = style.say(&name(line.said.verdict));
            let text = format!(
                "{word}[{}]: {}:{}: {}",
                printable(&line.key),
                printable(&lint.file),
                line.line,
                style.say(&line.said.message)
            );
            let _ = writeln!(out, "{}\n", style.wrapped(&text, 0, 4));
            continue;
        }
        let place = Line { span: line.span, text: line.text.clone(), label: None };
        let group = titled(&line.said, &line.key, style).element(snippet(&printable(&lint.file), &place, style));
        let _ = writeln!(out, "{}\n", style.renderer().render(&[remarks(group, &line.said, style)]));
    }
    for pair in &lint.pairs {
        let [first, second] = pair.lines;
        let group = titled(&pair.said, &pair.keys.join(" + "), style)
            .element(Place::path(format!("{}:{first}, {second}", printable(&lint.file))));
        let _ = writeln!(out, "{}\n", style.renderer().render(&[remarks(group, &pair.said, style)]));
    }
    let _ = writeln!(out, "{}", style.wrapped(&counts(lint, style), 0, 0));
    out
}

/// A machine in a line.
fn machine(kernel: Option<&str>, memory: Option<u64>, cpus: Option<u64>, style: &Style) -> String {
    let mut parts = vec![match kernel {
        Some(version) => style.say(&tr!("kernel {version}", version)),
        None => style.say(&tr!("any kernel")),
    }];
    parts.push(match memory {
        Some(kib) => style.say(&tr!("memory {size}", size = size(kib))),
        None => style.say(&tr!("memory unknown")),
    });
    parts.extend(cpus.map(|cpus| style.say(&tr!("{cpus} {cpus?processor|processors}", cpus))));
    parts.join(", ")
}

fn level(verdict: Verdict) -> Level<'static> {
    match verdict {
        Verdict::Refuse | Verdict::Malformed => Level::ERROR,
        Verdict::Adapt => Level::WARNING,
        _ => Level::NOTE,
    }
}

fn titled(said: &Judgement, key: &str, style: &Style) -> Group<'static> {
    let word = style.say(&name(said.verdict));
    let key = printable(if key.is_empty() { "-" } else { key });
    // What follows the first line stands under it.
    let lead = word.width() + key.width() + "[]: ".len();
    let narrower = Style { width: style.width.map(|width| width.saturating_sub(lead).max(30)), ..*style };
    let message = narrower.wrapped(&style.say(&said.message), 0, 0);
    level(said.verdict).with_name(word).primary_title(message).id(key).elements(std::iter::empty::<Place<'_>>())
}

fn remarks<'a>(group: Group<'a>, said: &Judgement, style: &Style) -> Group<'a> {
    let mut group = group;
    let mut add = |name: Text, text: String| {
        let taken = std::mem::replace(&mut group, Group::with_level(Level::NOTE));
        group = taken.element(Level::NOTE.with_name(style.say(&name)).message(text));
    };
    if let Some(suggested) = &said.suggested {
        add(tr!("instead"), printable(suggested));
    }
    if !said.sources.is_empty() {
        add(tr!("source"), said.sources.join(", "));
    }
    group
}

fn counts(lint: &Lint, style: &Style) -> String {
    let count = |verdict| lint.lines.iter().filter(|line| line.said.verdict == verdict).count();
    let all = [
        Verdict::Refuse,
        Verdict::Malformed,
        Verdict::Adapt,
        Verdict::NoEffect,
        Verdict::Absent,
        Verdict::Unknown,
        Verdict::Default,
        Verdict::Ok,
    ];
    let mut parts: Vec<String> = all
        .into_iter()
        .filter(|verdict| count(*verdict) > 0)
        .map(|verdict| style.say(&tr!("{count} {word}", count = count(verdict), word = name(verdict))))
        .collect();
    let pairs = lint.pairs.len();
    if pairs > 0 {
        parts.push(style.say(&tr!("{pairs} {pairs?pair that does|pairs that do} not go together", pairs)));
    }
    let lines = lint.lines.len();
    format!("{} · {}", style.say(&tr!("{lines} {lines?line|lines}", lines)), parts.join(", "))
}

/// Where a kernel parameter comes from: `sickbay/sysctl/v1`. Fields are only ever added.
#[derive(Debug, Serialize, JsonSchema)]
pub struct OriginV1 {
    /// Always `sickbay/sysctl/v1`.
    pub schema: &'static str,
    /// Its name with dots.
    pub key: String,
    /// What it does; null where nothing is known of it.
    pub what: Option<String>,
    /// The kernel that runs; null for a target that does not.
    pub kernel: Option<String>,
    /// What it is now.
    pub now: Option<String>,
    /// What the kernel makes of it by itself; null where that is not known.
    pub default: Option<String>,
    /// What it will be after a restart; null where that is not known.
    pub after_restart: Option<String>,
    /// Lines that set it, in the order of a boot.
    pub set_by: Vec<SetByV1>,
    /// For a card that no line names: the parameter from which a new card takes its value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub inherits: Option<String>,
    /// What is said of the value that wins, or of the present one.
    pub verdict: Option<Verdict>,
    /// The reason, as a sentence.
    pub message: Option<String>,
    /// What it is known from.
    pub sources: Vec<&'static str>,
    /// Files that could not be read, and why.
    pub unread: Vec<String>,
}

/// A line that sets a parameter.
#[derive(Debug, Serialize, JsonSchema)]
pub struct SetByV1 {
    /// The file.
    pub file: String,
    /// From 1 on.
    pub line: usize,
    /// What it is set to.
    pub value: String,
    /// By its name, by a pattern, or in a file that no boot reads.
    pub how: How,
    /// Whether it wins.
    pub wins: bool,
}

/// The origin for programs.
pub fn origin_json(origin: &Origin, lang: Lang) -> OriginV1 {
    let set_by = |(index, setting): (usize, &Setting)| SetByV1 {
        file: setting.file.path.display().to_string(),
        line: setting.span.line,
        value: setting.value.clone(),
        how: setting.how,
        wins: origin.winner == Some(index),
    };
    OriginV1 {
        schema: "sickbay/sysctl/v1",
        key: origin.key.clone(),
        what: origin.known.map(|known| (known.what)().render(lang)),
        kernel: origin.machine.as_ref().map(|machine| machine.kernel.release.clone()),
        now: origin.now.clone(),
        default: origin.default.clone(),
        after_restart: origin.after_restart().map(str::to_owned),
        set_by: origin.settings.iter().enumerate().map(set_by).collect(),
        inherits: origin.inherits.as_ref().map(|(general, _)| general.clone()),
        verdict: origin.said.as_ref().map(|said| said.verdict),
        message: origin.said.as_ref().map(|said| said.message.render(lang)),
        sources: origin.said.as_ref().map(|said| said.sources.clone()).unwrap_or_default(),
        unread: origin.unread.iter().map(|why| why.render(lang)).collect(),
    }
}

/// The origin for people.
pub fn origin(origin: &Origin, style: &Style) -> String {
    let mut out = String::new();
    let unit = origin.known.and_then(|known| known.unit.name());
    let counted = |value: &str| match &unit {
        Some(unit) => format!("{value} ({})", style.say(unit)),
        None => value.to_owned(),
    };
    let _ = writeln!(out, "{}", printable(&origin.key));
    if let Some(known) = origin.known {
        style.titled(&mut out, &tr!("what"), &style.say(&(known.what)()));
    }
    if let Some(machine) = &origin.machine {
        let value = match &origin.now {
            Some(now) => counted(&printable(now)),
            None => style.say(&match origin.known.and_then(|known| known.module) {
                Some(module) => tr!("not there: the module {module} is not loaded", module),
                None => tr!("this kernel has no such parameter"),
            }),
        };
        style.titled(&mut out, &tr!("now"), &value);
        let default = match &origin.default {
            Some(default) => style.say(&tr!(
                "{value}, of kernel {version}",
                value = counted(default),
                version = machine.kernel.release.as_str()
            )),
            None => style.say(&tr!("not known: it differs from machine to machine")),
        };
        style.titled(&mut out, &tr!("default"), &default);
    }
    let after = match origin.after_restart() {
        Some(value) if let Some((general, set)) = &origin.inherits => style.say(&tr!(
            "{value}: a new card takes it from {general}, which {place} sets",
            value,
            general = general.as_str(),
            place = format!("{}:{}", set.file.path.display(), set.span.line)
        )),
        Some(value) if origin.winner.is_none() => style.say(&tr!("{value}, the default: no file sets it", value)),
        Some(value) => counted(&printable(value)),
        None => style.say(&tr!("the default of the kernel: no file sets it")),
    };
    style.titled(&mut out, &tr!("after boot"), &after);
    let is_other = |now: &String| {
        origin.winner.is_some() && !crate::tune::knowledge::is_same(now, origin.after_restart().unwrap_or(now))
    };
    if origin.now.as_ref().is_some_and(is_other) {
        style.titled(&mut out, &tr!("note"), &style.say(&tr!("what is now will not outlive a restart: it was set by hand, by a program, or the file was changed since the boot")));
    }
    if !origin.settings.is_empty() {
        out.push('\n');
        let _ = writeln!(out, "{}", style.say(&tr!("set in the order of a boot:")));
    }
    for (index, setting) in origin.settings.iter().enumerate() {
        let word = match setting.how {
            _ if origin.winner == Some(index) => tr!("wins"),
            How::NotAtBoot => tr!("no boot reads this file, only sysctl -p: there is no link to it in /etc/sysctl.d"),
            How::Kept => tr!("keeps patterns from setting it"),
            How::Later => tr!("sets it after the boot, or while the system runs"),
            How::Pattern => tr!("a pattern, weaker than a name or a later pattern"),
            How::Name => tr!("set again later"),
        };
        let place = format!("{}:{}", setting.file.path.display(), setting.span.line);
        let value = if setting.how == How::Kept { "–" } else { setting.value.as_str() };
        let _ = writeln!(out, "  {}  {}  {}", printable(&place), printable(value), style.say(&word));
    }
    if let Some(said) = &origin.said {
        out.push('\n');
        let text = format!("{}: {}", style.say(&name(said.verdict)), style.say(&said.message));
        style.titled(&mut out, &tr!("verdict"), &text);
        if let Some(suggested) = &said.suggested {
            style.titled(&mut out, &tr!("instead"), &printable(suggested));
        }
        style.titled(&mut out, &tr!("source"), &said.sources.join(", "));
    }
    for why in &origin.unread {
        style.titled(&mut out, &tr!("unread"), &style.say(why));
    }
    out
}

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

/// What a host carries: `sickbay/capacity/v1`. Fields are only ever added.
#[derive(Debug, Serialize, JsonSchema)]
pub struct CapacityV1 {
    /// Always `sickbay/capacity/v1`.
    pub schema: &'static str,
    /// The limits: the host's own first, by what they count, the tightest at the front.
    pub limits: Vec<LimitV1>,
    /// Hosts that the peak needs by what is known; null without a peak.
    pub hosts: Option<u64>,
    /// The index of the limit that binds; null when none does, or no peak was given.
    pub binds: Option<usize>,
    /// Whose limit binds; null as above.
    pub whose: Option<Whose>,
    /// The answer in one sentence.
    pub says: String,
    /// What follows from the numbers of the peak.
    pub derived: Vec<String>,
    /// What nobody can tell from settings.
    pub untold: Vec<String>,
}

/// A limit.
#[derive(Debug, Serialize, JsonSchema)]
pub struct LimitV1 {
    /// What limits.
    pub what: String,
    /// Whose it is.
    pub whose: Whose,
    /// What it counts.
    pub counts: Counts,
    /// How many of what it `counts` a machine carries before it reaches this limit.
    pub carries: u64,
    /// The arithmetic.
    pub how: String,
    /// Hosts that the peak needs by this limit alone.
    pub hosts: Option<u64>,
    /// How much of it the peak takes, in percent.
    pub used: Option<u64>,
}

/// The capacity for programs.
pub fn capacity_json(capacity: &Capacity, lang: Lang) -> CapacityV1 {
    let one = |limit: &Limit| LimitV1 {
        what: limit.what.render(lang),
        whose: limit.whose,
        counts: limit.counts,
        carries: limit.carries,
        how: limit.how.render(lang),
        hosts: limit.hosts,
        used: limit.used,
    };
    let say = |texts: &[Text]| texts.iter().map(|text| text.render(lang)).collect();
    CapacityV1 {
        schema: "sickbay/capacity/v1",
        limits: capacity.limits.iter().map(one).collect(),
        hosts: capacity.hosts,
        binds: capacity.binds,
        whose: capacity.binds.and_then(|index| capacity.limits.get(index)).map(|limit| limit.whose),
        says: capacity.says.render(lang),
        derived: say(&capacity.derived),
        untold: say(&capacity.untold),
    }
}

/// The capacity for people.
pub fn capacity(capacity: &Capacity, style: &Style) -> String {
    let mut out = String::new();
    style.titled(&mut out, &tr!("answer"), &style.say(&capacity.says));
    for text in &capacity.derived {
        style.titled(&mut out, &tr!("peak"), &style.say(text));
    }
    out.push('\n');
    let mut before = None;
    for (index, limit) in capacity.limits.iter().enumerate() {
        let group = (limit.whose == Whose::Host).then_some(limit.counts);
        if before != Some(group) {
            before = Some(group);
            let heading = match (limit.whose, limit.counts) {
                (Whose::Outside, _) => tr!("outside of this host:"),
                (Whose::Host, Counts::Connections) => tr!("connections of clients at a time:"),
                (Whose::Host, Counts::Requests) => tr!("requests a second:"),
                (Whose::Host, Counts::Bits) => tr!("bits a second:"),
                (Whose::Host, Counts::Hosts) => tr!("hosts:"),
            };
            let _ = writeln!(out, "{}", style.say(&heading));
        }
        let mut line = format!("  {:>14}  {}", limit.carries, style.say(&limit.what));
        if let Some(used) = limit.used {
            line.push_str(&style.say(&tr!(", {used} % taken", used)));
        }
        if let Some(hosts) = limit.hosts {
            line.push_str(&style.say(&tr!(", {hosts} {hosts?host|hosts} by this alone", hosts)));
        }
        if capacity.binds == Some(index) {
            line.push_str(&style.say(&tr!(" ← binds")));
        }
        let _ = writeln!(out, "{}", style.wrapped(&line, 0, 18));
        let _ = writeln!(out, "                  {}", style.wrapped(&style.say(&limit.how), 18, 18));
    }
    for text in &capacity.untold {
        let _ =
            writeln!(out, "{}", style.wrapped(&format!("{}: {}", style.say(&tr!("not known")), style.say(text)), 0, 4));
    }
    out
}
