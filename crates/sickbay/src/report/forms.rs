//! The forms in which a report can be had: one file each, all from the same data. A new one is a file and a line of [`FORMS`].

use super::{Report, html, json_v1, junit, markdown, openmetrics, sarif, text};
use crate::model::text::Text;
use crate::report::text::Style;

/// One target of a run.
#[derive(Clone, Copy, Debug)]
pub struct Part<'a> {
    /// As the user named it; empty for this machine.
    pub name: &'a str,
    /// What is said of it, or why nothing can be.
    pub report: Result<&'a Report, &'a Text>,
}

/// A form of report.
#[derive(Clone, Copy, Debug)]
pub struct Form {
    /// As `--format` has it.
    pub name: &'static str,
    /// What it is for, as `--help` has it.
    pub about: &'static str,
    /// Writes a whole document; an error is a fault of ours.
    pub render: fn(&[Part<'_>], &Style) -> Result<String, String>,
}

/// All of them, the usual one first.
pub const FORMS: &[Form] =
    &[text::FORM, json_v1::FORM, html::FORM, markdown::FORM, junit::FORM, sarif::FORM, openmetrics::FORM];

impl Form {
    /// The one of that name.
    pub fn of(name: &str) -> Option<&'static Form> {
        FORMS.iter().find(|form| form.name.eq_ignore_ascii_case(name))
    }
}
