//! Nothing brings up the network.

use sickbay_formats::network::Dialect;

use crate::facts::Facts;
use crate::facts::network::NetworkFiles;
use crate::facts::network::after_restart::AfterRestart;
use crate::facts::network::charge::{ALL, LEVELS, Started, name, started, unit};
use crate::facts::network::live::Connected;
use crate::facts::packages::programs::has_kernel;
use crate::facts::system::release::{Init, System};
use crate::facts::system::units::{State, Units, masks};
use crate::mend::enable;
use crate::model::finding::Findings;
use crate::model::outcome::{Skip, Verdict};
use crate::model::stage::Stage;
use crate::model::subject::Subject;
use crate::{check, tr};

check! {
    /// ## Symptom
    /// You see: "ifup: command not found", or a card that has only an fe80 address after a restart.
    ///
    /// ## What it finds
    /// A machine whose network is configured in files that no program reads at boot: the service of the program is not started, or is
    /// there without the program, or the machine runs without an address and ifup and ifdown are gone; and nothing else is
    /// started that would configure the network.
    ///
    /// ## Why it matters
    /// The cards have no addresses after a restart. Which package has the program depends on the release: ifup is in initscripts (RHEL 6
    /// and 7), in network-scripts (RHEL 8), and nowhere in RHEL 9, where NetworkManager reads the files; in Debian it is in ifupdown.
    ///
    /// ## What the repair does
    /// Creates the links that `systemctl enable` creates. Risky: it may be disabled on purpose. A package has to be installed by hand.
    ///
    /// ## By hand
    /// ```sh
    /// # networking, systemd-networkd, NetworkManager or network
    /// systemctl --root=ROOT enable networking
    /// # until then
    /// ip address add ADDRESS/PREFIX dev CARD
    /// ip link set CARD up
    /// ip route add default via ROUTER
    /// ```
    "network-not-started", Network, seed = ["C10"], proves = [Network, Reachable], "nothing brings up the network that is configured"
}

/// Other programs that configure networks.
const OTHERS: [&str; 10] = [
    "wicked.service",
    "connman.service",
    "dhcpcd.service",
    "dhcpcd5.service",
    "netctl.service",
    "wickedd.service",
    "systemd-networkd.socket",
    "NetworkManager-dispatcher.service",
    "iwd.service",
    "cloud-init-local.service",
];

fn run(facts: &Facts, found: &mut Findings) -> Verdict {
    if !facts.runs() && !has_kernel(facts.root()) {
        return Err(Skip::NotApplicable(tr!("no kernel is installed: a container, where others start what runs")));
    }
    let (files, after) = (facts.get::<NetworkFiles>()?, facts.get::<AfterRestart>()?);
    let (Some(dialect), Started::No | Started::Missing) = (after.charge.dialect, after.charge.started) else {
        return Ok(());
    };
    if ALL.iter().any(|other| *other != Dialect::Netplan && started(facts, *other) == Started::Yes) {
        return Ok(());
    }
    if let Ok(units) = facts.get::<Units>() {
        let other = |name: &str| units.get(name).is_some_and(|unit| unit.state == State::Loaded);
        if OTHERS.iter().any(|name| other(name)) {
            return Ok(());
        }
    }
    let (program, unit) = (name(dialect), unit(dialect));
    // That a program is not seen is not enough: its service is there without it, or the machine runs and has no address.
    let has_service = || crate::facts::system::units::unit(facts, unit).is_ok_and(|unit| unit.state == State::Loaded);
    let has_no_address = || facts.get::<Connected>().is_ok_and(|connected| connected.0.is_empty());
    if after.charge.started == Started::Missing && !has_service() && !has_no_address() {
        return Ok(());
    }
    let first = files.of(dialect).map(|file| file.path.clone()).next().unwrap_or_default();
    let finding = match after.charge.started {
        Started::Missing => {
            found.error(tr!("the network is configured for {program}, which is not installed", program))
        }
        _ => found.error(tr!("the network is configured for {program}, and nothing starts {unit}", program, unit)),
    };
    finding.subject(Subject::Named(program.to_owned()));
    finding.at_path(first);
    let is_sysv = facts.get::<System>().is_ok_and(|system| system.init == Init::SysV);
    if is_sysv {
        // Here its link would be.
        for dir in LEVELS {
            finding.about(dir);
        }
    }
    finding.why(tr!("after a restart no card has an address")).stops(Stage::Network).stops(Stage::Reachable);
    match (after.charge.started, dialect) {
        (Started::No, _) if is_sysv => {
            let script = unit.trim_end_matches(".service");
            finding.by_hand(tr!(
                "enable its init script: chkconfig {script} on, or update-rc.d {script} defaults",
                script
            ));
        }
        (Started::No, _) => {
            match masks(facts, unit).unwrap_or_default().is_empty().then(|| enable::file_of(facts, unit)).flatten() {
                Some(place) => enable::offer(finding, facts, unit, &place),
                None => {
                    finding.by_hand(tr!("enable it: systemctl enable {unit}", unit));
                }
            }
        }
        (_, Dialect::Ifcfg) => {
            finding.by_hand(tr!(
                "install initscripts (RHEL 6 and 7), network-scripts (RHEL 8) or NetworkManager (RHEL 9)"
            ));
        }
        (_, _) => {
            finding.by_hand(tr!("install {program}", program));
        }
    }
    for link in after.outcome.kernel.links.iter().filter(|link| link.name != "lo") {
        for address in &link.addresses {
            finding.note(tr!(
                "until then: ip address add {address} dev {dev}; ip link set {dev} up",
                address = address.cidr.to_string(),
                dev = link.name.as_str()
            ));
        }
    }
    Ok(())
}
