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
use crate::model::text::Text;
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
    /// with it where the target's own program can do that. Risky where other hosts may own some of these devices: the file lists
    /// what may be a LUN, or the system is set up for multipath, iSCSI or a cluster.
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
const LOCAL_CONFIG: &str = "/etc/lvm/lvmlocal.conf";

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
    let risk = match shared(facts, &file.bytes)? {
        Some(why) => {
            finding.note(why);
            finding
                .note(tr!("lvmdevices --adddev DEVICE, in a chroot on this machine, adds a disk and lets in no other"));
            Risk::Risky
        }
        None => Risk::Safe,
    };
    match rebuilt {
        Some((title, change)) if stage == Some(Stage::RootDevice) => {
            changes.push(change);
            finding.repair(risk, tr!("remove {path}, and {title}", path = PATH, title), changes);
        }
        _ => {
            if stage == Some(Stage::RootDevice) {
                finding.note(tr!("the initramfs may contain a copy: rebuild it (dracut -f)"));
            }
            finding.repair(risk, tr!("remove {path}: without it LVM looks at every device", path = PATH), changes);
        }
    }
    Ok(())
}

/// Why without the list LVM might take volumes that another host has; `None` where nothing on this system is shared.
fn shared(facts: &Facts, list: &[u8]) -> Result<Option<Text>, Skip> {
    let root = facts.root();
    for path in ["/etc/multipath.conf", "/etc/multipath/wwids", "/etc/corosync/corosync.conf"] {
        if facts
            .file(path)?
            .is_some_and(|file| file.bytes.lines().any(|line| !matches!(line.trim_ascii().first(), None | Some(b'#'))))
        {
            return Ok(Some(tr!(
                "{path} tells of shared storage: without the list LVM would look at other hosts' volumes too",
                path
            )));
        }
    }
    for path in ["/var/lib/iscsi/nodes", "/etc/iscsi/nodes"] {
        if root.read_dir(path).is_ok_and(|entries| !entries.is_empty()) {
            return Ok(Some(tr!(
                "{path} tells of shared storage: without the list LVM would look at other hosts' volumes too",
                path
            )));
        }
    }
    for path in [CONFIG, LOCAL_CONFIG] {
        let Some(file) = facts.file(path)? else { continue };
        let says = |line: &[u8]| {
            let text = line.trim_ascii();
            let value = |key: &str| {
                let rest = text.strip_prefix(key.as_bytes())?.trim_ascii_start().strip_prefix(b"=")?;
                Some(rest.trim_ascii().to_vec())
            };
            value("use_lvmlockd").is_some_and(|value| value.starts_with(b"1"))
                || value("system_id_source").is_some_and(|value| !value.starts_with(b"\"none"))
        };
        if file.bytes.lines().any(says) {
            return Ok(Some(tr!(
                "{path} tells of shared storage: without the list LVM would look at other hosts' volumes too",
                path
            )));
        }
    }
    let words = |key: &str| -> Vec<String> {
        let lines = list.lines().filter(|line| !line.trim_ascii_start().starts_with(b"#"));
        let words = lines
            .filter_map(|line| line.split(u8::is_ascii_whitespace).find_map(|word| word.strip_prefix(key.as_bytes())));
        words.map(|word| word.to_str_lossy().into_owned()).collect()
    };
    let is_lun = |(kind, name): (String, String)| match kind.as_str() {
        "mpath_uuid" => true,
        "sys_wwid" => !LOCAL.iter().any(|start| name.starts_with(start)),
        _ => false,
    };
    let lun = words("IDTYPE=").into_iter().zip(words("IDNAME=")).find(|entry| is_lun(entry.clone()));
    Ok(lun.map(|(_, name)| {
        tr!("{name} may be a LUN that other hosts share: without the list LVM would look at their volumes too", name)
    }))
}

/// How the names of disks begin that no other host sees: SATA, QEMU's, and those of VMware and Hyper-V.
const LOCAL: [&str; 4] = ["t10.ATA", "t10.QEMU", "naa.6000c29", "naa.60022480"];

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

/// Whether LVM goes by its devices file: what lvmlocal.conf or lvm.conf says, else the default that the latter notes in a comment.
fn uses_file(facts: &Facts) -> Result<bool, Skip> {
    let Some(file) = facts.file(CONFIG)? else { return Ok(false) };
    let value = |line: &[u8]| {
        let rest = line.trim_ascii().strip_prefix(b"use_devicesfile")?.trim_ascii_start().strip_prefix(b"=")?;
        rest.trim_ascii().first().map(|byte| *byte == b'1')
    };
    let local = facts.file(LOCAL_CONFIG)?;
    let set = |bytes: &[u8]| bytes.lines().filter_map(value).next_back();
    let noted = || file.bytes.lines().filter_map(|line| value(line.trim_ascii().strip_prefix(b"#")?)).next_back();
    let set = local.as_ref().and_then(|local| set(&local.bytes)).or_else(|| set(&file.bytes));
    Ok(set.or_else(noted).unwrap_or(false))
}
