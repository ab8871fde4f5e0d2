//! The modules that GRUB's core image loads are gone, or made for another core.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use bstr::ByteSlice;
use sickbay_formats::boot_sector::BootCode;
use sickbay_formats::grub_core::{Codes, Core};
use sickbay_formats::grub_module::{self, Symbols};
use sickbay_target::FileKind;

use crate::facts::Facts;
use crate::facts::boot::boot_loader::{BootDisk, BootLoader, GRUB_SOURCES, need_boot};
use crate::facts::system::release;
use crate::mend::grub_core;
use crate::mend::restore::restore;
use crate::model::finding::{Finding, Findings};
use crate::model::outcome::{Skip, Verdict};
use crate::model::repair::{Change, Risk};
use crate::model::stage::Stage;
use crate::{check, tr};

check! {
    /// ## Symptom
    /// You see: "error: file '/boot/grub/i386-pc/normal.mod' not found." or "error: symbol 'grub_calloc' not found." and
    /// the prompt "grub rescue>".
    ///
    /// ## What it finds
    /// GRUB 2's code is on the disk, but a module that it loads before it can show a menu or boot Linux is missing or
    /// empty in `/boot/grub/i386-pc` (`/boot/grub2/i386-pc`): `normal.mod`, `linux.mod` and the modules they depend on.
    ///
    /// Modules that need a symbol which the core image on the disk does not have: an update wrote new modules, and the
    /// core image to another disk, or nowhere. A `core.img` that is not the one on the disk is a note.
    ///
    /// ## Why it matters
    /// GRUB stops at the prompt `grub rescue>`, which has hardly any commands. Nothing boots.
    ///
    /// ## What the repair does
    /// Copies the modules from where the target's own package keeps them (`/usr/lib/grub/i386-pc`), otherwise from the
    /// donor, and writes `core.img` back from the disk. The package must be the one that the code on the disk was built
    /// from; where this can be verified, the repair is safe. Where the `core.img` beside the modules has all the symbols
    /// that they need, it is written to the disk that boots, as grub-install does as its last step.
    ///
    /// ## By hand
    /// ```sh
    /// grub-install --target=i386-pc --boot-directory=ROOT/boot /dev/DISK
    /// ```
    "boot-loader-modules-missing", Boot, seed = ["B8"], proves = [BootLoader], "GRUB's modules are missing or do not fit its core image"
}

/// What GRUB must be able to load to start Linux from its menu.
const ROOTS: [&str; 2] = ["normal", "linux"];
/// What `normal` reads to find a module by the name of a command; without it `linux` is unknown.
const LISTS: [&str; 1] = ["command.lst"];
/// A core image whose content is larger than this has `normal` within: what grub-install makes has 40 to 110 KiB, and
/// `normal` alone has as much again.
const WITH_NORMAL: u32 = 200 << 10;

fn run(facts: &Facts, found: &mut Findings) -> Verdict {
    let loader = facts.get::<BootLoader>()?;
    let installed = loader.with_grub2().or_else(|| loader.disks.iter().find(|disk| disk.core.is_some()));
    let Some(disk) = installed else {
        return Err(Skip::NotApplicable(tr!("GRUB 2's code is not on the disk")));
    };
    need_boot(facts)?;
    let root = facts.root();
    let dir = directory(facts, &loader).join("i386-pc");
    let core = disk.core.as_ref().and_then(|core| Core::of_disk(&core.bytes));
    if core.is_some_and(|core| core.content_size() > WITH_NORMAL) && !root.exists(&dir)? {
        return Err(Skip::NotApplicable(tr!("GRUB's core image on {disk} contains all modules", disk = disk.name)));
    }
    let source = GRUB_SOURCES.iter().map(Path::new).find(|dir| is_sound(facts.root(), &dir.join("normal.mod")));
    let donor_dir = facts.donor().and_then(|donor| {
        [dir.as_path()]
            .into_iter()
            .chain(GRUB_SOURCES.iter().map(Path::new))
            .find(|dir| is_sound(donor.root(), &dir.join("normal.mod")))
    });

    let needed = needed(facts, &dir, source);
    let broken: Vec<&String> = needed.iter().filter(|name| !is_sound(root, &dir.join(name))).collect();
    let Some(one) = broken.first() else {
        if let Some(content) = core.filter(|core| core.codes() == Codes::Fit).and_then(|core| core.content()) {
            fit(facts, found, &loader, disk, &dir, &needed, &content);
        }
        return Ok(());
    };
    let gone = root.metadata(&dir).is_err();
    let finding = if gone {
        found.critical(tr!("{dir}, GRUB's module directory, does not exist", dir = dir.as_path()))
    } else {
        found.critical(tr!(
            "{count} modules that GRUB needs are missing or damaged in {dir}: {one} …",
            count = broken.len(),
            dir = dir.as_path(),
            one
        ))
    };
    finding
        .at_path(if gone { dir.clone() } else { dir.join(one) })
        .why(tr!("GRUB stops at the \"grub rescue>\" prompt before any menu"))
        .explains(&dir)
        .stops(Stage::BootLoader);

    let same_build = source.is_some_and(|source| is_of(facts, disk, source));
    match (source, donor_dir) {
        (Some(source), _) => {
            let changes = copies(facts, source, &dir, core)?;
            let risk = if same_build { Risk::Safe } else { Risk::Risky };
            finding.repair(
                risk,
                tr!("copy GRUB's modules from {source} to {dir}", source, dir = dir.as_path()),
                changes,
            );
        }
        (None, Some(from)) if from == dir => {
            let version = |root| release::release(root).version;
            let same = facts.donor().is_some_and(|donor| version(donor.root()) == version(root));
            let risk =
                if same && restore(facts, "/usr/sbin/grub-install").is_none() { Risk::Safe } else { Risk::Risky };
            finding.repair(
                risk,
                tr!("copy {path} from the donor", path = dir.as_path()),
                [Change::copy_from_donor(&dir)],
            );
        }
        _ => {
            finding.by_hand(tr!(
                "reinstall the GRUB package for BIOS (grub-pc, grub2-pc-modules) and run grub-install on {disk}",
                disk = disk.name
            ));
        }
    }
    Ok(())
}

/// The modules against the core image on the disk.
fn fit(
    facts: &Facts,
    found: &mut Findings,
    loader: &BootLoader,
    disk: &BootDisk,
    dir: &Path,
    needed: &BTreeSet<String>,
    content: &[u8],
) {
    let modules: Vec<(&String, Symbols)> = needed
        .iter()
        .filter(|name| name.ends_with(".mod"))
        .filter_map(|name| Some((name, grub_module::symbols(&facts.file(dir.join(name)).ok()??.bytes)?)))
        .collect();
    let has: BTreeSet<&[u8]> = modules.iter().flat_map(|(_, module)| &module.has).map(Vec::as_slice).collect();
    // The kernel names what it exports as C strings, and a module within the core image in its table of symbols.
    let lacks =
        |content: &[u8], name: &[u8]| !has.contains(name) && !content.contains_str([b"\0", name, b"\0"].concat());
    let first_lacking = |content: &[u8]| {
        modules.iter().find_map(|(name, module)| {
            let symbol = module.needs.iter().find(|symbol| lacks(content, symbol))?;
            Some(((*name).clone(), symbol.to_str_lossy().into_owned()))
        })
    };
    let file = loader.file(facts, "core.img");
    let other = file.as_ref().and_then(|file| Core::of_file(&file.bytes)?.content());
    if let Some((module, symbol)) = first_lacking(content) {
        let finding = found.critical(tr!(
            "{module} needs {symbol}, which GRUB's core image on {disk} does not have",
            module = dir.join(&module).as_path(),
            symbol,
            disk = disk.name
        ));
        finding
            .at_path(dir.join(&module))
            .why(tr!("GRUB stops at the \"grub rescue>\" prompt: the modules are newer than its core image"))
            .explains(dir)
            .stops(Stage::BootLoader);
        installed_elsewhere(facts, finding);
        let fits = other.as_deref().is_some_and(|other| first_lacking(other).is_none());
        let write = file.as_ref().filter(|_| fits).and_then(|file| grub_core::write(facts, disk, file));
        match write {
            Some((title, change)) => finding.repair(Risk::Safe, title, [change]),
            None => finding.by_hand(tr!(
                "boot a rescue system, mount the root file system on ROOT and run: grub-install --target=i386-pc --boot-directory=ROOT/boot DEVICE, where DEVICE is {disk}",
                disk = disk.name
            )),
        };
        return;
    }
    let Some(file) = file else { return };
    let own = disk.core.as_ref().and_then(|core| Core::of_disk(&core.bytes)?.file());
    let (Some(own), false) = (own, other.as_deref() == Some(content)) else { return };
    if own == file.bytes || file.bytes.is_empty() {
        return;
    }
    let finding =
        found.note(tr!("{file} is not the core image that {disk} boots", file = file.path.as_path(), disk = disk.name));
    finding.at_path(&file.path);
    match other {
        Some(other) => {
            finding.why(tr!("the last grub-install wrote it to another disk, or nowhere; a later update may bring modules that the old core image cannot load"));
            installed_elsewhere(facts, finding);
            let fits = first_lacking(&other).is_none();
            if let Some((title, change)) =
                Some(&file).filter(|_| fits).and_then(|file| grub_core::write(facts, disk, file))
            {
                finding.repair(Risk::Risky, title, [change]);
            }
        }
        None => {
            finding
                .why(tr!("it is damaged: nothing boots from it, but the next repair of the boot code would use it"))
                .repair(
                    Risk::Safe,
                    tr!("copy the core image from {disk} to {file}", disk = disk.name, file = file.path.as_path()),
                    [Change::edit(&file, own)],
                );
        }
    }
}

/// Where Debian's package runs grub-install when it is updated, by debconf's answer.
fn installed_elsewhere(facts: &Facts, finding: &mut Finding) {
    const DEBCONF: &str = "/var/cache/debconf/config.dat";
    let Ok(Some(file)) = facts.file(DEBCONF) else { return };
    let record = file.bytes.split_str("\n\n").find(|record| record.starts_with(b"Name: grub-pc/install_devices\n"));
    let value = record.and_then(|record| record.lines().find_map(|line| line.strip_prefix(b"Value: ")));
    if let Some(value) = value.map(|value| value.trim_ascii()).filter(|value| !value.is_empty()) {
        finding.note(tr!(
            "updates install GRUB to {devices}: that is what grub-pc/install_devices says (dpkg-reconfigure grub-pc)",
            devices = value.to_str_lossy().chars().take(200).collect::<String>()
        ));
    }
}

/// GRUB 2's directory, by what is in it, else by what its tools are called.
fn directory(facts: &Facts, loader: &BootLoader) -> PathBuf {
    if let Some(dir) = &loader.grub {
        return dir.clone();
    }
    let there = |path: &str| facts.root().exists(path).unwrap_or(false);
    let second = ["/usr/sbin/grub2-install", "/sbin/grub2-install"].into_iter().any(there);
    PathBuf::from(if second { "/boot/grub2" } else { "/boot/grub" })
}

/// Whether a module or a list is there and not empty; a module is an ELF file.
fn is_sound(root: &sickbay_target::Root, path: &Path) -> bool {
    let is_module = path.extension().is_some_and(|extension| extension == "mod");
    root.read_head(path, 4).is_ok_and(|head| if is_module { head == b"\x7FELF" } else { !head.is_empty() })
}

/// The files that must be there: the modules that start Linux with all that they need.
fn needed(facts: &Facts, dir: &Path, source: Option<&Path>) -> BTreeSet<String> {
    let lists = [Some(dir), source].into_iter().flatten();
    let list =
        lists.filter_map(|dir| facts.file(dir.join("moddep.lst")).ok().flatten()).find(|file| !file.bytes.is_empty());
    let mut depends: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for line in list.iter().flat_map(|file| file.bytes.lines()) {
        let line = line.to_str_lossy();
        if let Some((name, rest)) = line.split_once(':') {
            depends.insert(name.to_owned(), rest.split_whitespace().map(str::to_owned).collect());
        }
    }
    let mut open: Vec<String> = ROOTS.iter().map(|name| (*name).to_owned()).collect();
    let mut seen = BTreeSet::new();
    while let Some(name) = open.pop() {
        if seen.insert(name.clone()) {
            open.extend(depends.get(&name).cloned().unwrap_or_default());
        }
    }
    seen.iter().map(|name| format!("{name}.mod")).chain(LISTS.map(str::to_owned)).collect()
}

/// Whether the core image was made of the images in `source`: it begins with two of them.
fn is_of(facts: &Facts, disk: &BootDisk, source: &Path) -> bool {
    let file = |name: &str| facts.file(source.join(name)).ok().flatten();
    let (Some(core), Some(boot), Some(decompressor)) = (&disk.core, file("diskboot.img"), file("lzma_decompress.img"))
    else {
        return false;
    };
    Core::of_disk(&core.bytes)
        .is_some_and(|core| core.codes() != Codes::Differ && core.begins_with(&boot.bytes, &decompressor.bytes))
        && (!matches!(disk.code, BootCode::Grub2 { .. }) || same_code(disk, file("boot.img").as_deref()))
}

fn same_code(disk: &BootDisk, image: Option<&crate::model::source::SourceFile>) -> bool {
    let BootCode::Grub2 { kernel_sector, .. } = disk.code else { return false };
    let made = image.and_then(|image| sickbay_formats::boot_sector::grub2_code(&image.bytes, &disk.mbr, kernel_sector));
    made.is_some_and(|made| disk.mbr.starts_with(&made))
}

/// What grub-install copies and is not there, or is damaged.
fn copies(facts: &Facts, source: &Path, dir: &Path, core: Option<Core<'_>>) -> Result<Vec<Change>, Skip> {
    let root = facts.root();
    let mut changes = Vec::new();
    let parents: Vec<&Path> =
        dir.ancestors().take_while(|dir| *dir != Path::new("/boot") && root.metadata(dir).is_err()).collect();
    changes.extend(parents.into_iter().rev().map(|dir| Change::make_dir(dir, 0o755)));
    for entry in root.read_dir(source)? {
        let name = Path::new(&entry.name);
        let extension = name.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
        let is_copied = matches!(extension, "mod" | "lst" | "o" | "sh") || name == Path::new("boot.img");
        if entry.kind != FileKind::File || !is_copied || is_sound(root, &dir.join(name)) {
            continue;
        }
        let Some(file) = facts.file(source.join(name))?.filter(|file| !file.bytes.is_empty()) else { continue };
        changes.push(match facts.file(dir.join(name))? {
            Some(damaged) => Change::edit(&damaged, file.bytes.clone()),
            None => Change::create(dir.join(name), file.bytes.clone(), 0o644),
        });
    }
    // core.img is not needed for a start, but for the next repair.
    if let Some(file) = core.filter(|core| core.codes() == Codes::Fit).and_then(|core| core.file())
        && root.metadata(dir.join("core.img")).is_err()
    {
        changes.push(Change::create(dir.join("core.img"), file, 0o644));
    }
    Ok(changes)
}
