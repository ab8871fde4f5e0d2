//! /boot is on a file system with a feature that the installed GRUB does not know.

use std::path::Path;

use sickbay_formats::grub_core::Core;
use sickbay_formats::superblock::features::{Features, features};
use sickbay_formats::{grub_efi, grub_module};
use sickbay_target::Volume;

use crate::facts::Facts;
use crate::facts::boot::boot_loader::{BootLoader, disks_of_start};
use crate::facts::boot::esp::Esps;
use crate::model::finding::Findings;
use crate::model::outcome::{Skip, Verdict};
use crate::model::stage::Stage;
use crate::{check, tr};

check! {
    /// ## Symptom
    /// You see: "error: unknown filesystem." and the prompt "grub rescue>", on a disk that Linux mounts without a word.
    ///
    /// ## What it finds
    /// The file system with `/boot` is ext4 or XFS and has a feature that the GRUB on this disk does not know: a newer
    /// mke2fs or mkfs.xfs made it, or somebody switched the feature on. What GRUB knows is read from its own code: the
    /// mask with which it compares the features, in the core image on the disk or in the program on the EFI system
    /// partition.
    ///
    /// ## Why it matters
    /// GRUB reads nothing from a file system with a feature that it does not know: no modules, no menu, no kernel.
    ///
    /// ## What the repair does
    /// There is none: features are switched off with the file system unmounted, where that is possible at all.
    ///
    /// ## By hand
    /// ```sh
    /// # with the file system unmounted
    /// tune2fs -O ^metadata_csum_seed /dev/PARTITION
    /// # what cannot be switched off: a file system of its own for /boot
    /// mke2fs -t ext4 -O ^inline_data,^casefold /dev/OTHER
    /// ```
    "boot-loader-cannot-read", Boot, seed = ["B8"], proves = [], may_stop = [BootLoader], "the file system with /boot has a feature that GRUB does not know"
}

/// Features that GRUB does not know, by name; tune2fs(8) clears the second kind.
const EXT: [(u32, &str, bool); 13] = [
    (0x1, "compression", false),
    (0x8, "journal_dev", false),
    (0x10, "meta_bg", false),
    (0x40, "extents", false),
    (0x80, "64bit", false),
    (0x200, "flex_bg", true),
    (0x400, "ea_inode", false),
    (0x1000, "dirdata", false),
    (0x2000, "metadata_csum_seed", true),
    (0x4000, "large_dir", false),
    (0x8000, "inline_data", false),
    (0x1_0000, "encrypt", false),
    (0x2_0000, "casefold", true),
];

const XFS: [(u32, &str, bool); 8] = [
    (0x1, "ftype", false),
    (0x2, "sparse inodes", false),
    (0x4, "meta_uuid", false),
    (0x8, "bigtime", false),
    (0x10, "needsrepair", false),
    (0x20, "nrext64", false),
    (0x40, "exchange-range", false),
    (0x80, "parent pointers", false),
];

fn run(facts: &Facts, found: &mut Findings) -> Verdict {
    let devices = disks_of_start(facts)?;
    let volume = devices.mounted_on(Path::new("/boot")).or_else(|| devices.root());
    let volume = volume.filter(|volume| volume.partition.is_some());
    let disk = volume.and_then(|volume| facts.target().disks.get(volume.disk));
    let (Some(volume), Some(disk)) = (volume, disk) else {
        return Err(Skip::NotApplicable(tr!("/boot is not on a partition that can be read")));
    };
    let head = disk.read_at(volume.start, 4096).map_err(|error| {
        Skip::Unknown(tr!("{disk} cannot be read: {error}", disk = volume.name, error = error.to_string()))
    })?;
    let Some(features) = features(&head) else {
        return Err(Skip::NotApplicable(tr!("/boot is neither on ext4 nor on XFS")));
    };
    let loaders = loaders(facts, &features);
    let lacking: Vec<(&String, u32)> =
        loaders.iter().map(|(name, takes)| (name, features.bits() & !takes)).filter(|(_, lacks)| *lacks != 0).collect();
    // Where another GRUB reads it, that one may be the one that is used.
    let (Some((name, lacks)), true) = (lacking.first(), lacking.len() == loaders.len()) else { return Ok(()) };
    report(found, volume, &features, name, *lacks);
    Ok(())
}

/// The GRUBs of the target, with the features that each knows, where their code tells.
fn loaders(facts: &Facts, features: &Features) -> Vec<(String, u32)> {
    let known = |code: &[u8]| match features {
        Features::Ext(_) => grub_module::ext_features(code),
        Features::Xfs(_) => grub_module::xfs_features(code),
    };
    let mut all = Vec::new();
    if let Ok(loader) = facts.get::<BootLoader>()
        && let Some(disk) = loader.with_grub2()
        && let Some(core) = &disk.core
        && let Some(content) = Core::of_disk(&core.bytes).and_then(|core| core.content())
        && let Some(takes) = known(&content)
    {
        all.push((format!("{}, core image", disk.name), takes));
    }
    let Ok(esps) = facts.get::<Esps>() else { return all };
    for esp in esps.list.iter().flatten() {
        for program in esp.programs.iter().filter(|program| program.is_sound) {
            let Ok(bytes) = esp.read(facts, &program.path) else { continue };
            let takes = grub_efi::told(&bytes).and_then(|_| known(&bytes));
            all.extend(takes.map(|takes| (program.path.clone(), takes)));
        }
    }
    all
}

fn report(found: &mut Findings, volume: &Volume, features: &Features, loader: &str, lacks: u32) {
    let table: &[(u32, &str, bool)] = match features {
        Features::Ext(_) => &EXT,
        Features::Xfs(_) => &XFS,
    };
    let named: Vec<&(u32, &str, bool)> = table.iter().filter(|(bit, ..)| lacks & bit != 0).collect();
    let list = |all: Vec<&str>| all.join(", ");
    let names =
        if named.is_empty() { format!("0x{lacks:x}") } else { list(named.iter().map(|(_, name, _)| *name).collect()) };
    let fstype = volume.fstype.as_str();
    let finding = found.critical(tr!(
        "GRUB cannot read {volume}, which has /boot: its {fstype} has {names}, which this GRUB does not know",
        volume = volume.name,
        fstype,
        names
    ));
    finding
        .at_device(volume.name.clone())
        .why(tr!("GRUB stops with \"unknown filesystem\": no modules, no menu, no kernel"))
        .evidence(loader.to_owned(), format!("0x{:x} & 0x{lacks:x}", features.bits()))
        .stops(Stage::BootLoader);
    let clears = matches!(features, Features::Ext(_)) && !named.is_empty() && named.iter().all(|(.., clears)| *clears);
    if clears {
        let switch = named.iter().map(|(_, name, _)| format!("^{name}")).collect::<Vec<_>>().join(",");
        finding.by_hand(tr!(
            "with the file system unmounted: tune2fs -O {switch} on {volume}, then e2fsck -f",
            switch,
            volume = volume.name
        ));
    } else {
        finding.by_hand(tr!(
            "give /boot a file system of its own, made without {names}, or install a GRUB that knows it",
            names
        ));
    }
}
