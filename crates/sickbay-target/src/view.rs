//! A view of a disk that can be written while the disk stays as it is.
//!
//! The view is a file that a small file server of our own shows (FUSE): what is read comes from the disk, what is
//! written is kept in memory and read back from there. A checker of file systems and the kernel can do to it what they
//! like; what they changed is looked at before the disk sees any of it. When this process ends, the view is gone.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::fs::{Mode, OFlags};
use rustix::mount::MountFlags;

use crate::bytes::{le32, le64};
use crate::mounts::{Mounts, Recipe};
use crate::sys;

/// What is kept is kept in blocks of this many bytes: where a partition begins, a block does.
const BLOCK: usize = 512;

/// How many blocks may be kept: 1 GiB. Beyond, writing fails as on a full disk.
const LIMIT: usize = 1 << 21;

/// The most that the kernel writes, and reads without asking for more, at once.
const MAX_WRITE: usize = 128 << 10;

/// A disk, as it would be.
#[derive(Debug)]
pub(crate) struct View {
    file: File,
    base: File,
    kept: Arc<Kept>,
}

/// Bytes of a disk that are others than those on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Extent {
    /// Where they begin on the disk.
    pub offset: u64,
    /// What is there.
    pub before: Vec<u8>,
    /// What shall be there.
    pub after: Vec<u8>,
}

/// Shared with the server, which has descriptors of its own: there are none in it.
#[derive(Debug)]
struct Kept {
    size: u64,
    blocks: Mutex<BTreeMap<u64, Box<[u8]>>>,
}

impl View {
    /// Shows `base`, which has `size` bytes, as a file that can be written.
    pub(crate) fn of(base: File, size: u64, mounts: &Mounts) -> io::Result<View> {
        let device =
            File::options().read(true).write(true).custom_flags(libc::O_CLOEXEC).open("/dev/fuse").map_err(|e| {
                io::Error::new(e.kind(), format!("/dev/fuse, needed to show it to the kernel: {e} (modprobe fuse)"))
            })?;
        let recipe = Recipe {
            fstype: "fuse",
            flags: MountFlags::NODEV | MountFlags::NOSUID | MountFlags::NOEXEC,
            options: vec![format!("fd={},rootmode=40000,user_id=0,group_id=0", device.as_raw_fd())],
        };
        let kept = Arc::new(Kept { size, blocks: Mutex::default() });
        let dir = mounts.mount(std::path::Path::new("sickbay"), &recipe).map_err(|e| {
            // A kernel without FUSE, a /dev/fuse that is none, a container that may not use it.
            io::Error::new(
                e.kind(),
                format!(
                    "it cannot be shown to the kernel through FUSE: {e} (modprobe fuse, or a container that allows it)"
                ),
            )
        })?;
        // The server has descriptors of its own. When this process is killed, its end must not wait for anything else of
        // ours: whoever flushes something to the view while it is closed would wait for the dead.
        let (own_device, own_base) = (device.try_clone()?, base.try_clone()?);
        let copies = [own_device.as_raw_fd(), own_base.as_raw_fd()];
        let (ready, is_ready) = std::sync::mpsc::channel();
        let blocks = Arc::clone(&kept);
        std::thread::Builder::new().name("view".into()).spawn(move || {
            let own = sys::own_files(&[own_device.as_fd(), own_base.as_fd()]);
            let failed = own.is_err();
            if ready.send(own).is_ok() && !failed {
                serve(&own_device, &own_base, &blocks);
            }
        })?;
        is_ready.recv().map_err(io::Error::other)??;
        copies.into_iter().for_each(sys::close_copy);
        drop(device);
        let opened = rustix::fs::openat(&dir, "disk", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty());
        drop(dir);
        // The open file keeps what it is on.
        mounts.unmount()?;
        Ok(View { file: File::from(opened?), base, kept })
    }

    /// The disk as it would be.
    pub(crate) fn file(&self) -> io::Result<File> {
        self.file.try_clone()
    }

    /// What is other than on the disk, in the disk's order.
    pub(crate) fn changes(&self) -> io::Result<Vec<Extent>> {
        self.file.sync_all()?;
        let mut all: Vec<Extent> = Vec::new();
        for (&number, after) in self.kept.lock().iter() {
            let offset = number * BLOCK as u64;
            let length = usize::try_from(self.kept.size - offset).unwrap_or(BLOCK).min(BLOCK);
            let mut before = vec![0; length];
            self.base.read_exact_at(&mut before, offset)?;
            let after = after.get(..length).unwrap_or_default();
            if before == after {
                continue;
            }
            match all.last_mut() {
                Some(last) if last.offset + last.after.len() as u64 == offset => {
                    last.before.extend_from_slice(&before);
                    last.after.extend_from_slice(after);
                }
                _ => all.push(Extent { offset, before, after: after.to_vec() }),
            }
        }
        Ok(all)
    }

    /// Forgets what was written to a part of the disk, as far as whole blocks lie in it. Nothing of that part may be
    /// mounted or in use.
    pub(crate) fn forget(&self, start: u64, size: u64) {
        let blocks = start.div_ceil(BLOCK as u64)..start.saturating_add(size) / BLOCK as u64;
        // The kernel keeps pages of it, which are no more what is there.
        let _ = self.file.sync_all();
        self.kept.lock().retain(|number, _| !blocks.contains(number));
        let _ = rustix::fs::fadvise(&self.file, 0, None, rustix::fs::Advice::DontNeed);
    }
}

impl Kept {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, Box<[u8]>>> {
        self.blocks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read(&self, base: &File, offset: u64, length: usize) -> io::Result<Vec<u8>> {
        let there = usize::try_from(self.size.saturating_sub(offset)).unwrap_or(usize::MAX);
        let mut bytes = vec![0; length.min(there)];
        base.read_exact_at(&mut bytes, offset)?;
        let end = offset + bytes.len() as u64;
        for (&number, block) in self.lock().range(offset / BLOCK as u64..end.div_ceil(BLOCK as u64)) {
            let begin = number * BLOCK as u64;
            let (from, to) = (begin.max(offset), (begin + BLOCK as u64).min(end));
            let within = |at: u64, start: u64| usize::try_from(at - start).unwrap_or(0);
            if let (Some(place), Some(kept)) = (
                bytes.get_mut(within(from, offset)..within(to, offset)),
                block.get(within(from, begin)..within(to, begin)),
            ) {
                place.copy_from_slice(kept);
            }
        }
        Ok(bytes)
    }

    fn write(&self, base: &File, offset: u64, bytes: &[u8]) -> io::Result<()> {
        if offset.checked_add(bytes.len() as u64).is_none_or(|end| end > self.size) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let mut at = offset;
        let mut rest = bytes;
        while !rest.is_empty() {
            let number = at / BLOCK as u64;
            let within = usize::try_from(at % BLOCK as u64).unwrap_or(0);
            let (piece, after) = rest.split_at(rest.len().min(BLOCK - within));
            let known = self.lock().contains_key(&number);
            if !known {
                let whole = piece.len() == BLOCK;
                let mut block = if whole { Vec::new() } else { self.read(base, number * BLOCK as u64, BLOCK)? };
                block.resize(BLOCK, 0);
                let mut blocks = self.lock();
                if blocks.len() >= LIMIT {
                    return Err(io::ErrorKind::StorageFull.into());
                }
                blocks.insert(number, block.into());
            }
            if let Some(place) =
                self.lock().get_mut(&number).and_then(|block| block.get_mut(within..within + piece.len()))
            {
                place.copy_from_slice(piece);
            }
            at += piece.len() as u64;
            rest = after;
        }
        Ok(())
    }
}

// include/uapi/linux/fuse.h
const LOOKUP: u32 = 1;
const FORGET: u32 = 2;
const GETATTR: u32 = 3;
const SETATTR: u32 = 4;
const OPEN: u32 = 14;
const READ: u32 = 15;
const WRITE: u32 = 16;
const RELEASE: u32 = 18;
const FSYNC: u32 = 20;
const FLUSH: u32 = 25;
const INIT: u32 = 26;
const INTERRUPT: u32 = 36;
const BATCH_FORGET: u32 = 42;
/// `FOPEN_NOFLUSH`: the same from Linux 5.16 on.
const NO_FLUSH: u32 = 1 << 5;
const HEADER: usize = 40;
const ROOT: u64 = 1;
const DISK: u64 = 2;

/// Answers the kernel until nobody has the file open any more.
fn serve(mut device: &File, base: &File, kept: &Kept) {
    let mut request = vec![0; MAX_WRITE + 4096];
    loop {
        let length = match device.read(&mut request) {
            Ok(length) => length,
            // A request that was taken back before it was read.
            Err(error) if matches!(error.raw_os_error(), Some(libc::EINTR | libc::ENOENT | libc::EAGAIN)) => continue,
            Err(_) => return, // it is unmounted
        };
        let Some(request) = request.get(..length) else { return };
        let (Some(code), Some(unique)) = (le32(request, 4), le64(request, 8)) else { return };
        let node = le64(request, 16).unwrap_or(0);
        let body = request.get(HEADER..).unwrap_or_default();
        let answer = match code {
            FORGET | BATCH_FORGET | INTERRUPT => continue,
            INIT => Ok(init(body)),
            LOOKUP if body == b"disk\0" => Ok(entry(kept)),
            LOOKUP => Err(libc::ENOENT),
            GETATTR | SETATTR => Ok([vec![0; 16], attributes(node, kept)].concat()),
            OPEN => Ok([vec![0; 8], NO_FLUSH.to_le_bytes().to_vec(), vec![0; 4]].concat()),
            READ => {
                let (offset, length) = (le64(body, 8).unwrap_or(0), le32(body, 16).unwrap_or(0));
                let length = usize::try_from(length).unwrap_or(0).min(1 << 20);
                kept.read(base, offset, length).map_err(|e| e.raw_os_error().unwrap_or(libc::EIO))
            }
            WRITE => {
                let offset = le64(body, 8).unwrap_or(0);
                let data = body.get(40..).unwrap_or_default();
                let written = u32::try_from(data.len()).unwrap_or(0).to_le_bytes();
                match kept.write(base, offset, data) {
                    Ok(()) => Ok([written, [0; 4]].concat()),
                    Err(error) if error.kind() == io::ErrorKind::StorageFull => Err(libc::ENOSPC),
                    Err(error) => Err(error.raw_os_error().unwrap_or(libc::EIO)),
                }
            }
            RELEASE | FSYNC => Ok(Vec::new()),
            // With that answer the kernel asks no more: a process that ends need not wait for us.
            FLUSH => Err(libc::ENOSYS),
            _ => Err(libc::ENOSYS),
        };
        let (error, bytes) = match answer {
            Ok(bytes) => (0, bytes),
            Err(errno) => (-errno, Vec::new()),
        };
        let length = u32::try_from(16 + bytes.len()).unwrap_or(16);
        let mut reply = Vec::with_capacity(16 + bytes.len());
        reply.extend(length.to_le_bytes());
        reply.extend(error.to_le_bytes());
        reply.extend(unique.to_le_bytes());
        reply.extend(bytes);
        // Fails when whoever asked is gone.
        let _ = device.write(&reply);
    }
}

/// `struct fuse_init_out`: version 7.31, and nothing that would have to be done besides.
fn init(body: &[u8]) -> Vec<u8> {
    const ASYNC_READ: u32 = 1;
    const BIG_WRITES: u32 = 1 << 5;
    let words = [7, 31, le32(body, 8).unwrap_or(0).min(1 << 20), ASYNC_READ | BIG_WRITES];
    let mut out: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    out.extend([16_u16, 12].iter().flat_map(|word| word.to_le_bytes())); // requests in the background, and of them congested
    out.extend(u32::try_from(MAX_WRITE).unwrap_or(4096).to_le_bytes());
    out.extend(1_u32.to_le_bytes());
    out.resize(64, 0);
    out
}

/// `struct fuse_entry_out`.
fn entry(kept: &Kept) -> Vec<u8> {
    let mut out = DISK.to_le_bytes().to_vec();
    out.resize(16, 0);
    out.extend([u64::from(u32::MAX), u64::from(u32::MAX)].iter().flat_map(|valid| valid.to_le_bytes()));
    out.resize(40, 0);
    out.extend(attributes(DISK, kept));
    out
}

/// `struct fuse_attr`.
fn attributes(node: u64, kept: &Kept) -> Vec<u8> {
    let (mode, size) = if node == ROOT { (0o040_700_u32, 0) } else { (0o100_600, kept.size) };
    let mut out: Vec<u8> =
        [node, size, size.div_ceil(512), 0, 0, 0].iter().flat_map(|number| number.to_le_bytes()).collect();
    let block = u32::try_from(BLOCK).unwrap_or(0);
    out.extend([0, 0, 0, mode, 1, 0, 0, 0, block, 0].iter().flat_map(|number: &u32| number.to_le_bytes()));
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back_and_the_disk_stays() {
        let size: usize = (1 << 20) + 1000;
        let mut base = tempfile::tempfile().unwrap();
        base.write_all(&(0..size).map(|n| n as u8).collect::<Vec<u8>>()).unwrap();
        let mounts = Mounts::new().unwrap();
        let view = View::of(base.try_clone().unwrap(), size as u64, &mounts).unwrap();
        let file = view.file().unwrap();
        assert_eq!(file.metadata().unwrap().len(), size as u64);
        let all = |file: &File| {
            let mut bytes = vec![0; size];
            file.read_exact_at(&mut bytes, 0).unwrap();
            bytes
        };
        let mut expected = all(&base);
        assert!(all(&file) == expected);
        // Across the border of two blocks, the very end, far more than is written at once, and what was there.
        for (at, bytes) in [(4090, vec![7; 12]), (size - 3, vec![8; 3]), (100_000, vec![9; 700_000])] {
            file.write_all_at(&bytes, at as u64).unwrap();
            expected[at..at + bytes.len()].copy_from_slice(&bytes);
        }
        let same = expected[50_000..60_000].to_vec();
        file.write_all_at(&same, 50_000).unwrap();
        assert!(all(&file) == expected);
        assert!(file.write_all_at(&[0; 2], size as u64 - 1).is_err());

        let before = all(&base);
        let mut replayed = before.clone();
        let changes = view.changes().unwrap();
        for extent in &changes {
            let at = extent.offset as usize;
            assert!(before[at..at + extent.before.len()] == extent.before);
            replayed[at..at + extent.after.len()].copy_from_slice(&extent.after);
        }
        assert!(replayed == expected);
        assert_eq!(changes.len(), 3);
        view.forget(4096, (1 << 20) - 4096);
        let (from, to) = (4096, 1 << 20);
        expected[from..to].copy_from_slice(&before[from..to]);
        assert!(all(&file) == expected);
        assert_eq!(view.changes().unwrap().iter().map(|e| e.offset).collect::<Vec<_>>(), [3584, (1 << 20) + 512]);
    }
}
