//! A disk is busy in full, and who keeps it so.

use jiff::tz::TimeZone;

use crate::facts::Facts;
use crate::facts::cpu::load::{Group, Load};
use crate::facts::cpu::usage::thousandths;
use crate::facts::cpu::waits::Wait;
use crate::facts::glimpse::{is_now, no_rates, tell_time, window_worth_while, zone};
use crate::facts::io::burst::{Burst, Doer, disk_steps, names};
use crate::facts::io::devices::Devices;
use crate::facts::io::limit::Limit;
use crate::facts::io::open;
use crate::model::finding::{Finding, Findings, Severity};
use crate::model::measured::Unit;
use crate::model::outcome::Verdict;
use crate::model::subject::Subject;
use crate::model::text::Text;
use crate::sample::asked::shown;
use crate::sample::{Said, Window};
use crate::{check, tr};

check! {
    /// ## Symptom
    /// You see: everything that reads or writes stands still for seconds, `iostat -x` shows a disk at 100 % and a long queue;
    /// when you are logged in at last, it is over.
    ///
    /// ## What it finds
    /// A time in which a disk had all it could do while requests waited: from when to when, how many reads and writes, how much,
    /// how long each took; the processes that read and wrote meanwhile, with their shares, and the files that they had open on
    /// that disk. A disk that does exactly the same all the time while its queue grows is held to a limit, as the disks of
    /// clouds are. A `util` above 100 % means that the interval was longer than it was taken for; it is divided by it.
    ///
    /// ## Why it matters
    /// What waits for a disk cannot be interrupted: logins, logs and databases stand still together, and the load rises
    /// though the CPUs are idle. Other programs than the one that keeps the disk busy are the ones that suffer.
    ///
    /// ## What the repair does
    /// Nothing by itself. What is not urgent runs at another time, or behind the rest (`ionice`, `IOWeight=`, `io.max`). A
    /// limit of the cloud is raised there.
    ///
    /// ## By hand
    /// ```sh
    /// # which disk, how much, how long each takes
    /// iostat -x -t 1 5
    /// # who; and the files of one of them
    /// pidstat -d 1 5; ls -l /proc/PID/fd
    /// ```
    "io-saturated", Io, seed = ["C9"], proves = [], reads_recordings = true, "a disk is saturated, and requests wait"
}

/// So many milliseconds for each are noticed, with more than this in the queue.
const SLOW: f64 = 20.0;
const QUEUE: f64 = 4.0;
/// So long is slow whatever waits.
const VERY_SLOW: f64 = 100.0;
/// With so many at once the disk is used as far as it goes.
const FULL: f64 = 8.0;
/// In so many percent of the time somebody waits: then it matters.
const WAITS: f64 = 30.0;
/// In so few nobody does.
const NOBODY: f64 = 10.0;

fn run(facts: &Facts, found: &mut Findings) -> Verdict {
    let Some(window) = window_worth_while(facts)? else { return Ok(()) };
    if disk_steps(&window).is_empty() {
        return Err(no_rates("/proc/diskstats"));
    }
    let devices = facts.get::<Devices>()?;
    for mut burst in Burst::all(&window, &devices) {
        let Some(severity) = judged(&burst, &window) else { continue };
        if is_now(facts) {
            open::add(facts, &window, &devices, &mut burst);
        }
        tell(facts, found, &burst, severity, &window, &devices);
    }
    Ok(())
}

/// How bad it is; nothing where nobody waits, or for a moment.
fn judged(burst: &Burst, window: &Window) -> Option<Severity> {
    let all = window.span().unwrap_or_default();
    if burst.episode.length.as_secs_f64() < 1.9 && burst.episode.length * 2 < all {
        return None;
    }
    let rates = burst.corrected();
    let (wait, queue) = (rates.wait.unwrap_or(0.0), rates.queue.unwrap_or(0.0));
    let is_slow = (wait >= SLOW && queue >= QUEUE) || wait >= VERY_SLOW;
    let nobody = burst.pressure.is_some_and(|pressure| pressure < NOBODY);
    let matters = burst.pressure.is_none_or(|pressure| pressure >= WAITS);
    // Who waits for what it asked for by itself (io_uring, libaio) is not counted as one that waits.
    let length = burst.episode.length.as_secs_f64() * burst.stretch.unwrap_or(1.0);
    let bytes = rates.kb().unwrap_or(0.0) * 1024.0 * length;
    let is_known =
        burst.doers.first().is_some_and(|doer| doer.share >= 50.0 && doer.read + doer.written >= bytes * 0.3);
    match (is_slow, queue >= FULL) {
        (_, true) if nobody && is_known => Some(Severity::Note),
        _ if nobody => None,
        (true, _) if matters => Some(Severity::Warning),
        (true, _) | (_, true) => Some(Severity::Note),
        _ => None,
    }
}

fn tell(facts: &Facts, found: &mut Findings, burst: &Burst, severity: Severity, window: &Window, devices: &Devices) {
    let rates = burst.corrected();
    let disk = called(&burst.disk, devices);
    let work = work(burst);
    let text = match burst.doers.first() {
        Some(doer) if doer.share >= 50.0 => tr!(
            "{disk} is saturated, {work}: {share} % of it by {name} (PID {pid})",
            disk,
            work,
            share = format!("{:.0}", doer.share),
            name = doer.name.as_str(),
            pid = doer.pid
        ),
        Some(doer) => tr!(
            "{disk} is saturated, {work}, by many: most of it, {share} %, by {name} (PID {pid})",
            disk,
            work,
            share = format!("{:.0}", doer.share),
            name = doer.name.as_str(),
            pid = doer.pid
        ),
        None if burst.asked => {
            tr!("{disk} is saturated, {work}, and by none of the processes that can be asked", disk, work)
        }
        None => tr!("{disk} is saturated, {work}; by whom was not recorded, or only root may know", disk, work),
    };
    let finding = found.add(severity, text);
    finding.at_device(format!("/dev/{}", burst.disk)).subject(Subject::Device(format!("/dev/{}", burst.disk)));
    if let Some(wait) = rates.wait {
        finding.why(match (rates.queue, burst.pressure) {
            (_, Some(pressure)) => tr!(
                "each takes {wait} ms, and for {percent} % of the time somebody waits",
                wait = number(wait),
                percent = format!("{:.0}", pressure.min(100.0))
            ),
            (Some(queue), None) => {
                tr!("each takes {wait} ms, with {queue} in the queue", wait = number(wait), queue = number(queue))
            }
            (None, None) => tr!("each takes {wait} ms", wait = number(wait)),
        });
    }
    let said = said(burst, window);
    when(facts, finding, burst, window, &said);
    arithmetic(finding, burst);
    if let Some(limit) = burst.limit {
        finding.note(told_limit(limit, rates.queue.unwrap_or(0.0)));
    }
    for doer in burst.doers.iter().take(5).filter(|doer| doer.share >= 1.0) {
        finding.note(told_doer(doer, burst.episode.length.as_secs_f64() * burst.stretch.unwrap_or(1.0)));
    }
    adds_up(finding, burst);
    for said in said.iter().take(4) {
        finding.note(told_said(said, burst, &zone(facts)));
    }
    let all = names(window);
    let known = all.iter().map(String::as_str).collect();
    for (name, label) in devices.upon(&burst.disk, &known).into_iter().take(8) {
        finding.verbose_note(tr!("{name} ({label}) lies upon it", name, label));
    }
    waiters(facts, finding);
    if let Some(transfers) = rates.transfers {
        finding.measured("IOPS", transfers.round(), Unit::PerSecond, None);
    }
    if let Some(kb) = rates.kb() {
        finding.measured("throughput", kb * 1024.0, Unit::BytesPerSecond, None);
    }
    finding.detail("disk", burst.disk.as_str()).detail("burst", details(burst));
    finding.by_hand(match (burst.limit, burst.doers.first()) {
        (Some(_), _) => {
            tr!("raise the limit (a larger disk, another kind of disk, io.max), or spread the work over a longer time")
        }
        (None, Some(doer)) => tr!(
            "let {name} run at another time, or behind the rest (ionice -c 3 -p {pid}, IOWeight=, io.max)",
            name = doer.name.as_str(),
            pid = doer.pid
        ),
        (None, None) => tr!("find who it is (as root, pidstat -d 1 or iotop)"),
    });
}

/// `vdb`, `loop0 (/var/img)`.
fn called(disk: &str, devices: &Devices) -> Text {
    match devices.label(disk) {
        Some(label) => tr!("{disk} ({label})", disk, label),
        None => Text::verbatim(disk),
    }
}

/// "2715 writes/s, 2.7 MB/s".
fn work(burst: &Burst) -> Text {
    let rates = burst.corrected();
    let megabytes = rates.kb().map(|kb| number(kb * 1.024 / 1000.0));
    let count = |value: f64| format!("{value:.0}");
    let kind = match (rates.reads, rates.writes) {
        (Some(reads), Some(writes)) if reads >= 1.0 && writes >= 1.0 => {
            tr!("{reads} reads/s and {writes} writes/s", reads = count(reads), writes = count(writes))
        }
        (Some(reads), Some(writes)) if reads > writes => tr!("{reads} reads/s", reads = count(reads)),
        (_, Some(writes)) => tr!("{writes} writes/s", writes = count(writes)),
        _ => tr!("{count} IOPS", count = rates.transfers.map_or_else(|| "?".to_owned(), count)),
    };
    match megabytes {
        Some(megabytes) => tr!("{kind}, {megabytes} MB/s", kind, megabytes),
        None => kind,
    }
}

/// Who said of itself that it read or wrote meanwhile: those whose process it is, or whose process is not known.
fn said<'w>(burst: &Burst, window: &'w Window) -> Vec<&'w Said> {
    let is_meanwhile = |said: &&Said| said.from < burst.episode.to && said.to > burst.episode.from;
    let is_doers = |said: &&Said| match said.pid {
        Some(pid) => burst.doers.iter().any(|doer| doer.pid == pid && doer.share >= 1.0),
        None => burst.doers.is_empty() || burst.doers.iter().any(|doer| doer.name == said.program),
    };
    let all = window.samples.iter().flat_map(|sample| &sample.said);
    all.filter(is_meanwhile).filter(is_doers).collect()
}

fn when(facts: &Facts, finding: &mut Finding, burst: &Burst, window: &Window, said: &[&Said]) {
    if window.span().is_none_or(|span| span.as_secs() <= 2) {
        return;
    }
    let mut episode = burst.episode.clone();
    // Who made most of it knows better when it began and ended than who looked now and then.
    let most = burst.doers.first().filter(|doer| doer.share >= 50.0);
    if let Some(said) = said.iter().find(|said| most.is_some_and(|most| said.pid == Some(most.pid))) {
        (episode.is_open_before, episode.is_open_after) =
            (episode.is_open_before && said.from > episode.from, episode.is_open_after && said.to < episode.to);
        (episode.from, episode.to) = (episode.from.min(said.from), episode.to.max(said.to));
        episode.length = episode.to.saturating_sub(episode.from);
    }
    tell_time(facts, finding, &episode);
}

/// What a program says of itself, beside what the disk did.
fn told_said(said: &Said, burst: &Burst, zone: &TimeZone) -> Text {
    let rates = burst.corrected();
    let (own, disk) = match (said.read + said.written, rates.kb().map(|kb| kb * 1024.0)) {
        (own, Some(disk)) if disk > 0.0 => (own, disk),
        _ => (said.reads + said.writes, rates.transfers.unwrap_or(0.0)),
    };
    let work = printed(Some(said.reads + said.writes), Some((said.read + said.written) / 1024.0));
    let (from, to) = (shown(said.from, zone), shown(said.to, zone));
    let (program, job) = (said.program.as_str(), said.job.as_str());
    let off = ((disk / own.max(0.001) - 1.0) * 100.0).abs();
    match said.files.first() {
        Some(file) => tr!(
            "{program} ({job}) says of itself {work} from {from} to {to}, on {file}; the disk is {percent} % off that",
            program,
            job,
            work,
            from,
            to,
            file = file.as_path(),
            percent = format!("{off:.1}")
        ),
        None => tr!(
            "{program} ({job}) says of itself {work} from {from} to {to}; the disk is {percent} % off that",
            program,
            job,
            work,
            from,
            to,
            percent = format!("{off:.1}")
        ),
    }
}

/// What does not add up is told, and why.
fn arithmetic(finding: &mut Finding, burst: &Burst) {
    let (raw, rates) = (&burst.rates, burst.corrected());
    if let (Some(by), Some(util)) = (burst.stretch, raw.util) {
        finding.note(tr!(
            "a util of {util} % cannot be: the time was {times} times what it was taken for (lost ticks, a busy CPU); as it was printed it is {raw}, divided by that {work}",
            util = format!("{util:.2}"),
            times = format!("{by:.4}"),
            raw = printed(raw.transfers, raw.kb()),
            work = printed(rates.transfers, rates.kb())
        ));
    }
    if let Some(util) = raw.util.filter(|util| *util < 90.0) {
        finding.note(tr!(
            "a util of {util} % is too little: kernels from 5.0 on count it by ticks and miss what is short; the queue is right",
            util = format!("{util:.0}")
        ));
    }
    if let (Some(queue), Some(little), Some(transfers), Some(wait)) = (raw.queue, raw.little(), raw.transfers, raw.wait)
    {
        let off = (queue / little.max(0.001) - 1.0).abs();
        let (queue, transfers, wait) = (number(queue), number(transfers), number(wait));
        match off <= 0.1 {
            true => finding.note(tr!(
                "it adds up: a queue of {queue} is {transfers}/s times {wait} ms",
                queue,
                transfers,
                wait
            )),
            false => finding.verbose_note(tr!(
                "a queue of {queue} is not {transfers}/s times {wait} ms: what ended meanwhile began earlier, or has not ended",
                queue,
                transfers,
                wait
            )),
        };
    }
}

fn printed(transfers: Option<f64>, kb: Option<f64>) -> Text {
    match (transfers, kb) {
        (Some(transfers), Some(kb)) => {
            tr!("{transfers}/s and {kb} kB/s", transfers = format!("{transfers:.0}"), kb = format!("{kb:.0}"))
        }
        (Some(transfers), None) => tr!("{transfers}/s", transfers = format!("{transfers:.0}")),
        (None, kb) => tr!("{kb} kB/s", kb = format!("{:.0}", kb.unwrap_or(0.0))),
    }
}

fn told_limit(limit: Limit, queue: f64) -> Text {
    let queue = number(queue);
    match (limit, limit.sold()) {
        (Limit::Iops(iops), Some(sold)) => tr!(
            "it does {iops} IOPS all the time, no more and no less, with {queue} in the queue: that is what a limit looks like, and clouds sell disks with {sold} IOPS",
            iops = format!("{iops:.0}"),
            queue,
            sold = format!("{sold:.0}")
        ),
        (Limit::Iops(iops), None) => tr!(
            "it does {iops} IOPS all the time, no more and no less, with {queue} in the queue: that is what a limit looks like, the cloud's or that of io.max",
            iops = format!("{iops:.0}"),
            queue
        ),
        (Limit::Megabytes(megabytes), Some(sold)) => tr!(
            "it does {megabytes} MB/s all the time, no more and no less, with {queue} in the queue: that is what a limit looks like, and clouds sell disks with {sold} MB/s",
            megabytes = number(megabytes),
            queue,
            sold = format!("{sold:.0}")
        ),
        (Limit::Megabytes(megabytes), None) => tr!(
            "it does {megabytes} MB/s all the time, no more and no less, with {queue} in the queue: that is what a limit looks like, the cloud's or that of io.max",
            megabytes = number(megabytes),
            queue
        ),
    }
}

fn told_doer(doer: &Doer, seconds: f64) -> Text {
    let rate = |bytes: f64| number(bytes / seconds.max(0.001) / 1e6);
    let mut files: Vec<&std::path::Path> = Vec::new();
    let is_telling = |file: &&crate::sample::OpenFile| {
        if doer.written >= doer.read { open::is_written(file) } else { open::is_read(file) }
    };
    for file in doer.files.iter().filter(is_telling) {
        if !files.contains(&file.path.as_path()) {
            files.push(&file.path);
        }
    }
    let (name, pid) = (doer.name.as_str(), doer.pid);
    let (read, written) = (rate(doer.read), rate(doer.written));
    let share = format!("{:.0}", doer.share);
    match files.as_slice() {
        [] => tr!(
            "{name} (PID {pid}): {read} MB/s read, {written} MB/s written, {share} %",
            name,
            pid,
            read,
            written,
            share
        ),
        [first] => tr!(
            "{name} (PID {pid}): {read} MB/s read, {written} MB/s written, {share} %; it has {file} open there",
            name,
            pid,
            read,
            written,
            share,
            file = *first
        ),
        [first, others @ ..] => tr!(
            "{name} (PID {pid}): {read} MB/s read, {written} MB/s written, {share} %; it has {file} and {count} more open there",
            name,
            pid,
            read,
            written,
            share,
            file = *first,
            count = others.len()
        ),
    }
}

/// Whether what processes did is what the disk did.
fn adds_up(finding: &mut Finding, burst: &Burst) {
    let seconds = burst.episode.length.as_secs_f64() * burst.stretch.unwrap_or(1.0);
    let of_all: f64 = burst.doers.iter().map(|doer| (doer.read + doer.written) / 1e6).sum();
    let Some(of_disk) = burst.corrected().kb().map(|kb| kb * 1.024 / 1000.0 * seconds) else { return };
    if of_all <= 0.0 {
        return;
    }
    let percent = of_all * 100.0 / of_disk.max(0.001);
    let (of_all, of_disk) = (number(of_all), number(of_disk));
    finding.note(match percent {
        80.0..=125.0 => tr!("that adds up: processes {of_all} MB, the disk {of_disk} MB", of_all, of_disk),
        125.0.. => tr!("processes did {of_all} MB, the disk {of_disk} MB: the rest is on other disks, or not yet written", of_all, of_disk),
        _ => tr!(
            "processes did {of_all} MB, the disk {of_disk} MB: the rest was made before and written now, is of processes that ended, or of the kernel",
            of_all,
            of_disk
        ),
    });
}

/// Who waits for a disk meanwhile: that load is a consequence.
fn waiters(facts: &Facts, finding: &mut Finding) {
    let Ok(load) = facts.get::<Load>() else { return };
    let for_disk = |group: &&Group| matches!(group.wait(), Some(Wait::Disk | Wait::Journal | Wait::Lock));
    let waiting = |of: &dyn Fn(&&Group) -> bool| -> f64 {
        load.groups.iter().filter(|group| !group.is_usual).filter(|group| of(group)).map(|group| group.waiting).sum()
    };
    for group in load.groups.iter().filter(for_disk).filter(|group| group.waiting >= 0.5).take(4) {
        finding.note(tr!(
            "{threads} {threads?thread|threads} of {who} wait for it",
            threads = group.waiting.round().max(1.0) as u64,
            who = group.who()
        ));
    }
    if waiting(&for_disk) * 2.0 >= waiting(&|_| true) && waiting(&for_disk) > 0.0 {
        finding.explains("/proc/loadavg");
    }
}

/// Three digits at most where there are enough.
fn number(value: f64) -> String {
    match value {
        value if value >= 100.0 => format!("{value:.0}"),
        value if value >= 10.0 => format!("{value:.1}"),
        value => format!("{value:.2}"),
    }
}

fn details(burst: &Burst) -> serde_json::Value {
    let rates = burst.corrected();
    let some = |value: Option<f64>| value.map(thousandths);
    serde_json::json!({
        "from": burst.episode.from.as_secs_f64(),
        "to": burst.episode.to.as_secs_f64(),
        "seconds": thousandths(burst.episode.length.as_secs_f64()),
        "reads_per_second": some(rates.reads),
        "writes_per_second": some(rates.writes),
        "iops": some(rates.transfers),
        "read_kb": some(rates.read_kb),
        "written_kb": some(rates.written_kb),
        "wait_ms": some(rates.wait),
        "queue": some(rates.queue),
        "util_as_measured": some(burst.rates.util),
        "stretch": some(burst.stretch),
        "pressure": some(burst.pressure),
        "limit_iops": match burst.limit { Some(Limit::Iops(iops)) => Some(thousandths(iops)), _ => None },
        "limit_mb": match burst.limit { Some(Limit::Megabytes(megabytes)) => Some(thousandths(megabytes)), _ => None },
        "processes": burst.doers.iter().map(|doer| serde_json::json!({
            "pid": doer.pid,
            "name": doer.name,
            "share": thousandths(doer.share / 100.0),
            "read_bytes": doer.read.round(),
            "written_bytes": doer.written.round(),
            "files": doer.files.iter().map(|file| file.path.display().to_string()).collect::<Vec<_>>(),
        })).collect::<Vec<_>>(),
    })
}
