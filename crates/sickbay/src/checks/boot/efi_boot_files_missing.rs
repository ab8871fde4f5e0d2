//! The EFI system partition holds nothing that the firmware starts.

use bstr::ByteSlice;
use sickbay_target::Architecture;

use crate::facts::Facts;
use crate::facts::boot::boot_loader::{BootDisk, BootLoader};
use crate::facts::boot::esp::{Esp, Esps, Program};
use crate::facts::boot::fstab::Fstab;
use crate::mend::esp;
use crate::model::finding::Findings;
use crate::model::outcome::{Skip, Verdict};
use crate::model::repair::Risk;
use crate::model::stage::Stage;
use crate::{check, tr};

check! {
    /// ## Symptom
    /// You see: the firmware reports "No bootable device", "BdsDxe: No bootable option or device was found", or drops
    /// to its setup screen or the UEFI shell.
    ///
    /// ## What it finds
    /// A system booted by UEFI whose EFI system partition contains no boot loader; or, on a disk that is checked from
    /// outside, one with a boot loader in its distribution's directory but none at `\EFI\BOOT\BOOTX64.EFI`
    /// (`BOOTAA64.EFI` on ARM), where firmware looks that has no entry for the other one.
    ///
    /// ## Why it matters
    /// Without a boot loader the firmware finds nothing to boot. Without the fallback path the disk boots only on the
    /// machine it was installed on, and only as long as that machine keeps its firmware settings: not on a new
    /// instance, nor after a reset.
    ///
    /// ## What the repair does
    /// Copies the boot loader (shim with GRUB, GRUB, or systemd-boot) to that path, or GRUB's `core.efi` from
    /// `/boot/grub` where nothing else is left.
    ///
    /// ## By hand
    /// ```sh
    /// # in a chroot, the partition mounted on /boot/efi
    /// grub-install --target=x86_64-efi --removable
    /// # Fedora, RHEL
    /// dnf reinstall 'shim-*' 'grub2-efi-*'
    /// ```
    "efi-boot-files-missing", Boot, seed = ["B8", "B13"], proves = [BootLoader], "the EFI system partition has nothing to boot"
}

fn run(facts: &Facts, found: &mut Findings) -> Verdict {
    let esps = facts.get::<Esps>()?;
    if esps.list.is_empty() {
        return Err(Skip::NotApplicable(tr!("there is no EFI system partition")));
    }
    let mut readable = Vec::new();
    for esp in &esps.list {
        match esp {
            Ok(esp) => readable.push(esp),
            Err(why) => found.could_not_tell(why.clone()),
        }
    }
    let Some(first) = readable.first() else { return Ok(()) };
    let by_bios = facts.get::<BootLoader>().is_ok_and(|loader| loader.disks.iter().any(BootDisk::starts_linux));
    if esps.start() == Some(true) {
        // A machine that runs has been told what to start.
        if !facts.runs() {
            readable.iter().for_each(|esp| fallback(facts, esp, by_bios, found));
        }
        return Ok(());
    }
    if by_bios || esps.start().is_none() {
        return Ok(());
    }
    if !is_meant(facts) {
        return Err(Skip::NotApplicable(tr!("nothing indicates that UEFI boots this system")));
    }
    let finding =
        found.critical(tr!("{esp}, the EFI system partition, contains no boot loader", esp = first.volume.name));
    finding
        .at_device(first.volume.name.clone())
        .why(tr!("the firmware finds nothing to boot"))
        .stops(Stage::BootLoader);
    let Some(suffix) = suffix(facts) else { return Ok(()) };
    let dir = match suffix {
        "x64" => "x86_64-efi",
        "aa64" => "arm64-efi",
        "ia32" => "i386-efi",
        _ => "",
    };
    let core = ["/boot/grub", "/boot/grub2"]
        .iter()
        .filter_map(|grub| facts.file(format!("{grub}/{dir}/core.efi")).ok().flatten())
        .find(|file| file.bytes.starts_with(b"MZ"));
    let path = format!("EFI/BOOT/BOOT{}.EFI", suffix.to_ascii_uppercase());
    match core.as_ref().map(|core| esp::write(first, facts, &[(path.clone(), core.bytes.clone())])) {
        Some(Ok(changes)) => {
            let core = core.as_ref().map_or(std::path::Path::new(""), |core| &core.path);
            finding.repair(
                Risk::Safe,
                tr!(
                    "copy {core} to {path} on {esp}; Secure Boot must be off",
                    core,
                    path = shown(&path),
                    esp = first.volume.name
                ),
                changes,
            );
        }
        other => {
            if let Some(Err(error)) = other {
                finding.evidence(first.volume.name.clone(), error.to_string());
            }
            finding.by_hand(tr!(
                "reinstall the boot loader from a rescue system with the partition mounted on /boot/efi: grub-install --removable, or dnf reinstall shim-* grub2-efi-*"
            ));
        }
    }
    Ok(())
}

/// Whether the system was set up to be started by UEFI: it mounts the partition, or has GRUB for it.
fn is_meant(facts: &Facts) -> bool {
    let there = |path: &str| facts.root().exists(path).unwrap_or(false);
    let mounts = facts
        .get::<Fstab>()
        .is_ok_and(|fstab| fstab.sound().any(|entry| matches!(entry.mount_point().as_bytes(), b"/boot/efi" | b"/efi")));
    mounts
        || [
            "/boot/grub/x86_64-efi",
            "/boot/grub2/x86_64-efi",
            "/boot/grub/arm64-efi",
            "/boot/grub2/arm64-efi",
            "/boot/loader/loader.conf",
        ]
        .into_iter()
        .any(there)
}

/// How names of programs for the machine end (UEFI specification, chapter 3.5.1.1).
fn suffix(facts: &Facts) -> Option<&'static str> {
    // e_machine of ELF: x86-64, AArch64, i386, RISC-V, LoongArch.
    let built_for = Architecture::of(facts.root())?;
    match (built_for.machine, built_for.class) {
        (62, _) => Some("x64"),
        (183, _) => Some("aa64"),
        (3, _) => Some("ia32"),
        (243, 2) => Some("riscv64"),
        (258, 2) => Some("loongarch64"),
        _ => None,
    }
}

/// As firmware and its users write a path.
fn shown(path: &str) -> String {
    format!("\\{}", path.replace('/', "\\"))
}

fn fallback(facts: &Facts, esp: &Esp, by_bios: bool, found: &mut Findings) {
    let Some(suffix) = suffix(facts) else { return };
    let wanted = format!("boot{suffix}.efi");
    if esp.programs.iter().any(|program| program.is_fallback() && program.is_sound && program.name() == wanted) {
        return;
    }
    let loaders = || esp.programs.iter().filter(|program| program.is_loader() && !program.is_fallback());
    // shim starts GRUB beside it, so both are copied; what else starts by itself is copied alone.
    let named = |name: String| loaders().find(|program| program.name() == name);
    let shim = named(format!("shim{suffix}.efi"));
    let beside = |shim: &Program, name: String| {
        esp.programs.iter().find(|program| program.is_sound && program.dir() == shim.dir() && program.name() == name)
    };
    let grub =
        shim.map_or_else(|| named(format!("grub{suffix}.efi")), |shim| beside(shim, format!("grub{suffix}.efi")));
    let boot = named(format!("systemd-boot{suffix}.efi"));
    let Some(main) = shim.filter(|_| grub.is_some()).or(grub).or(boot) else { return };
    let path = format!("EFI/BOOT/BOOT{}.EFI", suffix.to_ascii_uppercase());
    let mut copies = vec![(main, path.clone())];
    if let (Some(shim), Some(grub)) = (shim.filter(|shim| *shim == main), grub) {
        copies.push((grub, format!("EFI/BOOT/grub{suffix}.efi")));
        copies.extend(beside(shim, format!("mm{suffix}.efi")).map(|mm| (mm, format!("EFI/BOOT/mm{suffix}.efi"))));
    }
    let message = tr!("{esp}, the EFI system partition, has no {path}", esp = esp.volume.name, path = shown(&path));
    // A disk that a BIOS starts need not start by UEFI too.
    let finding = if by_bios { found.note(message) } else { found.warning(message) };
    finding
        .at_device(esp.volume.name.clone())
        .why(tr!(
            "the disk boots only where the firmware has an entry for {loader}: not on another machine, nor after the firmware's settings are lost",
            loader = shown(&main.path)
        ))
        .evidence(esp.volume.name.clone(), shown(&main.path));
    let files: Result<Vec<_>, _> =
        copies.into_iter().map(|(from, to)| esp.read(facts, &from.path).map(|content| (to, content))).collect();
    match files.and_then(|files| esp::write(esp, facts, &files)) {
        Ok(changes) => {
            finding.repair(
                Risk::Safe,
                tr!("copy {loader} to {path}", loader = shown(&main.path), path = shown(&path)),
                changes,
            );
        }
        Err(error) => {
            finding.evidence(esp.volume.name.clone(), error.to_string()).by_hand(tr!(
                "copy {loader} to {path} by hand",
                loader = shown(&main.path),
                path = shown(&path)
            ));
        }
    }
}
