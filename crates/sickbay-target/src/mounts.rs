//! Mounts that nobody else sees and that vanish with us.
//!
//! A thread of its own gets its own view of the mounts (mount_namespaces(7)) and does all mounting; everybody else
//! works on descriptors of what it mounted. When the process ends, by whatever signal, the view goes, and with it every
//! mount. Coupled to the view the thread has its own working directory, so that a mount point is named by changing to
//! it: by descriptor, not by a path that could lead elsewhere.

use std::ffi::CStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::time::Duration;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{MountFlags, MountPropagationFlags, UnmountFlags};

use crate::sys;

/// How long one mount may take: replaying a large journal on a slow disk takes its time.
const DEADLINE: Duration = Duration::from_secs(120);

/// Directories to mount on. What is below them is hidden from our thread alone, which needs nothing of it; only `/dev`
/// must stay. Any directory will do, for the mount point needs not be written, nor be empty.
const PLACES: [&str; 8] = ["/run", "/mnt", "/tmp", "/var", "/usr", "/etc", "/proc", "/sys"];

type Job = Box<dyn FnOnce(&Path) + Send>;

/// A view of the mounts of our own.
#[derive(Debug)]
pub(crate) struct Mounts {
    jobs: Sender<Job>,
}

/// How to mount a device.
#[derive(Debug, Clone)]
pub(crate) struct Recipe {
    pub(crate) fstype: &'static str,
    pub(crate) flags: MountFlags,
    /// Options for the file system; each is tried until the kernel knows all of one.
    pub(crate) options: Vec<String>,
}

impl Mounts {
    /// Makes the view.
    pub(crate) fn new() -> io::Result<Mounts> {
        let (jobs, queue) = mpsc::channel::<Job>();
        let (ready, is_ready) = mpsc::channel();
        std::thread::Builder::new().name("mounts".into()).spawn(move || {
            let prepared = prepare();
            let place = prepared.as_ref().ok().cloned();
            if ready.send(prepared.map(drop)).is_err() {
                return;
            }
            let Some(place) = place else { return };
            for job in queue {
                job(&place);
            }
        })?;
        is_ready.recv().map_err(io::Error::other)??;
        Ok(Mounts { jobs })
    }

    /// Mounts a device on top of the private mount point and gives its root directory.
    pub(crate) fn mount(&self, device: &Path, recipe: &Recipe) -> io::Result<OwnedFd> {
        let (device, recipe) = (device.to_owned(), recipe.clone());
        self.run(move |place| {
            mount(&device, place, &recipe)?;
            Ok(rustix::fs::open(place, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?)
        })
    }

    /// Mounts a device on a directory that is open.
    pub(crate) fn mount_on(&self, device: &Path, recipe: &Recipe, dir: BorrowedFd<'_>) -> io::Result<()> {
        let (device, recipe, dir) = (device.to_owned(), recipe.clone(), dir.try_clone_to_owned()?);
        self.run(move |_| {
            rustix::process::fchdir(&dir)?;
            let mounted = mount(&device, Path::new("."), &recipe);
            rustix::process::chdir("/")?;
            Ok(mounted?)
        })
    }

    /// Takes the uppermost mount off the private mount point, with all that is mounted below it. It is gone when nobody
    /// has anything open on it any more.
    pub(crate) fn unmount(&self) -> io::Result<()> {
        self.run(|place| Ok(rustix::mount::unmount(place, UnmountFlags::DETACH)?))
    }

    /// The view itself, for a thread that wants to enter it (setns(2)).
    pub(crate) fn view(&self) -> io::Result<OwnedFd> {
        self.run(|_| {
            let path = format!("/proc/self/task/{}/ns/mnt", rustix::thread::gettid().as_raw_nonzero());
            Ok(rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?)
        })
    }

    fn run<T: Send + 'static>(&self, job: impl FnOnce(&Path) -> io::Result<T> + Send + 'static) -> io::Result<T> {
        let (done, result) = mpsc::channel();
        let job: Job = Box::new(move |place| drop(done.send(job(place))));
        self.jobs.send(job).map_err(|_| io::Error::other("the mounting thread has ended"))?;
        match result.recv_timeout(DEADLINE) {
            Ok(result) => result,
            Err(RecvTimeoutError::Timeout) => Err(io::ErrorKind::TimedOut.into()),
            Err(RecvTimeoutError::Disconnected) => Err(io::Error::other("the mounting thread has ended")),
        }
    }
}

/// Gives the calling thread its own view of the mounts, from which nothing reaches the others; tells where to mount.
fn prepare() -> io::Result<PathBuf> {
    sys::own_mounts()?;
    detach_from_others()?;
    place()
}

/// A directory to mount on.
pub(crate) fn place() -> io::Result<PathBuf> {
    let place = PLACES.iter().map(Path::new).find(|place| place.is_dir());
    place.map(Path::to_owned).ok_or_else(|| io::Error::other("this machine has no directory to mount on"))
}

/// Makes every mount of the view private. Without that, mounts would show up in the view that it was copied from.
pub(crate) fn detach_from_others() -> io::Result<()> {
    let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    match rustix::mount::mount_change("/", private) {
        // In a chroot "/" is no mount, and what holds it cannot be named from inside: step out, and back.
        Err(Errno::INVAL) => {
            let root = leave_root(c"/")?;
            let changed = rustix::mount::mount_change("/", private);
            rustix::process::fchdir(&root)?;
            rustix::process::chroot(".")?;
            Ok(changed?)
        }
        changed => Ok(changed?),
    }
}

/// Makes the uppermost directory of this view the root of this thread, out of a chroot. Gives the directory `kept`, opened
/// before. System calls only, see [`sys::before_exec`].
pub(crate) fn leave_root(kept: &CStr) -> io::Result<OwnedFd> {
    let kept = rustix::fs::open(kept, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    rustix::process::chroot(c"/dev")?;
    // With the working directory outside of the root, ".." is not stopped by the root.
    rustix::process::fchdir(&kept)?;
    for _ in 0..256 {
        rustix::process::chdir(c"..")?;
    }
    rustix::process::chroot(c".")?;
    Ok(kept)
}

fn mount(device: &Path, place: &Path, recipe: &Recipe) -> Result<(), Errno> {
    let mut answer = Err(Errno::INVAL);
    for options in &recipe.options {
        let options = std::ffi::CString::new(options.as_str()).map_err(|_| Errno::INVAL)?;
        answer = rustix::mount::mount(device, place, recipe.fstype, recipe.flags, Some(options.as_c_str()));
        if answer != Err(Errno::INVAL) {
            break;
        }
    }
    answer
}

/// Brings everything on a mounted file system to its device, with the error if it cannot be.
pub(crate) fn sync(root: BorrowedFd<'_>) -> io::Result<()> {
    let dir = rustix::fs::openat(root, ".", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    Ok(rustix::fs::syncfs(File::from(dir).as_fd())?)
}
