//! What stands between a user and a shell.

pub mod account_file_damaged;
pub mod authorized_keys_invalid;
pub mod hosts_deny_refuses_ssh;
pub mod login_defs_invalid;
pub mod login_program_broken;
pub mod login_refused_in_log;
pub mod login_script_hangs;
pub mod nologin_file;
pub mod nsswitch_broken;
pub mod pam_file_missing;
pub mod pam_lets_anyone_in;
pub mod pam_module_broken;
pub mod pam_refuses_root;
pub mod pam_rule_invalid;
pub mod profile_path_lost;
pub mod profile_stops_login;
pub mod profile_syntax_error;
pub mod root_account_expired;
pub mod root_account_missing;
pub mod root_home_missing;
pub mod root_password_invalid;
pub mod root_password_locked;
pub mod root_shell_missing;
pub mod service_account_missing;
pub mod shadow_line_missing;
pub mod sshd_allows_nobody;
pub mod sshd_config_invalid;
pub mod sshd_host_key_missing;
pub mod sshd_ignores_keys;
pub mod sshd_limits;
pub mod sshd_not_started;
pub mod sshd_options_invalid;
pub mod sshd_refuses_root;
pub mod sshd_user_missing;
pub mod sudoers_invalid;

use crate::check::Check;

/// Every check of the area. Accounts before what reads them.
pub static ALL: &[&Check] = &[
    &account_file_damaged::CHECK,
    &root_account_missing::CHECK,
    &root_account_expired::CHECK,
    &root_password_locked::CHECK,
    &root_shell_missing::CHECK,
    &root_home_missing::CHECK,
    &sudoers_invalid::CHECK,
    &login_defs_invalid::CHECK,
    &login_program_broken::CHECK,
    &service_account_missing::CHECK,
    &shadow_line_missing::CHECK,
    &profile_stops_login::CHECK,
    &profile_path_lost::CHECK,
    &profile_syntax_error::CHECK,
    &login_script_hangs::CHECK,
    &sshd_not_started::CHECK,
    &sshd_user_missing::CHECK,
    &sshd_config_invalid::CHECK,
    &sshd_host_key_missing::CHECK,
    &sshd_refuses_root::CHECK,
    &authorized_keys_invalid::CHECK,
    &sshd_ignores_keys::CHECK,
    &sshd_limits::CHECK,
    &nsswitch_broken::CHECK,
    &pam_module_broken::CHECK,
    &pam_file_missing::CHECK,
    &pam_rule_invalid::CHECK,
    &pam_refuses_root::CHECK,
    &pam_lets_anyone_in::CHECK,
    &nologin_file::CHECK,
    &login_refused_in_log::CHECK,
    &root_password_invalid::CHECK,
    &hosts_deny_refuses_ssh::CHECK,
    &sshd_options_invalid::CHECK,
    &sshd_allows_nobody::CHECK,
];
