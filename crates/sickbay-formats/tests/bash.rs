//! The reader of shell scripts against the real bash: what `bash -n` takes, we take, and what we refuse, it refuses.
#![allow(clippy::unwrap_used, reason = "a test may")]

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use sickbay_formats::shell::parse;

/// Scripts of this machine: start-up files, completions, init scripts, maintainer scripts, programs.
fn scripts() -> Vec<(PathBuf, Vec<u8>)> {
    let dirs = [
        "/etc",
        "/etc/profile.d",
        "/etc/skel",
        "/etc/init.d",
        "/root",
        "/usr/share/bash-completion/completions",
        "/var/lib/dpkg/info",
        "/usr/bin",
        "/usr/sbin",
        "/usr/share/base-files",
    ];
    let mut all = Vec::new();
    let mut seen = BTreeSet::new();
    for dir in dirs {
        for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
            let path = entry.path();
            let Ok(path) = path.canonicalize() else { continue };
            if !path.is_file() || !seen.insert(path.clone()) {
                continue;
            }
            let Ok(text) = fs::read(&path) else { continue };
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            let first = text.split(|&byte| byte == b'\n').next().unwrap_or_default();
            let script = first.starts_with(b"#!")
                && (first.ends_with(b"/sh") || first.ends_with(b"bash") || first.ends_with(b"sh -e"));
            let start_up = name.contains("bash") || name.contains("profile") || dir == "/etc/profile.d";
            if (script || start_up || dir.contains("completion")) && text.len() < 200_000 && !text.contains(&0) {
                all.push((path, text));
            }
        }
    }
    all
}

fn bash_takes(text: &[u8]) -> bool {
    let mut bash = Command::new("bash")
        .args(["-n", "-O", "extglob", "/dev/stdin"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // bash may end before it has read all.
    let _ = bash.stdin.take().unwrap().write_all(text);
    let out = bash.wait_with_output().unwrap();
    let complaint = String::from_utf8_lossy(&out.stderr);
    out.status.success() && !complaint.contains("syntax error") && !complaint.contains("unexpected EOF")
}

#[test]
fn what_bash_takes_is_taken() {
    let all = scripts();
    assert!(all.len() > 200, "only {} scripts on this machine", all.len());
    let wrong: Vec<String> = all
        .iter()
        .filter_map(|(path, text)| {
            let error = parse(text).error?;
            bash_takes(text).then(|| format!("{}: {error:?}", path.display()))
        })
        .collect();
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), all.len(), wrong.join("\n"));
}

#[test]
fn what_is_refused_bash_refuses() {
    let all: Vec<Vec<u8>> =
        scripts().into_iter().map(|(_, text)| text).filter(|text| text.len() < 20_000).take(400).collect();
    let (mut both, mut missed) = (0, 0);
    for (number, text) in all.iter().enumerate() {
        let lines: Vec<&[u8]> = text.split_inclusive(|&byte| byte == b'\n').collect();
        let at = number * 7919 % lines.len().max(1);
        let broken = match number % 3 {
            // A line is lost, the file is cut off, a quote is added.
            0 => [&lines[..at], &lines[(at + 1).min(lines.len())..]].concat().concat(),
            1 => lines[..at].concat(),
            _ => [lines[..at].concat(), b"x=\"\n".to_vec(), lines[at..].concat()].concat(),
        };
        let (ours, theirs) = (parse(&broken).error, bash_takes(&broken));
        if let Some(error) = ours {
            assert!(!theirs, "bash takes what we refuse: {error:?}\n{}", String::from_utf8_lossy(&broken));
            both += 1;
        } else if !theirs {
            missed += 1;
        }
    }
    assert!(both > 60 && missed * 20 < both, "found by both: {both}, by bash alone: {missed}");
}
