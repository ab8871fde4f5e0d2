//! One address, two owners.

use sickbay_formats::network::Kind;
use sickbay_formats::network::address::Cidr;
use sickbay_formats::network::kernel::Kernel;
use sickbay_formats::service_log::{Fault, Seen};

use crate::facts::Facts;
use crate::facts::logs::kernel_log::KernelLog;
use crate::facts::logs::own_services::OwnServices;
use crate::facts::logs::seen::times;
use crate::facts::network::NetworkFiles;
use crate::facts::network::after_restart::AfterRestart;
use crate::facts::network::live::Live;
use crate::mend::network::point;
use crate::model::finding::Findings;
use crate::model::outcome::{Skip, Verdict};
use crate::model::subject::Subject;
use crate::{check, tr};

check! {
    /// ## Symptom
    /// You see: connections to one address that now work and now hang, ssh that says "REMOTE HOST IDENTIFICATION HAS CHANGED", "IPv6
    /// duplicate address … detected!" or "some other host … already uses address" in the log.
    ///
    /// ## What it finds
    /// An address that another host has: the kernel of this machine found it by duplicate address detection (IPv6; `dadfailed` in
    /// `ip addr`), or a log says so in the words of the kernel, systemd-networkd, NetworkManager, dhcpcd or ifup. And an address that two
    /// cards of this machine have, now or after a restart, as after a copied file of which only half was changed.
    ///
    /// ## Why it matters
    /// Each of the two answers to some of its neighbours. The kernel does not use an IPv6 address that failed; systemd-networkd and
    /// NetworkManager drop an IPv4 address, and ifup does not set it up.
    ///
    /// ## What the repair does
    /// Nothing: who of the two is to keep the address only a person knows.
    ///
    /// ## By hand
    /// ```sh
    /// ip addr show dadfailed
    /// arping -D -c 3 -I CARD ADDRESS    # who else has it
    /// ```
    "address-conflict", Logs, seed = ["C10"], proves = [], "an address is used twice"
}

fn run(facts: &Facts, found: &mut Findings) -> Verdict {
    if !facts.target().given_logs().is_empty() {
        let log = facts.get::<KernelLog>()?;
        for seen in log.services.iter().filter(|seen| seen.told.fault == Fault::AddressConflict) {
            told(seen, &log.source(seen.source).display().to_string(), found);
        }
        return Ok(());
    }
    let live = facts.get::<Live>().ok();
    for link in live.iter().flat_map(|live| &live.0.links) {
        for address in link.addresses.iter().filter(|address| address.refused) {
            let (dev, ip) = (link.name.as_str(), address.cidr.address.to_string());
            let finding = found.error(tr!("another host has the address {ip} of {dev}", ip = ip.as_str(), dev));
            finding.subject(Subject::Named(format!("address {ip}")));
            finding.why(tr!("the kernel found it before it used the address, and does not use it"));
            finding.by_hand(tr!(
                "give one of the two another address, then: ip addr del {ip} dev {dev}, and add it again",
                ip,
                dev
            ));
            if let Some(seen) = logged(facts).into_iter().find(|(seen, _)| seen.told.subject == ip) {
                finding.note(tr!("{path}: {line}", path = seen.1, line = seen.0.words.as_str()));
            }
        }
    }
    let mut known = Vec::new();
    if let Some(live) = live {
        let is_card = |name: &str| facts.root().exists(format!("/sys/class/net/{name}/device")).unwrap_or(false);
        for (ip, first, second) in twice(&live.0, is_card) {
            let finding =
                found.warning(tr!("{first} and {second} both have the address {ip}", first, second, ip = ip.as_str()));
            finding.subject(Subject::Named(format!("address {ip}")));
            finding.why(tr!("answers leave by one of them only, whichever the request came in by"));
            finding.by_hand(tr!(
                "ip addr del {ip} from the card that it is not for, and correct its configuration",
                ip = ip.as_str()
            ));
            known.push(ip);
        }
    }
    after_restart(facts, &known, found)
}

/// What files give to two cards.
fn after_restart(facts: &Facts, known: &[String], found: &mut Findings) -> Verdict {
    let (Ok(files), Ok(after)) = (facts.get::<NetworkFiles>(), facts.get::<AfterRestart>()) else {
        return Err(Skip::NotApplicable(tr!("nothing configures the network")));
    };
    if !after.counts() {
        return Err(Skip::NotApplicable(after.charge.why.clone()));
    }
    let made = |name: &str| {
        let mut declared = after.outcome.network.interfaces.iter().filter(|one| one.name == name);
        declared.any(|one| matches!(one.kind, Kind::Loopback | Kind::Made))
    };
    for (ip, first, second) in twice(&after.outcome.kernel, |name| !made(name)) {
        if known.contains(&ip) {
            continue;
        }
        let all = after.outcome.kernel.links.iter().filter(|link| link.name == first || link.name == second);
        let addresses = all.flat_map(|link| &link.addresses).filter(|address| address.cidr.address.to_string() == ip);
        let places: Vec<_> = addresses.filter_map(|address| address.from.first().cloned()).collect();
        let finding =
            found.warning(tr!("{first} and {second} are both given the address {ip}", first, second, ip = ip.as_str()));
        for place in places.iter().rev().take(1) {
            point(finding, &files, place);
        }
        for place in places.iter().take(places.len().saturating_sub(1)) {
            finding.note(tr!("declared before at {path}:{line}", path = place.path.as_str(), line = place.line));
        }
        finding.why(tr!("answers leave by one of them only, whichever the request came in by"));
        finding.by_hand(tr!("give the second card its own address"));
    }
    Ok(())
}

/// Addresses that two links which are up have, in one network: the address, and both.
fn twice(kernel: &Kernel, is_card: impl Fn(&str) -> bool) -> Vec<(String, String, String)> {
    let mut all = Vec::new();
    let mut seen: Vec<(&str, Cidr)> = Vec::new();
    let links = kernel.links.iter().filter(|link| link.up && link.name != "lo" && link.master.is_none());
    for link in links.filter(|link| is_card(&link.name)) {
        for address in link.addresses.iter().filter(|address| address.peer.is_none()) {
            let width = if address.cidr.is_v6() { 128 } else { 32 };
            // One host's address on several links is how routers and links between two points save addresses.
            if address.cidr.prefix == width {
                continue;
            }
            match seen.iter().find(|(_, cidr)| *cidr == address.cidr) {
                Some((first, _)) if *first != link.name => {
                    all.push((address.cidr.address.to_string(), (*first).to_owned(), link.name.clone()));
                }
                _ => seen.push((&link.name, address.cidr)),
            }
        }
    }
    all
}

/// What the system's own logs of the last week say.
fn logged(facts: &Facts) -> Vec<(Seen, String)> {
    let Ok(log) = facts.get::<OwnServices>() else { return Vec::new() };
    let conflicts = log.seen.iter().filter(|seen| seen.told.fault == Fault::AddressConflict);
    let source = |seen: &Seen| log.sources.get(seen.source).map_or_else(String::new, |path| path.display().to_string());
    conflicts.map(|seen| (seen.clone(), source(seen))).collect()
}

/// What a log says.
fn told(seen: &Seen, source: &str, found: &mut Findings) {
    let ip = seen.told.subject.as_str();
    let finding = match seen.told.detail.as_str() {
        "" => found.error(tr!("another host has this machine's address {ip}", ip)),
        mac => found.error(tr!("another host ({mac}) has this machine's address {ip}", mac, ip)),
    };
    finding.at_path(source).subject(Subject::Named(format!("address {ip}")));
    finding.evidence(format!("{source}:{}", seen.line), seen.words.as_str());
    finding.note(times(seen.count, seen.first, seen.last));
    finding.why(tr!("the address is dropped, or each of the two answers to some of its neighbours"));
    finding.by_hand(tr!("find the other host by its MAC address (arping -D, the switch's tables), and give one of the two another address"));
    finding.detail("address", ip).detail("mac", seen.told.detail.as_str()).detail("count", seen.count);
}
