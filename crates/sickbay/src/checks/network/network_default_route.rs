//! The default route is on the wrong card.

use sickbay_formats::network::kernel::MAIN;
use sickbay_formats::network::{Complaint, Place, What};

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
    /// You see: only the machine's own subnet answers; `ip route` shows `default` on the wrong card or without `via`;
    /// "RTNETLINK answers: File exists" when the network starts.
    ///
    /// ## What it finds
    /// A default route that is on the wrong card or has no router, or that is declared twice, with every line that puts it there:
    /// `GATEWAYDEV=` in `/etc/sysconfig/network`, `GATEWAY=` and `DEFROUTE=` in `ifcfg-*`, `default via` in `route-*`, `gateway` in
    /// `/etc/network/interfaces`, `gateway4` and `routes` of netplan, `Gateway=` of systemd-networkd, connections of NetworkManager. What
    /// the files come to is what their programs would do with them at a restart: see `sickbay explain network`.
    ///
    /// ## Why it matters
    /// Without a right default route nothing beyond the own networks is reached, and the machine is not reached from there. It often
    /// shows only at the next restart, long after the line was written. Of a route that is declared twice one declaration is dropped
    /// with "RTNETLINK answers: File exists", and which one depends on the order in which cards come up.
    ///
    /// ## What the repair does
    /// Comments out the line that takes the route away from its router, where a restart then gives a default route by a router. Which
    /// of two routers is right only a person knows.
    ///
    /// ## By hand
    /// ```sh
    /// ip route
    /// ip route replace default via ROUTER dev CARD
    /// ```
    "network-default-route", Network, seed = ["C11"], proves = [Network, Reachable], "the default route is on the wrong card, or declared twice"
}

fn run(facts: &Facts, found: &mut Findings) -> Verdict {
    let (files, after) = (facts.get::<NetworkFiles>()?, facts.get::<AfterRestart>()?);
    if !after.counts() {
        return Err(Skip::NotApplicable(after.charge.why.clone()));
    }
    without_router(&files, &after, found);
    barred(&files, &after, found);
    twice(&files, &after, found);
    Ok(())
}

/// GATEWAYDEV of network-scripts: a default route without a router.
fn without_router(files: &NetworkFiles, after: &AfterRestart, found: &mut Findings) {
    let outcome = &after.outcome;
    for Complaint { place, what } in &outcome.complaints {
        let What::DefaultWithoutRouter(dev, gateway) = what else { continue };
        // Another line may give it back.
        if has_default(outcome) {
            continue;
        }
        let finding = found.error(match gateway.is_empty() {
            false => tr!(
                "the default route is on {dev} without a router: {gateway} is in no network of {dev}",
                dev = &**dev,
                gateway = &**gateway
            ),
            true => tr!("the default route is on {dev} without a router", dev = &**dev),
        });
        point(finding, files, place);
        let others = outcome.kernel.routes.iter().filter(|route| route.dst.is_default() && route.dev == *dev);
        for other in others.flat_map(|route| &route.from).filter(|other| *other != place) {
            point(finding, files, other);
        }
        finding
            .why(tr!("after a restart nothing beyond the networks of the cards is reached"))
            .stops(Stage::Network)
            .stops(Stage::Reachable);
        for other in refused(outcome) {
            point(finding, files, other);
            let (first, second) = (shown(place), shown(other));
            finding.note(tr!("the default route is declared twice, at {first} and {second}; of the second the kernel says \"File exists\"", first, second));
        }
        let line = tr!("now: ip route replace default via {gateway} dev CARD", gateway = &**gateway);
        offer_comment(finding, files, after, place, has_default);
        finding.by_hand(line);
    }
}

/// Lines of default routes that were refused because there is one.
fn refused(outcome: &sickbay_formats::network::Outcome) -> impl Iterator<Item = &Place> {
    outcome.complaints.iter().filter_map(|one| match &one.what {
        What::RouteRefused(route, "File exists") if route.starts_with("default") || route.starts_with("0.0.0.0/0") => {
            Some(&one.place)
        }
        _ => None,
    })
}

fn shown(place: &Place) -> String {
    format!("{}:{}", place.path, place.line)
}

/// DEFROUTE=no, or GATEWAYDEV, leaves no default route at all, though a router is declared.
fn barred(files: &NetworkFiles, after: &AfterRestart, found: &mut Findings) {
    let outcome = &after.outcome;
    let any = outcome.kernel.routes.iter().any(|route| route.dst.is_default() && !route.dst.is_v6());
    if any || outcome.kernel.links.iter().any(|link| link.dynamic) {
        return;
    }
    for Complaint { place, what } in &outcome.complaints {
        let gateway = match what {
            What::DefrouteBars(gateway) | What::GatewayDevBars(_, gateway) if !gateway.is_empty() => gateway,
            _ => continue,
        };
        let finding =
            found.error(tr!("there is no default route: this line bars the router {gateway}", gateway = &**gateway));
        point(finding, files, place);
        finding
            .why(tr!("after a restart nothing beyond the networks of the cards is reached"))
            .stops(Stage::Network)
            .stops(Stage::Reachable);
        offer_comment(finding, files, after, place, has_default);
        finding.by_hand(tr!("let one card have the default route"));
        return;
    }
}

/// Two routers, of which only one can count.
fn twice(files: &NetworkFiles, after: &AfterRestart, found: &mut Findings) {
    let outcome = &after.outcome;
    for Complaint { place, what } in &outcome.complaints {
        let (dev, other) = match what {
            What::TwoDefaults(dev, other) | What::DefaultReplaced(dev, other) if dev != other => (dev, other),
            _ => continue,
        };
        // Without a router it is no second router.
        let routes = outcome.kernel.table(MAIN, false);
        let Some(route) =
            routes.iter().find(|route| route.dst.is_default() && route.dev == *dev && route.via.is_some())
        else {
            continue;
        };
        if outcome
            .complaints
            .iter()
            .any(|one| one.place == *place && matches!(one.what, What::DefaultWithoutRouter(..)))
        {
            continue;
        }
        let Some(first) = route.from.first() else { continue };
        let finding = found.warning(tr!(
            "the default route is declared twice: that of {dev} counts, that of {other} does not",
            dev = &**dev,
            other = &**other
        ));
        point(finding, files, first);
        if place != first {
            point(finding, files, place);
        }
        finding.why(tr!("which of the two counts depends on the order in which the cards come up"));
        finding.by_hand(tr!("leave the router of one card, or give them different metrics"));
        return;
    }
}
