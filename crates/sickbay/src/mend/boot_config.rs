//! A configuration written anew, with an entry for every kernel that is complete.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bstr::ByteSlice;
use sickbay_formats::shell_vars::{self, Assignment};
use sickbay_formats::{bls, grub_cfg, grub_env, grub_legacy};
use sickbay_target::{Table, Volume};

use crate::facts::Facts;
use crate::facts::boot::boot_config::grub2::{LOADER_ENTRIES, main_dir};
use crate::facts::boot::boot_config::{BootConfig, Kind, Loader, read, root_argument};
use crate::facts::boot::esp::PLACE;
use crate::facts::boot::kernels::{Kernel, Kernels};
use crate::facts::system::release::System;
use crate::model::repair::Change;
use crate::model::source::SourceFile;

/// How `search` finds the volume that holds the kernels: `--fs-uuid UUID`.
fn search(config: &BootConfig) -> Option<String> {
    let (volume, _) = config.paths.volume_of(Path::new("/boot/vmlinuz"))?;
    match (&volume.uuid, &volume.label) {
        (Some(uuid), _) => Some(format!("--fs-uuid {uuid}")),
        (None, Some(label)) => Some(format!("--label {label}")),
        (None, None) => None,
    }
}

/// /etc/default/grub and the files that are read after it.
struct Settings(Vec<Assignment>);

impl Settings {
    fn of(facts: &Facts) -> Settings {
        let mut all = Vec::new();
        let mut add = |path: &Path| {
            if let Ok(Some(file)) = facts.file(path) {
                all.extend(shell_vars::assignments(&file.bytes));
            }
        };
        add(Path::new("/etc/default/grub"));
        let dir = Path::new("/etc/default/grub.d");
        for entry in facts.root().read_dir(dir).unwrap_or_default() {
            if entry.name.to_string_lossy().ends_with(".cfg") {
                add(&dir.join(entry.name));
            }
        }
        Settings(all)
    }

    fn get(&self, name: &str) -> Option<String> {
        shell_vars::value_of(&self.0, name)?.to_str().ok().map(str::to_owned)
    }

    fn console(&self) -> Vec<String> {
        let both = self.get("GRUB_TERMINAL");
        let of = |name: &str| {
            let words = self.get(name).or_else(|| both.clone())?;
            // Without its fonts the graphical terminal shows nothing.
            let words: Vec<&str> = words.split_whitespace().filter(|word| *word != "gfxterm").collect();
            (!words.is_empty()).then(|| words.join(" "))
        };
        let (input, output) = (of("GRUB_TERMINAL_INPUT"), of("GRUB_TERMINAL_OUTPUT"));
        let mut all = Vec::new();
        if input.iter().chain(&output).any(|words| words.contains("serial")) {
            all.push(self.get("GRUB_SERIAL_COMMAND").unwrap_or_else(|| "serial".to_owned()));
        }
        all.extend(input.map(|words| format!("terminal_input {words}")));
        all.extend(output.map(|words| format!("terminal_output {words}")));
        all
    }

    fn timeout(&self) -> u32 {
        self.get("GRUB_TIMEOUT").and_then(|text| text.parse().ok()).filter(|&seconds| seconds > 0).unwrap_or(5)
    }
}

/// The words for the kernel, `root=` first: as the target's own files have them, where some are left.
fn command_line(facts: &Facts, config: &BootConfig, loader: &Loader, settings: &Settings) -> Option<String> {
    let root = root_argument(config)?;
    let from_default = || {
        let names = ["GRUB_CMDLINE_LINUX", "GRUB_CMDLINE_LINUX_DEFAULT"];
        let words: Vec<String> = names.iter().filter_map(|name| settings.get(name)).collect();
        (!words.is_empty()).then(|| words.join(" "))
    };
    let from_environment = || {
        let file = read(facts, &loader.environment).ok()??;
        let all = grub_env::variables(&file.bytes);
        all.into_iter().find(|variable| variable.name == "kernelopts").map(|variable| variable.value.to_string())
    };
    let from_entries = || {
        loader_entries(facts).into_iter().find_map(|(_, file)| {
            let fields = bls::fields(&file.bytes);
            let options = fields.into_iter().find(|field| field.key == "options")?.value.to_str().ok()?.to_owned();
            (!options.contains("$kernelopts")).then_some(options)
        })
    };
    let from_file = |path: &str| facts.file(path).ok().flatten().map(|file| file.bytes.to_str_lossy().into_owned());
    let text = if uses_loader_entries(facts, settings) {
        from_environment().or_else(from_entries).or_else(|| from_file("/etc/kernel/cmdline")).or_else(from_default)
    } else {
        from_default().or_else(|| from_file("/etc/kernel/cmdline"))
    };
    let running = || if facts.runs() { from_file("/proc/cmdline") } else { None };
    let text = text.or_else(running).unwrap_or_default();
    let mut words = root;
    let has_mode = text.split_whitespace().any(|word| matches!(word, "ro" | "rw"));
    if !has_mode {
        words.push("ro".to_owned());
    }
    let subvolume = words.iter().any(|word| word.starts_with("rootflags="));
    let own = ["root=", "BOOT_IMAGE=", "initrd=", "$"];
    for word in text.split_whitespace() {
        let ours = own.iter().any(|prefix| word.starts_with(prefix)) || subvolume && word.starts_with("rootflags=");
        if !ours && !words.iter().any(|known| known == word) {
            words.push(word.to_owned());
        }
    }
    Some(words.join(" "))
}

/// The files of /boot/loader/entries.
fn loader_entries(facts: &Facts) -> Vec<(PathBuf, Arc<SourceFile>)> {
    let names = facts.root().read_dir(LOADER_ENTRIES).unwrap_or_default();
    names
        .into_iter()
        .map(|entry| Path::new(LOADER_ENTRIES).join(entry.name))
        .filter(|path| path.extension().is_some_and(|extension| extension == "conf"))
        .filter_map(|path| Some((path.clone(), read(facts, &path).ok()??)))
        .collect()
}

fn uses_loader_entries(facts: &Facts, settings: &Settings) -> bool {
    settings.get("GRUB_ENABLE_BLSCFG").as_deref() == Some("true")
        || !loader_entries(facts).is_empty() && settings.get("GRUB_ENABLE_BLSCFG").is_none()
}

/// GRUB's modules for a volume: its partition table, what lies between, its file system.
fn modules(volume: Option<&Volume>, tables: &[Table]) -> Vec<String> {
    let Some(volume) = volume else { return Vec::new() };
    let mut all = Vec::new();
    let table = volume.table.or_else(|| tables.first().copied());
    all.extend(table.map(|table| match table {
        Table::Mbr => "part_msdos",
        Table::Gpt => "part_gpt",
    }));
    if volume.lv.is_some() {
        all.push("lvm");
    }
    if volume.name.starts_with("mirror on ") {
        all.extend(["diskfilter", "mdraid1x"]);
    }
    all.push(match volume.fstype.as_str() {
        "ext2" | "ext3" | "ext4" => "ext2",
        "vfat" => "fat",
        other => other,
    });
    all.into_iter().filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

/// The changes that write the configuration of `loader` anew; `None` where no kernel is complete or the root has no
/// name.
pub fn changes(facts: &Facts, config: &BootConfig, kernels: &Kernels, loader: &Loader) -> Option<Vec<Change>> {
    let on_efi = loader.first.starts_with(PLACE);
    let main = main_dir(facts).map(|dir| dir.join("grub.cfg"));
    let main_there = main.as_ref().is_some_and(|main| facts.root().stat(main).is_ok_and(|found| found.size > 0));
    // What a sound stub leads to and is not there is written where it leads.
    let leads_nowhere = loader.lost.as_ref().is_some_and(|lost| lost.text.contains('/')) && !main_there;
    if on_efi && loader.first == loader.main && !leads_nowhere && (main_there || is_stub(facts, loader)) {
        let dir = loader.first.parent().filter(|dir| facts.root().metadata(dir).is_err());
        let made = dir.map(|dir| Change::make_dir(dir, 0o700));
        let stub = write_file(facts, &loader.first, loader.file.as_ref(), stub(facts, config)?);
        return Some(made.into_iter().chain([stub]).collect());
    }
    kernels.complete().next()?;
    let settings = Settings::of(facts);
    let options = command_line(facts, config, loader, &settings)?;
    let release = facts.get::<System>().ok().and_then(|system| system.release.pretty_name.clone());
    let name = release.unwrap_or_else(|| "Linux".to_owned());
    let on_boot = |path: &Path| config.paths.to_grub(path).1;
    let initrd = |kernel: &Kernel| kernel.initramfs.as_ref().map(|part| on_boot(&part.path));
    if loader.kind == Kind::Legacy {
        let (volume, _) = config.paths.volume_of(Path::new("/boot/vmlinuz"))?;
        let root = format!("(hd{},{})", volume.disk, volume.partition?.checked_sub(1)?);
        let serial = options.contains("console=ttyS0");
        let globals = ["serial --unit=0 --speed=115200", "terminal --timeout=5 serial console"];
        let entries = kernels.complete().map(|kernel| grub_legacy::NewEntry {
            title: format!("{name} ({})", kernel.version),
            kernel: on_boot(&kernel.image.path),
            options: options.clone(),
            initrd: initrd(kernel),
        });
        let text = grub_legacy::write(&grub_legacy::New {
            timeout: 5,
            globals: globals.iter().filter(|_| serial).map(|line| (*line).to_owned()).collect(),
            root,
            entries: entries.collect(),
        });
        let mut all = vec![write_file(facts, &loader.main, loader.file.as_ref(), text)];
        if loader.first.ends_with("grub.conf") {
            for (link, target) in [("/boot/grub/menu.lst", "./grub.conf"), ("/etc/grub.conf", "../boot/grub/grub.conf")]
            {
                if facts.root().metadata(link).is_err() {
                    all.push(Change::link(link, target));
                }
            }
        }
        return Some(all);
    }
    let volume = config.paths.volume_of(Path::new("/boot/vmlinuz")).map(|(volume, _)| volume);
    let tables: Vec<Table> =
        config.paths.devices().iter().flat_map(|devices| &devices.volumes).filter_map(|volume| volume.table).collect();
    let mut new = grub_cfg::write::New {
        timeout: settings.timeout(),
        default: if settings.get("GRUB_DEFAULT").as_deref() == Some("saved") { "saved" } else { "0" }.to_owned(),
        console: settings.console(),
        modules: modules(volume, &tables),
        search: search(config),
        ..grub_cfg::write::New::default()
    };
    let mut all = Vec::new();
    if uses_loader_entries(facts, &settings) {
        let known = loader_entries(facts);
        let names = |kernel: &Kernel| {
            let file = kernel.image.path.file_name().map(|name| name.as_encoded_bytes().to_vec()).unwrap_or_default();
            known.iter().any(|(_, entry)| {
                let fields = bls::fields(&entry.bytes);
                fields.iter().any(|field| field.key == "linux" && field.value.ends_with(&file))
            })
        };
        let machine = facts.file("/etc/machine-id").ok().flatten();
        let machine = machine.map(|file| file.bytes.trim_ascii().to_str_lossy().into_owned()).unwrap_or_default();
        let dirs = [Path::new("/boot/loader"), Path::new(LOADER_ENTRIES)];
        let written: Vec<Change> = kernels
            .complete()
            .filter(|kernel| !names(kernel))
            .map(|kernel| {
                let title = format!("{name} ({})", kernel.version);
                let linux = on_boot(&kernel.image.path);
                let text = bls::write(&title, &kernel.version, &linux, initrd(kernel).as_deref(), &options);
                let id = if machine.is_empty() { "sickbay" } else { machine.as_str() };
                let path = Path::new(LOADER_ENTRIES).join(format!("{id}-{}.conf", kernel.version));
                Change::create(path, text, 0o644)
            })
            .collect();
        if !written.is_empty() {
            all.extend(
                dirs.iter().filter(|dir| facts.root().metadata(dir).is_err()).map(|dir| Change::make_dir(dir, 0o700)),
            );
            all.extend(written);
        }
        if loader.loader_entries {
            return Some(all).filter(|all| !all.is_empty());
        }
        new.loader_entries = true;
        new.default = "saved".to_owned();
        let by_variable = known.iter().any(|(_, entry)| entry.bytes.contains_str("$kernelopts"));
        new.kernelopts = by_variable.then_some(options);
    } else {
        new.entries = kernels
            .complete()
            .map(|kernel| grub_cfg::write::NewEntry {
                title: format!("{name}, with Linux {}", kernel.version),
                id: format!("linux-{}", kernel.version),
                linux: on_boot(&kernel.image.path),
                options: options.clone(),
                initrd: initrd(kernel),
            })
            .collect();
    }
    let lost = main.filter(|_| leads_nowhere);
    let path = lost.as_deref().unwrap_or(&loader.main);
    let file = if lost.is_some() { read(facts, path).ok().flatten() } else { loader.file.clone() };
    if let Some(dir) = path.parent().filter(|dir| facts.root().metadata(dir).is_err()) {
        all.push(Change::make_dir(dir, 0o755));
    }
    all.push(write_file(facts, path, file.as_ref(), grub_cfg::write::write(&new)));
    Some(all)
}

fn write_file(facts: &Facts, path: &Path, file: Option<&Arc<SourceFile>>, text: String) -> Change {
    match file {
        Some(file) => Change::edit(file, text.into_bytes()),
        // A link that leads nowhere stays one: the file is made where it leads.
        None => {
            let real = facts.root().read_link(path).ok().and_then(|link| Some(path.parent()?.join(link)));
            Change::create(real.as_deref().unwrap_or(path), text, 0o600)
        }
    }
}

/// Whether what belongs at the place of an EFI loader's configuration is a stub: one that leads to the configuration
/// of the boot volume. RHEL and its rebuilds had all of it on the EFI partition up to version 8.
fn is_stub(facts: &Facts, loader: &Loader) -> bool {
    let says = |word: &str| loader.file.as_ref().is_some_and(|file| file.bytes.contains_str(word));
    if says("configfile") || says("source") {
        return true;
    }
    let Ok(system) = facts.get::<System>() else { return true };
    let major = system.release.version.as_deref().and_then(|version| version.split('.').next()?.parse::<u32>().ok());
    !(system.release.is_like("rhel") && major.is_some_and(|major| major < 9))
}

/// The stub for an EFI loader.
fn stub(facts: &Facts, config: &BootConfig) -> Option<String> {
    let dir = main_dir(facts)?;
    let search = search(config)?;
    let (_, path) = config.paths.to_grub(&dir);
    Some(format!(
        "search --no-floppy --set=dev {search}\nset prefix=($dev){path}\nexport prefix\nconfigfile $prefix/grub.cfg\n"
    ))
}
