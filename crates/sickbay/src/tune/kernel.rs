//! For which kernel and which machine a parameter is judged.

use sickbay_formats::procfs::kernel_version;

use crate::facts::Facts;
use crate::facts::memory::Memory;
use crate::facts::system::kernel::{Kernel as Running, parameter};
use crate::model::outcome::Skip;
use crate::tr;

/// A kernel's release, as `uname -r` prints it, and what it tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kernel {
    /// The release.
    pub release: String,
    /// Its leading two numbers.
    pub version: (u32, u32),
    /// The 7 of `el7`: a vendor's kernel keeps its number and takes what it needs from later ones.
    pub enterprise: Option<u32>,
}

impl Kernel {
    /// Reads `3.10.0-1160.el7.x86_64`, `6.1`, `el7`; `None` when there is no version in it.
    pub fn parse(release: &str) -> Option<Kernel> {
        let release = release.trim();
        let number = |text: &str| {
            let digits = text.bytes().take_while(u8::is_ascii_digit).count();
            text.get(..digits)?.parse().ok()
        };
        let enterprise = match release.strip_prefix("el") {
            Some(rest) => number(rest),
            None => release.rsplit_once(".el").and_then(|(_, rest)| number(rest)),
        };
        // The kernels that Enterprise Linux began with, and kept.
        let of_enterprise = |el: u32| match el {
            6 => Some((2, 6)),
            7 => Some((3, 10)),
            8 => Some((4, 18)),
            9 => Some((5, 14)),
            10 => Some((6, 12)),
            _ => None,
        };
        let begins_with_digit = release.bytes().next().is_some_and(|byte| byte.is_ascii_digit());
        let version = match begins_with_digit {
            true => kernel_version(release),
            false => enterprise.and_then(of_enterprise),
        }?;
        Some(Kernel { release: release.to_owned(), version, enterprise })
    }
}

/// From which kernel on something holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Since {
    version: (u32, u32),
    enterprise: Option<u32>,
}

/// From Linux `major.minor` on.
pub const fn from(major: u32, minor: u32) -> Since {
    Since { version: (major, minor), enterprise: None }
}

/// From Linux `major.minor` on, and in Enterprise Linux from release `el` on, whatever number its kernel has.
pub const fn from_el(major: u32, minor: u32, el: u32) -> Since {
    Since { version: (major, minor), enterprise: Some(el) }
}

/// In every kernel.
pub const EVER: Since = from(0, 0);

impl Since {
    /// Whether it holds in this kernel.
    pub fn holds(self, kernel: &Kernel) -> bool {
        match (kernel.enterprise, self.enterprise) {
            (Some(el), Some(least)) => el >= least,
            _ => kernel.version >= self.version,
        }
    }

    /// `4.12`.
    pub fn name(self) -> String {
        format!("{}.{}", self.version.0, self.version.1)
    }
}

/// Bounds that are parameters themselves, where they are known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bounds {
    /// `fs.nr_open`.
    pub files: Option<u64>,
    /// `kernel.pid_max`.
    pub pids: Option<u64>,
    /// `kernel.threads-max`.
    pub threads: Option<u64>,
}

/// The machine that is set up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Machine {
    /// Its kernel.
    pub kernel: Kernel,
    /// Its memory in KiB, where it is known.
    pub memory: Option<u64>,
    /// Its processors, where that is known.
    pub cpus: Option<u64>,
    /// What bounds its limits.
    pub bounds: Bounds,
}

impl Machine {
    /// The machine that the facts are of.
    pub fn of(facts: &Facts) -> Result<Machine, Skip> {
        let release = facts.get::<Running>()?.release.clone();
        let kernel = Kernel::parse(&release).unwrap_or_else(|| Kernel {
            release: release.clone(),
            version: (0, 0),
            enterprise: None,
        });
        let memory = facts.get::<Memory>().ok().map(|memory| memory.total);
        let bound = |key: &str| parameter(facts, key).ok().flatten();
        let bounds =
            Bounds { files: bound("fs.nr_open"), pids: bound("kernel.pid_max"), threads: bound("kernel.threads-max") };
        Ok(Machine { kernel, memory, cpus: cpus(facts), bounds })
    }

    /// The machine of a system that does not run, as far as its files tell: the newest kernel that is installed.
    ///
    /// # Errors
    /// Where there is none: a container's parameters are those of its machine.
    pub fn installed(facts: &Facts) -> Result<Machine, Skip> {
        let dirs = ["/usr/lib/modules", "/lib/modules"];
        let names = dirs.iter().flat_map(|dir| facts.root().read_dir(dir).unwrap_or_default());
        let kernels = names.filter_map(|entry| Kernel::parse(entry.name.to_str()?));
        let kernel = kernels.max_by(|a, b| (a.version, &a.release).cmp(&(b.version, &b.release)));
        let kernel = kernel.ok_or_else(|| Skip::NotApplicable(tr!("no kernel is installed in it")))?;
        Ok(Machine { kernel, memory: None, cpus: None, bounds: Bounds::default() })
    }

    /// Slots of the hash of established TCP connections: one for each 128 KiB of memory, a power of two, at most 512 Ki
    /// (net/ipv4/tcp.c, tcp_init()).
    pub fn ehash(&self) -> Option<u64> {
        Some((self.memory? / 128).max(1).next_power_of_two().min(512 << 10))
    }

    /// This many thousandths of the memory, in KiB.
    pub fn share(&self, thousandths: u64) -> Option<u64> {
        Some(self.memory? / 1000 * thousandths)
    }
}

/// The processors that are online.
fn cpus(facts: &Facts) -> Option<u64> {
    let file = facts.file("/sys/devices/system/cpu/online").ok().flatten()?;
    let text = String::from_utf8_lossy(&file.bytes).into_owned();
    let ranges = text.trim().split(',').filter_map(|range| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last): (u64, u64) = (first.parse().ok()?, last.parse().ok()?);
        last.checked_sub(first)?.checked_add(1)
    });
    Some(ranges.fold(0, u64::saturating_add)).filter(|count| *count > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases() {
        let read = |text: &str| Kernel::parse(text).map(|kernel| (kernel.version, kernel.enterprise));
        assert_eq!(read("3.10.0-1160.el7.x86_64"), Some(((3, 10), Some(7))));
        assert_eq!(read("4.18.0-553.el8_10.x86_64"), Some(((4, 18), Some(8))));
        assert_eq!(read("el9"), Some(((5, 14), Some(9))));
        assert_eq!(read("6.1"), Some(((6, 1), None)));
        assert_eq!(read("5.10.134-16.al8.x86_64"), Some(((5, 10), None)));
        assert_eq!((read("element"), read("new"), read("")), (None, None, None));
    }

    #[test]
    fn what_a_vendor_took_over() {
        let kernel = |release| Kernel::parse(release).expect("a release");
        assert!(from(4, 12).holds(&kernel("4.18.0-1.el8")));
        assert!(!from(4, 12).holds(&kernel("3.10.0-1160.el7")));
        assert!(from_el(5, 2, 6).holds(&kernel("2.6.32-754.el6")));
        assert!(!from_el(5, 2, 6).holds(&kernel("4.19.0")));
        assert!(EVER.holds(&kernel("2.6.32")));
    }

    #[test]
    fn the_hash_of_connections() {
        let machine = |gib: u64| Machine {
            kernel: Kernel::parse("6.1").expect("one"),
            memory: Some(gib << 20),
            cpus: None,
            bounds: Bounds::default(),
        };
        assert_eq!(machine(8).ehash(), Some(65536));
        assert_eq!(machine(1024).ehash(), Some(512 << 10));
        // 7.6 GiB of 8, the rest being the kernel's.
        assert_eq!(Machine { memory: Some(8_009_416), ..machine(1) }.ehash(), Some(65536));
    }
}
