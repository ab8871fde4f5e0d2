//! A gateway that no card can reach.

use sickbay_formats::network::{Complaint, What};

use crate::facts::Facts;
use crate::facts::network::NetworkFiles;
use crate::facts::network::after_restart::AfterRestart;
use crate::mend::network::{has_default, offer_comment, point};
use crate::model::finding::Findings;
use crate::model::outcome::{Skip, Verdict};
use crate::model::stage::Stage;
use crate::{check, tr};

check! {
    /// ## Symptom
    /// You see: after a restart there is no default route, and the network service reports that all is well.
    ///
    /// ## What it finds
    /// A gateway that is in no network of its card, so that no default route is set: network-scripts and systemd-networkd
    /// drop it without a word. Also `NETWORK=` in an `ifcfg-*` that is left from another network and makes the scripts drop a right gateway.
    /// Not where it is added all the same, as ifupdown and `on-link` do: clouds want it so.
    ///
    /// ## Why it matters
    /// Nothing beyond the own network is reached after a restart, though every program says that all went well.
    ///
    /// ## What the repair does
    /// Comments out a `NETWORK=` that is not the address's network, where the default route is then set. Whether the gateway, the address
    /// or the netmask is wrong only a person knows.
    ///
    /// ## By hand
    /// ```sh
    /// ip -4 addr
    /// ip route replace default via ROUTER dev CARD
    /// ```
    "network-gateway-unreachable", Network, seed = ["C11"], proves = [Network, Reachable], "the gateway is in no network of the card"
}

fn run(facts: &Facts, found: &mut Findings) -> Verdict {
    let (files, after) = (facts.get::<NetworkFiles>()?, facts.get::<AfterRestart>()?);
    if !after.counts() {
        return Err(Skip::NotApplicable(after.charge.why.clone()));
    }
    // A default route that is there by another line is enough.
    if has_default(&after.outcome) {
        return Ok(());
    }
    for Complaint { place, what } in &after.outcome.complaints {
        match what {
            What::GatewayOutside(gateway, dev) => {
                // GATEWAYDEV says the same, and more.
                if after.outcome.complaints.iter().any(|one| matches!(one.what, What::DefaultWithoutRouter(..))) {
                    continue;
                }
                let finding = found.error(match dev.is_empty() {
                    true => tr!("the gateway {gateway} is in no network of any card", gateway = &**gateway),
                    false => tr!("the gateway {gateway} is in no network of {dev}", gateway = &**gateway, dev = &**dev),
                });
                point(finding, &files, place);
                finding
                    .why(tr!("after a restart there is no default route, and no program says so"))
                    .stops(Stage::Network)
                    .stops(Stage::Reachable);
                for link in after.outcome.kernel.links.iter().filter(|link| link.name != "lo") {
                    for address in &link.addresses {
                        let network = address.cidr.network();
                        if !network.is_v6() {
                            finding.note(tr!(
                                "{dev} is in {network}",
                                dev = link.name.as_str(),
                                network = network.to_string()
                            ));
                        }
                    }
                }
                finding.by_hand(tr!("correct the gateway, the address or the netmask"));
            }
            What::StaleNetwork(network, gateway) => {
                let finding = found.error(tr!(
                    "NETWORK={network} is not the network of the address, and the gateway {gateway} is dropped because of it",
                    network = &**network,
                    gateway = &**gateway
                ));
                point(finding, &files, place);
                finding
                    .why(tr!("after a restart there is no default route, and no program says so"))
                    .stops(Stage::Network)
                    .stops(Stage::Reachable);
                offer_comment(finding, &files, &after, place, has_default);
            }
            _ => {}
        }
    }
    Ok(())
}
