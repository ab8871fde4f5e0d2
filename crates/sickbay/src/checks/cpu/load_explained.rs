//! The load average is high, and who makes it.

use crate::facts::Facts;
use crate::facts::cpu::load::{Group, Load};
use crate::facts::cpu::usage::is_batch;
use crate::facts::cpu::waits::Wait;
use crate::facts::glimpse::is_recorded;
use crate::facts::system::kernel::uptime;
use crate::facts::time::window_with_load;
use crate::model::finding::{Findings, Severity};
use crate::model::outcome::{Skip, Verdict};
use crate::model::subject::Subject;
use crate::model::text::Text;
use crate::sample::Window;
use crate::{check, tr};

check! {
    /// ## Symptom
    /// You see: `uptime` shows a load average well above the number of CPUs; `top` shows idle CPUs all the same, or
    /// one program that takes them all.
    ///
    /// ## What it finds
    /// A load average that is clearly higher than the CPUs, or threads that sleep and cannot be interrupted (state `D`). It
    /// names the program that makes it, how many of its threads run and how many wait, in which function of the kernel, and
    /// for which mount or disk where that can be told. A compile job on all CPUs is no more than a note.
    ///
    /// It first reads what the kernel says of the whole, and watches the threads (for a second, or as long as `--for` says)
    /// only if that shows something. `sickbay explain load` shows all of it as a table.
    ///
    /// ## Why it matters
    /// Load is not CPU usage. Every 5 s and a tick the kernel counts the threads that run or could, and those in `D`, and
    /// lets the averages move towards that count: a hung NFS server or FUSE program gives a load of hundreds on idle CPUs.
    /// Frozen threads and idle threads of the kernel do not count, although some kernels show them as `D`.
    ///
    /// ## What the repair does
    /// Nothing by itself. What waits for a server or a FUSE program goes on when that answers, or ends when the mount is let
    /// go of (`umount -f`, `umount -l`). What waits for a disk waits for who keeps it busy, or for a disk that is broken.
    /// What only wants a CPU is slowed down by others: fewer of them, a lower priority (`nice`, `CPUWeight=`), or more CPUs.
    ///
    /// ## By hand
    /// ```sh
    /// # the threads that count, and what they wait for
    /// ps -eLo state,pid,tid,wchan:32,comm | awk '$1 ~ /^[RD]/'
    /// # let go of a mount whose server is gone
    /// umount -f MOUNT || umount -l MOUNT
    /// ```
    "load-explained", Cpu, seed = ["C5", "D4"], proves = [], reads_recordings = true,
    "the load is high, and this makes it"
}

/// From so many threads on that wait, a machine of any size has a problem with something else than CPUs.
const WAITING: f64 = 4.0;
/// From so many on that never moved, whatever depends on them stands still.
const STUCK: usize = 8;
/// As many of these wait for an answer that does not come.
const HUNG: usize = 3;
/// A disk may take a second for what it was told.
const SLOW_DISK: f64 = 5.0;

/// What kind of load it is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Waiting,
    Running,
}

fn run(facts: &Facts, found: &mut Findings) -> Verdict {
    if window_with_load(facts)?.is_none() {
        return Ok(());
    }
    let load = match facts.get::<Load>() {
        Ok(load) => load,
        // Nobody looked at a thread: the averages tell how many wait, and nothing of whose they are.
        Err(why) => return by_averages(facts, found, why),
    };
    let Some(cpus) = load.cpus else { return without_cpus(&load, found) };
    let Some((severity, kind)) = judged(&load, cpus as f64) else {
        // Of what is hidden nobody can say that it is well.
        if load.hidden > 0
            && load.load1() >= (cpus as f64 * 2.0).max(cpus as f64 + 4.0)
            && load.count() * 2.0 < load.load1()
        {
            found.could_not_tell(tr!(
                "who makes a load of {load1}: {hidden} of {all} threads cannot be seen from here",
                load1 = format!("{:.2}", load.load1()),
                hidden = load.hidden,
                all = load.told.total
            ));
        }
        return Ok(());
    };
    // A machine that has just booted is busy with that.
    if kind == Kind::Running && uptime(facts)?.is_some_and(|seconds| seconds < BOOTING) {
        return Ok(());
    }
    let amount = |group: &Group| if kind == Kind::Waiting { group.waiting } else { group.running };
    let groups = || load.groups.iter().filter(|group| !group.is_usual);
    let Some(culprit) = groups().max_by(|one, other| amount(one).total_cmp(&amount(other))) else { return Ok(()) };
    // Compilers are given all that there is, on purpose.
    let severity = if kind == Kind::Running && is_batch(&culprit.name) { Severity::Note } else { severity };
    let all: f64 = groups().map(amount).sum();
    let load1 = format!("{:.2}", load.load1());
    let threads = amount(culprit).round().max(1.0) as u64;
    let who = culprit.who();
    let is_most = amount(culprit) * 2.0 >= all;
    let text = match kind {
        Kind::Waiting if is_most => tr!(
            "load1 is {load1} on {cpus} {cpus?CPU|CPUs}: {threads} {threads?thread|threads} of {who} wait uninterruptibly, {reason}",
            load1,
            cpus,
            threads,
            who,
            reason = reason(culprit)
        ),
        Kind::Waiting => tr!(
            "load1 is {load1} on {cpus} {cpus?CPU|CPUs}: {all} threads of many programs wait uninterruptibly, most of them {threads} of {who}, {reason}",
            load1,
            cpus,
            all = all.round() as u64,
            threads,
            who,
            reason = reason(culprit)
        ),
        Kind::Running if is_most => tr!(
            "load1 is {load1} on {cpus} {cpus?CPU|CPUs}: {threads} {threads?thread|threads} of {who} run or wait for a CPU",
            load1,
            cpus,
            threads,
            who
        ),
        Kind::Running => tr!(
            "load1 is {load1} on {cpus} {cpus?CPU|CPUs}: {all} threads of many programs run or wait for a CPU, most of them {threads} of {who}",
            load1,
            cpus,
            all = all.round() as u64,
            threads,
            who
        ),
    };
    let finding = found.add(severity, text);
    finding
        .at_path("/proc/loadavg")
        .subject(Subject::Named(format!("load of {}", culprit.name)))
        .extent(all.round() as u64)
        .evidence("/proc/loadavg", load.line());
    for thread in &culprit.some {
        let (pid, id) = (thread.pid, thread.id);
        let dir = if pid == id { format!("/proc/{pid}") } else { format!("/proc/{pid}/task/{id}") };
        let line = format!("{id} ({}) {} {} …", thread.name, char::from(thread.state), thread.parent);
        finding.evidence(format!("{dir}/stat"), line);
        if let Some(channel) = &thread.waits_in {
            finding.evidence(format!("{dir}/wchan"), channel.to_string());
        }
    }
    finding.detail("load", load.details());
    match (kind, load.busy) {
        (Kind::Waiting, Some(busy)) => finding.why(tr!(
            "a thread that waits so is load and needs no CPU; the CPUs are {percent} % busy",
            percent = (busy * 100.0 / cpus as f64).round().clamp(0.0, 100.0) as u64
        )),
        (Kind::Waiting, None) => finding.why(tr!("a thread that waits so is load and needs no CPU")),
        (Kind::Running, _) => finding.why(tr!("each of them gets its turn later: everything here is slower")),
    };
    if let Some(cgroup) = culprit.cgroup.as_deref().filter(|cgroup| *cgroup != "/") {
        finding.note(tr!("it runs in the cgroup {cgroup}", cgroup));
    }
    for (index, group) in load.groups.iter().filter(|group| *group != culprit).enumerate() {
        let (who, running, waiting) = (group.who(), one(group.running), one(group.waiting));
        let share = load.share(group).round() as u64;
        if share > 0 && index < 8 {
            let row =
                tr!("{who}: {running} running, {waiting} waiting, {share} % of the load", who, running, waiting, share);
            if share >= 10 {
                finding.note(row)
            } else {
                finding.verbose_note(row)
            };
        }
    }
    for remark in load.remarks() {
        finding.note(remark);
    }
    finding.by_hand(advice(kind, culprit));
    Ok(())
}

/// How many processors there are was not recorded: what waits uninterruptibly is too much on few of them as on many.
fn without_cpus(load: &Load, found: &mut Findings) -> Verdict {
    let groups = || load.groups.iter().filter(|group| !group.is_usual);
    let (waiting, running) =
        (groups().map(|group| group.waiting).sum::<f64>(), groups().map(|group| group.running).sum::<f64>());
    let most = groups().max_by(|one, other| one.waiting.total_cmp(&other.waiting));
    let Some(culprit) = most.filter(|_| waiting >= WAITING * 2.0 && waiting >= running && load.load1() >= WAITING)
    else {
        return Err(Skip::Unknown(tr!("{path} does not say how many CPUs there are", path = "/proc/stat")));
    };
    let finding = found.warning(tr!(
        "load1 is {load1}: {threads} of {all} threads are of {who}, {waiting} of them wait uninterruptibly, {reason}",
        load1 = format!("{:.2}", load.load1()),
        threads = culprit.count().round() as u64,
        all = load.count().round() as u64,
        who = culprit.who(),
        waiting = culprit.waiting.round() as u64,
        reason = reason(culprit)
    ));
    finding
        .at_path("/proc/loadavg")
        .subject(Subject::Named(format!("load of {}", culprit.name)))
        .extent(waiting.round() as u64)
        .evidence("/proc/loadavg", load.line())
        .why(tr!("a thread that waits so is load and needs no CPU"))
        .detail("load", load.details());
    for remark in load.remarks() {
        finding.note(remark);
    }
    finding.by_hand(advice(Kind::Waiting, culprit));
    Ok(())
}

/// What the averages tell alone: the kernel counted more threads than run.
fn by_averages(facts: &Facts, found: &mut Findings, why: Skip) -> Verdict {
    let window = facts.get::<Window>()?;
    let Some(told) = window.last().and_then(|last| last.load) else { return Err(why) };
    let mean = |values: &[f64]| (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64);
    let running: Vec<f64> =
        window.samples.iter().filter_map(|sample| Some(sample.load?.running.saturating_sub(1) as f64)).collect();
    let load1: Vec<f64> =
        window.samples.iter().filter_map(|sample| Some(sample.load?.averages[0] as f64 / 100.0)).collect();
    let (Some(running), Some(load1)) = (mean(&running), mean(&load1)) else { return Err(why) };
    let counts: Vec<f64> = window.counts().iter().map(|count| count.threads).collect();
    // With samples further apart than its counts only the average itself can be believed.
    let gap = window.span().map_or(f64::MAX, |span| span.as_secs_f64() / window.samples.len().max(2) as f64);
    let counted = mean(&counts).filter(|_| gap < 4.5).unwrap_or(load1);
    let hidden = counted - running;
    let cpus = window.last().and_then(|last| Some(last.stat.as_ref()?.cpus.len() as f64)).unwrap_or(1.0);
    if hidden < WAITING.max(cpus) || hidden < running {
        // What was recorded without threads has no more to tell: next to nobody waits, and who runs is told by the CPUs' checks.
        return if is_recorded(facts) { Ok(()) } else { Err(why) };
    }
    let finding = found.warning(tr!(
        "load1 is {load1}, and {running} threads run: about {hidden} wait uninterruptibly; whose they are was not recorded",
        load1 = format!("{load1:.2}"),
        running = format!("{running:.1}"),
        hidden = format!("{hidden:.0}")
    ));
    let [one, five, fifteen] = told.averages.map(|average| format!("{}.{:02}", average / 100, average % 100));
    finding
        .at_path("/proc/loadavg")
        .subject(Subject::Named("load that waits".to_owned()))
        .why(tr!("a thread that waits so is load and needs no CPU"))
        .evidence("/proc/loadavg", format!("{one} {five} {fifteen} {}/{} {}", told.running, told.total, told.last_pid))
        .detail("counted", (counted * 1000.0).round() / 1000.0)
        .detail("running", (running * 1000.0).round() / 1000.0);
    finding.by_hand(tr!("watch the threads while it is so: sickbay record, or ps -eLo state,pid,wchan:32,comm"));
    Ok(())
}

fn one(number: f64) -> String {
    format!("{number:.1}")
}

/// So long after a boot, in seconds, that many programs want the CPUs says nothing.
const BOOTING: f64 = 300.0;

/// How bad it is, and of which kind; nothing where an expert would shrug.
fn judged(load: &Load, cpus: f64) -> Option<(Severity, Kind)> {
    let groups = || load.groups.iter().filter(|group| !group.is_usual);
    let waiting: f64 = groups().map(|group| group.waiting).sum();
    let running: f64 = groups().map(|group| group.running).sum();
    let load1 = load.load1();
    let stuck = |of: &dyn Fn(&Group) -> bool| -> usize {
        groups().filter(|group| of(group)).filter_map(|group| group.stuck).sum()
    };
    if stuck(&|group| group.wait().is_some_and(Wait::may_hang)) >= HUNG {
        return Some((Severity::Error, Kind::Waiting));
    }
    let seconds = load.span.map_or(0.0, |span| span.as_secs_f64());
    let is_slow = |group: &Group| matches!(group.wait(), Some(Wait::Disk | Wait::Journal | Wait::Memory));
    let stands = stuck(&|group| !is_slow(group) || seconds >= SLOW_DISK);
    // The average of a minute comes later than what it is of, and goes later.
    if waiting >= running && waiting >= WAITING && load1 >= WAITING / 2.0 {
        if stands >= STUCK.max(cpus as usize * 2) && load1 >= cpus {
            return Some((Severity::Error, Kind::Waiting));
        }
        if waiting >= cpus && load1 >= cpus * 0.75 {
            return Some((Severity::Warning, Kind::Waiting));
        }
    }
    if running > waiting && load1 >= cpus * 2.0 && load1 >= cpus + 4.0 && running >= cpus * 1.5 {
        let far = load1 >= cpus * 4.0 && load1 >= cpus + 8.0 && running >= cpus * 3.0;
        return Some((if far { Severity::Warning } else { Severity::Note }, Kind::Running));
    }
    None
}

/// For what they wait, as far as it can be told.
fn reason(group: &Group) -> Text {
    match group.told_wait() {
        Some(what) => tr!("for {what}", what),
        None => tr!("and what for cannot be told"),
    }
}

fn advice(kind: Kind, group: &Group) -> Text {
    let pid = group.some.first().map_or(0, |thread| thread.pid);
    match (kind, group.wait()) {
        (Kind::Running, _) => {
            tr!(
                "let fewer of them run at once, give them a lower priority (nice, CPUWeight=), or the machine more CPUs"
            )
        }
        (_, Some(wait)) if wait.may_hang() => match group.places.first() {
            Some(place) => tr!(
                "bring back what answers for {mount}; if that cannot be, umount -f {mount}, else umount -l {mount}",
                mount = place.mount.as_path()
            ),
            None => tr!("bring back what answers for that mount; if that cannot be, umount -f, else umount -l"),
        },
        (_, Some(Wait::Disk | Wait::Journal)) => {
            tr!(
                "find who keeps the disk busy (iostat -x 1, pidstat -d 1); one that no longer answers is in the kernel log"
            )
        }
        (_, Some(Wait::Child)) => {
            tr!("see why the child neither runs a program nor ends: cat /proc/{pid}/task/{pid}/children", pid)
        }
        _ => tr!("as root, cat /proc/{pid}/stack shows where in the kernel one of them waits", pid),
    }
}
