//! What systemd gives a service, and what a supervisor or PAM makes of it.

use sickbay_formats::rlimits;

use super::begun::begun;
use super::beside::others;
use super::compare::compare;
use super::session::by_limits_conf;
use super::supervisor::{by_supervisor, supervisor, supervisor_files};
use super::{Beside, Chain, Layer, Row, both, count, count_last, layer, place};
use crate::facts::Facts;
use crate::facts::limits::files::LimitsFiles;
use crate::facts::limits::manager::{First, Manager, Said, of_service};
use crate::facts::limits::process::Origin;
use crate::facts::login::pam::judge::User;
use crate::facts::system::units::{self, State, Unit};
use crate::model::outcome::Skip;
use crate::model::text::Text;
use crate::tr;
use bstr::ByteSlice;
use sickbay_formats::rlimits::Pair;

/// Lines of systemd's files as layers; the last valid one counts and is given back.
fn of_lines(row: &mut Row, name: impl Fn(&Said) -> Text, lines: &[Said]) -> Option<Pair> {
    let last = lines.iter().rposition(|line| line.value.is_some());
    for (index, line) in lines.iter().enumerate() {
        let remark = match line.value {
            None => Some(tr!("systemd ignores it: it is no value that it knows")),
            Some(_) if Some(index) != last => Some(tr!("a later line sets it again")),
            Some(_) => None,
        };
        row.layers.push(Layer {
            name: name(line),
            sides: line.value.map_or((None, None), both),
            word: line.value.is_none().then(|| line.word.clone()),
            place: place(&line.file, line.span),
            counts: false,
            remark,
        });
    }
    let value = lines.get(last?)?.value?;
    if let Some(index) = row.layers.len().checked_sub(lines.len()) {
        count(row, index + last?);
    }
    Some(value)
}

/// What systemd gives a service: its own lines, else those of system.conf, else what is built in.
pub(super) fn by_systemd(row: &mut Row, first: &First, manager: &Manager, unit: Option<&Unit>, name: &str) {
    let defaults = manager.defaults(&row.resource);
    let mut value = of_lines(row, |_| Text::verbatim("system.conf"), &defaults);
    if let Some(unit) = unit {
        value = of_lines(row, |_| Text::verbatim(name), &of_service(unit, &row.resource)).or(value);
    }
    match value {
        Some(value) => {
            row.wanted = Some(value);
            row.after = first.granted(&row.resource, value);
            let layer = row.layers.iter_mut().find(|layer| layer.counts);
            if let (Some(layer), Some(after)) = (layer, row.after)
                && after != value
            {
                layer.remark = Some(tr!("more than fs.nr_open: cut to what PID 1 itself may have"));
            } else if row.after.is_none() {
                row.remarks.push(tr!("it becomes what PID 1 itself may have, which only the running system tells"));
            }
        }
        None => {
            row.after = first.unset(&row.resource);
            if let Some(pair) = row.after {
                row.layers.push(layer(tr!("systemd's default"), both(pair)));
                count_last(row);
            }
        }
    }
}

pub(super) fn service(facts: &Facts, who: Text, name: &str, origin: Option<&Origin>) -> Result<Chain, Skip> {
    let unit = units::unit(facts, name)?;
    if unit.state == State::Missing && unit.settings.is_empty() && origin.is_none() {
        return Err(Skip::NotApplicable(tr!("there is no unit {name}", name)));
    }
    let first = facts.get::<First>()?;
    let manager = Manager::of(facts, "system");
    let mut remarks = manager.unread.clone();
    let limits = facts.get::<LimitsFiles>()?;
    let account = unit.last("Service", "User").and_then(|(_, one)| units::account(&one.value)).unwrap_or("root");
    let user = User::named(facts, account)?;
    let has_pam = unit.last("Service", "PAMName").is_some_and(|(_, one)| !one.value.is_empty());
    let supervised = origin.and_then(|origin| Some((origin.under("supervisord")?, supervisor(facts, origin)?)));
    let supervisor = supervised.map(|(_, found)| found).or_else(|| {
        let starts = unit.last("Service", "ExecStart").is_some_and(|(_, one)| one.value.contains_str("supervisord"));
        starts.then(|| supervisor_files(facts, None)).flatten()
    });
    let mut rows = Vec::new();
    for resource in rlimits::ALL {
        let mut row = begun(facts, &first, resource, origin);
        by_systemd(&mut row, &first, &manager, Some(&unit), name);
        by_limits_conf(
            &mut row,
            &first,
            &limits,
            &user,
            if has_pam { None } else { Some(tr!("no effect: not a PAM session")) },
        );
        if let Some((file, settings)) = &supervisor {
            by_supervisor(&mut row, file, settings, &first);
        }
        compare(facts, &mut row, origin);
        rows.push(row);
    }
    if !facts.runs() {
        remarks.push(tr!("the target does not run: what its PID 1 may have is not known"));
    }
    let mut beside = Vec::new();
    if let Some((file, setting)) = unit.last("Service", "TasksMax") {
        let word = setting.value.to_str_lossy().into_owned();
        let place = place(file, setting.span);
        beside.push(Beside { name: "TasksMax".to_owned(), now: None, used: None, place, word: Some(word) });
    }
    beside.extend(others(facts, origin));
    Ok(Chain { who, rows, beside, remarks })
}
