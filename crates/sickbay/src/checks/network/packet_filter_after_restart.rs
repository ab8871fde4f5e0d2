//! The packet filter that a restart brings is another one.

use sickbay_formats::filter::packet::Packet;
use sickbay_formats::filter::{RuleSet, Verdict};

use crate::facts::Facts;
use crate::facts::network::filters::{Running, Saved, decider};
use crate::facts::network::outside::{Outside, known, stranger};
use crate::facts::network::services::Services;
use crate::model::finding::Findings;
use crate::model::outcome::{Skip, Verdict as Told};
use crate::model::subject::Subject;
use crate::{check, tr};

check! {
    /// ## Symptom
    /// You see: a service that was reached well, or a machine that was closed well, until it was restarted.
    ///
    /// ## What it finds
    /// The rules in force against those that the programs of the next boot load (firewalld, ufw, nftables.service, iptables' saved rules): a port of sshd, nginx or Apache that is open now and
    /// closed to everybody then; or rules that close the machine now, of which nothing is in the file that is loaded. Not compared is text: one packet is taken through both.
    ///
    /// ## Why it matters
    /// It shows at the next restart, which nobody connects with a rule that was added months ago.
    ///
    /// ## What the repair does
    /// Nothing: which of the two is meant only a person knows. Save the rules that are in force, or load those of the file.
    ///
    /// ## By hand
    /// ```sh
    /// iptables-save > /etc/iptables/rules.v4
    /// firewall-cmd --runtime-to-permanent
    /// nft list ruleset
    /// ```
    "packet-filter-after-restart", Network, seed = ["D10"], proves = [], "a restart brings another packet filter"
}

/// A port that nobody opens by its number.
const ANY: u16 = 39_871;

fn run(facts: &Facts, found: &mut Findings) -> Told {
    if !facts.target().can_be_asked() {
        return Err(Skip::NotApplicable(tr!("it is not the running system")));
    }
    let saved = facts.get::<Saved>()?;
    let Some(source) = saved.sources.first() else {
        return Err(Skip::NotApplicable(tr!("no program that loads rules at boot is enabled")));
    };
    let (running, outside) = (facts.get::<Running>()?, facts.get::<Outside>()?);
    let ask = |rules: &RuleSet, port: u16, source| {
        let mut packet = Packet::connection(Some(source), port);
        (packet.iif, packet.destination) = (outside.card.clone(), outside.address);
        rules.evaluate(&packet, &outside.host)
    };
    let path = source.path.as_path();
    for port in facts.get::<Services>()?.open().filter(|port| port.address.is_none()) {
        let now = ask(&running.0, port.port, stranger(&running.0));
        let then = ask(&saved.rules, port.port, stranger(&saved.rules));
        let is_closed = now.certain && now.verdict == Verdict::Accept && then.certain && then.verdict.refuses();
        let some =
            || known(&saved.rules).into_iter().any(|source| !ask(&saved.rules, port.port, source).verdict.refuses());
        let Some(by) = then.by.filter(|_| is_closed && !some()) else { continue };
        let Some(decider) = decider(facts, &saved.rules, &then, by) else { continue };
        let (number, server) = (port.port, port.server.name());
        let finding = found.warning(tr!(
            "after a restart {what} closes port {number} ({server}), which is open now",
            what = decider.what.clone(),
            number,
            server
        ));
        match &decider.file {
            Some((path, line)) => {
                if let Some(file) = facts.file(path)? {
                    finding.at(&file, file.line_span(*line));
                }
            }
            None => {
                finding.at_path(path);
            }
        }
        finding.subject(Subject::Named(format!("closed {number}")));
        finding.why(tr!("the rules in force are not those that {path} has", path));
        finding.by_hand(tr!("save the rules that are in force, or load those of the file, whichever is meant"));
    }
    let now = ask(&running.0, ANY, stranger(&running.0));
    let then = ask(&saved.rules, ANY, stranger(&saved.rules));
    let opens = now.certain && now.verdict.refuses() && then.certain && then.verdict == Verdict::Accept;
    if let Some(by) = now.by.filter(|_| opens && saved.others.is_empty())
        && let Some(decider) = decider(facts, &running.0, &now, by)
    {
        let finding =
            found.warning(tr!("{what} closes this machine, and is not in {path}", what = decider.what.clone(), path));
        finding.at_path(path).evidence(decider.place.as_str(), decider.rule.as_str());
        finding.why(tr!("after a restart every port is open"));
        finding.by_hand(tr!("save the rules that are in force, or load those of the file, whichever is meant"));
    }
    Ok(())
}
