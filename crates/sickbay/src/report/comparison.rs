//! The target beside the donor: a table for people, a field for programs.

use std::fmt::Write as _;

use schemars::JsonSchema;
use serde::Serialize;

use crate::facts::packages::comparison::{Comparison, Difference, is_far_fewer};
use crate::facts::packages::configuration::{Changed, Configuration, How};
use crate::model::text::Text;
use crate::report::json_v1::Tool;
use crate::report::text::{Style, printable};
use crate::tr;

/// How many rows of a kind are shown to those who do not ask for all.
const SHOWN: usize = 8;

/// Renders it as a table, for people.
pub(super) fn render(comparison: &Comparison, style: &Style) -> String {
    let donor = comparison.donor.as_str();
    table(&tr!("compared with the donor {donor} (target | donor)", donor), comparison, None, style)
}

/// Two systems beside each other.
pub fn render_diff([first, second]: [String; 2], files: &Comparison, set: &Configuration, style: &Style) -> String {
    if files.is_same() && set.is_same() {
        let same = tr!("{first} and {second} do not differ in what is compared", first, second);
        return format!("{}\n", printable(&same.render(style.lang)));
    }
    table(&tr!("{first} | {second}", first, second), files, Some(set), style)
}

fn table(title: &Text, comparison: &Comparison, set: Option<&Configuration>, style: &Style) -> String {
    let mut out = String::new();
    let say = |text: Text| printable(&text.render(style.lang));
    let _ = writeln!(out, "{}", say(title.clone()));
    let mut group = |title: Text, rows: Vec<String>, all: usize| {
        if all == 0 {
            return;
        }
        let _ = writeln!(out, "  {} ({all})", say(title));
        let shown = if style.verbose { rows.len() } else { SHOWN };
        for row in rows.iter().take(shown) {
            let _ = writeln!(out, "    {}", printable(row));
        }
        more(&mut out, "    ", rows.len().saturating_sub(shown), style);
    };
    if let Some(kernel) = &comparison.kernel {
        group(tr!("a different kernel: its modules and /boot are not compared"), vec![row(kernel, |it| it.clone())], 1);
    }
    let mut counts: Vec<&Difference<usize>> = comparison.counts.iter().filter(|one| one.ours != one.theirs).collect();
    counts.sort_by_key(|one| !is_far_fewer(one));
    let mark = |one: &Difference<usize>| if is_far_fewer(one) { " !" } else { "" };
    let rows: Vec<String> =
        counts.iter().map(|one| format!("{}{}", row(one, |it| it.to_string()), mark(one))).collect();
    group(tr!("directories with a different number of files"), rows, counts.len());
    let texts = |list: &[Difference<String>]| {
        // What the donor has and the target has not comes first.
        let mut list: Vec<&Difference<String>> = list.iter().collect();
        list.sort_by_key(|one| (one.ours.is_some(), one.theirs.is_none()));
        list.into_iter().map(|one| row(one, |it| it.clone())).collect::<Vec<_>>()
    };
    group(tr!("links"), texts(&comparison.links), comparison.links.len());
    let modes = comparison.modes.iter().map(|one| row(one, |it| format!("{it:04o}"))).collect();
    group(tr!("modes"), modes, comparison.modes.len());
    group(tr!("enabled units"), texts(&comparison.units), comparison.units.len());
    group(tr!("packages"), texts(&comparison.packages), comparison.packages.len());
    group(tr!("kernel parameters in files"), texts(&comparison.sysctl), comparison.sysctl.len());
    if let Some(Configuration { files, running, limits, .. }) = set {
        group(tr!("kernel parameters in force"), texts(running), running.len());
        group(tr!("limits of the first process"), texts(limits), limits.len());
        if !files.is_empty() {
            let _ = writeln!(out, "  {} ({})", say(tr!("files of /etc")), files.len());
        }
        // A file that both have says more than one that only one of them has.
        let mut files: Vec<&Changed> = files.iter().collect();
        files.sort_by_key(|one| !matches!(one.how, How::Lines(_)));
        let (of_files, of_lines) = if style.verbose { (usize::MAX, usize::MAX) } else { (FILES, LINES) };
        for one in files.iter().take(of_files) {
            let _ = writeln!(out, "    {}", say(in_words(one)));
            let lines = if let How::Lines(lines) = &one.how { lines.as_slice() } else { &[] };
            lines.iter().take(of_lines).for_each(|line| _ = writeln!(out, "      {}", printable(line)));
            more(&mut out, "      ", lines.len().saturating_sub(of_lines), style);
        }
        more(&mut out, "    ", files.len().saturating_sub(of_files), style);
    }
    if comparison.incomplete || set.is_some_and(|set| set.incomplete) {
        let _ = writeln!(out, "  {}", say(tr!("the trees are too large: they were compared only in part")));
    }
    out.push('\n');
    out
}

/// As many files, and of each as many lines, are shown to those who do not ask for all.
const FILES: usize = 20;
const LINES: usize = 6;

/// Says that there are more rows than were shown.
fn more(out: &mut String, indent: &str, count: usize, style: &Style) {
    if count > 0 {
        let text = tr!("… and {count} more (--verbose)", count);
        let _ = writeln!(out, "{indent}{}", printable(&text.render(style.lang)));
    }
}

fn in_words(one: &Changed) -> Text {
    let path = one.path.as_str();
    match &one.how {
        How::OnlyFirst => tr!("{path}: only in the first", path),
        How::OnlySecond => tr!("{path}: only in the second", path),
        How::Lines(_) => tr!("{path}:", path),
        How::Somehow => tr!("{path}: not the same", path),
        How::Hidden => tr!("{path}: not the same; not shown, since not everybody may read it", path),
        How::Unread(why) => tr!("{path} could not be read: {error}", path, error = why.as_str()),
    }
}

fn row<T>(one: &Difference<T>, show: impl Fn(&T) -> String) -> String {
    let side = |value: &Option<T>| value.as_ref().map_or_else(|| "-".to_owned(), &show);
    format!("{}: {} | {}", one.name, side(&one.ours), side(&one.theirs))
}

/// The target beside the donor. Of each pair the first value is the target's, the second the donor's; `null` where one has
/// none.
#[derive(Debug, Serialize, JsonSchema)]
pub struct ComparisonV1 {
    /// What the donor is called.
    pub donor: String,
    /// The newest kernels, where they are not the same.
    pub kernel: Option<DifferenceV1<String>>,
    /// Files, links and directories below each top-level directory.
    pub counts: Vec<DifferenceV1<usize>>,
    /// Symbolic links and what they say.
    pub links: Vec<DifferenceV1<String>>,
    /// Links by which units are enabled.
    pub units: Vec<DifferenceV1<String>>,
    /// Permission bits, in octal.
    pub modes: Vec<DifferenceV1<String>>,
    /// Packages and their versions.
    pub packages: Vec<DifferenceV1<String>>,
    /// Kernel parameters that files set.
    pub sysctl: Vec<DifferenceV1<String>>,
    /// Whether something was not compared for want of time.
    pub incomplete: bool,
}

/// What two machines have in two ways.
#[derive(Debug, Serialize, JsonSchema)]
pub struct DifferenceV1<T> {
    /// A path or a name.
    pub name: String,
    /// The target's.
    pub target: Option<T>,
    /// The donor's.
    pub donor: Option<T>,
}

fn all<T, U>(list: &[Difference<T>], show: impl Fn(&T) -> U) -> Vec<DifferenceV1<U>> {
    list.iter()
        .map(|one| DifferenceV1 {
            name: one.name.clone(),
            target: one.ours.as_ref().map(&show),
            donor: one.theirs.as_ref().map(&show),
        })
        .collect()
}

/// The document for programs.
pub(super) fn v1(comparison: &Comparison) -> ComparisonV1 {
    ComparisonV1 {
        donor: comparison.donor.clone(),
        kernel: comparison.kernel.as_ref().and_then(|one| all(std::slice::from_ref(one), String::clone).pop()),
        counts: all(&comparison.counts, |it| *it),
        links: all(&comparison.links, String::clone),
        units: all(&comparison.units, String::clone),
        modes: all(&comparison.modes, |it| format!("{it:04o}")),
        packages: all(&comparison.packages, String::clone),
        sysctl: all(&comparison.sysctl, String::clone),
        incomplete: comparison.incomplete,
    }
}

/// Two systems beside each other. Of each pair, `target` is the first's value and `donor` the second's.
#[derive(Debug, Serialize, JsonSchema)]
pub struct DiffV1 {
    /// Always `sickbay/diff/v1`.
    pub schema: &'static str,
    /// Who wrote it.
    pub tool: Tool,
    /// What the first is called.
    pub first: String,
    /// What the second is called.
    pub second: String,
    /// Files, packages, units.
    #[serde(flatten)]
    pub comparison: ComparisonV1,
    /// Files below `/etc`.
    pub configuration: Vec<ChangedV1>,
    /// Kernel parameters in force, of two that run.
    pub running: Vec<DifferenceV1<String>>,
    /// Limits of the first process, soft:hard, of two that run.
    pub limits: Vec<DifferenceV1<String>>,
}

/// A file that differs.
#[derive(Debug, Serialize, JsonSchema)]
pub struct ChangedV1 {
    /// Its path.
    pub path: String,
    /// `first`, `second` (only there), `lines`, `bytes`, `hidden` (not everybody may read it) or `unread`.
    pub how: &'static str,
    /// The lines, each with `-` or `+`; why it could not be read.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub lines: Vec<String>,
}

/// The document for programs.
pub fn diff([first, second]: [String; 2], files: &Comparison, set: &Configuration) -> DiffV1 {
    let changed = |one: &Changed| {
        let (how, lines) = match &one.how {
            How::OnlyFirst => ("first", Vec::new()),
            How::OnlySecond => ("second", Vec::new()),
            How::Lines(lines) => ("lines", lines.clone()),
            How::Somehow => ("bytes", Vec::new()),
            How::Hidden => ("hidden", Vec::new()),
            How::Unread(why) => ("unread", vec![why.clone()]),
        };
        ChangedV1 { path: one.path.clone(), how, lines }
    };
    let mut comparison = v1(files);
    comparison.incomplete |= set.incomplete;
    DiffV1 {
        schema: "sickbay/diff/v1",
        tool: Tool { version: env!("CARGO_PKG_VERSION") },
        first,
        second,
        comparison,
        configuration: set.files.iter().map(changed).collect(),
        running: all(&set.running, String::clone),
        limits: all(&set.limits, String::clone),
    }
}
