//! `--format sarif`: SARIF 2.1.0, as code hosts and editors read it. Each target is a run.

use jiff::Timestamp;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::model::about::About;
use crate::model::finding::{Finding, Place, Severity};
use crate::model::outcome::Outcome;
use crate::model::repair::{Change, Repair, Risk};
use crate::model::text::{Lang, Text};
use crate::report::Report;
use crate::report::forms::{Form, Part};
use crate::report::json_v1::finding_id;
use crate::report::visible::{escaped, visible};
use crate::report::words;

/// For code hosts and editors.
pub const FORM: Form = Form {
    name: "sarif",
    about: "For code hosts and editors: SARIF 2.1.0",
    render: |parts, style| {
        let runs: Vec<Value> = parts.iter().map(|part| run(part, style.lang)).collect();
        let document = json!({
            "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
            "version": "2.1.0",
            "runs": runs,
        });
        let text = serde_json::to_string_pretty(&document).map_err(|error| error.to_string())?;
        Ok(escaped(&text) + "\n")
    },
};

/// What paths of the target are relative to.
const ROOT: &str = "TARGETROOT";
/// A file that a repair makes anew is told up to this length.
const LONGEST: usize = 64 << 10;

fn run(part: &Part<'_>, lang: Lang) -> Value {
    let language = if lang == Lang::ZhCn { "zh-CN" } else { "en-US" };
    let driver = |rules: Vec<Value>| {
        json!({
            "name": "sickbay",
            "semanticVersion": env!("CARGO_PKG_VERSION"),
            "language": language,
            "rules": rules,
        })
    };
    let report = match part.report {
        Ok(report) => report,
        Err(why) => {
            let note = notification("error", &why.render(lang), None);
            let invocation = json!({
                "executionSuccessful": false,
                "exitCode": 2,
                "toolExecutionNotifications": [note],
            });
            return json!({
                "tool": {"driver": driver(Vec::new())},
                "invocations": [invocation],
                "results": [],
                "properties": {"target": visible(part.name)},
            });
        }
    };
    // Those that have something to say.
    let says = |check: &&(&'static About, Outcome)| matches!(check.1, Outcome::Found(_)) || words::is_untold(&check.1);
    let checks: Vec<&'static About> = report.diagnosis.outcomes.iter().filter(says).map(|(check, _)| *check).collect();
    let findings = report.diagnosis.findings.iter().enumerate();
    json!({
        "tool": {"driver": driver(checks.iter().map(|check| rule(check, report, lang)).collect())},
        "invocations": [invocation(report, &checks, lang)],
        "originalUriBaseIds": {ROOT: root(report, part.name)},
        "columnKind": "unicodeCodePoints",
        "results": findings.map(|(index, finding)| result(report, index, finding, &checks, lang)).collect::<Vec<_>>(),
        "properties": {
            "target": {
                "kind": report.target.kind,
                "name": visible(&report.target.name),
                "system": report.target.pretty_name.as_deref().map(visible),
                "kernel": report.target.kernel.as_deref().map(visible),
            },
        },
    })
}

/// Where the target's root is, as far as that has an address.
fn root(report: &Report, name: &str) -> Value {
    let description = json!({"text": format!("{} {}", report.target.kind, visible(&report.target.name))});
    match report.target.kind {
        "host" => json!({"uri": "file:///", "description": description}),
        "root" if name.starts_with('/') => {
            json!({"uri": format!("file://{}/", uri(name.trim_end_matches('/'))), "description": description})
        }
        _ => json!({"description": description}),
    }
}

/// A path as a part of an address.
fn uri(path: &str) -> String {
    let mut out = String::with_capacity(path.len());
    for byte in path.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => out.push(char::from(byte)),
            byte => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

fn level(severity: Severity) -> &'static str {
    match severity {
        Severity::Critical | Severity::Error => "error",
        Severity::Warning => "warning",
        Severity::Note => "note",
    }
}

fn rule(check: &'static About, report: &Report, lang: Lang) -> Value {
    let (title, page) = check.explanation(lang);
    // Of findings with several severities the worst.
    let of_check = report.diagnosis.findings.iter().filter(|finding| finding.check.id == check.id);
    let worst = of_check.map(|finding| finding.severity).min().unwrap_or(Severity::Warning);
    json!({
        "id": check.id,
        "shortDescription": {"text": title},
        "fullDescription": {"text": title},
        "help": {"text": page, "markdown": page},
        "defaultConfiguration": {"level": level(worst)},
        "properties": {"tags": [check.area.name()]},
    })
}

/// Something that kept a check from looking at everything.
fn notification(level: &str, why: &str, check: Option<(&About, usize)>) -> Value {
    let mut note = json!({"level": level, "message": {"text": visible(why)}});
    if let Some((check, index)) = check {
        note["associatedRule"] = json!({"id": check.id, "index": index});
    }
    note
}

fn invocation(report: &Report, checks: &[&'static About], lang: Lang) -> Value {
    let index = |check: &About| checks.iter().position(|one| one.id == check.id).unwrap_or_default();
    let notes = report.diagnosis.outcomes.iter().filter_map(|(check, outcome)| {
        let (level, why) = match outcome {
            Outcome::Unknown(why) | Outcome::Found(Some(why)) => ("warning", why),
            Outcome::Broken(why) => ("error", why),
            _ => return None,
        };
        Some(notification(level, &why.render(lang), Some((check, index(check)))))
    });
    let end = report.started.checked_add(jiff::SignedDuration::try_from(report.diagnosis.took).unwrap_or_default());
    let told = |time: Timestamp| time.strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string();
    let code = report.exit_code();
    json!({
        "executionSuccessful": code < 2,
        "exitCode": code,
        "startTimeUtc": told(report.started),
        "endTimeUtc": told(end.unwrap_or(report.started)),
        "toolExecutionNotifications": notes.collect::<Vec<_>>(),
    })
}

fn result(report: &Report, index: usize, finding: &Finding, checks: &[&'static About], lang: Lang) -> Value {
    let rule = checks.iter().position(|check| check.id == finding.check.id);
    let mut message = visible(&finding.message.render(lang));
    for more in finding.why.iter().chain(finding.notes.iter().filter(|note| !note.verbose).map(|note| &note.text)) {
        message.push('\n');
        message.push_str(&visible(&more.render(lang)));
    }
    let mut result = json!({
        "ruleId": finding.check.id,
        "level": level(finding.severity),
        "message": {"text": message},
        "partialFingerprints": {"sickbay/v1": fingerprint(finding)},
        "properties": {
            "id": finding_id(index),
            "severity": words::name(finding.severity),
            "causedBy": finding.caused_by.map(finding_id),
        },
    });
    if let Some(rule) = rule {
        result["ruleIndex"] = json!(rule);
    }
    if let Some(first) = finding.places.first() {
        result["locations"] = json!([location(first, lang)]);
    }
    let mut related: Vec<Value> = finding.places.iter().skip(1).map(|place| location(place, lang)).collect();
    // Where its cause is.
    let cause = finding.caused_by.and_then(|cause| report.diagnosis.findings.get(cause));
    if let Some((cause, place)) = cause.and_then(|cause| Some((cause, cause.places.first()?))) {
        let mut cause_at = location(place, lang);
        cause_at["message"] = json!({"text": visible(&cause.message.render(lang))});
        related.push(cause_at);
    }
    if !related.is_empty() {
        result["relatedLocations"] = json!(related);
    }
    let fixes: Vec<Value> = finding.repairs.iter().filter_map(|repair| fix(repair, lang)).collect();
    if !fixes.is_empty() {
        result["fixes"] = json!(fixes);
    }
    result
}

/// By what a finding is the same in another run: its check and its subject.
fn fingerprint(finding: &Finding) -> String {
    let identity = finding.identity();
    let text = format!("{}\n{}\n{}", identity.check, identity.subject, identity.kind.unwrap_or_default());
    Sha256::digest(text.as_bytes()).iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

fn location(place: &Place, lang: Lang) -> Value {
    let Some(path) = place.subject.path() else {
        let name = visible(&place.subject.to_string());
        return json!({"logicalLocations": [{"fullyQualifiedName": name, "kind": "resource"}]});
    };
    let mut physical = json!({"artifactLocation": artifact(path)});
    let mut location = json!({});
    if let Some(line) = &place.line {
        physical["region"] = json!({
            "startLine": line.span.line.max(1),
            "startColumn": line.span.column.max(1),
            "endColumn": line.span.column.max(1).saturating_add(line.span.len),
            "snippet": {"text": visible(&line.text)},
        });
        if let Some(label) = &line.label {
            location["message"] = json!({"text": visible(&label.render(lang))});
        }
    }
    location["physicalLocation"] = physical;
    location
}

fn artifact(path: &std::path::Path) -> Value {
    use std::os::unix::ffi::OsStrExt as _;
    let bytes = path.as_os_str().as_bytes();
    let relative = bytes.strip_prefix(b"/").unwrap_or(bytes);
    // An empty address is the root itself.
    let address = relative.iter().map(|byte| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => char::from(*byte).to_string(),
        byte => format!("%{byte:02X}"),
    });
    json!({"uri": address.collect::<String>(), "uriBaseId": ROOT})
}

/// A repair, where all of it is edits of text. What nobody may read is left out with the whole repair.
fn fix(repair: &Repair, lang: Lang) -> Option<Value> {
    if repair.risk == Risk::Manual || repair.changes.is_empty() {
        return None;
    }
    let changes: Option<Vec<Value>> = repair.changes.iter().map(edit).collect();
    let text = |text: &Text| visible(&text.render(lang));
    Some(json!({
        "description": {"text": text(&repair.title)},
        "artifactChanges": changes?,
    }))
}

fn edit(change: &Change) -> Option<Value> {
    let (path, before, after): (_, &[u8], _) = match change {
        Change::Edit { path, before, after } => (path, before, after),
        Change::Create { path, content, .. } => (path, b"", content),
        _ => return None,
    };
    let (before, after) = (std::str::from_utf8(before).ok()?, std::str::from_utf8(after).ok()?);
    if change.is_secret() || before.contains('\0') || after.contains('\0') || after.len() > LONGEST {
        return None;
    }
    Some(json!({"artifactLocation": artifact(path), "replacements": replacements(before, after)}))
}

/// Whole lines that go, each run with what comes in its place.
fn replacements(before: &str, after: &str) -> Vec<Value> {
    let patch = diffy::DiffOptions::new().set_context_len(0).create_patch(before, after);
    let mut all = Vec::new();
    for hunk in patch.hunks() {
        let old = hunk.old_range();
        let inserted: String = hunk
            .lines()
            .iter()
            .filter_map(|line| if let diffy::Line::Insert(text) = line { Some(*text) } else { None })
            .collect();
        // An insertion is behind the line that is named.
        let start = if old.is_empty() && !before.is_empty() { old.start() + 1 } else { old.start().max(1) };
        all.push(json!({
            "deletedRegion": {"startLine": start, "startColumn": 1, "endLine": start + old.len(), "endColumn": 1},
            "insertedContent": {"text": inserted},
        }));
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample::{golden, hostile, style};

    /// Applies what is to be replaced, as an editor does.
    fn edited(before: &str, replacements: &[Value]) -> String {
        let lines: Vec<&str> = before.split_inclusive('\n').collect();
        let mut out = String::new();
        let mut next = 0;
        for one in replacements {
            let at = |key: &str| one["deletedRegion"][key].as_u64().expect("a line") as usize - 1;
            out.push_str(&lines[next..at("startLine")].concat());
            out.push_str(one["insertedContent"]["text"].as_str().expect("a text"));
            next = at("endLine");
        }
        out + &lines[next..].concat()
    }

    #[test]
    fn an_edit_is_what_an_editor_makes_of_it() {
        for (before, after) in [
            ("a\nb\nc\n", "a\nB\nc\n"),
            ("a\nb\nc\n", "a\nb\nnew\nc\n"),
            ("a\nb\n", "new\na\nb\n"),
            ("a\nb\n", "a\nb\nnew\n"),
            ("a\nb\nc\nd\n", "b\nd\n"),
            ("", "new\nfile\n"),
            ("a\n", ""),
        ] {
            assert_eq!(edited(before, &replacements(before, after)), after, "{before:?}");
        }
    }

    #[test]
    fn what_the_standard_asks_for() {
        let report = hostile();
        let why = Text::verbatim("no \u{202e}such file");
        let parts = [Part { name: "/mnt", report: Ok(&report) }, Part { name: "b", report: Err(&why) }];
        let text = (FORM.render)(&parts, &style()).expect("a document");
        golden("report.sarif", &text);
        assert!(!text.contains('\u{202e}') && !text.contains("$6$"), "no hash of a password, nothing that reorders");
        let document: Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(document["version"], "2.1.0");
        let runs = document["runs"].as_array().expect("runs");
        assert_eq!(runs.len(), 2);
        assert_eq!(runs[1]["invocations"][0]["executionSuccessful"], false);
        let rules = runs[0]["tool"]["driver"]["rules"].as_array().expect("rules");
        let results = runs[0]["results"].as_array().expect("results");
        assert_eq!(results.len(), report.diagnosis.findings.len());
        let mut prints = std::collections::BTreeSet::new();
        for result in results {
            let index = result["ruleIndex"].as_u64().expect("an index") as usize;
            assert_eq!(rules[index]["id"], result["ruleId"]);
            assert!(matches!(result["level"].as_str(), Some("error" | "warning" | "note")));
            assert!(result["message"]["text"].as_str().is_some_and(|text| !text.is_empty()));
            assert!(prints.insert(result["partialFingerprints"]["sickbay/v1"].to_string()), "told apart");
            for location in result["locations"].as_array().into_iter().flatten() {
                let physical = &location["physicalLocation"];
                assert!(!physical.is_null() || !location["logicalLocations"].is_null());
                if let Some(uri) = physical["artifactLocation"]["uri"].as_str() {
                    assert!(!uri.starts_with('/') && uri.bytes().all(|byte| byte.is_ascii_graphic()), "{uri}");
                }
                let column = |key: &str| physical["region"][key].as_u64();
                assert!(
                    column("startLine").is_none_or(|line| line >= 1) && column("startColumn") <= column("endColumn")
                );
            }
            for fix in result["fixes"].as_array().into_iter().flatten() {
                assert!(!fix["artifactChanges"].as_array().expect("changes").is_empty());
            }
        }
    }
}
