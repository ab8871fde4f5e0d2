//! Enters files of a tree, as they are at that moment, into its package database.

use std::fs;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use md5::Digest;

/// Files of a package: `PATH`, `%config PATH`, `%ghost PATH` on each line.
fn entries(body: &str) -> impl Iterator<Item = (&str, &str)> {
    body.lines().filter(|line| !line.trim().is_empty()).map(|line| match line.split_once(' ') {
        Some((flag, path)) => (flag, path),
        None => ("", line),
    })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// dpkg: a paragraph in `status`, a list, digests.
pub fn dpkg(root: &Path, name: &str, version: &str, body: &str) -> std::io::Result<()> {
    let dir = root.join("var/lib/dpkg");
    fs::create_dir_all(dir.join("info"))?;
    let (mut list, mut sums, mut conffiles) = ("/.\n".to_owned(), String::new(), String::new());
    for (flag, path) in entries(body) {
        list.push_str(&format!("{path}\n"));
        let real = super::inside(root, path);
        if fs::symlink_metadata(&real).is_ok_and(|found| found.is_file()) {
            let digest = hex(&md5::Md5::digest(fs::read(&real)?));
            match flag {
                "%config" => conffiles.push_str(&format!(" {path} {digest}\n")),
                _ => sums.push_str(&format!("{digest}  {}\n", path.trim_start_matches('/'))),
            }
        }
    }
    let conffiles = if conffiles.is_empty() { conffiles } else { format!("Conffiles:\n{conffiles}") };
    let paragraph = format!(
        "Package: {name}\nStatus: install ok installed\nPriority: required\nArchitecture: amd64\nVersion: {version}\n\
         {conffiles}Description: a package\n\n"
    );
    fs::OpenOptions::new().append(true).create(true).open(dir.join("status"))?.write_all(paragraph.as_bytes())?;
    fs::write(dir.join(format!("info/{name}.list")), list)?;
    fs::write(dir.join(format!("info/{name}.md5sums")), sums)
}

/// rpm: a header in the database whose file is there, be it empty, by the programs that write such a database; in an ndb, which is
/// made, when none is.
pub fn rpm(root: &Path, name: &str, version: &str, body: &str) -> std::io::Result<()> {
    let header = header(root, name, version, body)?;
    let (bdb, sqlite) = (root.join("var/lib/rpm/Packages"), root.join("var/lib/rpm/rpmdb.sqlite"));
    if sqlite.exists() {
        // As `rpm --exportdb` writes it: rpm's magic for headers, then the header.
        let exported = [[0x8e, 0xad, 0xe8, 1, 0, 0, 0, 0].as_slice(), &header].concat();
        let dir = sqlite.parent().expect("a directory");
        return feed(
            Command::new("rpmdb").args(["--define", "_db_backend sqlite", "--importdb", "--dbpath"]).arg(dir),
            &exported,
        );
    }
    if bdb.exists() {
        if fs::metadata(&bdb)?.len() == 0 {
            fs::remove_file(&bdb)?;
        }
        // The key is the number of the package in the byte order of the machine; any number that is not taken will do.
        let number = 1 + u32::try_from(fs::metadata(&bdb).map_or(0, |found| found.len())).expect("small");
        let (key, value) = (hex(&number.to_le_bytes()), hex(&header));
        let dump = format!("VERSION=3\nformat=bytevalue\ntype=hash\nHEADER=END\n {key}\n {value}\nDATA=END\n");
        return feed(Command::new("db_load").arg(&bdb), dump.as_bytes());
    }
    ndb(&["usr/lib/sysimage/rpm", "var/lib/rpm"].map(|dir| root.join(dir)), &header)
}

fn feed(command: &mut Command, input: &[u8]) -> std::io::Result<()> {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?;
    child.stdin.take().expect("it is a pipe").write_all(input)?;
    let done = child.wait_with_output()?;
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    if done.status.success() && said.is_empty() { Ok(()) } else { Err(std::io::Error::other(said)) }
}

/// `lib/backend/ndb/rpmpkg.c` tells its form; no rpm of Debian writes one.
fn ndb(dirs: &[PathBuf], header: &[u8]) -> std::io::Result<()> {
    let dir = dirs.iter().find(|dir| dir.exists()).unwrap_or(&dirs[dirs.len() - 1]);
    let path = dir.join("Packages.db");
    fs::create_dir_all(dir)?;
    let number = |n: usize| u32::try_from(n).expect("small").to_le_bytes();
    let mut file = fs::read(&path).unwrap_or_else(|_| {
        let mut file = [b"RpmP".as_slice(), &[0; 8], &number(1), &[0; 16]].concat();
        file.resize(4096, 0);
        file[32..].chunks_exact_mut(16).for_each(|slot| slot[..4].copy_from_slice(b"Slot"));
        file
    });
    let slot = (32..4096).step_by(16).find(|slot| file[slot + 8..slot + 12] == [0; 4]).expect("a free slot");
    let (index, block) = (slot / 16, file.len() / 16);
    file[slot + 4..slot + 8].copy_from_slice(&number(index));
    file[slot + 8..slot + 12].copy_from_slice(&number(block));
    file.extend([b"BlbS".as_slice(), &number(index), &[0; 4], &number(header.len())].concat());
    file.extend(header);
    let end = (file.len() + 12).next_multiple_of(16) - 12;
    file.resize(end, 0);
    let start = block * 16;
    // Adler-32.
    let sums = file[start..].iter().fold((1, 0), |(a, b): (usize, usize), byte| {
        let a = (a + usize::from(*byte)) % 65521;
        (a, (a + b) % 65521)
    });
    file.extend([number(sums.1 << 16 | sums.0), number(header.len()), *b"BlbE"].concat());
    fs::write(path, file)
}

fn header(root: &Path, name: &str, version: &str, body: &str) -> std::io::Result<Vec<u8>> {
    let (version, release) = version.split_once('-').unwrap_or((version, "1"));
    let (mut bases, mut dirs, mut digests, mut links, mut owners) = (vec![], vec![], vec![], vec![], vec![]);
    let mut groups = vec![];
    let (mut modes, mut sizes, mut flags, mut indexes, mut mtimes) = (vec![], vec![], vec![], vec![], vec![]);
    let (users_file, groups_file) =
        (fs::read_to_string(root.join("etc/passwd"))?, fs::read_to_string(root.join("etc/group"))?);
    for (at, (flag, path)) in entries(body).enumerate() {
        let real = super::inside(root, path);
        let found = fs::symlink_metadata(&real);
        let (dir, base) = path.rsplit_once('/').expect("an absolute path");
        dirs.push(format!("{dir}/"));
        bases.push(base.to_owned());
        indexes.extend(u32::try_from(at).expect("small").to_be_bytes());
        let mode = found.as_ref().map_or(0o100_644, |found| found.mode());
        modes.extend(u16::try_from(mode & 0xffff).expect("16 bits").to_be_bytes());
        let size = found.as_ref().map_or(0, |found| found.len());
        sizes.extend(u32::try_from(size).expect("small").to_be_bytes());
        mtimes.extend(u32::try_from(found.as_ref().map_or(0, |found| found.mtime())).expect("now").to_be_bytes());
        owners.push(named(&users_file, found.as_ref().map_or(0, |found| found.uid())));
        groups.push(named(&groups_file, found.as_ref().map_or(0, |found| found.gid())));
        let is_file = found.is_ok_and(|found| found.is_file());
        digests.push(if is_file { hex(&sha2::Sha256::digest(fs::read(&real)?)) } else { String::new() });
        links.push(fs::read_link(&real).map_or_else(|_| String::new(), |text| text.display().to_string()));
        let flag: u32 = match flag {
            "%config" => 1,
            "%doc" => 2,
            "%ghost" => 64,
            _ => 0,
        };
        flags.extend(flag.to_be_bytes());
    }
    let text = |list: &[String]| list.iter().flat_map(|text| [text.as_bytes(), b"\0"].concat()).collect::<Vec<u8>>();
    let count = bases.len();
    // Tag, type, count, values: `include/rpm/rpmtag.h`.
    let tags = [
        (1000, 6, 1, text(&[name.to_owned()])),
        (1001, 6, 1, text(&[version.to_owned()])),
        (1002, 6, 1, text(&[release.to_owned()])),
        (1022, 6, 1, text(&["x86_64".to_owned()])),
        (1028, 4, count, sizes),
        (1030, 3, count, modes),
        (1034, 4, count, mtimes),
        (1035, 8, count, text(&digests)),
        (1036, 8, count, text(&links)),
        (1037, 4, count, flags),
        (1039, 8, count, text(&owners)),
        (1040, 8, count, text(&groups)),
        (1116, 4, count, indexes),
        (1117, 8, count, text(&bases)),
        (1118, 8, count, text(&dirs)),
    ];
    let be = |n: usize| u32::try_from(n).expect("small").to_be_bytes();
    let (mut index, mut store): (Vec<u8>, Vec<u8>) = (Vec::new(), Vec::new());
    for (tag, kind, count, values) in tags.iter().filter(|(_, _, count, _)| *count > 0) {
        let width = match kind {
            3 => 2,
            4 => 4,
            _ => 1,
        };
        store.resize(store.len().next_multiple_of(width), 0);
        index.extend([be(*tag), be(*kind), be(store.len()), be(*count)].concat());
        store.extend(values);
    }
    Ok([be(index.len() / 16).as_slice(), &be(store.len()), &index, &store].concat())
}

/// The name that a line of passwd or group gives to `number`.
fn named(file: &str, number: u32) -> String {
    let number = number.to_string();
    let line = file.lines().find(|line| line.split(':').nth(2) == Some(&number));
    line.and_then(|line| line.split(':').next()).unwrap_or("root").to_owned()
}

/// A `.deb` at `path` of this machine's tree with the files as they are, made as deb(5) describes it.
pub fn deb(root: &Path, path: &Path, name: &str, version: &str, body: &str) -> std::io::Result<()> {
    let tar = |files: &[(String, Vec<u8>, u32)]| -> std::io::Result<Vec<u8>> {
        let mut archive = tar::Builder::new(Vec::new());
        for (name, content, mode) in files {
            let mut header = tar::Header::new_gnu();
            header.set_size(content.len() as u64);
            header.set_mode(*mode);
            header.set_username("root")?;
            header.set_groupname("root")?;
            header.set_cksum();
            archive.append_data(&mut header, name, content.as_slice())?;
        }
        archive.into_inner()
    };
    let control = format!("Package: {name}\nVersion: {version}\nArchitecture: amd64\n");
    let control = tar(&[("control".to_owned(), control.into_bytes(), 0o644)])?;
    let mut files = Vec::new();
    for (_, path) in entries(body) {
        let real = super::inside(root, path);
        let mode = fs::metadata(&real)?.mode() & 0o7777;
        files.push((path.trim_start_matches('/').to_owned(), fs::read(&real)?, mode));
    }
    let mut bytes = b"!<arch>\n".to_vec();
    let members = [("debian-binary", b"2.0\n".to_vec()), ("control.tar", control), ("data.tar", tar(&files)?)];
    for (name, content) in members {
        bytes.extend(format!("{name:<16}{:<12}{:<6}{:<6}{:<8}{:<10}`\n", 0, 0, 0, 100_644, content.len()).bytes());
        bytes.extend(&content);
        if content.len() % 2 == 1 {
            bytes.push(b'\n');
        }
    }
    fs::create_dir_all(path.parent().expect("a directory"))?;
    fs::write(path, bytes)
}
