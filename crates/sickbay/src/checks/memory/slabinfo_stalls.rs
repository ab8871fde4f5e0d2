//! Reading `/proc/slabinfo` stops a CPU, and somebody does it.

use sickbay_target::FileReader;

use crate::facts::Facts;
use crate::facts::memory::size;
use crate::facts::memory::slab_owners::seekers;
use crate::facts::memory::slab_walk::{KnownReader, KnownReaders, SlabReaders, SlabWalk, Walk, interval};
use crate::model::finding::{Finding, Findings};
use crate::model::measured::Unit;
use crate::model::outcome::{Skip, Verdict};
use crate::model::subject::Subject;
use crate::{check, tr};

check! {
    /// ## Symptom
    /// You see: every now and then all connections of this machine stand still for a moment; a ping of it shows a row of times that
    /// falls by the interval, such as 833, 773, 713 ms, and nothing is lost.
    ///
    /// ## What it finds
    /// On kernels that walk lists of slabs for `/proc/slabinfo` with interrupts off (SLAB before 4.10: all slabs; SLUB before 6.10:
    /// those that are partly used): how long that takes here, reckoned from counters, and who reads the file: seen for a moment (fanotify),
    /// known by its command line (slabtop, netdata's slabinfo.plugin, node_exporter with `--collector.slabinfo`, below, collectl, `vmstat -m`), or in a crontab.
    /// `/proc/slabinfo` itself is not read for it.
    ///
    /// ## Why it matters
    /// As long as interrupts are off, that CPU takes no packet and runs nothing else. The lists are long because names of files are cached
    /// by the million, mostly of files that were looked up once and do not exist; that is no fault by itself.
    ///
    /// ## What the repair does
    /// Nothing by itself. Let the reader read something else: `slabs` and `total_objects` in `/sys/kernel/slab`, `Slab` in `/proc/meminfo` and
    /// `/proc/sys/fs/dentry-state` are plain counters. Emptying the caches (`drop_caches`) helps until they are full again, and is a stall of its own.
    ///
    /// ## By hand
    /// ```sh
    /// sickbay explain jitter --for 60s
    /// cat /proc/sys/fs/dentry-state
    /// grep Slab /proc/meminfo
    /// ```
    "slabinfo-stalls", Memory, seed = ["C13"], proves = [], "reading /proc/slabinfo stops a CPU"
}

/// Milliseconds that are worth a word where somebody reads it, and where nobody is known to.
const SOMEBODY: f64 = 50.0;
const NOBODY: f64 = 200.0;

/// Readers that are listed.
const LISTED: usize = 10;

fn run(facts: &Facts, found: &mut Findings) -> Verdict {
    let walk = facts.get::<SlabWalk>()?;
    if walk.stall < SOMEBODY {
        return Ok(());
    }
    let known = facts.get::<KnownReaders>()?;
    let (seen, unseen) = match facts.get::<SlabReaders>() {
        Ok(seen) => (Some(seen), None),
        Err(Skip::Unknown(why)) => (None, Some(why)),
        Err(Skip::NotApplicable(_)) => (None, None),
    };
    // Of one that was gone when it was looked at nothing can be said.
    let readers = seen.as_ref().map(|seen| seen.list.as_slice()).unwrap_or_default();
    let readers: Vec<&FileReader> = readers.iter().filter(|reader| !reader.comm.is_empty()).collect();
    let milliseconds = walk.stall.round() as u64;
    let finding = match (readers.first(), known.0.first()) {
        (Some(reader), _) => by_reader(found, reader, milliseconds),
        (None, Some(KnownReader::Process { pid, comm, command })) => {
            let finding = found.warning(tr!(
                "{comm} (PID {pid}) is one that reads /proc/slabinfo: each time a CPU stands still for about {milliseconds} ms",
                comm = comm.as_str(),
                pid = *pid,
                milliseconds
            ));
            finding.subject(Subject::Named(format!("slabinfo {comm}"))).detail("pid", *pid);
            finding.evidence(format!("/proc/{pid}/cmdline"), command.as_str())
        }
        (None, Some(KnownReader::Job { file, span, command })) => {
            let finding = found.warning(tr!(
                "{command} reads /proc/slabinfo: each time a CPU stands still for about {milliseconds} ms",
                command = command.as_str(),
                milliseconds
            ));
            finding.at(file, *span)
        }
        (None, None) if walk.stall >= NOBODY => {
            let finding = found.note(tr!(
                "whoever reads /proc/slabinfo lets a CPU stand still for about {milliseconds} ms",
                milliseconds
            ));
            finding.subject(Subject::Named("slabinfo".to_owned()))
        }
        (None, None) => return Ok(()),
    };
    describe(finding, &walk);
    if let Some(seen) = &seen {
        let seconds = format!("{:.1}", seen.time.as_secs_f64());
        if readers.is_empty() {
            finding.note(tr!(
                "within {seconds} s nobody read it: sickbay explain jitter --for 60s looks for longer",
                seconds
            ));
        }
    }
    if let Some(why) = unseen {
        finding.note(why);
    }
    let others = known.0.iter().skip(usize::from(readers.is_empty())).take(LISTED);
    for other in others {
        match other {
            KnownReader::Process { pid, .. } if readers.iter().any(|reader| reader.pid == *pid) => {}
            KnownReader::Process { pid, comm, .. } => {
                finding.note(tr!("{comm} (PID {pid}) is known to read it, too", comm = comm.as_str(), pid = *pid));
            }
            KnownReader::Job { file, span, command } => {
                let place = format!("{}:{}", file.path.display(), span.line);
                finding.note(tr!("{place}: {command} reads it, too", place, command = command.as_str()));
            }
        }
    }
    for maker in seekers(facts) {
        finding.note(maker.text);
    }
    finding.by_hand(tr!("let it read /sys/kernel/slab, Slab in /proc/meminfo or /proc/sys/fs/dentry-state instead"));
    Ok(())
}

fn by_reader<'f>(found: &'f mut Findings, reader: &FileReader, milliseconds: u64) -> &'f mut Finding {
    let (comm, pid) = (reader.comm.as_str(), reader.pid);
    let finding = found.warning(match interval(reader) {
        Some(seconds) => tr!(
            "{comm} (PID {pid}) reads /proc/slabinfo every {seconds} s: each time a CPU stands still for about {milliseconds} ms",
            comm,
            pid,
            seconds = format!("{seconds:.1}"),
            milliseconds
        ),
        None => tr!(
            "{comm} (PID {pid}) reads /proc/slabinfo: each time a CPU stands still for about {milliseconds} ms",
            comm,
            pid,
            milliseconds
        ),
    });
    finding.subject(Subject::Named(format!("slabinfo {comm}"))).detail("pid", pid).detail("opens", reader.opens);
    finding.evidence("fanotify", reader.command.as_str());
    if !reader.parents.is_empty() {
        finding.note(tr!("it was started by {parents}", parents = reader.parents.join(", ")));
    }
    if let Some(unit) = &reader.unit {
        finding.note(tr!("it belongs to {unit}", unit = unit.as_str())).detail("unit", unit.as_str());
    }
    finding
}

fn describe(finding: &mut Finding, walk: &SlabWalk) {
    let (slabs, cache) = (walk.slabs, walk.cache.as_str());
    finding.why(match walk.walk {
        Walk::All => tr!(
            "this kernel walks all {slabs} slabs of {cache} with interrupts off, and takes no packet meanwhile",
            slabs,
            cache
        ),
        _ => tr!(
            "this kernel walks {slabs} partly used slabs of {cache} with interrupts off, and takes no packet meanwhile",
            slabs,
            cache
        ),
    });
    if let Some((all, negative)) = walk.dentries {
        finding.evidence("/proc/sys/fs/dentry-state", format!("{all} dentries, {negative} negative"));
    }
    finding.note(tr!("all slabs together: {size}", size = size(walk.slab)));
    finding.measured("slabinfo_stall", walk.stall / 1000.0, Unit::Seconds, None);
    finding.detail("stall_ms", walk.stall.round()).detail("slabs", slabs).detail("cache", cache);
}
