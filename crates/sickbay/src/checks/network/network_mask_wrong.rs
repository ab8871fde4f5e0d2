//! A card has another netmask than its configuration says.

use crate::facts::Facts;
use crate::facts::network::NetworkFiles;
use crate::facts::network::after_restart::AfterRestart;
use crate::facts::network::live::{Connected, Pieces};
use crate::mend::network::point;
use crate::mend::network_now;
use crate::model::finding::Findings;
use crate::model::outcome::{Skip, Verdict};
use crate::model::repair::Risk;
use crate::model::subject::Subject;
use crate::{check, tr};

check! {
    /// ## Symptom
    /// You see: most addresses can be reached, but some that are close by number cannot; `ip addr` shows /16 where the
    /// configuration says /20.
    ///
    /// ## What it finds
    /// On a running system: a card whose network is longer or shorter than its configuration says, as after `ifconfig eth0 172.31.231.158`
    /// without a netmask, which takes the one of the address's class.
    ///
    /// ## Why it matters
    /// With too short a prefix machines of other networks are taken for neighbours and asked for by ARP instead of over the router: they
    /// are not reached, although everything else is, and two pings prove nothing. With too long a one neighbours go over the router.
    ///
    /// ## What the repair does
    /// On this machine the address gets the configured prefix now, and loses the wrong one, until the next boot: its files are right
    /// already. Other routes stay. See `--confirm-within` of `fix` for what happens if the machine is no longer reached.
    ///
    /// ## By hand
    /// ```sh
    /// ip address add ADDRESS/PREFIX dev CARD
    /// ip address del ADDRESS/WRONG dev CARD
    /// ```
    "network-mask-wrong", Network, seed = ["C10"], proves = [], "a card has another netmask than its configuration"
}

fn run(facts: &Facts, found: &mut Findings) -> Verdict {
    let live = facts.get::<Connected>()?;
    let (files, after) = (facts.get::<NetworkFiles>()?, facts.get::<AfterRestart>()?);
    if after.charge.dialect.is_none() {
        return Err(Skip::NotApplicable(after.charge.why.clone()));
    }
    for one in &after.outcome.network.interfaces {
        if one.dhcp4 || !one.names.iter().all(|name| *name == one.name) {
            continue;
        }
        let networks: Vec<_> = live.0.iter().filter(|(dev, _)| *dev == one.name).map(|(_, network)| *network).collect();
        for address in one.addresses.iter().filter(|address| !address.cidr.is_v6()) {
            let right = address.cidr.network();
            if networks.contains(&right) {
                continue;
            }
            // Another declared address may be of that network.
            let other = |network: &sickbay_formats::network::address::Cidr| {
                one.addresses.iter().any(|one| one.cidr.network() == *network)
            };
            let Some(wrong) = networks.iter().find(|network| network.contains(address.cidr.address) && !other(network))
            else {
                continue;
            };
            let (dev, ip) = (one.name.as_str(), address.cidr.address.to_string());
            let finding = found.error(tr!(
                "{dev} is in {wrong}, and its configuration says {right}",
                dev,
                wrong = wrong.to_string(),
                right = right.to_string()
            ));
            for place in &address.from {
                point(finding, &files, place);
            }
            finding.subject(Subject::Named(format!("{dev} {ip}")));
            finding.evidence("/proc/net/route", format!("{dev} {wrong}"));
            finding.why(match wrong.prefix < right.prefix {
                true => tr!(
                    "machines beyond {right} are taken for neighbours, and are not reached",
                    right = right.to_string()
                ),
                false => {
                    tr!("neighbours outside of {wrong} are only reached over the router", wrong = wrong.to_string())
                }
            });
            if let Ok(pieces) = facts.get::<Pieces>() {
                let right = address.cidr;
                let changes = network_now::mask(&pieces, dev, right, *wrong);
                if !changes.is_empty() {
                    finding.repair(
                        Risk::Safe,
                        tr!("give {dev} the prefix /{prefix} now", dev, prefix = right.prefix),
                        changes,
                    );
                }
            }
            finding.by_hand(tr!(
                "ip address add {new} dev {dev}; ip address del {old} dev {dev}; then set the default route again",
                new = address.cidr.to_string(),
                old = format!("{ip}/{}", wrong.prefix),
                dev
            ));
        }
    }
    Ok(())
}
