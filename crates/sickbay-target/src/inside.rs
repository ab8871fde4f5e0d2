//! The target's own programs, run on a copy of its files that is thrown away.
//!
//! The copy is an overlay (Documentation/filesystems/overlayfs.rst): the target's file systems below, read-only, and what
//! the program writes above, in memory. So the program can change nothing, wherever the target is mounted, and what it
//! makes is taken out as content. It sees no network, no other process and no device but null and its like; what holds it
//! is in [`walls`]. With its end, or ours, everything vanishes.

mod dev;
mod filter;
mod walls;

pub(crate) use filter::Instruction;

use std::ffi::OsStr;
use std::ffi::{CString, OsString};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{MountFlags, mount, mount_bind, mount_remount};
use sickbay_formats::procfs::mountinfo;

use crate::command::{self, CommandError, Output};
use crate::writer::{Attributes, Times, Writer};
use crate::{ReadError, Reason, Root, Target, mounts, sys};

/// A program of the target, and what is expected of it.
#[derive(Debug, Clone, Default)]
pub struct Inside {
    /// Its name, looked for in [`command::PATH`] of the target.
    pub program: String,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// Files that it finds besides its own or in their place, with their content: settings for this run.
    pub lent: Vec<(PathBuf, Vec<u8>)>,
    /// Files that it makes and that are wanted. It does not find those that are there before.
    pub outputs: Vec<PathBuf>,
    /// How long it may take.
    pub deadline: Duration,
}

/// What a program did and made.
#[derive(Debug)]
pub struct Made {
    /// How it ended and what it said.
    pub output: Output,
    /// The outputs in their order; `None` for one that is not there.
    pub files: Vec<Option<Vec<u8>>>,
}

/// Why a program was not run.
#[derive(Debug, thiserror::Error)]
pub enum InsideError {
    /// Only root may.
    #[error("running {program} of the target needs root")]
    NotRoot {
        /// The program that was started.
        program: String,
    },
    /// The copy could not be set up.
    #[error("{program} of the target was not run: {what}: {source}")]
    Setup {
        /// The program that was started.
        program: String,
        /// What was tried.
        what: &'static str,
        /// The kernel's answer.
        source: io::Error,
    },
    /// It did not end in time, or could not be started.
    #[error(transparent)]
    Command(#[from] CommandError),
    /// What it made could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
}

/// Of what a program says, as much is kept, in bytes.
const SAID: usize = 1 << 20;

/// No file that it makes may be larger, in bytes: 1 GiB.
const OUTPUT_LIMIT: u64 = 1 << 30;

/// What it may write in all, in bytes: an unpacked initramfs with every driver and firmware, and the packed one.
const WRITTEN: u64 = 2 << 30;

/// How many files and directories it may make or change.
const FILES: u64 = 1 << 18;

impl Target {
    /// Runs a program of the target on a copy of its files, and takes out what it makes. The target stays as it is.
    ///
    /// # Errors
    /// When it could not be run to its end. A program that fails is no error: see [`Output::success`].
    pub fn run_inside(&self, run: &Inside) -> Result<Made, InsideError> {
        if !rustix::process::geteuid().is_root() {
            return Err(InsideError::NotRoot { program: run.program.clone() });
        }
        let failed = |what: &'static str| {
            move |source: io::Error| InsideError::Setup { program: run.program.clone(), what, source }
        };
        let view = self.system.as_ref().map(|system| system.view()).transpose();
        let view = view.map_err(failed("entering the mounts of the target"))?;
        let volumes = dev::describe(self);
        // The thread's view of everything ends with the thread.
        std::thread::scope(|scope| {
            let work = || -> Result<Made, InsideError> {
                let copy = Copy::of(self.root(), view).map_err(|(what, source)| failed(what)(source))?;
                copy.furnish(&volumes).map_err(failed("creating /dev"))?;
                copy.lend(&run.lent).map_err(failed("writing its settings"))?;
                copy.clear(&run.outputs).map_err(failed("clearing the way for what it creates"))?;
                copy.run(run)
            };
            let thread = std::thread::Builder::new().name("inside".into()).spawn_scoped(scope, work);
            let thread = thread.map_err(failed("starting a thread"))?;
            thread.join().unwrap_or_else(|_| Err(failed("setting up")(io::ErrorKind::Other.into())))
        })
    }
}

/// The copy, mounted in the view of this thread alone.
struct Copy {
    place: PathBuf,
    root: Root,
}

type Attempt<T> = Result<T, (&'static str, io::Error)>;

fn attempt<T>(what: &'static str, result: Result<T, impl Into<io::Error>>) -> Attempt<T> {
    result.map_err(|error| (what, error.into()))
}

impl Copy {
    fn of(root: &Root, view: Option<OwnedFd>) -> Attempt<Copy> {
        attempt("leaving the other threads' view", sys::own_root())?;
        if let Some(view) = view {
            let kind = Some(rustix::thread::LinkNameSpaceType::Mount);
            attempt(
                "entering the mounts of the target",
                rustix::thread::move_into_link_name_space(view.as_fd(), kind),
            )?;
        }
        // Only what is mounted in the own view can be overlaid: it is found there again by its path.
        let path = attempt("finding the target's root", rustix::fs::readlink(through(root.as_dir()), Vec::new()))?;
        let path = PathBuf::from(OsString::from_vec(path.into_bytes()));
        attempt("creating its own view", sys::own_everything())?;
        attempt("making the mounts private", mounts::detach_from_others())?;
        let lower = attempt("finding the target's root", open(&path))?;
        let same = || -> Result<bool, Errno> {
            let (one, other) = (rustix::fs::fstat(&lower)?, rustix::fs::fstat(root.as_dir())?);
            Ok((one.st_dev, one.st_ino) == (other.st_dev, other.st_ino))
        };
        if !attempt("finding the target's root", same())? {
            return Err(("finding the target's root", io::ErrorKind::NotFound.into()));
        }
        let mut layers = vec![(PathBuf::new(), lower)];
        for below in attempt("reading the mounts", mounted_below(&path))? {
            let dir = attempt("opening what is mounted below the target", open(&path.join(&below)))?;
            layers.push((below, dir));
        }

        let place = attempt("finding a place", mounts::place())?;
        let quiet = MountFlags::NODEV | MountFlags::NOSUID;
        let size = WRITTEN.min(memory() / 4 * 3);
        let options = attempt("mounting a tmpfs", CString::new(format!("mode=0755,size={size},nr_inodes={FILES}")))?;
        attempt("mounting a tmpfs", mount("tmpfs", &place, "tmpfs", quiet, Some(options.as_c_str())))?;
        let copy = place.join("root");
        attempt("creating a directory", make_dir(&copy))?;
        for (number, (below, lower)) in layers.iter().enumerate() {
            let [upper, work] = ["upper", "work"].map(|kind| place.join(format!("{kind}{number}")));
            attempt("creating a directory", make_dir(&upper).and_then(|()| make_dir(&work)))?;
            // The mode of the root directory is that of the upper one.
            let mode = attempt("examining the target", rustix::fs::fstat(lower))?.st_mode & 0o7777;
            attempt("creating a directory", rustix::fs::chmod(&upper, Mode::from_raw_mode(mode)))?;
            let layer = through(lower.as_fd());
            let options = format!("lowerdir={layer},upperdir={},workdir={}", upper.display(), work.display());
            // What stays on one file system passes over files of another device, as which those of the lower layer show
            // otherwise. Kernels before 4.17 do not know the option.
            let whole = attempt("mounting an overlay", CString::new(format!("{options},xino=on")))?;
            let options = attempt("mounting an overlay", CString::new(options))?;
            let overlay = |at: &Path| {
                mount("overlay", at, "overlay", quiet, Some(whole.as_c_str()))
                    .or_else(|_| mount("overlay", at, "overlay", quiet, Some(options.as_c_str())))
            };
            if number == 0 {
                attempt("mounting an overlay", overlay(&copy))?;
                continue;
            }
            // Inside the copy, whatever links its owner put there.
            let inside = attempt("opening the copy", open(&copy)).map(Root::from_dir)?;
            let find = || inside.resolve(&Path::new("/").join(below), OFlags::DIRECTORY);
            let Ok(dir) = find() else { continue };
            let at = through(dir.as_fd());
            if overlay(Path::new(&at)).is_err() {
                // No overlay lies on FAT: it is shown as it is, and cannot be written.
                let what = "showing what is mounted below the target";
                attempt(what, mount_bind(&layer, &at))?;
                let dir = attempt(what, find().map_err(io::Error::other))?;
                let flags = quiet | MountFlags::RDONLY | MountFlags::BIND;
                attempt(what, mount_remount(through(dir.as_fd()), flags, ""))?;
            }
        }
        let root = attempt("opening the copy", open(&copy)).map(Root::from_dir)?;
        Ok(Copy { place: copy, root })
    }

    /// What a program takes for granted: /dev, /run, /tmp, /var/tmp, and an empty /proc and /sys to mount on.
    fn furnish(&self, volumes: &[dev::Described]) -> io::Result<()> {
        for path in ["/dev", "/proc", "/sys", "/run"].map(Path::new) {
            // On what a link leads to, nothing is mounted.
            if self.root.metadata(path).is_ok_and(|found| !found.is_dir()) {
                self.writer()?.remove(path).map_err(io::Error::other)?;
            }
            self.need_dir(path, 0o755)?;
        }
        self.need_dir(Path::new("/tmp"), 0o1777)?;
        self.need_dir(Path::new("/var/tmp"), 0o1777)?;
        // Empty ones, of the same memory as all else that is written.
        for path in ["/dev", "/run"] {
            let empty = self.place.with_file_name(path.trim_start_matches('/'));
            make_dir(&empty)?;
            self.mount_on(path, |at| mount_bind(&empty, at))?;
        }
        let sys = MountFlags::RDONLY | MountFlags::NOEXEC | MountFlags::NODEV | MountFlags::NOSUID;
        // Some containers forbid it; few programs miss it.
        let _ = self.mount_on("/sys", |at| mount("sysfs", at, "sysfs", sys, None));
        dev::make(self, volumes)
    }

    fn mount_on(&self, path: &str, mounted: impl Fn(&str) -> rustix::io::Result<()>) -> io::Result<()> {
        let dir = self.root.resolve(Path::new(path), OFlags::DIRECTORY).map_err(io::Error::other)?;
        Ok(mounted(&through(dir.as_fd()))?)
    }

    fn writer(&self) -> io::Result<Writer> {
        Ok(Writer::new(self.root.try_clone()?, false))
    }

    /// Makes a directory, and those above it, unless it is there.
    fn need_dir(&self, path: &Path, mode: u32) -> io::Result<()> {
        if self.root.stat(path).is_ok() || path == Path::new("/") {
            return Ok(());
        }
        if let Some(parent) = path.parent() {
            self.need_dir(parent, 0o755)?;
        }
        if self.root.metadata(path).is_ok() {
            self.writer()?.remove(path).map_err(io::Error::other)?; // it dangles
        }
        self.writer()?.make_dir(path, mode, (0, 0)).map_err(io::Error::other)
    }

    fn lend(&self, files: &[(PathBuf, Vec<u8>)]) -> io::Result<()> {
        for (path, content) in files {
            if let Some(parent) = path.parent() {
                self.need_dir(parent, 0o755)?;
            }
            self.writer()?.replace(path, content, &attributes(0o644), ".lent").map_err(io::Error::other)?;
        }
        Ok(())
    }

    /// Removes what the program shall make: what was there before must not be taken for it.
    fn clear(&self, outputs: &[PathBuf]) -> io::Result<()> {
        for path in outputs {
            let path = self.root.canonical(path).unwrap_or_else(|_| path.clone());
            if self.root.metadata(&path).is_ok_and(|found| found.is_file()) {
                self.writer()?.remove(&path).map_err(io::Error::other)?;
            }
        }
        Ok(())
    }

    fn run(&self, run: &Inside) -> Result<Made, InsideError> {
        walls::prepare();
        let mut command = command::plain(&run.program);
        command.args(&run.arguments).env("HOME", "/root").current_dir(&self.place);
        sys::before_exec(&mut command, command::die_with_parent);
        sys::before_exec(&mut command, walls::enter);
        let mut bound = |pid| walls::processes(pid) <= walls::PROCESSES;
        let output = command::converse(&run.program, command, b"", run.deadline, SAID, &mut bound).map_err(
            |error| match error {
                CommandError::NotFound { program } => InsideError::Setup {
                    program,
                    what: "the target does not have it, or not the interpreter that it names",
                    source: io::ErrorKind::NotFound.into(),
                },
                other => other.into(),
            },
        )?;
        let mut files = Vec::new();
        for path in &run.outputs {
            files.push(match self.root.read_up_to(path, OUTPUT_LIMIT) {
                Ok(content) => Some(content),
                Err(ReadError { reason: Reason::NotFound | Reason::NotADirectory, .. }) => None,
                Err(error) => return Err(error.into()),
            });
        }
        Ok(Made { output, files })
    }
}

/// The memory of this machine, in bytes.
fn memory() -> u64 {
    let info = rustix::system::sysinfo();
    info.totalram.saturating_mul(info.mem_unit.into())
}

/// Root's, and as old as the files of a real machine: to some programs a time of 0 means that there is no file.
fn attributes(mode: u32) -> Attributes {
    let time = (1_000_000_000, 0);
    Attributes { mode, uid: 0, gid: 0, times: Times { atime: time, mtime: time }, xattrs: Vec::new() }
}

/// The path by which this process reaches what a descriptor is open on.
fn through(fd: BorrowedFd<'_>) -> String {
    format!("/proc/self/fd/{}", fd.as_raw_fd())
}

fn open(path: &Path) -> io::Result<OwnedFd> {
    Ok(rustix::fs::open(path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?)
}

fn make_dir(path: &Path) -> io::Result<()> {
    Ok(rustix::fs::mkdir(path, Mode::from_raw_mode(0o755))?)
}

/// Directories below the target's root, relative to it, on which a file system with the system's own files is mounted.
fn mounted_below(root: &Path) -> io::Result<Vec<PathBuf>> {
    const KINDS: [&str; 10] = ["ext2", "ext3", "ext4", "xfs", "btrfs", "f2fs", "zfs", "vfat", "reiserfs", "jfs"];
    const PLACES: [&str; 6] = ["boot", "efi", "etc", "opt", "usr", "var"];
    let table = Root::host().map_err(io::Error::other)?;
    let path = format!("/proc/self/task/{}/mountinfo", rustix::thread::gettid().as_raw_nonzero());
    let text = table.read(path).map_err(io::Error::other)?;
    let mut found: Vec<PathBuf> = mountinfo::parse(&text)
        .iter()
        .filter_map(|mount| {
            let place = Path::new(OsStr::from_bytes(&mount.place));
            let below = place.strip_prefix(root).ok()?.to_owned();
            let top = below.components().next()?.as_os_str().to_str()?.to_owned();
            (KINDS.contains(&mount.fstype.as_str()) && PLACES.contains(&top.as_str())).then_some(below)
        })
        .collect();
    found.sort_by_key(|place| place.components().count());
    found.dedup();
    Ok(found)
}
