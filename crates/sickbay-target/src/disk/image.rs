//! Images that are not simply the bytes of a disk. qemu knows all of their formats; its storage daemon shows what is
//! inside as a file (FUSE), `qemu-nbd` as a block device. Whichever of the two the machine has is used.

use std::fs::File;
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::mount::MountFlags;

use crate::bytes::{be32, be64};
use crate::command::{Keeper, is_installed};
use crate::{Access, OpenError, mounts, sys};

/// How long the driver may take until the image can be read.
const DEADLINE: Duration = Duration::from_secs(20);

/// Where the daemon shows the image, in its own view of the mounts: a directory of every /proc that holds no images.
const PLACE: &std::ffi::CStr = c"/proc/driver";

/// The name of qemu's driver for an image, by its magic; `None` for a raw one.
///
/// # Errors
/// When it ends before what it says it holds.
pub(super) fn format(path: &Path, file: &File) -> Result<Option<&'static str>, OpenError> {
    let fail = |e| OpenError::io(path, "reading it", e);
    let mut head = vec![0; 1024];
    let filled = file.read_at(&mut head, 0).map_err(fail)?;
    head.truncate(filled);
    let size = file.metadata().map_err(fail)?.len();
    let mut tail = vec![0; 512];
    let filled = file.read_at(&mut tail, size.saturating_sub(512)).map_err(fail)?;
    tail.truncate(filled);
    let format = match &head {
        head if head.starts_with(b"QFI\xfb") => {
            if be32(head, 4) == Some(1) {
                return Ok(Some("qcow"));
            }
            check_qcow2(path, file, head, size)?;
            "qcow2"
        }
        head if head.starts_with(b"KDMV") || head.starts_with(b"COWD") => "vmdk",
        head if head.starts_with(b"# Disk DescriptorFile") => "vmdk",
        head if head.starts_with(b"vhdxfile") => "vhdx",
        head if head.get(64..68) == Some(&[0x7f, 0x10, 0xda, 0xbe]) => "vdi",
        // A VHD of fixed size is raw but for its footer.
        head if head.starts_with(b"conectix") || tail.starts_with(b"conectix") => "vpc",
        _ => return Ok(None),
    };
    Ok(Some(format))
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
            truncated(format!("it is {size} bytes long, and the header of a qcow2 alone has 104"))
        } else {
            Ok(()) // qemu says what is wrong with it
        };
    };
    // 32 MiB is the most that qemu accepts.
    let l1_size = u64::from(l1_entries.min(4 << 20)) * 8;
    if l1.saturating_add(l1_size) > size || refcounts >= size {
        return truncated(format!("its tables lie beyond its end at {size} bytes"));
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
    truncated(format!("{missing} of the {} clusters that its tables name lie beyond its end", missing + present))
}

/// Starts a driver for the image; gives its content and the driver.
pub(super) fn drive(path: &Path, format: &str, access: Access) -> Result<(File, Keeper), OpenError> {
    let daemon = is_installed("qemu-storage-daemon").then(|| by_fuse(path, format, access));
    let because = match daemon {
        Some(Ok(driven)) => return Ok(driven),
        Some(Err(Trouble::Image(error))) => return Err(error),
        Some(Err(Trouble::Driver(why))) => format!("qemu-storage-daemon cannot show it: {why}"),
        None => "qemu-storage-daemon is not installed".to_owned(),
    };
    let nbd = Path::new("/dev/nbd0").exists() && is_installed("qemu-nbd");
    let and = match nbd.then(|| by_nbd(path, format, access)) {
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

fn by_fuse(path: &Path, format: &str, access: Access) -> Result<(File, Keeper), Trouble> {
    let driver = |e: io::Error| Trouble::Driver(e.to_string());
    let write = access == Access::ReadWrite;
    let path = std::fs::canonicalize(path).map_err(driver)?;
    let place = Path::new(std::ffi::OsStr::from_bytes(PLACE.to_bytes())).join("disk");
    let mut blockdev = format!("driver={format},node-name=disk,read-only={},", on_off(!write)).into_bytes();
    if !write {
        // A look at the disk of a running machine is allowed.
        blockdev.extend(b"force-share=on,");
    }
    blockdev.extend(b"file.driver=file,file.filename=");
    for byte in path.as_os_str().as_bytes() {
        blockdev.push(*byte);
        if *byte == b',' {
            blockdev.push(b','); // qemu's way to write a comma
        }
    }
    let export = format!("fuse,id=disk,node-name=disk,mountpoint={},writable={}", place.display(), on_off(write));
    let mut daemon = Command::new("sh");
    daemon.args(["-c", r#": > "$0" && exec qemu-storage-daemon "$@""#]).arg(&place);
    daemon.arg("--blockdev").arg(std::ffi::OsString::from_vec(blockdev)).arg("--export").arg(export);
    let mut keeper = Keeper::running(&mut daemon, own_place).map_err(driver)?;
    // Across the border of the daemon's own view of the mounts.
    let shown = PathBuf::from(format!("/proc/{}/root", keeper.pid())).join(place.strip_prefix("/").unwrap_or(&place));
    let is_there = |keeper: &mut Keeper| {
        let dir = shown.parent().and_then(|dir| dir.metadata().ok());
        match (shown.metadata(), dir) {
            // The daemon mounts over the empty file that it was given.
            (Ok(file), Some(dir)) if file.dev() != dir.dev() => Ok(Some(shown.clone())),
            _ => ended(keeper, &path),
        }
    };
    let shown = wait_for(&mut keeper, is_there)?;
    let blocks = File::options().read(true).write(write).custom_flags(libc::O_CLOEXEC).open(shown).map_err(driver)?;
    Ok((blocks, keeper))
}

fn by_nbd(path: &Path, format: &str, access: Access) -> Result<(File, Keeper), Trouble> {
    let driver = |e: io::Error| Trouble::Driver(e.to_string());
    let write = access == Access::ReadWrite;
    let is_free = |n: &u32| {
        let sys = PathBuf::from(format!("/sys/block/nbd{n}"));
        sys.is_dir() && !sys.join("pid").exists()
    };
    let free = (0..256).find(is_free).ok_or_else(|| Trouble::Driver("every /dev/nbd is in use".into()))?;
    let node = PathBuf::from(format!("/dev/nbd{free}"));
    let mut command = Command::new("qemu-nbd");
    command.arg("--connect").arg(&node).arg("--format").arg(format);
    if !write {
        command.arg("--read-only").arg("--force-share");
    }
    command.arg("--").arg(std::fs::canonicalize(path).map_err(driver)?);
    let mut keeper = Keeper::running(&mut command, || Ok(())).map_err(driver)?;
    let size = format!("/sys/block/nbd{free}/size");
    let is_there = |keeper: &mut Keeper| match std::fs::read_to_string(&size) {
        Ok(text) if text.trim() != "0" && !text.trim().is_empty() => Ok(Some(())),
        _ => ended(keeper, path),
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
fn ended<T>(keeper: &mut Keeper, path: &Path) -> Result<Option<T>, Trouble> {
    let Some((status, said)) = keeper.ended().map_err(|e| Trouble::Driver(e.to_string()))? else { return Ok(None) };
    let complaint = said.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("").trim();
    // What stands before the last "arguments: " repeats ours.
    let complaint = complaint
        .rsplit_once("filename=")
        .map_or(complaint, |(_, rest)| rest.split_once(": ").map_or(rest, |(_, why)| why));
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
