//! `sickbay collect`.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use sickbay_target::{Access, Bounds, Collected, Options, Target, threads};

use super::{Context, Failure, Format, complain, duration, kibibytes};
use crate::engine::run::diagnose;
use crate::facts::Facts;
use crate::facts::memory::size;
use crate::facts::time::local_zone;
use crate::report::documents::CollectedV1;
use crate::report::text::printable;
use crate::sample::Window;
use crate::tune::advice::advise;
use crate::tune::capacity::{self, Question};
use crate::{checks, tr};

/// Collect everything that the checks read in one file, to check it elsewhere
///
/// Every check looks at the target; whatever one asks for is what the bundle holds: files, values of /proc and /sys, answers of
/// the kernel, the modes and owners of what is there, and what was absent or refused. Secrets are masked before anything is
/// written: hashes of passwords, private keys, tokens, passwords in configurations, command lines and logs. `sickbay check
/// BUNDLE` finds in it what it would find on the machine.
///
/// It uses one processor at most. Only its owner can read the bundle.
#[derive(Debug, clap::Args)]
pub(super) struct Collect {
    /// A mounted system, disk, partition or image [default: this machine]
    target: Option<PathBuf>,
    /// The bundle; `-` for standard output [default: sickbay-NAME-DATE.tar.zst here]
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Stop collecting after this long, and write what there is: 30s, 5m
    #[arg(long, value_name = "TIME", default_value = "60s")]
    deadline: String,
    /// Keep no more of one file, such as 16M; of a log the end, a quarter of that
    #[arg(long, value_name = "SIZE", default_value = "16M", value_parser = kibibytes)]
    max_file: u64,
    /// Keep no more of all files, such as 512M
    #[arg(long, value_name = "SIZE", default_value = "512M", value_parser = kibibytes)]
    max: u64,
}

/// What is left to be done when the deadline comes takes no longer.
const GRACE: Duration = Duration::from_secs(5);

/// How often a terminal is told how far it is.
const TELL: Duration = Duration::from_millis(200);

impl Collect {
    pub(super) fn run(&self, context: &Context) -> Result<u8, Failure> {
        let deadline = duration(&self.deadline)?;
        let file = self.max_file << 10;
        let bounds = Bounds { file, log: (file / 4).max(4096), all: self.max << 10, deadline, ..Bounds::default() };
        let options = Options { access: Access::ReadOnly, ..Options::default() };
        threads::one_processor();
        let began = Instant::now();
        let target = Arc::new(Target::open(self.target.as_deref(), &options)?.collecting(bounds)?);
        let output = self.output.clone().unwrap_or_else(|| self.usual_name(&target));
        look(&target, deadline, context);
        let written = target.write_bundle(&output, env!("CARGO_PKG_VERSION")).map_err(|error| {
            Failure(tr!("{path} could not be written: {why}", path = output.as_path(), why = error.to_string()))
        })?;
        self.tell(context, &output, &written, began.elapsed())?;
        Ok(if written.is_late || written.is_full { super::UNTOLD } else { 0 })
    }

    fn usual_name(&self, target: &Target) -> PathBuf {
        let plain = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.') { c } else { '-' };
        let name = match &self.target {
            Some(path) => path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            None => target.name.clone(),
        };
        let name: String = name.chars().map(plain).take(64).collect();
        let time = local_zone().to_datetime(jiff::Timestamp::now()).strftime("%Y%m%d-%H%M%S").to_string();
        PathBuf::from(format!("sickbay-{}-{time}.tar.zst", if name.is_empty() { "root" } else { &name }))
    }

    fn tell(&self, context: &Context, output: &Path, written: &Collected, took: Duration) -> Result<(), Failure> {
        if context.format == Format::Json {
            return context.print_json(&CollectedV1::of(output, written, took));
        }
        let unread = written.unread.len();
        let kib = |bytes: u64| size(bytes.div_ceil(1024));
        let mut lines = vec![tr!(
            "{path}: {size} with {files} files of {paths} paths, {masked} bytes masked, in {seconds} s",
            path = output,
            size = kib(written.packed),
            files = written.files,
            paths = written.paths,
            masked = written.masked,
            seconds = format!("{:.1}", took.as_secs_f64())
        )];
        if written.is_late {
            lines.push(tr!("the deadline of {time} came before the end: it is not all", time = self.deadline.as_str()));
        }
        if written.is_full {
            lines.push(tr!("there is more than {size}, the rest was left out", size = kib(self.max << 10)));
        }
        if !written.cut.is_empty() {
            lines.push(tr!("of {count} logs only the end was kept", count = written.cut.len()));
        }
        if unread > 0 {
            lines.push(tr!("{count} could not be read or were left out, the manifest says why", count = unread));
            if context.style.verbose {
                lines.extend(written.unread.iter().map(|(_, why)| crate::model::text::Text::verbatim(why)));
            }
        }
        lines.push(tr!("check it anywhere: sickbay check {path}", path = output));
        let text: String = lines.iter().map(|line| format!("{}\n", context.say(line))).collect();
        // Standard output may be the bundle.
        if output == Path::new("-") {
            complain(&text)
        } else {
            context.print(&text)
        }
        Ok(())
    }
}

/// Lets every check look, for what it asks. What one finds is of no interest here.
fn look(target: &Arc<Target>, deadline: Duration, context: &Context) {
    let (sender, receiver) = channel();
    let looked_at = Arc::clone(target);
    let work = move |sender: &std::sync::mpsc::Sender<Duration>| {
        let facts = Arc::new(Facts::new(Arc::clone(&looked_at), None));
        // First of all, so that no look of ours is in it.
        let _ = facts.get::<Window>();
        let all: Vec<_> = checks::ALL.iter().copied().filter(|check| checks::applies(check, &looked_at)).collect();
        let took = diagnose(&facts, &all).took;
        // What `sickbay tune BUNDLE` asks for.
        if looked_at.running().is_ok() {
            let _ = advise(&facts, None);
            let _ = capacity::capacity(&facts, Question::default());
        }
        let _ = sender.send(took);
    };
    let spawned = std::thread::Builder::new().name("collect".into()).spawn(move || work(&sender));
    // Without a thread there is nobody who could wait for it.
    drop(spawned);
    let began = Instant::now();
    let is_watched = std::io::stderr().is_terminal();
    while let Err(std::sync::mpsc::RecvTimeoutError::Timeout) = receiver.recv_timeout(TELL) {
        if is_watched {
            let line = tr!("{count} paths so far", count = target.collected_paths());
            complain(&format!("\r\x1b[K{}", printable(&line.render(context.style.lang))));
        }
        // A check that hangs keeps nobody from what the others asked for.
        if began.elapsed() > deadline.saturating_add(GRACE) {
            break;
        }
    }
    if is_watched {
        complain("\r\x1b[K");
    }
}
