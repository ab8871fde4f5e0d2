//! Logs as a target: the details that programs read, and every way to hand one over.

mod support;

use std::io::Write;
use std::path::Path;
use std::process::Stdio;

use serde_json::{Value, json};
use support::command::sickbay;

/// The report as JSON, and the exit status.
fn check(target: &str, input: &[u8]) -> (Value, i32) {
    let mut child = sickbay(["check", "--format=json"], Path::new(target))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    let writer = std::thread::spawn(move || {
        let _ = stdin.write_all(&input);
    });
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    (serde_json::from_slice(&output.stdout).unwrap(), output.status.code().unwrap())
}

/// The report that a book prints, broken lines and all.
fn book() -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../sickbay-formats/tests/oom/printed-in-a-book.txt");
    std::fs::read(path).unwrap()
}

#[test]
fn the_printed_report_in_detail() {
    let (report, status) = check("-", &book());
    assert_eq!((status, &report["target"]["kind"]), (1, &json!("log")));
    assert_eq!(report["proofs"], json!({"boot": [], "login": []}));
    assert_eq!(report["findings"].as_array().unwrap().len(), 1);
    assert!(report["outcomes"].as_array().unwrap().iter().all(|outcome| outcome["area"] == "logs"));
    let finding = &report["findings"][0];
    let details = &finding["details"];
    for (key, value) in [
        ("kernel", json!("3.13.0-86-generic")),
        ("trigger_comm", json!("nginx")),
        ("trigger_pid", json!(10242)),
        ("order", json!(0)),
        ("gfp_mask", json!("0x200da")),
        ("gfp_flags", json!(["GFP_HIGHUSER_MOVABLE"])),
        ("constraint", json!("global")),
        ("memcg", Value::Null),
        ("victim_pid", json!(10366)),
        ("victim_comm", json!("nginx")),
        ("victim_total_vm_kb", json!(84784)),
        ("victim_anon_rss_kb", json!(49156)),
        ("victim_file_rss_kb", json!(520)),
        ("swap_total_kb", json!(0)),
        ("swap_free_kb", json!(0)),
        ("killed_at", Value::Null),
    ] {
        assert_eq!(details[key], value, "{key}");
    }
    let zone = |name: &str| details["zones"].as_array().unwrap().iter().find(|zone| zone["name"] == name).unwrap();
    assert_eq!(
        zone("DMA32"),
        &json!({"node": 0, "name": "DMA32", "free_kb": 48516, "min_kb": 31704, "low_kb": 39628, "high_kb": 47556,
                "lowmem_reserve_kb": 16884, "deficit_kb": 72})
    );
    assert_eq!((&zone("Normal")["deficit_kb"], &zone("Normal")["lowmem_reserve_kb"]), (&json!(108), &json!(0)));
    assert_eq!((&zone("DMA")["deficit_kb"], &zone("DMA")["lowmem_reserve_kb"]), (&json!(16092), &json!(31872)));
    // 12367 + 12324 + 12324 + 12367 pages.
    assert_eq!(details["top_consumers"][0], json!({"comm": "nginx", "processes": 4, "rss_kb": 49382 * 4}));
    assert!(finding["why"].as_str().unwrap().contains("CPU"));
}

#[test]
fn every_way_to_hand_a_log_over() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &[u8]| {
        let path = dir.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let old = b"Jun 11 10:36:02 gw kernel: nf_conntrack: nf_conntrack: table full, dropping packet\n";
    let new = b"Jun 12 10:36:02 gw kernel: nf_conntrack: nf_conntrack: table full, dropping packet\n";
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(old).unwrap();
    let gzip = gzip.finish().unwrap();
    file("logs/kern.log.2.gz", &gzip);
    file("logs/kern.log", new);
    file("logs/syslog", new);
    let logs = dir.path().join("logs");
    let (report, status) = check(logs.to_str().unwrap(), b"");
    let details = &report["findings"][0]["details"];
    assert_eq!(
        (status, &details["count"], &details["first"], &details["last"]),
        (1, &json!(2), &json!("Jun 11 10:36:02"), &json!("Jun 12 10:36:02"))
    );
    // A packed log that ends too early says so, and what came before counts.
    let many = old.repeat(4000);
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::none());
    gzip.write_all(&many).unwrap();
    let mut gzip = gzip.finish().unwrap();
    gzip.truncate(gzip.len() / 2);
    let (report, status) = check(&file("cut.log.gz", &gzip), b"");
    assert_eq!((status, &report["outcomes"][0]["outcome"]), (2, &json!("unknown")));
    assert!(report["findings"][0]["details"]["count"].as_u64().unwrap() > 1000);
    // Nothing in it, nothing found.
    let (report, status) = check(&file("quiet.log", b"Jun 12 10:36:02 gw kernel: eth0: link up\n"), b"");
    assert_eq!((status, report["findings"].as_array().unwrap().len()), (0, 0));
    assert_eq!(check("-", b"").1, 2);
    // No log: the message says what was expected.
    let (report, status) = check(&file("shopping", b"milk\nbread\n"), b"");
    assert_eq!(status, 2);
    assert!(report["error"].as_str().unwrap().contains("a text file"), "{report}");
}

#[test]
fn damaged_logs_are_read_around_the_damage() {
    use std::io::{Seek, SeekFrom};
    let dir = tempfile::tempdir().unwrap();
    let line =
        |day: u32| format!("Jun {day} 10:36:02 gw kernel: nf_conntrack: nf_conntrack: table full, dropping packet\n");
    // A hole, as a writer leaves it whose file was cut.
    let path = dir.path().join("hole.log");
    let mut file = std::fs::File::create(&path).unwrap();
    file.write_all(line(11).as_bytes()).unwrap();
    file.seek(SeekFrom::Start(32 << 20)).unwrap();
    file.write_all(format!("\n{}", line(12)).as_bytes()).unwrap();
    drop(file);
    let (report, status) = check(path.to_str().unwrap(), b"");
    assert_eq!((status, &report["findings"][0]["details"]["count"]), (1, &json!(2)));
    // Bytes that are no text in its middle, and a line of 8 MiB.
    let noise: Vec<u8> = (0..200_000_u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let path = dir.path().join("noise.log");
    let long = [b"[1.0] ".as_slice(), &vec![0x1b; 8 << 20], b"\n"].concat();
    std::fs::write(&path, [line(11).as_bytes(), &noise, b"\n", &long, line(12).as_bytes()].concat()).unwrap();
    let (report, status) = check(path.to_str().unwrap(), b"");
    assert_eq!((status, &report["findings"][0]["details"]["count"]), (1, &json!(2)));
    // Nothing but such bytes is no log, whatever its name.
    let path = dir.path().join("kern.log");
    std::fs::write(&path, &noise).unwrap();
    assert_eq!(check(path.to_str().unwrap(), b"").1, 2);
}

/// Standard output of `sickbay explain`, and the exit status.
fn explain(arguments: &[&str]) -> (String, i32) {
    let (last, first) = arguments.split_last().unwrap();
    let all = std::iter::once("explain").chain(first.iter().copied());
    let output = sickbay(all.collect::<Vec<_>>(), Path::new(last)).output().unwrap();
    (String::from_utf8(output.stdout).unwrap(), output.status.code().unwrap())
}

#[test]
fn a_finding_is_explained_with_the_whole_table() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("kern.log");
    std::fs::write(&log, book()).unwrap();
    let log = log.to_str().unwrap();
    for name in ["F1", "oom-killer"] {
        let (told, status) = explain(&[name, log]);
        assert_eq!(status, 1);
        for part in [
            "72 kB short",
            "lowmem_reserve [0, 3746, 7968, 7968] pages",
            "free blocks in kB",
            "upstart-file-br: 1 process",
        ] {
            assert!(told.contains(part), "{name}: {part} is not in\n{told}");
        }
    }
    let (told, status) = explain(&["--format=json", "F1", log]);
    let finding: Value = serde_json::from_str(&told).unwrap();
    assert_eq!(
        (status, &finding["check"], &finding["details"]["victim_pid"]),
        (1, &json!("oom-killer"), &json!(10366))
    );
    assert_eq!(explain(&["F9", log]).1, 2);
}

#[test]
fn nothing_in_a_log_is_repaired_and_other_checks_do_not_look_at_it() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("kern.log");
    std::fs::write(&log, "x\n").unwrap();
    for arguments in [["fix", "--yes"], ["check", "--only=fstab-bad-line"]] {
        let output = sickbay(arguments, &log).output().unwrap();
        assert_eq!(output.status.code(), Some(2));
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(said.contains("is a log") || said.contains("does not look at logs"), "{said}");
    }
}

#[test]
fn escapes_of_a_hostile_log_do_not_reach_the_terminal() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("kern.log");
    std::fs::write(
        &log,
        "[1.0] \x1b]0;owned\x07evil\x1b[2J invoked oom-killer: gfp_mask=0x200da\x1b[31m, order=0, oom_score_adj=0\n\
         [1.0] Out of memory: Kill process 7 (\x1b[5mblink) score 1 or sacrifice child\n\
         [1.0] Killed process 7 (\u{202e}blink\x07) total-vm:1kB, anon-rss:1kB, file-rss:1kB\n\
         [1.0] INFO: task \x1b[2Jx:1 blocked for more than 120 seconds.\n",
    )
    .unwrap();
    let output = sickbay(["check", "--verbose"], &log).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(
        output.stdout.iter().all(|byte| *byte >= 0x20 || *byte == b'\n'),
        "{}",
        String::from_utf8_lossy(&output.stdout)
    );
    assert!(!String::from_utf8_lossy(&output.stdout).contains('\u{202e}'));
}
