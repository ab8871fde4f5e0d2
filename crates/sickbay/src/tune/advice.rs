//! What a machine would gain from, with what it has now and why. Each piece of advice needs something that was seen: a line that does
//! harm, a limit that is nearly reached, a default too small for what runs. What is well already is not spoken of.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bstr::ByteSlice;
use sickbay_formats::procfs::{numbers, sockstat};

use crate::facts::Facts;
use crate::facts::memory::size;
use crate::facts::system::kernel::{MemInfo, running};
use crate::facts::system::sysctl_files::SysctlFiles;
use crate::model::outcome::Skip;
use crate::model::repair::Risk;
use crate::model::text::Text;
use crate::tr;
use crate::tune::kernel::{Machine, from};
use crate::tune::knowledge::{self, Judgement, Verdict, is_same};
use crate::tune::lint;
use crate::tune::origin::{Origin, now};
use crate::tune::work::{Nginx, Server, Servers, Work};

/// What is to be set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// A kernel parameter.
    Sysctl(String),
    /// `LimitNOFILE=` of a unit.
    Files(String),
}

impl What {
    /// Its name.
    pub fn name(&self) -> String {
        match self {
            What::Sysctl(key) => key.clone(),
            What::Files(unit) => format!("{unit} LimitNOFILE"),
        }
    }
}

/// One piece of advice.
#[derive(Clone, Debug)]
pub struct Advice {
    /// What is to be set.
    pub what: What,
    /// What it is now.
    pub now: String,
    /// The line that sets it, `/etc/sysctl.conf:3`; `None` for a default.
    pub set_by: Option<String>,
    /// What it should be.
    pub value: String,
    /// Why, with the arithmetic.
    pub reason: Text,
    /// What it may cost.
    pub risk: Risk,
    /// On which kernels it is of use.
    pub kernels: Text,
    /// What it is known from.
    pub sources: Vec<&'static str>,
}

/// Everything that is advised.
#[derive(Debug)]
pub struct Advices {
    /// The machine.
    pub machine: Machine,
    /// What it is for, each with the programs that tell it; no programs where the user said it.
    pub works: BTreeMap<Work, BTreeSet<String>>,
    /// The advice.
    pub list: Vec<Advice>,
    /// What could not be looked at.
    pub untold: Vec<Text>,
}

/// What is known while advice is given.
struct Look<'a> {
    facts: &'a Facts,
    machine: &'a Machine,
    works: &'a BTreeMap<Work, BTreeSet<String>>,
    list: Vec<Advice>,
    untold: Vec<Text>,
}

/// Advice for a system that runs, or for the files of one. `work` says what it is for; without it what runs does, or what a boot
/// starts.
///
/// # Errors
/// Where neither a kernel runs nor one is installed.
pub fn advise(facts: &Facts, work: Option<Work>) -> Result<Advices, Skip> {
    let runs = running(facts).is_ok();
    let machine = if runs { Machine::of(facts)? } else { Machine::installed(facts)? };
    let servers = if runs { facts.get::<Servers>()? } else { Arc::default() };
    let works = match work {
        Some(work) => BTreeMap::from([(work, BTreeSet::new())]),
        None if runs => servers.works(facts),
        None => started(facts),
    };
    let mut look = Look { facts, machine: &machine, works: &works, list: Vec::new(), untold: Vec::new() };
    harmful(&mut look)?;
    accept_queue(&mut look);
    ports(&mut look);
    tables(&mut look);
    memory(&mut look);
    files(&mut look, &servers.list);
    let Look { list, mut untold, .. } = look;
    untold.extend(facts.get::<SysctlFiles>()?.unread.iter().cloned());
    if !runs {
        untold.push(tr!(
            "how full queues, ports and tables are, and what services have open: only the running system tells, or a bundle of it (sickbay collect)"
        ));
    }
    Ok(Advices { list, untold, works, machine })
}

impl Look<'_> {
    fn is(&self, works: &[Work]) -> bool {
        works.iter().any(|work| self.works.contains_key(work))
    }

    /// What a parameter is, or of a system that does not run what the next boot makes of it.
    fn value(&self, key: &str) -> Option<String> {
        if running(self.facts).is_ok() {
            return now(self.facts, key);
        }
        let origin = Origin::of(self.facts, key).ok()?;
        let default = || knowledge::find(key).filter(|known| known.is_in(self.machine))?.default(self.machine);
        origin.after_restart().map(str::to_owned).or_else(default)
    }

    fn number(&self, key: &str) -> Option<u64> {
        self.value(key)?.split_whitespace().next()?.parse().ok()
    }

    /// What is said of the value that a line sets. The machine is known to the origin only where it runs.
    fn said(&self, origin: &Origin, value: &str) -> Option<Judgement> {
        if running(self.facts).is_ok() {
            return origin.said.clone();
        }
        let other = |key: &str| self.value(key)?.split_whitespace().next()?.parse().ok();
        Some(lint::parameter(&origin.key, value, self.machine, &other))
    }

    /// Numbers of a file of /proc.
    fn read(&self, path: &str) -> Vec<u64> {
        numbers(&self.facts.root().read(path).unwrap_or_default())
    }

    /// Adds advice about a parameter that this kernel has, and that is not so already.
    fn sysctl(
        &mut self,
        key: &str,
        value: impl ToString,
        risk: Risk,
        kernels: Text,
        reason: Text,
        more: &[&'static str],
    ) {
        let value = value.to_string();
        let Some(is) = self.value(key).filter(|is| !is_same(is, &value)) else { return };
        if self.list.iter().any(|known| known.what == What::Sysctl(key.to_owned())) {
            return;
        }
        let origin = Origin::of(self.facts, key).ok();
        let set_by = origin.as_ref().and_then(|origin| {
            let setting = origin.settings.get(origin.winner?)?;
            is_same(&setting.value, &is).then(|| format!("{}:{}", setting.file.path.display(), setting.span.line))
        });
        let own = knowledge::find(key).map_or(&[][..], |known| known.sources);
        let mut sources = more.to_vec();
        sources.extend(own.iter().filter(|source| !more.contains(source)));
        self.list.push(Advice {
            what: What::Sysctl(key.to_owned()),
            now: is,
            set_by,
            value,
            reason,
            risk,
            kernels,
            sources,
        });
    }
}

/// Lines of the administrator's files that do harm on this machine, and are in force.
fn harmful(look: &mut Look<'_>) -> Result<(), Skip> {
    let files = look.facts.get::<SysctlFiles>()?;
    let mut keys = BTreeSet::new();
    for (file, assignments) in &files.files {
        // What a distribution ships it knows better.
        if file.path.starts_with("/etc") || file.path.starts_with("/run") {
            keys.extend(assignments.iter().filter(|one| one.value.is_some()).map(|one| one.key.to_string()));
        }
    }
    for key in keys {
        let origin = Origin::of(look.facts, &key)?;
        let Some(setting) = origin.winner.and_then(|index| origin.settings.get(index)) else { continue };
        let in_force = look.value(&key).is_some_and(|now| is_same(&now, &setting.value));
        let Some(said) = look.said(&origin, &setting.value).filter(|_| in_force) else { continue };
        let Some(suggested) = said.suggested.clone() else { continue };
        let risk = match said.verdict {
            Verdict::Refuse => Risk::Safe,
            // Somebody may have meant it.
            Verdict::Adapt if key.starts_with("net.") => Risk::Safe,
            Verdict::Adapt => Risk::Risky,
            _ => continue,
        };
        look.sysctl(&key, suggested, risk, tr!("this one"), said.message, &said.sources);
    }
    Ok(())
}

/// What a boot starts, by the units that are wanted.
fn started(facts: &Facts) -> BTreeMap<Work, BTreeSet<String>> {
    let mut works: BTreeMap<Work, BTreeSet<String>> = BTreeMap::new();
    let dirs = ["/etc/systemd/system/multi-user.target.wants", "/etc/rc3.d", "/etc/rc.d/rc3.d"];
    for entry in dirs.iter().flat_map(|dir| facts.root().read_dir(dir).unwrap_or_default()) {
        let Some(name) = entry.name.to_str() else { continue };
        // `nginx.service`, `S85nginx`
        let script = name.strip_prefix('S').map(|rest| rest.trim_start_matches(|c: char| c.is_ascii_digit()));
        let Some(service) = name.strip_suffix(".service").or(script) else { continue };
        if let Some((work, program)) = Work::of_service(service) {
            works.entry(work).or_default().insert(program.to_owned());
        }
    }
    if works.is_empty() {
        works.insert(Work::General, BTreeSet::new());
    }
    works
}

fn accept_queue(look: &mut Look<'_>) {
    if !look.is(&[Work::Web, Work::Proxy, Work::Java]) {
        return;
    }
    if let Some(length) = look.number("net.core.somaxconn").filter(|length| *length < 4096) {
        let reason = tr!(
            "while a program is busy for 0.2 s, {length} waiting connections are full at {rate} new ones a second; what comes then is dropped and tried again after 1 s. 4096 hold {most}. Listeners take it when they are started again, and ask for it themselves (backlog)",
            length,
            rate = length * 5,
            most = 4096 * 5
        );
        look.sysctl("net.core.somaxconn", 4096, Risk::Safe, tr!("before 5.4, whose default it is since"), reason, &[]);
    }
    let is_old = !from(4, 4).holds(&look.machine.kernel);
    if let Some(length) = look.number("net.ipv4.tcp_max_syn_backlog").filter(|length| is_old && *length < 4096) {
        let reason = tr!(
            "half-open connections wait for one round trip: {length} are full at {rate} new ones a second from 100 ms away. Of this, somaxconn and the listener's backlog the smallest counts",
            length,
            rate = length * 10
        );
        look.sysctl("net.ipv4.tcp_max_syn_backlog", 4096, Risk::Safe, tr!("before 4.4"), reason, &[]);
    }
    if look.number("net.ipv4.tcp_syncookies") == Some(0) {
        let reason = tr!("a flood of SYN packets that fills the queue keeps everybody else out");
        look.sysctl("net.ipv4.tcp_syncookies", 1, Risk::Safe, tr!("all"), reason, &[]);
    }
}

/// Ports of outgoing connections.
fn ports(look: &mut Look<'_>) {
    let range = look.read("/proc/sys/net/ipv4/ip_local_port_range");
    let &[low, high] = range.as_slice() else { return };
    let count = high.saturating_sub(low) + 1;
    let sockets = look.facts.root().read("/proc/net/sockstat").unwrap_or_default();
    let waiting = sockstat::value(&sockets, "TCP", "tw").unwrap_or(0);
    // A quarter of the range, all to one destination.
    let many = waiting > count / 4 && count > 0;
    if many && look.is(&[Work::Proxy, Work::Java]) && look.number("net.ipv4.tcp_timestamps") != Some(0) {
        let reason = tr!(
            "{waiting} connections are in TIME_WAIT and {count} ports there are to one destination: {rate} new ones a second. With it an outgoing connection takes such a port after one second. Connections that are kept open (keepalive) are the better cure",
            waiting,
            count,
            rate = count / 60
        );
        look.sysctl(
            "net.ipv4.tcp_tw_reuse",
            1,
            Risk::Safe,
            tr!("all; since 4.19 the default is 2, loopback only"),
            reason,
            &[],
        );
    }
    let is_usual = low == 32_768 && matches!(high, 60_999 | 61_000);
    if look.is(&[Work::Proxy]) && is_usual && waiting > count / 2 {
        let reason = tr!(
            "{waiting} connections are in TIME_WAIT of {count} ports. From 16384 on there are {more}: {rate} a second to one destination. Listeners between 16384 and 32767 belong into net.ipv4.ip_local_reserved_ports first",
            waiting,
            count,
            more = 60_999 - 16_384 + 1,
            rate = (60_999 - 16_384 + 1) / 60
        );
        look.sysctl("net.ipv4.ip_local_port_range", "16384 60999", Risk::Risky, tr!("all"), reason, &[]);
    }
    // Smaller than the kernel would have it, and half full.
    let own = look.machine.ehash().map(|slots| slots / 2);
    if let (Some(most), Some(own)) = (look.number("net.ipv4.tcp_max_tw_buckets"), own)
        && most < own
        && waiting > most / 2
    {
        let reason = tr!(
            "{waiting} of {most} are in use, beyond which TIME_WAIT ends at once; the kernel takes {own} by itself on this machine",
            waiting,
            most,
            own
        );
        look.sysctl("net.ipv4.tcp_max_tw_buckets", own, Risk::Safe, tr!("all"), reason, &[]);
    }
}

/// Tables of the kernel that are nearly full.
fn tables(look: &mut Look<'_>) {
    let nearly = |used: u64, most: u64| most > 0 && used > most / 10 * 6;
    if let (Some(used), Some(most)) =
        (look.number("net.netfilter.nf_conntrack_count"), look.number("net.netfilter.nf_conntrack_max"))
        && nearly(used, most)
    {
        let bound = look.machine.memory.map_or(u64::MAX, |memory| memory / 8 * 1024 / 320);
        let wanted = most.saturating_mul(2).min(bound);
        if wanted > most {
            let reason = tr!(
                "{used} of {most} connections are tracked; when it is full new ones are dropped. {wanted} take {size} when full",
                used,
                most,
                wanted,
                size = size(wanted.saturating_mul(320) / 1024)
            );
            look.sysctl(
                "net.netfilter.nf_conntrack_max",
                wanted,
                Risk::Safe,
                tr!("all, while the module nf_conntrack is loaded"),
                reason,
                &[],
            );
        }
    }
    let files = look.read("/proc/sys/fs/file-nr");
    if let &[used, _, most] = files.as_slice()
        && nearly(used, most)
    {
        let reason = tr!("{used} of {most} files of the whole machine are open", used, most);
        look.sysctl("fs.file-max", most.saturating_mul(2), Risk::Safe, tr!("all"), reason, &[]);
    }
    // 0.00 0.01 0.05 1/404 11912
    let text = look.facts.root().read("/proc/loadavg").unwrap_or_default();
    let threads = text.to_str().ok().and_then(|text| text.split(['/', ' ']).nth(4)?.parse::<u64>().ok()).unwrap_or(0);
    if let Some(most) = look.number("kernel.pid_max").filter(|most| nearly(threads, *most)) {
        let reason = tr!("{threads} threads run, and there are {most} numbers for them", threads, most);
        look.sysctl("kernel.pid_max", 4_194_304, Risk::Safe, tr!("of 64 bits"), reason, &[]);
    }
    if let Some(most) = look.number("kernel.threads-max").filter(|most| nearly(threads, *most)) {
        let reason = tr!("{threads} threads run, and there may be {most}", threads, most);
        look.sysctl("kernel.threads-max", most.saturating_mul(2), Risk::Safe, tr!("all"), reason, &[]);
    }
    let neighbours =
        look.facts.root().read("/proc/net/arp").map_or(0, |text| text.lines().count().saturating_sub(1) as u64);
    if let Some(most) = look.number("net.ipv4.neigh.default.gc_thresh3").filter(|most| nearly(neighbours, *most)) {
        for (key, part) in [("gc_thresh1", 4), ("gc_thresh2", 2), ("gc_thresh3", 1)] {
            let reason = tr!(
                "{neighbours} neighbours of {most}: beyond it is \"neighbour table overflow\", and nobody new is reached",
                neighbours,
                most
            );
            let key = format!("net.ipv4.neigh.default.{key}");
            look.sysctl(&key, most.saturating_mul(4) / part, Risk::Safe, tr!("all"), reason, &[]);
        }
    }
}

/// What databases and search engines ask of memory.
fn memory(look: &mut Look<'_>) {
    let names: BTreeSet<&str> = look.works.values().flatten().map(String::as_str).collect();
    let has_redis = names.contains("redis-server") || names.contains("valkey-server");
    let is_search = look.is(&[Work::Java])
        && ["/etc/elasticsearch", "/etc/opensearch"].iter().any(|path| look.facts.root().exists(path).unwrap_or(false));
    if is_search && look.number("vm.max_map_count").is_some_and(|count| count < 262_144) {
        let reason =
            tr!("elasticsearch and opensearch map their files, and do not start with less than 262144 mappings");
        look.sysctl("vm.max_map_count", 262_144, Risk::Safe, tr!("all"), reason, &[]);
    }
    if has_redis && look.number("vm.overcommit_memory") == Some(0) {
        let reason = tr!(
            "redis writes its file from a copy made by fork(), which asks for as much memory again though it uses little of it: by judgement it is refused when the memory is half full"
        );
        look.sysctl("vm.overcommit_memory", 1, Risk::Risky, tr!("all"), reason, &[]);
    }
    if !look.is(&[Work::Database]) {
        return;
    }
    let has_swap = look.facts.get::<MemInfo>().is_ok_and(|memory| memory.kib("SwapTotal") > 0);
    if has_swap && look.number("vm.swappiness").is_some_and(|now| now > 10) {
        let reason = tr!(
            "a database has its own cache: what the kernel swaps out of it for the page cache is read twice. 1 to 10 swaps when nothing else is left"
        );
        look.sysctl("vm.swappiness", 10, Risk::Safe, tr!("all"), reason, &["fe35004fbf9e"]);
    }
    if look.number("vm.zone_reclaim_mode").is_some_and(|mode| mode != 0) {
        let reason = tr!("the cache of a database is dropped on one node while the other has memory free");
        look.sysctl("vm.zone_reclaim_mode", 0, Risk::Safe, tr!("all"), reason, &[]);
    }
    let Some(memory) = look.machine.memory.filter(|memory| *memory >= 32 << 20) else { return };
    let ratio = look.number("vm.dirty_background_ratio").unwrap_or(0);
    let dirty = memory / 100 * ratio;
    if dirty > 3 << 20 {
        // About a gibibyte.
        let wanted = ((1 << 20) * 100 / memory).max(1);
        let reason = tr!(
            "{ratio} % are {size} that gather before anything is written, and then come at once: at 200 MB/s {seconds} s of a busy disk. {wanted} % are {less}",
            ratio,
            size = size(dirty),
            seconds = dirty / 200_000,
            wanted,
            less = size(memory / 100 * wanted)
        );
        look.sysctl("vm.dirty_background_ratio", wanted, Risk::Safe, tr!("all"), reason, &[]);
    }
}

/// Services that are near the limit of their open files.
fn files(look: &mut Look<'_>, servers: &[Server]) {
    let most = look.number("fs.nr_open").unwrap_or(1 << 20);
    let mut units: BTreeMap<&str, (&Server, u64, u64)> = BTreeMap::new();
    let mut unseen = false;
    for server in servers {
        let (Some(unit), Some((soft, _))) = (&server.unit, server.files) else { continue };
        let Some(open) = server.open else {
            unseen = true;
            continue;
        };
        let known = units.entry(unit).or_insert((server, soft, open));
        // The fullest of them.
        if open.saturating_mul(known.1) > known.2.saturating_mul(soft) {
            *known = (server, soft, open);
        }
    }
    if unseen {
        look.untold.push(tr!("how many files other users' programs have open: only root may see it"));
    }
    let nginx = look.facts.get::<Nginx>().ok();
    for (unit, (server, soft, open)) in units {
        // Its master sets the limit of the workers.
        let sets = server.comm == "nginx" && nginx.as_ref().is_some_and(|nginx| nginx.nofile.is_some());
        let needed = match &nginx {
            // Those to upstreams are counted in.
            Some(nginx) if server.comm == "nginx" && !sets => nginx.connections,
            _ => 0,
        };
        let (pid, comm) = (server.pid, server.comm.as_str());
        let reason = if needed > soft {
            tr!("{comm} may have {needed} connections a worker, each a file, and {soft} files", comm, needed, soft)
        } else if open > soft / 10 * 6 {
            tr!("{comm} ({pid}) has {open} of {soft} files open", comm, pid, open, soft)
        } else {
            continue;
        };
        let wanted = open
            .saturating_mul(4)
            .max(needed.saturating_mul(2))
            .max(65_536)
            .checked_next_power_of_two()
            .unwrap_or(most)
            .min(most);
        if wanted <= soft {
            continue;
        }
        let set_by = limit_of(look.facts, unit);
        look.list.push(Advice {
            what: What::Files(unit.to_owned()),
            now: soft.to_string(),
            set_by,
            value: wanted.to_string(),
            reason: tr!(
                "{reason}; limits.conf does not reach services. It holds from the next start of {unit} on",
                reason,
                unit
            ),
            risk: Risk::Safe,
            kernels: tr!("all"),
            sources: vec!["systemd.exec(5)"],
        });
    }
}

/// The line of the unit or of its drop-ins that sets the limit.
fn limit_of(facts: &Facts, unit: &str) -> Option<String> {
    use crate::facts::system::units::UNIT_DIRS;
    let mut found = None;
    for dir in UNIT_DIRS.iter().rev() {
        let mut paths = vec![format!("{dir}/{unit}")];
        let drop_ins = facts.root().read_dir(format!("{dir}/{unit}.d")).unwrap_or_default();
        paths.extend(drop_ins.iter().filter_map(|entry| Some(format!("{dir}/{unit}.d/{}", entry.name.to_str()?))));
        for path in paths {
            let Some(file) = facts.file(&path).ok().flatten() else { continue };
            let numbered = file.bytes.lines().enumerate();
            let line = numbered.filter(|(_, line)| line.trim_ascii().starts_with(b"LimitNOFILE=")).last();
            found = line.map(|(index, _)| format!("{path}:{}", index + 1)).or(found);
        }
    }
    found
}

/// What became of a piece of advice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// What it is now.
    pub now: Option<String>,
    /// What it will be after a restart.
    pub later: Option<String>,
    /// Whether both are as advised; of a limit of a service only the latter can be.
    pub holds: bool,
}

/// Looks whether advice that was taken holds: `facts` are new ones.
pub fn held(facts: &Facts, advice: &Advice) -> Held {
    let is = |value: &Option<String>| value.as_deref().is_some_and(|value| is_same(value, &advice.value));
    match &advice.what {
        What::Sysctl(key) => {
            let origin = Origin::of(facts, key).ok();
            let later = origin.as_ref().and_then(|origin| origin.after_restart().map(str::to_owned));
            let now = now(facts, key);
            Held { holds: is(&now) && is(&later), now, later }
        }
        What::Files(unit) => {
            let line = limit_of(facts, unit).and_then(|place| {
                let (path, line) = place.rsplit_once(':')?;
                let file = facts.file(path).ok().flatten()?;
                let text = file.line_text(line.parse().ok()?);
                Some(text.trim().strip_prefix("LimitNOFILE=")?.to_owned())
            });
            Held { now: Some(advice.now.clone()), holds: is(&line), later: line }
        }
    }
}
