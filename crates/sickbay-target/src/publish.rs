//! A report that is put where somebody asked for it: whole or not at all.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

/// Everybody may read it: another program shall, as another user.
const MODE: u32 = 0o644;

/// Puts `bytes` at `path`. Who reads it meanwhile sees what was there before or all of the new, never a part: it is written under
/// another name in the same directory and renamed. A link is replaced, not followed. What is no file (a pipe, a terminal,
/// `/dev/stdout`) is written to.
///
/// # Errors
/// The kernel's reason; then nothing is left behind and what was there is as it was.
pub fn publish(path: &Path, bytes: &[u8]) -> io::Result<()> {
    publish_with(path, MODE, |mut file| file.write_all(bytes))
}

/// The same of what `write` writes, with this mode.
pub(crate) fn publish_with<T>(path: &Path, mode: u32, write: impl FnOnce(&File) -> io::Result<T>) -> io::Result<T> {
    if let Ok(metadata) = std::fs::metadata(path) {
        let kind = metadata.file_type();
        if kind.is_fifo() || kind.is_char_device() || kind.is_socket() {
            return write(&OpenOptions::new().write(true).open(path)?);
        }
        if kind.is_dir() {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        // Nobody means to write over a disk, nor to have a file in the place of its node.
        if kind.is_block_device() {
            return Err(io::ErrorKind::InvalidInput.into());
        }
    }
    let (temporary, file) = temporary(path)?;
    let whole = || -> io::Result<T> {
        let written = write(&file)?;
        // Whatever the umask says.
        file.set_permissions(std::fs::Permissions::from_mode(mode))?;
        file.sync_all()?;
        std::fs::rename(&temporary, path)?;
        Ok(written)
    };
    let written = whole().inspect_err(|_| {
        let _ = std::fs::remove_file(&temporary); // the first error is the one that counts
    })?;
    // That it has its name is on the disk, too, as far as the file system does that for a directory.
    if let Ok(dir) = File::open(dir_of(path)) {
        let _ = dir.sync_all();
    }
    Ok(written)
}

fn dir_of(path: &Path) -> &Path {
    path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// A file that nobody had before, beside `path`. Its name does not end as that of `path`: who collects `*.prom` leaves it alone.
fn temporary(path: &Path) -> io::Result<(PathBuf, File)> {
    let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?.to_string_lossy();
    // A name may have 255 bytes.
    let name: String = name.chars().take(40).collect();
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(0o600).custom_flags(OFlags::NOFOLLOW.bits().cast_signed());
    let mut taken = io::Error::from(io::ErrorKind::AlreadyExists);
    for attempt in 0..16 {
        let temporary = dir_of(path).join(format!(".{name}.{}.{attempt}.tmp", std::process::id()));
        match options.open(&temporary) {
            Ok(file) => return Ok((temporary, file)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => taken = error,
            Err(error) => return Err(error),
        }
    }
    Err(taken)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn whole_or_not_at_all() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("sickbay.prom");
        publish(&path, b"one").expect("written");
        publish(&path, b"two").expect("written");
        assert_eq!(fs::read(&path).expect("there"), b"two");
        assert_eq!(fs::metadata(&path).expect("there").permissions().mode() & 0o7777, MODE);
        // A link is not followed.
        let victim = dir.path().join("victim");
        fs::write(&victim, "kept").expect("written");
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(&victim, &link).expect("a link");
        publish(&link, b"new").expect("written");
        assert_eq!(
            (fs::read(&victim).expect("there"), fs::read(&link).expect("there")),
            (b"kept".into(), b"new".into())
        );
        // No directory there, or one in its place.
        assert!(publish(&dir.path().join("no/such"), b"x").is_err() && publish(dir.path(), b"x").is_err());
        let names: Vec<_> =
            fs::read_dir(dir.path()).expect("readable").flatten().map(|entry| entry.file_name()).collect();
        assert_eq!(names.len(), 3, "{names:?}");
        publish(Path::new("/dev/null"), b"x").expect("written to");
        publish_with(&path, 0o600, |mut file| file.write_all(b"three")).expect("written");
        assert_eq!(fs::metadata(&path).expect("there").permissions().mode() & 0o7777, 0o600);
        publish_with(&path, 0o600, |_| Err::<(), _>(io::ErrorKind::StorageFull.into())).expect_err("it is full");
        assert_eq!(fs::read(&path).expect("there"), b"three");
        assert_eq!(fs::read_dir(dir.path()).expect("readable").count(), 3);
        assert!(fs::metadata("/dev/null").expect("there").file_type().is_char_device());
    }
}
