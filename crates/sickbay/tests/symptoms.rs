//! `sickbay explain` with what people paste: every answer has causes that are weighed, in both languages.

use std::process::Command;

const ERRORS: [&str; 14] = [
    "-bash: fork: Cannot allocate memory",
    "cp: error writing '/run/J7': No space left on device",
    "There is insufficient memory for the Java Runtime Environment to continue.",
    "Too many open files",
    "fork: retry: Resource temporarily unavailable",
    "RTNETLINK answers: File exists",
    "Cannot assign requested address",
    "Connection timed out",
    "Permission denied, please try again.",
    "Module is unknown",
    "error while loading shared libraries: libc.so.6: cannot open shared object file",
    "TCP: time wait bucket table overflow",
    "chown: invalid user: 'root:root'",
    "ulimit: open files: cannot modify limit: Operation not permitted",
];

fn explain(words: &[&str]) -> (i32, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_sickbay")).arg("explain").args(words).output().expect("sickbay");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
    (output.status.code().unwrap_or(-1), text(output.stdout), text(output.stderr))
}

#[test]
fn every_error_has_weighed_causes() {
    for error in ERRORS {
        let (code, out, err) = explain(&[error, "--format", "json"]);
        assert_eq!((code, err.as_str()), (0, ""), "{error}");
        let answer: serde_json::Value = serde_json::from_str(&out).expect("JSON");
        let causes = answer["causes"].as_array().expect("causes");
        assert!(!causes.is_empty(), "{error}");
        // What speaks for comes first, what speaks against last.
        let ranks: Vec<_> = causes
            .iter()
            .map(|cause| ["for", "open", "against"].iter().position(|says| cause["says"] == *says))
            .collect();
        assert!(ranks.iter().all(Option::is_some) && ranks.is_sorted(), "{error}: {ranks:?}");
        assert!(causes.iter().all(|cause| cause["seen"].as_str().is_some_and(|seen| !seen.is_empty())), "{error}");
    }
}

#[test]
fn questions_that_are_none() {
    let (code, out, err) = explain(&["no", "such", "thing"]);
    assert_eq!((code, out.as_str()), (2, ""));
    assert!(err.contains("neither a check"), "{err}");
    let (code, _, err) = explain(&["alloc"]);
    assert!(code == 2 && err.contains("give a size"), "{err}");
    let (code, _, err) = explain(&["alloc", "4 apples"]);
    assert!(code == 2 && err.contains("is not a size"), "{err}");
    let (code, _, err) = explain(&["alloc", "4G", "--pid", "4294967295"]);
    assert!(code == 2 && err.contains("/proc/4294967295"), "{err}");
    let (code, _, err) = explain(&["alloc", "4G", "--user", "no-such-user"]);
    assert!(code == 2 && err.contains("no user no-such-user"), "{err}");
}

#[test]
fn the_ledger_and_the_oracle_answer() {
    let (code, out, _) = explain(&["memory", "--format", "json", "--pss"]);
    assert_eq!(code, 0);
    let ledger: serde_json::Value = serde_json::from_str(&out).expect("JSON");
    let total = ledger["total"].as_u64().expect("bytes");
    let rows: u64 = ledger["rows"].as_array().expect("rows").iter().filter_map(|row| row["bytes"].as_u64()).sum();
    let booked = i128::from(rows) + i128::from(ledger["unaccounted"].as_i64().expect("bytes"));
    assert_eq!(booked, i128::from(total));
    let own = ledger["processes"].as_array().expect("processes").iter().any(|process| process["comm"] == "sickbay");
    assert!(own, "{out}");
    let (code, out, _) = explain(&["memory", "--lang", "zh-CN"]);
    assert!(code == 0 && out.contains("页缓存"), "{out}");
    // More than there are addresses is refused everywhere.
    let (code, out, _) = explain(&["alloc", "200T"]);
    assert!(code == 1 && out.contains("refused"), "{out}");
}
