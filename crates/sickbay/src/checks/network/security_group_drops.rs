//! A cloud's security group lets nobody reach a port that a server is configured for.

use sickbay_formats::filter::group::{Answer, Groups, Peer};
use sickbay_formats::filter::packet::Packet;

use crate::facts::Facts;
use crate::facts::network::security_groups::SecurityGroups;
use crate::facts::network::services::{Port, Server, Services};
use crate::model::finding::{Findings, Severity};
use crate::model::outcome::Verdict;
use crate::model::subject::Subject;
use crate::{check, tr};

check! {
    /// ## Symptom
    /// You see: "Connection timed out" from outside, and neither the service nor the machine's own filter is to blame.
    ///
    /// ## What it finds
    /// Given with `--security-group FILE`, the answer of `aliyun ecs DescribeSecurityGroupAttribute` or `aws ec2 describe-security-groups`: a port of sshd, or
    /// 80 and 443 of a web server on all addresses, that the rules open to nobody. Rules are asked as the cloud does: Alibaba Cloud's by priority, what drops first
    /// among equal ones; AWS's only allow. Rules for other groups or lists of prefixes may let somebody in: then nothing is said.
    ///
    /// ## Why it matters
    /// The packets are dropped before they reach the machine: nothing on it can tell.
    ///
    /// ## What the repair does
    /// Nothing: rules are changed in the cloud's console.
    ///
    /// ## By hand
    /// ```sh
    /// aliyun ecs DescribeSecurityGroupAttribute --SecurityGroupId sg-… > group.json
    /// aws ec2 describe-security-groups --group-ids sg-… > group.json
    /// sickbay check --security-group group.json
    /// ```
    "security-group-drops", Network, seed = ["D2"], proves = [], "a security group closes the port of a server"
}

fn run(facts: &Facts, found: &mut Findings) -> Verdict {
    let given = facts.get::<SecurityGroups>()?;
    for port in facts.get::<Services>()?.open().filter(|port| port.address.is_none_or(|address| address.is_ipv4())) {
        let is_meant = port.server == Server::Sshd || (port.address.is_none() && matches!(port.port, 80 | 443));
        if is_meant {
            judge(&given, port, found);
        }
    }
    Ok(())
}

/// An address that no rule means.
const STRANGER: [u8; 4] = [52, 91, 17, 33];

fn ask(groups: &Groups, port: u16, source: std::net::IpAddr) -> Answer {
    groups.evaluate(&Packet::connection(Some(source), port))
}

fn judge(given: &SecurityGroups, port: &Port, found: &mut Findings) {
    let answer = ask(&given.groups, port.port, STRANGER.into());
    let mut some = given.groups.rules.iter().filter_map(|rule| match &rule.peer {
        Peer::Cidr(cidr) if rule.ingress && rule.allows => Some(cidr.address),
        _ => None,
    });
    let opens = |source| !ask(&given.groups, port.port, source).verdict.refuses();
    if !answer.verdict.refuses() || !answer.certain || some.any(opens) {
        return;
    }
    let (number, server) = (port.port, port.server.name());
    let rule = answer.by.and_then(|at| given.groups.rules.get(at));
    let message = match rule {
        Some(_) => {
            tr!("a rule of the security group drops every connection to port {number} ({server})", number, server)
        }
        None => tr!("no rule of the security group opens port {number} ({server})", number, server),
    };
    let severity = if port.server == Server::Sshd { Severity::Error } else { Severity::Warning };
    let finding = found.add(severity, message);
    finding.subject(Subject::Named(format!("security group {number}"))).detail("port", number);
    finding.why(tr!("the packets are dropped before they reach the machine"));
    match rule {
        Some(rule) => {
            finding.evidence(given.name.as_str(), rule.text()).note(tr!("the rule: {rule}", rule = rule.text()));
        }
        None => {
            finding.note(tr!("what no rule allows does not come in"));
        }
    }
    if let Some((file, span)) = &port.at {
        finding.at(file, *span);
    }
    finding.by_hand(tr!("if it is to be reached, open port {number} in the cloud's console", number));
}
