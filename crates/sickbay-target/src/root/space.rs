//! How full a file system is, and how much of it is left for root.

use std::path::Path;

use rustix::fs::OFlags;

use super::{ReadError, Root};

/// How full a file system is, as statvfs(3) tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileSystemUse {
    /// Its size in bytes.
    pub size: u64,
    /// Free bytes, with those kept for root.
    pub free: u64,
    /// Free bytes for everybody.
    pub available: u64,
    /// The number of inodes; 0 where the file system makes them as needed (btrfs).
    pub inodes: u64,
    /// The number of free inodes.
    pub inodes_free: u64,
    /// Mounted read-only.
    pub read_only: bool,
    /// The size of a block in bytes.
    pub block: u64,
    /// What kind it is: `f_type` of statfs(2), see [`FileSystemUse::EXT`] and the others.
    pub magic: u64,
}

impl FileSystemUse {
    /// ext2, ext3 and ext4 (include/uapi/linux/magic.h).
    pub const EXT: u64 = 0xEF53;
    /// XFS.
    pub const XFS: u64 = 0x5846_5342;
    /// btrfs.
    pub const BTRFS: u64 = 0x9123_683E;
    /// F2FS.
    pub const F2FS: u64 = 0xF2F5_2010;

    /// The number of a kind, by the name that mount(8) has for it; 0 for one that is not among the above.
    pub(crate) fn magic_of(name: &[u8]) -> u64 {
        match name {
            b"ext2" | b"ext3" | b"ext4" => FileSystemUse::EXT,
            b"xfs" => FileSystemUse::XFS,
            b"btrfs" => FileSystemUse::BTRFS,
            b"f2fs" => FileSystemUse::F2FS,
            _ => 0,
        }
    }

    /// Free bytes for root.
    ///
    /// ext counts what it keeps for root as free, and what it never gives away: 2 % of its clusters, at most 4096
    /// (fs/ext4/super.c, ext4_calculate_resv_clusters(); the size told here is without the file system's own tables). XFS keeps
    /// a twentieth, at most 8192 blocks (fs/xfs/xfs_mount.c, xfs_default_resblks()), and some for the growth of its trees, from
    /// the moment on when it is mounted for writing: half a percent and 4 MiB is what those of RHEL 7 to 9 come to. What btrfs
    /// has free beyond `available` is in chunks of a kind that has not run out.
    pub fn for_root(&self) -> u64 {
        let kept = match self.magic {
            FileSystemUse::EXT => (self.size / 40).min(self.block.saturating_mul(4096)),
            FileSystemUse::XFS if self.read_only => {
                (self.size / 20).min(self.block.saturating_mul(8192)) + self.size / 200 + (4 << 20)
            }
            FileSystemUse::BTRFS => return self.available,
            _ => 0,
        };
        // What everybody may have root may have.
        let open = if self.magic == FileSystemUse::XFS { 0 } else { self.available };
        self.free.saturating_sub(kept).max(open)
    }
}

impl Root {
    /// How full the file system is that holds the path.
    ///
    /// # Errors
    /// See [`Reason`].
    #[allow(clippy::unnecessary_cast)] // the width of `f_type` differs between architectures
    pub fn statvfs(&self, path: impl AsRef<Path>) -> Result<FileSystemUse, ReadError> {
        let path = path.as_ref();
        if let Some(answer) =
            self.snapshot_answer(path, |snapshot| snapshot.walk(path, true).and_then(|real| snapshot.space(&real)))
        {
            return answer;
        }
        let fd = self.resolve(path, OFlags::empty())?;
        let told = rustix::fs::fstatvfs(&fd).map_err(|e| self.met.fail(path, e))?;
        let kind = rustix::fs::fstatfs(&fd).map_err(|e| self.met.fail(path, e))?;
        Ok(FileSystemUse {
            size: told.f_blocks.saturating_mul(told.f_frsize),
            free: told.f_bfree.saturating_mul(told.f_frsize),
            available: told.f_bavail.saturating_mul(told.f_frsize),
            inodes: told.f_files,
            inodes_free: told.f_ffree,
            read_only: told.f_flag.contains(rustix::fs::StatVfsMountFlags::RDONLY),
            block: told.f_frsize,
            magic: kind.f_type as u64 & 0xFFFF_FFFF,
        })
    }
}
