//! Who wants the processors of a running system, and who waits for what is none.

pub mod cpu_pinned;
pub mod cpu_saturated;
pub mod cpu_steal;
pub mod cpu_throttled;
pub mod load_aliasing;
pub mod load_explained;
pub mod load_periodic;
pub mod process_storm;

use crate::check::Check;

/// Every check of the area. Causes before what they lead to.
pub static ALL: &[&Check] = &[
    &load_aliasing::CHECK,
    &load_explained::CHECK,
    &cpu_saturated::CHECK,
    &cpu_pinned::CHECK,
    &cpu_steal::CHECK,
    &cpu_throttled::CHECK,
    &process_storm::CHECK,
    &load_periodic::CHECK,
];
