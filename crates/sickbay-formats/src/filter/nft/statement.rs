//! A rule of nft: what it looks at, and what it does.

use super::words::Word;
use super::{Against, Element, Family, Key, Part, Verdict, part};
use crate::filter::values;
use crate::filter::{Action, Match};

/// A rule.
#[derive(Debug, Default)]
pub(super) struct Read {
    pub(super) matches: Vec<Match>,
    pub(super) actions: Vec<Action>,
    pub(super) comment: Option<String>,
    pub(super) packets: Option<u64>,
    pub(super) unknown: Option<String>,
}

struct Reader<'a> {
    words: &'a [Word],
    at: usize,
    family: Family,
    read: Read,
    /// The version that the rule is bound to already.
    version: Option<u128>,
}

pub(super) fn read(words: &[Word], family: Family) -> Read {
    let mut reader = Reader { words, at: 0, family, read: Read::default(), version: None };
    while reader.at < words.len() {
        let before = reader.at;
        reader.statement();
        if reader.at == before {
            reader.at += 1;
        }
    }
    reader.read
}

/// The keys of `type ipv4_addr . inet_service`.
pub(super) fn kinds(words: &[Word]) -> Vec<Key> {
    let words = words.iter().take_while(|word| &*word.text != ":");
    words.filter(|word| &*word.text != ".").map(|word| key_of_kind(&word.text)).collect()
}

/// The keys of `typeof ip saddr . tcp dport`.
pub(super) fn typed(words: &[Word]) -> Vec<Key> {
    let words: Vec<Word> = words.iter().take_while(|word| &*word.text != ":").cloned().collect();
    let mut reader = Reader { words: &words, at: 0, family: Family::Inet, read: Read::default(), version: None };
    reader.keys().unwrap_or_default()
}

/// A key whose values are written as those of the set's type.
pub(super) fn key_of_kind(kind: &str) -> Key {
    match kind {
        "ipv4_addr" | "ipv6_addr" => Key::Saddr,
        "inet_service" => Key::Dport,
        "inet_proto" => Key::Protocol,
        "ifname" | "iface_index" => Key::Iif,
        "mark" => Key::Mark,
        "icmp_type" => Key::Icmp,
        "icmpv6_type" => Key::Icmp6,
        "ct_state" => Key::State,
        "nf_proto" => Key::Version,
        other => Key::Other(other.into()),
    }
}

/// The other way round.
pub(super) fn kind_word(key: &Key) -> &str {
    match key {
        Key::Saddr | Key::Daddr | Key::OriginalDaddr => "ipv4_addr",
        Key::Sport | Key::Dport | Key::OriginalDport => "inet_service",
        Key::Protocol => "inet_proto",
        Key::Iif | Key::Oif => "ifname",
        Key::Mark | Key::ConnMark => "mark",
        Key::Icmp => "icmp_type",
        Key::Icmp6 => "icmpv6_type",
        Key::State => "ct_state",
        Key::Version => "nf_proto",
        Key::Other(other) => other,
        _ => "?",
    }
}

/// `{ 22, 80-90, 10.0.0.0/8 . 443 : jump web }`
pub(super) fn elements(words: &[Word], keys: &[Key]) -> Vec<Element> {
    let words = match words {
        [open, inside @ .., close] if &*open.text == "{" && &*close.text == "}" => inside,
        all => all,
    };
    let mut all = Vec::new();
    for element in words.split(|word| &*word.text == "," && !word.quoted) {
        let (key, value) = match element.iter().position(|word| &*word.text == ":") {
            Some(colon) => (element.get(..colon).unwrap_or_default(), element.get(colon + 1..)),
            None => (element, None),
        };
        // What follows a value (timeout, expires, counter, comment) is no part of it.
        let known = ["timeout", "expires", "counter", "comment", "limit", "last", "quota"];
        let end = key.iter().position(|word| !word.quoted && known.contains(&&*word.text)).unwrap_or(key.len());
        let key = key.get(..end).unwrap_or_default();
        if key.is_empty() {
            continue;
        }
        let mut parts = Vec::new();
        for (number, words) in key.split(|word| &*word.text == ".").enumerate() {
            let of = keys.get(number).cloned().unwrap_or(Key::Other("?".into()));
            parts.push(match words {
                [word] => part(&of, &word.text),
                [from, dash, to] if &*dash.text == "-" => part(&of, &format!("{}-{}", from.text, to.text)),
                _ => Part::Unknown,
            });
        }
        if keys.len() > 1 && parts.as_slice() != [Part::Any] && parts.len() != keys.len() {
            parts = vec![Part::Unknown; keys.len()];
        }
        let action = value.map(|value| {
            let mut reader = Reader { words: value, at: 0, family: Family::Inet, read: Read::default(), version: None };
            match reader.verdict() {
                Some(Some(action)) => action,
                Some(None) => Action::Continue,
                None => Action::End(Verdict::Unknown),
            }
        });
        all.push(Element { parts, action });
    }
    all
}

impl Reader<'_> {
    fn peek(&self) -> &str {
        self.words.get(self.at).filter(|word| !word.quoted).map_or("", |word| &word.text)
    }

    fn ahead(&self, by: usize) -> &str {
        self.words.get(self.at + by).map_or("", |word| &word.text)
    }

    fn take(&mut self) -> &str {
        let word = self.words.get(self.at).map_or("", |word| &*word.text);
        self.at += 1;
        word
    }

    fn skip(&mut self, word: &str) -> bool {
        let is = self.peek() == word;
        self.at += usize::from(is);
        is
    }

    /// What stands in braces, with them.
    fn braces(&mut self) -> &[Word] {
        let begin = self.at;
        let mut depth = 0_usize;
        while let Some(word) = self.words.get(self.at) {
            self.at += 1;
            match &*word.text {
                "{" => depth += 1,
                "}" => depth = depth.saturating_sub(1),
                _ => {}
            }
            if depth == 0 {
                break;
            }
        }
        self.words.get(begin..self.at).unwrap_or_default()
    }

    fn may(&mut self, what: &str) {
        self.read.matches.push(Match::May(what.into()));
    }

    fn version(&mut self, version: u128) {
        if self.version == Some(version) || matches!(self.family, Family::Ip | Family::Ip6) {
            return;
        }
        self.version = Some(version);
        self.read.matches.push(compare(vec![Key::Version], None, false, vec![Part::Range(version, version)]));
    }

    fn protocol(&mut self, protocol: u128) {
        self.read.matches.push(compare(vec![Key::Protocol], None, false, vec![Part::Range(protocol, protocol)]));
    }

    fn statement(&mut self) {
        if let Some(verdict) = self.verdict() {
            self.read.actions.extend(verdict);
            return;
        }
        match self.peek() {
            "counter" => {
                self.at += 1;
                if self.skip("packets") {
                    self.read.packets = self.take().parse().ok();
                    self.skip("bytes");
                    self.at += 1;
                } else if self.skip("name") {
                    self.at += 1;
                }
            }
            "log" => {
                self.at += 1;
                while matches!(self.peek(), "prefix" | "level" | "group" | "snaplen" | "queue-threshold" | "flags") {
                    self.at += 2;
                }
                while self.skip(",") {
                    self.at += 1;
                }
            }
            "limit" | "quota" => {
                let what = self.take().to_owned();
                while matches!(
                    self.peek(),
                    "rate" | "over" | "until" | "burst" | "packets" | "bytes" | "kbytes" | "mbytes" | "name" | "used"
                ) || self.peek().contains('/')
                    || self.peek().parse::<u64>().is_ok()
                    || self.words.get(self.at).is_some_and(|word| word.quoted)
                {
                    self.at += 1;
                }
                self.may(&what);
            }
            "last" => {
                self.at += 1;
                if self.skip("used") {
                    self.at += 1;
                }
            }
            "comment" => {
                self.at += 1;
                self.read.comment = Some(self.take().to_owned());
            }
            "notrack" => {
                self.at += 1;
                self.read.actions.push(Action::NoTrack);
            }
            "masquerade" | "snat" => {
                self.at = self.words.len();
                self.read.actions.push(Action::Snat);
            }
            "redirect" => {
                self.at += 1;
                let port = if self.skip("to") {
                    self.take().trim_start_matches(':').split('-').next().and_then(|port| port.parse().ok())
                } else {
                    None
                };
                self.read.actions.push(Action::Redirect(port));
            }
            "dnat" => self.dnat(),
            // A match of iptables that nft has no words for.
            "xt" if matches!(self.ahead(1), "match" | "target") => {
                self.at += 3;
                self.may("xt");
            }
            "numgen" | "jhash" | "symhash" => {
                let what = self.peek().to_owned();
                while !self.peek().is_empty() && self.peek() != "mod" {
                    self.at += 1;
                }
                self.at += 2;
                if self.skip("offset") {
                    self.at += 1;
                }
                let _ = self.skip("<") || self.skip(">") || self.skip("!=") || self.skip("==");
                if self.peek() == "{" {
                    self.braces();
                } else if self.peek().starts_with(|char: char| char.is_ascii_digit()) {
                    self.at += 1;
                }
                self.may(&what);
            }
            "queue" | "tproxy" | "synproxy" | "fwd" => {
                let what = self.peek().to_owned();
                self.at = self.words.len();
                let action = if what == "fwd" { Verdict::Drop } else { Verdict::Unknown };
                self.read.actions.push(Action::End(action));
            }
            "flow" | "dup" => self.at = self.words.len(),
            "add" | "update" | "set" | "delete"
                if self.ahead(1).starts_with('@') || self.ahead(1) == "add" || self.ahead(1) == "update" =>
            {
                self.at += 1;
                while !self.peek().is_empty() && self.peek() != "{" && !self.peek().starts_with('@') {
                    self.at += 1;
                }
                self.skip_if_set();
                let inside: Vec<String> = self.braces().iter().map(|word| word.text.to_string()).collect();
                if inside.iter().any(|word| word == "limit" || word == "quota" || word == "count") {
                    self.may("limit");
                }
                self.skip_if_set();
            }
            "meter" => {
                self.at += 2;
                self.skip("size");
                while !self.peek().is_empty() && self.peek() != "{" {
                    self.at += 1;
                }
                self.braces();
                self.may("meter");
            }
            _ => self.expression(),
        }
    }

    fn skip_if_set(&mut self) {
        if self.peek().starts_with('@') {
            self.at += 1;
        }
    }

    fn dnat(&mut self) {
        self.at += 1;
        while matches!(self.peek(), "ip" | "ip6" | "to" | "addr" | "." | "port" | "prefix") {
            self.at += 1;
        }
        let word = self.take().to_owned();
        self.at = self.words.len();
        let (address, port) = match word.rsplit_once(':') {
            Some((address, port)) if !address.contains(':') || address.ends_with(']') => (address, port),
            _ => (word.as_str(), ""),
        };
        let address = address.trim_matches(['[', ']']).split('-').next().and_then(|one| one.parse().ok());
        let port = port.split('-').next().and_then(|port| port.parse().ok());
        if address.is_none() && port.is_none() {
            self.may("dnat");
        }
        self.read.actions.push(Action::Dnat(address, port));
    }

    /// accept, drop, jump …; `Some(None)` for `continue`, which does nothing.
    fn verdict(&mut self) -> Option<Option<Action>> {
        let action = match self.peek() {
            "accept" => Action::End(Verdict::Accept),
            "drop" => Action::End(Verdict::Drop),
            "return" => Action::Return,
            "continue" => {
                self.at += 1;
                return Some(None);
            }
            "jump" | "goto" => {
                let goes = self.take() == "goto";
                let name: Box<str> = self.take().into();
                return Some(Some(if goes { Action::Goto(name, None) } else { Action::Jump(name, None) }));
            }
            "reject" => {
                self.at += 1;
                if self.skip("with") {
                    while matches!(self.peek(), "icmp" | "icmpv6" | "icmpx" | "type" | "tcp" | "reset")
                        || self.peek().contains("prohibited")
                        || self.peek().contains("unreachable")
                        || self.peek().contains("policy-fail")
                        || self.peek().contains("reject-route")
                        || self.peek() == "no-route"
                        || self.peek().parse::<u8>().is_ok()
                    {
                        self.at += 1;
                    }
                }
                return Some(Some(Action::End(Verdict::Reject)));
            }
            _ => return None,
        };
        self.at += 1;
        Some(Some(action))
    }

    /// The keys of a comparison, joined by `.`; conditions that they imply are noted.
    fn keys(&mut self) -> Option<Vec<Key>> {
        let mut keys = vec![self.key()?];
        while self.peek() == "." {
            self.at += 1;
            keys.push(self.key()?);
        }
        Some(keys)
    }

    fn key(&mut self) -> Option<Key> {
        let (first, second) = (self.peek().to_owned(), self.ahead(1).to_owned());
        let (key, length) = match (first.as_str(), second.as_str()) {
            ("iif" | "iifname", _) => (Key::Iif, 1),
            ("oif" | "oifname", _) => (Key::Oif, 1),
            ("mark", _) => (Key::Mark, 1),
            ("pkttype", _) => (Key::PacketType, 1),
            ("meta", "iif" | "iifname") => (Key::Iif, 2),
            ("meta", "oif" | "oifname") => (Key::Oif, 2),
            ("meta", "l4proto") => (Key::Protocol, 2),
            ("meta", "nfproto") | ("meta", "protocol") => (Key::Version, 2),
            ("meta", "mark") => (Key::Mark, 2),
            ("meta", "pkttype") => (Key::PacketType, 2),
            ("meta", other) => (Key::Other(other.into()), 2),
            (
                "skuid" | "skgid" | "cgroup" | "cpu" | "rtclassid" | "iifgroup" | "oifgroup" | "iiftype" | "oiftype"
                | "l4proto" | "nfproto",
                _,
            ) => match first.as_str() {
                "l4proto" => (Key::Protocol, 1),
                "nfproto" => (Key::Version, 1),
                other => (Key::Other(other.into()), 1),
            },
            ("ip" | "ip6", field) => {
                let version = if first == "ip" { 4 } else { 6 };
                self.version(version);
                match field {
                    "saddr" => (Key::Saddr, 2),
                    "daddr" => (Key::Daddr, 2),
                    "protocol" | "nexthdr" => (Key::Protocol, 2),
                    other => (Key::Other(other.into()), 2),
                }
            }
            ("th", "sport") => (Key::Sport, 2),
            ("th", "dport") => (Key::Dport, 2),
            ("tcp" | "udp" | "sctp" | "dccp" | "udplite", field) => {
                let number = values::protocol(&first).map_or(0, u128::from);
                self.protocol(number);
                match field {
                    "sport" => (Key::Sport, 2),
                    "dport" => (Key::Dport, 2),
                    "flags" if first == "tcp" => (Key::Flags, 2),
                    other => (Key::Other(other.into()), if matches!(other, "option") { 4 } else { 2 }),
                }
            }
            ("icmp", field) => {
                self.version(4);
                self.protocol(1);
                if field == "type" { (Key::Icmp, 2) } else { (Key::Other(field.into()), 2) }
            }
            ("icmpv6", field) => {
                self.version(6);
                self.protocol(58);
                if field == "type" { (Key::Icmp6, 2) } else { (Key::Other(field.into()), 2) }
            }
            ("ct", "state" | "status") => (Key::State, 2),
            ("ct", "mark") => (Key::ConnMark, 2),
            ("ct", "direction") => (Key::Direction, 2),
            ("ct", "original") => match (self.ahead(2), self.ahead(3)) {
                ("proto-dst", _) => (Key::OriginalDport, 3),
                ("ip" | "ip6", "daddr") => (Key::OriginalDaddr, 4),
                ("daddr", _) => (Key::OriginalDaddr, 3),
                ("ip" | "ip6", other) => (Key::Other(other.into()), 4),
                (other, _) => (Key::Other(other.into()), 3),
            },
            ("ct", "l3proto") => (Key::Version, 2),
            ("ct", "protocol") => (Key::Protocol, 2),
            ("ct", other) => (Key::Other(other.into()), if other == "reply" { 3 } else { 2 }),
            ("fib", _) => return Some(self.fib()),
            (
                "ether" | "vlan" | "arp" | "rt" | "socket" | "ipsec" | "exthdr" | "frag" | "hbh" | "dst" | "mh" | "ah"
                | "esp" | "comp" | "gre" | "osf",
                _,
            ) => (Key::Other(first.as_str().into()), 2),
            (word, _) if word.starts_with('@') && word.contains(',') => (Key::Other(word.into()), 1),
            _ => return None,
        };
        self.at += length;
        Some(key)
    }

    /// `fib saddr . iif oif missing`, `fib daddr type local`
    fn fib(&mut self) -> Key {
        self.at += 1;
        let mut of = Vec::new();
        loop {
            of.push(self.take().to_owned());
            if !self.skip(".") {
                break;
            }
        }
        let result = self.take().to_owned();
        let of_source = of.iter().any(|word| word == "saddr");
        match (result.as_str(), of_source) {
            ("type", true) => Key::SaddrType,
            ("type", false) => Key::DaddrType,
            _ => Key::Other("fib".into()),
        }
    }

    fn expression(&mut self) {
        let begin = self.at;
        // A mark that is set.
        if matches!((self.peek(), self.ahead(1), self.ahead(2)), ("meta" | "ct", "mark", "set") | ("mark", "set", _)) {
            self.set_mark();
            return;
        }
        // `mark set`, `ip dscp set`, `tcp option maxseg size set`: not one that stands behind a condition.
        let sets = |by: usize| self.words.get(begin + by).is_some_and(|word| &*word.text == "set" && !word.quoted);
        if sets(1) || sets(2) || (self.ahead(1) == "option" && sets(4)) {
            // ct helper set, ip dscp set, tcp option maxseg size set: nothing that decides; the value is passed over.
            while self.at < self.words.len() && !self.skip("set") {
                self.at += 1;
            }
            self.at += 1;
            while self.peek() == "mtu" || self.peek() == "|" {
                self.at += 1;
            }
            return;
        }
        let Some(keys) = self.keys() else {
            let word = self.take().to_owned();
            self.read.unknown.get_or_insert_with(|| word.clone());
            self.may(&word);
            return;
        };
        let other = keys.iter().find_map(|key| if let Key::Other(what) = key { Some(what.clone()) } else { None });
        let mut mask = None;
        if matches!(self.peek(), "&" | "and") {
            self.at += 1;
            mask = Some(self.bits(&keys));
        }
        if self.skip("vmap") {
            let against = match self.peek().strip_prefix('@') {
                Some(name) => {
                    let against = Against::Set(name.into(), None);
                    self.at += 1;
                    against
                }
                None => Against::Elements(elements(self.braces(), &keys)),
            };
            self.read.actions.push(Action::Map(keys, against));
            return;
        }
        let mut negated = false;
        let mut order = None;
        match self.peek() {
            "!=" | "!" => {
                negated = true;
                self.at += 1;
            }
            "==" | "eq" => self.at += 1,
            "<" | ">" | "<=" | ">=" => order = Some(self.take().to_owned()),
            _ => {}
        }
        if let Some(what) = other {
            self.other(&what, negated);
            return;
        }
        if let Some(name) = self.peek().strip_prefix('@') {
            let against = Against::Set(name.into(), None);
            self.at += 1;
            self.read.matches.push(Match::Compare { keys, mask: None, negated, against });
            return;
        }
        if let Some(mask) = mask {
            let value = self.bits(&keys);
            match (mask, value) {
                // `& x != 0` is how nft writes "any of x".
                (Some(mask), Some(value)) => {
                    let parts = vec![Part::Range(value, value)];
                    self.read.matches.push(compare(keys, Some(mask), negated, parts));
                }
                _ => self.may("mask"),
            }
            return;
        }
        let mut found = match self.peek() {
            "{" => elements(self.braces(), &keys),
            _ => self.list(&keys),
        };
        if let Some(order) = order {
            for element in &mut found {
                if let Some(Part::Range(from, to)) = element.parts.first_mut() {
                    (*from, *to) = match order.as_str() {
                        "<" => (0, from.saturating_sub(1)),
                        "<=" => (0, *from),
                        ">" => (from.saturating_add(1), u128::MAX),
                        _ => (*from, u128::MAX),
                    };
                }
            }
        }
        // `tcp flags syn` asks whether the bit is set; `tcp flags syn / fin,syn` which of these are.
        if keys.as_slice() == [Key::Flags] {
            self.flags(keys, negated, found);
            return;
        }
        self.read.matches.push(Match::Compare { keys, mask: None, negated, against: Against::Elements(found) });
    }

    /// A value, or several with commas between them, of one key; of several one tuple.
    fn list(&mut self, keys: &[Key]) -> Vec<Element> {
        let mut all = Vec::new();
        loop {
            let mut parts = Vec::new();
            for (number, key) in keys.iter().enumerate() {
                if number > 0 && !self.skip(".") {
                    parts.push(Part::Unknown);
                    continue;
                }
                let mut word = self.take().to_owned();
                if self.peek() == "-" {
                    self.at += 1;
                    word = format!("{word}-{}", self.take());
                }
                while self.peek() == "|" {
                    self.at += 1;
                    word = format!("{word}|{}", self.take());
                }
                parts.push(match key {
                    Key::State if word.contains('|') => Part::Unknown,
                    key => part(key, &word),
                });
            }
            all.push(Element { parts, action: None });
            if !self.skip(",") {
                return all;
            }
        }
    }

    fn flags(&mut self, keys: Vec<Key>, negated: bool, found: Vec<Element>) {
        let one = |element: &Element| match element.parts.as_slice() {
            [Part::Range(from, to)] if from == to => Some(*from),
            _ => None,
        };
        let set = found.iter().try_fold(0, |all, element| Some(all | one(element)?));
        if self.skip("/") {
            let mask = self.list(&keys).iter().try_fold(0, |all, element| Some(all | one(element)?));
            match (set, mask) {
                (Some(set), Some(mask)) => {
                    self.read.matches.push(compare(keys, Some(mask), negated, vec![Part::Range(set, set)]));
                }
                _ => self.may("tcp flags"),
            }
            return;
        }
        match set {
            Some(set) => self.read.matches.push(compare(keys, Some(set), !negated, vec![Part::Range(0, 0)])),
            None => self.may("tcp flags"),
        }
    }

    /// What is compared with something that is not known.
    fn other(&mut self, what: &str, _negated: bool) {
        // `ct count over 3`
        if !self.skip("over") {
            self.skip("until");
        }
        let value = self.peek().to_owned();
        match value.as_str() {
            "{" => {
                self.braces();
            }
            _ => {
                self.at += 1;
                while self.skip("-") || self.skip(",") || self.skip(".") || self.skip("|") {
                    self.at += 1;
                }
            }
        }
        if what == "fib" && value == "missing" {
            // A packet that comes the way it should.
            self.read.matches.push(Match::Never);
            return;
        }
        if what == "fib" && matches!(value.as_str(), "exists" | "0") {
            return;
        }
        self.may(what);
    }

    /// A number in brackets or not, of bits.
    fn bits(&mut self, keys: &[Key]) -> Option<u128> {
        let key = keys.first()?;
        let mut all = 0;
        let brackets = self.skip("(");
        loop {
            let word = self.take().to_owned();
            let value = match part(key, &word) {
                Part::Range(from, to) if from == to => from,
                _ => values::number(&word)?,
            };
            // A state is a number here, and a bit there.
            if *key == Key::State {
                return None;
            }
            all |= value;
            if !(self.skip("|") || self.skip(",")) {
                break;
            }
        }
        if brackets {
            self.skip(")");
        }
        Some(all)
    }

    fn set_mark(&mut self) {
        let of_connection = self.peek() == "ct";
        while !self.skip("set") {
            self.at += 1;
        }
        let value = self.peek().to_owned();
        self.at += 1;
        // `set meta mark or 0x1`, `set mark and …`: what it becomes is not followed.
        let rest = self.words.get(self.at..).unwrap_or_default();
        let verdicts = [
            "accept", "drop", "return", "jump", "goto", "counter", "reject", "log", "comment", "continue", "ct", "tcp",
        ];
        let end = rest.iter().position(|word| verdicts.contains(&&*word.text)).unwrap_or(rest.len());
        self.at += end;
        let number = values::number(&value).and_then(|number| u32::try_from(number).ok());
        let set = number.filter(|_| end == 0).map(|value| (value, u32::MAX));
        self.read.actions.push(if of_connection { Action::ConnMark } else { Action::Mark(set) });
    }
}

fn compare(keys: Vec<Key>, mask: Option<u128>, negated: bool, parts: Vec<Part>) -> Match {
    let elements = parts.into_iter().map(|part| Element { parts: vec![part], action: None }).collect();
    Match::Compare { keys, mask, negated, against: Against::Elements(elements) }
}
