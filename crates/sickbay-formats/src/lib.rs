//! Text and bytes ⇄ types.
//!
//! Nothing here does I/O. Parsing is total: it never fails and never panics, because broken input is what this
//! project looks for; what cannot be understood is kept and can be asked for. Every format that is edited is
//! lossless: writing back what was parsed gives the same bytes.

#![deny(clippy::disallowed_methods)]

pub mod accounts;
pub mod apt;
pub mod archive;
pub mod authorized_keys;
pub mod bls;
pub mod boot_console;
pub mod boot_sector;
pub mod calendar;
pub mod census;
pub mod collected;
pub mod cpio;
pub mod cpus;
pub mod crontab;
pub mod device_map;
pub mod digest;
pub mod disk_image;
pub mod doas_conf;
pub mod dpkg;
pub mod elf;
pub mod ethtool;
pub mod filter;
pub mod foreign;
pub mod fstab;
pub mod gpt;
pub mod grub_cfg;
pub mod grub_core;
pub mod grub_efi;
pub mod grub_env;
pub mod grub_legacy;
pub mod grub_legacy_stage;
pub mod grub_module;
pub mod hosts_access;
pub mod hs_err;
pub mod initramfs;
pub mod inittab;
pub mod invisible;
pub mod journal_file;
pub mod kernel_image;
pub mod kernel_log;
pub mod kernel_words;
pub mod ld_so;
pub mod limits_conf;
pub mod lines;
pub mod login_defs;
pub mod login_log;
pub mod lvm;
pub mod mdstat;
pub mod modprobe;
pub mod modules;
pub mod mount_options;
pub mod network;
pub mod nginx;
pub mod nsswitch;
pub mod octal;
pub mod os_release;
pub mod pam;
pub mod ping;
pub mod procfs;
pub mod queue_irq;
pub mod recording;
pub mod reed_solomon;
pub mod rlimits;
pub mod rpm;
pub mod rpmdb;
pub mod selinux;
pub mod service_log;
pub mod shell;
pub mod shell_vars;
pub mod sock_diag;
pub mod span;
pub mod ssh_key;
pub mod sshd_config;
pub mod sudoers;
pub mod superblock;
pub mod supervisord_conf;
pub mod sysctl;
pub mod trace;
pub mod tuning;
pub mod unit_file;
pub mod wildcard;
