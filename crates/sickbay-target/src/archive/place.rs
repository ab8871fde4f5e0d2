//! Where an archive is unpacked: a tmpfs that only this process sees, and where that may not be mounted, a directory that another
//! process removes as soon as this one has ended.

use std::ffi::OsString;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

use rustix::fs::{Mode, OFlags};
use rustix::mount::MountFlags;

use crate::mounts::{Mounts, Recipe};

/// The inodes of the tmpfs: a few more than members are allowed, since directories may be made that are none.
const INODES: u64 = 2_200_000;

/// Room that is taken.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) dir: OwnedFd,
    /// How much of it may be used, in bytes.
    pub(super) room: u64,
    _holder: Holder,
}

#[derive(Debug)]
#[allow(dead_code)] // what holds it is held, and never asked
enum Holder {
    Memory(Mounts),
    Disk(Directory),
}

impl Place {
    /// Takes at most `room` bytes: half of the memory that is available, or of the space where that is a disk.
    pub(super) fn make(room: u64) -> io::Result<Place> {
        if rustix::process::geteuid().is_root()
            && let Ok(place) = Place::in_memory(room)
        {
            return Ok(place);
        }
        Place::on_disk(room)
    }

    fn in_memory(room: u64) -> io::Result<Place> {
        let room = room.min(available() / 2);
        let mounts = Mounts::new()?;
        let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
        // The bound is kept by who writes; this is the second one. A file takes whole pages.
        let size = room.saturating_add(room / 4).saturating_add(1 << 20);
        let options = vec![format!("mode=0700,size={size},nr_inodes={INODES}")];
        let dir = mounts.mount(Path::new("tmpfs"), &Recipe { fstype: "tmpfs", flags, options })?;
        Ok(Place { dir, room, _holder: Holder::Memory(mounts) })
    }

    pub(super) fn on_disk(room: u64) -> io::Result<Place> {
        let directory = Directory::make()?;
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let dir = rustix::fs::open(&directory.path, flags, Mode::empty())?;
        let told = rustix::fs::fstatvfs(&dir)?;
        let room = room.min(told.f_bavail.saturating_mul(told.f_frsize) / 2);
        Ok(Place { dir, room, _holder: Holder::Disk(directory) })
    }
}

/// What programs may still take of the memory, in bytes.
fn available() -> u64 {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let told =
        text.lines().find_map(|line| line.strip_prefix("MemAvailable:")?.split_whitespace().next()?.parse().ok());
    told.map_or_else(
        || {
            let info = rustix::system::sysinfo();
            info.freeram.saturating_mul(info.mem_unit.into())
        },
        |kib: u64| kib.saturating_mul(1024),
    )
}

/// A directory of ours, and the process that removes it. It waits for the end of a pipe that nobody writes to: that comes with the
/// end of this process, also by SIGKILL.
#[derive(Debug)]
struct Directory {
    path: PathBuf,
    remover: Child,
}

const REMOVER: &str = r#"trap "" HUP INT TERM; read -r _; rm -rf -- "$0""#;

impl Directory {
    fn make() -> io::Result<Directory> {
        let places = [std::env::var_os("TMPDIR").map(PathBuf::from), Some("/var/tmp".into()), Some("/tmp".into())];
        let mut answer = Err(io::ErrorKind::NotFound.into());
        for place in places.into_iter().flatten().filter(|place| place.is_absolute()) {
            let number = u64::from_ne_bytes(crate::random()?);
            let path = place.join(OsString::from(format!(".sickbay-{number:016x}")));
            answer = Directory::at(path);
            if answer.is_ok() {
                break;
            }
        }
        answer
    }

    fn at(path: PathBuf) -> io::Result<Directory> {
        // The remover first: whatever happens from here on, it is there.
        let mut command = std::process::Command::new("/bin/sh");
        command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").current_dir("/").arg("-c").arg(REMOVER);
        command.arg(&path).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
        let directory = Directory { remover: command.spawn()?, path };
        rustix::fs::mkdir(&directory.path, Mode::RWXU)?;
        Ok(directory)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        drop(self.remover.stdin.take());
        let _ = self.remover.wait();
        let _ = std::fs::remove_dir_all(&self.path); // where there is no rm
    }
}
