//! The kernel is told something that stops a normal start.

use std::path::Path;
use std::sync::Arc;

use super::boot_entries::{choose, edits, in_sources, is_sound, kernel_of, no_entry};
use crate::check::Verdict;
use crate::facts::Facts;
use crate::facts::boot_config::{BootConfig, Entry, Loader, Word, write};
use crate::facts::kernels::Kernels;
use crate::facts::system::{Init, System};
use crate::finding::{Findings, Severity};
use crate::proof::Stage;
use crate::repair::{Change, Risk};
use crate::text::Text;
use crate::{check, tr};

check! {
    /// ## What it finds
    /// Words of the default entry's kernel command line with which the system does not start as usual: `init=` that is a
    /// shell or is not there; `single`, `rescue`, `emergency`, `rd.break`, `break`; `systemd.unit=` of a rescue mode or of
    /// a unit that is not there; a `mem=` of less than 192 MiB; a `rootfstype=` that the root is not; no `root=` at all, or
    /// one that is misspelt.
    ///
    /// ## Why it matters
    /// Such words are typed once to get in, and forgotten. The machine then starts to a shell on a console that nobody
    /// sees, without network.
    ///
    /// ## What the repair does
    /// Takes out or corrects that one word, also in `/etc/default/grub` and `/etc/kernel/cmdline` from which the
    /// configuration is made anew; all other words stay. Where the default is a rescue entry, the same kernel's
    /// normal entry becomes the default. By hand: edit the word, and run `grub-mkconfig`, or `grubby --remove-args=`.
    "kernel-command-line", Boot, seed = ["B8", "B13"], proves = [RootDevice, Init, Services], "the kernel is told something that stops a normal start"
}

/// A word that stops a normal start.
pub(super) struct Stop {
    /// The word; for a `root=` that is not there, the kernel's name.
    word: Word,
    severity: Severity,
    message: Text,
    why: Text,
    stage: Stage,
    /// What takes its place; nothing takes it out.
    new: String,
    /// The name of something that is missing is put behind the word.
    behind: bool,
}

fn run(facts: &Facts, found: &mut Findings) -> Verdict {
    let config = facts.get::<BootConfig>()?;
    let mut some = false;
    for loader in &config.loaders {
        let Some(entry) = loader.default_entry().filter(|entry| entry.kernel.is_some()) else { continue };
        some = true;
        for stop in stops(facts, &config, entry) {
            let finding = found.add(stop.severity, stop.message.clone());
            finding.at(&stop.word.file, stop.word.span()).why(stop.why.clone()).stops(stop.stage);
            match changes(facts, &config, loader, entry, &stop) {
                Some((title, changes)) => {
                    finding.repair(Risk::Safe, title, changes);
                }
                None => {
                    finding.by_hand(tr!("correct the word in {path}", path = stop.word.file.path.as_path()));
                }
            }
        }
    }
    if some { Ok(()) } else { Err(no_entry()) }
}

/// Less memory than this is too little for any of the distributions.
const LEAST_MEMORY: u64 = 192 << 20;

/// The words of an entry that stop a normal start.
pub(super) fn stops(facts: &Facts, config: &BootConfig, entry: &Entry) -> Vec<Stop> {
    let mut all = Vec::new();
    let mut add = |word: &Word, severity, message, why, stage| {
        all.push(Stop { word: word.clone(), severity, message, why, stage, new: String::new(), behind: false });
    };
    let there = |path: &str| facts.root().exists(path).unwrap_or(true);
    let shell = || tr!("it starts to a shell without network, on a console that nobody may see");
    // What follows `--` is for init.
    for word in entry.arguments.iter().take_while(|word| word.text != "--") {
        let text = word.text.as_str();
        let (name, value) = text.split_once('=').map_or((text, None), |(name, value)| (name, Some(value)));
        match (name, value) {
            ("init", Some(program)) => {
                let base = program.rsplit('/').next().unwrap_or_default();
                if matches!(base, "sh" | "bash" | "dash" | "ash" | "zsh" | "ksh" | "busybox" | "sulogin") {
                    add(
                        word,
                        Severity::Critical,
                        tr!("the kernel is told to start {program} in the place of init", program),
                        shell(),
                        Stage::Init,
                    );
                } else if !there(program) {
                    let message = tr!("the kernel is told to start {program} as init, which is not there", program);
                    add(
                        word,
                        Severity::Critical,
                        message,
                        tr!("the kernel panics: there is no init to start"),
                        Stage::Init,
                    );
                }
            }
            ("single" | "S" | "s" | "1" | "rescue" | "emergency" | "-b" | "-s", None) => {
                add(
                    word,
                    Severity::Critical,
                    tr!("the kernel is told {text}: it starts in rescue mode", text),
                    shell(),
                    Stage::Services,
                );
            }
            ("rd.break" | "rdbreak" | "break", _) => {
                let why = tr!("the initramfs stops in its own shell before the root is in use");
                add(word, Severity::Critical, tr!("the initramfs is told to stop: {text}", text), why, Stage::Init);
            }
            ("systemd.unit", Some(unit)) => {
                if matches!(unit, "rescue.target" | "emergency.target" | "rescue" | "emergency") {
                    add(
                        word,
                        Severity::Critical,
                        tr!("systemd is told to start {unit}", unit),
                        shell(),
                        Stage::Services,
                    );
                } else if is_systemd(facts) && !unit_exists(facts, unit) {
                    let message = tr!("systemd is told to start {unit}, which is not there", unit);
                    add(word, Severity::Critical, message, shell(), Stage::Services);
                }
            }
            ("mem", Some(amount)) if memory(amount).is_some_and(|bytes| bytes < LEAST_MEMORY) => {
                let message = tr!("the kernel is told to use no more memory than {amount}", amount);
                let why = tr!("programs are killed or the kernel panics for want of memory before anybody can log in");
                add(word, Severity::Critical, message, why, Stage::Services);
            }
            ("rootfstype", Some(types)) => {
                let root = config.paths.devices().and_then(|devices| devices.root());
                let is = |fstype: &str| {
                    types
                        .split(',')
                        .any(|one| one == fstype || one == "auto" || one == "ext4" && fstype.starts_with("ext"))
                };
                if let Some(root) = root.filter(|root| !root.fstype.is_empty() && !is(&root.fstype)) {
                    let fstype = root.fstype.as_str();
                    let message = tr!("the kernel is told that the root is {types}, and it is {fstype}", types, fstype);
                    add(word, Severity::Critical, message, tr!("the root cannot be mounted"), Stage::RootDevice);
                }
            }
            _ => {}
        }
    }
    all.extend(no_root(config, entry));
    all
}

/// No `root=` where one is needed.
fn no_root(config: &BootConfig, entry: &Entry) -> Option<Stop> {
    let root = write::root_argument(config)?.into_iter().next()?;
    let named = entry.kernel.as_ref()?;
    let others = ["root=", "rd.systemd.gpt_auto", "boot=live", "boot=casper", "nfsroot=", "netroot=", "rdinit="];
    let there = |word: &Word| others.iter().any(|other| word.text.starts_with(other));
    // The kernel of another system has words of its own.
    if named.path.is_none() || entry.arguments.iter().any(there) {
        return None;
    }
    let misspelt = entry.arguments.iter().find(|word| {
        word.text.split_once('=').is_some_and(|(name, value)| {
            is_near(name, "root")
                && (value.starts_with("UUID=") || value.starts_with("LABEL=") || value.starts_with("/dev/"))
        })
    });
    let why = tr!("the initramfs does not know which file system is the root, and stops in its own shell");
    let stop = |word: &Word, message, new, behind| Stop {
        word: word.clone(),
        severity: Severity::Critical,
        message,
        why,
        stage: Stage::RootDevice,
        new,
        behind,
    };
    Some(match misspelt {
        Some(word) => {
            let value = word.text.split_once('=').map(|(_, value)| value).unwrap_or_default();
            let message = tr!("the kernel is told {word}, which is no root=", word = word.text.as_str());
            stop(word, message, format!("root={value}"), false)
        }
        None => stop(
            &named.word,
            tr!(
                "the default entry {title} does not say which file system is the root",
                title = entry.title.text.as_str()
            ),
            root,
            true,
        ),
    })
}

/// Whether one letter more, less, other or swapped makes `name` of `wanted`.
fn is_near(name: &str, wanted: &str) -> bool {
    let (name, wanted) = (name.as_bytes(), wanted.as_bytes());
    let common = name.iter().zip(wanted).take_while(|(left, right)| left.eq_ignore_ascii_case(right)).count();
    let behind = |left: usize, right: usize| {
        let (left, right) = (name.get(common + left..), wanted.get(common + right..));
        left.zip(right).is_some_and(|(left, right)| left.eq_ignore_ascii_case(right))
    };
    let swapped = name.get(common).is_some()
        && name.get(common) == wanted.get(common + 1)
        && name.get(common + 1) == wanted.get(common)
        && behind(2, 2);
    behind(0, 0) || behind(1, 0) || behind(0, 1) || behind(1, 1) || swapped
}

/// Bytes, as the kernel reads `mem=`: a number with K, M, G; what it does not understand is nothing.
fn memory(amount: &str) -> Option<u64> {
    let digits = amount.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let number: u64 = digits.parse().ok()?;
    let unit = match amount.get(digits.len()..)?.to_ascii_uppercase().as_str() {
        "" => 1,
        "K" => 1 << 10,
        "M" => 1 << 20,
        "G" => 1 << 30,
        _ => return None,
    };
    number.checked_mul(unit)
}

fn is_systemd(facts: &Facts) -> bool {
    facts.get::<System>().is_ok_and(|system| system.init == Init::Systemd)
}

fn unit_exists(facts: &Facts, unit: &str) -> bool {
    let name = if unit.contains('.') { unit.to_owned() } else { format!("{unit}.service") };
    let dirs = [
        "/etc/systemd/system",
        "/run/systemd/system",
        "/usr/local/lib/systemd/system",
        "/usr/lib/systemd/system",
        "/lib/systemd/system",
    ];
    dirs.iter().any(|dir| facts.root().metadata(Path::new(dir).join(&name)).is_ok())
}

fn changes(
    facts: &Facts,
    config: &BootConfig,
    loader: &Loader,
    entry: &Entry,
    stop: &Stop,
) -> Option<(Text, Vec<Change>)> {
    let kernels = facts.get::<Kernels>().ok()?;
    // A rescue entry is meant as it is: the same kernel's normal one is what should boot.
    let version = kernel_of(facts, &kernels, entry).map(|kernel| kernel.version.as_str());
    let normal = loader.entries.iter().find(|other| {
        kernel_of(facts, &kernels, other).map(|kernel| kernel.version.as_str()) == version
            && is_sound(facts, config, other)
    });
    if let Some(normal) = normal.filter(|_| version.is_some() && stop.new.is_empty())
        && let Some(change) = choose(facts, loader, normal)
        && !stop.word.text.contains('=')
    {
        return Some((tr!("boot {title} by default", title = normal.title.text.as_str()), vec![change]));
    }
    if !stop.word.literal {
        return None;
    }
    let (range, new) = if stop.behind {
        (stop.word.range.end..stop.word.range.end, format!(" {}", stop.new))
    } else {
        (stop.word.range.clone(), stop.new.clone())
    };
    let mut words = vec![(Arc::clone(&stop.word.file), range, new)];
    // Rescue entries want `single` and the like; nothing wants the others.
    if !stop.behind && !["single", "systemd.unit="].iter().any(|wanted| stop.word.text.starts_with(wanted)) {
        let others = loader.entries.iter().flat_map(|entry| &entry.arguments);
        let same = others.filter(|other| other.literal && other.text == stop.word.text);
        words.extend(same.map(|other| (Arc::clone(&other.file), other.range.clone(), stop.new.clone())));
    }
    let mut all = edits(words);
    if !stop.behind {
        all.extend(in_sources(facts, &stop.word.text, &stop.new));
    }
    let word = stop.word.text.as_str();
    let title = match (stop.behind, stop.new.is_empty()) {
        (true, _) => tr!("add {new}", new = stop.new.as_str()),
        (false, true) => tr!("take {word} out", word),
        (false, false) => tr!("write {new} in the place of {word}", new = stop.new.as_str(), word),
    };
    Some((title, all))
}
