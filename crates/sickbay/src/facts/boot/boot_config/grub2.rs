//! GRUB 2: which configurations it reads, run as it would run them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use bstr::{BStr, BString, ByteSlice};
use sickbay_formats::fstab::Source;
use sickbay_formats::grub_cfg::run::{Argument, Item, LoaderEntry, Menu, Ran, Search, Value, World, run, split_device};
use sickbay_formats::grub_efi::{own_directory, told};
use sickbay_formats::{bls, grub_env};
use sickbay_target::FileKind;

use super::paths::{Paths, UNTOLD};
use super::{Choice, Entry, Hold, Kind, Loader, Named, Word, read};
use crate::facts::Facts;
use crate::facts::boot::esp;
use crate::facts::boot::esp::{Esps, PLACE};
use crate::facts::system::release::System;
use crate::model::outcome::Skip;
use crate::model::source::SourceFile;

/// Where GRUB 2 is installed to: `grub2` for the RHEL and SUSE families.
const DIRS: [&str; 2] = ["/boot/grub2", "/boot/grub"];

/// Where EFI systems have their boot loaders, by vendor.
const VENDORS: &str = "/boot/efi/EFI";

/// The loaders that are installed, BIOS first.
pub(super) fn loaders(facts: &Facts, paths: &Paths) -> Result<Vec<Loader>, Skip> {
    let root = facts.root();
    let there = |path: &Path| root.exists(path).unwrap_or(false);
    let mut all: Vec<Loader> = Vec::new();
    let dir = main_dir(facts);
    let mut own: Option<Loader> = None;
    if let Some(dir) = &dir {
        own = Some(loader(facts, paths, &dir.join("grub.cfg"))?);
    }
    let on_efi = paths.volume_of(Path::new(VENDORS)).is_some_and(|(_, place)| place == Path::new(PLACE));
    let has_bios = dir.as_deref().is_some_and(|dir| there(&dir.join("i386-pc/normal.mod")));
    // A BIOS machine may have the files of the EFI package without ever starting from them.
    let used = on_efi || !has_bios;
    for config in efi_configs(facts, used) {
        let stub = loader(facts, paths, &config)?;
        if is_of_another(facts, paths, &stub) {
            continue;
        }
        let same_end = own.as_ref().is_some_and(|own| own.main == stub.main && stub.lost.is_none());
        // The configuration that EFI leads to is judged once, and as it is reached by EFI.
        if same_end {
            own = None;
        }
        // With an EFI loader alone, /boot/grub2 may hold no more than grubenv.
        if own.as_ref().is_some_and(|own| own.file.is_none()) && !has_bios {
            own = None;
        }
        all.push(stub);
    }
    all.splice(0..0, own);
    Ok(all)
}

/// The configurations that GRUBs on the EFI system partition begin with, missing ones too.
fn efi_configs(facts: &Facts, used: bool) -> Vec<PathBuf> {
    let mut all = Vec::new();
    for (dir, names) in vendors(facts) {
        let config = names.iter().find(|name| name.eq_ignore_ascii_case("grub.cfg")).map(|name| dir.join(name));
        let programs = || names.iter().filter(|name| name.to_ascii_lowercase().ends_with(".efi"));
        let has_code = programs().any(|name| {
            let name = name.to_ascii_lowercase();
            // `grub.efi` alone is what the package of GRUB legacy brings.
            name.starts_with("grub") && name != "grub.efi"
        });
        let is_there = config.is_some();
        all.extend(config.filter(|_| has_code || used));
        // A signed GRUB was told of a directory when it was built, and looks beside itself when nothing is there; one
        // that grub-install made leads on to /boot by itself.
        if used && !is_there {
            let directory = |name: &String| {
                let told = told(&esp::program(facts, &dir.join(name))?)?;
                Some(Path::new(PLACE).join(own_directory(&told)?))
            };
            all.extend(programs().filter_map(directory).map(|dir| dir.join("grub.cfg")));
        }
    }
    let same = |one: &PathBuf, other: &PathBuf| one.as_os_str().eq_ignore_ascii_case(other);
    let unique = |at: &usize| all.iter().take(*at).all(|known| !same(known, &all[*at]));
    (0..all.len()).filter(unique).map(|at| all[at].clone()).collect()
}

/// The directories of vendors on the EFI system partition, with the names in each.
fn vendors(facts: &Facts) -> BTreeMap<PathBuf, Vec<String>> {
    let mut all: BTreeMap<PathBuf, Vec<String>> = BTreeMap::new();
    let esps = facts.get::<Esps>().ok();
    if let Some(esp) = esps.as_ref().and_then(|esps| esps.unmounted()) {
        let programs = esp.programs.iter().map(|program| Path::new(PLACE).join(&program.path));
        for path in programs.chain(esp.texts.iter().map(|file| file.path.clone())) {
            if let (Some(dir), Some(name)) = (path.parent(), path.file_name().and_then(|name| name.to_str()))
                && dir.parent().is_some_and(|above| above.as_os_str().eq_ignore_ascii_case(VENDORS))
            {
                all.entry(dir.to_owned()).or_default().push(name.to_owned());
            }
        }
        return all;
    }
    let names = |dir: &Path| facts.root().read_dir(dir).unwrap_or_default();
    for vendor in names(Path::new(VENDORS)).into_iter().filter(|entry| entry.kind == FileKind::Dir) {
        let dir = Path::new(VENDORS).join(vendor.name);
        let files = names(&dir).into_iter().filter_map(|entry| entry.name.into_string().ok()).collect();
        all.insert(dir, files);
    }
    all
}

/// Whether a configuration on the EFI system partition, in another vendor's directory, leads to a file system that is
/// there and is none of this target's.
fn is_of_another(facts: &Facts, paths: &Paths, loader: &Loader) -> bool {
    let Some(lost) = &loader.lost else { return false };
    let (device, _) = split_device(lost.text.as_bytes().as_bstr(), BStr::new(""));
    if paths.find(device).is_none_or(|volume| paths.place(volume).is_some()) {
        return false;
    }
    let vendor = loader.first.parent().and_then(Path::file_name).unwrap_or_default();
    let id = facts.get::<System>().ok().and_then(|system| system.release.id.clone()).unwrap_or_default();
    let own = if id == "rhel" { "redhat" } else { id.as_str() };
    !vendor.eq_ignore_ascii_case(own)
}

/// The directory with GRUB's modules, environment and, mostly, configuration.
pub(crate) fn main_dir(facts: &Facts) -> Option<PathBuf> {
    let root = facts.root();
    let there = |path: PathBuf| root.metadata(path).is_ok();
    let dir = |marks: &[&str]| {
        DIRS.iter().map(Path::new).find(|dir| marks.iter().any(|mark| there(dir.join(mark)))).map(Path::to_owned)
    };
    let modules =
        ["i386-pc/normal.mod", "x86_64-efi/normal.mod", "arm64-efi/normal.mod", "powerpc-ieee1275/normal.mod"];
    // Where two are there, the one with a configuration is in use; else the one with modules.
    let known = dir(&["grub.cfg"])
        .or_else(|| dir(&modules))
        .or_else(|| dir(&["grubenv", "i386-pc", "x86_64-efi", "arm64-efi"]));
    if known.is_some() {
        return known;
    }
    // The directory is lost: the package's own settings tell, where there is a kernel to boot.
    let program = |name: &str| there(Path::new("/usr/sbin").join(name));
    // Others are configured elsewhere.
    let others = ["/boot/loader/loader.conf", "/boot/efi/loader/loader.conf", "/boot/extlinux", "/boot/syslinux"];
    let has_other = others.iter().any(|path| there(path.into()));
    let has_kernel = root
        .read_dir("/boot")
        .is_ok_and(|names| names.iter().any(|entry| entry.name.to_string_lossy().starts_with("vmlinuz-")));
    if has_other || !has_kernel || !there("/etc/default/grub".into()) {
        return None;
    }
    match (program("grub2-install"), program("grub-install")) {
        (true, _) => Some("/boot/grub2".into()),
        (false, true) => Some("/boot/grub".into()),
        (false, false) => None,
    }
}

/// What a run can ask for.
struct Machine<'a> {
    facts: &'a Facts,
    paths: &'a Paths,
    files: Mutex<Vec<Arc<SourceFile>>>,
    environment: PathBuf,
}

impl Machine<'_> {
    fn number(&self, file: Arc<SourceFile>) -> usize {
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        match files.iter().position(|known| Arc::ptr_eq(known, &file)) {
            Some(number) => number,
            None => {
                files.push(file);
                files.len() - 1
            }
        }
    }

    fn file(&self, path: &Path) -> Option<Arc<SourceFile>> {
        read(self.facts, path).ok().flatten()
    }
}

impl World for Machine<'_> {
    fn size(&self, device: &BStr, path: &BStr) -> Option<u64> {
        let path = self.paths.to_target(self.facts, device, path)?;
        match self.facts.root().stat(&path) {
            Ok(metadata) => Some(if metadata.is_file() { metadata.size } else { 0 }),
            Err(_) => self.file(&path).map(|file| file.bytes.len() as u64),
        }
    }

    fn read(&self, device: &BStr, path: &BStr) -> Option<(usize, Arc<[u8]>)> {
        let file = self.file(&self.paths.to_target(self.facts, device, path)?)?;
        let text = file.bytes.as_slice().into();
        Some((self.number(file), text))
    }

    fn search(&self, by: Search, value: &BStr) -> Option<BString> {
        let value = value.to_str().ok()?.to_owned();
        match by {
            Search::Uuid => self.paths.search(self.facts, &Source::Uuid(value)),
            Search::Label => self.paths.search(self.facts, &Source::Label(value)),
            Search::File => {
                let Some(devices) = self.paths.devices() else { return Some(UNTOLD.into()) };
                let holds = |volume: &&sickbay_target::Volume| {
                    let name = self.paths.name(volume);
                    let path = self.paths.to_target(self.facts, name.as_ref(), value.as_bytes().as_bstr());
                    path.is_some_and(|path| self.facts.root().exists(path).unwrap_or(false))
                };
                match devices.volumes.iter().find(holds) {
                    Some(volume) => Some(self.paths.name(volume)),
                    // A volume that is not mounted may have it.
                    None => Some(UNTOLD.into()),
                }
            }
        }
    }

    fn loader_entries(&self) -> Vec<LoaderEntry> {
        let names = self.facts.root().read_dir(LOADER_ENTRIES).unwrap_or_default();
        let mut all: Vec<LoaderEntry> = names
            .into_iter()
            .filter_map(|entry| entry.name.into_string().ok())
            .filter_map(|name| self.loader_entry(&name))
            .collect();
        all.sort_by(|left, right| bls::compare_versions(&right.id, &left.id));
        all
    }

    fn environment(&self) -> Vec<(BString, Value)> {
        let Some(file) = self.file(&self.environment) else { return Vec::new() };
        let number = self.number(Arc::clone(&file));
        grub_env::variables(&file.bytes)
            .into_iter()
            .map(|variable| {
                let origin = variable.range.map(|range| (number, range.start));
                (variable.name, Value { text: variable.value, origin })
            })
            .collect()
    }
}

/// No menu that somebody can choose from has more; a hostile one must not cost minutes.
const MOST_ENTRIES: usize = 1000;

/// Where boot loader entries are.
pub(crate) const LOADER_ENTRIES: &str = "/boot/loader/entries";

impl Machine<'_> {
    fn loader_entry(&self, name: &str) -> Option<LoaderEntry> {
        let id = name.strip_suffix(".conf").filter(|id| !id.starts_with('.'))?;
        let file = self.file(&Path::new(LOADER_ENTRIES).join(name))?;
        let fields = bls::fields(&file.bytes);
        let values =
            |key: &str| fields.iter().filter(|field| field.key == key).map(|field| field.range.clone()).collect();
        let title = fields.iter().find(|field| field.key == "title").map(|field| field.value.clone());
        Some(LoaderEntry {
            id: id.into(),
            title: title.unwrap_or_else(|| id.into()),
            linux: values("linux"),
            initrd: values("initrd"),
            options: values("options"),
            text: file.bytes.as_slice().into(),
            file: self.number(file),
        })
    }
}

/// Reads and runs the configuration that a loader begins with.
fn loader(facts: &Facts, paths: &Paths, first: &Path) -> Result<Loader, Skip> {
    let file = read(facts, first)?;
    let dir = first.parent().unwrap_or(Path::new("/"));
    // An EFI loader's environment is a link to this one, where it is not this one.
    let environment = [dir.join("grubenv")]
        .into_iter()
        .chain(DIRS.map(|dir| Path::new(dir).join("grubenv")))
        .find(|path| read(facts, path).is_ok_and(|file| file.is_some()))
        .or_else(|| main_dir(facts).map(|dir| dir.join("grubenv")))
        .unwrap_or_else(|| dir.join("grubenv"));
    let mut loader = Loader {
        kind: Kind::Grub2,
        first: first.to_owned(),
        main: first.to_owned(),
        file: file.clone(),
        lost: None,
        entries: Vec::new(),
        default: None,
        fallback: Vec::new(),
        choice: Choice::First,
        loader_entries: false,
        environment: environment.clone(),
        in_vain: Vec::new(),
        holds: Vec::new(),
    };
    let Some(file) = file else { return Ok(loader) };
    let machine = Machine { facts, paths, files: Mutex::new(vec![Arc::clone(&file)]), environment };
    let (device, dir) = paths.to_grub(dir);
    let prefix = format!("({device}){dir}");
    let menu = run(&machine, 0, &file.bytes, device.as_ref(), BStr::new(&prefix));
    let files = machine.files.into_inner().unwrap_or_else(PoisonError::into_inner);
    let view = View { facts, paths, files: &files };
    // `source` joins files to the first; `configfile` goes on to another for good.
    let on_efi = first.starts_with(PLACE);
    let leads_on = |name: &BStr| name == "configfile" || on_efi && (name == "source" || name == ".");
    if menu.commands.iter().any(|ran| leads_on(ran.name())) && (menu.items.is_empty() || menu.files.len() > 1) {
        match menu.lost.first() {
            Some(lost) => loader.lost = view.word(lost),
            None => {
                let last = menu.files.iter().skip(1).find_map(|number| files.get(*number));
                loader.file = last.cloned();
                loader.main = last.map_or_else(|| first.to_owned(), |file| file.path.clone());
            }
        }
        // The volume that was looked for in vain is the cause.
        if let Some(search) =
            menu.commands.iter().find_map(|ran| ran.in_vain.as_ref()).filter(|_| loader.lost.is_some())
        {
            loader.lost = view.word(search);
        }
    }
    loader.loader_entries = menu.uses_loader_entries;
    view.fill(&mut loader, &menu);
    Ok(loader)
}

/// Turns what a run gives into places of the target.
struct View<'a> {
    facts: &'a Facts,
    paths: &'a Paths,
    files: &'a [Arc<SourceFile>],
}

impl View<'_> {
    fn word(&self, argument: &Argument) -> Option<Word> {
        Some(Word {
            text: argument.text.to_str_lossy().into_owned(),
            file: Arc::clone(self.files.get(argument.file)?),
            range: argument.range.clone(),
            literal: argument.literal,
        })
    }

    fn fill(&self, loader: &mut Loader, menu: &Menu) {
        let mut entries = menu.entries();
        entries.truncate(MOST_ENTRIES);
        let place = |path: &[usize]| entries.iter().position(|(known, _)| known == path);
        loader.default = menu.default_entry().and_then(|path| place(&path));
        loader.fallback = menu.fallback().iter().filter_map(|path| place(path)).collect();
        // Searches before all entries matter to those that do not search themselves.
        let outside: Vec<&Argument> = menu.commands.iter().filter_map(|ran| ran.in_vain.as_ref()).collect();
        loader.in_vain = outside.iter().filter_map(|word| self.word(word)).collect();
        for (path, item) in &entries {
            loader.entries.extend(self.entry(menu, path, item, &outside));
        }
        loader.holds = self.holds(menu);
        let sets = menu.commands.iter().filter(|ran| ran.name() == "set").flat_map(|ran| ran.words.get(1..));
        let set = sets.flatten().rfind(|word| word.text.starts_with(b"default="));
        let text = loader.file.as_ref().map(|file| file.bytes.as_slice()).unwrap_or_default();
        loader.choice = match set.and_then(|set| self.word(set)) {
            Some(word)
                if word.file.bytes.get(word.range.clone()).is_some_and(|text| text.contains_str("saved_entry")) =>
            {
                Choice::Environment
            }
            // `next_entry` came first this time; the other branch tells how it is otherwise.
            Some(word)
                if word.file.bytes.get(word.range.clone()).is_some_and(|text| text.contains_str("next_entry")) =>
            {
                if text.contains_str("${saved_entry}") {
                    Choice::Environment
                } else {
                    Choice::First
                }
            }
            Some(word) => Choice::Word(word),
            None => Choice::First,
        };
    }

    /// The value of a variable as a word, where it stands as it is.
    fn value(&self, value: &Value) -> Option<Word> {
        let (file, start) = value.origin?;
        let file = Arc::clone(self.files.get(file)?);
        let text = value.text.to_str_lossy().into_owned();
        Some(Word { range: start..start + value.text.len(), text, file, literal: true })
    }

    fn holds(&self, menu: &Menu) -> Vec<Hold> {
        let variable = |name: &str| menu.variables.get(BStr::new(name)).filter(|value| !value.text.is_empty());
        let mut all = Vec::new();
        // grub-core/normal/menu.c, grub_menu_get_timeout: what is no number counts as none.
        let seconds = |text: &BString| text.to_str().ok()?.parse::<i64>().ok();
        match variable("timeout").map(|value| (value, seconds(&value.text))) {
            Some((value, Some(seconds @ LONG..))) => {
                all.extend(self.value(value).map(|word| Hold::LongTimeout(word, seconds.unsigned_abs())));
            }
            Some((_, Some(0..))) => {}
            Some((value, _)) => all.push(Hold::NoTimeout(self.value(value))),
            None if menu.items.is_empty() => {}
            None => all.push(Hold::NoTimeout(None)),
        }
        // grub-core/normal/auth.c: nobody is asked while there is no superuser.
        if let (Some(superusers), Some(path)) = (variable("superusers"), menu.default_entry()) {
            let items = (1..=path.len()).filter_map(|depth| menu.item(path.get(..depth)?));
            let restricted = items.filter(|item| item.is_restricted).filter_map(|item| item.keyword.as_ref());
            let keywords: Vec<Word> = restricted.filter_map(|keyword| self.word(keyword)).collect();
            if !keywords.is_empty() {
                all.push(Hold::Password(self.value(superusers), keywords));
            }
        }
        all.extend(menu.commands.iter().filter(|ran| ends(ran)).filter_map(|ran| {
            let (first, last) = (self.word(ran.words.first()?)?, self.word(ran.words.last()?)?);
            let range = first.range.start..last.range.end.max(first.range.end);
            let text = first.file.bytes.get(range.clone()).unwrap_or_default().to_str_lossy().into_owned();
            Some(Hold::Command(Word { text, range, ..first }))
        }));
        all
    }

    fn entry(&self, menu: &Menu, path: &[usize], item: &Item, outside: &[&Argument]) -> Option<Entry> {
        let mut names = Vec::new();
        for depth in 1..=path.len() {
            names.push(name(menu, path.get(..depth)?)?);
        }
        let named = |argument: &Argument, root: &BString| {
            let (device, path) = split_device(argument.text.as_ref(), root.as_ref());
            Some(Named { word: self.word(argument)?, path: self.paths.to_target(self.facts, device, path) })
        };
        let starts = |ran: &&Ran, names: [&str; 3]| names.iter().any(|name| ran.name() == *name);
        let linux = item.commands.iter().find(|ran| starts(ran, ["linux", "linux16", "linuxefi"]));
        let initrd = item.commands.iter().find(|ran| starts(ran, ["initrd", "initrd16", "initrdefi"]));
        let words = |ran: &Ran, from: usize| -> Vec<Word> {
            ran.words.iter().skip(from).filter_map(|word| self.word(word)).collect()
        };
        let mut in_vain: Vec<Word> =
            item.commands.iter().filter_map(|ran| ran.in_vain.as_ref()).filter_map(|word| self.word(word)).collect();
        let searches = item.commands.iter().any(|ran| ran.name().starts_with(b"search"));
        if !searches {
            in_vain.extend(outside.iter().filter_map(|word| self.word(word)));
        }
        Some(Entry {
            title: self.word(&item.place)?,
            choice: names.join(">"),
            kernel: linux.and_then(|ran| named(ran.words.get(1)?, &ran.root)),
            initramfs: initrd
                .map(|ran| ran.words.iter().skip(1).filter_map(|word| named(word, &ran.root)).collect())
                .unwrap_or_default(),
            arguments: linux.map(|ran| words(ran, 2)).unwrap_or_default(),
            in_vain,
        })
    }
}

/// A menu that stands for two minutes is taken for a machine that does not start; in seconds.
const LONG: i64 = 120;

/// Whether a command outside of all entries ends what GRUB does, or waits.
fn ends(ran: &Ran) -> bool {
    let long = || {
        let mut seconds = ran.words.iter().skip(1).filter_map(|word| word.text.to_str().ok()?.parse::<i64>().ok());
        seconds.next_back().is_some_and(|seconds| seconds >= LONG)
    };
    match ran.name().as_bytes() {
        b"halt" | b"reboot" | b"exit" | b"fwsetup" | b"normal_exit" => true,
        b"sleep" => long(),
        _ => false,
    }
}

/// What chooses the item in its menu: its id or title, whichever GRUB finds first there (grubby gives all entries the id of the one
/// that it copies), else its number.
fn name(menu: &Menu, path: &[usize]) -> Option<String> {
    let (number, above) = path.split_last()?;
    let siblings = || (0..).map_while(|at| menu.item(&[above, &[at]].concat()));
    let first = |text: &BString| siblings().position(|item| item.id.as_ref() == Some(text) || item.title == *text);
    let item = menu.item(path)?;
    let name = item.id.iter().chain([&item.title]).find(|text| first(text) == Some(*number));
    Some(name.map_or_else(|| number.to_string(), ToString::to_string))
}
