//! Libraries that ld.so takes in the place of the system's own, because ld.so.conf names their directory before it.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use bstr::{BString, ByteSlice};
use object::read::ReadCache;
use sickbay_formats::elf::{Abi, Symbols, openssl_release, symbols};
use sickbay_formats::ld_so;
use sickbay_formats::sshd_config::Version;
use sickbay_target::Root;

use crate::facts::Facts;
use crate::facts::login::sshd;
use crate::facts::packages::Packages;
use crate::facts::packages::libraries::{Body, Broken, Fault, Libraries, default_dirs};

/// A library in a directory that ld.so looks into before the system's own, where one of that name is.
#[derive(Debug)]
pub(crate) struct Shadow {
    /// The file and the links that lead to it.
    pub(crate) paths: Vec<PathBuf>,
    /// What would be taken without it.
    pub(crate) right: PathBuf,
    /// The file of ld.so.conf that names its directory, and the line.
    pub(crate) conf: Option<(PathBuf, usize)>,
    /// Whether a package brought it.
    pub(crate) packaged: bool,
}

impl Shadow {
    /// Of the library at `path`, its real path.
    pub(crate) fn of(facts: &Facts, path: &Path) -> Option<Shadow> {
        let root = facts.root();
        let libraries = facts.get::<Libraries>().ok()?;
        let body = libraries.look(root, path);
        let Body::Elf(elf) = &*body else { return None };
        let dir = path.parent()?;
        if is_default(root, &libraries, dir, elf.abi) {
            return None;
        }
        let entries = root.read_dir(dir).ok()?;
        let paths: Vec<_> = entries
            .iter()
            .map(|entry| dir.join(&entry.name))
            .filter(|other| other == path || root.canonical(other).is_ok_and(|real| real == path))
            .collect();
        let right =
            paths.iter().filter_map(|path| path.file_name()).find_map(|name| of_system(facts, name, elf.abi))?;
        let packaged = facts.get::<Packages>().ok()?.file(path).is_some();
        Some(Shadow { paths, right, conf: named_by(facts, dir), packaged })
    }
}

fn is_default(root: &Root, libraries: &Libraries, dir: &Path, abi: Abi) -> bool {
    default_dirs(abi).iter().any(|known| libraries.real_dir(root, known).is_some_and(|it| it == dir))
}

/// The system's own library of that name.
fn of_system(facts: &Facts, name: &OsStr, abi: Abi) -> Option<PathBuf> {
    let places = default_dirs(abi).into_iter().map(|dir| dir.join(name));
    places.into_iter().find(|place| facts.root().stat(place).is_ok_and(|it| it.is_file() && it.size > 0))
}

/// Where what no package brought lies, and what vendors bring.
const FOREIGN: [&str; 4] = ["/usr/local", "/opt", "/srv", "/home"];

/// Whether a file is none of the system's own.
pub(super) fn is_foreign(facts: &Facts, path: &Path) -> bool {
    let is_packaged = || facts.get::<Packages>().is_ok_and(|packages| packages.file(path).is_some());
    FOREIGN.iter().any(|dir| path.starts_with(dir)) && !is_packaged()
}

/// The file of ld.so.conf that names a directory, and the line.
fn named_by(facts: &Facts, dir: &Path) -> Option<(PathBuf, usize)> {
    let root = facts.root();
    let dropped = root.read_dir("/etc/ld.so.conf.d").unwrap_or_default();
    let dropped = dropped.into_iter().map(|entry| Path::new("/etc/ld.so.conf.d").join(entry.name));
    let is_dir = |named: &[u8]| root.canonical(named.to_path_lossy()).is_ok_and(|it| it == dir);
    dropped.chain([PathBuf::from("/etc/ld.so.conf")]).find_map(|conf| {
        let file = facts.file(&conf).ok().flatten()?;
        let names_it = |line: &[u8]| {
            ld_so::conf(line).iter().any(|entry| matches!(entry, ld_so::Entry::Dir(named) if is_dir(named)))
        };
        let line = file.bytes.lines().position(names_it)?;
        Some((conf, line + 1))
    })
}

/// The largest library that is read whole: 64 MiB.
const LARGEST: u64 = 64 << 20;

/// Whether the library `found`, taken for one of the system's, lacks what `by` needs before it starts although it has the right
/// versions, or is a libcrypto that sshd refuses.
pub(super) fn unfit(facts: &Facts, libraries: &Libraries, found: &Path, abi: Abi, by: &Path) -> Option<Broken> {
    let root = facts.root();
    let dir = libraries.real_dir(root, found.parent()?)?;
    // The system's own are not searched through, nor what a program brings along.
    if !libraries.is_configured(root, &dir) || is_default(root, libraries, &dir, abi) {
        return None;
    }
    let name = found.file_name()?;
    let right = of_system(facts, name, abi)?;
    let real = root.canonical(found).ok()?;
    let broken = |fault: Fault| Some(Broken { path: real.clone(), fault, needed_by: by.to_owned() });
    let of = |path: &Path| -> Option<Symbols> { symbols(&ReadCache::new(root.open(path).ok()?)) };
    if let (Some(user), Some(its), Some(meant)) = (of(by).filter(|user| user.at_start), of(&real), of(&right)) {
        let is_lost = |name: &&BString| meant.defined.contains(*name) && !its.defined.contains(*name);
        if let Some(symbol) = user.undefined.iter().filter(is_lost).min() {
            return broken(Fault::Symbol(symbol.clone(), by.to_owned()));
        }
    }
    // libc and its loader are of one release: all that it asks for is the loader's.
    if name == "libc.so.6"
        && let Body::Elf(elf) = &*libraries.look(root, &real)
        && let [loader] = elf.needed.as_slice()
        && let Some(loader) = of_system(facts, OsStr::from_bytes(loader), abi)
        && let (Some(its), Some(has)) = (of(&real), of(&loader))
        && let Some(symbol) = its.undefined.iter().filter(|symbol| !has.defined.contains(*symbol)).min()
    {
        return broken(Fault::NeedsSymbol(symbol.clone(), loader));
    }
    if name.as_encoded_bytes().starts_with(b"libcrypto.so.") && by.file_name().is_some_and(|name| name == "sshd") {
        let release = |path: &Path| openssl_release(&root.read_up_to(path, LARGEST).ok()?);
        let (its, built) = (release(&real)?, release(&right)?);
        if !sshd_takes(sshd::version(facts), built, its) {
            let text = |release: [u32; 3]| release.map(|number| number.to_string()).join(".");
            return broken(Fault::OpenSsl(text(its), text(built), by.to_owned()));
        }
    }
    None
}

/// Whether an sshd that was built with one OpenSSL starts with another (ssh_compatible_openssl() of entropy.c): the same major
/// and minor release, the last number not lower; from OpenSSL 3 on the last does not count, and from OpenSSH 9.4 on the minor one
/// neither. What is not known of sshd is taken for the best.
fn sshd_takes(sshd: Option<Version>, built: [u32; 3], its: [u32; 3]) -> bool {
    let [major, minor, fix] = built;
    if its[0] != major {
        return false;
    }
    match major {
        0..=2 => its[1] == minor && its[2] >= fix,
        _ => its[1] == minor || sshd.is_none_or(|version| version >= Version(9, 4)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_sshd_takes() {
        let old = Some(Version(8, 7));
        assert!(sshd_takes(old, [3, 0, 7], [3, 0, 1]) && !sshd_takes(old, [3, 0, 7], [3, 2, 2]));
        assert!(sshd_takes(Some(Version(9, 6)), [3, 0, 7], [3, 5, 0]) && sshd_takes(None, [3, 0, 7], [3, 5, 0]));
        assert!(!sshd_takes(old, [1, 1, 1], [3, 0, 0]) && !sshd_takes(old, [1, 1, 1], [1, 1, 0]));
        assert!(sshd_takes(old, [1, 1, 0], [1, 1, 1]));
    }
}
