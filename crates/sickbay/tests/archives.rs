//! Archives as targets: of a root, and of what tools for support collected (sos report, insights-client), packed or not.

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use support::command::{run, said, sickbay};
use support::manifest::{difference, manifest};
use support::story::Story;

/// What a text of this directory builds, copied to `dir`/`name`.
fn built(text: &str, dir: &Path, name: &str) -> PathBuf {
    let text = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(text);
    let built = Story::read(&text).and_then(|story| story.build()).expect("the tree");
    let to = dir.join(name);
    assert!(Command::new("cp").arg("-a").arg(built.root()).arg(&to).status().expect("cp").success());
    to
}

/// The directory as a tar, with its own name on top or without.
fn packed(of: &Path, options: &[&str], with_name: bool) -> PathBuf {
    let archive = of.with_extension("archive");
    let mut tar = Command::new("tar");
    tar.args(options).arg("-cf").arg(&archive);
    match with_name {
        true => tar.arg("-C").arg(of.parent().expect("a parent")).arg(of.file_name().expect("a name")),
        false => tar.arg("-C").arg(of).arg("."),
    };
    assert!(tar.status().expect("tar").success());
    archive
}

/// The checks that found something, each as often as it did.
fn found(target: &Path) -> Vec<String> {
    let out = sickbay(["check", "--format", "json"], target).output().expect("the program starts");
    let json: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap_or_else(|_| panic!("{}", said(&out).1));
    let findings = json["findings"].as_array().expect("findings");
    findings.iter().map(|finding| finding["check"].as_str().expect("an id").to_owned()).collect()
}

fn append(path: &Path, text: &str) {
    let before = fs::read_to_string(path).unwrap_or_default();
    fs::write(path, before + text).expect("written");
}

fn replace(path: &Path, old: &str, new: &str) {
    let before = fs::read_to_string(path).expect("read");
    assert!(before.contains(old), "{old}");
    fs::write(path, before.replace(old, new)).expect("written");
}

#[test]
fn a_packed_root_is_checked_as_the_root_is() {
    let dir = tempfile::tempdir().expect("a directory");
    let root = built("trees/debian-12.txt", dir.path(), "system");
    for (options, with_name) in
        [(&["-z"][..], false), (&["-J"], true), (&["--zstd", "--exclude=./dev", "--exclude=./proc"], false)]
    {
        let archive = packed(&root, options, with_name);
        assert_eq!(found(&archive), Vec::<String>::new(), "{options:?}");
        let (code, text) = run(["check"], &archive);
        assert_eq!(code, Some(0), "{text}");
    }
    fs::remove_file(root.join("etc/pam.d/common-auth")).expect("removed");
    fs::write(root.join("etc/ssh/sshd_config"), "PermitRootLogn yes\n").expect("written");
    // Disks are what an archive lacks.
    let (of_root, of_archive) = (found(&root), found(&packed(&root, &["-j"], false)));
    assert_eq!(of_root, of_archive);
    assert!(of_archive.contains(&"sshd-config-invalid".to_owned()), "{of_archive:?}");
}

#[test]
fn an_archive_is_never_repaired() {
    let dir = tempfile::tempdir().expect("a directory");
    let root = built("trees/debian-12.txt", dir.path(), "system");
    fs::write(root.join("etc/ssh/sshd_config"), "PermitRootLogn yes\n").expect("written");
    let archive = packed(&root, &["-z"], false);
    let before = manifest(dir.path());
    for arguments in [&["fix", "--yes"][..], &["undo", "--yes"]] {
        let (code, text) = run(arguments.iter().copied(), &archive);
        assert_eq!(code, Some(2), "{text}");
        assert!(text.contains("is an archive: it can be checked, but nothing is repaired in it"), "{text}");
    }
    let (_, text) = run(["check"], &archive);
    assert!(text.contains("sshd-config-invalid") && !text.contains("· sickbay fix"), "{text}");
    assert_eq!(difference(&before, &manifest(dir.path())), None);
}

#[test]
fn what_cannot_be_unpacked_says_why() {
    let dir = tempfile::tempdir().expect("a directory");
    let root = built("trees/debian-12.txt", dir.path(), "system");
    let archive = packed(&root, &["-z"], false);
    let bytes = fs::read(&archive).expect("read");
    fs::write(&archive, &bytes[..bytes.len() / 2]).expect("written");
    let (code, text) = run(["check"], &archive);
    assert_eq!((code, text.contains("is truncated: it ends after")), (Some(2), true), "{text}");
    // A system's file names are a stranger's.
    let other = dir.path().join("other");
    fs::create_dir(&other).expect("made");
    fs::write(other.join("a\u{1b}[2Jb"), "x").expect("written");
    let (code, text) = run(["check"], &packed(&other, &[], false));
    assert_eq!(code, Some(2), "{text}");
    assert!(text.contains("an archive in which nothing looks like the root of a Linux system"), "{text}");
    assert!(!text.contains('\u{1b}'), "{text:?}");
}

#[test]
fn a_report_of_a_healthy_machine_has_no_findings() {
    for text in ["reports/sos.txt", "reports/insights.txt"] {
        let dir = tempfile::tempdir().expect("a directory");
        let tree = built(text, dir.path(), "report-box-2024");
        for target in [tree.clone(), packed(&tree, &["-J"], true), packed(&tree, &[], false)] {
            let (code, text) = run(["check"], &target);
            assert_eq!(code, Some(0), "{text}");
            assert!(text.contains("Red Hat Enterprise Linux") && text.contains("0 undetermined"), "{text}");
        }
        let (code, text) = run(["fix", "--yes"], &tree);
        assert_eq!(code, Some(2), "{text}");
        assert!(text.contains("is a report of another machine: it can be checked"), "{text}");
    }
}

const OOM: &str = "\
[14300.100000] java invoked oom-killer: gfp_mask=0x140cca(GFP_HIGHUSER_MOVABLE|__GFP_COMP), order=0, oom_score_adj=0
[14300.100001] CPU: 0 PID: 4242 Comm: java Not tainted 4.18.0-513.5.1.el8_9.x86_64 #1
[14300.100030] oom-kill:constraint=CONSTRAINT_NONE,nodemask=(null),cpuset=/,mems_allowed=0,global_oom,task_memcg=/,task=java,pid=4242,uid=1000
[14300.100031] Out of memory: Killed process 4242 (java) total-vm:12000000kB, anon-rss:7200000kB, file-rss:0kB, shmem-rss:0kB, UID:1000 pgtables:16000kB oom_score_adj:0
";

#[test]
fn five_faults_are_five_findings() {
    let dir = tempfile::tempdir().expect("a directory");
    let tree = built("reports/sos.txt", dir.path(), "sosreport-box-2024-01-02-abcdefg");
    append(&tree.join("etc/fstab"), "UUID=99999999-0d5e-4c1e-9f00-6f2a51d5b0ff /data xfs defaults 0 0\n");
    let sshd = tree.join("etc/pam.d/sshd");
    let rules = fs::read_to_string(&sshd).expect("read");
    fs::write(&sshd, format!("auth       requisite    pam_deny.so\n{rules}")).expect("written");
    append(&tree.join("etc/ssh/sshd_config"), "PermitRootLogn yes\n");
    let df = tree.join("sos_commands/filesys/df_-al_-x_autofs");
    replace(&df, "38753284 9120340  29632944  24% /", "38753284 38753284         0 100% /");
    append(&tree.join("sos_commands/kernel/dmesg"), OOM);
    let mut all = found(&packed(&tree, &["-J"], true));
    all.sort();
    assert_eq!(
        all,
        ["file-system-full", "fstab-missing-device", "oom-killer", "pam-refuses-root", "sshd-config-invalid"]
    );
    assert_eq!(found(&tree).len(), 5);
}

#[test]
fn a_report_is_not_blamed_for_what_it_does_not_hold() {
    let dir = tempfile::tempdir().expect("a directory");
    let tree = built("reports/sos.txt", dir.path(), "report");
    // Where blkid may not look it prints nothing, and a volume that is locked is listed alone.
    let blkid = tree.join("sos_commands/block/blkid_-c_.dev.null");
    append(&tree.join("etc/fstab"), "UUID=99999999-0d5e-4c1e-9f00-6f2a51d5b0ff /data xfs defaults 0 0\n");
    fs::write(&blkid, "").expect("written");
    assert_eq!(found(&tree), Vec::<String>::new());
    fs::write(&blkid, "/dev/vda1: UUID=\"1\" TYPE=\"ext4\"\n/dev/vda2: UUID=\"2\" TYPE=\"crypto_LUKS\"\n")
        .expect("written");
    assert_eq!(found(&tree), Vec::<String>::new());
    // Names are those that the kernel gave; links and drives are not listed.
    fs::write(&blkid, "/dev/vda1: UUID=\"1\" TYPE=\"xfs\"\n/dev/mapper/rhel-root: UUID=\"2\" TYPE=\"xfs\"\n")
        .expect("written");
    let lines = "/dev/mapper/rhel-root / xfs defaults 0 0\n/dev/vda1 /boot xfs defaults 0 0\n/dev/rhel/root /again xfs noauto 0 0\n\
        /dev/disk/by-id/virtio-data-part1 /data xfs defaults 0 0\n/dev/sr0 /media iso9660 noauto,ro 0 0\n";
    fs::write(tree.join("etc/fstab"), lines).expect("written");
    let (code, text) = run(["check"], &tree);
    assert_eq!((code, text.contains("0 undetermined")), (Some(0), true), "{text}");
    append(&tree.join("etc/fstab"), "/dev/vdb1 /other xfs defaults 0 0\n");
    assert_eq!(found(&tree), ["fstab-missing-device"]);
    // Without the outputs of any command it is no report, and too little for a root.
    fs::remove_dir_all(tree.join("sos_commands")).expect("removed");
    let (code, text) = run(["check"], &tree);
    assert_eq!((code, text.contains("a sosreport without what commands printed")), (Some(2), true), "{text}");
}

#[test]
fn insights_before_and_after_the_directory_data() {
    let dir = tempfile::tempdir().expect("a directory");
    let tree = built("reports/insights.txt", dir.path(), "insights-box");
    let df = "insights_commands/df_-alP";
    replace(&tree.join("data").join(df), "20961280 5120000  15841280      25% /", "20961280 20961280 0 100% /");
    assert_eq!(found(&tree), ["file-system-full"]);
    assert_eq!(found(&tree.join("data")), ["file-system-full"]);
}

/// 1,200 connections that java does not close, as a program prints them.
fn unclosed(head: &str, line: &str) -> String {
    let lines = (0..1200).map(|number| {
        let (port, inode) = ((20_000 + number).to_string(), (700_000 + number).to_string());
        line.replace("PORT", &port).replace("INODE", &inode)
    });
    std::iter::once(head.to_owned()).chain(lines).map(|line| line + "\n").collect()
}

#[test]
fn who_does_not_close_is_told_by_each_tool() {
    let netstat = "Active Internet connections (servers and established)\n\
        Proto Recv-Q Send-Q Local Address           Foreign Address         State       User       Inode      PID/Program name     Timer";
    let of_netstat = "tcp6       1      0 10.0.0.1:8080           10.0.0.9:PORT         CLOSE_WAIT  1000       INODE      1733/java            keepalive (71.29/0/0)";
    let ss = "Netid State      Recv-Q Send-Q Local Address:Port   Peer Address:Port Process";
    let of_ss = "tcp   CLOSE-WAIT 1      0      [::ffff:10.0.0.1]:8080 [::ffff:10.0.0.9]:PORT users:((\"java\",pid=1733,fd=52)) uid:1000 ino:INODE sk:5 -->";
    let old_ss =
        "tcp   CLOSE-WAIT 1      0      10.0.0.1:8080 10.0.0.9:PORT users:((\"java\",1733,52)) uid:1000 ino:INODE sk:5";
    let layouts = [
        ("reports/sos.txt", "sos_commands/networking/netstat_-W_-neopa", unclosed(netstat, of_netstat)),
        // sos 3.0 to 3.8
        ("reports/sos.txt", "sos_commands/networking/netstat_-neopa", unclosed(netstat, of_netstat)),
        ("reports/sos.txt", "sos_commands/networking/ss_-peaonmi", unclosed(ss, of_ss)),
        ("reports/sos.txt", "sos_commands/networking/ss_-peaonmi", unclosed(ss, old_ss)),
        ("reports/insights.txt", "data/insights_commands/netstat_-neopa", unclosed(netstat, of_netstat)),
        ("reports/insights.txt", "data/insights_commands/ss_-tupna", unclosed(ss, of_ss)),
    ];
    for (text, place, printed) in layouts {
        let dir = tempfile::tempdir().expect("a directory");
        let tree = built(text, dir.path(), "box");
        let path = tree.join(place);
        fs::create_dir_all(path.parent().expect("a directory")).expect("made");
        fs::write(&path, printed).expect("written");
        assert_eq!(found(&tree), ["close-wait-leak"], "{place}");
        let (_, said) = run(["check"], &tree);
        assert!(said.contains("java (PID 1733) does not close 1200 connections"), "{place}: {said}");
    }
}
