//! dpkg's database: `/var/lib/dpkg/status`, `info/*.list`, `info/*.md5sums`, `diversions` and `statoverride` (dpkg(1),
//! deb822(5), dpkg-divert(1), dpkg-statoverride(1)), and the filters of dpkg.cfg.
//!
//! A damaged database yields what can still be read.

use bstr::{BStr, BString, ByteSlice};

use crate::digest::Digest;

/// A paragraph of `/var/lib/dpkg/status`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Package<'a> {
    /// `Package:`
    pub name: &'a BStr,
    /// `Version:`; empty when the paragraph has none.
    pub version: &'a BStr,
    /// `Architecture:`; empty when the paragraph has none.
    pub architecture: &'a BStr,
    /// Whether `Status:` says that its files are unpacked, whatever else it says.
    pub unpacked: bool,
    /// Whether `Status:` says that its configuration files are in place, too.
    pub configured: bool,
    /// The last word of `Status:`: `installed`, `half-configured`; empty when the paragraph has none.
    pub state: &'a BStr,
    /// Whether every system has it: `Essential: yes`, or `Priority:` required or important.
    pub basic: bool,
    conffiles: &'a [u8],
}

/// The packages of a status file, in its order. Paragraphs without a name are passed over.
pub fn packages(status: &[u8]) -> impl Iterator<Item = Package<'_>> {
    let mut rest = status;
    std::iter::from_fn(move || {
        loop {
            let mut package = Package {
                name: BStr::new(""),
                version: BStr::new(""),
                architecture: BStr::new(""),
                unpacked: false,
                configured: false,
                state: BStr::new(""),
                basic: false,
                conffiles: b"",
            };
            let mut something = false;
            let mut lines = rest.lines_with_terminator();
            while let Some(line) = lines.next() {
                if line.trim_ascii().is_empty() {
                    break;
                }
                something = true;
                let Some((key, value)) = line.find_byte(b':').and_then(|at| line.split_at_checked(at)) else {
                    continue;
                };
                let value = value.get(1..).unwrap_or_default().trim_ascii().as_bstr();
                match key {
                    b"Package" => package.name = value,
                    b"Version" => package.version = value,
                    b"Architecture" => package.architecture = value,
                    b"Essential" => package.basic |= value == "yes",
                    b"Priority" => package.basic |= value == "required" || value == "important",
                    b"Conffiles" => package.conffiles = lines.as_bytes(),
                    b"Status" => {
                        let state = value.rsplit_once_str(" ").map_or(value.as_bytes(), |(_, state)| state);
                        package.state = state.as_bstr();
                        package.unpacked = !matches!(state, b"not-installed" | b"config-files" | b"half-installed");
                        package.configured = matches!(state, b"installed" | b"triggers-pending" | b"triggers-awaited");
                    }
                    _ => {}
                }
            }
            rest = lines.as_bytes();
            if !something {
                return None;
            }
            if !package.name.is_empty() {
                return Some(package);
            }
        }
    })
}

/// A status file without what [`packages`] does not read: descriptions, dependencies, maintainers. Its lines keep their
/// numbers, and what [`first_error`] tells of it stays as it is.
pub fn essence(status: &[u8]) -> Vec<u8> {
    const KEPT: [&[u8]; 7] =
        [b"Package", b"Version", b"Architecture", b"Essential", b"Priority", b"Conffiles", b"Status"];
    let mut kept = Vec::with_capacity(status.len() / 4);
    let mut is_kept = true;
    for line in status.lines_with_terminator() {
        let is_sound = line.ends_with(b"\n") && !line.contains(&0);
        let is_continued = matches!(line.first(), Some(b' ' | b'\t'));
        let key = line.find_byte(b':').and_then(|at| line.get(..at)).filter(|_| !is_continued);
        if !is_continued {
            let is_field = key.is_some_and(|key| !key.is_empty() && key.iter().all(u8::is_ascii_graphic));
            is_kept = !is_field || key.is_some_and(|key| KEPT.contains(&key));
        }
        match key {
            _ if is_kept || !is_sound || line.trim_ascii().is_empty() => kept.extend_from_slice(line),
            Some(key) => {
                kept.extend_from_slice(key);
                kept.extend_from_slice(b":\n");
            }
            None => kept.extend_from_slice(b" .\n"),
        }
    }
    kept
}

/// The first line of a status file, counted from 1, at which dpkg gives up (`lib/dpkg/parse.c`): one that holds a NUL or
/// neither continues a field nor begins one, or the last one when it has no end.
pub fn first_error(status: &[u8]) -> Option<usize> {
    let wrong = |line: &[u8]| {
        let continued = line.first().is_none_or(|byte| matches!(byte, b' ' | b'\t' | b'\n'));
        let field = || {
            let name = line.find_byte(b':').and_then(|end| line.get(..end)).unwrap_or_default();
            !name.is_empty() && !name.trim_ascii_end().iter().any(|byte| byte.is_ascii_whitespace())
        };
        line.contains(&0) || !line.ends_with(b"\n") || !(continued || field())
    };
    status.lines_with_terminator().position(wrong).map(|at| at + 1)
}

/// Whether a `.list` file is one that dpkg refuses to work with: one that holds a NUL or whose last line has no end.
pub fn list_is_damaged(list: &[u8]) -> bool {
    list.contains(&0) || (!list.is_empty() && !list.ends_with(b"\n"))
}

impl<'a> Package<'a> {
    /// Its configuration files with the digests that it ships them with; those that it no longer has are left out.
    pub fn conffiles(&self) -> impl Iterator<Item = (&'a BStr, Option<Digest>)> + use<'a> {
        let lines = self.conffiles.lines().take_while(|line| line.starts_with(b" "));
        lines.filter_map(|line| {
            let mut line = line.trim_ascii();
            // ` PATH DIGEST [obsolete] [remove-on-upgrade]`
            for flag in [" remove-on-upgrade", " obsolete"] {
                if line.ends_with(flag.as_bytes()) {
                    return None;
                }
                line = line.trim_ascii_end();
            }
            let (path, digest) = line.rsplit_once_str(" ")?;
            path.starts_with(b"/").then(|| (BStr::new(path), Digest::from_hex(digest)))
        })
    }
}

/// The paths of a `.list` file: files, links and directories.
pub fn paths(list: &[u8]) -> impl Iterator<Item = &BStr> {
    list.lines().filter(|line| line.starts_with(b"/") && !matches!(*line, b"/" | b"/.")).map(BStr::new)
}

/// Whether a `.list` file names `path` (absolute, as dpkg writes it).
pub fn lists(list: &[u8], path: &[u8]) -> bool {
    list.find_iter(path).any(|at| {
        let begins = at == 0 || list.get(at - 1) == Some(&b'\n');
        let end = list.get(at + path.len());
        begins && matches!(end, None | Some(b'\n'))
    })
}

/// The package that a file of `/var/lib/dpkg/info` belongs to: `libpam0g` for `libpam0g:amd64.list`.
pub fn package_of_list(file_name: &str) -> Option<&str> {
    let stem = file_name.strip_suffix(".list")?;
    Some(stem.split_once(':').map_or(stem, |(name, _)| name))
}

/// The files of a `.md5sums` file, absolute, with their digests.
pub fn md5sums(text: &[u8]) -> impl Iterator<Item = (BString, Digest)> {
    text.lines().filter_map(|line| {
        let (digest, path) = line.split_at_checked(32)?;
        let path = path.strip_prefix(b"  ")?;
        let path = path.strip_prefix(b"./").unwrap_or(path);
        (!path.is_empty()).then_some((BString::from([b"/", path].concat()), Digest::from_hex(digest)?))
    })
}

/// A file of one package that stands aside for that of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Diversion<'a> {
    /// The path that packages name.
    pub from: &'a BStr,
    /// Where the file of every package but `by` is.
    pub to: &'a BStr,
    /// The package whose own file stays at `from`; `:` for none.
    pub by: &'a BStr,
}

/// The diversions of `/var/lib/dpkg/diversions`: three lines each.
pub fn diversions(text: &[u8]) -> impl Iterator<Item = Diversion<'_>> {
    let mut lines = text.lines();
    std::iter::from_fn(move || {
        let (from, to, by) = (lines.next()?, lines.next()?, lines.next()?);
        Some(Diversion { from: BStr::new(from), to: BStr::new(to), by: BStr::new(by) })
    })
}

/// The paths of `/var/lib/dpkg/statoverride`: `owner group mode path` on each line. They were set on purpose.
pub fn overridden(statoverride: &[u8]) -> impl Iterator<Item = &BStr> {
    statoverride.lines().filter_map(|line| line.splitn_str(4, " ").nth(3)).map(|path| path.trim_ascii().as_bstr())
}

/// A `path-exclude` or `path-include` of dpkg.cfg(5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Filter<'a> {
    /// Whether files that fit are left out.
    pub exclude: bool,
    /// A pattern in which `*` also stands for slashes.
    pub pattern: &'a BStr,
}

/// The filters of a dpkg.cfg, in order: the last one that fits a path decides.
pub fn filters(cfg: &[u8]) -> impl Iterator<Item = Filter<'_>> {
    cfg.lines().filter_map(|line| {
        let line = line.trim_ascii().trim_start_with(|character| character == '-');
        let at = line.find_byteset(b"= \t")?;
        let (key, value) = line.split_at_checked(at)?;
        let pattern = value.trim_start_with(|character| matches!(character, '=' | ' ' | '\t')).trim_ascii();
        let pattern = BStr::new(pattern.trim_with(|character| matches!(character, '"' | '\'')));
        match key {
            b"path-exclude" => Some(Filter { exclude: true, pattern }),
            b"path-include" => Some(Filter { exclude: false, pattern }),
            _ => None,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATUS: &[u8] = b"Package: bash\nEssential: yes\nStatus: install ok installed\nArchitecture: amd64\n\
        Version: 5.2.15-2+b8\nConffiles:\n /etc/bash.bashrc 89269e1298235f1b12b4c16e4065ad0d\n /etc/a b \
        ee35a240758f374832e809ae0ea4883a obsolete\n /etc/new newconffile\nDescription: GNU Bourne Again SHell\n more: of \
        it\n\nPackage: old\nStatus: deinstall ok config-files\nVersion: 1\n\n\n\ngarbage\xff\n\nPackage: last\nStatus: \
        install ok unpacked\nPriority: optional";

    #[test]
    fn packages_are_read_and_garbage_is_passed_over() {
        let all: Vec<_> = packages(STATUS).collect();
        let names: Vec<_> = all.iter().map(|p| (p.name.to_string(), p.version.to_string(), p.unpacked)).collect();
        let wanted = [("bash", "5.2.15-2+b8", true), ("old", "1", false)];
        for (found, wanted) in names.iter().zip(wanted) {
            assert_eq!((found.0.as_str(), found.1.as_str(), found.2), wanted);
        }
        assert!(all[0].basic && all[0].configured);
        let conffiles: Vec<_> = all[0].conffiles().map(|(path, digest)| (path.to_string(), digest.is_some())).collect();
        assert_eq!(conffiles, [("/etc/bash.bashrc".to_owned(), true), ("/etc/new".to_owned(), false)]);
    }

    #[test]
    fn where_dpkg_gives_up() {
        assert_eq!(first_error(b"Package: a\nDescription: b\n c\n\t d\n\nPackage : e\n"), None);
        assert_eq!(first_error(b""), None);
        assert_eq!(first_error(STATUS), Some(19));
        assert_eq!(first_error(b"Package: a\nVersion: 1\nStat"), Some(3));
        assert_eq!(first_error(b"Package: a\n\0\0\0\0\n"), Some(2));
        assert!(!list_is_damaged(b"/.\n") && list_is_damaged(b"/.\n/us") && list_is_damaged(b"\0\0\n"));
    }

    #[test]
    fn a_list_names_whole_paths_only() {
        let list = b"/.\n/bin\n/bin/bash\n/usr/share/doc/bash";
        assert!(lists(list, b"/bin/bash"));
        assert!(lists(list, b"/usr/share/doc/bash"));
        assert!(lists(list, b"/."));
        assert!(!lists(list, b"/bin/bas"));
        assert!(!lists(list, b"bin/bash"));
        assert_eq!(paths(list).collect::<Vec<_>>(), ["/bin", "/bin/bash", "/usr/share/doc/bash"]);
    }

    #[test]
    fn names() {
        assert_eq!(package_of_list("libpam0g:amd64.list"), Some("libpam0g"));
        assert_eq!(package_of_list("bash.list"), Some("bash"));
        assert_eq!(package_of_list("bash.md5sums"), None);
        let paths: Vec<_> = overridden(b"root messagebus 4754 /usr/lib/dbus-1.0/x y\nbroken\n").collect();
        assert_eq!(paths, [BStr::new("/usr/lib/dbus-1.0/x y")]);
    }

    #[test]
    fn digests_diversions_and_filters() {
        let sums = b"d41d8cd98f00b204e9800998ecf8427e  usr/share/a  b\nnot a line\nxyz  usr/bin/c\n";
        let sums: Vec<_> = md5sums(sums).collect();
        assert!(matches!(sums.as_slice(), [(path, digest)] if path == "/usr/share/a  b" && digest.fits(b"")));
        let diverted: Vec<_> = diversions(b"/bin/sh\n/bin/sh.distrib\ndash\n/cut/off\n").collect();
        assert_eq!(diverted.len(), 1);
        assert_eq!(diverted[0].to, "/bin/sh.distrib");
        let cfg = b"# comment\npath-exclude=/usr/share/doc/*\n path-include = \"/usr/share/doc/*/copyright\"\nforce-unsafe-io\n";
        let filters: Vec<_> = filters(cfg).map(|filter| (filter.exclude, filter.pattern.to_string())).collect();
        assert_eq!(filters, [(true, "/usr/share/doc/*".to_owned()), (false, "/usr/share/doc/*/copyright".to_owned())]);
    }

    #[test]
    fn the_essence_of_a_status_file_keeps_what_is_read_and_the_numbers_of_lines() {
        let status = b"Package: bash\nStatus: install ok installed\nDepends: libc6 (>= 2.36),\n libtinfo6\nVersion: 5.2\n\
            Conffiles:\n /etc/bash.bashrc 89269e1298235f1b12b4c16e4065ad0d\nDescription: a shell\n It has\n .\n words.\n\n\
            Package: cut\nMaintainer: somebody";
        let essence = essence(status);
        let told = |status| -> Vec<_> {
            packages(status)
                .map(|one| (one.name, one.version, one.unpacked, one.conffiles().collect::<Vec<_>>()))
                .collect()
        };
        assert_eq!(told(&status[..]), told(&essence));
        assert_eq!(told(&status[..]).len(), 2);
        assert!(!essence.contains_str("libtinfo") && !essence.contains_str("words"), "{}", essence.as_bstr());
        assert_eq!(essence.lines().count(), status.lines().count());
        assert_eq!((first_error(status), first_error(&essence)), (Some(14), Some(14)));
    }

    proptest::proptest! {
        #[test]
        fn never_panics(bytes: Vec<u8>, lines in "[PSC :\n/a-z=]{0,200}") {
            for bytes in [bytes.as_slice(), lines.as_bytes()] {
                let _ = packages(bytes).map(|package| package.conffiles().count()).sum::<usize>();
                let _ = lists(bytes, b"/a");
                let essence = essence(bytes);
                proptest::prop_assert_eq!(first_error(bytes), first_error(&essence));
                proptest::prop_assert_eq!(bytes.lines().count(), essence.lines().count());
                let _ = (overridden(bytes).count(), paths(bytes).count(), md5sums(bytes).count());
                let _ = (diversions(bytes).count(), filters(bytes).count(), first_error(bytes));
            }
        }
    }
}
