//! dpkg's database: `/var/lib/dpkg/status`, `info/*.list` and `statoverride` (dpkg(1), deb822(5)).
//!
//! A damaged database yields what can still be read.

use bstr::{BStr, ByteSlice};

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
}

/// The packages of a status file, in its order. Paragraphs without a name are passed over.
pub fn packages(status: &[u8]) -> impl Iterator<Item = Package<'_>> {
    let mut lines = status.lines();
    std::iter::from_fn(move || {
        loop {
            let mut package =
                Package { name: BStr::new(""), version: BStr::new(""), architecture: BStr::new(""), unpacked: false };
            let mut something = false;
            for line in lines.by_ref() {
                if line.trim_ascii().is_empty() {
                    break;
                }
                something = true;
                let Some((key, value)) = line.split_once_str(":") else { continue };
                let value = value.trim_ascii().as_bstr();
                match key {
                    b"Package" => package.name = value,
                    b"Version" => package.version = value,
                    b"Architecture" => package.architecture = value,
                    b"Status" => {
                        let state = value.rsplit_once_str(" ").map_or(value.as_bytes(), |(_, state)| state);
                        package.unpacked = !matches!(state, b"not-installed" | b"config-files" | b"half-installed");
                    }
                    _ => {}
                }
            }
            if !something {
                return None;
            }
            if !package.name.is_empty() {
                return Some(package);
            }
        }
    })
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

/// The paths of `/var/lib/dpkg/statoverride`: `owner group mode path` on each line. They were set on purpose.
pub fn overridden(statoverride: &[u8]) -> impl Iterator<Item = &BStr> {
    statoverride.lines().filter_map(|line| line.splitn_str(4, " ").nth(3)).map(|path| path.trim_ascii().as_bstr())
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATUS: &[u8] = b"Package: bash\nEssential: yes\nStatus: install ok installed\nArchitecture: amd64\n\
        Version: 5.2.15-2+b8\nDescription: GNU Bourne Again SHell\n more: of it\n\nPackage: old\n\
        Status: deinstall ok config-files\nVersion: 1\n\n\n\ngarbage\xff\n\nPackage: last\nStatus: install ok unpacked";

    #[test]
    fn packages_are_read_and_garbage_is_passed_over() {
        let all: Vec<_> = packages(STATUS).collect();
        let names: Vec<_> = all.iter().map(|p| (p.name.to_string(), p.version.to_string(), p.unpacked)).collect();
        let wanted = [("bash", "5.2.15-2+b8", true), ("old", "1", false)];
        for (found, wanted) in names.iter().zip(wanted) {
            assert_eq!((found.0.as_str(), found.1.as_str(), found.2), wanted);
        }
    }

    #[test]
    fn a_list_names_whole_paths_only() {
        let list = b"/.\n/bin\n/bin/bash\n/usr/share/doc/bash";
        assert!(lists(list, b"/bin/bash"));
        assert!(lists(list, b"/usr/share/doc/bash"));
        assert!(lists(list, b"/."));
        assert!(!lists(list, b"/bin/bas"));
        assert!(!lists(list, b"bin/bash"));
    }

    #[test]
    fn names() {
        assert_eq!(package_of_list("libpam0g:amd64.list"), Some("libpam0g"));
        assert_eq!(package_of_list("bash.list"), Some("bash"));
        assert_eq!(package_of_list("bash.md5sums"), None);
        let paths: Vec<_> = overridden(b"root messagebus 4754 /usr/lib/dbus-1.0/x y\nbroken\n").collect();
        assert_eq!(paths, [BStr::new("/usr/lib/dbus-1.0/x y")]);
    }

    proptest::proptest! {
        #[test]
        fn never_panics(bytes: Vec<u8>) {
            let _ = packages(&bytes).count();
            let _ = lists(&bytes, b"/a");
            let _ = overridden(&bytes).count();
        }
    }
}
