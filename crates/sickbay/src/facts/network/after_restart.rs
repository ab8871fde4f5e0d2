//! What holds of the network after a restart.

use std::collections::BTreeMap;

use sickbay_formats::network::{Card, Dialect, Machine, Outcome, after_restart};

use super::NetworkFiles;
use super::cards::{self, From};
use super::charge::{Charge, Started, charge};
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
        let machine = Machine { cards: cards.clone(), tables, lo_is_up: systemd };
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
