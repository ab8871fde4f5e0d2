//! Builds disks as they occur, with the programs that make real ones.
#![allow(clippy::unwrap_used, dead_code, unreachable_pub)]

use std::hash::{DefaultHasher, Hasher};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

/// A directory for images, and what a root holds.
pub struct Lab {
    dir: tempfile::TempDir,
}

/// Runs a program that must succeed.
pub fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|e| panic!("{command:?}: {e}: is it installed?"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A digest of all bytes of a file.
pub fn fingerprint(path: &Path) -> u64 {
    let mut file = std::fs::File::open(path).unwrap();
    let mut hasher = DefaultHasher::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        match file.read(&mut buffer).unwrap() {
            0 => return hasher.finish(),
            n => hasher.write(&buffer[..n]),
        }
    }
}

/// Where the first partition begins.
pub const FIRST: u64 = 1 << 20;

/// Compiles `escape.c` for a root that has nothing else.
pub fn escape(to: &Path) {
    std::fs::create_dir_all(to.parent().unwrap()).unwrap();
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/escape.c");
    run(Command::new("cc").args(["-static", "-O1", "-o"]).arg(to).arg(source));
}

impl Lab {
    pub fn new() -> Lab {
        Lab { dir: tempfile::tempdir().unwrap() }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A directory that holds what a file system of that role holds.
    pub fn tree(&self, role: &str) -> PathBuf {
        let tree = self.path(&format!("tree-{role}"));
        if tree.exists() {
            return tree;
        }
        let dir = |name: &str| std::fs::create_dir_all(tree.join(name)).unwrap();
        let file = |name: &str, text: &str| {
            std::fs::create_dir_all(tree.join(name).parent().unwrap()).unwrap();
            std::fs::write(tree.join(name), text).unwrap();
        };
        match role {
            "boot" => {
                file("vmlinuz-6.1.0-1-amd64", "kernel");
                file("grub/grub.cfg", "menuentry");
            }
            "usr" => {
                ["bin", "lib", "sbin", "share"].into_iter().for_each(dir);
                file("bin/sh", "sh");
            }
            "var" => {
                ["lib", "log", "spool", "cache", "tmp"].into_iter().for_each(dir);
                file("log/syslog", "log");
            }
            "data" => file("photo.jpg", "picture"),
            _ => {
                ["boot", "dev", "home", "mnt", "opt", "proc", "root", "run", "srv", "sys", "tmp", "usr", "var"]
                    .into_iter()
                    .for_each(dir);
                file("etc/hostname", "patient\n");
                file("etc/fstab", "");
                file("etc/passwd", "root:x:0:0::/root:/bin/sh\n");
            }
        }
        tree
    }

    /// An image of one file system, made of the tree of its role.
    pub fn file_system(&self, name: &str, role: &str, fstype: &str) -> PathBuf {
        let image = self.path(name);
        let tree = self.tree(role);
        let size: u64 = match fstype {
            "xfs" => 320 << 20,
            "btrfs" => 128 << 20,
            _ => 16 << 20,
        };
        let _ = std::fs::remove_file(&image);
        std::fs::File::create(&image).unwrap().set_len(size).unwrap();
        match fstype {
            "xfs" => {
                // A protofile: name of the boot image, sizes, then the tree (mkfs.xfs(8), -p).
                let proto = self.path("proto");
                let mut text = String::from("/\n0 0\n");
                protofile(&tree, &mut text, true);
                std::fs::write(&proto, text).unwrap();
                run(Command::new("mkfs.xfs").args(["-q", "-f", "-p"]).arg(&proto).arg(&image));
            }
            "btrfs" => {
                run(Command::new("mkfs.btrfs").args(["-q", "-f", "--rootdir"]).arg(&tree).arg(&image));
            }
            "swap" => {
                run(Command::new("mkswap").arg(&image));
            }
            ext => {
                run(Command::new("mke2fs").args(["-q", "-F", "-t", ext, "-d"]).arg(&tree).arg(&image));
            }
        }
        image
    }

    /// A disk with an MBR and one partition for each (role, file system).
    pub fn disk(&self, name: &str, parts: &[(&str, &str)]) -> PathBuf {
        let images: Vec<PathBuf> = parts
            .iter()
            .enumerate()
            .map(|(n, (role, fstype))| self.file_system(&format!("part{n}"), role, fstype))
            .collect();
        self.disk_of(name, "dos", &images)
    }

    /// A disk with a partition table of that kind, and one partition for each image.
    pub fn disk_of(&self, name: &str, label: &str, images: &[PathBuf]) -> PathBuf {
        let disk = self.path(name);
        let mut script = format!(
            "label: {label}\nlabel-id: {}\n",
            if label == "dos" { "0x12345678" } else { "11111111-2222-3333-4444-555555555555" }
        );
        let mut start = FIRST;
        let mut starts = Vec::new();
        for image in images {
            let size = image.metadata().unwrap().len();
            script += &format!("start={}, size={}\n", start / 512, size / 512);
            starts.push(start);
            start += size;
        }
        let _ = std::fs::remove_file(&disk);
        std::fs::File::create(&disk).unwrap().set_len(start + (1 << 20)).unwrap();
        let scriptfile = self.path("sfdisk.in");
        std::fs::write(&scriptfile, script).unwrap();
        run(Command::new("sfdisk")
            .args(["-q", "--no-reread", "--no-tell-kernel"])
            .arg(&disk)
            .stdin(std::fs::File::open(&scriptfile).unwrap()));
        for (image, start) in images.iter().zip(starts) {
            copy_into(image, &disk, start);
        }
        disk
    }

    /// Asserts that no loop device stands for a file, and nothing of it is mounted here.
    pub fn nothing_is_left(&self, image: &Path) {
        let until = std::time::Instant::now() + std::time::Duration::from_secs(3);
        loop {
            let left = run(Command::new("losetup").args(["-n", "-O", "NAME", "-j"]).arg(image));
            if left.trim().is_empty() {
                return;
            }
            assert!(std::time::Instant::now() < until, "{} is still attached: {left}", image.display());
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    }
}

/// Copies an image into a disk, holes left out.
pub fn copy_into(image: &Path, disk: &Path, at: u64) {
    let mut from = std::fs::File::open(image).unwrap();
    let mut to = std::fs::File::options().write(true).open(disk).unwrap();
    let mut buffer = vec![0; 64 << 10];
    let mut offset = at;
    loop {
        let n = from.read(&mut buffer).unwrap();
        if n == 0 {
            return;
        }
        if buffer[..n].iter().any(|b| *b != 0) {
            to.seek(SeekFrom::Start(offset)).unwrap();
            to.write_all(&buffer[..n]).unwrap();
        }
        offset += n as u64;
    }
}

fn protofile(dir: &Path, text: &mut String, is_top: bool) {
    if is_top {
        text.push_str("d--755 0 0\n");
    }
    let mut entries: Vec<_> = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if path.is_dir() {
            text.push_str(&format!("{name} d--755 0 0\n"));
            protofile(&path, text, false);
        } else {
            text.push_str(&format!("{name} ---644 0 0 {}\n", path.display()));
        }
    }
    text.push_str("$\n");
}
