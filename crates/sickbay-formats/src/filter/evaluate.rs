//! What becomes of one packet.

use std::net::IpAddr;

use super::packet::{Host, Packet, TCP, Way, states};
use super::values::bits;
use super::{Action, Against, Chain, Family, Hook, Key, Match, Part, RuleSet, Set, Verdict};

/// The rule of a chain, or its policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct By {
    /// Which chain.
    pub chain: usize,
    /// Which of its rules; `None` is the policy.
    pub rule: Option<usize>,
}

/// What the packet met on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// The rule.
    pub by: By,
    /// Whether it only may be met.
    pub may: bool,
    /// How deep the chain was called.
    pub depth: usize,
}

/// What becomes of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The most that can be said.
    pub verdict: Verdict,
    /// Whether it is so in any case.
    pub certain: bool,
    /// What decides; `None` where no chain is in its way, or the routing decides.
    pub by: Option<By>,
    /// What else may become of it, and by which rule.
    pub possible: Vec<(Verdict, By)>,
    /// The rules that it met, the first ones.
    pub path: Vec<Step>,
    /// Where it goes after its destination was translated.
    pub translated: Option<(Option<IpAddr>, Option<u16>)>,
    /// It would have to be forwarded, and this machine does not.
    pub not_forwarded: bool,
}

/// So much of the path is kept; so deep go calls; so many rules are looked at in all.
const PATH: usize = 200;
const DEEPEST: usize = 24;
const VISITS: usize = 4_000_000;

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Holds {
    No,
    May,
    Yes,
}

impl std::ops::Not for Holds {
    type Output = Holds;

    fn not(self) -> Holds {
        match self {
            Holds::No => Holds::Yes,
            Holds::May => Holds::May,
            Holds::Yes => Holds::No,
        }
    }
}

impl From<bool> for Holds {
    fn from(holds: bool) -> Holds {
        if holds { Holds::Yes } else { Holds::No }
    }
}

/// How a chain is left.
enum Left {
    End(Verdict, By),
    /// At its end, or by `return`.
    Back,
}

struct Walk<'a> {
    rules: &'a RuleSet,
    host: &'a Host,
    packet: Packet,
    mark: Option<u32>,
    conn_mark: Option<u32>,
    is_dnat: bool,
    translated: bool,
    original: (Option<IpAddr>, Option<u16>),
    hook: Hook,
    possible: Vec<(Verdict, By)>,
    path: Vec<Step>,
    visits: usize,
    /// Where evaluation stopped before its end: then nothing is certain.
    stopped: bool,
}

/// The hooks that a packet goes through one after the other.
fn hooks(way: Way) -> &'static [Hook] {
    match way {
        Way::In => &[Hook::Ingress, Hook::Prerouting, Hook::Input],
        Way::Through => &[Hook::Ingress, Hook::Prerouting, Hook::Forward, Hook::Postrouting],
        Way::Out => &[Hook::Output, Hook::Postrouting],
    }
}

impl RuleSet {
    /// Takes a packet through the chains of a rule set that is complete ([`RuleSet::link`]).
    pub fn evaluate(&self, packet: &Packet, host: &Host) -> Answer {
        let mut walk = Walk {
            rules: self,
            host,
            mark: Some(0),
            conn_mark: (packet.state == states::NEW).then_some(0),
            is_dnat: false,
            translated: false,
            original: (packet.destination, packet.dport),
            packet: packet.clone(),
            hook: Hook::Ingress,
            possible: Vec::new(),
            path: Vec::new(),
            visits: 0,
            stopped: false,
        };
        let end = walk.hooks();
        let not_forwarded = end.is_err();
        let (verdict, by) = match end {
            Ok(Some((verdict, by))) => (verdict, Some(by)),
            Ok(None) => (
                Verdict::Accept,
                walk.path.iter().rev().find(|step| !step.may && walk.accepts(step.by)).map(|step| step.by),
            ),
            Err(()) => (Verdict::Drop, None),
        };
        walk.possible.retain(|(other, _)| other.refuses() != verdict.refuses() || *other == Verdict::Unknown);
        let certain = walk.possible.is_empty() && verdict != Verdict::Unknown && !walk.stopped;
        Answer {
            verdict,
            certain,
            by,
            translated: walk.translated.then_some((walk.packet.destination, walk.packet.dport)),
            possible: walk.possible,
            path: walk.path,
            not_forwarded,
        }
    }

    /// A chain and a rule of it.
    pub fn rule(&self, by: By) -> Option<(&Chain, Option<&super::Rule>)> {
        let chain = self.chains.get(by.chain)?;
        Some((chain, by.rule.and_then(|at| chain.rules.get(at))))
    }
}

impl Walk<'_> {
    /// `Err` where it would have to be forwarded and is not.
    fn hooks(&mut self) -> Result<Option<(Verdict, By)>, ()> {
        let mut way = self.packet.way;
        let mut at = 0;
        while let Some(hook) = hooks(way).get(at) {
            self.hook = *hook;
            if let Some(end) = self.hook_chains() {
                return Ok(Some(end));
            }
            if *hook == Hook::Prerouting {
                // Routing: what is not for this machine goes through it.
                let owned = self.packet.destination.map_or(Some(true), |address| self.host.owns(address));
                if way == Way::In && owned == Some(false) {
                    way = Way::Through;
                    let out = self.packet.destination.and_then(|address| self.host.card_to(address));
                    self.packet.oif = self.packet.oif.take().or_else(|| out.map(str::to_owned));
                    let forwards = if self.packet.v6 { self.host.forwards_v6 } else { self.host.forwards };
                    if forwards == Some(false) {
                        return Err(());
                    }
                } else if way == Way::In && owned.is_none() && self.is_dnat {
                    // Most translate to somewhere else.
                    way = Way::Through;
                }
            }
            at += 1;
        }
        Ok(None)
    }

    /// Whether a rule or policy lets go on.
    fn accepts(&self, by: By) -> bool {
        match self.rules.rule(by) {
            Some((chain, None)) => chain.policy == Verdict::Accept,
            Some((_, Some(rule))) => rule.actions.iter().any(|action| {
                matches!(
                    action,
                    Action::End(Verdict::Accept) | Action::Map(..) | Action::Dnat(..) | Action::Redirect(_)
                )
            }),
            None => false,
        }
    }

    fn sees(&self, family: Family) -> bool {
        match family {
            Family::Ip => !self.packet.v6,
            Family::Ip6 => self.packet.v6,
            Family::Inet | Family::Netdev => true,
            Family::Other => false,
        }
    }

    fn hook_chains(&mut self) -> Option<(Verdict, By)> {
        let mut bases: Vec<(i32, usize)> = Vec::new();
        for (at, chain) in self.rules.chains.iter().enumerate() {
            if let Some((hook, priority)) = chain.hook
                && hook == self.hook
                && self.sees(chain.family)
                && (!chain.is_nat || matches!(self.packet.state, states::NEW | states::ESTABLISHED))
            {
                bases.push((priority, at));
            }
        }
        bases.sort_by_key(|(priority, _)| *priority);
        for (_, at) in bases {
            let Some(chain) = self.rules.chains.get(at) else { continue };
            let mut sure = true;
            if let Some(device) = &chain.device {
                match &self.packet.iif {
                    Some(card) if **card != **device => continue,
                    Some(_) => {}
                    None => sure = false,
                }
            }
            // Chains that translate see a connection once; a translation that was made ends them.
            if chain.is_nat && self.is_dnat && self.hook == Hook::Prerouting {
                continue;
            }
            let before = self.possible.len();
            // A later packet is translated as the first one was.
            let state = self.packet.state;
            if chain.is_nat {
                self.packet.state = states::NEW;
            }
            let left = self.chain(at, 0, sure);
            if chain.is_nat {
                self.packet.state = state;
            }
            let (verdict, by) = match left {
                Left::End(..) if !sure => continue,
                Left::End(verdict, by) => (verdict, by),
                Left::Back => {
                    let by = By { chain: at, rule: None };
                    self.step(by, !sure, 0);
                    if !sure && chain.policy != Verdict::Accept {
                        self.possible.push((chain.policy, by));
                        continue;
                    }
                    (chain.policy, by)
                }
            };
            if verdict != Verdict::Accept {
                return Some((verdict, by));
            }
            // It goes on to the next chain in either case.
            let mut kept = self.possible.split_off(before);
            kept.retain(|(verdict, _)| *verdict != Verdict::Accept);
            self.possible.append(&mut kept);
        }
        None
    }

    fn step(&mut self, by: By, may: bool, depth: usize) {
        if self.path.len() < PATH {
            self.path.push(Step { by, may, depth });
        }
    }

    /// A chain; where it is not `sure` that the packet comes there, an end of it is only possible.
    fn chain(&mut self, at: usize, depth: usize, sure: bool) -> Left {
        let rules = self.rules;
        let Some(chain) = rules.chains.get(at) else { return Left::Back };
        for (number, rule) in chain.rules.iter().enumerate() {
            self.visits += 1;
            if self.visits > VISITS {
                self.stopped = true;
                return Left::Back;
            }
            let mut holds = Holds::Yes;
            for one in &rule.matches {
                holds = holds.min(self.holds(one));
                if holds == Holds::No {
                    break;
                }
            }
            if holds == Holds::No {
                continue;
            }
            let by = By { chain: at, rule: Some(number) };
            let certain = holds == Holds::Yes;
            if !rule.actions.is_empty() {
                self.step(by, !(certain && sure), depth);
            }
            for action in &rule.actions {
                if let Some(left) = self.action(action, by, depth, sure, certain) {
                    return left;
                }
            }
        }
        Left::Back
    }

    /// An action; `Some` where the chain is left by it.
    fn action(&mut self, action: &Action, by: By, depth: usize, sure: bool, certain: bool) -> Option<Left> {
        match action {
            Action::End(verdict) => self.end(*verdict, by, sure, certain),
            Action::Continue => None,
            Action::Return => {
                if certain {
                    return Some(Left::Back);
                }
                // What follows is then only possible.
                self.rest_is_possible(by, depth, sure)
            }
            Action::Jump(_, to) | Action::Goto(_, to) => {
                let goes = matches!(action, Action::Goto(..));
                let Some(to) = to.filter(|_| depth < DEEPEST) else {
                    return self.end(Verdict::Unknown, by, sure, certain);
                };
                match self.chain(to, depth + 1, sure && certain) {
                    // Only a possible end, which has been noted.
                    Left::End(..) if !certain => None,
                    Left::End(verdict, by) => Some(Left::End(verdict, by)),
                    Left::Back if goes && certain => Some(Left::Back),
                    Left::Back if goes => self.rest_is_possible(by, depth, sure),
                    Left::Back => None,
                }
            }
            Action::Map(keys, against) => self.map(keys, against, by, depth, sure && certain, certain),
            Action::Dnat(address, port) => {
                if !(sure && certain) {
                    return self.end(Verdict::Unknown, by, sure, certain);
                }
                if let Some(address) = address {
                    self.packet.destination = Some(*address);
                }
                self.packet.dport = port.or(self.packet.dport);
                (self.is_dnat, self.translated) = (true, true);
                self.end(Verdict::Accept, by, sure, certain)
            }
            Action::Redirect(port) => {
                if !(sure && certain) {
                    return self.end(Verdict::Unknown, by, sure, certain);
                }
                self.packet.destination = None;
                self.packet.dport = port.or(self.packet.dport);
                (self.is_dnat, self.translated) = (true, true);
                self.end(Verdict::Accept, by, sure, certain)
            }
            Action::Snat => self.end(Verdict::Accept, by, sure, certain),
            Action::Mark(set) => {
                self.mark = match (self.mark, set) {
                    (Some(mark), Some((value, mask))) if sure && certain => Some(mark & !mask ^ value),
                    (Some(mark), Some((value, mask))) if mark & !mask ^ value == mark => Some(mark),
                    _ => None,
                };
                None
            }
            Action::ConnMark => {
                self.conn_mark = None;
                None
            }
            Action::NoTrack => {
                if sure && certain {
                    self.packet.state = states::UNTRACKED;
                }
                None
            }
        }
    }

    /// After a `return` that may or may not be: what the rest of the chain says is possible, and so is that it says nothing.
    fn rest_is_possible(&mut self, by: By, depth: usize, _sure: bool) -> Option<Left> {
        let rules = self.rules;
        let chain = rules.chains.get(by.chain)?;
        let next = by.rule?.checked_add(1)?;
        for (number, rule) in chain.rules.iter().enumerate().skip(next) {
            self.visits += 1;
            if self.visits > VISITS {
                self.stopped = true;
                break;
            }
            let holds = rule.matches.iter().map(|one| self.holds(one)).min().unwrap_or(Holds::Yes);
            if holds == Holds::No {
                continue;
            }
            let by = By { chain: by.chain, rule: Some(number) };
            if !rule.actions.is_empty() {
                self.step(by, true, depth);
            }
            let certain = holds == Holds::Yes;
            for action in &rule.actions {
                if self.action(action, by, depth, false, certain).is_some() && certain {
                    return Some(Left::Back);
                }
            }
        }
        Some(Left::Back)
    }

    fn end(&mut self, verdict: Verdict, by: By, sure: bool, certain: bool) -> Option<Left> {
        if !(sure && certain) {
            if !self.possible.contains(&(verdict, by)) && self.possible.len() < PATH {
                self.possible.push((verdict, by));
            }
            // In a branch that only may be taken the walk ends where the branch would.
            return certain.then_some(Left::End(verdict, by));
        }
        Some(Left::End(verdict, by))
    }

    fn map(
        &mut self,
        keys: &[Key],
        against: &Against,
        by: By,
        depth: usize,
        sure: bool,
        certain: bool,
    ) -> Option<Left> {
        let rules = self.rules;
        let elements = match against {
            Against::Elements(elements) => elements,
            Against::Set(_, Some(at)) => &rules.sets.get(*at)?.elements,
            Against::Set(_, None) => return self.end(Verdict::Unknown, by, sure, certain),
        };
        // The catch-all counts last.
        let is_any = |element: &&super::Element| element.parts.iter().all(|part| *part == Part::Any);
        let ordered = elements.iter().filter(|one| !is_any(one)).chain(elements.iter().filter(is_any));
        for element in ordered {
            match self.element(keys, &element.parts) {
                Holds::No => {}
                holds => {
                    let surely = holds == Holds::Yes;
                    if let Some(action) = &element.action {
                        let left = self.action(action, by, depth, sure, certain && surely);
                        if left.is_some() {
                            return left;
                        }
                    }
                    if surely {
                        return None;
                    }
                }
            }
        }
        None
    }

    fn holds(&self, one: &Match) -> Holds {
        match one {
            Match::Either(all) => all.iter().map(|one| self.holds(one)).max().unwrap_or(Holds::No),
            Match::May(_) => Holds::May,
            Match::Never => Holds::No,
            Match::Compare { keys, mask, negated, against } => {
                let holds = match against {
                    Against::Elements(elements) => self.any(keys, *mask, elements),
                    Against::Set(_, at) => match at.and_then(|at| self.rules.sets.get(at)) {
                        Some(set) => self.in_set(keys, set),
                        None => Holds::May,
                    },
                };
                if *negated { !holds } else { holds }
            }
        }
    }

    fn in_set(&self, keys: &[Key], set: &Set) -> Holds {
        let holds = match set.has_protocol && !keys.contains(&Key::Protocol) {
            true => {
                let mut with = keys.to_vec();
                with.push(Key::Protocol);
                self.any(&with, None, &set.elements)
            }
            false => self.any(keys, None, &set.elements),
        };
        if holds == Holds::No && set.inexact { Holds::May } else { holds }
    }

    fn any(&self, keys: &[Key], mask: Option<u128>, elements: &[super::Element]) -> Holds {
        let mut all = Holds::No;
        for element in elements {
            let holds = match (mask, keys, element.parts.as_slice()) {
                (Some(mask), [key], [part]) => self.masked(key, mask, part),
                _ => self.element(keys, &element.parts),
            };
            all = all.max(holds);
            if all == Holds::Yes {
                break;
            }
        }
        all
    }

    fn masked(&self, key: &Key, mask: u128, part: &Part) -> Holds {
        match (self.number(key), part) {
            (Some(value), Part::Range(from, to)) => (value & mask >= *from && value & mask <= *to).into(),
            _ => Holds::May,
        }
    }

    fn element(&self, keys: &[Key], parts: &[Part]) -> Holds {
        if let [Part::Any] = parts {
            return Holds::Yes;
        }
        if keys.len() != parts.len() {
            return Holds::May;
        }
        keys.iter().zip(parts).map(|(key, part)| self.part(key, part)).min().unwrap_or(Holds::May)
    }

    fn part(&self, key: &Key, part: &Part) -> Holds {
        match (key, part) {
            (_, Part::Any) => Holds::Yes,
            (_, Part::Unknown) => Holds::May,
            (Key::Iif, Part::Name(name)) => self.card(self.packet.iif.as_deref(), name, self.hook != Hook::Output),
            (Key::Oif, Part::Name(name)) => {
                let leaves = matches!(self.hook, Hook::Forward | Hook::Output | Hook::Postrouting);
                self.card(self.packet.oif.as_deref(), name, leaves)
            }
            (Key::State, Part::Range(from, to)) => {
                let has = |state: u128| (*from..=*to).contains(&state);
                (has(self.packet.state) || self.is_dnat && has(states::DNAT)).into()
            }
            (Key::SaddrType, Part::Name(kind)) => self.address_type(self.packet.source, kind, false),
            (Key::DaddrType, Part::Name(kind)) => self.address_type(self.packet.destination, kind, true),
            (Key::PacketType, Part::Name(kind)) => (matches!(&**kind, "host" | "unicast")).into(),
            (Key::Saddr | Key::Daddr | Key::OriginalDaddr, Part::Range(from, to)) => {
                let address = match key {
                    Key::Saddr => self.packet.source,
                    Key::Daddr => self.packet.destination,
                    _ => self.original.0,
                };
                let most = if self.packet.v6 { u128::MAX } else { u128::from(u32::MAX) };
                match address {
                    Some(address) => (*from..=*to).contains(&bits(address)).into(),
                    None if *from == 0 && *to >= most => Holds::Yes,
                    None => Holds::May,
                }
            }
            (Key::Sport, Part::Range(from, to)) if self.packet.sport.is_none() => {
                // Any high port.
                match (*from <= 1024 && *to >= 65535, *to < 1024) {
                    (true, _) => Holds::Yes,
                    (_, true) => Holds::No,
                    _ => Holds::May,
                }
            }
            (Key::Sport | Key::Dport | Key::OriginalDport, _) if !self.has_ports() => Holds::No,
            (_, Part::Range(from, to)) => match self.number(key) {
                Some(value) => (*from..=*to).contains(&value).into(),
                None => Holds::May,
            },
            _ => Holds::May,
        }
    }

    fn has_ports(&self) -> bool {
        matches!(self.packet.protocol, TCP | 17 | 33 | 132 | 136)
    }

    fn number(&self, key: &Key) -> Option<u128> {
        match key {
            Key::Version => Some(if self.packet.v6 { 6 } else { 4 }),
            Key::Protocol => Some(self.packet.protocol.into()),
            Key::Saddr => self.packet.source.map(bits),
            Key::Daddr => self.packet.destination.map(bits),
            Key::OriginalDaddr => self.original.0.map(bits),
            Key::Sport => self.packet.sport.map(u128::from),
            Key::Dport => self.packet.dport.map(u128::from),
            Key::OriginalDport => self.original.1.map(u128::from),
            Key::Icmp | Key::Icmp6 => Some(self.packet.icmp.into()),
            Key::Mark => self.mark.map(u128::from),
            Key::ConnMark => self.conn_mark.map(u128::from),
            // SYN of the first packet, ACK of later ones.
            Key::Flags => match self.packet.state {
                states::NEW => Some(0x02),
                states::ESTABLISHED => Some(0x10),
                _ => None,
            },
            Key::Direction => (self.packet.state == states::NEW).then_some(0),
            _ => None,
        }
    }

    fn card(&self, card: Option<&str>, name: &str, has_one: bool) -> Holds {
        if !has_one {
            return Holds::No;
        }
        let fits = |card: &str| match name.strip_suffix('*') {
            Some(begin) => card.starts_with(begin),
            None => card == name,
        };
        match card {
            Some(card) => fits(card).into(),
            None if name == "*" => Holds::Yes,
            // A packet of another machine never comes by the loopback.
            None if name == "lo" => Holds::No,
            None => Holds::May,
        }
    }

    fn address_type(&self, address: Option<IpAddr>, kind: &str, is_destination: bool) -> Holds {
        let Some(address) = address else {
            return match (is_destination && self.packet.way == Way::In, kind) {
                (true, "local") => Holds::Yes,
                (true, _) => Holds::No,
                (false, "broadcast" | "multicast" | "blackhole" | "unreachable" | "prohibit") => Holds::No,
                _ => Holds::May,
            };
        };
        let is_broadcast = address == IpAddr::from([255, 255, 255, 255]);
        match kind {
            "local" => self.host.owns(address).map_or(Holds::May, Holds::from),
            "broadcast" => is_broadcast.into(),
            "multicast" => address.is_multicast().into(),
            "unicast" => match self.host.owns(address) {
                Some(owns) => (!owns && !is_broadcast && !address.is_multicast()).into(),
                None => Holds::May,
            },
            "unspec" => address.is_unspecified().into(),
            "anycast" | "blackhole" | "unreachable" | "prohibit" => Holds::No,
            _ => Holds::May,
        }
    }
}
