//! EFI system partitions: what the firmware of a UEFI machine starts.
//!
//! Where one is mounted it is read there. Where it is not (kernels without vfat exist, and a rescue system need not
//! mount it), the file system is read by a library through the disk; what the library would write is kept as changed
//! sectors, which become [`Change::WriteDisk`]. If it belongs at [`PLACE`], its files have their paths below that all the
//! same, and changes of them are changes of files until they are made ([`onto_disk`]).

use std::collections::BTreeMap;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sickbay_target::{Disk, FileKind, Root, Target, Volume};

use crate::check::Skip;
use crate::facts::boot_loader::disks_of_start;
use crate::facts::{Fact, Facts, SourceFile};
use crate::repair::Change;
use crate::text::Text;
use crate::tr;

/// The type of an EFI system partition in a GPT, and in an MBR.
const TYPES: [&str; 2] = ["c12a7328-f81f-11d2-ba4b-00a0c93ec93b", "0xef"];
/// Where distributions with GRUB mount it.
pub const PLACE: &str = "/boot/efi";
/// How deep directories are looked into, and how many files are listed: an EFI system partition has some dozens.
const DEPTH: usize = 5;
const MOST: usize = 5000;
/// The largest loader that is read: unified kernel images have some 100 MB, loaders less than 4.
const LARGEST: u64 = 32 << 20;
/// The largest configuration that is read.
const LARGEST_TEXT: u64 = 1 << 20;

/// The EFI system partitions of the target.
#[derive(Debug)]
pub struct Esps {
    /// Each, or why it cannot be read.
    pub list: Vec<Result<Esp, Text>>,
}

/// An EFI system partition.
#[derive(Debug)]
pub struct Esp {
    /// The partition.
    pub volume: Volume,
    /// Where its files are on the target: where it is mounted, or [`PLACE`] where it belongs there.
    pub place: Option<PathBuf>,
    /// Its files that end in `.efi`, with their paths as on it: `EFI/debian/grubx64.efi`.
    pub programs: Vec<Program>,
    /// Directories below `EFI`, as they are spelt.
    pub vendors: Vec<String>,
    /// GRUB's configurations and environment blocks, if it is not mounted and belongs at [`PLACE`].
    pub texts: Vec<Arc<SourceFile>>,
}

/// A file that ends in `.efi`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    /// The path, with `/` between the parts.
    pub path: String,
    /// Whether it begins as a program of UEFI does.
    pub is_sound: bool,
}

impl Program {
    /// The part of the path behind the last `/`, in small letters: FAT knows no others.
    pub fn name(&self) -> String {
        self.path.rsplit('/').next().unwrap_or_default().to_ascii_lowercase()
    }

    /// The directory it is in.
    pub fn dir(&self) -> &str {
        self.path.rsplit_once('/').map_or("", |(dir, _)| dir)
    }

    /// Whether it starts systems: neither a shell, a test nor a helper of one that does.
    pub fn is_loader(&self) -> bool {
        const HELPERS: [&str; 7] = ["fwup", "fwupd", "mm", "fb", "shell", "memtest", "mt86"];
        let name = self.name();
        self.is_sound && !HELPERS.iter().any(|helper| name.starts_with(helper))
    }

    /// Whether it is what a firmware starts that remembers nothing: `EFI/BOOT/BOOTX64.EFI`.
    pub fn is_fallback(&self) -> bool {
        self.dir().eq_ignore_ascii_case("EFI/BOOT") && self.name().starts_with("boot")
    }
}

impl Fact for Esps {
    fn gather(facts: &Facts) -> Result<Esps, Skip> {
        let devices = disks_of_start(facts)?;
        let esps = devices.volumes.iter().filter(|volume| is_esp(volume));
        let list = esps.map(|volume| look_at(facts, volume)).collect();
        Ok(Esps { list })
    }
}

impl Esps {
    /// Whether any holds a loader; `None` when none does and one could not be read.
    pub fn start(&self) -> Option<bool> {
        let starts = |esp: &Esp| esp.programs.iter().any(Program::is_loader);
        if self.list.iter().flatten().any(starts) {
            return Some(true);
        }
        self.list.iter().all(Result::is_ok).then_some(false)
    }

    /// The one that belongs at [`PLACE`] and is not mounted.
    pub fn unmounted(&self) -> Option<&Esp> {
        self.list.iter().flatten().find(|esp| esp.place.is_some() && esp.volume.mounted_on.is_none())
    }
}

/// The EFI system partition that belongs at [`PLACE`] and is not mounted: the only one on the disk of the root, where
/// nothing else is in its place.
fn unmounted(target: &Target) -> Option<&Volume> {
    let volumes = target.volumes.as_deref().unwrap_or_default();
    let at = |place: &str| volumes.iter().find(|volume| volume.mounted_on.as_deref() == Some(Path::new(place)));
    let root = at("/")?;
    if at(PLACE).is_some() || target.root().read_dir(PLACE).is_ok_and(|names| !names.is_empty()) {
        return None;
    }
    let mut esps = volumes.iter().filter(|volume| is_esp(volume) && volume.disk == root.disk);
    let only = esps.next().filter(|_| esps.next().is_none())?;
    only.mounted_on.is_none().then_some(only)
}

fn is_esp(volume: &Volume) -> bool {
    volume.parttype.as_deref().is_some_and(|kind| TYPES.contains(&kind))
}

fn look_at(facts: &Facts, volume: &Volume) -> Result<Esp, Text> {
    let belongs =
        unmounted(facts.target()).is_some_and(|other| other.start == volume.start && other.disk == volume.disk);
    let place = volume.mounted_on.clone().or(belongs.then(|| PLACE.into()));
    let mut esp = Esp { volume: volume.clone(), place, programs: Vec::new(), vendors: Vec::new(), texts: Vec::new() };
    let cannot =
        |error: String| tr!("{volume}, the EFI system partition, cannot be read: {error}", volume = volume.name, error);
    if let Some(place) = &volume.mounted_on {
        walk_mounted(facts.root(), place, "", 0, &mut esp).map_err(|error| cannot(error.to_string()))?;
        return Ok(esp);
    }
    let fat = disk(facts.target(), volume).and_then(|disk| fat(disk, volume));
    let fat = fat.map_err(|error| cannot(error.to_string()))?;
    walk_fat(&fat.root_dir(), "", 0, &mut esp).map_err(|error| cannot(error.to_string()))?;
    Ok(esp)
}

/// Enters what was found; says whether to look into it.
fn enter(esp: &mut Esp, path: &str, depth: usize, is_dir: bool, head: impl FnOnce() -> Vec<u8>) -> bool {
    if is_dir {
        if depth == 1 && path.get(..4).is_some_and(|start| start.eq_ignore_ascii_case("EFI/")) {
            esp.vendors.push(path.get(4..).unwrap_or_default().to_owned());
        }
        return depth < DEPTH;
    }
    if path.to_ascii_lowercase().ends_with(".efi") && esp.programs.len() < MOST {
        esp.programs.push(Program { path: path.to_owned(), is_sound: head() == b"MZ" });
    }
    false
}

fn walk_mounted(
    root: &Root,
    place: &Path,
    below: &str,
    depth: usize,
    esp: &mut Esp,
) -> Result<(), sickbay_target::ReadError> {
    for entry in root.read_dir(place.join(below))?.into_iter().take(MOST) {
        let Some(name) = entry.name.to_str() else { continue };
        let path = if below.is_empty() { name.to_owned() } else { format!("{below}/{name}") };
        let head = || root.read_head(place.join(&path), 2).unwrap_or_default();
        // Where /boot itself is the partition, kernels lie beside EFI.
        if enter(esp, &path, depth, entry.kind == FileKind::Dir, head) {
            walk_mounted(root, place, &path, depth + 1, esp)?;
        }
    }
    Ok(())
}

fn walk_fat(dir: &fatfs::Dir<'_, View<'_>>, below: &str, depth: usize, esp: &mut Esp) -> io::Result<()> {
    for entry in dir.iter().take(MOST) {
        let entry = entry?;
        let name = entry.file_name();
        if name == "." || name == ".." {
            continue;
        }
        let path = if below.is_empty() { name } else { format!("{below}/{name}") };
        let read = |most: u64| {
            let mut bytes = Vec::new();
            entry.to_file().take(most).read_to_end(&mut bytes).map(|_| bytes)
        };
        if let Some(place) = esp.place.as_ref().filter(|_| !entry.is_dir() && is_text(&path)) {
            esp.texts.push(Arc::new(SourceFile { path: place.join(&path), bytes: read(LARGEST_TEXT)? }));
        }
        let head = || read(2).unwrap_or_default();
        if enter(esp, &path, depth, entry.is_dir(), head) {
            walk_fat(&entry.to_dir(), &path, depth + 1, esp)?;
        }
    }
    Ok(())
}

/// Whether it is one of GRUB's configurations or environment blocks.
fn is_text(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or_default();
    ["grub.cfg", "grubenv"].iter().any(|known| name.eq_ignore_ascii_case(known))
}

/// FAT does not tell capital letters from small ones.
fn is_same(one: &Path, other: &Path) -> bool {
    one.as_os_str().as_encoded_bytes().eq_ignore_ascii_case(other.as_os_str().as_encoded_bytes())
}

impl Esp {
    /// A configuration by its path on the target.
    pub fn text(&self, path: &Path) -> Option<&Arc<SourceFile>> {
        self.texts.iter().find(|file| is_same(&file.path, path))
    }

    /// The content of one of its files.
    ///
    /// # Errors
    /// When it cannot be read or is larger than any loader.
    pub fn read(&self, facts: &Facts, path: &str) -> io::Result<Vec<u8>> {
        if let Some(place) = &self.volume.mounted_on {
            return facts.root().read_up_to(place.join(path), LARGEST).map_err(io::Error::other);
        }
        let fat = fat(disk(facts.target(), &self.volume)?, &self.volume)?;
        let mut bytes = Vec::new();
        fat.root_dir().open_file(path)?.take(LARGEST + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > LARGEST {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        Ok(bytes)
    }

    /// The changes that put files there, with the directories that they need.
    ///
    /// # Errors
    /// When the file system is damaged or full.
    pub fn write(&self, facts: &Facts, files: &[(String, Vec<u8>)]) -> io::Result<Vec<Change>> {
        if let Some(place) = &self.volume.mounted_on {
            return Ok(changes_of_files(facts.root(), place, files));
        }
        let Some(place) = &self.place else { return sectors(disk(facts.target(), &self.volume)?, &self.volume, files) };
        let change = |(path, content): &(String, Vec<u8>)| match self.read(facts, path) {
            Ok(before) => Change::Edit { path: place.join(path), before, after: content.clone() },
            Err(_) => Change::create(place.join(path), content.clone(), 0o700),
        };
        Ok(files.iter().map(change).collect())
    }
}

/// A program below [`PLACE`], mounted or not.
pub fn program(facts: &Facts, path: &Path) -> Option<Vec<u8>> {
    let esps = facts.get::<Esps>().ok();
    match esps.as_ref().and_then(|esps| esps.unmounted()) {
        Some(esp) => esp.read(facts, path.strip_prefix(PLACE).ok()?.to_str()?).ok(),
        None => facts.root().read_up_to(path, LARGEST).ok(),
    }
}

/// What a volume is on.
fn disk<'a>(target: &'a Target, volume: &Volume) -> io::Result<&'a Disk> {
    target.disks.get(volume.disk).ok_or_else(|| io::ErrorKind::NotFound.into())
}

/// The sectors that are others once the files are on the file system.
fn sectors(disk: &Disk, volume: &Volume, files: &[(String, Vec<u8>)]) -> io::Result<Vec<Change>> {
    let mut view = View::new(disk, volume);
    {
        let fat = fatfs::FileSystem::new(&mut view, options())?;
        for (path, content) in files {
            let mut dir = fat.root_dir();
            let mut parts: Vec<&str> = path.split('/').collect();
            let name = parts.pop().unwrap_or_default();
            for part in parts {
                dir = dir.create_dir(part)?;
            }
            let mut file = dir.create_file(name)?;
            file.truncate()?;
            file.write_all(content)?;
            file.flush()?;
        }
        fat.unmount()?;
    }
    view.into_changes()
}

/// The same changes, those of files on the EFI system partition that belongs at [`PLACE`] and is not mounted as sectors.
///
/// # Errors
/// When such a file is another by now, or the file system is damaged or full.
pub fn onto_disk(target: &Target, changes: &[Change]) -> Result<Vec<Change>, Text> {
    let cannot = |error: io::Error| Text::verbatim(error.to_string());
    let mut all = Vec::new();
    let mut files = Vec::new();
    let esp = unmounted(target);
    for change in changes {
        let below = change.path().and_then(|path| path.strip_prefix(PLACE).ok()?.to_str());
        let (Some(volume), Some(below)) = (esp, below.filter(|below| !below.is_empty())) else {
            all.push(change.clone());
            continue;
        };
        let mut is = Vec::new();
        let read =
            |bytes: &mut Vec<u8>| fat(disk(target, volume)?, volume)?.root_dir().open_file(below)?.read_to_end(bytes);
        match (change, read(&mut is)) {
            (Change::Edit { before, after, .. }, Ok(_)) if is == *before => {
                files.push((below.to_owned(), after.clone()));
            }
            (Change::Create { content, .. }, Err(error)) if error.kind() == io::ErrorKind::NotFound => {
                files.push((below.to_owned(), content.clone()));
            }
            // They come with their files.
            (Change::MakeDir { .. }, _) => {}
            (_, Err(error)) => return Err(cannot(error)),
            _ => return Err(tr!("{path} has changed since it was looked at", path = Path::new(PLACE).join(below))),
        }
    }
    if let Some(volume) = esp.filter(|_| !files.is_empty()) {
        all.extend(disk(target, volume).and_then(|disk| sectors(disk, volume, &files)).map_err(cannot)?);
    }
    Ok(all)
}

fn changes_of_files(root: &Root, place: &Path, files: &[(String, Vec<u8>)]) -> Vec<Change> {
    let mut changes = Vec::new();
    let mut made: Vec<PathBuf> = Vec::new();
    for (path, content) in files {
        let path = place.join(path);
        let missing: Vec<&Path> =
            path.ancestors().skip(1).take_while(|dir| *dir != place && root.metadata(dir).is_err()).collect();
        for dir in missing.into_iter().rev() {
            if !made.iter().any(|known| known == dir) {
                made.push(dir.to_owned());
                changes.push(Change::make_dir(dir, 0o700));
            }
        }
        changes.push(match root.read_up_to(&path, LARGEST) {
            Ok(before) => Change::Edit { path, before, after: content.clone() },
            Err(_) => Change::create(path, content.clone(), 0o700),
        });
    }
    changes
}

fn options() -> fatfs::FsOptions {
    fatfs::FsOptions::new().update_accessed_date(false).time_provider(&LongAgo)
}

/// What is written gets the first day that FAT knows: the same repair writes the same bytes.
#[derive(Debug)]
struct LongAgo;

impl fatfs::TimeProvider for LongAgo {
    fn get_current_date(&self) -> fatfs::Date {
        fatfs::Date { year: 1980, month: 1, day: 1 }
    }

    fn get_current_date_time(&self) -> fatfs::DateTime {
        fatfs::DateTime { date: self.get_current_date(), time: fatfs::Time { hour: 0, min: 0, sec: 0, millis: 0 } }
    }
}

fn fat<'a>(disk: &'a Disk, volume: &Volume) -> io::Result<fatfs::FileSystem<View<'a>>> {
    fatfs::FileSystem::new(View::new(disk, volume), options())
}

/// A partition to read and to write, without the disk being written: what is written is kept.
struct View<'a> {
    disk: &'a Disk,
    index: usize,
    start: u64,
    size: u64,
    at: u64,
    changed: BTreeMap<u64, [u8; SECTOR]>,
}

const SECTOR: usize = 512;

impl<'a> View<'a> {
    fn new(disk: &'a Disk, volume: &Volume) -> View<'a> {
        View { disk, index: volume.disk, start: volume.start, size: volume.size, at: 0, changed: BTreeMap::new() }
    }

    fn sector(&self, number: u64) -> io::Result<[u8; SECTOR]> {
        if let Some(changed) = self.changed.get(&number) {
            return Ok(*changed);
        }
        let bytes = self.disk.read_at(self.start + number * SECTOR as u64, SECTOR)?;
        bytes.try_into().map_err(|_| io::ErrorKind::UnexpectedEof.into())
    }

    /// The sector at the current place, where in it that is, and how many bytes follow in it.
    fn here(&self) -> (u64, usize, usize) {
        let within = usize::try_from(self.at % SECTOR as u64).unwrap_or(0);
        let left = usize::try_from(self.size.saturating_sub(self.at)).unwrap_or(usize::MAX);
        (self.at / SECTOR as u64, within, left.min(SECTOR - within))
    }

    /// What was written, one change for sectors that follow each other.
    fn into_changes(self) -> io::Result<Vec<Change>> {
        let mut changes: Vec<Change> = Vec::new();
        let root = root_cluster(&self.sector(0)?);
        for (number, after) in &self.changed {
            let after = &plain_dots(*after, root);
            let offset = self.start + number * SECTOR as u64;
            let before = self.disk.read_at(offset, SECTOR)?;
            if before == *after {
                continue;
            }
            match changes.last_mut() {
                Some(Change::WriteDisk { offset: begin, before: old, after: new, .. })
                    if *begin + new.len() as u64 == offset =>
                {
                    old.extend(before);
                    new.extend(after);
                }
                _ => changes.push(Change::WriteDisk { disk: self.index, offset, before, after: after.to_vec() }),
            }
        }
        Ok(changes)
    }
}

/// The first cluster of the root directory of a FAT32; `None` for the smaller ones, whose root is in no cluster.
fn root_cluster(boot: &[u8; SECTOR]) -> Option<[u8; 4]> {
    let field = |at: usize| boot.get(at..)?.first_chunk().copied();
    // The length of a FAT in 16 bits is 0 on a FAT32 (Microsoft's specification, BPB_FATSz16 and BPB_RootClus).
    let is_fat32 = boot.get(22..24) == Some(&[0, 0]);
    if is_fat32 { field(44) } else { None }
}

/// The first sector of a directory that the library made, as it must be: the library gives `.` and `..` long names, which
/// fsck.fat rejects, and names the cluster of the root where 0 must stand. Any other sector is as it was.
fn plain_dots(sector: [u8; SECTOR], root: Option<[u8; 4]>) -> [u8; SECTOR] {
    const ENTRY: usize = 32;
    const LONG: u8 = 0x0F;
    const DELETED: u8 = 0xE5;
    let mut entries: Vec<[u8; ENTRY]> = sector.as_chunks().0.to_vec();
    let [long, dot, other_long, dots, ..] = entries.as_mut_slice() else { return sector };
    let is_long = |entry: &[u8; ENTRY]| entry.first() == Some(&0x41) && entry.get(11) == Some(&LONG);
    let fits = is_long(long)
        && dot.starts_with(b".          \x10")
        && is_long(other_long)
        && dots.starts_with(b"..         \x10");
    if !fits {
        return sector;
    }
    // A cluster's number is in two halves, the high one before the time.
    let cluster = [dots[26], dots[27], dots[20], dots[21]];
    if root == Some(cluster) {
        for at in [20, 21, 26, 27] {
            dots[at] = 0;
        }
    }
    long[0] = DELETED;
    other_long[0] = DELETED;
    let sorted = [*dot, *dots, *long, *other_long];
    let mut plain = sector;
    for (to, from) in plain.iter_mut().zip(sorted.as_flattened()) {
        *to = *from;
    }
    plain
}

impl Read for View<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let (number, within, left) = self.here();
        let length = left.min(buffer.len());
        if length == 0 {
            return Ok(0);
        }
        let sector = self.sector(number)?;
        for (to, from) in buffer.iter_mut().zip(sector.iter().skip(within)).take(length) {
            *to = *from;
        }
        self.at += length as u64;
        Ok(length)
    }
}

impl Write for View<'_> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let (number, within, left) = self.here();
        let length = left.min(buffer.len());
        if length == 0 {
            return Ok(0);
        }
        let mut sector = self.sector(number)?;
        for (to, from) in sector.iter_mut().skip(within).zip(buffer).take(length) {
            *to = *from;
        }
        self.changed.insert(number, sector);
        self.at += length as u64;
        Ok(length)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Seek for View<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let at = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::End(by) => self.size.checked_add_signed(by),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
        };
        self.at = at.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.at)
    }
}
