//! What the services of a system say in its own logs of why they cannot work.

use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use sickbay_formats::kernel_log::Stamp;
use sickbay_formats::service_log::{Scanner, Seen};
use sickbay_target::{Blocks, journal_entries};

use crate::facts::logs::kernel_log::RECENT;
use crate::facts::logs::login_log::journals;
use crate::facts::{Fact, Facts};
use crate::model::outcome::Skip;
use crate::tr;

/// What was said in the last week of the logs.
#[derive(Debug, Default)]
pub struct OwnServices {
    /// In order.
    pub seen: Vec<Seen>,
    /// Where it was read; [`Seen::source`] counts them.
    pub sources: Vec<PathBuf>,
}

/// Where systemd, sudo and sshd write on systems without a journal that stays.
const TEXTS: [&str; 5] =
    ["/var/log/syslog", "/var/log/messages", "/var/log/daemon.log", "/var/log/auth.log", "/var/log/secure"];
/// So much of the end of each.
const END: u64 = 8 << 20;

impl Fact for OwnServices {
    fn gather(facts: &Facts) -> Result<OwnServices, Skip> {
        let mut log = OwnServices::default();
        let mut scanner = Scanner::default();
        let root = facts.root();
        let texts = TEXTS.iter().map(Path::new).filter(|path| root.metadata(path).is_ok_and(|found| found.size > 0));
        for path in texts {
            let size = root.metadata(path).map_or(0, |found| found.size);
            let Ok(mut file) = root.open(path) else { continue };
            if file.seek(SeekFrom::Start(size.saturating_sub(END))).is_err() {
                continue;
            }
            if let Ok(blocks) = Blocks::new(file.take(END)) {
                log.read(&mut scanner, path, blocks);
            }
        }
        if log.sources.is_empty() {
            for path in journals(facts) {
                let size = root.metadata(&path).map_or(0, |found| found.size);
                let Ok(file) = root.open(&path) else { continue };
                let read = Box::new(move |buffer: &mut [u8], at| file.read_at(buffer, at));
                let of_services = |author: &[u8]| {
                    author.starts_with(b"systemd")
                        || author.starts_with(b"sshd")
                        || matches!(author, b"sudo" | b"su" | b"login" | b"mount" | b"NetworkManager" | b"dhcpcd")
                };
                if let Ok(entries) = journal_entries(read, size, move |entry| of_services(&entry.author)) {
                    log.read(&mut scanner, &path, Blocks::of_entries(entries));
                }
            }
        }
        if log.sources.is_empty() {
            return Err(Skip::NotApplicable(tr!("the system keeps no log of its services")));
        }
        let newest = scanner
            .seen
            .iter()
            .filter_map(|seen| seen.last)
            .reduce(|a, b| if a.seconds_to(b).is_some_and(|seconds| seconds < 0) { a } else { b });
        let recent = |seen: &Seen| {
            let age = seen.last.zip(newest).and_then(|(last, newest): (Stamp, Stamp)| last.seconds_to(newest));
            age.is_none_or(|age| age < RECENT * 86_400)
        };
        log.seen = scanner.seen.into_iter().filter(recent).collect();
        Ok(log)
    }
}

impl OwnServices {
    fn read(&mut self, scanner: &mut Scanner, path: &Path, mut blocks: Blocks) {
        scanner.source(self.sources.len());
        self.sources.push(path.to_owned());
        let mut lines = 0;
        while let Ok(Some(block)) = blocks.next_block() {
            scanner.block(block, lines);
            lines += sickbay_formats::lines::newlines(block);
        }
    }
}
