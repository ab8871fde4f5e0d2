//! Who looks up names of files, watched for a moment. The kernel keeps no owner of a directory entry; while a storm of
//! look-ups goes on, its author is the process that spends its time in the kernel on nothing else: less what its reads,
//! writes and page faults take, and with the time in which it is seen waiting inside of a look-up (proc(5)).

use std::collections::{HashMap, HashSet};
use std::io;
use std::time::{Duration, Instant};

use crate::{FileKind, KernelFiles, Root, proc_readers};

/// A process that seems to look up names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NameSeeker {
    /// The PID.
    pub pid: u32,
    /// The name of the program, as in `/proc/PID/comm`: at most 15 bytes.
    pub comm: String,
    /// The time that it spent on it, in milliseconds.
    pub busy: u64,
}

/// What was seen.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NameStorm {
    /// By how many the cached names grew meanwhile.
    pub added: u64,
    /// Who may have done it, the one that spent most first.
    pub seekers: Vec<NameSeeker>,
}

/// How often a sample is taken.
const STEP: Duration = Duration::from_millis(20);
/// A tick of the times in `/proc/PID/stat` in milliseconds: USER_HZ is 100 on every architecture that is built for.
const TICK: u64 = 10;
/// What one read(2) or write(2) takes at most, one page fault, and copying a kilobyte, in nanoseconds: generous, so that
/// what is left is something else.
const CALL: u64 = 1000;
const FAULT: u64 = 1000;
const KILOBYTE: u64 = 500;
/// PF_KTHREAD of include/linux/sched.h, among the flags in `/proc/PID/stat`.
const KERNEL_THREAD: u64 = 0x20_0000;

/// What a process had done at one moment.
#[derive(Clone, Default)]
struct Done {
    comm: String,
    /// Ticks in the kernel, those of children that ended with them.
    system: u64,
    /// The time that it used of all CPUs, in ticks.
    ticks: u64,
    /// Nanoseconds in the kernel that are explained by something else.
    other: u64,
    /// It was running when it was looked at.
    runs: bool,
}

/// Watches for so long who looks up names, this process left out.
///
/// # Errors
/// The kernel's. [`io::ErrorKind::NotFound`] when the `/proc` of this root is not the kernel's.
pub fn name_seekers(root: &Root, time: Duration) -> io::Result<NameStorm> {
    proc_readers::kernels_own(root)?;
    let mut files = KernelFiles::open(root, "/proc").map_err(|_| io::Error::from(io::ErrorKind::NotFound))?;
    let start = Instant::now();
    let names = cached(&mut files);
    let before = all(root, &mut files);
    std::thread::sleep(time / 5);
    // Who was busy until now is watched closely.
    let close: Vec<u32> = all(root, &mut files)
        .into_iter()
        .filter(|(pid, now)| now.runs || before.get(pid).is_none_or(|old| now.ticks > old.ticks))
        .map(|(pid, _)| pid)
        .collect();
    let mut waits: HashMap<u32, u64> = HashMap::new();
    let calls: HashSet<i64> = LOOK_UPS.into_iter().collect();
    while start.elapsed() < time {
        std::thread::sleep(STEP);
        for pid in &close {
            // Of a process that runs it says no more than that.
            let call = files.read(&format!("{pid}/syscall")).ok().and_then(first_number);
            if call.is_some_and(|call| calls.contains(&call)) {
                *waits.entry(*pid).or_default() += 1;
            }
        }
    }
    let added = cached(&mut files).saturating_sub(names);
    let step = u64::try_from(STEP.as_millis()).unwrap_or(1);
    let own = std::process::id();
    let mut seekers: Vec<NameSeeker> = all(root, &mut files)
        .into_iter()
        .filter(|(pid, _)| *pid != own)
        .filter_map(|(pid, now)| {
            let old = before.get(&pid).cloned().unwrap_or_default();
            let system = now.system.saturating_sub(old.system).saturating_mul(TICK);
            let other = now.other.saturating_sub(old.other) / 1_000_000;
            let waited = waits.get(&pid).copied().unwrap_or(0).saturating_mul(step);
            let busy = system.saturating_sub(other).saturating_add(waited);
            (busy > 0).then_some(NameSeeker { pid, comm: now.comm, busy })
        })
        .collect();
    seekers.sort_by_key(|seeker| (std::cmp::Reverse(seeker.busy), seeker.pid));
    Ok(NameStorm { added, seekers })
}

/// How many names are cached: `nr_dentry` of `/proc/sys/fs/dentry-state`.
fn cached(files: &mut KernelFiles) -> u64 {
    let count = files.read("sys/fs/dentry-state").ok().and_then(first_number);
    count.and_then(|count| u64::try_from(count).ok()).unwrap_or(0)
}

fn first_number(text: &[u8]) -> Option<i64> {
    std::str::from_utf8(text).ok()?.split_ascii_whitespace().next()?.parse().ok()
}

fn all(root: &Root, files: &mut KernelFiles) -> HashMap<u32, Done> {
    let entries = root.read_dir("/proc").unwrap_or_default();
    let processes = entries.iter().filter(|entry| entry.kind == FileKind::Dir);
    let pids: Vec<u32> = processes.filter_map(|entry| entry.name.to_str()?.parse().ok()).collect();
    pids.into_iter().filter_map(|pid| Some((pid, done(files, pid)?))).collect()
}

fn done(files: &mut KernelFiles, pid: u32) -> Option<Done> {
    let mut done = stat(files.read(&format!("{pid}/stat")).ok()?)?;
    if let Ok(text) = files.read(&format!("{pid}/io")) {
        for line in String::from_utf8_lossy(text).lines() {
            let Some((name, number)) = line.split_once(": ") else { continue };
            let number = number.parse().unwrap_or(0_u64);
            done.other = done.other.saturating_add(match name {
                "rchar" | "wchar" => number / 1024 * KILOBYTE,
                "syscr" | "syscw" => number.saturating_mul(CALL),
                _ => 0,
            });
        }
    }
    Some(done)
}

/// A line of `/proc/PID/stat`.
fn stat(line: &[u8]) -> Option<Done> {
    let line = String::from_utf8_lossy(line);
    let (head, rest) = line.rsplit_once(')')?;
    let comm = head.split_once('(')?.1.to_owned();
    // The first is the third field of proc(5): state.
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    let number = |field: usize| fields.get(field - 3).and_then(|text| text.parse::<u64>().ok()).unwrap_or(0);
    // The kernel's own threads look for nothing: what kswapd does is the consequence.
    if number(9) & KERNEL_THREAD != 0 {
        return None;
    }
    let (user, system, of_children) = (number(14), number(15), number(17));
    let faults = number(10).saturating_add(number(11)).saturating_add(number(12));
    Some(Done {
        comm,
        system: system.saturating_add(of_children),
        ticks: user.saturating_add(system).saturating_add(of_children),
        other: faults.saturating_mul(FAULT),
        runs: fields.first() == Some(&"R"),
    })
}

/// The system calls that look up a name.
#[cfg(target_arch = "x86_64")]
const LOOK_UPS: [i64; 11] = [
    libc::SYS_stat,
    libc::SYS_lstat,
    libc::SYS_newfstatat,
    libc::SYS_statx,
    libc::SYS_access,
    libc::SYS_faccessat,
    libc::SYS_faccessat2,
    libc::SYS_open,
    libc::SYS_openat,
    libc::SYS_readlink,
    libc::SYS_readlinkat,
];
/// The system calls that look up a name.
#[cfg(not(target_arch = "x86_64"))]
const LOOK_UPS: [i64; 6] = [
    libc::SYS_newfstatat,
    libc::SYS_statx,
    libc::SYS_faccessat,
    libc::SYS_faccessat2,
    libc::SYS_openat,
    libc::SYS_readlinkat,
];

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};
    use std::time::Duration;

    use super::{NameStorm, name_seekers, stat};
    use crate::Root;

    /// Ends it when the test does, whatever the test says.
    struct Guard(std::process::Child);

    impl Drop for Guard {
        fn drop(&mut self) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }

    #[test]
    fn a_process_that_looks_for_what_is_not_there_is_named() {
        let dir = tempfile::tempdir().expect("a directory");
        // Beside it, one that writes and one that reckons: they are as busy, with something else. All end by themselves.
        let started = |script: &str| {
            let mut command = Command::new("bash");
            command.args(["-c", script]).current_dir(dir.path()).stdout(Stdio::null()).stderr(Stdio::null());
            Guard(command.spawn().expect("bash"))
        };
        let seeker = started("for ((n = 0; n < 3000000; n++)); do [[ -e missing-$n ]]; done");
        let writer = started("exec dd if=/dev/zero of=/dev/null bs=64k count=2000000");
        let thinker = started("for ((n = 0; n < 3000000; n++)); do :; done");
        std::thread::sleep(Duration::from_millis(200));
        let is_named = |storm: &NameStorm| {
            let busy = |guard: &Guard| {
                storm.seekers.iter().find(|seeker| seeker.pid == guard.0.id()).map_or(0, |seeker| seeker.busy)
            };
            let found = storm.seekers.iter().find(|found| found.pid == seeker.0.id());
            storm.added > 1000
                && found.is_some_and(|found| found.comm == "bash" && found.busy >= 50)
                && busy(&thinker) * 2 < busy(&seeker)
                && busy(&writer) * 2 < busy(&seeker)
        };
        // On a machine that is busy with something else a moment may go by without it.
        let host = Root::host().expect("the root");
        let mut storms = (0..6).map(|_| name_seekers(&host, Duration::from_millis(1500)).expect("/proc"));
        assert!(storms.any(|storm| is_named(&storm)), "nobody was named in six looks");
    }

    #[test]
    fn a_name_may_hold_anything() {
        let done = stat(b"7 (a) b (c) R 1 7 7 0 -1 0 10 20 0 0 3 4 5 6 20 0 1 0 0 0 0").expect("a line");
        assert_eq!(
            (done.comm.as_str(), done.system, done.ticks, done.other, done.runs),
            ("a) b (c", 10, 13, 30_000, true)
        );
        assert!(stat(b"").is_none());
        assert!(stat(b"8 (kswapd0) R 2 0 0 0 -1 2099264 0 0 0 0 0 9 0 0 20 0 1 0 0 0 0").is_none());
    }
}
