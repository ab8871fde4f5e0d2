//! The network is configured for another card.

use sickbay_formats::lines::with_comment;
use sickbay_formats::network::{Card, Complaint, Dialect, Outcome, Place, What};

use crate::facts::Facts;
use crate::facts::boot::boot_config::BootConfig;
use crate::facts::network::NetworkFiles;
use crate::facts::network::after_restart::AfterRestart;
use crate::facts::network::cards::{RULES, Rule, ruled};
use crate::mend::network::{has_address, offer, offer_comment, point};
use crate::model::finding::{Finding, Findings};
use crate::model::outcome::{Skip, Verdict};
use crate::model::repair::{Change, Risk};
use crate::model::stage::Stage;
use crate::{check, tr};

check! {
    /// ## Symptom
    /// You see: a clone or a migrated machine boots, and nobody can reach it; on the console "Device eth0 does not
    /// seem to be present" or "Cannot find device ens18".
    ///
    /// ## What it finds
    /// Configuration that no card of the machine takes, where it is certain: the running kernel or the log of the last boot shows other
    /// names or MAC addresses (or the rules in which udev wrote them down) than the files ask for and no card gets an address, as after a clone, a change of hypervisor or of the
    /// card; or the kernel is told `net.ifnames=0` and only names like `ens18` are configured.
    ///
    /// ## Why it matters
    /// The system starts, and nobody reaches it.
    ///
    /// ## What the repair does
    /// Where the machine has one card and one is configured: comments out `HWADDR=` of another card, or writes the card's name or MAC
    /// address for the other one; makes comments of the rules by which udev keeps the name for a card of another machine. With more than one card only a person knows which is which.
    ///
    /// ## By hand
    /// ```sh
    /// ip link
    /// # then write the card's name or MAC address into its configuration
    /// ```
    "network-card-unknown", Network, seed = ["C10"], proves = [Network, Reachable], "the network is configured for another card"
}

fn run(facts: &Facts, found: &mut Findings) -> Verdict {
    let (files, after) = (facts.get::<NetworkFiles>()?, facts.get::<AfterRestart>()?);
    if !after.counts() {
        return Err(Skip::NotApplicable(after.charge.why.clone()));
    }
    let refused = |outcome: &Outcome| outcome.complaints.iter().any(|one| matches!(one.what, What::BlocksAll(_)));
    if !after.knows_cards() {
        for stage in [Stage::Network, Stage::Reachable] {
            found.open(stage, tr!("nothing here tells which cards the machine has"));
        }
        return by_command_line(facts, &files, &after, found);
    }
    if !has_address(&after.outcome) {
        for stage in [Stage::Network, Stage::Reachable] {
            found.open(stage, tr!("by its files no card gets an address"));
        }
    }
    if has_address(&after.outcome) || refused(&after.outcome) || after.cards.is_empty() {
        return Ok(());
    }
    let from_windows = |path: &str| {
        after.outcome.complaints.iter().any(|one| one.place.path == path && matches!(one.what, What::CarriageReturn(_)))
    };
    for Complaint { place, what } in &after.outcome.complaints {
        if from_windows(&place.path) || place.path.starts_with("/usr/") || place.path.starts_with("/lib/") {
            continue;
        }
        let message = match what {
            What::NoCard(name) => {
                tr!("the network is configured for {name}, and there is no such card", name = &**name)
            }
            What::OtherCard(name, mac) => tr!(
                "the configuration of {name} is for another card: this one has the MAC address {mac}",
                name = &**name,
                mac = &**mac
            ),
            What::NoMac(mac) => {
                tr!("the network is configured for the card {mac}, and there is no such card", mac = &**mac)
            }
            _ => continue,
        };
        let finding = found.error(message);
        point(finding, &files, place);
        finding
            .why(tr!("no card gets an address: the machine is reached by nobody"))
            .stops(Stage::Network)
            .stops(Stage::Reachable);
        let cards: Vec<&str> = after.cards.iter().map(|card| card.name.as_str()).collect();
        finding.note(tr!("cards of the machine: {cards}", cards = cards.join(", ")));
        if let [card] = after.cards.as_slice() {
            if let What::NoCard(name) = what {
                forget_names(facts, finding, name, card)?;
            }
            match (what, &card.mac) {
                (What::OtherCard(..) | What::NoMac(_), _) if after.charge.dialect == Some(Dialect::Ifcfg) => {
                    offer_comment(finding, &files, &after, place, has_address);
                }
                (What::NoMac(mac), Some(new)) => write(finding, &files, &after, place, (mac, new), has_address),
                (What::NoCard(name), _) => write(finding, &files, &after, place, (name, &card.name), has_address),
                _ => {}
            }
        }
        if finding.repairs.is_empty() {
            finding.by_hand(tr!("write the name or the MAC address of the card that the machine has"));
        }
    }
    Ok(())
}

/// Where udev keeps the name for a card of another machine: its rules as comments give this one the name again.
fn forget_names(facts: &Facts, finding: &mut Finding, name: &str, card: &Card) -> Verdict {
    let all = ruled(facts);
    let is_anothers = |rule: &&Rule| rule.name == name && card.mac.as_ref().is_none_or(|mac| *mac != rule.mac);
    let (Some(old), Some(file)) = (all.iter().find(is_anothers), facts.file(RULES)?) else { return Ok(()) };
    finding.note(tr!(
        "{path}:{line} keeps the name {name} for the card {mac}",
        path = RULES,
        line = old.line,
        name,
        mac = old.mac.as_str()
    ));
    let text = all.iter().fold(file.bytes.to_vec(), |text, rule| with_comment(&text, rule.line));
    let title = tr!("comment out the names of cards in {path}: this one is {name} again", path = RULES, name);
    finding.repair(Risk::Safe, title, [Change::edit(&file, text)]);
    Ok(())
}

/// In the file that declares the only interface there is: another name, or MAC address, wherever the old one is a word.
fn write(
    finding: &mut Finding,
    files: &NetworkFiles,
    after: &AfterRestart,
    place: &Place,
    (old, new): (&str, &str),
    good: impl Fn(&Outcome) -> bool,
) {
    let Some(file) = files.source(&place.path) else { return };
    // What came with packages is for no card in particular.
    let is_own = |path: &str| !path.starts_with("/usr/") && !path.starts_with("/lib/");
    let declared = after.outcome.network.interfaces.iter().filter(|one| one.name != "lo");
    if declared.filter(|one| one.place.as_ref().is_none_or(|place| is_own(&place.path))).count() != 1 {
        return;
    }
    let title = tr!("write {card} for {name} in {path}", card = new, name = old, path = file.path.as_path());
    offer(finding, files, after, file, with_word(&file.bytes, old, new), title, good);
}

/// The text with another word wherever the old one stands, in whatever case.
fn with_word(text: &[u8], old: &str, new: &str) -> Vec<u8> {
    let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.".contains(byte);
    let mut changed = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(byte) = rest.first() {
        let is_whole = !changed.last().is_some_and(is_part) && !rest.get(old.len()).is_some_and(is_part);
        match rest.get(..old.len()) {
            Some(word) if is_whole && word.eq_ignore_ascii_case(old.as_bytes()) => {
                changed.extend_from_slice(new.as_bytes());
                rest = rest.get(old.len()..).unwrap_or_default();
            }
            _ => {
                changed.push(*byte);
                rest = rest.get(1..).unwrap_or_default();
            }
        }
    }
    changed
}

/// `net.ifnames=0` and only names that the kernel gives without it.
fn by_command_line(facts: &Facts, files: &NetworkFiles, after: &AfterRestart, found: &mut Findings) -> Verdict {
    let Ok(boot) = facts.get::<BootConfig>() else { return Ok(()) };
    let entries = boot.loaders.iter().filter_map(|loader| loader.entries.get(loader.default?));
    let told: Vec<_> = entries.filter_map(|entry| entry.argument("net.ifnames")).collect();
    let Some((word, _)) = told.first().filter(|_| told.iter().all(|(_, value)| *value == "0")) else { return Ok(()) };
    let predictable = |name: &str| {
        ["ens", "enp", "eno", "enx"]
            .iter()
            .any(|head| name.strip_prefix(head).is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_hexdigit())))
    };
    let cards: Vec<_> = after
        .outcome
        .network
        .interfaces
        .iter()
        .filter(|one| one.kind == sickbay_formats::network::Kind::Card && one.macs.is_empty() && one.name != "lo")
        .collect();
    if cards.is_empty()
        || !cards.iter().all(|one| predictable(&one.name) && one.names.iter().all(|name| predictable(name)))
    {
        return Ok(());
    }
    // udev rules and .link files give names whatever the kernel is told.
    let named = [RULES, "/etc/udev/rules.d/70-persistent-ipoib.rules"];
    let links = files.files.iter().any(|file| file.path.ends_with(".link") && file.path.starts_with("/etc/"));
    if links || named.iter().any(|path| facts.root().exists(path).unwrap_or(true)) {
        return Ok(());
    }
    for one in cards {
        let Some(place) = one.matched.as_ref().or(one.place.as_ref()) else { continue };
        let finding = found.error(tr!(
            "the network is configured for {name}, and the kernel is told {word}: its cards are eth0, eth1, ...",
            name = one.name.as_str(),
            word = word.text.as_str()
        ));
        point(finding, files, place);
        finding.evidence(word.file.path.display().to_string(), word.text.clone());
        finding
            .why(tr!("no card gets an address: the machine is reached by nobody"))
            .stops(Stage::Network)
            .stops(Stage::Reachable);
        // That the machine has this card nobody knows; that its first one is eth0 is certain.
        if after.outcome.network.interfaces.iter().filter(|one| one.name != "lo").count() == 1 {
            write(finding, files, after, place, (&one.name, "eth0"), |outcome| !outcome.network.interfaces.is_empty());
        }
        if finding.repairs.is_empty() {
            finding.by_hand(tr!("write the name or the MAC address of the card that the machine has"));
        }
    }
    Ok(())
}
