//! The kernel keeps so much memory free that none is left to use.

use crate::facts::Facts;
use crate::facts::memory::Memory;
use crate::facts::system::sysctl_files::SysctlFiles;
use crate::mend::sysctl_lines::{offer, size, unbearable, winner};
use crate::model::finding::{Findings, Severity};
use crate::model::outcome::{Skip, Verdict};
use crate::model::repair::Risk;
use crate::model::stage::Stage;
use crate::model::subject::Subject;
use crate::model::text::Text;
use crate::{check, tr};

check! {
    /// ## Symptom
    /// You see: "fork: Cannot allocate memory" and the OOM killer while `free` shows gigabytes free, or a boot that
    /// stops after the sysctl settings.
    ///
    /// ## What it finds
    /// A `vm.min_free_kbytes` in a sysctl file that is more than a fifth of the machine's memory. The memory size of a
    /// machine that is not running is read from its logs; where they do not have it, `--memory` says it.
    /// Without that, 8 GiB or more is a fault and more than 256 MiB a note.
    ///
    /// ## Why it matters
    /// The kernel keeps this much free for itself and gives programs only what is above it; its other watermarks are
    /// even higher. "fork: Cannot allocate memory" and the OOM killer occur while `free` shows plenty, and with nearly
    /// all memory kept free the machine does not boot at all.
    ///
    /// ## What the repair does
    /// Comments out the line that takes effect, and every line that would take effect after it and is as large: the
    /// kernel then chooses a value itself. That is a risky repair where the memory size is not known.
    ///
    /// ## By hand
    /// ```sh
    /// # or lower it to 1 % to 3 % of memory
    /// grep -rn min_free_kbytes ROOT/etc/sysctl.conf ROOT/etc/sysctl.d
    /// ```
    "sysctl-min-free", Boot, seed = ["B11", "C17"], proves = [], may_stop = [Services], "the kernel keeps too much memory free"
}

const KEY: &str = "vm.min_free_kbytes";

/// Of a machine whose memory is not known: 5 % of 160 GiB, in KiB.
const LARGE: u64 = 8 << 20;

/// What the kernel may choose by itself (since 5.17): 256 MiB, in KiB.
const DOUBTFUL: u64 = 256 << 10;

fn run(facts: &Facts, found: &mut Findings) -> Verdict {
    let files = facts.get::<SysctlFiles>()?;
    for why in &files.unread {
        found.could_not_tell(why.clone());
    }
    let Some(kept) = winner(&files, KEY) else { return Ok(()) };
    let memory = facts.get::<Memory>();
    let limit = match &memory {
        Ok(memory) => memory.total / 5,
        Err(_) => LARGE,
    };
    if kept <= limit {
        if let Err(Skip::Unknown(why)) = memory
            && kept > DOUBTFUL
        {
            doubt(&files, found, &why);
        }
        return Ok(());
    }
    let lines = unbearable(&files, KEY, |kept| kept <= limit);
    let Some((file, assignment, _)) = lines.first() else { return Ok(()) };
    let finding = match &memory {
        Ok(memory) => {
            // The watermark at which reclaim stops is half as much again: beyond two fifths most of the memory is lost.
            let severity = if kept > memory.total / 5 * 2 { Severity::Critical } else { Severity::Error };
            let total = size(memory.total);
            let text =
                tr!("{key} keeps {kept} of the machine's {total} of memory free", key = KEY, kept = size(kept), total);
            found.add(severity, text)
        }
        Err(_) => found.critical(tr!("{key} keeps {kept} of memory free", key = KEY, kept = size(kept))),
    };
    finding
        .at(file, assignment.span)
        .why(tr!("programs get only what is above it: they cannot start, or are killed while memory is free"))
        .detail("vm.min_free_kbytes", kept)
        .explains(Subject::Parameter("vm.min_free_kbytes".to_owned()));
    if finding.severity == Severity::Critical {
        finding.stops(Stage::Services);
    }
    offer(finding, KEY, &lines, memory.as_deref().ok(), Risk::Safe);
    Ok(())
}

/// So much may be right on a machine whose memory is not known, and too much on another.
fn doubt(files: &SysctlFiles, found: &mut Findings, why: &Text) {
    let lines = unbearable(files, KEY, |kept| kept <= DOUBTFUL);
    let Some((file, assignment, kept)) = lines.first() else { return };
    let text =
        tr!("{key} keeps {kept} of memory free, perhaps most of what the machine has", key = KEY, kept = size(*kept));
    let finding = found.note(text);
    finding
        .at(file, assignment.span)
        .why(tr!("if little more is there, programs are killed and the boot stops; {why}", why = why.clone()))
        .note(tr!("--memory 16G (or whatever it has) makes it certain"))
        .detail("vm.min_free_kbytes", *kept)
        .explains(Subject::Parameter("vm.min_free_kbytes".to_owned()));
    offer(finding, KEY, &lines, None, Risk::Risky);
}
