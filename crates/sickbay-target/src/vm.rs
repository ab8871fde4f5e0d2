//! A machine in QEMU that is started from copies of disks: copy-on-write, so that the disks themselves are never touched.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{ChildStdout, Stdio};
use std::time::{Duration, Instant, SystemTime};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::process::{Resource, Rlimit, setrlimit};

use crate::command::{self, CommandError, Group};
use crate::disk::{Disk, Follow, is_blank};
use crate::{Access, OpenError, sys};

/// What starts a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Firmware {
    /// A PC's BIOS.
    Bios,
    /// UEFI, without secure boot.
    Uefi,
}

/// How the disks are attached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Bus {
    /// virtio-blk: /dev/vda, as in most clouds.
    #[default]
    Virtio,
    /// AHCI: /dev/sda.
    Sata,
    /// /dev/nvme0n1.
    Nvme,
}

/// What runs the guest's instructions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accelerator {
    /// The processor itself, by the kernel's KVM.
    Kvm,
    /// QEMU, which translates them: some twenty times as slow.
    Tcg,
}

/// What a machine does at a moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// Its processor is at work, or waits for something.
    Running,
    /// Its processor is halted and nothing can wake it: interrupts are off.
    Halted,
    /// QEMU has stopped it, for this reason: `internal-error` of KVM, `io-error` of a disk.
    Paused(String),
}

/// Why a machine was not started.
#[derive(Debug, thiserror::Error)]
pub enum VmError {
    /// A program or a firmware is missing.
    #[error(
        "{what} is not installed on this machine: install {debian} (Debian, Ubuntu) or {rhel} (RHEL, CentOS, Alibaba Cloud Linux)"
    )]
    NotInstalled {
        /// What is missing.
        what: &'static str,
        /// The packages that bring it in Debian and its relatives.
        debian: &'static str,
        /// The packages that bring it in RHEL and its relatives.
        rhel: &'static str,
    },
    /// The disk cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// There is no room for what the guest writes.
    #[error("{} has only {free} MiB left, and what the guest writes needs {needed}: set TMPDIR to another place", .dir.display())]
    NoRoom {
        /// Where it was to be put.
        dir: PathBuf,
        /// The free space there, in MiB.
        free: u64,
        /// The space that is needed, in MiB.
        needed: u64,
    },
    /// A program did not do what it should.
    #[error("{0}")]
    Program(String),
    /// The kernel's answer.
    #[error("{what}: {source}")]
    Io {
        /// What was tried.
        what: String,
        /// The error of the kernel.
        source: io::Error,
    },
}

const QEMU: VmError =
    VmError::NotInstalled { what: "QEMU", debian: "qemu-system-x86 qemu-utils", rhel: "qemu-kvm qemu-img" };

/// What a guest may write to one disk, in bytes; a boot writes some tens of MiB.
const LIMIT: u64 = 4 << 30;
/// MiB that must be free where it is kept.
const ROOM: u64 = 512;
/// How long QEMU may take until its monitor answers, on a machine that is busy.
const START: Duration = Duration::from_secs(60);

fn io_error(what: impl Into<String>) -> impl FnOnce(io::Error) -> VmError {
    let what = what.into();
    |source| VmError::Io { what, source }
}

/// Whether a disk is started by UEFI: it has an EFI system partition and no code for a BIOS.
///
/// # Errors
/// When it cannot be opened.
pub fn firmware_of(path: &Path, follow_images: bool) -> Result<Firmware, VmError> {
    // UEFI specification, table 5.7, and GRUB's BIOS boot partition.
    const ESP: [&str; 2] = ["c12a7328-f81f-11d2-ba4b-00a0c93ec93b", "0xef"];
    const BIOS_BOOT: &str = "21686148-6449-6e6f-744e-656564454649";
    let disk = Disk::open_with(path, Access::ReadOnly, Follow::asked(follow_images))?;
    let reading = || io_error(format!("reading {}", path.display()));
    let list = disk.partitions().map_err(reading())?.map(|found| found.list).unwrap_or_default();
    let code = disk.read_at(0, 440).map_err(reading())?;
    let has = |wanted: &[&str]| list.iter().any(|part| wanted.iter().any(|kind| part.kind.eq_ignore_ascii_case(kind)));
    let by_bios = has(&[BIOS_BOOT]) || disk.table == Some(crate::Table::Mbr);
    Ok(if has(&ESP) && (is_blank(&code) || !by_bios) { Firmware::Uefi } else { Firmware::Bios })
}

/// Copies of disks that keep only what is written to them. They go when this is dropped, and have no name any more once
/// a [`Machine`] runs on them.
#[derive(Debug)]
pub struct Copies {
    dir: PathBuf,
    list: Vec<PathBuf>,
}

impl Copies {
    /// Makes a copy of each, in `TMPDIR` or `/var/tmp`; an image may lead to other files if `follow_images` says so.
    ///
    /// # Errors
    /// When QEMU is not installed, a disk cannot be opened, or there is no room.
    pub fn of(disks: &[PathBuf], follow_images: bool) -> Result<Copies, VmError> {
        qemu()?;
        let parent = spacious();
        let room =
            rustix::fs::statvfs(&parent).map_err(|e| io_error(format!("examining {}", parent.display()))(e.into()))?;
        let free = room.f_bavail.saturating_mul(room.f_frsize) >> 20;
        if free < ROOM {
            return Err(VmError::NoRoom { dir: parent, free, needed: ROOM });
        }
        let dir = parent.join(unique("sickbay-boot"));
        let making = io_error(format!("making {}", dir.display()));
        fs::DirBuilder::new().mode(0o700).create(&dir).map_err(making)?;
        let mut copies = Copies { dir, list: Vec::new() };
        for (index, disk) in disks.iter().enumerate() {
            let format = Disk::format_of(disk, Follow::asked(follow_images))?;
            let disk = fs::canonicalize(disk).map_err(io_error(format!("examining {}", disk.display())))?;
            let copy = copies.dir.join(format!("disk{index}.qcow2"));
            let mut args: Vec<OsString> =
                ["create", "-q", "-f", "qcow2", "-F", format.unwrap_or("raw"), "-b"].map(OsString::from).to_vec();
            args.extend([disk.into_os_string(), copy.clone().into_os_string()]);
            let made = command::run("qemu-img", &args, b"", Duration::from_secs(30), 64 << 10).map_err(missing)?;
            if !made.success() {
                return Err(VmError::Program(format!("qemu-img: {}", made.complaint())));
            }
            copies.list.push(copy);
        }
        Ok(copies)
    }

    /// The copy of the first disk, which can be opened as a target: see [`crate::Target::open`].
    pub fn first(&self) -> &Path {
        self.list.first().map_or(Path::new(""), |path| path)
    }

    /// The copies of the others.
    pub fn others(&self) -> &[PathBuf] {
        self.list.get(1..).unwrap_or_default()
    }
}

impl Drop for Copies {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.dir); // it holds nothing but what was made here
    }
}

/// What the machine is made of.
#[derive(Debug, Clone, Copy)]
pub struct Parts {
    /// What starts it.
    pub firmware: Firmware,
    /// How its disks are attached.
    pub bus: Bus,
    /// The memory of the guest, in MiB.
    pub memory: u32,
}

/// A machine that runs. It ends when this is dropped, and when this process ends in whatever way. It has no network.
#[derive(Debug)]
pub struct Machine {
    child: Group,
    serial: ChildStdout,
    monitor: UnixStream,
    console: Vec<u8>,
    /// Whether the processor runs the guest itself, which is some twenty times as fast.
    pub kvm: bool,
    over: bool,
}

/// No more of a console is read.
const CONSOLE: usize = 16 << 20;

impl Machine {
    /// Starts it. That QEMU starts with KVM does not yet show that KVM runs a guest.
    ///
    /// # Errors
    /// When QEMU or the firmware is missing, or QEMU does not start: its words.
    pub fn start(copies: &Copies, parts: Parts, accelerator: Accelerator) -> Result<Machine, VmError> {
        let kvm = accelerator == Accelerator::Kvm;
        let socket = copies.dir.join("monitor");
        let _ = fs::remove_file(&socket);
        let mut command = command::plain(qemu()?);
        command.args(["-accel", if kvm { "kvm" } else { "tcg" }, "-cpu", if kvm { "host" } else { "max,la57=off" }]);
        command.args(["-smp", "1", "-m", &parts.memory.to_string(), "-nodefaults", "-display", "none", "-vga", "std"]);
        command.args(["-nic", "none", "-device", "virtio-rng-pci", "-serial", "stdio", "-monitor"]);
        command.arg(with_commas(b"unix:", &socket, b",server=on,wait=off"));
        match parts.firmware {
            Firmware::Bios => command.args(["-machine", "pc"]),
            Firmware::Uefi => command.args(uefi(&copies.dir)?),
        };
        if parts.bus == Bus::Sata {
            command.args(["-device", "ich9-ahci,id=sata"]);
        }
        for (index, path) in copies.list.iter().enumerate() {
            let options = format!(",format=qcow2,if=none,id=disk{index},discard=unmap");
            command.arg("-drive").arg(with_commas(b"file=", path, options.as_bytes()));
            let device = match parts.bus {
                Bus::Virtio => format!("virtio-blk-pci,drive=disk{index}"),
                Bus::Sata => format!("ide-hd,bus=sata.{index},drive=disk{index}"),
                Bus::Nvme => format!("nvme,serial=disk{index},drive=disk{index}"),
            };
            command.arg("-device").arg(format!("{device},bootindex={}", index + 1));
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        sys::before_exec(&mut command, bounded);
        let mut child = Group::of(command.spawn().map_err(io_error("starting QEMU"))?);
        let serial = child.stdout().ok_or_else(|| VmError::Program("QEMU has no serial line".into()))?;
        quiet(&serial).map_err(io_error("reading the serial line"))?;
        let until = Instant::now() + START;
        let monitor = loop {
            if child.has_ended().unwrap_or(true) {
                return Err(VmError::Program(format!("QEMU: {}", child.complaint())));
            }
            if let Ok(monitor) = UnixStream::connect(&socket) {
                break monitor;
            }
            if Instant::now() > until {
                return Err(VmError::Program("QEMU does not answer".into()));
            }
            std::thread::sleep(Duration::from_millis(20));
        };
        let mut machine = Machine { child, serial, monitor, console: Vec::new(), kvm, over: false };
        // Its greeting ends with the first prompt; then the disks are open and the processors there.
        if machine.answer(START).is_empty() {
            return Err(VmError::Program(format!("QEMU: {}", machine.child.complaint())));
        }
        // QEMU holds them open: without names they are gone when it is, however that comes.
        let _ = fs::remove_dir_all(&copies.dir);
        Ok(machine)
    }

    /// How much time of this machine's processors it has had: what a guest can be expected to have done follows from that,
    /// not from how long a busy machine let it wait.
    pub fn processor_time(&self) -> Duration {
        let Some(pid) = self.child.id() else { return Duration::ZERO };
        let stat = fs::read(format!("/proc/{pid}/stat")).unwrap_or_default();
        ticks(&stat).map_or(Duration::ZERO, |ticks| {
            Duration::from_millis(ticks.saturating_mul(1000) / rustix::param::clock_ticks_per_second().max(1))
        })
    }

    /// What it does now.
    pub fn state(&mut self) -> State {
        let status = self.ask(b"info status\n");
        if let Some((_, reason)) = status.split_once("paused (") {
            return State::Paused(reason.split(')').next().unwrap_or_default().to_owned());
        }
        if is_halted(&self.ask(b"info registers\n")) { State::Halted } else { State::Running }
    }

    /// Waits up to `wait` for the serial line and reads what came. Gives whether anything did.
    ///
    /// # Errors
    /// The kernel's.
    pub fn hear(&mut self, wait: Duration) -> io::Result<bool> {
        let mut fds = [PollFd::from_borrowed_fd(self.serial.as_fd(), PollFlags::IN)];
        let timeout = Timespec::try_from(wait).map_err(io::Error::other)?;
        match poll(&mut fds, Some(&timeout)) {
            Ok(0) | Err(rustix::io::Errno::INTR) => return Ok(false),
            Ok(_) => {}
            Err(errno) => return Err(errno.into()),
        }
        let mut buffer = [0; 16 << 10];
        match self.serial.read(&mut buffer) {
            Ok(0) => {
                self.over = true;
                Ok(false)
            }
            Ok(length) => {
                self.console.extend_from_slice(buffer.get(..length).unwrap_or_default());
                self.over |= self.console.len() > CONSOLE;
                Ok(true)
            }
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Everything that the serial line said.
    pub fn console(&self) -> &[u8] {
        &self.console
    }

    /// Whether nothing more will come: it switched itself off, or says far too much.
    pub fn is_over(&self) -> bool {
        self.over
    }

    /// What the screen shows: the 25 rows of 80 characters of VGA text mode; nothing of sense in another mode.
    pub fn screen(&mut self) -> String {
        let said = self.ask(b"xp /1000xw 0xb8000\n");
        let words = said.lines().filter_map(|line| line.split_once(": 0x")).flat_map(|(_, words)| words.split("0x"));
        let cells: Vec<u32> = words.filter_map(|word| u32::from_str_radix(word.trim(), 16).ok()).collect();
        // A cell is a character and a colour; a word has two.
        let glyph = |byte: u32| match u8::try_from(byte & 0xff) {
            Ok(byte @ 0x20..0x7f) => char::from(byte),
            _ => ' ',
        };
        let rows = cells.chunks(40).map(|row| {
            let row: String = row.iter().flat_map(|word| [glyph(*word), glyph(word >> 16)]).collect();
            row.trim_end().to_owned()
        });
        rows.filter(|row| !row.is_empty()).map(|row| row + "\n").collect()
    }

    /// The monitor's answer to a command.
    fn ask(&mut self, command: &[u8]) -> String {
        if self.monitor.write_all(command).is_err() {
            return String::new();
        }
        self.answer(Duration::from_secs(2))
    }

    /// Reads the monitor up to its next prompt; nothing when that does not come in time.
    fn answer(&mut self, wait: Duration) -> String {
        let until = Instant::now() + wait;
        let mut said = Vec::new();
        let mut buffer = [0; 16 << 10];
        let _ = self.monitor.set_read_timeout(Some(Duration::from_millis(200)));
        while Instant::now() < until {
            match self.monitor.read(&mut buffer) {
                Ok(0) => break,
                Ok(length) => said.extend_from_slice(buffer.get(..length).unwrap_or_default()),
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
                Err(_) => break,
            }
            if said.ends_with(b"(qemu) ") {
                return String::from_utf8_lossy(&said).into_owned();
            }
        }
        String::new()
    }
}

/// User and system time in a `/proc/PID/stat` (proc(5)), in ticks. The name before may hold anything, blanks and brackets too.
fn ticks(stat: &[u8]) -> Option<u64> {
    let text = String::from_utf8_lossy(stat);
    let mut words = text.rsplit_once(") ")?.1.split(' ').skip(11).map(str::parse::<u64>);
    Some(words.next()?.ok()?.saturating_add(words.next()?.ok()?))
}

/// Whether a processor is halted with interrupts off (bit 9 of EFLAGS), as the monitor shows its registers.
fn is_halted(registers: &str) -> bool {
    let value = |name: &str| Some(registers.split_once(name)?.1.split_ascii_whitespace().next()?.to_owned());
    let flags = value("RFL=").or_else(|| value("EFL=")).and_then(|flags| u32::from_str_radix(&flags, 16).ok());
    value("HLT=").is_some_and(|halted| halted == "1") && flags.is_some_and(|flags| flags & (1 << 9) == 0)
}

/// Whether this machine has a KVM that we may use. Whether that runs a guest, only a guest shows.
pub fn has_kvm() -> bool {
    rustix::fs::access("/dev/kvm", rustix::fs::Access::READ_OK | rustix::fs::Access::WRITE_OK).is_ok()
}

/// Keeps a console: in a new file of `path`, or of a name of its own among the temporary files.
///
/// # Errors
/// The kernel's.
pub fn keep(path: Option<&Path>, text: &[u8]) -> io::Result<PathBuf> {
    let (path, mut options) = match path {
        Some(path) => (path.to_owned(), File::options()),
        None => (std::env::temp_dir().join(unique("sickbay-console")).with_extension("log"), File::options()),
    };
    // A name that is guessed must not lead to another's file.
    options.write(true).mode(0o600).create(true).truncate(true).custom_flags(libc::O_NOFOLLOW | libc::O_CLOEXEC);
    options.open(&path)?.write_all(text)?;
    Ok(path)
}

/// Where there is room for what is large: `TMPDIR` or `/var/tmp`.
pub(crate) fn spacious() -> PathBuf {
    match std::env::var_os("TMPDIR").filter(|dir| !dir.is_empty()) {
        Some(dir) => PathBuf::from(dir),
        None => PathBuf::from("/var/tmp"),
    }
}

/// A name that no other process takes.
pub(crate) fn unique(name: &str) -> String {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    format!("{name}-{}-{:09}", std::process::id(), now.subsec_nanos())
}

/// What the child does before it becomes QEMU. System calls only, see [`sys::before_exec`].
fn bounded() -> io::Result<()> {
    let limit = Rlimit { current: Some(LIMIT), maximum: Some(LIMIT) };
    setrlimit(Resource::Fsize, limit)?;
    command::die_with_parent()
}

fn quiet(pipe: impl AsFd) -> io::Result<()> {
    Ok(fcntl_setfl(&pipe, fcntl_getfl(&pipe)? | OFlags::NONBLOCK)?)
}

/// Whether QEMU is installed.
///
/// # Errors
/// Which packages have it.
pub fn is_there() -> Result<(), VmError> {
    qemu().map(drop)
}

/// The program; RHEL keeps it out of the way.
fn qemu() -> Result<&'static str, VmError> {
    const OTHERS: [&str; 2] = ["/usr/libexec/qemu-kvm", "/usr/bin/qemu-kvm"];
    if !command::is_installed("qemu-img") {
        return Err(QEMU);
    }
    if command::is_installed("qemu-system-x86_64") {
        return Ok("qemu-system-x86_64");
    }
    OTHERS.into_iter().find(|path| Path::new(path).exists()).ok_or(QEMU)
}

fn missing(error: CommandError) -> VmError {
    match error {
        CommandError::NotFound { .. } => QEMU,
        other => VmError::Program(other.to_string()),
    }
}

/// A path among options of QEMU, where a comma is written twice.
fn with_commas(before: &[u8], path: &Path, after: &[u8]) -> OsString {
    let mut all = before.to_vec();
    for byte in path.as_os_str().as_bytes() {
        all.push(*byte);
        if *byte == b',' {
            all.push(b',');
        }
    }
    all.extend_from_slice(after);
    OsString::from_vec(all)
}

/// OVMF's code, its variables, and whether the code wants the system management mode: as Debian, RHEL and Fedora, SUSE and
/// Arch have them.
const OVMF: [(&str, &str, bool); 8] = [
    ("/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/share/OVMF/OVMF_VARS_4M.fd", false),
    ("/usr/share/OVMF/OVMF_CODE.fd", "/usr/share/OVMF/OVMF_VARS.fd", false),
    ("/usr/share/edk2/ovmf/OVMF_CODE.fd", "/usr/share/edk2/ovmf/OVMF_VARS.fd", false),
    ("/usr/share/qemu/ovmf-x86_64-4m-code.bin", "/usr/share/qemu/ovmf-x86_64-4m-vars.bin", false),
    ("/usr/share/qemu/ovmf-x86_64-code.bin", "/usr/share/qemu/ovmf-x86_64-vars.bin", false),
    ("/usr/share/edk2/x64/OVMF_CODE.4m.fd", "/usr/share/edk2/x64/OVMF_VARS.4m.fd", false),
    ("/usr/share/edk2/ovmf/OVMF_CODE.secboot.fd", "/usr/share/edk2/ovmf/OVMF_VARS.fd", true),
    ("/usr/share/OVMF/OVMF_CODE.secboot.fd", "/usr/share/OVMF/OVMF_VARS.fd", true),
];

/// The options for UEFI; its variables are a copy in `dir`.
fn uefi(dir: &Path) -> Result<Vec<OsString>, VmError> {
    let there = |path: &str| Path::new(path).exists();
    let Some((code, vars, smm)) = OVMF.into_iter().find(|(code, vars, _)| there(code) && there(vars)) else {
        return Err(VmError::NotInstalled {
            what: "OVMF, the firmware that the disk needs (UEFI),",
            debian: "ovmf",
            rhel: "edk2-ovmf",
        });
    };
    let own = dir.join("vars.fd");
    fs::copy(vars, &own).map_err(io_error(format!("copying {vars}")))?;
    let mut options: Vec<OsString> = ["-machine", if smm { "q35,smm=on" } else { "q35" }].map(OsString::from).to_vec();
    if smm {
        options.extend(["-global", "driver=cfi.pflash01,property=secure,value=on"].map(OsString::from));
    }
    options.push("-drive".into());
    options.push(format!("if=pflash,format=raw,unit=0,readonly=on,file={code}").into());
    options.push("-drive".into());
    options.push(with_commas(b"if=pflash,format=raw,unit=1,file=", &own, b""));
    Ok(options)
}

#[cfg(test)]
mod tests {
    use super::{is_halted, ticks};

    #[test]
    fn processor_time_is_read_behind_any_name() {
        let stat = b"812 (a) b (c) R 1 2 3 4 5 6 7 8 9 10 400 25 0 0 20 0 3 0 77";
        assert_eq!(ticks(stat), Some(425));
        assert_eq!(ticks(b"812 (sh) R 1"), None);
        assert_eq!(ticks(b""), None);
    }

    #[test]
    fn only_a_processor_that_nothing_wakes_is_halted() {
        let registers = |flags: &str, halted: u8| {
            format!("\r\nCPU#0\r\nEIP=00007c13 EFL={flags} [-------] CPL=0 II=0 A20=1 SMM=0 HLT={halted}\r\nES =0000")
        };
        assert!(is_halted(&registers("00000002", 1)));
        // It waits for an interrupt, as every idle system does.
        assert!(!is_halted(&registers("00000202", 1)));
        assert!(!is_halted(&registers("00000002", 0)));
        assert!(is_halted(&registers("00000046", 1).replace("EFL", "RFL")));
        assert!(!is_halted(""));
    }
}
