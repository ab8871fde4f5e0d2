//! `sickbay diff`: what two systems have in two ways, and nothing that is a machine's own or a secret.

mod support;

use std::path::Path;

use serde_json::Value;
use support::command::{run, said, sickbay};
use support::story::{Built, Story};

fn system(more: &str) -> Built {
    Story::of(&format!("A system.\n\n--- tree debian-12\n{more}")).expect("a story").build().expect("built")
}

fn diff(first: &Path, second: &Path, words: &[&str]) -> (Option<i32>, String) {
    let arguments = ["diff"].into_iter().chain(words.iter().copied()).chain(first.to_str());
    said(&sickbay(arguments, second).output().expect("it starts"))
}

#[test]
fn two_alike_do_not_differ() {
    let (one, other) = (system("--- file /etc/hostname\na\n"), system("--- file /etc/hostname\nb\n"));
    let (code, text) = diff(one.root(), other.root(), &[]);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("do not differ"), "{text}");
}

#[test]
fn what_differs_is_shown_and_secrets_are_not() {
    let one = system(
        "--- file /etc/app.conf\nlisten 80\nname a\n--- file /etc/app.key 0600\nTOPSECRET-ONE\n--- file /etc/only.conf\nx\n",
    );
    let other = system(
        "--- file /etc/app.conf\nlisten 8080\nname a\n--- file /etc/app.key 0600\nTOPSECRET-TWO\n--- file /etc/sysctl.d/50-x.conf\nvm.swappiness = 1\n",
    );
    let (code, text) = diff(one.root(), other.root(), &["--format", "json"]);
    assert_eq!(code, Some(1), "{text}");
    assert!(!text.contains("TOPSECRET"), "{text}");
    let told: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(told["schema"], "sickbay/diff/v1");
    assert_eq!(
        told["configuration"],
        serde_json::json!([
            {"path": "/etc/app.conf", "how": "lines", "lines": ["-listen 80", "+listen 8080"]},
            {"path": "/etc/app.key", "how": "hidden"},
            {"path": "/etc/only.conf", "how": "first"},
            {"path": "/etc/sysctl.d/50-x.conf", "how": "second"},
        ])
    );
    assert_eq!(told["sysctl"], serde_json::json!([{"name": "vm.swappiness", "target": null, "donor": "1"}]));
    let (_, text) = diff(one.root(), other.root(), &[]);
    assert!(
        !text.contains("TOPSECRET")
            && text.contains("+listen 8080")
            && text.contains("/etc/only.conf: only in the first"),
        "{text}"
    );
}

#[test]
fn two_that_run_are_compared_by_their_values() {
    let of = |swappiness: &str, files: &str| {
        system(&format!(
            "--- running\n--- file /proc/sys/vm/swappiness\n{swappiness}\n--- file /proc/sys/kernel/random/boot_id\n{swappiness}\n\
            --- file /proc/1/limits\nLimit                     Soft Limit           Hard Limit           Units     \n\
            Max open files            1024                 {files}               files     \n"
        ))
    };
    let (one, other) = (of("60", "524288"), of("1", "4096"));
    let facts = |built: &Built| {
        let facts = built.facts().expect("facts");
        assert!(facts.runs());
        facts
    };
    let told = sickbay::facts::packages::configuration::Configuration::of(&facts(&one), &facts(&other));
    let row = |list: &[sickbay::facts::packages::comparison::Difference<String>]| {
        list.iter().map(|one| format!("{}: {:?} {:?}", one.name, one.ours, one.theirs)).collect::<Vec<_>>()
    };
    assert_eq!(row(&told.running), [r#"vm.swappiness: Some("60") Some("1")"#]);
    assert_eq!(row(&told.limits), [r#"Max open files: Some("1024:524288") Some("1024:4096")"#]);
}

#[test]
fn what_is_no_system_is_refused() {
    let dir = tempfile::tempdir().expect("a directory");
    let log = dir.path().join("kern.log");
    std::fs::write(&log, "Jan  1 00:00:00 a kernel: [    0.000000] Linux version 6.1.0\n").expect("written");
    let (code, text) = run(["diff"], &log);
    assert_eq!(code, Some(2), "{text}");
    assert!(text.contains("is no system"), "{text}");
}
