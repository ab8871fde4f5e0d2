//! Files that a user asked for, on this machine.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use crate::vm::unique;

/// Puts `bytes` in the place of the file `path`, whole: who reads it meanwhile sees what was there before, and after a power
/// cut it is one or the other. What is there and is no plain file, such as a FIFO or `/dev/stderr`, is written to as it is.
///
/// # Errors
/// The kernel's. Nothing is left beside it then.
pub fn put_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    // A link is followed: its file is what is replaced.
    let place = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    if std::fs::metadata(&place).is_ok_and(|there| !there.is_file()) {
        return File::options().write(true).custom_flags(libc::O_CLOEXEC).open(&place)?.write_all(bytes);
    }
    let (Some(name), Some(dir)) = (place.file_name(), place.parent()) else {
        return Err(io::ErrorKind::NotADirectory.into());
    };
    let dir = if dir.as_os_str().is_empty() { Path::new(".") } else { dir };
    let beside = dir.join(unique(&format!(".{}", name.to_string_lossy())));
    let write = || {
        let mut file =
            File::options().write(true).create_new(true).mode(0o644).custom_flags(libc::O_CLOEXEC).open(&beside)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        std::fs::rename(&beside, &place)
    };
    write().inspect_err(|_| {
        let _ = std::fs::remove_file(&beside);
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_whole_or_not_at_all() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("report");
        put_whole(&path, b"one").expect("written");
        let link = dir.path().join("link");
        std::os::unix::fs::symlink("report", &link).expect("a link");
        put_whole(&link, b"two").expect("written");
        assert_eq!(std::fs::read(&path).expect("a file"), b"two");
        assert!(link.symlink_metadata().expect("a link").is_symlink());
        assert!(put_whole(&dir.path().join("none/report"), b"x").is_err());
        assert!(put_whole(dir.path(), b"x").is_err());
        put_whole(Path::new("/dev/null"), b"x").expect("written");
        assert_eq!(std::fs::read_dir(dir.path()).expect("a directory").count(), 2);
    }
}
