//! The network is not up as its files say.

use sickbay_formats::network::kernel::{Link, MAIN, Route};

use crate::facts::Facts;
use crate::facts::network::NetworkFiles;
use crate::facts::network::after_restart::AfterRestart;
use crate::facts::network::live::{Live, Pieces};
use crate::facts::network::now::{Card, Now};
use crate::mend::network::point;
use crate::mend::network_now::{bring_up, default};
use crate::model::finding::{Finding, Findings};
use crate::model::outcome::{Skip, Verdict};
use crate::model::repair::{Change, Risk};
use crate::model::subject::Subject;
use crate::{check, tr};

check! {
    /// ## Symptom
    /// You see: the machine does not answer, or only its neighbours reach it; `ip addr` shows a card that is DOWN or has only an
    /// fe80 address; `ip route` shows no `default`, or one without `via`.
    ///
    /// ## What it finds
    /// On a running system: a card that its configuration brings up and that is down, or lacks an address that is configured; a card
    /// that should have a lease and has no address; no default route by a router although one is configured, or another one than after a
    /// restart; an MTU that is not the configured one. What is configured is what its programs would do with the files: see
    /// `sickbay explain network`. A card without a carrier is only spoken of where nothing else leads out.
    ///
    /// ## Why it matters
    /// What is missing is not reached, and what was set by hand is gone after a restart.
    ///
    /// ## What the repair does
    /// On this machine it sets up now what the files say, until the next boot: the card, its addresses, its routes, and the default route
    /// instead of one without a router. Nothing else is taken away, and no lease is asked for. If the machine might be no longer
    /// reached by it, the repair is taken back by itself unless you confirm it: see `--confirm-within` of `fix`.
    ///
    /// ## By hand
    /// ```sh
    /// ip link set CARD up
    /// ip address add ADDRESS/PREFIX dev CARD
    /// ip route replace default via ROUTER dev CARD
    /// ```
    "network-differs-now", Network, seed = ["C10", "C11"], proves = [], "the network is not up as it is configured"
}

fn run(facts: &Facts, found: &mut Findings) -> Verdict {
    let now = facts.get::<Now>()?;
    let (files, after) = (facts.get::<NetworkFiles>()?, facts.get::<AfterRestart>()?);
    if after.charge.dialect.is_none() {
        return Err(Skip::NotApplicable(after.charge.why.clone()));
    }
    let nothing = !now.cards.iter().any(|card| card.name != "lo" && !card.networks.is_empty());
    // Files that no program reads say something only where nobody else has set up anything.
    if !after.counts() && !nothing {
        return Err(Skip::NotApplicable(after.charge.why.clone()));
    }
    let all = All { facts, files: &files, after: &after, now: &now };
    let out = now.defaults.iter().any(|route| route.via.is_some());
    for link in after.outcome.kernel.links.iter().filter(|link| link.name != "lo" && link.up) {
        let Some(card) = now.card(&link.name) else { continue };
        all.card(link, card, out, found);
    }
    all.default_route(found);
    Ok(())
}

struct All<'a> {
    facts: &'a Facts,
    files: &'a NetworkFiles,
    after: &'a AfterRestart,
    now: &'a Now,
}

impl All<'_> {
    fn card(&self, link: &Link, card: &Card, out: bool, found: &mut Findings) {
        let dev = link.name.as_str();
        let has_addresses = !card.networks.is_empty() || card.addresses.as_ref().is_some_and(|all| !all.is_empty());
        let configured = link.addresses.iter().filter(|address| !address.cidr.is_v6());
        // The other prefix of an address is another finding.
        let lacks: Vec<_> = configured
            .filter(|address| match &card.addresses {
                Some(all) => !all.iter().any(|cidr| cidr.address == address.cidr.address),
                None => address.cidr.prefix < 32 && !card.networks.iter().any(|net| net.contains(address.cidr.address)),
            })
            .collect();
        let finding = if !card.up {
            found.error(tr!("{dev} is down, and its configuration brings it up", dev))
        } else if card.carrier == Some(false) {
            // A second card without a cable is nobody's fault.
            if has_addresses && lacks.is_empty() || out {
                return;
            }
            let finding = found.error(tr!("{dev} has no carrier: cable, switch port or virtual switch", dev));
            finding.subject(Subject::Named(format!("{dev} carrier")));
            self.places(finding, link);
            finding.by_hand(tr!("look at the other end of {dev}", dev));
            return;
        } else if link.dynamic {
            if has_addresses {
                return;
            }
            let finding = found.error(tr!("{dev} is to get a lease, and has no address", dev));
            finding.subject(Subject::Named(format!("{dev} lease")));
            self.places(finding, link);
            finding.by_hand(tr!(
                "ask for a lease: dhclient -v {dev}, networkctl renew {dev} or nmcli device up {dev}",
                dev
            ));
            return;
        } else if let Some(first) = lacks.first() {
            let address = first.cidr.to_string();
            match has_addresses {
                false => found.error(tr!("{dev} lacks its address {address}", dev, address)),
                true => found.warning(tr!("{dev} lacks its address {address}", dev, address)),
            }
        } else {
            return self.mtu(link, card, found);
        };
        finding.subject(Subject::Named(dev.to_owned()));
        self.places(finding, link);
        if !has_addresses {
            finding.why(tr!("nothing is reached over {dev}", dev));
        }
        let changes =
            self.live().map_or_else(Vec::new, |(live, pieces)| bring_up(&live, &pieces, &self.after.outcome, dev));
        offer(finding, tr!("set up {dev} now as it is configured", dev), changes);
        for address in lacks {
            let address = address.cidr.to_string();
            finding.by_hand(tr!("ip link set {dev} up; ip address add {address} dev {dev}", dev, address));
        }
        if link.dynamic {
            finding.by_hand(tr!(
                "ask for a lease: dhclient -v {dev}, networkctl renew {dev} or nmcli device up {dev}",
                dev
            ));
        }
    }

    fn mtu(&self, link: &Link, card: &Card, found: &mut Findings) {
        let (Some(wanted), Some(now)) = (link.mtu, card.mtu) else { return };
        if wanted == now {
            return;
        }
        let dev = link.name.as_str();
        let finding =
            found.warning(tr!("{dev} has an MTU of {now}, and its configuration says {wanted}", dev, now, wanted));
        finding.subject(Subject::Named(format!("{dev} mtu")));
        self.places(finding, link);
        finding.why(tr!("where two ends differ, small packets pass and large ones are lost"));
        finding.by_hand(tr!("ip link set {dev} mtu {wanted}", dev, wanted));
    }

    fn default_route(&self, found: &mut Findings) {
        let outcome = &self.after.outcome;
        let routes = outcome.kernel.table(MAIN, false).into_iter();
        let Some(wanted) =
            routes.filter(|route| route.dst.is_default() && route.via.is_some()).min_by_key(|route| route.metric)
        else {
            return;
        };
        let Some(via) = wanted.via else { return };
        let (dev, via) = (wanted.dev.as_str(), via.to_string());
        // Of a card that is down more is told.
        if !self.now.card(dev).is_some_and(|card| card.up && !card.networks.is_empty()) {
            return;
        }
        let finding = match self.now.defaults.first() {
            None => found.error(tr!("there is no default route, and {via} on {dev} is configured", via, dev)),
            Some(now) if now.via.is_none() && !is_tunnel(&now.dev) => found.error(tr!(
                "the default route is on {now} without a router, and {via} on {dev} is configured",
                now = now.dev.as_str(),
                via,
                dev
            )),
            Some(now) if now.via != wanted.via && now.is_static && !self.is_leased() => {
                let router = now.via.map(|via| via.to_string()).unwrap_or_default();
                found.warning(tr!(
                    "the default route is by {router} on {now} now, and by {via} on {dev} after a restart",
                    router,
                    now = now.dev.as_str(),
                    via,
                    dev
                ))
            }
            Some(_) => return,
        };
        finding.subject(Subject::Named("default route".to_owned()));
        let is_other = self.now.defaults.first().is_some_and(|now| now.via.is_some());
        self.every_line(finding, wanted);
        if is_other {
            finding.by_hand(tr!("write into the files what is right now, or set it as they say"));
            return;
        }
        finding.why(tr!("nothing beyond the own networks is reached, and the machine is not reached from there"));
        let changes = self.live().map_or_else(Vec::new, |(_, pieces)| default(&pieces, wanted));
        offer(finding, tr!("set the default route by {via} on {dev} now", via = via.as_str(), dev), changes);
        finding.by_hand(tr!("ip route replace default via {via} dev {dev}", via, dev));
    }

    /// Every line that declares a default route, the one that counts first.
    fn every_line(&self, finding: &mut Finding, wanted: &Route) {
        let mut told = Vec::new();
        let declared = self.after.outcome.network.interfaces.iter().flat_map(|one| &one.routes);
        let others = declared.filter(|route| route.dst.is_default()).flat_map(|route| &route.from);
        for place in wanted.from.iter().chain(others) {
            if !told.contains(&place) {
                told.push(place);
                point(finding, self.files, place);
            }
        }
    }

    fn live(&self) -> Option<(std::sync::Arc<Live>, std::sync::Arc<Pieces>)> {
        Some((self.facts.get::<Live>().ok()?, self.facts.get::<Pieces>().ok()?))
    }

    /// Whether a lease may bring a default route of its own.
    fn is_leased(&self) -> bool {
        self.after.outcome.kernel.links.iter().any(|link| link.dynamic)
    }

    fn places(&self, finding: &mut Finding, link: &Link) {
        let addresses = link.addresses.iter().filter(|address| !address.cidr.is_v6()).flat_map(|address| &address.from);
        let mut places: Vec<_> = addresses.collect();
        let one = self.after.outcome.network.interfaces.iter().find(|one| one.takes(link));
        if places.is_empty() {
            places.extend(one.and_then(|one| one.place.as_ref()));
        }
        places.dedup();
        for place in places {
            point(finding, self.files, place);
        }
    }
}

/// Links between two points have default routes without a router.
fn is_tunnel(dev: &str) -> bool {
    ["ppp", "tun", "wg", "tap", "wwan"].iter().any(|head| dev.starts_with(head))
}

fn offer(finding: &mut Finding, title: crate::model::text::Text, changes: Vec<Change>) {
    if !changes.is_empty() {
        finding.repair(Risk::Safe, title, changes);
    }
}
