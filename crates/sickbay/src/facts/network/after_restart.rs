//! What holds of the network after a restart.

use std::collections::BTreeMap;

use sickbay_formats::accounts::Kind;
use sickbay_formats::network::{Card, Dialect, Machine, Outcome, after_restart};

use super::NetworkFiles;
use super::cards::{self, From};
use super::charge::{Charge, Started, charge};
use crate::facts::login::accounts::Users;
use crate::facts::{Fact, Facts};
use crate::model::outcome::Skip;

/// What the files come to.
#[derive(Debug)]
pub struct AfterRestart {
    /// Who is in charge.
    pub charge: Charge,
    /// The cards that were reckoned with.
    pub cards: Vec<Card>,
    /// Where they are known from.
    pub cards_from: From,
    /// What the kernel then has, and the complaints.
    pub outcome: Outcome,
    machine: Machine,
}

impl Fact for AfterRestart {
    fn gather(facts: &Facts) -> Result<AfterRestart, Skip> {
        AfterRestart::with(facts, None)
    }
}

impl AfterRestart {
    /// The same on a machine whose cards the caller knows.
    pub fn with(facts: &Facts, given: Option<Vec<Card>>) -> Result<AfterRestart, Skip> {
        let files = facts.get::<NetworkFiles>()?;
        let charge = charge(facts, &files);
        let tables = tables(facts);
        let dialect = charge.dialect.unwrap_or(Dialect::Networkd);
        let read: Vec<_> = match charge.dialect {
            Some(_) => files.files.clone(),
            None => Vec::new(),
        };
        // systemd sets up lo whatever else it starts.
        let systemd = facts.root().exists("/usr/lib/systemd/systemd").unwrap_or(false)
            || facts.root().exists("/lib/systemd/systemd").unwrap_or(false);
        let declared = after_restart(dialect, &read, &Machine::default()).network;
        let (cards, cards_from) = match given {
            Some(cards) => (cards, From::Given),
            None => cards::cards(facts, &declared),
        };
        let machine = Machine {
            cards: cards.clone(),
            tables,
            lo_is_up: systemd,
            networkd: networkd(facts),
            ifupdown_first: leaves_to_ifupdown(facts),
        };
        let outcome = after_restart(dialect, &read, &machine);
        Ok(AfterRestart { charge, cards, cards_from, outcome, machine })
    }

    /// The same with another content of one file: whether an edit does what it is meant to.
    pub fn with_edit(&self, files: &NetworkFiles, path: &str, bytes: &[u8]) -> Outcome {
        let mut all = files.files.clone();
        for file in all.iter_mut().filter(|file| file.path == path) {
            file.bytes = bytes.to_vec();
        }
        after_restart(self.charge.dialect.unwrap_or(Dialect::Networkd), &all, &self.machine)
    }

    /// Whether the files of the dialect in charge are what the machine goes by: it is started, or the target does not say.
    pub fn counts(&self) -> bool {
        self.charge.dialect.is_some() && matches!(self.charge.started, Started::Yes | Started::Unknown)
    }

    /// Whether the cards are known, and not only taken from the files.
    pub fn knows_cards(&self) -> bool {
        self.cards_from != From::Files
    }
}

/// The user that systemd-networkd runs as.
fn networkd(facts: &Facts) -> Option<(u32, u32)> {
    let users = facts.get::<Users>().ok()?;
    let passwd = users.parsed(Kind::Passwd);
    let entry = passwd.find(b"systemd-network")?;
    let number = |field| u32::try_from(entry.number(field)?).ok();
    Some((number(2)?, number(3)?))
}

/// Whether NetworkManager is told to leave alone what /etc/network/interfaces names: its plugin ifupdown is loaded, as Debian has it,
/// and not `managed=true` (NetworkManager.conf(5)).
fn leaves_to_ifupdown(facts: &Facts) -> bool {
    const DIRS: [&str; 3] =
        ["/usr/lib/NetworkManager/conf.d", "/run/NetworkManager/conf.d", "/etc/NetworkManager/conf.d"];
    let mut paths: Vec<String> = vec!["/etc/NetworkManager/NetworkManager.conf".to_owned()];
    for dir in DIRS {
        let mut names: Vec<_> = facts.root().read_dir(dir).unwrap_or_default().into_iter().collect();
        names.sort_by(|a, b| a.name.cmp(&b.name));
        let names = names.iter().filter_map(|entry| entry.name.to_str()).filter(|name| name.ends_with(".conf"));
        paths.extend(names.take(64).map(|name| format!("{dir}/{name}")));
    }
    let (mut plugin, mut managed) = (false, false);
    for path in paths {
        let Ok(Some(file)) = facts.file(&path) else { continue };
        let mut section = String::new();
        for line in String::from_utf8_lossy(&file.bytes).lines().take(4096) {
            let line = line.trim();
            if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
                section = name.to_owned();
            } else if let Some((key, value)) = line.split_once('=') {
                match (section.as_str(), key.trim_end_matches('+').trim()) {
                    ("main", "plugins") => plugin = value.split([',', ';']).any(|word| word.trim() == "ifupdown"),
                    ("ifupdown", "managed") => managed = matches!(value.trim(), "true" | "yes" | "1" | "on"),
                    _ => {}
                }
            }
        }
    }
    plugin && !managed
}

/// Names of routing tables.
fn tables(facts: &Facts) -> BTreeMap<u32, String> {
    let mut all = BTreeMap::new();
    for path in ["/usr/share/iproute2/rt_tables", "/usr/lib/iproute2/rt_tables", "/etc/iproute2/rt_tables"] {
        let Ok(Some(file)) = facts.file(path) else { continue };
        for line in String::from_utf8_lossy(&file.bytes).lines().take(4096) {
            let mut words = line.split('#').next().unwrap_or_default().split_whitespace();
            if let (Some(Ok(number)), Some(name)) = (words.next().map(str::parse), words.next()) {
                all.insert(number, name.to_owned());
            }
        }
    }
    all
}
