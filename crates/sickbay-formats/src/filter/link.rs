//! Names of chains and sets become numbers, once all have been read.

use super::{Action, Against, Family, Key, Match, RuleSet};

impl RuleSet {
    /// To be called when all has been read, and before a packet is looked at.
    pub fn link(&mut self) {
        let mut chains = std::mem::take(&mut self.chains);
        for chain in &mut chains {
            let (family, table) = (chain.family, chain.table.clone());
            for rule in &mut chain.rules {
                for one in &mut rule.matches {
                    if let Match::Compare { against, keys, .. } = one {
                        self.against(against, family, &table);
                        if let Against::Set(_, Some(at)) = against
                            && let Some(set) = self.sets.get(*at)
                        {
                            directions(keys, &set.kinds);
                        }
                    }
                }
                for action in &mut rule.actions {
                    self.action(action, family, &table);
                }
            }
        }
        self.chains = chains;
        let mut sets = std::mem::take(&mut self.sets);
        let homes: Vec<_> =
            self.set_names.iter().map(|((family, table, _), at)| (*at, *family, table.clone())).collect();
        for (at, family, table) in homes {
            for element in sets.get_mut(at).into_iter().flat_map(|set| &mut set.elements) {
                if let Some(action) = &mut element.action {
                    self.action(action, family, &table);
                }
            }
        }
        self.sets = sets;
    }

    fn against(&self, against: &mut Against, family: Family, table: &str) {
        match against {
            Against::Set(name, at) => {
                let find =
                    |family: Family, table: &str| self.set_names.get(&(family, table.into(), name.clone())).copied();
                *at = find(family, table).or_else(|| find(Family::Other, super::IPSET));
            }
            Against::Elements(elements) => {
                for action in elements.iter_mut().filter_map(|element| element.action.as_mut()) {
                    self.action(action, family, table);
                }
            }
        }
    }

    fn action(&self, action: &mut Action, family: Family, table: &str) {
        match action {
            Action::Jump(name, at) | Action::Goto(name, at) => {
                *at = self.chain_names.get(&(family, table.into(), name.clone())).copied();
            }
            Action::Map(_, against) => self.against(against, family, table),
            _ => {}
        }
    }
}

/// `src,dst` of iptables, as the set has it.
fn directions(keys: &mut [Key], kinds: &[Box<str>]) {
    for (key, kind) in keys.iter_mut().zip(kinds) {
        let Key::Other(direction) = &*key else { continue };
        *key = match (&**kind, &**direction) {
            ("ip" | "net", "src") => Key::Saddr,
            ("ip" | "net", "dst") => Key::Daddr,
            ("port", "src") => Key::Sport,
            ("port", "dst") => Key::Dport,
            ("iface", "src") => Key::Iif,
            ("iface", "dst") => Key::Oif,
            _ => continue,
        };
    }
}
