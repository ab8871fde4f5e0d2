//! What iptables-save and ip6tables-save write, and files of rules in that form (iptables-restore(8)).

use bstr::ByteSlice;

use super::values::{self, addresses, flag, network, protocol};
use super::{Action, Against, At, Element, Family, Hook, Key, Match, Part, Rule, RuleSet, Verdict};
use crate::network::address::Cidr;

/// No line is longer.
const LONGEST: usize = 16 << 10;

/// The hook and priority of a built-in chain.
fn built_in(table: &str, chain: &str) -> Option<(Hook, i32)> {
    let (hook, priority) = match (table, chain) {
        ("raw", "PREROUTING") => (Hook::Prerouting, -300),
        ("raw", "OUTPUT") => (Hook::Output, -300),
        ("mangle", "PREROUTING") => (Hook::Prerouting, -150),
        ("mangle", "INPUT") => (Hook::Input, -150),
        ("mangle", "FORWARD") => (Hook::Forward, -150),
        ("mangle", "OUTPUT") => (Hook::Output, -150),
        ("mangle", "POSTROUTING") => (Hook::Postrouting, -150),
        ("nat", "PREROUTING") => (Hook::Prerouting, -100),
        ("nat", "OUTPUT") => (Hook::Output, -100),
        ("nat", "INPUT") => (Hook::Input, 100),
        ("nat", "POSTROUTING") => (Hook::Postrouting, 100),
        ("filter", "INPUT") => (Hook::Input, 0),
        ("filter", "FORWARD") => (Hook::Forward, 0),
        ("filter", "OUTPUT") => (Hook::Output, 0),
        ("security", "INPUT") => (Hook::Input, 50),
        ("security", "FORWARD") => (Hook::Forward, 50),
        ("security", "OUTPUT") => (Hook::Output, 50),
        _ => return None,
    };
    Some((hook, priority))
}

/// Reads a dump of one family into `rules`. What is not understood is noted there, and a rule with it may match.
pub fn read(rules: &mut RuleSet, file: &str, text: &[u8], v6: bool) {
    let file = rules.file(file);
    let family = if v6 { Family::Ip6 } else { Family::Ip };
    let mut table = "filter".to_owned();
    let mut count = rules.rules();
    for (number, line) in text.lines().enumerate() {
        let at = At { file, line: number + 1 };
        let line = line.get(..line.len().min(LONGEST)).unwrap_or_default().to_str_lossy();
        let line = line.trim();
        let (packets, line) = counter(line);
        if line.is_empty() || line.starts_with('#') || line == "COMMIT" {
            continue;
        }
        if let Some(name) = line.strip_prefix('*') {
            table = name.trim().to_owned();
            continue;
        }
        if let Some(chain) = line.strip_prefix(':') {
            let mut words = chain.split_ascii_whitespace();
            let (name, policy) = (words.next().unwrap_or_default(), words.next().unwrap_or("-"));
            let packets = words.next().map(|word| counter(word).0);
            declare(rules, (family, &table, name), policy, packets.flatten(), at);
            continue;
        }
        let words = words(line);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        // `iptables -A …` of a script, and `-t nat`.
        let words = match words.as_slice() {
            [program, rest @ ..] if program.ends_with("tables") => rest,
            all => all,
        };
        let (words, table) = match words {
            ["-t", name, rest @ ..] => (rest, (*name).to_owned()),
            all => (all, table.clone()),
        };
        match words {
            ["-A" | "--append", chain, rest @ ..] if count < super::RULES => {
                count += 1;
                let rule = rule(rules, rest, line, packets, at);
                make(rules, (family, &table, chain), at);
                if let Some(chain) = rules.chain_mut(family, &table, chain) {
                    chain.rules.push(rule);
                }
            }
            ["-I" | "--insert", chain, rest @ ..] if count < super::RULES => {
                count += 1;
                let place = rest.first().and_then(|word| word.parse::<usize>().ok());
                let rest = rest.get(usize::from(place.is_some())..).unwrap_or_default();
                let rule = rule(rules, rest, line, packets, at);
                make(rules, (family, &table, chain), at);
                if let Some(chain) = rules.chain_mut(family, &table, chain) {
                    let place = place.unwrap_or(1).saturating_sub(1).min(chain.rules.len());
                    chain.rules.insert(place, rule);
                }
            }
            ["-P" | "--policy", chain, policy, ..] => {
                declare(rules, (family, &table, chain), policy, None, at);
            }
            ["-N" | "--new-chain", chain, ..] => make(rules, (family, &table, chain), at),
            ["-F" | "--flush"] => rules.flush(Some((family, &table))),
            ["-F" | "--flush", chain] => {
                if let Some(chain) = rules.chain_mut(family, &table, chain) {
                    chain.rules.clear();
                }
            }
            ["-X" | "-Z" | "--delete-chain" | "--zero", ..] => {}
            _ => rules.not_understood(at, line),
        }
    }
}

fn declare(
    rules: &mut RuleSet,
    (family, table, name): (Family, &str, &str),
    policy: &str,
    packets: Option<u64>,
    at: At,
) {
    make(rules, (family, table, name), at);
    if let Some(chain) = rules.chain_mut(family, table, name) {
        chain.policy = match policy {
            "DROP" => Verdict::Drop,
            "REJECT" => Verdict::Reject,
            _ => Verdict::Accept,
        };
        (chain.packets, chain.at) = (packets, at);
    }
}

fn make(rules: &mut RuleSet, (family, table, name): (Family, &str, &str), at: At) {
    let Some(chain) = rules.chain_mut(family, table, name) else { return };
    if chain.at.line == 0 {
        (chain.hook, chain.is_nat, chain.at) = (built_in(table, name), table == "nat", at);
    }
}

/// `[12:345] rest`
fn counter(line: &str) -> (Option<u64>, &str) {
    let Some((inside, rest)) = line.strip_prefix('[').and_then(|line| line.split_once(']')) else {
        return (None, line);
    };
    (inside.split(':').next().and_then(|packets| packets.parse().ok()), rest.trim_start())
}

/// Words as a shell would part them.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut chars = line.chars();
    while let Some(char) = chars.next() {
        match (quote, char) {
            (Some(open), char) if char == open => quote = None,
            (None, '"' | '\'') => {
                quote = Some(char);
                word.get_or_insert_default();
            }
            (open, '\\') if open != Some('\'') => word.get_or_insert_default().extend(chars.next()),
            (None, char) if char.is_whitespace() => words.extend(word.take()),
            (_, char) => word.get_or_insert_default().push(char),
        }
    }
    words.extend(word);
    words
}

/// What cannot be told from a packet alone.
const UNTOLD: [&str; 27] = [
    "limit",
    "hashlimit",
    "connlimit",
    "time",
    "string",
    "statistic",
    "quota",
    "quota2",
    "mac",
    "length",
    "ttl",
    "hl",
    "dscp",
    "tos",
    "tcpmss",
    "u32",
    "bpf",
    "geoip",
    "connbytes",
    "cluster",
    "nfacct",
    "psd",
    "dccp",
    "sctp",
    "owner",
    "socket",
    "devgroup",
];

/// What a connection that begins has not.
const NOT_SO: [&str; 1] = ["helper"];

struct Reader {
    matches: Vec<Match>,
    actions: Vec<Action>,
    comment: Option<String>,
    negated: bool,
    module: String,
    unknown: Option<String>,
}

fn rule(rules: &mut RuleSet, words: &[&str], line: &str, packets: Option<u64>, at: At) -> Rule {
    let mut reader = Reader {
        matches: Vec::new(),
        actions: Vec::new(),
        comment: None,
        negated: false,
        module: String::new(),
        unknown: None,
    };
    reader.read(words);
    if let Some(unknown) = &reader.unknown {
        rules.not_understood(at, unknown);
    }
    Rule {
        matches: reader.matches,
        actions: reader.actions,
        text: line.to_owned(),
        comment: reader.comment,
        packets,
        at,
    }
}

impl Reader {
    fn compare(&mut self, keys: &[Key], parts: Vec<Part>) {
        let elements = parts.into_iter().map(|part| Element { parts: vec![part], action: None }).collect();
        self.matches.push(Match::Compare {
            keys: keys.to_vec(),
            mask: None,
            negated: std::mem::take(&mut self.negated),
            against: Against::Elements(elements),
        });
    }

    fn may(&mut self, what: &str) {
        self.negated = false;
        let is_known = self.matches.iter().any(|one| matches!(one, Match::May(known) if **known == *what));
        if !is_known {
            self.matches.push(Match::May(what.into()));
        }
    }

    fn masked(&mut self, key: Key, word: &str) {
        let (value, mask) = word.split_once('/').unwrap_or((word, "0xffffffff"));
        match (values::number(value), values::number(mask)) {
            (Some(value), Some(mask)) => self.matches.push(Match::Compare {
                keys: vec![key],
                mask: Some(mask),
                negated: std::mem::take(&mut self.negated),
                against: Against::Elements(vec![Element { parts: vec![Part::Range(value, value)], action: None }]),
            }),
            _ => self.may(word),
        }
    }

    fn ports(&mut self, keys: &[Key], word: &str) {
        let parts = word.split(',').map(|range| {
            let (from, to) = range.split_once(':').unwrap_or((range, range));
            let from = if from.is_empty() { Some(0) } else { values::port(from) };
            let to = if to.is_empty() { Some(65535) } else { values::port(to) };
            match (from, to) {
                (Some(from), Some(to)) => Part::Range(from.into(), to.into()),
                _ => Part::Unknown,
            }
        });
        let parts: Vec<Part> = parts.collect();
        match keys {
            // Either of two: `--ports`; negated none of them.
            [one, other] if self.negated => {
                self.compare(std::slice::from_ref(one), parts.clone());
                self.negated = true;
                self.compare(std::slice::from_ref(other), parts);
            }
            [one, other] => {
                let before = self.matches.len();
                self.compare(std::slice::from_ref(one), parts.clone());
                self.compare(std::slice::from_ref(other), parts);
                let both = self.matches.split_off(before);
                self.matches.push(Match::Either(both));
            }
            _ => self.compare(keys, parts),
        }
    }

    fn read(&mut self, words: &[&str]) {
        let mut rest = words;
        while let [word, tail @ ..] = rest {
            rest = tail;
            // Before its value in files of old.
            let mut value = || {
                while let ["!", tail @ ..] = rest {
                    self.negated = true;
                    rest = tail;
                }
                let [value, tail @ ..] = rest else { return "" };
                rest = tail;
                *value
            };
            match *word {
                "!" => self.negated = true,
                "-s" | "--source" | "--src" => {
                    let word = value();
                    self.addresses(Key::Saddr, word);
                }
                "-d" | "--destination" | "--dst" => {
                    let word = value();
                    self.addresses(Key::Daddr, word);
                }
                "-i" | "--in-interface" => {
                    let word = value().replace('+', "*");
                    self.compare(&[Key::Iif], vec![Part::Name(word.into())]);
                }
                "-o" | "--out-interface" => {
                    let word = value().replace('+', "*");
                    self.compare(&[Key::Oif], vec![Part::Name(word.into())]);
                }
                "-p" | "--protocol" | "--proto" => {
                    let word = value();
                    match (word, protocol(word)) {
                        ("all" | "0", _) => self.negated = false,
                        (_, Some(number)) => {
                            self.compare(&[Key::Protocol], vec![Part::Range(number.into(), number.into())])
                        }
                        _ => self.may(word),
                    }
                }
                "-m" | "--match" => {
                    self.module = value().to_owned();
                    let module = self.module.clone();
                    if UNTOLD.contains(&module.as_str()) {
                        self.may(&module);
                    } else if NOT_SO.contains(&module.as_str()) {
                        self.matches.push(Match::Never);
                    }
                }
                "--sport" | "--source-port" => {
                    let word = value();
                    self.ports(&[Key::Sport], word);
                }
                "--dport" | "--destination-port" => {
                    let word = value();
                    self.ports(&[Key::Dport], word);
                }
                "--sports" | "--source-ports" => {
                    let word = value();
                    self.ports(&[Key::Sport], word);
                }
                "--dports" | "--destination-ports" => {
                    let word = value();
                    self.ports(&[Key::Dport], word);
                }
                "--ports" => {
                    let word = value();
                    self.ports(&[Key::Sport, Key::Dport], word);
                }
                "--syn" => self.flags(0x17, 0x02),
                "--tcp-flags" => {
                    let (mask, set) = (value(), value());
                    let flags = |word: &str| word.split(',').try_fold(0, |all, one| Some(all | flag(one)?));
                    match (flags(mask), flags(set)) {
                        (Some(mask), Some(set)) => self.flags(mask, set),
                        _ => self.may("tcp-flags"),
                    }
                }
                "--state" | "--ctstate" => {
                    let parts = value().split(',').map(|word| match values::state(word) {
                        Some(number) => Part::Range(number, number),
                        None => Part::Unknown,
                    });
                    let parts = parts.collect();
                    self.compare(&[Key::State], parts);
                }
                "--ctstatus" | "--ctexpire" | "--ctorigsrc" | "--ctreplsrc" | "--ctrepldst" | "--ctorigsrcport"
                | "--ctreplsrcport" | "--ctrepldstport" | "--ctproto" => {
                    value();
                    self.may(word);
                }
                "--ctorigdst" => {
                    let word = value();
                    self.addresses(Key::OriginalDaddr, word);
                }
                "--ctorigdstport" => {
                    let word = value();
                    self.ports(&[Key::OriginalDport], word);
                }
                "--ctdir" => {
                    let way = u128::from(value().eq_ignore_ascii_case("REPLY"));
                    self.compare(&[Key::Direction], vec![Part::Range(way, way)]);
                }
                "--icmp-type" => {
                    let word = value();
                    match word {
                        "any" => self.negated = false,
                        word => self.compare(&[Key::Icmp], vec![values::part(&Key::Icmp, word)]),
                    }
                }
                "--icmpv6-type" => {
                    let part = values::part(&Key::Icmp6, value());
                    self.compare(&[Key::Icmp6], vec![part]);
                }
                "--mark" => {
                    let word = value();
                    self.masked(if self.module == "connmark" { Key::ConnMark } else { Key::Mark }, word);
                }
                "--match-set" => {
                    let (name, dirs) = (value(), value());
                    self.set(name, dirs);
                }
                "--dst-type" | "--src-type" => {
                    let key = if *word == "--dst-type" { Key::DaddrType } else { Key::SaddrType };
                    let parts = value().split(',').map(|word| Part::Name(word.to_ascii_lowercase().into())).collect();
                    self.compare(&[key], parts);
                }
                "--src-range" | "--dst-range" => {
                    let key = if *word == "--src-range" { Key::Saddr } else { Key::Daddr };
                    let part = addresses(value()).unwrap_or(Part::Unknown);
                    self.compare(&[key], vec![part]);
                }
                "--pkt-type" => {
                    let word = value().to_ascii_lowercase();
                    self.compare(&[Key::PacketType], vec![Part::Name(word.into())]);
                }
                "--comment" => self.comment = Some(value().to_owned()),
                // ipsec: a packet in the clear.
                "--pol" => {
                    let none = value() == "none";
                    if none == self.negated {
                        self.matches.push(Match::Never);
                    }
                    self.negated = false;
                }
                // A packet that comes the way it should.
                "--invert" if self.module == "rpfilter" => self.matches.push(Match::Never),
                "--rcheck" | "--update" | "--remove" => self.may("recent"),
                "--physdev-in" | "--physdev-out" | "--physdev-is-in" | "--physdev-is-bridged" | "--physdev-is-out" => {
                    if !self.negated {
                        self.matches.push(Match::Never);
                    }
                    self.negated = false;
                    if !word.contains("-is-") {
                        let [_, tail @ ..] = rest else { continue };
                        rest = tail;
                    }
                }
                "-f" | "--fragment" => {
                    if !std::mem::take(&mut self.negated) {
                        self.matches.push(Match::Never);
                    }
                }
                "-j" | "--jump" => {
                    let target = value().to_owned();
                    self.target(&target, rest);
                    return;
                }
                "-g" | "--goto" => self.actions.push(Action::Goto(value().into(), None)),
                "-c" | "--set-counters" => {
                    value();
                    value();
                }
                option if option.starts_with('-') => {
                    let is_known = UNTOLD.contains(&self.module.as_str())
                        || NOT_SO.contains(&self.module.as_str())
                        || matches!(self.module.as_str(), "recent" | "policy" | "physdev" | "comment" | "rpfilter");
                    if !is_known {
                        self.unknown.get_or_insert_with(|| option.to_owned());
                        self.may(option);
                    }
                    self.negated = false;
                    while let [next, tail @ ..] = rest
                        && !next.starts_with('-')
                        && *next != "!"
                    {
                        rest = tail;
                    }
                }
                other => {
                    self.unknown.get_or_insert_with(|| other.to_owned());
                    self.may(other);
                }
            }
        }
    }

    fn flags(&mut self, mask: u128, set: u128) {
        self.matches.push(Match::Compare {
            keys: vec![Key::Flags],
            mask: Some(mask),
            negated: std::mem::take(&mut self.negated),
            against: Against::Elements(vec![Element { parts: vec![Part::Range(set, set)], action: None }]),
        });
    }

    fn addresses(&mut self, key: Key, word: &str) {
        let parts = word.split(',').map(|word| {
            let cidr = Cidr::parse(word).or_else(|| Cidr::parse_for_ip(word, word.contains(':')));
            cidr.map_or(Part::Unknown, network)
        });
        let parts = parts.collect();
        self.compare(&[key], parts);
    }

    fn set(&mut self, name: &str, dirs: &str) {
        let mut keys = Vec::new();
        // What a direction means depends on the set: see `ipset::read`.
        for dir in dirs.split(',') {
            keys.push(Key::Other(dir.into()));
        }
        self.matches.push(Match::Compare {
            keys,
            mask: None,
            negated: std::mem::take(&mut self.negated),
            against: Against::Set(name.into(), None),
        });
    }

    fn target(&mut self, target: &str, options: &[&str]) {
        let option = |name: &str| {
            let at = options.iter().position(|word| *word == name)?;
            options.get(at + 1).copied()
        };
        let port = |text: &str| text.split('-').next().and_then(|port| port.parse().ok());
        let action = match target {
            "ACCEPT" => Action::End(Verdict::Accept),
            "DROP" => Action::End(Verdict::Drop),
            "REJECT" => Action::End(Verdict::Reject),
            "TARPIT" | "DELUDE" | "STEAL" => Action::End(Verdict::Drop),
            "RETURN" => Action::Return,
            "DNAT" => {
                let to = option("--to-destination").unwrap_or_default();
                let (address, ports) = match to.rsplit_once(':') {
                    Some((address, ports)) if !address.contains(':') || address.ends_with(']') => (address, ports),
                    _ => (to, ""),
                };
                let address = address.trim_matches(['[', ']']).split('-').next().and_then(|one| one.parse().ok());
                Action::Dnat(address, port(ports))
            }
            "REDIRECT" => Action::Redirect(option("--to-ports").and_then(port)),
            "MASQUERADE" | "SNAT" | "NETMAP" => Action::Snat,
            "MARK" => {
                let set = option("--set-xmark").or_else(|| option("--set-mark"));
                let set = set.and_then(|word| {
                    let (value, mask) = word.split_once('/').unwrap_or((word, "0xffffffff"));
                    Some((u32::try_from(values::number(value)?).ok()?, u32::try_from(values::number(mask)?).ok()?))
                });
                let or = option("--or-mark").and_then(values::number).and_then(|bits| u32::try_from(bits).ok());
                Action::Mark(set.or(or.map(|bits| (bits, bits))))
            }
            "CONNMARK" => {
                if options.contains(&"--restore-mark") {
                    // A new connection has none.
                    return;
                }
                Action::ConnMark
            }
            "NOTRACK" => Action::NoTrack,
            "CT" if options.contains(&"--notrack") => Action::NoTrack,
            "NFQUEUE" | "QUEUE" | "SYNPROXY" | "TPROXY" | "CLUSTERIP" | "ECHO" | "MIRROR" => {
                Action::End(Verdict::Unknown)
            }
            "LOG" | "ULOG" | "NFLOG" | "TRACE" | "AUDIT" | "CT" | "TCPMSS" | "TCPOPTSTRIP" | "TTL" | "HL" | "TOS"
            | "DSCP" | "ECN" | "CLASSIFY" | "CHECKSUM" | "SECMARK" | "CONNSECMARK" | "SET" | "TEE" | "RATEEST"
            | "IDLETIMER" | "LED" | "HMARK" | "ACCOUNT" | "SNPT" | "DNPT" => return,
            chain => Action::Jump(chain.into(), None),
        };
        self.actions.push(action);
    }
}

#[cfg(test)]
#[path = "iptables_tests.rs"]
mod tests;
