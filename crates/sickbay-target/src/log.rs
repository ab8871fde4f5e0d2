//! Logs: files, compressed or not, directories of them, and standard input; read in big blocks of whole lines.

use std::fmt;
use std::fs::{File, Metadata};
use std::io::{self, BufReader, Cursor, ErrorKind, Read};
use std::os::unix::fs::{FileExt, FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use sickbay_formats::{boot_console, journal_file, kernel_log, ping, trace};

pub(crate) mod journal;

use crate::packing::{Counted, Packing};
use crate::spool::Spool;
use crate::utf16::Utf16;
use crate::{FileKind, OpenError, Root, content};

/// What is read at a time: large enough for few calls, small enough for the processor's second cache.
const BLOCK: usize = 256 << 10;
/// What is looked at to tell whether something is a log.
const HEAD: u64 = 4 << 20;
/// The same of each file of a directory, which may be photographs.
const HEAD_OF_MANY: u64 = 64 << 10;
/// So many files of a directory are looked at.
const MOST: usize = 10_000;
/// A window that zstd may ask for: 32 MiB. `zstd --long` uses more, which logs do not.
const ZSTD_WINDOW: u32 = 25;
/// What is packed is read in such pieces: what was taken is compared with what came of it.
const PACKED: usize = 32 << 10;
/// A packed journal file is held in memory.
const JOURNAL: u64 = journal::WHOLE;
/// What is read of `/dev/kmsg` at most: its buffer holds far less.
const KMSG: usize = 64 << 20;

/// What may come out of a packed log: so much, and so many times what was taken of it. Texts are packed to a twentieth, or a
/// hundredth where they say one thing for ever; what comes to more is made to keep people waiting.
const UNPACKED: (u64, u64) = (256 << 20, 400);

/// The log that is being read, if it was named, and how much of it was.
static READ: Mutex<Option<(PathBuf, u64)>> = Mutex::new(None);

/// Which log is being read, and how many bytes of it were, unpacked.
pub fn reading() -> Option<(PathBuf, u64)> {
    READ.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

/// One log of a target.
#[derive(Debug, Clone)]
pub struct LogFile {
    /// Where it is on this machine; `-` for standard input.
    path: PathBuf,
    /// What it holds, where it can be read only once.
    spool: Option<Arc<Spool>>,
}

impl LogFile {
    /// Standard input, which is read to its end.
    pub(crate) fn stdin() -> Result<LogFile, OpenError> {
        let name = Path::new("standard input");
        LogFile::spooled(Path::new("-"), name, Spool::stdin().map_err(|e| OpenError::io(name, "reading it", e))?)
    }

    /// A pipe, which is read to its end.
    fn pipe(path: &Path) -> Result<LogFile, OpenError> {
        let spool = File::open(path).and_then(Spool::of);
        LogFile::spooled(path, path, spool.map_err(|e| OpenError::io(path, "reading it", e))?)
    }

    fn spooled(path: &Path, name: &Path, spool: Spool) -> Result<LogFile, OpenError> {
        let log = LogFile { path: path.to_owned(), spool: Some(Arc::new(spool)) };
        let mut head = Vec::new();
        log.read()
            .and_then(|input| input.take(HEAD).read_to_end(&mut head))
            .map_err(|e| OpenError::io(name, "reading it", e))?;
        let inside = Form::of(&head).is_some().then(|| unpacked(&head));
        let text = without_zeros(inside.as_deref().unwrap_or(&head));
        if may_be_log(&head, false) || !content::is_binary(text) && !content::is_named(text) {
            return Ok(log);
        }
        Err(OpenError::NotATarget { path: name.to_owned(), what: content::name(&head) })
    }

    fn named(path: &Path) -> LogFile {
        LogFile { path: path.to_owned(), spool: None }
    }

    /// Its path on this machine, `-` for standard input.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Opens it. It is read from its beginning, however often it is opened.
    ///
    /// # Errors
    /// The kernel's, and those of a damaged compressed file.
    pub fn open(&self) -> io::Result<Blocks> {
        let mut blocks = match &self.spool {
            Some(_) => Blocks::new(self.read()?)?,
            None => {
                let file = File::open(&self.path)?;
                let size = file.metadata()?.len();
                match Blocks::of_journal(&mut |buffer, at| file.read_at(buffer, at), size) {
                    true => Blocks::of_entries(journal::entries(
                        Box::new(move |buffer, at| file.read_at(buffer, at)),
                        size,
                        |_| true,
                    )?),
                    false => Blocks::new(file)?,
                }
            }
        };
        blocks.told = Some(self.path().to_owned());
        Ok(blocks)
    }

    fn read(&self) -> io::Result<Box<dyn Read>> {
        Ok(match &self.spool {
            Some(spool) => Box::new(spool.reader()),
            None => Box::new(File::open(&self.path)?),
        })
    }
}

/// A log as blocks of whole lines, unpacked, in bounded memory whatever it holds.
pub struct Blocks {
    input: Box<dyn Read>,
    buffer: Vec<u8>,
    /// The part of `buffer` that was not yet handed out begins and ends here.
    begin: usize,
    end: usize,
    /// The rest of a line that was too long is passed over.
    skipping: bool,
    done: bool,
    /// Bytes that were read of `input`, of so many that are.
    given: u64,
    most: u64,
    /// Bytes that were taken of what is packed.
    packed: Option<Arc<AtomicU64>>,
    /// The name under which [`reading`] tells of it.
    told: Option<PathBuf>,
    /// Only the newest part of it is given.
    is_cut: bool,
    /// It is a journal file, in which each author may say something at any place.
    is_journal: bool,
}

impl Drop for Blocks {
    fn drop(&mut self) {
        if self.told.is_some() {
            *READ.lock().unwrap_or_else(PoisonError::into_inner) = None;
        }
    }
}

impl fmt::Debug for Blocks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Blocks").field("begin", &self.begin).field("end", &self.end).finish_non_exhaustive()
    }
}

impl Blocks {
    /// Whether a file of this size is a journal file.
    pub fn of_journal(read: &mut dyn FnMut(&mut [u8], u64) -> io::Result<usize>, size: u64) -> bool {
        let mut head = [0; 8];
        size > 8 && read(&mut head, 0).is_ok_and(|count| count == 8) && journal_file::MAGIC == head.as_slice()
    }

    /// Of entries of a journal file.
    pub fn of_entries(entries: journal::Entries) -> Blocks {
        let is_cut = entries.is_cut;
        let mut blocks = Blocks::of_input(Box::new(journal::Text::of(entries)), None);
        blocks.is_cut = is_cut;
        blocks.is_journal = true;
        blocks
    }

    /// Whether these are the entries of a journal file.
    pub fn is_journal(&self) -> bool {
        self.is_journal
    }

    /// Whether only the newest part is given, because the whole is too large.
    pub fn is_cut(&self) -> bool {
        self.is_cut
    }

    /// Of anything that can be read; what is packed by gzip, bzip2, xz or zstd is unpacked; of a
    /// journal file it is its entries. Text is UTF-8, or UTF-16 with a mark of the order of its bytes.
    ///
    /// # Errors
    /// The kernel's, and those of damaged packed data.
    pub fn new(mut input: impl Read + 'static) -> io::Result<Blocks> {
        let mut head = Vec::new();
        input.by_ref().take(Packing::HEAD).read_to_end(&mut head)?;
        let form = Form::of(&head);
        let (mut whole, taken) = Counted::new(Cursor::new(head).chain(input));
        let input: Box<dyn Read> = match form {
            None => Box::new(whole),
            Some(Form::Packed(packing)) => packing.unpack(BufReader::with_capacity(PACKED, whole), ZSTD_WINDOW)?,
            Some(Form::Utf16 { big_endian }) => Box::new(Utf16::new(whole, big_endian)),
            Some(Form::Journal) => {
                let mut bytes = Vec::new();
                if whole.by_ref().take(JOURNAL + 1).read_to_end(&mut bytes)? as u64 > JOURNAL {
                    return Err(ErrorKind::FileTooLarge.into());
                }
                let file = journal_file::JournalFile::parse(bytes).ok_or(ErrorKind::InvalidData)?;
                Box::new(journal::Text::of(file.entries(|_| true)))
            }
        };
        Ok(Blocks::of_input(input, form.map(|_| taken)))
    }

    fn of_input(input: Box<dyn Read>, packed: Option<Arc<AtomicU64>>) -> Blocks {
        Blocks {
            input,
            buffer: vec![0; BLOCK],
            begin: 0,
            end: 0,
            skipping: false,
            done: false,
            given: 0,
            most: u64::MAX,
            packed,
            told: None,
            is_cut: false,
            is_journal: false,
        }
    }

    /// The same, and an error after so many bytes.
    pub fn at_most(mut self, most: u64) -> Blocks {
        self.most = most;
        self
    }

    /// Reads on, within bounds.
    fn read(&mut self, from: usize) -> io::Result<usize> {
        let count = self.input.read(self.buffer.get_mut(from..).unwrap_or_default())?;
        self.given += count as u64;
        let packed = self.packed.as_ref().map(|packed| packed.load(Ordering::Relaxed));
        let most = packed.map_or(u64::MAX, |packed| packed.saturating_mul(UNPACKED.1).saturating_add(UNPACKED.0));
        if self.given > most.min(self.most) {
            let mib = self.given >> 20;
            return Err(io::Error::new(ErrorKind::FileTooLarge, format!("it unpacks to more than {mib} MiB")));
        }
        if let Some(path) = &self.told {
            *READ.lock().unwrap_or_else(PoisonError::into_inner) = Some((path.clone(), self.given));
        }
        Ok(count)
    }

    /// The next block; `None` at the end. Of a line longer than a block (256 KiB) only the beginning is given.
    ///
    /// # Errors
    /// As [`Blocks::new`]. What came before the error was given.
    pub fn next_block(&mut self) -> io::Result<Option<&[u8]>> {
        loop {
            if self.done {
                return Ok(None);
            }
            // What is left over is the beginning of a line.
            self.buffer.copy_within(self.begin..self.end, 0);
            self.end -= self.begin;
            self.begin = 0;
            let fresh = self.end;
            let count = match self.read(fresh) {
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => {
                    self.done = true;
                    return Err(error);
                }
            };
            self.end += count;
            if count == 0 {
                self.done = true;
                if self.skipping || self.end == 0 {
                    return Ok(None);
                }
                return Ok(self.buffer.get(..self.end));
            }
            let new = self.buffer.get(fresh..self.end).unwrap_or_default();
            if self.skipping {
                match new.iter().position(|byte| *byte == b'\n') {
                    Some(at) => {
                        self.begin = fresh + at + 1;
                        self.skipping = false;
                        // There may be whole lines already.
                        let rest = self.buffer.get(self.begin..self.end).unwrap_or_default();
                        if let Some(last) = rest.iter().rposition(|byte| *byte == b'\n') {
                            let begin = self.begin;
                            self.begin += last + 1;
                            return Ok(self.buffer.get(begin..self.begin));
                        }
                    }
                    None => self.begin = self.end,
                }
                continue;
            }
            if let Some(at) = new.iter().rposition(|byte| *byte == b'\n') {
                self.begin = fresh + at + 1;
                return Ok(self.buffer.get(..self.begin));
            }
            if self.end == self.buffer.len() {
                // A hole, as logrotate's copytruncate leaves it, reads as zeros: the line begins after it.
                let zeros = self.buffer.iter().take_while(|byte| **byte == 0).count();
                if zeros > 0 {
                    self.begin = zeros;
                    continue;
                }
                self.begin = self.end;
                self.skipping = true;
                return Ok(Some(&self.buffer));
            }
        }
    }
}

/// What a log is that is not simply bytes of text.
#[derive(Clone, Copy)]
enum Form {
    Packed(Packing),
    Utf16 { big_endian: bool },
    Journal,
}

impl Form {
    fn of(head: &[u8]) -> Option<Form> {
        const MAGICS: [(&[u8], Form); 3] = [
            (b"\xff\xfe", Form::Utf16 { big_endian: false }),
            (b"\xfe\xff", Form::Utf16 { big_endian: true }),
            (journal_file::MAGIC, Form::Journal),
        ];
        let other = || MAGICS.iter().find(|(magic, _)| head.starts_with(magic)).map(|(_, form)| *form);
        Packing::of(head).map(Form::Packed).or_else(other)
    }
}

/// The log that the user means by `path`; `None` when it is something else.
pub(crate) fn of_file(path: &Path, metadata: &Metadata) -> Result<Option<LogFile>, OpenError> {
    // `sickbay check <(dmesg)`: the shell holds the other end. Of any other FIFO nobody knows whether somebody writes.
    if metadata.file_type().is_fifo() && (path.starts_with("/dev/fd") || path.starts_with("/proc/self/fd")) {
        return LogFile::pipe(path).map(Some);
    }
    Ok((metadata.is_file() && is_log(path)?).then(|| LogFile::named(path)))
}

/// The texts in which a system keeps what its kernel said, oldest first, of the first kind that is there.
pub fn system_logs(root: &Root) -> Vec<PathBuf> {
    let dir = Path::new("/var/log");
    let entries = root.read_dir(dir).unwrap_or_default();
    for head in ["kern.log", "messages", "syslog", "dmesg"] {
        let of_kind =
            |name: &str| name.strip_prefix(head).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '-']));
        let mut found: Vec<PathBuf> = entries
            .iter()
            .filter(|entry| entry.kind == FileKind::File && of_kind(&entry.name.to_string_lossy()))
            .map(|entry| dir.join(&entry.name))
            .filter(|path| root.metadata(path).is_ok_and(|metadata| metadata.size > 0))
            .collect();
        if !found.is_empty() {
            found.sort_by_key(|path| age(path));
            return found;
        }
    }
    Vec::new()
}

/// Whether a regular file is a log: a journal file, or text, perhaps packed, in which some line has the form of one or says what only a
/// kernel says. A file that is named like one may have anything in it. An empty one is none.
pub(crate) fn is_log(path: &Path) -> Result<bool, OpenError> {
    is_log_within(path, HEAD)
}

fn is_log_within(path: &Path, most: u64) -> Result<bool, OpenError> {
    let fail = |error| OpenError::io(path, "opening it", error);
    let mut file = File::options().read(true).custom_flags(libc::O_NONBLOCK).open(path).map_err(fail)?;
    // logrotate's copytruncate leaves a hole where the old text was.
    if let Ok(start) = rustix::fs::seek(&file, rustix::fs::SeekFrom::Data(0)) {
        let start = if start > 4096 { start } else { 0 };
        rustix::fs::seek(&file, rustix::fs::SeekFrom::Start(start)).map_err(|errno| fail(errno.into()))?;
    }
    let mut raw = Vec::new();
    file.by_ref().take(most).read_to_end(&mut raw).map_err(fail)?;
    Ok(may_be_log(&raw, named_like_a_log(path)))
}

fn may_be_log(raw: &[u8], is_named: bool) -> bool {
    let unpacked = match Form::of(raw) {
        Some(Form::Journal) => return true,
        Some(_) => Some(unpacked(raw)),
        None => None,
    };
    let text = without_zeros(unpacked.as_deref().unwrap_or(raw));
    if content::is_named(text) {
        return false;
    }
    if content::is_binary(text) {
        // A log that was damaged, or has a hole: it begins with lines of a log all the same.
        let readable = text.iter().position(|byte| *byte == 0 || content::is_binary(&[*byte])).unwrap_or(text.len());
        let lines = text.get(..readable).unwrap_or_default();
        let end = lines.iter().rposition(|byte| *byte == b'\n').unwrap_or(0);
        return resembles(lines.get(..end).unwrap_or_default());
    }
    is_named || resembles(text)
}

/// A cloud fills the buffer of a console up with zeros, and a hole reads as such.
fn without_zeros(text: &[u8]) -> &[u8] {
    let begin = text.iter().position(|byte| *byte != 0).unwrap_or(text.len());
    let end = text.iter().rposition(|byte| *byte != 0).map_or(begin, |at| at + 1);
    text.get(begin..end).unwrap_or_default()
}

/// Whether it is what a kernel says, what a boot says on its console, or what ping or strace print.
fn resembles(text: &[u8]) -> bool {
    kernel_log::resembles(text)
        || boot_console::resembles(text)
        || is_of_tool(text)
        || kernel_log::blocked::resembles(text)
}

/// So many lines of a text tell whether it is what a tool prints, and this share of them must be: what a program itself prints may be
/// in between.
const LINES: usize = 60;
const SHARE: usize = 4;

fn is_of_tool(text: &[u8]) -> bool {
    let is_line = |line: &[u8]| {
        let traced = |line: trace::Line| !matches!(line.event, trace::Event::Message(_));
        ping::line(line).is_some() || trace::line(line).is_some_and(traced)
    };
    let lines = text.split(|byte| *byte == b'\n').map(|line| line.get(..1024).unwrap_or(line));
    let lines: Vec<&[u8]> =
        lines.filter(|line| !line.trim_ascii().is_empty() && !trace::is_frame(line)).take(LINES).collect();
    let of_tool = lines.iter().filter(|line| is_line(line)).count();
    of_tool > 0 && of_tool * SHARE >= lines.len()
}

/// As much as can be had.
pub(crate) fn unpacked(raw: &[u8]) -> Vec<u8> {
    let mut text = Vec::new();
    let Ok(blocks) = Blocks::new(Cursor::new(raw.to_vec())) else { return text };
    // A text may begin with a hole, but not go on as one for ever.
    let mut blocks = blocks.at_most(16 * HEAD);
    while let Ok(Some(block)) = blocks.next_block() {
        text.extend_from_slice(block);
        if text.len() as u64 >= HEAD {
            break;
        }
    }
    text
}

/// `kern.log`, `messages-20230612.gz`, `syslog.1`, `dmesg`.
pub(crate) fn named_like_a_log(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
    ["messages", "syslog", "dmesg", "kern", "vmcore-dmesg", "console", "journal"]
        .iter()
        .any(|head| name.starts_with(head))
        || name.split(['.', '-']).any(|part| part == "log")
}

/// The logs of a directory of logs, oldest first; `None` when it is not one: it has what a system has, or no log.
pub(crate) fn of_directory(dir: &Path) -> Option<Vec<LogFile>> {
    const SYSTEM: [&str; 7] = ["etc", "usr", "bin", "sbin", "lib", "boot", "var"];
    if SYSTEM.iter().any(|name| dir.join(name).symlink_metadata().is_ok()) {
        return None;
    }
    let listed = |dir: &Path| Some(std::fs::read_dir(dir).ok()?.flatten().take(MOST).map(|entry| entry.path()));
    // Below /var/log/journal journald makes a directory by the machine's id.
    let is_id = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().as_encoded_bytes();
        name.len() == 32 && name.iter().all(u8::is_ascii_hexdigit)
    };
    let below = listed(dir)?.filter(is_id).filter_map(|dir| listed(&dir)).flatten();
    let mut files: Vec<PathBuf> = listed(dir)?
        .chain(below)
        .filter(|path| path.metadata().is_ok_and(|metadata| metadata.is_file()))
        .filter(|path| is_log_within(path, HEAD_OF_MANY).unwrap_or(false))
        .take(MOST)
        .collect();
    files.sort_by_key(|path| age(path));
    let kept = without_copies(files.iter().map(|path| path.to_string_lossy().into_owned()).collect());
    let files: Vec<LogFile> =
        files.iter().filter(|path| kept.contains(&*path.to_string_lossy())).map(|path| LogFile::named(path)).collect();
    (!files.is_empty()).then_some(files)
}

/// Where a kern.log is, syslog, messages and dmesg repeat what it says: rsyslog writes each sentence to all of them.
fn without_copies(names: Vec<String>) -> std::collections::HashSet<String> {
    let base = |name: &String| family(Path::new(name));
    let first = ["kern", "messages", "syslog"].iter().find(|family| names.iter().any(|name| base(name) == **family));
    let copies = ["kern", "messages", "syslog", "dmesg"];
    names
        .into_iter()
        .filter(|name| first.is_none_or(|first| base(name) == *first || !copies.contains(&base(name).as_str())))
        .collect()
}

/// `messages-20230612.gz` and `messages.1` → `messages`.
fn family(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name.split(['.', '-']).next().unwrap_or_default().to_owned()
}

/// Sorts the parts of a rotated log, oldest first: by name, `.3.gz` before `.1` before none, dates before none.
pub(crate) fn age(path: &Path) -> (String, bool, u64, i64) {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    // A closed journal file, system@ID-NUMBER-TIME.journal; one that was found damaged, system@TIME-ID.journal~.
    if let Some((family, rest)) = name.split_once('@').filter(|_| name.contains(".journal")) {
        let parts: Vec<&str> = rest.split(['-', '.']).collect();
        let time = if rest.ends_with('~') { parts.first() } else { parts.get(2) };
        let time = time.and_then(|time| u64::from_str_radix(time, 16).ok()).unwrap_or(0);
        return (family.to_owned(), false, time, 0);
    }
    let numbers: Vec<u64> = name.split(['.', '-']).filter_map(|part| part.parse().ok()).collect();
    let hour = |at: usize| numbers.get(at).copied().and_then(|hour| i64::try_from(hour).ok()).unwrap_or(0);
    match numbers.as_slice() {
        [] => (family(path), true, 0, 0),
        // `-2023-06-12`, and with an hour or seconds behind; `-20230612`.
        [year @ 1990..2200, month @ 1..=12, day @ 1..=31, ..] => {
            (family(path), false, year * 10_000 + month * 100 + day, hour(3))
        }
        [date, ..] if *date > 9999 => (family(path), false, *date, hour(1)),
        [number, ..] => (family(path), false, 0, -i64::try_from(*number).unwrap_or(i64::MAX)),
    }
}

/// What the running kernel has said since it started and still holds, as records of `/dev/kmsg`.
///
/// # Errors
/// The kernel's: most often that only root may read it.
pub fn kernel_messages() -> io::Result<Vec<u8>> {
    let mut file = File::options().read(true).custom_flags(libc::O_NONBLOCK).open("/dev/kmsg")?;
    let mut all = Vec::new();
    // One record a call; CONSOLE_EXT_LOG_MAX is 8192.
    let mut record = vec![0; 8192];
    while all.len() < KMSG {
        match file.read(&mut record) {
            Ok(0) => break,
            Ok(count) => all.extend_from_slice(record.get(..count).unwrap_or_default()),
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            // Records were overwritten before they were read.
            Err(error) if error.kind() == ErrorKind::Interrupted || error.raw_os_error() == Some(libc::EPIPE) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests;
