//! Where the dynamic linkers look: `/etc/ld.so.conf` and `/etc/ld.so.preload` (ld.so(8), ldconfig(8)), and musl's
//! `/etc/ld-musl-ARCH.path`.

use bstr::{BStr, ByteSlice};

/// A line of `ld.so.conf`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry<'a> {
    /// A directory.
    Dir(&'a BStr),
    /// A pattern of files to read in its place; a relative one is relative to the file that it stands in.
    Include(&'a BStr),
}

/// The directories and includes of an `ld.so.conf`, in order.
pub fn conf(text: &[u8]) -> Vec<Entry<'_>> {
    let mut all = Vec::new();
    for line in text.lines() {
        let line = line.split_str("#").next().unwrap_or_default().trim_ascii();
        if let Some(patterns) =
            line.strip_prefix(b"include").filter(|rest| rest.starts_with_str(" ") || rest.starts_with_str("\t"))
        {
            all.extend(
                patterns
                    .split(u8::is_ascii_whitespace)
                    .filter(|pattern| !pattern.is_empty())
                    .map(|pattern| Entry::Include(pattern.as_bstr())),
            );
        } else if !line.starts_with(b"hwcap ") {
            // `DIR=TYPE` is a relic that ldconfig still reads.
            let dirs = line.split(|byte| matches!(byte, b':' | b',' | b' ' | b'\t'));
            let dirs = dirs.filter_map(|dir| dir.split_str("=").next()).filter(|dir| dir.starts_with(b"/"));
            all.extend(dirs.map(|dir| Entry::Dir(dir.as_bstr())));
        }
    }
    all
}

/// The libraries that `ld.so.preload` puts into every program.
pub fn preload(text: &[u8]) -> Vec<&BStr> {
    text.lines()
        .flat_map(|line| {
            let line = line.split_str("#").next().unwrap_or_default();
            line.split(|byte| byte.is_ascii_whitespace() || *byte == b':').filter(|name| !name.is_empty())
        })
        .map(ByteSlice::as_bstr)
        .collect()
}

/// The directories of a musl path file: separated by newlines or colons.
pub fn musl_path(text: &[u8]) -> Vec<&BStr> {
    text.split(|byte| matches!(byte, b'\n' | b':'))
        .filter(|dir| dir.starts_with(b"/"))
        .map(ByteSlice::as_bstr)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_as_they_are_found() {
        let all =
            conf(b"# local\ninclude /etc/ld.so.conf.d/*.conf\n/usr/local/lib # x\n/opt/a=libc6\nhwcap 1 nosegneg\n");
        assert_eq!(
            all,
            [
                Entry::Include("/etc/ld.so.conf.d/*.conf".into()),
                Entry::Dir("/usr/local/lib".into()),
                Entry::Dir("/opt/a".into())
            ]
        );
        assert_eq!(
            preload(b"/usr/lib/libx.so:/usr/lib/liby.so # no\n\n z.so"),
            ["/usr/lib/libx.so", "/usr/lib/liby.so", "z.so"]
        );
        assert_eq!(musl_path(b"/lib:/usr/local/lib\n/usr/lib\n"), ["/lib", "/usr/local/lib", "/usr/lib"]);
    }

    proptest::proptest! {
        #[test]
        fn never_panics(bytes: Vec<u8>) {
            let _ = (conf(&bytes), preload(&bytes), musl_path(&bytes));
        }
    }
}
