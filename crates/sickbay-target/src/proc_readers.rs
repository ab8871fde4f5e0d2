//! Who reads `/proc`, seen by fanotify(7) for a moment. It needs CAP_SYS_ADMIN, and no BPF.

use std::collections::{HashMap, HashSet};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::OFlags;
use rustix::io::Errno;

use crate::{Root, sys};

/// A process that opened files of `/proc`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProcReader {
    /// The PID.
    pub pid: u32,
    /// Its name, read when it was first seen; empty when it was gone by then.
    pub comm: String,
    /// How often it opened something there.
    pub opens: u64,
    /// Of how many other processes it opened something.
    pub processes: u64,
}

/// So many readers are told apart; beyond that something starts them faster than anybody can read.
const READERS: usize = 4096;
/// So many processes that one reader looked at are remembered.
const SEEN: usize = 1 << 16;
/// PROC_SUPER_MAGIC of include/uapi/linux/magic.h.
const PROC: u64 = 0x9fa0;

/// Watches for so long who opens what in `/proc`, this process left out; the one with the most first.
///
/// # Errors
/// The kernel's: without CAP_SYS_ADMIN or CONFIG_FANOTIFY nobody may look. [`io::ErrorKind::NotFound`] when the `/proc` of
/// this root is not the kernel's.
pub fn proc_readers(root: &Root, time: Duration) -> io::Result<Vec<ProcReader>> {
    kernels_own(root)?;
    let place =
        rustix::fs::open("/proc", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, rustix::fs::Mode::empty())?;
    let queue = sys::watch_opens(place.as_fd())?;
    let own = std::process::id();
    let mut readers: HashMap<u32, (ProcReader, HashSet<u32>)> = HashMap::new();
    each_open(&queue, time, |opened, _| {
        let Ok(pid) = u32::try_from(opened.pid) else { return };
        if pid == own || (readers.len() >= READERS && !readers.contains_key(&pid)) {
            return;
        }
        let (reader, seen) = readers.entry(pid).or_insert_with(|| {
            let comm = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
            let comm = comm.trim_end().to_owned();
            (ProcReader { pid, comm, opens: 0, processes: 0 }, HashSet::new())
        });
        reader.opens += 1;
        if let Some(other) = opened.file.as_ref().and_then(|file| of_process(file.as_raw_fd()))
            && other != pid
            && seen.len() < SEEN
        {
            seen.insert(other);
        }
    })?;
    let mut all: Vec<ProcReader> =
        readers.into_values().map(|(reader, seen)| ProcReader { processes: seen.len() as u64, ..reader }).collect();
    all.sort_by_key(|reader| (std::cmp::Reverse(reader.opens), reader.pid));
    Ok(all)
}

/// Hands what a queue of fanotify(7) tells of for so long to `each`, with the time since it began.
///
/// # Errors
/// The kernel's.
pub(crate) fn each_open(
    queue: &OwnedFd,
    time: Duration,
    mut each: impl FnMut(sys::Opened, Duration),
) -> io::Result<()> {
    let began = Instant::now();
    let until = began + time;
    let mut buffer = vec![0; 64 << 10];
    while let Some(left) = until.checked_duration_since(Instant::now()) {
        let wait = Timespec { tv_sec: left.as_secs().try_into().unwrap_or(1), tv_nsec: left.subsec_nanos().into() };
        match poll(&mut [PollFd::new(queue, PollFlags::IN)], Some(&wait)) {
            Ok(0) => break,
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        let length = match rustix::io::read(queue, &mut buffer) {
            Ok(length) => length,
            // What was opened is gone already.
            Err(Errno::AGAIN | Errno::INTR | Errno::NOENT | Errno::SRCH | Errno::NXIO) => continue,
            Err(errno) => return Err(errno.into()),
        };
        let at = began.elapsed();
        sys::opens(buffer.get(..length).unwrap_or_default()).into_iter().for_each(|opened| each(opened, at));
    }
    Ok(())
}

/// Whether the `/proc` of this root is the kernel's; else [`io::ErrorKind::NotFound`].
pub(crate) fn kernels_own(root: &Root) -> io::Result<()> {
    let gone = || io::Error::from(io::ErrorKind::NotFound);
    if root.snapshot().is_some() {
        return Err(gone());
    }
    let place = root.resolve("/proc".as_ref(), OFlags::DIRECTORY).map_err(|_| gone())?;
    match u64::try_from(rustix::fs::fstatfs(&place)?.f_type) {
        Ok(PROC) => Ok(()),
        _ => Err(gone()),
    }
}

/// The process that an open file of `/proc` is about.
fn of_process(file: i32) -> Option<u32> {
    let path = std::fs::read_link(format!("/proc/self/fd/{file}")).ok()?;
    path.strip_prefix("/proc").ok()?.iter().next()?.to_str()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};
    use std::time::Duration;

    use super::proc_readers;
    use crate::Root;

    #[test]
    fn a_process_that_scans_is_named() {
        let script = "while :; do for f in /proc/[0-9]*/stat; do read -r line <\"$f\"; done; done";
        let mut scanner = Command::new("bash").args(["-c", script]).stderr(Stdio::null()).spawn().expect("bash");
        let readers = proc_readers(&Root::host().expect("the root"), Duration::from_millis(700));
        let pid = scanner.id();
        let _ = scanner.kill();
        let _ = scanner.wait();
        let readers = readers.expect("root may watch");
        let found = readers.iter().find(|reader| reader.pid == pid).expect("the scanner");
        assert!(found.comm == "bash" && found.opens > 20 && found.processes > 1, "{found:?}");
        assert!(readers.iter().all(|reader| reader.pid != std::process::id()));
    }

    #[test]
    fn a_tree_is_not_watched() {
        let dir = tempfile::tempdir().expect("a directory");
        std::fs::create_dir(dir.path().join("proc")).expect("proc");
        let root = Root::at(dir.path()).expect("the root");
        let error = proc_readers(&root, Duration::from_secs(1)).expect_err("no kernel's");
        assert_eq!(error.kind(), std::io::ErrorKind::NotFound);
    }
}
