use super::*;

fn at(second: u64, made: u64) -> Sample {
    let stat = Stat { made: Some(made), ..Stat::default() };
    let moment = Moment { steady: Duration::from_secs(second), wall: Duration::from_secs(1_700_000_000 + second) };
    Sample { moment, stat: Some(stat), ..Sample::default() }
}

fn window(samples: Vec<Sample>) -> Window {
    Window { samples, place: "/proc".into() }
}

fn thread(id: u32, began: u64, ticks: u64) -> Thread {
    Thread { pid: id, id, began, ticks, state: b'R', ..Thread::default() }
}

#[test]
fn a_rate_is_known_or_it_is_not() {
    assert_eq!(window(vec![at(1, 100), at(2, 150), at(5, 300)]).made(), Some(50.0));
    // One sample, a counter that went back and came again, a clock that stood or went back.
    let unknown = [
        vec![at(1, 100)],
        vec![at(1, 100), at(2, 50)],
        vec![at(1, 100), at(2, 50), at(3, 300)],
        vec![at(1, 100), at(1, 200)],
        vec![at(3, 100), at(1, 200)],
        vec![at(1, 100), at(9, 150), at(5, 300)],
    ];
    for samples in unknown {
        assert_eq!(window(samples.clone()).made(), None, "{samples:?}");
    }
    let mut lacking = vec![at(1, 100), at(2, 150), at(3, 200)];
    lacking[1].stat = None;
    assert_eq!(window(lacking).made(), None);
}

#[test]
fn somebody_sets_the_clock() {
    let mut samples = vec![at(1, 100), at(3, 200)];
    assert_eq!(window(samples.clone()).clock_was_set(), None);
    samples[1].moment.wall -= Duration::from_secs(3600);
    let window = window(samples);
    // Rates do not know of it.
    assert_eq!((window.clock_was_set(), window.made()), (Some(-3600.0), Some(50.0)));
}

#[test]
fn a_number_that_another_has_by_now() {
    let mut samples = vec![at(1, 1), at(3, 2)];
    let threads = |list| Some(Threads { list, is_all: true, left_out: 0 });
    samples[0].threads = threads(vec![thread(7, 10, 100), thread(8, 10, 5000), thread(9, 10, 50)]);
    samples[1].threads = threads(vec![thread(7, 10, 180), thread(8, 290, 3), thread(9, 10, 40)]);
    let (grown, span) = window(samples).growths(|thread| thread.ticks).expect("two looks");
    // It began in between, and had three ticks since.
    assert_eq!((grown.len(), grown.get(&(7, 10)), span), (2, Some(&80), Duration::from_secs(2)));
    assert_eq!(grown.get(&(8, 290)), Some(&3));
}

#[test]
fn one_that_came_and_went() {
    let mut samples = vec![at(1, 1), at(2, 2), at(3, 3), at(4, 4)];
    let threads = |list, is_all| Some(Threads { list, is_all, left_out: 0 });
    samples[0].threads = threads(vec![thread(7, 10, 100)], true);
    samples[1].threads = threads(vec![thread(8, 110, 90)], false);
    samples[2].threads = threads(vec![thread(8, 110, 190), thread(7, 10, 101)], false);
    samples[3].threads = threads(vec![thread(7, 10, 102)], true);
    let (grown, span) = window(samples).growths(|thread| thread.ticks).expect("two looks");
    assert_eq!((grown.get(&(8, 110)), grown.get(&(7, 10))), (Some(&190), Some(&2)));
    assert_eq!(span, Duration::from_secs(3));
}

#[test]
fn names_of_any_bytes() {
    assert_eq!(Name::of(b"nginx").to_string(), "nginx");
    assert_eq!(Name::of(b"kworker/u8:2-events_unbound").to_string(), "kworker/u8:2-eve");
    assert_eq!(Name::of(b"\xff").to_string(), "\u{fffd}");
}
