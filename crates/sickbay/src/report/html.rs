//! `--format html`: one page that needs nothing but itself: no script, no font, no image, no request. What a stranger wrote is
//! escaped by the template (askama escapes whatever it fills in), and what a browser may do is bounded by a policy of its own.

mod chart;
mod maker;

use askama::Template;
use base64ct::{Base64, Encoding as _};
use sha2::{Digest, Sha256};

use crate::model::text::{Lang, Text};
use crate::report::forms::{Form, Part};
use crate::report::json_v1::finding_id;
use crate::report::text::Style;
use crate::report::visible::visible;
use crate::report::words;
use crate::tr;

/// For browsers.
pub const FORM: Form = Form {
    name: "html",
    about: "A page for any browser, in one file: with diagrams of recordings",
    render: |parts, style| page(parts, style).render().map_err(|error| error.to_string()),
};

/// The only thing that is not escaped.
const CSS: &str = include_str!("html/page.css");

/// The page.
#[derive(Template)]
#[template(path = "report.html")]
struct Page {
    lang: &'static str,
    title: String,
    css: &'static str,
    /// The digest of the style sheet: nothing else may style the page.
    css_digest: String,
    version: &'static str,
    contents: String,
    parts: Vec<View>,
}

/// One target.
struct View {
    /// Distinguishes what it links to.
    number: usize,
    name: String,
    /// Class and words.
    verdict: Vec<(&'static str, String)>,
    checks: String,
    facts: Vec<(String, String)>,
    /// Why nothing can be said.
    failure: Option<String>,
    /// Severity, id, sentence of each cause.
    overview: Vec<(&'static str, String, String, String)>,
    sections: Vec<Block>,
}

/// A section.
enum Block {
    Text { title: String, text: String },
    Findings { title: String, list: Vec<Shown> },
    Applied { title: String, list: Vec<(String, &'static str, String, bool)> },
    Proofs { title: String, list: Vec<Row> },
    Charts { title: String, lead: String, list: Vec<chart::Chart> },
    Reasons { title: String, open: bool, list: Vec<(String, String, Vec<&'static str>)> },
}

/// A finding.
struct Shown {
    id: String,
    class: &'static str,
    severity: String,
    check: &'static str,
    message: String,
    places: Vec<Spot>,
    /// Name and sentence.
    remarks: Vec<(String, String)>,
    /// What stands only in the long form.
    more: Vec<String>,
    /// Source and text.
    evidence: Vec<(String, String)>,
    causes_title: String,
    causes: Vec<Shown>,
    fixes_title: String,
    fixes: Vec<Fix>,
    words: Words,
}

/// Words that a finding needs in each place.
#[derive(Clone)]
struct Words {
    evidence: String,
    more: String,
    changes: String,
}

/// A place.
struct Spot {
    name: String,
    line: Option<Marked>,
}

/// A line with what is pointed at.
struct Marked {
    number: usize,
    before: String,
    marked: String,
    after: String,
    label: String,
}

/// A repair.
struct Fix {
    class: &'static str,
    risk: String,
    title: String,
    command: Option<String>,
    /// Lines of a diff with their class, or what is done.
    changes: Vec<(&'static str, String)>,
}

/// A proof.
struct Row {
    title: String,
    stages: Vec<StageView>,
}

struct StageView {
    class: &'static str,
    mark: &'static str,
    word: String,
    title: String,
    why: String,
    finding: Option<String>,
}

/// Of one repair so many lines are shown.
const LINES: usize = 200;

fn page(parts: &[Part<'_>], style: &Style) -> Page {
    let say = |text: Text| visible(&text.render(style.lang));
    let views: Vec<View> = parts.iter().enumerate().map(|(at, part)| view(at + 1, part, style)).collect();
    let names: Vec<&str> = views.iter().map(|view| view.name.as_str()).collect();
    let version = env!("CARGO_PKG_VERSION");
    Page {
        lang: if style.lang == Lang::ZhCn { "zh-CN" } else { "en" },
        title: format!("sickbay: {}", names.join(", ")),
        css: CSS,
        css_digest: Base64::encode_string(&Sha256::digest(CSS.as_bytes())),
        version,
        contents: say(tr!("Findings at a glance")),
        parts: views,
    }
}

fn view(number: usize, part: &Part<'_>, style: &Style) -> View {
    let say = |text: &Text| visible(&text.render(style.lang));
    let report = match part.report {
        Ok(report) => report,
        Err(why) => {
            return View {
                number,
                name: visible(part.name),
                verdict: vec![("undetermined", say(&tr!("could not be looked at")))],
                checks: String::new(),
                facts: Vec::new(),
                failure: Some(say(why)),
                overview: Vec::new(),
                sections: Vec::new(),
            };
        }
    };
    let counts = words::counts(&report.diagnosis);
    let mut verdict: Vec<_> = counts.iter().map(|(severity, text)| (words::name(*severity), say(text))).collect();
    if verdict.is_empty() {
        let class = if report.diagnosis.something_unknown() { "undetermined" } else { "clear" };
        verdict.push((class, say(&tr!("nothing found"))));
    }
    let mut facts: Vec<(String, String)> =
        words::target(report, style.lang).into_iter().map(|(title, value)| (say(&title), visible(&value))).collect();
    facts.push((say(&tr!("checked")), words::moment(report.started)));
    let maker = maker::Maker { report, style, name: part.name };
    let overview = report.diagnosis.causes().map(|(index, finding)| {
        let severity = say(&words::severity(finding.severity));
        (words::name(finding.severity), severity, finding_id(index), say(&finding.message))
    });
    View {
        number,
        name: visible(&report.target.name),
        verdict,
        checks: visible(&words::checks(&report.diagnosis, style.lang)),
        facts,
        failure: None,
        overview: overview.collect(),
        sections: report.sections().iter().flat_map(|section| maker.blocks(section)).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample::{golden, healthy, hostile, many, recording, style};

    /// Elements that need no end.
    const VOID: [&str; 6] = ["meta", "br", "hr", "rect", "line", "polyline"];

    /// Checks that tags are closed in order, that nothing is loaded, that no name is given twice; tells how many tags there are.
    fn well_formed(page: &str) -> usize {
        let mut open: Vec<&str> = Vec::new();
        let mut names = std::collections::BTreeSet::new();
        let mut tags = 0;
        let body = page.replace(CSS, "");
        for piece in body.split('<').skip(1) {
            let (tag, _) = piece.split_once('>').unwrap_or_else(|| panic!("<{piece}"));
            let name = tag.split([' ', '\n', '/']).next().unwrap_or_default();
            tags += 1;
            if let Some(name) = tag.strip_prefix('/') {
                assert_eq!(open.pop(), Some(name.trim()), "</{name}>");
                continue;
            }
            if tag.starts_with('!') {
                continue;
            }
            assert!(!matches!(name, "script" | "img" | "link" | "iframe" | "object" | "form" | "base"), "<{tag}>");
            let attributes = tag.get(name.len()..).unwrap_or_default();
            for attribute in attributes.split_whitespace().filter_map(|word| word.split_once("=\"")) {
                let (key, value) = (attribute.0, attribute.1.trim_end_matches(['"', '/']));
                assert!(!key.starts_with("on") && !matches!(key, "src" | "style" | "xlink:href"), "<{tag}>");
                assert!(key != "href" || value.starts_with('#'), "<{tag}>");
                assert!(key != "id" || names.insert(value.to_owned()), "{value} twice");
            }
            if !VOID.contains(&name) && !tag.ends_with('/') {
                open.push(name);
            }
        }
        assert!(open.is_empty(), "{open:?}");
        tags
    }

    fn made(parts: &[Part<'_>], style: &Style) -> String {
        (FORM.render)(parts, style).expect("a page")
    }

    #[test]
    fn nothing_that_a_stranger_wrote_is_markup() {
        let report = hostile();
        let why = Text::verbatim("<script>alert(1)</script>");
        let parts =
            [Part { name: "/mnt/<b>", report: Ok(&report) }, Part { name: "\"><script>\u{1b}", report: Err(&why) }];
        let page = made(&parts, &style());
        golden("report.html", &page);
        well_formed(&page);
        for bad in ["<script", "<b>", "\u{1b}", "\u{202e}", "\u{0}", "onerror=\"", "javascript:"] {
            assert!(!page.contains(bad), "{bad:?}");
        }
        assert!(page.contains("&#60;script&#62;"), "told all the same");
        assert!(page.contains("default-src 'none'; style-src 'sha256-"));
    }

    #[test]
    fn in_both_languages_well_and_over_time() {
        for report in [healthy(), recording(), hostile()] {
            for lang in [Lang::En, Lang::ZhCn] {
                let page = made(&[Part { name: "", report: Ok(&report) }], &Style { lang, ..style() });
                well_formed(&page);
                let tag = if lang == Lang::En { "<html lang=\"en\">" } else { "<html lang=\"zh-CN\">" };
                assert!(page.contains(tag));
            }
        }
        let report = recording();
        let page = made(&[Part { name: "", report: Ok(&report) }], &style());
        golden("recording.html", &page.replace(CSS, ""));
        assert!(page.contains("<svg") && page.contains("class=\"incident"));
    }

    #[test]
    fn a_thousand_findings() {
        let report = many(1_000);
        let page = made(&[Part { name: "", report: Ok(&report) }], &style());
        assert!(page.matches("<article").count() == 1_000 && well_formed(&page) > 10_000);
    }
}
