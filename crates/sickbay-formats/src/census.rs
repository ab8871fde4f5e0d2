//! How much of a log has a form that is known, and whose lines they are.
//!
//! Of a large log a sample is looked at: its beginning whole, then the beginning of each block, of a very large one of
//! each sixteenth.

use std::collections::BTreeMap;

use bstr::ByteSlice;

use crate::kernel_log::{self, Message, message};
use crate::{boot_console, hs_err, login_log, ping, trace};

/// So much of each source is looked at whole.
const WHOLE: usize = 256 << 10;
/// So much of each further block.
const SAMPLE: usize = 2 << 10;
/// Behind so much of a source only each sixteenth block is looked at.
const DENSE: usize = 32 << 20;
/// What is kept of the beginning, for [`crate::foreign::recognise`].
const HEAD: usize = 64 << 10;
/// Names of other programs that are kept.
const NAMES: usize = 64;
/// Of a line no more is looked at.
const LINE: usize = 4 << 10;
/// No report of a JVM has more lines.
const REPORT: u32 = 200_000;

/// What the lines of a log are. Feed it what is fed to the scanner with [`Census::block`].
#[derive(Clone, Debug, Default)]
pub struct Census {
    /// Lines that were looked at, blank ones left out.
    pub lines: u64,
    /// Whether these were not all lines.
    pub sampled: bool,
    /// Lines of the kernel.
    pub kernel: u64,
    /// Lines of systemd, of PAM, and of programs that let users in.
    pub services: u64,
    /// Lines of a boot's console that the kernel did not write.
    pub console: u64,
    /// Lines of reports of Java virtual machines.
    pub jvm: u64,
    /// Lines of ping and of traces, which are no log of a system.
    pub tools: u64,
    /// Lines of other programs in a form of syslog.
    pub others: u64,
    /// Those programs, and how many lines each.
    pub programs: BTreeMap<String, u64>,
    /// How the first source begins.
    pub head: Vec<u8>,
    read: usize,
    blocks: usize,
    /// It is what `journalctl -o export` writes.
    export: bool,
    /// Lines of an open report of a JVM.
    report: Option<u32>,
}

impl Census {
    /// The lines that are understood: those whose author's sentences are known.
    pub fn understood(&self) -> u64 {
        self.kernel + self.services + self.console + self.jvm + self.tools
    }

    /// From now on blocks are of another source.
    pub fn source(&mut self) {
        self.read = 0;
        self.export = false;
        self.report = None;
    }

    /// Counts the lines of a block of whole lines, or of its beginning.
    pub fn block(&mut self, block: &[u8]) {
        if self.head.len() < HEAD {
            self.head.extend_from_slice(block.get(..HEAD - self.head.len()).unwrap_or(block));
        }
        let mut part = block;
        self.blocks += 1;
        if self.read > DENSE && !self.blocks.is_multiple_of(16) {
            self.sampled = true;
            part = b"";
        } else if self.read > WHOLE {
            part = block.get(..SAMPLE).unwrap_or(block);
            part = part.get(..part.rfind_byte(b'\n').unwrap_or(part.len())).unwrap_or(part);
            self.sampled |= part.len() + 1 < block.len();
        }
        self.read += block.len();
        for line in part.lines() {
            self.line(line.get(..LINE).unwrap_or(line));
        }
    }

    fn line(&mut self, line: &[u8]) {
        if line.iter().all(|byte| byte.is_ascii_whitespace() || *byte == 0) {
            return;
        }
        self.export |= line.starts_with(b"__REALTIME_TIMESTAMP=");
        if self.export {
            // An entry is many lines; this one stands for it.
            if let Some(transport) = line.strip_prefix(b"_TRANSPORT=") {
                self.lines += 1;
                self.kernel += u64::from(transport == b"kernel");
                self.others += u64::from(transport != b"kernel");
            }
            return;
        }
        self.lines += 1;
        if ping::line(line).is_some() || trace::line(line).is_some() {
            self.tools += 1;
            return;
        }
        let said = message(line);
        if hs_err::begins(&said.text) {
            self.report = Some(0);
        }
        if let Some(lines) = &mut self.report {
            *lines += 1;
            if hs_err::ends(&said.text) || *lines > REPORT {
                self.report = None;
            }
            self.jvm += 1;
            return;
        }
        if !said.kernel {
            return self.of_program(line, &said);
        }
        if said.certain || kernel_log::is_sentence(&said.text, self.kernel > 0) {
            self.kernel += 1;
        } else if boot_console::knows(&said.text, self.console > 0) {
            self.console += 1;
        } else if let Some(program) = program(line).filter(|_| said.prefixed) {
            self.of_other(program);
        }
    }

    fn of_program(&mut self, line: &[u8], said: &Message<'_>) {
        let name = program(line).unwrap_or_default();
        let text: &[u8] = &said.text;
        let known = login_log::lets_in(name)
            || matches!(
                name,
                b"systemd" | b"su" | b"sudo" | b"systemd-logind" | b"systemd-oomd" | b"earlyoom" | b"nohang"
            );
        if known || text.contains_str("PAM ") || text.contains_str("pam_") {
            self.services += 1;
        } else {
            self.of_other(name);
        }
    }

    fn of_other(&mut self, program: &[u8]) {
        self.others += 1;
        let name = program.get(..40).unwrap_or(program).to_str_lossy().into_owned();
        if !name.is_empty() && (self.programs.len() < NAMES || self.programs.contains_key(&name)) {
            *self.programs.entry(name).or_default() += 1;
        }
    }
}

/// The author of a line of syslog: its first word with a colon at the end, without the PID.
fn program(line: &[u8]) -> Option<&[u8]> {
    let head = line.get(..200).unwrap_or(line);
    let author = head.split(|byte| *byte == b' ').find_map(|word| word.strip_suffix(b":"))?;
    let name = author.split(|byte| *byte == b'[').next().unwrap_or_default();
    let plain =
        |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'/' | b'(' | b')' | b'@');
    (!name.is_empty() && name.iter().all(plain)).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn census(text: &str) -> Census {
        let mut census = Census::default();
        census.block(text.as_bytes());
        census
    }

    #[test]
    fn whose_lines_they_are() {
        let census = census(
            "Nov 30 10:00:00 box kernel: eth0: link up\n[   12.000001] usb 1-1: new device\n\n\
             Nov 30 10:00:01 box sshd[9]: Server listening on 0.0.0.0 port 22.\n\
             Nov 30 10:00:01 box openvpn[9]: PAM unable to dlopen(pam_x.so)\n\
             Nov 30 10:00:02 box postfix/smtpd[9]: connect from unknown\n\
             [  OK  ] Started x.service.\nsomething else\n\
             # A fatal error has been detected by the Java Runtime Environment:\n# x\nEND.\nelse\n",
        );
        let counts = (census.lines, census.kernel, census.services, census.console, census.jvm, census.others);
        assert_eq!(counts, (11, 2, 2, 1, 3, 1));
        assert_eq!(census.programs.keys().collect::<Vec<_>>(), ["postfix/smtpd"]);
        assert_eq!((census.understood(), census.sampled), (8, false));
    }

    #[test]
    fn of_no_log_nothing_is_understood() {
        for text in [
            "hello world\n",
            "MemTotal:  4000000 kB\nMemFree: 100 kB\n",
            "Node 0 MemTotal:  4000000 kB\nNode 0 MemFree: 100 kB\n",
            "slabinfo - version: 2.1\nkmalloc-64 1 2 64 64 1 : tunables 0 0 0 : slabdata 1 1 0\n",
            "2026-11-30 10:00:00 INFO the shop is open\n",
            "[12] 30 Nov 10:00:00.000 * Ready to accept connections\n",
            "Subject: it hangs\n\n schedule+0x2c/0x80\n io_schedule+0x12/0x40\n",
            "[Unit]\nDescription=x\nAfter=network.target\n",
            "   0:  46  0  IO-APIC   2-edge  timer\n NMI:  1 2 Non-maskable interrupts\n",
        ] {
            assert_eq!(census(text).understood(), 0, "{text}");
        }
    }

    #[test]
    fn kernels_without_time_stamps() {
        let text = "Linux version 2.6.32-754.el6.x86_64 (x)\nCommand line: ro root=/dev/sda1\nsd 0:0:0:0: [sda] Attached SCSI disk\n\
            worker invoked oom-killer: gfp_mask=0x201da, order=0, oom_adj=0\nNode 0 DMA free:15kB min:1kB\n";
        assert_eq!(census(text).kernel, 5);
    }

    #[test]
    fn of_a_large_log_a_sample() {
        let line = "Nov 30 10:00:00 box kernel: eth0: link up\n";
        let block = line.repeat(6000);
        let mut census = Census::default();
        for _ in 0..40 {
            census.block(block.as_bytes());
        }
        assert!(census.sampled && census.lines < 60_000 && census.lines == census.kernel, "{}", census.lines);
    }

    proptest::proptest! {
        #[test]
        fn never_panics(bytes: Vec<u8>) {
            let mut census = Census::default();
            census.block(&bytes);
        }
    }
}
