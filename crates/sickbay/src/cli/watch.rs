//! `sickbay watch`.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use sickbay_target::{Options, RECORDINGS, Recording, Root, Screen, Target};

use super::{Context, Failure, Format, LOOK, duration, this_machine};
use crate::facts::Facts;
use crate::facts::time::{Recorded, local_zone};
use crate::model::text::{Lang, Text};
use crate::sample::{Sampler, When};
use crate::tr;
use crate::watch::draw::Look;
use crate::watch::session::{Now, Sources, open};

/// Watch a machine on a terminal, now and in the past
///
/// It shows what the checks of load, CPUs, disks and interrupts see: what is wrong, and who it is. Left and right go back and on by
/// a sample, `[` and `]` by a minute, `t` to a moment, `n` and `N` to the next and previous stretch in which the checks find something,
/// Enter to the finding with its evidence and remedy; `?` shows all keys.
///
/// Without RECORDING it shows this machine; what was before comes from /var/log/sickbay, where `sickbay record` runs.
#[derive(Debug, clap::Args)]
pub(super) struct Watch {
    /// A recording: the directory of `sickbay record`, or a file of another recorder [default: this machine]
    #[arg(value_name = "RECORDING")]
    recording: Option<PathBuf>,
    /// Begin at that moment of the recording; of this machine /var/log/sickbay is looked at. 'YYYY-MM-DD HH:MM[:SS]', HH:MM, seconds
    /// since 1970, or -10m before its end
    #[arg(long, value_name = "MOMENT", allow_hyphen_values = true, help_heading = LOOK)]
    at: Option<String>,
    /// The time between two samples, on the average: 0.2s to 60s
    #[arg(long, value_name = "TIME", default_value = "1s")]
    every: String,
    /// Use ASCII only: for consoles without other characters
    #[arg(long)]
    ascii: bool,
}

impl Watch {
    pub(super) fn run(&self, context: &Context) -> Result<u8, Failure> {
        let every = duration(&self.every)?;
        if !(Duration::from_millis(200)..=Duration::from_secs(60)).contains(&every) {
            return Err(Failure(tr!("--every is a time from 0.2s to 60s")));
        }
        if context.format == Format::Json || !Screen::is_there() {
            return Err(Failure(tr!(
                "watch needs a terminal; for files and programs there is `sickbay check`, and `sickbay explain load`, cpu, io or irq"
            )));
        }
        let terminal = std::env::var("TERM").unwrap_or_default();
        if matches!(terminal.as_str(), "" | "dumb" | "unknown") {
            return Err(Failure(tr!(
                "this terminal (TERM={terminal}) cannot show a screen: use `sickbay check`, or `sickbay explain load`, cpu, io or irq",
                terminal = terminal.as_str()
            )));
        }
        let look = self.look(context, &terminal);
        // A terminal of its own is cleared, and what was there does not come back.
        let has_other = !["vt", "linux", "ansi", "cons"].iter().any(|kind| terminal.starts_with(kind));
        let root = Root::host()?;
        let sources = self.sources(&root, every)?;
        let opened = open(sources).map_err(Failure)?;
        let screen = Screen::take(has_other)
            .map_err(|error| Failure(tr!("the terminal cannot be used: {error}", error = error.to_string())))?;
        opened.show(screen, look);
        Ok(0)
    }

    fn look(&self, context: &Context, terminal: &str) -> Look {
        let style = context.style;
        let ascii = self.ascii || style.ascii;
        // There is no Chinese in ASCII.
        let lang = if ascii { Lang::En } else { style.lang };
        let has_colours = !terminal.starts_with("vt1") && !terminal.starts_with("vt2");
        Look { lang, ascii, colour: style.colour && has_colours }
    }

    fn sources<'r>(&self, root: &'r Root, every: Duration) -> Result<Sources<'r>, Failure> {
        let at = self.at.as_ref().map(|text| {
            When::parse(text).ok_or_else(|| {
                Failure(tr!(
                    "{text} is not a moment: '2018-06-12 10:36', 10:36, -10m, or seconds since 1970",
                    text = text.as_str()
                ))
            })
        });
        let at = at.transpose()?;
        if let Some(path) = &self.recording {
            let target = Target::open(Some(path), &Options::default())?;
            if target.recording().is_err() {
                return Err(Failure(tr!("{path} is no recording", path = path.as_path())));
            }
            let target = Arc::new(target);
            let facts = Facts::new(Arc::clone(&target), None);
            let name = facts.get::<Recorded>().ok().and_then(|recorded| recorded.machine.name.clone());
            let host = name.unwrap_or_else(|| path.display().to_string());
            return Ok(Sources { now: None, past: Some((target, at)), host, zone: local_zone() });
        }
        let host = root.read_up_to("/proc/sys/kernel/hostname", 4096).unwrap_or_default();
        let host = String::from_utf8_lossy(&host).trim().to_owned();
        let recording = Recording::of_directory(Path::new(RECORDINGS)).ok().flatten();
        let recorded =
            recording.map(|recording| this_machine().map(|target| Arc::new(target.with_recording(recording))));
        let recorded = recorded.transpose()?;
        let past = match at {
            Some(at) => Some((
                recorded.clone().ok_or_else(|| {
                    Failure(tr!(
                        "nothing was recorded on this machine: {place} has no recording, which sickbay record would make",
                        place = Path::new(RECORDINGS)
                    ))
                })?,
                Some(at),
            )),
            None => None,
        };
        let sampler = Sampler::new(root, every).map_err(|error| Failure(Text::verbatim(error.to_string())))?;
        let now = Some(Now { sampler, target: Arc::new(this_machine()?), recorded });
        Ok(Sources { now, past, host, zone: local_zone() })
    }
}
