use std::process::Command;
use std::time::{Duration, Instant};

use super::{CommandError, Keeper, is_installed, run};

const SOON: Duration = Duration::from_secs(5);

fn sh(script: &str, stdin: &[u8], deadline: Duration, limit: usize) -> Result<super::Output, CommandError> {
    run("sh", &["-c", script], stdin, deadline, limit)
}

#[test]
fn output_and_status_are_told() {
    let output = sh("cat; echo oops >&2; exit 3", b"hello", SOON, 100).unwrap();
    assert_eq!(output.stdout, b"hello");
    assert_eq!(output.status.code(), Some(3));
    assert_eq!(output.complaint(), "oops");
    assert!(!output.success() && !output.cut);
    assert_eq!(sh("exit 4", b"", SOON, 0).unwrap().complaint(), "it ended with status 4");
    assert_eq!(sh("kill -9 $$", b"", SOON, 0).unwrap().complaint(), "it was ended by signal 9");
}

#[test]
fn output_is_bounded_and_input_may_be_refused() {
    let megabytes = vec![b'x'; 4 << 20];
    let output = sh("cat", &megabytes, SOON, 1000).unwrap();
    assert_eq!((output.stdout.len(), output.cut), (1000, true));
    assert!(sh("exec <&-; exit 0", &megabytes, SOON, 1000).unwrap().success());
}

#[test]
fn the_environment_is_not_the_users() {
    let output = sh("env | sort | cut -d= -f1; pwd", b"", SOON, 1000).unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("LC_ALL") && text.ends_with("/\n") && !text.contains("HOME"), "{text}");
}

#[test]
fn what_takes_too_long_is_killed_with_all_its_children() {
    let started = Instant::now();
    let error = sh("sleep 87654 & sleep 87654", b"", Duration::from_millis(200), 100).unwrap_err();
    assert_eq!(error.to_string(), "sh did not end within 0.2 s and was killed");
    assert!(started.elapsed() < Duration::from_secs(2));
    std::thread::sleep(Duration::from_millis(50));
    assert!(!run("pgrep", &["-f", "sleep 87654"], b"", SOON, 100).unwrap().success());
}

#[test]
fn a_grandchild_in_the_background_is_not_waited_for() {
    let started = Instant::now();
    let output = sh("sleep 76543 & echo done", b"", SOON, 100).unwrap();
    assert_eq!(output.stdout, b"done\n");
    assert!(started.elapsed() < Duration::from_secs(2));
}

#[test]
fn what_is_not_installed_is_named() {
    let error = run("no-such-program", &[""], b"", SOON, 1).unwrap_err();
    assert_eq!(error.to_string(), "no-such-program is not installed on this machine");
    assert!(is_installed("sh") && !is_installed("no-such-program"));
}

#[test]
fn a_kept_program_ends_with_its_keeper_or_tells_why_it_ended() {
    let mut keeper = Keeper::running(Command::new("sleep").arg("65432"), || Ok(())).unwrap();
    assert!(keeper.ended().unwrap().is_none());
    let started = Instant::now();
    keeper.stop(SOON).unwrap();
    assert!(started.elapsed() < Duration::from_millis(250), "asked, it does not wait");
    assert!(!run("pgrep", &["-f", "sleep 65432"], b"", SOON, 100).unwrap().success());

    let mut failing = Keeper::running(Command::new("sh").args(["-c", "echo why >&2; exit 5"]), || Ok(())).unwrap();
    let until = Instant::now() + SOON;
    let (status, said) = loop {
        match failing.ended().unwrap() {
            Some(ended) => break ended,
            None => assert!(Instant::now() < until),
        }
    };
    assert_eq!((status.code(), said.as_str()), (Some(5), "why\n"));
}

/// A program that does not want to end, and how many there are of it.
fn stubborn(name: &str) -> (Keeper, impl Fn() -> bool) {
    let mut program = Command::new("sh");
    program.args(["-c", "trap '' TERM; while :; do sleep 0.1; done", name]);
    let keeper = Keeper::running(&mut program, || Ok(())).unwrap();
    let name = name.to_owned();
    (keeper, move || run("pgrep", &["-f", &name], b"", SOON, 100).unwrap().success())
}

#[test]
fn what_does_not_end_when_it_is_asked_is_killed() {
    let (mut keeper, is_there) = stubborn("stubborn-43210");
    let until = Instant::now() + SOON;
    while !is_there() {
        assert!(Instant::now() < until);
    }
    assert!(keeper.stop(Duration::from_millis(300)).is_err());
    std::thread::sleep(Duration::from_millis(100));
    assert!(!is_there());
}

/// When this process dies nobody asks, and the pipe ends.
#[test]
fn what_outlives_us_is_killed_soon() {
    let (mut keeper, is_there) = stubborn("stubborn-43211");
    keeper.ask = None;
    let until = Instant::now() + Duration::from_secs(15);
    std::thread::sleep(Duration::from_millis(500));
    while is_there() {
        assert!(Instant::now() < until, "it is still there");
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn nothing_is_inherited_and_what_it_may_have_is_bounded() {
    let file = std::fs::File::open("/").unwrap();
    rustix::io::fcntl_setfd(&file, rustix::io::FdFlags::empty()).unwrap();
    let output = sh("ls /proc/$$/fd; ulimit -c; ulimit -n; exec 2>&1 </dev/tty", b"", SOON, 4096).unwrap();
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let descriptors = lines.iter().filter(|line| line.parse::<u32>().is_ok_and(|number| (3..10).contains(&number)));
    assert_eq!(descriptors.count(), 0, "{text}");
    assert!(!output.success() && text.contains("\n0\n"), "{text}");
}
