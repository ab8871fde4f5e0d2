//! Every thread of a running system, again and again, with as few system calls as can be and no allocation for a thread: who
//! looks at load must not be the load. What was written down of another system (a directory in the place of `/proc`) is
//! read through its root, as slowly and carefully as any other file of a stranger.

use std::ffi::CStr;
use std::io::Write;
use std::ops::ControlFlow;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{Mode, OFlags, RawDir, SeekFrom};
use rustix::time::{ClockId, clock_gettime};
use sickbay_formats::procfs::task::{self, Task};

use crate::proc_readers::kernels_own;
use crate::{KernelFiles, ReadError, Root};

/// A line of `PID/stat` is shorter: 52 numbers and a name of 64 bytes.
const LINE: usize = 2 << 10;

/// What getdents64(2) fills at once.
const ENTRIES: usize = 32 << 10;

/// The threads in `/proc`, or in what stands for it.
#[derive(Debug)]
pub struct Tasks<'r> {
    root: &'r Root,
    path: PathBuf,
    from: From,
    /// The process that looks, which is left out.
    own: Option<u32>,
}

#[derive(Debug)]
enum From {
    Kernel { files: Box<KernelFiles>, dir: OwnedFd, buffers: Buffers },
    Files,
}

#[derive(Debug)]
struct Buffers {
    processes: Vec<u8>,
    threads: Vec<u8>,
    line: Vec<u8>,
    text: Vec<u8>,
}

/// When something was looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moment {
    /// CLOCK_MONOTONIC, which nobody sets.
    pub steady: Duration,
    /// CLOCK_REALTIME: since 1970.
    pub wall: Duration,
}

impl Moment {
    /// That of this machine, now.
    pub fn now() -> Moment {
        let time = |clock| {
            let time = clock_gettime(clock);
            let nanoseconds = u32::try_from(time.tv_nsec).unwrap_or(0);
            Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), nanoseconds)
        };
        Moment { steady: time(ClockId::Monotonic), wall: time(ClockId::Realtime) }
    }
}

impl<'r> Tasks<'r> {
    /// Those below `dir`: `/proc`.
    ///
    /// # Errors
    /// When there is no such directory.
    pub fn open(root: &'r Root, dir: impl AsRef<Path>) -> Result<Tasks<'r>, ReadError> {
        let path = dir.as_ref().to_owned();
        let is_kernels = path == Path::new("/proc") && kernels_own(root).is_ok();
        let from = match is_kernels {
            true => From::Kernel {
                files: Box::new(KernelFiles::open(root, &path)?),
                dir: root.open_quietly(&path, OFlags::RDONLY | OFlags::DIRECTORY)?,
                buffers: Buffers {
                    processes: vec![0; ENTRIES],
                    threads: vec![0; ENTRIES],
                    line: vec![0; LINE],
                    text: Vec::new(),
                },
            },
            false => {
                root.dir(&path)?;
                From::Files
            }
        };
        Ok(Tasks { root, path, from, own: is_kernels.then(std::process::id) })
    }

    /// Whether they are those of a running kernel, which change, and not what was written down.
    pub fn is_running(&self) -> bool {
        matches!(self.from, From::Kernel { .. })
    }

    /// A file below the directory: `loadavg`, `17/wchan`. At most 64 KiB of it.
    ///
    /// # Errors
    /// See [`crate::Reason`].
    pub fn read(&mut self, file: &str) -> Result<Vec<u8>, ReadError> {
        match &mut self.from {
            From::Kernel { files, .. } => files.read(file).map(<[u8]>::to_vec),
            From::Files => self.root.read_up_to(self.path.join(file), 1 << 20),
        }
    }

    /// The same of a file that may be longer, up to 4 MiB: `stat`, `17/mountinfo`.
    ///
    /// # Errors
    /// See [`crate::Reason`].
    pub fn read_long(&self, file: &str) -> Result<Vec<u8>, ReadError> {
        self.root.read_up_to(self.path.join(file), 4 << 20)
    }

    /// What one of the kernel's links says: `17/fd/3`. Nothing is asked of what it leads to, which may hang.
    ///
    /// # Errors
    /// See [`crate::Reason`].
    pub fn link(&self, file: &str) -> Result<PathBuf, ReadError> {
        match &self.from {
            From::Kernel { files, .. } => files.link(file).map(PathBuf::from),
            From::Files => self.root.read_link(self.path.join(file)),
        }
    }

    /// The numbers of the open files of a process, at most `limit`.
    pub fn descriptors(&self, pid: u32, limit: usize) -> Vec<u32> {
        let entries = self.root.read_dir_up_to(self.path.join(format!("{pid}/fd")), limit);
        entries
            .map(|(list, _)| list)
            .unwrap_or_default()
            .iter()
            .filter_map(|fd| fd.name.to_str()?.parse().ok())
            .collect()
    }

    /// Gives every thread to `each` with the number of its process, until that has enough; those of this process are left
    /// out. One that ends meanwhile is passed over.
    ///
    /// # Errors
    /// When the directory cannot be read.
    pub fn scan(&mut self, each: impl FnMut(u32, Task<'_>) -> ControlFlow<()>) -> Result<(), ReadError> {
        let own = self.own;
        match &mut self.from {
            From::Kernel { dir, buffers, .. } => {
                // Told by the kernel, the answer begins anew.
                let _ = rustix::fs::seek(&*dir, SeekFrom::Start(0));
                scan(dir.as_fd(), buffers, own, each);
                Ok(())
            }
            From::Files => self.scan_files(each),
        }
    }

    fn scan_files(&self, mut each: impl FnMut(u32, Task<'_>) -> ControlFlow<()>) -> Result<(), ReadError> {
        let numbers = |path: &Path| -> Result<Vec<u32>, ReadError> {
            let entries = self.root.read_dir(path)?;
            Ok(entries.iter().filter_map(|entry| entry.name.to_str()?.parse().ok()).collect())
        };
        for pid in numbers(&self.path)? {
            let dir = self.path.join(pid.to_string());
            let threads = numbers(&dir.join("task")).unwrap_or_default();
            let mut files: Vec<PathBuf> =
                threads.iter().map(|thread| dir.join(format!("task/{thread}/stat"))).collect();
            if files.is_empty() {
                files.push(dir.join("stat"));
            }
            for file in files {
                let Ok(text) = self.root.read_up_to(file, LINE as u64) else { continue };
                let Some(task) = task::parse(&text) else { continue };
                if each(pid, task).is_break() {
                    return Ok(());
                }
            }
        }
        Ok(())
    }
}

/// A process with one thread is read by one file; of others the directory of threads is.
fn scan(
    proc: BorrowedFd<'_>,
    buffers: &mut Buffers,
    own: Option<u32>,
    mut each: impl FnMut(u32, Task<'_>) -> ControlFlow<()>,
) {
    let Buffers { processes, threads, line, text } = buffers;
    processes.clear();
    let mut entries = RawDir::new(proc, processes.spare_capacity_mut());
    while let Some(Ok(entry)) = entries.next() {
        let Some(pid) = number(entry.file_name()).filter(|pid| Some(*pid) != own) else { continue };
        let Some(task) = stat(proc, pid, "/stat", text, line) else { continue };
        if task.threads <= 1 {
            if each(pid, task).is_break() {
                return;
            }
            continue;
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let Some(name) = name(text, pid, "/task") else { continue };
        let Ok(dir) = rustix::fs::openat(proc, name, flags, Mode::empty()) else { continue };
        threads.clear();
        let mut entries = RawDir::new(&dir, threads.spare_capacity_mut());
        while let Some(Ok(entry)) = entries.next() {
            let Some(tid) = number(entry.file_name()) else { continue };
            let Some(task) = stat(dir.as_fd(), tid, "/stat", text, line) else { continue };
            if each(pid, task).is_break() {
                return;
            }
        }
    }
}

fn number(name: &CStr) -> Option<u32> {
    std::str::from_utf8(name.to_bytes()).ok()?.parse().ok()
}

/// `17/stat`, in the room that is there.
fn name<'t>(text: &'t mut Vec<u8>, id: u32, file: &str) -> Option<&'t CStr> {
    text.clear();
    write!(text, "{id}{file}\0").ok()?;
    CStr::from_bytes_with_nul(text).ok()
}

fn stat<'l>(dir: BorrowedFd<'_>, id: u32, file: &str, text: &mut Vec<u8>, line: &'l mut [u8]) -> Option<Task<'l>> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let opened = rustix::fs::openat(dir, name(text, id, file)?, flags, Mode::empty()).ok()?;
    // The kernel hands such a file out whole.
    let length = rustix::io::read(&opened, &mut *line).ok()?;
    task::parse(line.get(..length)?)
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    /// Threads that sleep until this goes.
    fn sleepers(count: usize) -> std::sync::mpsc::Sender<()> {
        let (sender, receiver) = std::sync::mpsc::channel::<()>();
        let receiver = std::sync::Arc::new(std::sync::Mutex::new(receiver));
        for _ in 0..count {
            let receiver = std::sync::Arc::clone(&receiver);
            let sleep = move || drop(receiver.lock().map(|receiver| receiver.recv()));
            let started = std::thread::Builder::new().stack_size(64 << 10).spawn(sleep);
            started.expect("a thread");
        }
        sender
    }

    fn all(tasks: &mut Tasks<'_>) -> Vec<(u32, u32, u8)> {
        let mut seen = Vec::new();
        let each = |pid, task: Task<'_>| {
            seen.push((pid, task.id, task.state));
            ControlFlow::Continue(())
        };
        tasks.scan(each).expect("/proc");
        seen
    }

    #[test]
    fn every_thread_is_seen_again_and_again() {
        let stop = sleepers(40);
        let root = Root::host().expect("the root");
        let mut tasks = Tasks::open(&root, "/proc").expect("/proc");
        assert!(tasks.is_running());
        let own = std::process::id();
        // Nothing of this process is seen, by itself.
        assert!(all(&mut tasks).iter().all(|(pid, ..)| *pid != own));
        tasks.own = None;
        for _ in 0..3 {
            let threads: Vec<_> = all(&mut tasks).into_iter().filter(|(pid, ..)| *pid == own).collect();
            assert!(threads.len() > 40, "{} threads", threads.len());
            assert!(threads.iter().any(|(pid, tid, _)| pid == tid));
        }
        // Enough is enough.
        let mut count = 0;
        let each = |_, _: Task<'_>| {
            count += 1;
            if count == 5 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        tasks.scan(each).expect("/proc");
        assert_eq!(count, 5);
        assert!(tasks.read("loadavg").is_ok_and(|text| sickbay_formats::procfs::loadavg::parse(&text).is_some()));
        assert!(tasks.read_long("stat").is_ok_and(|text| text.starts_with(b"cpu ")));
        assert!(tasks.link("self/exe").is_ok() && !tasks.descriptors(own, 64).is_empty());
        drop(stop);
    }

    #[test]
    fn what_was_written_down_is_read_inside_its_root() {
        let dir = tempfile::tempdir().expect("a directory");
        let write = |path: &str, text: &str| {
            let path = dir.path().join(path);
            std::fs::create_dir_all(path.parent().expect("above")).expect("made");
            std::fs::write(path, text).expect("written");
        };
        let line = |id: u32, state: &str| format!("{id} (a b) {state} 1 1 1 0 -1 0 0 0 0 0 1 2 0 0 20 0 2 0 77 0\n");
        write("proc/7/stat", &line(7, "S"));
        write("proc/8/stat", &line(8, "S"));
        write("proc/8/task/8/stat", &line(8, "R"));
        write("proc/8/task/9/stat", &line(9, "D"));
        write("proc/10/stat", "no line");
        write("secret", &line(11, "D"));
        std::fs::create_dir(dir.path().join("proc/11")).expect("made");
        std::os::unix::fs::symlink("/etc/passwd", dir.path().join("proc/11/stat")).expect("linked");
        let root = Root::at(dir.path()).expect("the root");
        let mut tasks = Tasks::open(&root, "/proc").expect("a directory");
        assert!(!tasks.is_running());
        let mut seen = all(&mut tasks);
        seen.sort_unstable();
        assert_eq!(seen, [(7, 7, b'S'), (8, 8, b'R'), (8, 9, b'D')]);
        assert!(Tasks::open(&root, "/proc@1").is_err());
    }

    /// Not how fast, but how much slower than the least that any program could do: `cargo xtask bench --only threads` measures
    /// it properly.
    #[test]
    fn hardly_dearer_than_reading_the_files() {
        let stop = sleepers(500);
        let root = Root::host().expect("the root");
        let mut tasks = Tasks::open(&root, "/proc").expect("/proc");
        tasks.own = None;
        let bare = || {
            let began = Instant::now();
            for process in std::fs::read_dir("/proc").expect("/proc").flatten() {
                let Ok(threads) = std::fs::read_dir(process.path().join("task")) else { continue };
                for thread in threads.flatten() {
                    let _ = std::fs::read(thread.path().join("stat"));
                }
            }
            began.elapsed()
        };
        let mut ours = || {
            let began = Instant::now();
            let _ = all(&mut tasks);
            began.elapsed()
        };
        // The best of some: others run here too.
        let (theirs, ours) = (0..5)
            .map(|_| (bare(), ours()))
            .fold((Duration::MAX, Duration::MAX), |best, one| (best.0.min(one.0), best.1.min(one.1)));
        assert!(ours < theirs * 2, "{ours:?} against {theirs:?}");
        println!("{ours:?} against {theirs:?}");
        drop(stop);
    }
}
