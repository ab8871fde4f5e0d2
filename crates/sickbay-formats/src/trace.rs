//! What strace writes, and `LD_DEBUG=libs` of ld.so: of all that a program looked for in vain, what explains that it failed.
//!
//! A healthy program looks for much in vain: a library in seven directories, translations, caches. What counts is a library
//! that was found in none of its places, and what failed just before the program said that something is wrong, or ended.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bstr::ByteSlice;

mod line;

pub use self::line::{Event, Line, Result, line};

/// What explains that a program failed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cause {
    /// A library that is in none of the places where it was looked for.
    Library {
        /// `libnss_files.so.2`
        name: String,
        /// Where it was looked for, in order.
        candidates: Vec<String>,
    },
    /// A program that is there, and whose interpreter (`PT_INTERP`, `#!`) is not.
    Interpreter(String),
    /// A program that is not there, or whose interpreter is not.
    Program(String),
    /// A file or directory that is not there.
    Missing(String),
    /// Something that the kernel refused: what, and the errno.
    Refused(String, String),
    /// A user or group that nobody knows, by the words of the program; the files that were read for it.
    Unknown(String, Vec<String>),
}

/// A cause, with what tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What.
    pub cause: Cause,
    /// What the program said of it.
    pub message: Option<String>,
    /// With which status it ended, or by which signal.
    pub ended: Option<String>,
    /// How many processes failed so.
    pub count: u64,
    /// Which of the sources.
    pub source: usize,
    /// The line of the failing call, from 1 on.
    pub line: u64,
    /// That line.
    pub words: String,
}

/// Reads logs for traces. Feed it blocks of whole lines, and call [`Scanner::finish`].
#[derive(Debug, Default)]
pub struct Scanner {
    /// What was found.
    pub failures: Vec<Failure>,
    /// Lines that are of a trace.
    pub seen: u64,
    processes: BTreeMap<u32, Process>,
    source: usize,
    lines: u64,
    /// Lines of a trace in this source, and bytes that were read of it.
    here: u64,
    read: u64,
}

/// A call that failed.
#[derive(Clone, Debug)]
struct Failed {
    call: String,
    path: String,
    errno: String,
    at: (u64, String),
}

#[derive(Clone, Debug, Default)]
struct Library {
    candidates: Vec<String>,
    at: (u64, String),
}

/// What is remembered of a process.
#[derive(Clone, Debug, Default)]
struct Process {
    /// Libraries that were looked for and not found yet.
    libraries: BTreeMap<String, Library>,
    /// The last calls that failed.
    failed: VecDeque<Failed>,
    /// Files that are there.
    there: BTreeSet<String>,
    /// Files of users and groups that were read.
    accounts: Vec<String>,
    /// A program that could not be started, though it is there.
    interpreter: Option<Failed>,
    /// What it said, and what had failed by then.
    message: Option<(String, Vec<Failed>)>,
    /// A library that ld.so named as missing.
    named: Option<String>,
    /// A call that was cut in two.
    unfinished: Option<(String, String)>,
    /// `LD_DEBUG`: what is looked for now.
    finding: Option<String>,
    ended: Option<String>,
    /// Whether it ended as one that succeeded.
    well: bool,
}

const PROCESSES: usize = 2048;
const LIBRARIES: usize = 256;
const CANDIDATES: usize = 64;
const FAILED: usize = 12;
const THERE: usize = 2048;
const FAILURES: usize = 64;
const BEGINNING: u64 = 64 << 10;
/// Of a line no more is read.
const LINE: usize = 8 << 10;

impl Scanner {
    /// From now on blocks are of this source: with `-ff` the log of another process.
    pub fn source(&mut self, source: usize) {
        self.finish();
        (self.source, self.lines, self.here, self.read) = (source, 0, 0, 0);
    }

    /// Reads a block.
    pub fn block(&mut self, block: &[u8]) {
        for bytes in block.lines() {
            if self.here == 0 && self.read > BEGINNING {
                return;
            }
            self.lines += 1;
            self.read += bytes.len() as u64 + 1;
            let Some(line) = line(bytes.get(..LINE).unwrap_or(bytes)) else { continue };
            if !matches!(line.event, Event::Message(_)) {
                self.seen += 1;
                self.here += 1;
            }
            self.take(line, bytes);
        }
    }

    fn take(&mut self, line: Line, bytes: &[u8]) {
        // What ld.so says stands in no call, and belongs to the last process that looked.
        let pid = match (&line.event, line.pid) {
            (Event::Message(_), None) => {
                self.processes.iter().rfind(|(_, one)| one.finding.is_some()).map_or(0, |(pid, _)| *pid)
            }
            (_, pid) => pid.unwrap_or(0),
        };
        if self.processes.len() >= PROCESSES && !self.processes.contains_key(&pid) {
            return;
        }
        let words: String = bytes.get(..400).unwrap_or(bytes).to_str_lossy().into_owned();
        let process = self.processes.entry(pid).or_default();
        if process.take(line.event, (self.lines, words)) {
            let process = self.processes.remove(&pid).unwrap_or_default();
            self.conclude(process);
        }
    }

    /// Ends what is open.
    pub fn finish(&mut self) {
        for process in std::mem::take(&mut self.processes).into_values() {
            self.conclude(process);
        }
    }

    fn conclude(&mut self, process: Process) {
        let (message, ended) = (process.message.as_ref().map(|(text, _)| text.clone()), process.ended.clone());
        for (cause, (line, words)) in process.causes() {
            let known = self.failures.iter_mut().find(|known| known.cause.same(&cause));
            if let Some(known) = known {
                known.count += 1;
                known.message = known.message.take().or_else(|| message.clone());
                known.ended = known.ended.take().or_else(|| ended.clone());
            } else if self.failures.len() < FAILURES {
                let (message, ended, source) = (message.clone(), ended.clone(), self.source);
                self.failures.push(Failure { cause, message, ended, count: 1, source, line, words });
            }
        }
    }
}

impl Cause {
    fn same(&self, other: &Cause) -> bool {
        match (self, other) {
            (Cause::Library { name, .. }, Cause::Library { name: other, .. }) => name == other,
            (Cause::Unknown(one, _), Cause::Unknown(other, _)) => one == other,
            (one, other) => one == other,
        }
    }
}

fn base(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// `libnss_files.so.2`, `libc.so.6`, not `ld.so.cache`.
fn is_library(path: &str) -> bool {
    let name = base(path);
    let is_version = |rest: &str| rest.is_empty() || rest.starts_with('.');
    name.starts_with("lib") && name.split_once(".so").is_some_and(|(_, rest)| is_version(rest))
}

/// Calls that look for a file by its name.
const LOOKS: [&str; 24] = [
    "open",
    "openat",
    "openat2",
    "access",
    "faccessat",
    "faccessat2",
    "stat",
    "lstat",
    "stat64",
    "lstat64",
    "newfstatat",
    "fstatat64",
    "statx",
    "readlink",
    "readlinkat",
    "chdir",
    "opendir",
    "mount",
    "unlink",
    "unlinkat",
    "mkdir",
    "mkdirat",
    "connect",
    "bind",
];

/// What healthy programs look for in vain.
const IDLE: [&str; 22] = [
    "/locale/",
    "/LC_",
    ".mo",
    "/etc/ld.so.preload",
    "/etc/ld.so.nohwcap",
    "ld.so.cache",
    "gconv",
    "nscd",
    "/run/systemd/",
    "terminfo",
    "selinux",
    "/proc/self/attr",
    "inputrc",
    "/etc/suid-debug",
    "/etc/gai.conf",
    "/etc/host.conf",
    "/sys/devices/system",
    "zoneinfo",
    "glibc-hwcaps",
    "/.hushlogin",
    "/dev/tty",
    "libc.cat",
];

fn is_idle(path: &str) -> bool {
    path.is_empty() || IDLE.iter().any(|idle| path.contains(idle))
}

impl Process {
    /// Takes an event; whether the process has ended.
    fn take(&mut self, event: Event, at: (u64, String)) -> bool {
        match event {
            Event::Call { name, args, result } => self.call(&name, &args, &result, at),
            Event::Unfinished { name, args } => self.unfinished = Some((name, args)),
            Event::Resumed { name, args, result } => {
                let before = self.unfinished.take().filter(|(begun, _)| *begun == name).map(|(_, args)| args);
                self.call(&name, &format!("{}{args}", before.unwrap_or_default()), &result, at);
            }
            Event::Exited(status) => {
                self.well = status == 0;
                self.ended = (status != 0).then(|| status.to_string());
                return true;
            }
            Event::Killed(signal) => {
                self.ended = Some(signal);
                return true;
            }
            Event::Find(name) => {
                // The one before was found: ld.so goes on to the next.
                if let Some(before) = self.finding.replace(name.clone()) {
                    self.libraries.remove(&before);
                }
                self.libraries.insert(name, Library { candidates: Vec::new(), at });
                while self.libraries.len() > LIBRARIES {
                    self.libraries.pop_first();
                }
            }
            Event::Try(path) => {
                let library = self.finding.as_ref().and_then(|name| self.libraries.get_mut(name));
                if let Some(library) = library.filter(|library| library.candidates.len() < CANDIDATES) {
                    library.candidates.push(path);
                    library.at = at;
                }
            }
            Event::Found => {
                self.finding = None;
                self.libraries.clear();
            }
            Event::Message(text) => self.say(text),
        }
        false
    }

    fn call(&mut self, name: &str, args: &str, result: &Result, at: (u64, String)) {
        let path = line::first_text(args);
        if matches!(name, "write" | "writev")
            && args.trim_start().starts_with('2')
            && args.get(1..2).is_some_and(|c| c == "," || c == "<")
        {
            self.say(line::texts(args));
            return;
        }
        let Some(path) = path else { return };
        match (name, &result.errno) {
            ("execve" | "execveat", None) if result.value == Some(0) => {
                // Another program begins: what the one before looked for is over.
                let there = std::mem::take(&mut self.there);
                *self = Process { there, ..Process::default() };
            }
            ("execve" | "execveat", Some(errno)) => {
                let failed = Failed { call: name.to_owned(), path: path.clone(), errno: errno.clone(), at };
                if errno == "ENOENT" && self.there.contains(&path) {
                    self.interpreter = Some(failed);
                } else {
                    self.remember(failed);
                }
            }
            (_, None) if result.value.is_some_and(|value| value >= 0) && LOOKS.contains(&name) => {
                self.libraries.remove(base(&path));
                if matches!(path.as_str(), "/etc/passwd" | "/etc/group")
                    && name.starts_with("open")
                    && !self.accounts.contains(&path)
                {
                    self.accounts.push(path.clone());
                }
                // What it looked for elsewhere in vain is found.
                let name = base(&path).to_owned();
                self.failed.retain(|failed| base(&failed.path) != name);
                if self.there.len() < THERE {
                    self.there.insert(path);
                }
            }
            (_, Some(errno)) if LOOKS.contains(&name) => {
                if errno == "ENOENT" && is_library(&path) && name.starts_with("open") {
                    if self.libraries.len() < LIBRARIES {
                        let library = self.libraries.entry(base(&path).to_owned()).or_default();
                        if library.candidates.len() < CANDIDATES {
                            library.candidates.push(path);
                        }
                        library.at = at;
                    }
                } else if name.contains("stat") && self.is_searched(&path) {
                    // ld.so looks whether a directory without the library is there at all.
                } else if matches!(
                    errno.as_str(),
                    "ENOENT"
                        | "EACCES"
                        | "EPERM"
                        | "ENOTDIR"
                        | "ELOOP"
                        | "EROFS"
                        | "ENXIO"
                        | "ECONNREFUSED"
                        | "EADDRINUSE"
                ) {
                    self.remember(Failed { call: name.to_owned(), path, errno: errno.clone(), at });
                }
            }
            _ => {}
        }
    }

    /// Whether a library was just looked for in this directory.
    fn is_searched(&self, dir: &str) -> bool {
        let dir = dir.trim_end_matches('/');
        let tried = self.libraries.values().filter_map(|library| library.candidates.last());
        tried.filter_map(|path| path.rsplit_once('/')).any(|(above, _)| above.trim_end_matches('/') == dir)
    }

    fn remember(&mut self, failed: Failed) {
        if is_idle(&failed.path) {
            return;
        }
        self.failed.push_back(failed);
        while self.failed.len() > FAILED {
            self.failed.pop_front();
        }
    }

    fn say(&mut self, text: String) {
        let text: String = text.trim().chars().take(300).collect();
        if text.is_empty() {
            return;
        }
        if let Some(name) = missing_library(&text) {
            self.named = Some(name);
        }
        // What has been said in pieces ("cat: ", "x", ": No such file") is one message.
        let before = self.message.take();
        let failed = match &before {
            Some((_, failed)) if self.failed.is_empty() => failed.clone(),
            _ => self.failed.iter().cloned().collect(),
        };
        let text = match before {
            Some((before, _)) if before.len() < 300 => format!("{before} {text}"),
            _ => text,
        };
        self.message = Some((text.chars().take(400).collect(), failed));
    }

    /// What explains that it failed; nothing when it did not.
    fn causes(self) -> Vec<(Cause, (u64, String))> {
        let text = self.message.as_ref().map(|(text, _)| text.as_str()).unwrap_or_default();
        let mut all = Vec::new();
        for (name, library) in &self.libraries {
            let is_named = self.named.as_ref() == Some(name) || text.contains(name.as_str());
            let is_last = self.ended.as_deref() == Some("127") || self.finding.as_ref() == Some(name);
            // Without these nobody has a name. From glibc 2.34 on nss_files is in libc, and reads its files without one.
            let is_users = ["libnss_files.so", "libnss_compat.so"].iter().any(|known| name.starts_with(known));
            if is_named || is_last && self.named.is_none() || is_users && self.accounts.is_empty() {
                let cause = Cause::Library { name: name.clone(), candidates: library.candidates.clone() };
                all.push((cause, library.at.clone()));
            }
        }
        if let Some(name) = self.named.as_ref().filter(|_| all.is_empty()) {
            all.push((Cause::Library { name: name.clone(), candidates: Vec::new() }, (0, String::new())));
        }
        if let Some(failed) = self.interpreter.as_ref().filter(|_| !self.well) {
            all.push((Cause::Interpreter(failed.path.clone()), failed.at.clone()));
        }
        if let Some(name) = unknown(text).filter(|_| all.is_empty()) {
            let at = self.failed.back().map(|failed| failed.at.clone()).unwrap_or_default();
            all.push((Cause::Unknown(name, self.accounts.clone()), at));
        }
        if !all.is_empty() || self.well {
            return all;
        }
        // The latest that the message names; else, of a program that failed, the latest before it spoke or ended.
        let failed: Vec<&Failed> = match &self.message {
            Some((_, failed)) if !failed.is_empty() => failed.iter().collect(),
            _ => self.failed.iter().collect(),
        };
        let is_named = |failed: &&&Failed| base(&failed.path).len() > 2 && text.contains(base(&failed.path));
        let named = failed.iter().rev().find(is_named);
        let chosen = named.or_else(|| failed.last().filter(|_| self.ended.is_some()));
        if let Some(failed) = chosen {
            let cause = match (failed.errno.as_str(), failed.call.starts_with("exec")) {
                ("ENOENT", true) => Cause::Program(failed.path.clone()),
                ("ENOENT", false) => Cause::Missing(failed.path.clone()),
                _ => Cause::Refused(failed.path.clone(), failed.errno.clone()),
            };
            all.push((cause, failed.at.clone()));
        }
        all
    }
}

/// The library that ld.so says it cannot find.
fn missing_library(text: &str) -> Option<String> {
    let rest = text.split_once("error while loading shared libraries: ").map(|(_, rest)| rest);
    let rest = rest.or_else(|| text.contains("cannot open shared object file").then_some(text))?;
    let name = rest.split(':').map(str::trim).find(|word| is_library(word) && !word.contains(' '))?;
    text.contains("cannot open shared object file").then(|| base(name).to_owned())
}

/// Words with which programs say that nobody knows a user or group, and what they name.
fn unknown(text: &str) -> Option<String> {
    const WORDS: [&str; 9] = [
        "invalid user",
        "invalid group",
        "unknown user",
        "unknown group",
        "no such user",
        "No such user",
        "does not exist in the passwd",
        "I have no name",
        "cannot find name for",
    ];
    let (at, words) = WORDS.iter().find_map(|words| Some((text.find(words)?, words)))?;
    let rest = text.get(at + words.len()..).unwrap_or_default();
    let name = rest.trim_matches(|c: char| !c.is_alphanumeric());
    let name: String = name
        .split(['\'', '"', '\u{2018}', '\u{2019}', ' ', '\n', '!'])
        .next()
        .unwrap_or_default()
        .chars()
        .take(60)
        .collect();
    Some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn causes(text: &str) -> Vec<Cause> {
        let mut scanner = Scanner::default();
        scanner.block(text.as_bytes());
        scanner.finish();
        scanner.failures.into_iter().map(|failure| failure.cause).collect()
    }

    const BOOK: &str = "\
1546769450.781316 open(\"/lib64/tls/libnss_files.so.2\", O_RDONLY) = -1 ENOENT (No such file or directory)
1546769450.781341 open(\"/lib64/x86_64/libnss_files.so.2\", O_RDONLY) = -1 ENOENT (No such file or directory)
1546769450.781361 open(\"/lib64/libnss_files.so.2\", O_RDONLY) = -1 ENOENT (No such file or directory)
1546769450.781386 open(\"/usr/lib64/tls/x86_64/libnss_files.so.2\", O_RDONLY) = -1 ENOENT (No such file or directory)
1546769450.781408 open(\"/usr/lib64/tls/libnss_files.so.2\", O_RDONLY) = -1 ENOENT (No such file or directory)
1546769450.781433 open(\"/usr/lib64/x86_64/libnss_files.so.2\", O_RDONLY) = -1 ENOENT (No such file or directory)
1546769450.781454 open(\"/usr/lib64/libnss_files.so.2\", O_RDONLY) = -1 ENOENT (No such file or directory)
";

    #[test]
    fn seven_places_of_the_book_are_one_library() {
        let all = causes(BOOK);
        assert!(
            matches!(all.as_slice(), [Cause::Library { name, candidates }] if name == "libnss_files.so.2" && candidates.len() == 7)
        );
        // From glibc 2.34 on nss_files is in libc itself, and passwd is read all the same.
        let new = format!("{BOOK}openat(AT_FDCWD, \"/etc/passwd\", O_RDONLY|O_CLOEXEC) = 3\n+++ exited with 0 +++\n");
        assert!(causes(&new).is_empty());
        let found = format!("{BOOK}open(\"/opt/lib/libnss_files.so.2\", O_RDONLY) = 3\n");
        assert!(causes(&found).is_empty());
    }

    #[test]
    fn what_was_named_or_came_last() {
        let text = "12 openat(AT_FDCWD, \"/usr/share/locale/de/LC_MESSAGES/x.mo\", O_RDONLY) = -1 ENOENT (No such file or directory)\n\
            12 openat(AT_FDCWD, \"/etc/shop.conf\", O_RDONLY) = -1 EACCES (Permission denied)\n\
            12 openat(AT_FDCWD, \"/etc/other\", O_RDONLY) = -1 ENOENT (No such file or directory)\n\
            12 write(2, \"shop: cannot read /etc/shop.conf\\n\", 33) = 33\n12 exit_group(1) = ?\n12 +++ exited with 1 +++\n";
        assert_eq!(causes(text), [Cause::Refused("/etc/shop.conf".into(), "EACCES".into())]);
        // Silent, and status 1.
        let text = "10:00:00 open(\"/var/lib/shop/state\", O_RDONLY) = -1 ENOENT (No such file or directory)\n10:00:00 exit_group(1) = ?\n\
            10:00:00 +++ exited with 1 +++\n";
        assert_eq!(causes(text), [Cause::Missing("/var/lib/shop/state".into())]);
        let healthy = "open(\"/a\", O_RDONLY) = -1 ENOENT (No such file or directory)\n+++ exited with 0 +++\n";
        assert!(causes(healthy).is_empty());
    }

    #[test]
    fn directories_that_ld_so_does_not_find() {
        let text = "openat(AT_FDCWD, \"/opt/x/lib/libc.so.6\", O_RDONLY|O_CLOEXEC) = -1 ENOENT (No such file or directory)\n\
            newfstatat(AT_FDCWD, \"/opt/x/lib\", 0x7ffc, 0) = -1 ENOENT (No such file or directory)\n\
            openat(AT_FDCWD, \"/lib/libc.so.6\", O_RDONLY|O_CLOEXEC) = 3\n+++ exited with 1 +++\n";
        assert!(causes(text).is_empty(), "{:?}", causes(text));
    }

    #[test]
    fn interpreters_and_users() {
        let text = "[pid  77] stat(\"/opt/shop/run\", {st_mode=S_IFREG|0755, st_size=9, ...}) = 0\n\
            [pid  77] execve(\"/opt/shop/run\", [\"/opt/shop/run\"], 0x7ff /* 9 vars */) = -1 ENOENT (No such file or directory)\n\
            [pid  77] +++ exited with 127 +++\n";
        assert_eq!(causes(text), [Cause::Interpreter("/opt/shop/run".into())]);
        let text = "openat(AT_FDCWD</>, \"/etc/passwd\", O_RDONLY|O_CLOEXEC) = 3</etc/passwd>\nwrite(2, \"chown: \", 7) = 7\n\
            write(2, \"invalid user: 'shop:shop'\", 25) = 25\n+++ exited with 1 +++\n";
        assert_eq!(causes(text), [Cause::Unknown("shop:shop".into(), vec!["/etc/passwd".into()])]);
    }

    #[test]
    fn a_call_in_two_pieces_and_a_search_of_path() {
        let text = "7 openat(AT_FDCWD, \"/etc/x.conf\", O_RDONLY <unfinished ...>\n8 close(3) = 0\n\
            7 <... openat resumed>) = -1 ENOENT (No such file or directory)\n7 +++ exited with 2 +++\n8 +++ exited with 0 +++\n";
        assert_eq!(causes(text), [Cause::Missing("/etc/x.conf".into())]);
        let text = "execve(\"/bin/ls\", [\"ls\"], 0x1) = -1 ENOENT (No such file or directory)\nexecve(\"/usr/bin/ls\", [\"ls\"], 0x1) = 0\n\
            +++ exited with 2 +++\n";
        assert!(causes(text).is_empty());
    }

    #[test]
    fn the_linker_itself() {
        let text = "     4711:\tfind library=libc.so.6 [0]; searching\n     4711:\t search cache=/etc/ld.so.cache\n\
            \x20    4711:\t  trying file=/lib/x86_64-linux-gnu/libc.so.6\n     4711:\tfind library=libshop.so.1 [0]; searching\n\
            \x20    4711:\t  trying file=/lib/libshop.so.1\n     4711:\t  trying file=/usr/lib/libshop.so.1\n\
            ./shop: error while loading shared libraries: libshop.so.1: cannot open shared object file: No such file or directory\n";
        let all = causes(text);
        assert!(
            matches!(all.as_slice(), [Cause::Library { name, candidates }] if name == "libshop.so.1" && candidates.len() == 2),
            "{all:?}"
        );
        let healthy = "     4711:\tfind library=libc.so.6 [0]; searching\n     4711:\t  trying file=/lib/libc.so.6\n     4711:\tcalling init: /lib/libc.so.6\n";
        assert!(causes(healthy).is_empty());
    }

    proptest::proptest! {
        #[test]
        fn never_panics(bytes: Vec<u8>, text in "([0-9]{0,3} (open|execve|write|<\\.\\.\\. open resumed>)\\(?[2\", a-z/.\\\\<>]{0,30}\\)? = -?[0-9]{0,3} ?[A-Z]{0,6}\n){0,20}") {
            let mut scanner = Scanner::default();
            scanner.block(&bytes);
            scanner.block(text.as_bytes());
            scanner.finish();
        }
    }
}
