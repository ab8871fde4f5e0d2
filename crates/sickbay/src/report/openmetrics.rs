//! `--format openmetrics`: gauges for Prometheus, as node_exporter's textfile collector takes them. There are as many series as
//! there are checks, and of what is found no more than [`SUBJECTS`].

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use crate::model::finding::{Finding, Severity};
use crate::model::measured::{Measured, Unit};
use crate::model::outcome::Outcome;
use crate::report::Report;
use crate::report::forms::{Form, Part};
use crate::report::visible::visible;
use crate::report::words::{self, SEVERITIES};

/// For Prometheus.
pub const FORM: Form = Form {
    name: "openmetrics",
    about: "For Prometheus: a file for node_exporter's textfile collector",
    render: |parts, _| Ok(render(parts)),
};

/// So many subjects and measured values are told of each target.
const SUBJECTS: usize = 100;
/// So many characters of a name that a stranger chose.
const LABEL: usize = 128;

/// The series of one name, which stand together.
struct Family {
    name: &'static str,
    unit: &'static str,
    help: &'static str,
    lines: Vec<String>,
    /// A series is told once.
    seen: BTreeSet<String>,
}

impl Family {
    fn new(name: &'static str, unit: &'static str, help: &'static str) -> Family {
        Family { name, unit, help, lines: Vec::new(), seen: BTreeSet::new() }
    }

    fn add(&mut self, labels: &[(&str, &str)], value: impl std::fmt::Display) {
        let labels: Vec<String> = labels.iter().map(|(name, value)| format!("{name}=\"{}\"", label(value))).collect();
        let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
        if self.seen.insert(labels.clone()) {
            self.lines.push(format!("{}{labels} {value}", self.name));
        }
    }

    fn write(&self, out: &mut String) {
        if self.lines.is_empty() {
            return;
        }
        let _ = writeln!(out, "# HELP {} {}\n# TYPE {} gauge", self.name, self.help, self.name);
        if !self.unit.is_empty() {
            let _ = writeln!(out, "# UNIT {} {}", self.name, self.unit);
        }
        for line in &self.lines {
            let _ = writeln!(out, "{line}");
        }
    }
}

/// A label's value: short, and with nothing in it that ends it.
fn label(value: &str) -> String {
    let shown = visible(value);
    let mut kept: String = shown.chars().take(LABEL).collect();
    if kept.len() < shown.len() {
        kept.push('…');
    }
    kept.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

/// Families of what was measured: by unit, with the value's factor.
fn measure(unit: Unit) -> (&'static str, &'static str, &'static str, &'static str, f64) {
    match unit {
        Unit::Bytes => {
            ("sickbay_measured_bytes", "bytes", "Amounts measured for findings.", "sickbay_limit_bytes", 1.0)
        }
        Unit::Seconds => {
            ("sickbay_measured_seconds", "seconds", "Times measured for findings.", "sickbay_limit_seconds", 1.0)
        }
        Unit::Percent => {
            ("sickbay_measured_ratio", "ratio", "Shares measured for findings.", "sickbay_limit_ratio", 0.01)
        }
        Unit::Count => {
            ("sickbay_measured_things", "things", "Numbers counted for findings.", "sickbay_limit_things", 1.0)
        }
        Unit::PerSecond => (
            "sickbay_measured_per_second",
            "per_second",
            "Rates measured for findings.",
            "sickbay_limit_per_second",
            1.0,
        ),
        Unit::BytesPerSecond => (
            "sickbay_measured_bytes_per_second",
            "bytes_per_second",
            "Throughput measured for findings.",
            "sickbay_limit_bytes_per_second",
            1.0,
        ),
    }
}

/// What the culprit is called in a label: what stays from run to run.
fn subject(finding: &Finding) -> String {
    let places = || finding.places.first().map(|place| &place.subject);
    finding.subject.as_ref().or_else(places).map_or_else(String::new, |subject| match subject.path() {
        // Not the line's text: it may be secret, and changes.
        Some(path) => path.display().to_string(),
        None => subject.to_string(),
    })
}

fn state(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Clear => "clear",
        Outcome::Found(_) => "found",
        Outcome::NotApplicable(_) => "not-applicable",
        Outcome::Skipped => "skipped",
        Outcome::Unknown(_) => "undetermined",
        Outcome::Broken(_) => "broken",
    }
}

fn number(value: f64) -> String {
    match value {
        value if value.is_nan() => "NaN".to_owned(),
        value if value.is_infinite() => if value > 0.0 { "+Inf" } else { "-Inf" }.to_owned(),
        value => value.to_string(),
    }
}

fn render(parts: &[Part<'_>]) -> String {
    let mut build = Family::new("sickbay_build_info", "", "The version of sickbay that wrote this.");
    build.add(&[("version", env!("CARGO_PKG_VERSION"))], 1);
    let mut up = Family::new("sickbay_up", "", "Whether the target could be looked at.");
    let mut last = Family::new("sickbay_last_run_timestamp_seconds", "seconds", "When the look began, since 1970.");
    let mut took = Family::new("sickbay_duration_seconds", "seconds", "How long the look took.");
    let mut undetermined = Family::new(
        "sickbay_undetermined",
        "",
        "Checks that could not look at everything, for which silence proves nothing.",
    );
    let mut severities =
        Family::new("sickbay_findings_by_severity", "", "All findings, those caused by another finding included.");
    let mut checks = Family::new("sickbay_findings", "", "Findings of each check that found something.");
    let mut states = Family::new(
        "sickbay_check_state",
        "",
        "How each check ended: clear, found, not-applicable, skipped, undetermined or broken.",
    );
    let mut subjects = Family::new("sickbay_finding", "", "Each finding by its culprit; at most a hundred.");
    let mut left_out = Family::new("sickbay_findings_left_out", "", "Findings that have no series of their own.");
    let mut measured: BTreeMap<&'static str, Family> = BTreeMap::new();
    for part in parts {
        let report = match part.report {
            Ok(report) => report,
            Err(_) => {
                up.add(&[("target", part.name)], 0);
                continue;
            }
        };
        let target = report.target.name.as_str();
        up.add(&[("target", target)], 1);
        last.add(&[("target", target)], number(report.started.as_millisecond() as f64 / 1000.0));
        took.add(&[("target", target)], number(report.diagnosis.took.as_secs_f64()));
        let untold = report.diagnosis.outcomes.iter().filter(|(_, outcome)| words::is_untold(outcome)).count();
        undetermined.add(&[("target", target)], untold);
        for severity in SEVERITIES {
            let count = report.diagnosis.findings.iter().filter(|finding| finding.severity == severity).count();
            severities.add(&[("target", target), ("severity", words::name(severity))], count);
        }
        for (check, outcome) in &report.diagnosis.outcomes {
            let labels =
                [("target", target), ("check", check.id), ("area", check.area.name()), ("state", state(outcome))];
            states.add(&labels, 1);
        }
        of_findings(report, target, &mut checks, &mut subjects, &mut left_out, &mut measured);
    }
    let mut out = String::new();
    for family in [&build, &up, &last, &took, &undetermined, &severities, &checks, &states, &subjects, &left_out] {
        family.write(&mut out);
    }
    measured.values().for_each(|family| family.write(&mut out));
    out.push_str("# EOF\n");
    out
}

fn of_findings(
    report: &Report,
    target: &str,
    checks: &mut Family,
    subjects: &mut Family,
    left_out: &mut Family,
    measured: &mut BTreeMap<&'static str, Family>,
) {
    let mut by_check: BTreeMap<(&str, Severity), usize> = BTreeMap::new();
    for finding in &report.diagnosis.findings {
        *by_check.entry((finding.check.id, finding.severity)).or_default() += 1;
    }
    for ((check, severity), count) in by_check {
        checks.add(&[("target", target), ("check", check), ("severity", words::name(severity))], count);
    }
    let mut values = 0;
    for finding in report.diagnosis.findings.iter().take(SUBJECTS) {
        let (check, severity, subject) = (finding.check.id, words::name(finding.severity), subject(finding));
        let labels = [("target", target), ("check", check), ("severity", severity), ("subject", &subject)];
        subjects.add(&labels, 1);
        for Measured { name, value, unit, limit } in &finding.measured {
            values += 1;
            if values > SUBJECTS {
                break;
            }
            let (family, unit, help, bound, factor) = measure(*unit);
            let labels = [("target", target), ("check", check), ("subject", &subject), ("name", name)];
            let mut add = |family, help, value: f64| {
                let family = measured.entry(family).or_insert_with(|| Family::new(family, unit, help));
                family.add(&labels, number(value * factor));
            };
            add(family, help, *value);
            if let Some(limit) = limit {
                add(bound, "What such a value may be at most, or must be at least.", *limit);
            }
        }
    }
    left_out.add(&[("target", target)], report.diagnosis.findings.len().saturating_sub(SUBJECTS));
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::report::sample::{golden, hostile, many, style};

    /// What the text format asks for: comments before their series, every series once, every label closed.
    fn check(text: &str) -> usize {
        let mut families = BTreeSet::new();
        let mut current = String::new();
        let mut series = BTreeSet::new();
        assert!(text.ends_with("\n# EOF\n"));
        for line in text.lines().filter(|line| *line != "# EOF") {
            if let Some(rest) = line.strip_prefix("# HELP ") {
                current = rest.split(' ').next().expect("a name").to_owned();
                assert!(families.insert(current.clone()), "{current} is there twice");
            } else if let Some(rest) = line.strip_prefix("# TYPE ") {
                assert_eq!(rest, format!("{current} gauge"));
            } else if let Some(rest) = line.strip_prefix("# UNIT ") {
                let (name, unit) = rest.split_once(' ').expect("a unit");
                assert!(name == current && name.ends_with(unit), "{line}");
            } else {
                let name = line.split(['{', ' ']).next().expect("a name");
                assert_eq!(name, current);
                let (labels, value) = line.rsplit_once(' ').expect("a value");
                assert!(value.parse::<f64>().is_ok(), "{line}");
                assert!(series.insert(labels.to_owned()), "{labels} is there twice");
                // Quotes inside are escaped: outside of escapes their number is even.
                let unescaped = labels.replace("\\\\", "").replace("\\\"", "");
                assert_eq!(unescaped.matches('"').count() % 2, 0, "{line}");
            }
        }
        series.len()
    }

    #[test]
    fn prometheus_takes_it() {
        let report = hostile();
        let why = crate::model::text::Text::verbatim("no such file");
        let parts = [Part { name: "a", report: Ok(&report) }, Part { name: "b\"\n\\", report: Err(&why) }];
        let text = (FORM.render)(&parts, &style()).expect("a document");
        golden("openmetrics.prom", &text);
        check(&text);
        assert!(text.contains(r#"sickbay_up{target="b\"\\n\\"} 0"#), "{text}");
    }

    #[test]
    fn there_are_no_more_series_than_there_may_be() {
        let report = many(5_000);
        let text = (FORM.render)(&[Part { name: "", report: Ok(&report) }], &style()).expect("a document");
        let checks = report.diagnosis.outcomes.len();
        assert!(check(&text) < checks * 2 + 3 * SUBJECTS + 20);
        assert!(text.contains("sickbay_findings_left_out{target=\"/mnt\"} 4900"), "{text}");
    }
}
