//! With what every chain begins: the kernel and process 1.

use sickbay_formats::procfs::limits::limit;
use sickbay_formats::rlimits::{Pair, Resource};

use super::{Row, both, layer};
use crate::facts::Facts;
use crate::facts::limits::manager::{First, kernel_memlock};
use crate::facts::limits::process::Origin;
use crate::facts::system::kernel::parameter;
use crate::model::text::Text;
use crate::tr;

/// What the kernel gives process 1 (include/asm-generic/resource.h, kernel/fork.c); `None` where that depends on the machine.
fn of_kernel(facts: &Facts, resource: &Resource) -> Option<Pair> {
    let threads = || parameter(facts, "kernel.threads-max").ok().flatten();
    match resource.name {
        "nofile" => Some((Some(1024), Some(4096))),
        "core" => Some((Some(0), None)),
        "stack" => Some((Some(8 << 20), None)),
        "memlock" => kernel_memlock(facts).map(|bytes| (Some(bytes), Some(bytes))),
        "nproc" | "sigpending" => threads().map(|all| (Some(all / 2), Some(all / 2))),
        "msgqueue" => Some((Some(819_200), Some(819_200))),
        "nice" | "rtprio" => Some((Some(0), Some(0))),
        _ => Some((None, None)),
    }
}

/// A row with what every chain begins with.
pub(super) fn begun(facts: &Facts, first: &First, resource: Resource, origin: Option<&Origin>) -> Row {
    let now = origin.and_then(|origin| limit(&origin.limits, resource.proc));
    let used = origin.filter(|_| resource.name == "nofile").and_then(|origin| origin.files);
    let mut layers = Vec::new();
    if let Some(pair) = of_kernel(facts, &resource) {
        layers.push(layer(tr!("kernel"), both(pair)));
    }
    if let Some(pair) = first.own(&resource) {
        layers.push(layer(Text::verbatim("PID 1"), both(pair)));
    }
    Row { resource, now, used, wanted: None, after: None, layers, remarks: Vec::new(), differs: false }
}
