//! What a tool for support collected of a machine: `sos report` since 3.0, and insights-client. Files are in their places, and what
//! commands printed is in files named after them. It holds a part of the files: what is not there says nothing.

use std::path::{Path, PathBuf};

use bstr::ByteSlice;
use sickbay_formats::told_disks::{self, Blkid, Mount, Row};

use crate::root::FileKind;
use crate::{FileSystemUse, Lack, Root, Volume};

/// What a command printed is read up to this size.
const OUTPUT: u64 = 16 << 20;
/// So many plugins of sos are looked through, and so many outputs of each.
const PLUGINS: usize = 1000;
const OUTPUTS: usize = 20_000;

/// What such a tool collected.
#[derive(Debug, Clone)]
pub struct SupportReport {
    /// The program: "sos report", "insights-client".
    pub tool: &'static str,
    /// What commands printed: the name of the file, and where it is.
    outputs: Vec<(String, PathBuf)>,
}

impl SupportReport {
    /// What the directory is, if it is one, and the directory in it that has the files.
    pub(crate) fn of(root: &Root) -> Option<(SupportReport, PathBuf)> {
        let is_dir = |path: &str| root.metadata(path).is_ok_and(|found| found.is_dir());
        let is_there = |path: &str| root.exists(path).unwrap_or(false);
        if is_dir("/sos_commands") {
            let (plugins, _) = root.read_dir_up_to("/sos_commands", PLUGINS).ok()?;
            let mut outputs = Vec::new();
            for plugin in plugins.iter().filter(|entry| entry.kind == FileKind::Dir) {
                let dir = Path::new("/sos_commands").join(&plugin.name);
                collect(root, &dir, &mut outputs);
            }
            // A second witness: what every report has, or at least one command that printed something.
            let is_marked =
                ["/version.txt", "/sos_reports", "/sos_logs", "/sos_strings"].iter().any(|path| is_there(path));
            let is_told = outputs.iter().any(|(_, path)| root.metadata(path).is_ok_and(|found| found.size > 0));
            let report = SupportReport { tool: "sos report", outputs };
            return (is_marked || is_told).then(|| (report, PathBuf::from("/")));
        }
        // Before 3.1 of the client everything was at the top.
        for (top, dir) in [("/", "/insights_commands"), ("/data", "/data/insights_commands")] {
            if is_dir(dir) {
                let mut outputs = Vec::new();
                collect(root, Path::new(dir), &mut outputs);
                let below = |path: PathBuf| Path::new("/").join(path.strip_prefix(top).unwrap_or(&path));
                let outputs = outputs.into_iter().map(|(name, path)| (name, below(path))).collect();
                return Some((SupportReport { tool: "insights-client", outputs }, PathBuf::from(top)));
            }
        }
        None
    }

    /// The first output of which the name of the command is as wanted: `df -al` is `df_-al`, `/dev/null` `.dev.null`.
    pub fn output(&self, is_wanted: impl Fn(&str) -> bool) -> Option<&Path> {
        self.outputs.iter().find(|(name, _)| is_wanted(name)).map(|(_, path)| path.as_path())
    }

    /// Where it keeps what the kernel said, the best first.
    pub fn kernel_messages(&self) -> Vec<PathBuf> {
        let of_boot = |name: &str| {
            name.starts_with("journalctl_") && (name.ends_with("--boot") || name.contains("--this-boot_--no-pager"))
        };
        let wanted: [&dyn Fn(&str) -> bool; 3] =
            [&|name| name == "dmesg", &of_boot, &|name| name == "journalctl_--no-pager"];
        wanted.iter().filter_map(|is_wanted| self.output(is_wanted).map(Path::to_owned)).collect()
    }

    fn read(&self, root: &Root, is_wanted: impl Fn(&str) -> bool) -> Vec<u8> {
        self.output(is_wanted).and_then(|path| root.read_up_to(path, OUTPUT).ok()).unwrap_or_default()
    }

    fn mounts(root: &Root) -> Vec<Mount> {
        let found = ["/proc/mounts", "/proc/self/mounts"].iter().find_map(|path| root.read_up_to(path, OUTPUT).ok());
        told_disks::mounts(&found.unwrap_or_default())
    }

    /// Everything that can be mounted, as blkid told it, and what may hold more.
    pub(crate) fn volumes(&self, root: &Root) -> (Result<Vec<Volume>, Lack>, Vec<String>) {
        let text = self.read(root, |name| name == "blkid_-c_.dev.null");
        let text = if text.is_empty() { self.read(root, |name| name == "blkid") } else { text };
        let all = told_disks::blkid(&text);
        let mounts = SupportReport::mounts(root);
        // Where it may not look, as in a container, it lists nothing.
        if all.is_empty() {
            let why = format!("the report of {} does not tell which file systems there are", self.tool);
            return (Err(Lack::None(why)), Vec::new());
        }
        let opaque = all.iter().filter(|line| hides_more(line, &all)).map(|line| {
            format!("{} ({}) may hold what is not in the report", line.device, line.tag("TYPE").unwrap_or_default())
        });
        let opaque = opaque.collect();
        (Ok(all.iter().map(|line| volume(line, &mounts)).collect()), opaque)
    }

    /// How full its file systems were, each with the place where it is mounted.
    ///
    /// # Errors
    /// When it was not written down.
    pub fn file_systems(&self, root: &Root) -> Result<Vec<(PathBuf, FileSystemUse)>, Lack> {
        let is_df = |name: &str| name == "df" || name.starts_with("df_-");
        let of = |first: &str, is_wanted: &dyn Fn(&str) -> bool| {
            let all = self.outputs.iter().filter(|(name, _)| is_df(name) && is_wanted(name));
            let rows = |path: &PathBuf| {
                let text = root.read_up_to(path, OUTPUT).unwrap_or_default();
                let head = text.lines().next().unwrap_or_default().to_owned();
                if head.contains_str(first) { told_disks::df(&text) } else { Vec::new() }
            };
            all.map(|(_, path)| rows(path)).find(|rows| !rows.is_empty()).unwrap_or_default()
        };
        let blocks = of("-blocks", &|_| true);
        if blocks.is_empty() {
            return Err(Lack::None(format!("the report of {} does not tell how full the file systems are", self.tool)));
        }
        let inodes = of("Inodes", &|name| name.contains('i'));
        let mounts = SupportReport::mounts(root);
        Ok(blocks.iter().map(|row| (PathBuf::from(&row.place), used(row, &inodes, &mounts))).collect())
    }
}

fn collect(root: &Root, dir: &Path, outputs: &mut Vec<(String, PathBuf)>) {
    let (entries, _) = root.read_dir_up_to(dir, OUTPUTS.saturating_sub(outputs.len())).unwrap_or_default();
    for entry in entries.into_iter().filter(|entry| matches!(entry.kind, FileKind::File | FileKind::Symlink)) {
        let path = dir.join(&entry.name);
        // Older ones have the program's name with `.sbin.` or so before it where it was asked for by its path.
        outputs.push((entry.name.to_string_lossy().into_owned(), path));
    }
}

/// Whether something else should be on it, of which nothing is listed.
fn hides_more(line: &Blkid, all: &[Blkid]) -> bool {
    let is_made = |head: &str| all.iter().any(|other| other.device.starts_with(head));
    match line.tag("TYPE") {
        Some("crypto_LUKS" | "LVM2_member") => !is_made("/dev/mapper/") && !is_made("/dev/dm-"),
        Some("linux_raid_member") => !is_made("/dev/md"),
        Some("zfs_member" | "VMFS_volume_member") => true,
        _ => false,
    }
}

fn volume(line: &Blkid, mounts: &[Mount]) -> Volume {
    let tag = |name: &str| line.tag(name).map(str::to_owned);
    // /dev/mapper has both names with a "-" between them, and doubles those that they have.
    let lv = line.device.strip_prefix("/dev/mapper/").and_then(|name| {
        let name = name.replace("--", "\0");
        let (group, own) = name.split_once('-')?;
        Some((group.replace('\0', "-"), own.replace('\0', "-")))
    });
    let mount = mounts.iter().find(|mount| mount.source == line.device.as_bytes());
    Volume {
        name: line.device.clone(),
        device: Some(PathBuf::from(&line.device)),
        fstype: tag("TYPE").unwrap_or_default(),
        uuid: tag("UUID"),
        label: tag("LABEL"),
        partuuid: tag("PARTUUID"),
        partlabel: tag("PARTLABEL"),
        lv,
        mounted_on: mount.and_then(|mount| Some(PathBuf::from(mount.place.to_str().ok()?))),
        ..Volume::default()
    }
}

fn used(row: &Row, inodes: &[Row], mounts: &[Mount]) -> FileSystemUse {
    let kib = |count: u64| count.saturating_mul(1024);
    let inodes = inodes.iter().find(|other| other.place == row.place);
    let mount = mounts.iter().rfind(|mount| mount.place == row.place.as_bytes());
    FileSystemUse {
        size: kib(row.total),
        free: kib(row.total.saturating_sub(row.used)),
        available: kib(row.available),
        inodes: inodes.map_or(0, |row| row.total),
        inodes_free: inodes.map_or(0, |row| row.available),
        read_only: mount.is_some_and(|mount| mount.read_only),
        block: 4096,
        magic: mount.map_or(0, |mount| FileSystemUse::magic_of(&mount.fstype)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_logical_volumes() {
        let lines = told_disks::blkid(b"/dev/mapper/my--vg-lv_root: UUID=\"1\" TYPE=\"xfs\"\n");
        let made = volume(&lines[0], &told_disks::mounts(b"/dev/mapper/my--vg-lv_root / xfs rw 0 0\n"));
        assert_eq!(made.lv, Some(("my-vg".into(), "lv_root".into())));
        assert_eq!(made.mounted_on, Some(PathBuf::from("/")));
    }

    #[test]
    fn what_is_locked_may_hold_more() {
        let closed = told_disks::blkid(b"/dev/vda1: TYPE=\"ext4\"\n/dev/vda2: TYPE=\"crypto_LUKS\"\n");
        assert!(hides_more(&closed[1], &closed) && !hides_more(&closed[0], &closed));
        let open = told_disks::blkid(b"/dev/vda2: TYPE=\"crypto_LUKS\"\n/dev/mapper/x: TYPE=\"ext4\"\n");
        assert!(!hides_more(&open[0], &open));
    }
}
