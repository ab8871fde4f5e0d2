//! Small disks with what a boot loader leaves on them. The images of GRUB are made up: only their fields and the words
//! that they are known by are real.

use std::fs::{self, File};
use std::io::{Cursor, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{Command, Stdio};

use sickbay_formats::boot_sector::{self, CODE, SECTOR};
use sickbay_formats::grub_core::Core;
use sickbay_formats::grub_legacy_stage::stage1_5_sectors;
use sickbay_target::{Table, Volume};

use super::grub;

/// All of them are this long.
const SIZE: u64 = 48 << 20;
const BIOS_BOOT: &str = "21686148-6449-6e6f-744e-656564454649";

/// Makes a disk with a table, and gives the volumes of its partitions their places.
pub fn make(table: &str, volumes: &mut Vec<Volume>) -> Result<tempfile::NamedTempFile, String> {
    let io = |error: std::io::Error| error.to_string();
    let image = tempfile::Builder::new().prefix("disk").suffix(".img").tempfile().map_err(io)?;
    image.as_file().set_len(SIZE).map_err(io)?;
    // Without the second word it has the machine write all of its file systems to their disks.
    let mut sfdisk = Command::new("sfdisk");
    sfdisk.args(["--quiet", "--no-tell-kernel"]).arg(image.path());
    let mut sfdisk = sfdisk.stdin(Stdio::piped()).spawn().map_err(io)?;
    sfdisk.stdin.take().ok_or("no input")?.write_all(table.as_bytes()).map_err(io)?;
    if !sfdisk.wait().map_err(io)?.success() {
        return Err(format!("sfdisk does not take {table}"));
    }
    let dump = Command::new("sfdisk").arg("--dump").arg(image.path()).output().map_err(io)?;
    let dump = String::from_utf8_lossy(&dump.stdout).into_owned();
    let table = if dump.contains("label: gpt") { Table::Gpt } else { Table::Mbr };
    let lines = dump.lines().filter(|line| line.contains("start="));
    let prefix = image.path().display().to_string();
    for line in lines {
        let number = line
            .strip_prefix(&prefix)
            .and_then(|rest| rest.split_whitespace().next()?.trim_end_matches(':').parse().ok());
        let number: u32 = number.ok_or_else(|| format!("a line without a number: {line}"))?;
        let value = |key: &str| {
            let rest = line.split(key).nth(1)?;
            rest.split(',').next().map(|value| value.trim().to_lowercase())
        };
        let bytes = |key: &str| value(key).and_then(|sectors| sectors.parse::<u64>().ok()).unwrap_or(0) * SECTOR as u64;
        let known = volumes.iter().position(|volume| volume.partition == Some(number) && volume.disk == 0);
        let index = known.unwrap_or_else(|| {
            volumes.push(Volume { name: format!("partition {number}"), partition: Some(number), ..Volume::default() });
            volumes.len() - 1
        });
        let volume = &mut volumes[index];
        (volume.start, volume.size, volume.table) = (bytes("start="), bytes("size="), Some(table));
        volume.parttype = value("type=").map(|kind| if table == Table::Mbr { format!("0x{kind}") } else { kind });
    }
    Ok(image)
}

/// Writes to the disk what a directive says.
pub fn perform(image: &Path, volumes: &[Volume], verb: &str, words: &[&str], body: &str) -> Result<(), String> {
    let file = File::options().read(true).write(true).open(image).map_err(|error| error.to_string())?;
    let put = |at: u64, bytes: &[u8]| file.write_all_at(bytes, at).map_err(|error| error.to_string());
    let number = |word: Option<&&str>| word.and_then(|word| word.parse::<u64>().ok());
    let start = |word: Option<&&str>| match number(word) {
        Some(number) => volumes
            .iter()
            .find(|v| v.partition.map(u64::from) == Some(number))
            .map(|v| v.start)
            .ok_or("no such partition"),
        None => Ok(0),
    };
    let area = volumes
        .iter()
        .find(|volume| volume.parttype.as_deref() == Some(BIOS_BOOT))
        .map_or(1, |volume| volume.start / SECTOR as u64);
    match verb {
        "disk-zero" => {
            let (at, length) = (number(words.first()).ok_or("FROM")?, number(words.get(1)).ok_or("LENGTH")?);
            put(at, &vec![0; usize::try_from(length).map_err(|error| error.to_string())?])
        }
        "disk-bytes" => {
            let hex: String = words.get(1..).unwrap_or_default().concat();
            let bytes: Vec<u8> = hex
                .as_bytes()
                .chunks(2)
                .filter_map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok())
                .collect();
            put(number(words.first()).ok_or("FROM")?, &bytes)
        }
        "disk-code" => {
            let at = match words.get(1).and_then(|word| word.strip_prefix("sector=")) {
                Some(sector) => sector.parse::<u64>().map_err(|error| error.to_string())? * SECTOR as u64,
                None => start(words.get(1))?,
            };
            let mut mbr = vec![0; SECTOR];
            file.read_exact_at(&mut mbr, at).map_err(|error| error.to_string())?;
            let code = match words.first().copied() {
                Some("grub2") => boot_sector::grub2_code(&boot_img(), &mbr, area).ok_or("no code")?,
                Some("legacy") => with(&stage1(), &[(0x44, &[1])]),
                Some("generic") => {
                    with(&[0; SECTOR], &[(0, b"\xFA\xB8\x00\x10\x8E\xD0"), (30, b"\xBE\xBE\x07\x38\x04\x75\x0B")])
                }
                Some("other") => (0..=255).cycle().take(SECTOR).collect(),
                other => return Err(format!("no code {other:?}")),
            };
            put(at, &code[..CODE])
        }
        "disk-core" => {
            let image = if words.is_empty() { core_img() } else { grub::core(&core_img(), words)? };
            let core = Core::of_file(&image).ok_or("no core image")?;
            put(area * SECTOR as u64, &core.embedded(area, 40).ok_or("no room")?)
        }
        "disk-stage1_5" => {
            let names = ("/boot/grub/stage2", "/boot/grub/menu.lst");
            put(SECTOR as u64, &stage1_5_sectors(&stage1_5(), 0, names.0, names.1).ok_or("no stage 1.5")?)
        }
        "disk-esp" => {
            let at = start(words.first())?;
            let mut fat = Cursor::new(vec![0; 4 << 20]);
            let options = fatfs::FormatVolumeOptions::new();
            fatfs::format_volume(&mut fat, options).map_err(|error| error.to_string())?;
            fill(&mut fat, body).map_err(|error| error.to_string())?;
            put(at, fat.get_ref())
        }
        "disk-esp-file" => {
            let mut bytes = vec![0; 4 << 20];
            let at = start(words.first())?;
            file.read_exact_at(&mut bytes, at).map_err(|error| error.to_string())?;
            let mut fat = Cursor::new(bytes);
            let fill = |fat| -> std::io::Result<()> {
                let fat = fatfs::FileSystem::new(fat, fatfs::FsOptions::new())?;
                enter(&fat, words.get(1).unwrap_or(&"a"), body.as_bytes())?;
                fat.unmount()
            };
            fill(&mut fat).map_err(|error| error.to_string())?;
            put(at, fat.get_ref())
        }
        other => Err(format!("no directive {other}")),
    }
}

fn fill(fat: &mut (impl Read + Write + Seek), body: &str) -> std::io::Result<()> {
    fat.seek(SeekFrom::Start(0))?;
    let fat = fatfs::FileSystem::new(fat, fatfs::FsOptions::new())?;
    for line in body.lines().filter(|line| !line.trim().is_empty()) {
        let (path, content) = match (line.strip_suffix('!'), line.split_once(" prefix=")) {
            (Some(path), _) => (path, b"\0\0".to_vec()),
            (None, Some((path, prefix))) => (path, grub_efi(prefix)),
            (None, None) => (line, b"MZ program of UEFI".to_vec()),
        };
        enter(&fat, path, &[&content, path.as_bytes()].concat())?;
    }
    fat.unmount()
}

fn enter<T: Read + Write + Seek>(fat: &fatfs::FileSystem<T>, path: &str, content: &[u8]) -> std::io::Result<()> {
    let mut dir = fat.root_dir();
    let (parents, name) = path.rsplit_once('/').unwrap_or(("", path));
    for part in parents.split('/').filter(|part| !part.is_empty()) {
        dir = dir.create_dir(part)?;
    }
    dir.create_file(name)?.write_all(content)
}

/// GRUB as a program of UEFI: a section `mods` with the prefix that it was told, and nothing else.
fn grub_efi(prefix: &str) -> Vec<u8> {
    let length = u32::try_from(prefix.len() + 9).expect("a short prefix");
    let object = [&3_u32.to_le_bytes()[..], &length.to_le_bytes(), prefix.as_bytes(), b"\0"].concat();
    let size = u64::try_from(object.len() + 24).expect("a short object");
    let mods = [b"mimg\0\0\0\0", &24_u64.to_le_bytes()[..], &size.to_le_bytes(), &object].concat();
    let parts: [(usize, &[u8]); 8] = [
        (0, b"MZ"),
        (0x3C, &[0x80]),
        (0x80, b"PE\0\0\x64\x86\x01"),
        // The optional header has but its magic number.
        (0x94, &[2]),
        (0x98, &[0x0B, 2]),
        (0x9A, b"mods"),
        (0xAA, &u32::try_from(mods.len()).expect("a short section").to_le_bytes()),
        (0xAE, &SECTOR_OF_MODS.to_le_bytes()),
    ];
    [with(&[0; SECTOR_OF_MODS as usize], &parts), mods].concat()
}

const SECTOR_OF_MODS: u32 = 0x200;

/// Writes files of GRUB under a root.
pub fn grub_files(root: &Path, verb: &str, words: &[&str]) -> Result<(), String> {
    let put = |path: String, bytes: &[u8]| -> Result<(), String> {
        let path = root.join(path);
        path.parent().map_or(Ok(()), fs::create_dir_all).map_err(|error| error.to_string())?;
        fs::write(path, bytes).map_err(|error| error.to_string())
    };
    if verb == "grub-legacy" {
        put("boot/grub/stage1".into(), &stage1())?;
        if words == ["e2fs"] {
            put("boot/grub/e2fs_stage1_5".into(), &stage1_5())?;
        }
        put("boot/grub/stage2".into(), &[7; 5000])?;
        return put(
            "boot/grub/menu.lst".into(),
            b"default 0\ntitle Linux\n\troot (hd0,0)\n\tkernel /boot/vmlinuz ro\n",
        );
    }
    if let ("grub-efi", [path, prefix]) = (verb, words) {
        return put(path.trim_start_matches('/').to_owned(), &grub_efi(prefix));
    }
    match (verb, words) {
        ("grub-core", [path, words @ ..]) => {
            return put(path.trim_start_matches('/').to_owned(), &grub::core(&core_img(), words)?);
        }
        ("grub-module", [path, words @ ..]) => {
            return put(path.trim_start_matches('/').to_owned(), &grub::module(words));
        }
        _ => {}
    }
    let [dir] = words else { return Err("grub-bios DIR".to_owned()) };
    let image = core_img();
    let module = b"\x7FELF module";
    let files: [(&str, &[u8]); 10] = [
        ("boot.img", &boot_img()),
        ("normal.mod", module),
        ("linux.mod", module),
        ("terminal.mod", module),
        ("ext2.mod", module),
        ("boot.mod", module),
        ("moddep.lst", b"normal: terminal\nlinux: boot normal\next2:\nboot:\nterminal:\n"),
        ("command.lst", b"*menuentry: normal\nlinux: linux\n"),
        ("diskboot.img", &image[..SECTOR]),
        ("lzma_decompress.img", &image[SECTOR..SECTOR + DECOMPRESSOR]),
    ];
    for (index, (name, bytes)) in files.into_iter().enumerate() {
        put(format!("usr/lib/grub/i386-pc/{name}"), bytes)?;
        if index < 8 {
            put(format!("boot/{dir}/i386-pc/{name}"), bytes)?;
        }
    }
    put(format!("boot/{dir}/i386-pc/core.img"), &image)
}

fn with(base: &[u8], parts: &[(usize, &[u8])]) -> Vec<u8> {
    let mut bytes = base.to_vec();
    for (at, part) in parts {
        bytes[*at..at + part.len()].copy_from_slice(part);
    }
    bytes
}

fn boot_img() -> Vec<u8> {
    with(
        &[0; SECTOR],
        &[
            (0, &[0xEB, 0x63, 0x90]),
            (0x5C, &[1]),
            (0x64, &[0xFF]),
            (0x66, &[0xEB, 5]),
            (0x180, b"GRUB \0Geom\0Hard Disk\0Read\0 Error"),
        ],
    )
}

fn stage1() -> Vec<u8> {
    with(
        &[0; SECTOR],
        &[(0, &[0xEB, 0x48, 0x90]), (0x3E, &[3, 2, 0xFF]), (0x180, b"GRUB \0Geom\0Hard Disk\0Read\0 Error")],
    )
}

fn stage1_5() -> Vec<u8> {
    let parts: [(usize, &[u8]); 4] = [
        (0, &[0; 2 * SECTOR]),
        (0x120, b"Loading stage1.5\0Geom\0Read\0 Error"),
        (0x206, &[3, 2]),
        (0x212, b"0.97\0\xFF\xFF\xFF\xFF/boot/grub/stage2"),
    ];
    with(&[7; 9460], &parts)
}

pub const DECOMPRESSOR: usize = 2848;

/// A core.img of 20 sectors.
fn core_img() -> Vec<u8> {
    let size = 20 * SECTOR - 100;
    let noise: Vec<u8> = (0..size).map(|n| (n * n % 251) as u8).collect();
    let compressed = u32::try_from(size - SECTOR - DECOMPRESSOR).unwrap_or(0).to_le_bytes();
    let parts: [(usize, &[u8]); 7] = [
        (0, &[0; SECTOR]),
        (0x120, b"Geom\0Read\0 Error"),
        (0x1F4, &[2, 0, 0, 0, 0, 0, 0, 0, 19, 0, 0x20, 8]),
        (0x208, &compressed),
        (0x20C, &[0, 0xB0, 0, 0]),
        (0x210, &[0; 4]),
        (0x214, &[0x5B, 7, 0, 0, 0xFF, 0xFF, 0xFF, 0]),
    ];
    with(&noise, &parts)
}
