//! What a text is that is no log of a system: what people paste, pipe or name by mistake.

use bstr::ByteSlice;

/// What a text is taken for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Foreign {
    /// What this program prints.
    Output(&'static str),
    /// A file of this name.
    File(&'static str),
    /// A log of this program.
    LogOf(&'static str),
    /// A unit of systemd.
    Unit,
    /// A script.
    Script,
    /// HTML, XML.
    Markup,
    /// JSON that holds no line of a log.
    Json,
    /// An archive of files.
    Archive,
    /// Text in UTF-16 without a mark of the order of its bytes.
    Utf16,
    /// No text.
    Binary,
}

/// No more of a text is looked at.
const HEAD: usize = 64 << 10;

/// What a text is taken for by its beginning; `None` when that says nothing.
pub fn recognise(text: &[u8]) -> Option<Foreign> {
    let text = text.get(..HEAD).unwrap_or(text);
    if text.get(257..262) == Some(b"ustar") || text.starts_with(b"PK\x03\x04") || text.starts_with(b"070701") {
        return Some(Foreign::Archive);
    }
    let zeros = |text: &[u8]| text.iter().filter(|byte| **byte == 0).count();
    let odd = |byte: &&u8| **byte < 0x20 && !matches!(**byte, b'\n' | b'\r' | b'\t' | 0x1b | 0x08 | 0x0c);
    if zeros(text) * 5 > text.len() * 2 && zeros(text) * 5 < text.len() * 3 && !text.contains_str("\0\0\0\0") {
        return Some(Foreign::Utf16);
    }
    if text.iter().filter(odd).count() > text.len() / 20 {
        return Some(Foreign::Binary);
    }
    let lines: Vec<&str> = text.lines().filter_map(|line| line.to_str().ok()).map(str::trim).collect();
    let lines: Vec<&str> = lines.into_iter().filter(|line| !line.is_empty()).take(200).collect();
    let begins = |words: &str| lines.iter().any(|line| line.starts_with(words));
    let has = |words: &str| lines.iter().any(|line| line.contains(words));
    let first = *lines.first()?;
    let output = |name| Some(Foreign::Output(name));
    match () {
        () if first.starts_with("#!") => Some(Foreign::Script),
        () if first.starts_with("<?xml") || first.starts_with("<!DOCTYPE") || first.starts_with("<html") => {
            Some(Foreign::Markup)
        }
        () if begins("[Unit]") || begins("[Service]") || begins("[Install]") || begins("[Socket]") => {
            Some(Foreign::Unit)
        }
        // Before ping: the kernel has a cache of that name.
        () if begins("slabinfo - version") || has("<active_objs>") => Some(Foreign::File("/proc/slabinfo")),
        () if begins("PING ") || has("icmp_seq=") || has("icmp_req=") || has(" packets transmitted, ") => {
            output("ping")
        }
        () if begins("traceroute to ") => output("traceroute"),
        () if begins("Netid ") || has("Recv-Q") || begins("TCP:") && begins("Total:") || begins("ESTAB ") => {
            output("ss, netstat")
        }
        () if begins("Active Internet connections") || begins("Tcp:") && begins("Ip:") => output("ss, netstat"),
        () if begins("MemTotal:") || begins("MemFree:") && has(" kB") => Some(Foreign::File("/proc/meminfo")),
        () if begins("Active / Total Objects") => output("slabtop"),
        () if first.starts_with("CPU0") && first.split_whitespace().all(|word| word.starts_with("CPU")) => {
            Some(Foreign::File("/proc/interrupts"))
        }
        () if begins("nr_free_pages ") => Some(Foreign::File("/proc/vmstat")),
        () if begins("processor\t:") || begins("model name") => Some(Foreign::File("/proc/cpuinfo")),
        () if begins("sockets: used ") => Some(Foreign::File("/proc/net/sockstat")),
        () if begins("Node 0, zone") => Some(Foreign::File("/proc/buddyinfo, /proc/zoneinfo")),
        () if begins("procs ") && has("swpd") || begins("r  b ") => output("vmstat"),
        () if begins("avg-cpu:") || begins("Device") && (has(" tps") || has(" r/s")) => output("iostat"),
        () if first.starts_with("Linux ") && has("_CPU)") || begins("Average:") => output("sar, mpstat, pidstat"),
        () if begins("top - ") || begins("Tasks:") && has("%Cpu") => output("top"),
        () if has(" PID ") && (has("%CPU") || has(" PPID ") || has(" TTY ") || first.starts_with("PID ")) => {
            output("ps, lsof")
        }
        () if begins("COMMAND ") && has(" PID ") => output("lsof"),
        () if first.starts_with("total ") && has("free") && has("shared") => output("free"),
        () if begins("Filesystem ") && has("%") => output("df"),
        () if begins("1: lo: <") => output("ip"),
        () if begins("UNIT ") && has("LOADED") | has(" LOAD ") => output("systemctl"),
        () if first.starts_with("● ") || begins("Loaded: loaded (") => output("systemctl"),
        () if lines.iter().filter(|line| is_call(line)).count() * 2 > lines.len() => output("strace"),
        () if has("] \"GET ") || has("] \"POST ") || has("] \"HEAD ") => Some(Foreign::LogOf("nginx, Apache")),
        () if lines.iter().any(|line| is_nginx_error(line)) => Some(Foreign::LogOf("nginx")),
        () if has(": Flags [") && has(" > ") => output("tcpdump"),
        () if has(" status installed ") || has(" startup packages ") => Some(Foreign::LogOf("dpkg")),
        () if first.starts_with('{') || first.starts_with("[{") || first == "[" => Some(Foreign::Json),
        () => None,
    }
}

/// `openat(AT_FDCWD, "/etc/fstab", O_RDONLY) = 3`, with a process and a time before it or without.
fn is_call(line: &str) -> bool {
    let Some((head, _)) = line.split_once('(') else { return false };
    let name = head.rsplit([' ', ']']).next().unwrap_or_default();
    let is_name = |name: &str| !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    is_name(name) && (line.contains(") = ") || line.contains(" <unfinished ...>") || line.ends_with(") = ?"))
}

/// `2026/11/30 10:00:00 [error] 12#12: *1 …`.
fn is_nginx_error(line: &str) -> bool {
    let mut words = line.split(' ');
    words.next().is_some_and(|date| date.len() == 10 && date.matches('/').count() == 2)
        && words.nth(1).is_some_and(|level| level.starts_with('[') && level.ends_with(']'))
        && words.next().is_some_and(|process| process.contains('#'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_hand_over() {
        let cases: &[(&str, Foreign)] = &[
            (
                "PING 192.0.2.1 (192.0.2.1) 56(84) bytes of data.\n64 bytes from 192.0.2.1: icmp_seq=1\n",
                Foreign::Output("ping"),
            ),
            ("Total: 188 (kernel 0)\nTCP:   12 (estab 3, closed 1)\n", Foreign::Output("ss, netstat")),
            ("State  Recv-Q Send-Q Local Address:Port\n", Foreign::Output("ss, netstat")),
            ("MemTotal:  100 kB\nMemFree:  10 kB\n", Foreign::File("/proc/meminfo")),
            ("slabinfo - version: 2.1\n# name <active_objs>\n", Foreign::File("/proc/slabinfo")),
            (
                "slabinfo - version: 2.1\n# name <active_objs>\nPING 0 0 1024 32 8 : tunables 0 0 0\n",
                Foreign::File("/proc/slabinfo"),
            ),
            ("            CPU0       CPU1\n   0:  46  0  IO-APIC   2-edge  timer\n", Foreign::File("/proc/interrupts")),
            ("Linux 6.1.0 (box) \t11/30/26 \t_x86_64_\t(2 CPU)\n\navg-cpu:  %user\n", Foreign::Output("iostat")),
            ("top - 10:00:00 up 3 days, load average: 0.1\nTasks: 90 total\n", Foreign::Output("top")),
            ("execve(\"/bin/true\", [\"true\"], 0x7f /* 9 vars */) = 0\nbrk(NULL) = 0x55\n", Foreign::Output("strace")),
            ("[pid 12] 10:00:00 read(3, \"\", 1) = 0\n", Foreign::Output("strace")),
            ("[Unit]\nDescription=x\n", Foreign::Unit),
            ("192.0.2.9 - - [30/Nov/2026:10:00:00 +0000] \"GET / HTTP/1.1\" 200 5\n", Foreign::LogOf("nginx, Apache")),
            ("2026/11/30 10:00:00 [error] 12#12: *1 connect() failed\n", Foreign::LogOf("nginx")),
            ("h\0e\0l\0l\0o\0\n\0", Foreign::Utf16),
        ];
        for (text, expected) in cases {
            assert_eq!(recognise(text.as_bytes()), Some(*expected), "{text}");
        }
        let noise: Vec<u8> = (0..4096_u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        assert_eq!(recognise(&noise), Some(Foreign::Binary));
        assert_eq!(recognise(b"hello world\n"), None);
        assert_eq!(recognise(b""), None);
    }

    proptest::proptest! {
        #[test]
        fn never_panics(bytes: Vec<u8>) {
            let _ = recognise(&bytes);
        }
    }
}
