//! A server is told to listen on an address that the machine does not have.

use std::net::IpAddr;

use sickbay_formats::network::kernel::Kernel;

use crate::facts::Facts;
use crate::facts::network::after_restart::AfterRestart;
use crate::facts::network::live::Live;
use crate::facts::network::services::{Port, Server, Services};
use crate::facts::system::kernel::parameter;
use crate::model::finding::Findings;
use crate::model::outcome::{Skip, Verdict};
use crate::model::stage::Stage;
use crate::{check, tr};

check! {
    /// ## Symptom
    /// You see: "Bind to port 22 on 10.0.0.9 failed: Cannot assign requested address", nginx "bind() to 10.0.0.9:80 failed (99: Cannot
    /// assign requested address)", and a server that does not start after the address of the machine was changed.
    ///
    /// ## What it finds
    /// `ListenAddress`, `listen` and `Listen` with an address that is on none of the cards: now on a running machine, else after the next boot as the network's
    /// files have it; and all addresses of IPv6 where the kernel has none. Not where a lease gives addresses that no file knows, where `net.ipv4.ip_nonlocal_bind` lets it happen, or where keepalived or
    /// pacemaker moves addresses between machines.
    ///
    /// ## Why it matters
    /// nginx and Apache do not start at all when one address is missing; sshd starts if it has another, and else does not: nobody can log in.
    ///
    /// ## What the repair does
    /// Nothing: whether the address of the server or of the card is wrong only a person knows.
    ///
    /// ## By hand
    /// ```sh
    /// ip -br addr
    /// grep -rn ListenAddress /etc/ssh/sshd_config /etc/ssh/sshd_config.d
    /// ```
    "listen-address-missing", Network, seed = ["D1"], proves = [], may_stop = [Sshd], "a server is to listen on an address that is not there"
}

fn run(facts: &Facts, found: &mut Findings) -> Verdict {
    let services = facts.get::<Services>()?;
    let named = |port: &&Port| port.address.is_some_and(|address| !address.is_loopback());
    if !services.open().any(|port| named(&port) || port.v6 == Some(true)) {
        return Ok(());
    }
    without_v6(facts, &services, found);
    let (live, after);
    let kernel: &Kernel = match facts.get::<Live>() {
        Ok(now) => {
            live = now;
            &live.0
        }
        Err(Skip::Unknown(why)) => return Err(Skip::Unknown(why)),
        Err(Skip::NotApplicable(_)) => {
            after = facts.get::<AfterRestart>()?;
            if !after.counts() {
                return Err(Skip::NotApplicable(after.charge.why.clone()));
            }
            if after.outcome.kernel.links.iter().any(|link| link.dynamic) {
                return Err(Skip::NotApplicable(tr!("a lease gives the addresses")));
            }
            &after.outcome.kernel
        }
    };
    let own: Vec<IpAddr> =
        kernel.links.iter().flat_map(|link| &link.addresses).map(|address| address.cidr.address).collect();
    // Routers may bring addresses of IPv6 that no file has.
    let is_whole = |address: &IpAddr| {
        address.is_ipv4() || facts.target().can_be_asked() || own.iter().any(|own| own.is_ipv6() && !own.is_loopback())
    };
    // A network that is not set up at all is another check's matter.
    if !own.iter().any(|address| !address.is_loopback()) || moves_addresses(facts)? {
        return Ok(());
    }
    for service in &services.list {
        let gone: Vec<&Port> = service
            .ports
            .iter()
            .filter(|port| services.open().any(|open| std::ptr::eq(open, *port)))
            .filter(|port| {
                port.address
                    .is_some_and(|address| !address.is_loopback() && !own.contains(&address) && is_whole(&address))
            })
            .collect();
        let Some(port) = gone.first() else { continue };
        let Some(address) = port.address else { continue };
        // sshd goes on with what it has.
        let stops = service.server != Server::Sshd || gone.len() == service.ports.len();
        let (server, address) = (service.server.name(), address.to_string());
        let message = tr!("{server} is to listen on {address}, which no card has", server, address = address.as_str());
        let finding = if stops { found.error(message) } else { found.warning(message) };
        if let Some((file, span)) = &port.at {
            finding.at(file, *span);
        }
        match (stops, service.server) {
            (true, Server::Sshd) => {
                finding.why(tr!("sshd does not start: \"Cannot bind any address\"")).stops(Stage::Sshd);
            }
            (true, _) => {
                finding.why(tr!("it does not start: bind says \"Cannot assign requested address\" (99)"));
            }
            (false, _) => {
                finding.why(tr!("sshd starts with its other addresses alone"));
            }
        }
        let has: Vec<String> = own.iter().filter(|one| !one.is_loopback()).map(ToString::to_string).take(8).collect();
        finding.note(tr!("the machine has {addresses}", addresses = has.join(", "))).detail("address", address);
        finding.by_hand(tr!("correct the address, or leave it out: then it listens on all"));
    }
    Ok(())
}

/// Servers that are told to listen on all addresses of IPv6, where the kernel has none: socket() itself fails.
fn without_v6(facts: &Facts, services: &Services, found: &mut Findings) {
    let is_there = |path: &str| facts.root().exists(path).unwrap_or(true);
    let has_v6 = is_there("/proc/net/if_inet6") || is_there("/proc/net/tcp6");
    if !facts.runs() || has_v6 || !is_there("/proc/net/tcp") {
        return;
    }
    for service in services.list.iter().filter(|service| service.server != Server::Sshd) {
        let Some(port) = service.ports.iter().find(|port| port.v6 == Some(true)) else { continue };
        let (server, address) = (service.server.name(), format!("{}:{}", port.address_text(), port.port));
        let finding = found.error(tr!(
            "{server} is to listen on {address}, and the kernel has no IPv6",
            server,
            address = address.as_str()
        ));
        if let Some((file, span)) = &port.at {
            finding.at(file, *span);
        }
        finding.why(tr!("it does not start: socket says \"Address family not supported by protocol\" (97)"));
        finding.detail("address", address);
        finding.by_hand(tr!("leave out the line, or let the kernel have IPv6 (ipv6.disable=1 on its command line)"));
    }
}

/// Whether addresses come and go by design.
fn moves_addresses(facts: &Facts) -> Result<bool, Skip> {
    if facts.runs() && parameter(facts, "net.ipv4.ip_nonlocal_bind")?.unwrap_or(0) != 0 {
        return Ok(true);
    }
    let root = facts.root();
    Ok(["/etc/keepalived/keepalived.conf", "/etc/corosync/corosync.conf", "/etc/ucarp", "/etc/vip-manager.yml"]
        .iter()
        .any(|path| root.exists(path).unwrap_or(true)))
}
