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

/// What being short of memory is about: a finding that takes much of it explains one about this file.
const MEMINFO: &str = "/proc/meminfo";
