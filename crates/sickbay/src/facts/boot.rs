//! From the partition table to the file systems that are mounted.

pub mod boot_config;
pub mod boot_loader;
pub mod command_line;
pub mod devices;
pub mod esp;
pub mod fat;
pub mod fstab;
pub mod initramfs;
pub mod kernels;
pub mod modprobe;
pub mod mount_words;
pub mod mounted;
pub mod spare;
