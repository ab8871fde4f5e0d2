//! Where this machine keeps what was on a disk before it was changed as a whole, and how that is found again.
//!
//! The journal of a target lives on the target. What a checker of file systems does cannot: the file system that holds
//! the journal is what changes. So it is kept beside an image, and for a device in this machine's own state directory.

use std::io;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use crate::{Disk, OpenError, Root, Writer};

/// What is kept of devices.
const OF_DEVICES: &str = "/var/lib/sickbay-disks";

/// A directory of this machine for what was on one disk.
#[derive(Debug)]
pub struct Record {
    path: PathBuf,
    root: Root,
    writer: Writer,
}

impl Record {
    /// The directory for a disk, made when there is none.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn make(disk: &Disk) -> Result<Record, OpenError> {
        let path = place(&disk.path, disk.size).map_err(|e| OpenError::io(&disk.path, "looking at it", e))?;
        let fail = |e: io::Error| OpenError::io(&path, "making the directory for what was on the disk", e);
        std::fs::create_dir_all(&path).map_err(fail)?;
        let to_disk = |dir: &Path| std::fs::File::open(dir).and_then(|dir| dir.sync_all());
        path.parent().map_or(Ok(()), to_disk).map_err(fail)?;
        Record::at(path)
    }

    /// The directory for a disk, if there is one. The disk may be anything that a target is named by.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub fn find(disk: &Path) -> Result<Option<Record>, OpenError> {
        let Ok(metadata) = std::fs::metadata(disk) else { return Ok(None) };
        if !metadata.is_file() && !metadata.file_type().is_block_device() {
            return Ok(None);
        }
        let size = if metadata.is_file() { Ok(0) } else { size_of(disk) };
        let Ok(path) = size.and_then(|size| place(disk, size)) else { return Ok(None) };
        if path.is_dir() { Record::at(path).map(Some) } else { Ok(None) }
    }

    fn at(path: PathBuf) -> Result<Record, OpenError> {
        let root = Root::at(&path)?;
        let own = root.try_clone().map_err(|e| OpenError::io(&path, "opening it twice", e))?;
        Ok(Record { path, root, writer: Writer::new(own, false) })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its files.
    pub fn root(&self) -> &Root {
        &self.root
    }

    /// Writes its files.
    pub fn writer(&self) -> &Writer {
        &self.writer
    }

    /// Takes the directory away when nothing is kept any more.
    pub fn tidy(self) {
        let Record { path, root, writer } = self;
        drop((root, writer));
        let _ = std::fs::remove_dir(&path); // fails, as it shall, while something is in it
    }
}

fn size_of(device: &Path) -> io::Result<u64> {
    Ok(rustix::fs::seek(std::fs::File::open(device)?, rustix::fs::SeekFrom::End(0))?)
}

/// A device may have another name at the next start: it is known again by its size, and by what is on it.
fn place(disk: &Path, size: u64) -> io::Result<PathBuf> {
    let path = std::fs::canonicalize(disk)?;
    if path.metadata()?.is_file() {
        let mut name = path.into_os_string();
        name.push(".sickbay");
        return Ok(PathBuf::from(name));
    }
    Ok(Path::new(OF_DEVICES).join(format!("disk-of-{size}-bytes")))
}
