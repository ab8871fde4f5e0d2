//! The modules that GRUB's core image loads are gone.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use bstr::ByteSlice;
use sickbay_formats::boot_sector::BootCode;
use sickbay_formats::grub_core::{Codes, Core};
use sickbay_target::FileKind;

use crate::facts::Facts;
use crate::facts::boot::boot_loader::{BootDisk, BootLoader, GRUB_SOURCES, need_boot};
use crate::facts::system::release;
use crate::mend::restore::restore;
use crate::model::finding::Findings;
use crate::model::outcome::{Skip, Verdict};
use crate::model::repair::{Change, Risk};
use crate::model::stage::Stage;
use crate::{check, tr};

check! {
    /// ## Symptom
    /// You see: "error: file '/boot/grub/i386-pc/normal.mod' not found." and the prompt "grub rescue>".
    ///
    /// ## What it finds
    /// GRUB 2's code is on the disk, but a module that it loads before it can show a menu or boot Linux is missing or
    /// empty in `/boot/grub/i386-pc` (`/boot/grub2/i386-pc`): `normal.mod`, `linux.mod` and the modules they depend on.
    ///
    /// ## Why it matters
    /// GRUB stops at the prompt `grub rescue>`, which has hardly any commands. Nothing boots.
    ///
    /// ## What the repair does
    /// Copies the modules from where the target's own package keeps them (`/usr/lib/grub/i386-pc`), otherwise from the
    /// donor, and writes `core.img` back from the disk. The package must be the one that the code on the disk was built
    /// from; where this can be verified, the repair is safe.
    ///
    /// ## By hand
    /// ```sh
    /// grub-install --target=i386-pc --boot-directory=ROOT/boot /dev/DISK
    /// ```
    "boot-loader-modules-missing", Boot, seed = ["B8"], proves = [BootLoader], "GRUB's modules are missing"
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
    let Some(one) = broken.first() else { return Ok(()) };
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
