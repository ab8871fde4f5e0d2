//! A kernel parameter that forbids what the rest of the boot needs.

use bstr::ByteSlice;
use sickbay_formats::modules::Dependencies;
use sickbay_formats::sysctl::Assignment;

use crate::facts::Facts;
use crate::facts::boot::fstab::Fstab;
use crate::facts::boot::kernels::Kernels;
use crate::facts::system::sysctl_files::SysctlFiles;
use crate::mend::sysctl_lines::{Setting, comment_all, number};
use crate::model::finding::Findings;
use crate::model::outcome::{Skip, Verdict};
use crate::model::repair::Risk;
use crate::model::stage::Stage;
use crate::{check, tr};

check! {
    /// ## Symptom
    /// You see: "modprobe: ERROR: could not insert …: Operation not permitted", no network, file systems that cannot be
    /// mounted ("unknown filesystem type"), or a firewall that does not load, after each boot.
    ///
    /// ## What it finds
    /// In a sysctl file: `kernel.modules_disabled = 1`, and a `kernel.modprobe` that is a program that does not exist.
    /// systemd applies these files early, before the modules of network cards and of most file systems are loaded.
    ///
    /// ## Why it matters
    /// From that moment on no module can be loaded until the next boot, and the next boot does the same: network cards, vfat
    /// of the EFI partition, netfilter, device mapper.
    ///
    /// ## What the repair does
    /// Comments out the line. Risky where no file system that must be mounted needs a module. Who wants to lock the kernel
    /// does it in a unit that runs last, after all modules are loaded.
    ///
    /// ## By hand
    /// ```sh
    /// grep -rnE 'modules_disabled|kernel.modprobe' ROOT/etc/sysctl.conf ROOT/etc/sysctl.d ROOT/usr/lib/sysctl.d
    /// ```
    "sysctl-locks-modules", Boot, seed = ["B11"], proves = [], may_stop = [Mounts], "a kernel parameter forbids loading modules at boot"
}

const LOCKED: &str = "kernel.modules_disabled";
const MODPROBE: &str = "kernel.modprobe";

fn run(facts: &Facts, found: &mut Findings) -> Verdict {
    let files = facts.get::<SysctlFiles>()?;
    for why in &files.unread {
        found.could_not_tell(why.clone());
    }
    // It cannot be taken back: one line that sets it is enough, whatever comes later.
    let lines: Vec<Setting<'_>> = files
        .setting(LOCKED)
        .filter_map(|(file, assignment)| Some((file, assignment, number(assignment)?)))
        .filter(|(_, _, value)| *value != 0)
        .collect();
    if let Some((file, assignment, _)) = lines.first() {
        let mounts = waiting_for_modules(facts)?;
        let message = tr!("{key} = 1 is set early in the boot: no module can be loaded after it", key = LOCKED);
        let finding = if mounts.is_empty() { found.error(message) } else { found.critical(message) };
        finding.at(file, assignment.span);
        for (file, assignment, _) in lines.iter().skip(1) {
            finding.at(file, assignment.span);
        }
        if mounts.is_empty() {
            finding.why(tr!(
                "network cards, file systems and the firewall whose modules come later do not work, at every boot"
            ));
        } else {
            let places = mounts.join(", ");
            finding
                .why(tr!("{places} cannot be mounted, and the boot stops in emergency mode", places))
                .stops(Stage::Mounts);
        }
        // A lock is set on purpose, though not at this moment.
        let risk = if mounts.is_empty() { Risk::Risky } else { Risk::Safe };
        let title =
            tr!("comment out {count} {count?line that sets|lines that set} {key}", count = lines.len(), key = LOCKED);
        finding.repair(risk, title, comment_all(&lines));
    }
    let winner = files.setting(MODPROBE).next();
    if let Some((file, assignment)) = winner.filter(|(_, assignment)| is_nothing(facts, assignment)) {
        found
            .error(tr!("{key} names no program that exists: the kernel loads no module by itself", key = MODPROBE))
            .at(file, assignment.span)
            .why(tr!("file systems, protocols and device mapper targets that the kernel asks for are not loaded"))
            .repair(
                Risk::Safe,
                tr!("comment out line {line} of {path}", line = assignment.line, path = file.path.as_path()),
                comment_all(&[(file, assignment, 0)]),
            );
    }
    Ok(())
}

/// Places of fstab that must be mounted and whose file system is a module, which the initramfs has no reason to load.
fn waiting_for_modules(facts: &Facts) -> Result<Vec<String>, Skip> {
    let (fstab, kernels) = match (facts.get::<Fstab>(), facts.get::<Kernels>()) {
        (Ok(fstab), Ok(kernels)) => (fstab, kernels),
        (Err(unknown @ Skip::Unknown(_)), _) | (_, Err(unknown @ Skip::Unknown(_))) => return Err(unknown),
        _ => return Ok(Vec::new()),
    };
    let Some(kernel) = kernels.complete().next() else { return Ok(Vec::new()) };
    let path = format!("/lib/modules/{}/modules.dep", kernel.version);
    let Ok(text) = facts.root().read_up_to(&path, 64 << 20) else { return Ok(Vec::new()) };
    let modules = Dependencies::parse(&text);
    let early: Vec<Vec<u8>> = fstab
        .sound()
        .filter(|entry| matches!(entry.mount_point().as_bytes(), b"/" | b"/usr"))
        .map(|entry| entry.fstype().to_vec())
        .collect();
    let waits = fstab.sound().filter(|entry| {
        let fstype = entry.fstype().to_str_lossy();
        !entry.is_optional()
            && !entry.is_swap()
            && !early.contains(&entry.fstype().to_vec())
            && modules.get(&fstype).is_some()
    });
    Ok(waits.map(|entry| entry.mount_point().to_string()).collect())
}

fn is_nothing(facts: &Facts, assignment: &Assignment) -> bool {
    let Some(value) = assignment.value.as_ref().map(|value| value.as_slice().trim_ascii()) else { return false };
    let Ok(path) = value.to_str() else { return false };
    // /bin/true and its like switch it off on purpose.
    path.starts_with('/') && facts.root().exists(path).is_ok_and(|there| !there)
}
