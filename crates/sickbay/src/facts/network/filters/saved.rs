//! The rules that a boot loads, from the files of whichever programs it starts.

use std::path::{Path, PathBuf};

use bstr::ByteSlice;
use sickbay_formats::filter::{Rule, RuleSet, firewalld, iptables, nft, ufw};
use sickbay_formats::shell_vars;
use sickbay_formats::wildcard::fits;

use crate::facts::network::services::starts;
use crate::facts::{Fact, Facts};
use crate::model::outcome::Skip;

/// A program that loads rules at boot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// `firewalld`, `ufw`, `nftables`, `iptables`
    pub program: &'static str,
    /// What it reads first.
    pub path: PathBuf,
}

/// What it comes to.
#[derive(Debug, Default)]
pub struct Saved {
    /// The rules.
    pub rules: RuleSet,
    /// Who loads them.
    pub sources: Vec<Source>,
    /// Docker, Kubernetes, fail2ban and the like add theirs when they run: what no rule of a file decides may still be decided.
    pub others: Vec<&'static str>,
}

/// What iptables' rules are kept in, and the names of what loads them.
const IPTABLES: [(&str, &str, bool, &[&str]); 8] = [
    ("iptables", "/etc/iptables/rules.v4", false, &["netfilter-persistent", "iptables-persistent"]),
    ("iptables", "/etc/iptables/rules.v6", true, &["netfilter-persistent", "iptables-persistent"]),
    ("iptables", "/etc/sysconfig/iptables", false, &["iptables"]),
    ("iptables", "/etc/sysconfig/ip6tables", true, &["ip6tables"]),
    ("iptables", "/etc/iptables/iptables.rules", false, &["iptables"]),
    ("iptables", "/etc/iptables/ip6tables.rules", true, &["ip6tables"]),
    ("iptables", "/etc/iptables/rules-save", false, &["iptables"]),
    ("iptables", "/etc/iptables/rules6-save", true, &["ip6tables"]),
];

const NFTABLES: [&str; 3] = ["/etc/nftables.conf", "/etc/sysconfig/nftables.conf", "/etc/nftables.nft"];

/// Programs that add rules when they run.
const OTHERS: [(&str, &[&str]); 6] = [
    ("Docker", &["docker"]),
    ("fail2ban", &["fail2ban"]),
    ("Kubernetes", &["kubelet", "k3s"]),
    ("libvirt", &["libvirtd", "virtnetworkd"]),
    ("CrowdSec", &["crowdsec-firewall-bouncer"]),
    ("ConfigServer Firewall", &["csf"]),
];

impl Fact for Saved {
    fn gather(facts: &Facts) -> Result<Saved, Skip> {
        let mut saved = Saved::default();
        for (program, path, v6, units) in IPTABLES {
            if let Some(file) = facts.file(path)?.filter(|_| starts(facts, units)) {
                iptables::read(&mut saved.rules, path, &file.bytes, v6);
                saved.add(program, path);
            }
        }
        for path in NFTABLES {
            if let Some(file) = facts.file(path)?.filter(|_| starts(facts, &["nftables"])) {
                let dir = Path::new(path).parent().unwrap_or(Path::new("/")).to_owned();
                let mut include = |pattern: &str| included(facts, &dir, pattern);
                nft::read(&mut saved.rules, path, &file.bytes, &mut include);
                saved.add("nftables", path);
                break;
            }
        }
        saved.ufw(facts)?;
        saved.firewalld(facts)?;
        for (name, units) in OTHERS {
            if starts(facts, units) {
                saved.others.push(name);
            }
        }
        saved.rules.link();
        Ok(saved)
    }
}

impl Saved {
    fn add(&mut self, program: &'static str, path: &str) {
        self.sources.push(Source { program, path: PathBuf::from(path) });
    }

    fn ufw(&mut self, facts: &Facts) -> Result<(), Skip> {
        let enabled = facts.file("/etc/ufw/ufw.conf")?.is_some_and(|conf| ufw::is_enabled(&conf.bytes));
        let Some(defaults) = facts.file("/etc/default/ufw")?.filter(|_| enabled && starts(facts, &["ufw"])) else {
            return Ok(());
        };
        let has_v6 = shell_vars::value_of(&shell_vars::assignments(&defaults.bytes), "IPV6")
            .is_none_or(|value| value.eq_ignore_ascii_case(b"yes"));
        for (v6, end) in [(false, ""), (true, "6")] {
            if v6 && !has_v6 {
                continue;
            }
            let mut files = Vec::new();
            for name in ["before", "user", "after"] {
                // Up to release 0.34 the user's were in /lib.
                for dir in ["/etc/ufw", "/lib/ufw", "/var/lib/ufw"] {
                    let path = format!("{dir}/{name}{end}.rules");
                    if let Some(file) = facts.file(&path)? {
                        files.push((path, file));
                        break;
                    }
                }
            }
            let rules: Vec<_> = files.iter().map(|(path, file)| ufw::File { path, bytes: &file.bytes }).collect();
            let defaults = ufw::File { path: "/etc/default/ufw", bytes: &defaults.bytes };
            ufw::read(&mut self.rules, &ufw::Files { defaults, rules: &rules }, v6);
        }
        self.add("ufw", "/etc/ufw/user.rules");
        Ok(())
    }

    fn firewalld(&mut self, facts: &Facts) -> Result<(), Skip> {
        let is_there = facts.root().exists("/usr/sbin/firewalld").unwrap_or(false)
            || facts.root().exists("/usr/bin/firewalld").unwrap_or(false);
        if !is_there || !starts(facts, &["firewalld"]) {
            return Ok(());
        }
        let mut config = firewalld::Config { default_zone: "public".to_owned(), ..firewalld::Config::default() };
        if let Some(conf) = facts.file("/etc/firewalld/firewalld.conf")? {
            let zone = shell_vars::value_of(&shell_vars::assignments(&conf.bytes), "DefaultZone");
            config.default_zone = zone.map_or(config.default_zone, |zone| zone.to_string());
        }
        // Services last: what names them is then known, and once more for those that another one includes.
        for (kind, dir) in ["zones", "policies", "ipsets", "services", "services"]
            .iter()
            .flat_map(|kind| ["/etc/firewalld", "/usr/lib/firewalld", "/lib/firewalld"].map(|dir| (*kind, dir)))
        {
            let dir = format!("{dir}/{kind}");
            let mut entries = facts.root().read_dir(&dir).unwrap_or_default();
            entries.sort_by(|a, b| a.name.cmp(&b.name));
            for entry in entries.into_iter().take(2000) {
                let Some(name) = entry.name.to_str().and_then(|name| name.strip_suffix(".xml")) else { continue };
                // A zone that is shipped counts where firewalld refuses what is in /etc.
                let known = match kind {
                    "services" => config.services.contains_key(name),
                    "ipsets" => config.sets.contains_key(name),
                    _ => false,
                };
                // A service is read when a zone, a policy or another service names it: there are two hundred.
                let path = format!("{dir}/{name}.xml");
                let named = || {
                    let mut all = config.zones.iter().chain(&config.policies).map(|(_, file)| file);
                    all.any(|file| file.bytes.contains_str(name))
                        || config.services.values().any(|file| includes(&file.bytes, name))
                };
                if known || kind == "services" && !named() {
                    continue;
                }
                let Some(file) = facts.file(&path)? else { continue };
                let file = firewalld::File { path, bytes: file.bytes.clone() };
                match kind {
                    "zones" => config.zones.push((name.to_owned(), file)),
                    "policies" => config.policies.push((name.to_owned(), file)),
                    "ipsets" => drop(config.sets.insert(name.to_owned(), file)),
                    _ => drop(config.services.insert(name.to_owned(), file)),
                }
            }
        }
        if let Some(file) = facts.file("/etc/firewalld/direct.xml")? {
            let path = "/etc/firewalld/direct.xml".to_owned();
            config.direct = Some(firewalld::File { path, bytes: file.bytes.clone() });
        }
        config.cards = zones_of_cards(facts)?;
        config.has_manager = starts(facts, &["NetworkManager"]);
        firewalld::read(&mut self.rules, &config);
        let path = config.zones.iter().find(|(name, _)| *name == config.default_zone);
        let path = path.map_or_else(|| "/etc/firewalld/firewalld.conf".to_owned(), |(_, file)| file.path.clone());
        self.add("firewalld", &path);
        Ok(())
    }
}

/// Whether a service includes another one of that name.
fn includes(bytes: &[u8], name: &str) -> bool {
    bytes.contains_str("<include") && bytes.contains_str(format!("service=\"{name}\""))
}

/// The zones that NetworkManager and network-scripts put cards into.
fn zones_of_cards(facts: &Facts) -> Result<Vec<(String, String)>, Skip> {
    let files = facts.get::<crate::facts::network::NetworkFiles>()?;
    let mut all = Vec::new();
    for file in &files.files {
        let text = file.bytes.to_str_lossy();
        let value = |keys: &[&str]| {
            text.lines().find_map(|line| {
                let (key, value) = line.split_once('=')?;
                keys.contains(&key.trim()).then(|| value.trim().trim_matches(['"', '\'']).to_owned())
            })
        };
        if file.path.contains("ifcfg-") || file.path.ends_with(".nmconnection") {
            let zone = value(&["ZONE", "zone"]).filter(|zone| !zone.is_empty());
            all.extend(value(&["DEVICE", "interface-name"]).zip(zone));
        }
    }
    Ok(all)
}

/// The files that `include` of nft names.
fn included(facts: &Facts, dir: &Path, pattern: &str) -> Vec<(String, Vec<u8>)> {
    let path = dir.join(pattern);
    let name = path.file_name().unwrap_or_default().to_owned();
    let read = |path: &Path| {
        let file = facts.file(path).ok().flatten()?;
        Some((path.display().to_string(), file.bytes.clone()))
    };
    if !name.as_encoded_bytes().iter().any(|byte| b"*?[".contains(byte)) {
        return read(&path).into_iter().collect();
    }
    let above = path.parent().unwrap_or(dir);
    let mut entries = facts.root().read_dir(above).unwrap_or_default();
    entries.sort_by(|a, b| a.name.cmp(&b.name));
    let fitting = entries.iter().filter(|entry| {
        let bytes = entry.name.as_encoded_bytes();
        !bytes.starts_with(b".") && fits(bytes, name.as_encoded_bytes())
    });
    fitting.filter_map(|entry| read(&above.join(&entry.name))).take(256).collect()
}

/// The line of ufw's user.rules that a rule in force was made of, and what the user said for it.
pub fn user_rule(facts: &Facts, rule: &Rule) -> Option<(String, String)> {
    let text = plain(&rule.text);
    for path in ["/etc/ufw/user.rules", "/etc/ufw/user6.rules", "/lib/ufw/user.rules", "/lib/ufw/user6.rules"] {
        let Ok(Some(file)) = facts.file(path) else { continue };
        let Some(at) = file.bytes.lines().position(|line| plain(&line.to_str_lossy()) == text) else { continue };
        return Some((format!("{path}:{}", at + 1), ufw::tuple(&file.bytes, at + 1)?));
    }
    None
}

/// A rule as both iptables-save and a person write it: `-m tcp` is what `-p tcp` implies.
fn plain(text: &str) -> String {
    let text = text.replace("/32", "").replace("-m tcp ", "").replace("-m udp ", "");
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
