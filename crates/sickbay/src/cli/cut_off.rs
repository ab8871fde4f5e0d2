//! Repairs that a power loss or a signal cut off: shown, asked for and taken back before anything else is repaired.

use std::io::{BufRead, Write};
use std::path::Path;

use sickbay_target::Access;

use super::{Context, Failure, Format, TargetArgs};
use crate::model::text::Text;
use crate::repair::held::Which;
use crate::repair::journal::Pending;
use crate::repair::undo::{Force, Listed};
use crate::repair::{held, undo};
use crate::tr;

/// As many lines are shown of what taking back one repair does.
const LINES: usize = 12;

/// Takes back what was cut off; whether the user lets it.
pub(super) fn take_back(
    context: &Context,
    args: &TargetArgs,
    journal: Option<&Path>,
    yes: bool,
) -> Result<bool, Failure> {
    // What a disk will be once it is put back shows only then.
    Ok(of_disks(context, args, yes)? && of_target(context, args, journal, yes)?)
}

fn of_disks(context: &Context, args: &TargetArgs, yes: bool) -> Result<bool, Failure> {
    let mut text = String::new();
    for path in args.disks() {
        for (id, entry, _) in held::entries(path)?.into_iter().filter(|(.., done)| !done) {
            text.push_str(&line(context, &id, &entry.when, &entry.check, &entry.title));
            text.push_str(&format!("  {}\n", context.say(&tr!("restore what was on {disk}", disk = path))));
        }
    }
    if !text.is_empty() && !may(context, &text, yes) {
        return Ok(false);
    }
    for path in args.disks().filter(|_| !text.is_empty()) {
        for taken in held::take_back(path, Which::Unfinished, Force::No)? {
            match taken.left {
                None => say(context, &tr!("reverted, because it was interrupted: {id}", id = taken.id)),
                Some(why) => left(context, &taken.id, &why),
            }
        }
    }
    Ok(true)
}

fn of_target(context: &Context, args: &TargetArgs, journal: Option<&Path>, yes: bool) -> Result<bool, Failure> {
    let store = TargetArgs::open_journal_to_look(journal)?;
    let open = entries(context, args, store.as_deref())?;
    if open.is_empty() {
        return Ok(true);
    }
    let text: String = open.iter().map(|entry| shown(context, entry)).collect();
    if !may(context, &text, yes) {
        return Ok(false);
    }
    let target = args.open_to_undo(Access::ReadWrite)?;
    let donor = args.open_donor(&target)?;
    let store = TargetArgs::open_journal(journal)?;
    let ids: Vec<String> = open.into_iter().map(|entry| entry.id).collect();
    let undone = undo::undo(&target, donor.as_deref(), store.as_deref(), &ids, Force::No)?;
    for (id, _, notes) in &undone.taken {
        say(context, &tr!("reverted, because it was interrupted: {id}", id));
        notes.iter().for_each(|note| say(context, note));
    }
    undone.left.iter().for_each(|(id, why)| left(context, id, why));
    drop(donor);
    if let Some(target) = super::alone(target) {
        target.close().map_err(|error| Failure(Text::verbatim(error.to_string())))?;
    }
    Ok(true)
}

/// Shows what would be taken back, and asks.
fn may(context: &Context, text: &str, yes: bool) -> bool {
    if context.format == Format::Text {
        context
            .print(&format!("{}\n{text}", context.say(&tr!("These repairs were interrupted and are reverted first:"))));
    }
    yes || agree(context, &tr!("Revert this one?"))
}

/// What was cut off on the target itself and can be taken back. What cannot be is named; it holds up nothing but what it changed.
fn entries(
    context: &Context,
    args: &TargetArgs,
    journal: Option<&sickbay_target::Target>,
) -> Result<Vec<Listed>, Failure> {
    let target = args.open_to_undo(Access::ReadOnly)?;
    for why in undo::foreign(&target, journal) {
        remark(context, &why);
    }
    let mut open = Vec::new();
    for entry in undo::entries(&target, journal)?.into_iter().filter(|listed| !listed.done || is_overdue(listed)) {
        match &entry.refused {
            Some(why) => left(context, &entry.id, why),
            None => open.push(entry),
        }
    }
    Ok(open)
}

/// Whether nobody confirmed it, and who should have taken it back is gone.
fn is_overdue(listed: &Listed) -> bool {
    listed.entry.as_ref().and_then(|entry| entry.pending.as_ref()).is_some_and(Pending::is_overdue)
}

/// One entry, with what taking it back does.
pub(super) fn shown(context: &Context, listed: &Listed) -> String {
    let mut out = match &listed.entry {
        Some(entry) => line(context, &listed.id, &entry.when, &entry.check, &entry.title),
        None => format!("{}\n", listed.id),
    };
    match &listed.refused {
        Some(why) => out.push_str(&format!("  {}\n", context.say(&tr!("cannot be reverted: {why}", why)))),
        None => {
            for effect in listed.effects.iter().take(LINES) {
                out.push_str(&format!("  {}\n", context.say(effect)));
            }
            let more = listed.effects.len().saturating_sub(LINES);
            if more > 0 {
                out.push_str(&format!("  {}\n", context.say(&tr!("and {more} more", more))));
            }
        }
    }
    out
}

/// What an entry says of itself was written by who has the target.
pub(super) fn line(context: &Context, id: &str, when: &str, check: &str, title: &str) -> String {
    let [when, check, title] = [when, check, title].map(|text| context.say(&Text::verbatim(text)));
    format!("{id}  {when}  {check}: {title}\n")
}

/// Asks a question that only a yes answers with yes.
pub(super) fn agree(context: &Context, question: &Text) -> bool {
    context.print(&format!("{} [y/N] ", context.say(question)));
    let _ = std::io::stdout().flush();
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer).is_ok() && matches!(answer.trim(), "y" | "Y" | "yes")
}

fn say(context: &Context, text: &Text) {
    if context.format == Format::Text {
        context.print(&format!("{}\n", context.say(text)));
    }
}

/// Says why an entry is left.
pub(super) fn left(context: &Context, id: &str, why: &Text) {
    remark(context, &tr!("not reverted: {id}: {why}", id, why));
}

/// Says something beside the report.
pub(super) fn remark(context: &Context, text: &Text) {
    context.complain_of(text);
}
