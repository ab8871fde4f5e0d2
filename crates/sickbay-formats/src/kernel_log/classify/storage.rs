//! Incidents of file systems, disks, arrays and what they are made of.

use bstr::ByteSlice;

use super::{Event, Kind, after, before, event, first_word};

/// fs/ext4/super.c, fs/xfs, fs/btrfs/messages.c, fs/jbd2/journal.c.
pub(super) fn file_system(text: &[u8]) -> Option<Event> {
    let inside = |from: &[u8]| after(from, "(").and_then(|rest| before(rest, ")")).map(<[u8]>::to_vec);
    let named = |device: Vec<u8>| device.strip_prefix(b"device ").map(<[u8]>::to_vec).unwrap_or(device);
    if let Some(name) = before(text, ": Remounting filesystem read-only")
        .or_else(|| before(text, "Remounting filesystem read-only").filter(|_| text.starts_with(b"EXT")))
    {
        return event(Kind::ReadOnly, &named(inside(name).unwrap_or_default()), first_word(text));
    }
    if let Some(rest) = text.strip_prefix(b"Aborting journal on device ") {
        let journal = rest.trim_ascii().trim_end_with(|c| c == '.');
        // `sda1-8` is the journal in inode 8 of sda1.
        return event(Kind::JournalAborted, journal.strip_suffix(b"-8").unwrap_or(journal), b"ext4");
    }
    for kind in ["ext4", "ext3", "ext2"] {
        let head = format!("{}-fs (", kind.to_ascii_uppercase());
        if text.starts_with(head.as_bytes()) && text.contains_str("error loading journal") {
            return event(Kind::JournalReplay, &named(inside(text)?), kind.as_bytes());
        }
        let head = format!("{}-fs error", kind.to_ascii_uppercase());
        if text.starts_with(head.as_bytes()) {
            let aborted = text.contains_str("Detected aborted journal") || text.contains_str("ournal has aborted");
            let what = if aborted { Kind::JournalAborted } else { Kind::FileSystem };
            return event(what, &named(inside(text)?), kind.as_bytes());
        }
    }
    // Before 3.0 (EL 6) it does not name the device.
    if text.starts_with(b"XFS: Internal error") || text.starts_with(b"XFS internal error") {
        return event(Kind::FileSystem, b"", b"xfs");
    }
    if let Some(rest) = text.strip_prefix(b"XFS (") {
        // EFSBADCRC and EFSCORRUPTED (fs/xfs/xfs_linux.h): what was read is not what was written.
        const DAMAGED: [&str; 5] = ["orrupt", "Internal error", "failed to recover", " error 74", " error 117"];
        const GONE: [&str; 6] = [
            "etadata I/O ",
            "og I/O error",
            "xfs_do_force_shutdown",
            "shut down",
            "hutting down filesystem",
            "xfs_log_force: error",
        ];
        let (device, said) = rest.split_once_str(")")?;
        let has = |words: &[&str]| words.iter().any(|words| said.contains_str(words));
        if has(&DAMAGED) {
            return event(Kind::FileSystem, device, b"xfs");
        }
        let what = match () {
            () if has(&["etadata I/O "]) => "metadata",
            () if has(&["og I/O error", "og I/O Error", "og error"]) => "log",
            () => "",
        };
        return (has(&GONE) || what == "log").then(|| event(Kind::Shutdown, device, what.as_bytes()))?;
    }
    if let Some(rest) = text.strip_prefix(b"BTRFS") {
        let bad = ["error", "critical", "alert", "emerg"].iter().any(|level| {
            rest.strip_prefix(b": ")
                .or_else(|| rest.strip_prefix(b" "))
                .is_some_and(|rest| rest.starts_with(level.as_bytes()))
        });
        // Since 5.18 a state may follow: `(device sda1 state EA)`.
        let device = || after(rest, "(device ").map(|rest| first_word(rest.split_str(")").next().unwrap_or(rest)));
        if rest.contains_str("forced readonly") {
            return event(Kind::ReadOnly, device()?, b"btrfs");
        }
        if rest.contains_str("csum failed root") {
            return event(Kind::DataDamaged, device()?, b"btrfs");
        }
        // `bdev /dev/sdb errs: wr 0, rd 0, flush 0, corrupt 5, gen 0`, as information at each mount once there was one.
        if let Some((disk, counters)) = after(rest, "bdev ").and_then(|rest| rest.split_once_str(" errs: ")) {
            let any = counters.iter().any(|byte| matches!(byte, b'1'..=b'9'));
            return any.then(|| event(Kind::DiskErrors, disk, counters))?;
        }
        if let Some(rest) = after(rest, "fixed up error at ") {
            return event(Kind::DiskErrors, first_word(after(rest, "on dev ")?), b"");
        }
        return bad.then(|| event(Kind::FileSystem, device().unwrap_or_default(), b"btrfs"))?;
    }
    None
}

/// block/blk-core.c and block/blk-mq.c, fs/buffer.c, drivers/nvme.
pub(super) fn io(text: &[u8]) -> Option<Event> {
    let device = if let Some(rest) = after(text, " error, dev ") {
        let head = before(text, " error, dev ")?;
        let known = [
            b"I/O".as_slice(),
            b"critical medium",
            b"critical target",
            b"critical space allocation",
            b"critical nexus",
        ];
        known.iter().any(|words| head.ends_with(words)).then_some(())?;
        rest
    } else if let Some(rest) = after(text, "Buffer I/O error on dev") {
        rest.strip_prefix(b"ice").unwrap_or(rest)
    } else if text.starts_with(b"nvme nvme") && (text.contains_str(" timeout") || text.contains_str("I/O Error")) {
        let name = text.strip_prefix(b"nvme ")?;
        return event(Kind::Io, name.split_str(":").next()?, b"timeout");
    } else {
        return None;
    };
    let device = first_word(device).trim_end_with(|c| c == ',');
    // Drives for media that are not in them answer every look with an error, and so does a loop device whose file went.
    let empty = [b"fd".as_slice(), b"sr", b"loop"].iter().any(|name| device.starts_with(name));
    (!empty).then(|| event(Kind::Io, device, b""))?
}

/// drivers/ata/libata-eh.c: `ata1.00: exception Emask 0x0 SAct 0x1 SErr 0x0 action 0x6 frozen`; drivers/nvme/host/pci.c; and
/// drivers/scsi/scsi_lib.c.
pub(super) fn disk(text: &[u8]) -> Option<Event> {
    if let Some(port) = before(text, ": exception Emask ").filter(|port| port.starts_with(b"ata")) {
        // Without an action it is a word on a medium, as of an empty drive.
        let acts = text.contains_str("frozen") || text.contains_str(" action 0x6") || text.contains_str(" action 0xe");
        let port = port.split_str(".").next().unwrap_or(port);
        return acts.then(|| event(Kind::DiskReset, port, b"timeout"))?;
    }
    if let Some(rest) = text.strip_prefix(b"nvme nvme") {
        let (number, said) = rest.split_once_str(": ")?;
        let name = [b"nvme", number].concat();
        if said.starts_with(b"controller is down") {
            return event(Kind::DiskReset, &name, b"down");
        }
        let gone = ["emoving after probe failure", "isabling device after reset failure", "Device not ready; aborting"];
        return gone.iter().any(|words| said.contains_str(words)).then(|| event(Kind::DiskGone, &name, b""))?;
    }
    let head = before(text, "rejecting I/O to offline device").filter(|head| head.starts_with(b"sd "))?;
    // `sd 2:0:0:0: [sdb] rejecting I/O …`; older ones do not name it.
    let named = after(head, "[").and_then(|rest| before(rest, "]"));
    event(Kind::DiskGone, named.unwrap_or(head.trim_end_with(|c| c == ' ' || c == ':')), b"")
}

/// drivers/md/raid1.c and its like: `md/raid1:md0: Disk failure on sdb1, disabling device.`; drivers/md/dm-mpath.c
/// `device-mapper: multipath: 253:3: Failing path 8:32.`; ZFS' `Pool 'tank' has encountered an uncorrectable I/O failure and has
/// been suspended.`
pub(super) fn array(text: &[u8]) -> Option<Event> {
    if let Some(rest) = after(text, ": Disk failure on ").filter(|_| text.starts_with(b"md")) {
        let head = before(text, ": Disk failure on ")?;
        let array = head.rsplit(|byte| *byte == b':').next().unwrap_or(head);
        return event(Kind::ArrayDegraded, array, first_word(rest).trim_end_with(|c| c == ','));
    }
    if let Some(rest) = text.strip_prefix(b"device-mapper: multipath: ") {
        let (device, path) = rest.split_once_str("ailing path ")?;
        let device = device.trim_end_with(|c| c == 'F' || c == ' ' || c == ':');
        return event(Kind::PathFailed, device, first_word(path).trim_end_with(|c| c == '.'));
    }
    let pool = after(before(text, "' has encountered an uncorrectable I/O failure and has been suspended")?, "Pool '")?;
    event(Kind::PoolSuspended, pool, b"")
}

/// drivers/md/dm-thin.c: `device-mapper: thin: 253:4: switching pool to out-of-data-space (queue IO) mode`.
pub(super) fn thin_pool(text: &[u8]) -> Option<Event> {
    let rest = text.strip_prefix(b"device-mapper: thin: ")?;
    let (pool, said) = rest.split_once_str(": ")?;
    if said.contains_str("to out-of-data-space") || said.contains_str("no free data space available") {
        return event(Kind::PoolFull, pool, b"data");
    }
    let full = said.contains_str("no free metadata space available")
        || said.contains_str("metadata operation") && said.contains_str("error = -28");
    full.then(|| event(Kind::PoolFull, pool, b"metadata"))?
}
