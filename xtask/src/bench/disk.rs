//! The disk of the lab: cold, its packaged files, and an initramfs larger than its own.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::cost::{self, Cost, median};
use crate::lab::disk::{BASE, Copy, output, succeed};

/// `check` of a disk that is not in the page cache, against attaching it, mounting it and reading the same bytes.
pub(super) fn cold(sickbay: &Path, runs: usize) -> Result<(), String> {
    let image = image()?;
    let list = tempfile::NamedTempFile::new().map_err(|error| error.to_string())?;
    let files = files_read(sickbay, &image)?;
    let text: String = files.iter().map(|(path, bytes)| format!("{bytes} {path}\n")).collect();
    fs::write(list.path(), text).map_err(|error| error.to_string())?;
    let this = std::env::current_exe().map_err(|error| error.to_string())?;
    let script = format!("cd \"$R\"\n{} bench --read {}\ncd /", this.display(), list.path().display());
    let mut ours = Vec::new();
    let mut theirs = Vec::new();
    for _ in 0..runs {
        uncache(&image)?;
        ours.push(Cost::of(Command::new(sickbay).arg("check").arg(&image))?);
        uncache(&image)?;
        let (mut by_hand, _place) = BASE.reader(&image, &script)?;
        theirs.push(Cost::of(&mut by_hand)?);
    }
    let bytes: u64 = files.values().sum();
    println!("a cold disk, {} files, {} KiB of them read", files.len(), bytes / 1024);
    let (ours, theirs) = (median(&ours), median(&theirs));
    cost::compare("sickbay check DISK", ours, "attach, mount, read by hand", theirs, |cost| cost.wall, 1.5);
    println!("  peak memory {:.1} MiB (at most 64)\n", ours.peak as f64 / 1024.0);
    Ok(())
}

/// Every packaged file of the disk: looked at, and read against md5sum on as many cores. All of it is in the page cache.
pub(super) fn packages(sickbay: &Path) -> Result<(), String> {
    let image = image()?;
    let check = |options: &[&str]| {
        let mut command = Command::new(sickbay);
        command.arg("check").arg(&image).args(options);
        Cost::of(&mut command)
    };
    let by_hand = r#"cd "$R"
cat var/lib/dpkg/info/*.md5sums | cut -c35- | tr '\n' '\0' |
    xargs -0 -P "$(nproc)" -n 200 md5sum >/dev/null 2>&1 || true
cd /"#;
    let (mut looks, mut ours, mut theirs) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..4 {
        looks.push(check(&["--only", "package-file-missing", "--only", "package-file-empty"])?);
        let (mut command, _place) = BASE.reader(&image, by_hand)?;
        theirs.push(Cost::of(&mut command)?);
        ours.push(check(&["--digests", "--only", "package-file-altered"])?);
    }
    // The first round was for the page cache.
    let warm = |costs: &[Cost]| median(costs.get(1..).unwrap_or_default());
    println!("packaged files of the disk");
    println!("  looked at: wall {:.1} ms (at most 300)", cost::ms(warm(&looks).wall));
    cost::compare("sickbay check --digests", warm(&ours), "md5sum on all cores", warm(&theirs), |cost| cost.wall, 1.3);
    println!();
    Ok(())
}

/// An initramfs of 60 MB, opened to see which drivers it has, against `lsinitramfs` of the same.
pub(super) fn initramfs(sickbay: &Path, runs: usize) -> Result<(), String> {
    for (compressor, megabytes) in [("zstd -3", 190), ("gzip -1", 160)] {
        let copy = Copy::of(&image()?, "bench-initramfs")?;
        // What it has already, and as many of the system's own programs and libraries as make it so large.
        let script = format!(
            r#"newest=$(ls "$R"/boot/initrd.img-* | sort -V | tail -n 1)
mkdir "$R/big"
chroot "$R" unmkinitramfs "/boot/${{newest##*/}}" /big
cd "$R"
(find usr/bin usr/lib -xdev -type f -size +4k | sort | cpio --quiet -o -H newc | head -c {megabytes}M) >"$R/root/more"
cd "$R/big"
[ ! -d main ] || cd main
mv "$R/root/more" more
(find . | cpio --quiet -o -H newc | {compressor}) >"$R/root/big"
cd /
rm -r "$R/big"
mv "$R/root/big" "$newest"
stat -c %s "$newest""#
        );
        let size = BASE.change(&copy.path, &script)?;
        let size = size.trim().parse::<f64>().unwrap_or_default() / 1e6;
        let list = "chroot \"$R\" sh -c 'lsinitramfs $(ls /boot/initrd.img-* | sort -V | tail -n 1)' >/dev/null";
        let open = format!("{} check --only initramfs-lacks-drivers \"$R\" >/dev/null", sickbay.display());
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for _ in 0..runs {
            for (script, costs) in [(open.as_str(), &mut ours), (list, &mut theirs)] {
                let (mut command, _place) = BASE.reader(&copy.path, script)?;
                costs.push(Cost::of(&mut command)?);
            }
        }
        println!("an initramfs of {size:.0} MB, by {compressor}");
        cost::compare("sickbay check", median(&ours), "lsinitramfs", median(&theirs), |cost| cost.wall, 1.0);
    }
    println!();
    Ok(())
}

fn image() -> Result<PathBuf, String> {
    fs::canonicalize(BASE.healthy()?).map_err(|error| error.to_string())
}

/// Which files of the disk a look reads and how many bytes of each, as strace sees it: those of the root by their path in
/// it, without a slash before, and the image itself.
fn files_read(sickbay: &Path, image: &Path) -> Result<BTreeMap<String, u64>, String> {
    let log = tempfile::NamedTempFile::new().map_err(|error| error.to_string())?;
    let mut strace = Command::new("strace");
    strace.args(["-f", "-y", "-s", "0", "-e", "trace=read,pread64", "-o"]).arg(log.path());
    output(strace.arg(sickbay).arg("check").arg(image))?;
    let text = fs::read_to_string(log.path()).map_err(|error| error.to_string())?;
    let mut files = BTreeMap::new();
    for line in text.lines() {
        // 123 read(7</run/etc/fstab>, ""..., 65536) = 113, where /run is the place of the private mount.
        let Some((_, rest)) = line.split_once("read(").or_else(|| line.split_once("pread64(")) else { continue };
        let Some((descriptor, tail)) = rest.split_once(">, ") else { continue };
        let Some((_, path)) = descriptor.split_once('<') else { continue };
        let Some(bytes) = tail.rsplit_once("= ").and_then(|(_, bytes)| bytes.trim().parse::<u64>().ok()) else {
            continue;
        };
        let name = match path.strip_prefix("/run/") {
            Some(inside) => inside,
            None if Path::new(path) == image => path,
            // This machine's own: /proc, /sys, the program's libraries.
            None => continue,
        };
        *files.entry(name.to_owned()).or_insert(0) += bytes;
    }
    if files.len() < 10 {
        return Err(format!("strace saw only {} files read: is it installed?", files.len()));
    }
    Ok(files)
}

/// Reads so many bytes of each file as the list says; what is not there is passed over.
pub(super) fn read(list: &Path) -> Result<(), String> {
    let text = fs::read_to_string(list).map_err(|error| error.to_string())?;
    let mut buffer = Vec::new();
    for line in text.lines() {
        let Some((bytes, path)) = line.split_once(' ') else { continue };
        let Ok(file) = fs::File::open(path) else { continue };
        buffer.clear();
        file.take(bytes.parse().unwrap_or(0)).read_to_end(&mut buffer).map_err(|error| format!("{path}: {error}"))?;
    }
    Ok(())
}

/// Drops a file's pages from the cache.
fn uncache(path: &Path) -> Result<(), String> {
    let mut dd = Command::new("dd");
    dd.arg(format!("if={}", path.display())).args(["iflag=nocache", "count=0", "status=none"]);
    succeed(&mut dd).map(drop)
}
