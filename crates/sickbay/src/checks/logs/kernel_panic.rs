//! The kernel stopped, or hit a bug.

use sickbay_formats::kernel_log::Kind;

use crate::facts::Facts;
use crate::facts::logs::seen::{Seen, boot_panic, kernel_log, panic_on_oom};
use crate::model::finding::{Findings, Severity};
use crate::model::outcome::Verdict;
use crate::model::stage::Stage;
use crate::model::text::Text;
use crate::{check, tr};

check! {
    /// ## Symptom
    /// You see: "Kernel panic - not syncing: …" as the last line on the console, or "BUG: unable to handle …" in the
    /// kernel log.
    ///
    /// ## What it finds
    /// `Kernel panic - not syncing: REASON`, and bugs that the kernel survived: `BUG: unable to handle …`,
    /// `kernel BUG at …`.
    ///
    /// ## Why it matters
    /// A panic stops the machine at once; whether it reboots by itself depends on `kernel.panic`. After a bug that was
    /// survived, one process is dead and locks may never be released: the machine should be restarted.
    ///
    /// ## What the repair does
    /// Nothing. The reason decides: out of memory with `vm.panic_on_oom`, no root file system, an init that died, a
    /// driver. For a bug, a newer kernel is the first thing to try; kdump keeps what is needed to find it.
    ///
    /// ## By hand
    /// ```sh
    /// sysctl -w kernel.panic=10
    /// systemctl enable --now kdump
    /// ```
    "kernel-panic", Logs, seed = ["C17"], proves = [], "the kernel stopped"
}

fn run(facts: &Facts, found: &mut Findings) -> Verdict {
    let log = kernel_log(facts, found)?;
    let bugs = Seen::of(&log, Kind::Oops);
    let Some(seen) = Seen::of(&log, Kind::Panic) else {
        if let Some(seen) = bugs {
            let bug = seen.subjects();
            let finding =
                found.add(log.severity(Severity::Error), tr!("the kernel hit a bug and continued: {bug}", bug));
            seen.describe(finding);
            finding.why(tr!("one process was killed, and locks may never be released: restart the machine"));
            finding.by_hand(tr!(
                "fix the cause that the reason names; for a bug, try a newer kernel, and save a dump with kdump"
            ));
        }
        return Ok(());
    };
    let reason = seen.each.iter().map(|panic| panic.subject.as_str()).collect::<Vec<_>>().join("; ");
    let finding = found.add(log.severity(Severity::Critical), tr!("the kernel stopped: {reason}", reason));
    seen.describe(finding);
    finding.detail("reason", reason.as_str());
    if let Some(bug) = bugs.as_ref().and_then(|bugs| bugs.each.first()) {
        finding.note(tr!("before that: {words}", words = bug.words.as_str()));
    }
    finding.about(boot_panic());
    if facts.target().logs().is_err() && log.given && log.foreign.is_none() {
        let stage = match () {
            () if reason.contains("Unable to mount root") => Some(Stage::RootDevice),
            () if reason.contains("init") => Some(Stage::Init),
            () => None,
        };
        if let Some(stage) = stage {
            finding.seen_at(stage, "");
        }
    }
    if reason.contains("emory") {
        finding.about(panic_on_oom());
    }
    if let Some(text) = init_died(&reason) {
        finding.note(text);
    }
    finding.why(tr!("the machine hangs until it is restarted; kernel.panic decides whether it does that by itself"));
    Ok(())
}

/// What the status of process 1 says (wait(2)): `Attempted to kill init! exitcode=0x00007f00`.
fn init_died(reason: &str) -> Option<Text> {
    let status = reason.split_once("exitcode=0x")?.1;
    let status = u32::from_str_radix(status.get(..8)?, 16).ok()?;
    let (signal, code) = (status & 0x7f, status >> 8 & 0xff);
    Some(match (signal, code) {
        (0, 127) => tr!(
            "process 1 ended with exit code 127: a program, or a library that it needs, does not exist or cannot be loaded"
        ),
        (0, 126) => tr!("process 1 ended with exit code 126: a program cannot be executed"),
        (0, code) => tr!("process 1 ended with exit code {code}", code),
        (7, _) => tr!("process 1 died of SIGBUS: a part of its program could not be read from the disk"),
        (11, _) => {
            tr!("process 1 died of SIGSEGV: its program, a library or memory is damaged, or they do not fit together")
        }
        (4, _) => tr!("process 1 died of SIGILL: its program is for another CPU"),
        (signal, _) => tr!("process 1 died of signal {signal}", signal),
    })
}
