//! `sickbay tune`.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use sickbay_formats::procfs;
use sickbay_target::{Access, Root, Target};

use super::{Context, Failure, Format};
use crate::facts::Facts;
use crate::model::source::SourceFile;
use crate::model::text::Text;
use crate::report::tune as report;
use crate::tr;
use crate::tune::kernel::{Kernel, Machine};
use crate::tune::lint::Lint;

/// Headings of `--help`.
const LINT: &str = "A list";

/// Judge kernel parameters and limits: a list that somebody sets, or this machine
///
/// With --lint, every line of a sysctl.conf, a limits.conf, a unit or a script is judged: good, default already, without effect,
/// to be adapted, harmful, absent from that kernel, unknown, malformed, or at odds with another line. Exit status: 0 when it can be
/// taken as it is, 1 when something is refused, adapted or malformed, 2 when the list cannot be read or understood.
#[derive(Debug, clap::Args)]
pub(super) struct Tune {
    /// Judge this list; - reads standard input
    #[arg(long, value_name = "FILE", help_heading = LINT)]
    lint: Option<PathBuf>,
    /// For this kernel (3.10.0-1160.el7, 6.1, el9, or any); this machine's when left out
    #[arg(long, value_name = "RELEASE", help_heading = LINT)]
    kernel: Option<String>,
    /// For a machine with so much memory (8G); this machine's when left out
    #[arg(long, value_name = "SIZE", help_heading = LINT)]
    memory: Option<String>,
    /// For a machine with so many processors; this machine's when left out
    #[arg(long, value_name = "N", help_heading = LINT)]
    cpus: Option<u64>,
}

impl Tune {
    pub(super) fn run(&self, context: &Context) -> Result<u8, Failure> {
        match &self.lint {
            Some(path) => self.judge(context, path),
            None => Err(Failure(tr!("say which list: sickbay tune --lint FILE"))),
        }
    }

    /// What is said of a list.
    fn judge(&self, context: &Context, path: &Path) -> Result<u8, Failure> {
        let file = list(path)?;
        let here = this_machine();
        let memory = match &self.memory {
            Some(text) => Some(kib(text)?),
            None => here.as_ref().and_then(|machine| machine.memory),
        };
        let cpus = self.cpus.or(here.as_ref().and_then(|machine| machine.cpus));
        let kernel = match self.kernel.as_deref() {
            Some("any") => None,
            Some(text) => match Kernel::parse(text) {
                Some(kernel) => Some(kernel),
                None => return Err(Failure(tr!("{text} is no release of a kernel: 3.10.0-1160.el7, 6.1, el9, any", text))),
            },
            None => here.map(|machine| machine.kernel).filter(|kernel| kernel.version != (0, 0)),
        };
        let lint = Lint::of(&file, kernel, memory, cpus);
        if !lint.is_list() {
            return Err(Failure(tr!("{path} sets no kernel parameter and no limit", path = file.path.as_path())));
        }
        match context.format {
            Format::Json => context.print_json(&report::lint_json(&lint, context.style.lang))?,
            Format::Text => context.print(&report::lint(&lint, &context.style)),
        }
        Ok(u8::from(lint.objects()))
    }
}

/// This machine's kernel, memory and processors, as far as they can be told.
fn this_machine() -> Option<Machine> {
    let target = Target::described(Path::new("/"), Access::ReadOnly, Vec::new(), &[]).ok()?.taken_for_running().ok()?;
    Machine::of(&Facts::new(std::sync::Arc::new(target), None)).ok()
}

/// A size of memory in KiB.
fn kib(text: &str) -> Result<u64, Failure> {
    match procfs::size(text).filter(|bytes| *bytes >= 1 << 20) {
        Some(bytes) => Ok(bytes >> 10),
        None => Err(Failure(tr!("{text} is no size: 4G, 512M, 4294967296", text))),
    }
}

/// Nobody's list is larger.
const LARGEST: u64 = 1 << 20;

/// The list that is to be judged.
fn list(path: &Path) -> Result<SourceFile, Failure> {
    let cannot = |error: std::io::Error| Failure(Text::verbatim(format!("{}: {error}", path.display())));
    let mut bytes = Vec::new();
    if path == Path::new("-") {
        std::io::stdin().lock().take(LARGEST + 1).read_to_end(&mut bytes).map_err(cannot)?;
    } else {
        let absolute = std::path::absolute(path).map_err(cannot)?;
        bytes = Root::host()?.read_up_to(&absolute, LARGEST).map_err(|error| Failure(Text::verbatim(error.to_string())))?;
    }
    if bytes.len() as u64 > LARGEST {
        return Err(Failure(tr!("{path} is longer than {mib} MiB: no list", path, mib = LARGEST >> 20)));
    }
    Ok(SourceFile { path: path.to_owned(), bytes })
}
