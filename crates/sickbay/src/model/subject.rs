//! What a finding is about, where it points, and what it explains: one noun for all of them.

use std::fmt;
use std::path::{Path, PathBuf};

use bstr::ByteSlice;

/// A part of a system that can be at fault.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Subject {
    /// A file or directory of the target, by its path there, never where the target is mounted.
    Path(PathBuf),
    /// A line of a file, by what it says: its number changes with the lines above it.
    Line {
        /// The path on the target.
        path: PathBuf,
        /// The line without its end.
        text: Vec<u8>,
        /// How many equal lines stand above it.
        nth: usize,
    },
    /// A kernel parameter by its dotted name.
    Parameter(String),
    /// A block device, partition or logical volume: its node, or as the target's description names it.
    Device(String),
    /// A mounted file system, by where it is mounted.
    Mount(PathBuf),
    /// A process.
    Process {
        /// The PID.
        pid: u32,
        /// When it began, in clock ticks since boot (field 22 of `/proc/PID/stat`): a PID is given again.
        start: Option<u64>,
        /// Its name, as the kernel has it.
        name: String,
    },
    /// A thread of a process.
    Thread {
        /// The PID of its process.
        pid: u32,
        /// Its own number.
        tid: u32,
        /// Its name.
        name: String,
    },
    /// A unit of systemd, or a service by the name that its init knows.
    Unit(String),
    /// A cgroup, by its path in the hierarchy.
    Cgroup(PathBuf),
    /// A network interface.
    Interface(String),
    /// A route, as `ip route` prints it.
    Route(String),
    /// An interrupt, by its number or name in `/proc/interrupts`.
    Interrupt(String),
    /// A logical CPU.
    Cpu(u32),
    /// A socket, by its addresses, as `ss` prints them.
    Socket(String),
    /// A user, by name or UID.
    User(String),
    /// A package.
    Package(String),
    /// A Java virtual machine, by its PID.
    Jvm(u32),
    /// The machine as a whole: its memory, its processors.
    Machine,
    /// What has no place of its own, by a name that stays.
    Named(String),
}

impl Subject {
    /// Line `number` (from 1) of a file at `path` that holds `bytes`.
    pub fn line(path: &Path, bytes: &[u8], number: usize) -> Subject {
        let mut lines = bytes.lines();
        let text = lines.by_ref().nth(number.saturating_sub(1)).unwrap_or_default();
        let nth = bytes.lines().take(number.saturating_sub(1)).filter(|above| *above == text).count();
        Subject::Line { path: path.to_owned(), text: text.to_owned(), nth }
    }

    /// The file that it is, or is a line of.
    pub fn path(&self) -> Option<&Path> {
        match self {
            Subject::Path(path) | Subject::Line { path, .. } => Some(path),
            _ => None,
        }
    }

    /// Whether what befalls this befalls `other`: a directory covers what is in it, a process its threads.
    pub fn covers(&self, other: &Subject) -> bool {
        match (self, other) {
            (Subject::Path(dir), Subject::Path(path) | Subject::Line { path, .. }) => path.starts_with(dir),
            (Subject::Path(dir), Subject::Device(node)) => node.starts_with('/') && Path::new(node).starts_with(dir),
            (Subject::Cgroup(above), Subject::Cgroup(below)) => below.starts_with(above),
            (Subject::Process { pid, .. }, Subject::Thread { pid: other, .. } | Subject::Jvm(other)) => pid == other,
            _ => self == other,
        }
    }

    /// How closely it names what it covers: of two that cover the same the one with more is nearer to it.
    pub fn depth(&self) -> usize {
        match self {
            Subject::Path(path) | Subject::Cgroup(path) => path.components().count(),
            _ => usize::MAX,
        }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Subject::Path(path) | Subject::Mount(path) => write!(out, "{}", path.display()),
            Subject::Line { path, text, .. } => write!(out, "{}: {}", path.display(), text.as_bstr()),
            Subject::Parameter(key) => write!(out, "sysctl {key}"),
            Subject::Process { pid, name, .. } => write!(out, "{name}[{pid}]"),
            Subject::Thread { tid, name, .. } => write!(out, "{name}[{tid}]"),
            Subject::Cgroup(path) => write!(out, "cgroup {}", path.display()),
            Subject::Route(route) => write!(out, "route {route}"),
            Subject::Interrupt(number) => write!(out, "IRQ {number}"),
            Subject::Cpu(number) => write!(out, "CPU {number}"),
            Subject::User(name) => write!(out, "user {name}"),
            Subject::Package(name) => write!(out, "package {name}"),
            Subject::Jvm(pid) => write!(out, "JVM {pid}"),
            Subject::Machine => write!(out, "this machine"),
            Subject::Device(name)
            | Subject::Unit(name)
            | Subject::Interface(name)
            | Subject::Socket(name)
            | Subject::Named(name) => write!(out, "{name}"),
        }
    }
}

/// Text that is given where a subject is wanted is a path of the target.
impl From<&str> for Subject {
    fn from(path: &str) -> Subject {
        Subject::Path(path.into())
    }
}

impl From<String> for Subject {
    fn from(path: String) -> Subject {
        Subject::Path(path.into())
    }
}

impl From<&Path> for Subject {
    fn from(path: &Path) -> Subject {
        Subject::Path(path.to_owned())
    }
}

impl From<PathBuf> for Subject {
    fn from(path: PathBuf) -> Subject {
        Subject::Path(path)
    }
}

impl From<&PathBuf> for Subject {
    fn from(path: &PathBuf) -> Subject {
        Subject::Path(path.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_covers_what() {
        let path = |path: &str| Subject::from(path);
        let line = Subject::line(Path::new("/etc/fstab"), b"a\nb\na\n", 3);
        assert_eq!(line, Subject::Line { path: "/etc/fstab".into(), text: b"a".to_vec(), nth: 1 });
        assert!(path("/etc").covers(&line) && path("/etc").covers(&path("/etc/fstab")) && line.covers(&line));
        assert!(!path("/et").covers(&line) && !line.covers(&path("/etc/fstab")));
        let node = Subject::Device("/dev/vda1".to_owned());
        assert!(path("/dev").covers(&node) && node.covers(&node) && !path("/dev/vda").covers(&node));
        assert!(!path("/").covers(&Subject::Device("partition 1".to_owned())));
        let process = Subject::Process { pid: 7, start: Some(100), name: "java".to_owned() };
        let later = Subject::Process { pid: 7, start: Some(900), name: "java".to_owned() };
        let thread = Subject::Thread { pid: 7, tid: 9, name: "GC".to_owned() };
        assert!(process.covers(&thread) && process.covers(&Subject::Jvm(7)) && !thread.covers(&process));
        assert!(!process.covers(&later), "the PID was given again");
        assert!(Subject::Cgroup("/system.slice".into()).covers(&Subject::Cgroup("/system.slice/a.service".into())));
        assert!(Subject::Machine.covers(&Subject::Machine) && !Subject::Machine.covers(&process));
    }
}
