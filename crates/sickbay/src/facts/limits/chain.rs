//! The chain of layers that make a limit what it is, from the kernel down, with the one that counts.

use std::path::PathBuf;
use std::sync::Arc;

use bstr::ByteSlice;
use sickbay_formats::limits_conf::Entry;
use sickbay_formats::login_defs;
use sickbay_formats::pam::Kind;
use sickbay_formats::procfs::limits::{Limit, limit};
use sickbay_formats::rlimits::{self, Pair, Resource};
use sickbay_formats::span::Span;
use sickbay_formats::supervisord_conf::{self, Setting};

use crate::facts::Facts;
use crate::facts::limits::files::LimitsFiles;
use crate::facts::limits::manager::{First, Manager, Said, of_service};
use crate::facts::limits::process::{Door, Origin, of_unit, of_user};
use crate::facts::login::accounts::Users;
use crate::facts::login::pam::judge::User;
use crate::facts::login::pam::{self, Call, Taking};
use crate::facts::memory::cgroups::{Mounts, PIDS};
use crate::facts::system::kernel::{Kernel, parameter};
use crate::facts::system::sysctl_files::SysctlFiles;
use crate::facts::system::units::{self, State, Unit};
use crate::model::outcome::Skip;
use crate::model::source::SourceFile;
use crate::model::text::Text;
use crate::tr;

/// A soft and a hard value of one layer, where it has one.
pub type Sides = (Option<Option<u64>>, Option<Option<u64>>);

/// One layer of a limit.
#[derive(Clone, Debug)]
pub struct Layer {
    /// What it is: "PID 1", "docker.service".
    pub name: Text,
    /// What it says; nothing where it says nothing.
    pub sides: Sides,
    /// What is written there, where that is no value: "unlimited" in a unit.
    pub word: Option<String>,
    /// The file and the line.
    pub place: Option<(PathBuf, usize)>,
    /// Whether it counts.
    pub counts: bool,
    /// Why it has no effect, or another one than it says.
    pub remark: Option<Text>,
}

/// One limit.
#[derive(Clone, Debug)]
pub struct Row {
    /// Which.
    pub resource: Resource,
    /// In force now.
    pub now: Option<Limit>,
    /// Used now.
    pub used: Option<u64>,
    /// What the layer that counts asks for.
    pub wanted: Option<Pair>,
    /// What it will be after a restart, or at the next login.
    pub after: Option<Pair>,
    /// The layers, the kernel first.
    pub layers: Vec<Layer>,
    /// What else there is to say.
    pub remarks: Vec<Text>,
    /// Whether what is in force does not follow from the files as they are.
    pub differs: bool,
}

/// A limit that is none of setrlimit(2), but is met in the same way.
#[derive(Clone, Debug)]
pub struct Beside {
    /// What it is called.
    pub name: String,
    /// In force now; "infinity" is none.
    pub now: Option<u64>,
    /// Used now.
    pub used: Option<u64>,
    /// Where it is set.
    pub place: Option<(PathBuf, usize)>,
    /// What is written there.
    pub word: Option<String>,
}

/// Everything about the limits of one process, unit or user.
#[derive(Clone, Debug)]
pub struct Chain {
    /// Of whom: "dockerd (PID 812), of docker.service".
    pub who: Text,
    /// Every limit.
    pub rows: Vec<Row>,
    /// What is beside them.
    pub beside: Vec<Beside>,
    /// What holds for all of it.
    pub remarks: Vec<Text>,
}

/// The limits of a running process.
pub fn of_process(facts: &Facts, pid: u32) -> Result<Chain, Skip> {
    let origin = Origin::of(facts, pid)?;
    let comm = origin.comm.as_str();
    match origin.door.clone() {
        Door::Unit(name) => {
            let who = tr!("{comm} (PID {pid}), of {unit}", comm, pid, unit = name);
            service(facts, who, &name, Some(&origin))
        }
        Door::Session(session) => {
            let user = user_of(facts, origin.uid).unwrap_or_default();
            let who = tr!("{comm} (PID {pid}), of {session} of {user}", comm, pid, session, user);
            session_of(facts, who, &user, Some(&origin))
        }
        Door::UserUnit(unit) => {
            let manager = format!("user@{}.service", origin.uid);
            let who = tr!("{comm} (PID {pid}), of {unit}", comm, pid, unit);
            let mut chain = service(facts, who, &manager, Some(&origin))?;
            chain.remarks.push(tr!(
                "{unit} is a unit of the user's own manager: user.conf and {manager} bound it",
                unit,
                manager
            ));
            Ok(chain)
        }
        Door::Container(id) => {
            let short: String = id.chars().take(12).collect();
            let who = tr!("{comm} (PID {pid}), of the container {short}", comm, pid, short);
            container(facts, who, &id, &origin)
        }
        Door::Parent => {
            let who = Text::verbatim(format!("{comm} (PID {pid})"));
            inherited(facts, who, &origin)
        }
    }
}

/// The limits of a service, running or not.
pub fn of_unit_named(facts: &Facts, name: &str) -> Result<Chain, Skip> {
    let origin = of_unit(facts, name).and_then(|pid| Origin::of(facts, pid).ok());
    let who = match &origin {
        Some(origin) => tr!("{unit}, PID {pid} ({comm})", unit = name, pid = origin.pid, comm = origin.comm),
        None => Text::verbatim(name),
    };
    service(facts, who, name, origin.as_ref())
}

/// The limits of a user's logins.
pub fn of_user_named(facts: &Facts, name: &str) -> Result<Chain, Skip> {
    let user = User::named(facts, name)?;
    let (pid, tasks) = if facts.runs() { of_user(facts, user.uid) } else { (None, 0) };
    let origin = pid.and_then(|pid| Origin::of(facts, pid).ok());
    let who = match &origin {
        Some(origin) => {
            tr!("logins of {user}, seen by PID {pid} ({comm})", user = name, pid = origin.pid, comm = origin.comm)
        }
        None => tr!("logins of {user}", user = name),
    };
    let mut chain = session_of(facts, who, name, origin.as_ref())?;
    for row in chain.rows.iter_mut().filter(|row| row.resource.name == "nproc" && facts.runs()) {
        row.used = Some(tasks);
    }
    Ok(chain)
}

/// The user with that number.
fn user_of(facts: &Facts, uid: u32) -> Option<String> {
    let users = facts.get::<Users>().ok()?;
    let passwd = users.parsed(sickbay_formats::accounts::Kind::Passwd);
    let found = passwd.good().find(|entry| entry.number(2) == Some(i64::from(uid)))?;
    Some(found.name().to_str_lossy().into_owned())
}

fn both(pair: Pair) -> Sides {
    (Some(pair.0), Some(pair.1))
}

fn layer(name: Text, sides: Sides) -> Layer {
    Layer { name, sides, word: None, place: None, counts: false, remark: None }
}

fn place(file: &SourceFile, span: Span) -> Option<(PathBuf, usize)> {
    Some((file.path.clone(), span.line))
}

/// What the kernel gives process 1 (include/asm-generic/resource.h, kernel/fork.c); `None` where that depends on the machine.
fn of_kernel(facts: &Facts, resource: &Resource) -> Option<Pair> {
    let threads = || parameter(facts, "kernel.threads-max").ok().flatten();
    match resource.name {
        "nofile" => Some((Some(1024), Some(4096))),
        "core" => Some((Some(0), None)),
        "stack" => Some((Some(8 << 20), None)),
        "memlock" => {
            // 64 KiB until 5.15, then 8 MiB (commit 9dcc38e2813e).
            let kib = if facts.get::<Kernel>().ok()?.version >= (5, 16) { 8 << 10 } else { 64 };
            Some((Some(kib << 10), Some(kib << 10)))
        }
        "nproc" | "sigpending" => threads().map(|all| (Some(all / 2), Some(all / 2))),
        "msgqueue" => Some((Some(819_200), Some(819_200))),
        "nice" | "rtprio" => Some((Some(0), Some(0))),
        _ => Some((None, None)),
    }
}

/// A row with what every chain begins with.
fn begun(facts: &Facts, first: &First, resource: Resource, origin: Option<&Origin>) -> Row {
    let now = origin.and_then(|origin| limit(&origin.limits, resource.proc));
    let used = origin.filter(|_| resource.name == "nofile").and_then(|origin| origin.files);
    let mut layers = Vec::new();
    if let Some(pair) = of_kernel(facts, &resource) {
        layers.push(layer(tr!("kernel"), both(pair)));
    }
    if let Some(pair) = first.own(&resource) {
        layers.push(layer(Text::verbatim("PID 1"), both(pair)));
    }
    Row { resource, now, used, wanted: None, after: None, layers, remarks: Vec::new(), differs: false }
}

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

/// Makes one layer the one that counts.
fn count(row: &mut Row, index: usize) {
    for (at, layer) in row.layers.iter_mut().enumerate() {
        layer.counts = at == index;
    }
}

/// Makes the last layer the one that counts.
fn count_last(row: &mut Row) {
    if let Some(last) = row.layers.len().checked_sub(1) {
        count(row, last);
    }
}

/// What systemd gives a service: its own lines, else those of system.conf, else what is built in.
fn by_systemd(row: &mut Row, first: &First, manager: &Manager, unit: Option<&Unit>, name: &str) {
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

/// So many open files are more than a program may expect: a loop over all of them, or a table, takes minutes or gigabytes.
const TOO_MANY: u64 = 1 << 27;

fn service(facts: &Facts, who: Text, name: &str, origin: Option<&Origin>) -> Result<Chain, Skip> {
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

/// The lines of limits.conf that are about a user, as layers. `idle` says why none of them has an effect.
fn by_limits_conf(row: &mut Row, first: &First, files: &LimitsFiles, user: &User, idle: Option<Text>) {
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

/// supervisord raises what is below its minfds and minprocs, and lowers nothing.
fn by_supervisor(row: &mut Row, file: &Arc<SourceFile>, settings: &[Setting], first: &First) {
    let (key, least) = match row.resource.name {
        "nofile" => ("minfds", 1024),
        "nproc" => ("minprocs", 200),
        _ => return,
    };
    let set = supervisord_conf::last(settings, "supervisord", key);
    let number = set.and_then(|one| one.value.to_str().ok()?.parse::<u64>().ok());
    let value = number.unwrap_or(least);
    let raises = |bound: Option<u64>| bound.is_some_and(|bound| bound < value);
    let raised = row.after.map(|(soft, hard)| {
        let up = |bound: Option<u64>| bound.map(|bound| bound.max(value));
        (up(soft), up(hard))
    });
    let refused = key == "minfds" && first.nr_open.is_some_and(|most| value > most);
    let remark = match (refused, row.after) {
        (true, _) => Some(tr!("more than fs.nr_open: supervisord does not start")),
        (false, Some((soft, _))) if !raises(soft) => Some(tr!("no effect: the limit is as high already")),
        _ => None,
    };
    // In another section it says nothing.
    let elsewhere = settings.iter().find(|one| one.key == key && one.section != "supervisord");
    if let Some(one) = elsewhere {
        let mut wrong =
            layer(Text::verbatim(key), (Some(one.value.to_str().ok().and_then(|text| text.parse().ok())), None));
        wrong.place = place(file, one.span);
        wrong.remark = Some(tr!("no effect: it is not in the section [supervisord]"));
        row.layers.push(wrong);
    }
    let counts = !refused && row.after.is_some_and(|(soft, _)| raises(soft));
    let mut new = layer(Text::verbatim(key), (Some(Some(value)), None));
    new.place = set.and_then(|one| place(file, one.span));
    new.remark = remark;
    row.layers.push(new);
    if counts {
        count_last(row);
        row.after = raised;
        row.wanted = raised;
    }
}

/// Where supervisord looks for its configuration.
const SUPERVISOR: [&str; 4] =
    ["/etc/supervisor/supervisord.conf", "/etc/supervisord.conf", "/etc/supervisor.conf", "/usr/etc/supervisord.conf"];

fn supervisor(facts: &Facts, origin: &Origin) -> Option<(Arc<SourceFile>, Vec<Setting>)> {
    let pid = origin.under("supervisord")?;
    let words = facts.root().read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let words: Vec<String> = words.split(|byte| *byte == 0).map(|word| word.to_str_lossy().into_owned()).collect();
    let named = words.iter().position(|word| word == "-c" || word == "--configuration");
    supervisor_files(facts, named.and_then(|at| words.get(at + 1)).map(String::as_str))
}

fn supervisor_files(facts: &Facts, named: Option<&str>) -> Option<(Arc<SourceFile>, Vec<Setting>)> {
    let mut paths = named.into_iter().chain(SUPERVISOR);
    let file = paths.find_map(|path| facts.file(path).ok().flatten())?;
    let settings = supervisord_conf::settings(&file.bytes);
    Some((file, settings))
}

/// Says whether what is in force follows from the files as they are.
fn compare(facts: &Facts, row: &mut Row, origin: Option<&Origin>) {
    let (Some(origin), Some(now), Some((soft, hard))) = (origin, row.now, row.after) else { return };
    if (now.soft, now.hard) == (soft, hard) {
        return;
    }
    let counting: Vec<(PathBuf, usize)> =
        row.layers.iter().filter(|layer| layer.counts).filter_map(|layer| layer.place.clone()).collect();
    // Without a line of a file, what is built in may be another's.
    if counting.is_empty() && !row.resource.main {
        return;
    }
    row.differs = true;
    let changed = counting.iter().find(|(path, _)| {
        let changed = facts.root().stat(path).map(|found| found.mtime.0).unwrap_or(i64::MIN);
        origin.started.is_some_and(|started| changed > started)
    });
    row.remarks.push(match changed {
        Some((path, _)) => tr!(
            "does not match: {path} changed after the process started: systemctl daemon-reload, then restart",
            path = path.as_path()
        ),
        None if origin.is_first_of_unit() => {
            tr!("does not match: the program sets its own limit, somebody used prlimit, or a file that is gone set it")
        }
        None => tr!(
            "does not match: its parent, {parent}, or itself set another limit",
            parent = origin.ancestors.first().map(|(_, comm)| comm.clone()).unwrap_or_default()
        ),
    });
    let word = |bound: Option<u64>| bound.map_or_else(|| "unlimited".to_owned(), |bound| bound.to_string());
    let command = format!("prlimit --pid {} --{}={}:{}", origin.pid, row.resource.name, word(soft), word(hard));
    row.remarks.push(tr!("at once, until it is restarted: {command}", command));
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

fn session_of(facts: &Facts, who: Text, name: &str, origin: Option<&Origin>) -> Result<Chain, Skip> {
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

/// Files of container engines that say something of limits.
const DAEMON_JSON: &str = "/etc/docker/daemon.json";

fn container(facts: &Facts, who: Text, id: &str, origin: &Origin) -> Result<Chain, Skip> {
    let first = facts.get::<First>()?;
    let manager = Manager::of(facts, "system");
    let engine = ["docker.service", "containerd.service"]
        .into_iter()
        .find_map(|unit| Some((unit, units::unit(facts, unit).ok().filter(|read| read.state == State::Loaded)?)));
    let own = format!("/var/lib/docker/containers/{id}/hostconfig.json");
    let ulimits = |path: &str, key: &str| -> Vec<(String, Sides)> {
        let Some(file) = facts.file(path).ok().flatten() else { return Vec::new() };
        let value: serde_json::Value = serde_json::from_slice(&file.bytes).unwrap_or_default();
        let side = |one: &serde_json::Value, name: &str| {
            let number = one.get(name)?.as_i64()?;
            Some(u64::try_from(number).ok())
        };
        let one = |name: Option<&str>, one: &serde_json::Value| {
            Some((name?.to_owned(), (side(one, "Soft"), side(one, "Hard"))))
        };
        match value.get(key) {
            Some(serde_json::Value::Object(all)) => {
                all.iter().filter_map(|(name, value)| one(Some(name), value)).collect()
            }
            Some(serde_json::Value::Array(all)) => {
                all.iter().filter_map(|value| one(value.get("Name").and_then(|name| name.as_str()), value)).collect()
            }
            _ => Vec::new(),
        }
    };
    let all = [
        (Text::verbatim("daemon.json"), DAEMON_JSON, ulimits(DAEMON_JSON, "default-ulimits")),
        (tr!("the container's own"), own.as_str(), ulimits(&own, "Ulimits")),
    ];
    let mut rows = Vec::new();
    for resource in rlimits::ALL {
        let mut row = begun(facts, &first, resource, Some(origin));
        by_systemd(
            &mut row,
            &first,
            &manager,
            engine.as_ref().map(|(_, unit)| unit),
            engine.as_ref().map_or("", |(unit, _)| unit),
        );
        for (name, path, ulimits) in &all {
            let Some((_, sides)) = ulimits.iter().find(|(item, _)| item == resource.name) else { continue };
            let mut new = layer(name.clone(), *sides);
            new.place = Some((PathBuf::from(path), 0));
            row.layers.push(new);
            count_last(&mut row);
            if let (Some(soft), Some(hard)) = sides {
                row.wanted = Some((*soft, *hard));
                row.after = row.wanted;
            }
        }
        compare(facts, &mut row, Some(origin));
        rows.push(row);
    }
    let remarks = vec![tr!("what starts it inside of the container may lower its limits, which is not seen from here")];
    Ok(Chain { who, rows, beside: others(facts, Some(origin)), remarks })
}

/// A process that neither systemd nor PAM started: its limits are those of who started it.
fn inherited(facts: &Facts, who: Text, origin: &Origin) -> Result<Chain, Skip> {
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

/// Kernel parameters that are met like limits.
const PARAMETERS: [&str; 8] = [
    "fs.nr_open",
    "fs.file-max",
    "kernel.pid_max",
    "kernel.threads-max",
    "vm.max_map_count",
    "fs.inotify.max_user_watches",
    "fs.inotify.max_user_instances",
    "user.max_inotify_watches",
];

fn others(facts: &Facts, origin: Option<&Origin>) -> Vec<Beside> {
    let mut all = Vec::new();
    if let (Some(origin), Ok(mounts)) = (origin, facts.get::<Mounts>()) {
        for group in mounts.of_process(facts, PIDS, &origin.pid.to_string()) {
            let name = format!("pids.max {}", group.name.display());
            let place = Some((group.file.clone(), 0));
            all.push(Beside { name, now: Some(group.limit), used: Some(group.used), place, word: None });
        }
    }
    let files = facts.get::<SysctlFiles>().ok();
    for key in PARAMETERS {
        let now = if facts.runs() { parameter(facts, key).ok().flatten() } else { None };
        let set = files.as_ref().and_then(|files| files.setting(key).next());
        let place = set.map(|(file, one)| (file.path.clone(), one.line));
        let word = set.and_then(|(_, one)| one.value.as_ref()).map(|value| value.to_str_lossy().into_owned());
        // file-nr: allocated, free, most.
        let used = || {
            facts.file("/proc/sys/fs/file-nr").ok().flatten().map(|file| sickbay_formats::procfs::numbers(&file.bytes))
        };
        let used =
            if key == "fs.file-max" && facts.runs() { used().and_then(|all| all.first().copied()) } else { None };
        if now.is_some() || word.is_some() {
            all.push(Beside { name: key.to_owned(), now, used, place, word });
        }
    }
    all
}

impl Row {
    /// Whether so many open files are allowed that programs which walk all of them do it for minutes.
    pub fn is_too_large(&self) -> bool {
        let hard = self.now.map(|now| now.hard).or(self.after.map(|after| after.1));
        self.resource.name == "nofile" && hard.is_some_and(|hard| hard.is_none_or(|hard| hard >= TOO_MANY))
    }
}
