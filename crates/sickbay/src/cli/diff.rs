//! `sickbay diff`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use sickbay_target::{Access, Lack, Options, Target};

use super::{Context, Failure, Format, LOOK, UNTOLD};
use crate::facts::Facts;
use crate::facts::packages::comparison::Comparison;
use crate::facts::packages::configuration::Configuration;
use crate::report::comparison;
use crate::tr;

/// Show how two systems differ: packages, configuration, kernel parameters, limits, units, modes
///
/// Each is a directory on which a system is mounted, a disk, an image, or this machine. What always differs between two
/// machines is left out: their names, keys, UUIDs, logs, data. What not everybody may read is said to differ and not shown.
///
/// Exit status: 0 nothing differs, 1 something does, 2 undetermined.
#[derive(Debug, clap::Args)]
pub(super) struct Diff {
    /// One system
    first: PathBuf,
    /// The other, such as a healthy machine of the same version [default: this machine]
    second: Option<PathBuf>,
    /// Let an image use the other files that it names: backing files, data files, extents
    #[arg(long, help_heading = LOOK)]
    follow_images: bool,
}

impl Diff {
    pub(super) fn run(&self, context: &Context) -> Result<u8, Failure> {
        let [first, second] = [self.open(Some(&self.first))?, self.open(self.second.as_deref())?];
        let [first, second] = [first, second].map(|target| Facts::new(Arc::new(target), None));
        let comparison = Comparison::of(&first, &second);
        let configuration = Configuration::of(&first, &second);
        let incomplete = comparison.incomplete || configuration.incomplete;
        let is_same = comparison.is_same() && configuration.is_same();
        let names = [&first, &second].map(|facts| facts.target().name.clone());
        match context.format {
            Format::Json => context.print_json(&comparison::diff(names, &comparison, &configuration))?,
            _ => context.print(&comparison::render_diff(names, &comparison, &configuration, &context.style)),
        }
        Ok(if incomplete { UNTOLD } else { u8::from(!is_same) })
    }

    fn open(&self, path: Option<&Path>) -> Result<Target, Failure> {
        // The root directory is this machine, with what it runs.
        let path = path.filter(|path| *path != Path::new("/"));
        let options = Options { access: Access::ReadOnly, follow_images: self.follow_images, ..Options::default() };
        let target = Target::open(path, &options)?;
        if matches!(target.files(), Err(Lack::None(_))) {
            let path = target.name.as_str();
            return Err(Failure(tr!("{path} is no system: two systems are compared", path)));
        }
        Ok(target)
    }
}
