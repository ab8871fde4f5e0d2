//! LVM's devices file lists the disks of another machine.

use bstr::ByteSlice;
use sickbay_formats::lines;

use crate::facts::Facts;
use crate::facts::boot::devices::{Devices, Lookup};
use crate::facts::boot::fstab::Fstab;
use crate::facts::boot::kernels::Kernels;
use crate::mend::rebuild;
use crate::model::finding::{Findings, Severity};
use crate::model::outcome::{Skip, Verdict};
use crate::model::repair::{Change, Risk};
use crate::model::stage::Stage;
use crate::{check, tr};

check! {
    /// ## Symptom
    /// You see: "Devices file sys_wwid naa.… PVID … last seen on /dev/sda2 not found.", then "dracut-initqueue timeout"
    /// and "/dev/mapper/…-root does not exist", after a machine was cloned, restored or moved to another hypervisor.
    ///
    /// ## What it finds
    /// `/etc/lvm/devices/system.devices` names none of the physical volumes on this system's disks, and LVM goes by that
    /// file: `use_devicesfile` in `/etc/lvm/lvm.conf`, or its default as that file notes it.
    ///
    /// ## Why it matters
    /// LVM looks only at devices that the file lists. It finds no volume group, and activates no logical volume.
    ///
    /// ## What the repair does
    /// Removes the file: without it LVM looks at every device. dracut packs a copy into the initramfs, which is made anew
    /// with it where the target's own program can do that.
    ///
    /// ## By hand
    /// ```sh
    /// # in a chroot: list what is there now, then make the initramfs again
    /// rm /etc/lvm/devices/system.devices && vgimportdevices -a
    /// dracut -f --kver VERSION
    /// ```
    "lvm-devices-stale", Boot, seed = ["B8"], proves = [], may_stop = [RootDevice, Mounts], "LVM's devices file lists none of this system's disks"
}

const PATH: &str = "/etc/lvm/devices/system.devices";
const CONFIG: &str = "/etc/lvm/lvm.conf";

fn run(facts: &Facts, found: &mut Findings) -> Verdict {
    let file = facts.required(PATH)?;
    if facts.runs() {
        return Err(Skip::NotApplicable(tr!("this machine has activated its volumes")));
    }
    if !uses_file(facts)? {
        return Err(Skip::NotApplicable(tr!("LVM does not use its devices file")));
    }
    let devices = facts.get::<Devices>()?;
    let plain = |uuid: &str| uuid.replace('-', "");
    let there: Vec<String> = devices
        .volumes
        .iter()
        .filter(|volume| volume.fstype == "LVM2_member")
        .filter_map(|volume| volume.uuid.as_deref().map(plain))
        .collect();
    let listed: Vec<(usize, String)> = lines::lines(&file.bytes)
        .filter(|line| !line.text.trim_ascii_start().starts_with(b"#"))
        .filter_map(|line| {
            let id = line.text.split(u8::is_ascii_whitespace).find_map(|word| word.strip_prefix(b"PVID="))?;
            Some((line.number, plain(id.to_str().ok()?)))
        })
        .collect();
    // An empty list is used as well; a file without a version is none.
    let is_list = file.bytes.contains_str("VERSION=") || !listed.is_empty();
    if there.is_empty() || !is_list || listed.iter().any(|(_, id)| there.contains(id)) {
        return Ok(());
    }
    let needed = needed(facts, &devices);
    let (severity, stage) = match needed {
        Some(stage) => (Severity::Critical, Some(stage)),
        None => (Severity::Error, None),
    };
    let finding =
        found.add(severity, tr!("{path} lists none of the physical volumes on this system's disks", path = PATH));
    match listed.first().and_then(|(number, _)| lines::lines(&file.bytes).find(|line| line.number == *number)) {
        Some(line) => finding.at(&file, line.whole()),
        None => finding.at_path(PATH),
    };
    finding
        .label(tr!("there is {id}", id = there.join(", ")))
        .why(tr!("LVM looks only at devices that are listed: it finds no volume group, and activates no volume"));
    if let Some(stage) = stage {
        finding.stops(stage);
    }
    let mut changes = vec![Change::Remove { path: PATH.into() }];
    let kernels = facts.get::<Kernels>().ok();
    let kernel = kernels.as_ref().and_then(|kernels| kernels.complete().next());
    let rebuilt = kernel.and_then(|kernel| {
        let initramfs = kernel.initramfs.as_ref()?;
        rebuild::offer(facts, &kernel.version, &initramfs.path)
    });
    match rebuilt {
        Some((title, change)) if stage == Some(Stage::RootDevice) => {
            changes.push(change);
            finding.repair(Risk::Safe, tr!("remove {path}, and {title}", path = PATH, title), changes);
        }
        _ => {
            if stage == Some(Stage::RootDevice) {
                finding.note(tr!("the initramfs may contain a copy: rebuild it (dracut -f)"));
            }
            finding.repair(
                Risk::Safe,
                tr!("remove {path}: without it LVM looks at every device", path = PATH),
                changes,
            );
        }
    }
    Ok(())
}

/// The stage that fails without logical volumes.
fn needed(facts: &Facts, devices: &Devices) -> Option<Stage> {
    if devices.root().is_some_and(|root| root.lv.is_some()) {
        return Some(Stage::RootDevice);
    }
    let fstab = facts.get::<Fstab>().ok()?;
    let is_lv = |lookup: Lookup<'_>| matches!(lookup, Lookup::Volume(volume) if volume.lv.is_some());
    let waits = fstab
        .sound()
        .any(|entry| !entry.is_optional() && !entry.is_swap() && is_lv(devices.find(facts, &entry.source())));
    waits.then_some(Stage::Mounts)
}

/// Whether LVM goes by its devices file: what lvm.conf says, else the default that it notes in a comment.
fn uses_file(facts: &Facts) -> Result<bool, Skip> {
    let Some(file) = facts.file(CONFIG)? else { return Ok(false) };
    let value = |line: &[u8]| {
        let rest = line.trim_ascii().strip_prefix(b"use_devicesfile")?.trim_ascii_start().strip_prefix(b"=")?;
        rest.trim_ascii().first().map(|byte| *byte == b'1')
    };
    let set = file.bytes.lines().filter_map(value).next_back();
    let noted = || file.bytes.lines().filter_map(|line| value(line.trim_ascii().strip_prefix(b"#")?)).next_back();
    Ok(set.or_else(noted).unwrap_or(false))
}
