//! The kernels that are installed, and whether all that each needs to boot is there.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use bstr::ByteSlice;
use sickbay_formats::bls::compare_versions;
use sickbay_formats::kernel_image::{self, Image};
use sickbay_target::{FileKind, Opened, Reason, Root};

use crate::facts::boot::boot_config::boot_is_elsewhere;
use crate::facts::{Fact, Facts};
use crate::model::outcome::Skip;
use crate::model::text::Text;
use crate::tr;

/// All kernels, newest first.
#[derive(Debug)]
pub struct Kernels {
    /// Those with a kernel's file in /boot, and those that have lost only that.
    pub all: Vec<Kernel>,
}

/// One kernel.
#[derive(Clone, Debug)]
pub struct Kernel {
    /// What the names of its files end in: `6.1.0-9-amd64`, for some distributions `linux` or `lts`.
    pub version: String,
    /// `vmlinuz-VERSION`
    pub image: Part,
    /// `initramfs-VERSION.img`, by any of its names; `None` where no kernel of the target has one.
    pub initramfs: Option<Part>,
    /// `modules.dep` of its directory below /lib/modules; `None` for a kernel without modules.
    pub modules: Option<Part>,
    /// `System.map-VERSION` and `config-VERSION` that are empty. Nothing needs them for a boot.
    pub empty: Vec<PathBuf>,
}

/// A file that a kernel needs.
#[derive(Clone, Debug)]
pub struct Part {
    /// Where it is, or should be.
    pub path: PathBuf,
    /// How it is.
    pub state: PartState,
}

/// How a file that a kernel needs is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PartState {
    /// There, and whole as far as its form tells.
    Sound,
    /// Not there, or a link that leads nowhere.
    Missing,
    /// 0 bytes.
    Empty,
    /// Its own header says that it is longer.
    Truncated {
        /// Bytes that are there.
        size: u64,
    },
    /// It is no kernel and no initramfs.
    Foreign,
    /// It could not be read.
    Unread(Text),
}

impl PartState {
    /// Whether it is certain that it cannot be used.
    pub fn is_bad(&self) -> bool {
        !matches!(self, PartState::Sound | PartState::Unread(_))
    }

    /// What is wrong, in words that follow a path: "is missing".
    pub fn words(&self) -> Text {
        match self {
            PartState::Sound => tr!("exists"),
            PartState::Missing => tr!("is missing"),
            PartState::Empty => tr!("is empty"),
            PartState::Truncated { size } => tr!("ends after {size} bytes, before the length in its own header", size),
            PartState::Foreign => tr!("has other content"),
            PartState::Unread(why) => tr!("could not be read ({why})", why = why),
        }
    }
}

impl Kernel {
    /// Whether it is certain that it boots as far as its files go.
    pub fn is_complete(&self) -> bool {
        self.parts().all(|part| part.state == PartState::Sound)
    }

    /// Kernel, initramfs, modules, as far as it needs them.
    pub fn parts(&self) -> impl Iterator<Item = &Part> {
        [&self.image].into_iter().chain(&self.initramfs).chain(&self.modules)
    }
}

impl Kernels {
    /// Those that boot as far as their files go, newest first.
    pub fn complete(&self) -> impl Iterator<Item = &Kernel> {
        self.all.iter().filter(|kernel| kernel.is_complete())
    }

    /// The kernel whose file this is.
    pub fn of_image(&self, path: &Path) -> Option<&Kernel> {
        self.all.iter().find(|kernel| kernel.image.path == path)
    }
}

/// What the names of kernels begin with.
const IMAGES: [&str; 6] = ["vmlinuz-", "vmlinux-", "kernel-", "bzImage-", "Image-", "image-"];

/// The names of initramfs files: what stands before and behind the version.
const INITRAMFS: [(&str, &str); 6] = [
    ("initramfs-", ".img"),
    ("initrd.img-", ""),
    ("initrd-", ".img"),
    ("initramfs-", ""),
    ("initrd-", ""),
    ("initramfs.img-", ""),
];

/// Endings of copies and companions that are no kernels.
const COMPANIONS: [&str; 10] =
    [".old", ".bak", ".orig", ".hmac", ".sig", ".gz", ".rpmsave", ".rpmnew", ".sha512hmac", ".dpkg-bak"];

impl Fact for Kernels {
    fn gather(facts: &Facts) -> Result<Kernels, Skip> {
        let root = facts.root();
        let names = match root.read_dir("/boot") {
            Ok(entries) => entries,
            Err(error) if matches!(error.reason, Reason::NotFound | Reason::NotADirectory) => Vec::new(),
            Err(error) => return Err(error.into()),
        };
        let names: Vec<String> = names
            .into_iter()
            .filter(|entry| matches!(entry.kind, FileKind::File | FileKind::Symlink))
            .filter_map(|entry| entry.name.into_string().ok())
            .collect();
        if names.is_empty()
            && let Some(why) = boot_is_elsewhere(facts)
        {
            return Err(Skip::Unknown(why));
        }
        let mut images: BTreeMap<String, String> = BTreeMap::new();
        for name in &names {
            let version =
                IMAGES.iter().find_map(|prefix| name.strip_prefix(prefix)).filter(|version| is_version(version));
            if let Some(version) = version {
                images.entry(version.to_owned()).or_insert_with(|| name.clone());
            }
        }
        let image_prefix = IMAGES
            .iter()
            .find(|prefix| images.values().any(|name| name.starts_with(**prefix)))
            .copied()
            .unwrap_or("vmlinuz-");
        // A kernel that has lost its file but nothing else. An initramfs alone is what a removed package left.
        for name in &names {
            let version = INITRAMFS.iter().find_map(|(before, behind)| {
                name.strip_prefix(before)
                    .and_then(|rest| rest.strip_suffix(behind))
                    .filter(|version| is_version(version))
            });
            if let Some(version) = version.filter(|version| !images.contains_key(*version))
                && root.stat(format!("/lib/modules/{version}/modules.dep")).is_ok_and(|dep| dep.size > 0)
            {
                images.insert(version.to_owned(), format!("{image_prefix}{version}"));
            }
        }
        let naming = INITRAMFS
            .iter()
            .position(|form| images.keys().any(|version| names.contains(&format!("{}{version}{}", form.0, form.1))));
        let mut all: Vec<Kernel> =
            images.into_iter().map(|(version, name)| kernel(root, &names, version, &name, naming)).collect();
        all.sort_by(|left, right| compare_versions(right.version.as_bytes(), left.version.as_bytes()));
        Ok(Kernels { all })
    }
}

fn is_version(text: &str) -> bool {
    let rescue = text.contains("rescue") || text.contains("kdump");
    !text.is_empty() && !rescue && !COMPANIONS.iter().any(|ending| text.ends_with(ending))
}

fn kernel(root: &Root, names: &[String], version: String, image: &str, naming: Option<usize>) -> Kernel {
    let boot = Path::new("/boot");
    let image = boot.join(image);
    let named = |form: &(&str, &str)| format!("{}{version}{}", form.0, form.1);
    let initramfs = INITRAMFS
        .iter()
        .map(named)
        .find(|name| names.contains(name))
        .or_else(|| naming.and_then(|index| INITRAMFS.get(index)).map(named));
    let head = root.read_head(&image, 32 << 10).unwrap_or_default();
    let own = own_version(&head).unwrap_or_else(|| version.clone());
    let empty = ["System.map-", "config-"]
        .iter()
        .map(|prefix| boot.join(format!("{prefix}{version}")))
        .filter(|path| root.stat(path).is_ok_and(|metadata| metadata.size == 0))
        .collect();
    Kernel {
        image: Part { state: image_state(root, &image), path: image },
        initramfs: initramfs.map(|name| {
            let path = boot.join(name);
            Part { state: initramfs_state(root, &path), path }
        }),
        modules: modules(root, &own, &version),
        version,
        empty,
    }
}

/// The version that an x86 kernel's header names (`kernel_version` at 0x20e, Documentation/arch/x86/boot.rst).
fn own_version(head: &[u8]) -> Option<String> {
    if head.get(0x202..0x206) != Some(b"HdrS") {
        return None;
    }
    let at = usize::from(u16::from_le_bytes(head.get(0x20e..0x210)?.try_into().ok()?)) + 0x200;
    let text = head.get(at..)?;
    let word = text.get(..text.iter().position(|byte| matches!(byte, b' ' | 0))?)?;
    let word = word.to_str().ok()?;
    (at > 0x200 && word.starts_with(|c: char| c.is_ascii_digit())).then(|| word.to_owned())
}

/// How the kernel at `path` is.
pub fn image_state(root: &Root, path: &Path) -> PartState {
    state(root, path, |file, size| kernel_image::kernel(&head(file), size))
}

/// Whether the initramfs at `path` is there; what is in it the fact `Initramfses` tells.
pub fn initramfs_state(root: &Root, path: &Path) -> PartState {
    state(root, path, |_, _| Image::Whole)
}

fn head(file: &Opened) -> Vec<u8> {
    let mut buffer = vec![0; kernel_image::HEAD];
    let mut filled = 0;
    while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, filled as u64) {
            Ok(0) | Err(_) => break,
            Ok(count) => filled += count,
        }
    }
    buffer.truncate(filled);
    buffer
}

fn state(root: &Root, path: &Path, judge: impl FnOnce(&Opened, u64) -> Image) -> PartState {
    let unread = |error: sickbay_target::ReadError| PartState::Unread(Text::verbatim(error.to_string()));
    let metadata = match root.stat(path) {
        Ok(metadata) => metadata,
        Err(error) if matches!(error.reason, Reason::NotFound | Reason::NotADirectory | Reason::LinkLoop) => {
            return PartState::Missing;
        }
        Err(error) => return unread(error),
    };
    if metadata.is_file() && metadata.size == 0 {
        return PartState::Empty;
    }
    let file = match root.open(path) {
        Ok(file) => file,
        Err(error) if matches!(error.reason, Reason::IsA(_)) => return PartState::Foreign,
        Err(error) => return unread(error),
    };
    match judge(&file, metadata.size) {
        Image::Whole => PartState::Sound,
        Image::Truncated { .. } => PartState::Truncated { size: metadata.size },
        Image::Zeros | Image::Unknown => PartState::Foreign,
    }
}

fn modules(root: &Root, own: &str, version: &str) -> Option<Part> {
    let dirs: Vec<PathBuf> = [own, version].iter().map(|version| Path::new("/lib/modules").join(version)).collect();
    let dir = dirs.iter().find(|dir| root.stat(dir).is_ok()).or(dirs.first())?;
    let path = dir.join("modules.dep");
    let state = match root.stat(&path) {
        Ok(metadata) if metadata.size == 0 => PartState::Empty,
        Ok(_) => PartState::Sound,
        Err(error) if matches!(error.reason, Reason::NotFound | Reason::NotADirectory | Reason::LinkLoop) => {
            let config = root.read(format!("/boot/config-{version}")).unwrap_or_default();
            if config.contains_str("# CONFIG_MODULES is not set") {
                return None;
            }
            PartState::Missing
        }
        Err(error) => PartState::Unread(Text::verbatim(error.to_string())),
    };
    // Where the whole directory is gone, that is what is missing.
    let path = if state == PartState::Missing && root.stat(dir).is_err() { dir.clone() } else { path };
    Some(Part { path, state })
}
