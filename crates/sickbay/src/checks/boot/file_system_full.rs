//! A file system that boot and login write to is full.

use std::collections::BTreeMap;
use std::path::Path;

use bstr::ByteSlice;
use sickbay_target::{FileSystemUse, KernelFiles};

use crate::facts::Facts;
use crate::facts::boot::initramfs::Initramfses;
use crate::facts::boot::spare::{Spare, spare};
use crate::facts::memory::processes::pids;
use crate::facts::memory::size;
use crate::facts::system::space::{FileSystem, Lack, Space, nothing};
use crate::model::finding::{Finding, Findings, Severity};
use crate::model::outcome::{Skip, Verdict};
use crate::model::repair::{Change, Risk};
use crate::model::stage::Stage;
use crate::{check, tr};

check! {
    /// ## Symptom
    /// You see: "No space left on device", services that fail at boot, a network that gets no address, or a graphical
    /// login that returns to its prompt.
    ///
    /// ## What it finds
    /// A file system with `/`, `/var`, `/tmp`, `/home`, `/boot` or another directory that boot and login write to, with
    /// no space or no inodes left. It names the directories and files that take up the most and, on a running system,
    /// files that were deleted while a process still has them open.
    ///
    /// How full it is comes from the file system itself: what ext reserves for root counts as free for root (5 % by
    /// default); that case is a separate, less severe finding: everyone but root can no longer write. btrfs reports
    /// that nothing is available once data or metadata has no chunk to grow into, whatever `df` shows as free.
    /// Write-once media (squashfs, ISO), tmpfs, overlays, `/usr` and data disks are not checked, and 98 % full is not a
    /// finding.
    ///
    /// ## Why it matters
    /// The system usually still boots, but anything that has to write a file fails: the network's lease, databases,
    /// logs, cloud-init, graphical logins; files rewritten in this state end up empty. With auditd the machine may even
    /// halt (`auditd-halts`). On `/boot`, the next kernel gets a truncated initramfs.
    ///
    /// ## What the repair does
    /// Removes what can be spared and nothing else: packages that apt, dnf, yum or zypper keep after installing them,
    /// logs rotated by the distribution's own rules, archived journals, initramfs images of kernels that are gone. The
    /// repair's journal keeps all of it, so it cannot be on the same file system: `--journal DIR` names a directory
    /// elsewhere.
    ///
    /// ## By hand
    /// ```sh
    /// du -xh --max-depth=2 / | sort -h | tail -20
    /// apt-get clean
    /// dnf clean all
    /// journalctl --vacuum-size=100M
    /// # btrfs
    /// btrfs balance start -dusage=10 /
    /// # then restart whatever holds deleted files open
    /// lsof +L1
    /// ```
    "file-system-full", Boot, seed = ["B2"], proves = [], may_stop = [Initramfs], "a file system that boot and login write to is full"
}

/// How many directories and files are named.
const NAMED: usize = 6;

fn run(facts: &Facts, found: &mut Findings) -> Verdict {
    let space = facts.get::<Space>()?;
    for file_system in &space.list {
        if let Some(lack) = file_system.lack {
            report(facts, found, file_system, lack)?;
        }
    }
    if space.borrowed && space.list.len() < 2 {
        return Err(Skip::NotApplicable(tr!("the target is a directory, not a file system of its own")));
    }
    Ok(())
}

fn report(facts: &Facts, found: &mut Findings, of: &FileSystem, lack: Lack) -> Result<(), Skip> {
    let told = &of.told;
    let place = of.place.as_path();
    // What is left differs from look to look: it is no part of the sentence by which a finding is known again.
    let message = match lack {
        Lack::Space => tr!("{place} is full", place),
        Lack::SpaceForOthers => tr!("{place} is full for everyone but root", place),
        Lack::Inodes => tr!("{place} has run out of inodes", place),
    };
    let left = match lack {
        Lack::Inodes => tr!("{left} of {total} inodes are left", left = told.inodes_free, total = told.inodes),
        _ => {
            let left = if lack == Lack::Space { told.for_root() } else { told.free };
            tr!("{left} of {total} is left", left = size(left / 1024), total = size(told.size / 1024))
        }
    };
    // Without /boot and /home the system runs.
    let aside = ["/boot", "/home"].iter().any(|dir| place.starts_with(dir));
    let severity = if aside || lack == Lack::SpaceForOthers { Severity::Warning } else { Severity::Error };
    // It is as grave as what came of it.
    let all = facts.get::<Initramfses>();
    let cut_off = all.is_ok_and(|all| {
        let on_this = |path: &Path| facts.root().stat(path).is_ok_and(|found| found.dev == of.dev);
        all.all.iter().any(|kernel| kernel.is_default && kernel.is_cut_off() && on_this(&kernel.path))
    });
    let severity = if cut_off && lack != Lack::SpaceForOthers { Severity::Critical } else { severity };
    // Of a report only the numbers are known: nothing of what is on it.
    let is_report = facts.target().report().is_ok();
    let usage = if is_report { None } else { Some(of.usage(facts)) };
    let source = if is_report { "df" } else { "statvfs" };
    let finding = found.add(severity, message);
    if severity == Severity::Critical {
        finding.stops(Stage::Initramfs);
    }
    finding
        .at_path(place)
        .explains(of.subject())
        .note(left)
        .evidence(format!("{source} {}", place.display()), numbers(told))
        .detail("size", told.size)
        .detail("free", told.free)
        .detail("available", told.available)
        .detail("inodes", told.inodes)
        .detail("inodes_free", told.inodes_free);
    match lack {
        Lack::SpaceForOthers => finding.why(tr!("services and users other than root cannot write anything")),
        _ if place.starts_with("/boot") => {
            finding.why(tr!("the initramfs of the next kernel will be truncated where the space runs out"))
        }
        _ => finding.why(tr!("anything that has to write a file fails, root's programs included")),
    };
    let seen_all = match &usage {
        Some(Ok(usage)) => {
            let by_inodes = lack == Lack::Inodes;
            let heaviest = usage.heaviest(NAMED, if by_inodes { |dir| dir.inodes } else { |dir| dir.bytes });
            let shown = |amount: u64| if by_inodes { amount.to_string() } else { size(amount / 1024) };
            let list = |all: &[(String, u64)]| {
                let each: Vec<String> = all.iter().map(|(path, amount)| format!("{path} {}", shown(*amount))).collect();
                each.join(", ")
            };
            let dirs: Vec<(String, u64)> =
                heaviest.into_iter().map(|(path, amount)| (path.display().to_string(), amount)).collect();
            let directories = list(&dirs);
            finding.note(if by_inodes {
                tr!("inodes by directory: {directories}", directories)
            } else {
                tr!("space by directory: {directories}", directories)
            });
            finding.detail("directories", listed(&dirs));
            let large = told.size / 100;
            let files: Vec<(String, u64)> = usage
                .files
                .iter()
                .filter(|(bytes, _)| *bytes > large)
                .take(NAMED)
                .map(|(bytes, path)| (path.display().to_string(), *bytes))
                .collect();
            if !by_inodes && !files.is_empty() {
                finding.note(tr!("the largest files: {files}", files = list(&files)));
                finding.detail("files", listed(&files));
            }
            hidden(finding, of, usage.total().map_or(0, |total| total.bytes), usage.complete && usage.unread == 0);
            usage.complete
        }
        Some(Err(_)) => false,
        None => true,
    };
    if facts.runs() {
        deleted(facts, finding, of);
    }
    if !is_report {
        offer(facts, finding, of, lack);
    }
    if !seen_all {
        found.could_not_tell(tr!(
            "{place} could not be scanned completely: the account of what uses the space is partial",
            place
        ));
    }
    Ok(())
}

fn numbers(told: &FileSystemUse) -> String {
    let FileSystemUse { size, free, available, inodes, inodes_free, .. } = told;
    format!("size {size}, free {free}, available {available}, inodes {inodes}, inodes free {inodes_free}")
}

fn listed(all: &[(String, u64)]) -> Vec<serde_json::Value> {
    all.iter().map(|(path, amount)| serde_json::json!({"path": path, "amount": amount})).collect()
}

/// Space that no name leads to: deleted files, snapshots, and what lies below the place where another is mounted.
fn hidden(finding: &mut Finding, of: &FileSystem, seen: u64, whole: bool) {
    let used = of.told.size.saturating_sub(of.told.free);
    let hidden = used.saturating_sub(seen);
    if whole && hidden > used / 5 && of.told.magic != FileSystemUse::XFS {
        finding.note(tr!(
            "{hidden} of {used} have no name here: files deleted while open, snapshots, or files hidden below a mount point",
            hidden = size(hidden / 1024),
            used = size(used / 1024)
        ));
    }
}

/// Files without a name that some process keeps alive: their space comes back when it closes them.
fn deleted(facts: &Facts, finding: &mut Finding, of: &FileSystem) {
    let Ok(files) = KernelFiles::open(facts.root(), "/proc") else { return };
    // By inode: the process that was met first, its descriptor, the name, the space, how many have it open.
    let mut held: BTreeMap<u64, (u32, String, String, u64, usize)> = BTreeMap::new();
    for pid in pids(facts).unwrap_or_default() {
        for entry in facts.root().read_dir(format!("/proc/{pid}/fd")).unwrap_or_default() {
            let fd = entry.name.to_string_lossy();
            let link = format!("{pid}/fd/{fd}");
            // Only such a file is asked for more: of others, on a dead network, the answer may never come.
            let Some(name) = files.link(&link).ok().and_then(|text| text.strip_suffix(" (deleted)").map(str::to_owned))
            else {
                continue;
            };
            let Ok(found) = files.metadata(&link) else { continue };
            if found.dev == of.dev && found.is_file() && found.nlink == 0 && found.allocated > 0 {
                held.entry(found.ino).or_insert((pid, fd.into_owned(), name, found.allocated, 0)).4 += 1;
            }
        }
    }
    let mut held: Vec<_> = held.into_values().collect();
    held.sort_by_key(|(_, _, _, bytes, _)| std::cmp::Reverse(*bytes));
    let mut lost = 0;
    for (index, (pid, fd, path, bytes, _)) in held.iter().enumerate() {
        lost += bytes;
        if index < NAMED {
            let comm = facts.root().read(format!("/proc/{pid}/comm")).unwrap_or_default();
            finding.note(tr!(
                "deleted but still open: {path}, {size}, by {command} (PID {pid}, fd {fd})",
                path = path.as_str(),
                size = size(bytes / 1024),
                command = comm.trim_ascii_end().to_str_lossy(),
                pid,
                fd = fd.as_str()
            ));
            finding.evidence(format!("/proc/{pid}/fd/{fd}"), format!("{path} (deleted)"));
        }
    }
    finding.detail("deleted_open_bytes", lost);
}

fn offer(facts: &Facts, finding: &mut Finding, of: &FileSystem, lack: Lack) {
    let spare: Vec<Spare> = spare(facts, of.dev);
    let bytes: u64 = spare.iter().map(|one| one.bytes).sum();
    let helps = match lack {
        Lack::Inodes => spare.len() as u64 > 100,
        Lack::SpaceForOthers => {
            bytes
                > nothing(of.told.size).saturating_mul(2).saturating_add(of.told.free.saturating_sub(of.told.available))
        }
        Lack::Space => bytes > nothing(of.told.size).saturating_mul(2),
    };
    if helps {
        let amount = size(bytes / 1024);
        let title = tr!(
            "remove {count} {count?file|files} that can be spared, {amount}: downloaded packages that are already installed, rotated logs, archived journals",
            count = spare.len(),
            amount
        );
        finding.repair(Risk::Safe, title, spare.into_iter().map(|one| Change::Remove { path: one.path }));
    }
    if of.told.magic == FileSystemUse::BTRFS {
        finding.note(tr!(
            "btrfs allocates space in chunks: {free} is free in chunks of the other kind (btrfs filesystem usage)",
            free = size(of.told.free / 1024)
        ));
        finding.by_hand(tr!(
            "reclaim chunks that are nearly empty: btrfs balance start -dusage=10 {place}",
            place = of.place.as_path()
        ));
    } else {
        finding.by_hand(tr!(
            "delete or move what is not needed from these directories, and restart whatever holds deleted files open"
        ));
    }
}
