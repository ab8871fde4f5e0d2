//! The network as five kinds of files declare it, and what holds of it after a restart.
//!
//! Each dialect is read into one model ([`Network`]): what the files mean, whoever wrote them. [`after_restart`] then does what the dialect's
//! own programs do with the files, with all that they drop silently, to a [`Kernel`](kernel::Kernel) that takes and refuses what Linux does.

pub mod address;
pub mod ifcfg;
pub mod interfaces;
pub mod ip_command;
pub mod kernel;
pub mod keyfile;
pub mod netplan;
pub mod networkd;
pub mod piece;
pub mod rtnetlink;
mod sourced;

use std::collections::BTreeMap;
use std::net::IpAddr;

use address::Cidr;
use kernel::{Kernel, Rule};

/// A file of the network's configuration.
#[derive(Clone, Debug, Default)]
pub struct File {
    /// On the target.
    pub path: String,
    /// Its content.
    pub bytes: Vec<u8>,
    /// Its permission bits.
    pub mode: u32,
    /// The user and the group that it belongs to.
    pub owner: (u32, u32),
}

impl File {
    /// The last part of the path.
    pub fn name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or_default()
    }

    /// The directory that it is in.
    pub fn dir(&self) -> &str {
        self.path.rsplit_once('/').map_or("", |(dir, _)| dir)
    }
}

/// A network card that the machine has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Card {
    /// `eth0`
    pub name: String,
    /// Its address, where it is known.
    pub mac: Option<String>,
}

/// A line of a file.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// On the target.
    pub path: String,
    /// From 1 on.
    pub line: usize,
}

impl Place {
    /// Line `line` of `file`.
    pub fn of(file: &File, line: usize) -> Place {
        Place { path: file.path.clone(), line }
    }
}

/// Who reads the files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Dialect {
    /// `ifcfg-*` of RHEL, read by network-scripts.
    Ifcfg,
    /// `/etc/network/interfaces` of Debian.
    Ifupdown,
    /// YAML of Ubuntu, handed on to systemd-networkd or NetworkManager.
    Netplan,
    /// `.network` files of systemd.
    Networkd,
    /// Keyfiles of NetworkManager, and `ifcfg-*` where it reads those.
    NetworkManager,
}

/// What the files declare.
#[derive(Clone, Debug, Default)]
pub struct Network {
    /// In the order in which they are declared.
    pub interfaces: Vec<Interface>,
    /// Rules by which tables are chosen.
    pub rules: Vec<Rule>,
}

/// What an interface is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Kind {
    /// A card, or what is not known to be anything else.
    #[default]
    Card,
    /// `lo`
    Loopback,
    /// A bridge with these ports.
    Bridge(Vec<String>),
    /// A bond of these.
    Bond(Vec<String>),
    /// A VLAN on a link.
    Vlan(String),
    /// A device of another kind, which something else makes.
    Made,
}

/// An address with where it is declared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeclaredAddress {
    /// With its prefix.
    pub cidr: Cidr,
    /// The other end of a link between two points.
    pub peer: Option<Cidr>,
    /// The metric of the route to its network, where one is given.
    pub metric: Option<u32>,
    /// It is to bring no route.
    pub no_route: bool,
    /// The lines.
    pub from: Vec<Place>,
}

impl DeclaredAddress {
    /// An address of which nothing else is said.
    pub fn new(cidr: Cidr, from: Vec<Place>) -> DeclaredAddress {
        DeclaredAddress { cidr, peer: None, metric: None, no_route: false, from }
    }

    /// As the kernel is given it, with the metric that its program takes where none is said.
    pub(crate) fn asked(&self, metric: Option<u32>) -> kernel::Address {
        kernel::Address {
            metric: self.metric.or(metric),
            peer: self.peer,
            no_route: self.no_route,
            ..kernel::Address::new(self.cidr, self.from.clone())
        }
    }
}

/// A route with where it is declared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeclaredRoute {
    /// `unicast`, `blackhole`, ...
    pub kind: &'static str,
    /// Where it leads.
    pub dst: Cidr,
    /// The router.
    pub via: Option<IpAddr>,
    /// Its metric, where one is given.
    pub metric: Option<u32>,
    /// Its table, where it is not the main one.
    pub table: Option<u32>,
    /// Whether the router is taken to be on the link.
    pub onlink: bool,
    /// Its scope, where one is given.
    pub scope: Option<kernel::Scope>,
    /// Its source address, where one is given.
    pub src: Option<IpAddr>,
    /// Its routers, where it has several.
    pub hops: Vec<kernel::Hop>,
    /// What else it asks for, as ip(8) writes it.
    pub more: String,
    /// The lines.
    pub from: Vec<Place>,
}

impl DeclaredRoute {
    /// A route to `dst` of which nothing else is said.
    pub fn to(dst: Cidr) -> DeclaredRoute {
        DeclaredRoute {
            kind: "unicast",
            dst,
            via: None,
            metric: None,
            table: None,
            onlink: false,
            scope: None,
            src: None,
            hops: Vec::new(),
            more: String::new(),
            from: Vec::new(),
        }
    }

    /// What a kernel has been told, as a declaration.
    pub(crate) fn of(route: kernel::Route) -> DeclaredRoute {
        let v6_default = route.dst.is_v6() && route.metric == 1024;
        DeclaredRoute {
            kind: route.kind,
            dst: route.dst,
            via: route.via,
            metric: (route.metric != 0 && !v6_default).then_some(route.metric),
            table: (route.table != kernel::MAIN).then_some(route.table),
            onlink: route.onlink,
            scope: None,
            src: route.src,
            hops: route.hops,
            more: route.more,
            from: route.from,
        }
    }

    /// The default route of a router.
    pub fn default(via: IpAddr, from: Vec<Place>) -> DeclaredRoute {
        DeclaredRoute { via: Some(via), from, ..DeclaredRoute::to(Cidr::everything(via.is_ipv6())) }
    }

    /// As it is asked of the kernel.
    pub fn wanted(&self, dev: &str, proto: &'static str) -> kernel::Wanted {
        kernel::Wanted {
            kind: self.kind,
            via: self.via,
            dev: Some(dev.to_owned()),
            table: self.table.unwrap_or(kernel::MAIN),
            proto,
            scope: self.scope,
            src: self.src,
            metric: self.metric,
            onlink: self.onlink,
            hops: self.hops.clone(),
            more: self.more.clone(),
            from: self.from.clone(),
            ..kernel::Wanted::to(self.dst)
        }
    }
}

/// An interface as it is declared.
#[derive(Clone, Debug, Default)]
pub struct Interface {
    /// What the files call it: the name of the link, unless another one is matched.
    pub name: String,
    /// The names that it takes, with `*` and `?`; its own where this is empty and no MAC is asked for.
    pub names: Vec<String>,
    /// The MACs that it takes, in lower case.
    pub macs: Vec<String>,
    /// What it is.
    pub kind: Kind,
    /// Whether it is brought up at boot.
    pub auto: bool,
    /// In order.
    pub addresses: Vec<DeclaredAddress>,
    /// In order; a gateway is a default route.
    pub routes: Vec<DeclaredRoute>,
    /// Whether IPv4 comes from a lease.
    pub dhcp4: bool,
    /// Whether IPv6 comes from a lease.
    pub dhcp6: bool,
    /// In bytes.
    pub mtu: Option<u32>,
    /// Name servers.
    pub dns: Vec<IpAddr>,
    /// The bridge or bond that it is a port of.
    pub master: Option<String>,
    /// Where it is declared.
    pub place: Option<Place>,
    /// Where the name or MAC by which it is matched is declared.
    pub matched: Option<Place>,
}

impl Interface {
    /// Whether it is for this card.
    pub fn takes(&self, card: &kernel::Link) -> bool {
        let by_mac = || card.mac.as_ref().is_some_and(|mac| self.macs.contains(mac));
        match (self.names.is_empty(), self.macs.is_empty()) {
            (true, true) => self.name == card.name,
            (true, false) => by_mac(),
            (false, true) => self.named(&card.name),
            (false, false) => by_mac() && self.named(&card.name),
        }
    }

    /// Whether it is for a card of that name, or gives its card that name.
    pub fn may_be_called(&self, card: &str) -> bool {
        self.name == card || (!self.names.is_empty() && self.named(card))
    }

    /// Whether the patterns take a name: none that begins with `!`, and one of the others where there are any.
    fn named(&self, card: &str) -> bool {
        let (not, yes): (Vec<&String>, Vec<&String>) = self.names.iter().partition(|name| name.starts_with('!'));
        let barred = not.iter().any(|name| name.strip_prefix('!').is_some_and(|name| glob(name, card)));
        !barred && (yes.is_empty() || yes.iter().any(|name| glob(name, card)))
    }
}

impl Network {
    /// What is declared, line by line, in an order of its own: files of two dialects that mean the same give the same.
    pub fn describe(&self) -> Vec<String> {
        let mut all = Vec::new();
        for one in self.interfaces.iter().filter(|one| one.kind != Kind::Loopback) {
            let name = &one.name;
            match &one.kind {
                Kind::Bridge(ports) => all.push(format!("{name} bridge of {}", sorted(ports).join(" "))),
                Kind::Bond(ports) => all.push(format!("{name} bond of {}", sorted(ports).join(" "))),
                Kind::Vlan(link) => all.push(format!("{name} vlan on {link}")),
                Kind::Card | Kind::Loopback | Kind::Made => {}
            }
            all.extend(one.macs.iter().map(|mac| format!("{name} is {mac}")));
            all.extend(one.addresses.iter().map(|address| format!("{name} address {}", address.cidr)));
            for route in &one.routes {
                let via = route.via.map_or(String::new(), |via| format!(" via {via}"));
                let metric = route.metric.map_or(String::new(), |metric| format!(" metric {metric}"));
                let table = route.table.map_or(String::new(), |table| format!(" table {table}"));
                let onlink = if route.onlink { " onlink" } else { "" };
                all.push(format!("{name} route {}{via}{metric}{table}{onlink}", route.dst.network()));
            }
            all.extend(one.dhcp4.then(|| format!("{name} dhcp4")));
            all.extend(one.dhcp6.then(|| format!("{name} dhcp6")));
            all.extend(one.mtu.map(|mtu| format!("{name} mtu {mtu}")));
            all.extend(one.dns.iter().map(|server| format!("{name} dns {server}")));
            all.extend(one.auto.then(|| format!("{name} starts")));
        }
        for rule in &self.rules {
            let from = rule.from.map_or(String::new(), |from| format!(" from {from}"));
            let to = rule.to.map_or(String::new(), |to| format!(" to {to}"));
            let priority = rule.priority.map_or(String::new(), |priority| format!(" priority {priority}"));
            all.push(format!("rule{from}{to} table {}{priority}", rule.table));
        }
        all.sort();
        all.dedup();
        all
    }

    /// The interface of that name, made if there is none.
    fn interface(&mut self, name: &str) -> &mut Interface {
        let at = self.interfaces.iter().position(|one| one.name == name).unwrap_or_else(|| {
            self.interfaces.push(Interface { name: name.to_owned(), ..Interface::default() });
            self.interfaces.len() - 1
        });
        &mut self.interfaces[at]
    }
}

fn sorted(names: &[String]) -> Vec<String> {
    let mut names = names.to_vec();
    names.sort();
    names
}

/// What is wrong with a line, or what is done with it that its author may not expect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// Blanks around the `=`: the shell looks for a program of that name.
    BlankBeforeEquals(String),
    /// The shell runs that word as a command, and assigns nothing.
    RunAsCommand(String),
    /// The quote is not closed: nothing from here on is read.
    UnclosedQuote,
    /// The value of that variable ends in a carriage return.
    CarriageReturn(String),
    /// The value of that variable is computed by a program.
    Computed(String),
    /// No address, or none with a prefix that fits.
    BadAddress(String),
    /// No netmask: the address is not set.
    BadMask(String),
    /// Neither mask nor prefix: that of the address's class is taken.
    NoMask(Cidr),
    /// The prefix beats the netmask, which says something else.
    PrefixBeatsMask(String, String),
    /// The gateway is in no network of the card, and is dropped without a word.
    GatewayOutside(String, String),
    /// The gateway is added though it is in no network of the card.
    GatewayOnlink(String, String),
    /// NETWORK= is not the card's network, which drops the gateway.
    StaleNetwork(String, String),
    /// The default route is set on this card without a router: GATEWAYDEV names it, and the gateway is in none of its networks.
    DefaultWithoutRouter(String, String),
    /// GATEWAYDEV is another card: the gateway of this one is not set.
    GatewayDevBars(String, String),
    /// DEFROUTE=no keeps this card's gateway from being set.
    DefrouteBars(String),
    /// The default route of another card is replaced: the first name is of the new one.
    DefaultReplaced(String, String),
    /// There is a second default route: the one on the first card counts.
    TwoDefaults(String, String),
    /// That variable is not read.
    NotRead(String),
    /// The kernel refuses the route, with these words.
    RouteRefused(String, &'static str),
    /// ip(8) does not know that word, and adds nothing.
    Garbage(String),
    /// The line is lost: the file has a line of the other syntax.
    OtherSyntax,
    /// There is no number before this one: nothing from here on is read.
    Gap(String),
    /// What this command does to the network is not known.
    UnknownCommand(String),
    /// A copy of another file, which is started as a second configuration of that card.
    CopyStarted(String),
    /// There is no such card.
    NoCard(String),
    /// The card of that name has another MAC than the file asks for.
    OtherCard(String, String),
    /// There is no card with this MAC.
    NoMac(String),
    /// TYPE is compared as it is written: this is not the second.
    TypeCase(String, String),
    /// The service starts nothing without this file.
    MissingFile(String),
    /// NETWORKING is not yes.
    NetworkingOff,
    /// The file or stanza is refused, in the program's terms; nothing of any file is done.
    BlocksAll(Syntax),
    /// The file is refused and passed over.
    FileRefused(Syntax),
    /// That option is passed over: nothing knows it.
    UnknownOption(String),
    /// The option is given twice.
    GivenTwice(String),
    /// Nothing starts this interface.
    NotStarted(String),
    /// A command before it failed: this one is not run.
    NotRun(String),
    /// The command fails: the interface is left half configured.
    Fails(String),
    /// Another file already has this card: this one is not used for it.
    CardTaken(String, String),
    /// The file's mode or owner lets others read it: it is ignored.
    TooOpen(u32),
    /// The file belongs to this user and not to root: it is ignored.
    NotRoots(u32),
    /// The file's mode keeps the user as whom its program runs from reading it.
    Unreadable(u32),
    /// NetworkManager leaves this interface to ifupdown.
    LeftToIfupdown(String),
    /// The file's name does not end as it must.
    WrongEnding(&'static str),
}

/// Why a file is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Syntax {
    /// The YAML cannot be read, with the parser's words.
    Yaml(String),
    /// A tab indents a line.
    Tab,
    /// No such key.
    Key(String),
    /// A value of the wrong kind, or none that such a key can have.
    Value(String, String),
    /// An address must have a prefix.
    NoPrefix(String),
    /// No such method.
    Method(String),
    /// Not understood at all.
    Line(String),
    /// No valid settings in `[Match]`.
    NoMatch,
    /// No `[connection]`, or what it must have is missing.
    Missing(&'static str),
}

/// A complaint about a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Complaint {
    /// The line; 0 is the whole file.
    pub place: Place,
    /// What is to be said of it.
    pub what: What,
}

/// What holds after a restart.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// What the kernel then has.
    pub kernel: Kernel,
    /// What the files declare.
    pub network: Network,
    /// What is wrong with them, in the order in which it is met.
    pub complaints: Vec<Complaint>,
}

impl Outcome {
    fn complain(&mut self, place: &Place, what: What) {
        let complaint = Complaint { place: place.clone(), what };
        if self.complaints.len() < 2000 && !self.complaints.contains(&complaint) {
            self.complaints.push(complaint);
        }
    }
}

/// What there is to start from.
#[derive(Clone, Debug, Default)]
pub struct Machine {
    /// Its cards, in the order of their indices.
    pub cards: Vec<Card>,
    /// Names of routing tables (/etc/iproute2/rt_tables).
    pub tables: BTreeMap<u32, String>,
    /// Something else than the dialect's programs sets up lo, as systemd does.
    pub lo_is_up: bool,
    /// The user and group that systemd-networkd runs as; `None` where they are not known, or it runs as root.
    pub networkd: Option<(u32, u32)>,
    /// Whether NetworkManager leaves to ifupdown what /etc/network/interfaces names.
    pub ifupdown_first: bool,
}

/// What the dialect's programs make of the files on that machine.
pub fn after_restart(dialect: Dialect, files: &[File], machine: &Machine) -> Outcome {
    let mut outcome = Outcome { kernel: Kernel::new(&machine.cards), ..Outcome::default() };
    outcome.kernel.tables = machine.tables.clone();
    if machine.lo_is_up {
        let _ = outcome.kernel.up("lo");
    }
    match dialect {
        Dialect::Ifcfg => ifcfg::start(files, &mut outcome),
        Dialect::Ifupdown => interfaces::start(files, &mut outcome),
        Dialect::Netplan => netplan::start(files, &mut outcome),
        Dialect::Networkd => networkd::start(files, machine.networkd, &mut outcome),
        Dialect::NetworkManager => keyfile::start(files, machine.ifupdown_first, &mut outcome),
    }
    outcome
}

/// Which dialect a file belongs to, by its path.
pub fn dialect_of(path: &str) -> Option<Dialect> {
    let (dir, name) = path.rsplit_once('/')?;
    let is_scripts = dir == ifcfg::DIR;
    let of_scripts = ["ifcfg-", "route-", "route6-", "rule-", "rule6-"].iter().any(|head| name.starts_with(head));
    if path == ifcfg::NETWORK || path == ifcfg::STATIC_ROUTES || (is_scripts && of_scripts) {
        return Some(Dialect::Ifcfg);
    }
    if dir.starts_with("/etc/network") && (name == "interfaces" || dir != "/etc/network") {
        return Some(Dialect::Ifupdown);
    }
    if netplan::DIRS.contains(&dir) {
        return Some(Dialect::Netplan);
    }
    if networkd::DIRS.iter().any(|one| dir == *one || dir.rsplit_once('/').is_some_and(|(above, _)| above == *one)) {
        return Some(Dialect::Networkd);
    }
    keyfile::DIRS.contains(&dir).then_some(Dialect::NetworkManager)
}

/// `eth*` and `en?1`, as the shell and fnmatch(3) take names.
pub fn glob(pattern: &str, name: &str) -> bool {
    let (pattern, name): (Vec<char>, Vec<char>) = (pattern.chars().collect(), name.chars().collect());
    // Whether the pattern up to there takes the name up to there, one row of the table at a time.
    let mut row = vec![false; name.len() + 1];
    if let Some(first) = row.first_mut() {
        *first = true;
    }
    let mut at = 0;
    while let Some(one) = pattern.get(at) {
        let mut next = vec![false; name.len() + 1];
        let (class, length) = if *one == '[' { class(pattern.get(at..).unwrap_or_default()) } else { (None, 1) };
        for index in 0..=name.len() {
            let before = index.checked_sub(1).and_then(|index| Some((*row.get(index)?, *name.get(index)?)));
            let takes = |c: char| match (&class, one) {
                (Some((set, not)), _) => set.contains(&c) != *not,
                (None, '?') => true,
                (None, one) => *one == c,
            };
            let yes = match one {
                '*' => {
                    row.get(index).copied().unwrap_or_default()
                        || index.checked_sub(1).and_then(|index| next.get(index)).copied().unwrap_or_default()
                }
                _ => before.is_some_and(|(yes, c)| yes && takes(c)),
            };
            if let Some(cell) = next.get_mut(index) {
                *cell = yes;
            }
        }
        row = next;
        at += length;
    }
    row.last().copied().unwrap_or_default()
}

/// `[0-9]`, `[!a]`: what it takes, and how long it is. One that is not closed is a bracket.
fn class(pattern: &[char]) -> (Option<(Vec<char>, bool)>, usize) {
    let Some(end) = pattern.iter().skip(2).position(|c| *c == ']').map(|at| at + 2) else { return (None, 1) };
    let mut inner = pattern.get(1..end).unwrap_or_default();
    let not = matches!(inner.first(), Some('!' | '^'));
    if not {
        inner = inner.get(1..).unwrap_or_default();
    }
    let mut set = Vec::new();
    let mut at = 0;
    while let Some(one) = inner.get(at) {
        match (inner.get(at + 1), inner.get(at + 2)) {
            (Some('-'), Some(last)) => {
                set.extend((*one..=*last).take(256));
                at += 3;
            }
            _ => {
                set.push(*one);
                at += 1;
            }
        }
    }
    (Some((set, not)), end + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_taken_as_the_shell_takes_them() {
        for (pattern, name, yes) in [
            ("eth*", "eth0", true),
            ("eth*", "en0", false),
            ("e?h[0-3]", "eth2", true),
            ("e?h[!0-3]", "eth2", false),
            ("*", "", true),
            ("en*s0", "enp1s0", true),
            ("eth0", "eth00", false),
            ("[", "[", true),
        ] {
            assert_eq!(glob(pattern, name), yes, "{pattern} {name}");
        }
    }

    #[test]
    fn files_belong_to_dialects() {
        assert_eq!(dialect_of("/etc/sysconfig/network-scripts/ifcfg-eth0"), Some(Dialect::Ifcfg));
        assert_eq!(dialect_of("/etc/sysconfig/network-scripts/ifup-eth"), None);
        assert_eq!(dialect_of("/etc/network/interfaces.d/a"), Some(Dialect::Ifupdown));
        assert_eq!(dialect_of("/etc/netplan/a.yaml"), Some(Dialect::Netplan));
        assert_eq!(dialect_of("/etc/systemd/network/a.network.d/b.conf"), Some(Dialect::Networkd));
        assert_eq!(dialect_of("/etc/fstab"), None);
    }
}
