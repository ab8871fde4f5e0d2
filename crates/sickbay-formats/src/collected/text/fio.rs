//! `fio`: what it says of each job, as text, as JSON (`--output-format=json`) and in one line (`terse`). Each is of the whole
//! time of the job, which ended when that was printed.

use bstr::{BString, ByteSlice};
use serde_json::Value;

use super::super::decimal;
use super::{Reader, Stamp};

/// So many jobs are kept.
const JOBS: usize = 4096;

/// What a job did.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Job {
    /// Its name.
    pub name: BString,
    /// Its process, where that is told.
    pub pid: Option<u32>,
    /// When it ended; in one line it does not say.
    pub ended: Option<Stamp>,
    /// How long it took, in seconds.
    pub seconds: f64,
    /// What it read.
    pub read: Work,
    /// What it wrote.
    pub written: Work,
    /// The files that its command line names.
    pub files: Vec<BString>,
    /// What disks did meanwhile.
    pub disks: Vec<JobDisk>,
}

/// Reads, or writes.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Work {
    /// How many a second.
    pub count: f64,
    /// Bytes, all together.
    pub bytes: f64,
}

/// A disk while it ran.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct JobDisk {
    /// `sda`.
    pub name: BString,
    /// Reads and writes.
    pub ios: [u64; 2],
    /// Milliseconds that reads took, and writes.
    pub ticks: [u64; 2],
    /// Milliseconds of all together.
    pub in_queue: u64,
    /// Percent of the time.
    pub util: f64,
}

/// What is known from the lines before.
#[derive(Debug, Default)]
pub(super) struct State {
    /// The files of a command line that was seen.
    files: Vec<BString>,
    /// A date that goes on in the next line.
    sentence: Option<Vec<BString>>,
    /// A job has begun.
    is_on: bool,
}

impl Reader {
    pub(super) fn fio(&mut self, line: &[u8], words: &[&[u8]]) -> bool {
        self.rest_of_date(words) || self.job(words) || self.work(line) || self.job_disk(words) || self.one_line(line)
    }

    /// `Rand_Write: (groupid=0, jobs=1): err= 0: pid=11974: Tue Jun 12 10:36:30 2018`.
    fn job(&mut self, words: &[&[u8]]) -> bool {
        let Some(at) = words.iter().position(|word| word.starts_with(b"(groupid=")) else { return false };
        let pid = words.iter().position(|word| word.starts_with(b"pid="));
        let Some((pid_at, pid)) = pid.and_then(|at| Some((at, words.get(at)?))) else { return false };
        let digits = pid.get(4..).unwrap_or_default().strip_suffix(b":").unwrap_or_default();
        let pid = super::super::number(digits);
        let name = words.get(..at).unwrap_or_default().join(&b' ');
        let job = Job {
            name: name.strip_suffix(b":").unwrap_or(&name).into(),
            pid,
            files: self.fio.files.clone(),
            ..Job::default()
        };
        self.last_row = None;
        self.fio.is_on = true;
        if self.text.jobs.len() >= JOBS {
            self.text.left_out = self.text.left_out.saturating_add(1);
            return true;
        }
        self.text.jobs.push(job);
        let date: Vec<BString> =
            words.get(pid_at + 1..).unwrap_or_default().iter().map(|word| (*word).into()).collect();
        self.fio.sentence = Some(date);
        self.rest_of_date(&[]);
        true
    }

    /// A date that a terminal broke into two lines.
    fn rest_of_date(&mut self, words: &[&[u8]]) -> bool {
        let Some(mut sentence) = self.fio.sentence.take() else { return false };
        sentence.extend(words.iter().map(|word| BString::from(*word)));
        let all: Vec<&[u8]> = sentence.iter().map(|word| word.as_slice()).collect();
        match self.dates.sentence(&all) {
            Some(reading) => {
                if let Some(job) = self.text.jobs.last_mut() {
                    job.ended = Some(reading.stamp);
                }
                true
            }
            None if words.is_empty() => {
                self.fio.sentence = Some(sentence);
                true
            }
            None => false,
        }
    }

    /// `write: IOPS=15.9k, BW=61.9MiB/s (64.9MB/s)(372MiB/6002msec)`; before 2.20 `write: io=88797KB, bw=2722.8KB/s,
    /// iops=2722 , runt= 32613msec`.
    fn work(&mut self, line: &[u8]) -> bool {
        let Some(job) = self.text.jobs.last_mut().filter(|_| self.fio.is_on) else { return false };
        let Ok(text) = line.to_str() else { return false };
        let text: String = text.chars().filter(|c| !c.is_whitespace()).collect();
        let is_read = text.starts_with("read:");
        if !is_read && !text.starts_with("write:") {
            return false;
        }
        let value = |name: &str| {
            let rest = text.split_once(name)?.1;
            rest.split([',', ';', '(', ')']).next()
        };
        let millis = |text: &str| text.strip_suffix("msec").and_then(|ms| decimal(ms.as_bytes()));
        let (count, bytes, took) = match value("IOPS=") {
            Some(count) => {
                // The last of `(64.9MB/s)(372MiB/6002msec)`.
                let Some((bytes, took)) = text
                    .split(['(', ')'])
                    .filter_map(|part| part.split_once('/'))
                    .find(|(_, took)| took.ends_with("msec"))
                else {
                    return false;
                };
                (count, bytes, millis(took))
            }
            None => {
                let Some((bytes, count)) = value("io=").zip(value("iops=")) else { return false };
                (count, bytes, value("runt=").and_then(millis))
            }
        };
        let (Some(count), Some(bytes), Some(took)) = (thousands(count), amount(bytes), took) else { return false };
        job.seconds = job.seconds.max(took / 1000.0);
        let work = Work { count, bytes };
        if is_read {
            job.read = work;
        } else {
            job.written = work;
        }
        true
    }

    /// `vda: ios=25/93438, merge=0/219, ticks=13/15780, in_queue=15800, util=14.56%`.
    fn job_disk(&mut self, words: &[&[u8]]) -> bool {
        let Some(job) = self.text.jobs.last_mut().filter(|_| self.fio.is_on) else { return false };
        let [name, ios, ..] = words else { return false };
        let (Some(name), true) = (name.strip_suffix(b":"), ios.starts_with(b"ios=")) else { return false };
        let value = |name: &str| {
            let word = words.iter().find_map(|word| word.strip_prefix(name.as_bytes())?.strip_prefix(b"="))?;
            word.to_str().ok().map(|text| text.trim_end_matches([',', '%']))
        };
        let pair = |name: &str| {
            let (one, two) = value(name)?.split_once('/')?;
            Some([super::super::number(one.as_bytes())?, super::super::number(two.as_bytes())?])
        };
        let read = || {
            Some(JobDisk {
                name: name.into(),
                ios: pair("ios")?,
                ticks: pair("ticks")?,
                in_queue: super::super::number(value("in_queue")?.as_bytes())?,
                util: decimal(value("util")?.as_bytes())?,
            })
        };
        let Some(disk) = read() else { return false };
        add_disk(job, disk);
        true
    }

    /// `3;fio-3.33;NAME;…`: terse. Of reads and writes there are as many numbers each, which the version tells.
    fn one_line(&mut self, line: &[u8]) -> bool {
        let fields: Vec<&[u8]> = line.split(|byte| *byte == b';').collect();
        let [version, program, name, ..] = fields.as_slice() else { return false };
        if !program.starts_with(b"fio-") || self.text.jobs.len() >= JOBS {
            return false;
        }
        let each = match *version {
            b"3" | b"4" => 41,
            b"5" => 47,
            _ => return false,
        };
        let number = |at: usize| fields.get(at).and_then(|field| decimal(field));
        let work = |at: usize| Some((Work { bytes: number(at)? * 1024.0, count: number(at + 2)? }, number(at + 3)?));
        let (Some((read, read_ms)), Some((written, write_ms))) = (work(5), work(5 + each)) else { return false };
        let mut job = Job {
            name: (*name).into(),
            seconds: read_ms.max(write_ms) / 1000.0,
            read,
            written,
            files: self.fio.files.clone(),
            ..Job::default()
        };
        // Disks follow on the last percentages of latencies, nine fields each.
        let is_name = |field: &&&[u8]| field.first().is_some_and(u8::is_ascii_alphabetic);
        let from = fields.iter().skip(3).position(|field| is_name(&field)).map(|at| at + 3);
        for disk in fields.get(from.unwrap_or(fields.len())..).unwrap_or_default().chunks_exact(9).take(DISKS) {
            let whole = |at: usize| disk.get(at).and_then(|field| super::super::number(field)).unwrap_or(0);
            let util = disk.get(8).and_then(|field| decimal(field.strip_suffix(b"%").unwrap_or(field)));
            add_disk(
                &mut job,
                JobDisk {
                    name: disk.first().copied().unwrap_or_default().into(),
                    ios: [whole(1), whole(2)],
                    ticks: [whole(5), whole(6)],
                    in_queue: whole(7),
                    util: util.unwrap_or(0.0),
                },
            );
        }
        self.text.jobs.push(job);
        true
    }

    /// The rest of a command line, or one that was typed: `-filename=iotest`.
    pub(super) fn command_goes_on(&mut self, words: &[&[u8]]) -> bool {
        let is_prompt = words.iter().take(3).any(|word| *word == b"fio" || word.ends_with(b"/fio"));
        if is_prompt {
            self.last_row = None;
            self.fio.files.clear();
        }
        let files = files_of(words);
        if files.is_empty() {
            return is_prompt;
        }
        if let Some(task) = self.pending.as_mut() {
            task.files.extend(files);
            return true;
        }
        let row = self.last_row.and_then(|(block, id)| {
            let block = self.text.blocks.get_mut(block)?;
            block.tasks.iter_mut().rev().find(|task| task.id == id)
        });
        match row {
            Some(task) => task.files.extend(files),
            None => self.fio.files.extend(files.into_iter().map(|(file, _)| file).take(DISKS)),
        }
        true
    }
}

/// So many disks of a job are kept.
const DISKS: usize = 64;

fn add_disk(job: &mut Job, disk: JobDisk) {
    if job.disks.len() < DISKS {
        job.disks.push(disk);
    }
}

/// Files that a command line names, and how they are opened where that is known: `fio --filename=FILE`, `dd if=FILE of=FILE`.
pub(super) fn files_of(words: &[&[u8]]) -> Vec<(BString, Option<u32>)> {
    let option = |word: &&[u8]| {
        let (name, value) = word.split_once_str("=")?;
        let flags = match name {
            b"-filename" | b"--filename" => None,
            b"if" => Some(0),
            b"of" => Some(1),
            _ => return None,
        };
        (!value.is_empty() && value.len() <= 1024).then(|| (value.into(), flags))
    };
    words.iter().filter_map(option).take(4).collect()
}

/// `15.9k`.
fn thousands(text: &str) -> Option<f64> {
    let (digits, factor) = match text.strip_suffix(['k', 'K']) {
        Some(digits) => (digits, 1e3),
        None => text.strip_suffix('M').map_or((text, 1.0), |digits| (digits, 1e6)),
    };
    Some(decimal(digits.as_bytes())? * factor)
}

/// Bytes: `372MiB`, `88797KB`, which before 2.20 is of 1024 bytes, too.
fn amount(text: &str) -> Option<f64> {
    let at = text.find(|c: char| c.is_ascii_alphabetic())?;
    let (digits, unit) = text.split_at_checked(at)?;
    let factor = match unit.as_bytes().first()?.to_ascii_uppercase() {
        b'B' => 1.0,
        b'K' => 1024.0,
        b'M' => 1024.0 * 1024.0,
        b'G' => 1024.0 * 1024.0 * 1024.0,
        b'T' => 1024.0 * 1024.0 * 1024.0 * 1024.0,
        _ => return None,
    };
    Some(decimal(digits.as_bytes())? * factor)
}

/// The jobs of `--output-format=json`; warnings may be printed before it. `None` where it is no JSON of fio's.
pub(super) fn json(text: &[u8]) -> Option<Vec<Job>> {
    let head = text.get(..text.len().min(HEAD)).unwrap_or_default();
    head.contains_str("\"fio version\"").then_some(())?;
    let from = text.find_byte(b'{')?;
    // What follows on it (json+ and normal together) is not looked at.
    let mut documents = serde_json::Deserializer::from_slice(text.get(from..)?).into_iter::<Value>();
    let all = documents.next()?.ok()?;
    let number = |value: &Value, name: &str| value.get(name).and_then(Value::as_f64).unwrap_or(0.0);
    let seconds = match number(&all, "timestamp_ms") {
        0.0 => number(&all, "timestamp"),
        ms => ms / 1000.0,
    };
    let ended = (seconds > 0.0).then(|| Stamp { epoch: Some(seconds), ..Stamp::default() });
    let global = all.get("global options").and_then(|options| options.get("filename"));
    let mut jobs: Vec<Job> = Vec::new();
    for one in all.get("jobs")?.as_array()?.iter().take(JOBS) {
        let work = |kind: &str| {
            let kind = one.get(kind)?;
            let bytes = match number(kind, "io_bytes") {
                // Before 2.99 it was in KiB.
                bytes if kind.get("io_kbytes").is_some() => bytes,
                kib => kib * 1024.0,
            };
            Some((Work { count: number(kind, "iops"), bytes }, number(kind, "runtime")))
        };
        let (read, read_ms) = work("read").unwrap_or_default();
        let (written, write_ms) = work("write").unwrap_or_default();
        let options = one.get("job options").and_then(|options| options.get("filename"));
        let file = options.or(global).and_then(Value::as_str);
        jobs.push(Job {
            name: one.get("jobname").and_then(Value::as_str).unwrap_or_default().into(),
            pid: None,
            ended,
            seconds: read_ms.max(write_ms) / 1000.0,
            read,
            written,
            files: file.map(Into::into).into_iter().collect(),
            disks: Vec::new(),
        });
    }
    let whole = |value: &Value, name: &str| value.get(name).and_then(Value::as_u64).unwrap_or(0);
    if let Some(last) = jobs.last_mut() {
        for disk in all.get("disk_util").and_then(Value::as_array).into_iter().flatten() {
            let disk = JobDisk {
                name: disk.get("name").and_then(Value::as_str).unwrap_or_default().into(),
                ios: [whole(disk, "read_ios"), whole(disk, "write_ios")],
                ticks: [whole(disk, "read_ticks"), whole(disk, "write_ticks")],
                in_queue: whole(disk, "in_queue"),
                util: number(disk, "util"),
            };
            add_disk(last, disk);
        }
    }
    Some(jobs)
}

/// So far a text is looked at for what tells that it is of fio.
const HEAD: usize = 16 << 10;

/// Whether a text begins as its JSON does, of which only the beginning is there.
pub(super) fn begins_json(head: &[u8]) -> bool {
    let head = head.get(..head.len().min(HEAD)).unwrap_or_default();
    head.contains_str("\"fio version\"") && head.contains(&b'{')
}

impl Job {
    /// Whether anything is known of it.
    pub fn is_told(&self) -> bool {
        self.seconds > 0.0 && self.read.bytes + self.written.bytes > 0.0
    }
}

#[cfg(test)]
mod tests {
    use super::super::parse;

    const OLD: &str = "# fio -direct=1 -rw=randwrite -bs=1k -numjobs=1 -filename=iotest -name=Rand_\nWrite_Testing\n\
        fio-2.0.13\nStarting 1 process\n\n\
        Rand_Write_Testing: (groupid=0, jobs=1): err= 0: pid=11974: Tue Jun 12\n10:36:30 2018\n\
            write: io=88797KB, bw=2722.8KB/s, iops=2722 , runt= 32613msec\n";

    #[test]
    fn text_of_an_old_one_whose_lines_were_broken() {
        let jobs = parse(OLD.as_bytes()).jobs;
        let [job] = jobs.as_slice() else { panic!("{jobs:?}") };
        assert_eq!((job.name.to_string(), job.pid), ("Rand_Write_Testing".to_owned(), Some(11974)));
        assert_eq!((job.written.count, job.written.bytes, job.seconds), (2722.0, 88797.0 * 1024.0, 32.613));
        assert_eq!(job.files, ["iotest"]);
        let ended = job.ended.expect("a time");
        assert_eq!((ended.date.map(|date| (date.month, date.day)), ended.clock), (Some((6, 12)), 38_190.0));
    }

    #[test]
    fn text_of_today() {
        let text = "fio-3.33\nj1: (groupid=0, jobs=1): err= 0: pid=7: Tue Dec  1 03:23:32 2026\n\
            read: IOPS=5967, BW=23.3MiB/s (24.4MB/s)(46.7MiB/2004msec)\n    slat (usec): min=3\n\
            write: IOPS=15.9k, BW=61.9MiB/s (64.9MB/s)(372MiB/6002msec); 0 zone resets\n\
            Disk stats (read/write):\n\
              vda: ios=25/93438, sectors=200/9, merge=0/219, ticks=13/15780, in_queue=15800, util=14.56%\n";
        let jobs = parse(text.as_bytes()).jobs;
        let [job] = jobs.as_slice() else { panic!("{jobs:?}") };
        assert_eq!((job.read.count, job.written.count, job.seconds), (5967.0, 15_900.0, 6.002));
        assert_eq!(job.written.bytes, 372.0 * 1024.0 * 1024.0);
        let disk = &job.disks[0];
        assert_eq!((disk.ios, disk.ticks, disk.in_queue, disk.util), ([25, 93_438], [13, 15_780], 15_800, 14.56));
    }

    #[test]
    fn one_line_for_all() {
        let zeros = |count: usize| "0;".repeat(count);
        let text = |version: &str, each: usize| {
            let rest = each - 4;
            format!(
                "{version};fio-3.33;j1;0;0;40132;20055;5013;2001;{}40080;20029;5007;2002;{}0.35%;1;vda;9267;9252;0;0;342;312;655;25.00%\n",
                zeros(rest),
                zeros(rest)
            )
        };
        for (version, each) in [("3", 41), ("5", 47)] {
            let jobs = parse(text(version, each).as_bytes()).jobs;
            let [job] = jobs.as_slice() else { panic!("{jobs:?}") };
            assert_eq!((job.read.count, job.written.count, job.seconds), (5013.0, 5007.0, 2.002));
            assert_eq!((job.disks[0].ios, job.disks[0].util, job.ended), ([9267, 9252], 25.0, None));
        }
    }

    #[test]
    fn json_with_a_warning_before_it() {
        let text = r#"fio: a warning
            {"fio version": "fio-3.33", "timestamp": 1796095404, "timestamp_ms": 1796095404900,
            "jobs": [{"jobname": "j1", "job options": {"filename": "/data/x"},
            "read": {"io_bytes": 69517312, "io_kbytes": 67888, "iops": 8481.75, "runtime": 2001},
            "write": {"io_bytes": 0, "io_kbytes": 0, "iops": 0.0, "runtime": 0}}],
            "disk_util": [{"name": "vda", "read_ios": 16710, "write_ios": 77, "read_ticks": 1103, "write_ticks": 439,
            "in_queue": 1546, "util": 30.13}]}"#;
        let jobs = parse(text.as_bytes()).jobs;
        let [job] = jobs.as_slice() else { panic!("{jobs:?}") };
        assert_eq!(
            (job.read.count, job.read.bytes, job.files[0].to_string()),
            (8481.75, 69_517_312.0, "/data/x".into())
        );
        assert_eq!((job.ended.and_then(|ended| ended.epoch), job.disks[0].in_queue), (Some(1_796_095_404.9), 1546));
        assert!(super::super::is_one(&text.as_bytes()[..200]));
    }

    proptest::proptest! {
        #[test]
        fn never_panics(bytes: Vec<u8>, text in "(j: \\(groupid=0, jobs=1\\): pid=[0-9]{0,12}:|read|write|: |IOPS=|BW=|\\(|/|msec|[0-9;.,]|vda: ios=|\n|-filename=|[35];fio-){0,40}") {
            let _ = (parse(&bytes), parse(text.as_bytes()));
            let _ = super::json(text.as_bytes());
        }
    }
}
