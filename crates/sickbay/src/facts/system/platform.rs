//! On what kind of machine the target ran last, as far as the target itself tells.

use std::io::Read;
use std::path::{Path, PathBuf};

use bstr::ByteSlice;
use sickbay_target::Root;

use crate::facts::boot::devices::{Devices, kernel_name};
use crate::facts::{Fact, Facts, memory};
use crate::model::outcome::Skip;

/// What is known of the machine.
#[derive(Debug, Default)]
pub struct Platform {
    /// Drivers without which the root's own disk is not seen, with what says so.
    pub certain: Vec<(&'static str, Clue)>,
    /// Drivers that found a disk when the target ran last: the root's, or another one.
    pub seen: Vec<(&'static str, Clue)>,
    /// What kind of machine it is.
    pub kind: Option<(Kind, Clue)>,
    /// Whole disks that the kernel found at the last boot: `vda`.
    pub disks: Vec<(String, Clue)>,
    /// The command line of that boot.
    command_line: String,
}

/// The disk of a partition: `vda` for `vda1`, `nvme0n1` for `nvme0n1p2`.
pub fn whole_disk(name: &str) -> Option<String> {
    kernel_name(name)?;
    let without = name.trim_end_matches(|c: char| c.is_ascii_digit());
    if name.starts_with("nvme") || name.starts_with("mmcblk") {
        return Some(without.strip_suffix('p').filter(|_| without.len() < name.len()).unwrap_or(name).to_owned());
    }
    Some(without.to_owned())
}

/// Where something was read, and the words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Clue {
    /// `/var/log/kern.log`
    pub source: String,
    /// What was read.
    pub words: String,
}

/// A kind of machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A guest of KVM, whose disks are virtio's unless somebody chose otherwise.
    Kvm,
    /// Any other: real hardware, VMware, Hyper-V, Xen.
    Other,
}

/// Drivers by the names that their disks get.
const BY_NAME: [(&str, &str); 3] = [("/dev/vd", "virtio_blk"), ("/dev/nvme", "nvme"), ("/dev/xvd", "xen_blkfront")];

/// What drivers say in the kernel's log when they find a disk.
const BY_LOG: [(&str, &str); 4] = [
    ("virtio_blk virtio", "virtio_blk"),
    ("nvme nvme0: ", "nvme"),
    ("blkfront: xvda", "xen_blkfront"),
    ("hv_vmbus: registering driver hv_storvsc", "hv_storvsc"),
];

/// What the kernel says in a guest of KVM, directly after the line that names the machine.
const KVM: [&str; 9] = [
    "Hypervisor detected: KVM",
    "Booting paravirtualized kernel on KVM",
    "DMI: QEMU",
    "DMI: Alibaba Cloud",
    "DMI: OpenStack",
    "DMI: RDO OpenStack",
    "DMI: Red Hat KVM",
    "DMI: Tencent Cloud",
    "DMI: Huawei Cloud",
];

/// How far behind the name of the machine the kernel speaks of the hypervisor, in bytes of a log or journal.
const NEAR: usize = 16 << 10;

/// So many disks are remembered.
const DISKS: usize = 64;

/// Of each log this much of its end is read, in bytes: some boots.
const LOG_TAIL: u64 = 16 << 20;

impl Fact for Platform {
    fn gather(facts: &Facts) -> Result<Platform, Skip> {
        let mut found = Platform::default();
        let root = facts.root();
        if facts.runs() {
            found.certain = of_this_machine(facts, root);
            found.kind = Some((Kind::Other, Clue { source: "/sys".into(), words: "the machine runs".into() }));
            return Ok(found);
        }
        for path in
            ["/etc/fstab", "/boot/grub/grub.cfg", "/boot/grub2/grub.cfg", "/boot/grub/grub.conf", "/boot/grub/menu.lst"]
        {
            found.in_configuration(root, path);
        }
        for path in memory::LOGS.iter().map(PathBuf::from).chain(memory::journals(root)) {
            found.in_log(root, &path);
            if found.kind.is_some() {
                break;
            }
        }
        if found.kind.is_none() {
            found.by_agent(root);
        }
        Ok(found)
    }
}

impl Platform {
    /// Names of disks in lines that are in force.
    fn in_configuration(&mut self, root: &Root, path: &str) {
        let Ok(text) = root.read(path) else { return };
        for line in text.lines().filter(|line| !line.trim_ascii_start().starts_with(b"#")) {
            // In fstab the root's line counts, in a boot loader's root=: a data disk is not needed to start.
            let words: Vec<&[u8]> = line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty()).collect();
            let device = match words.as_slice() {
                [device, b"/", ..] => Some(*device),
                words => words.iter().find_map(|word| word.strip_prefix(b"root=")),
            };
            let Some(device) = device else { continue };
            for (prefix, driver) in BY_NAME {
                if device.starts_with(prefix.as_bytes()) {
                    add(&mut self.certain, driver, path, line);
                }
            }
        }
    }

    fn in_log(&mut self, root: &Root, path: &Path) {
        let Ok(mut file) = root.open(path) else { return };
        let size = root.stat(path).map_or(0, |metadata| metadata.size);
        let from = size.saturating_sub(LOG_TAIL);
        let mut text = Vec::new();
        if std::io::Seek::seek(&mut file, std::io::SeekFrom::Start(from)).is_err()
            || file.take(LOG_TAIL).read_to_end(&mut text).is_err()
        {
            return;
        }
        let source = path.display().to_string();
        // The last boot in it counts: the disk may have come from another machine.
        let Some(begin) = text.rfind("DMI: ").or_else(|| text.rfind("Hypervisor detected: ")) else { return };
        let near = text.get(begin..text.len().min(begin + NEAR)).unwrap_or_default();
        let kind = if KVM.iter().any(|words| near.contains_str(words)) { Kind::Kvm } else { Kind::Other };
        self.kind = Some((kind, Clue { source: source.clone(), words: printable(&text, begin) }));
        self.disks_in(text.get(begin..).unwrap_or_default(), &source);
        for (words, driver) in BY_LOG {
            if let Some(at) = text.get(begin..).and_then(|text| text.find(words)) {
                add(&mut self.seen, driver, &source, printable(&text, begin + at).as_bytes());
            }
        }
    }

    /// Whether the last boot had this word on its command line: then what it names was there.
    pub fn started_with(&self, word: &str) -> bool {
        self.command_line.split_whitespace().any(|other| other == word)
    }

    /// `sd 2:0:0:0: [sda] Attached SCSI disk`, `virtio_blk virtio2: [vda] 41943040 512-byte`, ` vda: vda1 vda2`.
    fn disks_in(&mut self, text: &[u8], source: &str) {
        if let Some(at) = text.rfind("Kernel command line: ") {
            self.command_line = printable_up_to(text, at, 4096);
        }
        let bracketed = text.find_iter("[").filter_map(|at| Some((at, name_at(text, at + 1, b"]")?)));
        let listed = text.find_iter(": ").filter_map(|at| {
            let begin =
                at - text.get(..at)?.iter().rev().take(12).take_while(|byte| byte.is_ascii_alphanumeric()).count();
            let name = name_at(text, begin, b":")?;
            // The name of a partition follows.
            text.get(at + 2..)?.starts_with(name.as_bytes()).then_some((begin, name))
        });
        for (at, name) in bracketed.chain(listed) {
            if self.disks.len() < DISKS && !self.disks.iter().any(|(known, _)| *known == name) {
                let clue = Clue { source: source.to_owned(), words: printable(text, at) };
                self.disks.push((name, clue));
            }
        }
    }

    /// Programs that only make sense in a guest of KVM.
    fn by_agent(&mut self, root: &Root) {
        let agents =
            ["/usr/bin/qemu-ga", "/usr/sbin/qemu-ga", "/usr/local/share/aliyun-assist", "/usr/local/cloudmonitor"];
        if let Some(path) = agents.iter().find(|path| root.exists(path).unwrap_or(false)) {
            self.kind = Some((Kind::Kvm, Clue { source: (*path).to_owned(), words: "installed".to_owned() }));
        }
    }
}

fn add(list: &mut Vec<(&'static str, Clue)>, driver: &'static str, source: &str, words: &[u8]) {
    if !list.iter().any(|(known, _)| *known == driver) {
        let words = words.trim_ascii().to_str_lossy().chars().take(200).collect();
        list.push((driver, Clue { source: source.to_owned(), words }));
    }
}

/// The name of a whole disk that begins there and ends before `end`.
fn name_at(text: &[u8], at: usize, end: &[u8]) -> Option<String> {
    let rest = text.get(at..)?;
    let length = rest.iter().take(12).take_while(|byte| byte.is_ascii_alphanumeric()).count();
    let (name, behind) = rest.split_at_checked(length)?;
    let name = name.to_str().ok()?;
    (behind.starts_with(end) && whole_disk(name).as_deref() == Some(name)).then(|| name.to_owned())
}

/// The printable text from there to the end of the line; a journal has no lines.
fn printable(text: &[u8], at: usize) -> String {
    printable_up_to(text, at, 120)
}

fn printable_up_to(text: &[u8], at: usize, most: usize) -> String {
    let rest = text.get(at..).unwrap_or_default();
    let end = rest.iter().position(|byte| !(0x20..0x7f).contains(byte)).unwrap_or(rest.len()).min(most);
    rest.get(..end).unwrap_or_default().to_str_lossy().into_owned()
}

/// On a running machine: the drivers of every device between the root's disk and the processor.
fn of_this_machine(facts: &Facts, root: &Root) -> Vec<(&'static str, Clue)> {
    const KNOWN: [&str; 8] =
        ["virtio_blk", "virtio_scsi", "virtio_pci", "nvme", "xen_blkfront", "hv_storvsc", "ahci", "vmw_pvscsi"];
    let Ok(devices) = facts.get::<Devices>() else { return Vec::new() };
    let Some(device) = devices.root().and_then(|volume| volume.device.clone()) else { return Vec::new() };
    let Some(name) = device.file_name().map(|name| Path::new("/sys/class/block").join(name)) else { return Vec::new() };
    let Ok(place) = root.canonical(&name) else { return Vec::new() };
    let mut found = Vec::new();
    for dir in place.ancestors() {
        let Ok(module) = root.canonical(dir.join("driver/module")) else { continue };
        let module = module.file_name().map(|name| name.to_string_lossy().replace('-', "_")).unwrap_or_default();
        if let Some(known) = KNOWN.iter().find(|known| **known == module) {
            found.push((*known, Clue { source: dir.display().to_string(), words: format!("driver {known}") }));
        }
    }
    found
}
