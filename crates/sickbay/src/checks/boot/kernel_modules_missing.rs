//! Modules of the kernel that starts by default are listed and not there.

use std::path::{Path, PathBuf};

use bstr::ByteSlice;
use sickbay_target::Reason;

use crate::facts::Facts;
use crate::facts::boot::initramfs::{Initramfses, OfKernel};
use crate::mend::restore::restore_all;
use crate::model::finding::{Findings, Severity};
use crate::model::outcome::{Skip, Verdict};
use crate::model::repair::Risk;
use crate::{check, tr};

check! {
    /// ## Symptom
    /// You see: the system boots but has no network card, firewall or container support; "modprobe: ERROR: could not
    /// insert …: No such file or directory".
    ///
    /// ## What it finds
    /// Module files that `/lib/modules/VERSION/modules.dep` lists and that do not exist, for the default kernel: all of
    /// them where the directory `kernel` was removed or a disk was copied only in part, or single ones.
    ///
    /// ## Why it matters
    /// The initramfs has modules of its own, so the root is mounted; after that `modprobe` fails for everything else:
    /// no network card, no other file system, no firewall, no containers. If a driver for the disk or the root is among
    /// them, the machine stops at the first initramfs that is built without it.
    ///
    /// ## What the repair does
    /// Restores the files from a donor, from a package that is kept on the target or supplied (`--package`), or with
    /// `--fetch` from a mirror.
    ///
    /// ## By hand
    /// ```sh
    /// # reinstall the kernel's package; if the files were removed on purpose
    /// depmod -b ROOT VERSION
    /// ```
    "kernel-modules-missing", Boot, seed = ["B5", "B3"], proves = [], "kernel modules are listed but missing"
}

/// Modules without which a cloud's machine does not come back, or not to the network.
const ESSENTIAL: [&str; 16] = [
    "virtio_blk",
    "virtio_scsi",
    "virtio_pci",
    "virtio_net",
    "virtio_ring",
    "virtio",
    "net_failover",
    "failover",
    "nvme",
    "nvme_core",
    "xen_blkfront",
    "xen_netfront",
    "ext4",
    "jbd2",
    "xfs",
    "dm_mod",
];

/// So many are named in the sentence and pointed at.
const NAMED: usize = 3;

fn run(facts: &Facts, found: &mut Findings) -> Verdict {
    let all = facts.get::<Initramfses>()?;
    let Some(kernel) = all.all.iter().find(|kernel| kernel.is_default) else {
        return Err(Skip::NotApplicable(tr!("no kernel is installed in /boot")));
    };
    let version = kernel.version.as_str();
    let dir = Path::new("/lib/modules").join(version);
    let (names, paths) = missing(facts, kernel, &dir)?;
    if names.is_empty() {
        return Ok(());
    }
    let essential: Vec<&str> = names.iter().copied().filter(|name| ESSENTIAL.contains(name)).collect();
    let first = if essential.is_empty() { &names } else { &essential };
    let few = first.iter().take(NAMED).copied().collect::<Vec<_>>().join(", ");
    let (count, total) = (names.len(), kernel.dependencies.iter().count());
    let severity = if !essential.is_empty() || count > total / 2 { Severity::Error } else { Severity::Warning };
    let finding = found.add(
        severity,
        tr!(
            "{count} of the {total} modules of kernel {version} {count?is|are} missing, including {few}",
            count,
            total,
            version,
            few
        ),
    );
    // Where nothing is left, it is the directory that is missing.
    if count == total {
        finding.at_path(dir.join("kernel"));
    }
    for (name, path) in names.iter().zip(&paths) {
        finding.explains(path);
        if first.iter().take(NAMED).any(|one| one == name) && count < total {
            finding.at_path(path);
        }
    }
    finding
        .why(tr!("whatever needs them does not come up: a network card, another file system, a firewall"))
        .detail("missing", names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>());
    let (restoration, left) = restore_all(facts, &paths, Risk::Risky);
    if let Some(restoration) = restoration {
        finding.repair(restoration.risk, restoration.title, restoration.changes);
    }
    if !left.is_empty() {
        finding.by_hand(tr!("reinstall the package of kernel {version}, or supply it with --package", version));
    }
    Ok(())
}

/// The modules whose files are not there, and where they should be. One that stands in the way as a link counts as there:
/// those of other kernels are linked to.
fn missing<'a>(facts: &Facts, kernel: &'a OfKernel, dir: &Path) -> Result<(Vec<&'a str>, Vec<PathBuf>), Skip> {
    let (mut names, mut paths) = (Vec::new(), Vec::new());
    for (name, module) in kernel.dependencies.iter() {
        let path = dir.join(module.path.to_path_lossy());
        match facts.root().metadata(&path) {
            Ok(_) => {}
            Err(error) if matches!(error.reason, Reason::NotFound | Reason::NotADirectory) => {
                names.push(name);
                paths.push(path);
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok((names, paths))
}
