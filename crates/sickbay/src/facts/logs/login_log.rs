//! What the target's logs say of root's logins.

use std::collections::BTreeMap;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use bstr::ByteSlice;
use sickbay_formats::kernel_log::Stamp;
use sickbay_formats::login_log::{self, Event, Reason};
use sickbay_formats::utmp;
use sickbay_target::{Blocks, FileKind, journal_entries};

use crate::facts::{Fact, Facts};
use crate::model::outcome::Skip;
use crate::tr;

/// Why root was refused since root last came in.
#[derive(Debug, Default)]
pub struct LoginLog {
    /// By reason.
    pub refusals: BTreeMap<Reason, Refusal>,
    /// What could not be read.
    pub unread: Vec<PathBuf>,
    /// What btmp and wtmp have of root, where they are.
    pub records: Records,
}

/// What the records of logins say of root.
#[derive(Clone, Debug, Default)]
pub struct Records {
    /// How often a login as root failed since root last came in, or as far as btmp goes back, and from where most often.
    pub failed: u64,
    /// When last.
    pub last_failed: Option<Stamp>,
    /// From where, the most frequent first.
    pub hosts: Vec<(String, u64)>,
    /// When root last came in, and from where ("" from the console).
    pub last_in: Option<(Stamp, String)>,
}

/// So much of the end of wtmp and btmp is read: 40,000 records.
const RECORDS: u64 = 16 << 20;
/// So many hosts are told apart.
const HOSTS: usize = 4096;

fn records(facts: &Facts) -> Records {
    let end = |path: &str| {
        let root = facts.root();
        let size = root.metadata(path).ok().filter(|found| found.is_file())?.size;
        let mut file = root.open(path).ok()?;
        // It may have become larger: what is read begins where a record does.
        file.seek(SeekFrom::Start(size.saturating_sub(RECORDS))).ok()?;
        let mut bytes = Vec::new();
        file.take(RECORDS).read_to_end(&mut bytes).ok()?;
        Some(utmp::records(&bytes, size).filter(|record| record.user == "root").collect::<Vec<_>>())
    };
    let mut found = Records::default();
    let came_in = end("/var/log/wtmp").unwrap_or_default();
    let last = came_in.iter().filter(|record| record.kind == utmp::Kind::Login).max_by_key(|record| record.time);
    found.last_in = last.map(|record| (Stamp::of_unix(record.time), record.host.clone()));
    let since = last.map_or(0, |record| record.time);
    let mut hosts: BTreeMap<String, u64> = BTreeMap::new();
    for record in end("/var/log/btmp").unwrap_or_default().into_iter().filter(|record| record.time > since) {
        found.failed += 1;
        found.last_failed = Some(Stamp::of_unix(record.time));
        let from = if record.host.is_empty() { record.line } else { record.host };
        if hosts.len() < HOSTS || hosts.contains_key(&from) {
            *hosts.entry(from).or_default() += 1;
        }
    }
    found.hosts = hosts.into_iter().collect();
    found.hosts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    found
}

/// One reason, with the last line that gives it.
#[derive(Clone, Debug)]
pub struct Refusal {
    /// How often it was given.
    pub count: u64,
    /// Where the last line stands.
    pub source: PathBuf,
    /// When it was written.
    pub time: Option<Stamp>,
    /// What it says, without date, host and author.
    pub text: String,
}

/// Logs to which these programs write, on the families that keep texts; the first that is there.
const TEXTS: [&str; 4] = ["/var/log/secure", "/var/log/auth.log", "/var/log/messages", "/var/log/syslog"];

/// Of a log no more than its end is read.
const END: u64 = 64 << 20;

/// So many of the newest journal files are read.
const JOURNALS: usize = 4;

/// What is older than this, counted back from the last line, is history.
const RECENT: i64 = crate::facts::logs::kernel_log::RECENT * 86_400;

impl Fact for LoginLog {
    fn gather(facts: &Facts) -> Result<LoginLog, Skip> {
        let mut log = LoginLog::default();
        let root = facts.root();
        let mut newest = None;
        let texts = TEXTS.iter().map(Path::new).find(|path| root.metadata(path).is_ok_and(|found| found.size > 0));
        if let Some(path) = texts {
            // What was rotated away comes first.
            let before = ["1", "0"].iter().map(|number| PathBuf::from(format!("{}.{number}", path.display())));
            for path in before.chain([path.to_owned()]) {
                match root.metadata(&path) {
                    Ok(found) if found.is_file() => log.text(facts, &path, found.size, &mut newest),
                    _ => {}
                }
            }
        } else {
            let files = journals(facts);
            if files.is_empty() {
                return Err(Skip::NotApplicable(tr!("the system keeps no login log that sickbay reads")));
            }
            for path in files {
                log.journal(facts, &path, &mut newest);
            }
        }
        let recent = |refusal: &Refusal| match (refusal.time, newest) {
            (Some(time), Some(newest)) => time.seconds_to(newest).is_none_or(|age| age < RECENT),
            _ => true,
        };
        log.refusals.retain(|_, refusal| recent(refusal));
        log.records = records(facts);
        Ok(log)
    }
}

impl LoginLog {
    fn text(&mut self, facts: &Facts, path: &Path, size: u64, newest: &mut Option<Stamp>) {
        let blocks = facts.root().open(path).ok().and_then(|mut file| {
            file.seek(SeekFrom::Start(size.saturating_sub(END))).ok()?;
            Blocks::new(file.take(END)).ok()
        });
        let Some(mut blocks) = blocks else {
            self.unread.push(path.to_owned());
            return;
        };
        loop {
            match blocks.next_block() {
                Ok(Some(block)) => {
                    for line in block.lines() {
                        let Some(line) = login_log::line(line) else { continue };
                        *newest = line.time.or(*newest);
                        self.take(path, line.time, line.text);
                    }
                }
                Ok(None) => return,
                Err(_) => {
                    self.unread.push(path.to_owned());
                    return;
                }
            }
        }
    }

    fn journal(&mut self, facts: &Facts, path: &Path, newest: &mut Option<Stamp>) {
        let size = facts.root().metadata(path).map_or(0, |found| found.size);
        let entries = facts.root().open(path).ok().and_then(|file| {
            let read = Box::new(move |buffer: &mut [u8], at| file.read_at(buffer, at));
            journal_entries(read, size, |entry| login_log::lets_in(&entry.author)).ok()
        });
        // Of one that is very large the newest part is read: what counts is since the last login.
        let Some(entries) = entries else {
            self.unread.push(path.to_owned());
            return;
        };
        for entry in entries {
            let time = Some(Stamp::of_unix(entry.realtime / 1_000_000));
            *newest = time;
            self.take(path, time, &entry.message);
        }
    }

    fn take(&mut self, source: &Path, time: Option<Stamp>, text: &[u8]) {
        match login_log::event(text) {
            Some(Event::In) => self.refusals.clear(),
            Some(Event::Refused(reason)) => {
                let count = self.refusals.get(&reason).map_or(0, |refusal| refusal.count) + 1;
                let text = text.to_str_lossy().chars().take(300).collect();
                self.refusals.insert(reason, Refusal { count, source: source.to_owned(), time, text });
            }
            None => {}
        }
    }
}

/// The newest journal files of the system itself, oldest first. Closed ones have an `@` in their names; their last change says
/// when that was.
pub(super) fn journals(facts: &Facts) -> Vec<PathBuf> {
    let root = facts.root();
    let mut found = Vec::new();
    for top in ["/var/log/journal", "/run/log/journal"].map(Path::new) {
        for dir in root.read_dir(top).unwrap_or_default().into_iter().filter(|entry| entry.kind == FileKind::Dir) {
            let dir = top.join(&dir.name);
            for entry in root.read_dir(&dir).unwrap_or_default() {
                let name = entry.name.to_string_lossy();
                let path = dir.join(&entry.name);
                if name.starts_with("system") && name.contains(".journal") && entry.kind == FileKind::File {
                    found.extend(root.metadata(&path).map(|metadata| (metadata.mtime, path)));
                }
            }
        }
    }
    found.sort();
    let skipped = found.len().saturating_sub(JOURNALS);
    found.into_iter().skip(skipped).map(|(_, path)| path).collect()
}
