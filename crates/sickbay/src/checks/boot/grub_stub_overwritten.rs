//! A whole configuration of GRUB where the EFI partition has a stub.

use crate::facts::Facts;
use crate::facts::boot::boot_config::grub2::main_dir;
use crate::facts::boot::boot_config::{BootConfig, Kind};
use crate::facts::boot::kernels::Kernels;
use crate::facts::system::release::System;
use crate::mend::boot_config::changes;
use crate::model::finding::Findings;
use crate::model::outcome::{Skip, Verdict};
use crate::model::repair::Risk;
use crate::{check, tr};

check! {
    /// ## Symptom
    /// You see: the machine boots, but a changed default, timeout or kernel parameter has no effect, and
    /// `grub2-set-default` and `grub2-reboot` change nothing.
    ///
    /// ## What it finds
    /// On a distribution whose GRUB reads a stub on the EFI partition, which leads to `/boot/grub2/grub.cfg` or
    /// `/boot/grub/grub.cfg`: a whole menu in the place of the stub, as `grub2-mkconfig -o /boot/efi/EFI/redhat/grub.cfg` writes it,
    /// beside the one that it should lead to. RHEL up to version 8 has its menu there, and so have others that follow it.
    ///
    /// ## Why it matters
    /// GRUB takes its environment from beside the file that it reads first. What `grubby`, kernel updates and
    /// `grub2-mkconfig` write to `/boot` from then on is not read.
    ///
    /// ## What the repair does
    /// Writes the stub again. It is a risky repair: the machine boots as it is.
    ///
    /// ## By hand
    /// ```sh
    /// # in the running system; on Debian and Ubuntu: grub-install
    /// rm /boot/efi/EFI/redhat/grub.cfg; dnf reinstall grub2-common
    /// grub2-mkconfig -o /boot/grub2/grub.cfg
    /// ```
    "grub-stub-overwritten", Boot, seed = [], proves = [], "a whole GRUB configuration stands in the place of the stub"
}

/// Where the EFI partition is mounted.
const EFI: &str = "/boot/efi";

fn run(facts: &Facts, found: &mut Findings) -> Verdict {
    let config = facts.get::<BootConfig>()?;
    if !has_stub(facts)? {
        return Err(Skip::NotApplicable(tr!("GRUB's menu may be on the EFI partition with this distribution")));
    }
    let Some(own) = main_dir(facts).map(|dir| dir.join("grub.cfg")) else { return Ok(()) };
    let there = facts.file(&own)?.is_some_and(|file| file.bytes.len() > 256);
    for loader in config.loaders.iter().filter(|loader| loader.kind == Kind::Grub2) {
        let path = loader.first.as_path();
        let is_whole = path.starts_with(EFI) && path == loader.main && !loader.entries.is_empty();
        let Some(file) = loader.file.as_ref().filter(|_| there && is_whole) else { continue };
        let finding =
            found.note(tr!("{path} is a whole menu, and not the stub that leads to {own}", path, own = own.as_path()));
        finding.at_path(&file.path).why(tr!(
            "the machine boots by it: grubenv, and what is written to {own} from now on, have no effect",
            own = own.as_path()
        ));
        let kernels = facts.get::<Kernels>()?;
        match changes(facts, &config, &kernels, loader) {
            Some(changes) => {
                finding.repair(Risk::Risky, tr!("write the stub that points to the configuration"), changes)
            }
            None => finding.by_hand(tr!("write the stub that points to the configuration")),
        };
    }
    Ok(())
}

/// Whether this distribution's GRUB has a stub on the EFI partition.
fn has_stub(facts: &Facts) -> Result<bool, Skip> {
    let system = facts.get::<System>()?;
    let release = &system.release;
    let major =
        release.version.as_deref().and_then(|version| version.split('.').next()?.parse::<u32>().ok()).unwrap_or(0);
    let id = release.id.as_deref().unwrap_or_default();
    Ok(match id {
        "fedora" => major >= 34,
        "rhel" | "centos" | "rocky" | "almalinux" | "ol" => major >= 9,
        "debian" | "ubuntu" => true,
        _ => false,
    })
}
