//! `/proc/PID/stack`: where a thread is in the kernel, the innermost function first.

use bstr::ByteSlice;

/// So many functions are told at most: the kernel tells no more.
const DEPTH: usize = 64;

/// Its functions without addresses and offsets; those of modules with their module: `xfs_log_force [xfs]`. Empty for a thread that runs in a
/// program, or of which the kernel does not tell.
pub fn parse(text: &[u8]) -> Vec<Box<str>> {
    let function = |line: &[u8]| {
        let mut words = super::words(line);
        let _address = words.next().filter(|word| word.starts_with(b"[<"))?;
        let name = words.next()?.to_str().ok()?;
        let name = name.split_once('+').map_or(name, |(name, _)| name);
        // The end of the stack of old kernels.
        if name.starts_with("0x") {
            return None;
        }
        let module = words.next().and_then(|word| word.to_str().ok()).filter(|word| word.starts_with('['));
        Some(module.map_or_else(|| name.to_owned(), |module| format!("{name} {module}")).into_boxed_str())
    };
    text.lines().filter_map(function).take(DEPTH).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_kernels_old_and_new() {
        let new = b"[<0>] wait_for_completion_state+0xe3/0x1b0\n[<0>] xlog_wait+0x1/0x2 [xfs]\n";
        assert_eq!(parse(new), ["wait_for_completion_state".into(), "xlog_wait [xfs]".into()] as [Box<str>; 2]);
        let old = b"[<ffffffff8109d3c2>] worker_thread+0x1b2/0x3f0\n[<ffffffffffffffff>] 0xffffffffffffffff\n";
        assert_eq!(parse(old), ["worker_thread".into()] as [Box<str>; 1]);
        assert!(parse(b"").is_empty());
    }

    proptest::proptest! {
        #[test]
        fn never_panics(bytes: Vec<u8>) {
            parse(&bytes);
        }
    }
}
