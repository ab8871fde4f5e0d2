//! Security groups of clouds: what `aliyun ecs DescribeSecurityGroupAttribute` and `aws ec2 describe-security-groups` print.
//!
//! Both follow connections: answers pass whatever the rules say. Alibaba Cloud's rules have priorities, 1 before 100, and among equal ones
//! what drops comes first; AWS's only allow. What no rule allows does not come in; what no rule forbids goes out (AWS lists a rule for that).

use std::net::IpAddr;

use serde_json::Value;

use super::packet::{Packet, Way, states};
use super::{Verdict, values};
use crate::network::address::Cidr;

/// Whose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cloud {
    /// Alibaba Cloud
    Aliyun,
    /// Amazon Web Services
    Aws,
}

/// Who is at the other end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Peer {
    /// Addresses.
    Cidr(Cidr),
    /// Members of another group, or of a list of prefixes: not known here.
    Named(String),
}

/// A rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupRule {
    /// Which group it is of.
    pub group: String,
    /// Whether it is about what comes in.
    pub ingress: bool,
    /// Whether it lets through.
    pub allows: bool,
    /// Its protocol; `None` is any.
    pub protocol: Option<u8>,
    /// Its ports, of what comes in and of what goes out those of the destination.
    pub ports: Option<(u16, u16)>,
    /// Who.
    pub peer: Peer,
    /// 1 is asked first.
    pub priority: u32,
    /// What its owner wrote to it.
    pub description: String,
}

/// The groups of a machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Groups {
    /// Whose.
    pub cloud: Cloud,
    /// All rules.
    pub rules: Vec<GroupRule>,
}

/// What the groups say of a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// What becomes of it.
    pub verdict: Verdict,
    /// Whether it is so in any case.
    pub certain: bool,
    /// The rule that decides; `None` where none does.
    pub by: Option<usize>,
    /// Rules that may decide otherwise.
    pub possible: Vec<usize>,
}

const MOST: usize = 20_000;

fn list<'a>(value: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> {
    value.get(key).and_then(Value::as_array).into_iter().flatten()
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

impl Groups {
    /// Reads JSON of either cloud, one answer or several in an array; `None` where it is neither.
    pub fn read(bytes: &[u8]) -> Option<Groups> {
        let value: Value = serde_json::from_slice(bytes).ok()?;
        let several = match &value {
            Value::Array(all) => all.iter().collect(),
            one => vec![one],
        };
        let mut found: Option<Groups> = None;
        for value in several {
            let (cloud, mut rules) = if value.get("Permissions").is_some() {
                (Cloud::Aliyun, aliyun(value))
            } else if value.get("SecurityGroups").is_some() {
                (Cloud::Aws, list(value, "SecurityGroups").flat_map(aws).collect())
            } else if value.get("IpPermissions").is_some() {
                (Cloud::Aws, aws(value))
            } else {
                return None;
            };
            rules.truncate(MOST);
            match &mut found {
                Some(found) if found.cloud == cloud => found.rules.extend(rules),
                Some(_) => return None,
                None => found = Some(Groups { cloud, rules }),
            }
        }
        let mut found = found?;
        found.rules.sort_by_key(|rule| (rule.priority, rule.allows));
        Some(found)
    }

    /// What becomes of a packet.
    pub fn evaluate(&self, packet: &Packet) -> Answer {
        let ingress = packet.way != Way::Out;
        let mut possible = Vec::new();
        if packet.state == states::ESTABLISHED || packet.state == states::RELATED {
            return Answer { verdict: Verdict::Accept, certain: true, by: None, possible };
        }
        let peer = if ingress { packet.source } else { packet.destination };
        for (number, rule) in self.rules.iter().enumerate() {
            if rule.ingress != ingress || !rule.fits(packet) {
                continue;
            }
            let verdict = if rule.allows { Verdict::Accept } else { Verdict::Drop };
            match rule.peer(peer, packet.v6) {
                Some(false) => {}
                Some(true) => {
                    possible.retain(|other: &usize| {
                        self.rules.get(*other).is_some_and(|other| other.allows != rule.allows)
                    });
                    return Answer { verdict, certain: possible.is_empty(), by: Some(number), possible };
                }
                None => possible.push(number),
            }
        }
        let allows = !ingress && self.cloud == Cloud::Aliyun;
        possible.retain(|other| self.rules.get(*other).is_some_and(|other| other.allows != allows));
        let verdict = if allows { Verdict::Accept } else { Verdict::Drop };
        Answer { verdict, certain: possible.is_empty(), by: None, possible }
    }
}

impl GroupRule {
    /// Whether protocol and port are those of the packet.
    fn fits(&self, packet: &Packet) -> bool {
        let same = self.protocol.is_none_or(|protocol| protocol == packet.protocol);
        let port = match (self.ports, packet.dport) {
            (None, _) => true,
            (Some((from, to)), Some(port)) => (from..=to).contains(&port),
            (Some((from, to)), None) => (from, to) == (0, u16::MAX),
        };
        same && port
    }

    fn peer(&self, address: Option<IpAddr>, v6: bool) -> Option<bool> {
        match (&self.peer, address) {
            (Peer::Cidr(cidr), _) if cidr.is_v6() != v6 => Some(false),
            (Peer::Cidr(cidr), _) if cidr.prefix == 0 => Some(true),
            (Peer::Cidr(cidr), Some(address)) => Some(cidr.contains(address)),
            (Peer::Cidr(_), None) | (Peer::Named(_), _) => None,
        }
    }

    /// In a line.
    pub fn text(&self) -> String {
        let way = if self.ingress { "in" } else { "out" };
        let does = if self.allows { "allow" } else { "drop" };
        let protocol = match self.protocol {
            None => "all".to_owned(),
            Some(1) => "icmp".to_owned(),
            Some(6) => "tcp".to_owned(),
            Some(17) => "udp".to_owned(),
            Some(58) => "icmpv6".to_owned(),
            Some(other) => other.to_string(),
        };
        let ports = match self.ports {
            None => String::new(),
            Some((from, to)) if from == to => format!(" port {from}"),
            Some((from, to)) => format!(" ports {from}-{to}"),
        };
        let peer = match &self.peer {
            Peer::Cidr(cidr) => format!("{}/{}", cidr.address, cidr.prefix),
            Peer::Named(name) => name.clone(),
        };
        let side = if self.ingress { "from" } else { "to" };
        format!("{}: {way} {does} {protocol}{ports} {side} {peer}, priority {}", self.group, self.priority)
    }
}

fn aliyun(value: &Value) -> Vec<GroupRule> {
    let group = text(value, "SecurityGroupId");
    let permissions = value.get("Permissions").unwrap_or(&Value::Null);
    let mut rules = Vec::new();
    for one in list(permissions, "Permission").take(MOST) {
        let ingress = !text(one, "Direction").eq_ignore_ascii_case("egress");
        let (side, address) = if ingress { ("Source", "SourceCidrIp") } else { ("Dest", "DestCidrIp") };
        let v6 = format!("Ipv6{address}");
        let protocol = match text(one, "IpProtocol") {
            all if all.eq_ignore_ascii_case("all") || all == "-1" || all.is_empty() => None,
            other => values::protocol(other),
        };
        if protocol.is_none() && !matches!(text(one, "IpProtocol").to_ascii_lowercase().as_str(), "all" | "-1" | "") {
            continue;
        }
        let ports =
            text(one, "PortRange").split_once('/').and_then(|(from, to)| Some((from.parse().ok()?, to.parse().ok()?)));
        let priority =
            one.get("Priority").and_then(|value| value.as_u64().or_else(|| value.as_str()?.parse().ok())).unwrap_or(1);
        let mut peers: Vec<Peer> = [text(one, address), text(one, &v6)]
            .into_iter()
            .filter(|text| !text.is_empty())
            .filter_map(Cidr::parse)
            .map(Peer::Cidr)
            .collect();
        for key in [format!("{side}GroupId"), format!("{side}PrefixListId")] {
            if !text(one, &key).is_empty() {
                peers.push(Peer::Named(text(one, &key).to_owned()));
            }
        }
        if peers.is_empty() {
            peers.push(Peer::Cidr(Cidr::everything(false)));
        }
        for peer in peers {
            rules.push(GroupRule {
                group: group.to_owned(),
                ingress,
                allows: !text(one, "Policy").eq_ignore_ascii_case("drop"),
                protocol,
                ports,
                peer,
                priority: u32::try_from(priority).unwrap_or(u32::MAX),
                description: text(one, "Description").to_owned(),
            });
        }
    }
    rules
}

fn aws(value: &Value) -> Vec<GroupRule> {
    let group = text(value, "GroupId");
    let mut rules = Vec::new();
    for (key, ingress) in [("IpPermissions", true), ("IpPermissionsEgress", false)] {
        for one in list(value, key).take(MOST) {
            let name = text(one, "IpProtocol");
            let protocol = if name == "-1" { None } else { values::protocol(name) };
            if protocol.is_none() && name != "-1" {
                continue;
            }
            let port = |key: &str| one.get(key).and_then(Value::as_i64).and_then(|port| u16::try_from(port).ok());
            // Of ICMP these are type and code.
            let ports = match protocol {
                Some(6 | 17) => port("FromPort").zip(port("ToPort")),
                _ => None,
            };
            let cidrs = list(one, "IpRanges").map(|range| (range, "CidrIp"));
            let cidrs = cidrs.chain(list(one, "Ipv6Ranges").map(|range| (range, "CidrIpv6")));
            let cidrs = cidrs.filter_map(|(range, key)| Some((range, Peer::Cidr(Cidr::parse(text(range, key))?))));
            let named = list(one, "UserIdGroupPairs").map(|pair| (pair, Peer::Named(text(pair, "GroupId").to_owned())));
            let prefixes =
                list(one, "PrefixListIds").map(|list| (list, Peer::Named(text(list, "PrefixListId").to_owned())));
            for (from, peer) in cidrs.chain(named).chain(prefixes) {
                rules.push(GroupRule {
                    group: group.to_owned(),
                    ingress,
                    allows: true,
                    protocol,
                    ports,
                    peer,
                    priority: 1,
                    description: text(from, "Description").to_owned(),
                });
            }
        }
    }
    rules
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALIYUN: &str = r#"{"SecurityGroupId": "sg-1", "Permissions": {"Permission": [
        {"Direction": "ingress", "IpProtocol": "TCP", "PortRange": "22/22", "SourceCidrIp": "0.0.0.0/0", "Policy": "Accept", "Priority": "10"},
        {"Direction": "ingress", "IpProtocol": "TCP", "PortRange": "1/1024", "SourceCidrIp": "198.51.100.0/24", "Policy": "Drop", "Priority": 1},
        {"Direction": "ingress", "IpProtocol": "TCP", "PortRange": "80/80", "SourceCidrIp": "0.0.0.0/0", "Policy": "Accept", "Priority": "1"},
        {"Direction": "ingress", "IpProtocol": "TCP", "PortRange": "80/80", "SourceCidrIp": "0.0.0.0/0", "Policy": "Drop", "Priority": "1"},
        {"Direction": "ingress", "IpProtocol": "ALL", "PortRange": "-1/-1", "SourceGroupId": "sg-2", "Policy": "Accept", "Priority": "50"}
    ]}}"#;

    fn says(groups: &Groups, packet: &str) -> (Verdict, bool) {
        let answer = groups.evaluate(&Packet::parse(packet).expect("a packet"));
        (answer.verdict, answer.certain)
    }

    #[test]
    fn priorities_and_what_drops_first() {
        let groups = Groups::read(ALIYUN.as_bytes()).expect("it is one");
        assert_eq!(says(&groups, "tcp from 203.0.113.9 to :22"), (Verdict::Accept, true));
        assert_eq!(says(&groups, "tcp from 198.51.100.9 to :22"), (Verdict::Drop, true));
        assert_eq!(says(&groups, "tcp from 203.0.113.9 to :80"), (Verdict::Drop, true));
        // A member of the other group may come in by any port.
        assert_eq!(says(&groups, "tcp from 10.0.0.9 to :3306"), (Verdict::Drop, false));
        assert_eq!(says(&groups, "tcp from 203.0.113.9 to :3306 established"), (Verdict::Accept, true));
        assert_eq!(says(&groups, "tcp to 203.0.113.9:443 output"), (Verdict::Accept, true));
    }

    #[test]
    fn aws_only_allows() {
        let groups = Groups::read(
            br#"{"SecurityGroups": [{"GroupId": "sg-a", "IpPermissions": [
                {"IpProtocol": "tcp", "FromPort": 443, "ToPort": 443, "IpRanges": [{"CidrIp": "0.0.0.0/0"}], "Ipv6Ranges": [{"CidrIpv6": "::/0"}]},
                {"IpProtocol": "icmp", "FromPort": 8, "ToPort": -1, "IpRanges": [{"CidrIp": "10.0.0.0/8"}]}
              ], "IpPermissionsEgress": [{"IpProtocol": "-1", "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}]}]}"#,
        )
        .expect("it is one");
        assert_eq!(says(&groups, "tcp from 203.0.113.9 to :443"), (Verdict::Accept, true));
        assert_eq!(says(&groups, "tcp from 2001:db8::9 to :443"), (Verdict::Accept, true));
        assert_eq!(says(&groups, "tcp from 203.0.113.9 to :22"), (Verdict::Drop, true));
        assert_eq!(says(&groups, "icmp from 10.1.2.3"), (Verdict::Accept, true));
        assert_eq!(says(&groups, "tcp to 203.0.113.9:25 output"), (Verdict::Accept, true));
        assert_eq!(says(&groups, "tcp to [2001:db8::9]:25 output"), (Verdict::Drop, true));
        assert!(Groups::read(b"{}").is_none() && Groups::read(b"[]").is_none());
    }

    proptest::proptest! {
        #[test]
        fn never_panics(bytes: Vec<u8>, text in "(\\{\"(Permissions|Permission|SecurityGroups|IpPermissions|FromPort)\":|\\[|\\]|\\}|\"a\"|1|,){0,30}") {
            let _ = Groups::read(&bytes);
            let _ = Groups::read(text.as_bytes());
        }
    }
}
