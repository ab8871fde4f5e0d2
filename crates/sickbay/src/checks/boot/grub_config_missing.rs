//! The boot loader's configuration is missing, empty, or has no entry.

use std::path::Path;

use bstr::ByteSlice;

use crate::facts::Facts;
use crate::facts::boot::boot_config::{BootConfig, Kind, Loader};
use crate::facts::boot::esp::PLACE;
use crate::facts::boot::kernels::Kernels;
use crate::mend::boot_config;
use crate::model::finding::Findings;
use crate::model::outcome::Verdict;
use crate::model::repair::{Change, Risk};
use crate::model::stage::Stage;
use crate::model::text::Text;
use crate::{check, tr};

check! {
    /// ## Symptom
    /// You see: the prompt "grub>" and no menu, on a console that on a cloud server nobody watches.
    ///
    /// ## What it finds
    /// The configuration that the installed GRUB reads is missing, is empty, or yields no entry: `grub.cfg` of GRUB 2
    /// (in `/boot/grub`, `/boot/grub2` or on the EFI partition), `grub.conf` or `menu.lst` of GRUB legacy,
    /// `/boot/loader/entries` where the menu is built from it; or the stub on the EFI partition looks for a volume or a
    /// file that does not exist.
    ///
    /// ## Why it matters
    /// GRUB stops at its own prompt (`grub>`), on a cloud server where nobody sits at the console.
    ///
    /// ## What the repair does
    /// Writes a configuration with an entry for each complete kernel, newest first: the volume is found by its UUID,
    /// the kernel parameters are those of `/etc/default/grub` (or of grubenv, `/etc/kernel/cmdline`, other entries),
    /// and `root=` names the root of this disk. No program of the target is run.
    ///
    /// ## By hand
    /// ```sh
    /// # once, at the grub> prompt (GRUB legacy: root (hd0,0), kernel …, initrd …, boot)
    /// set root=(hd0,msdos1)
    /// linux /boot/vmlinuz-VERSION root=/dev/vda1 ro
    /// initrd /boot/initrd.img-VERSION
    /// boot
    /// # then, on the booted system
    /// grub-mkconfig -o /boot/grub/grub.cfg
    /// ```
    "grub-config-missing", Boot, seed = ["B8", "C1"], proves = [BootConfig], "the boot loader's configuration is missing, empty or has no entries"
}

fn run(facts: &Facts, found: &mut Findings) -> Verdict {
    let config = facts.get::<BootConfig>()?;
    for loader in &config.loaders {
        let Some(message) = fault(loader).filter(|_| was_set_up(facts, &config, loader)) else { continue };
        let kernels = facts.get::<Kernels>()?;
        let finding = found.critical(message);
        match &loader.lost {
            Some(word) => finding.at(&word.file, word.span()),
            None => finding.at_path(&loader.main),
        };
        finding
            .why(match loader.kind {
                Kind::Grub2 => tr!("GRUB finds nothing to boot and stops at its grub> prompt"),
                Kind::Legacy => tr!("GRUB legacy finds nothing to boot and stops at its grub> prompt"),
            })
            .detail("kernels", kernels.complete().map(|kernel| kernel.version.clone()).collect::<Vec<_>>())
            .stops(Stage::BootConfig);
        let count = kernels.complete().count();
        match boot_config::changes(facts, &config, &kernels, loader) {
            Some(changes) => {
                let stub = changes.iter().any(|change| match change {
                    Change::Edit { after: text, .. } | Change::Create { content: text, .. } => {
                        text.contains_str("configfile")
                    }
                    _ => false,
                });
                let title = if stub {
                    tr!("write the stub that points to the configuration")
                } else {
                    tr!("write a configuration with entries for the complete kernels ({count})", count)
                };
                finding.repair(Risk::Safe, title, changes);
            }
            None if count == 0 => {
                finding.by_hand(tr!("no kernel is complete: reinstall the kernel's package in a chroot first"));
            }
            None => {
                finding.by_hand(tr!(
                    "the root has no UUID to refer to it by: write {path} with grub-mkconfig",
                    path = loader.main.as_path()
                ));
            }
        }
    }
    Ok(())
}

/// Whether GRUB was ever installed for this system. Where its package lies in a directory that no disk boots from (a
/// chroot, the root of an image to be), nobody misses a configuration.
fn was_set_up(facts: &Facts, config: &BootConfig, loader: &Loader) -> bool {
    let names = loader.main.parent().and_then(|dir| facts.root().read_dir(dir).ok()).unwrap_or_default();
    let is_of_grub = |name: &str| {
        ["-pc", "-efi", "-xen", "-ieee1275"].iter().any(|end| name.ends_with(end))
            || ["grubenv", "device.map", "fonts", "locale", "stage1", "stage2"].contains(&name)
    };
    facts.target().attached().is_ok()
        || loader.file.is_some()
        || loader.lost.is_some()
        // A GRUB that was told to read it lies on an EFI system partition.
        || config.paths.volume_of(&loader.main).is_some_and(|(_, place)| place == Path::new(PLACE))
        || names.iter().any(|entry| entry.name.to_str().is_some_and(is_of_grub))
}

fn fault(loader: &Loader) -> Option<Text> {
    let path = loader.main.as_path();
    let Some(file) = &loader.file else { return Some(tr!("{path} is missing: GRUB has no menu", path)) };
    if file.bytes.iter().all(|byte| byte.is_ascii_whitespace() || *byte == 0) {
        return Some(tr!("{path} is empty: GRUB has no menu", path));
    }
    if let Some(lost) = &loader.lost {
        let what = lost.text.as_str();
        return Some(tr!("{path} points to {what}, which does not exist", path, what));
    }
    if !loader.entries.is_empty() {
        return None;
    }
    Some(if loader.loader_entries {
        tr!("{path} shows the entries in /boot/loader/entries, and there are none", path)
    } else {
        tr!("{path} has no entries", path)
    })
}
