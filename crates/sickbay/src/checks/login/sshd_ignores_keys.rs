//! root's keys are in files that others may write.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use sickbay_target::Metadata;

use crate::facts::Facts;
use crate::facts::login::root_over_ssh::RootOverSsh;
use crate::facts::login::sshd::Sshd;
use crate::model::finding::Findings;
use crate::model::outcome::{Skip, Verdict};
use crate::model::repair::{Change, Risk};
use crate::model::stage::Stage;
use crate::{check, tr};

check! {
    /// ## Symptom
    /// You see: "Permission denied (publickey)"; in the server's log "Authentication refused: bad ownership or modes
    /// for directory /root".
    ///
    /// ## What it finds
    /// Keys of root that sshd ignores because the file that contains them, or a directory from it up to root's home, is
    /// writable by the group or by others, or is not owned by root (`StrictModes`, which is on by default).
    ///
    /// ## Why it matters
    /// The login with a key fails, and only the server's log says why; with `PermitRootLogin prohibit-password` that is
    /// the only way in.
    ///
    /// ## What the repair does
    /// Removes write permission from group and others, and gives the path back to root.
    ///
    /// ## By hand
    /// ```sh
    /// chown -R root: ROOT/root/.ssh
    /// chmod go-w ROOT/root ROOT/root/.ssh ROOT/root/.ssh/authorized_keys
    /// ```
    "sshd-ignores-keys", Login, seed = ["D7"], proves = [Sshd], "sshd ignores root's keys: other users can write to them"
}

fn run(facts: &Facts, found: &mut Findings) -> Verdict {
    let sshd = facts.get::<Sshd>()?;
    let root = facts.get::<RootOverSsh>()?;
    let effective = sshd.tree.effective(&sshd.reader(), &root.connection());
    if effective.value("StrictModes", "yes") == "no" || !effective.is_enabled("publickey") {
        return Err(Skip::NotApplicable(tr!("sshd does not check the modes of keys")));
    }
    let keys = root.keys(facts, &effective);
    if keys.files.is_empty() {
        return Err(Skip::NotApplicable(tr!("root has no keys")));
    }
    let paths: BTreeSet<PathBuf> = keys.files.iter().flat_map(|file| secured(file, &root.home)).collect();
    let mut changes = Vec::new();
    let mut culprits: Vec<(PathBuf, Metadata)> = Vec::new();
    for path in paths {
        let metadata = facts.root().stat(&path)?;
        let real = facts.root().canonical(&path)?;
        let writable = metadata.mode & 0o022 != 0;
        // `mode-too-open` sees these already.
        let ours = real != Path::new("/root") && real != Path::new("/");
        if metadata.uid != 0 && ours {
            let before = (metadata.uid, metadata.gid);
            changes.push(Change::Owner { path: real.clone(), before, after: (0, metadata.gid) });
        }
        if writable && (ours || metadata.mode & 0o002 == 0) {
            changes.push(Change::Mode { path: real.clone(), before: metadata.mode, after: metadata.mode & !0o022 });
        }
        if changes.iter().any(|change| change.path() == Some(&real)) {
            culprits.push((path, metadata));
        }
    }
    let Some((first, metadata)) = culprits.first() else { return Ok(()) };
    let message = if metadata.mode & 0o022 != 0 {
        let mode = format!("{:04o}", metadata.mode);
        tr!("sshd ignores root's keys: {path} has mode {mode}", path = first.as_path(), mode)
    } else {
        tr!("sshd ignores root's keys: {path} is owned by user {uid}", path = first.as_path(), uid = metadata.uid)
    };
    let finding = found.error(message);
    for (path, metadata) in &culprits {
        let what = format!("{}:{} {:04o}", metadata.uid, metadata.gid, metadata.mode);
        finding.at_path(path).evidence(path.display().to_string(), what);
    }
    finding.why(tr!("root cannot log in with a key")).stops(Stage::Sshd);
    finding.repair(Risk::Safe, tr!("make the keys writable by root only"), changes);
    Ok(())
}

/// The paths that sshd looks at (safe_path() of misc.c): the file and what it is in, up to the home directory or to the root.
fn secured(file: &Path, home: &Path) -> Vec<PathBuf> {
    let mut all = Vec::new();
    for path in file.ancestors() {
        all.push(path.to_owned());
        if path == home {
            break;
        }
    }
    all
}
