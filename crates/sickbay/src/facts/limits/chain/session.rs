//! What pam_limits gives a session.

use std::path::PathBuf;
use std::sync::Arc;

use sickbay_formats::limits_conf::Entry;
use sickbay_formats::login_defs;
use sickbay_formats::pam::Kind;
use sickbay_formats::rlimits;
use sickbay_formats::span::Span;

use super::begun::begun;
use super::beside::others;
use super::compare::compare;
use super::systemd::by_systemd;
use super::{Chain, Layer, Row, both, count, count_last, layer, place};
use crate::facts::Facts;
use crate::facts::limits::files::LimitsFiles;
use crate::facts::limits::manager::{First, Manager};
use crate::facts::limits::process::Origin;
use crate::facts::login::pam::judge::User;
use crate::facts::login::pam::{self, Call, Taking};
use crate::facts::system::units::{self, State};
use crate::model::outcome::Skip;
use crate::model::source::SourceFile;
use crate::model::text::Text;
use crate::tr;

/// The lines of limits.conf that are about a user, as layers. `idle` says why none of them has an effect.
pub(super) fn by_limits_conf(row: &mut Row, first: &First, files: &LimitsFiles, user: &User, idle: Option<Text>) {
    let lines: Vec<(&Arc<SourceFile>, Span, &Entry, usize)> = files
        .entries()
        .filter(|(_, _, entry)| entry.item == row.resource.name)
        .filter_map(|(file, span, entry)| {
            let distance = entry.distance(&user.name, &user.groups, user.uid == 0, files.debian)?;
            Some((file, span, entry, distance))
        })
        .collect();
    // Of two lines the nearer counts, of equals the later; for the soft limit and for the hard one.
    let winner = |of: fn(&Entry) -> bool| {
        let ours = lines.iter().enumerate().filter(|(_, (_, _, entry, _))| of(entry));
        ours.min_by_key(|(index, (_, _, _, distance))| (*distance, std::cmp::Reverse(*index))).map(|(index, _)| index)
    };
    let (soft, hard) = (winner(Entry::is_soft), winner(Entry::is_hard));
    let before = row.layers.len();
    for (index, (file, span, entry, _)) in lines.iter().enumerate() {
        let wins = Some(index) == soft || Some(index) == hard;
        let value = Some(entry.limit());
        row.layers.push(Layer {
            name: Text::verbatim("limits.conf"),
            sides: (value.filter(|_| entry.is_soft()), value.filter(|_| entry.is_hard())),
            word: None,
            place: place(file, *span),
            counts: false,
            remark: idle.clone().or_else(|| (!wins).then(|| tr!("a nearer or later line sets it again"))),
        });
    }
    if idle.is_some() || lines.is_empty() {
        return;
    }
    let of = |index: Option<usize>| index.and_then(|index| lines.get(index)).map(|(_, _, entry, _)| entry.limit());
    let hard_value = of(hard).or(row.after.map(|after| after.1));
    let soft_value = of(soft).or(row.after.map(|after| after.0));
    for index in [soft, hard].into_iter().flatten() {
        count(row, before + index);
    }
    for index in [soft, hard].into_iter().flatten() {
        if let Some(layer) = row.layers.get_mut(before + index) {
            layer.counts = true;
        }
    }
    let (Some(hard_value), Some(soft_value)) = (hard_value, soft_value) else { return };
    // A soft limit above the hard one becomes as high as that.
    let soft_value = match (soft_value, hard_value) {
        (soft, None) => soft,
        (soft, Some(hard)) => Some(soft.map_or(hard, |soft| soft.min(hard))),
    };
    let wanted = (soft_value, hard_value);
    row.wanted = Some(wanted);
    let above =
        row.resource.name == "nofile" && first.nr_open.is_some_and(|most| hard_value.is_none_or(|hard| hard > most));
    match (above, files.debian, hard_value) {
        (false, ..) => row.after = Some(wanted),
        // What is above fs.nr_open the kernel refuses, for root too.
        (true, true, _) => row.remarks.push(tr!("more than fs.nr_open: refused, and nothing is changed by it")),
        (true, false, Some(_)) => {
            row.after = None;
            row.remarks.push(tr!("more than fs.nr_open: refused, and the login with it"));
        }
        // Newer ones take the most there is, older ones refuse.
        (true, false, None) => row.after = None,
    }
}

/// Doors that lead to a session, those that most come by first.
const SERVICES: [&str; 8] = ["sshd", "login", "su", "su-l", "sudo", "crond", "cron", "systemd-user"];

/// Where pam_limits stands in the stack of a service.
enum Stands {
    At(PathBuf, usize),
    Nowhere,
    /// There are no rules of that name.
    NoService,
}

fn pam_limits(facts: &Facts, debian: bool, name: &str) -> Stands {
    let there = |dir: &str| facts.root().exists(format!("{dir}/{name}")).unwrap_or(false);
    if !["/etc/pam.d", "/usr/lib/pam.d", "/usr/etc/pam.d"].iter().any(|dir| there(dir)) {
        return Stands::NoService;
    }
    let source = |path: &std::path::Path| facts.file(path);
    let Ok(service) = pam::read(&source, debian, name, None, Taking::Strictly) else { return Stands::NoService };
    let found = service.stack(Kind::Session).iter().find(|entry| match &entry.call {
        Call::Module { name, .. } => name.ends_with(b"pam_limits.so"),
        _ => false,
    });
    found.map_or(Stands::Nowhere, |entry| Stands::At(entry.file.path.clone(), entry.rule.span.line))
}

pub(super) fn session_of(facts: &Facts, who: Text, name: &str, origin: Option<&Origin>) -> Result<Chain, Skip> {
    let first = facts.get::<First>()?;
    let files = facts.get::<LimitsFiles>()?;
    let user = User::named(facts, name)?;
    let manager = Manager::of(facts, "system");
    let mut remarks = manager.unread.clone();
    // By which door it came is known of a process; else the one that most come by.
    let of_origin = origin.and_then(|origin| {
        let by = |comm: &str| origin.under(comm).is_some();
        SERVICES.into_iter().find(|service| by(service) || (*service == "sshd" && by("sshd-session")))
    });
    let doors: Vec<(&str, Stands)> =
        SERVICES.into_iter().map(|door| (door, pam_limits(facts, files.debian, door))).collect();
    let there = |door: &&(&str, Stands)| !matches!(door.1, Stands::NoService);
    let chosen = doors.iter().filter(there).find(|(door, _)| of_origin.is_none_or(|known| known == *door));
    for (door, stands) in doors.iter().filter(there) {
        remarks.push(match stands {
            Stands::At(path, line) => tr!(
                "{door}: pam_limits is in its stack ({place})",
                door = *door,
                place = format!("{}:{line}", path.display())
            ),
            _ => tr!("{door}: pam_limits is not in its stack, so that limits.conf has no effect there", door = *door),
        });
    }
    let idle = match chosen {
        Some((_, Stands::At(..))) => None,
        Some((door, _)) => Some(tr!("no effect: pam_limits is not in the stack of {door}", door = *door)),
        None => Some(tr!("no effect: no service with PAM lets users in")),
    };
    let parent = ["sshd.service", "ssh.service"].into_iter().find_map(|unit| {
        let read = units::unit(facts, unit).ok().filter(|read| read.state == State::Loaded)?;
        (chosen.is_none_or(|(door, _)| *door == "sshd")).then_some((unit, read))
    });
    let mut rows = Vec::new();
    for resource in rlimits::ALL {
        let mut row = begun(facts, &first, resource, origin);
        by_systemd(
            &mut row,
            &first,
            &manager,
            parent.as_ref().map(|(_, unit)| unit),
            parent.as_ref().map_or("", |(unit, _)| unit),
        );
        if files.debian && idle.is_none() {
            // Debian's begins with what process 1 has, of open files no more than select(2) can watch.
            row.after = first.own(&resource).map(|(soft, hard)| match resource.name {
                "nofile" => (Some(soft.map_or(1024, |soft| soft.min(1024))), hard),
                _ => (soft, hard),
            });
            if let Some(pair) = row.after {
                row.layers.push(layer(tr!("pam_limits of Debian"), both(pair)));
                count_last(&mut row);
            }
        }
        by_limits_conf(&mut row, &first, &files, &user, idle.clone());
        compare(facts, &mut row, origin);
        rows.push(row);
    }
    if let Some(defs) = facts.file("/etc/login.defs")?
        && let Some(set) = login_defs::settings(&defs.bytes).filter(|one| one.key == "ULIMIT").last()
    {
        remarks.push(tr!("ULIMIT in /etc/login.defs:{line} has no effect where PAM is used", line = set.line));
    }
    if files.debian && user.uid == 0 {
        remarks.push(tr!("for root, lines for groups and * have no effect on Debian: only those that name root"));
    }
    Ok(Chain { who, rows, beside: others(facts, origin), remarks })
}
