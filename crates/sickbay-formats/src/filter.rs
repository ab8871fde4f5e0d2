//! Packet filters: iptables, nftables, firewalld, ufw and the security groups of clouds, read into one model; and one packet that is taken
//! through it.
//!
//! What a rule asks that cannot be told from outside (a rate, a time, the owner of a socket) answers "may": then the outcome is only
//! possible, and says so.

pub mod evaluate;
pub mod firewalld;
pub mod group;
pub mod ipset;
pub mod iptables;
mod link;
pub mod nft;
pub mod nft_json;
pub mod origin;
pub mod packet;
pub mod ufw;
mod values;

use std::collections::HashMap;

/// Which packets a table sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Family {
    /// IPv4
    Ip,
    /// IPv6
    Ip6,
    /// Both
    Inet,
    /// Packets of one device, before everything else.
    Netdev,
    /// Bridges and ARP: never evaluated.
    Other,
}

/// Where in its way through the kernel a packet meets a chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Hook {
    /// As it comes from the card.
    Ingress,
    /// Before it is routed.
    Prerouting,
    /// It is for this machine.
    Input,
    /// It goes through this machine.
    Forward,
    /// It comes from this machine.
    Output,
    /// It leaves.
    Postrouting,
}

/// What becomes of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Verdict {
    /// It goes on.
    Accept,
    /// It is gone without a word.
    Drop,
    /// It is gone, and the sender is told.
    Reject,
    /// A program, or something else that is not known, decides.
    Unknown,
}

impl Verdict {
    /// `accept`, `drop` …
    pub fn word(self) -> &'static str {
        match self {
            Verdict::Accept => "accept",
            Verdict::Drop => "drop",
            Verdict::Reject => "reject",
            Verdict::Unknown => "unknown",
        }
    }

    /// Whether the packet does not arrive.
    pub fn refuses(self) -> bool {
        matches!(self, Verdict::Drop | Verdict::Reject)
    }
}

/// What a rule looks at.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Key {
    /// The card that it came by.
    Iif,
    /// The card that it leaves by.
    Oif,
    /// Source address.
    Saddr,
    /// Destination address.
    Daddr,
    /// 4 or 6.
    Version,
    /// The number of the protocol.
    Protocol,
    /// Source port.
    Sport,
    /// Destination port.
    Dport,
    /// Type of ICMP.
    Icmp,
    /// Type of ICMP for IPv6, whose names stand for other numbers.
    Icmp6,
    /// State of its connection; see [`packet::states`].
    State,
    /// The packet's mark.
    Mark,
    /// Its connection's mark.
    ConnMark,
    /// Flags of TCP.
    Flags,
    /// What kind of address the source is.
    SaddrType,
    /// What kind of address the destination is.
    DaddrType,
    /// unicast, broadcast, multicast.
    PacketType,
    /// The destination before it was translated.
    OriginalDaddr,
    /// Its port before it was translated.
    OriginalDport,
    /// Whether it goes the way of the connection's first packet (0) or back (1).
    Direction,
    /// Anything that is not known here.
    Other(Box<str>),
}

/// One value of a set, or of a dimension of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// Numbers and addresses: from, to.
    Range(u128, u128),
    /// A name; `*` at the end is any end.
    Name(Box<str>),
    /// Everything.
    Any,
    /// Could not be read.
    Unknown,
}

/// An element of a set or map.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Element {
    /// One for each key.
    pub parts: Vec<Part>,
    /// What a map of verdicts has for it.
    pub action: Option<Action>,
}

/// A named set or map.
#[derive(Clone, Debug, Default)]
pub struct Set {
    /// Its elements.
    pub elements: Vec<Element>,
    /// Its dimensions, where the set itself has them and a rule only names their directions: `ip`, `net`, `port`, `iface`.
    pub kinds: Vec<Box<str>>,
    /// Whether the protocol is one more dimension, as ipset has it beside a port.
    pub has_protocol: bool,
    /// Whether it is not known in full.
    pub inexact: bool,
}

/// What is compared with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Against {
    /// These values.
    Elements(Vec<Element>),
    /// A named set: its name, and its number once the rule set is complete.
    Set(Box<str>, Option<usize>),
}

/// A condition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Match {
    /// A comparison.
    Compare {
        /// What is looked at: several where they are compared together.
        keys: Vec<Key>,
        /// Bits that count.
        mask: Option<u128>,
        /// Whether it must not be so.
        negated: bool,
        /// With what.
        against: Against,
    },
    /// One of these holds.
    Either(Vec<Match>),
    /// It may be so or not: what it is about.
    May(Box<str>),
    /// It never is, of a packet as it is looked at here.
    Never,
}

/// What is done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// An end.
    End(Verdict),
    /// Nothing: on with the next rule.
    Continue,
    /// Back to the chain before.
    Return,
    /// On to another chain, and back.
    Jump(Box<str>, Option<usize>),
    /// On to another chain.
    Goto(Box<str>, Option<usize>),
    /// As a map says.
    Map(Vec<Key>, Against),
    /// Another destination: addresses of which it may be any, and a port.
    Dnat(Option<std::net::IpAddr>, Option<u16>),
    /// This machine instead of the destination, on that port.
    Redirect(Option<u16>),
    /// Another source.
    Snat,
    /// A mark: the bits that are set so; `None` where they are not known.
    Mark(Option<(u32, u32)>),
    /// The connection is not followed.
    NoTrack,
    /// The mark of the connection changes.
    ConnMark,
}

/// Where a rule was read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct At {
    /// Which of [`RuleSet::files`].
    pub file: usize,
    /// Its line, from 1 on; 0 for none.
    pub line: usize,
}

/// A rule.
#[derive(Clone, Debug)]
pub struct Rule {
    /// All must hold.
    pub matches: Vec<Match>,
    /// What is then done, in order.
    pub actions: Vec<Action>,
    /// As it is written.
    pub text: String,
    /// Its comment.
    pub comment: Option<String>,
    /// Packets that it met, where they are counted.
    pub packets: Option<u64>,
    /// Where it was read.
    pub at: At,
}

/// A chain of rules.
#[derive(Clone, Debug)]
pub struct Chain {
    /// The family of its table.
    pub family: Family,
    /// Its table.
    pub table: Box<str>,
    /// Its name.
    pub name: Box<str>,
    /// Where packets enter it, and in which order.
    pub hook: Option<(Hook, i32)>,
    /// Whether it translates addresses: then it only sees the first packet of a connection.
    pub is_nat: bool,
    /// The device of a chain of netdev.
    pub device: Option<Box<str>>,
    /// What becomes of a packet at its end.
    pub policy: Verdict,
    /// Packets that met the policy.
    pub packets: Option<u64>,
    /// Its rules.
    pub rules: Vec<Rule>,
    /// Where its policy was read.
    pub at: At,
}

/// All chains and sets of a machine.
#[derive(Clone, Debug, Default)]
pub struct RuleSet {
    /// The chains.
    pub chains: Vec<Chain>,
    /// The sets.
    pub sets: Vec<Set>,
    /// What was read: paths, or commands.
    pub files: Vec<String>,
    /// What was not understood, and where.
    pub unread: Vec<(At, String)>,
    chain_names: HashMap<(Family, Box<str>, Box<str>), usize>,
    set_names: HashMap<(Family, Box<str>, Box<str>), usize>,
}

/// So many chains, rules and elements of sets are kept.
const CHAINS: usize = 20_000;
const RULES: usize = 400_000;
const ELEMENTS: usize = 1_000_000;
const UNREAD: usize = 64;

/// The table that ipset's sets are filed under.
const IPSET: &str = "";

impl RuleSet {
    /// A source is read from now on; its number.
    pub fn file(&mut self, name: &str) -> usize {
        self.files.push(name.to_owned());
        self.files.len() - 1
    }

    /// `/etc/nftables.conf:12`
    pub fn place(&self, at: At) -> String {
        let file = self.files.get(at.file).map_or("", String::as_str);
        if at.line == 0 { file.to_owned() } else { format!("{file}:{}", at.line) }
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.chains.iter().all(|chain| chain.rules.is_empty() && chain.policy == Verdict::Accept)
    }

    /// How many rules there are.
    pub fn rules(&self) -> usize {
        self.chains.iter().map(|chain| chain.rules.len()).sum()
    }

    fn not_understood(&mut self, at: At, text: &str) {
        if self.unread.len() < UNREAD {
            self.unread.push((at, text.chars().take(200).collect()));
        }
    }

    /// A chain by name, made where it is not there.
    fn chain_mut(&mut self, family: Family, table: &str, name: &str) -> Option<&mut Chain> {
        let key = (family, table.into(), name.into());
        let at = match self.chain_names.get(&key) {
            Some(at) => *at,
            None if self.chains.len() >= CHAINS => return None,
            None => {
                self.chains.push(Chain {
                    family,
                    table: table.into(),
                    name: name.into(),
                    hook: None,
                    is_nat: false,
                    device: None,
                    policy: Verdict::Accept,
                    packets: None,
                    rules: Vec::new(),
                    at: At::default(),
                });
                self.chain_names.insert(key, self.chains.len() - 1);
                self.chains.len() - 1
            }
        };
        self.chains.get_mut(at)
    }

    fn set_mut(&mut self, family: Family, table: &str, name: &str) -> Option<&mut Set> {
        let key = (family, table.into(), name.into());
        let at = match self.set_names.get(&key) {
            Some(at) => *at,
            None if self.sets.len() >= CHAINS => return None,
            None => {
                self.sets.push(Set::default());
                self.set_names.insert(key, self.sets.len() - 1);
                self.sets.len() - 1
            }
        };
        self.sets.get_mut(at)
    }

    /// Removes a table with its chains' rules, or all tables.
    fn flush(&mut self, of: Option<(Family, &str)>) {
        for chain in &mut self.chains {
            if of.is_none_or(|(family, table)| chain.family == family && &*chain.table == table) {
                chain.rules.clear();
                if of.is_none() {
                    (chain.hook, chain.policy) = (None, Verdict::Accept);
                }
            }
        }
    }

    /// Drops the tables of `self` that `other` has as well, and takes those of `other`: iptables knows the rules that it made better
    /// than nft does.
    pub fn merge(&mut self, mut other: RuleSet) {
        let theirs: std::collections::HashSet<(Family, Box<str>)> =
            other.chains.iter().map(|chain| (chain.family, chain.table.clone())).collect();
        self.chains.retain(|chain| !theirs.contains(&(chain.family, chain.table.clone())));
        let shift = self.files.len();
        self.files.append(&mut other.files);
        for mut chain in other.chains {
            chain.at.file += shift;
            for rule in &mut chain.rules {
                rule.at.file += shift;
            }
            self.chains.push(chain);
        }
        self.unread.extend(other.unread.into_iter().map(|(at, text)| (At { file: at.file + shift, ..at }, text)));
        let first = self.sets.len();
        self.sets.append(&mut other.sets);
        self.set_names.extend(other.set_names.into_iter().map(|(key, at)| (key, at + first)));
        let names = self.chains.iter().enumerate();
        self.chain_names =
            names.map(|(at, chain)| ((chain.family, chain.table.clone(), chain.name.clone()), at)).collect();
    }
}
