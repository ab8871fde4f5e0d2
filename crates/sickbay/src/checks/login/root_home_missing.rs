//! root's home is a directory that is not there, while the usual one is.

use std::path::Path;

use bstr::ByteSlice;
use sickbay_formats::accounts::Kind;
use sickbay_formats::lines;

use crate::facts::Facts;
use crate::facts::boot::fstab::{Fstab, mount_point};
use crate::facts::login::accounts::Users;
use crate::model::finding::Findings;
use crate::model::outcome::{Skip, Verdict};
use crate::model::repair::{Change, Risk};
use crate::{check, tr};

check! {
    /// ## Symptom
    /// You see: "Could not chdir to home directory /data/root: No such file or directory", or "Permission denied
    /// (publickey)" for root although `/root/.ssh/authorized_keys` has the key.
    ///
    /// ## What it finds
    /// A home directory of root in `/etc/passwd` that does not exist and is on no file system that fstab mounts, while
    /// `/root` is there.
    ///
    /// ## Why it matters
    /// sshd looks for root's keys below the home directory and finds none; the shell starts in `/` without root's settings.
    ///
    /// ## What the repair does
    /// Writes `/root` into root's line.
    ///
    /// ## By hand
    /// ```sh
    /// usermod -R ROOT -d /root root
    /// ```
    "root-home-missing", Login, seed = ["L1"], proves = [], "root's home directory does not exist"
}

fn run(facts: &Facts, found: &mut Findings) -> Verdict {
    // Whatever else is at its place is for `account-file-damaged`.
    let Ok(Some(file)) = facts.file(Kind::Passwd.path()) else {
        return Err(Skip::NotApplicable(tr!(
            "{path} is not a file that can be read",
            path = Path::new(Kind::Passwd.path())
        )));
    };
    let users = facts.get::<Users>()?;
    let passwd = users.parsed(Kind::Passwd);
    let Some(root) = passwd.find(b"root").filter(|root| root.number(2) == Some(0)) else { return Ok(()) };
    let home = root.field(5).to_path_lossy().into_owned();
    let is_dir = |path: &Path| facts.root().stat(path).is_ok_and(|metadata| metadata.is_dir());
    let is_gone = !home.is_absolute() || facts.root().exists(&home).is_ok_and(|there| !there);
    if !is_gone || home == Path::new("/root") || !is_dir(Path::new("/root")) {
        return Ok(());
    }
    let on_another = facts.get::<Fstab>().is_ok_and(|fstab| {
        fstab.sound().any(|entry| mount_point(entry) != Path::new("/") && home.starts_with(mount_point(entry)))
    });
    // What automount brings is not there either.
    let automounted = facts.root().exists("/etc/auto.master").unwrap_or(false) && home.starts_with("/home");
    if on_another || automounted {
        return Ok(());
    }
    let line = root.with_field(5, b"/root");
    let text = lines::with_line(&file.bytes, root.line, |_| Some(line));
    let named = home.as_path();
    found
        .error(tr!("root's home directory {home} does not exist", home = named))
        .at_path(Kind::Passwd.path())
        .evidence(format!("{}:{}", Kind::Passwd.path(), root.line), format!("root: home {}", home.display()))
        .why(tr!("sshd finds no keys of root, and root's shell none of its settings: both are in /root"))
        .explains(named)
        .repair(Risk::Safe, tr!("write /root"), [Change::edit(&file, text)]);
    Ok(())
}
