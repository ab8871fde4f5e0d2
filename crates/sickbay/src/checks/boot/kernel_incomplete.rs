//! A kernel that is installed has lost something.

use crate::facts::Facts;
use crate::facts::boot::boot_config::BootConfig;
use crate::facts::boot::kernels::{Kernel, Kernels, PartState};
use crate::mend::boot_entries::{boot_another, kernel_of};
use crate::mend::rebuild;
use crate::model::finding::Findings;
use crate::model::outcome::{Skip, Verdict};
use crate::model::repair::{Change, Risk};
use crate::{check, tr};

check! {
    /// ## Symptom
    /// You see: a system that comes up without a network or without some of its file systems; "modprobe: FATAL: Module
    /// … not found in directory /lib/modules/…".
    ///
    /// ## What it finds
    /// The modules of the default kernel are gone (`/lib/modules/VERSION`, or `modules.dep` in it); or a kernel that is
    /// not the default lacks its image, its initramfs or its modules, or has an empty or damaged one.
    ///
    /// ## Why it matters
    /// Without modules the boot may end with a system that has no network, no other file systems, or no screen. A
    /// kernel that is not the default only matters when you need it as a fallback.
    ///
    /// ## What the repair does
    /// Copies the modules from a donor; where only `modules.dep` is missing, runs the target's own `depmod` on a copy
    /// of it; otherwise makes the newest complete kernel the default. For a kernel that is not the default nothing is
    /// done: reinstall or remove its package.
    ///
    /// ## By hand
    /// ```sh
    /// # if only modules.dep is missing; otherwise reinstall the kernel's package
    /// depmod -b ROOT VERSION
    /// ```
    "kernel-incomplete", Boot, seed = ["B5", "B4", "L6"], proves = [], "an installed kernel is incomplete"
}

fn run(facts: &Facts, found: &mut Findings) -> Verdict {
    let config = facts.get::<BootConfig>()?;
    let kernels = facts.get::<Kernels>()?;
    if kernels.all.is_empty() {
        return Err(Skip::NotApplicable(tr!("no kernel is installed in /boot")));
    }
    let mut defaults: Vec<&Kernel> = Vec::new();
    for loader in &config.loaders {
        let Some(kernel) = loader.default_entry().and_then(|entry| kernel_of(facts, &kernels, entry)) else { continue };
        if defaults.iter().any(|known| known.version == kernel.version) {
            continue;
        }
        defaults.push(kernel);
        let Some(modules) = kernel.modules.as_ref().filter(|modules| modules.state.is_bad()) else { continue };
        let finding = found.error(tr!(
            "{path} of {version}, the default kernel, {what}",
            path = modules.path.as_path(),
            version = kernel.version.as_str(),
            what = modules.state.words()
        ));
        finding
            .at_path(&modules.path)
            .why(tr!("no module can be loaded once the root is mounted: no network card, no other file system"));
        let donor = crate::mend::restore::restore(facts, modules.path.join("modules.dep"));
        if let (Some(donor), PartState::Missing) = (donor, &modules.state)
            && facts.root().stat(&modules.path).is_err()
        {
            finding.repair(
                donor.risk,
                tr!("copy {path} from the donor", path = modules.path.as_path()),
                [Change::copy_from_donor(&modules.path)],
            );
        }
        let dir_is_there = modules.path.ends_with("modules.dep");
        let version = modules.path.parent().and_then(|dir| dir.file_name()).and_then(|name| name.to_str());
        if let Some((title, change)) =
            version.filter(|_| dir_is_there).and_then(|version| rebuild::modules(facts, version))
        {
            finding.repair(Risk::Safe, title, [change]);
        }
        if kernel.image.state == PartState::Sound
            && let Some((risk, title, changes)) = boot_another(facts, &config, &kernels, loader)
        {
            finding.repair(risk, title, changes);
        }
        finding.by_hand(tr!("reinstall the kernel's package, or run depmod if only modules.dep is missing"));
    }
    for kernel in &kernels.all {
        let is_default = defaults.iter().any(|known| known.version == kernel.version);
        let Some(part) = kernel.parts().find(|part| part.state.is_bad()).filter(|_| !is_default) else { continue };
        let finding = found.note(tr!(
            "{version}, which is not the default kernel, is incomplete: {path} {what}",
            version = kernel.version.as_str(),
            path = part.path.as_path(),
            what = part.state.words()
        ));
        let empty: Vec<String> = kernel.empty.iter().map(|path| path.display().to_string()).collect();
        finding
            .at_path(&part.path)
            .detail("version", kernel.version.clone())
            .detail("empty", empty)
            .why(tr!("it cannot serve as a fallback"))
            .by_hand(tr!("reinstall its package, or remove it"));
    }
    Ok(())
}
