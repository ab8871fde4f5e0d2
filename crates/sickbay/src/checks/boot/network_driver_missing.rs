//! The kernel that starts has no driver for the network of a guest of KVM.

use std::path::{Path, PathBuf};

use bstr::ByteSlice;
use sickbay_formats::lines::with_comment;
use sickbay_formats::modules::Dependencies;

use crate::facts::Facts;
use crate::facts::boot::initramfs::{Initramfses, OfKernel};
use crate::facts::boot::modprobe::Modprobe;
use crate::facts::system::platform::{Clue, Kind, Platform};
use crate::model::finding::{Findings, Severity};
use crate::model::outcome::{Skip, Verdict};
use crate::model::repair::{Change, Risk};
use crate::{check, tr};

check! {
    /// ## Symptom
    /// You see: the system boots to a login prompt on the console, but `ip link` shows only `lo`, and ssh does not
    /// answer.
    ///
    /// ## What it finds
    /// Where logs or programs of the system show that it is a KVM guest: a default kernel with neither a built-in
    /// `virtio_net` nor a module of that name, or whose module file, or one that it needs, is gone from `/lib/modules`.
    /// Also a line in `modprobe.d` that prevents `virtio_net` from being loaded, unless the system is from another kind
    /// of machine.
    ///
    /// ## Why it matters
    /// The system boots without a network: ssh does not answer, and on most clouds that is the only way in.
    ///
    /// ## What the repair does
    /// Comments out the line in `modprobe.d`. It does not supply a missing driver: where the file belongs to a package,
    /// `package-file-missing` restores it.
    ///
    /// ## By hand
    /// ```sh
    /// # in a chroot, or boot another kernel
    /// apt-get install linux-modules-extra-VERSION
    /// dnf install kernel-modules
    /// ```
    "network-driver-missing", Boot, seed = ["C1"], proves = [], "the kernel has no network driver for a KVM guest"
}

const DRIVER: &str = "virtio_net";

fn run(facts: &Facts, found: &mut Findings) -> Verdict {
    if facts.runs() {
        return Err(Skip::NotApplicable(tr!(
            "this machine is running: its own network shows whether a driver is missing"
        )));
    }
    let platform = facts.get::<Platform>()?;
    let clue = match &platform.kind {
        Some((Kind::Kvm, clue)) => Some(clue),
        None => None,
        Some((Kind::Other, _)) => return Err(Skip::NotApplicable(tr!("it is not a KVM guest"))),
    };
    let all = facts.get::<Initramfses>()?;
    let Some(kernel) = all.all.iter().find(|kernel| kernel.is_default) else { return Ok(()) };
    // A list without any driver of a network is no whole list.
    let dir = Path::new("/lib/modules").join(&kernel.version);
    let has_others = facts.file(dir.join("modules.dep"))?.is_some_and(|file| file.bytes.contains_str("/drivers/net/"));
    if kernel.builtin.contains(DRIVER) || !has_others {
        return Ok(());
    }
    let is_banned = banned(facts, found, clue)?;
    let Some(clue) = clue else {
        return if !is_banned {
            Err(Skip::NotApplicable(tr!("nothing indicates that it is a KVM guest")))
        } else {
            Ok(())
        };
    };
    let version = kernel.version.as_str();
    let gone = gone(facts, kernel, &kernel.dependencies, &dir);
    let finding = match (&gone, kernel.knows(DRIVER)) {
        (Some(path), _) => found.error(tr!(
            "kernel {version} cannot load virtio_net: {path} is missing",
            version,
            path = path.as_path()
        )),
        (None, false) => found.error(tr!("kernel {version} has no virtio_net", version)),
        (None, true) => return Ok(()),
    };
    finding
        .at_path(gone.as_deref().unwrap_or(&dir))
        .evidence(clue.source.clone(), clue.words.clone())
        .why(tr!("it boots without a network: ssh does not answer"))
        .by_hand(tr!("install the package with the rest of this kernel's modules, or boot another kernel"));
    Ok(())
}

/// Lines that keep the driver from being loaded, which is wrong wherever it could be needed.
fn banned(facts: &Facts, found: &mut Findings, clue: Option<&Clue>) -> Result<bool, Skip> {
    let modprobe = facts.get::<Modprobe>()?;
    for why in &modprobe.unread {
        found.could_not_tell(why.clone());
    }
    for (file, ban) in modprobe.of(DRIVER) {
        let path = file.path.as_path();
        let severity = if clue.is_some() { Severity::Error } else { Severity::Warning };
        let finding = found.add(severity, tr!("{path} prevents virtio_net from being loaded", path));
        if let Some(clue) = clue {
            finding.evidence(clue.source.clone(), clue.words.clone());
        }
        finding.at(file, ban.span).why(tr!("a KVM guest boots without a network: ssh does not answer"));
        let title = tr!("comment out line {line} of {path}", line = ban.span.line, path);
        finding.repair(Risk::Safe, title, [Change::edit(file, with_comment(&file.bytes, ban.span.line))]);
    }
    Ok(modprobe.of(DRIVER).next().is_some())
}

/// The file of the module, or of one that it needs, that modules.dep names and that is not there.
fn gone(facts: &Facts, kernel: &OfKernel, all: &Dependencies, dir: &Path) -> Option<PathBuf> {
    let module = all.get(DRIVER)?;
    let needed = module.needs.iter().filter(|name| !kernel.builtin.contains(*name)).filter_map(|name| all.get(name));
    let mut paths = [module].into_iter().chain(needed).map(|module| dir.join(module.path.to_path_lossy()));
    paths.find(|path| matches!(facts.root().exists(path), Ok(false)))
}
