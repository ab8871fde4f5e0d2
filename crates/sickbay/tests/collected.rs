//! What other programs collected, and this machine for a moment, as `sickbay explain cpu`, `irq` and `io` tell it.

use std::path::Path;
use std::process::Command;

fn run(words: &[&str]) -> (Option<i32>, String) {
    let out = Command::new(env!("CARGO_BIN_EXE_sickbay"))
        .args(words)
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/collected"))
        .env("LC_ALL", "C")
        .output()
        .expect("sickbay starts");
    (out.status.code(), String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr))
}

fn told(words: &[&str]) -> String {
    let (code, text) = run(words);
    assert_eq!(code, Some(0), "{text}");
    for line in text.lines() {
        assert!(line.chars().count() <= 80, "{}: {line}", line.chars().count());
    }
    text
}

fn json(words: &[&str]) -> serde_json::Value {
    let all: Vec<&str> = words.iter().copied().chain(["--format", "json"]).collect();
    let (code, text) = run(&all);
    assert_eq!(code, Some(0), "{text}");
    serde_json::from_str(&text).expect("JSON")
}

#[test]
fn the_io_burst_of_the_e_book() {
    let text = told(&["explain", "io", "e-book-io.txt", "--at", "2018-06-12 10:36:05"]);
    assert!(text.contains("10:36:03 xvdb"), "{text}");
    assert!(text.contains("104.53"), "{text}");
    assert!(text.contains("11974  fio (10:36:06)"), "{text}");
    // Nothing of what was before, and no line of which nothing is known.
    assert!(!text.contains("10:18:41") && !text.contains("10:36:00 xvdb"), "{text}");
    let io = json(&["explain", "io", "e-book-io.txt", "--from", "2018-06-12 10:30", "--to", "2018-06-12 10:40"]);
    let intervals = io["intervals"].as_array().expect("intervals");
    let of = |interval: &&serde_json::Value| interval["to"].as_str().is_some_and(|to| to.contains("10:36:03"));
    let interval = intervals.iter().find(of).expect("the interval");
    assert_eq!((&io["schema"], &interval["seconds"]), (&"sickbay/io/v1".into(), &2.87.into()), "{io}");
    assert!(interval["to"].as_str().is_some_and(|to| to.starts_with("2018-06-12T10:36:03")), "{io}");
    let disks = interval["disks"].as_array().expect("disks");
    let xvdb = disks.iter().find(|disk| disk["disk"] == "xvdb").expect("xvdb");
    let near = |name: &str, expected: f64| {
        assert!(xvdb[name].as_f64().is_some_and(|value| (value - expected).abs() < 0.005), "{name}: {xvdb}");
    };
    for (name, expected) in
        [("w/s", 2823.69), ("wkB/s", 2837.63), ("w_await", 47.0), ("aqu-sz", 132.97), ("util", 104.53), ("r/s", 0.0)]
    {
        near(name, expected);
    }
    // There was no read, and sysstat prints that so.
    near("r_await", 0.0);
}

#[test]
fn what_fio_said_of_itself() {
    let (code, text) = run(&["check", "e-book-io.txt"]);
    assert_eq!(code, Some(1), "{text}");
    for part in [
        "xvdb is saturated, 2698 writes/s, 2.78 MB/s: 100 % of it by fio (PID 11974)",
        "from 2018-06-12 10:35:57 to 2018-06-12 10:36:30, 32 s",
        "2.76 MB/s written, 100 %; it has iotest open there",
        "fio (Rand_Write_Testing) says of itself 2722/s and 2723 kB/s",
        "on iotest; the disk is 0.4 % off that",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[test]
fn a_file_of_sars() {
    let text = told(&["explain", "io", "sa12"]);
    assert!(text.starts_with("2026-11-30 20:49:35 to 20:49:46, 11 intervals\n"), "{text}");
    assert!(text.contains("20:49:41 dev254-0"), "{text}");
    let cpu = told(&["explain", "cpu", "sa12", "--from", "20:49:39", "--to", "20:49:43"]);
    assert!(cpu.contains("%user") && cpu.contains("\nall "), "{cpu}");
    let told_cpu = json(&["explain", "cpu", "sa12"]);
    let interval = &told_cpu["intervals"][0];
    assert!(interval["all"]["softirq"].is_number() && interval["cpus"][1]["cpu"] == 1, "{interval}");
    assert!(interval["proc/s"].is_number() && interval["runq-sz"].is_number(), "{interval}");
    assert_eq!(told_cpu["processes"], serde_json::json!([]));
    let irq = json(&["explain", "irq", "sa12"]);
    let rows = irq["intervals"][0]["interrupts"].as_array().expect("rows");
    assert!(rows.iter().any(|row| row["name"] == "LOC" && row["cpus"][1]["rate"].is_number()), "{irq}");
    assert!(irq["intervals"][0]["softirqs"].is_null(), "{irq}");
    told(&["explain", "irq", "sa12"]);
    let (code, text) = run(&["explain", "io", "sa12", "--at", "2018-06-12 10:36"]);
    assert_eq!(code, Some(2), "{text}");
    assert!(text.contains("sa12 has nothing from 2018-06-12 10:34:00 to 2018-06-12 10:38:00"), "{text}");
}

#[test]
fn several_files_are_one_target() {
    let check = |files: [&str; 2]| {
        let out = Command::new(env!("CARGO_BIN_EXE_sickbay"))
            .args(["check", "--format", "json"])
            .args(files)
            .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/collected"))
            .output()
            .expect("sickbay starts");
        serde_json::from_slice::<serde_json::Value>(&out.stdout).expect("JSON")
    };
    let report = check(["e-book-io.txt", "e-book-sar.txt"]);
    assert!(report.is_object(), "one report, no list: {report}");
    // Something else among them is a target of its own.
    let reports = check(["e-book-io.txt", "sa12.sadf"]);
    assert_eq!(reports.as_array().map(Vec::len), Some(2), "{reports}");
    let (code, text) = run(&["explain", "io", "./e-book-io.txt", "./sa12.sadf"]);
    assert_eq!(code, Some(2), "{text}");
    assert!(text.contains("only what other programs recorded may be given as several files"), "{text}");
}

#[test]
fn this_machine_for_a_moment() {
    let io = json(&["explain", "io", "--for", "0.7s"]);
    let interval = &io["intervals"][0];
    assert!(interval["seconds"].as_f64().is_some_and(|seconds| seconds >= 0.6), "{io}");
    for disk in interval["disks"].as_array().expect("disks") {
        assert!(disk["r/s"].is_number() && disk["util"].is_number(), "{disk}");
    }
    let cpu = json(&["explain", "cpu", "--for", "0.7s"]);
    let all = &cpu["intervals"][0]["all"];
    let sum: f64 = ["user", "nice", "system", "iowait", "irq", "softirq", "steal", "idle"]
        .iter()
        .map(|name| all[name].as_f64().expect("known"))
        .sum();
    assert!((sum - 100.0).abs() < 0.01, "{all}");
    let irq = json(&["explain", "irq", "--for", "0.7s"]);
    assert!(irq["intervals"][0]["softirqs"].is_array(), "{irq}");
    for what in ["cpu", "irq", "io"] {
        assert!(!told(&["explain", what, "--for", "0.7s"]).is_empty());
    }
    let (_, text) = run(&["explain", "io", "--for", "0.7s", "--lang", "zh-CN"]);
    assert!(text.contains("磁盘"), "{text}");
}

#[test]
fn what_the_e_book_printed_is_judged() {
    let (code, text) = run(&["check", "e-book-io.txt", "--lang", "en"]);
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("xvdb is saturated, 2698 writes/s"), "{text}");
    assert!(text.contains("fio (PID 11974)") && text.contains("a util of 103.99 % cannot be"), "{text}");
    // What was not recorded leaves nothing open.
    assert!(text.contains(" 0 undetermined"), "{text}");
    let (code, text) = run(&["check", "e-book-ps.txt", "--lang", "en"]);
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("30 of 30 threads are of nginx") && text.contains(" 0 undetermined"), "{text}");
    // A file of sar has no threads: that is no hole in it.
    let (_, text) = run(&["check", "sa12", "--lang", "en"]);
    assert!(text.contains("2 CPUs are saturated") && text.contains(" 0 undetermined"), "{text}");
}
