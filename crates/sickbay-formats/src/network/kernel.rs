//! What the kernel keeps of a network: links, addresses, routes, rules. It takes and refuses what the kernel does, and lists as ip(8).
//!
//! The rules are those of net/ipv4/{devinet,fib_frontend,fib_semantics,fib_trie}.c and net/ipv6/{addrconf,route,ip6_fib}.c, as far
//! as static configuration meets them.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::address::Cidr;
use super::{Card, Place};

/// The table that `ip route` shows.
pub const MAIN: u32 = 254;

/// A network device.
#[derive(Clone, Debug, Default)]
pub struct Link {
    /// `eth0`
    pub name: String,
    /// In lower case; `None` where it is not known.
    pub mac: Option<String>,
    /// Whether it was set up.
    pub up: bool,
    /// A lease brings addresses and routes that no file tells of.
    pub dynamic: bool,
    /// The bridge or bond that it is a port of.
    pub master: Option<String>,
    /// In bytes, where it was set.
    pub mtu: Option<u32>,
    /// In the order in which `ip addr` shows them.
    pub addresses: Vec<Address>,
}

/// An address of a link.
#[derive(Clone, Debug)]
pub struct Address {
    /// With its prefix.
    pub cidr: Cidr,
    /// Whether another address of the link had the same network before: it has no route of its own.
    pub secondary: bool,
    /// The metric of the route to its network; `None` for the kernel's own.
    pub metric: Option<u32>,
    /// The other end, of a link between two points: the route leads there.
    pub peer: Option<Cidr>,
    /// It brings no route (IFA_F_NOPREFIXROUTE).
    pub no_route: bool,
    /// Another host has it, and the kernel does not use it (IFA_F_DADFAILED).
    pub refused: bool,
    /// The lines that put it there.
    pub from: Vec<Place>,
}

impl Address {
    /// An address of which nothing else is said.
    pub fn new(cidr: Cidr, from: Vec<Place>) -> Address {
        Address { cidr, secondary: false, metric: None, peer: None, no_route: false, refused: false, from }
    }
}

/// One of the routers of a route that has several.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hop {
    /// The router, if there is one.
    pub via: Option<IpAddr>,
    /// The link.
    pub dev: String,
    /// Its share; 0 where none is said, which is 1.
    pub weight: u32,
    /// As in [`Route`].
    pub onlink: bool,
}

/// Where what a route leads to is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// Anywhere.
    Global,
    /// `site`
    Site,
    /// On the link itself.
    Link,
    /// On this machine.
    Host,
}

/// A route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// `unicast`, `blackhole`, `unreachable`, `prohibit`.
    pub kind: &'static str,
    /// The network that it leads to.
    pub dst: Cidr,
    /// The router, if there is one.
    pub via: Option<IpAddr>,
    /// The link; empty for a route that leads nowhere.
    pub dev: String,
    /// The number of its table.
    pub table: u32,
    /// `boot`, `static`, `kernel`, ...
    pub proto: &'static str,
    /// Only of IPv4.
    pub scope: Scope,
    /// The preferred source address.
    pub src: Option<IpAddr>,
    /// Of two routes to one network the lower one counts. IPv6 has 1024 where none is given.
    pub metric: u32,
    /// The router is taken to be on the link whatever the addresses say.
    pub onlink: bool,
    /// The link has no carrier: only of a kernel that runs.
    pub linkdown: bool,
    /// The routers among which packets are shared, where there are several; `via` and `dev` then are the first one's.
    pub hops: Vec<Hop>,
    /// `mtu 1400 advmss 1360`: what else it asks for, as ip(8) writes it.
    pub more: String,
    /// The lines that put it there.
    pub from: Vec<Place>,
}

/// A route that is asked for: what is left out the kernel chooses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// As in [`Route`].
    pub kind: &'static str,
    /// As in [`Route`].
    pub dst: Cidr,
    /// As in [`Route`].
    pub via: Option<IpAddr>,
    /// The link, where it is said.
    pub dev: Option<String>,
    /// As in [`Route`].
    pub table: u32,
    /// As in [`Route`].
    pub proto: &'static str,
    /// The scope, where it is said.
    pub scope: Option<Scope>,
    /// As in [`Route`].
    pub src: Option<IpAddr>,
    /// As in [`Route`].
    pub metric: Option<u32>,
    /// As in [`Route`].
    pub onlink: bool,
    /// As in [`Route`]; an empty name of a link is one that is not said.
    pub hops: Vec<Hop>,
    /// As in [`Route`].
    pub more: String,
    /// As in [`Route`].
    pub from: Vec<Place>,
}

impl Wanted {
    /// A route to `dst` in the main table, of which nothing else is said.
    pub fn to(dst: Cidr) -> Wanted {
        Wanted {
            kind: "unicast",
            dst,
            via: None,
            dev: None,
            table: MAIN,
            proto: "boot",
            scope: None,
            src: None,
            metric: None,
            onlink: false,
            hops: Vec::new(),
            more: String::new(),
            from: Vec::new(),
        }
    }
}

/// What happens to a route that is there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// `ip route add`: it stays, and the new one is refused.
    Add,
    /// `ip route replace` and `change`: it goes.
    Replace,
    /// `ip route append`: both are there, the new one behind it.
    Append,
    /// `ip route prepend`: both are there, the new one before it.
    Prepend,
}

/// Why the kernel refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// There is such a route, or address.
    Exists,
    /// No link leads to the router.
    Unreachable,
    /// The same of IPv6.
    NoRoute,
    /// There is no such link.
    NoDevice,
    /// The link is down.
    Down,
    /// Host bits in the destination, a source that is no address of this machine, ...
    Invalid,
}

impl Refused {
    /// As the kernel and ip(8) say it.
    pub fn words(self) -> &'static str {
        match self {
            Refused::Exists => "File exists",
            Refused::Unreachable => "Network is unreachable",
            Refused::NoRoute => "No route to host",
            Refused::NoDevice => "Cannot find device",
            Refused::Down => "Network is down",
            Refused::Invalid => "Invalid argument",
        }
    }
}

/// A rule by which a table is chosen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// The lower one is asked first; where none is given the kernel takes the one above the first rule of a user.
    pub priority: Option<u32>,
    /// Whether it is of IPv6.
    pub v6: bool,
    /// Whether it takes what the rest does not fit.
    pub not: bool,
    /// The source, if it asks for one.
    pub from: Option<Cidr>,
    /// The destination, if it asks for one.
    pub to: Option<Cidr>,
    /// `fwmark 0x1`, `iif eth0`, ...: what else it asks for, as ip(8) writes it.
    pub more: String,
    /// The table.
    pub table: u32,
    /// `boot`, `static`, ...
    pub proto: &'static str,
    /// The line that put it there.
    pub place: Option<Place>,
}

impl Rule {
    /// A rule that asks for nothing yet and leads to the main table, as `proto` adds it.
    pub(crate) fn new(v6: bool, proto: &'static str, place: Option<Place>) -> Rule {
        Rule { priority: None, v6, not: false, from: None, to: None, more: String::new(), table: MAIN, proto, place }
    }
}

/// The table in which a route with several routers is tried.
const SCRATCH: u32 = u32::MAX;

/// So many routes and addresses are kept; what asks for more is built to.
const MOST: usize = 4000;

/// The state of one network namespace.
#[derive(Clone, Debug, Default)]
pub struct Kernel {
    /// The first is lo; their order is that of their indices.
    pub links: Vec<Link>,
    /// Of two with one destination and metric the first one counts.
    pub routes: Vec<Route>,
    /// Without those that are always there.
    pub rules: Vec<Rule>,
    /// Names of tables that ip(8) was told of.
    pub tables: BTreeMap<u32, String>,
}

impl Kernel {
    /// A machine with these cards, none of them up.
    pub fn new(cards: &[Card]) -> Kernel {
        let mut kernel = Kernel::default();
        kernel.add_link("lo", None);
        for card in cards.iter().filter(|card| card.name != "lo") {
            kernel.add_link(&card.name, card.mac.as_deref());
        }
        kernel
    }

    /// A new link that is down.
    pub fn add_link(&mut self, name: &str, mac: Option<&str>) {
        if self.link(name).is_none() && self.links.len() < MOST {
            let mac = mac.map(str::to_lowercase);
            self.links.push(Link { name: name.to_owned(), mac, ..Link::default() });
        }
    }

    /// A link by its name; that of an alias is its link's.
    pub fn link(&self, name: &str) -> Option<&Link> {
        let name = base(name);
        self.links.iter().find(|link| link.name == name)
    }

    /// The same to be changed.
    pub fn link_mut(&mut self, name: &str) -> Option<&mut Link> {
        let name = base(name);
        self.links.iter_mut().find(|link| link.name == name)
    }

    /// The number of a link, from 1 on.
    pub fn index(&self, name: &str) -> Option<usize> {
        self.links.iter().position(|link| link.name == base(name)).map(|at| at + 1)
    }

    /// Sets a link up, which brings the routes of its addresses.
    pub fn up(&mut self, name: &str) -> Result<(), Refused> {
        let link = self.link_mut(name).ok_or(Refused::NoDevice)?;
        if link.up {
            return Ok(());
        }
        link.up = true;
        let (name, addresses) = (link.name.clone(), link.addresses.clone());
        if name == "lo" {
            let address = Cidr::parse("127.0.0.1/8").filter(|one| !addresses.iter().any(|other| other.cidr == *one));
            if let Some(cidr) = address {
                self.add_address("lo", cidr, None, Vec::new())?;
            }
        }
        for address in addresses {
            self.connect(&name, &address);
        }
        Ok(())
    }

    /// Gives a link an address.
    pub fn add_address(&mut self, dev: &str, cidr: Cidr, metric: Option<u32>, from: Vec<Place>) -> Result<(), Refused> {
        self.add(dev, Address { metric, ..Address::new(cidr, from) })
    }

    /// Gives a link an address with all that is said of it.
    pub fn add(&mut self, dev: &str, mut address: Address) -> Result<(), Refused> {
        let cidr = address.cidr;
        // Two addresses are of one network if they are so at the other end.
        let far = |one: &Address| one.peer.unwrap_or(one.cidr);
        let own = far(&address);
        let link = self.link_mut(dev).ok_or(Refused::NoDevice)?;
        let same = |one: &&Address| match cidr.is_v6() {
            true => one.cidr.address == cidr.address,
            false => one.cidr == cidr,
        };
        if link.addresses.iter().any(|one| same(&one)) {
            return Err(Refused::Exists);
        }
        if link.addresses.len() >= MOST {
            return Err(Refused::Invalid);
        }
        let secondary = !cidr.is_v6()
            && link.addresses.iter().any(|one| {
                let one = far(one);
                one.prefix == own.prefix && one.is_v6() == own.is_v6() && one.contains(own.address)
            });
        address.secondary = secondary;
        // `ip addr` shows IPv4 before IPv6; primary addresses before secondary ones.
        let last = link
            .addresses
            .iter()
            .rposition(|one| one.cidr.is_ipv4_like(cidr) && (secondary || !one.secondary || cidr.is_v6()));
        let at = match (last, cidr.is_v6()) {
            (Some(last), false) => last + 1,
            (None, false) => 0,
            // The kernel shows the newest address of IPv6 first.
            (_, true) => link.addresses.iter().position(|one| one.cidr.is_v6()).unwrap_or(link.addresses.len()),
        };
        let (name, up) = (link.name.clone(), link.up);
        link.addresses.insert(at.min(link.addresses.len()), address.clone());
        if up {
            self.connect(&name, &address);
        }
        Ok(())
    }

    /// The route to the network of an address.
    fn connect(&mut self, dev: &str, address: &Address) {
        let cidr = address.cidr;
        let dst = address.peer.unwrap_or(cidr).network();
        let alone = cidr.prefix == if cidr.is_v6() { 128 } else { 32 } && address.peer.is_none();
        // fib_add_ifaddr(): nothing leads to all of 0.0.0.0/0.
        let everything = dst.address.is_unspecified() && !cidr.is_v6();
        if dev == "lo"
            || address.secondary
            || address.no_route
            || everything
            || (alone && !cidr.is_v6())
            || self.routes.len() >= MOST
        {
            return;
        }
        let known = self.routes.iter().any(|one| one.proto == "kernel" && one.dev == dev && one.dst == dst);
        if cidr.is_v6() && known {
            return;
        }
        let metric = address.metric.unwrap_or(if cidr.is_v6() { 256 } else { 0 });
        self.routes.push(Route {
            kind: "unicast",
            dst,
            via: None,
            dev: dev.to_owned(),
            table: MAIN,
            proto: "kernel",
            scope: Scope::Link,
            src: (!cidr.is_v6()).then_some(cidr.address),
            metric,
            onlink: false,
            linkdown: false,
            hops: Vec::new(),
            more: String::new(),
            from: address.from.clone(),
        });
    }

    /// Takes all addresses from a link, and the routes that they brought.
    pub fn flush(&mut self, dev: &str) {
        if let Some(link) = self.link_mut(dev) {
            let name = link.name.clone();
            link.addresses.clear();
            self.routes.retain(|route| route.dev != name);
        }
    }

    /// The link by which a router is reached, if one leads there directly.
    pub fn on_link(&self, router: IpAddr, dev: Option<&str>, table: u32) -> Option<&str> {
        let mut best: Option<&Route> = None;
        let usable = |route: &&Route| {
            (route.table == table || route.table == MAIN)
                && route.scope >= Scope::Link
                && route.via.is_none()
                && route.kind == "unicast"
                && route.dst.contains(router)
                && dev.is_none_or(|dev| base(dev) == route.dev)
        };
        for route in self.routes.iter().filter(usable) {
            let key = |one: &Route| (one.dst.prefix, std::cmp::Reverse(one.metric));
            if best.is_none_or(|best| key(route) > key(best)) {
                best = Some(route);
            }
        }
        best.map(|route| route.dev.as_str())
    }

    /// Adds a route, or says why not.
    pub fn add_route(&mut self, wanted: Wanted, how: How) -> Result<(), Refused> {
        let v6 = wanted.dst.is_v6();
        if wanted.dst.network().address != wanted.dst.address && !v6 {
            return Err(Refused::Invalid);
        }
        if !wanted.hops.is_empty() {
            return self.add_shared(wanted, how);
        }
        let mut dev = match &wanted.dev {
            Some(dev) => Some(self.link(dev).ok_or(Refused::NoDevice)?.name.clone()),
            None => None,
        };
        if wanted.kind != "unicast" {
            dev = Some(if v6 { "lo".to_owned() } else { String::new() });
        } else if let Some(router) = wanted.via {
            if router.is_ipv4() == v6 && router.is_ipv4() {
                return Err(Refused::Invalid);
            }
            let found = match &router {
                _ if wanted.onlink => dev.clone().ok_or(Refused::NoDevice)?,
                IpAddr::V6(one) if one.is_unicast_link_local() => dev.clone().ok_or(Refused::Invalid)?,
                _ => match self.on_link(router, dev.as_deref(), wanted.table) {
                    Some(found) => found.to_owned(),
                    // A lease may bring the network that the router is in.
                    None => {
                        self.dynamic(dev.as_deref()).ok_or(if v6 { Refused::NoRoute } else { Refused::Unreachable })?
                    }
                },
            };
            dev = Some(found);
        }
        let dev = dev.ok_or(Refused::NoDevice)?;
        if wanted.kind == "unicast" && self.link(&dev).is_none_or(|link| !link.up) {
            return Err(Refused::Down);
        }
        if let Some(src) = wanted.src
            && !self.links.iter().any(|link| link.addresses.iter().any(|one| one.cidr.address == src))
        {
            return Err(Refused::Invalid);
        }
        let scope = match wanted.scope {
            _ if v6 => {
                if wanted.via.is_some() {
                    Scope::Global
                } else {
                    Scope::Link
                }
            }
            Some(scope) => scope,
            None if wanted.via.is_none() && wanted.kind == "unicast" => Scope::Link,
            None => Scope::Global,
        };
        let metric = wanted.metric.filter(|metric| !v6 || *metric != 0).unwrap_or(if v6 { 1024 } else { 0 });
        let route = Route {
            kind: wanted.kind,
            dst: wanted.dst.network(),
            via: wanted.via,
            dev,
            table: wanted.table,
            proto: wanted.proto,
            scope,
            src: wanted.src,
            metric,
            onlink: wanted.onlink,
            linkdown: false,
            hops: Vec::new(),
            more: wanted.more,
            from: wanted.from,
        };
        self.put(route, how)
    }

    /// Adds a route with several routers: each is judged as if it were the only one.
    fn add_shared(&mut self, mut wanted: Wanted, how: How) -> Result<(), Refused> {
        let hops = std::mem::take(&mut wanted.hops);
        let mut found = Vec::new();
        for hop in hops.iter().take(64) {
            let mut alone = self.clone_bare();
            let dev = (!hop.dev.is_empty()).then(|| hop.dev.clone());
            let one = Wanted { via: hop.via, dev, onlink: hop.onlink, table: SCRATCH, ..wanted.clone() };
            alone.add_route(one, How::Append)?;
            let route = alone.routes.pop().ok_or(Refused::Invalid)?;
            found.push((Hop { via: hop.via, dev: route.dev.clone(), weight: hop.weight, onlink: hop.onlink }, route));
        }
        let Some((first, route)) = found.first().cloned() else { return Err(Refused::Invalid) };
        let route = Route {
            via: first.via,
            dev: first.dev,
            table: wanted.table,
            scope: if wanted.dst.is_v6() { route.scope } else { wanted.scope.unwrap_or(Scope::Global) },
            onlink: false,
            hops: if found.len() > 1 { found.into_iter().map(|(hop, _)| hop).collect() } else { Vec::new() },
            ..route
        };
        self.put(route, how)
    }

    /// The links and routes, in which something is tried.
    fn clone_bare(&self) -> Kernel {
        Kernel { links: self.links.clone(), routes: self.routes.clone(), ..Kernel::default() }
    }

    /// Puts a route that nothing speaks against among the others.
    fn put(&mut self, route: Route, how: How) -> Result<(), Refused> {
        let like = |one: &Route| one.dst == route.dst && one.metric == route.metric && one.table == route.table;
        let first = self.routes.iter().position(like);
        match (how, first) {
            (How::Add, Some(_)) => return Err(Refused::Exists),
            (How::Replace, Some(at)) => {
                if let Some(old) = self.routes.get_mut(at) {
                    *old = route;
                }
                return Ok(());
            }
            (_, Some(_)) => {
                // The same route twice is one.
                let same =
                    |one: &Route| one.via == route.via && one.dev == route.dev && one.hops == route.hops && like(one);
                if self.routes.iter().any(same) {
                    return Err(Refused::Exists);
                }
            }
            (_, None) => {}
        }
        if self.routes.len() >= MOST {
            return Err(Refused::Invalid);
        }
        match (how, first) {
            (How::Prepend, Some(at)) => self.routes.insert(at, route),
            _ => self.routes.push(route),
        }
        Ok(())
    }

    /// A link whose lease may bring anything.
    fn dynamic(&self, dev: Option<&str>) -> Option<String> {
        let mut links = self.links.iter().filter(|link| link.dynamic);
        links.find(|link| dev.is_none_or(|dev| dev == link.name)).map(|link| link.name.clone())
    }

    /// The routes of a table in the order in which `ip -4 route` or `ip -6 route` shows them.
    pub fn table(&self, table: u32, v6: bool) -> Vec<&Route> {
        let mut all: Vec<&Route> =
            self.routes.iter().filter(|route| route.table == table && route.dst.is_v6() == v6).collect();
        match v6 {
            // fib_trie: by the first address, of one address the longest prefix first, then by metric.
            false => all.sort_by_key(|route| (route.dst.first(), std::cmp::Reverse(route.dst.prefix), route.metric)),
            // fib6_walk: children before what holds them.
            true => all.sort_by_key(|route| (route.dst.last(), std::cmp::Reverse(route.dst.prefix), route.metric)),
        }
        all
    }

    /// The numbers of tables besides main that have routes.
    pub fn other_tables(&self) -> Vec<u32> {
        let mut all: Vec<u32> = self.routes.iter().map(|route| route.table).filter(|table| *table != MAIN).collect();
        all.sort_unstable();
        all.dedup();
        all
    }

    /// As `ip route` prints a route.
    pub fn line(&self, route: &Route) -> String {
        let v6 = route.dst.is_v6();
        let mut line = String::new();
        if route.kind != "unicast" {
            line.push_str(route.kind);
            line.push(' ');
        }
        match (route.dst.is_default(), route.dst.prefix == if v6 { 128 } else { 32 }) {
            (true, _) => line.push_str("default"),
            (_, true) => line.push_str(&route.dst.address.to_string()),
            _ => line.push_str(&route.dst.to_string()),
        }
        let via = |via: Option<IpAddr>| match via {
            Some(via) if via.is_ipv6() && !v6 => format!(" via inet6 {via}"),
            Some(via) => format!(" via {via}"),
            None => String::new(),
        };
        if route.hops.is_empty() {
            line.push_str(&via(route.via));
        }
        if !route.dev.is_empty() && route.hops.is_empty() {
            line.push_str(&format!(" dev {}", route.dev));
        }
        if route.proto != "boot" {
            line.push_str(&format!(" proto {}", route.proto));
        }
        if !v6 {
            match route.scope {
                Scope::Global => {}
                Scope::Site => line.push_str(" scope site"),
                Scope::Link => line.push_str(" scope link"),
                Scope::Host => line.push_str(" scope host"),
            }
        }
        if let Some(src) = route.src {
            line.push_str(&format!(" src {src}"));
        }
        if route.metric != 0 || v6 {
            line.push_str(&format!(" metric {}", route.metric));
        }
        if route.onlink {
            line.push_str(" onlink");
        }
        if route.linkdown {
            line.push_str(" linkdown");
        }
        if !route.more.is_empty() {
            line.push_str(&format!(" {}", route.more));
        }
        if v6 {
            line.push_str(" pref medium");
        }
        for hop in &route.hops {
            let onlink = if hop.onlink { " onlink" } else { "" };
            line.push_str(&format!("\n\tnexthop{} dev {} weight {}{onlink}", via(hop.via), hop.dev, hop.weight.max(1)));
        }
        line
    }

    /// The lines of `ip -4 route`, then those of `ip -6 route` but for link-local ones, which are the kernel's own.
    pub fn route_lines(&self, table: u32) -> Vec<String> {
        let all = [self.table(table, false), self.table(table, true)].concat();
        let lines = all.into_iter().map(|route| self.line(route));
        lines.flat_map(|line| line.split('\n').map(str::to_owned).collect::<Vec<_>>()).collect()
    }

    /// The name of a table.
    pub fn table_name(&self, table: u32) -> String {
        match table {
            253 => "default".into(),
            254 => "main".into(),
            255 => "local".into(),
            _ => self.tables.get(&table).cloned().unwrap_or_else(|| table.to_string()),
        }
    }

    /// The number of a table by its name or number.
    pub fn table_number(&self, text: &str) -> Option<u32> {
        match text {
            "default" => Some(253),
            "main" => Some(254),
            "local" => Some(255),
            _ => match self.tables.iter().find(|(_, name)| *name == text) {
                Some((number, _)) => Some(*number),
                None => text.parse().ok().or_else(|| u32::from_str_radix(text.strip_prefix("0x")?, 16).ok()),
            },
        }
    }

    /// Adds a rule, with the priority that the kernel would give it.
    pub fn add_rule(&mut self, mut rule: Rule) -> Result<(), Refused> {
        if self.rules.len() >= MOST {
            return Err(Refused::Invalid);
        }
        // fib_default_rule_pref(): one less than the second rule's.
        let second =
            self.rules.iter().filter(|one| one.v6 == rule.v6).filter_map(|one| one.priority).filter(|p| *p > 0);
        let priority = rule.priority.unwrap_or_else(|| second.min().unwrap_or(32766).saturating_sub(1));
        rule.priority = Some(priority);
        let same = |one: &Rule| Rule { place: None, ..one.clone() } == Rule { place: None, ..rule.clone() };
        if self.rules.iter().any(same) {
            return Err(Refused::Exists);
        }
        let at = self.rules.iter().position(|one| one.v6 == rule.v6 && one.priority > rule.priority);
        self.rules.insert(at.unwrap_or(self.rules.len()), rule);
        Ok(())
    }

    /// The lines of `ip rule`, then what IPv6 has besides those that are always there.
    pub fn rule_lines(&self) -> Vec<String> {
        let line = |rule: &Rule| {
            let from = rule.from.map_or("all".to_owned(), plain);
            let to = rule.to.map_or(String::new(), |to| format!(" to {}", plain(to)));
            let more = if rule.more.is_empty() { String::new() } else { format!(" {}", rule.more) };
            let table = self.table_name(rule.table);
            let proto = if rule.proto == "boot" { String::new() } else { format!(" proto {}", rule.proto) };
            let not = if rule.not { "not " } else { "" };
            format!("{}:\t{not}from {from}{to}{more} lookup {table}{proto}", rule.priority.unwrap_or_default())
        };
        let mut all = vec!["0:\tfrom all lookup local".to_owned()];
        let own: Vec<&Rule> = self.rules.iter().filter(|rule| !rule.v6).collect();
        all.extend(own.iter().filter(|rule| rule.priority <= Some(32766)).map(|rule| line(rule)));
        all.push("32766:\tfrom all lookup main".to_owned());
        all.push("32767:\tfrom all lookup default".to_owned());
        all.extend(own.iter().filter(|rule| rule.priority > Some(32766)).map(|rule| line(rule)));
        all.extend(self.rules.iter().filter(|rule| rule.v6).map(line));
        all
    }

    /// The addresses of every link, those of IPv6 that are only of the link left out.
    pub fn addresses(&self) -> Vec<(&str, Vec<String>)> {
        let list = |link: &Link| link.addresses.iter().map(|address| address.cidr.to_string()).collect();
        self.links.iter().map(|link| (link.name.as_str(), list(link))).collect()
    }
}

impl Cidr {
    /// Whether both are of one family.
    fn is_ipv4_like(self, other: Cidr) -> bool {
        self.is_v6() == other.is_v6()
    }
}

/// A host without its prefix, as ip(8) prints rules.
fn plain(cidr: Cidr) -> String {
    match cidr.prefix == if cidr.is_v6() { 128 } else { 32 } {
        true => cidr.address.to_string(),
        false => cidr.to_string(),
    }
}

/// The link of an alias: the kernel looks at nothing behind the colon.
fn base(name: &str) -> &str {
    name.split(':').next().unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cidr(text: &str) -> Cidr {
        Cidr::parse(text).unwrap()
    }

    fn machine() -> Kernel {
        let card = |name: &str| Card { name: name.into(), mac: None };
        let mut kernel = Kernel::new(&[card("eth0"), card("eth1")]);
        for (dev, address) in [("eth0", "10.25.158.37/22"), ("eth1", "60.205.148.11/22")] {
            kernel.up(dev).unwrap();
            kernel.add_address(dev, cidr(address), None, Vec::new()).unwrap();
        }
        kernel
    }

    fn default(via: Option<&str>, dev: Option<&str>) -> Wanted {
        let via = via.map(|via| via.parse().unwrap());
        Wanted { via, dev: dev.map(str::to_owned), ..Wanted::to(Cidr::everything(false)) }
    }

    #[test]
    fn routes_are_refused_as_the_kernel_does() {
        let mut kernel = machine();
        assert_eq!(
            kernel.add_route(default(Some("60.205.151.247"), Some("eth0")), How::Add),
            Err(Refused::Unreachable)
        );
        kernel.add_route(default(None, Some("eth0")), How::Replace).unwrap();
        assert_eq!(kernel.add_route(default(Some("60.205.151.247"), Some("eth1")), How::Add), Err(Refused::Exists));
        assert_eq!(
            kernel.route_lines(MAIN),
            [
                "default dev eth0 scope link",
                "10.25.156.0/22 dev eth0 proto kernel scope link src 10.25.158.37",
                "60.205.148.0/22 dev eth1 proto kernel scope link src 60.205.148.11",
            ]
        );
        kernel.add_route(default(Some("60.205.151.247"), None), How::Replace).unwrap();
        assert_eq!(kernel.route_lines(MAIN)[0], "default via 60.205.151.247 dev eth1");
    }

    #[test]
    fn a_second_address_of_a_network_has_no_route() {
        let mut kernel = machine();
        kernel.add_address("eth0", cidr("10.25.158.38/22"), None, Vec::new()).unwrap();
        kernel.add_address("eth0", cidr("10.9.0.1/16"), None, Vec::new()).unwrap();
        assert_eq!(kernel.addresses()[1].1, ["10.25.158.37/22", "10.9.0.1/16", "10.25.158.38/22"]);
        assert_eq!(kernel.routes.len(), 3);
    }
}
