//! The flags of chattr(1) by which an administrator, or an intruder, keeps even root from changing a file.

use std::io;
use std::path::Path;

use rustix::fs::{IFlags, OFlags};

use crate::snapshot::Refusal;
use crate::{FileKind, ReadError, Root, WriteError, Writer};

/// What not even root may do to a file or directory before the flag is cleared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Flags {
    /// Nothing may be changed (`chattr +i`).
    pub immutable: bool,
    /// Something may only be added (`chattr +a`).
    pub append_only: bool,
}

impl Flags {
    /// Whether one of them is set.
    pub fn any(self) -> bool {
        self.immutable || self.append_only
    }

    fn of(flags: IFlags) -> Flags {
        Flags { immutable: flags.contains(IFlags::IMMUTABLE), append_only: flags.contains(IFlags::APPEND) }
    }
}

impl Root {
    /// The flags of a file or directory; the last link is not followed. None where there is no such thing: on a link, on
    /// a file system without flags.
    ///
    /// # Errors
    /// See [`crate::Reason`].
    pub fn flags(&self, path: impl AsRef<Path>) -> Result<Flags, ReadError> {
        let path = path.as_ref();
        if !matches!(self.metadata(path)?.kind, FileKind::File | FileKind::Dir) {
            return Ok(Flags::default());
        }
        if let Some(snapshot) = self.snapshot() {
            let live = || {
                let source = snapshot.source().ok_or(io::ErrorKind::Unsupported)?;
                let flags = source.flags(path).map_err(|error| Refusal::of(&error.reason).io())?;
                Ok(vec![u8::from(flags.immutable) | u8::from(flags.append_only) << 1])
            };
            let told = snapshot.answer(&format!("flags:{}", path.display()), live);
            let bits = told.ok().and_then(|told| told.first().copied()).unwrap_or(0);
            return Ok(Flags { immutable: bits & 1 != 0, append_only: bits & 2 != 0 });
        }
        let file = self.open_quietly(path, OFlags::RDONLY)?;
        Ok(rustix::fs::ioctl_getflags(&file).map_or_else(|_| Flags::default(), Flags::of))
    }
}

impl Writer {
    /// Sets both flags of a file or directory as they are told. On the disk after [`Writer::sync`].
    ///
    /// # Errors
    /// The kernel's.
    pub fn set_flags(&self, path: &Path, flags: Flags) -> Result<(), WriteError> {
        self.change_flags(path, |found| {
            let with = |found: IFlags, flag, set| if set { found | flag } else { found - flag };
            with(with(found, IFlags::IMMUTABLE, flags.immutable), IFlags::APPEND, flags.append_only)
        })
    }
}
