//! No kernel is left in /boot.

use std::path::{Path, PathBuf};

use sickbay_formats::bls::compare_versions;

use crate::facts::Facts;
use crate::facts::boot::boot_config::{BootConfig, Loader};
use crate::facts::boot::kernels::Kernels;
use crate::facts::packages::Packages;
use crate::mend::rebuild;
use crate::mend::restore::restore_all;
use crate::model::finding::Findings;
use crate::model::outcome::{Skip, Verdict};
use crate::model::repair::{Change, Risk};
use crate::model::stage::Stage;
use crate::{check, tr};

check! {
    /// ## Symptom
    /// You see: GRUB's prompt or a menu whose entries all fail with "file not found"; `/boot` is empty.
    ///
    /// ## What it finds
    /// Kernels whose packages and modules are installed, while `/boot` has none of their images and no boot
    /// configuration names one: somebody emptied `/boot`, or its file system was recreated.
    ///
    /// ## Why it matters
    /// There is nothing to boot.
    ///
    /// ## What the repair does
    /// Restores the newest kernel from the copy that its package keeps with the modules
    /// (`/lib/modules/VERSION/vmlinuz`), from a donor or from a package file, and builds its initramfs with the
    /// target's own program on a copy of the target. The boot configuration follows.
    ///
    /// ## By hand
    /// ```sh
    /// # in a chroot
    /// apt-get install --reinstall linux-image-VERSION
    /// dnf reinstall kernel-core
    /// ```
    "kernels-gone", Boot, seed = ["B5", "B10"], proves = [Kernel], "no kernel is left in /boot"
}

fn run(facts: &Facts, found: &mut Findings) -> Verdict {
    let kernels = facts.get::<Kernels>()?;
    if kernels.all.iter().any(|kernel| !kernel.image.state.is_bad()) {
        return Ok(());
    }
    // A kernel that an entry names and that is not there is told by that entry.
    let config = facts.get::<BootConfig>();
    if config.is_ok_and(|config| config.loaders.iter().filter_map(Loader::default_entry).any(|e| e.kernel.is_some())) {
        return Ok(());
    }
    let packages = facts.get::<Packages>().ok();
    let packaged = |version: &str| {
        let image = format!("/boot/vmlinuz-{version}");
        packages.as_ref().is_some_and(|packages| packages.file(Path::new(&image)).is_some())
            || facts.root().exists(kept(version)).unwrap_or(false)
    };
    let modules = facts.root().read_dir("/lib/modules").unwrap_or_default();
    let mut versions: Vec<String> = modules.into_iter().filter_map(|entry| entry.name.into_string().ok()).collect();
    versions.retain(|version| {
        let list = format!("/lib/modules/{version}/modules.dep");
        facts.root().stat(list).is_ok_and(|list| list.size > 0) && packaged(version)
    });
    versions.sort_by(|left, right| compare_versions(right.as_bytes(), left.as_bytes()));
    let Some(newest) = versions.first() else { return Err(Skip::NotApplicable(tr!("no kernel is installed"))) };

    let image = PathBuf::from(format!("/boot/vmlinuz-{newest}"));
    let finding = found.critical(tr!("/boot has no kernel; installed: {versions}", versions = versions.join(", ")));
    finding
        .at_path("/boot")
        .why(tr!("there is nothing to boot"))
        .detail("versions", versions.clone())
        .stops(Stage::Kernel);
    for version in &versions {
        finding.explains(format!("/boot/vmlinuz-{version}"));
    }
    let companions = ["System.map", "config"].map(|name| PathBuf::from(format!("/boot/{name}-{newest}")));
    let listed = companions.into_iter().filter(|path| packages.as_ref().is_some_and(|all| all.file(path).is_some()));
    let wanted: Vec<PathBuf> = std::iter::once(image.clone()).chain(listed).collect();
    let restored = match facts.root().read_up_to(kept(newest), 256 << 20) {
        Ok(content) => Some((Risk::Safe, vec![Change::create(&image, content, 0o644)])),
        Err(_) => {
            let (restoration, left) = restore_all(facts, &wanted, Risk::Risky);
            restoration.filter(|_| !left.contains(&image)).map(|one| (one.risk, one.changes))
        }
    };
    let initramfs = rebuild::offer(facts, newest, &initramfs(facts, newest));
    match (restored, initramfs) {
        (Some((risk, mut changes)), Some((_, mut rebuild))) => {
            if let Change::Rebuild(rebuild) = &mut rebuild {
                rebuild.lent.extend(changes.iter().filter_map(|change| content(facts, change)));
            }
            changes.push(rebuild);
            finding.repair(risk, tr!("restore kernel {version} and build its initramfs", version = newest), changes);
        }
        (Some((risk, changes)), None) => {
            finding.repair(risk, tr!("restore kernel {version}", version = newest), changes);
        }
        (None, _) => {
            finding.by_hand(tr!(
                "reinstall the package of kernel {version} in a chroot, or supply it with --package, or a donor with --donor",
                version = newest
            ));
        }
    }
    Ok(())
}

/// What a change brings, for the program that runs before it is made: mkinitramfs reads the kernel's configuration.
fn content(facts: &Facts, change: &Change) -> Option<(PathBuf, Vec<u8>)> {
    match change {
        Change::Create { path, content, .. } => Some((path.clone(), content.clone())),
        Change::CopyFromDonor { path } => Some((path.clone(), facts.donor()?.root().read(path).ok()?)),
        _ => None,
    }
}

/// The copy of a kernel that Fedora's packages and those of its kin keep beside its modules.
fn kept(version: &str) -> PathBuf {
    Path::new("/lib/modules").join(version).join("vmlinuz")
}

/// How this family names the initramfs of a kernel.
fn initramfs(facts: &Facts, version: &str) -> PathBuf {
    let there = |path: &str| facts.root().exists(path).unwrap_or(false);
    PathBuf::from(if there("/etc/initramfs-tools") || there("/usr/sbin/mkinitramfs") {
        format!("/boot/initrd.img-{version}")
    } else if there("/etc/SuSE-release") || there("/etc/zypp") {
        format!("/boot/initrd-{version}")
    } else {
        format!("/boot/initramfs-{version}.img")
    })
}
