//! Disks: block devices of this machine, and images of disks of others.

mod image;
mod users;

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

pub(crate) use self::image::Follow;
use self::image::Image;
use crate::command::Keeper;
use crate::mounts::Mounts;
use crate::table::{self, Partitions, Table};
use crate::view::{Extent, View};
use crate::writer::fault;
use crate::{Access, FileKind, OpenError, sys};

/// A disk of the target.
#[derive(Debug)]
pub struct Disk {
    /// How the user named it, or its node.
    pub name: String,
    /// Its node or its image on this machine.
    pub path: PathBuf,
    /// Its size in bytes, as the target sees it.
    pub size: u64,
    /// Its partition table; `None` when it has none.
    pub table: Option<Table>,
    /// Its blocks: the device or raw image itself, or what the image driver makes of it.
    blocks: File,
    /// The image driver.
    driver: Option<Keeper>,
    sector: Option<u32>,
    /// Other files that are opened with it: "backing file /srv/base.img".
    pub(crate) others: Vec<String>,
    /// What `blocks` is when the disk is only to be written at the end, and the disk itself.
    view: Option<(View, File)>,
    /// Whether it was opened to be written, as what the user names to repair is; what lies below a directory is not.
    pub(crate) is_named: bool,
}

/// The end of qemu's file locks: one byte for each permission in use from 100 on, and for each not shared from 200 on
/// (RAW_LOCK_PERM_BASE, RAW_LOCK_SHARED_BASE in block/file-posix.c).
const QEMU_LOCKS: (i64, i64) = (100, 164);
/// The bytes of "I write" and of "nobody else may write".
const QEMU_WRITES: [i64; 2] = [101, 201];

impl Disk {
    /// Opens a block device or an image that is a file of its own.
    pub(crate) fn open(path: &Path, access: Access) -> Result<Disk, OpenError> {
        Disk::open_with(path, access, Follow::Nothing)
    }

    /// Opens a block device or an image, with the other files that the image names as far as they are to be followed.
    pub(crate) fn open_with(path: &Path, access: Access, follow: Follow) -> Result<Disk, OpenError> {
        let fail = |what: &'static str| move |e: io::Error| OpenError::io(path, what, e);
        let metadata = std::fs::metadata(path).map_err(fail("examining it"))?;
        let is_device = metadata.file_type().is_block_device();
        if !is_device && !metadata.is_file() {
            let what = kind_of(&metadata).to_string();
            return Err(OpenError::NotATarget { path: path.to_owned(), what });
        }
        let write = access == Access::ReadWrite;
        if write {
            users::refuse(path, &metadata)?;
        }
        // Opened exclusively, a device can be mounted by nobody else, nor can its partitions.
        let flags = if write && is_device { libc::O_EXCL } else { 0 };
        let opened = File::options().read(true).write(write).custom_flags(flags | libc::O_CLOEXEC).open(path);
        let file = opened.map_err(|e| match e.kind() {
            io::ErrorKind::ResourceBusy => OpenError::InUse { path: path.to_owned(), by: users::of_device(path) },
            _ => OpenError::io(path, "opening it", e),
        })?;
        let sector = if is_device { rustix::fs::ioctl_blksszget(&file).ok() } else { None };
        let image = if is_device { None } else { Some(image_of(path, &file, follow)?) };
        let mut others = Vec::new();
        let (blocks, driver) = match image {
            Some(image) if image.format.is_some() => {
                others = image.others();
                let (blocks, driver) = image::drive(&image, access)?;
                (blocks, Some(driver))
            }
            _ => {
                if write && !is_device {
                    lock_as_qemu(path, &file)?;
                }
                (file, None)
            }
        };
        let mut disk = Disk {
            name: path.display().to_string(),
            path: path.to_owned(),
            size: size_of(&blocks).map_err(fail("measuring it"))?,
            table: None,
            blocks,
            driver,
            sector,
            others,
            view: None,
            is_named: write,
        };
        if disk.size == 0 {
            return Err(OpenError::NotATarget { path: path.to_owned(), what: "empty".into() });
        }
        disk.table = disk.partitions().map_err(fail("reading it"))?.map(|found| found.table);
        Ok(disk)
    }

    /// The name of QEMU's driver for an image; `None` for a raw one and for a device. Other files that it names must be
    /// such as are to be followed.
    pub(crate) fn format_of(path: &Path, follow: Follow) -> Result<Option<&'static str>, OpenError> {
        let file = File::options().read(true).custom_flags(libc::O_CLOEXEC).open(path);
        let file = file.map_err(|e| OpenError::io(path, "opening it", e))?;
        let metadata = file.metadata().map_err(|e| OpenError::io(path, "examining it", e))?;
        if metadata.is_file() { Ok(image_of(path, &file, follow)?.format) } else { Ok(None) }
    }

    /// Reads up to `length` bytes; fewer at its end.
    ///
    /// # Errors
    /// The kernel's.
    pub fn read_at(&self, offset: u64, length: usize) -> io::Result<Vec<u8>> {
        let there = usize::try_from(self.size.saturating_sub(offset)).unwrap_or(usize::MAX);
        let mut bytes = vec![0; length.min(there)];
        let mut filled = 0;
        while let Some(rest) = bytes.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match self.blocks.read_at(rest, offset + filled as u64) {
                Ok(0) => break,
                Ok(n) => filled += n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        bytes.truncate(filled);
        Ok(bytes)
    }

    /// Its first mebibyte, where boot code lies: the code of the MBR and the core image between it and the first
    /// partition.
    ///
    /// # Errors
    /// The kernel's.
    pub fn head(&self) -> io::Result<Vec<u8>> {
        self.read_at(0, 1 << 20)
    }

    /// Opens a disk alone, whatever is on it, to look at it.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn to_look(path: &Path) -> Result<Disk, OpenError> {
        Disk::open(path, Access::ReadOnly)
    }

    /// Refuses a disk or an image that somebody uses: it could not be opened to be written. Opens and writes nothing.
    ///
    /// # Errors
    /// [`OpenError::InUse`], [`OpenError::NotFound`].
    pub fn is_free(path: &Path) -> Result<(), OpenError> {
        let metadata = std::fs::metadata(path).map_err(|e| OpenError::io(path, "examining it", e))?;
        if metadata.is_dir() { Ok(()) } else { users::refuse(path, &metadata) }
    }

    /// Opens a disk alone, whatever is on it, to put back what was there. Refused while another uses it.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn to_restore(path: &Path) -> Result<Disk, OpenError> {
        Disk::open_with(path, Access::ReadWrite, Follow::Backing)
    }

    /// Writes pieces, and brings them to the disk.
    ///
    /// # Errors
    /// The kernel's; some may be written then.
    pub fn write_pieces<'p>(&self, pieces: impl IntoIterator<Item = (u64, &'p [u8])>) -> io::Result<()> {
        for (offset, bytes) in pieces {
            if offset.checked_add(bytes.len() as u64).is_none_or(|end| end > self.size) {
                return Err(io::ErrorKind::StorageFull.into());
            }
            // Half of its sectors first, where a test lets it be cut off there.
            let (head, tail) = bytes.split_at(if cfg!(debug_assertions) { bytes.len() / 1024 * 512 } else { 0 });
            for (part, at) in [(head, offset), (tail, offset + head.len() as u64)] {
                fault()?;
                self.blocks.write_all_at(part, at)?;
            }
        }
        self.blocks.sync_data()
    }

    /// Writes, and brings it to the disk.
    ///
    /// # Errors
    /// The kernel's; some may be written then.
    pub fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        if offset.checked_add(bytes.len() as u64).is_none_or(|end| end > self.size) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        fault()?;
        let write = |file: &File| file.write_all_at(bytes, offset).and_then(|()| file.sync_data());
        match write(&self.blocks) {
            // The disks of a running system are in use and were opened for reading.
            Err(error) if error.raw_os_error() == Some(libc::EBADF) && self.driver.is_none() => {
                write(&File::options().write(true).custom_flags(libc::O_CLOEXEC).open(&self.path)?)
            }
            written => written,
        }
    }

    /// From now on everything is read from and written to a view of it, and the disk stays as it is.
    pub(crate) fn hold(&mut self, mounts: &Mounts) -> io::Result<()> {
        if self.view.is_none() {
            let view = View::of(self.blocks.try_clone()?, self.size, mounts)?;
            let disk = std::mem::replace(&mut self.blocks, view.file()?);
            self.view = Some((view, disk));
        }
        Ok(())
    }

    /// Whether it is held, so that nothing that is done reaches the disk.
    pub fn is_held(&self) -> bool {
        self.view.is_some()
    }

    /// Ends the view: gives what is other on it than on the disk. The disk itself is read and written again.
    ///
    /// # Errors
    /// The kernel's.
    pub fn let_go(&mut self) -> io::Result<Vec<Extent>> {
        let Some((view, disk)) = self.view.take() else { return Ok(Vec::new()) };
        let changes = view.changes();
        self.blocks = disk;
        changes
    }

    /// Forgets what was done to a part of the view that nobody uses.
    pub(crate) fn forget(&self, window: sys::Window) {
        if let Some((view, _)) = &self.view {
            view.forget(window.start, window.size);
        }
    }

    /// Its blocks, to attach parts of.
    pub(crate) fn blocks(&self) -> &File {
        &self.blocks
    }

    /// Its partition table. An image does not tell how long its sectors were; where 512 finds nothing, 4096 is tried.
    pub(crate) fn partitions(&self) -> io::Result<Option<Partitions>> {
        let read = |offset, length| self.read_at(offset, length);
        let with = |sector| table::read(&read, self.size, sector);
        if let Some(sector) = self.sector {
            return with(sector);
        }
        let found = with(512)?;
        let is_sound = |found: &Partitions| {
            found.list.iter().any(|p| self.read_at(p.start, 128 << 10).is_ok_and(|head| !is_blank(&head)))
        };
        if found.as_ref().is_some_and(is_sound) {
            return Ok(found);
        }
        match with(4096)? {
            Some(wide) if is_sound(&wide) => Ok(Some(wide)),
            _ => Ok(found),
        }
    }

    /// Brings everything to the disk and ends the image driver.
    ///
    /// # Errors
    /// When that fails.
    pub fn close(mut self) -> io::Result<()> {
        let synced = self.blocks.sync_all();
        drop(self.blocks);
        if let Some(driver) = &mut self.driver {
            driver.stop(std::time::Duration::from_secs(30))?;
        }
        synced
    }
}

/// The header of an image, whose other files are named from where it really is.
fn image_of(path: &Path, file: &File, follow: Follow) -> Result<Image, OpenError> {
    let path = std::fs::canonicalize(path).map_err(|e| OpenError::io(path, "finding it", e))?;
    Image::of(&path, file, follow)
}

/// Whether nothing is written here.
pub(crate) fn is_blank(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| *byte == 0)
}

fn size_of(file: &File) -> io::Result<u64> {
    // For devices the length in their metadata is 0; seeking to the end tells of both.
    Ok(rustix::fs::seek(file, rustix::fs::SeekFrom::End(0))?)
}

fn kind_of(metadata: &std::fs::Metadata) -> FileKind {
    let kind = metadata.file_type();
    match () {
        () if kind.is_dir() => FileKind::Dir,
        () if kind.is_fifo() => FileKind::Fifo,
        () if kind.is_socket() => FileKind::Socket,
        () if kind.is_char_device() => FileKind::CharDevice,
        () if kind.is_block_device() => FileKind::BlockDevice,
        () => FileKind::File,
    }
}

/// Takes the locks that qemu would take to write, so that neither it nor another of us opens the image meanwhile.
fn lock_as_qemu(path: &Path, file: &File) -> Result<(), OpenError> {
    let mut locked = Ok(());
    for byte in QEMU_WRITES {
        locked = locked.and_then(|()| sys::lock_range_shared(file.as_fd(), byte, 1));
    }
    // Both may have looked before either locked: look again.
    let (start, length) = QEMU_LOCKS;
    let busy = locked.and_then(|()| sys::range_is_locked(file.as_fd(), start, length));
    match busy {
        Ok(false) => Ok(()),
        Ok(true) => Err(OpenError::InUse { path: path.to_owned(), by: users::of_file(file) }),
        // File systems without locks have no such users either.
        Err(error) if matches!(error.raw_os_error(), Some(libc::ENOLCK | libc::EOPNOTSUPP | libc::EINVAL)) => Ok(()),
        Err(error) => Err(OpenError::io(path, "locking it", error)),
    }
}

/// Whether two metadata are of the same file.
pub(crate) fn same_file(one: &std::fs::Metadata, other: &std::fs::Metadata) -> bool {
    (one.dev(), one.ino()) == (other.dev(), other.ino())
}
