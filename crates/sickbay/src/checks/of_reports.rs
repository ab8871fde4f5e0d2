//! Which checks read what a tool for support collected (sos report, insights-client). Such a report holds some files of `/etc` and
//! `/proc`, logs, and what commands printed. What is not there may well be on the machine: a check is listed here if it judges
//! what a file says, and not that one is missing.

use crate::check::Check;
use crate::model::about::Need;

const READ: [&str; 29] = [
    "file-system-full",
    "fstab-bad-line",
    "fstab-missing-device",
    "fstab-network-too-early",
    "fstab-duplicate-uuid",
    "fstab-wrong-type",
    "sysctl-hugepages",
    "sysctl-min-free",
    "sysctl-too-low",
    "sysctl-locks-modules",
    "grub-defaults-invalid",
    "inittab-broken",
    "resume-device-missing",
    "crypttab-missing-device",
    "invisible-characters",
    "account-file-damaged",
    "sudoers-invalid",
    "login-defs-invalid",
    "sshd-config-invalid",
    "sshd-refuses-root",
    "sshd-limits",
    "nsswitch-broken",
    "pam-rule-invalid",
    "pam-refuses-root",
    "pam-lets-anyone-in",
    "login-refused-in-log",
    "hosts-deny-refuses-ssh",
    "close-wait-leak",
    "database-by-public-address",
];

/// Whether a check does.
pub(super) fn reads(check: &Check) -> bool {
    check.needs() == Need::Logs || READ.contains(&check.id)
}

#[cfg(test)]
mod tests {
    #[test]
    fn each_is_a_check() {
        for id in super::READ {
            assert!(super::super::ALL.iter().any(|check| check.id == id), "{id}");
        }
    }
}
