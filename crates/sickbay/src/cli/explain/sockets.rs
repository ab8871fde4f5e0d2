//! `sickbay explain sockets`.

use super::super::{Context, Failure, Format};
use super::{host_without_disks, within};
use crate::facts::network::sockets::{Owners, Sockets, States, Sum, holders_of_unhashed, unclosed};
use crate::report::sockets::{self, Told};

pub(super) fn explain(context: &Context) -> Result<u8, Failure> {
    let facts = host_without_disks()?;
    let told = within(move || {
        let (all, sum, owners) = (facts.get::<Sockets>()?, facts.get::<Sum>()?, facts.get::<Owners>()?);
        // A few are of programs that have just made them.
        let unhashed = if sum.unhashed > 0 { holders_of_unhashed(&facts, &sum) } else { Vec::new() };
        let unclosed = unclosed(&all, &owners);
        Ok(Told { sockets: all, sum, owners, unhashed, unclosed })
    })?;
    match context.format {
        Format::Json => context.print_json(&sockets::json(&told, &context.style))?,
        Format::Text => context.print(&sockets::render(&told, &context.style)),
    }
    Ok(0)
}

/// How many are in each state.
pub(super) fn states(context: &Context) -> Result<u8, Failure> {
    let facts = host_without_disks()?;
    let states = within(move || Ok(facts.get::<States>()?))?;
    match context.format {
        Format::Json => context.print_json(&serde_json::json!({"schema": "sickbay/sockets/v1", "states": states.0}))?,
        Format::Text => context.print(&sockets::by_state(&states.0)),
    }
    Ok(0)
}
