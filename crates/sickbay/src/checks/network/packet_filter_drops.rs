//! The packet filter lets nobody reach a port that a server is configured for.

use std::net::IpAddr;

use sickbay_formats::filter::evaluate::{Answer, By};
use sickbay_formats::filter::packet::{ICMPV6, Packet, states};
use sickbay_formats::filter::{RuleSet, Verdict};

use crate::facts::Facts;
use crate::facts::network::filters::{Decider, Running, Saved, decider};
use crate::facts::network::outside::{Outside, known, stranger, stranger_v6};
use crate::facts::network::services::{Port, Server, Services};
use crate::model::finding::{Finding, Findings, Severity};
use crate::model::outcome::{Skip, Verdict as Told};
use crate::model::stage::Stage;
use crate::model::subject::Subject;
use crate::{check, tr};

check! {
    /// ## Symptom
    /// You see: "Connection timed out" or "No route to host" from outside, while the service runs and answers on the
    /// machine itself.
    ///
    /// ## What it finds
    /// One packet is taken through the rules of iptables (legacy and nft), nftables, firewalld, ufw and Docker as the kernel would do it, for each port that sshd, nginx or
    /// Apache is configured for: on a running machine through the rules in force, else through those that the next boot loads.
    /// Told is a port of sshd, or 80 and 443 of a web server on all addresses, that is closed to everybody; the usual mistakes with it: ssh moved to another port than
    /// the one that is open, answers that nothing lets in, a loopback that is closed; of IPv6, where the world reaches the machine by it, a port that only IPv4 has open, and neighbour discovery that is dropped. What may or may not match (a rate, a time of day) is no finding,
    /// nor is a port that is open to some.
    ///
    /// ## Why it matters
    /// Nothing in the service's own log tells: the packets never reach it.
    ///
    /// ## What the repair does
    /// Nothing by itself: whether a port shall be open only a person knows. The rule that decides is named, with its program and
    /// its counter, and so is the command that opens the port. `sickbay explain filter --packet 'tcp from ADDRESS to :PORT'` shows the
    /// whole way of a packet.
    ///
    /// ## By hand
    /// ```sh
    /// iptables -nvL --line-numbers
    /// nft list ruleset
    /// firewall-cmd --permanent --add-service=ssh
    /// ufw allow 22/tcp
    /// ```
    "packet-filter-drops", Network, seed = ["D10", "D1"], proves = [], may_stop = [Sshd], "the packet filter closes the port of a server"
}

fn run(facts: &Facts, found: &mut Findings) -> Told {
    let services = facts.get::<Services>()?;
    let (running, saved);
    let rules: &RuleSet = match facts.get::<Running>() {
        Ok(rules) => {
            running = rules;
            &running.0
        }
        Err(Skip::NotApplicable(_)) if !facts.target().can_be_asked() => {
            saved = facts.get::<Saved>()?;
            &saved.rules
        }
        Err(other) => return Err(other),
    };
    if rules.is_empty() {
        return Ok(());
    }
    let look = Look { facts, rules, outside: &*facts.get::<Outside>()? };
    look.ports(&services, found);
    look.v6(&services, found);
    look.answers(found);
    look.loopback(found);
    Ok(())
}

struct Look<'a> {
    facts: &'a Facts,
    rules: &'a RuleSet,
    outside: &'a Outside,
}

impl Look<'_> {
    fn packet(&self, port: &Port) -> Packet {
        let mut packet = Packet::connection(Some(stranger(self.rules)), port.port);
        packet.iif.clone_from(&self.outside.card);
        packet.destination = port.address.or(self.outside.address);
        packet
    }

    fn ask(&self, packet: &Packet) -> Answer {
        self.rules.evaluate(packet, &self.outside.host)
    }

    /// What refuses the last of these packets, where all of them are refused for certain.
    fn refuses_all(&self, packets: &[Packet]) -> Option<Decider> {
        let mut decides = None;
        for packet in packets {
            let answer = self.ask(packet);
            if !answer.certain || !answer.verdict.refuses() {
                return None;
            }
            decides = answer.by.map(|by| (answer, by));
        }
        let (answer, by) = decides?;
        decider(self.facts, self.rules, &answer, by)
    }

    /// Whether somebody comes through whom the rules name.
    fn is_open_to_some(&self, packet: &Packet) -> bool {
        known(self.rules).into_iter().any(|source| {
            let answer = self.ask(&Packet { source: Some(source), ..packet.clone() });
            !answer.verdict.refuses() || !answer.certain
        })
    }

    fn ports(&self, services: &Services, found: &mut Findings) {
        let mut closed: Vec<(By, Answer, Vec<&Port>)> = Vec::new();
        for port in services.open().filter(|port| port.is_for(false)) {
            let is_meant = port.server == Server::Sshd || (port.address.is_none() && matches!(port.port, 80 | 443));
            if !is_meant {
                continue;
            }
            let packet = self.packet(port);
            let answer = self.ask(&packet);
            if !answer.certain || !answer.verdict.refuses() {
                if port.server == Server::Sshd {
                    self.later_packets(port, &packet, &answer, found);
                }
                continue;
            }
            let Some(by) = answer.by else { continue };
            if self.is_open_to_some(&packet) {
                continue;
            }
            match closed.iter_mut().find(|(known, ..)| *known == by) {
                Some((.., ports))
                    if ports.iter().any(|other| (other.server, other.port) == (port.server, port.port)) => {}
                Some((.., ports)) => ports.push(port),
                None => closed.push((by, answer, vec![port])),
            }
        }
        for (by, answer, ports) in closed {
            let Some(decider) = decider(self.facts, self.rules, &answer, by) else { continue };
            self.closed(&decider, answer.verdict, &ports, found);
        }
    }

    /// What IPv4 lets through and IPv6 does not, on a machine that the world reaches by both; and an IPv6 that cannot work at all.
    fn v6(&self, services: &Services, found: &mut Findings) {
        let Some((card, address)) = &self.outside.v6 else { return };
        let to_here = |packet: Packet| Packet { iif: Some(card.clone()), destination: Some(*address), ..packet };
        // Without these no neighbour learns where the machine is.
        let router = IpAddr::from([0xfe80, 0, 0, 0, 0, 0, 0, 1]);
        let discovery = [135u8, 136].map(|kind| {
            let packet = Packet {
                protocol: ICMPV6,
                icmp: kind,
                dport: None,
                state: states::UNTRACKED,
                ..Packet::connection(Some(router), 0)
            };
            to_here(packet)
        });
        if let Some(decider) = self.refuses_all(&discovery) {
            let message = tr!(
                "{what} drops the neighbour discovery of IPv6 on {card}",
                what = decider.what.clone(),
                card = card.as_str()
            );
            let finding = found.warning(message);
            point(self.facts, finding, &decider);
            finding.subject(Subject::Named(format!("neighbour discovery {}", decider.place)));
            finding.why(tr!("the router does not find this machine: its IPv6 address {address} is dead, and whatever tries it first waits", address = address.to_string()));
            finding.by_hand(tr!("let ICMPv6 through before anything else: types 133 to 136 at least"));
            return;
        }
        let mut told: Vec<u16> = Vec::new();
        for port in services.open().filter(|port| port.address.is_none() && port.is_for(true)) {
            let is_meant = port.server == Server::Sshd || matches!(port.port, 80 | 443);
            if !is_meant || told.contains(&port.port) {
                continue;
            }
            let v4 = self.ask(&self.packet(port));
            let packet = to_here(Packet::connection(Some(stranger_v6(self.rules)), port.port));
            let answer = self.ask(&packet);
            let only_v6 = v4.certain && v4.verdict == Verdict::Accept && answer.certain && answer.verdict.refuses();
            // sshd listens on both without being told: only what names IPv6 is surely meant.
            if !only_v6 || port.v6 != Some(true) {
                continue;
            }
            let Some(by) = answer.by else { continue };
            let Some(decider) = decider(self.facts, self.rules, &answer, by) else { continue };
            told.push(port.port);
            let (number, server) = (port.port, port.server.name());
            let finding = found.warning(tr!(
                "{what} closes port {number} ({server}) for IPv6, which is open for IPv4",
                what = decider.what.clone(),
                number,
                server
            ));
            point(self.facts, finding, &decider);
            if let Some((file, span)) = &port.at {
                finding.at(file, *span);
            }
            finding.subject(Subject::Named(format!("IPv6 {number} {}", decider.place)));
            finding.why(tr!(
                "who finds its IPv6 address {address} waits before IPv4 is tried, or does not come through",
                address = address.to_string()
            ));
            let command = match (decider.program, decider.place.contains("nft")) {
                (None, false) => format!("ip6tables -I INPUT -p tcp --dport {number} -j ACCEPT"),
                _ => opening(&decider, number),
            };
            finding.by_hand(tr!("if it is to be reached: {command}", command = command.as_str()));
        }
    }

    fn closed(&self, decider: &Decider, verdict: Verdict, ports: &[&Port], found: &mut Findings) {
        let sshd = ports.iter().find(|port| port.server == Server::Sshd);
        let list: Vec<String> = ports.iter().map(|port| format!("{} ({})", port.port, port.server.name())).collect();
        let severity = if sshd.is_some() { Severity::Error } else { Severity::Warning };
        let (what, ports_text, count) = (decider.what.clone(), list.join(", "), list.len());
        let message = match verdict {
            Verdict::Reject => {
                tr!("{what} rejects every connection from outside to port {ports}", what, ports = ports_text.as_str())
            }
            _ => tr!("{what} drops every connection from outside to port {ports}", what, ports = ports_text.as_str()),
        };
        let finding = found.add(severity, message);
        point(self.facts, finding, decider);
        finding.extent(count).detail("ports", ports.iter().map(|port| port.port).collect::<Vec<_>>());
        match sshd {
            Some(_) => finding.why(tr!("nobody can log in over ssh")).stops(Stage::Sshd),
            None => finding.why(tr!("the site cannot be reached")),
        };
        for port in ports {
            if let Some((file, span)) = &port.at {
                finding.at(file, *span);
            }
        }
        if let Some(sshd) = sshd.filter(|port| port.port != 22) {
            let usual = self.ask(&Packet { dport: Some(22), ..self.packet(sshd) });
            if usual.verdict == Verdict::Accept && usual.certain {
                finding.note(tr!("it lets port 22 through, on which sshd is not configured to listen"));
            }
        }
        let commands: Vec<String> = ports.iter().map(|port| opening(decider, port.port)).collect();
        if !commands.is_empty() {
            let command = commands.join(" && ");
            finding.by_hand(tr!("if it is to be reached: {command}", command = command.as_str()));
        }
    }

    /// A rule for new connections alone.
    fn later_packets(&self, port: &Port, packet: &Packet, first: &Answer, found: &mut Findings) {
        if !first.certain || first.verdict != Verdict::Accept {
            return;
        }
        let answer = self.ask(&Packet { state: states::ESTABLISHED, ..packet.clone() });
        let Some(by) = answer.by.filter(|_| answer.certain && answer.verdict.refuses()) else { return };
        let Some(decider) = decider(self.facts, self.rules, &answer, by) else { return };
        let (what, number) = (decider.what.clone(), port.port);
        let finding = found.error(tr!(
            "{what} drops all but the first packet of a connection to port {number} (sshd)",
            what,
            number
        ));
        point(self.facts, finding, &decider);
        finding
            .why(tr!("a connection is begun and then hangs: nothing lets established ones through"))
            .stops(Stage::Sshd);
        finding.by_hand(tr!("let established and related connections through before anything else"));
    }

    /// What comes back to connections that this machine opens.
    fn answers(&self, found: &mut Findings) {
        let stranger = stranger(self.rules);
        let answer_from = |protocol: u8, port: u16| Packet {
            protocol,
            sport: Some(port),
            dport: Some(50_123),
            state: states::ESTABLISHED,
            iif: self.outside.card.clone(),
            destination: self.outside.address,
            ..Packet::connection(Some(stranger), 0)
        };
        let packets = [(6, 443), (6, 80), (17, 53), (17, 123)].map(|(protocol, port)| answer_from(protocol, port));
        let Some(decider) = self.refuses_all(&packets) else { return };
        let finding = found
            .warning(tr!("{what} drops the answers to this machine's own connections", what = decider.what.clone()));
        point(self.facts, finding, &decider);
        finding.subject(Subject::Named(format!("answers {}", decider.place)));
        finding.why(tr!("names do not resolve, nothing can be downloaded, the clock is not set"));
        finding.by_hand(tr!("let established and related connections through before anything else"));
    }

    fn loopback(&self, found: &mut Findings) {
        let own = std::net::IpAddr::from([127, 0, 0, 1]);
        let packets = [5432, 6379, 9000, 54_321].map(|port| {
            let mut packet = Packet::connection(Some(own), port);
            (packet.iif, packet.destination) = (Some("lo".to_owned()), Some(own));
            packet
        });
        let Some(decider) = self.refuses_all(&packets) else { return };
        let finding = found
            .warning(tr!("{what} drops the packets that this machine sends to itself", what = decider.what.clone()));
        point(self.facts, finding, &decider);
        finding.subject(Subject::Named(format!("loopback {}", decider.place)));
        finding.why(tr!(
            "programs that talk to each other on 127.0.0.1 do not find each other: databases, resolvers, proxies"
        ));
        finding.by_hand(tr!("let everything through that comes by lo, before anything else"));
    }
}

/// Points at the rule, and proves it.
fn point(facts: &Facts, finding: &mut Finding, decider: &Decider) {
    match &decider.file {
        Some((path, line)) => {
            if let Ok(Some(file)) = facts.file(path) {
                finding.at(&file, file.line_span(*line));
            }
        }
        None => {
            finding.evidence(decider.place.as_str(), decider.rule.as_str());
            finding.note(tr!("the rule: {rule}", rule = decider.rule.as_str()));
        }
    }
    if let Some(packets) = decider.packets.filter(|packets| *packets > 0) {
        finding.note(tr!("it has met {packets} {packets?packet|packets} so far", packets)).detail("packets", packets);
    }
    finding.subject(Subject::Named(format!("{} {}", decider.place, decider.rule)));
    finding.detail("rule", decider.rule.as_str()).detail("place", decider.place.as_str());
    if let Some(program) = decider.program {
        finding.detail("program", program);
    }
    if let Some(object) = &decider.object {
        finding.detail("object", object.as_str());
    }
}

/// The command that opens a port where this program made the rule.
fn opening(decider: &Decider, port: u16) -> String {
    match (decider.program, &decider.object) {
        (Some("firewalld"), Some(zone)) => {
            format!("firewall-cmd --zone={zone} --add-port={port}/tcp")
        }
        (Some("firewalld"), None) => format!("firewall-cmd --add-port={port}/tcp"),
        (Some("ufw"), _) => format!("ufw allow {port}/tcp"),
        _ if decider.place.contains("nft") => format!("nft insert rule inet TABLE CHAIN tcp dport {port} accept"),
        _ => format!("iptables -I INPUT -p tcp --dport {port} -j ACCEPT"),
    }
}
