//! What strace writes, and `LD_DEBUG=libs` of ld.so: of all that a program looked for in vain, what explains that it failed.
//!
//! A healthy program looks for much in vain: a library in seven directories, translations, caches. What counts is a library
//! that was found in none of its places, and what failed just before the program said that something is wrong, or ended.

use std::collections::BTreeMap;

use bstr::ByteSlice;

mod line;
mod process;
mod words;

pub use self::line::{Event, Line, Result, is_frame, line};
use self::process::Process;

/// What explains that a program failed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cause {
    /// A library that is in none of the places where it was looked for.
    Library {
        /// `libnss_files.so.2`
        name: String,
        /// Where it was looked for, in order.
        candidates: Vec<String>,
    },
    /// A program that is there, and whose interpreter (`PT_INTERP`, `#!`) is not.
    Interpreter(String),
    /// A program that is not there, or whose interpreter is not; a bare name is in no directory of PATH.
    Program(String),
    /// A program that may not be executed.
    NotExecutable(String),
    /// A program whose format the kernel does not know.
    Format(String),
    /// A symbol, or a version of symbols, that no library has: what, and the file that needs it.
    Symbol(String, String),
    /// A module of an interpreted language that is not found: which language's, and its name.
    Module(&'static str, String),
    /// A file or directory that is not there.
    Missing(String),
    /// Something that the kernel refused: what, and the errno.
    Refused(String, String),
    /// A user or group that nobody knows, by the words of the program; the files that were read for it.
    Unknown(String, Vec<String>),
}

/// A cause, with what tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What.
    pub cause: Cause,
    /// What the program said of it.
    pub message: Option<String>,
    /// With which status it ended, or by which signal.
    pub ended: Option<String>,
    /// How many processes failed so.
    pub count: u64,
    /// Which of the sources.
    pub source: usize,
    /// The line of the failing call, from 1 on.
    pub line: u64,
    /// That line.
    pub words: String,
}

/// Reads logs for traces. Feed it blocks of whole lines, and call [`Scanner::finish`].
#[derive(Debug, Default)]
pub struct Scanner {
    /// What was found.
    pub failures: Vec<Failure>,
    /// Lines that are of a trace.
    pub seen: u64,
    processes: BTreeMap<u32, Process>,
    source: usize,
    lines: u64,
    /// Lines of a trace in this source, and bytes that were read of it.
    here: u64,
    read: u64,
}

const PROCESSES: usize = 2048;
const FAILURES: usize = 64;
const BEGINNING: u64 = 64 << 10;
/// Of a line no more is read.
const LINE: usize = 8 << 10;

impl Scanner {
    /// From now on blocks are of this source: with `-ff` the log of another process.
    pub fn source(&mut self, source: usize) {
        self.finish();
        (self.source, self.lines, self.here, self.read) = (source, 0, 0, 0);
    }

    /// Reads a block.
    pub fn block(&mut self, block: &[u8]) {
        for bytes in block.lines() {
            if self.here == 0 && self.read > BEGINNING {
                return;
            }
            self.lines += 1;
            self.read += bytes.len() as u64 + 1;
            let Some(line) = line(bytes.get(..LINE).unwrap_or(bytes)) else { continue };
            if !matches!(line.event, Event::Message(_)) {
                self.seen += 1;
                self.here += 1;
            }
            self.take(line, bytes);
        }
    }

    fn take(&mut self, line: Line, bytes: &[u8]) {
        // What ld.so says stands in no call, and belongs to the last process that looked.
        let pid = match (&line.event, line.pid) {
            (Event::Message(_), None) => {
                self.processes.iter().rfind(|(_, one)| one.finding.is_some()).map_or(0, |(pid, _)| *pid)
            }
            (_, pid) => pid.unwrap_or(0),
        };
        if self.processes.len() >= PROCESSES && !self.processes.contains_key(&pid) {
            return;
        }
        let words: String = bytes.get(..400).unwrap_or(bytes).to_str_lossy().into_owned();
        let process = self.processes.entry(pid).or_default();
        if process.take(line.event, (self.lines, words)) {
            let process = self.processes.remove(&pid).unwrap_or_default();
            self.conclude(process);
        }
    }

    /// Ends what is open.
    pub fn finish(&mut self) {
        for process in std::mem::take(&mut self.processes).into_values() {
            self.conclude(process);
        }
    }

    fn conclude(&mut self, process: Process) {
        // Lines and what moves the cursor become blanks.
        let message = process.message.as_ref().map(|(text, _)| {
            text.split(|c: char| c.is_whitespace() || c.is_control())
                .filter(|word| !word.is_empty())
                .collect::<Vec<_>>()
                .join(" ")
                .chars()
                .take(400)
                .collect::<String>()
        });
        let ended = process.ended.clone();
        for (cause, (line, words)) in process.causes() {
            let known = self.failures.iter_mut().find(|known| known.cause.same(&cause));
            if let Some(known) = known {
                known.count += 1;
                known.message = known.message.take().or_else(|| message.clone());
                known.ended = known.ended.take().or_else(|| ended.clone());
            } else if self.failures.len() < FAILURES {
                let (message, ended, source) = (message.clone(), ended.clone(), self.source);
                self.failures.push(Failure { cause, message, ended, count: 1, source, line, words });
            }
        }
    }
}

impl Cause {
    fn same(&self, other: &Cause) -> bool {
        match (self, other) {
            (Cause::Library { name, .. }, Cause::Library { name: other, .. }) => name == other,
            (Cause::Unknown(one, _), Cause::Unknown(other, _)) => one == other,
            (one, other) => one == other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn causes(text: &str) -> Vec<Cause> {
        let mut scanner = Scanner::default();
        scanner.block(text.as_bytes());
        scanner.finish();
        scanner.failures.into_iter().map(|failure| failure.cause).collect()
    }

    const BOOK: &str = "\
1546769450.781316 open(\"/lib64/tls/libnss_files.so.2\", O_RDONLY) = -1 ENOENT (No such file or directory)
1546769450.781341 open(\"/lib64/x86_64/libnss_files.so.2\", O_RDONLY) = -1 ENOENT (No such file or directory)
1546769450.781361 open(\"/lib64/libnss_files.so.2\", O_RDONLY) = -1 ENOENT (No such file or directory)
1546769450.781386 open(\"/usr/lib64/tls/x86_64/libnss_files.so.2\", O_RDONLY) = -1 ENOENT (No such file or directory)
1546769450.781408 open(\"/usr/lib64/tls/libnss_files.so.2\", O_RDONLY) = -1 ENOENT (No such file or directory)
1546769450.781433 open(\"/usr/lib64/x86_64/libnss_files.so.2\", O_RDONLY) = -1 ENOENT (No such file or directory)
1546769450.781454 open(\"/usr/lib64/libnss_files.so.2\", O_RDONLY) = -1 ENOENT (No such file or directory)
";

    #[test]
    fn seven_places_of_the_book_are_one_library() {
        let all = causes(BOOK);
        assert!(
            matches!(all.as_slice(), [Cause::Library { name, candidates }] if name == "libnss_files.so.2" && candidates.len() == 7)
        );
        // From glibc 2.34 on nss_files is in libc itself, and passwd is read all the same.
        let new = format!("{BOOK}openat(AT_FDCWD, \"/etc/passwd\", O_RDONLY|O_CLOEXEC) = 3\n+++ exited with 0 +++\n");
        assert!(causes(&new).is_empty());
        let found = format!("{BOOK}open(\"/opt/lib/libnss_files.so.2\", O_RDONLY) = 3\n");
        assert!(causes(&found).is_empty());
    }

    #[test]
    fn what_was_named_or_came_last() {
        let text = "12 openat(AT_FDCWD, \"/usr/share/locale/de/LC_MESSAGES/x.mo\", O_RDONLY) = -1 ENOENT (No such file or directory)\n\
            12 openat(AT_FDCWD, \"/etc/shop.conf\", O_RDONLY) = -1 EACCES (Permission denied)\n\
            12 openat(AT_FDCWD, \"/etc/other\", O_RDONLY) = -1 ENOENT (No such file or directory)\n\
            12 write(2, \"shop: cannot read /etc/shop.conf\\n\", 33) = 33\n12 exit_group(1) = ?\n12 +++ exited with 1 +++\n";
        assert_eq!(causes(text), [Cause::Refused("/etc/shop.conf".into(), "EACCES".into())]);
        // Silent, and status 1.
        let text = "10:00:00 open(\"/var/lib/shop/state\", O_RDONLY) = -1 ENOENT (No such file or directory)\n10:00:00 exit_group(1) = ?\n\
            10:00:00 +++ exited with 1 +++\n";
        assert_eq!(causes(text), [Cause::Missing("/var/lib/shop/state".into())]);
        let healthy = "open(\"/a\", O_RDONLY) = -1 ENOENT (No such file or directory)\n+++ exited with 0 +++\n";
        assert!(causes(healthy).is_empty());
    }

    #[test]
    fn what_programs_say_in_their_own_words() {
        let of = |text: &str| causes(&format!("write(2, \"{text}\", 9) = 9\n+++ exited with 1 +++\n"));
        for (text, name) in [
            ("su: user shop does not exist or the user entry does not contain all the required fields\\n", "shop"),
            ("chown: invalid group: \u{2018}:shop\u{2019}\\n", "shop"),
            ("nginx: [emerg] getpwnam(\\\"shop\\\") failed in /etc/nginx/nginx.conf:1\\n", "shop"),
            ("sudo: unknown user shop\\nsudo: error initializing audit plugin\\n", "shop"),
            ("install: group shop not found\\n", "shop"),
        ] {
            assert_eq!(of(text), [Cause::Unknown(name.into(), Vec::new())], "{text}");
        }
        for (text, language, name) in [
            (
                "Traceback (most recent call last):\\nModuleNotFoundError: No module named 'shop.cart'\\n",
                "Python",
                "shop.cart",
            ),
            (
                "Can't locate No/Such.pm in @INC (you may need to install it) (@INC contains: /etc/perl) at x line 1.\\n",
                "Perl",
                "No/Such.pm",
            ),
            (
                "Error: Could not find or load main class shop.Main\\nCaused by: java.lang.ClassNotFoundException: shop.Main\\n",
                "Java",
                "shop.Main",
            ),
            ("Error: Cannot find module './cart'\\nRequire stack:\\n", "Node.js", "./cart"),
            ("in `require': cannot load such file -- cart (LoadError)\\n", "Ruby", "cart"),
        ] {
            assert_eq!(of(text), [Cause::Module(language, name.into())], "{text}");
        }
        assert!(of("Can't locate object method \\\"x\\\" via package\\n").is_empty());
    }

    #[test]
    fn forms_of_lines() {
        let call = "openat(AT_FDCWD, \"/etc/shop.conf\", O_RDONLY) = -1 ENOENT (No such file or directory)";
        for before in [
            "[  59] ",
            "[00007f84dafa8ad7] ",
            "4711<shop> ",
            "[pid  4711<shop>] ",
            "10:00:00.1 [7f84da] ",
            "[????????] ",
            "     0.000012 ",
        ] {
            let ended = "exit_group(3) = ?";
            assert_eq!(
                causes(&format!("{before}{call}\n{before}{ended}\n")),
                [Cause::Missing("/etc/shop.conf".into())],
                "{before}"
            );
        }
        let hex = call.replace("/etc/shop.conf", "\\x2f\\x65\\x74\\x63\\x2f\\x61");
        assert_eq!(causes(&format!("{hex}\n+++ exited with 1 +++\n")), [Cause::Missing("/etc/a".into())]);
        // A word of what was said is all that strace kept of it.
        let text = format!("{call}\nwrite(2, \"sh\"..., 40) = 40\n+++ exited with 3 +++\n");
        assert_eq!(causes(&text), [Cause::Missing("/etc/shop.conf".into())]);
        let said = format!("{call}\nwrite(2, \"su: Authentication failure\", 27) = 27\n+++ exited with 1 +++\n");
        assert!(causes(&said).is_empty());
        for (address, peer) in [
            ("{sa_family=AF_INET, sin_port=htons(9), sin_addr=inet_addr(\"127.0.0.1\")}", "127.0.0.1:9"),
            (
                "{sa_family=AF_INET6, sin6_port=htons(9), sin6_flowinfo=htonl(0), inet_pton(AF_INET6, \"::1\", &sin6_addr), sin6_scope_id=0}",
                "[::1]:9",
            ),
            ("{sa_family=AF_UNIX, sun_path=\"/run/a\"}", "/run/a"),
        ] {
            let text =
                format!("connect(3, {address}, 16) = -1 ECONNREFUSED (Connection refused)\n+++ exited with 1 +++\n");
            assert_eq!(causes(&text), [Cause::Refused(peer.into(), "ECONNREFUSED".into())]);
        }
    }

    #[test]
    fn symbols_and_their_versions() {
        for (text, symbol, file) in [
            ("./shop: symbol lookup error: ./shop: undefined symbol: pay\n", "pay", "./shop"),
            ("     47:\t./shop: error: symbol lookup error: undefined symbol: pay (fatal)\n", "pay", "./shop"),
            ("./shop: /lib/libc.so.6: version `GLIBC_2.99' not found (required by ./shop)\n", "GLIBC_2.99", "./shop"),
        ] {
            assert_eq!(causes(text), [Cause::Symbol(symbol.into(), file.into())], "{text}");
        }
    }

    #[test]
    fn what_may_not_be_started_and_what_is_in_no_directory() {
        let text = "execve(\"./run\", [\"./run\"], 0x1) = -1 EACCES (Permission denied)\nstat(\"./run\", {st_mode=S_IFREG|0644}) = 0\n\
            write(2, \"bash: ./run: Permission denied\\n\", 31) = 31\n+++ exited with 126 +++\n";
        assert_eq!(causes(text), [Cause::NotExecutable("./run".into())]);
        let text = "stat(\"/usr/bin/gone\", 0x1) = -1 ENOENT (No such file or directory)\nstat(\"/bin/gone\", 0x1) = -1 ENOENT (No such file or directory)\n\
            write(2, \"sh: 1: gone: not found\\n\", 23) = 23\n+++ exited with 127 +++\n";
        assert_eq!(causes(text), [Cause::Program("gone".into())]);
        let text = "execve(\"/usr/bin/gone\", [\"gone\"], 0x1) = -1 ENOENT (No such file or directory)\n\
            execve(\"/bin/gone\", [\"gone\"], 0x1) = -1 ENOENT (No such file or directory)\n\
            write(2, \"env: \", 5) = 5\nwrite(2, \"\u{2018}gone\u{2019}\", 10) = 10\nwrite(2, \": No such file or directory\", 27) = 27\n+++ exited with 127 +++\n";
        assert_eq!(causes(text), [Cause::Program("gone".into())]);
        let text = "execve(\"./arm\", [\"./arm\"], 0x1) = -1 ENOEXEC (Exec format error)\n+++ exited with 126 +++\n";
        assert_eq!(causes(text), [Cause::Format("./arm".into())]);
        // strace has cut what was said.
        let text = "openat(AT_FDCWD, \"/etc/shop/shop.conf\", O_RDONLY) = -1 ENOENT (No such file or directory)\n\
            openat(AT_FDCWD, \"/etc/other\", O_RDONLY) = -1 ENOENT (No such file or directory)\n\
            write(2, \"shop: cannot open /etc/sho\"..., 60) = 60\n+++ exited with 1 +++\n";
        assert_eq!(causes(text), [Cause::Missing("/etc/shop/shop.conf".into())]);
    }

    #[test]
    fn directories_that_ld_so_does_not_find() {
        let text = "openat(AT_FDCWD, \"/opt/x/lib/libc.so.6\", O_RDONLY|O_CLOEXEC) = -1 ENOENT (No such file or directory)\n\
            newfstatat(AT_FDCWD, \"/opt/x/lib\", 0x7ffc, 0) = -1 ENOENT (No such file or directory)\n\
            openat(AT_FDCWD, \"/lib/libc.so.6\", O_RDONLY|O_CLOEXEC) = 3\n+++ exited with 1 +++\n";
        assert!(causes(text).is_empty(), "{:?}", causes(text));
    }

    #[test]
    fn interpreters_and_users() {
        let text = "[pid  77] stat(\"/opt/shop/run\", {st_mode=S_IFREG|0755, st_size=9, ...}) = 0\n\
            [pid  77] execve(\"/opt/shop/run\", [\"/opt/shop/run\"], 0x7ff /* 9 vars */) = -1 ENOENT (No such file or directory)\n\
            [pid  77] +++ exited with 127 +++\n";
        assert_eq!(causes(text), [Cause::Interpreter("/opt/shop/run".into())]);
        let text = "openat(AT_FDCWD</>, \"/etc/passwd\", O_RDONLY|O_CLOEXEC) = 3</etc/passwd>\nwrite(2, \"chown: \", 7) = 7\n\
            write(2, \"invalid user: 'shop:shop'\", 25) = 25\n+++ exited with 1 +++\n";
        assert_eq!(causes(text), [Cause::Unknown("shop:shop".into(), vec!["/etc/passwd".into()])]);
    }

    #[test]
    fn a_call_in_two_pieces_and_a_search_of_path() {
        let text = "7 openat(AT_FDCWD, \"/etc/x.conf\", O_RDONLY <unfinished ...>\n8 close(3) = 0\n\
            7 <... openat resumed>) = -1 ENOENT (No such file or directory)\n7 +++ exited with 2 +++\n8 +++ exited with 0 +++\n";
        assert_eq!(causes(text), [Cause::Missing("/etc/x.conf".into())]);
        let text = "execve(\"/bin/ls\", [\"ls\"], 0x1) = -1 ENOENT (No such file or directory)\nexecve(\"/usr/bin/ls\", [\"ls\"], 0x1) = 0\n\
            +++ exited with 2 +++\n";
        assert!(causes(text).is_empty());
    }

    #[test]
    fn the_linker_itself() {
        let text = "     4711:\tfind library=libc.so.6 [0]; searching\n     4711:\t search cache=/etc/ld.so.cache\n\
            \x20    4711:\t  trying file=/lib/x86_64-linux-gnu/libc.so.6\n     4711:\tfind library=libshop.so.1 [0]; searching\n\
            \x20    4711:\t  trying file=/lib/libshop.so.1\n     4711:\t  trying file=/usr/lib/libshop.so.1\n\
            ./shop: error while loading shared libraries: libshop.so.1: cannot open shared object file: No such file or directory\n";
        let all = causes(text);
        assert!(
            matches!(all.as_slice(), [Cause::Library { name, candidates }] if name == "libshop.so.1" && candidates.len() == 2),
            "{all:?}"
        );
        let healthy = "     4711:\tfind library=libc.so.6 [0]; searching\n     4711:\t  trying file=/lib/libc.so.6\n     4711:\tcalling init: /lib/libc.so.6\n";
        assert!(causes(healthy).is_empty());
    }

    proptest::proptest! {
        #[test]
        fn never_panics(bytes: Vec<u8>, text in "([0-9]{0,3} (open|execve|write|<\\.\\.\\. open resumed>)\\(?[2\", a-z/.\\\\<>]{0,30}\\)? = -?[0-9]{0,3} ?[A-Z]{0,6}\n){0,20}") {
            let mut scanner = Scanner::default();
            scanner.block(&bytes);
            scanner.block(text.as_bytes());
            scanner.finish();
        }
    }
}
