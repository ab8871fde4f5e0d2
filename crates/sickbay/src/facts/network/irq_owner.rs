//! Who sets where interrupts and packets go: what sickbay sets is undone by whoever does so again, at once or at the next boot.

use std::collections::BTreeSet;
use std::sync::Arc;

use bstr::ByteSlice;
use sickbay_formats::cpus::Cpus;
use sickbay_formats::shell_vars;
use sickbay_target::{FileKind, KernelFiles};

use crate::facts::system::kernel::running;
use crate::facts::system::units::unit;
use crate::facts::{Fact, Facts};
use crate::model::outcome::Skip;
use crate::model::source::SourceFile;
use crate::model::text::Text;
use crate::tr;

/// irqbalance(1), which moves interrupts every ten seconds.
#[derive(Clone, Debug, Default)]
pub struct Irqbalance {
    /// Its number, where it runs.
    pub pid: Option<u32>,
    /// It is started at boot.
    pub starts: bool,
    /// Its file of variables, where it has one.
    pub config: Option<Arc<SourceFile>>,
    /// The variable of its arguments.
    pub variable: String,
    /// Interrupts that it leaves alone by its file.
    pub bans: BTreeSet<u32>,
    /// CPUs that it leaves alone.
    pub banned: Cpus,
}

/// Something else that does.
#[derive(Clone, Debug)]
pub struct Setter {
    /// What it is: "the service ecs_mq", "line 3 of /etc/rc.local".
    pub what: Text,
    /// The line, where it is one.
    pub line: Option<(Arc<SourceFile>, usize)>,
    /// What can be done about it.
    pub advice: Text,
}

/// All of them.
#[derive(Clone, Debug, Default)]
pub struct Owners {
    /// irqbalance, where it runs or will.
    pub irqbalance: Option<Irqbalance>,
    /// Others.
    pub others: Vec<Setter>,
}

impl Fact for Owners {
    fn gather(facts: &Facts) -> Result<Owners, Skip> {
        running(facts)?;
        let mut others = services(facts);
        others.extend(scripts(facts));
        Ok(Owners { irqbalance: irqbalance(facts), others })
    }
}

/// So many processes are asked for their names.
const PROCESSES: usize = 1 << 16;

fn process(facts: &Facts, name: &str) -> Option<u32> {
    let mut files = KernelFiles::open(facts.root(), "/proc").ok()?;
    let entries = facts.root().read_dir("/proc").ok()?;
    let pids = entries.iter().filter_map(|entry| entry.name.to_str()?.parse::<u32>().ok());
    pids.take(PROCESSES)
        .find(|pid| files.read(&format!("{pid}/comm")).is_ok_and(|comm| comm.trim_ascii() == name.as_bytes()))
}

/// Whether a service is started at boot, by systemd or by the links of SysV.
fn starts(facts: &Facts, name: &str) -> bool {
    let root = facts.root();
    let has = |path: &str| root.metadata(path).is_ok();
    if ["multi-user", "network", "network-online", "sysinit", "basic"]
        .iter()
        .any(|target| has(&format!("/etc/systemd/system/{target}.target.wants/{name}.service")))
    {
        return true;
    }
    ["/etc/rc3.d", "/etc/rc.d/rc3.d", "/etc/rc5.d"].iter().any(|dir| {
        let entries = root.read_dir(dir).unwrap_or_default();
        let is_start = |entry: &str| entry.strip_prefix('S').and_then(|rest| rest.get(2..)) == Some(name);
        entries.iter().any(|entry| entry.name.to_str().is_some_and(is_start))
    })
}

fn irqbalance(facts: &Facts) -> Option<Irqbalance> {
    let mut found = Irqbalance { pid: process(facts, "irqbalance"), ..Irqbalance::default() };
    found.starts = starts(facts, "irqbalance");
    if found.pid.is_none() && !found.starts {
        return None;
    }
    let unit = unit(facts, "irqbalance.service").ok();
    let told = |key: &str| unit.as_ref().map(|unit| unit.list("Service", key)).unwrap_or_default();
    let named = told("EnvironmentFile").into_iter().rev().map(|path| path.trim_start_matches('-').to_owned());
    let usual = ["/etc/sysconfig/irqbalance", "/etc/default/irqbalance"].map(str::to_owned);
    found.config =
        named.chain(usual).filter(|path| path.starts_with("/etc/")).find_map(|path| facts.file(path).ok().flatten());
    let command = told("ExecStart").join(" ");
    let is_old = command.contains("$OPTIONS") || command.contains("${OPTIONS}");
    found.variable = if is_old { "OPTIONS" } else { "IRQBALANCE_ARGS" }.to_owned();
    let all = found.config.as_ref().map(|file| shell_vars::assignments(&file.bytes)).unwrap_or_default();
    let value = |name: &str| shell_vars::value_of(&all, name).map(|value| value.to_string());
    let list = value("IRQBALANCE_BANNED_CPULIST").and_then(|list| Cpus::list(&list));
    found.banned = list.or_else(|| Cpus::mask(&value("IRQBALANCE_BANNED_CPUS")?)).unwrap_or_default();
    found.bans = bans(&value(&found.variable).unwrap_or_default());
    Some(found)
}

/// The interrupts that arguments of irqbalance ban: `--banirq=27`, `-i 27`.
fn bans(arguments: &str) -> BTreeSet<u32> {
    let words: Vec<&str> = arguments.split_whitespace().collect();
    let mut all = BTreeSet::new();
    for (index, word) in words.iter().enumerate() {
        let next = || words.get(index + 1).copied();
        let number = match *word {
            "-i" | "--banirq" => next(),
            other => other.strip_prefix("--banirq=").or_else(|| other.strip_prefix("-i")),
        };
        all.extend(number.and_then(|number| number.parse::<u32>().ok()));
    }
    all
}

/// Services of clouds and programs that are known to set queues, interrupts or RPS at boot.
const SERVICES: [(&str, &str); 5] = [
    ("ecs_mq", "/usr/sbin/ecs_mq_rps_rfs"),
    ("google-guest-agent", "/usr/bin/google_set_multiqueue"),
    ("redpanda-tuner", "/etc/systemd/system/redpanda-tuner.service"),
    ("scylla-server", "/etc/scylla.d/perftune.yaml"),
    ("set_irq_affinity", "/usr/sbin/set_irq_affinity.sh"),
];

fn services(facts: &Facts) -> Vec<Setter> {
    let mut all: Vec<Setter> = SERVICES
        .iter()
        .filter(|(name, trace)| facts.root().exists(trace).unwrap_or(false) && starts(facts, name))
        .map(|(name, trace)| Setter {
            what: tr!("the service {name} ({path})", name = *name, path = *trace),
            line: None,
            advice: tr!("set it by what {name} reads, or stop that at boot: systemctl disable {name}", name = *name),
        })
        .collect();
    let profile = facts.file("/etc/tuned/active_profile").ok().flatten();
    let profile = profile.map(|file| file.bytes.trim_ascii().to_str_lossy().into_owned()).unwrap_or_default();
    for name in profile.split_whitespace().filter(|name| !name.contains('/')) {
        for dir in ["/etc/tuned", "/etc/tuned/profiles", "/usr/lib/tuned", "/usr/lib/tuned/profiles"] {
            let path = format!("{dir}/{name}/tuned.conf");
            let Some(file) = facts.file(&path).ok().flatten() else { continue };
            if let Some(number) = line_with(&file.bytes, &TUNED) {
                all.push(Setter {
                    what: tr!(
                        "the profile {name} of tuned, line {line} of {path}",
                        name,
                        line = number,
                        path = path.as_str()
                    ),
                    line: Some((file, number)),
                    advice: tr!("set it in a profile of your own that includes {name}", name),
                });
                break;
            }
        }
    }
    all
}

/// What a profile of tuned sets interrupts and queues by.
const TUNED: [&str; 6] = ["smp_affinity", "rps_cpus", "xps_cpus", "rps_sock_flow_entries", "[irqbalance]", "channels="];

/// What lines of scripts and rules set them by.
const WORDS: [&str; 8] = [
    "smp_affinity",
    "rps_cpus",
    "rps_flow_cnt",
    "xps_cpus",
    "ethtool -L",
    "ReceivePacketSteeringCPUMask=",
    "CombinedChannels=",
    "RxChannels=",
];

/// Where such lines are looked for.
const FILES: [&str; 4] = ["/etc/rc.local", "/etc/rc.d/rc.local", "/sbin/ifup-local", "/etc/crontab"];
const DIRS: [&str; 14] = [
    "/etc/init.d",
    "/etc/rc.d/init.d",
    "/etc/cron.d",
    "/var/spool/cron",
    "/var/spool/cron/crontabs",
    "/etc/udev/rules.d",
    "/etc/network/if-up.d",
    "/etc/network/if-pre-up.d",
    "/etc/NetworkManager/dispatcher.d",
    "/etc/networkd-dispatcher/routable.d",
    "/etc/systemd/system",
    "/etc/systemd/network",
    "/usr/local/sbin",
    "/usr/local/bin",
];

/// So many files of a directory, and no longer ones.
const MOST: usize = 64;
const LONGEST: u64 = 128 << 10;

/// Our own files: what a repair has put there is no reason against the next.
fn is_ours(path: &str) -> bool {
    path.contains("sickbay")
}

fn scripts(facts: &Facts) -> Vec<Setter> {
    let root = facts.root();
    let mut paths: Vec<String> = FILES.map(str::to_owned).to_vec();
    let mut seen = BTreeSet::new();
    for dir in DIRS {
        if !root.canonical(dir).is_ok_and(|real| seen.insert(real)) {
            continue;
        }
        let Ok((entries, _)) = root.read_dir_up_to(dir, MOST) else { continue };
        let names = entries.iter().filter(|entry| entry.kind == FileKind::File).filter_map(|entry| entry.name.to_str());
        paths.extend(names.map(|name| format!("{dir}/{name}")));
    }
    let mut all = Vec::new();
    let mut known = BTreeSet::new();
    for path in paths.into_iter().filter(|path| !is_ours(path)) {
        let is_short = root.stat(&path).is_ok_and(|metadata| metadata.is_file() && metadata.size <= LONGEST);
        if !is_short || !root.canonical(&path).is_ok_and(|real| known.insert(real)) {
            continue;
        }
        let Some(file) = facts.file(&path).ok().flatten() else { continue };
        let Some(number) = line_with(&file.bytes, &WORDS) else { continue };
        all.push(Setter {
            what: tr!("line {line} of {path}", line = number, path = path.as_str()),
            line: Some((file, number)),
            advice: tr!("change line {line} of {path}", line = number, path = path.as_str()),
        });
    }
    all
}

/// The first line, no comment, that has one of the words.
fn line_with(text: &[u8], words: &[&str]) -> Option<usize> {
    if text.contains(&0) {
        return None;
    }
    let has =
        |line: &[u8]| !line.trim_ascii_start().starts_with(b"#") && words.iter().any(|word| line.contains_str(word));
    text.lines().position(has).map(|index| index + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_banned() {
        let banned = bans("--foreground --banirq=27 -i 29 --banirq 31 -i33 --policyscript=/x");
        assert_eq!(banned.into_iter().collect::<Vec<_>>(), [27, 29, 31, 33]);
    }

    #[test]
    fn a_comment_sets_nothing() {
        let text = b"#!/bin/sh\n# echo f > rps_cpus\necho f > /sys/class/net/eth0/queues/rx-0/rps_cpus\n";
        assert_eq!((line_with(text, &WORDS), line_with(b"exit 0\n", &WORDS)), (Some(3), None));
    }
}
