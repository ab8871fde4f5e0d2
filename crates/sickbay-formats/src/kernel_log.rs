//! What the kernel said, as it is found in logs: dmesg(1) with and without `-T`, `/dev/kmsg`, syslog files, journalctl(1)
//! in its `short` forms, `export` and `json`, containers' logs; several hosts and processors mixed, wrapped, cut off, damaged.
//!
//! [`Scanner`] goes once over any number of bytes in bounded memory: two vectorised searches for a few rare words find
//! the lines that may matter, and only those are looked at. Reports of the OOM killer are read whole: see [`oom`].

use bstr::ByteSlice;

pub mod alloc_failure;
pub(crate) mod anchors;
pub mod blocked;
mod classify;
pub mod frames;
mod journal;
pub mod oom;
mod prefix;
mod scan;
mod stamp;

pub use classify::{Event, Kind, classify};
pub use prefix::{Message, message};
pub use scan::{Incident, KernelLog, Scanner, Server};
pub use stamp::Stamp;

/// Whether a text may be a log: one of its first lines says when it was written, or somewhere it says what only a kernel
/// or a JVM says.
pub fn resembles(text: &[u8]) -> bool {
    if text.lines().take(200).any(|line| message(line).time.is_some()) {
        return true;
    }
    let mut scanner = Scanner::new();
    scanner.block(text);
    let log = scanner.finish();
    !log.incidents.is_empty() || log.oom_count > 0 || !log.jvm.is_empty()
}

/// Whether a text without a prefix is a sentence that only a kernel says; with `among`, where others of the same text are,
/// also one that only reports of a kernel have.
pub fn is_sentence(text: &[u8], among: bool) -> bool {
    const BEGIN: [&str; 28] = [
        "Linux version ",
        "Command line: ",
        "Kernel command line: ",
        "BIOS-e820: ",
        "BIOS-provided physical RAM map",
        "ACPI: ",
        "PCI: ",
        "pci 0",
        "usb ",
        "scsi ",
        "scsi host",
        "sd 0:",
        "sd 1:",
        "sd 2:",
        "ata1",
        "ata2",
        "EXT2-fs",
        "EXT3-fs",
        "EXT4-fs",
        "XFS (",
        "BTRFS",
        "JBD2: ",
        "device-mapper: ",
        "NET: Registered",
        "random: crng",
        "ADDRCONF(",
        "WARNING: CPU: ",
        "Modules linked in: ",
    ];
    let trimmed = text.trim_ascii_start();
    BEGIN.iter().any(|words| trimmed.starts_with(words.as_bytes()))
        || classify(trimmed).is_some()
        || oom::is_part(text, among)
        || text.to_str().is_ok_and(|text| blocked::task(text).is_some())
}
