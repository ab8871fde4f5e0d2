//! `sickbay explain 'the text of an error'`.

use super::super::{Context, Failure, Format};
use super::host;
use crate::ask::symptom::matching;
use crate::report::symptom as report;
use crate::{checks, tr};

pub(super) fn explain(context: &Context, text: &str) -> Result<u8, Failure> {
    let found = matching(text);
    let Some(first) = found.first() else {
        return Err(Failure(match checks::meant(text) {
            Some(near) => tr!("{text} is not a check: did you mean {near}?", text, near),
            None => tr!("{text} is neither a check (see sickbay list) nor a known error", text),
        }));
    };
    let causes = first.ranked(&host()?);
    match context.format {
        Format::Json => context.print_json(&report::json(first, &causes, &context.style))?,
        Format::Text => context.print(&report::render(first, &causes, &context.style)),
    }
    Ok(0)
}
