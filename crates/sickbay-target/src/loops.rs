//! Loop devices: how a part of a disk or image becomes something that can be mounted, whatever the kernel knows of
//! partitions.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crate::sys::{self, LoopBacking, Window};

/// A loop device of our own. The kernel frees it when this is dropped and nothing is mounted from it any more.
#[derive(Debug)]
pub(crate) struct Loop {
    _device: File,
    path: PathBuf,
}

impl Loop {
    /// Attaches a part of `backing`; read-only if that is.
    pub(crate) fn attach(backing: &File, window: Window, read_only: bool) -> io::Result<Loop> {
        let control = File::options().read(true).write(true).open("/dev/loop-control")?;
        // Another process may take the free device between the two calls.
        for _ in 0..64 {
            let path = PathBuf::from(format!("/dev/loop{}", sys::loop_free(control.as_fd())?));
            let device = File::options().read(true).write(!read_only).custom_flags(libc::O_CLOEXEC).open(&path)?;
            match sys::loop_attach(device.as_fd(), backing.as_fd(), window, read_only) {
                Ok(()) => {
                    return Ok(Loop { _device: device, path });
                }
                Err(error) if error.kind() == io::ErrorKind::ResourceBusy => {}
                Err(error) => return Err(error),
            }
        }
        Err(io::ErrorKind::ResourceBusy.into())
    }

    /// Takes it away and waits until it is gone: then everything that was written has arrived.
    pub(crate) fn detach(self) -> io::Result<()> {
        let Loop { _device: device, path } = self;
        device.sync_all()?;
        let own = backing_of(&path);
        drop(device);
        for _ in 0..1000 {
            if own.is_none() || backing_of(&path) != own {
                return Ok(());
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        Err(io::ErrorKind::ResourceBusy.into())
    }

    /// Its node.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

/// What a loop device of this machine stands for; `None` for one that is free, gone, or no loop device.
pub(crate) fn backing_of(node: &Path) -> Option<LoopBacking> {
    let device = File::open(node).ok()?;
    sys::loop_backing(device.as_fd()).ok().flatten()
}

/// The loop devices of this machine that stand for a file, or for a part of it.
pub(crate) fn standing_for(dev: u64, ino: u64) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir("/sys/block") else {
        return Vec::new();
    };
    let mut nodes: Vec<PathBuf> = entries
        .flatten()
        // Free devices have no directory of that name, and need not be opened.
        .filter(|entry| entry.path().join("loop").is_dir())
        .map(|entry| Path::new("/dev").join(entry.file_name()))
        .filter(|node| backing_of(node).is_some_and(|b| (b.dev, b.ino) == (dev, ino)))
        .collect();
    nodes.sort_unstable();
    nodes
}
