//! The disks that are broken: healthy ones are built once, and every fault gets a copy of one.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

use super::guest::Guest;
use crate::new_check::workspace;

/// A healthy system that is broken; `lab/base.sh` builds it.
#[derive(Debug)]
pub(crate) struct Disk {
    /// What `lab/base.sh` calls it.
    pub name: &'static str,
    /// What a pristine row calls it.
    pub pristine: &'static str,
    /// What it is, in a few words.
    pub what: &'static str,
    /// Options that its root is mounted with, and those of a mount that must not write.
    options: [&'static str; 2],
    /// Where the root begins in the first partition, in bytes.
    shift: u64,
    /// What the fourth partition holds.
    fourth: Fourth,
    /// Whether it has the services of `lab/packages.txt`: it wants more memory then, and time.
    full: bool,
    /// Whether its address is fixed and it is reached through a router; it has been booted before, and its log names its card.
    pub routed: bool,
}

/// What the fourth partition holds.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fourth {
    Nothing,
    Boot,
    Esp,
}

const fn ext(name: &'static str, pristine: &'static str, what: &'static str) -> Disk {
    Disk {
        name,
        pristine,
        what,
        options: ["rw", "ro,noload"],
        shift: 0,
        fourth: Fourth::Nothing,
        full: false,
        routed: false,
    }
}

/// One whose network is configured in the files of a program.
const fn routed(name: &'static str, pristine: &'static str, what: &'static str) -> Disk {
    Disk { routed: true, ..ext(name, pristine, what) }
}

/// Debian 12 as most servers have it.
pub(crate) const BASE: Disk = ext("base", "pristine", "Debian 12, GRUB in its MBR, ext4");
/// A root that GRUB cannot write to, and a file system of its own for the kernels.
pub(crate) const XFS: Disk = Disk {
    options: ["rw,nouuid", "ro,nouuid,norecovery"],
    fourth: Fourth::Boot,
    ..ext("xfs", "pristine-xfs", "an xfs root, with an ext4 of its own for /boot")
};
/// A root that is not the top of its file system.
pub(crate) const BTRFS: Disk = Disk {
    options: ["rw,subvol=@", "ro,subvol=@"],
    ..ext("btrfs", "pristine-btrfs", "a btrfs root in the subvolume @")
};
/// A root that is on no partition.
pub(crate) const LVM: Disk =
    Disk { shift: 1024 * 1024, ..ext("lvm", "pristine-lvm", "an ext4 root in a logical volume") };
/// No boot code outside of files.
pub(crate) const UEFI: Disk =
    Disk { fourth: Fourth::Esp, ..ext("uefi", "pristine-uefi", "the signed GRUB and shim in an EFI system partition") };
/// The nearest to CentOS 6 that boots here.
pub(crate) const LEGACY: Disk = ext("legacy", "pristine-legacy", "GRUB legacy, ext3, sysvinit");
/// The initramfs that most other distributions have.
pub(crate) const DRACUT: Disk = ext("dracut", "pristine-dracut", "initramfs made by dracut");
/// The next generation of systemd, sshd and PAM.
pub(crate) const TRIXIE: Disk = ext("trixie", "pristine-trixie", "Debian 13");
/// What maintainers make of a system.
pub(crate) const FULL: Disk = Disk {
    full: true,
    ..ext("full", "pristine-full", "Debian 12 with more than 300 common packages (`lab/packages.txt`)")
};
/// The same of the next generation.
pub(crate) const TRIXIE_FULL: Disk =
    Disk { full: true, ..ext("trixie-full", "pristine-trixie-full", "Debian 13 with the same packages") };
/// A fixed address, by systemd-networkd.
pub(crate) const NETWORKD: Disk = routed("networkd", "pristine-networkd", "a fixed address by systemd-networkd");
/// The same by ifupdown.
pub(crate) const IFUPDOWN: Disk = routed("ifupdown", "pristine-ifupdown", "a fixed address by ifupdown");
/// The same by netplan, as Ubuntu's cloud images have it.
pub(crate) const NETPLAN: Disk =
    routed("netplan", "pristine-netplan", "a fixed address by netplan and systemd-networkd");
/// The same by NetworkManager.
pub(crate) const NETWORK_MANAGER: Disk =
    routed("network-manager", "pristine-network-manager", "a fixed address by NetworkManager");
/// All of them.
pub(crate) const DISKS: [&Disk; 14] = [
    &BASE,
    &XFS,
    &BTRFS,
    &LVM,
    &UEFI,
    &LEGACY,
    &DRACUT,
    &TRIXIE,
    &FULL,
    &TRIXIE_FULL,
    &NETWORKD,
    &IFUPDOWN,
    &NETPLAN,
    &NETWORK_MANAGER,
];

impl Disk {
    /// The healthy disk, built when it is not there.
    pub(crate) fn healthy(&self) -> Result<PathBuf, String> {
        let cache = workspace().join("lab/cache");
        let image = cache.join(format!("{}.img", self.name));
        if !image.exists() {
            fs::create_dir_all(&cache).map_err(|error| error.to_string())?;
            let new = cache.join(format!("{}.new", self.name));
            println!("building the disk {}, about {} minutes", self.name, if self.full { 20 } else { 2 });
            succeed(Command::new(workspace().join("lab/base.sh")).arg(self.name).arg(&new))?;
            if self.routed {
                let mut guest = Guest::start_writing(&new, self)?;
                guest.log_in_by_ssh().map_err(|stop| format!("{}: {}\n{}", self.name, stop.symptom, stop.console))?;
                guest.shut_down()?;
            }
            fs::rename(&new, &image).map_err(|error| error.to_string())?;
        }
        Ok(image)
    }

    /// Whether it needs UEFI.
    pub(crate) fn uefi(&self) -> bool {
        self.fourth == Fourth::Esp
    }

    /// MiB of memory that a machine with it gets.
    pub(crate) fn memory(&self) -> u32 {
        if self.full { 2560 } else { 768 }
    }

    /// How many times as long as for a small system its boot and its answers may take.
    pub(crate) fn patience(&self) -> u32 {
        if self.full { 5 } else { 1 }
    }

    /// Runs a shell script with the root mounted at `$R` and /boot in it, in a mount namespace of its own; `$1` is the
    /// image, `$ESP` what mtools take for its EFI system partition.
    pub(crate) fn change(&self, image: &Path, script: &str) -> Result<String, String> {
        self.inside(image, self.options[0], script)
    }

    /// Runs a shell script while nothing is mounted: `$ROOT` is the device that holds the root, `$DATA` that of /data.
    pub(crate) fn change_unmounted(&self, image: &Path, script: &str) -> Result<(), String> {
        let ((root, length), (data, length_of_data)) = (self.partition(1)?, self.partition(3)?);
        let (root, length) = (root + self.shift, length - self.shift);
        let devices = format!(
            "trap 'for loop in $ROOT $DATA; do losetup -d $loop; done' EXIT\nROOT= DATA=\n\
             attach \"$1\" {root} {length}; ROOT=$loop\nattach \"$1\" {data} {length_of_data}; DATA=$loop\n"
        );
        let whole = format!("set -eu\n{ATTACH}{devices}{script}");
        succeed(Command::new("sh").args(["-c", &whole, "sh"]).arg(image)).map(drop)
    }

    /// Where a partition begins and how long it is, in bytes. No fault moves one; the healthy disk's table can always be read.
    fn partition(&self, number: usize) -> Result<(u64, u64), String> {
        let image = self.healthy()?;
        let out = succeed(Command::new("sfdisk").arg("--json").arg(&image))?;
        let table: serde_json::Value = serde_json::from_slice(&out.stdout).map_err(|error| error.to_string())?;
        let row = &table["partitiontable"]["partitions"][number - 1];
        match (row["start"].as_u64(), row["size"].as_u64()) {
            (Some(start), Some(size)) => Ok((start * 512, size * 512)),
            _ => Err(format!("{} has no partition {number}", image.display())),
        }
    }

    /// Names, modes, owners, times, links, attributes and content of everything, and the space before the first partition.
    pub(crate) fn manifest(&self, image: &Path) -> Result<String, String> {
        let script = r#"head -c 1048576 "$1" | sha256sum
cd "$R"
find . $BOOT -xdev -printf '%p %y %m %U:%G %T@ %l\n' | sort
getfattr --recursive --no-dereference --dump --match=- --encoding=hex .
find . $BOOT -xdev -type f -print0 | sort -z | xargs -0 sha256sum
cd /
if [ -n "$ESP" ]; then tail -c +$((${ESP##*@} + 1)) "$1" | sha256sum; fi"#;
        self.inside(image, self.options[1], script)
    }

    /// Mode and owner of everything that dpkg knows to be of a package.
    pub(crate) fn packaged_modes(&self, image: &Path) -> Result<String, String> {
        let script = r#"cd "$R"
sort -u var/lib/dpkg/info/*.list | sed 's|^/|./|' | tr '\n' '\0' | xargs -0 stat --format='%n %a %u:%g' 2>/dev/null || true
cd /"#;
        self.inside(image, self.options[1], script)
    }

    fn inside(&self, image: &Path, options: &str, script: &str) -> Result<String, String> {
        let (mut command, _mount_point) = self.command(image, options, script)?;
        Ok(String::from_utf8_lossy(&succeed(&mut command)?.stdout).into_owned())
    }

    /// A command that runs the script so without writing to the image, and the directory that must outlive it.
    pub(crate) fn reader(&self, image: &Path, script: &str) -> Result<(Command, TempDir), String> {
        self.command(image, self.options[1], script)
    }

    fn command(&self, image: &Path, options: &str, script: &str) -> Result<(Command, TempDir), String> {
        let dir = tempfile::tempdir().map_err(|error| error.to_string())?;
        let (start, size) = self.partition(1)?;
        let mut mounts = mount(start + self.shift, size - self.shift, options, "$R");
        let mut command = Command::new("unshare");
        command.env("R", dir.path()).env("ESP", "").env("BOOT", "");
        if self.fourth != Fourth::Nothing {
            let (start, size) = self.partition(4)?;
            if self.uefi() {
                command.env("ESP", format!("{}@@{start}", image.display()));
            } else {
                let options = if options.starts_with("ro") { "ro,noload" } else { "rw" };
                mounts.push_str(&mount(start, size, options, "$R/boot"));
                command.env("BOOT", "./boot");
            }
        }
        let whole = format!("set -eu\n{ATTACH}{mounts}{script}\numount -R \"$R\"");
        command.args(["--mount", "--propagation", "private", "--", "sh", "-c", &whole, "sh"]).arg(image);
        Ok((command, dir))
    }
}

/// In a shell: `$loop` becomes a device of so many bytes of the image. It gets a number from 100 up, since a search for a
/// free one asks every device there is, and stands still with the first of them that does. One that is mounted goes when
/// it is not mounted any more.
const ATTACH: &str = r#"attach() {
    for number in $(seq 100 199); do
        loop=/dev/loop$number
        [ -e "$loop" ] || mknod "$loop" b 7 "$number" || true
        if losetup --offset "$2" --sizelimit "$3" "$loop" "$1" 2>/dev/null; then return; fi
    done
    return 1
}
mount_part() {
    attach "$1" "$2" "$3"
    mount -o "$4" "$loop" "$5" || { losetup -d "$loop"; return 1; }
    losetup -d "$loop"
}
"#;

fn mount(start: u64, size: u64, options: &str, at: &str) -> String {
    format!("mount_part \"$1\" {start} {size} {options} \"{at}\"\n")
}

/// A copy of a disk that goes when it is dropped.
pub(crate) struct Copy {
    /// Where it is.
    pub path: PathBuf,
}

impl Copy {
    /// Copies `disk`; `name` must be used by nobody else.
    pub(crate) fn of(disk: &Path, name: &str) -> Result<Copy, String> {
        let copy = Copy { path: disk.with_file_name(format!("{name}.img")) };
        succeed(Command::new("cp").args(["--sparse=always", "--reflink=auto"]).arg(disk).arg(&copy.path))?;
        Ok(copy)
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

/// SHA-256 of a whole file.
pub(crate) fn checksum(path: &Path) -> Result<String, String> {
    let out = succeed(Command::new("sha256sum").arg(path))?;
    Ok(String::from_utf8_lossy(&out.stdout).split(' ').next().unwrap_or_default().to_owned())
}

/// Where two manifests differ.
pub(crate) fn difference(before: &str, after: &str) -> Option<String> {
    let differing = before.lines().zip(after.lines()).find(|(old, new)| old != new);
    match differing {
        Some((old, new)) => Some(format!("{old}\n  {new}")),
        None if before.len() != after.len() => Some("more or fewer files".to_owned()),
        None => None,
    }
}

/// Runs a program to its end.
pub(crate) fn output(command: &mut Command) -> Result<Output, String> {
    command.output().map_err(|error| format!("{}: {error}", command.get_program().display()))
}

/// Runs a program that must succeed.
pub(crate) fn succeed(command: &mut Command) -> Result<Output, String> {
    let out = output(command)?;
    if out.status.success() {
        return Ok(out);
    }
    let text = [out.stdout, out.stderr].concat();
    Err(format!("{command:?}: {}\n{}", out.status, String::from_utf8_lossy(&text)))
}
