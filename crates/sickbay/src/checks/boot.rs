//! From the partition table to the last unit that must start.

pub mod boot_loader_missing;
pub mod boot_loader_modules_missing;
pub mod default_target_missing;
pub mod device_map_stale;
pub mod efi_boot_files_missing;
pub mod fstab_bad_line;
pub mod fstab_duplicate_uuid;
pub mod fstab_missing_device;
pub mod fstab_missing_mount_point;
pub mod fstab_wrong_root;
pub mod fstab_wrong_type;
pub mod grub_legacy_missing;
pub mod initramfs_damaged;
pub mod initramfs_lacks_drivers;
pub mod partition_table_damaged;
pub mod selinux_policy_missing;
pub mod sysctl_hugepages;
mod sysctl_lines;
pub mod sysctl_min_free;
pub mod unit_masked;
pub mod unit_ordering_cycle;
