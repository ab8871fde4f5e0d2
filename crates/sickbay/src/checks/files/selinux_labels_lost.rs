//! Files on the way to a prompt have lost their SELinux labels.

use sickbay_formats::selinux::type_of;
use sickbay_target::Root;

use crate::facts::Facts;
use crate::facts::system::release::System;
use crate::facts::system::selinux::Selinux;
use crate::mend::selinux::{permissive, relabel};
use crate::model::finding::Findings;
use crate::model::outcome::{Skip, Verdict};
use crate::model::stage::Stage;
use crate::model::subject::Subject;
use crate::{check, tr};

check! {
    /// ## Symptom
    /// You see: "Permission denied" after the right password, a login that ends at once, or "Failed to load default
    /// target: Permission denied" during boot.
    ///
    /// ## What it finds
    /// On a system with SELinux enforcing: files that init, login, sshd and PAM need and that have no label, or the
    /// label of something else, as happens when files are copied or edited from a rescue system. Where `/.autorelabel`
    /// requests new labels at the next boot, all is well, unless systemd does not get that far: from RHEL 8.4 on it may
    /// not read units that have no label.
    ///
    /// ## Why it matters
    /// What has no label is `unlabeled_t`, which hardly any service may read: "Permission denied" after the right
    /// password, a login that ends at once, a system that stops during boot.
    ///
    /// ## What the repair does
    /// Asks the target's own `setfiles`, run in a sandbox on a copy, which label every file should have, and sets these. Where the
    /// target has none, or it fails: sets `SELINUX=permissive` and has all files relabeled at the next boot. That is risky, since it stays
    /// permissive: after that boot set `SELINUX=enforcing` again.
    ///
    /// ## By hand
    /// ```sh
    /// # without staying permissive: relabel from a rescue system
    /// setfiles -r ROOT ROOT/etc/selinux/targeted/contexts/files/file_contexts ROOT
    /// # or at the next boot, with enforcing=0 on the kernel command line once
    /// touch ROOT/.autorelabel
    /// ```
    "selinux-labels-lost", Files, seed = ["B12", "D8"], proves = [], may_stop = [Init], "files needed for a login prompt have lost their SELinux labels"
}

/// Files and the types that the reference policies of the last fifteen years give them (`matchpathcon`).
const TYPES: [(&str, &[&str]); 14] = [
    ("/etc/passwd", &["passwd_file_t", "etc_t"]),
    ("/etc/group", &["passwd_file_t", "etc_t"]),
    ("/etc/shadow", &["shadow_t"]),
    ("/etc/pam.d/login", &["etc_t"]),
    ("/etc/pam.d/system-auth", &["etc_t"]),
    ("/etc/pam.d/sshd", &["etc_t"]),
    ("/etc/ssh/sshd_config", &["etc_t", "sshd_etc_t"]),
    ("/usr/sbin/sshd", &["sshd_exec_t"]),
    ("/usr/bin/login", &["login_exec_t"]),
    ("/bin/login", &["login_exec_t"]),
    ("/bin/bash", &["shell_exec_t"]),
    ("/usr/lib/systemd/systemd", &["init_exec_t"]),
    ("/sbin/unix_chkpwd", &["chkpwd_exec_t"]),
    ("/etc/ld.so.cache", &["ld_so_cache_t"]),
];

fn run(facts: &Facts, found: &mut Findings) -> Verdict {
    let selinux = facts.get::<Selinux>()?;
    let root = facts.root();
    if !selinux.enforces() || !selinux.has_policy() {
        return Ok(());
    }
    if root.metadata("/.autorelabel").is_ok() {
        if refuses_unlabelled(facts)? {
            stops_before_relabel(facts, found, &selinux)?;
        }
        return Ok(());
    }
    let mut wrong = Vec::new();
    for (path, types) in TYPES {
        let Some(label) = label(root, path)? else { continue };
        let name = type_of(&label).map(|name| name.to_string()).unwrap_or_default();
        if !types.contains(&name.as_str()) {
            wrong.push((path, if name.is_empty() { "unlabeled_t".to_owned() } else { name }, types));
        }
    }
    let Some((first, name, _)) = wrong.first() else { return Ok(()) };
    let finding = if wrong.len() == 1 {
        found.error(tr!("{path} has the SELinux label {label}", path = *first, label = name))
    } else {
        found.error(tr!("{count} {count?file|files} needed for a login prompt {count?has a wrong SELinux label|have wrong SELinux labels}", count = wrong.len()))
    };
    for (path, name, types) in &wrong {
        finding
            .at_path(path)
            .evidence(*path, format!("{name}, and not {}", types.first().copied().unwrap_or_default()));
    }
    finding.subject(Subject::Named("labels".to_owned())).extent(wrong.len());
    finding.why(tr!("while SELinux is enforcing, init, login and sshd are denied access to files with such labels"));
    relabel(facts, finding, &selinux);
    permissive(facts, finding, &selinux);
    Ok(())
}

/// Files that systemd reads before it can start what labels files again.
const FIRST: [&str; 5] = [
    "/etc/systemd/system/default.target",
    "/usr/lib/systemd/system/default.target",
    "/usr/lib/systemd/system/multi-user.target",
    "/usr/lib/systemd/system/sysinit.target",
    "/usr/lib/systemd/system/basic.target",
];

/// Whether the policy keeps init_t from reading what has no label: RHEL's does from 8.4 on, Fedora's from 33 on.
fn refuses_unlabelled(facts: &Facts) -> Result<bool, Skip> {
    let system = facts.get::<System>()?;
    let release = &system.release;
    let version = release.version.as_deref().unwrap_or_default();
    let version: Vec<u32> = version.split('.').map_while(|part| part.parse().ok()).collect();
    let major = version.first().copied().unwrap_or(0);
    Ok(if release.id.as_deref() == Some("fedora") {
        major >= 33
    } else if ["rhel", "centos", "fedora"].iter().any(|id| release.is_like(id)) {
        // Stream has no second number.
        major >= 9 || major == 8 && version.get(1).is_none_or(|minor| *minor >= 4)
    } else {
        false
    })
}

/// Says that /.autorelabel is not come to.
fn stops_before_relabel(facts: &Facts, found: &mut Findings, selinux: &Selinux) -> Result<(), Skip> {
    let mut without = Vec::new();
    for path in FIRST {
        if label(facts.root(), path)?.is_some_and(|label| label.is_empty()) {
            without.push(path);
        }
    }
    let Some(first) = without.first() else { return Ok(()) };
    let finding = found.critical(tr!("{path} has no SELinux label, and systemd may not read it", path = *first));
    for path in &without {
        finding.at_path(path).evidence(*path, "unlabeled_t");
    }
    finding
        .why(tr!("systemd stops before it gets to /.autorelabel: Failed to load default target: Permission denied"))
        .note(tr!("enforcing=0 on the kernel command line, for one boot, has the same effect without leaving SELinux permissive"))
        .stops(Stage::Init);
    relabel(facts, finding, selinux);
    permissive(facts, finding, selinux);
    Ok(())
}

/// The label of a file, empty when it has none; `None` when there is no such file.
fn label(root: &Root, path: &str) -> Result<Option<Vec<u8>>, Skip> {
    let Ok(real) = root.canonical(path) else { return Ok(None) };
    let attributes = root.xattrs(&real)?;
    let label = attributes.into_iter().find(|(name, _)| name == "security.selinux").map(|(_, value)| value);
    Ok(Some(label.unwrap_or_default()))
}
