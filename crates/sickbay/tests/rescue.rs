//! `rescue` on a disk, without a question: what it tells at each step, what it ends with, and that it goes on where it was cut off.
//! Needs root and loop devices.

mod support;

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use support::command::{said, sickbay};
use support::story::Story;

/// A disk with one file system, and on it a system whose fstab names a data disk that is gone.
fn disk(dir: &Path, fstab: &str) -> PathBuf {
    let (image, mnt) = (dir.join("disk.img"), dir.join("mnt"));
    std::fs::File::create(&image).and_then(|file| file.set_len(192 << 20)).expect("room");
    std::fs::create_dir(&mnt).expect("a directory");
    // That which the tree's boot entries name.
    let uuid = "3f0c1d52-7c0e-4b0e-9d6c-0d3c5a9e1f01";
    let out = Command::new("mkfs.ext4").args(["-q", "-F", "-U", uuid]).arg(&image).output().expect("mkfs.ext4");
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let story =
        format!("A system.\n\n--- tree debian-12\n--- file /etc/fstab\nUUID={uuid} / ext4 defaults 0 1\n{fstab}");
    let built = Story::of(&story).expect("a story").build().expect("built");
    let mut copy = Command::new("unshare");
    copy.args([
        "-m",
        "--propagation",
        "private",
        "sh",
        "-c",
        "set -e; mount -o loop \"$IMAGE\" \"$MNT\"; cp -a \"$SYSTEM/.\" \"$MNT\"; sync",
    ]);
    let (code, text) =
        said(&copy.env("IMAGE", &image).env("MNT", &mnt).env("SYSTEM", built.root()).output().expect("unshare"));
    assert_eq!(code, Some(0), "{text}");
    image
}

fn rescue(image: &Path, words: &[&str]) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sickbay"));
    said(&command.arg("rescue").arg(image).args(words).env("LC_ALL", "C.UTF-8").output().expect("sickbay starts"))
}

fn told(file: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(file).expect("a report")).expect("JSON")
}

fn steps(told: &Value) -> Vec<&str> {
    let steps = told["steps"].as_array().map(Vec::as_slice).unwrap_or_default();
    steps.iter().filter_map(|step| step["step"].as_str()).collect()
}

const GONE: &str = "UUID=11111111-2222-3333-4444-555555555555 /srv/data ext4 defaults 0 2\n";

#[test]
fn a_disk_is_rescued_and_the_next_call_finds_it_so() {
    let dir = tempfile::tempdir().expect("a directory");
    let image = disk(dir.path(), GONE);
    let file = dir.path().join("rescue.json");
    let report = file.to_str().expect("a name");
    let before = std::fs::read(&image).expect("an image");

    let (code, text) = rescue(&image, &["--dry-run", "--report", report]);
    assert_eq!(told(&file)["verdict"], "not-rescued", "{text}");
    assert_eq!((code, std::fs::read(&image).expect("an image") == before), (Some(1), true), "{text}");

    let (code, text) = rescue(&image, &["--report", report]);
    let first = told(&file);
    assert_eq!(first["schema"], "sickbay/rescue/v1");
    assert_eq!((code, first["verdict"].as_str()), (Some(0), Some("rescued")), "{text}\n{}", first["in_the_way"]);
    assert_eq!(steps(&first), ["identify", "check", "plan", "repair"]);
    assert_eq!(first["earlier"], serde_json::json!([]));
    assert!(first["undo"].as_str().is_some_and(|command| command.starts_with("sickbay undo ")), "{}", first["undo"]);
    assert!(
        text.contains("add nofail to line 2") && text.contains("[fstab-missing-device], journal entry 0001"),
        "{text}"
    );

    let (code, text) = rescue(&image, &["--report", report]);
    let second = told(&file);
    assert_eq!((code, second["verdict"].as_str()), (Some(0), Some("healthy")), "{text}");
    assert_eq!(second["earlier"][0]["check"], "fstab-missing-device");
    assert_eq!(second["earlier"][0]["finished"], true);
}

/// Repairs the disk, at most so many steps of writing. Gives how many it took.
#[cfg(debug_assertions)] // what is released has nothing that makes writing fail
fn repair(image: &Path, steps: Option<u64>) -> u64 {
    use sickbay::{checks, engine::rounds, repair::plan::Choice};
    use sickbay_target::{Access, Options, Target, faults};

    let options = Options { access: Access::ReadWrite, ..Options::default() };
    let target = std::sync::Arc::new(Target::open(Some(image), &options).expect("a target"));
    match steps {
        Some(steps) => faults::cut_off_after(steps),
        None => _ = faults::end(),
    }
    let outcome = rounds::fix(&target, None, &checks::ALL, &Choice::default(), &mut |_, _| true);
    let made = faults::end();
    drop((outcome, target));
    made
}

#[cfg(debug_assertions)]
#[test]
fn a_rescue_that_was_cut_off_goes_on() {
    let dir = tempfile::tempdir().expect("a directory");
    let image = disk(dir.path(), GONE);
    let copy = dir.path().join("copy.img");
    let renew = || std::fs::copy(&image, &copy).expect("a copy");
    renew();
    let whole = repair(&copy, None);
    let is_cut_off = |steps: &u64| {
        renew();
        repair(&copy, Some(*steps));
        let (_, text) = said(&sickbay(["undo", "--list", "--format", "json"], &copy).output().expect("it starts"));
        text.contains(r#""finished": false"#)
    };
    assert!(
        (1..whole).rev().step_by(2).any(|steps| is_cut_off(&steps)),
        "{whole} steps, and none in the middle of a repair"
    );
    let image = copy;
    let file = dir.path().join("rescue.json");
    let (code, text) = rescue(&image, &["--report", file.to_str().expect("a name")]);
    let told = told(&file);
    assert_eq!((code, told["verdict"].as_str()), (Some(0), Some("rescued")), "{text}");
    assert_eq!(steps(&told), ["identify", "recover", "check", "plan", "repair"], "{told:#}");
}

#[test]
fn what_cannot_be_done_is_said_before_anything_is() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("rescue.json");
    let report = file.to_str().expect("a name");
    let (code, text) = rescue(&dir.path().join("none"), &["--report", report, "--wait", "1s"]);
    assert_eq!(code, Some(2));
    assert!(text.contains("none does not exist"), "{text}");
    assert_eq!((told(&file)["verdict"].as_str(), steps(&told(&file))), (Some("unknown"), vec!["identify"]));

    let mut command = Command::new(env!("CARGO_BIN_EXE_sickbay"));
    let (code, text) = said(&command.args(["rescue", "--serial", "vol-0that1is2none"]).output().expect("it starts"));
    assert_eq!(code, Some(2));
    assert!(text.contains("no disk of this machine has the serial number vol-0that1is2none"), "{text}");

    let image = disk(dir.path(), "");
    let (code, text) = rescue(&image, &["--report", "/nowhere/report"]);
    assert_eq!(code, Some(2), "{text}");
    assert!(text.contains("/nowhere/report cannot be written"), "{text}");
    let (code, text) = rescue(&image, &["--report", report, "--format", "json"]);
    assert_eq!((code, told(&file)["verdict"].as_str()), (Some(0), Some("healthy")), "{text}");
    let printed: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(printed["verdict"], "healthy");
}

/// What the templates for clouds run is a command line that there is, and nothing in them is left to fill in.
#[test]
fn templates_run_what_there_is() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../packaging/rescue");
    let read = |name: &str| -> Value {
        serde_json::from_slice(&std::fs::read(dir.join(name)).expect("a template")).expect("JSON")
    };
    let (aws, aliyun) = (read("aws-ssm-document.json"), read("aliyun-oos-template.json"));
    assert_eq!((&aws["schemaVersion"], &aws["mainSteps"][0]["action"]), (&"2.2".into(), &"aws:runShellScript".into()));
    assert_eq!(aliyun["FormatVersion"], "OOS-2019-06-01");
    let script = aws["mainSteps"][0]["inputs"]["runCommand"].as_array().expect("lines");
    let script: Vec<&str> = script.iter().filter_map(Value::as_str).collect();
    let tasks = aliyun["Tasks"].as_array().expect("tasks");
    let names: Vec<&str> = tasks.iter().filter_map(|task| task["Name"].as_str()).collect();
    assert!(tasks.iter().filter_map(|task| task["OnError"].as_str()).all(|name| names.contains(&name)));
    let rescue = tasks.iter().find(|task| task["Name"] == "rescue").expect("a rescue");
    let parameters = [(&aws["parameters"], "VolumeId", "vol-0a1b2c3d"), (&aliyun["Parameters"], "diskId", "d-bp1abc")];
    let scripts = [script.join("\n"), rescue["Properties"]["commandContent"].as_str().unwrap_or_default().to_owned()];
    for (script, (declared, name, value)) in scripts.into_iter().zip(parameters) {
        assert!(declared[name].is_object(), "{name}");
        // The program is the shell's word here: what it would be given is printed.
        let script = script
            .replace(&format!("{{{{ {name} }}}}"), value)
            .replace("{{ BootTest }}", "yes")
            .replace("{{ Risky }}", "yes");
        assert!(!script.contains("{{"), "{script}");
        let script = script.replace("exec sickbay", "printf '%s\\n' sickbay");
        let out = Command::new("sh").args(["-euc", &script]).output().expect("sh starts");
        let words = String::from_utf8(out.stdout).expect("text");
        let words: Vec<&str> = words.lines().collect();
        assert!(words.contains(&value), "{words:?}");
        let parsed = sickbay::cli::command(sickbay::model::text::Lang::En).try_get_matches_from(&words);
        assert!(parsed.is_ok(), "{words:?}: {}", parsed.err().map(|error| error.to_string()).unwrap_or_default());
    }
}
