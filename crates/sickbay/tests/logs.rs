//! Logs as a target: the details that programs read, and every way to hand one over.
#![allow(clippy::unwrap_used, reason = "a test may")]

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

/// Every way in: by the name of a log, by another name, through standard input.
fn every_way(text: &[u8], look: impl Fn(&str, &Value, i32)) {
    let dir = tempfile::tempdir().unwrap();
    for name in ["messages.log", "crash.txt"] {
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        let (report, status) = check(path.to_str().unwrap(), b"");
        look(name, &report, status);
    }
    let (report, status) = check("-", text);
    look("-", &report, status);
}

#[test]
fn what_ping_and_strace_print_is_taken_by_any_name() {
    let ping = "64 bytes from 10.0.0.1: icmp_seq=1 ttl=64 time=5001 ms\n64 bytes from 10.0.0.1: icmp_seq=2 ttl=64 time=4000 ms\n\
        64 bytes from 10.0.0.1: icmp_seq=3 ttl=64 time=3001 ms\n";
    every_way(ping.as_bytes(), |way, report, status| {
        let finding = &report["findings"][0];
        assert_eq!((status, &finding["check"]), (1, &json!("ping-stalls")), "{way}: {report:#}");
        assert_eq!(finding["details"]["stalls"][0]["packets"], 3, "{way}");
        assert_eq!((&finding["details"]["lost"], &finding["details"]["sent"]), (&json!(0), &json!(3)), "{way}");
    });
    let trace = "12:00:01 openat(AT_FDCWD, \"/etc/shop.conf\", O_RDONLY) = -1 ENOENT (No such file or directory)\n\
        12:00:01 exit_group(3) = ?\n12:00:01 +++ exited with 3 +++\n";
    every_way(trace.as_bytes(), |way, report, status| {
        assert_eq!((status, &report["findings"][0]["check"]), (1, &json!("traced-failure")), "{way}: {report:#}");
    });
    let linker = "     4711:\tfind library=libc.so.6 [0]; searching\n     4711:\t  trying file=/lib/libc.so.6\n     4711:\t\n\
             4711:\tcalling init: /lib/libc.so.6\n     4711:\t\n";
    every_way(linker.as_bytes(), |way, report, status| assert_eq!(status, 0, "{way}: {report:#}"));
}

#[test]
fn what_is_not_understood_is_never_well() {
    let dir = tempfile::tempdir().unwrap();
    let tar = {
        let mut tar = vec![0; 1536];
        tar[..8].copy_from_slice(b"kern.log");
        tar[257..262].copy_from_slice(b"ustar");
        tar
    };
    let utf16 = |text: &str| text.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<u8>>();
    let cases: Vec<(Vec<u8>, &str)> = vec![
        (b"Total: 188\nTCP:   12 (estab 3, closed 1, orphaned 0, timewait 1)\n".into(), "ss"),
        (b"MemTotal:  4000000 kB\nMemFree:   10 kB\n".into(), "/proc/meminfo"),
        (b"slabinfo - version: 2.1\n# name <active_objs> <num_objs>\n".into(), "/proc/slabinfo"),
        (b"           CPU0       CPU1\n  0:   46   0  IO-APIC  2-edge  timer\n".into(), "/proc/interrupts"),
        (b"[Unit]\nDescription=shop\n[Service]\nExecStart=/bin/true\n".into(), "unit"),
        (b"192.0.2.9 - - [30/Nov/2026:10:00:00 +0000] \"GET / HTTP/1.1\" 200 5\n".into(), "nginx"),
        (b"Nov 30 10:00:00 box postfix/smtpd[9]: connect from unknown\n".into(), "postfix/smtpd"),
        (b"Subject: it hangs\n\nall tasks stand:\n schedule+0x2c/0x80\n io_schedule+0x12/0x40\n".into(), "not a log"),
        (b"hello world\n".into(), "not a log"),
        (utf16("hello world\n"), ""),
        (tar, "archive"),
        (b" \n\n".into(), "empty"),
        (b"".into(), "empty"),
    ];
    for (text, word) in &cases {
        let path = dir.path().join("anything.log");
        std::fs::write(&path, text).unwrap();
        for (target, input) in [(path.to_str().unwrap(), &b""[..]), ("-", text)] {
            let (report, status) = check(target, input);
            let error = report["error"].as_str().unwrap_or_else(|| panic!("{word} as {target}: {report:#}"));
            assert_eq!(status, 2, "{word} as {target}");
            assert!(error.contains(word), "{word} as {target}: {error}");
        }
    }
}

#[test]
fn how_much_was_understood_is_told_and_checks_of_the_kernel_want_its_lines() {
    let text = b"Nov 30 10:00:00 box sshd[9]: Failed password for invalid user oracle from 192.0.2.66 port 55 ssh2\n\
        Nov 30 10:00:01 box sshd[9]: Server listening on 0.0.0.0 port 22.\nNov 30 10:00:02 box cron[7]: x\nfree prose\n";
    every_way(text, |way, report, status| {
        assert_eq!(status, 0, "{way}: {report:#}");
        assert_eq!(report["target"]["understood"], json!({"lines": 2, "of": 4}), "{way}");
        let outcomes = report["outcomes"].as_array().unwrap();
        let of = |id: &str| &outcomes.iter().find(|outcome| outcome["check"] == id).unwrap()["outcome"];
        for id in ["oom-killer", "hung-task", "io-errors", "jvm-out-of-memory", "boot-stopped"] {
            assert_eq!(of(id), "not-applicable", "{way}: {id}");
        }
    });
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("kern.log");
    let line = "Nov 30 10:00:00 box kernel: eth0: link up\n";
    std::fs::write(&path, line.repeat(1204) + &"and more\n".repeat(96)).unwrap();
    let output = sickbay(["check"], &path).output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.contains("1,204 of 1,300 lines understood"), "{said}");
    // Of a large log a sample.
    std::fs::write(&path, line.repeat(100_000)).unwrap();
    let (report, status) = check(path.to_str().unwrap(), b"");
    let understood = &report["target"]["understood"];
    assert_eq!((status, &understood["lines"]), (0, &understood["of"]));
    assert!(understood["of"].as_u64().unwrap() < 50_000, "{understood}");
}

#[test]
fn other_encodings_and_packings_are_read() {
    let text = "Nov 30 10:00:00 box kernel: nf_conntrack: nf_conntrack: table full, dropping packet\r\n";
    let le: Vec<u8> = "\u{feff}".encode_utf16().chain(text.encode_utf16()).flat_map(u16::to_le_bytes).collect();
    let be: Vec<u8> = "\u{feff}".encode_utf16().chain(text.encode_utf16()).flat_map(u16::to_be_bytes).collect();
    let mut bzip2 = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
    bzip2.write_all(text.as_bytes()).unwrap();
    for bytes in [le, be, bzip2.finish().unwrap(), format!("\u{feff}{text}").into_bytes()] {
        every_way(&bytes, |way, report, status| {
            assert_eq!((status, &report["findings"][0]["check"]), (1, &json!("conntrack-full")), "{way}");
        });
    }
}

/// The head of a report, and its end.
fn jvm(pid: u32, bytes: u64) -> String {
    format!(
        "#\n# There is insufficient memory for the Java Runtime Environment to continue.\n\
         # Native memory allocation (mmap) failed to map {bytes} bytes for committing reserved memory.\n#\n\
         #  Out of Memory Error (os_linux.cpp:2640), pid={pid}, tid=0x1\n#\nuname:Linux 3.10.0-693.el7.x86_64 #1\n\
         /proc/meminfo:\nMemTotal: 4000000 kB\nMemFree: 90000 kB\nBuffers: 0 kB\nCached: 100000 kB\nSwapTotal: 0 kB\n\
         SwapFree: 0 kB\nShmem: 20000 kB\nSReclaimable: 0 kB\nCommitLimit: 2000000 kB\nCommitted_AS: 7000000 kB\n\nEND.\n"
    )
}

#[test]
fn a_report_of_java_is_found_wherever_it_stands() {
    let report = jvm(4711, 1 << 30);
    let expected = |way: &str, found: &Value, status: i32, lines: &[u64]| {
        assert_eq!((status, found["findings"].as_array().map(Vec::len)), (1, Some(lines.len())), "{way}: {found:#}");
        for (finding, line) in found["findings"].as_array().unwrap().iter().zip(lines) {
            assert_eq!(finding["check"], "jvm-out-of-memory", "{way}");
            assert_eq!(finding["details"]["MemTotal"], json!(4_000_000_u64 << 10), "{way}");
            let source = finding["evidence"][0]["source"].as_str().unwrap();
            assert!(source.ends_with(&format!(":{line}")), "{way}: {source} is not line {line}");
        }
    };
    every_way(report.as_bytes(), |way, found, status| expected(way, found, status, &[3]));
    let behind = format!("shop starts\nall is well\n{report}");
    every_way(behind.as_bytes(), |way, found, status| expected(way, found, status, &[5]));
    let two = format!("{report}{}", jvm(4712, 2 << 30));
    every_way(two.as_bytes(), |way, found, status| expected(way, found, status, &[3, 23]));
    let long = format!("{}\n{report}", "x".repeat(600_000));
    every_way(long.as_bytes(), |way, found, status| expected(way, found, status, &[4]));
    let hole = [vec![0; 300_000], b"\n".to_vec(), report.as_bytes().to_vec()].concat();
    every_way(&hole, |way, found, status| expected(way, found, status, &[4]));
    let coloured: String = report.lines().map(|line| format!("\x1b[31m{line}\x1b[0m\n")).collect();
    every_way(coloured.as_bytes(), |way, found, status| expected(way, found, status, &[3]));
    let docker: String = report
        .lines()
        .map(|line| format!("{{\"log\":{},\"stream\":\"stdout\"}}\n", json!(format!("{line}\n"))))
        .collect();
    every_way(docker.as_bytes(), |way, found, status| expected(way, found, status, &[3]));
    let journal: String = report.lines().map(|line| format!("Nov 30 10:00:00 box java[4711]: {line}\n")).collect();
    every_way(journal.as_bytes(), |way, found, status| expected(way, found, status, &[3]));
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
        assert!(said.contains("is a log") || said.contains("does not read logs"), "{said}");
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
