//! Words and sums that several forms of report share.

use crate::engine::proof::State;
use crate::engine::rounds::Applied;
use crate::model::diagnosis::Diagnosis;
use crate::model::finding::{Evidence, Finding, Line, Severity};
use crate::model::outcome::Outcome;
use crate::model::repair::Risk;
use crate::model::text::{Lang, Text};
use crate::report::visible::quoted;
use crate::report::{NamedProof, Report};
use crate::tr;

/// The severities, the worst first.
pub(super) const SEVERITIES: [Severity; 4] = [Severity::Critical, Severity::Error, Severity::Warning, Severity::Note];

/// Its name, as programs read it: it does not change between versions.
pub(super) fn name(severity: Severity) -> &'static str {
    match severity {
        Severity::Critical => "critical",
        Severity::Error => "error",
        Severity::Warning => "warning",
        Severity::Note => "note",
    }
}

/// Its name, as people read it.
pub(super) fn severity(severity: Severity) -> Text {
    match severity {
        Severity::Critical => tr!("critical"),
        Severity::Error => tr!("error"),
        Severity::Warning => tr!("warning"),
        Severity::Note => tr!("note"),
    }
}

/// Its name, as people read it.
pub(super) fn risk(risk: Risk) -> Text {
    match risk {
        Risk::Safe => tr!("safe"),
        Risk::Risky => tr!("risky"),
        Risk::Manual => tr!("manual"),
    }
}

/// For programs, also a class of a style sheet.
pub(super) fn risk_name(risk: Risk) -> &'static str {
    match risk {
        Risk::Safe => "safe",
        Risk::Risky => "risky",
        Risk::Manual => "manual",
    }
}

/// How many causes there are of each severity that there is; nothing when there is none.
pub(super) fn counts(diagnosis: &Diagnosis) -> Vec<(Severity, Text)> {
    let of = |wanted: Severity| {
        let count = diagnosis.causes().filter(|(_, finding)| finding.severity == wanted).count();
        let text = match wanted {
            Severity::Critical => tr!("{count} critical", count),
            Severity::Error => tr!("{count} {count?error|errors}", count),
            Severity::Warning => tr!("{count} {count?warning|warnings}", count),
            Severity::Note => tr!("{count} {count?note|notes}", count),
        };
        (count > 0).then_some((wanted, text))
    };
    SEVERITIES.into_iter().filter_map(of).collect()
}

/// Whether it counts as undetermined.
pub(super) fn is_untold(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Unknown(_) | Outcome::Broken(_) | Outcome::Found(Some(_)))
}

/// How many checks ended how.
pub(super) fn checks(diagnosis: &Diagnosis, lang: Lang) -> String {
    let count = |test: fn(&Outcome) -> bool| diagnosis.outcomes.iter().filter(|(_, outcome)| test(outcome)).count();
    let checks = tr!(
        "{all} {all?check|checks} in {seconds} s: {clear} clear, {na} not applicable, {unknown} undetermined",
        all = diagnosis.outcomes.len(),
        seconds = format!("{:.2}", diagnosis.took.as_secs_f64()),
        clear = count(|outcome| matches!(outcome, Outcome::Clear)),
        na = count(|outcome| matches!(outcome, Outcome::NotApplicable(_))),
        unknown = count(is_untold)
    );
    let skipped = count(|outcome| matches!(outcome, Outcome::Skipped));
    let rest = (skipped > 0).then(|| tr!(", {skipped} skipped", skipped).render(lang));
    checks.render(lang) + rest.as_deref().unwrap_or_default()
}

/// Why checks have not looked at everything, or need not have; those with one reason together.
pub(super) struct Reason {
    /// Whether it is for want of something that is nothing to want: it does not apply.
    pub(super) is_harmless: bool,
    /// In a word.
    pub(super) word: String,
    /// In a sentence.
    pub(super) why: String,
    /// The ids of the checks.
    pub(super) checks: Vec<&'static str>,
}

/// All of them; `all` also those that do not apply.
pub(super) fn reasons(diagnosis: &Diagnosis, all: bool, say: impl Fn(&Text) -> String) -> Vec<Reason> {
    let mut reasons: Vec<Reason> = Vec::new();
    for (check, outcome) in &diagnosis.outcomes {
        let left_out = tr!("as requested (--skip)");
        let (word, why, is_harmless) = match outcome {
            Outcome::Unknown(why) | Outcome::Found(Some(why)) => (tr!("undetermined"), why, false),
            Outcome::Broken(why) => (tr!("check failed"), why, false),
            Outcome::Skipped => (tr!("skipped"), &left_out, false),
            Outcome::NotApplicable(why) if all => (tr!("not applicable"), why, true),
            _ => continue,
        };
        let (word, why) = (say(&word), say(why));
        match reasons.iter_mut().find(|reason| reason.word == word && reason.why == why) {
            Some(reason) => reason.checks.push(check.id),
            None => reasons.push(Reason { is_harmless, word, why, checks: vec![check.id] }),
        }
    }
    reasons
}

/// The command that makes the first repair of a finding, where `fix` can; `target` is how the user named it.
pub(super) fn command(finding: &Finding, risk: Risk, target: &str) -> Option<String> {
    let risky = match risk {
        Risk::Safe => "",
        Risk::Risky => " --risky",
        Risk::Manual => return None,
    };
    let target = if target.is_empty() { String::new() } else { format!(" {}", quoted(target)) };
    Some(format!("sickbay fix{target} --only {}{risky}", finding.check.id))
}

/// How a stage stands: for programs, in a mark, in a word.
pub(super) fn state(state: &State) -> (&'static str, &'static str, Text) {
    match state {
        State::Ok => ("ok", "✓", tr!("intact")),
        State::Broken(_) => ("broken", "✗", tr!("broken")),
        State::Unknown(_) => ("unknown", "?", tr!("undetermined")),
        State::Closed(_) | State::NotApplicable(_) => ("none", "–", tr!("not applicable")),
    }
}

/// The moment as it stands in a report: RFC 3339 to the second, UTC.
pub(super) fn moment(time: jiff::Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// What is known of the target, with what each is called.
pub(super) fn target(report: &Report, lang: Lang) -> Vec<(Text, String)> {
    let target = &report.target;
    let mut all = Vec::new();
    if !target.description.is_empty() {
        let comma = if lang == Lang::ZhCn { "，" } else { ", " };
        let words: Vec<String> = target.description.iter().map(|text| text.render(lang)).collect();
        all.push((tr!("target"), words.join(comma)));
    }
    all.extend(target.pretty_name.clone().map(|name| (tr!("system"), name)));
    all.extend(target.kernel.clone().map(|version| (tr!("kernel"), version)));
    all.extend(target.donor.as_ref().map(|donor| (tr!("donor"), donor.render(lang))));
    let notes = target.notes.iter().map(|note| Text::verbatim(note).render(lang));
    let notes = notes.chain(target.remarks.iter().map(|remark| remark.render(lang)));
    all.extend(notes.map(|note| (tr!("note"), note)));
    all
}

/// What a proof is called.
pub(super) fn proof(one: &NamedProof<'_>) -> Text {
    match one.channel {
        Some("console") => tr!("root login on the console"),
        Some(channel) => tr!("root login by {channel}", channel),
        None => one.title.clone(),
    }
}

/// What became of a repair.
pub(super) fn applied(one: &Applied) -> Text {
    match (&one.failure, &one.journal) {
        (Some(why), _) => tr!("not repaired: {why}", why = why.clone()),
        (None, Some(journal)) if one.verified => tr!("repaired, journal entry {journal}", journal = journal.as_str()),
        (None, Some(journal)) => tr!("partly repaired, journal entry {journal}", journal = journal.as_str()),
        (None, None) => tr!("not repaired"),
    }
}

/// What was read, without what the places show.
pub(super) fn evidence(finding: &Finding) -> impl Iterator<Item = &Evidence> {
    let is_shown = |evidence: &Evidence| {
        finding.places.iter().filter_map(|place| place.line.as_ref()).any(|line| line.text == evidence.text)
    };
    finding.evidence.iter().filter(move |evidence| !is_shown(evidence))
}

/// A line in three: before the words that are pointed at, those, and behind them.
pub(super) fn parts(line: &Line) -> (&str, &str, &str) {
    let text = line.text.as_str();
    let offset = |column: usize| text.char_indices().nth(column).map_or(text.len(), |(offset, _)| offset);
    let start = offset(line.span.column.saturating_sub(1));
    let end = offset(line.span.column.saturating_sub(1).saturating_add(line.span.len.max(1))).max(start);
    (text.get(..start).unwrap_or(text), text.get(start..end).unwrap_or_default(), text.get(end..).unwrap_or_default())
}
