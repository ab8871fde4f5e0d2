//! Images that are not simply the bytes of a disk. qemu knows all of their formats; its storage daemon shows what is
//! inside as a file (FUSE), `qemu-nbd` as a block device. Whichever of the two the machine has is used.

use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::mount::MountFlags;
use sickbay_formats::disk_image::{self, Format, Other, Role};

use crate::bytes::{be32, be64};
use crate::command::{Keeper, is_installed};
use crate::{Access, OpenError, mounts, sys};

/// How long the driver may take until the image can be read.
const DEADLINE: Duration = Duration::from_secs(20);

/// Where the daemon shows the image, in its own view of the mounts: a directory of every /proc that holds no images.
const PLACE: &std::ffi::CStr = c"/proc/driver";

/// So many images may lie on one another.
const CHAIN: usize = 32;

/// What of an image's other files is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Follow {
    /// Nothing: an image that names any is refused.
    #[default]
    Nothing,
    /// What it is read from; nothing is written there.
    Backing,
    /// All.
    All,
}

impl Follow {
    /// What `--follow-images` means.
    pub(crate) fn asked(follow_images: bool) -> Follow {
        if follow_images { Follow::All } else { Follow::Nothing }
    }
}

/// An image, and what lies below it: everything that its driver is to open. The driver is told of every file, and of which
/// format it is, so that it takes nothing from a header that was not seen here.
#[derive(Debug)]
pub(super) struct Image {
    path: PathBuf,
    /// The name of qemu's driver; `None` for a raw one.
    pub(super) format: Option<&'static str>,
    backing: Option<Box<Image>>,
    data: Option<PathBuf>,
    extents: Vec<PathBuf>,
}

impl Image {
    /// Reads the header of an image and of everything below it.
    ///
    /// # Errors
    /// When it ends before what it says it holds, or names another file that is not to be followed.
    pub(super) fn of(path: &Path, file: &File, follow: Follow) -> Result<Image, OpenError> {
        Image::below(path, file, None, follow, &mut Vec::new())
    }

    /// `format` is what the image above says of it.
    fn below(
        path: &Path,
        file: &File,
        format: Option<&[u8]>,
        follow: Follow,
        seen: &mut Vec<(u64, u64)>,
    ) -> Result<Image, OpenError> {
        let fail = |e| OpenError::io(path, "reading it", e);
        let damaged = |why: String| OpenError::Image { path: path.to_owned(), why };
        let metadata = file.metadata().map_err(fail)?;
        seen.push((metadata.dev(), metadata.ino()));
        let read = |at: u64, length: usize| read(file, at, length).unwrap_or_default();
        let head = self::read(file, 0, 1024).map_err(fail)?;
        let tail = self::read(file, metadata.len().saturating_sub(512), 512).map_err(fail)?;
        let found = Format::of(&head, &tail);
        let mut image = Image { path: path.to_owned(), format: None, backing: None, data: None, extents: Vec::new() };
        let found = match (format, found) {
            (Some(b"raw"), _) | (None, None) => return Ok(image),
            (Some(told), Some(found)) if told == found.driver().as_bytes() => found,
            (Some(told), _) => return Err(damaged(format!("it is not of the format {}", told.escape_ascii()))),
            (None, Some(found)) => found,
        };
        image.format = Some(found.driver());
        let others = disk_image::others(found, &read);
        // The clusters of one with a data file are in that.
        if found == Format::Qcow2 && others.iter().all(|other| other.role != Role::Data) {
            check_qcow2(path, file, &head, metadata.len())?;
        }
        for other in &others {
            let near = path.parent().unwrap_or(Path::new(""));
            let below = near.join(std::ffi::OsStr::from_bytes(&other.name));
            let is_seen = std::fs::metadata(&below).is_ok_and(|found| seen.contains(&(found.dev(), found.ino())));
            if is_seen && other.role == Role::Backing && !other.name.is_empty() {
                return Err(damaged("its backing files loop".into()));
            }
            let is_followed = match other.role {
                _ if other.is_no_file() || other.name.is_empty() => false,
                Role::Backing => follow != Follow::Nothing,
                Role::Data | Role::Extent => follow == Follow::All,
            };
            if !is_followed {
                return Err(OpenError::Outside { path: path.to_owned(), other: in_words(other) });
            }
            if seen.len() > CHAIN && other.role == Role::Backing {
                return Err(damaged(format!("more than {CHAIN} images are stacked on one another")));
            }
            let missing = |e: io::Error| damaged(format!("{}: {e}", in_words(other)));
            let below = std::fs::canonicalize(&below).map_err(missing)?;
            // Whatever else is there might wait, or be a disk of this machine.
            if !std::fs::metadata(&below).map_err(missing)?.is_file() {
                return Err(damaged(format!("{}, which is not a regular file", in_words(other))));
            }
            let opened = File::open(&below).map_err(missing)?;
            match other.role {
                Role::Backing => {
                    // A raw image may begin with anything, what looks like the header of an image too.
                    let format = other.format.as_ref().map(|format| format.as_slice());
                    let head = self::read(&opened, 0, 1024).map_err(missing)?;
                    if format.is_none() && found != Format::Vmdk && Format::of(&head, b"").is_some() {
                        let why = "does not say which format that has: qemu-img rebase -u -F FORMAT sets it";
                        return Err(damaged(format!("{}, and {why}", in_words(other))));
                    }
                    image.backing = Some(Box::new(Image::below(&below, &opened, format, follow, seen)?));
                }
                Role::Data => image.data = Some(below),
                Role::Extent => {
                    // A sparse one is an image itself, and may name others.
                    let mut seen = seen.clone();
                    let head = self::read(&opened, 0, 4).map_err(missing)?;
                    if head.starts_with(b"KDMV") || head.starts_with(b"COWD") {
                        Image::below(&below, &opened, None, Follow::Nothing, &mut seen)?;
                    }
                    image.extents.push(below);
                }
            }
        }
        Ok(image)
    }

    /// Everything that is opened besides the image itself, each one sentence.
    pub(super) fn others(&self) -> Vec<String> {
        let mut all: Vec<String> = self.data.iter().map(|path| format!("data file {}", path.display())).collect();
        all.extend(self.extents.iter().map(|path| format!("extent {}", path.display())));
        if let Some(backing) = &self.backing {
            all.push(format!("backing file {}", backing.path.display()));
            all.extend(backing.others());
        }
        all
    }

    /// What `--blockdev` takes (JSON, as BlockdevOptions of qapi/block-core.json).
    fn blockdev(&self, node: &str) -> Result<String, OpenError> {
        let name = |path: &Path| {
            let text = path.to_str().ok_or_else(|| OpenError::Image {
                path: path.to_owned(),
                why: "its path is not UTF-8, which qemu requires: rename it".into(),
            })?;
            let mut escaped = String::new();
            for c in text.chars() {
                match c {
                    '"' | '\\' => escaped.extend(['\\', c]),
                    c if (c as u32) < 0x20 => escaped.push_str(&format!("\\u{:04x}", c as u32)),
                    c => escaped.push(c),
                }
            }
            Ok(format!("{{\"driver\":\"file\",\"filename\":\"{escaped}\"}}"))
        };
        let format = self.format.unwrap_or("raw");
        let mut text = format!("{{\"driver\":\"{format}\"{node},\"file\":{}", name(&self.path)?);
        // Said even where there is none: what the driver would find there was not found here.
        if ["qcow", "qcow2", "qed", "vmdk"].contains(&format) {
            let backing = self.backing.as_ref().map_or(Ok("null".into()), |backing| backing.blockdev(""))?;
            text.push_str(&format!(",\"backing\":{backing}"));
        }
        if let Some(data) = &self.data {
            text.push_str(&format!(",\"data-file\":{}", name(data)?));
        }
        text.push('}');
        Ok(text)
    }
}

fn in_words(other: &Other) -> String {
    let role = match other.role {
        Role::Backing => "backing file",
        Role::Data => "data file",
        Role::Extent => "extent",
    };
    if other.name.is_empty() { format!("a {role}") } else { format!("the {role} {}", other.name.escape_ascii()) }
}

fn read(file: &File, at: u64, length: usize) -> io::Result<Vec<u8>> {
    let size = file.metadata()?.len();
    let there = usize::try_from(size.saturating_sub(at)).unwrap_or(usize::MAX);
    let mut bytes = vec![0; length.min(there)];
    file.read_exact_at(&mut bytes, at)?;
    Ok(bytes)
}

/// qemu opens a truncated qcow2 and gives an error only where something is missing, deep in a file system; so it is
/// looked at first whether every cluster that the tables name begins within the file (docs/interop/qcow2.txt of qemu).
fn check_qcow2(path: &Path, file: &File, head: &[u8], size: u64) -> Result<(), OpenError> {
    let truncated = |why: String| Err(OpenError::Truncated { path: path.to_owned(), why });
    let header = || {
        let bits = be32(head, 20).filter(|bits| (9..=21).contains(bits))?;
        Some((bits, be64(head, 40)?, be32(head, 36)?, be64(head, 48)?))
    };
    let Some((bits, l1, l1_entries, refcounts)) = header() else {
        return if size < 104 {
            truncated(format!("it is {size} bytes long, and a qcow2 header alone has 104"))
        } else {
            Ok(()) // qemu says what is wrong with it
        };
    };
    // 32 MiB is the most that qemu accepts.
    let l1_size = u64::from(l1_entries.min(4 << 20)) * 8;
    if l1.saturating_add(l1_size) > size || refcounts >= size {
        return truncated(format!("its tables are beyond its end at {size} bytes"));
    }
    const OFFSET: u64 = 0x00ff_ffff_ffff_fe00;
    let cluster = 1_u64 << bits;
    let table = |at: u64, length: u64| -> io::Result<Vec<u64>> {
        let mut bytes = vec![0; usize::try_from(length).unwrap_or(0)];
        file.read_exact_at(&mut bytes, at)?;
        Ok((0..bytes.len() / 8).filter_map(|n| be64(&bytes, n * 8)).collect())
    };
    let (mut missing, mut present) = (0_u64, 0_u64);
    for l2 in table(l1, l1_size).map_err(|e| OpenError::io(path, "reading it", e))? {
        let l2 = l2 & OFFSET;
        if l2 == 0 {
            continue;
        }
        if l2 + cluster > size {
            missing += cluster / 8;
            continue;
        }
        for entry in table(l2, cluster).map_err(|e| OpenError::io(path, "reading it", e))? {
            let compressed = entry & (1 << 62) != 0;
            let host = if compressed { entry & ((1 << (62 - (bits - 8))) - 1) } else { entry & OFFSET };
            match host {
                0 => {}
                host if host >= size => missing += 1,
                _ => present += 1,
            }
        }
    }
    if missing == 0 {
        return Ok(());
    }
    truncated(format!("{missing} of the {} clusters that its tables name are beyond its end", missing + present))
}

/// Starts a driver for the image; gives its content and the driver.
pub(super) fn drive(image: &Image, access: Access) -> Result<(File, Keeper), OpenError> {
    let path = image.path.as_path();
    let node = format!(",\"node-name\":\"disk\",\"read-only\":{}", access == Access::ReadOnly);
    // A look at the disk of a running machine is allowed.
    let share = if access == Access::ReadOnly { ",\"force-share\":true" } else { "" };
    let blockdev = image.blockdev(&format!("{node}{share}"))?;
    let daemon = is_installed("qemu-storage-daemon").then(|| by_fuse(path, &blockdev, access));
    let because = match daemon {
        Some(Ok(driven)) => return Ok(driven),
        Some(Err(Trouble::Image(error))) => return Err(error),
        Some(Err(Trouble::Driver(why))) => format!("qemu-storage-daemon cannot show it: {why}"),
        None => "qemu-storage-daemon is not installed".to_owned(),
    };
    let nbd = Path::new("/dev/nbd0").exists() && is_installed("qemu-nbd");
    let and = match nbd.then(|| by_nbd(path, &blockdev, access)) {
        Some(Ok(driven)) => return Ok(driven),
        Some(Err(Trouble::Image(error))) => return Err(error),
        Some(Err(Trouble::Driver(why))) => format!("qemu-nbd cannot show it: {why}"),
        None if is_installed("qemu-nbd") => "for qemu-nbd the kernel's nbd module is missing".to_owned(),
        None => "neither is qemu-nbd".to_owned(),
    };
    let path_text = path.display();
    let why = format!(
        "{because}, and {and}; install qemu (qemu-system-common or qemu-utils), or convert the image with `qemu-img \
         convert -O raw {path_text} disk.raw` and use that"
    );
    Err(OpenError::Tool { path: path.to_owned(), why })
}

/// What failed.
enum Trouble {
    /// The image: no other driver will do better.
    Image(OpenError),
    /// The driver.
    Driver(String),
}

fn by_fuse(path: &Path, blockdev: &str, access: Access) -> Result<(File, Keeper), Trouble> {
    let driver = |e: io::Error| Trouble::Driver(e.to_string());
    let write = access == Access::ReadWrite;
    let place = Path::new(std::ffi::OsStr::from_bytes(PLACE.to_bytes())).join("disk");
    let export = format!("fuse,id=disk,node-name=disk,mountpoint={},writable={}", place.display(), on_off(write));
    let mut daemon = Command::new("sh");
    daemon.args(["-c", r#": > "$0" && exec qemu-storage-daemon "$@""#]).arg(&place);
    daemon.arg("--blockdev").arg(blockdev).arg("--export").arg(export);
    let mut keeper = Keeper::running(&mut daemon, own_place).map_err(driver)?;
    // Across the border of the daemon's own view of the mounts.
    let shown = PathBuf::from(format!("/proc/{}/root", keeper.pid())).join(place.strip_prefix("/").unwrap_or(&place));
    let is_there = |keeper: &mut Keeper| {
        let dir = shown.parent().and_then(|dir| dir.metadata().ok());
        match (shown.metadata(), dir) {
            // The daemon mounts over the empty file that it was given.
            (Ok(file), Some(dir)) if file.dev() != dir.dev() => Ok(Some(shown.clone())),
            _ => ended(keeper, path, blockdev),
        }
    };
    let shown = wait_for(&mut keeper, is_there)?;
    let blocks = File::options().read(true).write(write).custom_flags(libc::O_CLOEXEC).open(shown).map_err(driver)?;
    Ok((blocks, keeper))
}

fn by_nbd(path: &Path, blockdev: &str, access: Access) -> Result<(File, Keeper), Trouble> {
    let driver = |e: io::Error| Trouble::Driver(e.to_string());
    let write = access == Access::ReadWrite;
    let is_free = |n: &u32| {
        let sys = PathBuf::from(format!("/sys/block/nbd{n}"));
        sys.is_dir() && !sys.join("pid").exists()
    };
    let free = (0..256).find(is_free).ok_or_else(|| Trouble::Driver("every /dev/nbd is in use".into()))?;
    let node = PathBuf::from(format!("/dev/nbd{free}"));
    let mut command = Command::new("qemu-nbd");
    command.arg("--connect").arg(&node);
    if !write {
        command.arg("--read-only");
    }
    command.arg("--").arg(format!("json:{blockdev}"));
    let mut keeper = Keeper::running(&mut command, || Ok(())).map_err(driver)?;
    let size = format!("/sys/block/nbd{free}/size");
    let is_there = |keeper: &mut Keeper| match std::fs::read_to_string(&size) {
        Ok(text) if text.trim() != "0" && !text.trim().is_empty() => Ok(Some(())),
        _ => ended(keeper, path, blockdev),
    };
    wait_for(&mut keeper, is_there)?;
    let flags = if write { libc::O_EXCL } else { 0 } | libc::O_CLOEXEC;
    let blocks = File::options().read(true).write(write).custom_flags(flags).open(node).map_err(driver)?;
    Ok((blocks, keeper))
}

fn wait_for<T>(
    keeper: &mut Keeper,
    mut is_there: impl FnMut(&mut Keeper) -> Result<Option<T>, Trouble>,
) -> Result<T, Trouble> {
    let until = Instant::now() + DEADLINE;
    loop {
        if let Some(found) = is_there(keeper)? {
            return Ok(found);
        }
        if Instant::now() >= until {
            return Err(Trouble::Driver(format!("it did not show the image within {} s", DEADLINE.as_secs())));
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Whether the driver has given up, and over what: qemu's words tell whether it is the image.
fn ended<T>(keeper: &mut Keeper, path: &Path, blockdev: &str) -> Result<Option<T>, Trouble> {
    let Some((status, said)) = keeper.ended().map_err(|e| Trouble::Driver(e.to_string()))? else { return Ok(None) };
    let complaint = said.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("").trim();
    // It repeats our words first.
    let complaint =
        complaint.rsplit_once(blockdev).map_or(complaint, |(_, rest)| rest.trim_start_matches([':', ' ', '\'']));
    let path = path.to_owned();
    let lower = complaint.to_lowercase();
    Err(match () {
        () if lower.contains("lock") => Trouble::Image(OpenError::InUse { path, by: "another qemu".into() }),
        () if lower.contains("export") || lower.contains("fuse") || lower.contains("mount") || complaint.is_empty() => {
            Trouble::Driver(if complaint.is_empty() { format!("it ended with {status}") } else { complaint.to_owned() })
        }
        () => Trouble::Image(OpenError::Image { path, why: complaint.to_owned() }),
    })
}

/// A view of the mounts for the daemon alone, with room for the file that it mounts on: whatever becomes of the daemon,
/// its mount goes with it. System calls only, see [`sys::before_exec`].
fn own_place() -> io::Result<()> {
    sys::own_mounts()?;
    mounts::detach_from_others()?;
    let flags = MountFlags::NODEV | MountFlags::NOSUID | MountFlags::NOEXEC;
    Ok(rustix::mount::mount(c"sickbay", PLACE, c"tmpfs", flags, Some(c"size=64k"))?)
}

fn on_off(is_on: bool) -> &'static str {
    if is_on { "on" } else { "off" }
}
