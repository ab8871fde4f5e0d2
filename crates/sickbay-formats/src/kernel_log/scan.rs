//! Goes once over a log and keeps what matters.

use std::collections::HashMap;

use bstr::ByteSlice;

use super::alloc_failure::{self, AllocFailure};
use super::anchors::Anchors;
use super::frames::Frames;
use super::journal::{self, Field};
use super::oom::{self, Fed, Oom, Reader};
use super::{Event, Kind, Message, Stamp, classify, message};
use crate::hs_err;
use crate::lines::newlines;

/// Reports of the OOM killer that are kept whole; of more, the first half and the last half.
const OOMS: usize = 128;
/// Different subjects of one kind that are told apart.
const SUBJECTS: usize = 256;
/// Reports that may be open at a time: one for each host whose lines are mixed.
const OPEN: usize = 8;
/// How far behind a line its entry's time is looked for in `journalctl -o export`.
const ENTRY: usize = 8 << 10;
/// Of a line no more is looked at.
const LINE: usize = 64 << 10;
/// Where the first line of a report is not the first that is there: so many lines before it are looked at, and so many in a
/// row that are of no report end it.
const BEFORE: usize = 6000;
const GAP: usize = 24;
/// So many lines behind the first one of a stuck processor say where it was.
const BEHIND: u32 = 40;
/// So far before a report SLUB may have told of a cgroup without room.
const SLUB: usize = 40;
/// Reports of failed allocations that are read whole; of more only how many there were is kept.
const ALLOCS: usize = 64;
/// Servers of NFS that are told apart.
const SERVERS: usize = 64;
/// So far before "error loading journal" JBD2 says why.
const JBD2: usize = 8;
/// Reports of JVMs that are kept, and how much of each.
const JVMS: usize = 16;
const JVM: usize = 8 << 20;

/// The same thing, once or many times.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Incident {
    /// What happened.
    pub kind: Kind,
    /// To whom or what; "…" when there were too many to tell apart.
    pub subject: String,
    /// More, from the first time; see [`Kind`].
    pub detail: String,
    /// How often.
    pub count: u64,
    /// When it was first said, as far as the line tells.
    pub first: Option<Stamp>,
    /// When it was last said.
    pub last: Option<Stamp>,
    /// The kernel's words the first time, undecodable bytes replaced, cut at 400 characters.
    pub words: String,
    /// The source the first was found in, as the scanner's user counts.
    pub source: usize,
    /// The first's line there, from 1.
    pub line: u64,
    /// Of a processor that was stuck the first time: the function that it was in, where a line behind says it.
    pub function: Option<String>,
    /// Of a task that was blocked the first time: its stack, where the lines behind have it.
    pub stack: Frames,
}

/// A server of NFS that did not answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Server {
    /// Its name or address.
    pub name: String,
    /// How often it fell silent.
    pub count: u64,
    /// When it first did.
    pub first: Option<Stamp>,
    /// When it was last said to be silent, or to answer again.
    pub last: Option<Stamp>,
    /// The longest silence whose end is known, in seconds.
    pub longest: Option<i64>,
    /// Since when it is silent, if its answer is not in the log; the time may be unknown.
    pub silent: Option<Option<Stamp>>,
    /// The kernel gave up: `timed out`, of a soft mount.
    pub gave_up: bool,
    /// The kernel's words the first time.
    pub words: String,
    /// The source these were found in, as the scanner's user counts, and their line there, from 1.
    pub source: usize,
    /// See `source`.
    pub line: u64,
}

/// A report of a Java virtual machine that stands in a log: see [`crate::hs_err`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Excerpt {
    /// The source it was found in, as the scanner's user counts.
    pub source: usize,
    /// The line of its first sentence there, from 1.
    pub line: u64,
    /// Its lines, without what a log puts before each.
    pub text: Vec<u8>,
}

/// What a log says.
#[derive(Clone, Debug, Default)]
pub struct KernelLog {
    /// Incidents, in the order in which they first occurred.
    pub incidents: Vec<Incident>,
    /// Reports of the OOM killer in order.
    pub ooms: Vec<Oom>,
    /// How many there were; more than `ooms` has where there were very many.
    pub oom_count: u64,
    /// The time of the last line that was looked at.
    pub newest: Option<Stamp>,
    /// The kernel's release that the log named last.
    pub kernel: Option<String>,
    /// Reports of Java virtual machines, in order.
    pub jvm: Vec<Excerpt>,
    /// Reports of failed allocations of pages, in order.
    pub allocs: Vec<AllocFailure>,
    /// Servers of NFS that did not answer.
    pub servers: Vec<Server>,
}

/// Reads logs. Feed it blocks of whole lines with [`Scanner::block`].
#[derive(Debug, Default)]
pub struct Scanner {
    log: KernelLog,
    known: HashMap<(Kind, String), usize>,
    subjects: HashMap<Kind, usize>,
    open: Vec<Reader>,
    jvm: Option<Excerpt>,
    /// The incident of a processor that was stuck, and how many more lines may tell where.
    stuck: Option<(usize, u32)>,
    alloc: Option<alloc_failure::Reader>,
    source: usize,
    /// Lines of this source before the block, and before `counted` in it.
    lines: u64,
    counted: usize,
    places: Vec<usize>,
    /// What `journalctl -o export` said of the entry that is being read.
    entry: (Option<Stamp>, bool),
    /// Up to here in the block reports were read.
    fed: usize,
}

impl Scanner {
    /// A scanner that has read nothing.
    pub fn new() -> Scanner {
        Scanner::default()
    }

    /// From now on blocks are of this source. A report may go on in it: a log can be rotated in its middle.
    pub fn source(&mut self, source: usize) {
        self.entry = (None, true);
        self.source = source;
        self.lines = 0;
        self.end_jvm();
    }

    /// How many lines of this source were read.
    pub fn lines(&self) -> u64 {
        self.lines
    }

    /// Passes over so many lines, which are not given.
    pub fn pass_over(&mut self, lines: u64) {
        self.lines += lines;
    }

    /// Reads whole lines: a part of the log that begins and ends between two lines.
    pub fn block(&mut self, block: &[u8]) {
        let mut places = std::mem::take(&mut self.places);
        Anchors::get().find(block, &mut places);
        let mut next = places.iter().copied().peekable();
        // Where the first line begins that was not looked at.
        let mut at = 0;
        while at < block.len() {
            if self.open.is_empty() && self.jvm.is_none() && self.stuck.is_none() && self.alloc.is_none() {
                while next.next_if(|place| *place < at).is_some() {}
                let Some(place) = next.peek().copied() else { break };
                at = block.get(..place).and_then(|head| head.rfind_byte(b'\n')).map_or(0, |end| end + 1).max(at);
            }
            let rest = block.get(at..).unwrap_or_default();
            let end = rest.find_byte(b'\n').unwrap_or(rest.len());
            let mut anchored = false;
            while next.next_if(|place| *place < at + end).is_some() {
                anchored = true;
            }
            let line = rest.get(..end.min(LINE)).unwrap_or_default();
            self.count_to(block, at);
            self.line(line, anchored, block.get(self.fed..at).unwrap_or_default());
            at += end + 1;
            if !self.open.is_empty() {
                self.fed = at.min(block.len());
            }
        }
        self.count_to(block, block.len());
        self.lines += u64::from(!block.is_empty() && !block.ends_with(b"\n"));
        self.counted = 0;
        self.fed = 0;
        let last = block.strip_suffix(b"\n").unwrap_or(block);
        let last = last.rsplit(|byte| *byte == b'\n').next().unwrap_or_default();
        self.log.newest = message(last.get(..LINE.min(last.len())).unwrap_or_default()).time.or(self.log.newest);
        self.places = places;
    }

    /// What was found.
    pub fn finish(mut self) -> KernelLog {
        self.end();
        self.log
    }

    /// Counts the lines of `block` before `end`.
    fn count_to(&mut self, block: &[u8], end: usize) {
        let part = block.get(self.counted..end).unwrap_or_default();
        self.lines += newlines(part);
        self.counted = end;
    }

    fn line(&mut self, line: &[u8], anchored: bool, before: &[u8]) {
        if self.jvm.is_some() || anchored && hs_err::begins(line) {
            self.of_jvm(line);
        }
        if self.stuck.is_some() {
            self.of_stuck(line);
        }
        if let Some(field) = journal::field(line) {
            match field {
                Field::Time(stamp) => self.entry = (Some(stamp), true),
                Field::Kernel(kernel) => self.entry.1 = kernel,
                Field::Other => {}
            }
            return;
        }
        let mut said = message(line);
        if line.starts_with(b"MESSAGE=") {
            if self.open.is_empty() {
                self.entry = entry(before);
            }
            said.time = self.entry.0;
            said.kernel = self.entry.1;
        }
        if !said.kernel {
            return;
        }
        if self.alloc.as_mut().is_some_and(|alloc| !alloc.feed(&said)) {
            self.end_alloc();
        }
        if !self.open.is_empty() {
            self.feed(&said);
            if let Some(at) = said.text.find("oom_reaper: reaped process ") {
                self.reaped(said.text.get(at + 27..).unwrap_or_default());
            }
        }
        if anchored {
            self.anchored(&said, before);
        }
    }

    /// A line of a JVM's report, or its first one.
    fn of_jvm(&mut self, line: &[u8]) {
        let text = message(line).text;
        if hs_err::begins(&text) {
            self.end_jvm();
            self.jvm = Some(Excerpt { source: self.source, line: self.lines + 1, text: Vec::new() });
        }
        let Some(jvm) = &mut self.jvm else { return };
        jvm.text.extend_from_slice(&text);
        jvm.text.push(b'\n');
        if hs_err::ends(&text) || jvm.text.len() > JVM {
            self.end_jvm();
        }
    }

    fn end_jvm(&mut self) {
        if let Some(jvm) = self.jvm.take()
            && self.log.jvm.len() < JVMS
        {
            self.log.jvm.push(jvm);
        }
    }

    /// Gives a line to the report that it may belong to.
    fn feed(&mut self, said: &Message<'_>) {
        let Some(at) = self.open.iter().position(|reader| reader.is_of(said)) else { return };
        let line = self.lines + 1;
        let over = self.open.get_mut(at).is_some_and(|reader| {
            reader.at(line);
            reader.feed(said) == Fed::Over
        });
        if over {
            let reader = self.open.remove(at);
            self.close(reader);
        }
    }

    fn anchored(&mut self, said: &Message<'_>, before: &[u8]) {
        let text: &[u8] = &said.text;
        self.log.newest = said.time.or(self.log.newest);
        if let Some(rest) = text.strip_prefix(b"Linux version ") {
            let release = rest.split(u8::is_ascii_whitespace).next().unwrap_or_default();
            self.log.kernel = Some(release.get(..80).unwrap_or(release).to_str_lossy().into_owned());
            return;
        }
        if is_oom(text) {
            if !self.open.iter().any(|reader| reader.is_of(said)) {
                if self.open.len() >= OPEN {
                    let oldest = self.open.remove(0);
                    self.close(oldest);
                }
                let reader = self.begin(said, before);
                self.open.push(reader);
            }
            return;
        }
        if text.starts_with(b"nfs: server ") {
            self.nfs(said);
            return;
        }
        if let Some(event) = classify(text) {
            if event.kind == Kind::PageAllocation {
                self.end_alloc();
                if self.log.allocs.len() < ALLOCS {
                    self.alloc = alloc_failure::Reader::new(said, self.source, self.lines + 1);
                }
            }
            let why = if event.kind == Kind::JournalReplay { jbd2(before) } else { None };
            let words = || match why {
                Some(why) => format!("{why} / {}", text.to_str_lossy()).chars().take(400).collect(),
                None => text.to_str_lossy().chars().take(400).collect(),
            };
            self.count(event, said.time, words);
        }
    }

    /// A report that this line begins, or in the middle of which it is the first that was noticed: then what stands before it
    /// is read as well.
    fn begin(&self, said: &Message<'_>, before: &[u8]) -> Reader {
        let lines: Vec<&[u8]> = before.rsplit(|byte| *byte == b'\n').skip(1).take(BEFORE).collect();
        if said.text.contains_str(" invoked oom-killer:") {
            let mut reader = Reader::new(said, self.source, self.lines + 1);
            reader.feed(said);
            let cgroup = lines.iter().take(SLUB).find_map(|line| slub_cgroup(&message(line).text));
            if let Some(cgroup) = cgroup {
                reader.no_kernel_memory(&cgroup);
            }
            return reader;
        }
        let mut first = 0;
        for (index, line) in lines.iter().enumerate() {
            let other = message(line);
            let is_of = other.kernel && (other.host.is_none() || other.host == said.host);
            if is_of && is_oom(&other.text) || index - first > GAP {
                break;
            }
            if is_of && oom::is_part(&other.text, true) {
                first = index + 1;
            }
        }
        let from = self.lines + 1 - (first as u64).min(self.lines);
        let mut reader: Option<Reader> = None;
        for (index, line) in lines.get(..first).unwrap_or_default().iter().rev().enumerate() {
            let other = message(line);
            let at = from + index as u64;
            let reader = reader.get_or_insert_with(|| Reader::new(&other, self.source, at));
            if other.kernel && reader.is_of(&other) {
                reader.at(at);
                reader.feed(&other);
            }
        }
        let mut reader = reader.unwrap_or_else(|| Reader::new(said, self.source, self.lines + 1));
        reader.at(self.lines + 1);
        reader.feed(said);
        reader
    }

    fn reaped(&mut self, text: &[u8]) {
        let digits = text.get(..text.iter().take_while(|byte| byte.is_ascii_digit()).count()).unwrap_or_default();
        let Some(pid) = digits.to_str().ok().and_then(|digits| digits.parse().ok()) else { return };
        if self.open.iter_mut().any(|reader| reader.reaped(pid)) {
            return;
        }
        let kills = self.log.ooms.iter_mut().rev().take(8).flat_map(|oom| oom.kills.iter_mut().rev());
        if let Some(kill) = kills.into_iter().find(|kill| kill.pid == pid) {
            kill.reaped = true;
        }
    }

    fn count(&mut self, event: Event, time: Option<Stamp>, words: impl FnOnce() -> String) {
        let Event { kind, subject, detail, times } = event;
        let subjects = self.subjects.entry(kind).or_default();
        // What one process asked for in vain, it asks for in several sizes.
        let name = if kind == Kind::PageAllocation { format!("{subject}\0{detail}") } else { subject.clone() };
        let mut key = (kind, name);
        if *subjects >= SUBJECTS && !self.known.contains_key(&key) {
            key.1 = "…".to_owned();
        }
        let subject = if key.1 == "…" { key.1.clone() } else { subject };
        if let Some(incident) = self.known.get(&key).and_then(|at| self.log.incidents.get_mut(*at)) {
            incident.count = incident.count.saturating_add(times);
            incident.last = time.or(incident.last);
            // Counters: those of the last time are the sum.
            if kind == Kind::DiskErrors && !detail.is_empty() {
                incident.detail = detail;
            }
            return;
        }
        *subjects += 1;
        self.known.insert(key, self.log.incidents.len());
        let (words, source, line) = (words(), self.source, self.lines + 1);
        self.log.incidents.push(Incident {
            kind,
            subject,
            detail,
            count: times,
            first: time,
            last: time,
            words,
            source,
            line,
            function: None,
            stack: Frames::default(),
        });
        if matches!(kind, Kind::Lockup | Kind::HungTask) {
            self.stuck = Some((self.log.incidents.len() - 1, BEHIND));
        }
    }

    /// A line behind the first one of a processor that was stuck: where it was.
    fn of_stuck(&mut self, line: &[u8]) {
        let Some((index, left)) = self.stuck.take() else { return };
        let text = message(line).text;
        if let Some(incident) = self.log.incidents.get_mut(index).filter(|incident| incident.kind == Kind::HungTask) {
            let text = text.to_str_lossy();
            let is_next = text.contains(" blocked for more than ") || text.contains("</TASK>");
            let is_frame = !is_next && incident.stack.line(&text);
            // The stack is whole where something else follows it.
            if !is_next && (is_frame || incident.stack.is_empty()) && left > 1 {
                self.stuck = Some((index, left - 1));
            }
            return;
        }
        let place =
            ["RIP: ", "pc : ", "PC is at ", "NIP ["].iter().find_map(|head| text.find(head).map(|at| at + head.len()));
        let word = place.and_then(|at| {
            let words = text.get(at..)?.split(|byte| byte.is_ascii_whitespace() || *byte == b':');
            words.filter_map(|word| word.to_str().ok()).find(|word| word.contains("+0x"))
        });
        match (word, self.log.incidents.get_mut(index)) {
            (Some(word), Some(incident)) => incident.function = Some(word.chars().take(160).collect()),
            _ if left > 1 => self.stuck = Some((index, left - 1)),
            _ => {}
        }
    }

    /// `nfs: server filer not responding, still trying`, `nfs: server filer OK` (net/sunrpc/clnt.c, fs/nfs/client.c).
    fn nfs(&mut self, said: &Message<'_>) {
        let text = said.text.to_str_lossy();
        let Some((name, told)) = text.get(12..).and_then(|rest| rest.trim().split_once(' ')) else { return };
        let silent = told.starts_with("not responding");
        if !silent && told != "OK" {
            return;
        }
        let at = self.log.servers.iter().position(|server| server.name == name);
        let full = self.log.servers.len() >= SERVERS;
        let server = match at.and_then(|at| self.log.servers.get_mut(at)) {
            Some(server) => server,
            // Its silence is not in the log, or there are too many.
            None if !silent || full => return,
            None => {
                self.log.servers.push(Server {
                    name: name.chars().take(160).collect(),
                    first: said.time,
                    words: text.chars().take(400).collect(),
                    source: self.source,
                    line: self.lines + 1,
                    ..Server::default()
                });
                let Some(server) = self.log.servers.last_mut() else { return };
                server
            }
        };
        server.last = said.time.or(server.last);
        if silent {
            server.gave_up |= told.contains("timed out");
            if server.silent.is_none() {
                server.count += 1;
                server.silent = Some(said.time);
            }
        } else if let Some(since) = server.silent.take() {
            let lasted = since.zip(said.time).and_then(|(since, now)| since.seconds_to(now));
            server.longest = server.longest.max(lasted.filter(|seconds| *seconds >= 0));
        }
    }

    fn end_alloc(&mut self) {
        if let Some(alloc) = self.alloc.take() {
            self.log.allocs.push(alloc.finish(self.log.kernel.as_deref()));
        }
    }

    fn end(&mut self) {
        self.end_jvm();
        self.end_alloc();
        for reader in std::mem::take(&mut self.open) {
            self.close(reader);
        }
    }

    fn close(&mut self, reader: Reader) {
        let oom = reader.finish(self.log.kernel.as_deref());
        // A sentence that merely speaks of the OOM killer.
        if oom.trigger_comm.is_none() && oom.kills.is_empty() && !oom.no_victim && oom.memcg.is_none() {
            return;
        }
        if self.log.ooms.iter().rev().take(16).any(|known| known.repeats(&oom)) {
            return;
        }
        self.log.oom_count += 1;
        if self.log.ooms.len() >= OOMS {
            self.log.ooms.remove(OOMS / 2);
        }
        self.log.ooms.push(oom);
    }
}

/// What JBD2 said in the last lines of `before`, of a journal that it cannot replay.
fn jbd2(before: &[u8]) -> Option<String> {
    let mut lines = before.rsplit(|byte| *byte == b'\n').skip(1).take(JBD2).map(message);
    let said = lines.find(|said| said.text.starts_with(b"JBD2: ") && !said.text.contains_str("recovery failed"))?;
    Some(said.text.to_str_lossy().trim().chars().take(200).collect())
}

/// `cache: signal_cache(632851:3a166877f910), object size: …`: the cgroup whose own cache it is, as kernels before 5.9
/// name it.
fn slub_cgroup(text: &[u8]) -> Option<String> {
    let rest = text.trim_ascii_start().strip_prefix(b"cache: ")?;
    let inside = rest.split_once_str("(")?.1.split_once_str(")")?.0;
    let (id, cgroup) = inside.split_once_str(":")?;
    (!id.is_empty() && id.iter().all(u8::is_ascii_digit)).then(|| cgroup.to_str_lossy().chars().take(160).collect())
}

/// Whether a report begins here, if only its end is there.
fn is_oom(text: &[u8]) -> bool {
    const WORDS: [&str; 5] = [
        " invoked oom-killer:",
        "oom-kill:constraint=",
        "Out of memory: Kill",
        "emory cgroup out of memory: Kill",
        "Killed process ",
    ];
    WORDS.iter().any(|words| text.contains_str(words))
}

/// Time and author of the entry of `journalctl -o export` whose beginning is at the end of `before`.
fn entry(before: &[u8]) -> (Option<Stamp>, bool) {
    let near = before.get(before.len().saturating_sub(ENTRY)..).unwrap_or_default();
    let near = near.rfind("\n\n").and_then(|at| near.get(at + 2..)).unwrap_or(near);
    let mut found = (None, true);
    for line in near.lines() {
        match journal::field(line) {
            Some(Field::Time(stamp)) => found.0 = Some(stamp),
            Some(Field::Kernel(kernel)) => found.1 = kernel,
            _ => {}
        }
    }
    found
}
