//! A network card stopped sending, or lost its link again and again.

use sickbay_formats::kernel_log::{Incident, Kind};

use crate::facts::Facts;
use crate::facts::logs::seen::{Seen, kernel_log};
use crate::model::finding::{Findings, Severity};
use crate::model::outcome::Verdict;
use crate::model::subject::Subject;
use crate::{check, tr};

check! {
    /// ## Symptom
    /// You see: "NETDEV WATCHDOG: eth0 (e1000e): transmit queue 0 timed out", "Reset adapter unexpectedly", or "NIC Link is
    /// Down" and "Up" again and again in the kernel log, and connections that stall for seconds.
    ///
    /// ## What it finds
    /// Network cards that sent nothing for at least five seconds although packets waited, so that the driver reset them; and
    /// interfaces that lost their link three times or more within a day.
    ///
    /// ## Why it matters
    /// Everything that goes over that interface stands still until the card is reset or the link is back. The cause is
    /// the card, its driver or firmware, or an interrupt that got lost; of a link, the cable, the transceiver or the
    /// port of the switch.
    ///
    /// ## What the repair does
    /// Nothing: what helps differs from card to card. Update the driver and the firmware; for a trial turn off what the
    /// card does for the kernel (TSO, GSO) and its power saving (EEE, ASPM). Replace the cable.
    ///
    /// ## By hand
    /// ```sh
    /// ethtool -i IFACE
    /// ethtool -S IFACE | grep -iE 'err|timeout|reset'
    /// ethtool -K IFACE tso off gso off
    /// ```
    "network-card-hangs", Logs, seed = [], proves = [], "a network card hung, or its link is unstable"
}

/// A link that goes so many times, on average within a day of each other, is not one that somebody unplugs.
const FLAPS: u64 = 3;
const DAY: i64 = 86_400;

fn run(facts: &Facts, found: &mut Findings) -> Verdict {
    let log = kernel_log(facts, found)?;
    let hung = Seen::of(&log, Kind::NicHang);
    if let Some(seen) = &hung {
        let finding = found.add(
            log.severity(Severity::Error),
            tr!("a network card stopped sending: {tasks}", tasks = seen.subjects()),
        );
        finding.subject(Subject::Named("transmit queue".to_owned()));
        seen.describe(finding);
        let mut drivers: Vec<&str> =
            seen.each.iter().map(|one| one.detail.as_str()).filter(|name| !name.is_empty()).collect();
        drivers.sort_unstable();
        drivers.dedup();
        if !drivers.is_empty() {
            finding.note(tr!("driver: {driver}", driver = drivers.join(", ")));
        }
        for one in &seen.each {
            finding.explains(Subject::Named(format!("link of {}", one.subject)));
        }
        finding.why(tr!("packets waited for five seconds or more until the driver reset the card: the card, its driver or firmware, or an interrupt that got lost"));
        finding.by_hand(tr!("update the driver and the card's firmware; as a trial ethtool -K IFACE tso off gso off, ethtool --set-eee IFACE eee off, pcie_aspm=off"));
    }
    let flaps: Vec<&Incident> = log.of(Kind::LinkDown).into_iter().filter(|one| flaps(one)).collect();
    for one in flaps {
        let Some(seen) = Seen::from(&log, vec![one]) else { continue };
        let finding = found.add(
            log.severity(Severity::Warning),
            tr!("the link of {interface} went down {count} times", interface = one.subject.as_str(), count = one.count),
        );
        let subject = Subject::Named(format!("link of {}", one.subject));
        finding.subject(subject.clone()).about(subject);
        seen.describe(finding);
        finding.why(tr!("connections over it stand still until it is back: the cable, the transceiver, the port of the switch, or the card"));
        finding.by_hand(tr!("replace the cable or transceiver, then try another port; compare the switch's log, and ethtool IFACE (speed, duplex)"));
    }
    Ok(())
}

fn flaps(one: &Incident) -> bool {
    let lasted = one.first.zip(one.last).and_then(|(first, last)| first.seconds_to(last));
    let times = i64::try_from(one.count).unwrap_or(i64::MAX);
    one.count >= FLAPS && lasted.is_none_or(|seconds| seconds < DAY.saturating_mul(times))
}
