//! Names of other machines, or the machine's own, are not found.

use std::path::{Component, PathBuf};
use std::sync::Arc;

use sickbay_formats::lines::{with_line, without_carriage_returns};
use sickbay_formats::nsswitch::{Database, Entry, entries};
use sickbay_formats::resolver::{Host, Line, hosts, resolv_conf};

use crate::facts::Facts;
use crate::facts::packages::programs::has_kernel;
use crate::facts::system::units::{State, Units};
use crate::mend::enable;
use crate::model::finding::Findings;
use crate::model::outcome::{Skip, Verdict};
use crate::model::repair::{Change, Risk};
use crate::model::source::SourceFile;
use crate::spelling::nearest;
use crate::{check, tr};

check! {
    /// ## Symptom
    /// You see: "Temporary failure in name resolution", "Could not resolve host", "Name or service not known", while addresses answer;
    /// or root finds names and other users do not.
    ///
    /// ## What it finds
    /// In `/etc/resolv.conf`: lines that glibc passes over without a word (a blank before `nameserver`, `nameserver=`, a name in the place of an
    /// address, carriage returns, a misspelt keyword), a link that leads nowhere, or to what a service writes that nothing starts
    /// (systemd-resolved is a package of its own since Debian 12). In `/etc/hosts`: lines whose first word is no address, and `localhost`
    /// missing or given to another address. Either file where only root may read it. In `/etc/nsswitch.conf`: a line for hosts by which
    /// the servers of resolv.conf are never asked.
    ///
    /// ## Why it matters
    /// Programs wait for 5 seconds and more for each name, or fail; sudo, mail, databases and package managers among the first.
    ///
    /// ## What the repair does
    /// Corrects the keyword, takes blanks and carriage returns away, makes the file readable. To start a service is risky.
    ///
    /// ## By hand
    /// ```sh
    /// getent hosts example.org
    /// cat /etc/resolv.conf
    /// ls -l /etc/resolv.conf /etc/hosts
    /// ```
    "name-resolution", Network, seed = [], proves = [], "names are not found"
}

const RESOLV_CONF: &str = "/etc/resolv.conf";
const HOSTS: &str = "/etc/hosts";

/// Who writes what resolv.conf may lead to.
const WRITERS: [(&str, &str); 3] = [
    ("/run/systemd/resolve/", "systemd-resolved.service"),
    ("/run/NetworkManager/", "NetworkManager.service"),
    ("/run/resolvconf/", "resolvconf.service"),
];

fn run(facts: &Facts, found: &mut Findings) -> Verdict {
    let has_servers = servers(facts, found)?;
    own_names(facts, found)?;
    if has_servers {
        order(facts, found)?;
    }
    for path in [RESOLV_CONF, HOSTS] {
        readable(facts, path, found);
    }
    Ok(())
}

/// What resolv.conf says; whether it names a server.
fn servers(facts: &Facts, found: &mut Findings) -> Result<bool, Skip> {
    let Some(file) = facts.file(RESOLV_CONF)? else {
        leads_nowhere(facts, found);
        return Ok(false);
    };
    let all = resolv_conf(&file.bytes);
    let servers = all.iter().filter(|(line, _)| matches!(line, Line::Server(_))).count();
    let why = || match servers {
        0 => tr!("no server is asked: the names of other machines are not found"),
        _ => tr!("this server is never asked"),
    };
    for (line, span) in &all {
        let (message, fixed) = match line {
            Line::Server(_) | Line::Setting => continue,
            Line::NoAddress(value) if value.ends_with('\r') => {
                let finding =
                    found.error(tr!("{path} has DOS line ends: glibc takes no server from it", path = RESOLV_CONF));
                finding.at(&file, *span).why(why());
                let title = tr!("take the carriage returns out of {path}", path = RESOLV_CONF);
                finding.repair(Risk::Safe, title, [Change::edit(&file, without_carriage_returns(&file.bytes))]);
                break;
            }
            Line::NoAddress(value) => {
                (tr!("nameserver must be an address, and {value} is none", value = value.as_str()), None)
            }
            Line::Indented => {
                let trimmed = with_line(&file.bytes, span.line, |line| Some(line.trim_ascii_start().to_vec()));
                (tr!("the line begins with a blank: glibc passes over it"), Some(trimmed))
            }
            Line::Unknown(word) => match meant(&file, span.line, word) {
                Some(fixed) => {
                    (tr!("{word} is no keyword: glibc passes over the line", word = word.as_str()), Some(fixed))
                }
                // Other programs keep notes of their own here.
                None => continue,
            },
        };
        let finding = if servers == 0 { found.error(message) } else { found.warning(message) };
        finding.at(&file, *span).why(why());
        match fixed {
            Some(text) => {
                let title = tr!("correct line {line} of {path}", line = span.line, path = RESOLV_CONF);
                finding.repair(Risk::Safe, title, [Change::edit(&file, text)]);
            }
            None => {
                finding.by_hand(tr!("write the address of the server"));
            }
        }
    }
    Ok(servers > 0)
}

/// The text with `nameserver` in the place of what was meant for it.
fn meant(file: &SourceFile, line: usize, word: &str) -> Option<Vec<u8>> {
    let (keyword, rest) = word.split_once(['=', ':']).map_or((word, None), |(keyword, rest)| (keyword, Some(rest)));
    let keyword = keyword.to_lowercase();
    let meant = match keyword.as_str() {
        "nameserver" | "search" | "domain" | "options" => keyword.as_str(),
        other => nearest(other, ["nameserver", "search", "options", "domain"].into_iter(), 2)?,
    };
    Some(with_line(&file.bytes, line, |text| {
        let behind = text.trim_ascii_start().get(word.len()..).unwrap_or_default();
        let rest = rest.unwrap_or_default().as_bytes();
        Some([meant.as_bytes(), b" ", rest, behind.trim_ascii_start()].concat())
    }))
}

/// No file is there: nothing is said of that unless a link leads to where one should be.
fn leads_nowhere(facts: &Facts, found: &mut Findings) {
    let root = facts.root();
    let Ok(target) = root.read_link(RESOLV_CONF) else { return };
    let mut place = PathBuf::from("/etc");
    for part in target.components() {
        match part {
            Component::ParentDir => drop(place.pop()),
            other => place.push(other),
        }
    }
    let place = place.display().to_string();
    let writer = WRITERS.iter().find(|(dir, _)| place.starts_with(dir)).map(|(_, unit)| *unit);
    let Some(unit) = writer else {
        // What is below /run is only there while the system runs.
        if facts.runs() || !place.starts_with("/run/") {
            let finding =
                found.error(tr!("{path} leads to {target}, which does not exist", path = RESOLV_CONF, target = place));
            finding.at_path(RESOLV_CONF).why(tr!("no server is asked: the names of other machines are not found"));
            finding.by_hand(tr!("write the servers to {path} itself", path = RESOLV_CONF));
        }
        return;
    };
    let Ok(units) = facts.get::<Units>() else { return };
    if units.get(unit).is_some_and(|unit| unit.state == State::Loaded) || (!facts.runs() && !has_kernel(root)) {
        return;
    }
    let finding = found.error(tr!(
        "{path} leads to {target}, which {unit} writes, and nothing starts that",
        path = RESOLV_CONF,
        target = place,
        unit
    ));
    finding.at_path(RESOLV_CONF).why(tr!("no server is asked: the names of other machines are not found"));
    match enable::file_of(facts, unit) {
        Some(file) => enable::offer(finding, facts, unit, &file),
        None => {
            finding.by_hand(tr!("install it, or write the servers to {path} itself", path = RESOLV_CONF));
        }
    }
}

/// What /etc/hosts says of this machine.
fn own_names(facts: &Facts, found: &mut Findings) -> Verdict {
    let Some(file) = facts.file(HOSTS)? else { return Ok(()) };
    let all = hosts(&file.bytes);
    for host in all.iter().filter(|host| host.address.is_none()) {
        let [first, second, ..] = host.words.as_slice() else { continue };
        let swapped = second.parse::<std::net::IpAddr>().is_ok();
        let finding = match swapped {
            true => found.warning(tr!(
                "the name {name} stands before its address: the line is passed over",
                name = first.as_str()
            )),
            false => found.note(tr!("{word} is no address: the line is passed over", word = first.as_str())),
        };
        finding.at(&file, host.span);
        if swapped {
            finding.why(tr!("{name} is not found by it", name = first.as_str()));
            let words: Vec<&str> = host.words.iter().map(String::as_str).collect();
            let line = [&words[1..2], &words[..1], &words[2..]].concat().join(" ");
            let text = with_line(&file.bytes, host.span.line, |_| Some(line.into_bytes()));
            finding.repair(Risk::Safe, tr!("put the address first"), [Change::edit(&file, text)]);
        } else {
            finding.by_hand(tr!("write an address and then its names, or make it a comment"));
        }
    }
    let of_localhost = |host: &&Host| {
        host.address.is_some() && host.words.iter().skip(1).any(|word| word.eq_ignore_ascii_case("localhost"))
    };
    let mut named = all.iter().filter(of_localhost).peekable();
    // Programs that know the name by themselves, and files that are nobody's.
    if named.peek().is_none() {
        if all.is_empty() || sources(facts)?.iter().any(|source| matches!(source.as_str(), "myhostname" | "resolve")) {
            return Ok(());
        }
        let finding = found.warning(tr!("{path} has no address for localhost", path = HOSTS));
        finding.at_path(HOSTS).why(tr!("what talks to localhost asks the servers of resolv.conf for it"));
        let text = [b"127.0.0.1 localhost\n".as_slice(), &file.bytes].concat();
        finding.repair(Risk::Safe, tr!("add 127.0.0.1 localhost to {path}", path = HOSTS), [Change::edit(&file, text)]);
    } else if !named.any(|host| host.address.is_some_and(|address| address.is_loopback())) {
        let Some(host) = all.iter().find(of_localhost) else { return Ok(()) };
        let address = host.words.first().map_or("", String::as_str);
        let finding = found.error(tr!("{path} gives localhost the address {address}", path = HOSTS, address));
        finding.at(&file, host.span).why(tr!("what listens on the loopback alone is not reached by that name"));
        finding.by_hand(tr!("give localhost 127.0.0.1"));
    }
    Ok(())
}

/// The services that nsswitch.conf names for hosts; none where it says nothing, which means that of glibc: dns and files.
fn sources(facts: &Facts) -> Result<Vec<String>, Skip> {
    Ok(database(facts)?
        .map_or_else(Vec::new, |(_, database)| database.sources.iter().map(|source| source.name.to_string()).collect()))
}

fn database(facts: &Facts) -> Result<Option<(Arc<SourceFile>, Database)>, Skip> {
    let Some(file) = facts.file("/etc/nsswitch.conf")? else { return Ok(None) };
    let mut of_hosts = entries(&file.bytes).into_iter().filter_map(|entry| match entry {
        Entry::Database(database) if database.name == "hosts" => Some(database),
        _ => None,
    });
    // Of two lines for one database the last one counts.
    Ok(of_hosts.next_back().map(|database| (file, database)))
}

/// Whether the servers are ever asked.
fn order(facts: &Facts, found: &mut Findings) -> Verdict {
    let Some((file, database)) = database(facts)? else { return Ok(()) };
    let is_local = |name: &[u8]| matches!(name, b"files" | b"db" | b"myhostname" | b"mymachines" | b"compat");
    if database.broken || database.sources.iter().any(|source| !is_local(&source.name)) {
        return Ok(());
    }
    let finding =
        found.warning(tr!("no source of hosts in nsswitch.conf asks the servers of {path}", path = RESOLV_CONF));
    finding.at(&file, database.span).why(tr!("only names of {path} are found", path = HOSTS));
    let text = with_line(&file.bytes, database.span.line, |line| Some([line.trim_ascii_end(), b" dns"].concat()));
    finding.repair(Risk::Risky, tr!("add dns to the line"), [Change::edit(&file, text)]);
    Ok(())
}

/// Whether others than root may read it.
fn readable(facts: &Facts, path: &str, found: &mut Findings) {
    let root = facts.root();
    let mode = match root.stat(path) {
        Ok(metadata) if metadata.is_file() => metadata.mode & 0o7777,
        _ => return,
    };
    let Ok(real) = root.canonical(path) else { return };
    // Below /run it is its writer's.
    if mode & 0o004 != 0 || real.starts_with("/run") {
        return;
    }
    let finding = found.error(tr!("only root can read {path} (mode {mode})", path, mode = format!("{mode:04o}")));
    finding.at_path(path).why(tr!("names are found for root, and for no service or user beside it"));
    finding.repair(
        Risk::Safe,
        tr!("chmod 644 {path}", path),
        [Change::Mode { path: real, before: mode, after: 0o644 }],
    );
}
