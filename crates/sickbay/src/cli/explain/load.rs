//! `sickbay explain load`.

use std::time::Duration;

use super::super::{Context, Failure, Format, Past};
use super::over_time::watched;
use super::{DEADLINE, within_time};
use crate::facts::cpu::load::Load;
use crate::report::load;

/// So long is watched where nobody says how long: the kernel counts once in that time.
const USUAL: Duration = Duration::from_millis(5300);

/// Of this machine, or of a directory that holds what was written down of one.
pub(super) fn explain(context: &Context, targets: &[&str], time: Option<&str>, past: &Past) -> Result<u8, Failure> {
    let (facts, length) = watched(targets, time, USUAL, past)?;
    let told = within_time(DEADLINE.saturating_add(length), move || Ok(facts.get::<Load>()?))?;
    match context.format {
        Format::Json => context.print_json(&load::json(&told, &context.style))?,
        Format::Text => context.print(&load::render(&told, &context.style)),
    }
    Ok(0)
}
