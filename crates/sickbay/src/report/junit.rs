//! `--format junit`: the XML that build servers read. Each target is a test suite, each check a test case.

use quick_xml::events::{BytesDecl, BytesEnd, BytesStart, BytesText, Event};

use crate::model::about::About;
use crate::model::finding::{Finding, Severity};
use crate::model::outcome::Outcome;
use crate::model::text::{Lang, Text};
use crate::report::Report;
use crate::report::forms::{Form, Part};
use crate::report::json_v1::finding_id;
use crate::report::text::{Style, render_finding};
use crate::report::visible::{visible, visible_lines};
use crate::report::words;

/// For build servers.
pub const FORM: Form = Form {
    name: "junit",
    about: "For build servers: a test case for each check, a failure for what is found",
    render: |parts, style| {
        let document = document(parts, style).map_err(|error| error.to_string())?;
        String::from_utf8(document).map_err(|error| error.to_string())
    },
};

/// What a test case has in it.
struct Case<'a> {
    check: &'a About,
    /// `failure`, `error` or `skipped`, with its type, its message, and the rest of it.
    result: Option<(&'static str, String, String, String)>,
    /// What is worth knowing and no failure.
    out: String,
}

/// A suite in sums.
#[derive(Clone, Copy, Default)]
struct Sums {
    tests: usize,
    failures: usize,
    errors: usize,
    skipped: usize,
}

impl Sums {
    fn add(&mut self, result: Option<&str>) {
        self.tests += 1;
        match result {
            Some("failure") => self.failures += 1,
            Some("error") => self.errors += 1,
            Some(_) => self.skipped += 1,
            None => {}
        }
    }
}

fn case<'a>(report: &Report, check: &'a About, outcome: &Outcome, style: &Style) -> Case<'a> {
    let say = |text: &Text| text.render(style.lang);
    let found: Vec<(usize, &Finding)> =
        report.diagnosis.findings.iter().enumerate().filter(|(_, finding)| finding.check.id == check.id).collect();
    let plain = Style { colour: false, ascii: false, width: None, verbose: true, ..*style };
    let in_full = |index: usize| render_finding(report, index, &plain).trim_end().to_owned();
    let (bad, notes): (Vec<_>, Vec<_>) = found.iter().partition(|(_, finding)| finding.severity <= Severity::Warning);
    let untold = |kind: &str, why: &Text| ("error", kind.to_owned(), say(why), String::new());
    let result = match (bad.first(), outcome) {
        (Some((_, worst)), _) => {
            let mut text: Vec<String> = bad.iter().map(|(index, _)| in_full(*index)).collect();
            if let Outcome::Found(Some(why)) = outcome {
                text.push(format!("{}: {}", say(&crate::tr!("undetermined")), say(why)));
            }
            let message =
                bad.iter().map(|(index, finding)| format!("{} {}", finding_id(*index), say(&finding.message)));
            let message = message.collect::<Vec<_>>().join("; ");
            Some(("failure", words::name(worst.severity).to_owned(), message, text.join("\n\n")))
        }
        (None, Outcome::Unknown(why) | Outcome::Found(Some(why))) => Some(untold("undetermined", why)),
        (None, Outcome::Broken(why)) => Some(untold("broken", why)),
        (None, Outcome::NotApplicable(why)) => Some(("skipped", "not-applicable".to_owned(), say(why), String::new())),
        (None, Outcome::Skipped) => Some(("skipped", "skipped".to_owned(), "--skip".to_owned(), String::new())),
        (None, Outcome::Clear | Outcome::Found(None)) => None,
    };
    let out = notes.iter().map(|(index, _)| in_full(*index)).collect::<Vec<_>>().join("\n\n");
    Case { check, result, out }
}

/// Writes elements; attributes and text are what a stranger wrote.
struct Xml(quick_xml::Writer<Vec<u8>>);

type Result = std::io::Result<()>;

impl Xml {
    fn open(&mut self, name: &str, attributes: &[(&str, &str)]) -> Result {
        self.0.write_event(Event::Start(start(name, attributes)))
    }

    fn close(&mut self, name: &str) -> Result {
        self.0.write_event(Event::End(BytesEnd::new(name)))
    }

    fn element(&mut self, name: &str, attributes: &[(&str, &str)], text: &str) -> Result {
        if text.is_empty() {
            return self.0.write_event(Event::Empty(start(name, attributes)));
        }
        self.open(name, attributes)?;
        self.0.write_event(Event::Text(BytesText::new(&visible_lines(text))))?;
        self.close(name)
    }
}

fn start<'a>(name: &'a str, attributes: &[(&str, &str)]) -> BytesStart<'a> {
    let mut start = BytesStart::new(name);
    for (key, value) in attributes {
        start.push_attribute((*key, visible(value).as_str()));
    }
    start
}

fn document(parts: &[Part<'_>], style: &Style) -> std::io::Result<Vec<u8>> {
    let mut xml = Xml(quick_xml::Writer::new_with_indent(Vec::new(), b' ', 1));
    xml.0.write_event(Event::Decl(BytesDecl::new("1.0", Some("UTF-8"), None)))?;
    xml.open("testsuites", &[("name", "sickbay")])?;
    for part in parts {
        match part.report {
            Ok(report) => suite(&mut xml, report, style)?,
            Err(why) => unseen(&mut xml, part.name, &why.render(style.lang))?,
        }
    }
    xml.close("testsuites")?;
    let mut bytes = xml.0.into_inner();
    bytes.push(b'\n');
    Ok(bytes)
}

/// A target that could not be looked at.
fn unseen(xml: &mut Xml, name: &str, why: &str) -> Result {
    xml.open(
        "testsuite",
        &[("name", name), ("tests", "1"), ("failures", "0"), ("errors", "1"), ("skipped", "0"), ("time", "0.000")],
    )?;
    xml.open("testcase", &[("name", "target"), ("classname", "sickbay"), ("time", "0.000")])?;
    xml.element("error", &[("type", "undetermined"), ("message", why)], "")?;
    xml.close("testcase")?;
    xml.close("testsuite")
}

fn suite(xml: &mut Xml, report: &Report, style: &Style) -> Result {
    let cases: Vec<Case<'_>> =
        report.diagnosis.outcomes.iter().map(|(check, outcome)| case(report, check, outcome, style)).collect();
    let mut sums = Sums::default();
    cases.iter().for_each(|case| sums.add(case.result.as_ref().map(|(element, ..)| *element)));
    let number = |count: usize| count.to_string();
    xml.open(
        "testsuite",
        &[
            ("name", &report.target.name),
            ("tests", &number(sums.tests)),
            ("failures", &number(sums.failures)),
            ("errors", &number(sums.errors)),
            ("skipped", &number(sums.skipped)),
            ("time", &format!("{:.3}", report.diagnosis.took.as_secs_f64())),
            // The schema of Ant knows no zone; it is UTC.
            ("timestamp", words::moment(report.started).trim_end_matches('Z')),
        ],
    )?;
    xml.open("properties", &[])?;
    for (key, value) in properties(report, style.lang) {
        xml.element("property", &[("name", key), ("value", &value)], "")?;
    }
    xml.close("properties")?;
    for case in &cases {
        let class = format!("sickbay.{}", case.check.area.name());
        // A check takes no time of its own that is known.
        xml.open("testcase", &[("name", case.check.id), ("classname", &class), ("time", "0.000")])?;
        if let Some((element, kind, message, text)) = &case.result {
            xml.element(element, &[("type", kind), ("message", message)], text)?;
        }
        if !case.out.is_empty() {
            xml.element("system-out", &[], &case.out)?;
        }
        xml.close("testcase")?;
    }
    xml.close("testsuite")
}

fn properties(report: &Report, lang: Lang) -> Vec<(&'static str, String)> {
    let target = &report.target;
    let mut all = vec![
        ("sickbay.version", env!("CARGO_PKG_VERSION").to_owned()),
        ("target.kind", target.kind.to_owned()),
        ("target.name", target.name.clone()),
    ];
    let description: Vec<String> = target.description.iter().map(|text| text.render(lang)).collect();
    let known = [
        ("target.description", (!description.is_empty()).then(|| description.join(", "))),
        ("target.system", target.pretty_name.clone()),
        ("target.kernel", target.kernel.clone()),
    ];
    all.extend(known.into_iter().filter_map(|(key, value)| Some((key, value?))));
    all
}

#[cfg(test)]
mod tests {
    use quick_xml::Reader;
    use quick_xml::events::Event;

    use crate::report::forms::Part;
    use crate::report::sample::{golden, hostile, style};

    /// What `junit-10.xsd` of Jenkins asks for: element → where it may stand, what it must have.
    const RULES: &[(&str, &[&str], &[&str])] = &[
        ("testsuites", &[""], &[]),
        ("testsuite", &["testsuites"], &["name", "tests", "failures", "errors"]),
        ("properties", &["testsuite"], &[]),
        ("property", &["properties"], &["name", "value"]),
        ("testcase", &["testsuite"], &["name"]),
        ("failure", &["testcase"], &["type", "message"]),
        ("error", &["testcase"], &["type", "message"]),
        ("skipped", &["testcase"], &["type", "message"]),
        ("system-out", &["testcase"], &[]),
    ];

    #[test]
    fn build_servers_accept_it() {
        let report = hostile();
        let why = crate::model::text::Text::verbatim("no \u{1b}]0;such file <&\"'>");
        let parts = [Part { name: "a", report: Ok(&report) }, Part { name: "b\u{0}", report: Err(&why) }];
        let xml = (super::FORM.render)(&parts, &style()).expect("a document");
        golden("junit.xml", &xml);
        // XML 1.0 has no other control characters, escaped or not.
        assert!(xml.chars().all(|c| c >= ' ' && !matches!(c, '\u{7F}'..='\u{9F}') || matches!(c, '\n' | '\t')));
        assert!(!xml.contains("&#x") && !xml.contains("&#0") && !xml.contains("&#2"));
        let mut reader = Reader::from_str(&xml);
        let mut open: Vec<String> = vec![String::new()];
        let mut counts = (0, 0, 0, 0);
        loop {
            match reader.read_event().expect("XML") {
                event @ (Event::Start(_) | Event::Empty(_)) => {
                    let is_open = matches!(event, Event::Start(_));
                    let (Event::Start(start) | Event::Empty(start)) = event else { unreachable!("just asked") };
                    let name = start.name().as_ref().to_owned();
                    let (_, parents, needed) =
                        RULES.iter().find(|(known, ..)| *known == name).unwrap_or_else(|| panic!("{name} is unknown"));
                    let parent = open.last().expect("a parent");
                    assert!(parents.contains(&parent.as_str()), "{name} in {parent}");
                    for attribute in *needed {
                        assert!(
                            start.try_get_attribute(attribute).expect("attributes").is_some(),
                            "{name} {attribute}"
                        );
                    }
                    assert!(name != "property" || !is_open, "it has no content, not even blanks");
                    match name.as_str() {
                        "testcase" => counts.0 += 1,
                        "failure" => counts.1 += 1,
                        "error" => counts.2 += 1,
                        "skipped" => counts.3 += 1,
                        _ => {}
                    }
                    if is_open {
                        open.push(name);
                    }
                }
                Event::End(_) => _ = open.pop(),
                Event::Eof => break,
                _ => {}
            }
        }
        assert_eq!(open.len(), 1);
        assert_eq!(counts, (7, 2, 3, 1), "cases, failures, errors, skipped");
        assert!(xml.contains(r#"tests="6" failures="2" errors="2" skipped="1""#));
    }
}
