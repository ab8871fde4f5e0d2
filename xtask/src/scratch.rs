//! A copy of the sources to try on what changes them.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::new_check::workspace;

/// The sources, catalogues and stories of the checkout, in a directory of their own.
pub(crate) fn sources() -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a directory");
    for file in ["rustfmt.toml", "README.md", "ARCHITECTURE.md", "CONTRIBUTING.md"] {
        fs::copy(workspace().join(file), dir.path().join(file)).expect("it is part of the checkout");
    }
    for part in ["crates", "docs", "xtask"] {
        copy(&workspace().join(part), &dir.path().join(part));
    }
    dir
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a directory");
    for entry in fs::read_dir(from).expect("part of the checkout") {
        let path = entry.expect("readable").path();
        let to = to.join(path.file_name().unwrap_or_default());
        if path.is_dir() {
            copy(&path, &to);
        } else {
            fs::copy(&path, to).expect("copied");
        }
    }
}

/// Fails when rustfmt would change anything of sickbay.
pub(crate) fn is_formatted(root: &Path) {
    let main = root.join("crates/sickbay/src/lib.rs");
    let out = Command::new("rustfmt").args(["--edition", "2024", "--check"]).arg(main).output().expect("rustfmt");
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stdout) + String::from_utf8_lossy(&out.stderr));
}
