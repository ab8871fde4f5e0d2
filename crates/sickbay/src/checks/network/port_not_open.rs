//! A server does not listen on a port that it is configured for.

use std::collections::HashSet;
use std::net::IpAddr;

use bstr::{BString, ByteSlice};
use sickbay_formats::sock_diag::Socket;

use crate::facts::Facts;
use crate::facts::memory::processes::comm;
use crate::facts::network::services::{Port, Server, Service, Services, is_all};
use crate::facts::network::sockets::{Owners, Sockets};
use crate::facts::services::programs::after;
use crate::model::finding::{Finding, Findings};
use crate::model::outcome::{Skip, Verdict};
use crate::model::subject::Subject;
use crate::model::text::Text;
use crate::{check, tr};

check! {
    /// ## Symptom
    /// You see: "Connection refused"; or the new port in `sshd_config`, `listen`, `Listen` does not answer.
    ///
    /// ## What it finds
    /// The ports that sshd, nginx and Apache are configured for, with everything that their files include, against the sockets that listen on this machine: another program
    /// has the port; the server runs and was not told to read its changed files; it only listens on the loopback; nothing runs although the boot starts it.
    /// nginx is taken with the file that it was started with. A port that Docker publishes is told with the address of its container.
    /// A server that is installed and neither enabled nor running is left alone, and so is a port that systemd holds for it.
    ///
    /// ## Why it matters
    /// Nobody is answered on that port; or, of a file that was changed, the port changes with the next restart, when nobody thinks of it any more.
    ///
    /// ## What the repair does
    /// Nothing: it starts no service. The program that holds the port is named, and the line that asks for it.
    ///
    /// ## By hand
    /// ```sh
    /// ss -lntp
    /// sshd -t && systemctl reload sshd
    /// nginx -t && systemctl reload nginx
    /// ```
    "port-not-open", Network, seed = ["D1"], proves = [], "a server does not listen on the port that it is configured for"
}

fn run(facts: &Facts, found: &mut Findings) -> Verdict {
    let sockets = facts.get::<Sockets>()?;
    if sockets.is_cut {
        return Err(Skip::Unknown(tr!("there are more sockets than are looked at")));
    }
    // A process that cannot be seen may hold anything; a container has its own.
    let services = facts.get::<Services>()?;
    for service in services.list.iter().filter(|service| !service.by_socket) {
        let is_running = !service.running.is_empty();
        if !is_running && !service.starts {
            continue;
        }
        let held = Held::of(facts, service);
        let missing: Vec<&Port> =
            service.ports.iter().filter(|port| !is_served(facts, &sockets, &held, port)).collect();
        // Of a server that does not run there is one thing to say.
        let wanted = if is_running { missing.len() } else { 1 };
        for port in missing.into_iter().take(wanted.min(16)) {
            tell(facts, found, &sockets, service, port)?;
        }
    }
    Ok(())
}

/// The sockets that a server's processes hold.
struct Held {
    inodes: HashSet<u32>,
    /// Whether some process could not be looked at, or none was found.
    partly: bool,
}

impl Held {
    fn of(facts: &Facts, service: &Service) -> Held {
        let mut held = Held { inodes: HashSet::new(), partly: service.running.is_empty() };
        for pid in &service.running {
            let dir = format!("/proc/{pid}/fd");
            let Ok((entries, is_whole)) = facts.root().read_dir_up_to(&dir, 1 << 16) else {
                held.partly = true;
                continue;
            };
            held.partly |= !is_whole;
            for entry in entries {
                let link = facts.root().read_link(format!("{dir}/{}", entry.name.to_string_lossy()));
                let inode: Option<u32> =
                    link.ok().and_then(|link| link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok());
                held.inodes.extend(inode);
            }
        }
        held
    }
}

/// Whether the server itself, or somebody unknown, listens there. Who else does is only asked where it is not the server itself: that
/// takes a look at every descriptor of the machine.
fn is_served(facts: &Facts, sockets: &Sockets, held: &Held, port: &Port) -> bool {
    let mut fitting = sockets.listeners().filter(|socket| fits(socket, port)).peekable();
    if fitting.peek().is_none() {
        return false;
    }
    if held.partly {
        return true;
    }
    let all: Vec<&Socket> = fitting.collect();
    if all.iter().any(|socket| held.inodes.contains(&socket.inode)) {
        return true;
    }
    let Ok(owners) = facts.get::<Owners>() else { return true };
    all.iter().any(|socket| match owners.of(socket.inode) {
        Some((pid, name)) => pid == 1 || port.server.commands().contains(&name),
        None => true,
    })
}

/// Whether somebody listens there, be it on all addresses.
fn listens(sockets: &Sockets, port: &Port) -> bool {
    sockets.listeners().any(|socket| fits(socket, port))
}

fn fits(socket: &Socket, port: &Port) -> bool {
    let (address, number) = socket.source;
    // A socket on :: takes connections of IPv4 too, unless it was told not to.
    let is_same = match port.address {
        None => is_all(address) && (port.v6 != Some(true) || address.is_ipv6()),
        Some(wanted) => address == wanted || is_all(address) && (address.is_ipv6() || wanted.is_ipv4()),
    };
    number == port.port && is_same
}

fn tell(facts: &Facts, found: &mut Findings, sockets: &Sockets, service: &Service, port: &Port) -> Verdict {
    let (server, number) = (port.server.name(), port.port);
    let owners = facts.get::<Owners>()?;
    let others: Vec<&Socket> = sockets.listeners().filter(|socket| socket.source.1 == number).collect();
    let owner = others.iter().find_map(|socket| owners.of(socket.inode));
    let is_own = owner.is_some_and(|(_, name)| port.server.commands().contains(&name));
    let is_running = !service.running.is_empty();
    let why_silent;
    let finding = match (owner, is_running) {
        // systemd holds it, and starts whoever serves it.
        (Some((1, _)), _) => return Ok(()),
        (Some((pid, name)), _) if !is_own => {
            why_silent = tr!("{server} cannot have the port: bind says \"Address already in use\"", server);
            found.error(tr!(
                "port {number}, for which {server} is configured, is held by {name} (PID {pid})",
                number,
                server,
                name,
                pid
            ))
        }
        (Some(_), true) => {
            let own: Vec<IpAddr> = others.iter().map(|socket| socket.source.0).collect();
            if port.v6 == Some(true) && has_v6(facts) && own.iter().all(IpAddr::is_ipv4) {
                why_silent =
                    tr!("it was started, or told to reload, before its file was changed; or it failed to bind");
                let finding = found.warning(tr!("{server} listens on port {number} of IPv4 only", server, number));
                place(finding, port);
                finding.why(why_silent).detail("port", number).detail("server", server);
                finding.by_hand(restart());
                return Ok(());
            }
            if !own.iter().all(|address| address.is_loopback()) {
                // Listening on one address of several.
                return Ok(());
            }
            why_silent = tr!("it was started, or told to reload, before its file was changed; or it failed to bind");
            found.error(tr!("{server} listens on port {number} of the loopback only", server, number))
        }
        (None, true) if !others.is_empty() => return Ok(()),
        (None, true) => {
            let has_other = service.ports.iter().any(|other| listens(sockets, other))
                || serves_elsewhere(sockets, &owners, port.server);
            if !has_other && owners.partly {
                return Ok(());
            }
            match has_other {
                true => {
                    why_silent = tr!(
                        "it was started, or told to reload, before its file was changed: a restart changes the port"
                    );
                    found.warning(tr!(
                        "{server} runs and does not listen on port {number}, for which it is configured",
                        server,
                        number
                    ))
                }
                false => {
                    why_silent = tr!("it answers nobody");
                    found.error(tr!("{server} runs and listens on no port", server))
                }
            }
        }
        (_, false) => {
            if !is_booted(facts) {
                return Ok(());
            }
            why_silent = tr!("the boot starts it: it was stopped, or has failed");
            let message = tr!("nothing listens on port {number}: {server} does not run", number, server);
            if port.server == Server::Sshd { found.error(message) } else { found.warning(message) }
        }
    };
    place(finding, port);
    if let Some((pid, "docker-proxy")) = owner {
        container(facts, finding, pid);
    }
    finding.why(why_silent).detail("port", number).detail("server", server);
    match owner.filter(|_| !is_own) {
        Some(_) => finding.by_hand(tr!("stop the other program, or give one of them another port")),
        None => finding.by_hand(restart()),
    };
    Ok(())
}

/// What is to be done where the server is not as its files have it.
fn restart() -> Text {
    tr!("look what it says in its log; check its files (sshd -t, nginx -t, apachectl -t), then restart it")
}

/// Points at the line that asks for the port, or at the port.
fn place(finding: &mut Finding, port: &Port) {
    match &port.at {
        Some((file, span)) => {
            finding.at(file, *span);
        }
        None => {
            finding.subject(Subject::Socket(format!("*:{}", port.port)));
        }
    }
}

/// Whether the kernel has IPv6 and it is not switched off.
fn has_v6(facts: &Facts) -> bool {
    facts.root().read("/proc/net/if_inet6").is_ok_and(|text| !text.trim_ascii().is_empty())
}

/// For which container a docker-proxy holds the port.
fn container(facts: &Facts, finding: &mut Finding, pid: u32) {
    let line = facts.root().read_up_to(format!("/proc/{pid}/cmdline"), 1 << 14).unwrap_or_default();
    let words: Vec<BString> = line.split(|byte| *byte == 0).map(BString::from).collect();
    let (Some(address), Some(port)) = (after(&words, "-container-ip"), after(&words, "-container-port")) else {
        return;
    };
    let (address, port) = (address.to_str_lossy().into_owned(), port.to_str_lossy().into_owned());
    finding.note(tr!(
        "Docker publishes port {port} of the container with the address {address} there: docker ps shows which",
        port = port.as_str(),
        address = address.as_str()
    ));
}

/// Whether the server listens on any port.
fn serves_elsewhere(sockets: &Sockets, owners: &Owners, server: Server) -> bool {
    let mut names = sockets.listeners().filter_map(|socket| owners.of(socket.inode));
    names.any(|(_, name)| server.commands().contains(&name))
}

/// Whether an init runs that starts services: not in a container with one program, or a chroot.
fn is_booted(facts: &Facts) -> bool {
    matches!(comm(facts, 1).as_str(), "systemd" | "init" | "openrc-init" | "runit")
}
