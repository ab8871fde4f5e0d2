//! What `sickbay tune` says, for people and for programs.

mod advice;
mod capacity;
mod lint;
mod origin;

pub use advice::{AdviceV1, HeldV1, TuneV1, WorkV1, advice, advice_json, held};
pub use capacity::{CapacityV1, LimitV1, capacity, capacity_json};
pub use lint::{LineV1, LintV1, PairV1, lint, lint_json};
pub use origin::{OriginV1, SetByV1, origin, origin_json};

use crate::facts::memory::size;
use crate::report::text::Style;
use crate::tr;

/// A machine in a line.
fn machine(kernel: Option<&str>, memory: Option<u64>, cpus: Option<u64>, style: &Style) -> String {
    let mut parts = vec![match kernel {
        Some(version) => style.say(&tr!("kernel {version}", version)),
        None => style.say(&tr!("any kernel")),
    }];
    parts.push(match memory {
        Some(kib) => style.say(&tr!("memory {size}", size = size(kib))),
        None => style.say(&tr!("memory unknown")),
    });
    parts.extend(cpus.map(|cpus| style.say(&tr!("{cpus} {cpus?processor|processors}", cpus))));
    parts.join(", ")
}
