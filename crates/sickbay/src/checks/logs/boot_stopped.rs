//! A console: the last boot in it does not come to a login.

use sickbay_formats::boot_console::{Cause, Said, Verdict};
use sickbay_formats::span::Span;

use crate::facts::Facts;
use crate::facts::logs::console::{stage, why};
use crate::facts::logs::kernel_log::KernelLog;
use crate::facts::logs::seen::{boot_panic, panic_on_oom};
use crate::model::finding::{Findings, Line, Place, Severity};
use crate::model::outcome::{Skip, Verdict as Told};
use crate::model::subject::Subject;
use crate::{check, tr};

check! {
    /// ## Symptom
    /// You see: a serial console or a cloud's "get console output" that ends before a login prompt, often in emergency
    /// mode or the shell of the initramfs.
    ///
    /// ## What it finds
    /// The text of a console (a serial line, a cloud's "get console output") whose last boot does not reach a login: at
    /// which stage it stops, which line shows it, and what is to blame. Firmware, GRUB, kernel, initramfs, systemd and
    /// sysvinit are understood. Anything before the last power-on does not count: it may be older than the repair.
    ///
    /// ## Why it matters
    /// The line that stops a boot is often far above the last one: emergency mode is the end of a story that begins
    /// with a device that does not exist.
    ///
    /// ## What the repair does
    /// Nothing: there is nothing to repair in a console. Run `sickbay check` on the disk, which names the file at fault
    /// and offers the repair; `sickbay boot` shows whether it boots.
    ///
    /// ## By hand
    /// ```sh
    /// sickbay check DISK
    /// sickbay boot DISK
    /// ```
    "boot-stopped", Logs, seed = [], proves = [], "the last boot on the console does not reach a login"
}

fn run(facts: &Facts, found: &mut Findings) -> Told {
    let log = facts.get::<KernelLog>()?;
    log.tell_unread(found);
    if log.consoles.is_empty() {
        return Err(Skip::NotApplicable(tr!("it is not the console of a boot")));
    }
    for (source, console) in &log.consoles {
        let path = log.source(*source);
        let (severity, stop) = match &console.verdict {
            Verdict::Stopped(stop) => (Severity::Critical, stop),
            Verdict::GoingOn(stop) => match stop.cause {
                Cause::Silence | Cause::Waiting | Cause::UnitFailed | Cause::OutOfMemory => {
                    let (line, words) = (stop.said.line, stop.said.text.as_str());
                    found.could_not_tell(tr!(
                        "{path} ends before a login, and does not show whether the boot continued; line {line}: {words}",
                        path,
                        line,
                        words
                    ));
                    continue;
                }
                _ => (Severity::Error, stop),
            },
            Verdict::Reached { .. } | Verdict::Nothing => continue,
        };
        let at = stage(stop.stage).title();
        let finding =
            found.add(log.severity(severity), tr!("the boot stops at {stage}: {why}", stage = at, why = why(stop)));
        let Said { line, text } = stop.said.clone();
        let span = Span { line, column: 1, len: text.chars().count() };
        finding.evidence(format!("{}:{line}", path.display()), text.clone());
        finding
            .places
            .push(Place { subject: Subject::Path(path.clone()), line: Some(Line { span, text, label: None }) });
        if log.foreign.is_none() && facts.target().logs().is_err() {
            finding.seen_at(stage(stop.stage), stop.culprit.as_str());
        }
        for said in &stop.also {
            finding.evidence(format!("{}:{}", path.display(), said.line), said.text.clone());
        }
        if console.boots > 1 {
            let (boots, begin) = (console.boots, console.begin);
            finding.note(tr!("of {boots} boots, only the last is judged; it begins at line {begin}", boots, begin));
        }
        finding
            .detail("stage", serde_json::to_value(stage(stop.stage)).unwrap_or_default())
            .detail("cause", format!("{:?}", stop.cause))
            .detail("culprit", stop.culprit.as_str())
            .detail("line", line)
            .detail("begins_at_line", console.begin)
            .detail("boots", console.boots)
            .detail("kernel", console.kernel.as_deref());
        if stop.panic {
            finding.explains(boot_panic());
        }
        if stop.cause == Cause::OutOfMemory {
            finding.about(panic_on_oom());
        }
        // What the kernel says of these file systems is a part of the same story.
        if facts.target().logs().is_ok()
            && matches!(
                stop.cause,
                Cause::FileSystemDamaged
                    | Cause::MountFailed
                    | Cause::CheckFailed
                    | Cause::RootUnmountable
                    | Cause::RootMissing
                    | Cause::StorageDriver
            )
        {
            finding.explains("/dev");
        }
        match stop.cause {
            Cause::LvmDevices => {
                finding.by_hand(tr!(
                    "lvmdevices --update, or remove /etc/lvm/devices/system.devices; then rebuild the initramfs, which has a copy of it"
                ));
            }
            Cause::CheckFailed if !stop.also.iter().chain([&stop.said]).any(|said| says_why(&said.text)) => {
                finding.note(tr!("why the check failed is not in these lines"));
                finding.by_hand(tr!(
                    "check it unmounted, from the shell or a rescue system (fsck -f, xfs_repair -n), on a copy where the disk has errors"
                ));
            }
            // The disk itself is being looked at.
            _ if facts.target().logs().is_err() => {}
            _ => {
                finding.by_hand(tr!(
                    "run sickbay check on the disk itself: it may name the file at fault and offer a repair"
                ));
            }
        }
    }
    Ok(())
}

/// Whether a line is of a checker, which says what is wrong.
fn says_why(text: &str) -> bool {
    ["UNEXPECTED", "fsck.", "INCONSISTENCY", "Corruption", "orrupt", "Superblock", "superblock"]
        .iter()
        .any(|words| text.contains(words))
}
