//! The TCP ports that programs are configured to listen on, with the lines that say so: sshd, nginx, Apache.

mod apache;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bstr::ByteSlice;
use sickbay_formats::span::Span;

use crate::facts::limits::process::{Door, door_of};
use crate::facts::login::sshd::Sshd;
use crate::facts::login::sshd_service::SshdService;
use crate::facts::memory::processes::{comm, pids};
use crate::facts::services::nginx::{Nginx, Node};
use crate::facts::system::release::{Init, System};
use crate::facts::system::units::{State, Units};
use crate::facts::{Fact, Facts};
use crate::model::outcome::Skip;
use crate::model::source::SourceFile;

/// Who serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Server {
    /// OpenSSH
    Sshd,
    /// nginx and its descendants
    Nginx,
    /// Apache's httpd
    Apache,
}

impl Server {
    /// What it is called.
    pub fn name(self) -> &'static str {
        match self {
            Server::Sshd => "sshd",
            Server::Nginx => "nginx",
            Server::Apache => "Apache",
        }
    }

    /// The names of its processes.
    pub fn commands(self) -> &'static [&'static str] {
        match self {
            Server::Sshd => &["sshd"],
            Server::Nginx => &["nginx", "openresty"],
            Server::Apache => &["httpd", "apache2"],
        }
    }

    /// The units that start it, without `.service`; scripts have the same names.
    pub fn units(self) -> &'static [&'static str] {
        match self {
            Server::Sshd => &["sshd", "ssh"],
            Server::Nginx => &["nginx", "openresty"],
            Server::Apache => &["httpd", "apache2"],
        }
    }
}

/// A line of a file.
pub type Line = (Arc<SourceFile>, Span);

/// A port that a program is configured for.
#[derive(Clone, Debug)]
pub struct Port {
    /// Who.
    pub server: Server,
    /// On which address; `None` is all.
    pub address: Option<IpAddr>,
    /// Of all addresses those of IPv6 alone, or those of IPv4; `None` is whatever the machine has.
    pub v6: Option<bool>,
    /// Which.
    pub port: u16,
    /// The line, where one says it.
    pub at: Option<Line>,
}

impl Port {
    /// A port on an address as it is written: `0.0.0.0` and `::` stand for all of their kind.
    fn new(server: Server, written: Option<IpAddr>, port: u16, at: Option<Line>) -> Port {
        let address = written.filter(|address| !address.is_unspecified());
        let v6 = if address.is_none() { written.map(|address| address.is_ipv6()) } else { None };
        Port { server, address, v6, port, at }
    }

    /// Whether connections of IPv6 are to reach it, or of IPv4.
    pub fn is_for(&self, v6: bool) -> bool {
        self.address.map_or(self.v6.is_none_or(|own| own == v6), |address| address.is_ipv6() == v6)
    }

    /// `10.0.0.9`, `[::]`, `*`: what it listens on.
    pub fn address_text(&self) -> String {
        match (self.address, self.v6) {
            (Some(IpAddr::V6(address)), _) => format!("[{address}]"),
            (Some(address), _) => address.to_string(),
            (None, Some(true)) => "[::]".to_owned(),
            (None, Some(false)) => "0.0.0.0".to_owned(),
            (None, None) => "*".to_owned(),
        }
    }

    /// Whether it is only for this machine.
    pub fn is_inside(&self) -> bool {
        self.address.is_some_and(|address| address.is_loopback())
    }

    /// `/etc/ssh/sshd_config:13`
    pub fn place(&self) -> Option<String> {
        self.at.as_ref().map(|(file, span)| format!("{}:{}", file.path.display(), span.line))
    }
}

/// A program that is installed and configured.
#[derive(Debug)]
pub struct Service {
    /// Who.
    pub server: Server,
    /// Whether a boot starts it.
    pub starts: bool,
    /// Its processes, on a running system; none are not known to be none.
    pub running: Vec<u32>,
    /// systemd holds its sockets, whatever its own configuration says.
    pub by_socket: bool,
    /// Its ports.
    pub ports: Vec<Port>,
}

/// All of them.
#[derive(Debug, Default)]
pub struct Services {
    /// Each.
    pub list: Vec<Service>,
}

impl Services {
    /// Ports of programs that run or are started at boot, and that others may want to reach.
    pub fn open(&self) -> impl Iterator<Item = &Port> {
        let counts = |service: &&Service| (service.starts || !service.running.is_empty()) && !service.by_socket;
        self.list.iter().filter(counts).flat_map(|service| &service.ports).filter(|port| !port.is_inside())
    }
}

impl Fact for Services {
    fn gather(facts: &Facts) -> Result<Services, Skip> {
        let mut found = Services::default();
        for (server, ports) in [
            (Server::Sshd, sshd(facts)?),
            (Server::Nginx, nginx_ports(facts)?),
            (Server::Apache, apache::ports(facts)?),
        ] {
            if ports.is_empty() {
                continue;
            }
            let running = running(facts, server);
            let starts = match server {
                Server::Sshd => facts.get::<SshdService>()?.enabled,
                _ => starts(facts, server.units()),
            };
            let by_socket = server == Server::Sshd && starts_by_socket(facts);
            found.list.push(Service { server, starts, running, by_socket, ports });
        }
        Ok(found)
    }
}

/// Whether a boot starts one of these, by a unit or a script.
pub fn starts(facts: &Facts, names: &[&str]) -> bool {
    if let Ok(units) = facts.get::<Units>() {
        let pulled = |name: &str| units.get(&format!("{name}.service")).is_some_and(|unit| unit.state == State::Loaded);
        if names.iter().any(|name| pulled(name)) {
            return true;
        }
    }
    let is_systemd = facts.get::<System>().is_ok_and(|system| system.init == Init::Systemd);
    let has_unit = |name: &str| {
        ["/usr/lib/systemd/system", "/lib/systemd/system"]
            .iter()
            .any(|dir| facts.root().exists(format!("{dir}/{name}.service")).unwrap_or(false))
    };
    let scripts =
        ["/etc/rc3.d", "/etc/rc.d/rc3.d", "/etc/rc2.d", "/etc/rc5.d", "/etc/rc.d/rc5.d", "/etc/runlevels/default"];
    scripts.iter().flat_map(|dir| facts.root().read_dir(dir).unwrap_or_default()).any(|entry| {
        let Some(name) = entry.name.to_str() else { return false };
        let plain = name.strip_prefix('S').map(|rest| rest.trim_start_matches(|char: char| char.is_ascii_digit()));
        let plain = plain.unwrap_or(name);
        !name.starts_with('K') && names.contains(&plain) && !(is_systemd && has_unit(plain))
    })
}

/// ssh.socket and sshd.socket.
fn starts_by_socket(facts: &Facts) -> bool {
    let Ok(units) = facts.get::<Units>() else { return false };
    ["ssh.socket", "sshd.socket"].iter().any(|name| units.get(name).is_some_and(|unit| unit.state == State::Loaded))
}

fn running(facts: &Facts, server: Server) -> Vec<u32> {
    if !facts.runs() {
        return Vec::new();
    }
    let all = pids(facts).unwrap_or_default();
    all.into_iter()
        .filter(|pid| server.commands().contains(&comm(facts, *pid).as_str()))
        // One in a container has files and sockets of its own.
        .filter(|pid| !matches!(door_of(facts, *pid), Door::Container(_)))
        .take(64)
        .collect()
}

/// `1.2.3.4:80`, `[::]:80`, `*:80`, `80`, `1.2.3.4`, `localhost:80`: an address, and a port.
fn end(text: &str) -> Option<(Option<IpAddr>, Option<u16>)> {
    if let Ok(port) = text.parse::<u16>() {
        return Some((None, Some(port)));
    }
    if let Ok(address) = text.trim_matches(['[', ']']).parse::<IpAddr>() {
        return Some((Some(address), None));
    }
    let (address, port) = text.rsplit_once(':').unwrap_or((text, ""));
    let port = match port {
        "" => None,
        port => Some(port.parse().ok()?),
    };
    let address = match address.trim_matches(['[', ']']) {
        "*" | "" => None,
        "localhost" => Some(IpAddr::V4(Ipv4Addr::LOCALHOST)),
        address => Some(address.parse::<IpAddr>().ok()?),
    };
    Some((address, port))
}

fn sshd(facts: &Facts) -> Result<Vec<Port>, Skip> {
    let sshd = match facts.get::<Sshd>() {
        Ok(sshd) => sshd,
        Err(Skip::NotApplicable(_)) => return Ok(Vec::new()),
        Err(other) => return Err(other),
    };
    let reader = sshd.reader();
    let effective = sshd.tree.at_start(&reader);
    let mut ports: Vec<(u16, Option<Line>)> = Vec::new();
    for setting in effective.all("Port") {
        let number = setting.1.arg(0).to_str().ok().and_then(|text| text.parse().ok());
        let at = sshd.file(*setting).map(|file| (Arc::clone(file), setting.1.whole));
        ports.extend(number.map(|number| (number, at)));
    }
    if ports.is_empty() {
        ports.push((22, None));
    }
    let mut all = Vec::new();
    for setting in effective.all("ListenAddress") {
        let Some((address, port)) = setting.1.arg(0).to_str().ok().and_then(end_of_sshd) else { continue };
        let at = sshd.file(*setting).map(|file| (Arc::clone(file), setting.1.whole));
        match port {
            Some(port) => all.push(Port::new(Server::Sshd, address, port, at)),
            None => all.extend(ports.iter().map(|(port, _)| Port::new(Server::Sshd, address, *port, at.clone()))),
        }
    }
    if all.is_empty() {
        all.extend(ports.into_iter().map(|(port, at)| Port::new(Server::Sshd, None, port, at)));
    }
    Ok(all)
}

/// An address alone, where a number is a host's name.
fn end_of_sshd(text: &str) -> Option<(Option<IpAddr>, Option<u16>)> {
    match text.parse::<u16>() {
        Ok(_) => None,
        Err(_) => end(text),
    }
}

/// So many files are followed, and so many ports kept.
const FILES: usize = 1000;

/// What nginx listens on with the configuration that it was started with, up to what it would refuse.
fn nginx_ports(facts: &Facts) -> Result<Vec<Port>, Skip> {
    let nginx = match facts.get::<Nginx>() {
        Ok(nginx) => nginx,
        Err(Skip::NotApplicable(_)) => return Ok(Vec::new()),
        Err(other) => return Err(other),
    };
    let mut all: Vec<Port> = Vec::new();
    let mut add = |address: Option<IpAddr>, port: u16, node: &Node| {
        let at = Some((Arc::clone(&node.file), node.file.line_span(node.directive.line)));
        // A number alone is one of IPv4.
        let port = Port::new(Server::Nginx, address.or(Some(Ipv4Addr::UNSPECIFIED.into())), port, at);
        let same = |one: &Port| (one.address, one.v6, one.port) == (port.address, port.v6, port.port);
        if !all.iter().any(same) && all.len() < FILES {
            all.push(port);
        }
    };
    for (at, node) in nginx.nodes.iter().enumerate() {
        let name = node.name();
        if name == b"listen" && (node.is_in(&["http", "server"]) || node.is_in(&["stream", "server"])) {
            // QUIC is UDP.
            let is_udp = node.directive.words.iter().any(|word| *word == "udp" || *word == "quic");
            let Some(value) = node.directive.value().filter(|value| !value.starts_with("unix:") && !is_udp) else {
                continue;
            };
            if let Some((address, port)) = end(value) {
                add(address, port.unwrap_or(80), node);
            }
        } else if name == b"server" && node.is_in(&["http"]) && nginx.is_whole && nginx.problem.is_none() {
            // One that says nothing listens on port 80.
            if !nginx.within(at).any(|inner| inner.name() == b"listen") {
                add(None, 80, node);
            }
        }
    }
    Ok(all)
}

/// The files that a pattern names, which has `*` in its last part alone.
fn included(facts: &Facts, dir: &Path, value: &str) -> Vec<PathBuf> {
    let path = dir.join(value);
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    if !name.contains(['*', '?', '[']) {
        return vec![path];
    }
    let above = path.parent().unwrap_or(dir);
    let mut entries = facts.root().read_dir(above).unwrap_or_default();
    entries.sort_by(|a, b| a.name.cmp(&b.name));
    entries.retain(|entry| {
        let bytes = entry.name.as_encoded_bytes();
        !bytes.starts_with(b".") && sickbay_formats::wildcard::fits(bytes, name.as_bytes())
    });
    entries.into_iter().take(FILES).map(|entry| above.join(entry.name)).collect()
}

/// The address that stands for all in a socket's own end.
pub fn is_all(address: IpAddr) -> bool {
    address == IpAddr::V4(Ipv4Addr::UNSPECIFIED) || address == IpAddr::V6(Ipv6Addr::UNSPECIFIED)
}

#[cfg(test)]
mod tests {
    use super::end;

    #[test]
    fn ends() {
        let of = |text: &str| {
            end(text).map(|(address, port)| (address.map(|one| one.to_string()).unwrap_or_default(), port))
        };
        let is = |address: &str, port: Option<u16>| Some((address.to_owned(), port));
        assert_eq!(of("80"), is("", Some(80)));
        assert_eq!(of("*:443"), is("", Some(443)));
        assert_eq!(of("[::]:80"), is("::", Some(80)));
        assert_eq!(of("127.0.0.1:8080"), is("127.0.0.1", Some(8080)));
        assert_eq!(of("10.0.0.5"), is("10.0.0.5", None));
        assert_eq!(of("localhost:3000"), is("127.0.0.1", Some(3000)));
        assert_eq!(of("example.org:80"), None);
    }
}
