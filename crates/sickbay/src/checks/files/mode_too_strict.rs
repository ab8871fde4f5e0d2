//! System directories and files that only root can use any more.

use crate::facts::Facts;
use crate::facts::packages::modes::{MANY, RULES, is_anothers, lost_sticky, right_mode};
use crate::facts::packages::{Packages, Survey};
use crate::model::finding::Findings;
use crate::model::outcome::Verdict;
use crate::model::repair::{Change, Risk};
use crate::{check, tr};

check! {
    /// ## Symptom
    /// You see: "I have no name!", "bash: /etc/profile: Permission denied", services that fail at boot, while root
    /// notices nothing.
    ///
    /// ## What it finds
    /// System directories that only root can enter, and files such as `/etc/passwd` that only root can read: a
    /// `chmod 700 /` or `chmod 600 /etc/passwd` by mistake, or a strict `umask` when an archive was unpacked.
    ///
    /// ## Why it matters
    /// root can still do everything, so all looks well; but sshd's unprivileged process, dbus, polkit, chrony and every
    /// user's shell run as other users: "I have no name!", "No such file or directory", services that fail to start.
    ///
    /// ## What the repair does
    /// Gives each path the mode that it has on the donor, otherwise the one that the distributions ship.
    ///
    /// ## By hand
    /// ```sh
    /// chmod 755 ROOT/
    /// chmod 644 ROOT/etc/passwd
    /// ```
    "mode-too-strict", Files, seed = ["B9"], proves = [], "only root can use some system files"
}

fn run(facts: &Facts, found: &mut Findings) -> Verdict {
    let root = facts.root();
    let mut seen = Vec::new();
    // Where everything was closed, that is one finding, of `package-mode-wrong`.
    let closed = facts.get::<Survey>().is_ok_and(|survey| survey.closed.len() >= MANY);
    let told = |path: &std::path::Path| {
        closed && facts.get::<Packages>().is_ok_and(|packages| packages.file(path).is_some_and(|it| it.exact.is_none()))
    };
    for rule in RULES {
        let Ok(metadata) = root.stat(rule.path) else { continue };
        let path = root.canonical(rule.path)?;
        // That is `mode-too-open`'s to say, and so is whose it is.
        if metadata.mode & rule.always == rule.always
            || lost_sticky(rule, &metadata)
            || seen.contains(&path)
            || is_anothers(facts, &path, &metadata)
            || told(&path)
        {
            continue;
        }
        seen.push(path.clone());
        let after = right_mode(facts, rule, &metadata);
        let (now, wanted) = (format!("{:04o}", metadata.mode), format!("{after:04o}"));
        found
            .error(tr!("{path} has mode {now}, which locks out users who need it", path = path.as_path(), now))
            .at_path(&path)
            .why(tr!("services and shells that run as other users than root need it"))
            .evidence(path.display().to_string(), format!("mode {:04o}", metadata.mode))
            .repair(
                Risk::Safe,
                tr!("set the mode of {path} to {wanted}", path = path.as_path(), wanted),
                [Change::Mode { path: path.clone(), before: metadata.mode, after }],
            );
    }
    Ok(())
}
