//! Which program made a rule, and of which of its objects it is.

use super::evaluate::{Answer, By};
use super::{Chain, RuleSet};

/// A program that makes rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Program {
    /// firewalld
    Firewalld,
    /// ufw
    Ufw,
    /// Docker
    Docker,
    /// Podman and other users of netavark and CNI
    Podman,
    /// fail2ban
    Fail2ban,
    /// Kubernetes, and what makes its network
    Kubernetes,
    /// libvirt
    Libvirt,
    /// CrowdSec
    Crowdsec,
    /// sshguard
    Sshguard,
    /// ConfigServer Firewall
    Csf,
    /// Shorewall
    Shorewall,
}

impl Program {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Program::Firewalld => "firewalld",
            Program::Ufw => "ufw",
            Program::Docker => "Docker",
            Program::Podman => "Podman",
            Program::Fail2ban => "fail2ban",
            Program::Kubernetes => "Kubernetes",
            Program::Libvirt => "libvirt",
            Program::Crowdsec => "CrowdSec",
            Program::Sshguard => "sshguard",
            Program::Csf => "ConfigServer Firewall",
            Program::Shorewall => "Shorewall",
        }
    }
}

/// Whose a rule is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// Of which program.
    pub program: Program,
    /// The zone, jail, policy of it.
    pub object: Option<String>,
}

/// The program that a chain's name tells.
fn of_chain(table: &str, chain: &str) -> Option<Origin> {
    let origin = |program, object: Option<&str>| Some(Origin { program, object: object.map(str::to_owned) });
    if let Some(jail) = chain.strip_prefix("f2b-").or_else(|| chain.strip_prefix("fail2ban-")) {
        return origin(Program::Fail2ban, Some(jail));
    }
    if table == "f2b-table" {
        return origin(Program::Fail2ban, None);
    }
    if chain.starts_with("ufw-") || chain.starts_with("ufw6-") {
        return origin(Program::Ufw, None);
    }
    let zone = |rest: &str| {
        let mut zone = rest;
        for end in ["_pre", "_log", "_deny", "_allow", "_post"] {
            zone = zone.strip_suffix(end).unwrap_or(zone);
        }
        zone.to_owned()
    };
    for begin in ["filter_IN_", "filter_FWD_", "filter_FWDI_", "filter_FWDO_", "IN_", "FWDI_", "FWDO_", "FWD_"] {
        if let Some(rest) = chain.strip_prefix(begin)
            && (table == "firewalld" || !begin.starts_with("filter_"))
        {
            let name = zone(rest).replace("policy_", "");
            return Some(Origin { program: Program::Firewalld, object: Some(name) });
        }
    }
    if table == "firewalld"
        || chain.starts_with("INPUT_ZONES")
        || chain.starts_with("FORWARD_IN_ZONES")
        || chain == "INPUT_direct"
    {
        return origin(Program::Firewalld, None);
    }
    if chain.starts_with("DOCKER") || table.starts_with("docker-") {
        return origin(Program::Docker, None);
    }
    if chain.starts_with("NETAVARK") || table == "netavark" || chain.starts_with("CNI-") {
        return origin(Program::Podman, None);
    }
    if chain.starts_with("KUBE-")
        || chain.starts_with("cali-")
        || chain.starts_with("CILIUM")
        || chain.starts_with("FLANNEL")
    {
        return origin(Program::Kubernetes, None);
    }
    if chain.starts_with("LIBVIRT_") || table == "libvirt_network" {
        return origin(Program::Libvirt, None);
    }
    if table.starts_with("crowdsec") || chain.starts_with("CROWDSEC") {
        return origin(Program::Crowdsec, None);
    }
    if chain == "sshguard" || table == "sshguard" {
        return origin(Program::Sshguard, None);
    }
    if matches!(chain, "LOCALINPUT" | "DENYIN" | "INVALID" | "INVDROP" | "LOGDROPIN" | "PORTFLOOD") {
        return origin(Program::Csf, None);
    }
    if chain == "shorewall" || chain.starts_with("net-fw") || chain.starts_with("net2fw") {
        return origin(Program::Shorewall, None);
    }
    None
}

impl RuleSet {
    /// Whose the rule is that decides. A rule that stands in a chain of nobody (`INPUT`) is told by the chains that the packet had been through.
    pub fn origin(&self, answer: &Answer, by: By) -> Option<Origin> {
        let (chain, rule) = self.rule(by)?;
        let own = of_chain(&chain.table, &chain.name);
        let zone = || {
            let seen = answer.path.iter().rev().filter_map(|step| self.rule(step.by));
            let mut origins = seen.filter_map(|(chain, _)| of_chain(&chain.table, &chain.name));
            origins.find(|origin| origin.program == Program::Firewalld && origin.object.is_some())
        };
        match own {
            Some(Origin { program: Program::Firewalld, object: None }) => zone().or(own),
            Some(own) => Some(own),
            // A rule that names a set of a program, or a policy of a chain that a program fills.
            None => {
                if let Some(rule) = rule {
                    return named(&rule.text, rule.comment.as_deref());
                }
                // The policy of a table that a program fills.
                let fills =
                    self.chains.iter().filter(|other| other.table == chain.table && other.family == chain.family);
                let mut origins = fills.filter_map(|other| of_chain(&other.table, &other.name));
                let ufw = origins.find(|origin| origin.program == Program::Ufw);
                ufw.filter(|_| self.calls(chain, "ufw"))
            }
        }
    }

    /// Whether a chain calls one whose name begins so.
    fn calls(&self, chain: &Chain, begin: &str) -> bool {
        chain.rules.iter().flat_map(|rule| &rule.actions).any(|action| match action {
            super::Action::Jump(name, _) | super::Action::Goto(name, _) => name.starts_with(begin),
            _ => false,
        })
    }
}

fn named(text: &str, comment: Option<&str>) -> Option<Origin> {
    let origin = |program, object: &str| {
        Some(Origin { program, object: Some(object.to_owned()).filter(|name| !name.is_empty()) })
    };
    for word in text.split([' ', '@']) {
        if let Some(jail) = word.strip_prefix("addr-set-").or_else(|| word.strip_prefix("f2b-")) {
            return origin(Program::Fail2ban, jail);
        }
        if word.starts_with("crowdsec") {
            return origin(Program::Crowdsec, "");
        }
    }
    comment.filter(|comment| comment.contains("kubernetes")).and_then(|_| origin(Program::Kubernetes, ""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_chains() {
        let of =
            |table, chain| of_chain(table, chain).map(|origin| (origin.program, origin.object.unwrap_or_default()));
        assert_eq!(of("filter", "f2b-sshd"), Some((Program::Fail2ban, "sshd".into())));
        assert_eq!(of("firewalld", "filter_IN_public_allow"), Some((Program::Firewalld, "public".into())));
        assert_eq!(of("filter", "IN_dmz_deny"), Some((Program::Firewalld, "dmz".into())));
        assert_eq!(of("filter", "ufw-user-input"), Some((Program::Ufw, String::new())));
        assert_eq!(of("filter", "DOCKER-USER"), Some((Program::Docker, String::new())));
        assert_eq!(of("filter", "INPUT"), None);
    }
}
