//! An initramfs without a driver that its kernel needs to reach the root file system.

use std::path::Path;

use bstr::ByteSlice;

use crate::facts::Facts;
use crate::facts::boot::devices::Devices;
use crate::facts::boot::fstab::Fstab;
use crate::facts::boot::initramfs::{Contents, Initramfses, OfKernel, root_file_system};
use crate::facts::system::platform::{Clue, Kind, Platform};
use crate::mend::rebuild;
use crate::model::finding::{Findings, Severity};
use crate::model::outcome::Verdict;
use crate::model::repair::Risk;
use crate::model::stage::Stage;
use crate::model::text::Text;
use crate::{check, tr};

check! {
    /// ## Symptom
    /// You see: "ALERT! UUID=… does not exist", "dracut-initqueue timeout", "Warning: /dev/… does not exist", and the
    /// shell of the initramfs.
    ///
    /// ## What it finds
    /// An initramfs that lacks a module without which its kernel does not reach the root: the root's file system, the
    /// device mapper or RAID below it, the disk driver, or a module these need (`modules.dep`); or one with the modules
    /// of another kernel. Modules that are built into the kernel itself (`modules.builtin`) are not required.
    ///
    /// Which driver the disk needs is read from the running machine and, for a system that is not running, from the
    /// names of its disks and from its logs. Where they show a KVM guest, a disk driver for such guests must be there.
    /// Where nothing shows it, a missing `virtio_blk` is only a warning: the system does not boot on KVM, which most
    /// clouds use.
    ///
    /// ## Why it matters
    /// The kernel waits for the root device, gives up, and stops in the shell of the initramfs. This happens after a
    /// move from other hardware or another cloud, and with `MODULES=list` or `hostonly` images built elsewhere.
    ///
    /// ## What the repair does
    /// As for `initramfs-damaged`: rebuilds it with the target's own program, with the drivers for every machine, and
    /// uses it only when it has the missing ones.
    ///
    /// ## By hand
    /// ```sh
    /// # in a chroot; for update-initramfs set MODULES=most first
    /// update-initramfs -u -k VERSION
    /// dracut --force --no-hostonly --add-drivers "virtio_blk virtio_pci" FILE VERSION
    /// mkinitrd -f --with=virtio_blk --with=virtio_pci FILE VERSION
    /// ```
    "initramfs-lacks-drivers", Boot, seed = ["B3"], proves = [Initramfs], "an initramfs lacks drivers for the root disk"
}

/// Something that is lacking.
struct Lack {
    names: Vec<String>,
    severity: Severity,
    why: Text,
    clue: Option<Clue>,
}

fn run(facts: &Facts, found: &mut Findings) -> Verdict {
    for kernel in &facts.get::<Initramfses>()?.all {
        // What cannot be unpacked is another finding.
        let Some(contents) = kernel.read_contents() else { continue };
        if contents.damage().is_some() || !contents.has_init {
            continue;
        }
        let version = kernel.version.as_str();
        if contents.is_squashed {
            let path = kernel.path.as_path();
            found.could_not_tell(tr!("{path} keeps its modules in an image that was not opened", path));
            continue;
        }
        if kernel.dependencies.is_empty() {
            // A kernel that has everything in itself has no modules, and packs none; what another than the default lacks is
            // told by `kernel-incomplete`.
            if contents.modules.is_empty() || !kernel.is_default {
                continue;
            }
            let path = format!("/lib/modules/{version}/modules.dep");
            found.could_not_tell(tr!(
                "which drivers kernel {version} needs is undetermined: {path} is missing or empty",
                version,
                path
            ));
            continue;
        }
        report(facts, found, kernel, contents);
    }
    Ok(())
}

fn report(facts: &Facts, found: &mut Findings, kernel: &OfKernel, contents: &Contents) {
    let version = kernel.version.as_str();
    let lacks = lacks(facts, kernel, contents);
    let Some(worst) = lacks.iter().min_by_key(|lack| lack.severity) else { return };
    let mut names: Vec<String> = Vec::new();
    for name in lacks.iter().flat_map(|lack| &lack.names) {
        if !names.contains(name) {
            names.push(name.clone());
        }
    }
    let other = contents.versions.iter().next().filter(|_| !contents.versions.contains(version));
    let message = match other {
        Some(other) => tr!("the initramfs of kernel {version} contains the modules of kernel {other}", version, other),
        None => tr!("the initramfs of kernel {version} lacks {drivers}", version, drivers = names.join(", ")),
    };
    let severity = if kernel.is_default { worst.severity } else { Severity::Warning };
    let finding = found.add(severity, message);
    finding.at_path(&kernel.path).why(worst.why.clone()).detail("kernel", version).detail("drivers", names.clone());
    if severity == Severity::Critical {
        finding.stops(Stage::Initramfs);
    }
    for clue in lacks.iter().filter_map(|lack| lack.clue.as_ref()) {
        finding.evidence(clue.source.clone(), clue.words.clone());
    }
    for (source, words) in settings(facts) {
        finding.evidence(source, words);
    }
    // Without evidence, what is packed for one machine alone may be what its owner wants.
    let risk = if worst.severity <= Severity::Error { Risk::Safe } else { Risk::Risky };
    match rebuild::with_drivers(facts, version, &kernel.path, &names) {
        Some((title, change)) => finding.repair(risk, title, [change]),
        None => finding.by_hand(tr!(
            "the target has no program that builds an initramfs: install initramfs-tools or dracut, then rebuild it"
        )),
    };
}

fn lacks(facts: &Facts, kernel: &OfKernel, contents: &Contents) -> Vec<Lack> {
    let mut all = Vec::new();
    for module in modules_of_root(facts, kernel) {
        let names = kernel.lacking(contents, &module);
        if !names.is_empty() {
            let why =
                tr!("the kernel finds the disk but cannot mount the root: it needs {module}", module = module.as_str());
            all.push(Lack { names, severity: Severity::Critical, why, clue: None });
        }
    }
    // Only who lacks something asks what machine it is.
    let drivers =
        ["virtio_blk", "virtio_scsi", "virtio_pci", "nvme", "xen_blkfront", "hv_storvsc", "ahci", "vmw_pvscsi"];
    if drivers.iter().all(|driver| kernel.lacking(contents, driver).is_empty()) {
        return all;
    }
    let Ok(platform) = facts.get::<Platform>() else { return all };
    all.extend(lacks_of_disk(&platform, kernel, contents));
    all
}

/// Modules by which the root is mounted once its disk is there.
fn modules_of_root(facts: &Facts, kernel: &OfKernel) -> Vec<String> {
    let mut modules = Vec::new();
    let fstype = root_file_system(facts).unwrap_or_default();
    // ext4 mounts the two older ones where they have no driver of their own.
    let drivers: &[&str] = match fstype.as_str() {
        "ext2" => &["ext4", "ext2"],
        "ext3" => &["ext4", "ext3"],
        "ext4" => &["ext4"],
        "xfs" => &["xfs"],
        "btrfs" => &["btrfs"],
        "f2fs" => &["f2fs"],
        "jfs" => &["jfs"],
        "reiserfs" => &["reiserfs"],
        _ => &[],
    };
    let is_builtin = drivers.iter().any(|driver| kernel.builtin.contains(*driver));
    let as_module = drivers.iter().find(|driver| kernel.dependencies.get(driver).is_some());
    if let (false, Some(driver)) = (is_builtin, as_module) {
        modules.push((*driver).to_owned());
    }
    let Ok(devices) = facts.get::<Devices>() else { return modules };
    let Some(root) = devices.root() else { return modules };
    if root.lv.is_some() {
        modules.push("dm_mod".to_owned());
    }
    if root.name.starts_with("mirror on ") {
        modules.push("raid1".to_owned());
    }
    if is_encrypted(facts) {
        modules.push("dm_crypt".to_owned());
    }
    modules
}

/// Whether the root's line of fstab names what crypttab opens.
fn is_encrypted(facts: &Facts) -> bool {
    let Ok(fstab) = facts.get::<Fstab>() else { return false };
    let Some(name) = fstab.root().and_then(|entry| entry.device().strip_prefix(b"/dev/mapper/").map(<[u8]>::to_vec))
    else {
        return false;
    };
    let Ok(Some(crypttab)) = facts.file("/etc/crypttab") else { return false };
    crypttab
        .bytes
        .lines()
        .any(|line| line.split(u8::is_ascii_whitespace).find(|word| !word.is_empty()) == Some(name.as_slice()))
}

fn lacks_of_disk(platform: &Platform, kernel: &OfKernel, contents: &Contents) -> Vec<Lack> {
    let lacking = |drivers: &[&str]| -> Vec<String> {
        drivers.iter().flat_map(|driver| kernel.lacking(contents, driver)).collect()
    };
    // With the driver of the disk goes that of the bus it is on.
    let with_bus = |driver: &'static str| match driver {
        "virtio_blk" | "virtio_scsi" => vec![driver, "virtio_pci"],
        driver => vec![driver],
    };
    let mut all = Vec::new();
    for (driver, clue) in &platform.certain {
        let names = lacking(&with_bus(driver));
        if !names.is_empty() {
            let why = tr!("the kernel does not see the root disk: it needs {module}", module = *driver);
            all.push(Lack { names, severity: Severity::Critical, why, clue: Some(clue.clone()) });
        }
    }
    if !all.is_empty() || !platform.certain.is_empty() {
        return all;
    }
    // Of several disks that were seen, one is the root's.
    let seen: Vec<_> = platform.seen.iter().map(|(driver, clue)| (lacking(&with_bus(driver)), driver, clue)).collect();
    if let Some((names, driver, clue)) = seen.first() {
        if seen.iter().all(|(names, ..)| !names.is_empty()) {
            let why = tr!("the kernel does not see the root disk: it needs {module}", module = **driver);
            let clue = Some((*clue).clone());
            all.push(Lack { names: names.clone(), severity: Severity::Critical, why, clue });
        }
        return all;
    }
    let usual = ["virtio_blk", "virtio_scsi", "nvme"];
    let names = lacking(&with_bus("virtio_blk"));
    match &platform.kind {
        _ if names.is_empty() || !kernel.knows("virtio_blk") => {}
        Some((Kind::Other, _)) => {}
        // Another driver of such guests will do, if it is complete.
        Some((Kind::Kvm, clue)) => {
            let is_complete = |driver: &'static str| kernel.knows(driver) && lacking(&with_bus(driver)).is_empty();
            if !usual.into_iter().any(is_complete) {
                let why = tr!(
                    "this is a KVM guest, and the kernel does not see its disk without {module}",
                    module = "virtio_blk"
                );
                all.push(Lack { names, severity: Severity::Error, why, clue: Some(clue.clone()) });
            }
        }
        None if kernel.is_default => {
            let why = tr!(
                "on KVM, which most clouds use, the kernel does not see a virtio disk; nothing shows what kind of machine the target ran on"
            );
            all.push(Lack { names, severity: Severity::Warning, why, clue: None });
        }
        None => {}
    }
    all
}

/// Settings that keep drivers out.
fn settings(facts: &Facts) -> Vec<(String, String)> {
    let root = facts.root();
    let mut files = vec!["/etc/initramfs-tools/initramfs.conf".to_owned(), "/etc/dracut.conf".to_owned()];
    for dir in ["/etc/initramfs-tools/conf.d", "/etc/dracut.conf.d"] {
        let names = root.read_dir(dir).unwrap_or_default();
        files.extend(names.iter().map(|entry| Path::new(dir).join(&entry.name).display().to_string()));
    }
    let mut found = Vec::new();
    for path in files {
        let Ok(text) = root.read_up_to(&path, 1 << 20) else { continue };
        for (index, line) in text.lines().enumerate() {
            let line = line.trim_ascii();
            let is_dep = line.strip_prefix(b"MODULES=").is_some_and(|value| !value.starts_with(b"most"));
            let is_host = line.starts_with(b"hostonly=") && line.contains_str("yes");
            if is_dep || is_host || line.starts_with(b"omit_drivers") {
                found.push((format!("{path}:{}", index + 1), line.to_str_lossy().into_owned()));
            }
        }
    }
    found
}
