//! What a boot said on its console, in the words of a report.

use bstr::ByteSlice;
use sickbay_formats::boot_console::{Cause, Console, Reader, Stage as ConsoleStage, Stop};
use sickbay_formats::census::Census;
use sickbay_formats::kernel_log::{Scanner, blocked};
use sickbay_formats::lines::newlines;
use sickbay_formats::{ping, service_log, trace};
use sickbay_target::Blocks;

use crate::facts::logs::origin::Origin;
use crate::model::stage::Stage;
use crate::model::text::Text;
use crate::tr;

/// A log whose beginning is no console is none; no console says so little of itself in this many bytes.
const BEGINNING: usize = 1 << 20;
/// So much of a log is read for what services say, and all of it where its sample has lines of theirs.
const SERVICES: usize = 16 << 20;
/// No more of a boot is held back.
const HELD: usize = 64 << 20;

/// Scanners of what tools print, and of stacks that were asked for, which is no log of a system.
#[derive(Debug, Default)]
pub(super) struct Tools {
    pub(super) ping: ping::Scanner,
    pub(super) trace: trace::Scanner,
    pub(super) blocked: blocked::Scanner,
    pub(super) origin: Origin,
}

/// Reads a log for a scanner of incidents, and as a console if it is one. Of a console a boot that nobody could log in
/// to, and that another followed, is over and done with: its incidents do not count.
pub(super) fn feed(
    scanner: &mut Scanner,
    census: &mut Census,
    services: &mut service_log::Scanner,
    tools: &mut Tools,
    mut blocks: Blocks,
) -> std::io::Result<Option<Console>> {
    let mut reader = Reader::default();
    // The boots that were read and not yet given to the scanner, and whether each came up.
    let mut held: Vec<(Vec<u8>, bool)> = vec![(Vec::new(), false)];
    let is_journal = blocks.is_journal();
    let mut watched = true;
    let mut read = 0;
    let mut seen = 0;
    let mut lines = 0;
    let result = loop {
        let block = match blocks.next_block() {
            Ok(Some(block)) => block,
            Ok(None) => break Ok(()),
            Err(error) => break Err(error),
        };
        census.block(block);
        tools.ping.block(block);
        if seen < SERVICES {
            tools.origin.block(block);
        }
        tools.trace.block(block);
        seen += block.len();
        let before = if watched { lines } else { scanner.lines() };
        if seen < SERVICES {
            tools.blocked.block(block, before);
        }
        if is_journal || census.services > 0 || seen < SERVICES {
            services.block(block, before);
        }
        if watched {
            lines += newlines(block);
        } else {
            scanner.block(block);
            continue;
        }
        read += block.len();
        for line in block.lines_with_terminator() {
            let up = reader.is_up();
            if reader.block(line) {
                if let Some((_, was_up)) = held.last_mut() {
                    *was_up = up;
                }
                held.push((Vec::new(), false));
            }
            if let Some((text, _)) = held.last_mut() {
                text.extend_from_slice(line);
                // Of a line that is too long only the beginning is given.
                if !line.ends_with(b"\n") {
                    text.push(b'\n');
                }
            }
        }
        watched = reader.is_console() || read < BEGINNING;
        if !watched || held.last().is_some_and(|(text, _)| text.len() > HELD) {
            give(scanner, &mut held, watched);
        }
    };
    give(scanner, &mut held, reader.is_console());
    result.map(|()| Some(reader.console()).filter(|console| console.is_console))
}

fn give(scanner: &mut Scanner, held: &mut Vec<(Vec<u8>, bool)>, is_console: bool) {
    let last = held.len().saturating_sub(1);
    for (index, (text, up)) in held.iter().enumerate() {
        if !is_console || *up || index == last {
            scanner.block(text);
        } else {
            scanner.pass_over(text.lines().count() as u64);
        }
    }
    *held = vec![(Vec::new(), false)];
}

/// The stage of the boot proof.
pub fn stage(stage: ConsoleStage) -> Stage {
    match stage {
        ConsoleStage::PartitionTable => Stage::PartitionTable,
        ConsoleStage::BootLoader => Stage::BootLoader,
        ConsoleStage::BootConfig => Stage::BootConfig,
        ConsoleStage::Kernel => Stage::Kernel,
        ConsoleStage::Initramfs => Stage::Initramfs,
        ConsoleStage::RootDevice => Stage::RootDevice,
        ConsoleStage::Init => Stage::Init,
        ConsoleStage::Mounts => Stage::Mounts,
        ConsoleStage::Services => Stage::Services,
    }
}

/// Why it stops, in a sentence that names the culprit.
pub fn why(stop: &Stop) -> Text {
    let culprit = stop.culprit.as_str();
    let named = !culprit.is_empty();
    match stop.cause {
        Cause::NothingToBoot => tr!("the firmware finds nothing to boot"),
        Cause::FirmwareEntry if named => tr!("the firmware cannot boot {culprit}", culprit),
        Cause::FirmwareEntry => tr!("the firmware boots nothing from this disk"),
        Cause::PartitionTable => tr!("the disk's partition table or its signature is damaged"),
        Cause::LoaderCode => tr!("the boot loader's own code does not work"),
        Cause::LoaderFile => tr!("a part of the boot loader is missing: {culprit}", culprit),
        Cause::LoaderDevice if culprit.starts_with("no such device: ") => {
            let name = culprit.trim_start_matches("no such device: ");
            tr!("the boot loader does not find the disk or file system {name}", name)
        }
        Cause::LoaderDevice if culprit.eq_ignore_ascii_case("unknown filesystem") => {
            tr!("the boot loader does not know the file system on the partition that it is to read")
        }
        Cause::LoaderDevice => tr!("the boot loader cannot read a file it needs: {culprit}", culprit),
        Cause::LoaderConfig if named => {
            tr!("the boot loader's configuration is missing or wrong: {culprit}", culprit)
        }
        Cause::LoaderConfig => tr!("the boot loader has no configuration and stops at its prompt"),
        Cause::KernelMissing if named => tr!("the kernel {culprit} does not exist", culprit),
        Cause::KernelMissing => tr!("a file that the boot entry names does not exist"),
        Cause::KernelDamaged => tr!("the kernel cannot be booted: {culprit}", culprit),
        Cause::EntriesFailed => tr!("the boot loader cannot boot any of its entries"),
        Cause::InitramfsMissing => tr!("the initramfs {culprit} does not exist", culprit),
        Cause::InitramfsDamaged => tr!("the initramfs cannot be unpacked or started"),
        Cause::InitramfsNotUsed => {
            tr!("the kernel got no usable initramfs, and without one it cannot find {culprit}", culprit)
        }
        Cause::RootMissing if named => tr!("the root device {culprit} does not exist", culprit),
        Cause::RootMissing => tr!("the root device does not exist"),
        Cause::StorageDriver => {
            tr!("the driver {culprit}, which the disks depend on, failed, so the root device does not exist", culprit)
        }
        Cause::LvmDevices => {
            tr!("LVM's devices file is from another disk, and hides the volumes of this one: {culprit}", culprit)
        }
        Cause::RootOverNetwork => tr!("the root file system could not be mounted over NFS"),
        Cause::RootUnnamed => tr!("the kernel command line does not say which device is the root"),
        Cause::RootUnmountable if named => tr!("the root file system on {culprit} cannot be mounted", culprit),
        Cause::RootUnmountable => tr!("the root file system cannot be mounted"),
        Cause::InitMissing if named => tr!("{culprit}, the first program, does not exist or cannot be run", culprit),
        Cause::InitMissing => tr!("there is no init that can be run"),
        Cause::InitLibrary => tr!("process 1 lacks the library {culprit}", culprit),
        Cause::InitDied => tr!("process 1 ended, exit code {culprit}", culprit),
        Cause::InitFrozen if named => tr!("process 1 gave up: {culprit}", culprit),
        Cause::InitFrozen => tr!("process 1 gave up"),
        Cause::TargetMissing => tr!("systemd cannot find its default target"),
        Cause::InitShell => tr!("a shell was started instead of init"),
        Cause::SelinuxPolicy => tr!("SELinux is enforcing, and its policy cannot be loaded"),
        Cause::DeviceMissing => tr!("the device {culprit}, which is to be mounted, does not exist", culprit),
        Cause::MountFailed => tr!("{culprit} cannot be mounted", culprit),
        Cause::CheckFailed if named => tr!("the file system on {culprit} must be checked by hand", culprit),
        Cause::CheckFailed => tr!("a file system must be checked by hand"),
        Cause::FileSystemDamaged => tr!("the file system on {culprit} is damaged", culprit),
        Cause::EmergencyMode => tr!("it is in emergency mode, and the console does not show why"),
        Cause::RescueMode => tr!("it is in rescue mode, as requested"),
        Cause::InitramfsShell => tr!("the initramfs stopped in its shell and does not say why"),
        Cause::UnitFailed => tr!("{culprit} does not start", culprit),
        Cause::OutOfMemory => tr!("there is not enough memory"),
        Cause::GettyLoop => tr!("the programs that show a login prompt do not run"),
        Cause::KernelPanic => tr!("the kernel panicked: {culprit}", culprit),
        Cause::Waiting => tr!("it waits for {culprit}", culprit),
        Cause::Silence => tr!("it prints nothing more"),
    }
}
