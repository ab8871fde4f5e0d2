//! Makes repairs out of facts.

pub mod boot_config;
pub mod boot_entries;
pub(crate) mod enable;
pub mod esp;
pub mod grub_core;
pub mod irq_plan;
pub mod irq_repair;
pub mod join;
pub mod network;
pub mod network_now;
pub mod packaged;
pub mod pam;
pub mod pam_ring;
pub mod rebuild;
pub mod restore;
pub mod script;
pub mod selinux;
pub mod sysctl_lines;
