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

/// The header of `/etc/ld.so.cache` (sysdeps/generic/dl-cache.h, `cache_file_new`), its size, and that of an entry.
const CACHE_MAGIC: &[u8] = b"glibc-ld.so.cache1.1";
const CACHE_HEADER: usize = 48;
const CACHE_ENTRY: usize = 24;

/// An `/etc/ld.so.cache` without the entries whose path `is_gone`; `None` when it has none of them, or is none that is known. The
/// texts stay where they are, which entries name by their offset.
pub fn cache_without(cache: &[u8], is_gone: impl Fn(&BStr) -> bool) -> Option<Vec<u8>> {
    let start = cache.find(CACHE_MAGIC)?;
    let new = cache.get(start..)?;
    let number = |at: usize| {
        let bytes: [u8; 4] = *new.get(at..)?.first_chunk()?;
        usize::try_from(u32::from_le_bytes(bytes)).ok()
    };
    // 3 stands for big endian.
    if new.get(28)? & 3 == 3 {
        return None;
    }
    let count = number(20)?;
    let end = CACHE_HEADER.checked_add(count.checked_mul(CACHE_ENTRY)?)?;
    let entries = new.get(CACHE_HEADER..end)?;
    let path_of = |entry: &[u8]| {
        let at = usize::try_from(u32::from_le_bytes(*entry.get(8..)?.first_chunk()?)).ok()?;
        new.get(at..)?.split(|byte| *byte == 0).next().map(ByteSlice::as_bstr)
    };
    let kept: Vec<&[u8]> = entries.chunks(CACHE_ENTRY).filter(|entry| !path_of(entry).is_some_and(&is_gone)).collect();
    if kept.len() == count {
        return None;
    }
    let mut all = cache.to_vec();
    let nlibs = u32::try_from(kept.len()).ok()?.to_le_bytes();
    all.get_mut(start + 20..start + 24)?.copy_from_slice(&nlibs);
    let place = all.get_mut(start + CACHE_HEADER..start + end)?;
    let mut left = kept.concat();
    left.resize(place.len(), 0);
    place.copy_from_slice(&left);
    Some(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As ldconfig writes it: each of these is a name and a path.
    fn cache(libraries: &[(&str, &str)]) -> Vec<u8> {
        let mut header = CACHE_MAGIC.to_vec();
        header.extend(u32::try_from(libraries.len()).unwrap().to_le_bytes());
        header.resize(CACHE_HEADER, 0);
        header[28] = 2;
        let mut strings = Vec::new();
        let base = CACHE_HEADER + libraries.len() * CACHE_ENTRY;
        for (name, path) in libraries {
            let key = u32::try_from(base + strings.len()).unwrap();
            strings.extend(name.bytes().chain([0]));
            let value = u32::try_from(base + strings.len()).unwrap();
            strings.extend(path.bytes().chain([0]));
            for number in [3, key, value, 0, 0, 0] {
                header.extend(number.to_le_bytes());
            }
        }
        [header, strings].concat()
    }

    #[test]
    fn entries_leave_a_cache() {
        let whole = cache(&[("libc.so.6", "/usr/local/lib/libc.so.6"), ("libc.so.6", "/usr/lib/libc.so.6")]);
        let without = cache_without(&whole, |path| path.starts_with(b"/usr/local/")).unwrap();
        assert_eq!(without.len(), whole.len());
        assert_eq!(without[20], 1);
        // The only entry that is left still names the text that was the second's.
        let value = usize::from(without[CACHE_HEADER + 8]);
        assert!(without[value..].starts_with(b"/usr/lib/libc.so.6\0"));
        assert_eq!(cache_without(&without, |path| path.starts_with(b"/usr/local/")), None);
        assert_eq!(cache_without(b"ld.so-1.7.0", |_| true), None);
        assert_eq!(cache_without(&whole[..60], |_| true), None);
    }

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
