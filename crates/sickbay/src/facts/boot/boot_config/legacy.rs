//! GRUB 0.97.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bstr::{BStr, BString, ByteSlice};
use sickbay_formats::grub_legacy::{self, Command};

use super::paths::Paths;
use super::{Choice, Entry, Hold, Kind, Loader, Named, Word, read};
use crate::facts::Facts;
use crate::facts::system::release::System;
use crate::model::outcome::Skip;
use crate::model::source::SourceFile;

const DIR: &str = "/boot/grub";

/// The loader, if it is installed.
pub(super) fn loader(facts: &Facts, paths: &Paths) -> Result<Option<Loader>, Skip> {
    let root = facts.root();
    let in_dir = |name: &str| Path::new(DIR).join(name);
    let installed = root.metadata(in_dir("stage2")).is_ok();
    let configured = ["grub.conf", "menu.lst"].iter().any(|name| root.metadata(in_dir(name)).is_ok());
    if !installed && !configured {
        return Ok(None);
    }
    let first = in_dir(name(facts));
    let file = read(facts, &first)?;
    let mut loader = Loader {
        kind: Kind::Legacy,
        main: file.as_ref().map_or_else(|| first.clone(), |file| file.path.clone()),
        first,
        file: file.clone(),
        lost: None,
        entries: Vec::new(),
        default: None,
        fallback: Vec::new(),
        choice: Choice::First,
        loader_entries: false,
        environment: in_dir("default"),
        in_vain: Vec::new(),
        holds: Vec::new(),
    };
    let Some(file) = file else { return Ok(Some(loader)) };
    let config = grub_legacy::parse(&file.bytes);
    let own = paths.volume_of(Path::new(DIR)).map(|(volume, _)| paths.name(volume)).unwrap_or_default();
    for (index, entry) in config.entries.iter().enumerate() {
        let word = |word: &grub_legacy::Word| view(&file, &word.text, word.range.clone());
        let stated = |command: &Command| command.words.first().and_then(|word| device(word.text.as_ref()));
        let root_of = ["root", "rootnoverify", "uuid"].iter().find_map(|name| entry.command(name));
        let device_of_entry = match root_of {
            Some(command) if command.name.text == "uuid" => {
                let value = command.words.first().map(|word| word.text.to_string()).unwrap_or_default();
                paths.search(facts, &sickbay_formats::fstab::Source::Uuid(value))
            }
            Some(command) => stated(command),
            None => Some(own.clone()),
        };
        let in_vain = match (root_of, &device_of_entry) {
            (Some(command), Some(found)) if !known(paths, found) => command.words.first().map(word),
            (Some(command), None) => command.words.first().map(word),
            _ => None,
        };
        let named = |named: &grub_legacy::Word| {
            let (on, path) = match named.text.strip_prefix(b"(").and_then(|rest| rest.split_once_str(")")) {
                Some((_, path)) => (device(named.text.as_ref()), path.as_bstr()),
                None => (device_of_entry.clone(), named.text.as_bstr()),
            };
            let path = on.and_then(|on| paths.to_target(facts, on.as_ref(), path));
            Named { word: word(named), path }
        };
        let kernel = entry.command("kernel").map(|command| {
            let mut words = command.words.iter().skip_while(|word| word.text.starts_with(b"--"));
            (words.next(), words.map(word).collect::<Vec<Word>>())
        });
        let (kernel, arguments) = kernel.unwrap_or_default();
        loader.entries.push(Entry {
            title: word(&entry.title),
            choice: index.to_string(),
            kernel: kernel.map(named),
            initramfs: entry
                .commands
                .iter()
                .filter(|command| command.name.text == "initrd")
                .flat_map(|command| &command.words)
                .map(named)
                .collect(),
            arguments,
            in_vain: in_vain.into_iter().collect(),
        });
    }
    let default = match config.default_entry() {
        grub_legacy::Choice::Number(number) => number,
        grub_legacy::Choice::Saved => saved(facts).unwrap_or(0),
    };
    // stage2/stage2.c: for a number that no entry has the first one is taken.
    let default = if default < loader.entries.len() { default } else { 0 };
    loader.default = (!loader.entries.is_empty()).then_some(default);
    loader.fallback = config.fallback();
    loader.fallback.retain(|index| *index < loader.entries.len());
    // stage2/stage2.c: without `timeout` the menu stands.
    let timeout = config.global("timeout").and_then(|command| command.words.first());
    let seconds = timeout.and_then(|word| word.text.to_str().ok()?.parse::<i64>().ok());
    if !loader.entries.is_empty() && seconds.is_none_or(|seconds| seconds < 0) {
        loader.holds.push(Hold::NoTimeout(timeout.map(|word| view(&file, &word.text, word.range.clone()))));
    }
    // `lock` asks for the password that is set before all entries.
    let lock = loader.default.and_then(|index| config.entries.get(index)).and_then(|entry| entry.command("lock"));
    if let (Some(password), Some(lock)) = (config.global("password"), lock) {
        let word = |word: &grub_legacy::Word| view(&file, &word.text, word.range.clone());
        loader.holds.push(Hold::Password(Some(word(&password.name)), vec![word(&lock.name)]));
    }
    loader.choice = match config.global("default").and_then(|command| command.words.first()) {
        Some(word) => Choice::Word(view(&file, &word.text, word.range.clone())),
        None => Choice::First,
    };
    Ok(Some(loader))
}

/// The name of the configuration. It is built into stage2: upstream has `menu.lst`, the RHEL family `grub.conf`.
fn name(facts: &Facts) -> &'static str {
    let stage2 = facts.root().read_up_to(Path::new(DIR).join("stage2"), 1 << 20).unwrap_or_default();
    if stage2.contains_str("/grub/grub.conf") {
        return "grub.conf";
    }
    if stage2.contains_str("/grub/menu.lst") {
        return "menu.lst";
    }
    let real = |name: &str| facts.root().metadata(PathBuf::from(DIR).join(name)).is_ok_and(|found| found.is_file());
    let of_rhel = facts.get::<System>().is_ok_and(|system| system.release.is_like("rhel"));
    if real("grub.conf") || of_rhel && !real("menu.lst") { "grub.conf" } else { "menu.lst" }
}

/// The number in the file `default`.
fn saved(facts: &Facts) -> Option<usize> {
    let file = facts.file(Path::new(DIR).join("default")).ok()??;
    file.bytes.lines().next()?.trim_ascii().to_str().ok()?.parse().ok()
}

/// `(hd0,0)…` as GRUB 2 names it, which counts partitions from 1.
fn device(text: &BStr) -> Option<BString> {
    let inner = text.strip_prefix(b"(")?.split_once_str(")")?.0.to_str().ok()?;
    match inner.split_once(',') {
        Some((disk, partition)) => {
            let number: u32 = partition.parse().ok()?;
            Some(format!("{disk},{}", number.checked_add(1)?).into())
        }
        None => Some(inner.into()),
    }
}

fn known(paths: &Paths, device: &BString) -> bool {
    let none = paths.devices().is_none_or(|devices| devices.root().is_none());
    none || device == super::paths::UNTOLD || paths.find(device.as_ref()).is_some()
}

fn view(file: &Arc<SourceFile>, text: &BString, range: Range<usize>) -> Word {
    Word { text: text.to_str_lossy().into_owned(), file: Arc::clone(file), range, literal: true }
}
