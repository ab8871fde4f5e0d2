//! A file system does not fit together, or says that it met errors.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use sickbay_formats::superblock::condition::{Recorded, Sign};
use sickbay_target::{Examined, Verdict, Volume};

use crate::facts::Facts;
use crate::facts::boot::devices::{Devices, Lookup, volume_names};
use crate::facts::boot::fstab::{Fstab, mount_point};
use crate::facts::boot::mounted::{Mounted, OnDisk};
use crate::model::finding::{Finding, Findings, Severity};
use crate::model::outcome::Verdict as Looked;
use crate::model::repair::{Change, Risk};
use crate::model::stage::Stage;
use crate::model::subject::Subject;
use crate::model::text::Text;
use crate::{check, tr};

check! {
    /// ## Symptom
    /// You see: "UNEXPECTED INCONSISTENCY; RUN fsck MANUALLY", "Structure needs cleaning", "Unable to mount root fs",
    /// or a file system that suddenly is read-only.
    ///
    /// ## What it finds
    /// An ext2, ext3, ext4, XFS or btrfs file system whose superblock is lost or records errors, that cannot be
    /// mounted, or about which its own checker (`e2fsck -n`, `xfs_repair -n`, `btrfs check`) complains. A journal that
    /// only needs to be replayed, as after a power loss, does not count.
    ///
    /// The superblocks are always read. A checker, which reads the whole file system, is run when the superblock, a
    /// mount or an unreadable file hints at damage, or when `--fsck` asks for it; never on a mounted file system. For
    /// file systems that a running system has mounted, the kernel itself is asked: for the errors it counted, and
    /// whether it made a file system read-only; the device need not be readable for that.
    ///
    /// ## Why it matters
    /// The kernel panics without its root file system; a checker at boot that finds more than it may repair by itself
    /// stops in emergency mode ("UNEXPECTED INCONSISTENCY; RUN fsck MANUALLY"); a damaged file system that is mounted
    /// anyway gets worse.
    ///
    /// ## What the repair does
    /// The checker works on a copy-on-write view of the disk: it replays the journal, repairs, and must find nothing
    /// afterwards. Everything else is checked and repaired on that view too. The disk itself is written only at the
    /// end, after its previous content has been saved on this machine: next to an image in `IMAGE.sickbay`, for a
    /// device in `/var/lib/sickbay-disks`. `sickbay undo` restores that byte for byte, as long as nothing else has
    /// written to the disk since. A checker that has to recreate the root directory, so that everything in it loses its
    /// name, is only run with `--risky`. A lost superblock is restored from its copies. The log of an XFS file system
    /// is never thrown away, and the trees of a btrfs are not touched, because no tool repairs them without danger.
    ///
    /// ## By hand
    /// ```sh
    /// # unmounted; e2fsck -b 32768 when the superblock is lost
    /// e2fsck -f DEVICE
    /// xfs_repair DEVICE
    /// btrfs rescue super-recover DEVICE
    /// btrfs check --readonly DEVICE
    /// ```
    "file-system-damaged", Boot, seed = ["B1"], proves = [RootDevice, Mounts], looks_at_disks_alone = true, "a file system is damaged"
}

fn run(facts: &Facts, found: &mut Findings) -> Looked {
    let target = facts.target();
    let devices = facts.get::<Devices>();
    let volumes = devices.as_ref().map_or(&[][..], |devices| &devices.volumes);
    let read = devices.as_ref().map(drop).map_err(Clone::clone);
    for examined in target.examined().iter().filter(|examined| !target.is_accepted(examined.volume)) {
        let Some(volume) = volumes.get(examined.volume) else { continue };
        judge(facts, examined, volume, found);
    }
    if target.attached().is_ok() {
        return read;
    }
    // What is mounted is not examined; what the kernel wrote down of it can be told.
    for volume in volumes {
        let Some(condition) = &volume.condition else { continue };
        let told = condition.signs.iter().any(|sign| matches!(sign, Sign::Errors | Sign::Recorded { .. }));
        if !told {
            continue;
        }
        let finding = found.warning(tr!(
            "the {fstype} on {volume} ran into errors and has not been repaired since",
            fstype = volume.fstype.as_str(),
            volume = volume.name.as_str()
        ));
        evidence(finding, &volume.name, &condition.signs);
        finding.at_device(volume.name.clone());
        volume_names(volume).into_iter().for_each(|name| {
            finding.explains(name);
        });
        match &volume.mounted_on {
            Some(place) if place == Path::new("/") => finding.by_hand(tr!(
                "save what matters, then let the next boot check it: fsck.mode=force fsck.repair=yes on the kernel command line"
            )),
            _ => finding.by_hand(tr!("save what matters, unmount it and run its checker")),
        };
    }
    let Ok(mounted) = facts.get::<Mounted>() else { return read };
    let recorded: Vec<PathBuf> = volumes_with_errors(volumes);
    for one in mounted.list.iter().filter(|one| !recorded.contains(&one.place)) {
        by_kernel(one, found);
    }
    // The kernel's own word is enough of what it has mounted.
    let is_enough = !mounted.list.is_empty() && mounted.list.iter().all(OnDisk::is_judged);
    if is_enough { Ok(()) } else { read }
}

/// What the running kernel says of a file system that it has mounted.
fn by_kernel(mounted: &OnDisk, found: &mut Findings) {
    let (place, fstype, device) = (mounted.place.as_path(), mounted.fstype.as_str(), mounted.device.as_str());
    let counted = mounted.counted.iter().flatten().filter(|counter| counter.errors > 0);
    let finding = match &mounted.shut_down {
        Some(why) => {
            let finding = found.error(tr!("the kernel shut down the {fstype} on {place}", fstype, place));
            finding.evidence(format!("stat {}", place.display()), why.clone());
            finding.why(tr!("nothing on it can be read or written until it is unmounted and mounted again"));
            finding
        }
        None if mounted.made_read_only => {
            let finding = found.error(tr!("the kernel made the {fstype} on {place} read-only", fstype, place));
            finding.evidence(
                format!("/proc/self/mountinfo: {}", place.display()),
                "mounted rw, the file system is ro".to_owned(),
            );
            finding.why(tr!("it does this after an error (errors=remount-ro): nothing can be written any more"));
            finding
        }
        None if counted.clone().next().is_some() => found.warning(tr!(
            "the {fstype} on {volume} ran into errors and has not been repaired since",
            fstype,
            volume = device
        )),
        None => return,
    };
    finding.at_device(device).explains(Subject::Device(device.to_owned()));
    for counter in counted {
        finding.evidence(counter.path.display().to_string(), counter.text.clone());
    }
    match (place == Path::new("/"), fstype) {
        (_, "btrfs") => finding.by_hand(tr!("save what matters, then run btrfs scrub start {place}", place)),
        (true, _) => finding.by_hand(tr!(
            "save what matters, then let the next boot check it: fsck.mode=force fsck.repair=yes on the kernel command line"
        )),
        (false, _) => finding.by_hand(tr!("save what matters, unmount it and run its checker")),
    };
}

/// Where file systems are mounted whose superblocks tell of errors themselves.
fn volumes_with_errors(volumes: &[Volume]) -> Vec<PathBuf> {
    let is_told = |sign: &Sign| matches!(sign, Sign::Errors | Sign::Recorded { .. });
    let told = volumes.iter().filter(|one| one.condition.as_ref().is_some_and(|one| one.signs.iter().any(is_told)));
    told.filter_map(|volume| volume.mounted_on.clone()).collect()
}

/// What a volume is to the start of the system.
struct Role {
    severity: Severity,
    stops: Option<Stage>,
    places: Vec<PathBuf>,
}

fn judge(facts: &Facts, examined: &Examined, volume: &Volume, found: &mut Findings) {
    let (name, fstype) = (volume.name.as_str(), fstype_of(examined, volume));
    let program = examined.program;
    let sentence = |severity: Severity| -> (Severity, Text) {
        let lost = examined.signs.iter().any(|sign| matches!(sign, Sign::Lost { .. }));
        match (&examined.refused, lost) {
            (_, true) => (severity, tr!("the superblock of the {fstype} on {volume} is lost", fstype, volume = name)),
            (Some(_), _) => {
                (severity, tr!("the {fstype} on {volume} is damaged and cannot be mounted", fstype, volume = name))
            }
            (None, _) => (severity, tr!("the {fstype} on {volume} is damaged", fstype, volume = name)),
        }
    };
    let role = role(facts, examined, volume);
    let (severity, message) = match &examined.verdict {
        Verdict::Sound => {
            if let Some(why) = &examined.refused {
                found.could_not_tell(tr!(
                    "{volume} cannot be mounted ({why}), though {program} finds no fault in it",
                    volume = name,
                    why,
                    program
                ));
            }
            return;
        }
        // The disk is at fault, not the file system: disk-unreadable tells of it.
        Verdict::Unreadable(why) => {
            found.could_not_tell(tr!("{volume} could not be checked: {why}", volume = name, why));
            return;
        }
        Verdict::Mended { was_sound: true, .. } => (
            Severity::Warning,
            tr!("the {fstype} on {volume} has recorded errors, though it is consistent", fstype, volume = name),
        ),
        Verdict::Untold(why) if examined.signs.is_empty() => {
            found.could_not_tell(match &examined.refused {
                Some(refused) => {
                    tr!("{volume} cannot be mounted ({refused}): {why}", volume = name, refused, why)
                }
                None => tr!("{volume} could not be checked: {why}", volume = name, why),
            });
            return;
        }
        _ => sentence(role.severity),
    };
    let finding = found.add(severity, message);
    finding.at_device(name).detail("checker", program).detail("volume", name);
    evidence(finding, name, &examined.signs);
    if let Some(why) = &examined.refused {
        finding.evidence(format!("mount {name}"), why.clone());
    }
    for complaint in &examined.complaints {
        finding.evidence(program, complaint.clone());
    }
    volume_names(volume).into_iter().for_each(|name| {
        finding.explains(name);
    });
    if !matches!(examined.verdict, Verdict::Mended { was_sound: true, .. }) {
        match role.stops {
            Some(Stage::RootDevice) => {
                finding.why(tr!("the system does not boot without its root file system, or loses files on it"));
            }
            Some(_) => {
                finding.why(tr!("its check at boot fails, and the boot stops in emergency mode"));
            }
            None => {}
        }
        if let Some(stage) = role.stops {
            finding.stops(stage);
        }
        role.places.iter().for_each(|place| {
            finding.explains(place);
        });
        let places = if role.places.is_empty() { &[PathBuf::from("/")][..] } else { &role.places };
        for path in lost_entries(&examined.log) {
            places.iter().for_each(|place| {
                finding.explains(place.join(path.trim_start_matches('/')));
            });
        }
    }
    let untold = match &examined.verdict {
        Verdict::Mended { root_made_anew, .. } => {
            let change = Change::CheckFileSystem { volume: examined.volume, name: name.to_owned(), program };
            if *root_made_anew {
                let title = tr!(
                    "let {program} repair {volume}: it recreates the root directory, and everything that was in it goes to lost+found",
                    program,
                    volume = name
                );
                finding.repair(Risk::Risky, title, [change]);
            } else {
                let title = tr!("let {program} repair {volume}", program, volume = name);
                finding.repair(Risk::Safe, title, [change]);
            }
            None
        }
        Verdict::Beyond(why) => {
            finding.by_hand(Text::verbatim(why));
            None
        }
        Verdict::Untold(why) => {
            finding.by_hand(Text::verbatim(why));
            Some(tr!("{volume} could not be checked: {why}", volume = name, why))
        }
        Verdict::Sound | Verdict::Unreadable(_) => None,
    };
    if let Some(why) = untold {
        found.could_not_tell(why);
    }
}

/// Files that e2fsck takes out of their directories, since nothing is left of them: their paths on the file system.
fn lost_entries(log: &str) -> BTreeSet<String> {
    let path = |line: &str| {
        let (name, rest) = line.trim().strip_prefix("Entry '")?.split_once("' in ")?;
        let (dir, rest) = rest.split_once(" (")?;
        let is_lost = rest.contains(" has deleted/unused inode ") || rest.contains(" has invalid inode #");
        (is_lost && dir.starts_with('/') && name != "..").then(|| format!("{}/{name}", dir.trim_end_matches('/')))
    };
    log.lines().filter_map(path).collect()
}

/// A volume whose superblock could not be restored is of no type any more.
fn fstype_of<'a>(examined: &Examined, volume: &'a Volume) -> &'a str {
    match (volume.fstype.as_str(), examined.program) {
        ("", "e2fsck") => "ext4",
        ("", "xfs_repair") => "xfs",
        ("", program) => {
            debug_assert_eq!(program, "btrfs");
            "btrfs"
        }
        (fstype, _) => fstype,
    }
}

fn role(facts: &Facts, examined: &Examined, volume: &Volume) -> Role {
    let of_root = Role { severity: Severity::Critical, stops: Some(Stage::RootDevice), places: Vec::new() };
    if volume.mounted_on.as_deref() == Some(Path::new("/")) || facts.target().unreadable().is_some() {
        return of_root;
    }
    let (Ok(fstab), Ok(devices)) = (facts.get::<Fstab>(), facts.get::<Devices>()) else {
        return Role { severity: Severity::Error, stops: None, places: Vec::new() };
    };
    let same = |other: &Volume| devices.volumes.get(examined.volume) == Some(other);
    let lines = fstab.sound().filter(|entry| match devices.find(facts, &entry.source()) {
        Lookup::Volume(found) => same(found),
        Lookup::Several(found) => found.into_iter().any(same),
        _ => false,
    });
    let mut role = Role { severity: Severity::Warning, stops: None, places: Vec::new() };
    for entry in lines {
        role.severity = role.severity.min(Severity::Error);
        role.places.push(mount_point(entry).to_owned());
        if !entry.is_optional() {
            role.severity = Severity::Critical;
            role.stops = Some(Stage::Mounts);
        }
    }
    role
}

fn evidence(finding: &mut Finding, name: &str, signs: &[Sign]) {
    for sign in signs {
        let text = match sign {
            Sign::Lost { at } => format!("no superblock at the beginning; a whole copy at byte {at}"),
            Sign::Checksum => "its checksum does not fit".to_owned(),
            Sign::Errors => "state: has errors".to_owned(),
            Sign::Recorded { count, last } => {
                let Recorded { time, function, line, inode, block } = last;
                let when =
                    jiff::Timestamp::from_second(i64::from(*time)).map_or_else(|_| String::new(), |t| t.to_string());
                finding.detail("error_count", *count);
                format!("{count} errors; the last: {when} {function}:{line} inode {inode} block {block}")
            }
            Sign::Unfinished => "sb_inprogress: making it was cut off".to_owned(),
            Sign::NeedsRepair => "needsrepair: xfs_repair was cut off".to_owned(),
        };
        finding.evidence(format!("superblock of {name}"), text);
    }
}

#[cfg(test)]
mod tests {
    use super::lost_entries;

    #[test]
    fn files_that_are_lost() {
        let log = "Entry 'sshd_config' in /etc/ssh (1201) has deleted/unused inode 1310.  Clear? no\n\
            Entry '..' in <2>/<11> (11) has deleted/unused inode 2.  Clear? yes\n\
            Entry 'swap.img' in / (2) has deleted/unused inode 17.  Clear? yes\n";
        assert_eq!(lost_entries(log).into_iter().collect::<Vec<_>>(), ["/etc/ssh/sshd_config", "/swap.img"]);
    }
}
