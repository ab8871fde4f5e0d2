//! `/proc/PID/cgroup`: cgroups(7).

use bstr::{BStr, ByteSlice};

/// The control group of a process: of version 2 (`0::/path`) where it is in one below the root, else that of systemd's
/// own hierarchy, else the longest of all.
pub fn path(text: &[u8]) -> Option<&BStr> {
    let groups = || {
        text.lines().filter_map(|line| {
            let mut parts = line.splitn(3, |byte| *byte == b':');
            let (number, controllers, path) = (parts.next()?, parts.next()?, parts.next()?);
            path.starts_with(b"/").then_some((number, controllers, path))
        })
    };
    let unified =
        groups().find(|(number, controllers, path)| *number == b"0" && controllers.is_empty() && path.len() > 1);
    let of_systemd = || groups().find(|(_, controllers, _)| *controllers == b"name=systemd");
    let longest = || groups().max_by_key(|(.., path)| path.len());
    unified.or_else(of_systemd).or_else(longest).map(|(.., path)| path.as_bstr())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_versions() {
        assert_eq!(path(b"0::/system.slice/nginx.service\n"), Some(BStr::new("/system.slice/nginx.service")));
        let both = b"3:cpu,cpuacct:/docker/1\n1:name=systemd:/system.slice/docker.service\n0::/\n";
        assert_eq!(path(both), Some(BStr::new("/system.slice/docker.service")));
        assert_eq!(path(b"3:memory:/a\n2:cpu:/a:b\n"), Some(BStr::new("/a:b")));
        assert_eq!((path(b""), path(b"no group\n")), (None, None));
    }

    proptest::proptest! {
        #[test]
        fn never_panics(bytes: Vec<u8>, text in "[0-9:/\n a-z]{0,40}") {
            let _ = (path(&bytes), path(text.as_bytes()));
        }
    }
}
