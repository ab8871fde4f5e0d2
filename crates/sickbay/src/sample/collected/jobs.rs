//! What `fio` says of its jobs. It is of the whole time of each, so there is a moment at the beginning and one at the end. Where
//! other programs tell of disks and processes meanwhile, they know better when what was done.

use std::path::PathBuf;
use std::time::Duration;

use bstr::ByteSlice;
use sickbay_formats::collected::rounded;
use sickbay_formats::collected::text::Job;
use sickbay_formats::procfs::diskstats::Disk;
use sickbay_formats::procfs::task_io::Io;
use sickbay_target::Moment;

use super::super::{Name, OpenFile, ProcessIo, Said, Sample};

/// The jobs of one file, with when each ended, in seconds since 1970.
pub(super) type Run = Vec<(f64, Job)>;

/// When it began, and when it ended.
pub(super) fn range(run: &Run) -> Option<(f64, f64)> {
    let from = run.iter().map(|(ended, job)| ended - job.seconds).min_by(f64::total_cmp)?;
    let to = run.iter().map(|(ended, _)| *ended).max_by(f64::total_cmp)?;
    Some((from, to))
}

/// Two moments.
pub(super) fn samples(run: &Run, has_disks: bool, has_io: bool) -> Vec<Sample> {
    let Some((from, to)) = range(run).filter(|(from, to)| *from >= 0.0 && to > from) else { return Vec::new() };
    let told = || run.iter().filter_map(|(_, job)| Some((job.pid?, job)));
    let process = |pid: u32, read_bytes: u64, write_bytes: u64| ProcessIo {
        pid,
        began: 1,
        name: Name::of(b"fio"),
        io: Io { read_bytes, write_bytes, ..Io::default() },
    };
    let before: Vec<ProcessIo> = told().map(|(pid, _)| process(pid, 0, 0)).collect();
    let after: Vec<ProcessIo> =
        told().map(|(pid, job)| process(pid, rounded(job.read.bytes), rounded(job.written.bytes))).collect();
    let disks = |of: &dyn Fn(f64) -> u64| -> Vec<Disk> {
        let all = run.iter().flat_map(|(_, job)| job.disks.iter().map(|disk| (disk, job.seconds)));
        all.map(|(disk, seconds)| {
            let [reads, writes] = disk.ios.map(|count| count as f64);
            let [read_ms, write_ms] = disk.ticks.map(|ms| ms as f64);
            Disk {
                name: disk.name.clone(),
                reads: of(reads),
                writes: of(writes),
                read_ms: of(read_ms),
                write_ms: of(write_ms),
                // How much it was is not told: what goes back is unknown.
                sectors_read: u64::from(of(1.0) == 0),
                sectors_written: u64::from(of(1.0) == 0),
                weighted_ms: of(disk.in_queue as f64),
                busy_ms: of(disk.util * seconds * 10.0),
                ..Disk::default()
            }
        })
        .collect()
    };
    let is_told = run.iter().any(|(_, job)| !job.disks.is_empty()) && !has_disks;
    let has_processes = !after.is_empty() && !has_io;
    let sample = |at: f64| Sample { moment: moment(at), ..Sample::default() };
    let first = Sample { disks: is_told.then(|| disks(&|_| 0)), io: has_processes.then_some(before), ..sample(from) };
    let path = |file: &bstr::BString| PathBuf::from(file.to_str_lossy().into_owned());
    let files = told().flat_map(|(pid, job)| {
        job.files.iter().map(move |file| OpenFile { pid, began: 1, path: path(file), ..OpenFile::default() })
    });
    let said = run.iter().map(|(ended, job)| Said {
        program: "fio".to_owned(),
        job: job.name.to_string(),
        pid: job.pid,
        from: moment(ended - job.seconds).wall,
        to: moment(*ended).wall,
        reads: job.read.count,
        writes: job.written.count,
        read: job.read.bytes / job.seconds,
        written: job.written.bytes / job.seconds,
        files: job.files.iter().map(path).collect(),
    });
    let last = Sample {
        disks: is_told.then(|| disks(&rounded)),
        io: has_processes.then_some(after),
        files: files.collect(),
        said: said.collect(),
        ..sample(to)
    };
    vec![first, last]
}

fn moment(at: f64) -> Moment {
    let time = Duration::from_millis(rounded(at * 1000.0));
    Moment { steady: time, wall: time }
}
