//! Every check. `cargo xtask new-check` adds to these lists.

pub mod boot;
pub mod files;
pub mod login;
pub mod logs;
pub mod memory;

use sickbay_target::Kind;

use crate::check::{Area, Check};
use crate::spelling::nearest;
use crate::text::Text;
use crate::tr;

/// All checks, in the order in which a machine comes up, which is also the order of repair.
pub static ALL: &[&Check] = &[
    // Boot.
    &boot::file_system_damaged::CHECK,
    &boot::partition_table_damaged::CHECK,
    &boot::file_system_full::CHECK,
    &boot::boot_loader_missing::CHECK,
    &boot::boot_loader_modules_missing::CHECK,
    &boot::grub_legacy_missing::CHECK,
    &boot::efi_boot_files_missing::CHECK,
    &boot::device_map_stale::CHECK,
    &boot::initramfs_damaged::CHECK,
    &boot::initramfs_lacks_drivers::CHECK,
    &boot::network_driver_missing::CHECK,
    &boot::kernels_gone::CHECK,
    &boot::grub_config_missing::CHECK,
    &boot::boot_loader_waits::CHECK,
    &boot::grub_wrong_root::CHECK,
    &boot::kernel_missing::CHECK,
    &boot::initramfs_missing::CHECK,
    &boot::kernel_incomplete::CHECK,
    &boot::kernel_modules_missing::CHECK,
    &boot::kernel_command_line::CHECK,
    &boot::fstab_bad_line::CHECK,
    &boot::fstab_wrong_root::CHECK,
    &boot::fstab_hides_system::CHECK,
    &boot::fstab_missing_device::CHECK,
    &boot::fstab_duplicate_uuid::CHECK,
    &boot::fstab_wrong_type::CHECK,
    &boot::fstab_missing_mount_point::CHECK,
    &boot::sysctl_hugepages::CHECK,
    &boot::sysctl_min_free::CHECK,
    &boot::sysctl_too_low::CHECK,
    &boot::default_target_missing::CHECK,
    &boot::auditd_halts::CHECK,
    &boot::inittab_broken::CHECK,
    &boot::unit_masked::CHECK,
    &boot::unit_ordering_cycle::CHECK,
    &boot::selinux_policy_missing::CHECK,
    &boot::rc_local_hangs::CHECK,
    &boot::crypttab_missing_device::CHECK,
    // Files.
    &files::top_level_missing::CHECK,
    &files::package_database_damaged::CHECK,
    &files::package_file_missing::CHECK,
    &files::package_file_empty::CHECK,
    &files::package_file_altered::CHECK,
    &files::package_mode_wrong::CHECK,
    &files::mode_too_open::CHECK,
    &files::mode_too_strict::CHECK,
    &files::setuid_lost::CHECK,
    &files::selinux_labels_lost::CHECK,
    &files::preloaded_library_missing::CHECK,
    // Login.
    &login::account_file_damaged::CHECK,
    &login::root_account_missing::CHECK,
    &login::root_account_expired::CHECK,
    &login::root_password_locked::CHECK,
    &login::root_shell_missing::CHECK,
    &login::login_defs_invalid::CHECK,
    &login::login_program_broken::CHECK,
    &login::service_account_missing::CHECK,
    &login::shadow_line_missing::CHECK,
    &login::profile_stops_login::CHECK,
    &login::profile_path_lost::CHECK,
    &login::profile_syntax_error::CHECK,
    &login::sshd_not_started::CHECK,
    &login::sshd_user_missing::CHECK,
    &login::sshd_config_invalid::CHECK,
    &login::sshd_host_key_missing::CHECK,
    &login::sshd_refuses_root::CHECK,
    &login::sshd_ignores_keys::CHECK,
    &login::sshd_limits::CHECK,
    &login::nsswitch_broken::CHECK,
    &login::pam_module_broken::CHECK,
    &login::pam_file_missing::CHECK,
    &login::pam_rule_invalid::CHECK,
    &login::pam_refuses_root::CHECK,
    &login::pam_lets_anyone_in::CHECK,
    &login::nologin_file::CHECK,
    &login::login_refused_in_log::CHECK,
    &login::root_password_invalid::CHECK,
    &login::hosts_deny_refuses_ssh::CHECK,
    &login::sshd_options_invalid::CHECK,
    // Logs.
    &logs::oom_killer::CHECK,
    &logs::boot_stopped::CHECK,
    &logs::kernel_panic::CHECK,
    &logs::io_errors::CHECK,
    &logs::file_system_errors::CHECK,
    &logs::hardware_errors::CHECK,
    &logs::hung_task::CHECK,
    &logs::cpu_lockup::CHECK,
    &logs::rcu_stall::CHECK,
    &logs::process_crashes::CHECK,
    &logs::page_allocation_failure::CHECK,
    &logs::vmalloc_failed::CHECK,
    &logs::fork_rejected::CHECK,
    &logs::file_max_reached::CHECK,
    &logs::conntrack_full::CHECK,
    &logs::time_wait_overflow::CHECK,
    &logs::syn_flood::CHECK,
    &logs::tcp_limit_reached::CHECK,
    &logs::neighbour_table_full::CHECK,
    &logs::firewall_drops::CHECK,
    &logs::service_faults::CHECK,
    // Memory of the running system: causes before what they lead to.
    &memory::memory_hugepages_unused::CHECK,
    &memory::memory_min_free::CHECK,
    &memory::memory_slab_large::CHECK,
    &memory::memory_tmpfs_large::CHECK,
    &memory::memory_unaccounted::CHECK,
    &memory::memory_low::CHECK,
    &memory::memory_overcommit_refuses::CHECK,
    &memory::memory_cgroup_limit::CHECK,
    &memory::memory_limits_fork::CHECK,
    &memory::memory_panic_on_oom::CHECK,
    &logs::jvm_out_of_memory::CHECK,
    &logs::jvm_crashed::CHECK,
];

/// Whether a check has anything to look at in a target of this kind: in logs only the checks of logs have.
pub fn applies(check: &Check, kind: Kind) -> bool {
    kind != Kind::Log || check.area == Area::Logs
}

/// Whether a check has something to look at although the root file system cannot be mounted.
pub fn looks_at_disks_alone(check: &Check) -> bool {
    check.id == boot::file_system_damaged::CHECK.id
}

/// The checks with these ids; all of them when none is named.
pub fn chosen(ids: &[String]) -> Result<Vec<&'static Check>, Text> {
    if ids.is_empty() {
        return Ok(ALL.to_vec());
    }
    ids.iter()
        .map(|id| {
            ALL.iter().find(|check| check.id == id).copied().ok_or_else(|| match meant(id) {
                Some(near) => tr!("there is no check {id}: did you mean {near}?", id, near),
                None => tr!("there is no check {id}: see sickbay list", id),
            })
        })
        .collect()
}

/// The id that was meant where `word` is written: one that is nearly so, or the only one that it is a part of.
pub fn meant(word: &str) -> Option<&'static str> {
    let word = word.to_lowercase();
    let ids = || ALL.iter().map(|check| check.id);
    let mut holding = ids().filter(|id| !word.is_empty() && id.contains(&word));
    match (holding.next(), holding.next()) {
        (Some(only), None) => Some(only),
        _ => nearest(&word, ids(), word.len().div_ceil(4)),
    }
}

/// The same for a target of this kind. To name a check that has nothing to look at there is a mistake.
pub fn chosen_for(ids: &[String], kind: Kind) -> Result<Vec<&'static Check>, Text> {
    let mut all = chosen(ids)?;
    if let Some(check) = all.iter().find(|check| !ids.is_empty() && !applies(check, kind)) {
        return Err(tr!("{check} does not look at logs", check = check.id));
    }
    all.retain(|check| applies(check, kind));
    Ok(all)
}
