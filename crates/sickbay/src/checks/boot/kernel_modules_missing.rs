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
    /// ## What it finds
    /// Files of modules that `/lib/modules/VERSION/modules.dep` names and that are not there, for the kernel that starts by
    /// default: all of them where the directory `kernel` was removed or a disk was copied in part, or single ones.
    ///
    /// ## Why it matters
    /// The initramfs has modules of its own, so the root is mounted; then `modprobe` fails for everything else: no network
    /// card, no further file system, no firewall, no containers. With a driver of the disk or of the root among them the
    /// machine stops at the first initramfs that is packed without it.
    ///
    /// ## What the repair does
    /// Brings the files back from a donor, from a package that is kept on the target or given (`--package`), or with `--fetch`
    /// from a mirror. By hand: reinstall the kernel's package; where files were removed on purpose, run `depmod VERSION`.
    "kernel-modules-missing", Boot, seed = ["B5", "B3"], proves = [], "modules of the kernel are listed and not there"
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
            "{count} of the {total} modules of kernel {version} are missing, {few} among them",
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
        .why(tr!("what needs them does not come up: a network card, a further file system, a firewall"))
        .detail("missing", names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>());
    let (restoration, left) = restore_all(facts, &paths, Risk::Risky);
    if let Some(restoration) = restoration {
        finding.repair(restoration.risk, restoration.title, restoration.changes);
    }
    if !left.is_empty() {
        finding.by_hand(tr!("reinstall the package of kernel {version}, or give it with --package", version));
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
