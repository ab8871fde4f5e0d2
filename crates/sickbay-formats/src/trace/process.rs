//! What is remembered of one process of a trace, and what of it explains that it failed.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::Cause;
use super::line::{self, Event, Result};
use super::words::{base, is_library, missing_library, module, names, speaks_of_files, symbol, unknown};

/// A call that failed.
#[derive(Clone, Debug)]
pub(super) struct Failed {
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
pub(super) struct Process {
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
    pub(super) message: Option<(String, Vec<Failed>)>,
    /// A library that ld.so named as missing.
    named: Option<String>,
    /// A call that was cut in two.
    unfinished: Option<(String, String)>,
    /// `LD_DEBUG`: what is looked for now.
    pub(super) finding: Option<String>,
    pub(super) ended: Option<String>,
    /// Whether it ended as one that succeeded.
    well: bool,
}

const LIBRARIES: usize = 256;
const CANDIDATES: usize = 64;
const FAILED: usize = 12;
const THERE: usize = 2048;
/// So many characters of what it says are kept.
const MESSAGE: usize = 1000;

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
const IDLE: [&str; 27] = [
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
    "/userdb/",
    "/proc/1/root",
    "/proc/self/exe",
    "pyvenv.cfg",
    "__pycache__",
];

fn is_idle(path: &str) -> bool {
    path.is_empty() || IDLE.iter().any(|idle| path.contains(idle))
}

impl Process {
    /// Takes an event; whether the process has ended.
    pub(super) fn take(&mut self, event: Event, at: (u64, String)) -> bool {
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
            Event::Linker => {}
            Event::Message(text) => self.say(&format!("{text}\n")),
        }
        false
    }

    fn call(&mut self, name: &str, args: &str, result: &Result, at: (u64, String)) {
        if name == "exit_group" {
            // With -qq nothing else tells how it ended.
            let status = args.trim().parse::<u32>().ok();
            self.well = status == Some(0);
            self.ended = status.filter(|status| *status != 0).map(|status| status.to_string());
            return;
        }
        let of_peer = matches!(name, "connect" | "bind").then(|| line::peer(args)).flatten();
        let path = of_peer.or_else(|| line::first_text(args));
        if matches!(name, "write" | "writev")
            && args.trim_start().starts_with('2')
            && args.get(1..2).is_some_and(|c| c == "," || c == "<")
        {
            self.say(&line::texts(args));
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
                // What it looked for elsewhere in vain is found. That it is there does not mean that it may be read or started.
                let name = base(&path).to_owned();
                self.failed.retain(|failed| {
                    base(&failed.path) != name || failed.errno != "ENOENT" || failed.call.starts_with("exec")
                });
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

    fn say(&mut self, text: &str) {
        // What has been said in pieces ("cat: ", "x", ": No such file") is one message.
        let before = self.message.take();
        let failed = match &before {
            Some((_, failed)) if self.failed.is_empty() || text.trim().is_empty() => failed.clone(),
            _ => self.failed.iter().cloned().collect(),
        };
        let mut all = before.map(|(before, _)| before).unwrap_or_default();
        if all.len() < MESSAGE {
            all.extend(text.chars().take(MESSAGE));
        }
        self.named = missing_library(&all).or(self.named.take());
        if !all.trim().is_empty() {
            self.message = Some((all, failed));
        }
    }

    /// What explains that it failed; nothing when it did not.
    pub(super) fn causes(self) -> Vec<(Cause, (u64, String))> {
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
        if let Some((symbol, file)) = symbol(text).filter(|_| all.is_empty() && !self.well) {
            all.push((Cause::Symbol(symbol, file), (0, String::new())));
        }
        if let Some((language, name)) = module(text).filter(|_| all.is_empty() && !self.well) {
            let last = name.rsplit(['.', '/', ':']).next().unwrap_or_default();
            let at = self.failed.iter().rfind(|failed| failed.path.contains(last)).map(|failed| failed.at.clone());
            all.push((Cause::Module(language, name), at.unwrap_or_default()));
        }
        if !all.is_empty() || self.well {
            return all;
        }
        // The latest that the message names; else, of a program that failed, the latest before it spoke or ended.
        let failed: Vec<&Failed> = match &self.message {
            Some((_, failed)) if !failed.is_empty() => failed.iter().collect(),
            _ => self.failed.iter().collect(),
        };
        let named = failed.iter().rev().find(|failed| names(text, &failed.path));
        // What complains of something else did not fail for a file.
        let fits = self.message.is_none() || speaks_of_files(text);
        let chosen = named.or_else(|| failed.last().filter(|_| self.ended.is_some() && fits));
        if let Some(failed) = chosen {
            all.push((of_failed(failed, text, &failed_dirs(&self.failed, failed)), failed.at.clone()));
        }
        all
    }
}

/// Directories in which a program of the same name was looked for.
fn failed_dirs<'a>(all: &'a VecDeque<Failed>, one: &Failed) -> BTreeSet<&'a str> {
    let same = all.iter().filter(|failed| failed.errno == "ENOENT" && base(&failed.path) == base(&one.path));
    same.filter_map(|failed| Some(failed.path.rsplit_once('/')?.0)).collect()
}

fn of_failed(failed: &Failed, text: &str, dirs: &BTreeSet<&str>) -> Cause {
    let (path, name) = (failed.path.clone(), base(&failed.path));
    let is_exec = failed.call.starts_with("exec");
    let said = [": not found", ": command not found"]
        .iter()
        .any(|words| text.contains(&format!(" {name}{words}")) || text.contains(&format!("'{name}'{words}")));
    match failed.errno.as_str() {
        // A search of PATH.
        "ENOENT" if (said || is_exec && dirs.len() > 1) && !text.contains(path.as_str()) => {
            Cause::Program(name.to_owned())
        }
        "ENOENT" if is_exec => Cause::Program(path),
        "ENOENT" => Cause::Missing(path),
        "EACCES" | "EPERM" if is_exec => Cause::NotExecutable(path),
        "ENOEXEC" => Cause::Format(path),
        errno => Cause::Refused(path, errno.to_owned()),
    }
}
