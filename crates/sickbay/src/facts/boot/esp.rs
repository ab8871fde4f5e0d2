//! EFI system partitions: what the firmware of a UEFI machine starts.
//!
//! Where one is mounted it is read there. Where it is not (kernels without vfat exist, and a rescue system need not
//! mount it), the file system is read by a library through the disk ([`super::fat`]). If it belongs at [`PLACE`], its files
//! have their paths below that all the same.

use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sickbay_target::{Disk, FileKind, Root, Target, Volume};

use crate::facts::boot::boot_loader::disks_of_start;
use crate::facts::boot::fat::{View, fat};
use crate::facts::{Fact, Facts};
use crate::model::outcome::Skip;
use crate::model::source::SourceFile;
use crate::model::text::Text;
use crate::tr;

/// The type of an EFI system partition in a GPT, and in an MBR.
const TYPES: [&str; 2] = ["c12a7328-f81f-11d2-ba4b-00a0c93ec93b", "0xef"];
/// Where distributions with GRUB mount it.
pub const PLACE: &str = "/boot/efi";
/// How deep directories are looked into, and how many files are listed: an EFI system partition has some dozens.
const DEPTH: usize = 5;
const MOST: usize = 5000;
/// The largest loader that is read: unified kernel images have some 100 MB, loaders less than 4.
pub(crate) const LARGEST: u64 = 32 << 20;
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
pub(crate) fn unmounted(target: &Target) -> Option<&Volume> {
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
pub(crate) fn disk<'a>(target: &'a Target, volume: &Volume) -> io::Result<&'a Disk> {
    target.disks.get(volume.disk).ok_or_else(|| io::ErrorKind::NotFound.into())
}
