//! Which distribution it is and what runs as process 1.

use bstr::ByteSlice;
use sickbay_formats::os_release::OsRelease;
use sickbay_target::Root;

use crate::facts::{Fact, Facts};
use crate::model::outcome::Skip;

/// What kind of system the target is.
#[derive(Debug)]
pub struct System {
    /// os-release, or what older systems have in its place.
    pub release: OsRelease,
    /// What is installed to run as process 1.
    pub init: Init,
}

/// Programs that run as process 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Init {
    /// systemd
    Systemd,
    /// Upstart (RHEL 6, Ubuntu before 15.04).
    Upstart,
    /// System V init, with the distribution's own scripts.
    SysV,
    /// busybox or OpenRC's own init.
    Other,
    /// None was found: a container, or a system that lost it.
    None,
}

impl Fact for System {
    fn gather(facts: &Facts) -> Result<System, Skip> {
        let root = facts.root();
        let there = |path: &str| root.exists(path).unwrap_or(false);
        let init = if there("/usr/lib/systemd/systemd") || there("/lib/systemd/systemd") {
            Init::Systemd
        } else if there("/sbin/initctl") && there("/etc/init") {
            Init::Upstart
        } else if there("/etc/inittab") && there("/etc/init.d") && !there("/etc/runlevels") && !there("/bin/busybox") {
            Init::SysV
        } else if root.metadata("/sbin/init").is_ok() || root.metadata("/usr/sbin/init").is_ok() {
            Init::Other
        } else {
            Init::None
        };
        Ok(System { release: release(root), init })
    }
}

/// systemd's version, by the name of its own library; `None` where it has none (before 231) or is not there.
pub fn systemd_version(root: &Root) -> Option<u32> {
    const DIRS: [&str; 4] = [
        "/usr/lib/systemd",
        "/usr/lib64/systemd",
        "/usr/lib/x86_64-linux-gnu/systemd",
        "/usr/lib/aarch64-linux-gnu/systemd",
    ];
    DIRS.iter().flat_map(|dir| root.read_dir(dir).unwrap_or_default()).find_map(|entry| {
        let name = entry.name.to_string_lossy().into_owned();
        let rest = name.strip_prefix("libsystemd-shared-")?;
        rest.chars().take_while(char::is_ascii_digit).collect::<String>().parse().ok()
    })
}

/// The release of a root; empty when nothing tells.
pub fn release(root: &Root) -> OsRelease {
    let text = ["/etc/os-release", "/usr/lib/os-release"].iter().find_map(|path| root.read(path).ok());
    if let Some(text) = text {
        return OsRelease::parse(&text);
    }
    // "CentOS release 6.10 (Final)": RHEL 6 and its rebuilds came before os-release.
    let Ok(text) = root.read("/etc/redhat-release") else { return OsRelease::default() };
    let line = text.lines().next().unwrap_or_default().to_str_lossy().trim().to_owned();
    let version = line.split(' ').find(|word| word.starts_with(|c: char| c.is_ascii_digit()));
    let id = match line.split(' ').next().map(str::to_lowercase).as_deref() {
        Some("red") => "rhel".to_owned(),
        Some(word) => word.to_owned(),
        None => String::new(),
    };
    OsRelease {
        id: (!id.is_empty()).then_some(id),
        id_like: vec!["rhel".to_owned()],
        version: version.map(str::to_owned),
        pretty_name: (!line.is_empty()).then_some(line),
    }
}
