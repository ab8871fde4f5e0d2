//! A kernel parameter leaves too few threads or too little memory to start with.

use bstr::ByteSlice;

use crate::facts::Facts;
use crate::facts::boot::devices::{Devices, Lookup};
use crate::facts::boot::fstab::Fstab;
use crate::facts::memory::Memory;
use crate::facts::system::sysctl_files::SysctlFiles;
use crate::mend::sysctl_lines::{Setting, number, offer, size, unbearable, winner};
use crate::model::finding::{Findings, Severity};
use crate::model::outcome::{Skip, Verdict};
use crate::model::repair::Risk;
use crate::model::stage::Stage;
use crate::model::text::Text;
use crate::{check, tr};

check! {
    /// ## Symptom
    /// You see: "fork: Resource temporarily unavailable", "Cannot allocate memory", "226/NAMESPACE" or "PTY allocation
    /// request failed", at boot or at login, for root too.
    ///
    /// ## What it finds
    /// In a sysctl file: a limit with which no system boots (`kernel.threads-max` below 300, `user.max_mnt_namespaces`
    /// below 5), or one so low that a server reaches it at once (`kernel.threads-max` and `kernel.pid_max` below 1000,
    /// `user.max_mnt_namespaces` below 30, `kernel.pty.max` below 10); and `vm.overcommit_memory = 2` with a
    /// `vm.overcommit_ratio` or `vm.overcommit_kbytes` so small that all programs together may commit less than 192
    /// MiB, swap included.
    ///
    /// ## Why it matters
    /// The limits apply to the whole machine, including the kernel's own threads, and to root. udev, mount and sshd
    /// cannot fork ("Resource temporarily unavailable", "Cannot allocate memory"): devices never come up, and the boot
    /// ends in emergency mode or nowhere.
    ///
    /// ## What the repair does
    /// Comments out the lines that take effect, so that the kernel chooses values itself.
    ///
    /// ## By hand
    /// ```sh
    /// # find the lines, then comment them out
    /// grep -rnE 'threads-max|pid_max|max_mnt_namespaces|pty.max|overcommit' ROOT/etc/sysctl.conf ROOT/etc/sysctl.d
    /// ```
    "sysctl-too-low", Boot, seed = ["B11", "C16"], proves = [], may_stop = [Services], "a kernel parameter leaves too little to boot with"
}

/// A limit of the whole machine.
struct Limit {
    key: &'static str,
    /// Below this nothing starts.
    stops: u64,
    /// Below this a server meets it at once.
    least: u64,
    what: fn() -> Text,
    why: fn() -> Text,
}

/// The kernel alone has about ten threads for each processor, a system that has just started a hundred more; of
/// `kernel.pid_max` it takes no less than 301 (kernel/pid.c: RESERVED_PIDS + 1), with which a small system still starts.
/// systemd gives udevd, logind and others a mount namespace each (systemd.exec(5), status 226).
const LIMITS: [Limit; 4] = [
    Limit { key: "kernel.threads-max", stops: 300, least: 1000, what: || tr!("threads"), why: cannot_fork },
    Limit { key: "kernel.pid_max", stops: 0, least: 1000, what: || tr!("processes and threads"), why: cannot_fork },
    Limit {
        key: "user.max_mnt_namespaces",
        stops: 5,
        least: 30,
        what: || tr!("mount namespaces for root"),
        why: || tr!("systemd starts udevd and other services in one each: they fail with 226/NAMESPACE"),
    },
    Limit {
        key: "kernel.pty.max",
        stops: 0,
        least: 10,
        what: || tr!("ssh terminals"),
        why: || tr!("a login over ssh gets no terminal: PTY allocation request failed"),
    },
];

fn cannot_fork() -> Text {
    tr!("the kernel's own threads count too: whatever starts next cannot fork")
}

/// What the programs of a small system ask for while it starts, in KiB.
const LEAST_COMMIT: u64 = 192 << 10;

fn run(facts: &Facts, found: &mut Findings) -> Verdict {
    let files = facts.get::<SysctlFiles>()?;
    for why in &files.unread {
        found.could_not_tell(why.clone());
    }
    for Limit { key, stops, least, what, why } in LIMITS {
        let Some(value) = winner(&files, key).filter(|value| *value < least) else { continue };
        let lines = unbearable(&files, key, |value| value >= least);
        let Some((file, assignment, _)) = lines.first() else { continue };
        let severity = if value < stops { Severity::Critical } else { Severity::Warning };
        let finding = found.add(severity, tr!("{key} allows only {value} {what}", key, value, what = what()));
        finding.at(file, assignment.span).why(why()).detail(key, value);
        if severity == Severity::Critical {
            finding.stops(Stage::Services);
        }
        offer(finding, key, &lines, None, Risk::Safe);
    }
    overcommit(facts, found, &files)
}

const MODE: &str = "vm.overcommit_memory";
const RATIO: &str = "vm.overcommit_ratio";
const KBYTES: &str = "vm.overcommit_kbytes";

/// mm/util.c, vm_commit_limit(): so many KiB where they are set, else so many percent of the memory, and the swap. Each of the
/// two that is written sets the other to zero (overcommit_ratio_handler), so the last line of either counts.
fn overcommit(facts: &Facts, found: &mut Findings, files: &SysctlFiles) -> Verdict {
    if winner(files, MODE) != Some(2) {
        return Ok(());
    }
    let memory = facts.get::<Memory>();
    let total = memory.as_ref().ok().map(|memory| memory.total);
    let lines: Vec<Setting<'_>> = files
        .files
        .iter()
        .rev()
        .flat_map(|(file, all)| all.iter().rev().map(move |assignment| (file, assignment)))
        .filter(|(_, assignment)| assignment.key == RATIO || assignment.key == KBYTES)
        .filter_map(|(file, assignment)| Some((file, assignment, number(assignment)?)))
        .filter(|(_, assignment, value)| assignment.key == RATIO || *value > 0)
        .collect();
    let share = |(_, assignment, value): &Setting<'_>| match total {
        _ if assignment.key == KBYTES => Some(*value),
        Some(total) => Some((total / 100).saturating_mul(*value)),
        None => None,
    };
    let Some(first) = lines.first() else { return Ok(()) };
    let (file, assignment, value) = first;
    let Some(of_memory) = share(first) else {
        // Six percent of four gibibytes would do.
        if let (true, Err(Skip::Unknown(why) | Skip::NotApplicable(why))) = (*value < 6, memory) {
            found.could_not_tell(tr!("undetermined how much {value} % of memory is: {why}", value = *value, why));
        }
        return Ok(());
    };
    if of_memory >= LEAST_COMMIT {
        return Ok(());
    }
    let swap = match swap(facts) {
        Ok(swap) => swap,
        Err(Skip::Unknown(why) | Skip::NotApplicable(why)) => {
            found.could_not_tell(why);
            return Ok(());
        }
    };
    let allowed = of_memory.saturating_add(swap);
    if allowed >= LEAST_COMMIT {
        return Ok(());
    }
    let too_low = |line: &Setting<'_>| share(line).is_some_and(|share| share.saturating_add(swap) < LEAST_COMMIT);
    let lines: Vec<Setting<'_>> = lines.iter().copied().take_while(too_low).collect();
    let key = assignment.key.to_string();
    let message =
        tr!("{key} limits all programs together to {allowed} of memory", key = key.as_str(), allowed = size(allowed));
    let finding = found
        .critical(message)
        .at(file, assignment.span)
        .why(tr!("vm.overcommit_memory is 2: what exceeds this is refused, however much memory is free"))
        .detail("CommitLimit", allowed.saturating_mul(1024))
        .stops(Stage::Services);
    if let Some((file, mode, _)) = unbearable(files, MODE, |mode| mode != 2).first() {
        finding.at(file, mode.span);
    }
    offer(finding, &key, &lines, memory.as_deref().ok(), Risk::Safe);
    Ok(())
}

/// The swap that fstab turns on, in KiB.
fn swap(facts: &Facts) -> Result<u64, Skip> {
    let fstab = match facts.get::<Fstab>() {
        Ok(fstab) => fstab,
        Err(Skip::NotApplicable(_)) => return Ok(0),
        Err(unknown) => return Err(unknown),
    };
    let mut sum = 0;
    for entry in fstab.sound().filter(|entry| entry.fstype() == "swap") {
        let path = entry.device().to_path_lossy();
        let file = facts.root().stat(&path).ok().filter(|metadata| metadata.is_file());
        let bytes = match file {
            Some(metadata) => metadata.size,
            None => match facts.get::<Devices>()?.find(facts, &entry.source()) {
                Lookup::Volume(volume) => volume.size,
                Lookup::Missing => 0,
                _ => return Err(Skip::Unknown(tr!("how large the swap {device} is", device = path.as_ref()))),
            },
        };
        sum += bytes / 1024;
    }
    Ok(sum)
}
