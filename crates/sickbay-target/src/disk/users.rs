//! Who uses a disk, so that nothing is written beneath them.

use std::fs::{File, Metadata};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::QEMU_LOCKS;
use crate::{OpenError, loops, sys};

/// How long somebody who goes is waited for: the kernel takes down mounts and loop devices of a process, or of a target
/// that was closed, a moment after it.
const PATIENCE: Duration = Duration::from_secs(2);

/// Refuses a disk or image that somebody uses.
pub(super) fn refuse(path: &Path, metadata: &Metadata) -> Result<(), OpenError> {
    let begun = Instant::now();
    loop {
        match used(path, metadata) {
            Err(OpenError::InUse { .. }) if begun.elapsed() < PATIENCE => std::thread::sleep(Duration::from_millis(20)),
            result => return result,
        }
    }
}

fn used(path: &Path, metadata: &Metadata) -> Result<(), OpenError> {
    let in_use = |by: String| Err(OpenError::InUse { path: path.to_owned(), by });
    if metadata.file_type().is_block_device() {
        let holders = holders(metadata.rdev());
        return if holders.is_empty() { Ok(()) } else { in_use(holders.join(", ")) };
    }
    let attached = loops::standing_for(metadata.dev(), metadata.ino());
    if !attached.is_empty() {
        return in_use(list(&attached));
    }
    let file = File::open(path).map_err(|e| OpenError::io(path, "opening it", e))?;
    let (start, length) = QEMU_LOCKS;
    match sys::range_is_locked(file.as_fd(), start, length) {
        Ok(true) => in_use(of_file(&file)),
        _ => Ok(()),
    }
}

/// Who has an image open, as far as this machine tells.
pub(super) fn of_file(file: &File) -> String {
    let Ok(wanted) = file.metadata() else { return "another process".into() };
    let mut users = processes_with_open(|found| super::same_file(found, &wanted));
    users.sort_unstable();
    if users.is_empty() { "another process".into() } else { users.join(", ") }
}

/// Who has a device open or mounted, as far as this machine tells.
pub(super) fn of_device(path: &Path) -> String {
    let Ok(wanted) = path.metadata().map(|m| m.rdev()) else { return "another".into() };
    let mut users = holders(wanted);
    users.extend(processes_with_open(|found| found.file_type().is_block_device() && found.rdev() == wanted));
    if users.is_empty() { "another process or the kernel".into() } else { users.join(", ") }
}

/// Mounts of a device or of its partitions, and the devices made of them (LVM, md, dm-crypt).
fn holders(device: u64) -> Vec<String> {
    let number = |dev: u64| format!("{}:{}", rustix::fs::major(dev), rustix::fs::minor(dev));
    let sys = PathBuf::from(format!("/sys/dev/block/{}", number(device)));
    let mut numbers = vec![number(device)];
    let mut found = Vec::new();
    let parts = std::fs::read_dir(&sys).into_iter().flatten().flatten().map(|entry| entry.path());
    for dir in std::iter::once(sys.clone()).chain(parts.filter(|dir| dir.join("partition").exists())) {
        numbers.extend(std::fs::read_to_string(dir.join("dev")).ok().map(|text| text.trim().to_owned()));
        for holder in std::fs::read_dir(dir.join("holders")).into_iter().flatten().flatten() {
            let name = holder.file_name().to_string_lossy().into_owned();
            let dm = std::fs::read_to_string(holder.path().join("dm/name")).ok();
            found.push(dm.map_or(format!("/dev/{name}"), |dm| format!("/dev/mapper/{}", dm.trim())));
        }
    }
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    for line in mounts.lines() {
        let mut fields = line.split(' ').skip(2);
        if fields.next().is_some_and(|device| numbers.iter().any(|known| known == device)) {
            found.extend(fields.nth(1).map(|place| format!("the mount on {place}")));
        }
    }
    found.sort_unstable();
    found.dedup();
    found
}

/// Other processes that have something open that `is_wanted`, as "name (PID n)".
fn processes_with_open(is_wanted: impl Fn(&Metadata) -> bool) -> Vec<String> {
    let own = std::process::id().to_string();
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let numbered = processes.filter(|entry| {
        let name = entry.file_name();
        name.to_str().is_some_and(|name| name != own && name.bytes().all(|b| b.is_ascii_digit()))
    });
    numbered
        .filter(|process| {
            let open = std::fs::read_dir(process.path().join("fd")).into_iter().flatten().flatten();
            open.into_iter().any(|fd| std::fs::metadata(fd.path()).is_ok_and(|found| is_wanted(&found)))
        })
        .map(|process| {
            let name = std::fs::read_to_string(process.path().join("comm")).unwrap_or_default();
            format!("{} (PID {})", name.trim(), process.file_name().to_string_lossy())
        })
        .collect()
}

fn list(paths: &[PathBuf]) -> String {
    let names: Vec<String> = paths.iter().map(|path| path.display().to_string()).collect();
    names.join(", ")
}
