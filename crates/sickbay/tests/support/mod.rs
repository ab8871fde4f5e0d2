//! What the integration tests share.
#![allow(dead_code, missing_docs, unreachable_pub, reason = "each test binary uses a part of it")]

pub mod boot;
pub mod command;
pub mod disk;
pub mod elf;
pub mod expect;
pub mod grub;
pub mod initramfs;
pub mod manifest;
pub mod packages;
pub mod process;
pub mod story;
pub mod tree;

use std::path::{Path, PathBuf};

/// `path` of the target under `root`.
pub fn inside(root: &Path, path: &str) -> PathBuf {
    root.join(path.trim_start_matches('/'))
}
