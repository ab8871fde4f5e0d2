//! Values of the running kernel that may be set, and how two of them are compared.
//!
//! A name is that of a parameter as sysctl(8) writes it (`vm.swappiness`), or the path of a file below `/proc` or `/sys`.
//! Only files are written that hold one setting which can be read back and set again; everything else there starts, stops or
//! removes something.

use std::path::{Component, Path, PathBuf};

/// Files besides those of `/proc/sys`: a `*` stands for one name.
const ALLOWED: [&str; 13] = [
    "/proc/irq/*/smp_affinity",
    "/proc/irq/*/smp_affinity_list",
    "/sys/class/net/*/queues/*/rps_cpus",
    "/sys/class/net/*/queues/*/rps_flow_cnt",
    "/sys/class/net/*/queues/*/xps_cpus",
    "/sys/class/net/*/tx_queue_len",
    "/sys/block/*/queue/scheduler",
    "/sys/block/*/queue/nr_requests",
    "/sys/block/*/queue/read_ahead_kb",
    "/sys/block/*/queue/rq_affinity",
    "/sys/kernel/mm/transparent_hugepage/enabled",
    "/sys/kernel/mm/transparent_hugepage/defrag",
    "/sys/kernel/mm/hugepages/*/nr_hugepages",
];

/// Where the kernel shows a parameter. As sysctl(8): a dot separates and a slash stands for a dot in a name, unless a
/// slash comes first.
pub fn sysctl_path(key: &str) -> PathBuf {
    let slashes_first = key.find(['.', '/']).is_some_and(|at| key[at..].starts_with('/'));
    let swap = |c| match c {
        '.' => '/',
        '/' => '.',
        other => other,
    };
    let below: String = if slashes_first { key.to_owned() } else { key.chars().map(swap).collect() };
    Path::new("/proc/sys").join(below.trim_start_matches('/'))
}

/// The file of a value that may be set, by its name; `None` for everything else.
pub fn kernel_path(name: &str) -> Option<PathBuf> {
    let is_path = ["/proc/", "/sys/"].iter().any(|root| name.starts_with(root));
    let path = if is_path { PathBuf::from(name) } else { sysctl_path(name) };
    let plain = path.components().all(|part| matches!(part, Component::RootDir | Component::Normal(_)));
    if name.is_empty() || !plain || name.starts_with('/') && !is_path {
        return None;
    }
    let is_sysctl = path.strip_prefix("/proc/sys").is_ok_and(|below| below.components().count() > 1);
    (is_sysctl || ALLOWED.iter().any(|allowed| matches(&path, allowed))).then_some(path)
}

fn matches(path: &Path, pattern: &str) -> bool {
    let mut parts = path.components();
    Path::new(pattern)
        .components()
        .all(|wanted| parts.next().is_some_and(|part| wanted.as_os_str() == "*" || wanted == part))
        && parts.next().is_none()
}

/// A value in the form in which two can be compared: blanks as one; of a choice the one in brackets
/// (`[mq-deadline] none`); of a mask neither commas nor leading zeros (`00000000,0000000f`).
pub fn plain_value(value: &str) -> String {
    let words: Vec<&str> = value.split_whitespace().collect();
    if let Some(chosen) = words.iter().find_map(|word| word.strip_prefix('[')?.strip_suffix(']')) {
        return chosen.to_owned();
    }
    match words.as_slice() {
        [mask] if is_mask(mask) => plain_mask(&mask.replace(',', "")),
        [mask] if mask.len() > 1 && mask.starts_with('0') && is_hex(mask) => plain_mask(mask),
        _ => words.join(" "),
    }
}

/// Groups of 32 bits; the first may be shorter (`f,ffffffff` of 36 CPUs). No list of CPUs has numbers of eight digits.
fn is_mask(text: &str) -> bool {
    let Some((first, rest)) = text.split_once(',') else { return false };
    (1..=8).contains(&first.len()) && is_hex(first) && rest.split(',').all(|group| group.len() == 8 && is_hex(group))
}

fn is_hex(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn plain_mask(mask: &str) -> String {
    let digits = mask.trim_start_matches('0');
    if digits.is_empty() { "0".to_owned() } else { digits.to_ascii_lowercase() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_set() {
        let path = |name: &str| kernel_path(name).map(|path| path.display().to_string());
        assert_eq!(path("vm.swappiness").as_deref(), Some("/proc/sys/vm/swappiness"));
        assert_eq!(path("/proc/irq/27/smp_affinity_list").as_deref(), Some("/proc/irq/27/smp_affinity_list"));
        assert!(path("/sys/class/net/eth0/queues/rx-0/rps_cpus").is_some());
        for name in [
            "",
            "/proc/sysrq-trigger",
            "/proc/sys",
            "/sys/block/sda/device/delete",
            "/sys/class/net/../../etc/passwd",
            "/sys/class/net/eth0/queues/rx-0/sub/rps_cpus",
            "vm/../../../etc/hostname",
            "/etc/passwd",
        ] {
            assert_eq!(path(name), None, "{name}");
        }
    }

    #[test]
    fn the_same_value_is_the_same() {
        for (one, other) in [
            ("4096\t87380\t6291456\n", "4096 87380 6291456"),
            ("[mq-deadline] none\n", "mq-deadline"),
            ("always [madvise] never", "madvise"),
            ("00000000,0000000f\n", "f"),
            ("f,00000000\n", "0000000f,00000000"),
            ("00000001,00000000", "1,00000000"),
            ("0f", "f"),
            ("00", "0"),
            ("0", "0"),
        ] {
            assert_eq!(plain_value(one), plain_value(other), "{one}");
        }
        assert_ne!(plain_value("10"), plain_value("1"));
        assert_eq!(plain_value("1,3"), "1,3", "a list of CPUs is no mask");
    }
}
