//! The limits of what neither systemd nor PAM started.

use sickbay_formats::procfs::limits::limit;
use sickbay_formats::rlimits;

use super::begun::begun;
use super::beside::others;
use super::supervisor::{by_supervisor, supervisor};
use super::{Chain, both, count_last, layer};
use crate::facts::Facts;
use crate::facts::limits::manager::First;
use crate::facts::limits::process::Origin;
use crate::model::outcome::Skip;
use crate::model::text::Text;
use crate::tr;

/// A process that neither systemd nor PAM started: its limits are those of who started it.
pub(super) fn inherited(facts: &Facts, who: Text, origin: &Origin) -> Result<Chain, Skip> {
    let first = facts.get::<First>()?;
    let supervisor = supervisor(facts, origin);
    let mut rows = Vec::new();
    for resource in rlimits::ALL {
        let mut row = begun(facts, &first, resource, Some(origin));
        for (pid, comm) in origin.ancestors.iter().rev().filter(|(pid, _)| *pid != 1) {
            let text = facts.root().read(format!("/proc/{pid}/limits")).unwrap_or_default();
            let Some(found) = limit(&text, resource.proc) else { continue };
            row.layers.push(layer(Text::verbatim(format!("{comm} (PID {pid})")), both((found.soft, found.hard))));
        }
        count_last(&mut row);
        if let Some((file, settings)) = &supervisor {
            // What it started with is what its parent has.
            let started = origin.under("supervisord").and_then(|pid| {
                let above = origin.ancestors.iter().skip_while(|(other, _)| *other != pid).nth(1)?.0;
                let text = facts.root().read(format!("/proc/{above}/limits")).ok()?;
                limit(&text, resource.proc).map(|limit| (limit.soft, limit.hard))
            });
            row.after = started;
            by_supervisor(&mut row, file, settings, &first);
        }
        rows.push(row);
    }
    let mut remarks = Vec::new();
    if let Some((pid, comm)) = origin.ancestors.first().filter(|_| supervisor.is_none()) {
        remarks.push(tr!("no unit and no session: it has what {comm} (PID {pid}) gave it when it was started, by hand or by a script", comm, pid));
    }
    Ok(Chain { who, rows, beside: others(facts, Some(origin)), remarks })
}
