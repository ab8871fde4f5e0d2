//! Reports to try the forms on.
#![cfg(test)]

use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use jiff::tz::TimeZone;
use sickbay_formats::procfs::{diskstats, loadavg, net_dev, stat};
use sickbay_formats::span::Span;
use sickbay_target::Moment;

use super::Report;
use super::rates::Told;
use super::text::Style;
use crate::engine::proof::{BOOT, LOGINS, Proof};
use crate::model::about::{About, Area};
use crate::model::diagnosis::Diagnosis;
use crate::model::finding::{Finding, Findings};
use crate::model::measured::Unit;
use crate::model::outcome::Outcome;
use crate::model::repair::{Change, Risk};
use crate::model::source::SourceFile;
use crate::model::stage::Stage;
use crate::model::subject::Subject;
use crate::model::summary::TargetSummary;
use crate::model::text::{Lang, Text};
use crate::sample::{Name, Sample, Thread, Threads, Window};

const fn about(id: &'static str, area: Area) -> About {
    About {
        id,
        area,
        seed: &[],
        proves: &[Stage::Mounts],
        may_stop: &[],
        looks_at_disks_alone: false,
        reads_recordings: false,
        runs_last: false,
        title: "Something is wrong with <names> & \"quotes\"",
        page: " ## What it finds\n A line that `nobody` wrote.",
        zh_cn: "",
    }
}

static LINE: About = about("fstab-missing-device", Area::Boot);
static GONE: About = about("library-missing", Area::Files);
static NOTE: About = about("worth-knowing", Area::Login);
static UNKNOWN: About = about("cannot-look", Area::Limits);
static BROKEN: About = about("falls-over", Area::Logs);
static ABSENT: About = about("is-not-there", Area::Network);

/// What a hostile name may be made of.
const EVIL: &str = "<script>alert(1)</script>\"'&]]>\u{1b}[2J\u{202e}\u{0}\u{feff}`|*_[x](y)";

pub(crate) fn style() -> Style {
    Style { lang: Lang::En, colour: false, ascii: false, width: None, verbose: false }
}

fn said(text: impl Into<String>) -> Text {
    Text::verbatim(text)
}

fn finding(check: &'static About, make: impl FnOnce(&mut Findings)) -> Finding {
    let mut findings = Findings::of(check);
    make(&mut findings);
    findings.into_parts().0.remove(0)
}

fn report(kind: &'static str, outcomes: Vec<(&'static About, Outcome)>, findings: Vec<Finding>) -> Report {
    let diagnosis = Diagnosis { outcomes, findings, said: Vec::new(), took: Duration::from_millis(1234) };
    let target = TargetSummary {
        kind,
        name: "/mnt".to_owned(),
        description: vec![said("disk, MBR, ext4 root on partition 1")],
        id: Some("debian".to_owned()),
        version: Some("12".to_owned()),
        pretty_name: Some("Debian GNU/Linux 12 (bookworm)".to_owned()),
        kernel: Some("6.1.0-54-amd64".to_owned()),
        understood: None,
        donor: None,
        notes: Vec::new(),
        remarks: Vec::new(),
    };
    Report {
        started: jiff::Timestamp::from_second(1_528_770_600).expect("a time"),
        target,
        boot: Proof::of(BOOT, &diagnosis),
        logins: LOGINS.iter().map(|(channel, stages)| (*channel, Proof::of(stages, &diagnosis))).collect(),
        diagnosis,
        applied: None,
        trial: None,
        comparison: None,
        time: None,
    }
}

/// Everything that there can be, named by somebody who means ill.
pub(crate) fn hostile() -> Report {
    let line = format!("UUID=dead-{EVIL}\t/data xfs defaults 0 2");
    let file = SourceFile { path: "/etc/fstab".into(), bytes: format!("# a\n{line}\n").into_bytes() };
    let after = "# a\n# UUID=dead\n";
    let bad_path = PathBuf::from(std::ffi::OsStr::from_bytes(b"/usr/lib/\xff\xfe<b>\"'.so.1"));
    let cause = finding(&LINE, |found| {
        found
            .critical(said(format!("/data is mounted from {EVIL}, which is on none of this system's disks")))
            .at(&file, Span { line: 2, column: 1, len: 9 })
            .label(said("disks here: <3f0c>"))
            .at_subject(Subject::Process { pid: 7, start: None, name: EVIL.to_owned() })
            .why(said("systemd waits 90 s for the device, then drops to emergency mode"))
            .note(said(format!("seen in {EVIL}")))
            .verbose_note(said("a row of a table"))
            .evidence("journal", format!("first line\n```\n````\n{EVIL}\n<!-- --> -- ${{x}}"))
            .measured("MemAvailable", 2_040_109_465.6, Unit::Bytes, Some(4_294_967_296.0))
            .measured(EVIL, 104.53, Unit::Percent, None)
            .seen(jiff::Timestamp::UNIX_EPOCH, jiff::Timestamp::from_second(60).expect("a time"))
            .stops(Stage::Mounts)
            .repair(Risk::Safe, said("comment out line 2"), [Change::edit(&file, after.into())])
            .repair(
                Risk::Risky,
                said("clear a password"),
                [Change::Edit {
                    path: "/etc/shadow".into(),
                    before: b"root:$6$abc$def:1::::::\n".to_vec(),
                    after: b"root:$6$ghi$jkl:1::::::\n".to_vec(),
                }],
            )
            .by_hand(said(format!("ask {EVIL}")));
    });
    let mut consequence = finding(&GONE, |found| {
        found.warning(said("a library is missing")).at_path(&bad_path).at_parameter("vm.nr_hugepages");
    });
    consequence.caused_by = Some(0);
    let note =
        finding(&NOTE, |found| _ = found.note(said("root may log in")).at_subject(Subject::User(EVIL.to_owned())));
    let outcomes = vec![
        (&LINE, Outcome::Found(None)),
        (&GONE, Outcome::Found(None)),
        (&NOTE, Outcome::Found(None)),
        (&UNKNOWN, Outcome::Unknown(said(format!("no permission: {EVIL}")))),
        (&BROKEN, Outcome::Broken(said("index out of bounds"))),
        (&ABSENT, Outcome::NotApplicable(said("there is no sshd"))),
    ];
    let mut report = report("root", outcomes, vec![cause, consequence, note]);
    report.target.notes.push(format!("mounted read-only {EVIL}"));
    report
}

/// Nothing is wrong.
pub(crate) fn healthy() -> Report {
    report(
        "disk",
        vec![(&LINE, Outcome::Clear), (&ABSENT, Outcome::NotApplicable(said("there is no sshd")))],
        Vec::new(),
    )
}

/// So many findings.
pub(crate) fn many(count: usize) -> Report {
    let one = |number: usize| {
        let text = format!("Line number {number} = <b>\n");
        let file = SourceFile { path: format!("/etc/conf.d/{number}").into(), bytes: text.clone().into_bytes() };
        finding(&LINE, |found| {
            found
                .error(said(format!("line {number} of the configuration names what is not there")))
                .at(&file, Span { line: 1, column: 6, len: 6 })
                .why(said("the service does not start"))
                .measured("count", number as f64, Unit::Count, None)
                .repair(Risk::Safe, said("comment it out"), [Change::edit(&file, format!("# {text}").into())]);
        })
    };
    report("root", vec![(&LINE, Outcome::Found(None)), (&GONE, Outcome::Clear)], (0..count).map(one).collect())
}

/// Two minutes of a machine, in the middle of which nobody looked.
pub(crate) fn recorded() -> Told {
    let thread = |id: u32, name: &str, state: u8| Thread {
        pid: id,
        id,
        name: Name::of(name.as_bytes()),
        state,
        ..Thread::default()
    };
    let mut samples = Vec::new();
    let (mut user, mut busy, mut sent) = (0_u64, 0_u64, 0_u64);
    for second in (0..50_u64).chain(75..120) {
        let is_ill = (85..105).contains(&second);
        user += if is_ill { 180 } else { 20 };
        busy += if is_ill { 990 } else { 10 };
        sent += if is_ill { 9_000_000 } else { 70_000 };
        let idle = second * 200 - user.min(second * 200);
        let active = if is_ill { 30 } else { 1 };
        let mut list: Vec<Thread> =
            (0..active).map(|id| thread(900 + id, "nginx", b"RD"[usize::from(id % 3 == 0)])).collect();
        list.push(thread(40, "kworker/u8:1", if is_ill { b'D' } else { b'I' }));
        let mut sample = Sample {
            moment: Moment {
                wall: Duration::from_secs(1_528_770_600 + second),
                steady: Duration::from_secs(1_000 + second),
            },
            stat: Some(stat::parse(format!("cpu {user} 0 {second} {idle} {} 0 3 0\n", second * 2).as_bytes())),
            disks: Some(diskstats::parse(
                format!("252 0 vda {} 0 {} {} {} 0 0 0 0 {busy} {busy}\n", busy * 2, busy * 16, busy * 3, busy)
                    .as_bytes(),
            )),
            ..Sample::default()
        };
        sample.load = loadavg::parse(format!("{active}.50 2.00 1.00 {active}/200 4242\n").as_bytes());
        sample.links = Some(net_dev::parse(
            format!("a|b\nc|d\n  eth0: {sent} 10 0 {second} 0 0 0 0 {sent} 10 0 0 0 0 0 0\n").as_bytes(),
        ));
        sample.threads = Some(Threads { list, is_all: true, left_out: 0 });
        samples.push(sample);
    }
    let window = Arc::new(Window { samples, place: "/proc".into() });
    Told { window, zone: TimeZone::fixed(jiff::tz::offset(8)), remarks: Vec::new() }
}

/// A report of those minutes.
pub(crate) fn recording() -> Report {
    let time = |second: i64| jiff::Timestamp::from_second(1_528_770_600 + second).expect("a time");
    let ill = finding(&LINE, |found| {
        found.warning(said("nginx (30 processes) made a load of 30")).seen(time(85), time(105));
    });
    let outcomes = vec![(&LINE, Outcome::Found(None)), (&ABSENT, Outcome::Clear)];
    let report = report("recording", outcomes, vec![ill]);
    Report { boot: Proof { stages: Vec::new() }, logins: Vec::new(), time: Some(recorded()), ..report }
}

/// Compares with what is kept in `tests/reports`; with `UPDATE=1` it is kept.
#[allow(clippy::disallowed_methods, reason = "a test's own files")]
pub(crate) fn golden(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/reports").join(name);
    let text = text.replace(env!("CARGO_PKG_VERSION"), "VERSION");
    if std::env::var_os("UPDATE").is_some_and(|value| value == "1") {
        std::fs::create_dir_all(path.parent().expect("a directory")).expect("writable");
        std::fs::write(&path, &text).expect("writable");
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(kept == text, "{name} is not as it was kept: see the difference with UPDATE=1 and git diff");
}
