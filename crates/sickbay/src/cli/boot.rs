//! `sickbay boot`.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::ValueEnum;
use sickbay_formats::boot_console::Console;
use sickbay_target::vm::{Bus, Firmware};
use sickbay_target::{Access, OpenError, Options, Target};

use super::{Context, Failure, complain};
use crate::boot::{By, Outcome, Trial, Wish};
use crate::engine::run::diagnose;
use crate::facts::Facts;
use crate::facts::logs::console::stage;
use crate::model::diagnosis::Diagnosis;
use crate::report::Report;
use crate::{boot, checks, tr};

/// Boot a copy of a disk in QEMU and see how far it gets; the disk is not touched
///
/// Without KVM it takes minutes. The guest has no network.
///
/// Exit status: 0 it reaches a login, 1 it stops before that, 2 undetermined.
#[derive(Debug, clap::Args)]
pub(super) struct Boot {
    /// The disk, or a disk image (raw, qcow2, vmdk, vhd, ...)
    target: PathBuf,
    #[command(flatten)]
    how: How,
    /// Memory of the guest in MiB
    #[arg(long, value_name = "MIB", default_value_t = 1024)]
    memory: u32,
    /// Another disk of the same machine, such as a data disk named in its fstab
    #[arg(long, value_name = "DISK")]
    with: Vec<PathBuf>,
    /// Let an image use the other files that it names: backing files, data files, extents
    #[arg(long)]
    follow_images: bool,
    /// Save the console output to this file [default: a new file in the temporary directory]
    #[arg(long, value_name = "FILE")]
    console: Option<PathBuf>,
    /// Firmware of the guest [default: what the disk is set up for]
    #[arg(long, value_enum)]
    firmware: Option<FirmwareArg>,
    /// How the disks are attached
    #[arg(long, value_enum, default_value = "virtio")]
    disk_bus: BusArg,
}

/// What `fix --boot-test` has as well.
#[derive(Debug, clap::Args)]
pub(super) struct How {
    /// How long the boot may take [default: 180 of the guest's own time with KVM, 900 without]
    #[arg(long, value_name = "SECONDS")]
    timeout: Option<u64>,
    /// What runs the guest
    #[arg(long, value_enum, default_value = "auto")]
    accel: AccelArg,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum AccelArg {
    /// KVM if it is available and runs the guest, otherwise like tcg
    Auto,
    /// The CPU, with KVM
    Kvm,
    /// QEMU emulation, which is slow
    Tcg,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum FirmwareArg {
    /// A PC's BIOS
    Bios,
    /// UEFI
    Uefi,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum BusArg {
    /// /dev/vda
    Virtio,
    /// /dev/sda
    Sata,
    /// /dev/nvme0n1
    Nvme,
}

impl How {
    /// What is to be started, with so much memory in MiB, and all else as usual.
    pub(super) fn wish(&self, disk: PathBuf, with: Vec<PathBuf>, follow_images: bool, memory: u32) -> Wish {
        Wish {
            disk,
            with,
            follow_images,
            firmware: None,
            bus: Bus::default(),
            by: match self.accel {
                AccelArg::Auto => By::Auto,
                AccelArg::Kvm => By::Kvm,
                AccelArg::Tcg => By::Tcg,
            },
            memory,
            timeout: self.timeout.map(Duration::from_secs),
            console: None,
        }
    }
}

impl Boot {
    pub(super) fn run(&self, context: &Context) -> Result<u8, Failure> {
        let started = jiff::Timestamp::now();
        let options = Options {
            access: Access::ReadOnly,
            with: self.with.clone(),
            follow_images: self.follow_images,
            ..Options::default()
        };
        // A disk that cannot be read can still be started: that is one way to see what is wrong with it.
        let opened = Target::open(Some(&self.target), &options);
        if let Ok(target) = &opened
            && let Some(why) = boot::why_not(target, &self.target)
        {
            return Err(Failure(why));
        }
        if let Err(error @ (OpenError::NotFound { .. } | OpenError::Denied { .. } | OpenError::Outside { .. })) = opened
        {
            return Err(error.into());
        }
        let facts = opened.ok().map(|target| Arc::new(Facts::new(Arc::new(target), None)));
        let wish = Wish {
            firmware: self.firmware.map(|firmware| match firmware {
                FirmwareArg::Bios => Firmware::Bios,
                FirmwareArg::Uefi => Firmware::Uefi,
            }),
            bus: match self.disk_bus {
                BusArg::Virtio => Bus::Virtio,
                BusArg::Sata => Bus::Sata,
                BusArg::Nvme => Bus::Nvme,
            },
            console: self.console.clone(),
            ..self.how.wish(self.target.clone(), self.with.clone(), self.follow_images, self.memory)
        };
        let trial = watched(context, &wish, facts.as_ref())?;
        let code = trial.exit_code();
        let diagnosis = match &facts {
            Some(facts) if trial.outcome != Outcome::Login => of_the_stop(facts, &trial),
            _ => Diagnosis { outcomes: Vec::new(), findings: Vec::new(), said: Vec::new(), took: Duration::ZERO },
        };
        let report = match &facts {
            Some(facts) => Report::new(started, facts, diagnosis, None).with_trial(trial),
            None => Report::of_unread(started, &self.target, diagnosis).with_trial(trial),
        };
        context.print_report(&report, Some(self.target.as_path()))?;
        Ok(code)
    }
}

/// Tries it; on a terminal a line tells how far it is.
pub(super) fn watched(context: &Context, wish: &Wish, facts: Option<&Arc<Facts>>) -> Result<Trial, Failure> {
    let on_terminal = std::io::stderr().is_terminal();
    let begun = Instant::now();
    let mut shown = String::new();
    let mut progress = |console: &Console| {
        let at = stage(console.stage).title();
        let line = context.say(&tr!("starting a copy: {stage}", stage = at));
        if on_terminal && line != shown {
            complain(&context.style.shown(&format!("\r\x1b[K{line} ({} s)", begun.elapsed().as_secs())));
            shown = line;
        }
    };
    let trial = boot::run(wish, facts, &mut progress);
    if !shown.is_empty() {
        complain("\r\x1b[K");
    }
    trial.map_err(Failure)
}

/// The findings on the disk that stop the stage at which it stopped.
fn of_the_stop(facts: &Arc<Facts>, trial: &Trial) -> Diagnosis {
    let mut diagnosis = diagnose(facts, &checks::ALL);
    let Some(stop) = trial.console.stands_at().map(|stop| stage(stop.stage)) else { return diagnosis };
    diagnosis.findings.retain(|finding| finding.stops.contains(&stop) && finding.caused_by.is_none());
    diagnosis
}
