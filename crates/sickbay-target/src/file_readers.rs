//! Who opens one file of `/proc`, and when, seen by fanotify(7) for a while. It needs CAP_SYS_ADMIN, and no BPF.

use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

use rustix::fs::{Mode, OFlags};

use crate::{Root, proc_readers, sys};

/// A program that opened the file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FileReader {
    /// The process; of a program that is started anew each time the last one.
    pub pid: u32,
    /// Its name; empty when it was gone before it could be looked at.
    pub comm: String,
    /// Its command line, as far as it is short.
    pub command: String,
    /// Those that started it, the nearest first: `sh`, `crond`.
    pub parents: Vec<String>,
    /// The unit or the scope of systemd that it is in.
    pub unit: Option<String>,
    /// When it opened it, since the look began; the first of them.
    pub times: Vec<Duration>,
    /// How often.
    pub opens: u64,
}

/// So many programs are told apart, and times of each are kept.
const READERS: usize = 256;
const TIMES: usize = 1000;
/// Of a command line so much is kept.
const COMMAND: usize = 200;
/// So many parents are told.
const PARENTS: usize = 4;

/// Watches for so long who opens this file below `/proc`, this process left out; the one that does it most first. The file is opened
/// for that, and not read.
///
/// # Errors
/// The kernel's: without CAP_SYS_ADMIN or CONFIG_FANOTIFY nobody may look. [`io::ErrorKind::NotFound`] when the `/proc` of
/// this root is not the kernel's, or there is no such file.
pub fn file_readers(root: &Root, file: &str, time: Duration) -> io::Result<Vec<FileReader>> {
    proc_readers::kernels_own(root)?;
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOFOLLOW;
    let place = rustix::fs::open(format!("/proc/{file}"), flags, Mode::empty())?;
    let queue = sys::watch_opens_of(place.as_fd())?;
    drop(place);
    let own = std::process::id();
    let mut readers: Vec<FileReader> = Vec::new();
    proc_readers::each_open(&queue, time, |opened, at| {
        let pid = u32::try_from(opened.pid).unwrap_or(0);
        if pid != own {
            note(&mut readers, pid, at);
        }
    })?;
    readers.sort_by_key(|reader| (std::cmp::Reverse(reader.opens), reader.pid));
    Ok(readers)
}

fn note(readers: &mut Vec<FileReader>, pid: u32, at: Duration) {
    // Who does it often is asked once, as long as it is the same program.
    let comm = read(pid, "comm").trim_end().to_owned();
    let known = readers.iter_mut().position(|reader| reader.pid == pid && reader.comm == comm);
    let known = known.or_else(|| {
        let new = look(pid, comm);
        let same = |reader: &FileReader| {
            !new.comm.is_empty() && reader.comm == new.comm && reader.parents == new.parents && reader.unit == new.unit
        };
        if let Some(index) = readers.iter().position(same) {
            if let Some(reader) = readers.get_mut(index) {
                reader.pid = pid;
                // The one before may have been on its way out, when a process has a name but no command line any more.
                if reader.command.is_empty() {
                    reader.command = new.command;
                }
            }
            return Some(index);
        }
        if readers.len() >= READERS {
            return None;
        }
        readers.push(new);
        readers.len().checked_sub(1)
    });
    if let Some(reader) = known.and_then(|index| readers.get_mut(index)) {
        reader.opens += 1;
        if reader.times.len() < TIMES {
            reader.times.push(at);
        }
    }
}

fn read(pid: u32, file: &str) -> String {
    let text = std::fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
    String::from_utf8_lossy(&text).into_owned()
}

fn look(pid: u32, comm: String) -> FileReader {
    let command = read(pid, "cmdline");
    let command: String = command.trim_end_matches('\0').replace('\0', " ").chars().take(COMMAND).collect();
    let cgroup = read(pid, "cgroup");
    let last = cgroup.lines().flat_map(|line| line.rsplit('/'));
    let unit = last.filter(|part| part.ends_with(".service") || part.ends_with(".scope")).map(str::to_owned).next();
    let mut parents = Vec::new();
    let mut next = parent(pid);
    while let Some(pid) = next.filter(|pid| *pid > 1 && parents.len() < PARENTS) {
        parents.push(read(pid, "comm").trim_end().to_owned());
        next = parent(pid);
    }
    FileReader { pid, comm, command, parents, unit, ..FileReader::default() }
}

fn parent(pid: u32) -> Option<u32> {
    let stat = read(pid, "stat");
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_ascii_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};
    use std::time::Duration;

    use super::{FileReader, file_readers, look, note, read};
    use crate::Root;

    #[test]
    fn who_reads_and_how_often() {
        // A file that nobody else reads here, and that costs nothing to read.
        let script = "while :; do cat /proc/crypto >/dev/null; read -rt 0.1 <> <(:); done";
        let mut shell = Command::new("bash").args(["-c", script]).stderr(Stdio::null()).spawn().expect("bash");
        let readers = file_readers(&Root::host().expect("the root"), "crypto", Duration::from_millis(1500));
        let _ = shell.kill();
        let _ = shell.wait();
        let readers = readers.expect("root may watch");
        let cat = readers.iter().find(|reader| reader.comm == "cat" && reader.opens > 2).expect("the reader");
        assert!(cat.command.contains("/proc/crypto"), "{cat:?}");
        assert_eq!(cat.parents.first().map(String::as_str), Some("bash"));
        assert_eq!(cat.times.len() as u64, cat.opens);
        assert!(readers.iter().all(|reader| reader.pid != std::process::id()));
    }

    #[test]
    fn a_command_line_that_was_gone_is_told_by_the_next_process() {
        let mut child = Command::new("sleep").arg("30").spawn().expect("sleep");
        while !read(child.id(), "cmdline").starts_with("sleep") {
            std::thread::yield_now();
        }
        // One of the same program that was ending when it was looked at.
        let ended = FileReader { pid: 0, command: String::new(), opens: 1, ..look(child.id(), "sleep".to_owned()) };
        let mut readers = vec![ended];
        note(&mut readers, child.id(), Duration::ZERO);
        let _ = child.kill();
        let _ = child.wait();
        let [reader] = readers.as_slice() else { panic!("{readers:?}") };
        assert_eq!((reader.command.as_str(), reader.opens), ("sleep 30", 2));
    }

    #[test]
    fn a_tree_and_a_file_that_is_not_there() {
        let dir = tempfile::tempdir().expect("a directory");
        std::fs::create_dir(dir.path().join("proc")).expect("proc");
        for (root, file) in [(Root::at(dir.path()), "slabinfo"), (Root::host(), "no-such-file")] {
            let error =
                file_readers(&root.expect("the root"), file, Duration::from_secs(1)).expect_err("nothing there");
            assert_eq!(error.kind(), std::io::ErrorKind::NotFound);
        }
    }
}
