//! mdadm.conf names an array that no disk has, and the one that is there gets another name.

use sickbay_formats::lines::with_bytes;
use sickbay_formats::mdstat::{Line, in_mdadms_form, lines_of_config, plain};

use crate::facts::Facts;
use crate::facts::boot::boot_config::{BootConfig, Loader};
use crate::facts::boot::devices::Devices;
use crate::facts::boot::fstab::{Fstab, mount_point};
use crate::model::finding::{Findings, Severity};
use crate::model::outcome::{Skip, Verdict};
use crate::model::repair::{Change, Risk};
use crate::model::stage::Stage;
use crate::{check, tr};

check! {
    /// ## Symptom
    /// You see: "A start job is running for /dev/md0 (1min 30s)", then emergency mode, or "ALERT! /dev/md0 does not exist";
    /// /proc/mdstat has the array as md127.
    ///
    /// ## What it finds
    /// An `ARRAY` line of mdadm.conf with a UUID that no disk has, while `/etc/fstab` or `root=` goes by its name, and the
    /// disks hold an array that mdadm.conf does not name: it was made anew, or the disks are those of another machine.
    ///
    /// ## Why it matters
    /// An array that mdadm.conf does not name is assembled as /dev/md127. What waits for the other name waits in vain.
    ///
    /// ## What the repair does
    /// Writes the UUID of the array that is there into the line, when it is the only one. The initramfs holds a copy of
    /// mdadm.conf until it is made again.
    ///
    /// ## By hand
    /// ```sh
    /// mdadm --examine --scan
    /// # compare with ROOT/etc/mdadm/mdadm.conf; then update-initramfs -u or dracut -f in a chroot
    /// ```
    "md-array-unknown", Boot, seed = ["B7"], proves = [], may_stop = [RootDevice, Mounts], "mdadm.conf names an array that no disk has"
}

const PATHS: [&str; 2] = ["/etc/mdadm/mdadm.conf", "/etc/mdadm.conf"];

fn run(facts: &Facts, found: &mut Findings) -> Verdict {
    if facts.runs() {
        return Err(Skip::NotApplicable(tr!("this machine has assembled its arrays")));
    }
    let devices = facts.get::<Devices>()?;
    let mut there: Vec<String> = devices
        .volumes
        .iter()
        .filter(|volume| volume.fstype == "linux_raid_member")
        .filter_map(|volume| volume.uuid.as_ref().map(|uuid| plain(uuid.as_bytes())))
        .collect();
    there.sort();
    there.dedup();
    if there.is_empty() {
        return Err(Skip::NotApplicable(tr!("no disk is part of a software RAID")));
    }
    for path in PATHS {
        let Some(file) = facts.file(path)? else { continue };
        let lines = lines_of_config(&file.bytes);
        let new: Vec<&String> = there.iter().filter(|uuid| !lines.iter().any(|line| line.uuid == **uuid)).collect();
        // Where every array that is there is named, the line is about disks that are not.
        let [one, rest @ ..] = new.as_slice() else { continue };
        let lost: Vec<&Line> = lines.iter().filter(|line| !there.contains(&line.uuid)).collect();
        for line in &lost {
            let Some((place, stage)) = waits_for(facts, &line.device) else { continue };
            let (uuid, device) = (in_mdadms_form(&line.uuid), line.device.as_str());
            let finding = found.add(
                Severity::Critical,
                tr!(
                    "{place} goes by {device}, which {path} says is {uuid}: no disk has that array",
                    place,
                    device,
                    path,
                    uuid
                ),
            );
            finding
                .at(&file, line.span)
                .why(tr!("the array that is there is assembled under another name, such as /dev/md127"))
                .stops(stage);
            let is = in_mdadms_form(one);
            if rest.is_empty() && lost.len() == 1 {
                let text = with_bytes(&file.bytes, line.range.clone(), is.as_bytes());
                finding.note(tr!("the initramfs contains a copy of {path}: rebuild it as well", path)).repair(
                    Risk::Safe,
                    tr!("write {uuid}, the array that is there", uuid = is),
                    [Change::edit(&file, text)],
                );
            } else {
                finding.by_hand(tr!("write the UUID of the right array into {path}: mdadm --examine --scan", path));
            }
        }
    }
    Ok(())
}

/// What goes by the name of an array, and the stage that fails without it.
fn waits_for(facts: &Facts, device: &str) -> Option<(String, Stage)> {
    let is_it = |name: &[u8]| {
        let short = |name: &str| name.trim_start_matches("/dev/md/").trim_start_matches("/dev/").to_owned();
        std::str::from_utf8(name).is_ok_and(|name| name.starts_with("/dev/md") && short(name) == short(device))
    };
    let config = facts.get::<BootConfig>().ok();
    let entry = config.iter().flat_map(|config| &config.loaders).find_map(Loader::default_entry);
    if let Some((word, _)) = entry.and_then(|entry| entry.argument("root")).filter(|(_, value)| is_it(value.as_bytes()))
    {
        return Some((word.text.clone(), Stage::RootDevice));
    }
    let fstab = facts.get::<Fstab>().ok()?;
    let waits = fstab.sound().find(|entry| !entry.is_optional() && !entry.is_swap() && is_it(entry.device()));
    let place = mount_point(waits?).display().to_string();
    Some((place, Stage::Mounts))
}
