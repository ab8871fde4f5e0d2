//! An initramfs that the kernel cannot unpack.

use bstr::ByteSlice;
use sickbay_formats::initramfs::{Compression, Damage};

use crate::facts::Facts;
use crate::facts::boot::initramfs::{Contents, Initramfses, OfKernel, root_file_system};
use crate::facts::system::space::Space;
use crate::mend::rebuild;
use crate::model::finding::{Findings, Severity};
use crate::model::outcome::Verdict;
use crate::model::repair::Risk;
use crate::model::stage::Stage;
use crate::model::text::Text;
use crate::{check, tr};

check! {
    /// ## Symptom
    /// You see: "Initramfs unpacking failed: …", then "VFS: Unable to mount root fs on unknown-block(0,0)" and a kernel
    /// panic.
    ///
    /// ## What it finds
    /// An initramfs that is truncated, overwritten, full of zeros, not an initramfs at all, without the program
    /// `/init`, or compressed in a way that its kernel was not built to unpack. It is opened and read to its end, as
    /// the kernel does: every archive in it, early microcode and the main part, compressed with gzip, bzip2, lzma, xz,
    /// lzo, lz4 or zstd. Of kernels that do not start by default only the beginning is looked at, unless the default's is no
    /// good or `--digests` is given.
    ///
    /// ## Why it matters
    /// A full disk, or a machine that was switched off during an update, leaves half of it. The kernel reports
    /// "Initramfs unpacking failed", has no drivers and no `/init`, and stops: "Unable to mount root fs".
    ///
    /// ## What the repair does
    /// Runs the target's own mkinitramfs, dracut, mkinitcpio or mkinitfs, without a network and on a copy that is
    /// thrown away, opens the result, and installs it when it is intact and has the drivers for the disk and the root
    /// file system.
    ///
    /// ## By hand
    /// ```sh
    /// # in a chroot
    /// update-initramfs -u -k VERSION
    /// dracut --force --no-hostonly FILE VERSION
    /// ```
    "initramfs-damaged", Boot, seed = ["B3", "B5"], proves = [Initramfs], "an initramfs cannot be unpacked"
}

fn run(facts: &Facts, found: &mut Findings) -> Verdict {
    for kernel in &facts.get::<Initramfses>()?.all {
        let contents = match &kernel.contents {
            Some(Ok(contents)) => contents,
            Some(Err(why)) => {
                found.could_not_tell(why.clone());
                continue;
            }
            None => continue,
        };
        let Some(message) = fault(facts, kernel, contents) else { continue };
        let severity = if kernel.is_default { Severity::Critical } else { Severity::Warning };
        let version = kernel.version.as_str();
        let finding = found.add(severity, message);
        finding
            .at_path(&kernel.path)
            .why(tr!(
                "kernel {version} finds neither drivers nor /init in it, cannot mount the root and stops",
                version
            ))
            .detail("kernel", version)
            .detail("size", kernel.size);
        if kernel.is_default {
            finding.stops(Stage::Initramfs);
        }
        if kernel.is_cut_off()
            && let Ok(space) = facts.get::<Space>()
            && let Some(full) = space.full_below(facts, &kernel.path)
        {
            finding.about(full.subject());
        }
        match rebuild::offer(facts, version, &kernel.path) {
            Some((title, change)) => finding.repair(Risk::Safe, title, [change]),
            None => finding.by_hand(tr!(
                "restore the modules of kernel {version} and the program that builds its initramfs, then rebuild it",
                version
            )),
        };
    }
    Ok(())
}

fn fault(facts: &Facts, kernel: &OfKernel, contents: &Contents) -> Option<Text> {
    let path = kernel.path.as_path();
    match contents.damage() {
        Some(Damage::Blank) => return Some(tr!("{path} contains nothing but zeros", path)),
        Some(Damage::Unknown(0)) => return Some(tr!("{path} is not an initramfs", path)),
        Some(Damage::Unknown(at)) => {
            return Some(tr!("{path} is corrupt: there is no cpio archive at offset {at}", path, at));
        }
        Some(Damage::Truncated(_, how)) => {
            return Some(tr!(
                "{path} is truncated: its {compression} archive has no end",
                path,
                compression = how.name()
            ));
        }
        Some(Damage::Corrupt(_, how, why)) => {
            return Some(tr!(
                "{path} is damaged: its {compression} archive cannot be unpacked ({why})",
                path,
                compression = how.name(),
                why
            ));
        }
        None => {}
    }
    if let Some(how) = not_unpacked(facts, kernel, contents) {
        return Some(tr!(
            "{path} is compressed with {compression}, which kernel {version} was not built to unpack",
            path,
            compression = how.name(),
            version = kernel.version.as_str()
        ));
    }
    // A kernel with all drivers in itself mounts the root without any program.
    let is_self_sufficient = root_file_system(facts).is_some_and(|fstype| kernel.builtin.contains(&fstype));
    (!contents.has_init && !is_self_sufficient).then(|| tr!("{path} has no /init", path))
}

/// The first compression that the kernel's own configuration says it does not know.
fn not_unpacked(facts: &Facts, kernel: &OfKernel, contents: &Contents) -> Option<Compression> {
    let config = facts.file(format!("/boot/config-{}", kernel.version)).ok()??;
    let says = |option: &str| config.bytes.lines().any(|line| line.strip_suffix(b"=y") == Some(option.as_bytes()));
    if !says("CONFIG_BLK_DEV_INITRD") {
        return None;
    }
    let mut all = contents.parts.iter().map(|part| part.compression);
    all.find(|compression| compression.option().is_some_and(|option| !says(option)))
}
