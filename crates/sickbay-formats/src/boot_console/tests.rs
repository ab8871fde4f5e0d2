use proptest::prelude::*;

use super::{Cause, Stage, Verdict, read};

fn stop(text: &str) -> (Stage, Cause, String, usize) {
    match read(text.as_bytes()).verdict {
        Verdict::Stopped(stop) => (stop.stage, stop.cause, stop.culprit, stop.said.line),
        other => panic!("it stands: {other:?}"),
    }
}

proptest! {
    #[test]
    fn any_bytes_are_read(text in prop::collection::vec(any::<u8>(), 0..2000)) {
        let console = read(&text);
        let lines = text.split(|byte| *byte == b'\n').count();
        prop_assert!(console.begin >= 1 && console.begin <= lines.max(1));
    }

    /// Cut anywhere, at both ends, the last boot is judged or said to go on; lines are those of the text.
    #[test]
    fn a_cut_text_is_no_other_boot(from in 0usize..400, to in 0usize..400) {
        let text = b"SeaBIOS (version 1.16)\nBooting from Hard Disk...\n\x1b[H\x1b[J  Booting `Debian'\r\n\r\nLoading Linux 6.1 ...\n[    0.000000] Linux version 6.1.0 (gcc)\n[    0.000000] Command line: root=UUID=x ro\n[    1.2] Kernel panic - not syncing: VFS: Unable to mount root fs on unknown-block(0,0)\n";
        let part = text.get(from.min(text.len())..to.max(from).min(text.len())).unwrap_or_default();
        let console = read(part);
        if let Some(stop) = console.stands_at() {
            prop_assert!(stop.said.line >= console.begin);
            prop_assert!(stop.said.line <= part.split(|byte| *byte == b'\n').count());
        }
    }

    #[test]
    fn blocks_of_lines_are_the_whole(at in 0usize..6) {
        let lines = ["GRUB loading.\n", "Welcome to GRUB!\n", "error: no such partition.\n", "Entering rescue mode...\n", "grub rescue> \n"];
        let (head, tail) = lines.split_at(at.min(lines.len()));
        let mut reader = super::Reader::default();
        reader.block(head.concat().as_bytes());
        reader.block(tail.concat().as_bytes());
        prop_assert_eq!(reader.console(), read(lines.concat().as_bytes()));
    }
}

#[test]
fn only_the_last_boot_counts() {
    let text = "[    0.000000] Linux version 5.10.0-1-amd64 (x)\n[    1.5] Kernel panic - not syncing: No working init found.\n\
                SeaBIOS (version rel-1.12)\nGRUB loading.\n[    0.000000] Linux version 5.10.0-2-amd64 (x)\n\n\
                CentOS Linux 7 (Core)\nKernel 5 on an x86_64\n\nhost login: ";
    let console = read(text.as_bytes());
    assert_eq!((console.boots, console.begin, console.kernel.as_deref()), (2, 3, Some("5.10.0-2-amd64")));
    assert!(matches!(console.verdict, Verdict::Reached { prompt: true, .. }));
}

#[test]
fn a_clock_that_begins_anew_is_another_boot() {
    let text = "[   30.0] systemd[1]: Failed to start foo.service.\nYou are in emergency mode. After logging in\n[    0.3] ACPI: something\nhost login: \n";
    let console = read(text.as_bytes());
    assert_eq!(console.begin, 3);
    assert!(matches!(console.verdict, Verdict::Reached { .. }));
}

#[test]
fn the_kernel_that_writes_a_dump_is_no_boot() {
    let text = "GRUB loading.\n[    0.000000] Linux version 4.18.0 (x)\n[    0.000000] Command line: root=UUID=1 ro\n\
                [    2.0] Kernel panic - not syncing: VFS: Unable to mount root fs on unknown-block(0,0)\n\
                [    0.000000] Linux version 4.18.0 (x)\n[    0.000000] Command line: root=UUID=1 elfcorehdr=867700K\n\
                kdump: saving vmcore\n";
    assert_eq!(stop(text), (Stage::Initramfs, Cause::InitramfsNotUsed, "UUID=1".to_owned(), 4));
}

#[test]
fn the_root_of_the_trouble_is_told_not_its_consequence() {
    let text = "GRUB loading.\n  Booting `CentOS'\nerror: file `/initramfs-3.10.0.img' not found.\n\nPress any key to continue...\n\
                [    0.000000] Linux version 3.10.0 (x)\n[    1.0] VFS: Cannot open root device \"UUID=1\" or unknown-block(0,0): error -6\n\
                [    1.1] Kernel panic - not syncing: VFS: Unable to mount root fs on unknown-block(0,0)\n";
    assert_eq!(stop(text), (Stage::Initramfs, Cause::InitramfsMissing, "/initramfs-3.10.0.img".to_owned(), 3));
}

#[test]
fn what_a_later_stage_shows_to_be_harmless_is_forgotten() {
    let text = "Welcome to GRUB!\nerror: no such device: 1234.\n[    0.000000] Linux version 6.1 (x)\n\
                [    0.5] Initramfs unpacking failed: junk within compressed archive\n[    0.9] Run /init as init process\n\
                Begin: Mounting root file system ... ALERT!  UUID=77 does not exist.  Dropping to a shell!\n(initramfs) ";
    assert_eq!(stop(text), (Stage::RootDevice, Cause::RootMissing, "UUID=77".to_owned(), 6));
}

#[test]
fn a_log_of_syslog_is_no_console() {
    let text = "Jun 12 10:36:02 host systemd[1]: Dependency failed for Local File Systems.\n\
                Jun 12 10:36:02 host systemd[1]: Started OpenSSH server daemon.\n\
                Jun 12 10:36:02 host kernel: Linux version 5.10.0 (x)\n";
    let console = read(text.as_bytes());
    assert!(!console.is_console);
    assert_eq!(console.verdict, Verdict::Nothing);
}

#[test]
fn a_panic_of_a_system_that_runs_is_no_boot_that_stops() {
    let text = "GRUB loading.\nhost login: \n[ 9999.1] Kernel panic - not syncing: Fatal exception in interrupt\n";
    assert!(matches!(read(text.as_bytes()).verdict, Verdict::Reached { .. }));
}
