//! What reading `/proc/slabinfo` costs here, and who does it.
//!
//! To say how many objects are in use, SLAB before 4.10 walks all slabs of a cache, and SLUB before 6.10 all that are partly used, with
//! interrupts off (commits 07a63c41fa1f and 046f4c690e20). With millions of them that CPU takes no packet for a good part of a
//! second. How long is told from counters that cost nothing: the e-book's machine walked 6,863,120 slabs in 833 ms.

use std::sync::Arc;
use std::time::Duration;

use bstr::ByteSlice;
use sickbay_formats::procfs::numbers;
use sickbay_formats::span::Span;
use sickbay_target::{FileReader, KernelFiles, file_readers};

use crate::facts::memory::processes::{comm, pids};
use crate::facts::memory::slabs::{Slabs, dentries};
use crate::facts::system::kernel::{Kernel, MemInfo, running};
use crate::facts::system::schedule::Schedule;
use crate::facts::{Fact, Facts};
use crate::model::outcome::Skip;
use crate::model::source::SourceFile;
use crate::tr;

/// How this kernel counts for `/proc/slabinfo`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Walk {
    /// It walks every slab: SLAB before 4.10.
    All,
    /// It walks slabs that are partly used: SLUB before 6.10.
    Partial,
    /// It walks none, or few.
    None,
}

/// What one reading costs.
#[derive(Clone, Debug, PartialEq)]
pub struct SlabWalk {
    /// How the kernel counts.
    pub walk: Walk,
    /// Slabs in the longest list, which is walked at a stretch.
    pub slabs: u64,
    /// The cache that it is of.
    pub cache: String,
    /// For so long interrupts are off, in milliseconds, roughly.
    pub stall: f64,
    /// Cached names, and those of files that do not exist (told since 5.0).
    pub dentries: Option<(u64, u64)>,
    /// All slabs, in KiB.
    pub slab: u64,
}

/// One slab of the walk, in milliseconds: 833 ms for the e-book's 6,863,120.
const EACH: f64 = 833.0 / 6_863_120.0;

/// Dentries in a slab of SLAB: 192 bytes each, in a page.
const IN_A_PAGE: u64 = 20;

/// Caches whose lists are asked for: the largest ones have the longest.
const CACHES: usize = 12;

impl Fact for SlabWalk {
    fn gather(facts: &Facts) -> Result<SlabWalk, Skip> {
        let memory = facts.get::<MemInfo>()?;
        let version = facts.get::<Kernel>()?.version;
        let is_slub = facts.root().stat("/sys/kernel/slab").is_ok();
        let walk = match () {
            () if is_slub && version < (6, 10) => Walk::Partial,
            () if !is_slub && version < (4, 10) => Walk::All,
            () => Walk::None,
        };
        let dentries = dentries(facts);
        let (slabs, cache) = match walk {
            Walk::All => (dentries.map_or(0, |(all, _)| all.div_ceil(IN_A_PAGE)), "dentry".to_owned()),
            Walk::Partial => partial(facts)?,
            Walk::None => (0, String::new()),
        };
        // No more than there is memory for.
        let most = memory.kib("Slab") / memory.page.max(1);
        let slabs = slabs.min(most);
        Ok(SlabWalk { walk, slabs, cache, stall: slabs as f64 * EACH, dentries, slab: memory.kib("Slab") })
    }
}

/// The longest list of partly used slabs, and of which cache. `partial` is a plain counter of each node.
fn partial(facts: &Facts) -> Result<(u64, String), Skip> {
    let slabs = facts.get::<Slabs>()?;
    let mut files = KernelFiles::open(facts.root(), "/sys/kernel/slab")?;
    let mut longest = (0, String::new());
    for cache in slabs.caches.iter().take(CACHES) {
        let name = cache.name.split(", ").next().unwrap_or_default();
        let Ok(text) = files.read(&format!("{name}/partial")) else { continue };
        // `7 N0=3 N1=4`: each node has a list of its own.
        let each = text.to_str_lossy();
        let nodes = each.split_ascii_whitespace().filter_map(|word| word.split_once('=')?.1.parse::<u64>().ok());
        let count = nodes.max().unwrap_or_else(|| numbers(text).first().copied().unwrap_or(0));
        if count > longest.0 {
            longest = (count, name.to_owned());
        }
    }
    Ok(longest)
}

/// Who is known to read it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KnownReader {
    /// A process that runs.
    Process {
        /// Its number.
        pid: u32,
        /// Its name.
        comm: String,
        /// Its command line, as far as it is short.
        command: String,
    },
    /// A job that starts at set times.
    Job {
        /// The file that says so.
        file: Arc<SourceFile>,
        /// Where in it.
        span: Span,
        /// What it starts.
        command: String,
    },
}

/// Programs and jobs of which it is known that they read `/proc/slabinfo`, whether they were seen to or not.
#[derive(Debug, Default)]
pub struct KnownReaders(pub Vec<KnownReader>);

/// So many are told.
const MOST: usize = 50;
/// Of a command line so much is kept, in characters.
const COMMAND: usize = 200;
/// Of a script so much is read.
const SCRIPT: u64 = 64 << 10;

impl Fact for KnownReaders {
    fn gather(facts: &Facts) -> Result<KnownReaders, Skip> {
        running(facts)?;
        let mut all = Vec::new();
        // The old ss -s opens it to print one number.
        let is_old = facts.get::<SlabWalk>()?.walk == Walk::All;
        let mut files = KernelFiles::open(facts.root(), "/proc")?;
        for pid in pids(facts)? {
            let Ok(text) = files.read(&format!("{pid}/cmdline")) else { continue };
            let text = text.to_str_lossy();
            let text = text.trim_end_matches(['\0', '\n']);
            // Programs that change their title leave blanks between the words.
            let between = if text.contains('\0') { '\0' } else { ' ' };
            let words: Vec<String> = text.split(between).map(str::to_owned).collect();
            if pid != std::process::id() && words_read(&words, is_old) {
                let command: String = words.join(" ").trim_end().chars().take(COMMAND).collect();
                all.push(KnownReader::Process { pid, comm: comm(facts, pid), command });
            }
        }
        for job in &facts.get::<Schedule>()?.0 {
            let in_script = job.scripts.iter().find(|script| {
                let text = facts.root().read_up_to(script, SCRIPT).unwrap_or_default();
                text.lines()
                    .any(|line| !line.trim_ascii_start().starts_with(b"#") && text_reads(&line.to_str_lossy(), is_old))
            });
            if text_reads(&job.command, is_old) || in_script.is_some() {
                let command = in_script.unwrap_or(&job.command).chars().take(COMMAND).collect();
                all.push(KnownReader::Job { file: Arc::clone(&job.file), span: job.span, command });
            }
        }
        all.truncate(MOST);
        Ok(KnownReaders(all))
    }
}

/// Whether the command line of a process is one that reads it, by what its program is known for.
fn words_read(words: &[String], is_old: bool) -> bool {
    let name = |word: &String| word.rsplit('/').next().unwrap_or_default().to_owned();
    let mut words = words.iter().filter(|word| !word.is_empty());
    let Some(program) = words.next().map(name) else { return false };
    let rest: Vec<&String> = words.collect();
    let has = |option: &str| rest.iter().any(|word| word.as_str() == option);
    match program.as_str() {
        // Shells and watch(1) are judged by what they are told to run.
        "slabtop" | "slabinfo.plugin" => true,
        "below" => has("record"),
        "node_exporter" | "prometheus-node-exporter" => has("--collector.slabinfo") || has("-collector.slabinfo"),
        "vmstat" => rest.iter().any(|word| is_short(word, 'm')) || has("--slabs"),
        "ss" => is_old && (rest.iter().any(|word| is_short(word, 's')) || has("--summary")),
        // Its daemon's own options are -s+YZ, of which Y is slabs.
        "collectl" | "perl" => collectl(&program, &rest),
        "sh" | "bash" | "dash" | "ash" | "ksh" | "zsh" | "watch" | "timeout" | "sudo" | "su" => {
            rest.iter().any(|word| text_reads(word, is_old))
        }
        _ => rest.iter().any(|word| word.as_str() == "/proc/slabinfo"),
    }
}

fn collectl(program: &str, rest: &[&String]) -> bool {
    let is_it = program == "collectl" || rest.first().is_some_and(|script| script.ends_with("/collectl"));
    let told = rest.iter().filter_map(|word| word.strip_prefix("-s"));
    is_it && told.into_iter().any(|systems| systems.contains(['y', 'Y']))
}

/// Whether a word is short options, `-tms`, with this one among them.
fn is_short(word: &str, option: char) -> bool {
    word.strip_prefix('-')
        .is_some_and(|letters| letters.contains(option) && letters.chars().all(|letter| letter.is_ascii_alphabetic()))
}

/// Whether a line of a shell runs something that reads it.
fn text_reads(line: &str, is_old: bool) -> bool {
    if line.contains("/proc/slabinfo") {
        return true;
    }
    line.split(['|', ';', '&', '(', ')', '`', '"', '\'', '\n']).any(|part| {
        let words: Vec<String> = part.split_ascii_whitespace().map(str::to_owned).collect();
        let mut words = words.as_slice();
        // Options that come first are of what starts it.
        while let [first, rest @ ..] = words {
            let starts = ["sudo", "nice", "ionice", "timeout", "env", "exec", "time", "watch", "then", "do", "root"];
            let is_start = starts.contains(&first.rsplit('/').next().unwrap_or_default());
            if !is_start && !first.starts_with('-') && !first.contains('=') && first.parse::<f64>().is_err() {
                break;
            }
            words = rest;
        }
        let program = words.first().map(|word| word.rsplit('/').next().unwrap_or_default()).unwrap_or_default();
        matches!(program, "slabtop" | "vmstat" | "ss" | "collectl" | "below") && words_read(words, is_old)
    })
}

/// Who opened it, watched for a moment: gathered only where it matters.
#[derive(Debug)]
pub struct SlabReaders {
    /// The readers, the one that does it most first.
    pub list: Vec<FileReader>,
    /// For so long it was watched.
    pub time: Duration,
}

/// So long is looked, where nobody says otherwise.
const LOOK: Duration = Duration::from_millis(2300);
/// And no longer, as long as a check waits for it.
const LONGEST: Duration = Duration::from_secs(15);

impl Fact for SlabReaders {
    fn gather(facts: &Facts) -> Result<SlabReaders, Skip> {
        running(facts)?;
        SlabReaders::watch(facts, facts.window().unwrap_or(LOOK).clamp(LOOK, LONGEST))
    }
}

impl SlabReaders {
    /// Watches for so long.
    ///
    /// # Errors
    /// Why nobody can be seen.
    pub fn watch(facts: &Facts, time: Duration) -> Result<SlabReaders, Skip> {
        match file_readers(facts.root(), "slabinfo", time) {
            Ok(list) => Ok(SlabReaders { list, time }),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                Err(Skip::NotApplicable(tr!("{path} does not exist", path = "/proc/slabinfo")))
            }
            Err(error) => Err(Skip::Unknown(tr!(
                "readers of /proc/slabinfo could not be observed (fanotify): {why}",
                why = error.to_string()
            ))),
        }
    }
}

/// How often, in seconds from one to the next; `None` where it was seen once.
pub fn interval(reader: &FileReader) -> Option<f64> {
    let (first, last) = (reader.times.first()?, reader.times.last()?);
    let steps = reader.times.len().checked_sub(1).filter(|steps| *steps > 0)?;
    Some(last.saturating_sub(*first).as_secs_f64() / steps as f64)
}

#[cfg(test)]
mod tests {
    use super::{text_reads, words_read};

    #[test]
    fn who_is_known_to_read_it() {
        for command in [
            "/usr/bin/slabtop -o",
            "/usr/libexec/netdata/plugins.d/slabinfo.plugin 1",
            "/usr/bin/below record --retain-for-s 604800",
            "/usr/sbin/node_exporter --collector.slabinfo",
            "/usr/bin/perl /usr/bin/collectl -D -f /var/log/collectl -r00:00,7 -m -F60 -s+YZ",
            "vmstat -m",
            "cat /proc/slabinfo",
            "watch -n5 slabtop -o",
        ] {
            let words: Vec<String> = command.split(' ').map(str::to_owned).collect();
            assert!(words_read(&words, false), "{command}");
        }
        for command in [
            "/usr/sbin/node_exporter",
            "below replay",
            "vmstat 1",
            "vim slabinfo.txt",
            "ss -s",
            "perl -s",
            "collectl -scdn",
            "",
        ] {
            let words: Vec<String> = command.split(' ').map(str::to_owned).collect();
            assert!(!words_read(&words, false), "{command}");
        }
        assert!(words_read(&["ss".to_owned(), "-s".to_owned()], true));
    }

    #[test]
    fn lines_of_a_shell() {
        for line in [
            "root /usr/bin/slabtop -o >> /var/log/slab.log 2>&1",
            "awk '{print $1}' /proc/slabinfo",
            "date; vmstat -m | head",
            "nice -n 19 slabtop --once",
            "( slabtop -o ) | mail -s slab root",
        ] {
            assert!(text_reads(line, false), "{line}");
        }
        for line in ["vmstat 1 60", "ss -s", "echo slabtop", "logger -t slabtop started", "/opt/ssl -s"] {
            assert!(!text_reads(line, false), "{line}");
        }
        assert!(text_reads("*/5 * * * * root ss -s | grep TCP".trim_start_matches(['*', '/', '5', ' ']), true));
    }
}
