//! `hs_err_pid*.log`: what a HotSpot JVM writes when it stops, and its messages when it cannot get memory. OpenJDK's
//! src/hotspot/share/utilities/vmError.cpp and debug.cpp.

use bstr::ByteSlice;

use crate::procfs::fields::Fields;

/// What is asked of the system and refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// Memory in bytes, by the call that failed: `mmap`, `malloc`.
    Memory {
        /// How much.
        bytes: u64,
        /// The system's call.
        call: String,
        /// What for, in the JVM's words: `committing reserved memory`.
        purpose: String,
    },
    /// A thread.
    Thread,
}

/// The system that the JVM ran on, as far as the report tells.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum System {
    /// The report does not say; what it says of the kernel is read as Linux says it.
    #[default]
    Untold,
    /// Linux.
    Linux,
    /// Another one, whose memory follows other rules: its name.
    Other(String),
}

/// A signal that killed the JVM.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Crash {
    /// Its name: `SIGSEGV`, `SIGBUS`.
    pub signal: String,
    /// Where it was: the line behind "Problematic frame", without the letter that tells its kind.
    pub frame: String,
    /// The address that could not be used.
    pub address: Option<u64>,
    /// The file that is mapped at that address, where the report has the mappings.
    pub file: Option<String>,
    /// Where the line that names the signal stands, from 1 on.
    pub line: usize,
}

/// A report of a JVM that could not go on.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// What was asked for and refused; `None` in reports of other failures.
    pub wanted: Option<Wanted>,
    /// The signal that ended it; `None` in reports of other failures.
    pub crash: Option<Crash>,
    /// The system that it ran on.
    pub system: System,
    /// The process.
    pub pid: Option<u64>,
    /// The options that it was started with, as far as the report has them.
    pub arguments: String,
    /// The kernel's release, from the `uname:` line.
    pub release: String,
    /// `/proc/meminfo` at that moment, in KiB.
    pub meminfo: Fields,
    /// `RLIMIT_AS` in bytes; `None` when it is unlimited or not told.
    pub address_space: Option<u64>,
    /// `RLIMIT_DATA` in bytes, likewise.
    pub data: Option<u64>,
    /// `RLIMIT_NPROC`, likewise.
    pub processes: Option<u64>,
    /// The memory limit of its cgroup in bytes, likewise.
    pub cgroup_limit: Option<u64>,
    /// What its cgroup uses, in bytes.
    pub cgroup_usage: Option<u64>,
    /// The limit on tasks of its cgroup.
    pub cgroup_tasks: Option<u64>,
    /// What it had mapped, in KiB.
    pub virtual_size: Option<u64>,
    /// How many mappings it had, counted in the copy of its `/proc/self/maps`; 0 where there is none.
    pub mappings: u64,
    /// Those of them that are private and writable, in KiB: what `RLIMIT_DATA` counts.
    pub private: u64,
    /// `vm.max_map_count`, where the report has it.
    pub max_map_count: Option<u64>,
    /// `kernel.threads-max`, likewise.
    pub threads_max: Option<u64>,
    /// `kernel.pid_max`, likewise.
    pub pid_max: Option<u64>,
    /// Where the line that says what was refused stands, from 1 on.
    pub line: usize,
}

/// Whether a line is the first sentence of a report. Between the line's beginning and the sentence anything may stand.
pub fn begins(line: &[u8]) -> bool {
    line.contains_str("There is insufficient memory for the Java Runtime Environment")
        || line.contains_str("error has been detected by the Java Runtime Environment")
        || line.contains_str("error has been detected by Java Runtime Environment")
}

/// Whether a line is the last one of a report.
pub fn ends(line: &[u8]) -> bool {
    line.trim_ascii() == b"END."
}

/// Whether a text has such a report in it.
pub fn is_report(text: &[u8]) -> bool {
    begins(text)
}

/// Reads a report. Total: what is not there is left out.
pub fn parse(text: &[u8]) -> Report {
    let mut report = Report { meminfo: meminfo(text), ..Report::default() };
    // The e-book's and other copies are wrapped: the sentence is looked for with its line ends taken for blanks.
    for (index, line) in text.lines().enumerate() {
        let line = line.to_str_lossy();
        let bare = line.trim_start_matches(['#', ' ']);
        if bare.starts_with("Native memory allocation") || bare.starts_with("Cannot create") {
            report.line = index + 1;
            break;
        }
    }
    report.wanted = wanted(text);
    report.crash = crash(text);
    // The name of the source file that gave up tells the system where nothing else does.
    let mut source = System::Untold;
    let mut names_os = false;
    for line in text.lines().map(|line| line.trim_ascii().to_str_lossy()) {
        let rest = |prefix: &str| line.strip_prefix(prefix).map(str::trim);
        if std::mem::take(&mut names_os) && !line.is_empty() && !line.contains(':') {
            report.system = system(&line).unwrap_or(report.system);
        }
        if let Some(rest) = rest("OS:") {
            names_os = rest.is_empty();
            report.system = system(rest).unwrap_or(report.system);
        } else if let Some(rest) = rest("Command Line:").or_else(|| rest("jvm_args:"))
            && report.arguments.is_empty()
        {
            report.arguments = rest.to_owned();
        } else if let Some(rest) = rest("uname:") {
            report.system = system(rest).unwrap_or(report.system);
            let release = rest.strip_prefix("Linux").map(str::trim).unwrap_or(rest);
            report.release = release.split_whitespace().next().unwrap_or_default().to_owned();
        } else if let Some(rest) = rest("rlimit") {
            report.address_space = rlimit(rest, "AS");
            report.data = rlimit(rest, "DATA");
            report.processes = rlimit(rest, "NPROC");
        } else if let Some(rest) = rest("memory_limit_in_bytes:") {
            report.cgroup_limit = bytes(rest);
        } else if let Some(rest) = rest("memory_usage_in_bytes:") {
            report.cgroup_usage = bytes(rest);
        } else if let Some(rest) = rest("maximum number of tasks:") {
            report.cgroup_tasks = first_number(rest);
        } else if let Some(rest) = rest("Virtual Size:") {
            report.virtual_size = first_number(rest);
        } else if line.starts_with("/proc/sys/") {
            let value = line.rsplit_once(": ").and_then(|(_, value)| first_number(value));
            if line.contains("vm/max_map_count") {
                report.max_map_count = value;
            } else if line.contains("kernel/threads-max") {
                report.threads_max = value;
            } else if line.contains("kernel/pid_max") {
                report.pid_max = value;
            }
        } else if let Some(mapping) = mapping(&line) {
            let kib = mapping.to.saturating_sub(mapping.from) / 1024;
            report.mappings += 1;
            report.private = report.private.saturating_add(if mapping.private { kib } else { 0 });
            if let Some(crash) = &mut report.crash
                && crash.address.is_some_and(|at| (mapping.from..mapping.to).contains(&at))
            {
                crash.file = Some(mapping.file).filter(|file| file.starts_with('/')).map(str::to_owned);
            }
        } else if let Some((head, rest)) = line.split_once(", pid=")
            && report.pid.is_none()
        {
            report.pid = first_number(rest);
            let of = [("os_linux", System::Linux), ("os_windows", System::Other("Windows".into()))];
            let of = of.into_iter().chain([("os_bsd", System::Other("macOS".into()))]);
            source = of.into_iter().find(|(name, _)| head.contains(name)).map_or(source, |(_, system)| system);
        }
    }
    if report.system == System::Untold {
        report.system = source;
    }
    report
}

/// The system that the words behind `OS:` or `uname:` name.
fn system(text: &str) -> Option<System> {
    let other = |name: &str| Some(System::Other(name.to_owned()));
    match text {
        _ if text.contains("Windows") => other("Windows"),
        // HotSpot's port to BSD is that of macOS.
        _ if text.contains("Darwin") || text.contains("macOS") || text.starts_with("Bsd") => other("macOS"),
        _ if text.contains("FreeBSD") || text.contains("OpenBSD") => other("BSD"),
        _ if text.contains("SunOS") || text.contains("Solaris") => other("Solaris"),
        _ if text.contains("AIX") => other("AIX"),
        _ if text.contains("Linux") || text.contains("PRETTY_NAME") => Some(System::Linux),
        _ => None,
    }
}

/// The signal of a report of a crash.
fn crash(text: &[u8]) -> Option<Crash> {
    let mut crash = Crash::default();
    let mut frame_follows = false;
    for (index, line) in text.lines().enumerate() {
        let line = line.to_str_lossy();
        let bare = line.trim_start_matches(['#', ' ']).trim_end();
        if crash.signal.is_empty() {
            // `#  SIGBUS (0x7) at pc=0x00007f…, pid=4711, tid=…`
            if let Some((signal, _)) = bare.split_once(' ')
                && signal.starts_with("SIG")
                && bare.contains(" at pc=")
            {
                crash.signal = signal.to_owned();
                crash.line = index + 1;
            }
        } else if frame_follows {
            let frame = bare.split_once(char::is_whitespace).map_or(bare, |(_, frame)| frame);
            crash.frame = frame.trim().chars().take(200).collect();
            frame_follows = false;
        } else if bare == "Problematic frame:" {
            frame_follows = true;
        } else if let Some((_, rest)) = bare.split_once("si_addr").filter(|_| crash.address.is_none()) {
            // `si_addr: 0x…`, before 9 `si_addr=0x…`.
            let digits = rest.trim_start_matches([':', '=', ' ']).trim_start_matches("0x");
            let end = digits.find(|c: char| !c.is_ascii_hexdigit()).unwrap_or(digits.len());
            crash.address = digits.get(..end).and_then(|digits| u64::from_str_radix(digits, 16).ok());
        }
    }
    (!crash.signal.is_empty()).then_some(crash)
}

fn wanted(text: &[u8]) -> Option<Wanted> {
    let head: String = text
        .get(..16_384.min(text.len()))?
        .lines()
        .map(|line| line.to_str_lossy().trim_start_matches('#').trim().to_owned())
        .collect::<Vec<_>>()
        .join(" ");
    if let Some((_, rest)) = head.split_once("Native memory allocation (") {
        let (call, rest) = rest.split_once(')')?;
        // "failed to map 4294967296 bytes for committing reserved memory.", since 17 "… bytes. Error detail: …".
        let (_, rest) = rest.split_once("failed to ")?;
        let number = rest.split_whitespace().find_map(|word| word.parse().ok())?;
        let purpose = rest
            .split_once(" bytes for ")
            .or_else(|| rest.split_once("Error detail: "))
            .map(|(_, purpose)| purpose.split(['.', '#']).next().unwrap_or_default().trim().to_owned());
        let purpose = purpose.filter(|purpose| purpose.len() < 80).unwrap_or_default();
        return Some(Wanted::Memory { bytes: number, call: call.to_owned(), purpose });
    }
    let thread = ["Cannot create worker GC thread", "Cannot create GC thread", "unable to create native thread"];
    let thread = thread.iter().any(|words| head.contains(words));
    thread.then_some(Wanted::Thread)
}

/// A line of /proc/PID/maps.
struct Mapping<'a> {
    from: u64,
    to: u64,
    /// Private and writable.
    private: bool,
    /// What is mapped; "" for memory of its own.
    file: &'a str,
}

fn mapping(line: &str) -> Option<Mapping<'_>> {
    let (addresses, rest) = line.split_once(' ')?;
    let (from, to) = addresses.split_once('-')?;
    let modes = rest.split(' ').next()?.as_bytes();
    let [_, write, _, shared @ (b'p' | b's')] = *modes else { return None };
    let (from, to) = (u64::from_str_radix(from, 16).ok()?, u64::from_str_radix(to, 16).ok()?);
    // Modes, offset, device and inode stand before it.
    let file = rest.splitn(5, ' ').nth(4).unwrap_or_default().trim();
    Some(Mapping { from, to, private: write == b'w' && shared == b'p', file })
}

/// The part that is a copy of /proc/meminfo.
fn meminfo(text: &[u8]) -> Fields {
    let Some(at) = text.find("MemTotal:") else { return Fields::default() };
    let rest = text.get(at..).unwrap_or_default();
    // What follows has colons too; it is far enough to the last line of the kernel's.
    Fields::parse(rest.get(..8192.min(rest.len())).unwrap_or_default())
}

/// `AS infinity`, since 17 `AS infinity/infinity`: the soft one. `8192k` is in KiB.
fn rlimit(text: &str, name: &str) -> Option<u64> {
    let mut words = text.split([' ', ',']).filter(|word| !word.is_empty());
    words.find(|word| *word == name)?;
    bytes(words.next()?.split('/').next()?)
}

/// A number of bytes, with `k` in KiB; `None` for `unlimited`, `-1` and `not supported`.
fn bytes(text: &str) -> Option<u64> {
    let value = first_number(text)?;
    let digits = text.trim_start().trim_start_matches(|c: char| c.is_ascii_digit());
    let unit = digits.trim_start().chars().next();
    let value = if unit == Some('k') || unit == Some('K') { value.checked_mul(1024)? } else { value };
    // Version 1 says "unlimited" with a number near 2^63.
    (value < 1 << 60).then_some(value)
}

fn first_number(text: &str) -> Option<u64> {
    let text = text.trim_start();
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    text.get(..end)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As the e-book prints it: JDK 8, wrapped.
    const EBOOK: &[u8] = b"#\n# There is insufficient memory for the Java Runtime Environment to continue.\n\
        # Native memory allocation (mmap) failed to map 5726797824 bytes for\ncommitting reserved memory.\n\
        # An error report file with more information is saved as:\nOS:CentOS Linux release 7.4.1708 (Core)\n\
        uname:Linux 3.10.0-693.2.2.el7.x86_64 #1 SMP Tue Sep 12 22:26:13 UTC 2017\nx86_64\n\
        rlimit: STACK 8192k, CORE 0k, NPROC 15088, NOFILE 65535, AS infinity\n/proc/meminfo:\n\
        MemTotal:      3881692 kB\nCommitLimit:    1678700 kB\nCommitted_AS:    2282236 kB\nHugePages_Total: 256\n\
        memory_limit_in_bytes: -1\nmemory_usage_in_bytes: 697741312\n";

    #[test]
    fn the_e_books_report() {
        assert!(is_report(EBOOK));
        let report = parse(EBOOK);
        let wanted =
            Wanted::Memory { bytes: 5_726_797_824, call: "mmap".into(), purpose: "committing reserved memory".into() };
        assert_eq!(report.wanted, Some(wanted));
        assert_eq!(report.release, "3.10.0-693.2.2.el7.x86_64");
        assert_eq!((report.address_space, report.processes), (None, Some(15_088)));
        assert_eq!((report.cgroup_limit, report.cgroup_usage), (None, Some(697_741_312)));
        assert_eq!(
            (report.meminfo.get("CommitLimit"), report.meminfo.get("HugePages_Total")),
            (Some(1_678_700), Some(256))
        );
        assert_eq!(report.line, 3);
    }

    #[test]
    fn a_report_of_17() {
        let text = b"#\n# There is insufficient memory for the Java Runtime Environment to continue.\n\
            # Native memory allocation (mmap) failed to map 966367641600 bytes. Error detail: committing reserved memory.\n\
            #  Out of Memory Error (os_linux.cpp:2832), pid=14268, tid=14269\nCommand Line: -Xms900G \n\
            uname: Linux 6.18.44 #1 SMP x86_64\n\
            rlimit (soft/hard): STACK 8192k/infinity , NPROC 96365/96365 , AS 3000000k/infinity , DATA infinity/infinity\n\
            Virtual Size: 979487840K (peak: 979487840K)\n\
            /proc/sys/vm/max_map_count (maximum number of memory map areas a process may have): 65530\n\
            memory_limit_in_bytes: 524288 k\nmaximum number of tasks: not supported\nDynamic libraries:\n\
            c4000000-c4100000 rw-p 00000000 00:00 0 \n7f00-7fff r--s 0 0 0\nc5000000-c6000000 ---p 00000000 00:00 0 \n";
        let report = parse(text);
        let wanted = Wanted::Memory {
            bytes: 966_367_641_600,
            call: "mmap".into(),
            purpose: "committing reserved memory".into(),
        };
        assert_eq!(report.wanted, Some(wanted));
        assert_eq!((report.pid, report.arguments.as_str()), (Some(14_268), "-Xms900G"));
        assert_eq!((report.address_space, report.data), (Some(3_000_000 << 10), None));
        assert_eq!((report.virtual_size, report.max_map_count), (Some(979_487_840), Some(65_530)));
        assert_eq!((report.cgroup_limit, report.cgroup_tasks), (Some(512 << 20), None));
        assert_eq!((report.mappings, report.private), (3, 1024));
    }

    #[test]
    fn other_reports() {
        let text = b"#\n# There is insufficient memory for the Java Runtime Environment to continue.\n# Cannot create worker GC thread. Out of system resources.\n";
        assert_eq!(parse(text).wanted, Some(Wanted::Thread));
        let text = b"#\n# A fatal error has been detected by the Java Runtime Environment:\n#\n#  SIGSEGV (0xb) at pc=0x00, pid=12, tid=13\n";
        assert!(is_report(text));
        assert_eq!((parse(text).wanted, parse(text).pid), (None, Some(12)));
        assert!(!is_report(b"Nov 24 10:00:00 host java: There was an error"));
    }

    #[test]
    fn a_file_that_was_cut_under_its_mapping() {
        let text = b"#\n# A fatal error has been detected by the Java Runtime Environment:\n#\n\
            #  SIGBUS (0x7) at pc=0x00007f11c0ffee00, pid=812, tid=813\n#\n# Problematic frame:\n\
            # v  ~StubRoutines::jbyte_disjoint_arraycopy\n#\n\
            siginfo: si_signo: 7 (SIGBUS), si_code: 2 (BUS_ADRERR), si_addr: 0x00007f1180001000\n\
            7f1180000000-7f1180100000 r--s 00000000 08:01 1234                       /srv/index/seg 1.dat\n";
        let report = parse(text);
        let crash = report.crash.unwrap();
        assert_eq!((crash.signal.as_str(), crash.line), ("SIGBUS", 4));
        assert_eq!(crash.frame, "~StubRoutines::jbyte_disjoint_arraycopy");
        assert_eq!(crash.file.as_deref(), Some("/srv/index/seg 1.dat"));
        assert!(report.wanted.is_none());
    }

    #[test]
    fn the_system_that_it_ran_on() {
        let of = |text: &str| parse(text.as_bytes()).system;
        let other = |name: &str| System::Other(name.to_owned());
        assert_eq!(
            of("#  Out of Memory Error (os_linux.cpp:2630), pid=7\nOS: Windows 10 , 64 bit\n"),
            other("Windows")
        );
        assert_eq!(of("OS:\n Windows 11 , 64 bit Build 22621\n"), other("Windows"));
        assert_eq!(of("OS:Bsduname:Darwin 20.6.0 Darwin Kernel\n"), other("macOS"));
        assert_eq!(of("#  Out of Memory Error (os_windows.cpp:3303), pid=7\n"), other("Windows"));
        assert_eq!(of("OS:DISTRIB_ID=Mint\nuname:Linux 5.4.0 #1\n"), System::Linux);
        assert_eq!(of("# x\n"), System::Untold);
    }

    proptest::proptest! {
        #[test]
        fn never_panics(bytes: Vec<u8>, tail in "[ -~\n]{0,200}") {
            let _ = (is_report(&bytes), parse(&bytes));
            let mut text = b"# Native memory allocation (".to_vec();
            text.extend(tail.as_bytes());
            let _ = parse(&text);
        }
    }
}
