//! What the target is, in a few words, for the head of a report.

use std::collections::BTreeSet;
use std::sync::Arc;

use sickbay_target::{Table, Target};

use crate::facts::Facts;
use crate::facts::boot::boot_config::BootConfig;
use crate::facts::boot::kernels::Kernels;
use crate::facts::logs::kernel_log::KernelLog;
use crate::facts::system::kernel::Kernel;
use crate::facts::system::release::System;
use crate::facts::time::Recorded;
use crate::model::summary::{TargetSummary, Understood};
use crate::model::text::Text;
use crate::sample::asked::shown;
use crate::tr;

/// Sums a target up. What cannot be told is left out.
pub fn of(facts: &Arc<Facts>) -> TargetSummary {
    let target = facts.target();
    if target.logs().is_ok() {
        return of_log(facts);
    }
    if target.recording().is_ok() && target.files().is_err() {
        return of_recording(facts);
    }
    let release = facts.get::<System>().map(|system| system.release.clone()).unwrap_or_default();
    TargetSummary {
        kind: target.word(),
        name: target.name.clone(),
        description: of_bundle(target).into_iter().chain(description(facts)).chain(part_of_recording(facts)).collect(),
        id: release.id,
        version: release.version,
        pretty_name: release.pretty_name,
        kernel: kernel(facts),
        understood: None,
        donor: facts.donor().map(donor),
        notes: target.notes().to_vec(),
        remarks: remarks_of_recording(facts),
    }
}

/// Of whom a bundle is, and when it was made.
fn of_bundle(target: &Target) -> Option<Text> {
    let bundle = target.bundle()?;
    let time =
        jiff::Timestamp::from_second(bundle.taken).unwrap_or_default().strftime("%Y-%m-%d %H:%M:%S UTC").to_string();
    let (name, version) = (bundle.name.as_str(), bundle.version.as_str());
    Some(tr!("bundle of {name}, collected {time} by sickbay {version}", name, time, version))
}

/// What is known of a log: which kernel wrote it.
fn of_log(facts: &Arc<Facts>) -> TargetSummary {
    let log = facts.get::<KernelLog>().ok();
    let kernel = log.as_ref().and_then(|log| {
        let of_report = || log.said.ooms.iter().rev().find_map(|oom| oom.kernel.clone());
        log.said.kernel.clone().or_else(of_report)
    });
    let files = facts.target().logs().map_or(0, <[_]>::len);
    let mut description = vec![if files == 1 { tr!("log") } else { tr!("{files} logs", files) }];
    let understood = log.as_ref().map(|log| Understood { of: log.census.lines, lines: log.census.understood() });
    if let (Some(log), Some(Understood { of, lines })) = (&log, &understood) {
        description.push(match log.census.sampled {
            false => tr!("{lines} of {of} lines understood", lines = grouped(*lines), of = grouped(*of)),
            true => tr!("{lines} of {of} lines of a sample understood", lines = grouped(*lines), of = grouped(*of)),
        });
        if log.census.others > 0 {
            description.push(tr!("{count} from other programs", count = grouped(log.census.others)));
        }
    }
    TargetSummary {
        kind: facts.target().word(),
        name: facts.target().name.clone(),
        description,
        id: None,
        version: None,
        pretty_name: None,
        kernel,
        understood,
        donor: None,
        notes: facts.target().notes().to_vec(),
        remarks: Vec::new(),
    }
}

/// What is known of a recording: which machine it is of, and which part was looked at.
fn of_recording(facts: &Arc<Facts>) -> TargetSummary {
    let recorded = facts.get::<Recorded>().ok();
    let machine = recorded.map(|recorded| recorded.machine.clone()).unwrap_or_default();
    let of_machine = machine.name.map(|name| tr!("recording of {name}", name));
    TargetSummary {
        kind: facts.target().word(),
        name: facts.target().name.clone(),
        description: of_machine.into_iter().chain(part_of_recording(facts)).collect(),
        id: None,
        version: None,
        pretty_name: None,
        kernel: machine.release,
        understood: None,
        donor: None,
        notes: facts.target().notes().to_vec(),
        remarks: remarks_of_recording(facts),
    }
}

/// The part of a recording that was looked at, where one was.
fn part_of_recording(facts: &Facts) -> Option<Text> {
    facts.target().recording().ok()?;
    let recorded = facts.get::<Recorded>().ok()?;
    let show = |time| shown(time, &recorded.zone);
    Some(tr!(
        "recorded from {from} to {to}, {samples} {samples?sample|samples}",
        from = show(recorded.part.0),
        to = show(recorded.part.1),
        samples = recorded.samples as u64
    ))
}

fn remarks_of_recording(facts: &Facts) -> Vec<Text> {
    match facts.target().recording() {
        Ok(_) => facts.get::<Recorded>().map(|recorded| recorded.remarks.clone()).unwrap_or_default(),
        Err(_) => Vec::new(),
    }
}

/// `1,204`.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let comma = |at: usize| at > 0 && (digits.len() - at).is_multiple_of(3);
    digits.char_indices().flat_map(|(at, digit)| comma(at).then_some(',').into_iter().chain([digit])).collect()
}

/// Which system files are taken from: "this machine (Debian 12)".
fn donor(donor: &Target) -> Text {
    let name = match donor.name.as_str() {
        "/" => tr!("this machine"),
        path => Text::verbatim(path),
    };
    let release = super::release::release(donor.root());
    match release.pretty_name.or(release.id) {
        // "Debian GNU/Linux 12 (bookworm)" needs no name besides its number.
        Some(release) => tr!("{name} ({release})", name, release = release.split(" (").next().unwrap_or_default()),
        None => name,
    }
}

/// The table, and what the root file system is on: "MBR, ext4 on partition 1".
fn description(facts: &Facts) -> Vec<Text> {
    let Ok(volumes) = &facts.target().volumes else { return Vec::new() };
    let mut all = Vec::new();
    if !facts.runs() {
        let tables: BTreeSet<&str> = volumes
            .iter()
            .filter_map(|volume| volume.table)
            .map(|table| match table {
                Table::Mbr => "MBR",
                Table::Gpt => "GPT",
            })
            .collect();
        all.extend(tables.into_iter().map(Text::verbatim));
    }
    for volume in volumes {
        if let Some(place) = &volume.mounted_on
            && (place.as_os_str() == "/" || !facts.runs())
        {
            let (fstype, volume) = (volume.fstype.as_str(), volume.name.as_str());
            all.push(tr!("{place}: {fstype} on {volume}", place = place.as_path(), fstype, volume));
        }
    }
    all
}

/// The running kernel, or the one that would boot.
fn kernel(facts: &Facts) -> Option<String> {
    if facts.runs() {
        return facts.get::<Kernel>().ok().map(|kernel| kernel.release.clone());
    }
    let config = facts.get::<BootConfig>().ok()?;
    let named = config.loaders.iter().find_map(|loader| loader.default_entry()?.kernel.as_ref())?;
    let name = named.word.text.rsplit('/').next()?;
    let kernels = facts.get::<Kernels>().ok()?;
    let known = named.path.as_deref().and_then(|path| kernels.of_image(path));
    Some(known.map_or(name, |kernel| kernel.version.as_str()).to_owned())
}
