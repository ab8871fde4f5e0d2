//! The kernel of a target that runs, and what its programs are built for: never those of the machine that looks at it.

use sickbay_formats::procfs::fields::Fields;
use sickbay_formats::procfs::zoneinfo;

use super::{Lack, Target};
use crate::Root;

/// What programs are built for: the class and the machine of an ELF header (elf(5)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Architecture {
    /// `EI_CLASS`: 1 for 32 bits, 2 for 64 bits.
    pub class: u8,
    /// `e_machine`: 3 for i386, 62 for x86-64, 183 for AArch64 (include/uapi/linux/elf-em.h).
    pub machine: u16,
}

/// Programs of which every system has one.
const PROGRAMS: [&str; 6] =
    ["/usr/bin/env", "/usr/lib/systemd/systemd", "/lib/systemd/systemd", "/sbin/init", "/bin/ls", "/usr/bin/ls"];

impl Architecture {
    /// That of the first program that can be read in a root; `None` where there is none.
    pub fn of(root: &Root) -> Option<Architecture> {
        PROGRAMS.iter().find_map(|path| match root.read_head(path, 20).ok()?.as_slice() {
            [0x7f, b'E', b'L', b'F', class, .., low, high] => {
                Some(Architecture { class: *class, machine: u16::from_le_bytes([*low, *high]) })
            }
            _ => None,
        })
    }

    /// Whether it is that of a PC: i386 or x86-64.
    pub fn is_x86(self) -> bool {
        matches!(self.machine, 3 | 62)
    }
}

/// The sizes of a page that Linux has on some architecture, in KiB.
const PAGES: [u64; 4] = [4, 8, 16, 64];

impl Target {
    /// The release of the kernel that runs, as `uname -r` prints it.
    ///
    /// # Errors
    /// Where none runs, or `/proc` does not have it.
    pub fn kernel_release(&self) -> Result<String, Lack> {
        let bytes = self.running()?.read("/proc/sys/kernel/osrelease")?;
        Ok(String::from_utf8_lossy(bytes.trim_ascii()).into_owned())
    }

    /// The size of a page of memory in bytes. Where the kernel cannot be asked, it follows from what `/proc` counts both in KiB and in
    /// pages, or from the architecture.
    ///
    /// # Errors
    /// Where no kernel runs, or nothing tells.
    pub fn page_size(&self) -> Result<u64, Lack> {
        let root = self.running()?;
        if self.can_be_asked() {
            let live = || Ok(rustix::param::page_size().to_string().into_bytes());
            let answer = root.ask("size of a page", live).ok();
            if let Some(size) = answer.and_then(|answer| String::from_utf8(answer).ok()?.parse::<u64>().ok()) {
                return Ok(size.max(1024));
            }
        }
        let fields = |path: &str| root.read(path).map(|bytes| Fields::parse(&bytes)).unwrap_or_default();
        let (meminfo, vmstat) = (fields("/proc/meminfo"), fields("/proc/vmstat"));
        let zones = root.read("/proc/zoneinfo").map(|bytes| zoneinfo::parse(&bytes)).unwrap_or_default();
        // Both count the same, one in KiB, the other in pages; not at the same moment.
        let managed = zones.iter().map(|zone| zone.managed).fold(0, u64::saturating_add);
        let pairs = [("MemTotal", managed), ("MemFree", vmstat.or_zero("nr_free_pages"))];
        let by_numbers = pairs.iter().find_map(|(name, pages)| {
            let size = meminfo.get(name)?.checked_div(*pages)?;
            PAGES.into_iter().find(|known| (known - known / 4..=known + known / 4).contains(&size))
        });
        let by_architecture = || Architecture::of(root).filter(|built_for| built_for.is_x86()).map(|_| 4);
        let size = by_numbers.or_else(by_architecture);
        size.map(|kib| kib * 1024).ok_or_else(|| Lack::Unread("the page size of its memory is not known".to_owned()))
    }
}
