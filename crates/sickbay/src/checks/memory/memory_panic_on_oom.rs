//! The machine panics where a process would be killed.

use crate::facts::Facts;
use crate::facts::system::kernel::{parameter, running};
use crate::facts::system::sysctl_files::SysctlFiles;
use crate::mend::sysctl_lines::{comment_all, unbearable};
use crate::model::finding::{Findings, Severity};
use crate::model::outcome::Verdict;
use crate::model::repair::{Change, Risk};
use crate::{check, tr};

check! {
    /// ## Symptom
    /// You see: the machine reboots by itself now and then, with nothing in its logs; on the console "Kernel panic -
    /// not syncing: Out of memory: … panic_on_oom is enabled".
    ///
    /// ## What it finds
    /// A `vm.panic_on_oom` that is not 0. A note at 1; a warning at 2, where even a container that reaches its own
    /// limit panics the whole machine.
    ///
    /// ## Why it matters
    /// When memory runs out, the kernel does not kill the process that takes too much but stops, or reboots after
    /// `kernel.panic` seconds. Cluster nodes are set this way on purpose, so that another node takes over.
    ///
    /// ## What the repair does
    /// Sets `vm.panic_on_oom` to 0, the kernel's default, now and in the sysctl files, by commenting out the lines that
    /// set it. Risky: it may be intended.
    ///
    /// ## By hand
    /// ```sh
    /// sysctl -w vm.panic_on_oom=0
    /// ```
    "memory-panic-on-oom", Memory, seed = ["C17"], proves = [], "the machine panics when memory runs out"
}

const KEY: &str = "vm.panic_on_oom";

fn run(facts: &Facts, found: &mut Findings) -> Verdict {
    running(facts)?;
    let Some(value) = parameter(facts, KEY)?.filter(|value| *value > 0) else { return Ok(()) };
    let seconds = parameter(facts, "kernel.panic")?.unwrap_or(0);
    let (severity, text) = match (value, seconds) {
        (2.., _) => (Severity::Warning, tr!("the whole machine panics when one container reaches its memory limit")),
        (_, 0) => {
            (Severity::Note, tr!("the machine stops with a panic when memory runs out, instead of killing a process"))
        }
        _ => (Severity::Note, tr!("the machine reboots when memory runs out, instead of killing a process")),
    };
    let finding = found.add(severity, text);
    finding.at_parameter(KEY).evidence(KEY, value.to_string()).evidence("kernel.panic", seconds.to_string());
    finding.detail(KEY, value).detail("kernel.panic", seconds);
    let files = facts.get::<SysctlFiles>();
    let lines = files.as_ref().map(|files| unbearable(files, KEY, |value| value == 0)).unwrap_or_default();
    for (file, assignment, _) in &lines {
        finding.at(file, assignment.span);
    }
    let mut changes = vec![Change::kernel(KEY, value.to_string(), "0")];
    changes.extend(comment_all(&lines));
    finding.repair(Risk::Risky, tr!("set {key} to {value}, the kernel's default", key = KEY, value = 0), changes);
    Ok(())
}
