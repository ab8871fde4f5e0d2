use sickbay_formats::procfs::{diskstats, interrupts, stat};

use super::*;
use crate::sample::Threads;

fn at(ms: u64) -> Sample {
    let mut sample = Sample::default();
    sample.moment.steady = Duration::from_millis(ms);
    sample
}

fn between<'a>(before: &'a Sample, after: &'a Sample) -> Interval<'a> {
    Interval::between(before, after).expect("time")
}

fn near(rate: Option<f64>, expected: f64) {
    assert!(rate.is_some_and(|rate| (rate - expected).abs() < 1e-9), "{rate:?} is not {expected}");
}

#[test]
fn a_disk_as_iostat_has_it() {
    let (mut before, mut after) = (at(1000), at(3000));
    before.disks =
        Some(diskstats::parse(b"8 0 sda 100 0 800 50 200 0 1600 900 0 1000 950\n8 16 sdb 9 0 9 9 9 0 9 9 0 9 9\n"));
    after.disks =
        Some(diskstats::parse(b"8 0 sda 110 0 880 70 200 0 1600 900 3 3090 5150\n8 16 sdb 9 0 9 9 8 0 9 9 0 9 9\n"));
    let interval = between(&before, &after);
    let disks = interval.disks().expect("disks");
    let sda = &disks[0];
    near(sda.reads, 5.0);
    near(sda.read_kb, 20.0);
    near(sda.read_wait, 2.0);
    near(sda.queue, 2.1);
    // More than the time there was, and told as it is.
    near(sda.util, 104.5);
    near(sda.writes, 0.0);
    assert_eq!(sda.write_wait, None);
    // Writes of the other went back.
    assert_eq!((disks[1].writes, disks[1].transfers, disks[1].util), (None, None, Some(0.0)));
}

#[test]
fn a_disk_of_which_only_sums_are_told() {
    let (mut before, mut after) = (at(1000), at(2000));
    let disk = |transfers, both_ms| Disk { name: "sda".into(), transfers, both_ms, ..Disk::default() };
    before.disks = Some(vec![disk(Some(10), Some(100))]);
    after.disks = Some(vec![disk(Some(20), Some(150))]);
    let disks = between(&before, &after).disks().expect("disks");
    near(disks[0].transfers, 10.0);
    near(disks[0].wait, 5.0);
    assert_eq!((disks[0].reads, disks[0].writes, disks[0].read_wait), (None, None, None));
    // Only writes: their time is that of all.
    before.disks = Some(vec![disk(None, Some(100))]);
    after.disks = Some(vec![Disk { writes: 10, ..disk(None, Some(150)) }]);
    let disks = between(&before, &after).disks().expect("disks");
    near(disks[0].write_wait, 5.0);
    assert_eq!(disks[0].read_wait, None);
}

#[test]
fn processors_that_come_and_go() {
    let (mut before, mut after) = (at(1000), at(2000));
    before.stat = Some(stat::parse(b"cpu 100 0 100 1000 50\ncpu0 50 0 50 500 50\ncpu1 50 0 50 500 0\n"));
    after.stat = Some(stat::parse(b"cpu 150 0 120 1040 40\ncpu0 100 0 70 530 40\ncpu2 9 0 9 9 0\n"));
    let cpus = between(&before, &after).cpus().expect("processors");
    // The time in which it waited for a disk went back: there was none, and the rest is known.
    let cpu0 = cpus.each[0].1.expect("known");
    assert_eq!((cpu0.user, cpu0.system, cpu0.idle, cpu0.iowait), (50.0, 20.0, 30.0, 0.0));
    assert_eq!((cpus.each.len(), cpus.busiest().map(|(cpu, _)| cpu)), (1, Some(0)));
    after.stat = Some(stat::parse(b"cpu 90 0 100 1100 50\n"));
    assert_eq!(between(&before, &after).cpus(), None);
    let lumped = Stat { lumped: Lumped::NiceToo, ..stat::parse(b"cpu 150 0 120 1040 50\n") };
    after.stat = Some(lumped);
    let all = between(&before, &after).cpus().and_then(|cpus| cpus.all).expect("known");
    assert_eq!((all.nice, all.irq, all.softirq), (None, None, None));
}

#[test]
fn columns_are_processors() {
    let (mut before, mut after) = (at(1000), at(3000));
    before.interrupts = interrupts::parse(b" CPU0 CPU1 CPU2\n27: 10 20 30 chip input\nERR: 5\n28: 1 1 1 x\n");
    after.interrupts = interrupts::parse(b" CPU0 CPU2\n27: 12 50 chip input\nERR: 7\n28: 0 3 x\n29: 1 1 y\n");
    let interval = between(&before, &after);
    let rows = interval.interrupts().expect("rows");
    assert_eq!(rows[0].each, [(0, Some(1.0)), (2, Some(10.0))]);
    assert_eq!((rows[0].total, rows[1].total, rows[1].each.len()), (Some(11.0), Some(1.0), 0));
    assert_eq!((rows[2].each[0], rows[2].total, rows.len()), ((0, None), None, 3));
}

#[test]
fn rows_without_a_number_are_compared_only_while_none_is_gone() {
    let row = |cpu, processed| Softnet { cpu, processed, ..Softnet::default() };
    let (mut before, mut after) = (at(1000), at(2000));
    before.softnet = Some(vec![row(None, 5), row(None, 10)]);
    after.softnet = Some(vec![row(None, 9), row(None, 10)]);
    assert_eq!(between(&before, &after).softnet().expect("rows")[0].processed, Some(4.0));
    after.softnet = Some(vec![row(None, 10)]);
    assert_eq!(between(&before, &after).softnet(), Some(Vec::new()));
    before.softnet = Some(vec![row(Some(0), 5), row(Some(3), 10)]);
    after.softnet = Some(vec![row(Some(3), 12)]);
    let rates = between(&before, &after).softnet().expect("rows");
    assert_eq!((rates[0].cpu, rates[0].processed), (Some(3), Some(2.0)));
}

#[test]
fn threads_and_their_process() {
    let thread = |pid, id, began, ticks, name: &str| Thread {
        pid,
        id,
        began,
        ticks,
        name: Name::of(name.as_bytes()),
        ..Thread::default()
    };
    let (mut before, mut after) = (at(0), at(2000));
    let all = |list| Some(Threads { list, is_all: true, left_out: 0 });
    before.threads = all(vec![thread(7, 8, 5, 10, "worker"), thread(7, 7, 5, 10, "main"), thread(9, 9, 1, 50, "x")]);
    after.threads = all(vec![thread(7, 8, 5, 110, "worker"), thread(7, 7, 5, 30, "main"), thread(9, 9, 200, 60, "x")]);
    let interval = between(&before, &after);
    assert_eq!(interval.threads().expect("threads").len(), 2);
    let processes = interval.processes().expect("processes");
    // Another has the number 9 by now.
    assert_eq!((processes.len(), processes[0].cpu, processes[0].name.to_string()), (1, 60.0, "main".to_owned()));
}

#[test]
fn samples_of_several_sources_take_turns() {
    let with_disks = |ms, reads| Sample { disks: Some(vec![Disk { reads, ..Disk::default() }]), ..at(ms) };
    let samples = vec![with_disks(1000, 0), at(1500), with_disks(2000, 7), at(2000), with_disks(3000, 9), at(2500)];
    let window = Window { samples, place: "/proc".into() };
    let reads: Vec<_> = window
        .intervals_with(|sample| sample.disks.is_some())
        .filter_map(|interval| interval.disks()?.first()?.reads)
        .collect();
    assert_eq!(reads, [7.0, 2.0]);
    // Of six samples two pairs have no time between them.
    assert_eq!(window.intervals().count(), 3);
    // The clock went back in it.
    assert!(window.whole_with(|sample| sample.disks.is_some()).is_none());
}

#[test]
fn processors_that_are_taken_away_and_given_back() {
    let text = |lines: &str| Some(stat::parse(lines.as_bytes()));
    let (mut one, mut two, mut three) = (at(1000), at(2000), at(3000));
    one.stat = text("cpu 300 0 0 300\ncpu0 100 0 0 100\ncpu1 100 0 0 1000\ncpu2 100 0 0 100\n");
    // The second is off, and the third does nothing that an old kernel would count.
    two.stat = text("cpu 350 0 0 350\ncpu0 150 0 0 150\ncpu2 100 0 0 100\n");
    // It counts on what it did, and begins anew with what it did not.
    three.stat = text("cpu 390 0 0 410\ncpu0 160 0 0 240\ncpu1 130 0 0 20\ncpu2 100 0 0 200\n");
    let mut samples = [one, two, three];
    crate::sample::remember_off(&mut samples);
    let [one, two, three] = &samples;
    let of = |before, after| {
        let cpus = between(before, after).cpus().expect("processors");
        let each: Vec<(u32, f64)> =
            cpus.each.iter().filter_map(|(cpu, one)| Some((*cpu, one.as_ref()?.user))).collect();
        (cpus.all.expect("all").user, each)
    };
    assert_eq!(of(one, two), (50.0, vec![(0, 50.0), (2, 0.0)]));
    // 10 + 30 of 100 + 50 + 100, those of each added up.
    let (all, each) = of(two, three);
    assert_eq!(each, [(0, 10.0), (1, 60.0), (2, 0.0)]);
    assert!((all - 16.0).abs() < 1e-9, "{all}");
}

#[test]
fn disks_that_are_taken_away_and_given_back() {
    let text = |lines: &str| Some(diskstats::parse(lines.as_bytes()));
    let (mut before, mut after) = (at(1000), at(3000));
    before.disks = text("8 0 sda 100 0 800 50 200 0 1600 900 0 1000 950\n");
    after.disks = text("8 0 sda 20 0 160 40 0 0 0 0 0 40 40\n8 16 sdb 10 0 80 30 0 0 0 0 0 30 30\n");
    let disks = between(&before, &after).disks().expect("disks");
    // The first is another one by now, the second came.
    assert_eq!((disks[0].reads, disks[0].writes, disks[1].reads), (Some(10.0), Some(0.0), Some(5.0)));
    // What cannot have been done in that time was done earlier.
    after.disks = text("8 0 sda 20 0 160 40 0 0 0 0 0 4000 40\n8 16 sdb 10 0 80 30 0 0 0 0 0 30000 30\n");
    let disks = between(&before, &after).disks().expect("disks");
    assert_eq!((disks.len(), disks[0].reads), (1, None));
}

#[test]
fn counters_of_32_bits_that_are_full() {
    let text = |lines: String| Some(diskstats::parse(lines.as_bytes()));
    let (mut before, mut after) = (at(1000), at(2000));
    let most = u32::MAX;
    before.disks = text(format!("8 0 sda 100 0 800 50 0 0 0 0 0 100 {most} 5 0 0 7\n"));
    after.disks = text("8 0 sda 110 0 880 70 0 0 0 0 0 200 999 15 0 0 27\n".to_owned());
    let disks = between(&before, &after).disks().expect("disks");
    near(disks[0].queue, 1.0);
    // Ten reads and ten discards, of 40 ms together.
    near(disks[0].transfers, 20.0);
    near(disks[0].wait, 2.0);
    // Going back is none of that.
    assert_eq!((grown_32(1000, 10), grown_32(u64::MAX, 10), grown_32(1 << 31, 1 << 30)), (None, None, None));
}
