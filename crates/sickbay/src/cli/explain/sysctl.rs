//! `sickbay explain sysctl KEY`.

use std::path::Path;
use std::sync::Arc;

use sickbay_target::{Options, Target};

use super::super::{Context, Failure, Format};
use super::{host_without_disks, within};
use crate::facts::Facts;
use crate::report::tune as report;
use crate::tr;
use crate::tune::knowledge;
use crate::tune::origin::Origin;

pub(super) fn explain(context: &Context, key: &str, target: Option<&str>) -> Result<u8, Failure> {
    let facts = match target {
        Some(path) => Arc::new(Facts::new(Arc::new(Target::open(Some(Path::new(path)), &Options::default())?), None)),
        None => host_without_disks()?,
    };
    let asked = key.to_owned();
    let origin = within(move || Ok(Origin::of(&facts, &asked)?))?;
    if origin.known.is_none() && origin.now.is_none() && origin.settings.is_empty() {
        return Err(Failure(match knowledge::meant(&origin.key) {
            Some(near) => tr!("there is no kernel parameter {key}: did you mean {near}?", key, near),
            None => tr!("there is no kernel parameter {key}", key),
        }));
    }
    match context.format {
        Format::Json => context.print_json(&report::origin_json(&origin, context.style.lang))?,
        Format::Text => context.print(&report::origin(&origin, &context.style)),
    }
    Ok(0)
}
