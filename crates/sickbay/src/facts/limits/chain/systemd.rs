//! What systemd gives a service, and what a supervisor or PAM makes of it.

use bstr::ByteSlice;
use sickbay_formats::rlimits::{self, Pair};

use super::begun::begun;
use super::beside::others;
use super::compare::compare;
use super::session::Pam;
use super::supervisor::{by_supervisor, supervisor, supervisor_files};
use super::{Beside, Chain, Layer, Row, both, count, count_last, layer, place, user_of};
use crate::facts::Facts;
use crate::facts::limits::manager::{First, Manager, Said, of_service, of_settings, user_unit, within};
use crate::facts::limits::process::Origin;
use crate::facts::login::pam::judge::User;
use crate::facts::system::units::{self, State, Unit};
use crate::model::outcome::Skip;
use crate::model::text::Text;
use crate::tr;

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
            let most = first.nr_open.unwrap_or(u64::MAX);
            let beyond = row.resource.name == "nofile" && value.1.is_none_or(|hard| hard > most);
            let layer = row.layers.iter_mut().find(|layer| layer.counts);
            if let (Some(layer), Some(after)) = (layer, row.after)
                && after != value
            {
                layer.remark = Some(match first.bounded && !beyond {
                    true => tr!("PID 1 has no CAP_SYS_RESOURCE: cut to its own hard limit"),
                    false => tr!("more than fs.nr_open: cut to what PID 1 itself may have"),
                });
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

/// The user that a unit runs as.
fn user_of_unit(facts: &Facts, unit: &Unit) -> Option<String> {
    let (_, set) = unit.last("Service", "User").filter(|(_, one)| !one.value.is_empty())?;
    match set.value.to_str().ok()?.parse() {
        Ok(uid) => user_of(facts, uid),
        Err(_) => units::account(&set.value).map(str::to_owned),
    }
}

/// Since this version a unit with `PAMName=` and without `User=` has a session, root's.
const PAM_WITHOUT_USER: u32 = 256;

/// The chains of a service, before they are compared with what is in force.
struct Rows {
    rows: Vec<Row>,
    remarks: Vec<Text>,
    unit: Unit,
}

fn rows_of(facts: &Facts, name: &str, user: Option<&str>, origin: Option<&Origin>) -> Result<Rows, Skip> {
    let unit = units::unit(facts, name)?;
    if unit.state == State::Missing && unit.settings.is_empty() && origin.is_none() {
        return Err(Skip::NotApplicable(tr!("there is no unit {name}", name)));
    }
    let first = facts.get::<First>()?;
    let manager = Manager::of(facts, "system");
    let mut remarks = manager.unread.clone();
    let account = user.map(str::to_owned).or_else(|| user_of_unit(facts, &unit));
    let pam = unit.last("Service", "PAMName").map(|(_, one)| one.value.to_string()).filter(|name| !name.is_empty());
    let pam = pam.filter(|_| account.is_some() || first.version.is_some_and(|version| version >= PAM_WITHOUT_USER));
    let pam = Pam::of_service(facts, pam.as_deref(), account.as_deref().unwrap_or("root"))?;
    let supervised = origin.and_then(|origin| Some((origin.under("supervisord")?, supervisor(facts, origin)?)));
    let supervisor = supervised.map(|(_, found)| found).or_else(|| {
        let starts = unit.last("Service", "ExecStart").is_some_and(|(_, one)| one.value.contains_str("supervisord"));
        starts.then(|| supervisor_files(facts, None)).flatten()
    });
    let mut rows = Vec::new();
    for resource in rlimits::ALL {
        let mut row = begun(facts, &first, resource, origin);
        by_systemd(&mut row, &first, &manager, Some(&unit), name);
        pam.apply(&mut row, &first);
        if let Some((file, settings)) = &supervisor {
            by_supervisor(&mut row, file, settings, &first);
        }
        rows.push(row);
    }
    if !facts.runs() {
        remarks.push(tr!("the target does not run: what its PID 1 may have is not known"));
    }
    Ok(Rows { rows, remarks, unit })
}

pub(super) fn service(facts: &Facts, who: Text, name: &str, origin: Option<&Origin>) -> Result<Chain, Skip> {
    let Rows { mut rows, remarks, unit } = rows_of(facts, name, None, origin)?;
    for row in &mut rows {
        compare(facts, row, origin);
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

/// The limits of a unit of a user's own manager: those of the manager bound it, for it may raise nothing.
pub(super) fn of_user_manager(facts: &Facts, who: Text, name: &str, origin: &Origin) -> Result<Chain, Skip> {
    let user = user_of(facts, origin.uid).unwrap_or_default();
    let service = format!("user@{}.service", origin.uid);
    let Rows { mut rows, mut remarks, .. } = rows_of(facts, &service, Some(&user), Some(origin))?;
    let home = User::named(facts, &user)?.home;
    let manager = Manager::of_user(facts, &home);
    remarks.extend(manager.unread.iter().cloned());
    let settings = user_unit(facts, &home, name, &mut remarks);
    for row in &mut rows {
        let value = of_lines(row, |_| Text::verbatim("user.conf"), &manager.defaults(&row.resource));
        let lines = of_settings(&settings, &row.resource);
        let value = of_lines(row, |_| Text::verbatim(name), &lines).or(value);
        let Some((soft, hard)) = row.after else { continue };
        row.after = Some(match value {
            Some(wanted) => {
                row.wanted = Some(wanted);
                let above = hard.is_some_and(|most| wanted.1.is_none_or(|hard| hard > most));
                let layer = row.layers.iter_mut().find(|layer| layer.counts);
                if let Some(layer) = layer.filter(|_| above) {
                    layer.remark = Some(tr!("cut to the hard limit of {service}", service = service.as_str()));
                }
                if above { within(wanted, hard) } else { wanted }
            }
            // So many a program that uses select(2) can watch.
            None if row.resource.name == "nofile" => (Some(soft.map_or(1024, |soft| soft.min(1024))), hard),
            None => (soft, hard),
        });
        compare(facts, row, Some(origin));
    }
    remarks.push(tr!(
        "{unit} is a unit of the user's own manager: user.conf and {manager} bound it",
        unit = name,
        manager = service
    ));
    Ok(Chain { who, rows, beside: others(facts, Some(origin)), remarks })
}
