//! What pam_limits gives a session.

use std::path::PathBuf;
use std::sync::Arc;

use bstr::ByteSlice;
use sickbay_formats::limits_conf::Entry;
use sickbay_formats::login_defs;
use sickbay_formats::pam::Kind;
use sickbay_formats::rlimits::{self, Pair};
use sickbay_formats::span::Span;

use super::begun::begun;
use super::beside::others;
use super::compare::compare;
use super::systemd::by_systemd;
use super::{Chain, Layer, Row, both, count_last, layer, place};
use crate::facts::Facts;
use crate::facts::limits::files::LimitsFiles;
use crate::facts::limits::manager::{First, Manager, within};
use crate::facts::limits::process::Origin;
use crate::facts::login::pam::judge::User;
use crate::facts::login::pam::{self, Call, Taking};
use crate::facts::system::units::{self, State};
use crate::model::outcome::Skip;
use crate::model::source::SourceFile;
use crate::model::text::Text;
use crate::tr;

/// What pam_limits does when one session begins.
pub(super) struct Pam {
    files: LimitsFiles,
    user: User,
    /// Why it has no effect.
    idle: Option<Text>,
    /// Whether it begins with the limits of process 1.
    resets: bool,
}

impl Pam {
    fn new(facts: &Facts, user: User, stands: Result<&Stands, Text>) -> Result<Pam, Skip> {
        let files = facts.get::<LimitsFiles>()?;
        let (files, resets, idle) = match stands {
            Ok(Stands::At { conf: Some(conf), set_all, .. }) => {
                (files.with_only(facts.file(conf)?), files.resets || *set_all, None)
            }
            Ok(Stands::At { set_all, .. }) => ((*files).clone(), files.resets || *set_all, None),
            Ok(_) => ((*files).clone(), false, Some(tr!("no effect: pam_limits is not in the stack"))),
            Err(idle) => ((*files).clone(), false, Some(idle)),
        };
        let lifts = files
            .entries()
            .find(|(_, _, entry)| entry.lifts_all() && entry.distance(user.account(), files.debian).is_some());
        let lifts = lifts.map(|(file, span, _)| {
            let place = format!("{}:{}", file.path.display(), span.line);
            tr!("no effect: {place} says that nothing is limited for {user}", place, user = user.name.as_str())
        });
        let resets = resets && lifts.is_none();
        Ok(Pam { files, user, idle: idle.or(lifts), resets })
    }

    /// Of a unit with `PAMName=`, or of one without.
    pub(super) fn of_service(facts: &Facts, name: Option<&str>, account: &str) -> Result<Pam, Skip> {
        let user = User::named(facts, account)?;
        let debian = facts.get::<LimitsFiles>()?.debian;
        match name {
            None => Pam::new(facts, user, Err(tr!("no effect: not a PAM session"))),
            Some(name) => Pam::new(facts, user, Ok(&pam_limits(facts, debian, name))),
        }
    }

    /// What it makes of a limit.
    pub(super) fn apply(&self, row: &mut Row, first: &First) {
        // What the program that opens the session has.
        let before = row.after;
        if self.resets && self.idle.is_none() {
            // Of open files no more than select(2) can watch.
            let own = first.own(&row.resource).map(|(soft, hard)| match row.resource.name {
                "nofile" => (Some(soft.map_or(1024, |soft| soft.min(1024))), hard),
                _ => (soft, hard),
            });
            row.after = own;
            if let Some(pair) = own {
                let mut reset = layer(tr!("pam_limits, from PID 1"), both(pair));
                if is_raised(first, before, pair) {
                    reset.remark = Some(tr!("nobody may raise a hard limit without CAP_SYS_RESOURCE: refused"));
                    row.after = before;
                    row.layers.push(reset);
                } else {
                    row.layers.push(reset);
                    count_last(row);
                }
            }
            self.by_lines(row, first, own, before);
        } else {
            self.by_lines(row, first, before, before);
        }
    }

    /// The lines of limits.conf that are about the user, as layers.
    fn by_lines(&self, row: &mut Row, first: &First, base: Option<Pair>, before: Option<Pair>) {
        let Pam { files, user, idle, .. } = self;
        let lines: Vec<(&Arc<SourceFile>, Span, &Entry, usize)> = files
            .entries()
            .filter(|(_, _, entry)| entry.item == row.resource.name)
            .filter_map(|(file, span, entry)| Some((file, span, entry, entry.distance(user.account(), files.debian)?)))
            .collect();
        let unknown = (!files.knows(row.resource.name)).then(|| tr!("no effect: this pam_limits does not know it"));
        let idle = idle.clone().or(unknown);
        // Of two lines the nearer counts, of equals the later; for the soft limit and for the hard one.
        let winner = |of: fn(&Entry) -> bool| {
            let ours = lines.iter().enumerate().filter(|(_, (_, _, entry, _))| of(entry));
            ours.min_by_key(|(index, (_, _, _, distance))| (*distance, std::cmp::Reverse(*index)))
                .map(|(index, _)| index)
        };
        let (soft, hard) = (winner(Entry::is_soft), winner(Entry::is_hard));
        let index_of_first = row.layers.len();
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
        // For "unlimited" open files newer modules take the most that there is.
        let most = first.nr_open.filter(|_| files.takes_nr_open && row.resource.name == "nofile");
        let of = |index: Option<usize>| {
            let (_, _, entry, _) = lines.get(index?)?;
            Some(entry.limit().or(most))
        };
        let hard_value = of(hard).or(base.map(|base| base.1));
        let soft_value = of(soft).or(base.map(|base| base.0));
        for (at, layer) in row.layers.iter_mut().enumerate() {
            layer.counts = [soft, hard].iter().flatten().any(|index| index_of_first + index == at);
        }
        let (Some(hard_value), Some(soft_value)) = (hard_value, soft_value) else { return };
        // A soft limit above the hard one becomes as high as that.
        let wanted = (within((soft_value, None), hard_value).0, hard_value);
        row.wanted = Some(wanted);
        let above = |most: u64| hard_value.is_none_or(|hard| hard > most);
        // Not even root may have more open files than fs.nr_open, and only who has CAP_SYS_RESOURCE raises a hard limit.
        let beyond = row.resource.name == "nofile" && first.nr_open.is_some_and(above);
        let unprivileged = is_raised(first, before, wanted);
        if beyond || unprivileged {
            row.after = before;
        }
        match (beyond, unprivileged, files.debian) {
            (false, false, _) => row.after = Some(wanted),
            // Debian's goes on when the kernel refuses.
            (true, _, true) => row.remarks.push(tr!("more than fs.nr_open: refused, and nothing is changed by it")),
            (false, true, true) => row.remarks.push(tr!(
                "more than the hard limit, which nobody may raise without CAP_SYS_RESOURCE: refused, and nothing is changed by it"
            )),
            (true, _, false) => {
                row.after = None;
                row.remarks.push(tr!("more than fs.nr_open: refused, and the login with it"));
            }
            (false, true, false) => {
                row.after = None;
                row.remarks.push(tr!(
                    "more than the hard limit, which nobody may raise without CAP_SYS_RESOURCE: refused, and the login with it"
                ));
            }
        }
    }
}

/// Whether it would raise a hard limit for which CAP_SYS_RESOURCE is lacking.
fn is_raised(first: &First, before: Option<Pair>, wanted: Pair) -> bool {
    let above = |most: u64| wanted.1.is_none_or(|hard| hard > most);
    first.bounded && before.and_then(|before| before.1).is_some_and(above)
}

/// Doors that lead to a session, those that most come by first.
const SERVICES: [&str; 8] = ["sshd", "login", "su", "su-l", "sudo", "crond", "cron", "systemd-user"];

/// Where pam_limits stands in the stack of a service.
enum Stands {
    At {
        path: PathBuf,
        line: usize,
        /// The file that it reads instead of the usual ones.
        conf: Option<PathBuf>,
        /// Whether it is told to begin with the limits of process 1.
        set_all: bool,
    },
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
    found.map_or(Stands::Nowhere, |entry| {
        let conf = entry.rule.args.iter().rev().find_map(|arg| arg.strip_prefix(b"conf="));
        Stands::At {
            path: entry.file.path.clone(),
            line: entry.rule.span.line,
            conf: conf.map(|path| PathBuf::from(path.to_str_lossy().into_owned())),
            set_all: entry.rule.args.iter().any(|arg| arg == "set_all"),
        }
    })
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
            Stands::At { path, line, .. } => tr!(
                "{door}: pam_limits is in its stack ({place})",
                door = *door,
                place = format!("{}:{line}", path.display())
            ),
            _ => tr!("{door}: pam_limits is not in its stack, so that limits.conf has no effect there", door = *door),
        });
    }
    let stands = match chosen {
        Some((_, stands @ Stands::At { .. })) => Ok(stands),
        Some((door, _)) => Err(tr!("no effect: pam_limits is not in the stack of {door}", door = *door)),
        None => Err(tr!("no effect: no service with PAM lets users in")),
    };
    let pam = Pam::new(facts, user.clone(), stands)?;
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
        pam.apply(&mut row, &first);
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
