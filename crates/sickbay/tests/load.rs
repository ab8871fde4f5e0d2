//! Real load on the machine that runs the tests, and who is named for it. Other tests run beside these, so what is compared is
//! what belongs to the processes that are started here.

mod support;

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use sickbay::facts::Facts;
use sickbay::facts::cpu::load::{Group, Load};
use sickbay::facts::cpu::waits::Wait;
use sickbay::model::finding::{Findings, Severity};
use sickbay::model::text::Lang;
use sickbay_target::{Access, Target};
use support::process::{Guard, STUCK, program, start};

fn watch(length: Duration) -> Arc<Load> {
    let target =
        Target::described(Path::new("/"), Access::ReadOnly, Vec::new(), &[]).and_then(Target::taken_for_running);
    let facts = Facts::new(Arc::new(target.expect("the root")), None).with_window(Some(length));
    facts.get::<Load>().expect("a running kernel")
}

fn named<'l>(load: &'l Load, name: &str) -> &'l Group {
    let groups: Vec<_> = load.groups.iter().map(|group| (&group.name, group.running, group.waiting)).collect();
    load.groups.iter().find(|group| group.name == name).unwrap_or_else(|| panic!("{name} is not in {groups:?}"))
}

fn started(program: &Path, arguments: &[&str]) -> Guard {
    let mut guard = start(Command::new(program).args(arguments).stdout(Stdio::piped()));
    let mut line = String::new();
    BufReader::new(guard.0.stdout.take().expect("piped")).read_line(&mut line).expect("a line");
    assert_eq!(line, "there\n");
    // On a busy machine it takes the children a moment to come to it.
    std::thread::sleep(Duration::from_secs(1));
    guard
}

#[test]
fn threads_that_wait_are_named_with_their_share() {
    let dir = tempfile::tempdir().expect("a directory");
    let program = program(dir.path(), "stuck-workers", STUCK);
    let guard = started(&program, &["27", "3", "60"]);
    let load = watch(Duration::from_secs(13));
    let group = named(&load, "stuck-workers");
    assert!((group.waiting - 27.0).abs() < 0.01 && (group.running - 3.0).abs() < 0.6, "{group:?}");
    assert_eq!((group.pids.len(), group.parent.as_ref().map(|(pid, _)| *pid)), (30, Some(guard.0.id())));
    // None of the parents ran meanwhile.
    assert_eq!((group.stuck, group.wait()), (Some(27), Some(Wait::Child)), "{group:?}");
    assert_eq!(group.children.as_deref(), Some("stuck-workers"));
    // By the kernel's own account: what the average rose by, less what the others made of it.
    let gained = group.gained.expect("the kernel counted");
    let before = load.before.expect("the kernel counted");
    let others: f64 =
        load.groups.iter().filter(|other| other.name != group.name).filter_map(|other| other.gained).sum();
    let rose = load.load1() - before - others;
    assert!((gained - rose).abs() <= rose * 0.1, "{gained} of {rose}: {load:?}");
    assert!(load.counts.len() >= 2, "{:?}", load.counts);
    // Its own thread is not in it.
    let own = std::process::id();
    assert!(load.groups.iter().all(|group| !group.pids.contains(&own)));
}

#[test]
fn who_keeps_the_processors_busy() {
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    let dir = tempfile::tempdir().expect("a directory");
    let program = program(dir.path(), "busy-loops", STUCK);
    let _guard = started(&program, &["0", &(cpus + 2).to_string(), "60"]);
    let load = watch(Duration::from_secs(2));
    let group = named(&load, "busy-loops");
    assert!((group.running - (cpus + 2) as f64).abs() < 0.5 && group.waiting < 0.1, "{group:?}");
    // Others take their part.
    assert!(group.cpu.is_some_and(|cpu| cpu > 0.05 && cpu < cpus as f64 * 1.1), "{group:?}");
    assert!(load.busy.is_some_and(|busy| busy > cpus as f64 * 0.8), "{:?}", load.busy);
}

#[test]
fn a_storm_of_short_programs_leads_to_who_starts_them() {
    let script = "echo there; for ((n = 0; n < 100000; n++)); do /bin/true; done";
    let mut guard = start(Command::new("bash").args(["-c", script]).stdout(Stdio::piped()));
    let mut line = String::new();
    BufReader::new(guard.0.stdout.take().expect("piped")).read_line(&mut line).expect("a line");
    // Another that starts programs all the time may be here too.
    let named = (0..4).any(|_| {
        let load = watch(Duration::from_secs(2));
        assert!(load.made.is_some_and(|made| made > 20.0), "{:?}", load.made);
        load.maker.as_ref().is_some_and(|maker| maker.pid == guard.0.id() && maker.name == "bash")
    });
    assert!(named, "it was never named");
}

/// A FUSE mount, seen by nobody else, whose program answers nothing; and some that want to read there.
const HUNG: &str = r#"
#define _GNU_SOURCE
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <unistd.h>
int main(int count, char **words) {
    char options[100], file[4096];
    int fuse = open("/dev/fuse", O_RDWR | O_CLOEXEC);
    snprintf(options, sizeof options, "fd=%d,rootmode=40000,user_id=0,group_id=0", fuse);
    snprintf(file, sizeof file, "%s/file", words[1]);
    if (fuse < 0 || unshare(CLONE_NEWNS) || mount("none", "/", 0, MS_REC | MS_PRIVATE, 0)) return 1;
    if (mount("archive", words[1], "fuse.silent", MS_NOSUID | MS_NODEV, options)) return 1;
    for (int n = 0; n < atoi(words[2]); n++) {
        if (fork() == 0) {
            prctl(PR_SET_PDEATHSIG, SIGKILL);
            close(fuse);
            open(file, O_RDONLY);
            _exit(0);
        }
    }
    write(1, "there\n", 6);
    sleep(60);
    return 0;
}
"#;

#[test]
fn a_mount_that_never_answers_is_named_and_not_asked() {
    let dir = tempfile::tempdir().expect("a directory");
    let mount = dir.path().join("mount");
    std::fs::create_dir(&mount).expect("made");
    let program = program(dir.path(), "hung-readers", HUNG);
    let _guard = started(&program, &[&mount.display().to_string(), "5"]);
    let target =
        Target::described(Path::new("/"), Access::ReadOnly, Vec::new(), &[]).and_then(Target::taken_for_running);
    let facts = Facts::new(Arc::new(target.expect("the root")), None).with_window(Some(Duration::from_secs(1)));
    let load = facts.get::<Load>().expect("a running kernel");
    let group = named(&load, "hung-readers");
    assert_eq!((group.stuck, group.wait(), group.waiting), (Some(5), Some(Wait::Fuse), 5.0), "{group:?}");
    let place = group.places.first().expect("a mount");
    assert_eq!((&place.mount, place.fstype.as_str(), place.source.as_str()), (&mount, "fuse.silent", "archive"));
    // What the check says of it, however busy the machine is with other tests.
    let check = &sickbay::checks::cpu::load_explained::CHECK;
    let mut found = Findings::of(&check.about);
    (check.run)(&facts, &mut found).expect("it looked at everything");
    let (list, _) = found.into_parts();
    let [finding] = list.as_slice() else { panic!("{list:?}") };
    let text = finding.message.render(Lang::En);
    let end = format!(
        "wait uninterruptibly, for the program behind a FUSE mount: {} (fuse.silent, archive)",
        mount.display()
    );
    assert!(finding.severity == Severity::Error && text.ends_with(&end), "{text}");
}

#[test]
fn no_window_where_there_is_nothing_to_see() {
    // A quiet machine that was written down: its threads are not even looked for.
    let built =
        support::story::Story::of("Quiet.\n\n--- tree running\n").and_then(|story| story.build()).expect("built");
    let facts = built.facts().expect("facts");
    let window = sickbay::facts::time::window_with_load(&facts).expect("a running system");
    assert!(window.is_none());
    let began = Instant::now();
    let target =
        Target::described(Path::new("/"), Access::ReadOnly, Vec::new(), &[]).and_then(Target::taken_for_running);
    let facts = Facts::new(Arc::new(target.expect("the root")), None);
    facts.get::<sickbay::facts::time::Glance>().expect("a running kernel");
    assert!(began.elapsed() < Duration::from_millis(200), "{:?}", began.elapsed());
}

fn run(words: &[&str]) -> (Option<i32>, String) {
    let out =
        Command::new(env!("CARGO_BIN_EXE_sickbay")).args(words).env("LC_ALL", "C").output().expect("sickbay starts");
    (out.status.code(), String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr))
}

#[test]
fn the_table_of_what_was_written_down() {
    let story = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases/load-explained/nfs-server-gone.txt");
    let built = support::story::Story::read(&story).and_then(|story| story.build()).expect("built");
    let root = built.root().display().to_string();
    let (code, text) = run(&["explain", "load", &root]);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.starts_with("/proc/loadavg: 3.98 3.20 1.40 1/210 5120; 16 CPUs\n"), "{text}");
    let row = "0.0     4.0    100       -   0.00  cp (started by bash, PID 700): an NFS server: /mnt/nas (nfs4, nas.example:/export)";
    assert!(text.contains(row), "{text}");
    let (code, text) = run(&["explain", "load", &root, "--format", "json"]);
    let value: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(
        (code, value["schema"].as_str(), value["threads"].as_f64()),
        (Some(0), Some("sickbay/load/v1"), Some(4.0))
    );
    assert_eq!(value["groups"][0]["waits"][0]["function"].as_str(), Some("rpc_wait_bit_killable"));
    assert_eq!((value["seconds"].as_f64(), value["groups"][0]["stuck"].as_u64()), (Some(2.0), Some(4)));
    let (_, text) = run(&["explain", "load", &root, "--lang", "zh-CN"]);
    assert!(text.contains("cp（由 bash 启动，PID 700）：NFS 服务器"), "{text}");
}

#[test]
fn this_machine_for_a_moment_and_no_time_at_all() {
    let (code, text) = run(&["explain", "load", "--for", "0.3s"]);
    assert!(code == Some(0) && text.contains("- watched for 0."), "{text}");
    for wrong in ["ten", "-5s", "2d"] {
        let (code, text) = run(&["explain", "load", &format!("--for={wrong}")]);
        assert!(code == Some(2) && text.contains(&format!("{wrong} is not a time")), "{text}");
    }
    let (code, text) = run(&["check", "--only", "load-explained", "--for", "x", "/"]);
    assert!(code == Some(2) && text.contains("x is not a time"), "{text}");
}
