//! Who is in charge of the network: of several dialects whose files are there, the one whose program the system starts.

use sickbay_formats::network::{Dialect, ifcfg, interfaces};

use super::NetworkFiles;
use crate::facts::Facts;
use crate::facts::system::release::{Init, System};
use crate::facts::system::units::{State, Units};
use crate::model::outcome::Skip;
use crate::model::text::Text;
use crate::tr;

/// Every dialect, in the order in which they are told of.
pub const ALL: [Dialect; 5] =
    [Dialect::Netplan, Dialect::Ifupdown, Dialect::Ifcfg, Dialect::Networkd, Dialect::NetworkManager];

/// As people call it.
pub fn name(dialect: Dialect) -> &'static str {
    match dialect {
        Dialect::Ifcfg => "network-scripts",
        Dialect::Ifupdown => "ifupdown",
        Dialect::Netplan => "netplan",
        Dialect::Networkd => "systemd-networkd",
        Dialect::NetworkManager => "NetworkManager",
    }
}

/// The unit that reads the dialect's files at boot.
pub fn unit(dialect: Dialect) -> &'static str {
    match dialect {
        Dialect::Ifcfg => "network.service",
        Dialect::Ifupdown => "networking.service",
        Dialect::Netplan | Dialect::Networkd => "systemd-networkd.service",
        Dialect::NetworkManager => "NetworkManager.service",
    }
}

/// Where the links of runlevels are that start a network.
pub const LEVELS: [&str; 7] =
    ["/etc/rc2.d", "/etc/rc3.d", "/etc/rc.d/rc2.d", "/etc/rc.d/rc3.d", "/etc/rc5.d", "/etc/rcS.d", "/etc/rc.d/rc5.d"];

/// Whether something is started at boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Started {
    /// It is.
    Yes,
    /// It is installed, and nothing starts it.
    No,
    /// It is not installed.
    Missing,
    /// The target does not tell: a tree without its init.
    Unknown,
}

/// Who is in charge.
#[derive(Debug)]
pub struct Charge {
    /// `None` where nothing configures the network but what the kernel and containers do.
    pub dialect: Option<Dialect>,
    /// What says so.
    pub why: Text,
    /// Whether that program is started.
    pub started: Started,
    /// The dialects whose files nobody reads.
    pub unused: Vec<Dialect>,
}

/// Whether the program of that dialect is started at boot.
pub fn started(facts: &Facts, dialect: Dialect) -> Started {
    let root = facts.root();
    let there = |path: &str| root.exists(path).unwrap_or(false);
    let Ok(system) = facts.get::<System>() else { return Started::Unknown };
    let program = match dialect {
        Dialect::Ifcfg => there("/etc/init.d/network") || there("/etc/rc.d/init.d/network"),
        Dialect::Ifupdown => there("/sbin/ifup") || there("/usr/sbin/ifup"),
        Dialect::Netplan => {
            let generators = ["/usr/lib/netplan/generate", "/lib/netplan/generate", "/usr/libexec/netplan/generate"];
            return match (generators.iter().any(|path| there(path)), system.init) {
                (true, _) => Started::Yes,
                (false, Init::None) => Started::Unknown,
                (false, _) => Started::Missing,
            };
        }
        Dialect::Networkd => there("/usr/lib/systemd/systemd-networkd") || there("/lib/systemd/systemd-networkd"),
        Dialect::NetworkManager => {
            there("/usr/sbin/NetworkManager") || there("/sbin/NetworkManager") || there("/usr/bin/NetworkManager")
        }
    };
    let linked = |dirs: &[&str], script: &str| {
        let is = |name: &str| {
            name.strip_prefix('S').is_some_and(|rest| rest.trim_start_matches(|c: char| c.is_ascii_digit()) == script)
        };
        dirs.iter()
            .any(|dir| root.read_dir(dir).unwrap_or_default().iter().any(|entry| entry.name.to_str().is_some_and(is)))
    };
    let yes = match (dialect, system.init) {
        (_, Init::None) => return Started::Unknown,
        (Dialect::Ifcfg, _) => linked(&LEVELS, "network") || pulled(facts, unit(dialect)) == Some(true),
        (_, Init::Systemd) => match pulled(facts, unit(dialect)) {
            Some(yes) => yes,
            None => return Started::Unknown,
        },
        (Dialect::Ifupdown, Init::Other) => {
            let levels = [
                "/etc/runlevels/boot/networking",
                "/etc/runlevels/default/networking",
                "/etc/runlevels/sysinit/networking",
            ];
            levels.iter().any(|path| root.metadata(path).is_ok()) || linked(&LEVELS, "networking")
        }
        // Upstart's own jobs start ifup.
        (Dialect::Ifupdown, Init::Upstart) => there("/etc/init/networking.conf"),
        (Dialect::Ifupdown, _) => linked(&LEVELS, "networking"),
        (Dialect::NetworkManager, _) => linked(&LEVELS, "NetworkManager") || linked(&LEVELS, "network-manager"),
        _ => false,
    };
    match (yes, program) {
        (true, true) => Started::Yes,
        (_, false) => Started::Missing,
        (false, true) => Started::No,
    }
}

/// Whether a boot starts that unit.
fn pulled(facts: &Facts, unit: &str) -> Option<bool> {
    match facts.get::<Units>() {
        Ok(units) => Some(units.get(unit).is_some_and(|unit| unit.state == State::Loaded)),
        Err(Skip::Unknown(_) | Skip::NotApplicable(_)) => None,
    }
}

/// Whether the files of a dialect configure anything.
pub fn has_files(files: &NetworkFiles, dialect: Dialect) -> bool {
    match dialect {
        Dialect::Ifcfg => files.of(dialect).any(|file| {
            let name = file.name().strip_prefix("ifcfg-");
            name.is_some_and(|name| name != "lo" && !ifcfg::is_ignored(name))
        }),
        Dialect::Ifupdown => {
            let mut scratch = Default::default();
            let all = interfaces::read(&files.files, &mut scratch);
            all.refused.is_some() || all.stanzas.iter().any(|stanza| stanza.name != "lo")
        }
        Dialect::Netplan => files.of(dialect).any(|file| file.name().ends_with(".yaml")),
        Dialect::Networkd => files.of(dialect).any(|file| {
            file.name().ends_with(".network") && (file.path.starts_with("/etc/") || file.path.starts_with("/run/"))
        }),
        Dialect::NetworkManager => files.of(dialect).next().is_some(),
    }
}

/// Finds out who is in charge.
pub fn charge(facts: &Facts, files: &NetworkFiles) -> Charge {
    let with: Vec<Dialect> = ALL.into_iter().filter(|dialect| has_files(files, *dialect)).collect();
    let of = |dialect: Dialect| started(facts, dialect);
    let made = |dialect: Dialect, started: Started| {
        let (program, unit) = (name(dialect), unit(dialect));
        let why = match started {
            Started::Yes if dialect == Dialect::Netplan => tr!("{program} is installed, and has files", program),
            Started::Yes => tr!("the boot starts {unit}", unit),
            Started::Unknown if with.len() == 1 => tr!("only {program} has files here", program),
            Started::Unknown => tr!("nothing here says what the boot starts: {program} is the likeliest", program),
            Started::No => tr!("only {program} has files, and nothing starts it", program),
            Started::Missing => tr!("only {program} has files, and it is not installed", program),
        };
        // NetworkManager reads ifcfg-* too.
        let reads = |other: Dialect| {
            other == dialect
                || (dialect == Dialect::NetworkManager && other == Dialect::Ifcfg)
                || (dialect == Dialect::Netplan && other == Dialect::Networkd)
        };
        let unused = with.iter().copied().filter(|other| !reads(*other)).collect();
        Charge { dialect: Some(dialect), why, started, unused }
    };
    if with.is_empty() {
        let why = match files.wicked {
            true => tr!("the files are those of wicked, which sickbay does not read"),
            false => tr!("no file here configures a network card"),
        };
        return Charge { dialect: None, why, started: Started::Unknown, unused: Vec::new() };
    }
    if with.contains(&Dialect::Netplan) && matches!(of(Dialect::Netplan), Started::Yes | Started::Unknown) {
        return made(Dialect::Netplan, of(Dialect::Netplan));
    }
    // On RHEL both may be started: NetworkManager has what it was not told to leave alone.
    if with.contains(&Dialect::Ifcfg) && of(Dialect::NetworkManager) == Started::Yes && !all_unmanaged(files) {
        return made(Dialect::NetworkManager, Started::Yes);
    }
    let mut known: Vec<(Dialect, Started)> = with.iter().map(|dialect| (*dialect, of(*dialect))).collect();
    known.sort_by_key(|(_, started)| match started {
        Started::Yes => 0,
        Started::Unknown => 1,
        Started::No => 2,
        Started::Missing => 3,
    });
    match known.first() {
        Some((dialect, started)) => made(*dialect, *started),
        None => Charge {
            dialect: None,
            why: tr!("no file here configures a network card"),
            started: Started::Unknown,
            unused: Vec::new(),
        },
    }
}

/// Whether every ifcfg file says NM_CONTROLLED=no.
fn all_unmanaged(files: &NetworkFiles) -> bool {
    let cards = files
        .of(Dialect::Ifcfg)
        .filter(|file| file.name().strip_prefix("ifcfg-").is_some_and(|name| name != "lo" && !ifcfg::is_ignored(name)));
    cards.into_iter().all(|file| {
        let text = String::from_utf8_lossy(&file.bytes).to_lowercase();
        text.lines().any(|line| {
            line.trim()
                .strip_prefix("nm_controlled=")
                .is_some_and(|value| matches!(value.trim_matches(['"', '\'']), "no" | "false" | "0"))
        })
    })
}
