//! `sickbay explain load`.

use std::sync::Arc;
use std::time::Duration;

use super::super::{Context, Failure, Format, Past, announce, duration, in_the_past};
use super::over_time::open;
use super::{DEADLINE, within_time};
use crate::facts::Facts;
use crate::facts::cpu::load::Load;
use crate::report::load;
use crate::tr;

/// So long is watched where nobody says how long: the kernel counts once in that time.
const USUAL: Duration = Duration::from_millis(5300);

/// Of this machine, or of a directory that holds what was written down of one.
pub(super) fn explain(context: &Context, targets: &[&str], time: Option<&str>, past: &Past) -> Result<u8, Failure> {
    let length = time.map(duration).transpose()?.unwrap_or(USUAL);
    let asked = past.asked()?;
    let target = in_the_past(open(targets)?, &asked)?;
    if target.recording().is_err() && target.is_this_machine() && length >= Duration::from_secs(2) {
        announce(&tr!("watching for {seconds} s", seconds = format!("{:.0}", length.as_secs_f64())));
    }
    let facts = Facts::new(Arc::new(target), None).with_window(Some(length)).with_asked(asked);
    let told = within_time(DEADLINE.saturating_add(length), move || Ok(facts.get::<Load>()?))?;
    match context.format {
        Format::Json => context.print_json(&load::json(&told, &context.style))?,
        Format::Text => context.print(&load::render(&told, &context.style)),
    }
    Ok(0)
}
