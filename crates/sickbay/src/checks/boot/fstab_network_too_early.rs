//! Network file systems that are mounted before there is a network.

use bstr::ByteSlice;
use sickbay_formats::fstab;

use crate::facts::Facts;
use crate::facts::boot::fstab::Fstab;
use crate::facts::system::release::{Init, System};
use crate::model::finding::Findings;
use crate::model::outcome::{Skip, Verdict};
use crate::model::repair::{Change, Risk};
use crate::model::stage::Stage;
use crate::{check, tr};

check! {
    /// ## Symptom
    /// You see: "mount.efs: Failed to resolve …", "Network is unreachable", "Dependency failed for Local File Systems" and
    /// "You are in emergency mode", although the share can be mounted by hand afterwards.
    ///
    /// ## What it finds
    /// Lines of `/etc/fstab` with a file system that needs the network, whose type systemd takes for a local one (`efs`,
    /// `beegfs`, `alinas`, `fuse.s3fs`, `moosefs` and their like), or a block device that comes over the network
    /// (`/dev/rbd…`, `/dev/drbd…`, `/dev/nbd…`), without `_netdev`. systemd knows nfs, cifs, ceph, glusterfs, sshfs, lustre
    /// and some others by itself.
    ///
    /// ## Why it matters
    /// systemd mounts it before the network is up. It fails, and where the line is not `nofail`, the boot stops in emergency
    /// mode.
    ///
    /// ## What the repair does
    /// Adds `_netdev` to the line: it is mounted once the network is up.
    ///
    /// ## By hand
    /// ```sh
    /// # add _netdev to the fourth field, then
    /// systemctl daemon-reload && systemctl list-dependencies remote-fs.target
    /// ```
    "fstab-network-too-early", Boot, seed = ["B7"], proves = [], may_stop = [Mounts], "a network file system is mounted before the network is up"
}

/// Types that systemd takes for local ones, although they need the network. What it knows (basic/mountpoint-util.c,
/// `fstype_is_network`) is not here.
const TYPES: [&str; 33] = [
    "efs",
    "amazon-efs",
    "alinas",
    "alifuse.aliyun-alinas-efc",
    "alinas-eac",
    "beegfs",
    "cpfs",
    "gpfs",
    "panfs",
    "orangefs",
    "moosefs",
    "mfs",
    "mfsmount",
    "lizardfs",
    "saunafs",
    "juicefs",
    "s3fs",
    "s3ql",
    "goofys",
    "mount-s3",
    "rclone",
    "rclonefs",
    "ossfs",
    "cosfs",
    "gcsfuse",
    "blobfuse",
    "blobfuse2",
    "curlftpfs",
    "cvmfs",
    "xtreemfs",
    "hdfs",
    "quobyte",
    "wekafs",
];

/// Devices whose blocks come over the network.
const DEVICES: [&str; 3] = ["/dev/rbd", "/dev/nbd", "/dev/drbd"];

fn run(facts: &Facts, found: &mut Findings) -> Verdict {
    if facts.get::<System>()?.init != Init::Systemd {
        return Err(Skip::NotApplicable(tr!("systemd does not mount here")));
    }
    let fstab = facts.get::<Fstab>()?;
    for entry in fstab.sound() {
        let off = ["_netdev", "noauto", "x-systemd.automount"].iter().any(|option| entry.has_option(option));
        let ordered = entry.options().any(|option| {
            ["x-systemd.requires=network", "x-systemd.after=network"]
                .iter()
                .any(|start| option.starts_with(start.as_bytes()))
        });
        if off || ordered || entry.is_swap() {
            continue;
        }
        let fstype = entry.fstype().to_str_lossy().into_owned();
        let plain = fstype.strip_prefix("fuse.").unwrap_or(&fstype);
        // `s3fs#bucket` of old, and `mfsmount`.
        let prefix = entry.device().split_once_str("#").map(|(program, _)| program.to_str_lossy().into_owned());
        let program = prefix.unwrap_or_else(|| entry.device().to_string());
        let by_type = TYPES.contains(&plain) || fstype == "fuse" && TYPES.contains(&program.as_str());
        let by_device = DEVICES.iter().any(|device| entry.device().starts_with(device.as_bytes()));
        if !(by_type || by_device) {
            continue;
        }
        let place = entry.mount_point();
        let stops = !entry.has_option("nofail");
        let what = if by_type && plain == "fuse" {
            program
        } else if by_type {
            plain.to_owned()
        } else {
            entry.device().to_string()
        };
        let message = tr!(
            "{place} is mounted before the network is up: systemd takes {what} for a local file system",
            place,
            what
        );
        let finding = if stops { found.critical(message) } else { found.warning(message) };
        finding.at(&fstab.file, entry.span(if entry.fields.len() > 3 { 3 } else { 2 }));
        if stops {
            finding.why(tr!("the mount fails, and the boot stops in emergency mode")).stops(Stage::Mounts);
        } else {
            finding.why(tr!("the mount fails, and whatever uses {place} finds it empty", place));
        }
        let text = fstab::with_option(&fstab.file.bytes, entry, "_netdev");
        finding.repair(
            Risk::Safe,
            tr!("add _netdev to line {line}", line = entry.line),
            [Change::edit(&fstab.file, text)],
        );
    }
    Ok(())
}
