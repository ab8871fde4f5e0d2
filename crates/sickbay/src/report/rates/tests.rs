use super::*;
use crate::sample::Sample;

fn told(ms: &[u64]) -> Told {
    let sample = |ms: &u64| {
        let mut sample = Sample { io: Some(Vec::new()), ..Sample::default() };
        sample.moment.steady = Duration::from_millis(*ms);
        sample
    };
    let window = Window { samples: ms.iter().map(sample).collect(), place: "/proc".into() };
    Told { window: Arc::new(window), zone: TimeZone::UTC, remarks: Vec::new() }
}

fn spans(ms: &[u64]) -> Vec<u128> {
    told(ms).intervals(|sample| sample.io.is_some()).iter().map(|interval| interval.span.as_millis()).collect()
}

#[test]
fn intervals_are_not_too_short() {
    assert_eq!(spans(&[0, 100, 600, 1000, 1200]), [600, 600]);
    // What is left at the end belongs to the one before.
    assert_eq!(spans(&[0, 600, 1200, 1300]), [600, 700]);
    assert_eq!(spans(&[0, 100, 200]), [200]);
    // The machine started anew.
    assert_eq!(spans(&[5000, 6000, 100, 1100]), [1000, 1000]);
    assert_eq!((spans(&[]), spans(&[7])), (vec![], vec![]));
}

#[test]
fn cells_never_touch() {
    assert_eq!(cell(Some(12_345.678), 8, 2), "   12346");
    assert_eq!(cell(Some(1.5), 8, 2), "    1.50");
    assert_eq!(cell(None, 4, 2), "   -");
    assert_eq!((name("dev254-0", 4).as_str(), name("磁盘", 5).as_str()), ("dev2", "磁盘 "));
    assert_eq!(greatest(&[1.0, 9.0, 3.0, 7.0], 2), [1, 3]);
}
