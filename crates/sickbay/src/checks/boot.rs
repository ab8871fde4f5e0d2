//! From the partition table to the last unit that must start.

pub mod default_target_missing;
pub mod fstab_bad_line;
pub mod fstab_duplicate_uuid;
pub mod fstab_missing_device;
pub mod fstab_missing_mount_point;
pub mod fstab_wrong_root;
pub mod fstab_wrong_type;
pub mod selinux_policy_missing;
pub mod sysctl_hugepages;
mod sysctl_lines;
pub mod sysctl_min_free;
pub mod unit_masked;
pub mod unit_ordering_cycle;
