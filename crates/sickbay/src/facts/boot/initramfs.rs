//! What is in the initramfs of every kernel that is installed.

use std::collections::{BTreeSet, HashMap};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use bstr::{BString, ByteSlice};
use sickbay_formats::initramfs::{Damage, Initramfs, Part};
use sickbay_formats::modules::{self, Dependencies};
use sickbay_target::{FileKind, Reason, Root, threads};

use crate::facts::boot::boot_config::{BootConfig, Loader};
use crate::facts::{Fact, Facts};
use crate::model::outcome::Skip;
use crate::model::text::Text;
use crate::tr;

/// The initramfs of every kernel, the newest kernel first.
#[derive(Debug)]
pub struct Initramfses {
    /// One for each.
    pub all: Vec<OfKernel>,
}

/// The initramfs of one kernel.
#[derive(Debug)]
pub struct OfKernel {
    /// The kernel's version, as `uname -r` says it.
    pub version: String,
    /// The file.
    pub path: PathBuf,
    /// Its size in bytes.
    pub size: u64,
    /// Whether it is taken for the one that starts when nobody chooses: it is the newest.
    pub is_default: bool,
    /// What is in it, or why that could not be told; `None` if nobody needed to know.
    pub contents: Option<Result<Contents, Text>>,
    /// What depmod says of the modules that are installed for this kernel; empty when nothing.
    pub dependencies: Dependencies,
    /// Drivers in the kernel itself.
    pub builtin: BTreeSet<String>,
}

/// What is in an initramfs.
#[derive(Clone, Debug, Default)]
pub struct Contents {
    /// Its archives.
    pub parts: Vec<Part>,
    damage: Option<Damage>,
    /// Names of the modules in it.
    pub modules: BTreeSet<String>,
    /// Versions of kernels whose modules it holds.
    pub versions: BTreeSet<String>,
    /// Whether it has the program that the kernel starts: /init, or /linuxrc of old ones.
    pub has_init: bool,
    /// Programs in its directories of programs, by name: `lvm`, `mdadm`, `cryptsetup`.
    pub programs: BTreeSet<String>,
    /// The modules are in an image inside of it, which was not opened (dracut's squash).
    pub is_squashed: bool,
}

impl Contents {
    /// Reads an initramfs.
    ///
    /// # Errors
    /// When it cannot be read; damage is none.
    pub fn read(input: &mut dyn Read) -> std::io::Result<Contents> {
        let found = Initramfs::read(input, &|_| false)?;
        let mut contents = Contents { parts: found.parts, damage: found.damage, ..Contents::default() };
        for entry in &found.entries {
            let name = entry.name.as_bstr();
            if let Some(module) = modules::name(name)
                && entry.is_file()
            {
                contents.modules.insert(module);
            }
            let below = name.strip_prefix(b"usr/").unwrap_or(name);
            if let Some(rest) = below.strip_prefix(b"lib/modules/")
                && let Some(version) = rest.split(|byte| *byte == b'/').next().filter(|_| rest.contains(&b'/'))
            {
                contents.versions.insert(version.to_str_lossy().into_owned());
            }
            let program = below.strip_prefix(b"sbin/").or_else(|| below.strip_prefix(b"bin/"));
            if let Some(program) = program.filter(|rest| !rest.contains(&b'/')) {
                contents.programs.insert(program.to_str_lossy().into_owned());
            }
            contents.has_init |= matches!(&**name, b"init" | b"linuxrc");
            contents.is_squashed |= matches!(&**name, b"squashfs-root.img" | b"squash-root.img" | b"squash/root.img")
                || name.starts_with(b"squashfs-root.img")
                || name.starts_with(b"erofs-root.img");
        }
        Ok(contents)
    }

    /// What is wrong with it. Behind a whole one may stand what is not for unpacking, as a boot configuration or a
    /// signature: the kernel complains, and goes on.
    pub fn damage(&self) -> Option<&Damage> {
        self.damage.as_ref().filter(|damage| !(self.has_init && matches!(damage, Damage::Unknown(_))))
    }
}

impl OfKernel {
    /// Whether a driver is a module of this kernel that must be loaded and that this initramfs does not have.
    pub fn lacks(&self, contents: &Contents, module: &str) -> bool {
        let is_for_this = contents.versions.is_empty() || contents.versions.contains(&self.version);
        let has = self.builtin.contains(module) || (is_for_this && contents.modules.contains(module));
        !has && self.dependencies.get(module).is_some()
    }

    /// The module, if this initramfs does not have it; else which of those that it needs are not there.
    pub fn lacking(&self, contents: &Contents, module: &str) -> Vec<String> {
        if self.lacks(contents, module) {
            return vec![module.to_owned()];
        }
        let needs = self.dependencies.get(module).map(|module| module.needs.as_slice()).unwrap_or_default();
        // What is part of the kernel needs no module, whatever modules.dep says of one of its name.
        let is_module = !self.builtin.contains(module);
        needs.iter().filter(|name| is_module && self.lacks(contents, name)).cloned().collect()
    }

    /// Whether it ends in the middle, as what is written to a full disk does.
    pub fn is_cut_off(&self) -> bool {
        self.read_contents().is_some_and(|contents| matches!(contents.damage(), Some(Damage::Truncated(..))))
    }

    /// What is in it, if that was read.
    pub fn read_contents(&self) -> Option<&Contents> {
        self.contents.as_ref()?.as_ref().ok()
    }

    /// Whether the kernel can have that driver: in itself or as a module.
    pub fn knows(&self, module: &str) -> bool {
        self.builtin.contains(module) || self.dependencies.get(module).is_some()
    }
}

/// The part of a fact's time in which initramfses are read, in per cent. One of 60 MB takes a second or two; a machine with a
/// dozen kernels has to be told of the others that they were not looked at.
const SHARE: u32 = 50;

impl Fact for Initramfses {
    fn gather(facts: &Facts) -> Result<Initramfses, Skip> {
        let root = facts.root();
        let files = files(root)?;
        // A bundle has no large ones.
        let left_out = files.iter().filter_map(|file| root.open(&file.path).err());
        if let Some(error) = left_out.into_iter().find(|error| matches!(error.reason, Reason::NotCollected(_))) {
            return Err(error.into());
        }
        let by_default = by_default(facts);
        let (first, others): (Vec<&File>, Vec<&File>) =
            files.iter().partition(|file| by_default.as_ref().is_none_or(|paths| paths.contains(&file.path)));
        let mut read = read_all(facts, &first);
        // With another kernel the system may start where it does not by default.
        let starts = |file: &&File| {
            let contents = read.get(&file.path).and_then(|contents| contents.as_ref().ok());
            contents.is_some_and(|contents| contents.damage().is_none() && contents.has_init)
        };
        let needs_others = facts.all_digests() || first.is_empty() || !first.iter().all(starts);
        let others: Vec<&File> = others.into_iter().filter(|file| needs_others || begins_oddly(root, file)).collect();
        read.extend(read_all(facts, &others));
        let all = files.into_iter().enumerate().map(|(index, file)| {
            let text = |name: &str| match &file.modules {
                Some(dir) => root.read_up_to(dir.join(name), 64 << 20).unwrap_or_default(),
                None => Vec::new(),
            };
            OfKernel {
                is_default: by_default.as_ref().map_or(index == 0, |paths| paths.contains(&file.path)),
                contents: read.remove(&file.path),
                dependencies: Dependencies::parse(&text("modules.dep")),
                builtin: modules::builtin(&text("modules.builtin")),
                version: file.version,
                path: file.path,
                size: file.size,
            }
        });
        Ok(Initramfses { all: all.collect() })
    }
}

/// Whether the first bytes of an initramfs are none of one.
fn begins_oddly(root: &Root, file: &File) -> bool {
    let head = root.read_head(&file.path, 4 << 10).unwrap_or_default();
    let read = Initramfs::read(&mut head.as_slice(), &|_| false);
    read.map_or(true, |found| matches!(found.damage, Some(Damage::Blank | Damage::Unknown(_))))
}

/// Reads some, several at a time.
fn read_all(facts: &Facts, files: &[&File]) -> HashMap<PathBuf, Result<Contents, Text>> {
    let budget = facts.budget().part(SHARE);
    let next = AtomicUsize::new(0);
    let read: Mutex<HashMap<PathBuf, Result<Contents, Text>>> = Mutex::default();
    threads::together(threads::processors(files.len()), || {
        while let Some(file) = files.get(next.fetch_add(1, Ordering::Relaxed)) {
            let contents = if budget.is_spent() {
                Err(tr!("{path} was not opened: the others took too long", path = file.path.as_path()))
            } else {
                contents_of(facts.root(), &file.path)
            };
            read.lock().unwrap_or_else(PoisonError::into_inner).insert(file.path.clone(), contents);
        }
    });
    read.into_inner().unwrap_or_else(PoisonError::into_inner)
}

/// The initramfses that the boot loader loads by default; `None` where its configuration does not tell, and the newest
/// kernel's is taken for the one.
fn by_default(facts: &Facts) -> Option<Vec<PathBuf>> {
    let config = facts.get::<BootConfig>().ok()?;
    let entries = config.loaders.iter().filter_map(Loader::default_entry);
    let paths = entries.flat_map(|entry| &entry.initramfs).filter_map(|named| named.path.as_deref());
    let paths: Vec<PathBuf> =
        paths.map(|path| facts.root().canonical(path).unwrap_or_else(|_| path.to_owned())).collect();
    (!paths.is_empty()).then_some(paths)
}

/// What is larger is not read: 2 GiB, more than a boot loader can load on most machines.
const FILE_LIMIT: u64 = 2 << 30;

fn contents_of(root: &Root, path: &Path) -> Result<Contents, Text> {
    let size = root.stat(path).map_or(0, |metadata| metadata.size);
    if size > FILE_LIMIT {
        return Err(tr!(
            "{path} is too large to be an initramfs: {size}",
            path,
            size = crate::facts::memory::size(size >> 10)
        ));
    }
    let mut file = root.open(path).map_err(|error| Text::verbatim(error.to_string()))?;
    Contents::read(&mut file).map_err(|why| tr!("{path} could not be read: {why}", path, why = why.to_string()))
}

/// An initramfs and the modules that belong to it.
#[derive(Debug)]
struct File {
    version: String,
    path: PathBuf,
    size: u64,
    modules: Option<PathBuf>,
}

/// The initramfs of every kernel that is in /boot, that of the newest first. What is missing or empty is another check's
/// matter.
fn files(root: &Root) -> Result<Vec<File>, Skip> {
    let installed = root.read_dir("/lib/modules").unwrap_or_default();
    let installed: Vec<String> = installed.into_iter().filter_map(|entry| entry.name.into_string().ok()).collect();
    let mut files = Vec::new();
    let mut add = |name: &str, path: PathBuf, has_kernel: bool| {
        let Ok(found) = root.metadata(&path) else { return };
        if !found.is_file() || found.size == 0 || !has_kernel {
            return;
        }
        // Alpine and Arch name it after the kind of the kernel: lts, linux.
        let of_kind = |version: &&String| {
            version.strip_suffix(name).is_some_and(|rest| rest.ends_with('-'))
                || root
                    .read_head(format!("/lib/modules/{version}/pkgbase"), 256)
                    .is_ok_and(|text| text.trim_ascii() == name.as_bytes())
        };
        let version = installed.iter().find(|version| *version == name);
        let version = version.or_else(|| {
            let mut kin: Vec<&String> = installed.iter().filter(of_kind).collect();
            kin.sort_by_key(|version| natural(version));
            kin.pop()
        });
        files.push(File {
            version: version.map_or(name, String::as_str).to_owned(),
            path,
            size: found.size,
            modules: version.map(|version| Path::new("/lib/modules").join(version)),
        });
    };
    let boot = match root.read_dir("/boot") {
        Ok(entries) => entries,
        Err(error) if matches!(error.reason, Reason::NotFound) => Vec::new(),
        Err(error) => return Err(error.into()),
    };
    let names: Vec<&str> = boot.iter().filter_map(|entry| entry.name.to_str()).collect();
    let has_kernel = |version: &str| {
        let kinds = ["vmlinuz", "vmlinux", "Image", "kernel", "bzImage", "zImage"];
        kinds.iter().any(|kind| names.contains(&format!("{kind}-{version}").as_str()))
    };
    for entry in &boot {
        let Some(name) = entry.name.to_str() else { continue };
        match entry.kind {
            FileKind::File => {
                if let Some(version) = version_in(name) {
                    add(version, Path::new("/boot").join(name), has_kernel(version));
                }
            }
            // /boot/MACHINE-ID/VERSION/initrd, as kernel-install(8) lays it out.
            FileKind::Dir if name.len() == 32 && name.bytes().all(|byte| byte.is_ascii_hexdigit()) => {
                let dir = Path::new("/boot").join(name);
                for entry in root.read_dir(&dir).unwrap_or_default() {
                    let Some(version) = entry.name.to_str() else { continue };
                    let dir = dir.join(version);
                    add(version, dir.join("initrd"), root.exists(dir.join("linux")).unwrap_or(false));
                }
            }
            _ => {}
        }
    }
    files.sort_by_cached_key(|file| std::cmp::Reverse(natural(&file.version)));
    if files.is_empty() {
        return Err(Skip::NotApplicable(tr!("no kernel in /boot has an initramfs")));
    }
    Ok(files)
}

/// The kernel's version in the name of an initramfs; `None` when it is none, a copy, or for a purpose of its own.
fn version_in(name: &str) -> Option<&str> {
    let version = name.strip_prefix("initrd.img-").or_else(|| {
        let rest = name.strip_prefix("initramfs-").or_else(|| name.strip_prefix("initrd-"))?;
        Some(rest.strip_suffix(".img").unwrap_or(rest))
    })?;
    let other = ["rescue", "kdump", "fallback", ".bak", ".old", ".new", ".tmp", ".dpkg", ".rpm", "~"];
    (!version.is_empty() && !other.iter().any(|word| version.contains(word))).then_some(version)
}

/// Orders versions as people do: 6.1.0-9 before 6.1.0-10.
fn natural(version: &str) -> Vec<(u64, String)> {
    let mut parts = Vec::new();
    for part in version.split(['.', '-', '_', '+']) {
        let digits = part.len() - part.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let (number, rest) = part.split_at(digits);
        parts.push((number.parse().unwrap_or(0), rest.to_owned()));
    }
    parts
}

/// The file system of the root as it is, else as fstab says.
pub fn root_file_system(facts: &Facts) -> Option<String> {
    let devices = facts.get::<crate::facts::boot::devices::Devices>().ok();
    let mounted = devices.as_ref().and_then(|devices| devices.root()).map(|volume| volume.fstype.clone());
    mounted.filter(|fstype| !fstype.is_empty()).or_else(|| {
        let fstab = facts.get::<crate::facts::boot::fstab::Fstab>().ok()?;
        let fstype: BString = fstab.root()?.fstype().into();
        fstype.to_str().ok().filter(|fstype| *fstype != "auto").map(str::to_owned)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_initramfses() {
        assert_eq!(version_in("initrd.img-6.1.0-40-amd64"), Some("6.1.0-40-amd64"));
        assert_eq!(version_in("initramfs-5.10.134-16.al8.x86_64.img"), Some("5.10.134-16.al8.x86_64"));
        assert_eq!(version_in("initrd-2.6.18-194.el5.img"), Some("2.6.18-194.el5"));
        assert_eq!(version_in("initrd-5.14.21-150400.22-default"), Some("5.14.21-150400.22-default"));
        assert_eq!(version_in("initramfs-virt"), Some("virt"));
        assert_eq!(version_in("initramfs-0-rescue-6f1c2d3e.img"), None);
        assert_eq!(version_in("initramfs-3.10.0-1160.el7.x86_64kdump.img"), None);
        assert_eq!(version_in("vmlinuz-6.1.0"), None);
    }

    #[test]
    fn newest_first() {
        let mut all = ["6.1.0-9-amd64", "6.1.0-10-amd64", "5.10.0-1.el8", "6.1.0"];
        all.sort_by_cached_key(|version| natural(version));
        assert_eq!(all, ["5.10.0-1.el8", "6.1.0", "6.1.0-9-amd64", "6.1.0-10-amd64"]);
    }
}
