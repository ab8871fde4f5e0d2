//! Where this machine keeps what was on a disk before it was changed as a whole, and how that is found again.
//!
//! The journal of a target lives on the target. What a checker of file systems does cannot: the file system that holds
//! the journal is what changes. So it is kept beside an image, and for a device in this machine's own state directory.
//!
//! A device may have another name at the next start, and another device its name. So a record holds, in a file
//! `identity`, what is on the disk by which it is known again: partition table, file systems, serial number, size. What
//! version 0.1.0 kept is known by the size alone. That is little; whoever writes must compare what is on the disk with what is kept.
//!
//! Beside an image there may be anything that somebody put there: what is a link, or belongs to another user, is not ours.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;

use crate::bytes::{array, guid, le32};
use crate::writer::fault;
use crate::{Disk, OpenError, Root, Writer, serial, volumes};

/// What is kept of devices.
const OF_DEVICES: &str = "/var/lib/sickbay-disks";

/// The file of a record that says of which disk it is.
const IDENTITY: &str = "identity";

/// What version 0.1.0 has instead: the file with which every journal begins.
const JOURNAL: &str = "journal/parent";

/// A directory of this machine for what was on one disk.
#[derive(Debug)]
pub struct Record {
    path: PathBuf,
    root: Root,
    writer: Writer,
    is_certain: bool,
}

impl Record {
    /// The directory for a disk, made when there is none.
    ///
    /// # Errors
    /// When it cannot be made, or something that is not ours is in its place.
    pub fn make(disk: &Disk) -> Result<Record, OpenError> {
        let place = Place::of(&disk.path)?;
        let identity = Identity::of(disk);
        for path in place.records()? {
            let Some(record) = Record::at(path)? else { continue };
            match record.identity() {
                // What version 0.1.0 made says nothing of the disk; beside an image there is nothing else.
                None if place.is_image() => return Ok(record),
                Some(known) if known.is_certainly(&identity) || (place.is_image() && known.may_be(&identity)) => {
                    return Ok(record);
                }
                Some(_) if place.is_image() => {
                    let why = "it is for another disk that had this name".to_owned();
                    return Err(OpenError::NotOurs { path: record.path, why });
                }
                _ => {}
            }
        }
        place.make(&identity)
    }

    /// What is kept of a disk, or may be of it. The disk may be anything that a target is named by.
    ///
    /// # Errors
    /// When something that is not ours is in the place of it, or the disk cannot be read.
    pub fn find(disk: &Path) -> Result<Vec<Record>, OpenError> {
        let Ok(metadata) = std::fs::metadata(disk) else { return Ok(Vec::new()) };
        if !metadata.is_file() && !metadata.file_type().is_block_device() {
            return Ok(Vec::new());
        }
        let place = Place::of(disk)?;
        let paths = place.records()?;
        if paths.is_empty() {
            return Ok(Vec::new());
        }
        let identity = Identity::of(&Disk::to_look(disk)?);
        let mut all = Vec::new();
        for path in paths {
            let size = size_in(&path);
            let Some(mut record) = Record::at(path)? else { continue };
            let known = record.identity();
            record.is_certain = place.is_image() || known.as_ref().is_some_and(|known| known.is_certainly(&identity));
            if known.map_or(place.is_image() || size == Some(identity.size), |known| known.may_be(&identity)) {
                all.push(record);
            }
        }
        Ok(all)
    }

    /// The directory, if it is one and ours; `None` when nothing is there, or nothing in it.
    fn at(path: PathBuf) -> Result<Option<Record>, OpenError> {
        let Some(dir) = own_dir(&path)? else { return Ok(None) };
        let root = Root::from_dir(dir);
        let not_ours = |why: &str| OpenError::NotOurs { path: path.clone(), why: why.to_owned() };
        let entries = root.read_dir("/").map_err(|_| not_ours("it cannot be read"))?;
        if entries.is_empty() {
            return Ok(None);
        }
        if root.metadata(IDENTITY).is_err() && root.metadata(JOURNAL).is_err() {
            return Err(not_ours("it is not a sickbay directory"));
        }
        Record::of(path, root).map(Some)
    }

    fn of(path: PathBuf, root: Root) -> Result<Record, OpenError> {
        let own = root.try_clone().map_err(|e| OpenError::io(&path, "opening it twice", e))?;
        Ok(Record { path, root, writer: Writer::new(own, false), is_certain: true })
    }

    fn identity(&self) -> Option<Identity> {
        let text = self.root.read_up_to(IDENTITY, 64 << 10).ok()?;
        Identity::parse(&String::from_utf8_lossy(&text))
    }

    /// Whether something on the disk says that it is this one; else it only may be, having the same size.
    pub fn is_certain(&self) -> bool {
        self.is_certain
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The root through which its files are read.
    pub fn root(&self) -> &Root {
        &self.root
    }

    /// Writes its files.
    pub fn writer(&self) -> &Writer {
        &self.writer
    }

    /// Takes the directory away when nothing is kept any more, and with the last one of a device the one above.
    pub fn tidy(self) {
        let kept = self.root.read_dir("/").unwrap_or_default();
        if kept.iter().all(|entry| entry.name == IDENTITY) {
            let _ = self.writer.remove(Path::new(IDENTITY));
        }
        let Record { path, root, writer, .. } = self;
        drop((root, writer));
        // Each fails, as it shall, while something is in it.
        let gone = fault().is_ok() && std::fs::remove_dir(&path).is_ok();
        if let Some(above) = path.parent().filter(|above| gone && *above == of_devices()) {
            let _ = std::fs::remove_dir(above);
        }
    }
}

/// Where the records of a disk are.
enum Place {
    /// The one of an image, beside it.
    OfImage(PathBuf),
    /// Those of all devices of this machine.
    OfDevices(PathBuf),
}

impl Place {
    fn of(disk: &Path) -> Result<Place, OpenError> {
        let look = |e| OpenError::io(disk, "examining it", e);
        let path = std::fs::canonicalize(disk).map_err(look)?;
        if path.metadata().map_err(look)?.is_file() {
            let mut name = path.into_os_string();
            name.push(".sickbay");
            return Ok(Place::OfImage(name.into()));
        }
        Ok(Place::OfDevices(of_devices()))
    }

    fn is_image(&self) -> bool {
        matches!(self, Place::OfImage(_))
    }

    /// What is there; which disks the records are of is not asked.
    fn records(&self) -> Result<Vec<PathBuf>, OpenError> {
        match self {
            Place::OfImage(path) => Ok(if path.symlink_metadata().is_ok() { vec![path.clone()] } else { Vec::new() }),
            Place::OfDevices(all) => {
                let Some(dir) = own_dir(all)? else { return Ok(Vec::new()) };
                let entries = Root::from_dir(dir).read_dir("/");
                let entries = entries.map_err(|e| OpenError::io(all, "reading it", io::Error::other(e.to_string())))?;
                Ok(entries.iter().map(|entry| all.join(&entry.name)).collect())
            }
        }
    }

    /// Makes a new record.
    fn make(&self, identity: &Identity) -> Result<Record, OpenError> {
        let paths: Vec<PathBuf> = match self {
            Place::OfImage(path) => vec![path.clone()],
            // Two disks of which nothing is known but the size have one each.
            Place::OfDevices(all) => (1..1000).map(|n| all.join(format!("{}-{n}", identity.name()))).collect(),
        };
        let fail =
            |path: &Path, e: io::Error| OpenError::io(path, "creating the directory for what was on the disk", e);
        if let Place::OfDevices(all) = self
            && own_dir(all)?.is_none()
        {
            make_dir(all).map_err(|e| fail(all, e))?;
        }
        for path in paths {
            match make_dir(&path) {
                // One that was made and in which nothing was kept before it was cut off is there for the taking.
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists && Record::at(path.clone())?.is_none() => {}
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists && !self.is_image() => continue,
                made => made.map_err(|e| fail(&path, e))?,
            }
            let Some(dir) = own_dir(&path)? else { continue };
            let record = Record::of(path.clone(), Root::from_dir(dir))?;
            let text = identity.text();
            if let Err(error) = record.writer.write_new(Path::new(IDENTITY), text.as_bytes(), 0o600) {
                record.tidy();
                return Err(fail(&path, error.source));
            }
            return Ok(record);
        }
        Err(fail(Path::new(OF_DEVICES), io::ErrorKind::AlreadyExists.into()))
    }
}

/// Makes a directory for root alone, on the disk when this returns.
fn make_dir(path: &Path) -> io::Result<()> {
    fault()?;
    rustix::fs::mkdir(path, Mode::RWXU)?;
    path.parent().map_or(Ok(()), |above| File::open(above).and_then(|above| above.sync_all()))
}

/// A directory that nobody but root, or who runs this, can have put there; `None` where nothing is.
fn own_dir(path: &Path) -> Result<Option<OwnedFd>, OpenError> {
    let not_ours = |why: String| OpenError::NotOurs { path: path.to_owned(), why };
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let dir = match rustix::fs::open(path, flags, Mode::empty()) {
        Ok(dir) => dir,
        Err(Errno::NOENT) => return Ok(None),
        Err(Errno::NOTDIR | Errno::LOOP) => {
            let link = rustix::fs::statat(rustix::fs::CWD, path, AtFlags::SYMLINK_NOFOLLOW)
                .is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Symlink);
            return Err(not_ours(if link { "it is a symbolic link" } else { "it is not a directory" }.to_owned()));
        }
        Err(errno) => return Err(OpenError::io(path, "opening it", errno)),
    };
    let stat = rustix::fs::fstat(dir.as_fd()).map_err(|e| OpenError::io(path, "examining it", e))?;
    if stat.st_uid != 0 && stat.st_uid != rustix::process::geteuid().as_raw() {
        return Err(not_ours(format!("it is owned by user {}", stat.st_uid)));
    }
    if stat.st_mode & 0o022 != 0 {
        return Err(not_ours("other users can write to it".to_owned()));
    }
    Ok(Some(dir))
}

/// Where the records of devices are. Tests of a build for debugging may have them elsewhere.
fn of_devices() -> PathBuf {
    #[cfg(debug_assertions)]
    if let Some(other) = std::env::var_os("SICKBAY_TEST_DISKS") {
        return PathBuf::from(other);
    }
    PathBuf::from(OF_DEVICES)
}

/// The size in the name of a record of version 0.1.0, `disk-of-SIZE-bytes`.
fn size_in(path: &Path) -> Option<u64> {
    path.file_name()?.to_str()?.strip_prefix("disk-of-")?.strip_suffix("-bytes")?.parse().ok()
}

/// By what a disk is known again.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Identity {
    /// Its size in bytes.
    size: u64,
    /// The GUID of a GPT, or the signature of a Master Boot Record.
    table: Option<String>,
    /// The UUIDs of what is on it.
    file_systems: Vec<String>,
    /// What the device says of itself.
    serial: Option<String>,
}

impl Identity {
    fn of(disk: &Disk) -> Identity {
        let described = volumes::describe(std::slice::from_ref(disk), false).unwrap_or_default();
        let mut file_systems: Vec<String> = described.placed.into_iter().filter_map(|it| it.volume.uuid).collect();
        file_systems.sort_unstable();
        file_systems.dedup();
        Identity { size: disk.size, table: table(disk), file_systems, serial: serial::identity(&disk.path) }
    }

    /// Whether it can be the same disk: nothing that is known of both differs. A disk that is damaged tells less.
    fn may_be(&self, now: &Identity) -> bool {
        let agree = |one: &Option<String>, other: &Option<String>| one.is_none() || other.is_none() || one == other;
        let (old, new) = (&self.file_systems, &now.file_systems);
        self.size == now.size
            && agree(&self.table, &now.table)
            && agree(&self.serial, &now.serial)
            && (old.is_empty() || new.is_empty() || old.iter().any(|uuid| new.contains(uuid)))
    }

    /// Whether something that only this disk has is on both.
    fn is_certainly(&self, now: &Identity) -> bool {
        let same = |one: &Option<String>, other: &Option<String>| one.is_some() && one == other;
        self.may_be(now)
            && (same(&self.table, &now.table)
                || same(&self.serial, &now.serial)
                || self.file_systems.iter().any(|uuid| now.file_systems.contains(uuid)))
    }

    /// The name of a record.
    fn name(&self) -> String {
        let known = self.table.as_ref().or(self.file_systems.first()).or(self.serial.as_ref());
        let known = known.map_or("unknown", String::as_str);
        let plain = |c: char| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' };
        format!("{}-{}", known.chars().take(64).map(plain).collect::<String>(), self.size)
    }

    fn text(&self) -> String {
        let lines = self.table.iter().map(|id| ("table", id));
        let lines = lines.chain(self.file_systems.iter().map(|uuid| ("file-system", uuid)));
        let lines = lines.chain(self.serial.iter().map(|serial| ("serial", serial)));
        lines.fold(format!("size {}\n", self.size), |text, (key, value)| format!("{text}{key} {value}\n"))
    }

    fn parse(text: &str) -> Option<Identity> {
        let mut identity = Identity::default();
        for (key, value) in text.lines().filter_map(|line| line.split_once(' ')) {
            match key {
                "size" => identity.size = value.parse().ok()?,
                "table" => identity.table = Some(value.to_owned()),
                "file-system" => identity.file_systems.push(value.to_owned()),
                "serial" => identity.serial = Some(value.to_owned()),
                _ => {}
            }
        }
        (identity.size > 0).then_some(identity)
    }
}

/// The identifier in the partition table: in the header of a GPT (UEFI 5.3.2), the first one or the copy at the end, or
/// in the Master Boot Record.
fn table(disk: &Disk) -> Option<String> {
    let gpt = |at: u64| {
        let header = disk.read_at(at, 512).ok().filter(|header| header.starts_with(b"EFI PART"))?;
        array::<16>(&header, 56).map(guid)
    };
    let places = [512, 4096, disk.size.saturating_sub(512), disk.size.saturating_sub(4096)];
    places.into_iter().find_map(gpt).or_else(|| {
        let first = disk.read_at(0, 512).ok().filter(|first| first.ends_with(&[0x55, 0xAA]))?;
        disk.table?;
        le32(&first, 440).filter(|signature| *signature != 0).map(|signature| format!("{signature:08x}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(table: &str, file_systems: &[&str], serial: &str) -> Identity {
        let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        let file_systems = file_systems.iter().map(|uuid| (*uuid).to_owned()).collect();
        Identity { size: 1 << 30, table: some(table), file_systems, serial: some(serial) }
    }

    #[test]
    fn a_disk_is_known_by_what_is_on_it() {
        let known = identity("aaaa", &["u1", "u2"], "S1");
        assert_eq!(Identity::parse(&known.text()), Some(known.clone()));
        // Damaged, it tells less; what it tells is the same.
        assert!(known.is_certainly(&identity("", &["u2"], "")));
        assert!(known.is_certainly(&identity("", &[], "S1")));
        assert!(known.may_be(&identity("", &[], "")) && !known.is_certainly(&identity("", &[], "")));
        // Another of the same size, and a copy of it on another.
        assert!(!known.may_be(&identity("bbbb", &["u1"], "")));
        assert!(!known.may_be(&identity("", &["u3"], "")));
        assert!(!known.may_be(&identity("aaaa", &["u1", "u2"], "S2")));
        assert!(!known.may_be(&Identity { size: 1 << 29, ..known.clone() }));
    }

    #[test]
    fn the_record_of_a_former_version_is_known_by_its_size() {
        assert_eq!(size_in(Path::new("/var/lib/sickbay-disks/disk-of-42-bytes")), Some(42));
        assert_eq!(size_in(Path::new("/var/lib/sickbay-disks/aaaa-42-1")), None);
    }
}
