//! Reports of the OOM killer, real and written by the formats of the releases, and other incidents, against what they
//! are known to say.

mod support {
    pub(crate) mod oom_writer;
}

use std::path::Path;

use sickbay_formats::kernel_log::oom::{Constraint, Holder, Oom, Verdict};
use sickbay_formats::kernel_log::{KernelLog, Kind, Scanner};
use support::oom_writer::{LAYOUTS, PREFIXES, SCENARIOS, write};

fn scan(text: &[u8]) -> KernelLog {
    let mut scanner = Scanner::new();
    scanner.block(text);
    scanner.finish()
}

/// What a report says, one fact a line, as the heads of `tests/oom/*.txt` say what it should.
fn facts(log: &KernelLog, oom: &Oom) -> Vec<String> {
    let or = |value: Option<u64>| value.map_or_else(|| "?".to_owned(), |value| value.to_string());
    let constraint = match oom.constraint {
        Constraint::Unknown => "unknown",
        Constraint::Global => "global",
        Constraint::Cpuset => "cpuset",
        Constraint::MemoryPolicy => "mempolicy",
        Constraint::Memcg => "memcg",
        Constraint::Manual => "manual",
    };
    let mut all = vec![
        format!("trigger {} {}", oom.trigger_comm.as_deref().unwrap_or("?"), or(oom.trigger_pid.map(u64::from))),
        format!("order {}", oom.order.map_or_else(|| "?".to_owned(), |order| order.to_string())),
        format!("gfp {}", oom.gfp_flags.join(",")),
        format!("constraint {constraint}"),
        format!("kernel {}", oom.kernel.as_deref().unwrap_or("?")),
        format!("swap {} {}", or(oom.swap_total_kb), or(oom.swap_free_kb)),
        format!("reports {}", log.oom_count),
        format!("kills {}", log.ooms.iter().map(|oom| oom.kills.len()).sum::<usize>()),
        format!("page {}", oom.page_kb),
        format!("processes {}", oom.processes),
    ];
    if let Some(memcg) = &oom.memcg {
        all.push(format!("memcg {}", memcg.limited));
        all.push(format!("task {}", memcg.task));
        all.push(format!("limit {}", or(memcg.limit_kb)));
    }
    for judged in oom.judge() {
        let zone = &oom.zones[judged.zone];
        let (verdict, number) = match judged.verdict {
            Verdict::NotAsked => ("not-asked", 0),
            Verdict::BelowMin => ("below", judged.deficit_kb),
            Verdict::Reserved => ("reserved", judged.deficit_kb),
            Verdict::Fragmented(largest) => ("fragmented", largest),
            Verdict::Enough => ("enough", 0),
            Verdict::Untold => ("untold", 0),
        };
        all.push(format!("zone {} {} {} {verdict} {number}", zone.name, zone.free_kb, or(zone.min_kb)));
    }
    for kill in &oom.kills {
        let (vm, anon, file) = (or(kill.total_vm_kb), or(kill.anon_rss_kb), or(kill.file_rss_kb));
        all.push(format!("kill {} {} {vm} {anon} {file}", kill.pid, kill.comm));
        all.extend(kill.score.map(|score| format!("score {score}")));
    }
    let holder = match oom.holder() {
        Some(Holder::Tasks(comm)) => format!("tasks {comm}"),
        Some(Holder::Slab) => "slab".to_owned(),
        Some(Holder::Shmem) => "shmem".to_owned(),
        Some(Holder::HugePages) => "huge pages".to_owned(),
        Some(Holder::Unbooked) => "unbooked".to_owned(),
        Some(Holder::Lost(..)) => "lost".to_owned(),
        None => "nothing".to_owned(),
    };
    all.push(format!("held by {holder}"));
    all.extend(oom.panicked.then(|| "stopped".to_owned()));
    all.extend(oom.consumers.first().map(|top| format!("top {} {}", top.comm, top.processes)));
    all.extend(oom.consumers.iter().map(|one| format!("rss {} {}", one.comm, one.rss_kb)));
    for seen in log.incidents.iter().filter(|seen| seen.kind == Kind::Panic) {
        all.push(format!("panic {}", seen.subject));
    }
    all
}

fn check(name: &str, expected: &[String], log: &KernelLog) {
    let oom = log.ooms.first().unwrap_or_else(|| panic!("{name}: no report"));
    let facts = facts(log, oom);
    for fact in expected.iter().filter(|fact| !fact.starts_with("source ")) {
        assert!(facts.contains(fact), "{name}: not {fact:?}, but\n{}", facts.join("\n"));
    }
}

#[test]
fn recorded_reports() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/oom");
    let mut count = 0;
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        let (head, log): (Vec<&str>, Vec<&str>) = text.lines().partition(|line| line.starts_with("#: "));
        let head: Vec<String> = head.iter().map(|line| line["#: ".len()..].to_owned()).collect();
        assert!(head[0].starts_with("source ") && head.len() > 4, "{}", path.display());
        let name = path.display().to_string();
        check(&name, &head, &scan(log.join("\n").as_bytes()));
        count += 1;
    }
    assert!(count >= 50);
}

#[test]
fn reports_of_every_layout() {
    let mut count = 0;
    for (number, layout) in LAYOUTS.iter().enumerate() {
        for (turn, scenario) in SCENARIOS.iter().enumerate() {
            let prefix = &PREFIXES[(number + turn) % PREFIXES.len()];
            let Some((text, expected)) = write(layout, scenario) else { continue };
            let name = format!("{} / {} / {}", layout.release, scenario.name, prefix.name);
            let log = scan(prefix.on(&text).as_bytes());
            check(&name, &expected, &log);
            assert_eq!(log.oom_count, 1, "{name}");
            assert_eq!(prefix.timed, log.ooms[0].time.is_some(), "{name}");
            count += 1;
        }
    }
    assert!(LAYOUTS.len() >= 12 && count >= 40, "{count}");
}

#[test]
fn two_hosts_and_other_lines_between() {
    let (one, first) = write(&LAYOUTS[3], &SCENARIOS[0]).unwrap();
    let (two, second) = write(&LAYOUTS[12], &SCENARIOS[0]).unwrap();
    let mut mixed = String::new();
    let (mut a, mut b) = (one.lines(), two.lines());
    loop {
        let (x, y) = (a.next(), b.next());
        if x.is_none() && y.is_none() {
            break;
        }
        for (host, line) in [("alpha", x), ("beta", y)] {
            if let Some(line) = line {
                mixed += &format!("Jun 12 10:36:02 {host} kernel: {line}\n");
            }
            mixed += &format!(
                "Jun 12 10:36:02 {host} sshd[1]: Killed process 1 (x) total-vm:1kB, anon-rss:1kB, file-rss:0kB\n"
            );
            mixed += &format!("Jun 12 10:36:02 {host} kernel: eth0: link up, free:1kB min:2kB\n");
        }
    }
    let log = scan(mixed.as_bytes());
    assert_eq!(log.oom_count, 2);
    for (oom, expected) in log.ooms.iter().zip([first, second]) {
        let facts = facts(&log, oom);
        for fact in expected {
            assert!(facts.contains(&fact), "not {fact:?}, but\n{}", facts.join("\n"));
        }
    }
}

#[test]
fn cut_anywhere_it_still_says_what_is_there() {
    for layout in LAYOUTS {
        let (text, _) = write(layout, &SCENARIOS[0]).unwrap();
        let whole = scan(text.as_bytes());
        let lines: Vec<&str> = text.lines().collect();
        for at in 1..lines.len() {
            let head = scan(lines[..at].join("\n").as_bytes());
            assert_eq!(head.oom_count, 1, "{} cut after line {at}", layout.release);
            assert_eq!(head.ooms[0].trigger_comm, whole.ooms[0].trigger_comm);
            // Without its head it is known by its victim.
            let tail = scan(lines[at..].join("\n").as_bytes());
            assert!(tail.oom_count <= 1);
            if at < lines.len() - 2 {
                assert_eq!(tail.ooms[0].kills[0].pid, whole.ooms[0].kills[0].pid, "{} cut before {at}", layout.release);
            }
        }
    }
}

#[test]
fn rotated_in_its_middle_it_is_one_report() {
    for layout in LAYOUTS {
        let (text, expected) = write(layout, &SCENARIOS[0]).unwrap();
        let text = PREFIXES[7].on(&text);
        let half = text[..text.len() / 2].rfind('\n').unwrap() + 1;
        let mut scanner = Scanner::new();
        scanner.source(0);
        scanner.block(&text.as_bytes()[..half]);
        scanner.source(1);
        scanner.block(&text.as_bytes()[half..]);
        let log = scanner.finish();
        check(layout.release, &expected, &log);
        assert_eq!(log.oom_count, 1);
    }
}

#[test]
fn clocks_that_jump_begin_another_report() {
    let (text, _) = write(&LAYOUTS[10], &SCENARIOS[0]).unwrap();
    let twice = format!("{}{}", PREFIXES[1].on(&text), PREFIXES[1].on(&text).replace("[  123.", "[    1."));
    assert_eq!(scan(twice.as_bytes()).oom_count, 2);
    // The same lines in two files are one report.
    let same = format!("{0}{0}", PREFIXES[1].on(&text));
    assert_eq!(scan(same.as_bytes()).oom_count, 1);
}

#[test]
fn wrapped_and_coloured() {
    for layout in LAYOUTS {
        let (text, expected) = write(layout, &SCENARIOS[0]).unwrap();
        let mut wrapped = String::new();
        for line in text.lines() {
            let mut column = 0;
            let line = format!("[  123.456789] {line}");
            for word in line.split_inclusive(' ') {
                if column + word.len() > 80 && column > 15 {
                    wrapped.push('\n');
                    column = 0;
                }
                wrapped += word;
                column += word.len();
            }
            wrapped.push('\n');
        }
        check(&format!("{} wrapped", layout.release), &expected, &scan(wrapped.as_bytes()));
        let coloured: String =
            text.lines().map(|line| format!("\x1b[32m[  123.456789] \x1b[0m\x1b[33m{line}\x1b[0m\r\n")).collect();
        check(&format!("{} coloured", layout.release), &expected, &scan(coloured.as_bytes()));
    }
}

proptest::proptest! {
    #[test]
    fn never_panics(cuts in proptest::collection::vec((0usize..20_000, proptest::prelude::any::<u8>()), 0..60), layout in 0usize..LAYOUTS.len()) {
        let (text, _) = write(&LAYOUTS[layout], &SCENARIOS[0]).unwrap();
        let mut bytes = PREFIXES[layout % PREFIXES.len()].on(&text).into_bytes();
        for (at, byte) in cuts {
            let at = at % bytes.len().max(1);
            match byte % 4 {
                0 => bytes.truncate(at.max(1)),
                1 => bytes[at] = byte,
                2 => bytes.insert(at, b'\n'),
                _ => { bytes.remove(at.min(bytes.len() - 1)); if bytes.is_empty() { bytes.push(b'x') } }
            }
        }
        let log = scan(&bytes);
        for oom in &log.ooms {
            let _ = (oom.judge(), oom.unaccounted_kb(), oom.tasks_rss_kb());
        }
    }

    #[test]
    fn never_panics_on_anything(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..400)) {
        let mut text = b"[1.0] a invoked oom-killer: ".to_vec();
        text.extend_from_slice(&bytes);
        scan(&text);
        for line in bytes.split(|byte| *byte == b'\n') {
            let _ = sickbay_formats::kernel_log::message(line);
            let _ = sickbay_formats::kernel_log::classify(line);
        }
    }
}
