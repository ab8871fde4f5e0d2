//! The rules that ufw loads: its files, and what its ufw-init puts around them.

use std::fmt::Write as _;

use super::{RuleSet, iptables};
use crate::shell_vars;

/// One of its files.
#[derive(Clone, Copy, Debug)]
pub struct File<'a> {
    /// Its path.
    pub path: &'a str,
    /// Its content.
    pub bytes: &'a [u8],
}

/// Its files for one version of IP.
#[derive(Clone, Copy, Debug)]
pub struct Files<'a> {
    /// `/etc/default/ufw`
    pub defaults: File<'a>,
    /// `before.rules`, `user.rules`, `after.rules`, as far as they are there.
    pub rules: &'a [File<'a>],
}

/// Whether `ufw.conf` enables it.
pub fn is_enabled(conf: &[u8]) -> bool {
    let value = shell_vars::value_of(&shell_vars::assignments(conf), "ENABLED");
    value.is_some_and(|value| value.eq_ignore_ascii_case(b"yes"))
}

/// Reads what a start of ufw makes.
pub fn read(rules: &mut RuleSet, files: &Files<'_>, v6: bool) {
    let settings = shell_vars::assignments(files.defaults.bytes);
    let ufw = if v6 { "ufw6" } else { "ufw" };
    let policy = |way: &str| {
        let value = shell_vars::value_of(&settings, &format!("DEFAULT_{way}_POLICY"));
        value.map(|value| value.to_string().to_uppercase()).unwrap_or_else(|| "ACCEPT".to_owned())
    };
    // The policy's place is its line in the file of defaults: what ufw-init writes is put on that line.
    let line = |way: &str| {
        let name = format!("DEFAULT_{way}_POLICY");
        let at = files.defaults.bytes.split(|byte| *byte == b'\n').position(|line| line.starts_with(name.as_bytes()));
        at.unwrap_or(0)
    };
    let mut lines: Vec<String> = Vec::new();
    let mut put = |at: usize, text: &str| {
        let at = at.min(10_000);
        while lines.len() <= at {
            lines.push(String::new());
        }
        if let Some(line) = lines.get_mut(at) {
            line.push_str(text);
        }
    };
    for way in ["INPUT", "FORWARD", "OUTPUT"] {
        let kind = match policy(way).as_str() {
            // ufw rejects by a rule.
            "REJECT" | "DROP" => "DROP",
            _ => "ACCEPT",
        };
        put(line(way), &format!(":{way} {kind} [0:0]"));
    }
    iptables::read(rules, files.defaults.path, lines.join("\n").as_bytes(), v6);
    let mut jumps = String::from("*filter\n");
    for (way, name) in [("INPUT", "input"), ("FORWARD", "forward"), ("OUTPUT", "output")] {
        for part in ["before-logging", "before", "after", "after-logging", "reject", "track"] {
            let _ = writeln!(jumps, ":{ufw}-{part}-{name} - [0:0]\n-A {way} -j {ufw}-{part}-{name}");
        }
        let policy = policy(way);
        let _ = writeln!(jumps, ":{ufw}-skip-to-policy-{name} - [0:0]\n-A {ufw}-skip-to-policy-{name} -j {policy}");
        match policy.as_str() {
            "REJECT" => {
                let _ = writeln!(jumps, "-A {ufw}-reject-{name} -j REJECT");
            }
            "ACCEPT" => {
                let _ = writeln!(jumps, "-A {ufw}-track-{name} -m conntrack --ctstate NEW -j ACCEPT");
            }
            _ => {}
        }
        let _ =
            writeln!(jumps, ":{ufw}-user-{name} - [0:0]\n:{ufw}-logging-deny - [0:0]\n:{ufw}-logging-allow - [0:0]");
    }
    iptables::read(rules, "ufw-init", jumps.as_bytes(), v6);
    for file in files.rules {
        iptables::read(rules, file.path, file.bytes, v6);
    }
    let mut user = String::from("*filter\n");
    for name in ["input", "forward", "output"] {
        let _ = writeln!(user, "-A {ufw}-before-{name} -j {ufw}-user-{name}");
    }
    iptables::read(rules, "ufw-init", user.as_bytes(), v6);
}

/// `allow tcp 22 …`: the rule as the user gave it, which `user.rules` has in a comment above what was made of it.
pub fn tuple(bytes: &[u8], line: usize) -> Option<String> {
    let text = String::from_utf8_lossy(bytes);
    let above: Vec<&str> = text.lines().take(line.saturating_sub(1)).collect();
    let tuple = above.iter().rev().take(6).find_map(|line| line.strip_prefix("### tuple ### "))?;
    Some(tuple.split(" comment=").next().unwrap_or(tuple).trim().to_owned())
}
