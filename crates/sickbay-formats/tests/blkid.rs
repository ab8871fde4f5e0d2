//! The tools that make file systems, and blkid(8), against `superblock`. What is not installed is left out.

use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;

use sickbay_formats::superblock::{HEAD, TAIL, probe, probe_end};

const MIB: u64 = 1 << 20;

/// Runs a program; `None` when it is not installed.
fn run(program: &str, arguments: &[&str], file: &Path) -> Option<String> {
    let output = Command::new(program).args(arguments).arg(file).env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").output();
    match output {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        Err(error) => panic!("{program}: {error}"),
        Ok(output) => {
            assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
            Some(String::from_utf8_lossy(&output.stdout).into_owned())
        }
    }
}

#[test]
fn as_blkid_says() {
    let cases: &[(u64, &str, &[&str])] = &[
        (4, "mkfs.ext2", &["-q", "-L", "two"]),
        (8, "mkfs.ext3", &["-q", "-L", "exactly-sixteen!"]),
        (8, "mkfs.ext4", &["-q"]),
        (8, "mkfs.ext4", &["-q", "-O", "^has_journal"]),
        (300, "mkfs.xfs", &["-q", "-L", "data"]),
        (300, "mkfs.xfs", &["-q", "-m", "crc=0"]),
        (128, "mkfs.btrfs", &["-q", "-L", "a longer label than others have"]),
        (4, "mkswap", &["-L", "swap0"]),
        (4, "mkswap", &["-p", "65536"]),
        (4, "mkfs.vfat", &["-n", "EFI"]),
        (40, "mkfs.vfat", &["-F", "32", "-n", "EFI SYSTEM"]),
        (40, "mkfs.vfat", &["-F", "16"]),
        (
            32,
            "cryptsetup",
            &[
                "-q",
                "luksFormat",
                "--type",
                "luks2",
                "--label",
                "vault",
                "--pbkdf-force-iterations",
                "4",
                "--pbkdf-memory",
                "32",
                "--key-file",
                "/etc/hostname",
            ],
        ),
        (
            32,
            "cryptsetup",
            &["-q", "luksFormat", "--type", "luks1", "--pbkdf-force-iterations", "1000", "--key-file", "/etc/hostname"],
        ),
    ];
    let dir = tempfile::tempdir().expect("a directory");
    let mut compared = 0;
    for (index, (size, program, arguments)) in cases.iter().enumerate() {
        let path = dir.path().join(index.to_string());
        let file = std::fs::File::create_new(&path).expect("a file");
        file.set_len(size * MIB).expect("a sparse file");
        if run(program, arguments, &path).is_none() {
            continue;
        }
        let file = std::fs::File::open(&path).expect("it was made");
        let size = file.metadata().expect("its size").len();
        let mut head = vec![0; HEAD.min(size as usize)];
        file.read_exact_at(&mut head, 0).expect("its head");
        let mut tail = vec![0; TAIL];
        file.read_exact_at(&mut tail, size - TAIL as u64).expect("its tail");
        assert_eq!(probe_end(&tail, size), None);
        let found = probe(&head, size).unwrap_or_else(|| panic!("{program} {arguments:?} is not recognised"));

        let Some(export) = run("blkid", &["-p", "-o", "export"], &path) else { return };
        let value = |key: &str| {
            let wanted = format!("{key}=");
            export.lines().find_map(|line| line.strip_prefix(&wanted)).map(|value| value.replace('\\', ""))
        };
        assert_eq!(Some(found.fstype.to_owned()), value("TYPE"), "{program} {arguments:?}");
        assert_eq!(found.uuid, value("UUID"), "{program} {arguments:?}");
        assert_eq!(found.label, value("LABEL"), "{program} {arguments:?}");
        compared += 1;
    }
    eprintln!("{compared} of {} compared", cases.len());
}
