//! What becomes of a target at the end: whether what a checker changed on a view reaches the disks, and how everything is
//! detached.

use std::collections::BTreeSet;
use std::io;
use std::sync::{MutexGuard, PoisonError};

use super::{Target, Volume};
use crate::Disk;
use crate::checker::{Examined, Verdict};
use crate::sys::Window;

impl Target {
    /// Whether a file system was mended on a view: nothing that is done to the target reaches its disks before
    /// [`Target::release`].
    pub fn is_held(&self) -> bool {
        self.disks.iter().any(Disk::is_held)
    }

    /// Notes that what a checker did to a volume on the view shall reach the disk.
    pub fn accept(&self, volume: usize) {
        self.accepted_volumes().insert(volume);
    }

    /// Whether [`Target::accept`] was called for it.
    pub fn is_accepted(&self, volume: usize) -> bool {
        self.accepted_volumes().contains(&volume)
    }

    /// A volume that is in use as it was mended, and of which that was not accepted: files on it must not be written.
    pub fn not_accepted(&self) -> Option<&Volume> {
        let volumes = self.volumes.as_deref().unwrap_or_default();
        let open = |examined: &&Examined| {
            matches!(examined.verdict, Verdict::Mended { .. }) && !self.is_accepted(examined.volume)
        };
        let mut volumes = self.examined.iter().filter(open).filter_map(|examined| volumes.get(examined.volume));
        volumes.find(|volume| volume.mounted_on.is_some())
    }

    fn accepted_volumes(&self) -> MutexGuard<'_, BTreeSet<usize>> {
        self.accepted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes everything out and detaches what opening attached. Dropping does the same and cannot tell of a failure.
    /// What is held (see [`Target::is_held`]) is dropped.
    ///
    /// # Errors
    /// When something could not be written or detached.
    pub fn close(self) -> io::Result<()> {
        let (disks, mut result) = self.take_apart();
        for disk in disks {
            result = result.and(disk.close());
        }
        result
    }

    /// Like [`Target::close`] for a target that is held: gives its disks, held still, with everything unmounted and
    /// what was not accepted forgotten.
    ///
    /// # Errors
    /// When something could not be written or detached; the disks are as they were.
    pub fn release(self) -> io::Result<Vec<Disk>> {
        let unwanted: Vec<(usize, Window)> = self
            .examined
            .iter()
            .filter(|examined| !self.is_accepted(examined.volume))
            .filter_map(|examined| self.volumes.as_ref().ok()?.get(examined.volume))
            .map(|volume| (volume.disk, Window { start: volume.start, size: volume.size }))
            .collect();
        let (disks, result) = self.take_apart();
        result?;
        for (disk, window) in unwanted {
            if let Some(disk) = disks.get(disk) {
                disk.forget(window);
            }
        }
        Ok(disks)
    }

    fn take_apart(self) -> (Vec<Disk>, io::Result<()>) {
        let Target { volumes, root, writer, system, disks, .. } = self;
        let mut result = Ok(());
        if let (Some(_), Some(system)) = (&writer, &system) {
            result = system.sync(&root, volumes.as_deref().unwrap_or_default());
        }
        drop((root, writer));
        if let Some(system) = system.filter(|_| disks.iter().any(Disk::is_held)) {
            result = result.and(system.close());
        }
        (disks, result)
    }
}
