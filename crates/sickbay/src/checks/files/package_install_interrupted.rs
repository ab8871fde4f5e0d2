//! dpkg or rpm was stopped in the middle of its work.

use std::collections::BTreeMap;
use std::path::Path;

use bstr::{BString, ByteSlice};
use sickbay_formats::dpkg;

use crate::facts::Facts;
use crate::facts::packages::{DPKG, Packages, System};
use crate::model::finding::{Findings, Severity};
use crate::model::outcome::Verdict;
use crate::model::subject::Subject;
use crate::{check, tr};

check! {
    /// ## Symptom
    /// You see: "dpkg was interrupted, you must manually run 'dpkg --configure -a'", "The package needs to be reinstalled",
    /// "There are unfinished transactions remaining", or, after an update that was cut off, a system that does not boot.
    ///
    /// ## What it finds
    /// Packages that dpkg has unpacked and not configured, or left half installed; updates of its status that it did not finish
    /// writing; and on rpm systems two versions of one package, as a transaction leaves them that was killed before it
    /// removed the old one. Kernels and others that are meant to be there in several versions do not count.
    ///
    /// ## Why it matters
    /// Of a package that is not configured the initramfs was not made, the boot entry not written, the service not
    /// restarted; of one half installed files may be missing or of another version. A full disk, a lost connection or
    /// a power cut during an update does that.
    ///
    /// ## What the repair does
    /// Nothing by itself: what is left to do are the packages' own scripts, which only the system itself can run.
    ///
    /// ## By hand
    /// ```sh
    /// # in a chroot, with /proc, /sys and /dev mounted
    /// chroot ROOT dpkg --configure -a && chroot ROOT apt-get -f install
    /// # rpm systems
    /// chroot ROOT dnf remove --duplicates
    /// ```
    "package-install-interrupted", Files, seed = [], proves = [], "an update of packages was cut off"
}

/// The status file of dpkg is not larger.
const LIMIT: u64 = 64 << 20;
/// So many names are told.
const NAMES: usize = 6;

fn run(facts: &Facts, found: &mut Findings) -> Verdict {
    let packages = facts.get::<Packages>()?;
    match packages.system {
        System::Dpkg => of_dpkg(facts, found),
        System::Rpm => of_rpm(found, &packages),
    }
    Ok(())
}

fn of_dpkg(facts: &Facts, found: &mut Findings) {
    let dir = Path::new(DPKG);
    let root = facts.root();
    let mut states: BTreeMap<(BString, BString), (BString, bool)> = BTreeMap::new();
    let mut take = |text: &[u8]| {
        for package in dpkg::packages(text) {
            let key = (package.name.to_owned(), package.architecture.to_owned());
            let basic = package.basic || states.get(&key).is_some_and(|(_, basic)| *basic);
            states.insert(key, (package.state.to_owned(), basic));
        }
    };
    let Ok(status) = root.read_up_to(dir.join("status"), LIMIT) else { return };
    take(&status);
    // What a killed dpkg had not yet put into the status: files with numbers for names (dpkg, lib/dpkg/dbmodify.c).
    let mut updates = root.read_dir(dir.join("updates")).unwrap_or_default();
    updates.retain(|entry| entry.name.as_encoded_bytes().iter().all(u8::is_ascii_digit));
    updates.sort_by(|one, other| one.name.cmp(&other.name));
    for entry in updates.iter().take(10_000) {
        if let Ok(text) = root.read_up_to(dir.join("updates").join(&entry.name), LIMIT) {
            take(&text);
        }
    }
    let stopped: Vec<(&BString, &BString, bool)> = states
        .iter()
        .filter(|(_, (state, _))| matches!(state.as_slice(), b"half-installed" | b"unpacked" | b"half-configured"))
        .map(|((name, _), (state, basic))| (name, state, *basic))
        .collect();
    let path = dir.join("status");
    if stopped.is_empty() {
        if !updates.is_empty() {
            found
                .warning(tr!(
                    "dpkg was killed before it finished: it left {count} {count?update|updates} to be recorded",
                    count = updates.len()
                ))
                .at_path(dir.join("updates"))
                .why(tr!("apt and dpkg refuse to work until dpkg has finished"))
                .by_hand(tr!("in a chroot: dpkg --configure -a"));
        }
        return;
    }
    let matters = stopped.iter().any(|(name, _, basic)| *basic || is_of_boot_or_login(name));
    let severity = if matters { Severity::Error } else { Severity::Warning };
    let list = |state: &str| {
        let names: Vec<String> =
            stopped.iter().filter(|(_, is, _)| *is == state).map(|(name, ..)| name.to_string()).collect();
        let more = names.len().saturating_sub(NAMES);
        let shown = names.into_iter().take(NAMES).collect::<Vec<_>>().join(", ");
        if more > 0 { format!("{shown} … (+{more})") } else { shown }
    };
    let names: Vec<String> = stopped.iter().take(NAMES).map(|(name, ..)| name.to_string()).collect();
    let message = tr!(
        "an update was cut off: {count} {count?package is|packages are} not fully installed: {names}",
        count = stopped.len(),
        names = names.join(", ")
    );
    let finding = found.add(severity, message);
    finding
        .at_path(&path)
        .subject(Subject::Named("interrupted".to_owned()))
        .extent(stopped.len())
        // Of what is not installed the list of files may be missing.
        .explains(dir.join("info").as_path())
        .why(tr!(
            "their scripts have not run: an initramfs, a boot entry or a library may be missing or of another version"
        ));
    for state in ["half-installed", "unpacked", "half-configured"] {
        let names = list(state);
        if !names.is_empty() {
            finding.evidence(path.display().to_string(), format!("{state}: {names}"));
        }
    }
    for (name, ..) in &stopped {
        finding.explains(Subject::Package(name.to_string()));
        if let Some(version) =
            ["linux-image-", "linux-modules-"].iter().find_map(|start| name.strip_prefix(start.as_bytes()))
        {
            let version = version.to_str_lossy();
            let version = version.strip_prefix("unsigned-").unwrap_or(&version);
            finding.explains(Path::new(&format!("/boot/initrd.img-{version}")));
            finding.explains(Path::new(&format!("/boot/vmlinuz-{version}")));
            finding.explains(Path::new(&format!("/lib/modules/{version}")));
            finding.explains(Path::new(&format!("/usr/lib/modules/{version}")));
        }
    }
    explain_files(facts, finding, &stopped.iter().map(|(name, ..)| (*name).clone()).collect::<Vec<_>>());
    finding.by_hand(tr!("in a chroot: dpkg --configure -a, then apt-get -f install"));
}

/// What is wrong with the files of such a package follows from it.
fn explain_files(facts: &Facts, finding: &mut crate::model::finding::Finding, names: &[BString]) {
    let Ok(packages) = facts.get::<Packages>() else { return };
    let of_them = packages
        .files
        .iter()
        .filter(|file| packages.package(file).is_some_and(|package| names.contains(&package.name)));
    // Programs and libraries; the rest nobody asks about.
    let paths = of_them.map(|file| file.as_path()).filter(|path| {
        ["/usr/bin", "/usr/sbin", "/bin", "/sbin", "/lib", "/usr/lib", "/etc"].iter().any(|dir| path.starts_with(dir))
            && !path.starts_with("/usr/lib/modules")
            && !path.starts_with("/lib/modules")
    });
    let paths: Vec<std::path::PathBuf> = paths
        .filter(|path| facts.root().stat(path).is_ok_and(|it| !it.is_dir()) || facts.root().stat(path).is_err())
        .map(Path::to_owned)
        .take(5000)
        .collect();
    for path in paths {
        finding.explains(path.as_path());
    }
}

/// Packages without which a system does not start or lets nobody in.
fn is_of_boot_or_login(name: &[u8]) -> bool {
    const STARTS: [&str; 22] = [
        "linux-image",
        "linux-modules",
        "grub",
        "shim-signed",
        "initramfs-tools",
        "dracut",
        "systemd",
        "udev",
        "libc6",
        "libpam",
        "openssh-server",
        "login",
        "passwd",
        "bash",
        "dash",
        "util-linux",
        "mount",
        "lvm2",
        "mdadm",
        "cryptsetup",
        "e2fsprogs",
        "libssl",
    ];
    STARTS.iter().any(|start| name.starts_with(start.as_bytes()))
}

fn of_rpm(found: &mut Findings, packages: &Packages) {
    let mut versions: BTreeMap<(&BString, &BString), Vec<&BString>> = BTreeMap::new();
    for package in &packages.packages {
        versions.entry((&package.name, &package.architecture)).or_default().push(&package.version);
    }
    // dnf.conf(5), installonlypkgs; keys and modules of other kernels.
    let is_several = |name: &[u8]| {
        name == b"gpg-pubkey"
            || [&b"kernel"[..], b"kmod-", b"kmp-", b"installonlypkg"].iter().any(|start| name.starts_with(start))
            || name.find(b"-kmp-").is_some()
            || name.ends_with(b"-kmod")
    };
    let twice: Vec<_> = versions
        .into_iter()
        .filter(|((name, _), all)| all.len() > 1 && !is_several(name))
        .map(|((name, _), all)| (name, all))
        .collect();
    let Some((first, all)) = twice.first() else { return };
    let matters = twice.iter().any(|(name, _)| {
        [&b"glibc"[..], b"systemd", b"pam", b"openssh", b"bash", b"openssl", b"grub2", b"shadow-utils", b"util-linux"]
            .iter()
            .any(|start| name.starts_with(start))
    });
    let list: Vec<String> = all.iter().map(|version| version.to_string()).collect();
    let message = if twice.len() == 1 {
        tr!("an update was cut off: {name} is installed in {count} versions", name = *first, count = all.len())
    } else {
        tr!(
            "an update was cut off: {count} packages are installed in more than one version, {name} among them",
            count = twice.len(),
            name = *first
        )
    };
    let finding = found.add(if matters { Severity::Error } else { Severity::Warning }, message);
    finding
        .at_path("/var/lib/rpm")
        .subject(Subject::Named("interrupted".to_owned()))
        .extent(twice.len())
        .evidence("/var/lib/rpm".to_owned(), format!("{first}: {}", list.join(", ")))
        .why(tr!("the old packages were not removed: files may be of either version, and further updates fail"));
    for (name, _) in &twice {
        finding.explains(Subject::Package(name.to_string()));
    }
    finding.by_hand(tr!("in a chroot: dnf remove --duplicates (yum: package-cleanup --cleandupes), then rpm -Va"));
}
