//! What the kernel said: in the logs that are the target, else in the target's own.

use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use bstr::ByteSlice;
use sickbay_formats::boot_console::Console;
use sickbay_formats::census::Census;
use sickbay_formats::foreign::{self, Foreign};
use sickbay_formats::kernel_log::blocked::Blocked;
use sickbay_formats::kernel_log::{self, Incident, Kind, Scanner, Stamp};
use sickbay_formats::{ping, service_log, trace};
use sickbay_target::{Blocks, SupportReport, WHOLE_JOURNAL, journal_entries};

use crate::facts::logs::{console, login_log, origin};
use crate::facts::system::kernel::uptime;
use crate::facts::{Fact, Facts};
use crate::model::finding::{Findings, Severity};
use crate::model::outcome::Skip;
use crate::model::text::Text;
use crate::tr;

/// What the kernel said.
#[derive(Debug, Default)]
pub struct KernelLog {
    /// Everything that matters of it.
    pub said: kernel_log::KernelLog,
    /// Where it was read, in order; [`Incident::source`] counts them.
    pub sources: Vec<PathBuf>,
    /// The logs were given, alone or along with the system that wrote them: all that is in them counts, however old.
    pub given: bool,
    /// Those of the sources that are consoles, with what the last boot in each says.
    pub consoles: Vec<(usize, Console)>,
    /// How much of logs that were given was understood.
    pub census: Census,
    /// Why PAM, sshd or systemd cannot work, as logs that were given say it.
    pub services: Vec<service_log::Seen>,
    /// What ping printed, in logs that were given.
    pub pings: Vec<ping::Series>,
    /// Whether there was more of that than is kept.
    pub pings_cut: bool,
    /// Why programs failed, as traces of them tell that were given.
    pub traces: Vec<trace::Failure>,
    /// Why logs that came with a system seem to be another's.
    pub foreign: Option<Text>,
    /// Lines of such traces.
    pub traced: u64,
    /// Tasks in state D, of which logs that were given have the stacks.
    pub blocked: Vec<Blocked>,
    /// The moment that the age of an incident is judged at, by the clocks that logs use: a date, and the time since
    /// the start. None where it cannot be told.
    now: Vec<Stamp>,
    /// What could not be read.
    unread: Vec<Text>,
}

/// What is older than this many days on a system of its own is history.
pub const RECENT: i64 = 7;

/// Of a system's own logs no more than this is read: the end, which is what is recent.
const OWN_LIMIT: u64 = 256 << 20;

/// And no more than this, when it is packed, of all of them together.
const OWN_UNPACKED: u64 = 4 << 30;

impl Fact for KernelLog {
    fn gather(facts: &Facts) -> Result<KernelLog, Skip> {
        if facts.target().given_logs().is_empty() { own(facts) } else { given(facts) }
    }
}

/// # Errors
/// When nothing of it is understood, so that nothing can be said of it.
fn given(facts: &Facts) -> Result<KernelLog, Skip> {
    let mut log = KernelLog { given: true, ..KernelLog::default() };
    let mut scanner = Scanner::new();
    let mut services = service_log::Scanner::default();
    let mut tools = console::Tools::default();
    for (index, file) in facts.target().given_logs().iter().enumerate() {
        scanner.source(index);
        log.census.source();
        services.source(index);
        tools.ping.source(index);
        tools.trace.source(index);
        tools.blocked.source(index);
        log.sources.push(file.path().to_owned());
        let blocks = file.open().inspect(|blocks| {
            if blocks.is_cut() {
                let mib = WHOLE_JOURNAL >> 20;
                log.unread.push(tr!(
                    "of {path} only the newest entries were read, those in its last {mib} MiB",
                    path = file.path(),
                    mib
                ));
            }
        });
        match blocks.and_then(|blocks| console::feed(&mut scanner, &mut log.census, &mut services, &mut tools, blocks))
        {
            Ok(console) => log.consoles.extend(console.map(|console| (index, console))),
            Err(error) => {
                let why = error.to_string();
                log.unread.push(tr!("{path} could not be read to the end: {why}", path = file.path(), why));
            }
        }
    }
    // Of a console that was rotated only the newest part holds the last boot.
    let is_older = |index: usize| {
        let name = log.sources.get(index).map(|path| path.display().to_string()).unwrap_or_default();
        let newer =
            |other: &PathBuf| name.strip_prefix(&other.display().to_string()).is_some_and(|rest| rest.starts_with('.'));
        log.sources.iter().any(newer)
    };
    let older: Vec<usize> = log.consoles.iter().map(|(index, _)| *index).filter(|index| is_older(*index)).collect();
    log.consoles.retain(|(index, _)| !older.contains(index));
    log.said = scanner.finish();
    log.services = services.seen;
    tools.trace.finish();
    if facts.target().logs().is_err() {
        log.foreign = origin::foreign(facts, &tools.origin);
    }
    tools.ping.end();
    (log.pings, log.pings_cut) = (tools.ping.series, tools.ping.is_cut);
    log.blocked = tools.blocked.seen;
    (log.traces, log.traced) = (tools.trace.failures, tools.trace.seen);
    if log.says_something() || !log.unread.is_empty() {
        return Ok(log);
    }
    let path = match log.sources.as_slice() {
        [one] => one.clone(),
        _ => PathBuf::from(&facts.target().name),
    };
    Err(Skip::Unknown(not_understood(&path, &log.census)))
}

/// Why nothing can be said of a log: what it is instead, where that can be told.
fn not_understood(path: &Path, census: &Census) -> Text {
    if census.lines == 0 && census.head.iter().all(|byte| byte.is_ascii_whitespace() || *byte == 0) {
        return tr!("{path} is empty", path);
    }
    let what = match foreign::recognise(&census.head) {
        Some(Foreign::Output(name)) => tr!("it looks like the output of {name}", name),
        Some(Foreign::File(name)) => tr!("it looks like {name}", name),
        Some(Foreign::LogOf(name)) => tr!("it looks like a {name} log", name),
        Some(Foreign::Unit) => tr!("it looks like a systemd unit"),
        Some(Foreign::Script) => tr!("it looks like a script"),
        Some(Foreign::Markup) => tr!("it looks like HTML or XML"),
        Some(Foreign::Json) => tr!("it is JSON, but has no log lines"),
        Some(Foreign::Archive) => tr!("it is an archive: unpack it first"),
        Some(Foreign::Utf16) => tr!("it is UTF-16 text: convert it to UTF-8 first (iconv)"),
        Some(Foreign::Binary) => tr!("it is not text"),
        None if census.others > 0 => {
            let mut programs: Vec<(&String, &u64)> = census.programs.iter().collect();
            programs.sort_by_key(|(_, lines)| std::cmp::Reverse(**lines));
            let names: Vec<&str> = programs.into_iter().take(5).map(|(name, _)| name.as_str()).collect();
            if names.is_empty() {
                tr!("it only has lines from other programs")
            } else {
                tr!("it only has lines from other programs ({names})", names = names.join(", "))
            }
        }
        None => tr!("no line of it is in a known format"),
    };
    tr!(
        "{path} is not a log that sickbay knows: {what}. It reads what a kernel, systemd, PAM, sshd or a boot's console writes, hs_err files of Java, ping and strace",
        path,
        what
    )
}

/// What a support tool collected: first what the kernel itself still had, and the machine's own logs only where that tells nothing,
/// so that nothing counts twice.
fn collected(facts: &Facts, report: &SupportReport) -> Result<KernelLog, Skip> {
    let mut places: Vec<Vec<PathBuf>> = report.kernel_messages().into_iter().map(|path| vec![path]).collect();
    places.push(sickbay_target::system_logs(facts.root()));
    let mut any = None;
    for paths in places.into_iter().filter(|paths| !paths.is_empty()) {
        let log = of_texts(facts, paths)?;
        if !log.said.incidents.is_empty() || !log.said.ooms.is_empty() || !log.said.jvm.is_empty() {
            return Ok(log);
        }
        any.get_or_insert(log);
    }
    any.ok_or_else(|| Skip::NotApplicable(tr!("the system keeps no kernel log as text")))
}

fn own(facts: &Facts) -> Result<KernelLog, Skip> {
    if let Ok(report) = facts.target().report() {
        return collected(facts, report);
    }
    of_texts(facts, texts(facts))
}

fn of_texts(facts: &Facts, texts: Vec<PathBuf>) -> Result<KernelLog, Skip> {
    let root = facts.root();
    let mut log = KernelLog::default();
    let mut scanner = Scanner::new();
    let mut left = OWN_UNPACKED;
    let today = Stamp::of_unix(u64::try_from(facts.now().as_second()).unwrap_or(0));
    for path in texts {
        scanner.source(log.sources.len());
        let read = root.open(&path).and_then(|mut file| {
            let fail =
                |source| sickbay_target::ReadError { path: path.clone(), reason: sickbay_target::Reason::Io(source) };
            let size = root.metadata(&path).map_or(0, |metadata| metadata.size);
            if Blocks::of_journal(&mut |buffer, at| file.read_at(buffer, at), size) {
                let read = Box::new(move |buffer: &mut [u8], at| file.read_at(buffer, at));
                return journal_entries(read, size, |entry| entry.kernel)
                    .and_then(|entries| feed(&mut scanner, Blocks::of_entries(entries), &mut left))
                    .map_err(fail);
            }
            if size > OWN_LIMIT {
                file.seek(SeekFrom::Start(size - OWN_LIMIT)).map_err(fail)?;
            }
            Blocks::new(file.take(OWN_LIMIT))
                .and_then(|blocks| feed(&mut scanner, blocks.at_most(left), &mut left))
                .map_err(fail)
        });
        if let Err(error) = read {
            log.unread.push(Text::verbatim(error.to_string()));
        }
        log.sources.push(path);
    }
    // What this machine's kernel says is nothing of a system that was written down.
    if log.sources.is_empty() && facts.target().can_be_asked() {
        let path = PathBuf::from("/dev/kmsg");
        match facts.root().ask("/dev/kmsg", sickbay_target::kernel_messages) {
            Ok(records) => records.chunks(256 << 10).fold(Vec::new(), |mut rest: Vec<u8>, chunk| {
                rest.extend_from_slice(chunk);
                let end = rest.rfind_byte(b'\n').map_or(0, |at| at + 1);
                scanner.block(rest.get(..end).unwrap_or_default());
                rest.split_off(end)
            }),
            // In a container there is none.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(Skip::NotApplicable(tr!("{path} does not exist", path)));
            }
            Err(error) => {
                return Err(Skip::Unknown(tr!("{path} could not be read: {why}", path, why = error.to_string())));
            }
        };
        log.sources.push(path);
    }
    if log.sources.is_empty() {
        return Err(Skip::NotApplicable(tr!("the system keeps no kernel log as text")));
    }
    log.said = scanner.finish();
    if facts.runs() {
        log.now.push(today);
        let seconds = uptime(facts).ok().flatten();
        log.now.extend(seconds.map(|seconds| Stamp::Uptime((seconds as u64).saturating_mul(1_000_000))));
    } else {
        // A system that lies still: its last day is what is recent.
        log.now.extend(log.said.newest);
    }
    Ok(log)
}

/// The texts to read. Where nothing writes them any more (the journal took over), a running kernel knows more itself.
fn texts(facts: &Facts) -> Vec<PathBuf> {
    const FRESH: i64 = 2 * 86_400;
    let paths = sickbay_target::system_logs(facts.root());
    let written = |path: &PathBuf| facts.root().metadata(path).map_or(0, |metadata| metadata.mtime.0);
    let fresh = paths.iter().any(|path| facts.now().as_second().saturating_sub(written(path)) < FRESH);
    match (facts.runs(), fresh) {
        (true, false) => Vec::new(),
        (false, _) if paths.is_empty() => login_log::journals(facts),
        _ => paths,
    }
}

fn feed(scanner: &mut Scanner, mut blocks: Blocks, left: &mut u64) -> std::io::Result<()> {
    while let Some(block) = blocks.next_block()? {
        *left = left.saturating_sub(block.len() as u64);
        scanner.block(block);
    }
    Ok(())
}

impl KernelLog {
    /// Whether anything in logs that were given is understood.
    fn says_something(&self) -> bool {
        let said = &self.said;
        let found =
            !said.incidents.is_empty() || !said.ooms.is_empty() || !said.jvm.is_empty() || !self.services.is_empty();
        let found = found || !self.blocked.is_empty() || !said.servers.is_empty();
        self.census.understood() > 0 || found || !self.consoles.is_empty()
    }

    /// Whether a line of a kernel is there: else nothing that a kernel says can be missing.
    pub fn has_kernel(&self) -> bool {
        !self.given
            || self.census.kernel > 0
            || !self.said.incidents.is_empty()
            || !self.said.ooms.is_empty()
            || !self.blocked.is_empty()
    }

    /// Whether something of that time counts: always in a log that is examined for itself.
    pub fn counts(&self, last: Option<Stamp>) -> bool {
        if self.given {
            return true;
        }
        let age = last.and_then(|last| self.now.iter().find_map(|now| last.seconds_to(*now)));
        age.is_some_and(|age| {
            let days = age / 86_400;
            // A date without a year that seems to lie ahead was in the year before.
            (-2..=RECENT).contains(&days) || (-2..=RECENT).contains(&(days + 365))
        })
    }

    /// What it is worth: on a system of its own an incident is over, and in another machine's log it says nothing of this one:
    /// then it is at most a warning.
    pub fn severity(&self, grave: Severity) -> Severity {
        match (self.given && self.foreign.is_none(), grave) {
            (true, grave) => grave,
            (false, Severity::Critical | Severity::Error) => Severity::Warning,
            (false, _) => Severity::Note,
        }
    }

    /// Incidents of a kind that count, in order.
    pub fn of(&self, kind: Kind) -> Vec<&Incident> {
        self.said.incidents.iter().filter(|seen| seen.kind == kind && self.counts(seen.last)).collect()
    }

    /// Where an incident was read.
    pub fn source(&self, source: usize) -> PathBuf {
        self.sources.get(source).cloned().unwrap_or_default()
    }

    /// Says what could not be read.
    pub fn tell_unread(&self, found: &mut Findings) {
        for why in &self.unread {
            found.could_not_tell(why.clone());
        }
    }
}
