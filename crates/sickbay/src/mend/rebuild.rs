//! What only a program of the target makes as the target wants it: an initramfs, a host key, a list of modules.

use std::path::{Path, PathBuf};

use bstr::ByteSlice;
use sickbay_formats::modules::Dependencies;
use sickbay_formats::selinux::would_relabel;

use crate::facts::Facts;
use crate::facts::boot::initramfs::{Contents, root_file_system};
use crate::model::repair::{Change, MADE, Rebuild, Wanted};
use crate::model::text::Text;
use crate::tr;

/// How to make the initramfs of a kernel again, with drivers for every machine: the title of the repair and the change. What
/// is made is taken only when the drivers of KVM's disks and of the root file system are in it. `None` when the target has
/// no program for that, or no modules of that kernel.
pub fn offer(facts: &Facts, version: &str, path: &Path) -> Option<(Text, Change)> {
    let text = facts.root().read_up_to(modules_dep(version), 64 << 20).ok()?;
    let modules = Dependencies::parse(&text);
    let wanted = ["virtio_blk", "virtio_pci"].into_iter().map(str::to_owned).chain(root_file_system(facts));
    let drivers: Vec<String> = wanted.filter(|driver| modules.get(driver).is_some()).collect();
    with_drivers(facts, version, path, &drivers)
}

/// As [`offer`], for these drivers, which must all be modules of that kernel.
pub fn with_drivers(facts: &Facts, version: &str, path: &Path, drivers: &[String]) -> Option<(Text, Change)> {
    let rebuild = rebuild(facts, version, path, drivers)?;
    let program = rebuild.name();
    let title = tr!("rebuild the initramfs of kernel {version} with the target's own {program}", version, program);
    Some((title, Change::Rebuild(Box::new(rebuild))))
}

/// How to make an RSA key of sshd, which every release takes, and its public half: the title of the repair and the change.
/// `None` when the target has no program for that.
pub fn host_key(facts: &Facts, path: &Path) -> Option<(Text, Change)> {
    if !has(facts, "ssh-keygen") {
        return None;
    }
    let public = PathBuf::from(format!("{}.pub", path.to_str()?));
    // A public half that does not match makes sshd pass over the key.
    let script = r#"ssh-keygen -q -t rsa -N "" -f "$1" && cat "$1.pub" >"$2""#;
    let arguments = ["-c", script, "ssh-keygen", MADE, public.to_str()?].map(str::to_owned).to_vec();
    let rebuild = Rebuild {
        program: "sh".to_owned(),
        arguments,
        lent: Vec::new(),
        path: path.to_owned(),
        besides: vec![public],
        mode: 0o600,
        wanted: Wanted::HostKey,
    };
    let title = tr!("create a new {path} with the target's own ssh-keygen: clients will warn about it", path);
    Some((title, Change::Rebuild(Box::new(rebuild))))
}

/// Directories whose content the running kernel and its programs make.
const NOT_ON_DISK: [&str; 5] = ["/dev", "/proc", "/sys", "/run", "/tmp"];

/// How to give every path its SELinux label again, as the contexts of `policy` say: the title of the repair and the change.
/// `None` when the target has no setfiles, or no contexts for it.
pub fn labels(facts: &Facts, policy: &str) -> Option<(Text, Change)> {
    let contexts = format!("/etc/selinux/{policy}/contexts/files/file_contexts");
    let is_there = facts.root().stat(&contexts).is_ok_and(|found| found.is_file() && found.size > 0);
    if facts.runs() || !is_there || !has(facts, "setfiles") || !has(facts, "sh") {
        return None;
    }
    let not = NOT_ON_DISK.iter().map(|dir| format!(" -e {dir}")).collect::<String>();
    // Without -m it would pass over every file system that this machine's kernel knows no labels on; old ones do not know -m.
    let script = format!(
        r#"setfiles -m -n -v{not} "$1" / >"$2" 2>&1 || setfiles -n -v{not} "$1" / >"$2" 2>&1 || {{ tail -n 3 "$2"; false; }}"#
    );
    let rebuild = Rebuild {
        program: "sh".to_owned(),
        arguments: ["-c", &script, "setfiles", &contexts, MADE].map(str::to_owned).to_vec(),
        lent: Vec::new(),
        path: "/".into(),
        besides: Vec::new(),
        mode: 0o600,
        wanted: Wanted::Labels,
    };
    let title = tr!("relabel every file now, as the target's own setfiles says");
    Some((title, Change::Rebuild(Box::new(rebuild))))
}

/// What depmod(8) writes besides modules.dep; old ones not all of it.
const INDICES: [&str; 10] = [
    "modules.dep.bin",
    "modules.alias",
    "modules.alias.bin",
    "modules.symbols",
    "modules.symbols.bin",
    "modules.softdep",
    "modules.weakdep",
    "modules.devname",
    "modules.builtin.bin",
    "modules.builtin.alias.bin",
];

/// How to list the modules of a kernel again, in modules.dep and what goes with it: the title of the repair and the change.
/// `None` when the target has no depmod.
pub fn modules(facts: &Facts, version: &str) -> Option<(Text, Change)> {
    if !has(facts, "depmod") || !has(facts, "sh") {
        return None;
    }
    let path = modules_dep(version);
    let dir = path.parent()?.to_owned();
    let script = r#"depmod "$1" && cat "$2" >"$3""#;
    let rebuild = Rebuild {
        program: "sh".to_owned(),
        arguments: ["-c", script, "depmod", version, path.to_str()?, MADE].map(str::to_owned).to_vec(),
        lent: Vec::new(),
        path,
        besides: INDICES.iter().map(|name| dir.join(name)).collect(),
        mode: 0o644,
        wanted: Wanted::Modules,
    };
    let title = tr!("rebuild the module list of kernel {version} with the target's own depmod", version);
    Some((title, Change::Rebuild(Box::new(rebuild))))
}

fn has(facts: &Facts, name: &str) -> bool {
    ["/usr/sbin", "/usr/bin", "/sbin", "/bin"]
        .iter()
        .any(|dir| facts.root().exists(format!("{dir}/{name}")).unwrap_or(false))
}

fn modules_dep(version: &str) -> PathBuf {
    Path::new("/lib/modules").join(version).join("modules.dep")
}

fn rebuild(facts: &Facts, version: &str, path: &Path, drivers: &[String]) -> Option<Rebuild> {
    let root = facts.root();
    let has = |name: &str| has(facts, name);
    // Without its list, modules are not packed but passed over.
    if !root.exists(modules_dep(version)).unwrap_or(false) {
        return None;
    }
    let mut rebuild = Rebuild {
        program: String::new(),
        arguments: Vec::new(),
        lent: Vec::new(),
        path: path.to_owned(),
        besides: Vec::new(),
        mode: 0o600,
        wanted: Wanted::Initramfs(drivers.to_vec()),
    };
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<String>>();
    if has("mkinitramfs") {
        // Before Debian 12, update-initramfs(8) touches no file whose sum it does not know.
        let sums = PathBuf::from("/var/lib/initramfs-tools").join(version);
        if root.exists(&sums).unwrap_or(false) {
            let script = r#"mkinitramfs -o "$1" "$2" && sum=$(sha1sum <"$1") && echo "${sum%% *}  $4" >"$3""#;
            rebuild.program = "sh".to_owned();
            rebuild.arguments = words(&["-c", script, "mkinitramfs", MADE, version, sums.to_str()?, path.to_str()?]);
            rebuild.besides.push(sums);
        } else {
            rebuild.program = "mkinitramfs".to_owned();
            rebuild.arguments = words(&["-o", MADE, version]);
        }
        // What this machine has, or what a list forgot, tells nothing of where the target runs next.
        rebuild.lent.push(("/etc/initramfs-tools/conf.d/zz-sickbay".into(), b"MODULES=most\n".to_vec()));
        rebuild.mode = 0o644;
    } else if has("dracut") {
        rebuild.program = "dracut".to_owned();
        rebuild.arguments = words(&["--force", MADE, version]);
        let names = drivers.join(" ");
        let settings = format!("hostonly=\"no\"\nadd_drivers+=\" {names} \"\n");
        rebuild.lent.push(("/etc/dracut.conf.d/zz-sickbay.conf".into(), settings.into_bytes()));
    } else if has("mkinitcpio") {
        rebuild.program = "mkinitcpio".to_owned();
        rebuild.arguments = words(&["-k", version, "-g", MADE, "-S", "autodetect"]);
    } else if has("mkinitfs") {
        rebuild.program = "mkinitfs".to_owned();
        rebuild.arguments = words(&["-o", MADE, version]);
        let own = root.read("/etc/mkinitfs/mkinitfs.conf").unwrap_or_default();
        let more = b"\nfeatures=\"$features base ext4 nvme scsi virtio\"\n".to_vec();
        rebuild.lent.push(("/etc/mkinitfs/mkinitfs.conf".into(), [own, more].concat()));
    } else if has("mkinitrd") && root.exists("/etc/redhat-release").unwrap_or(false) {
        rebuild.program = "mkinitrd".to_owned();
        rebuild.arguments = words(&["-f"]);
        rebuild.arguments.extend(drivers.iter().map(|driver| format!("--with={driver}")));
        rebuild.arguments.extend(words(&[MADE, version]));
    } else {
        return None;
    }
    Some(rebuild)
}

/// Why what was made cannot be taken; `None` when it can.
pub fn objection(rebuild: &Rebuild, content: &[u8]) -> Option<Text> {
    let path = rebuild.path.as_path();
    let drivers = match &rebuild.wanted {
        Wanted::Initramfs(drivers) => drivers,
        Wanted::HostKey => {
            return (!is_host_key(content)).then(|| tr!("what was created as {path} is not a private key", path));
        }
        Wanted::Modules => {
            let names_none = Dependencies::parse(content).is_empty();
            return names_none.then(|| tr!("what was created as {path} lists no modules", path));
        }
        Wanted::Labels => {
            return would_relabel(content).next().is_none().then(|| tr!("it names no path whose label is wrong"));
        }
    };
    let Ok(contents) = Contents::read(&mut &*content) else {
        return Some(tr!("what was created as {path} cannot be read", path));
    };
    if contents.damage().is_some() || !contents.has_init {
        return Some(tr!("what was created as {path} is not a complete initramfs", path));
    }
    let missing: Vec<String> = drivers.iter().filter(|driver| !contents.modules.contains(*driver)).cloned().collect();
    if missing.is_empty() || contents.is_squashed {
        return None;
    }
    Some(tr!("what was created as {path} lacks {drivers} too", path, drivers = missing.join(", ")))
}

/// Whether a file holds a private key that sshd reads: from its first line to its last, or of SSH 1.
pub fn is_host_key(text: &[u8]) -> bool {
    let mut lines = text.lines().map(<[u8]>::trim_ascii).filter(|line| !line.is_empty());
    let first = lines.next().unwrap_or_default();
    let is_end = |line: &[u8]| line.starts_with(b"-----END ") && line.ends_with(b"PRIVATE KEY-----");
    let has_body = |line: &[u8]| line.iter().any(|byte| *byte != 0);
    first.starts_with(b"SSH PRIVATE KEY FILE FORMAT")
        || first.starts_with(b"-----BEGIN ")
            && first.ends_with(b"PRIVATE KEY-----")
            && lines.next().is_some_and(has_body)
            && lines.any(is_end)
}
