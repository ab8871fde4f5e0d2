//! Words of the kernel command line that stop a normal start.

use std::path::Path;

use sickbay_formats::modules::plain;

use crate::facts::boot::boot_config::{BootConfig, Entry, Word, root_argument};
use crate::facts::boot::initramfs::Initramfses;
use crate::facts::memory::{Memory, bearable_hugepages};
use crate::facts::system::platform::{Clue, Kind, Platform};
use crate::facts::system::release::{Init, System};
use crate::facts::system::units::{UNIT_DIRS, Units, severity_without};
use crate::facts::{Facts, memory};
use crate::model::finding::Severity;
use crate::model::stage::Stage;
use crate::model::text::Text;
use crate::tr;

/// A word that stops a normal start.
pub(crate) struct Stop {
    /// The word; for a `root=` that is not there, the kernel's name.
    pub(crate) word: Word,
    pub(crate) severity: Severity,
    pub(crate) message: Text,
    pub(crate) why: Text,
    pub(crate) stage: Option<Stage>,
    /// What takes its place; nothing takes it out.
    pub(crate) new: String,
    /// The name of something that is missing is put behind the word.
    pub(crate) behind: bool,
    /// What tells that the machine needs what the word forbids.
    pub(crate) clue: Option<Clue>,
}

/// Less memory than this is too little for any of the distributions.
const LEAST_MEMORY: u64 = 192 << 20;

/// The words of an entry that stop a normal start.
pub(crate) fn stops(facts: &Facts, config: &BootConfig, entry: &Entry) -> Vec<Stop> {
    let mut all = Vec::new();
    let mut add = |word: &Word, severity, message, why, stage| {
        let (word, stage) = (word.clone(), Some(stage));
        all.push(Stop { word, severity, message, why, stage, new: String::new(), behind: false, clue: None });
    };
    let there = |path: &str| facts.root().exists(path).unwrap_or(true);
    let shell = || tr!("it boots to a shell without a network, on a console that nobody may see");
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
                        tr!("the kernel command line starts {program} instead of init", program),
                        shell(),
                        Stage::Init,
                    );
                } else if !there(program) {
                    let message =
                        tr!("the kernel command line starts {program} as init, which does not exist", program);
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
                    tr!("the kernel command line has {text}: it boots into rescue mode", text),
                    shell(),
                    Stage::Services,
                );
            }
            ("rd.break" | "rdbreak" | "break", _) => {
                let why = tr!("the initramfs stops in its own shell before the root is in use");
                add(
                    word,
                    Severity::Critical,
                    tr!("the kernel command line makes the initramfs stop: {text}", text),
                    why,
                    Stage::Init,
                );
            }
            ("systemd.unit", Some(unit)) => {
                if matches!(unit, "rescue.target" | "emergency.target" | "rescue" | "emergency") {
                    add(
                        word,
                        Severity::Critical,
                        tr!("the kernel command line makes systemd start {unit}", unit),
                        shell(),
                        Stage::Services,
                    );
                } else if is_systemd(facts) && !unit_exists(facts, unit) {
                    let message = tr!("the kernel command line makes systemd start {unit}, which does not exist", unit);
                    add(word, Severity::Critical, message, shell(), Stage::Services);
                }
            }
            ("mem", Some(amount)) if bytes(amount).is_some_and(|bytes| bytes < LEAST_MEMORY) => {
                let message = tr!("the kernel command line limits the kernel to {amount} of memory", amount);
                let why = tr!("programs are killed or the kernel panics for lack of memory before anybody can log in");
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
                    let message =
                        tr!("the kernel command line says that the root is {types}, but it is {fstype}", types, fstype);
                    add(word, Severity::Critical, message, tr!("the root cannot be mounted"), Stage::RootDevice);
                }
            }
            _ => {}
        }
    }
    all.extend(entry.arguments.iter().filter_map(|word| forbids(facts, word)));
    all.extend(too_many_hugepages(facts, entry));
    all.extend(no_root(config, entry));
    all
}

/// Keeps from being used what a start needs: drivers (kernel-parameters.txt, kmod, dracut.cmdline(7)) or units (systemd(1)).
fn forbids(facts: &Facts, word: &Word) -> Option<Stop> {
    let (name, list) = word.text.split_once('=')?;
    let stop = |severity, message, why, stage, new, clue| {
        Some(Stop { word: word.clone(), severity, message, why, stage, new, behind: false, clue })
    };
    match name {
        "module_blacklist" | "modprobe.blacklist" | "rd.driver.blacklist" | "rdblacklist" => {
            let needed = needed_drivers(facts);
            let of = |driver: &str| needed.iter().find(|(needed, _)| needed == driver);
            let (bad, rest): (Vec<&str>, Vec<&str>) = list.split(',').partition(|one| of(&plain(one)).is_some());
            let (driver, clue) = of(&plain(bad.first()?))?;
            // The initramfs needs no network, and what is only kept out of it comes later.
            let is_network = bad.iter().all(|one| plain(one) == NETWORK);
            if is_network && name.starts_with("rd") {
                return None;
            }
            let drivers = bad.join(", ");
            let (severity, why, stage) = if clue.is_none() {
                (Severity::Warning, tr!("a KVM guest boots without a network, or not at all"), None)
            } else if is_network {
                (Severity::Error, tr!("it boots without a network: ssh does not answer"), None)
            } else {
                let why = tr!("the kernel does not see the root disk: it needs {module}", module = driver.as_str());
                (Severity::Critical, why, Some(Stage::RootDevice))
            };
            let new = if rest.is_empty() { String::new() } else { format!("{name}={}", rest.join(",")) };
            stop(
                severity,
                tr!("the kernel command line keeps {drivers} from being loaded", drivers),
                why,
                stage,
                new,
                clue.clone(),
            )
        }
        "systemd.mask" if is_systemd(facts) => {
            let full = if list.contains('.') { list.to_owned() } else { format!("{list}.service") };
            let units = facts.get::<Units>().ok()?;
            let severity = severity_without(units.name(&full))?;
            let stage = (severity == Severity::Critical).then_some(Stage::Services);
            let why = tr!("whatever needs it does not start: logins fail or wait for it");
            stop(severity, tr!("the kernel command line masks {unit}", unit = full), why, stage, String::new(), None)
        }
        _ => None,
    }
}

const NETWORK: &str = "virtio_net";

/// Modules, not parts of the kernel, without which the root's disk is not seen or no network comes up, each with what tells so.
/// On a machine of which nothing is known it may be virtio's.
fn needed_drivers(facts: &Facts) -> Vec<(String, Option<Clue>)> {
    let (Ok(platform), Ok(kernels)) = (facts.get::<Platform>(), facts.get::<Initramfses>()) else { return Vec::new() };
    let Some(kernel) = kernels.all.iter().find(|kernel| kernel.is_default) else { return Vec::new() };
    // Of several disks that were seen, any one may be the root's.
    let disks =
        if platform.certain.is_empty() && platform.seen.len() == 1 { &platform.seen } else { &platform.certain };
    let mut all: Vec<(String, Option<Clue>)> =
        disks.iter().map(|(driver, clue)| ((*driver).to_owned(), Some(clue.clone()))).collect();
    let clue = match &platform.kind {
        Some((Kind::Kvm, clue)) => Some(Some(clue.clone())),
        None => Some(None),
        Some((Kind::Other, _)) => None,
    };
    all.extend(clue.into_iter().flat_map(|clue| [(NETWORK.to_owned(), clue.clone()), ("virtio_pci".to_owned(), clue)]));
    all.extend(all.clone().iter().flat_map(|(driver, clue)| {
        let needs = kernel.dependencies.get(driver).map(|module| module.needs.clone()).unwrap_or_default();
        needs.into_iter().map(|need| (need, clue.clone()))
    }));
    all.retain(|(driver, _)| !kernel.builtin.contains(driver));
    all
}

/// `hugepages=` with the size before it (hugetlbpage.rst), where the machine's memory is known.
fn too_many_hugepages(facts: &Facts, entry: &Entry) -> Option<Stop> {
    let value = |word: &Word, wanted: &str| {
        word.text.split_once('=').filter(|(name, _)| *name == wanted).map(|(_, value)| value.to_owned())
    };
    let last = |wanted: &str| entry.arguments.iter().rev().find_map(|word| value(word, wanted));
    let mut size = last("default_hugepagesz").and_then(|size| bytes(&size)).unwrap_or(2 << 20);
    let known = facts.get::<Memory>().ok()?;
    for word in entry.arguments.iter().take_while(|word| word.text != "--") {
        if let Some(next) = value(word, "hugepagesz").and_then(|size| bytes(&size)) {
            size = next;
        }
        let Some(pages) = value(word, "hugepages").and_then(|pages| pages.parse::<u64>().ok()) else { continue };
        let reserved = pages.saturating_mul(size) >> 10;
        if reserved <= bearable_hugepages(&known) {
            continue;
        }
        let message = tr!(
            "{word} reserves {reserved} of the machine's {total} of memory for huge pages",
            word = word.text.as_str(),
            reserved = memory::size(reserved),
            total = memory::size(known.total)
        );
        return Some(Stop {
            word: word.clone(),
            severity: Severity::Critical,
            message,
            why: tr!("too little is left for the programs that start next: they are killed, and the boot stops"),
            stage: Some(Stage::Services),
            new: String::new(),
            behind: false,
            clue: Some(Clue { source: known.source.display().to_string(), words: known.words.clone() }),
        });
    }
    None
}

/// No `root=` where one is needed.
fn no_root(config: &BootConfig, entry: &Entry) -> Option<Stop> {
    let root = root_argument(config)?.into_iter().next()?;
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
    let why = tr!("the initramfs does not know which file system is the root, and drops to its own shell");
    let stop = |word: &Word, message, new, behind| Stop {
        word: word.clone(),
        severity: Severity::Critical,
        message,
        why,
        stage: Some(Stage::RootDevice),
        new,
        behind,
        clue: None,
    };
    Some(match misspelt {
        Some(word) => {
            let value = word.text.split_once('=').map(|(_, value)| value).unwrap_or_default();
            let message = tr!("{word} on the kernel command line is not a root= parameter", word = word.text.as_str());
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
fn bytes(amount: &str) -> Option<u64> {
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
    UNIT_DIRS.iter().any(|dir| facts.root().metadata(Path::new(dir).join(&name)).is_ok())
}
