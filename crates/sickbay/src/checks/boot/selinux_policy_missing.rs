//! SELinux is to forbid by a policy that is not there.

use crate::facts::Facts;
use crate::facts::system::selinux::Selinux;
use crate::mend::selinux::{disabled, permissive, with_word};
use crate::model::finding::Findings;
use crate::model::outcome::Verdict;
use crate::model::repair::{Change, Risk};
use crate::model::stage::Stage;
use crate::{check, tr};

check! {
    /// ## Symptom
    /// You see: "systemd[1]: Failed to load SELinux policy. Freezing." and nothing after it.
    ///
    /// ## What it finds
    /// `/etc/selinux/config` with `SELINUX=enforcing` and a `SELINUXTYPE=` for which `/etc/selinux` has no policy
    /// (`disabled` or a misspelled `targetd`, or a policy file that is gone or empty), and a `SELINUX=` that is not one
    /// of enforcing, permissive and disabled.
    ///
    /// ## Why it matters
    /// systemd prints "Failed to load SELinux policy. Freezing." and hangs. An unknown value of `SELINUX=` is treated
    /// as permissive, which is hardly what was intended.
    ///
    /// ## What the repair does
    /// Names the installed policy, when there is only one. With several, sets `SELINUX=permissive` and has all files
    /// relabeled at the next boot (`/.autorelabel`). Where there is none at all, sets `SELINUX=disabled`: without
    /// a policy a permissive system does not boot either. Both are risky, since they stay: after that boot set
    /// `SELINUX=enforcing` again.
    ///
    /// ## By hand
    /// ```sh
    /// # correct the value in ROOT/etc/selinux/config, or in a chroot
    /// dnf reinstall selinux-policy-targeted
    /// ```
    "selinux-policy-missing", Boot, seed = ["B12", "D8"], proves = [], may_stop = [Init], "SELinux has no policy to load"
}

fn run(facts: &Facts, found: &mut Findings) -> Verdict {
    let selinux = facts.get::<Selinux>()?;
    let config = &selinux.config;
    match &selinux.written {
        Some((value, span)) if selinux.mode.is_none() => {
            let finding =
                found.warning(tr!("SELINUX={value} is not a known value and is treated as permissive", value));
            finding.at(config, *span).why(tr!("SELinux denies nothing, whatever was intended"));
            finding.repair(
                Risk::Safe,
                tr!("write permissive, which is how it is treated"),
                [Change::edit(config, with_word(config, *span, "permissive"))],
            );
        }
        _ => {}
    }
    if !selinux.enforces() || selinux.has_policy() {
        return Ok(());
    }
    let (policy, span) = &selinux.policy;
    let finding = found.critical(tr!("SELinux enforces the policy {policy}, which is not in /etc/selinux", policy));
    match (span, &selinux.mode) {
        (Some(span), _) | (None, Some((_, span))) => finding.at(config, *span),
        _ => finding.at_path(Selinux::CONFIG),
    };
    finding.why(tr!("systemd stops at once: Failed to load SELinux policy")).stops(Stage::Init);
    finding.detail("policies", selinux.loadable.clone());
    if let ([only], Some(span)) = (selinux.loadable.as_slice(), span) {
        let change = Change::edit(config, with_word(config, *span, only));
        finding.repair(Risk::Safe, tr!("write {policy}, the only policy installed", policy = only), [change]);
    }
    if selinux.loadable.is_empty() {
        // Without any policy permissive is no way out: systemd 252 then cannot label its own sockets, the journal's and
        // udev's first of all, and ends in emergency mode (seen in the lab).
        disabled(finding, &selinux);
    } else {
        permissive(facts, finding, &selinux);
    }
    Ok(())
}
