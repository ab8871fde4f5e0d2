//! The directives of a story that make and change the tree of a system: see [`super::story`].

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, lchown, symlink};
use std::path::{Path, PathBuf};

use super::{boot, elf, initramfs, packages};

/// Does what a directive says to the tree below `root`.
pub fn perform(root: &Path, words: &[&str], body: &str) -> Result<(), String> {
    let [verb, target, rest @ ..] = words else { return Err("too few words".to_owned()) };
    if let ["dpkg" | "rpm" | "rpm-beside", name, version] = words {
        let enter = if *verb == "dpkg" { packages::dpkg } else { packages::rpm };
        return enter(root, name, version, body).map_err(|error| error.to_string());
    }
    if let ["at", time] = words {
        let groups = root.join("sys/fs/cgroup");
        if groups.is_dir() {
            let beside = root.join(format!("sys@{time}/fs"));
            let made = fs::create_dir_all(&beside).and_then(|()| copied(&groups, &beside.join("cgroup")));
            made.map_err(|error| error.to_string())?;
        }
        return copied(&root.join("proc"), &root.join(format!("proc@{time}"))).map_err(|error| error.to_string());
    }
    // A link to /lib in a tree must not lead to the /lib of the machine that runs the tests.
    let follow = matches!(
        *verb,
        "append"
            | "text"
            | "prepend"
            | "replace"
            | "dir"
            | "mode"
            | "modes"
            | "cut"
            | "zeros"
            | "label"
            | "damage"
            | "time"
    );
    let path = resolved(root, target, follow)?;
    if matches!(*verb, "file" | "crlf" | "empty" | "hole" | "elf" | "kernel" | "initramfs") && path.is_symlink() {
        fs::remove_file(&path).map_err(|error| error.to_string())?;
    }
    let known = make(root, &path, verb, rest, body)? || edit(&path, verb, rest, body)? || mark(&path, verb, rest)?;
    if !known {
        return Err(format!("no directive {verb}"));
    }
    if matches!(*verb, "file" | "append") && path.ends_with("modules.dep") {
        modules(&path, body).map_err(io)?;
    }
    Ok(())
}

fn io(error: std::io::Error) -> String {
    error.to_string()
}

/// Files, directories, links and what else is there from then on. `false` where the directive is another.
fn make(root: &Path, path: &Path, verb: &str, rest: &[&str], body: &str) -> Result<bool, String> {
    match verb {
        "file" => write(path, body.as_bytes(), rest)?,
        "crlf" => write(path, body.replace('\n', "\r\n").as_bytes(), rest)?,
        "empty" => write(path, b"", rest)?,
        "dir" => {
            fs::create_dir_all(path).map_err(io)?;
            attributes(path, 0o755, rest)?;
        }
        "link" => {
            let [arrow, text] = rest else { return Err("link PATH -> TARGET".to_owned()) };
            assert_eq!(*arrow, "->");
            parent(path)?;
            let _ = fs::remove_file(path);
            symlink(text, path).map_err(io)?;
        }
        "fifo" => {
            parent(path)?;
            let _ = fs::remove_file(path);
            rustix::fs::mknodat(
                rustix::fs::CWD,
                path,
                rustix::fs::FileType::Fifo,
                rustix::fs::Mode::from_raw_mode(0o644),
                0,
            )
            .map_err(|error| error.to_string())?;
        }
        "repeat" => {
            let count: usize = rest.first().and_then(|count| count.parse().ok()).ok_or("repeat PATH COUNT")?;
            write(path, body.repeat(count).as_bytes(), &[])?;
        }
        "hole" => {
            let size: u64 = rest.first().and_then(|size| size.parse().ok()).ok_or("hole PATH SIZE")?;
            write(path, b"", &[])?;
            fs::OpenOptions::new().write(true).open(path).and_then(|file| file.set_len(size)).map_err(io)?;
        }
        "kernel" => write(path, &boot::kernel(), &[])?,
        "elf" => {
            let value = |key: &str| rest.iter().find_map(|word| word.strip_prefix(key));
            let needs: Vec<&str> = value("needs=").map(|list| list.split(',').collect()).unwrap_or_default();
            let plain: Vec<&str> = rest.iter().copied().filter(|word| !word.contains('=')).collect();
            let mode = if plain.is_empty() { vec!["0755"] } else { plain };
            let list = |key| value(key).into_iter().flat_map(|list: &str| list.split(','));
            let mut bytes = elf::build(&elf::Parts {
                interpreter: value("interp="),
                needed: needs,
                soname: value("soname="),
                runpath: value("runpath="),
                asks: list("asks=").filter_map(|pair| pair.split_once(':')).collect(),
                has: list("has=").collect(),
            });
            if let Some(machine) = value("machine=").and_then(|number| number.parse::<u16>().ok()) {
                bytes[18..20].copy_from_slice(&machine.to_le_bytes());
            }
            write(path, &bytes, &mode)?;
        }
        "initramfs" => {
            let [version, keys @ ..] = rest else { return Err("initramfs PATH VERSION".to_owned()) };
            let modules = keys.iter().find_map(|key| key.strip_prefix("modules=")).unwrap_or_default();
            let modules: Vec<&str> = modules.split(',').filter(|module| !module.is_empty()).collect();
            write(path, &initramfs::build(version, &modules, !keys.contains(&"without-init")), &[])?;
        }
        "deb" => {
            let [name, version] = rest else { return Err("deb PATH NAME VERSION".to_owned()) };
            packages::deb(root, path, name, version, body).map_err(io)?;
        }
        _ => return Ok(false),
    }
    Ok(true)
}

/// Contents. `false` where the directive is another.
fn edit(path: &Path, verb: &str, rest: &[&str], body: &str) -> Result<bool, String> {
    match verb {
        "append" => {
            let old = fs::read(path).map_err(io)?;
            fs::write(path, [old.as_slice(), body.as_bytes()].concat()).map_err(io)?;
        }
        "text" => {
            let old = fs::read(path).map_err(io)?;
            let words: String = body.split_whitespace().flat_map(|word| ["\0", word, "\0"]).collect();
            fs::write(path, [old.as_slice(), words.as_bytes()].concat()).map_err(io)?;
        }
        "prepend" => {
            let old = fs::read(path).map_err(io)?;
            fs::write(path, [body.as_bytes(), old.as_slice()].concat()).map_err(io)?;
        }
        "replace" => {
            let (old, new) = body.split_once('\n').ok_or("a body of two lines is needed")?;
            let text = fs::read_to_string(path).map_err(io)?;
            if !text.contains(old) {
                return Err(format!("{} does not contain {old:?}", path.display()));
            }
            fs::write(path, text.replace(old, new.trim_end_matches('\n'))).map_err(io)?;
        }
        "damage" => {
            let times = fs::metadata(path).map_err(io)?.modified().map_err(io)?;
            let mut bytes = fs::read(path).map_err(io)?;
            *bytes.last_mut().ok_or("nothing to damage")? ^= 1;
            fs::write(path, bytes).map_err(io)?;
            fs::File::options().write(true).open(path).and_then(|file| file.set_modified(times)).map_err(io)?;
        }
        "cut" => {
            let size: u64 = rest.first().and_then(|size| size.parse().ok()).ok_or("cut PATH SIZE")?;
            fs::OpenOptions::new().write(true).open(path).and_then(|file| file.set_len(size)).map_err(io)?;
        }
        "zeros" => {
            let number = |at: usize| rest.get(at).and_then(|number| number.parse::<usize>().ok());
            let (from, count) = number(0).zip(number(1)).ok_or("zeros PATH FROM COUNT")?;
            let mut bytes = fs::read(path).map_err(io)?;
            bytes.get_mut(from..from + count).ok_or("the file is shorter")?.fill(0);
            fs::write(path, bytes).map_err(io)?;
        }
        "remove" => {
            let metadata = fs::symlink_metadata(path).map_err(io)?;
            if metadata.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) }.map_err(io)?;
        }
        _ => return Ok(false),
    }
    Ok(true)
}

/// Owners, modes, times, labels and flags. `false` where the directive is another.
fn mark(path: &Path, verb: &str, rest: &[&str]) -> Result<bool, String> {
    match verb {
        "time" => {
            let seconds = rest.first().and_then(|number| number.parse().ok()).ok_or("time PATH SECONDS")?;
            let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(seconds);
            fs::File::options().write(true).open(path).and_then(|file| file.set_modified(time)).map_err(io)?;
        }
        "label" => {
            let label = format!("system_u:object_r:{}:s0\0", rest.first().ok_or("label PATH TYPE")?);
            rustix::fs::lsetxattr(path, "security.selinux", label.as_bytes(), rustix::fs::XattrFlags::empty())
                .map_err(|error| error.to_string())?;
        }
        "shift" => {
            let offset: u32 = rest.first().and_then(|number| number.parse().ok()).ok_or("shift / OFFSET")?;
            owners(path, &|uid, gid| (uid + offset, gid + offset)).map_err(io)?;
        }
        "owners" => {
            let ids = rest.first().and_then(|ids| ids.split_once(':')).ok_or("owners PATH UID:GID")?;
            let (uid, gid) = ids.0.parse().ok().zip(ids.1.parse().ok()).ok_or("owners PATH UID:GID")?;
            owners(path, &|_, _| (uid, gid)).map_err(io)?;
        }
        "modes" => modes(path, octal(rest.first().ok_or("modes PATH MODE")?)?).map_err(io)?,
        "mode" | "owner" => attributes(path, 0, rest)?,
        "flags" => {
            let flags = rest.first().ok_or("no flags")?;
            let chattr =
                std::process::Command::new("chattr").arg(format!("+{flags}")).arg(path).status().map_err(io)?;
            if !chattr.success() {
                return Err("this file system has no flags of chattr".to_owned());
            }
        }
        _ => return Ok(false),
    }
    Ok(true)
}

/// Copies a directory with its files and links.
fn copied(from: &Path, to: &Path) -> std::io::Result<()> {
    fs::create_dir(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        match entry.file_type()? {
            kind if kind.is_dir() => copied(&from, &to)?,
            kind if kind.is_symlink() => symlink(fs::read_link(&from)?, &to)?,
            _ => drop(fs::copy(&from, &to)?),
        }
    }
    Ok(())
}

/// Gives everything at and below `path` other owners. The bits that chown(2) takes away stay away only where an owner changed
/// by mistake, which a shift is not.
fn owners(path: &Path, new: &dyn Fn(u32, u32) -> (u32, u32)) -> std::io::Result<()> {
    let metadata = fs::symlink_metadata(path)?;
    let (uid, gid) = new(metadata.uid(), metadata.gid());
    lchown(path, Some(uid), Some(gid))?;
    let is_shift = new(0, 0) != new(1, 1);
    if is_shift && !metadata.is_symlink() {
        fs::set_permissions(path, metadata.permissions())?;
    }
    if metadata.is_dir() {
        for entry in fs::read_dir(path)? {
            owners(&entry?.path(), new)?;
        }
    }
    Ok(())
}

/// Modules that modules.dep names are there, without content.
fn modules(list: &Path, lines: &str) -> std::io::Result<()> {
    let dir = list.parent().unwrap_or(list);
    for path in lines.lines().filter_map(|line| line.split_once(':')).map(|(name, _)| dir.join(name)) {
        fs::create_dir_all(path.parent().unwrap_or(dir))?;
        fs::OpenOptions::new().create(true).append(true).open(path)?;
    }
    Ok(())
}

/// `path` of the tree under `root`, links on the way resolved within the tree; the last one too if `follow`.
fn resolved(root: &Path, path: &str, follow: bool) -> Result<PathBuf, String> {
    let mut done = PathBuf::new();
    let mut left: Vec<String> = path.split('/').rev().filter(|part| !part.is_empty()).map(str::to_owned).collect();
    let mut links = 0;
    while let Some(part) = left.pop() {
        match part.as_str() {
            "." => continue,
            ".." => {
                done.pop();
                continue;
            }
            _ => {}
        }
        let next = root.join(&done).join(&part);
        if (follow || !left.is_empty()) && next.is_symlink() {
            links += 1;
            if links > 40 {
                return Err(format!("{path}: too many links"));
            }
            let text = fs::read_link(&next).map_err(|error| error.to_string())?;
            let text = text.to_str().ok_or("a link that is no text")?;
            if text.starts_with('/') {
                done.clear();
            }
            left.extend(text.split('/').rev().filter(|part| !part.is_empty()).map(str::to_owned));
        } else {
            done.push(&part);
        }
    }
    Ok(root.join(done))
}

fn parent(path: &Path) -> Result<(), String> {
    path.parent().map_or(Ok(()), fs::create_dir_all).map_err(|error| error.to_string())
}

fn write(path: &Path, content: &[u8], rest: &[&str]) -> Result<(), String> {
    parent(path)?;
    fs::write(path, content).map_err(|error| error.to_string())?;
    attributes(path, 0o644, rest)
}

pub fn octal(word: &str) -> Result<u32, String> {
    u32::from_str_radix(word, 8).map_err(|error| format!("{word}: {error}"))
}

/// As chmod(1) with `-R` does it: files lose their set-user-ID bits to a mode without them.
fn modes(path: &Path, mode: u32) -> std::io::Result<()> {
    let metadata = fs::symlink_metadata(path)?;
    if metadata.is_symlink() {
        return Ok(());
    }
    fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
    if metadata.is_dir() {
        for entry in fs::read_dir(path)? {
            modes(&entry?.path(), mode)?;
        }
    }
    Ok(())
}

/// Sets the mode and owner that `rest` names; the mode is `default` when it names none and `default` is not 0.
fn attributes(path: &Path, default: u32, rest: &[&str]) -> Result<(), String> {
    let mut mode = (default != 0).then_some(default);
    for word in rest {
        if let Some((uid, gid)) = word.split_once(':') {
            let number = |text: &str| text.parse::<u32>().map_err(|error| error.to_string());
            lchown(path, Some(number(uid)?), Some(number(gid)?)).map_err(io)?;
        } else {
            mode = Some(octal(word)?);
        }
    }
    match mode {
        Some(mode) => fs::set_permissions(path, fs::Permissions::from_mode(mode)).map_err(io),
        None => Ok(()),
    }
}
