use sickbay_formats::procfs::stat::{Stat, Times};
use sickbay_formats::procfs::task::KERNEL_THREAD;
use sickbay_target::Moment;

use super::*;
use crate::model::text::Lang;
use crate::sample::Threads;

const NEW: (u32, u32) = (6, 1);

fn thread(pid: u32, parent: u32, name: &str, state: u8) -> Thread {
    Thread { pid, id: pid, parent, name: Name::of(name.as_bytes()), state, began: 1, ..Thread::default() }
}

fn sample(seconds: f64, load: &str, list: Vec<Thread>) -> Sample {
    let time = Duration::from_secs_f64(seconds);
    let stat = Stat { cpus: vec![(0, Times::default()), (1, Times::default())], ..Stat::default() };
    Sample {
        moment: Moment { steady: time, wall: time },
        load: loadavg::parse(load.as_bytes()),
        stat: Some(stat),
        threads: Some(Threads { list, is_all: true, left_out: 0 }),
        ..Sample::default()
    }
}

fn window(samples: Vec<Sample>) -> Window {
    Window { samples, place: "/proc".into() }
}

/// The e-book's 31 rows of ps: 27 D and 3 R of nginx, and ps itself.
fn of_the_book() -> Vec<Thread> {
    let running = [962, 975, 980];
    let workers = (958..=980).chain(983..=989);
    let mut list: Vec<Thread> =
        workers.map(|pid| thread(pid, 957, "nginx", if running.contains(&pid) { b'R' } else { b'D' })).collect();
    list.push(thread(11908, 18870, "ps", b'R'));
    list
}

#[test]
fn the_sample_of_the_book() {
    assert_eq!(of_the_book().len(), 31);
    let window = window(vec![sample(0.0, "25.76 20.60 19.00 12/404 11912", of_the_book())]);
    let load = Load::of(&window, (3, 10), &[11908]).expect("a load");
    let [nginx] = load.groups.as_slice() else { panic!("{:?}", load.groups) };
    assert_eq!((nginx.waiting, nginx.running, load.count(), load.share(nginx)), (27.0, 3.0, 30.0, 100.0));
    assert_eq!((nginx.pids.len(), nginx.parent.as_ref().map(|(pid, _)| *pid)), (30, Some(957)));
    // The wait channel is not in the sample, and neither is a second moment.
    assert_eq!((nginx.channels.as_slice(), nginx.wait()), (&[(None, 27.0)][..], None));
    assert_eq!((nginx.stuck, nginx.cpu, nginx.gained, load.residue), (None, None, None, None));
    assert_eq!(nginx.who().render(Lang::En), "nginx (started by ?, PID 957)");
}

#[test]
fn thirty_threads_explain_what_the_average_rose_by() {
    // From 19.00 on, watched for a minute: the replay gives what the kernel said.
    let mut load = loadavg::fixed(1900);
    let mut samples = Vec::new();
    for count in 0..=12 {
        let text = format!("{:.2} 19.00 19.00 12/404 11912", loadavg::printed(load) as f64 / 100.0);
        samples.push(sample(f64::from(count) * 5.004, &text, of_the_book()));
        load = loadavg::next(load, KEPT[0], 30 * ONE, Rounding::Nearest);
    }
    let load = Load::of(&window(samples), (3, 10), &[11908]).expect("a load");
    let gained = load.groups[0].gained.expect("counts");
    assert_eq!(load.counts.len(), 12);
    assert!((gained - 30.0 * (1.0 - 0.92_f64.powi(12))).abs() < 0.1, "{gained}");
    assert!(load.residue.is_some_and(|residue| residue.abs() < 0.1), "{:?}", load.residue);
    assert!((load.before.expect("counts") + gained - load.load1()).abs() < 0.1);
    assert!(load.counted().is_some_and(|counted| (counted - 30.0).abs() < 0.15), "{:?}", load.counted());
    assert_eq!(load.seen_then, Some(30.0));
}

#[test]
fn what_weighs_nothing() {
    let mut frozen = thread(7, 1, "browser", b'D');
    frozen.flags = FROZEN;
    let mut refrigerated = thread(8, 1, "browser", b'D');
    refrigerated.waits_in = Some("__refrigerator".into());
    let idle = |pid| Thread { flags: KERNEL_THREAD, ..thread(pid, 2, "rcu_sched", b'D') };
    let list = vec![frozen, refrigerated, idle(9), thread(10, 1, "tar", b'D'), thread(11, 1, "sleep", b'I')];
    let at =
        |load: &str, version| Load::of(&window(vec![sample(0.0, load, list.clone())]), version, &[]).expect("a load");
    let names = |load: &Load| load.groups.iter().map(|group| group.name.clone()).collect::<Vec<_>>();
    // What was the mark of frozen threads is kcompactd's since 6.14.
    assert_eq!(names(&at("1.00 1.00 1.00 1/9 9", (4, 9))), ["tar"]);
    assert_eq!(at("1.00 1.00 1.00 1/9 9", (4, 9)).weightless.len(), 2);
    // The kernel counted two: so that thread does weigh.
    assert_eq!(at("2.00 2.00 2.00 1/9 9", (4, 9)).count(), 2.0);
    assert_eq!(at("2.00 2.00 2.00 1/9 9", (6, 18)).count(), 3.0);
    assert_eq!(at("0.10 0.10 0.10 1/9 9", (3, 10)).count(), 2.0);
}

#[test]
fn a_thread_of_the_kernel_that_always_waits_so() {
    let balloon = |slices| Thread { flags: KERNEL_THREAD, slices, ..thread(30, 2, "vballoon", b'D') };
    let always = |load: &str| {
        let samples = vec![sample(0.0, load, vec![balloon(Some(4))]), sample(1.0, load, vec![balloon(Some(4))])];
        Load::of(&window(samples), NEW, &[]).expect("a load").groups.remove(0)
    };
    assert!(always("1.00 1.00 1.00 1/9 9").is_usual);
    assert_eq!(always("1.00 1.00 1.00 1/9 9").stuck, Some(1));
    // Since a minute only: something has happened.
    assert!(!always("1.00 0.30 0.10 1/9 9").is_usual);
}

#[test]
fn compilers_are_one_and_masters_are_two() {
    let mut list = vec![
        thread(5, 4, "nginx", b'R'),
        thread(6, 4, "nginx", b'R'),
        thread(8, 7, "nginx", b'R'),
        thread(9, 7, "nginx", b'R'),
    ];
    list.extend((20..28).map(|pid| thread(pid, pid + 100, "cc1", b'R')));
    list.push(Thread { flags: KERNEL_THREAD, ..thread(50, 2, "kworker/0:1", b'R') });
    list.push(Thread { flags: KERNEL_THREAD, ..thread(51, 2, "kworker/u8:2", b'R') });
    let load = Load::of(&window(vec![sample(0.0, "9.00 1.00 1.00 1/9 9", list)]), NEW, &[]).expect("a load");
    let seen: Vec<_> = load.groups.iter().map(|group| (group.name.as_str(), group.count() as u32)).collect();
    assert_eq!(seen, [("cc1", 8), ("nginx", 2), ("nginx", 2), ("kworker", 2)]);
    assert_eq!(load.groups[0].who().render(Lang::En), "cc1 (8 processes)");
}

#[test]
fn who_starts_many_and_who_has_the_processors() {
    let at = |seconds, made, faults, ticks| {
        let mut shell = thread(40, 1, "sh", b'R');
        (shell.faults_of_children, shell.ticks) = (faults, ticks);
        let mut sample = sample(seconds, "4.00 1.00 1.00 1/9 9", vec![shell, thread(41, 1, "cron", b'S')]);
        sample.stat.as_mut().expect("stat").made = Some(made);
        sample
    };
    let load = Load::of(&window(vec![at(0.0, 100, 50, 10), at(2.0, 900, 90_000, 110)]), NEW, &[]).expect("a load");
    assert_eq!((load.made, load.groups[0].cpu), (Some(400.0), Some(0.5)));
    assert_eq!(load.maker, Some(Maker { pid: 40, name: "sh".into(), share: 100 }));
    // A clock that went back: nothing of that is known, and the states are.
    let load = Load::of(&window(vec![at(9.0, 100, 50, 10), at(2.0, 900, 90_000, 110)]), NEW, &[]).expect("a load");
    assert_eq!((load.made, load.groups[0].cpu, load.maker.as_ref(), load.span), (None, None, None, None));
    assert_eq!(load.count(), 1.0);
}

#[test]
fn a_number_that_was_given_away_is_another_thread() {
    let with = |began, slices| Thread { began, slices: Some(slices), ..thread(60, 1, "dd", b'D') };
    let look = |first, second| {
        let samples =
            vec![sample(0.0, "3.00 1.00 1.00 1/9 9", vec![first]), sample(1.0, "3.00 1.00 1.00 1/9 9", vec![second])];
        Load::of(&window(samples), NEW, &[]).expect("a load").groups.remove(0)
    };
    assert_eq!(look(with(1, 5), with(1, 5)).stuck, Some(1));
    assert_eq!(look(with(1, 5), with(1, 6)).stuck, Some(0));
    let two = look(with(1, 5), with(90, 5));
    assert_eq!((two.stuck, two.threads, two.waiting), (Some(0), 2, 1.0));
}

#[test]
fn what_others_hide_is_told() {
    let list = vec![thread(1, 0, "init", b'S'), thread(5, 1, "sh", b'R')];
    let at = |seconds| sample(seconds, "50.00 40.00 30.00 51/900 9", list.clone());
    let load = Load::of(&window(vec![at(0.0), at(1.0)]), NEW, &[]).expect("a load");
    assert_eq!((load.hidden, load.count()), (898, 1.0));
    let text: Vec<_> = load.remarks().iter().map(|text| text.render(Lang::En)).collect();
    assert!(text.iter().any(|text| text.starts_with("898 of 900 threads")), "{text:?}");
}

#[test]
fn what_is_past_is_looked_at_where_it_was_highest() {
    let at = |second: f64, load: &str, who: &str| {
        sample(second, &format!("{load} 1.00 1.00 1/9 9"), vec![thread(5, 1, who, b'D')])
    };
    let loads = [("1.00", "old"), ("1.00", "before"), ("9.00", "culprit"), ("8.00", "after"), ("2.00", "end")];
    let samples =
        loads.iter().zip([0.0, 200.0, 260.0, 320.0, 380.0]).map(|((load, who), second)| at(second, load, who));
    let mut whole = window(samples.collect());
    let part = up_to_the_highest(&whole).expect("a part");
    let seconds: Vec<u64> = part.samples.iter().map(|sample| sample.moment.steady.as_secs()).collect();
    assert_eq!(seconds, [200, 260]);
    // What it is like at the end is nearly the highest.
    whole.samples.truncate(4);
    assert_eq!(up_to_the_highest(&whole), None);
}

#[test]
fn nothing_to_look_at() {
    let mut none = sample(0.0, "", Vec::new());
    assert_eq!(Load::of(&window(vec![none.clone()]), NEW, &[]), None);
    none.load = loadavg::parse(b"1.00 1.00 1.00 1/9 9");
    none.threads = None;
    assert_eq!(Load::of(&window(vec![none]), NEW, &[]), None);
    assert_eq!(Load::of(&window(Vec::new()), NEW, &[]), None);
}
