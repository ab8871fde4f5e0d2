//! From the partition table to the last unit that must start.

pub mod auditd_halts;
pub mod boot_loader_cannot_read;
pub mod boot_loader_missing;
pub mod boot_loader_modules_missing;
pub mod boot_loader_waits;
pub mod crypttab_missing_device;
pub mod default_target_missing;
pub mod device_map_stale;
pub mod disk_unreadable;
pub mod efi_boot_files_missing;
pub mod file_system_damaged;
pub mod file_system_full;
pub mod fstab_bad_line;
pub mod fstab_duplicate_uuid;
pub mod fstab_hides_system;
pub mod fstab_missing_device;
pub mod fstab_missing_mount_point;
pub mod fstab_network_too_early;
pub mod fstab_wrong_root;
pub mod fstab_wrong_type;
pub mod grub_config_missing;
pub mod grub_defaults_invalid;
pub mod grub_legacy_missing;
pub mod grub_stub_overwritten;
pub mod grub_wrong_root;
pub mod initramfs_damaged;
pub mod initramfs_lacks_drivers;
pub mod initramfs_missing;
pub mod inittab_broken;
pub mod kernel_command_line;
pub mod kernel_device_names;
pub mod kernel_incomplete;
pub mod kernel_missing;
pub mod kernel_modules_missing;
pub mod kernels_gone;
pub mod lvm_devices_stale;
pub mod machine_id_invalid;
pub mod md_array_unknown;
pub mod network_driver_missing;
pub mod old_boot_entries_first;
pub mod partition_table_damaged;
pub mod rc_local_hangs;
pub mod resume_device_missing;
pub mod selinux_policy_missing;
pub mod sysctl_hugepages;
pub mod sysctl_locks_modules;
pub mod sysctl_min_free;
pub mod sysctl_too_low;
pub mod unit_masked;
pub mod unit_ordering_cycle;

use crate::check::Check;

/// Every check of the area. In the order in which a machine comes up, which is also the order of repair.
pub static ALL: &[&Check] = &[
    &disk_unreadable::CHECK,
    &file_system_damaged::CHECK,
    &partition_table_damaged::CHECK,
    &file_system_full::CHECK,
    &boot_loader_missing::CHECK,
    &boot_loader_modules_missing::CHECK,
    &boot_loader_cannot_read::CHECK,
    &grub_legacy_missing::CHECK,
    &efi_boot_files_missing::CHECK,
    &device_map_stale::CHECK,
    &initramfs_damaged::CHECK,
    &initramfs_lacks_drivers::CHECK,
    &network_driver_missing::CHECK,
    &kernels_gone::CHECK,
    &grub_config_missing::CHECK,
    &grub_defaults_invalid::CHECK,
    &boot_loader_waits::CHECK,
    &grub_wrong_root::CHECK,
    &grub_stub_overwritten::CHECK,
    &kernel_missing::CHECK,
    &initramfs_missing::CHECK,
    &kernel_incomplete::CHECK,
    &kernel_modules_missing::CHECK,
    &kernel_command_line::CHECK,
    &resume_device_missing::CHECK,
    &lvm_devices_stale::CHECK,
    &md_array_unknown::CHECK,
    &fstab_bad_line::CHECK,
    &fstab_wrong_root::CHECK,
    &fstab_hides_system::CHECK,
    &fstab_missing_device::CHECK,
    &fstab_network_too_early::CHECK,
    &fstab_duplicate_uuid::CHECK,
    &fstab_wrong_type::CHECK,
    &fstab_missing_mount_point::CHECK,
    &sysctl_hugepages::CHECK,
    &sysctl_min_free::CHECK,
    &sysctl_too_low::CHECK,
    &sysctl_locks_modules::CHECK,
    &machine_id_invalid::CHECK,
    &default_target_missing::CHECK,
    &auditd_halts::CHECK,
    &inittab_broken::CHECK,
    &unit_masked::CHECK,
    &unit_ordering_cycle::CHECK,
    &selinux_policy_missing::CHECK,
    &rc_local_hangs::CHECK,
    &crypttab_missing_device::CHECK,
    &kernel_device_names::CHECK,
    &old_boot_entries_first::CHECK,
];
