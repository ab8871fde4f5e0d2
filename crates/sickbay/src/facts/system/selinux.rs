//! How SELinux is set up on the target, for the boot to come.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bstr::ByteSlice;
use sickbay_formats::selinux::{self, Mode};
use sickbay_formats::span::Span;

use crate::facts::{Fact, Facts};
use crate::model::outcome::Skip;
use crate::model::source::SourceFile;
use crate::tr;

/// The set-up.
#[derive(Debug)]
pub struct Selinux {
    /// `/etc/selinux/config`.
    pub config: Arc<SourceFile>,
    /// What `SELINUX=` says and where; `None` when it says nothing that libselinux knows.
    pub mode: Option<(Mode, Span)>,
    /// The value of `SELINUX=` as it is written, and where.
    pub written: Option<(String, Span)>,
    /// The value of `SELINUXTYPE=` and where; `targeted` when there is none.
    pub policy: (String, Option<Span>),
    /// Directories of `/etc/selinux` that hold a policy that can be loaded.
    pub loadable: Vec<String>,
}

impl Fact for Selinux {
    fn gather(facts: &Facts) -> Result<Selinux, Skip> {
        let config = facts.required(Selinux::CONFIG)?;
        // Debian ships the file with libselinux's tools; without the library's policy loader nothing reads it.
        let written = selinux::setting(&config.bytes, "SELINUX").map(|one| (one.value.to_string(), one.span));
        let mode = written.as_ref().and_then(|(value, span)| Some((Mode::of(value.as_bytes())?, *span)));
        let policy = match selinux::setting(&config.bytes, "SELINUXTYPE") {
            Some(one) => (one.value.to_string(), Some(one.span)),
            None => ("targeted".to_owned(), None),
        };
        let mut loadable = Vec::new();
        for entry in facts.root().read_dir("/etc/selinux").unwrap_or_default() {
            let Some(name) = entry.name.to_str() else { continue };
            if policy_file(facts, name).is_some() {
                loadable.push(name.to_owned());
            }
        }
        loadable.sort();
        if mode.is_some_and(|(mode, _)| mode == Mode::Disabled) || off_on_the_command_line(facts) {
            return Err(Skip::NotApplicable(tr!("SELinux is off")));
        }
        Ok(Selinux { config, mode, written, policy, loadable })
    }
}

impl Selinux {
    /// Where it is set up.
    pub const CONFIG: &str = "/etc/selinux/config";

    /// Whether it forbids.
    pub fn enforces(&self) -> bool {
        self.mode.is_some_and(|(mode, _)| mode == Mode::Enforcing)
    }

    /// Whether the policy that the file names can be loaded.
    pub fn has_policy(&self) -> bool {
        self.loadable.contains(&self.policy.0)
    }
}

/// The binary policy of a type, if it has content: `/etc/selinux/TYPE/policy/policy.33`.
fn policy_file(facts: &Facts, policy: &str) -> Option<PathBuf> {
    let dir = Path::new("/etc/selinux").join(policy).join("policy");
    let entries = facts.root().read_dir(&dir).ok()?;
    let mut found = entries.iter().filter(|entry| entry.name.as_encoded_bytes().starts_with(b"policy."));
    found.find_map(|entry| {
        let path = dir.join(&entry.name);
        facts.root().stat(&path).is_ok_and(|metadata| metadata.is_file() && metadata.size > 0).then_some(path)
    })
}

/// Whether every boot configuration says `selinux=0` (kernel-parameters.txt), or `enforcing=0`.
fn off_on_the_command_line(facts: &Facts) -> bool {
    let files = ["/proc/cmdline", "/etc/default/grub", "/etc/kernel/cmdline", "/boot/grub/grub.conf"];
    files.iter().any(|path| {
        let is_own = !path.starts_with("/proc") || facts.runs();
        is_own
            && facts.root().read(*path).is_ok_and(|text| {
                text.lines().filter(|line| !line.trim_ascii_start().starts_with(b"#")).any(|line| {
                    line.split(|byte| byte.is_ascii_whitespace() || *byte == b'"')
                        .any(|word| word == b"selinux=0" || word == b"enforcing=0")
                })
            })
    })
}
