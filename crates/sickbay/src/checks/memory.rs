//! Where the memory of a running system is, and who is refused it.

pub mod memory_cgroup_limit;
pub mod memory_hugepages_unused;
pub mod memory_limits_fork;
pub mod memory_low;
pub mod memory_min_free;
pub mod memory_overcommit_refuses;
pub mod memory_panic_on_oom;
pub mod memory_slab_large;
pub mod memory_tmpfs_large;
pub mod memory_unaccounted;
pub mod slabinfo_stalls;

use crate::check::Check;

/// Every check of the area. Causes before what they lead to.
pub static ALL: &[&Check] = &[
    &memory_hugepages_unused::CHECK,
    &memory_min_free::CHECK,
    &memory_slab_large::CHECK,
    &slabinfo_stalls::CHECK,
    &memory_tmpfs_large::CHECK,
    &memory_unaccounted::CHECK,
    &memory_low::CHECK,
    &memory_overcommit_refuses::CHECK,
    &memory_cgroup_limit::CHECK,
    &memory_limits_fork::CHECK,
    &memory_panic_on_oom::CHECK,
];
