//! `sickbay explain F1 TARGET` and `sickbay explain CHECK TARGET`: what was found there, with everything.

use std::path::Path;
use std::sync::Arc;

use sickbay_target::{Options, Target};

use super::super::{Context, Failure, Format};
use crate::engine::run::diagnose;
use crate::facts::Facts;
use crate::report::text::{Style, render, render_finding};
use crate::report::{Report, json_v1};
use crate::{checks, tr};

/// The place of the finding that is called `F1`.
pub(super) fn number(text: &str) -> Option<usize> {
    text.strip_prefix(['F', 'f'])?.parse::<usize>().ok()?.checked_sub(1)
}

/// One finding of all that `sickbay check TARGET` shows.
pub(super) fn numbered(context: &Context, name: &str, target: Option<&str>) -> Result<u8, Failure> {
    let report = look(target, &[])?;
    let Some((index, _)) = number(name).and_then(|index| Some((index, report.diagnosis.findings.get(index)?))) else {
        let count = report.diagnosis.findings.len();
        return Err(Failure(tr!("there is no finding {name}: {count} {count?was|were} found", name, count)));
    };
    match context.format {
        Format::Json => {
            let all = serde_json::to_value(json_v1::report(&report, context.style.lang)).unwrap_or_default();
            context.print_json(&all["findings"][index])?;
        }
        Format::Text => context.print(&render_finding(&report, index, &verbose(context))),
    }
    Ok(report.exit_code())
}

/// All that one check finds.
pub(super) fn of_check(context: &Context, id: &str, target: &str) -> Result<u8, Failure> {
    let report = look(Some(target), &[id.to_owned()])?;
    match context.format {
        Format::Json => context.print_json(&json_v1::report(&report, context.style.lang))?,
        Format::Text => context.print(&render(&report, &verbose(context), target)),
    }
    Ok(report.exit_code())
}

fn verbose(context: &Context) -> Style {
    Style { verbose: true, ..context.style }
}

fn look(target: Option<&str>, only: &[String]) -> Result<Report, Failure> {
    let started = jiff::Timestamp::now();
    let target = Target::open(target.map(Path::new), &Options::default())?;
    let chosen = checks::chosen_for(only, &target).map_err(Failure)?;
    let facts = Arc::new(Facts::new(Arc::new(target), None));
    let diagnosis = diagnose(&facts, &chosen);
    Ok(Report::new(started, &facts, diagnosis, None))
}
