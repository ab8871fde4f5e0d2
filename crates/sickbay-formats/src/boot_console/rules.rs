//! What the lines of a console mean. The words are those of SeaBIOS, OVMF, GRUB 2 and 0.97, Linux, initramfs-tools, dracut,
//! mkinitcpio, systemd, sysvinit, upstart and OpenRC.

use super::{Cause, Stage};
use crate::kernel_log::{Kind, classify};

/// What a line means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    /// A power-on, or a step that belongs to this part of one.
    Begin(Part),
    /// The boot is at work on this stage.
    At(Stage),
    /// In the initramfs there is a whole systemd, whose targets are not those of the system.
    InInitramfs,
    /// The system is left to its own init.
    Leaves,
    /// It may be why the boot stops.
    Suspect(Suspect),
    /// The boot stands here; why, if nothing better is known.
    Halt(Suspect),
    /// The kernel stopped: its reason.
    Panic(String),
    /// Everything was started.
    Up,
    /// A login prompt, or a shell of somebody who logged in.
    Prompt,
}

/// The parts of a boot that tell one from the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Part {
    /// The first words of a firmware.
    PowerOn,
    Firmware,
    Loader,
    Load,
    Kernel,
}

/// A reason that a line gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Suspect {
    pub(super) stage: Stage,
    pub(super) cause: Cause,
    pub(super) culprit: String,
    /// Of several reasons the heaviest is believed: the one nearest to the root.
    pub(super) weight: u8,
}

fn suspect(stage: Stage, cause: Cause, culprit: &str, weight: u8) -> Suspect {
    let culprit: String = culprit.trim().trim_end_matches('.').chars().take(160).collect();
    Suspect { stage, cause, culprit, weight }
}

/// What begins a boot, or a part of one.
const BEGINS: &[(&str, Part)] = &[
    ("SeaBIOS (version", Part::PowerOn),
    ("UEFI firmware (version", Part::PowerOn),
    ("American Megatrends", Part::PowerOn),
    ("Phoenix", Part::PowerOn),
    ("iPXE (", Part::Firmware),
    ("Booting from ", Part::Firmware),
    ("BdsDxe: loading", Part::Firmware),
    ("BdsDxe: starting", Part::Firmware),
    (">>Start PXE", Part::Firmware),
    ("GRUB loading", Part::Loader),
    ("GRUB Loading stage", Part::Loader),
    ("Welcome to GRUB", Part::Loader),
    ("GNU GRUB ", Part::Loader),
    ("GRUB version 0.9", Part::Loader),
    ("GNU GRUB  version 0.9", Part::Loader),
    ("ISOLINUX ", Part::Loader),
    ("SYSLINUX ", Part::Loader),
    ("U-Boot 2", Part::Loader),
    ("Booting `", Part::Loader),
    ("Booting '", Part::Loader),
    ("Booting a command list", Part::Loader),
    ("Loading Linux ", Part::Load),
    ("Loading initial ramdisk", Part::Load),
    ("EFI stub:", Part::Load),
    ("Decompressing Linux", Part::Load),
    ("early console in ", Part::Load),
    ("Linux version ", Part::Kernel),
];

/// Words with which a line begins and the stage that is then at work.
const STARTS: &[(&str, Stage)] = &[
    ("Booting from Hard Disk", Stage::BootLoader),
    ("BdsDxe: starting", Stage::BootLoader),
    ("GRUB loading", Stage::BootLoader),
    ("GRUB Loading stage", Stage::BootLoader),
    ("Welcome to GRUB", Stage::BootLoader),
    ("GNU GRUB ", Stage::BootConfig),
    ("Booting `", Stage::Kernel),
    ("Booting '", Stage::Kernel),
    ("Booting a command list", Stage::Kernel),
    ("Loading Linux ", Stage::Kernel),
    ("EFI stub:", Stage::Kernel),
    ("Decompressing Linux", Stage::Kernel),
    ("Linux version ", Stage::Initramfs),
    ("Loading, please wait...", Stage::RootDevice),
    ("Starting systemd-udevd version", Stage::RootDevice),
    ("Begin: ", Stage::RootDevice),
    (":: running early hook", Stage::RootDevice),
    ("Run /init as init process", Stage::RootDevice),
    ("Alpine Init ", Stage::RootDevice),
    ("Run /sbin/init as init process", Stage::Init),
    ("INIT: version ", Stage::Mounts),
    ("OpenRC ", Stage::Mounts),
    ("INIT: Entering runlevel", Stage::Services),
];

/// A part of the initramfs is lost: what it does not do later, as finding the root, is a consequence.
pub(super) const DAMAGED: u8 = 69;

/// Without a root the kernel goes on as far as init: that is a consequence.
pub(super) const NO_ROOT: u8 = 67;

/// What needs nothing but to be said.
const HALTS: &[(&str, Stage, Cause)] = &[
    ("No bootable device", Stage::PartitionTable, Cause::NothingToBoot),
    ("Operating System not found", Stage::PartitionTable, Cause::NothingToBoot),
    ("No Operating System found", Stage::PartitionTable, Cause::NothingToBoot),
    ("An operating system wasn't found", Stage::PartitionTable, Cause::NothingToBoot),
    ("Reboot and Select proper Boot device", Stage::PartitionTable, Cause::NothingToBoot),
    ("No bootable option or device was found", Stage::BootLoader, Cause::NothingToBoot),
    ("Missing operating system", Stage::BootLoader, Cause::NothingToBoot),
    ("Error loading operating system", Stage::BootLoader, Cause::LoaderCode),
    ("Invalid partition table", Stage::PartitionTable, Cause::PartitionTable),
    ("UEFI Interactive Shell", Stage::BootLoader, Cause::NothingToBoot),
    ("GRUB Hard Disk Error", Stage::BootLoader, Cause::LoaderCode),
    ("GRUB Geom Error", Stage::BootLoader, Cause::LoaderCode),
    ("GRUB Read Error", Stage::BootLoader, Cause::LoaderCode),
    ("GRUB Floppy Error", Stage::BootLoader, Cause::LoaderCode),
    ("Geom Error", Stage::BootLoader, Cause::LoaderCode),
    ("Hard Disk Error", Stage::BootLoader, Cause::LoaderCode),
    ("GRUB GRUB GRUB", Stage::BootLoader, Cause::LoaderCode),
    ("grub rescue>", Stage::BootLoader, Cause::LoaderCode),
    ("grub>", Stage::BootConfig, Cause::LoaderConfig),
    ("Minimal BASH-like line editing is supported", Stage::BootConfig, Cause::LoaderConfig),
    ("Failed to boot both default and fallback entries", Stage::Kernel, Cause::EntriesFailed),
    ("dracut Warning: Boot has failed", Stage::RootDevice, Cause::InitramfsShell),
    ("(initramfs)", Stage::RootDevice, Cause::InitramfsShell),
    ("dracut:/#", Stage::RootDevice, Cause::InitramfsShell),
    ("initramfs emergency recovery shell launched", Stage::RootDevice, Cause::InitramfsShell),
    ("You are now being dropped into an emergency shell", Stage::RootDevice, Cause::InitramfsShell),
    ("[rootfs ]#", Stage::RootDevice, Cause::InitramfsShell),
    ("Entering emergency mode", Stage::Mounts, Cause::EmergencyMode),
    ("You are in emergency mode", Stage::Mounts, Cause::EmergencyMode),
    ("Welcome to emergency mode", Stage::Mounts, Cause::EmergencyMode),
    ("Cannot open access to console", Stage::Mounts, Cause::EmergencyMode),
    ("Press Enter for maintenance", Stage::Mounts, Cause::EmergencyMode),
    ("Give root password for", Stage::Mounts, Cause::EmergencyMode),
    ("or press Control-D to continue", Stage::Mounts, Cause::EmergencyMode),
    ("(Repair filesystem)", Stage::Mounts, Cause::CheckFailed),
    ("You are in rescue mode", Stage::Services, Cause::RescueMode),
    ("Welcome to rescue mode", Stage::Services, Cause::RescueMode),
    ("Failed to load SELinux policy", Stage::Init, Cause::SelinuxPolicy),
    ("Unable to load SELinux Policy. Machine is in enforcing mode", Stage::Init, Cause::SelinuxPolicy),
    ("no more processes left in this runlevel", Stage::Services, Cause::GettyLoop),
    ("No more processes left in this runlevel", Stage::Services, Cause::GettyLoop),
    ("No inittab file found", Stage::Init, Cause::InitFrozen),
    ("Press S to skip mounting or M for manual recovery", Stage::Mounts, Cause::MountFailed),
    ("Continue to wait, or Press S to skip", Stage::Mounts, Cause::DeviceMissing),
    ("Refusing to continue", Stage::RootDevice, Cause::RootUnnamed),
];

/// What may be why, with its weight.
const SUSPECTS: &[(&str, Stage, Cause, u8)] = &[
    ("Boot failed: not a bootable disk", Stage::PartitionTable, Cause::PartitionTable, 60),
    // What follows the archive is often harmless, as padding is: heavy enough only where no init came out of it.
    ("junk in compressed archive", Stage::Initramfs, Cause::InitramfsDamaged, 59),
    ("junk within compressed archive", Stage::Initramfs, Cause::InitramfsDamaged, 59),
    ("RAMDISK: incomplete write", Stage::Initramfs, Cause::InitramfsDamaged, DAMAGED),
    ("RAMDISK: EOF while reading compressed data", Stage::Initramfs, Cause::InitramfsDamaged, DAMAGED),
    ("Initramfs unpacking failed", Stage::Initramfs, Cause::InitramfsDamaged, DAMAGED),
    ("rootfs image is not initramfs", Stage::Initramfs, Cause::InitramfsDamaged, DAMAGED),
    ("check access for rdinit=/init failed", Stage::Initramfs, Cause::InitramfsDamaged, 58),
    ("No root device specified", Stage::RootDevice, Cause::RootUnnamed, 70),
    ("No or empty root= argument", Stage::RootDevice, Cause::RootUnnamed, 70),
    ("Gave up waiting for root", Stage::RootDevice, Cause::RootMissing, 40),
    ("Could not boot.", Stage::RootDevice, Cause::RootMissing, 20),
    ("dracut-initqueue timeout", Stage::RootDevice, Cause::RootMissing, 30),
    ("The root filesystem on ", Stage::Mounts, Cause::CheckFailed, 66),
    ("Mounting root failed", Stage::RootDevice, Cause::RootUnmountable, 40),
    ("Target filesystem doesn't have requested /sbin/init", Stage::Init, Cause::InitMissing, 52),
    ("No init found. Try passing init=", Stage::Init, Cause::InitMissing, 51),
    ("Root device mounted successfully, but /sbin/init does not exist", Stage::Init, Cause::InitMissing, 55),
    ("Failed to mount API filesystems", Stage::Init, Cause::InitFrozen, 60),
    ("Unit default.target not found", Stage::Services, Cause::TargetMissing, 45),
    ("Failed to load default target", Stage::Services, Cause::TargetMissing, 45),
    ("Failed to load configuration for default.target", Stage::Services, Cause::TargetMissing, 45),
    ("Failed to isolate default target", Stage::Services, Cause::TargetMissing, 40),
    ("An automatic file system check (fsck) of the root filesystem failed", Stage::Mounts, Cause::CheckFailed, 40),
    ("An error occurred during the file system check", Stage::Mounts, Cause::CheckFailed, 40),
    ("fsck died with exit status", Stage::Mounts, Cause::CheckFailed, 35),
    ("A start job is running for", Stage::Services, Cause::Waiting, 16),
    ("Out of memory: Kill", Stage::Services, Cause::OutOfMemory, 25),
    ("respawning too fast: disabled", Stage::Services, Cause::GettyLoop, 30),
    ("Attempted to load an unsigned", Stage::Kernel, Cause::KernelDamaged, 30),
];

/// A line as it is read; `at` is the stage that was at work before it, `in_initramfs` whether that has a systemd.
pub(super) fn meaning(text: &str, at: Stage, in_initramfs: bool) -> Option<Meaning> {
    if let Some((_, reason)) = text.split_once("Kernel panic - not syncing: ") {
        return (!text.starts_with("---[ end")).then(|| Meaning::Panic(reason.to_owned()));
    }
    if let Some(found) = grub(text, at).or_else(|| firmware(text)) {
        return Some(found);
    }
    if let Some((_, part)) = BEGINS.iter().find(|(words, _)| text.starts_with(words)) {
        return Some(Meaning::Begin(*part));
    }
    if let Some(found) = prompt(text).or_else(|| initramfs(text)).or_else(|| init(text, in_initramfs)) {
        return Some(found);
    }
    for (words, stage, cause) in HALTS {
        if text.contains(words) {
            return Some(Meaning::Halt(suspect(*stage, *cause, "", 10)));
        }
    }
    for (words, stage, cause, weight) in SUSPECTS {
        if text.contains(words) {
            return Some(Meaning::Suspect(suspect(*stage, *cause, culprit(text, *cause), *weight)));
        }
    }
    if let Some((_, stage)) = STARTS.iter().find(|(words, _)| text.starts_with(words)) {
        return Some(Meaning::At(*stage));
    }
    file_system(text, at, in_initramfs)
}

/// The stage that a line which begins a part shows to be at work.
pub(super) fn stage_of(text: &str) -> Stage {
    STARTS.iter().find(|(words, _)| text.starts_with(words)).map_or(Stage::PartitionTable, |(_, stage)| *stage)
}

/// What a line of [`SUSPECTS`] is about.
fn culprit(text: &str, cause: Cause) -> &str {
    match cause {
        Cause::Waiting => between(text, "running for ", " (").unwrap_or_default(),
        Cause::CheckFailed => between(text, "filesystem on ", " requires").unwrap_or_default(),
        Cause::InitMissing => "/sbin/init",
        Cause::GettyLoop => between(text, "Id \"", "\"").unwrap_or_default(),
        _ => "",
    }
}

fn firmware(text: &str) -> Option<Meaning> {
    if text.contains("BdsDxe: failed to ") || text.contains("Failed to load image") {
        let name = text.split('"').nth(1).or_else(|| text.split_once(": failed to load ").map(|(_, rest)| rest));
        return Some(Meaning::Suspect(suspect(Stage::BootLoader, Cause::FirmwareEntry, name.unwrap_or_default(), 30)));
    }
    (text.starts_with("Shell>") || text.contains("Security Violation"))
        .then(|| Meaning::Halt(suspect(Stage::BootLoader, Cause::FirmwareEntry, "", 10)))
}

/// `error: …` of GRUB 2, also as `error: ../../grub-core/fs/fshelp.c:257:…`, and `Error 15: …` of GRUB 0.97.
fn grub(text: &str, at: Stage) -> Option<Meaning> {
    if at >= Stage::Initramfs {
        return None;
    }
    if let Some(number) = text.strip_prefix("Error ").or_else(|| between(text, "GRUB Error ", "").map(str::trim_start))
    {
        let digits: String = number.chars().take_while(char::is_ascii_digit).collect();
        return legacy(digits.parse().ok()?, text, at);
    }
    let said = text.strip_prefix("error: ")?;
    let said = match said.split_once(".c:").and_then(|(_, rest)| rest.split_once(':')) {
        Some((_, rest)) => rest,
        None => said,
    };
    let file = between(said, "file `", "'");
    let found = match () {
        () if said.contains(" not found") && file.is_some() => {
            let file = file.unwrap_or_default();
            let name = file.rsplit('/').next().unwrap_or_default();
            let is = |ends: &[&str]| ends.iter().any(|end| name.ends_with(end));
            match () {
                () if is(&[".pf2", ".png", ".txt", ".mo", ".gz", ".jpg", ".tga"]) => return None,
                () if is(&[".mod", ".lst"]) => suspect(Stage::BootLoader, Cause::LoaderFile, file, 50),
                () if is(&[".cfg"]) => suspect(Stage::BootConfig, Cause::LoaderConfig, file, 50),
                () if name.contains("init") => suspect(Stage::Initramfs, Cause::InitramfsMissing, file, 80),
                () => suspect(Stage::Kernel, Cause::KernelMissing, file, 60),
            }
        }
        () if said.contains("you need to load the kernel first") => {
            suspect(Stage::Kernel, Cause::KernelDamaged, said, 20)
        }
        () if [
            "invalid magic number",
            "premature end of file",
            "invalid signature",
            "bad shim signature",
            "invalid arch",
        ]
        .iter()
        .any(|words| said.contains(words)) =>
        {
            suspect(Stage::Kernel, Cause::KernelDamaged, file.unwrap_or(said).trim_end_matches('.'), 50)
        }
        () if said.contains("can't find command `linux") => suspect(Stage::BootLoader, Cause::LoaderFile, said, 40),
        () if said.contains("syntax error")
            || said.contains("unknown command")
            || said.contains("Incorrect command") =>
        {
            suspect(Stage::BootConfig, Cause::LoaderConfig, said, 30)
        }
        () if said.contains("symbol `") => suspect(Stage::BootLoader, Cause::LoaderCode, said, 45),
        () if [
            "no such device",
            "no such partition",
            "no such disk",
            "unknown filesystem",
            "not found",
            "outside of disk",
            "read error",
            "failure reading sector",
            "out of disk",
            "not supported",
            "no such cryptodisk",
        ]
        .iter()
        // Older ones write "Unknown filesystem".
        .any(|words| said.to_ascii_lowercase().contains(words)) =>
        {
            let stage = if at <= Stage::BootLoader { Stage::BootLoader } else { Stage::BootConfig };
            suspect(stage, Cause::LoaderDevice, said, 35)
        }
        () if said.contains("out of memory") => suspect(Stage::Initramfs, Cause::OutOfMemory, "", 40),
        () => return None,
    };
    Some(Meaning::Suspect(found))
}

/// The numbers of GRUB 0.97 (its manual, "Stage2 errors"). It waits for a key after each.
fn legacy(number: u32, text: &str, at: Stage) -> Option<Meaning> {
    let early = at <= Stage::BootLoader;
    let found = match number {
        15 if early => suspect(Stage::BootLoader, Cause::LoaderFile, "stage2", 40),
        15 => suspect(Stage::Kernel, Cause::KernelMissing, "", 40),
        2 | 8 | 13 => suspect(Stage::Kernel, Cause::KernelDamaged, text, 40),
        27 | 14 | 11 | 12 => suspect(Stage::BootConfig, Cause::LoaderConfig, text, 40),
        28 => suspect(Stage::Initramfs, Cause::OutOfMemory, "", 40),
        5 => suspect(Stage::PartitionTable, Cause::PartitionTable, text, 40),
        _ if early => suspect(Stage::BootLoader, Cause::LoaderDevice, text, 40),
        _ => suspect(Stage::BootConfig, Cause::LoaderDevice, text, 40),
    };
    Some(Meaning::Halt(found))
}

/// A login prompt, or a prompt of root's shell.
fn prompt(text: &str) -> Option<Meaning> {
    let (host, rest) =
        text.split_once("login:").or_else(|| text.split_once("登录：")).or_else(|| text.split_once("登录:"))?;
    let host = host.trim_end();
    let single = !host.contains(char::is_whitespace) && !matches!(host, "Last" | "last" | "Failed" | "Previous");
    (single && (rest.is_empty() || rest.starts_with(' ') || rest.starts_with(char::is_alphanumeric)))
        .then_some(Meaning::Prompt)
}

fn initramfs(text: &str) -> Option<Meaning> {
    let root =
        |cause, culprit: &str, weight| Some(Meaning::Suspect(suspect(Stage::RootDevice, cause, culprit, weight)));
    if let Some(device) = between(text, "ALERT! ", " does not exist") {
        return root(Cause::RootMissing, device.trim_end_matches('.'), 65);
    }
    if text.contains("Unable to mount root fs via NFS") {
        return root(Cause::RootOverNetwork, "", NO_ROOT);
    }
    // dracut of EL 6, and dracut since 057, which names the hook that waits.
    if let Some(device) = between(text, "No root device \"", "\" found") {
        return root(Cause::RootMissing, device.trim_start_matches("block:"), 65);
    }
    if text.contains("/initqueue/finished/devexists-") {
        let device = between(text, "[ -e \"", "\"").or_else(|| between(text, "-e ", " ")).unwrap_or_default();
        return root(Cause::RootMissing, device, 64);
    }
    if let Some(what) = between(text, "Devices file ", " not found").filter(|what| what.contains("PVID")) {
        return root(Cause::LvmDevices, what, 66);
    }
    if text.contains("Warning: ")
        && let Some(device) = between(text, "Warning: ", " does not exist")
        && device.starts_with('/')
    {
        return root(Cause::RootMissing, device, 65);
    }
    if let Some(rest) = text.strip_prefix("ERROR: device '").or_else(|| text.strip_prefix(":: ERROR: device '")) {
        return root(Cause::RootMissing, rest.split('\'').next().unwrap_or_default(), 60);
    }
    // Of busybox, klibc and util-linux; /root, /sysroot and /new_root are where an initramfs mounts the root.
    if text.starts_with("mount: ")
        && [" on /root failed", " on /sysroot failed", " on /new_root failed"].iter().any(|on| text.contains(on))
    {
        let device = between(text, "mounting ", " on ").unwrap_or_default();
        return root(Cause::RootUnmountable, device, 60);
    }
    if text.starts_with("mount: /sysroot: ") || text.starts_with("mount: /new_root: ") {
        return root(Cause::RootUnmountable, "", 55);
    }
    if let Some(rest) = text.strip_prefix("run-init: ") {
        let program = rest.split(['\'', ' ', ':']).find(|word| word.starts_with('/')).unwrap_or("/sbin/init");
        return Some(Meaning::Suspect(suspect(Stage::Init, Cause::InitMissing, program, 53)));
    }
    if text.contains("switch_root: ") && text.contains("failed") {
        return Some(Meaning::Suspect(suspect(Stage::Init, Cause::InitMissing, "/sbin/init", 53)));
    }
    if text.contains("error while loading shared libraries: ")
        && (text.starts_with("/sbin/init") || text.contains("/systemd:"))
    {
        let library = between(text, "shared libraries: ", ":").unwrap_or_default();
        return Some(Meaning::Suspect(suspect(Stage::Init, Cause::InitLibrary, library, 70)));
    }
    // dash and bash say so; busybox, which is the shell of an initramfs, says it otherwise.
    if text.contains("sh: 0: can't access tty") || text.contains("bash: cannot set terminal process group") {
        return Some(Meaning::Halt(suspect(Stage::Init, Cause::InitShell, "", 30)));
    }
    // Where initramfs-tools looks for the resume device it says something like it, and goes on.
    None
}

/// Status lines and sentences of init.
fn init(text: &str, in_initramfs: bool) -> Option<Meaning> {
    let mounts = if in_initramfs { Stage::RootDevice } else { Stage::Mounts };
    let blame = |stage, cause, culprit: &str, weight| Some(Meaning::Suspect(suspect(stage, cause, culprit, weight)));
    if text.contains("Running in init") || text.contains("(Initramfs)!") || text.starts_with("dracut: dracut-") {
        return Some(Meaning::InInitramfs);
    }
    if ["Switching root", "Switch Root", "Switching root", "dracut: Switching root"]
        .iter()
        .any(|words| text.contains(words))
        && !text.contains("Starting")
        && !text.contains("Failed")
        && !text.contains("Reached target")
    {
        return Some(Meaning::Leaves);
    }
    if text.contains("running in system mode") {
        return Some(Meaning::At(if in_initramfs { Stage::RootDevice } else { Stage::Init }));
    }
    if text.starts_with("Welcome to ") && text.ends_with('!') && !text.starts_with("Welcome to GRUB") && !in_initramfs {
        return Some(Meaning::At(Stage::Mounts));
    }
    if let Some((_, target)) = text.split_once("Reached target ") {
        let is = |name: &str| target.trim_end_matches('.').ends_with(name);
        return match () {
            () if in_initramfs => None,
            () if is("Multi-User System") || is("Multi-User") || is("Graphical Interface") => Some(Meaning::Up),
            () if target.contains("reparation") => None,
            () if is("Local File Systems") => Some(Meaning::At(Stage::Services)),
            () => None,
        };
    }
    let started = text.starts_with("[") && text.contains("Started ") || text.contains("systemd[1]: Started ");
    if started
        && ["OpenSSH", "OpenBSD Secure Shell", "sshd.service", "ssh.service"].iter().any(|name| text.contains(name))
        || text.starts_with("Starting sshd:") && text.contains(" OK ")
        || text.contains("Starting sshd ...") && text.contains("ok ]")
        || text.starts_with("Cloud-init v.") && text.contains(" finished at ")
    {
        return Some(Meaning::Up);
    }
    if let Some((_, rest)) = text.split_once("Timed out waiting for device ") {
        return blame(
            mounts,
            if in_initramfs { Cause::RootMissing } else { Cause::DeviceMissing },
            &device_path(described(rest)),
            60,
        );
    }
    if let Some(job) = text.split_once(": Job ").and_then(|(_, rest)| rest.split_once(".device/start timed out")) {
        let cause = if in_initramfs { Cause::RootMissing } else { Cause::DeviceMissing };
        return blame(mounts, cause, &device_path(job.0), 57);
    }
    if let Some((_, rest)) = text.split_once("Dependency failed for ") {
        let what = described(rest);
        let is_mount = what.starts_with('/') && !what.starts_with("/dev/");
        let weight = if is_mount { 40 } else { 12 };
        let stage = if is_mount || what.contains("File System") { mounts } else { Stage::Services };
        return blame(stage, if is_mount { Cause::MountFailed } else { Cause::UnitFailed }, what, weight);
    }
    if let Some((_, rest)) = text.split_once("Failed to mount ")
        && (text.starts_with("[FAILED]") || text.contains("systemd[1]: "))
        && !rest.starts_with("API")
    {
        let what = described(rest);
        return if what.contains("sysroot") {
            blame(Stage::RootDevice, Cause::RootUnmountable, "", 58)
        } else {
            blame(mounts, Cause::MountFailed, what, 58)
        };
    }
    if let Some((_, rest)) = text.split_once("Failed to start ")
        && (text.starts_with("[FAILED]") || text.contains("systemd[1]: "))
    {
        let what = described(rest);
        if let Some(device) = what.split_once("File System Check on ").map(|(_, device)| device) {
            return blame(mounts, Cause::CheckFailed, device, 62);
        }
        let getty = what.contains("Getty on ") || what.contains("getty@");
        return blame(
            Stage::Services,
            if getty { Cause::GettyLoop } else { Cause::UnitFailed },
            what,
            if getty { 30 } else { 15 },
        );
    }
    if let Some((head, _)) = text.split_once(": UNEXPECTED INCONSISTENCY; RUN fsck MANUALLY") {
        let device = head.rsplit(' ').next().unwrap_or_default();
        return blame(mounts, Cause::CheckFailed, device, 68);
    }
    if text.contains("UNEXPECTED INCONSISTENCY; RUN fsck MANUALLY") {
        return blame(mounts, Cause::CheckFailed, "", 64);
    }
    if let Some(tag) = between(text, "Unable to resolve '", "'").filter(|_| text.starts_with("fsck")) {
        return blame(Stage::Mounts, Cause::DeviceMissing, tag, 66);
    }
    if let Some(device) = between(text, "An error occurred while mounting ", "") {
        return blame(Stage::Mounts, Cause::MountFailed, device.trim_end_matches('.'), 50);
    }
    if let Some(device) = between(text, "The disk drive for ", " is not ready yet") {
        return blame(Stage::Mounts, Cause::DeviceMissing, device, 50);
    }
    if let Some((_, words)) = text.split_once("systemd[1]: Caught ") {
        return blame(Stage::Init, Cause::InitFrozen, words, 62);
    }
    if text.contains("Freezing execution") || text.contains("systemd[1]: Freezing") {
        return Some(Meaning::Halt(suspect(Stage::Init, Cause::InitFrozen, "", 10)));
    }
    if let Some((_, rest)) = text.split_once("Requested init ")
        && rest.contains(" failed")
    {
        let program = rest.split(' ').next().unwrap_or_default();
        return blame(Stage::Init, Cause::InitMissing, program, 50);
    }
    if let Some(program) = between(text, "INIT: cannot execute \"", "\"") {
        return blame(Stage::Services, Cause::UnitFailed, program, 30);
    }
    None
}

/// What the kernel says of a file system: damage, and that it is mounted, which the first time is the root.
fn file_system(text: &str, at: Stage, in_initramfs: bool) -> Option<Meaning> {
    let mounted = text.contains(": mounted filesystem")
        || text.contains(": Ending clean mount")
        || text.contains(": Ending recovery");
    if mounted {
        return (at == Stage::RootDevice && !in_initramfs).then_some(Meaning::At(Stage::Init));
    }
    let named = ["EXT4-fs (", "EXT3-fs (", "EXT2-fs (", "XFS (", "BTRFS error (device ", "EXT4-fs error (device "];
    let device = named.iter().find_map(|name| {
        let rest = text.strip_prefix(name)?;
        rest.split([')', ':', ' ']).next()
    });
    let bad = [
        "Invalid superblock",
        "error loading journal",
        "SB validate failed",
        "mount/recovery failed",
        "log recovery failed",
        "Corruption",
        "can't find ext",
        "Can't find ext",
        "unable to read superblock",
        "bad geometry",
        "open_ctree failed",
        "invalid magic",
        "Superblock needs",
        "bad superblock",
        "checksum",
        "unsupported",
        "Filesystem has duplicate UUID",
    ];
    let stage = if at <= Stage::RootDevice || in_initramfs { Stage::RootDevice } else { Stage::Mounts };
    if let Some(device) = device
        && bad.iter().any(|words| text.contains(words))
    {
        // What keeps a journal from being replayed is why the mount fails, which is told last.
        let weight = match () {
            () if ["error loading journal", "mount/recovery failed", "log recovery failed"]
                .iter()
                .any(|words| text.contains(words)) =>
            {
                62
            }
            () => 45,
        };
        return Some(Meaning::Suspect(suspect(stage, Cause::FileSystemDamaged, device, weight)));
    }
    if text.starts_with("JBD2: ") && (text.contains("recovery failed") || text.contains("Invalid checksum")) {
        return Some(Meaning::Suspect(suspect(stage, Cause::FileSystemDamaged, "", 44)));
    }
    let event = classify(text.as_bytes()).filter(|event| {
        matches!(event.kind, Kind::FileSystem | Kind::JournalReplay | Kind::JournalAborted | Kind::Shutdown)
    })?;
    Some(Meaning::Suspect(suspect(stage, Cause::FileSystemDamaged, &event.subject, 45)))
}

/// `data.mount - /data.` and `/data.` → `/data`: newer versions of systemd put the unit's name first.
fn described(text: &str) -> &str {
    let text = text.trim_end_matches('.');
    match text.split_once(" - ") {
        Some((_, what)) => what,
        None => text,
    }
}

/// The path that systemd's name of a device's unit stands for: `dev-disk-by\x2duuid-0F1E.device` → `/dev/disk/by-uuid/0F1E`;
/// anything else as it is.
pub fn device_path(unit: &str) -> String {
    let unit = unit.trim().trim_end_matches('.');
    let name = unit.strip_suffix(".device").unwrap_or(unit);
    let Some(rest) = name.strip_prefix("dev-") else { return unit.to_owned() };
    format!("/dev/{}", rest.replace('-', "/").replace("\\x2d", "-").replace("\\x20", " ").replace("\\x7e", "~"))
}

/// The driver of a device on the PCI bus, or of another bus, that could not take it: `mpt3sas 0000:61:00.0: probe failed
/// with error -1`, `megaraid_sas: probe of 0000:03:00.0 failed with error -5`.
pub(super) fn failed_driver(text: &str) -> Option<&str> {
    let failed = text.contains("probe failed with error -")
        || text.contains(": probe of ") && text.contains(" failed with error -");
    let name = text.split([' ', ':']).next().filter(|_| failed)?;
    let plain = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'));
    plain.then_some(name)
}

/// Whether a line of a driver says that disks are behind it.
pub(super) fn is_of_storage(text: &str) -> bool {
    ["SCSI", "scsi", "RAID", "raid", "sas", "ahci", "nvme", "SATA", "fc_host", "qla", "lpfc", "storvsc", "virtio"]
        .iter()
        .any(|word| text.contains(word))
}

/// What stands between two words; up to the end when the second is "" or not there.
fn between<'a>(text: &'a str, before: &str, after: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(before)?;
    if after.is_empty() {
        return Some(rest);
    }
    rest.split_once(after).map(|(inner, _)| inner)
}
