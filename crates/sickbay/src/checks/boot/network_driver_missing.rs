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
    /// ## What it finds
    /// Where logs or programs of the system say that it is a guest of KVM: a kernel, the one that starts by default, with neither
    /// `virtio_net` in itself nor a module of that name, or whose module file, or one that it needs, is gone from
    /// `/lib/modules`. Also a line of `modprobe.d` that keeps `virtio_net` from being loaded, unless it is another machine.
    ///
    /// ## Why it matters
    /// The system starts, without a network: ssh does not answer, and on most clouds that is the only way in.
    ///
    /// ## What the repair does
    /// Makes a comment of the line of `modprobe.d`. A missing driver it does not bring: where the file was in a package, `package-file-missing` brings it back. By hand: install the
    /// package with the rest of the modules (`linux-modules-extra-VERSION`, `kernel-modules`), or start another kernel.
    "network-driver-missing", Boot, seed = ["C1"], proves = [], "the kernel has no driver for the network of a guest of KVM"
}

const DRIVER: &str = "virtio_net";

fn run(facts: &Facts, found: &mut Findings) -> Verdict {
    if facts.is_host() {
        return Err(Skip::NotApplicable(tr!("a running machine shows what it lacks itself")));
    }
    let platform = facts.get::<Platform>()?;
    let clue = match &platform.kind {
        Some((Kind::Kvm, clue)) => Some(clue),
        None => None,
        Some((Kind::Other, _)) => return Err(Skip::NotApplicable(tr!("it is no guest of KVM"))),
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
            Err(Skip::NotApplicable(tr!("nothing says that it is a guest of KVM")))
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
        .why(tr!("it starts without a network: ssh does not answer"))
        .by_hand(tr!("install the package with the rest of this kernel's modules, or start another kernel"));
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
        let finding = found.add(severity, tr!("{path} keeps virtio_net from being loaded", path));
        if let Some(clue) = clue {
            finding.evidence(clue.source.clone(), clue.words.clone());
        }
        finding.at(file, ban.span).why(tr!("a guest of KVM starts without a network: ssh does not answer"));
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
