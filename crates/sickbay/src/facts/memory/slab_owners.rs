//! Who makes the kernel keep so many objects: descriptors and sockets, threads, names that are looked up in vain, files
//! that are walked over, `/proc` that is read.

use crate::facts::memory::processes::{Holder, Holders};
use crate::facts::memory::size;
use crate::facts::memory::slabs::{Slabs, dentries};
use crate::facts::system::kernel::MemInfo;
use crate::facts::{Fact, Facts};
use crate::model::outcome::Skip;
use crate::model::text::Text;
use crate::tr;

/// Somebody or something that fills the kernel's memory with objects.
#[derive(Clone, Debug)]
pub struct Owner {
    /// How much that is, roughly, in KiB.
    pub kib: u64,
    /// Who or what, and how many.
    pub text: Text,
    /// The process that holds them, if one does: then they stay until it lets go. Else they are caches, which give way.
    pub pid: Option<u32>,
    /// Who makes them can be told while it goes on: see [`watched`].
    pub made: Option<Made>,
}

/// Ways to fill a cache that leave no owner behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Made {
    /// `/proc` is read.
    Scanning,
    /// Names are looked up in vain.
    Seeking,
}

/// What was seen of who makes them.
#[derive(Clone, Debug)]
pub struct Watched {
    /// The process, if one was seen.
    pub pid: Option<u32>,
    /// What it does, or that nobody was seen.
    pub text: Text,
}

/// The owners, the one with the most first. Those below a twentieth of all objects and below 8 MiB are left out.
#[derive(Debug)]
pub struct SlabOwners {
    /// The owners.
    pub list: Vec<Owner>,
}

/// What an open TCP socket takes in bytes: TCP 2368, sock_inode_cache 832, dentry 192, filp 192 (Linux 6.18, x86-64).
const SOCKET: u64 = 3584;

/// An open file without its inode: filp, dentry, its place in the table.
const DESCRIPTOR: u64 = 512;

/// A thread: task_struct, signal and memory descriptors; its stack is booked by itself.
const THREAD: u64 = 8192;

/// From so many on, descriptors and threads are worth a word.
const MANY: u64 = 1000;

/// Caches of inodes by the file system that fills them; they give way when memory is short.
const INODES: [&str; 10] = [
    "ext4_inode_cache",
    "ext3_inode_cache",
    "xfs_inode",
    "btrfs_inode",
    "nfs_inode_cache",
    "fuse_inode",
    "ceph_inode_info",
    "ovl_inode",
    "inode_cache",
    "shmem_inode_cache",
];

impl Fact for SlabOwners {
    fn gather(facts: &Facts) -> Result<SlabOwners, Skip> {
        let memory = facts.get::<MemInfo>()?;
        let mut list = Vec::new();
        if held(facts, &memory)
            && let Ok(holders) = facts.get::<Holders>()
        {
            list.extend(by_command(&holders.list).into_iter().flat_map(owners));
        }
        if let Some((all, negative)) = dentries(facts) {
            let kib = negative.saturating_mul(192) / 1024;
            let text = tr!(
                "{negative} of {all} cached names are of files that do not exist: some program looks up names in vain",
                negative,
                all
            );
            list.push(Owner { kib, text, pid: None, made: Some(Made::Seeking) });
        }
        if let Ok(slabs) = facts.get::<Slabs>() {
            if let Some(cache) = slabs.cache("proc_inode_cache") {
                let text = tr!(
                    "proc_inode_cache: {count} inodes of /proc, created by whatever reads it: ps, netstat -p, lsof, agents",
                    count = cache.objects
                );
                list.push(Owner { kib: cache.kib, text, pid: None, made: Some(Made::Scanning) });
            }
            for cache in INODES.iter().filter_map(|name| slabs.cache(name)) {
                let (name, count) = (cache.name.as_str(), cache.objects);
                let text = tr!(
                    "{name}: {count} inodes of files that were accessed; a cache, which shrinks when needed",
                    name,
                    count
                );
                list.push(Owner { kib: cache.kib, text, pid: None, made: None });
            }
        }
        let least = (memory.kib("Slab") / 20).max(8 << 10);
        list.retain(|owner| owner.kib >= least);
        list.sort_by_key(|owner| std::cmp::Reverse(owner.kib));
        Ok(SlabOwners { list })
    }
}

/// Whether processes may hold them: only then every one of them is looked at. Descriptors, sockets and threads are not
/// reclaimable; inodes of `/proc` are made for descriptors and threads too.
fn held(facts: &Facts, memory: &MemInfo) -> bool {
    let kept = memory.kib("SUnreclaim") >= (memory.total() / 128).max(64 << 10);
    kept || match facts.get::<Slabs>() {
        Ok(slabs) => slabs.cache("proc_inode_cache").is_some_and(|cache| cache.kib >= memory.kib("Slab") / 4),
        Err(_) => true,
    }
}

/// Processes of one name together, each sum with its largest holder.
struct Command<'a> {
    first: &'a Holder,
    count: u64,
    fds: u64,
    sockets: u64,
    threads: u64,
}

fn by_command(holders: &[Holder]) -> Vec<Command<'_>> {
    let mut all: Vec<Command<'_>> = Vec::new();
    for holder in holders.iter().filter(|holder| holder.fds >= MANY || holder.threads >= MANY) {
        let sockets = holder.sockets.unwrap_or(0);
        match all.iter_mut().find(|command| command.first.comm == holder.comm) {
            Some(command) => {
                command.count += 1;
                command.fds = command.fds.saturating_add(holder.fds);
                command.sockets = command.sockets.saturating_add(sockets);
                command.threads = command.threads.saturating_add(holder.threads);
            }
            None => {
                let (fds, threads) = (holder.fds, holder.threads);
                all.push(Command { first: holder, count: 1, fds, sockets, threads });
            }
        }
    }
    all
}

fn owners(command: Command<'_>) -> Vec<Owner> {
    let Command { first, count, fds, sockets, threads } = command;
    let (name, pid) = (first.comm.as_str(), first.pid);
    let others = fds.saturating_sub(sockets);
    let kib = (sockets.saturating_mul(SOCKET).saturating_add(others.saturating_mul(DESCRIPTOR))) / 1024;
    let mut who = tr!("{name} (PID {pid})", name, pid);
    if count > 1 {
        who = tr!("{count} {name} processes (the largest is PID {pid})", count, name, pid);
    }
    let mut found = Vec::new();
    if fds >= MANY {
        let text = match sockets > 0 {
            true => tr!("{who}: {fds} open descriptors, about {sockets} of them sockets", who, fds, sockets),
            false => tr!("{who}: {fds} open descriptors", who, fds),
        };
        found.push(Owner { kib, text, pid: Some(pid), made: None });
    }
    if threads >= MANY {
        let mut text = tr!("{who}: {threads} {threads?thread|threads}", who, threads);
        if fds >= MANY {
            let inodes = fds.saturating_mul(threads);
            text = tr!(
                "{who}: {threads} threads that share {fds} descriptors: whatever reads /proc/{pid}/task/*/fd creates {inodes} inodes",
                who,
                threads,
                fds,
                pid,
                inodes
            );
        }
        found.push(Owner { kib: threads.saturating_mul(THREAD) / 1024, text, pid: Some(pid), made: None });
    }
    found
}

/// The owners as one text each with their size, at most `most` of them.
pub fn named(facts: &Facts, most: usize) -> Vec<Text> {
    let Ok(owners) = facts.get::<SlabOwners>() else { return Vec::new() };
    let line = |owner: &Owner| tr!("{owner} (about {size})", owner = owner.text.clone(), size = size(owner.kib));
    owners.list.iter().take(most).map(line).collect()
}

/// Who opens files of `/proc`, watched for a moment; gathered only when somebody wants to know.
struct Scanners(Vec<sickbay_target::ProcReader>);

/// So long is looked: an agent that scans every few seconds may be missed, which is said.
const LOOK: std::time::Duration = std::time::Duration::from_millis(1500);

/// Who looked at fewer processes than this, or opened fewer files, does not fill a cache.
const FEW: u64 = 20;

impl Fact for Scanners {
    fn gather(facts: &Facts) -> Result<Scanners, Skip> {
        crate::facts::system::kernel::running(facts)?;
        match sickbay_target::proc_readers(facts.root(), LOOK) {
            Ok(readers) => Ok(Scanners(readers)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                Err(Skip::NotApplicable(tr!("{path} does not exist", path = "/proc")))
            }
            Err(error) => Err(Skip::Unknown(tr!(
                "readers of /proc could not be observed (fanotify): {why}",
                why = error.to_string()
            ))),
        }
    }
}

/// Who looks up names, watched for a moment; gathered only when somebody wants to know.
struct Seekers(sickbay_target::NameStorm);

impl Fact for Seekers {
    fn gather(facts: &Facts) -> Result<Seekers, Skip> {
        crate::facts::system::kernel::running(facts)?;
        match sickbay_target::name_seekers(facts.root(), LOOK) {
            Ok(storm) => Ok(Seekers(storm)),
            Err(_) => Err(Skip::NotApplicable(tr!("{path} does not exist", path = "/proc"))),
        }
    }
}

/// Fewer names in the time of a look are no storm: a shell that starts programs adds as many.
const STORM: u64 = 2000;

/// Whoever spends less of the time than this is not named, in milliseconds.
const IDLE: u64 = 50;

/// Who makes the objects that have no owner, where they are a good part of what fills the memory; what could not be told is
/// said. It takes a moment.
pub fn watched(facts: &Facts) -> Vec<Watched> {
    let (Ok(owners), Ok(memory)) = (facts.get::<SlabOwners>(), facts.get::<MemInfo>()) else { return Vec::new() };
    let large = |made| {
        let least = if made == Made::Seeking { memory.kib("Slab") / 10 } else { 0 };
        owners.list.iter().any(|owner| owner.made == Some(made) && owner.kib >= least)
    };
    let mut all = if large(Made::Scanning) { scanners(facts) } else { Vec::new() };
    if large(Made::Seeking) {
        all.extend(seekers(facts));
    }
    all
}

/// Who looks up names at the moment, or why nobody can be named.
pub fn seekers(facts: &Facts) -> Vec<Watched> {
    let Ok(seekers) = facts.get::<Seekers>() else { return Vec::new() };
    let (storm, seconds) = (&seekers.0, LOOK.as_secs_f64());
    let nobody = |text| vec![Watched { pid: None, text }];
    if storm.added < STORM {
        return nobody(tr!(
            "within {seconds} s hardly any names were added: the storm is over, the kernel keeps no owner of what it left, and that is freed when memory is short",
            seconds
        ));
    }
    let busy: u64 = storm.seekers.iter().map(|seeker| seeker.busy).sum();
    let named: Vec<Watched> = storm
        .seekers
        .iter()
        .filter(|seeker| seeker.busy >= IDLE && seeker.busy.saturating_mul(5) >= busy)
        .map(|seeker| Watched {
            pid: Some(seeker.pid),
            text: tr!(
                "{comm} (PID {pid}) is looking up names right now: {added} were added within {seconds} s, and {share} % of the time spent on such work is its own",
                comm = seeker.comm.as_str(),
                pid = seeker.pid,
                added = storm.added,
                seconds,
                share = seeker.busy.saturating_mul(100) / busy.max(1)
            ),
        })
        .collect();
    if named.is_empty() {
        return nobody(tr!(
            "{added} names were added within {seconds} s, and no process stands out: short-lived programs, or many together",
            added = storm.added,
            seconds
        ));
    }
    named
}

fn scanners(facts: &Facts) -> Vec<Watched> {
    let nobody = |text| vec![Watched { pid: None, text }];
    let scanners = match facts.get::<Scanners>() {
        Ok(scanners) => scanners,
        Err(Skip::Unknown(why)) => return nobody(why),
        Err(Skip::NotApplicable(_)) => return Vec::new(),
    };
    let seconds = LOOK.as_secs_f64();
    let many = scanners.0.iter().filter(|reader| reader.opens >= FEW && reader.processes >= 2);
    let lines: Vec<Watched> = many
        .take(3)
        .map(|reader| Watched {
            pid: Some(reader.pid),
            text: tr!(
                "{comm} (PID {pid}) scans /proc: it opened {opens} {opens?file|files} of {processes} {processes?process|processes} within {seconds} s",
                comm = if reader.comm.is_empty() { "?" } else { &reader.comm },
                pid = reader.pid,
                opens = reader.opens,
                processes = reader.processes,
                seconds
            ),
        })
        .collect();
    if lines.is_empty() {
        return nobody(tr!(
            "within {seconds} s nothing scanned /proc: whatever does it runs only from time to time",
            seconds
        ));
    }
    lines
}
