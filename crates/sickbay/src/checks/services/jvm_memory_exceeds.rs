//! Java virtual machines may take more memory than there is.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::facts::Facts;
use crate::facts::memory::cgroups::{MEMORY, Mounts};
use crate::facts::services::java::{Java, Machine};
use crate::facts::system::kernel::MemInfo;
use crate::model::finding::Findings;
use crate::model::outcome::{Skip, Verdict};
use crate::model::subject::Subject;
use crate::{check, tr};

check! {
    /// ## Symptom
    /// You see: the kernel or the container engine kills java (exit code 137) though it never threw an OutOfMemoryError; or the machine swaps.
    ///
    /// ## What it finds
    /// Running virtual machines whose largest heap (`-Xmx`), with `MaxMetaspaceSize` and `MaxDirectMemorySize` where
    /// these are set, is more than the memory limit of their cgroup; or that are together more than the memory of the machine. Stacks of threads and the code cache come on top,
    /// and are told with it. Options are taken from the command line, from `JAVA_TOOL_OPTIONS` and from @argument files.
    ///
    /// ## Why it matters
    /// A heap grows to what it is allowed before it is collected in earnest: the limit is met first, and the kernel kills instead of Java.
    ///
    /// ## What the repair does
    /// Nothing: a smaller heap needs a restart, and the program's own measure. Three quarters of the limit is a usual heap.
    ///
    /// ## By hand
    /// ```sh
    /// jcmd PID VM.flags
    /// jcmd PID VM.native_memory
    /// ```
    "jvm-memory-exceeds", Services, seed = ["N4", "C16"], proves = [], "Java virtual machines may take more memory than there is"
}

/// What a virtual machine may take for certain, in bytes.
fn bound(machine: &Machine) -> Option<u64> {
    let options = &machine.options;
    let heap = options.heap?;
    Some(heap.saturating_add(options.metaspace.unwrap_or(0)).saturating_add(options.direct.unwrap_or(0)))
}

fn mib(bytes: u64) -> u64 {
    bytes >> 20
}

fn run(facts: &Facts, found: &mut Findings) -> Verdict {
    if !facts.runs() {
        return Err(Skip::NotApplicable(tr!("it is not the running system")));
    }
    let java = facts.get::<Java>()?;
    if java.running.is_empty() {
        return Ok(());
    }
    let total = facts.get::<MemInfo>()?.total().saturating_mul(1024);
    let mounts = facts.get::<Mounts>()?;
    // By the cgroup with the lowest limit; none is the machine.
    let mut groups: BTreeMap<Option<PathBuf>, (u64, Vec<&Machine>)> = BTreeMap::new();
    for machine in &java.running {
        let limits = mounts.of_process(facts, MEMORY, &machine.program.pid.to_string());
        let least = limits.into_iter().filter(|one| one.limit < total).min_by_key(|one| one.limit);
        let (key, limit) = match least {
            Some(one) => (Some(one.file), one.limit),
            None => (None, total),
        };
        groups.entry(key).or_insert((limit, Vec::new())).1.push(machine);
    }
    for (file, (limit, machines)) in groups {
        let sum = machines.iter().filter_map(|one| bound(one)).fold(0, u64::saturating_add);
        if sum <= limit {
            continue;
        }
        let Some(first) = machines.iter().max_by_key(|one| bound(one)) else { continue };
        let (pid, count) = (first.program.pid, machines.len());
        let (sum_mib, limit_mib) = (mib(sum), mib(limit));
        let finding = found.warning(match (&file, count) {
            (Some(_), 1) => {
                tr!("java (PID {pid}) may take {sum_mib} MiB, its cgroup {limit_mib} MiB", pid, sum_mib, limit_mib)
            }
            (Some(_), _) => tr!(
                "{count} Java virtual machines may take {sum_mib} MiB, their cgroup {limit_mib} MiB",
                count,
                sum_mib,
                limit_mib
            ),
            (None, 1) => {
                tr!("java (PID {pid}) may take {sum_mib} MiB, the machine has {limit_mib} MiB", pid, sum_mib, limit_mib)
            }
            (None, _) => tr!(
                "{count} Java virtual machines may take {sum_mib} MiB, the machine has {limit_mib} MiB",
                count,
                sum_mib,
                limit_mib
            ),
        });
        match &file {
            Some(file) => finding.at_path(file),
            None => finding.at_subject(Subject::Machine),
        };
        finding.subject(Subject::Jvm(pid)).extent(sum_mib);
        finding.why(tr!("a heap grows up to its limit before it is collected in earnest; the kernel kills it before Java says OutOfMemoryError"));
        for machine in machines.iter().take(8).filter(|one| bound(one).is_some()) {
            let options = &machine.options;
            let threads = machine.threads.unwrap_or(0);
            // The defaults of 64-bit Linux.
            let stack = options.stack.unwrap_or(1 << 20);
            let code = mib(options.code.unwrap_or(240 << 20));
            finding.note(tr!(
                "PID {pid}: heap {heap} + metaspace {metaspace} + direct {direct} MiB; on top up to {threads} stacks of {stack} KiB = {stacks} MiB, and {code} MiB of compiled code",
                pid = machine.program.pid,
                heap = mib(options.heap.unwrap_or(0)),
                metaspace = options.metaspace.map_or("–".to_owned(), |bytes| mib(bytes).to_string()),
                direct = options.direct.map_or("–".to_owned(), |bytes| mib(bytes).to_string()),
                threads,
                stack = stack >> 10,
                stacks = mib(stack.saturating_mul(threads)),
                code
            ));
        }
        finding.detail("bytes", sum).detail("limit_bytes", limit).detail("pid", pid);
        finding.by_hand(tr!(
            "give it a smaller heap: three quarters of the limit leave room for the rest; or raise the limit"
        ));
    }
    Ok(())
}
