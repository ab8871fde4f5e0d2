//! `fix` is killed at a hundred moments; whatever it left, `undo` restores every byte, mode, owner, time and attribute.
//! The lab does the same on a disk.

mod support;

use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use support::command::{run, sickbay};
use support::manifest::{difference, manifest};
use support::story::Story;

#[test]
fn a_killed_fix_is_undone_or_finished() {
    let story = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/many-faults.txt");
    let story = Story::read(&story).expect("a story");
    let fix = ["fix", "--yes", "--risky"];
    let mut whole = {
        let built = story.build().expect("built");
        let begun = Instant::now();
        let (_, text) = run(fix, built.root());
        assert!(text.matches("repaired: ").count() >= 8, "too little to be cut off in: {text}");
        begun.elapsed()
    };
    let mut cut_off = 0;
    for turn in 0..100_u32 {
        let built = story.build().expect("built");
        let before = manifest(built.root());
        let mut child =
            sickbay(fix, built.root()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("started");
        // Spread over the whole run, and a little apart from the same place of another test's run.
        let moment = whole.mul_f64(f64::from(turn) / 100.0) + Duration::from_micros(u64::from(turn) * 37 % 500);
        std::thread::sleep(moment);
        let _ = child.kill();
        if child.wait().expect("ended").code().is_none() {
            cut_off += 1;
        } else {
            // It was over sooner than the first, which a busy machine may have held up.
            whole = whole.min(moment);
        }
        if turn % 2 == 1 {
            let (code, text) = run(fix, built.root());
            assert!(matches!(code, Some(0..=2)) && !text.contains("not repaired"), "after kill {turn}: {text}");
        }
        let (code, text) = run(["undo", "--yes"], built.root());
        assert_eq!(code, Some(0), "after kill {turn}: {text}");
        assert_eq!(difference(&before, &manifest(built.root())), None, "after kill {turn}");
    }
    assert!(cut_off >= 50, "only {cut_off} of 100 were killed before their end");
}
