//! The target beside the donor: a table for people, a field for programs.

use std::fmt::Write as _;

use schemars::JsonSchema;
use serde::Serialize;

use crate::facts::packages::comparison::{Comparison, Difference, is_far_fewer};
use crate::model::text::Text;
use crate::report::text::{Style, printable};
use crate::tr;

/// How many rows of a kind are shown to those who do not ask for all.
const SHOWN: usize = 8;

/// The table.
pub(super) fn render(comparison: &Comparison, style: &Style) -> String {
    let mut out = String::new();
    let say = |text: Text| printable(&text.render(style.lang));
    let donor = comparison.donor.as_str();
    let _ = writeln!(out, "{}", say(tr!("compared with the donor {donor} (target | donor)", donor)));
    let mut group = |title: Text, rows: Vec<String>, all: usize| {
        if all == 0 {
            return;
        }
        let _ = writeln!(out, "  {} ({all})", say(title));
        let shown = if style.verbose { rows.len() } else { SHOWN };
        for row in rows.iter().take(shown) {
            let _ = writeln!(out, "    {}", printable(row));
        }
        if rows.len() > shown {
            let _ = writeln!(out, "    {}", say(tr!("… and {count} more (--verbose)", count = rows.len() - shown)));
        }
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
    if comparison.incomplete {
        let _ = writeln!(out, "  {}", say(tr!("the trees are too large: they were compared only in part")));
    }
    out.push('\n');
    out
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

/// For programs.
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
