//! What a check is about: its name, where it belongs, what it proves, its page.

use crate::model::stage::Stage;
use crate::model::text::{CheckCatalogue, Lang, full_width};

/// The part of the system that a check looks at; also the folder its file is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Area {
    /// From the partition table to the last unit that must start.
    Boot,
    /// Files, links, modes and owners of the system itself.
    Files,
    /// What stands between a user and a shell.
    Login,
    /// How much a process may have of what is counted.
    Limits,
    /// What the kernel said.
    Logs,
    /// Where the memory of a running system is, and who is refused it.
    Memory,
    /// Who wants the processors of a running system, and who waits for what is none.
    Cpu,
    /// Cards, addresses, routes, ports and sockets.
    Network,
    /// Which disk is busy or hangs, and who keeps it so.
    Io,
    /// Servers: nginx, PHP-FPM, Java and its clients.
    Services,
}

impl Area {
    /// As users write it.
    pub fn name(self) -> &'static str {
        match self {
            Area::Boot => "boot",
            Area::Files => "files",
            Area::Login => "login",
            Area::Limits => "limits",
            Area::Logs => "logs",
            Area::Memory => "memory",
            Area::Cpu => "cpu",
            Area::Network => "network",
            Area::Io => "io",
            Area::Services => "services",
        }
    }
}

/// What a check looks at. Where a target has nothing of the kind it does not apply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// The files of a system.
    Files,
    /// Its disks, though none of its file systems can be mounted.
    Disks,
    /// A system that runs.
    Running,
    /// Logs: those of a system, or logs that are the target.
    Logs,
    /// What a machine did over time: one that runs, or what was recorded of one.
    Window,
}

/// What is known of a check before it runs.
#[derive(Clone, Copy, Debug)]
pub struct About {
    /// The name that users type: `fstab-missing-device`.
    pub id: &'static str,
    /// The part of the system it looks at.
    pub area: Area,
    /// Rows of the e-book's coverage that it answers: `B7`.
    pub seed: &'static [&'static str],
    /// Stages of the boot and login proofs that it judges; see [`crate::engine::proof`].
    pub proves: &'static [Stage],
    /// Stages that a finding of it may stop, though that it finds nothing proves nothing of them.
    pub may_stop: &'static [Stage],
    /// Whether it has something to look at although the root file system cannot be mounted.
    pub looks_at_disks_alone: bool,
    /// Whether it needs nothing but a [`crate::sample::Window`], and so can look at a recording.
    pub reads_recordings: bool,
    /// Runs after all others: it looks at what they met.
    pub runs_last: bool,
    /// One line: what is wrong when it finds something.
    pub title: &'static str,
    /// What `sickbay explain` shows, in Markdown.
    pub page: &'static str,
    /// The Chinese side: the text of `ID.zh-CN.toml`.
    pub zh_cn: &'static str,
}

impl About {
    /// What the check looks at.
    pub fn needs(&self) -> Need {
        match self.area {
            _ if self.looks_at_disks_alone => Need::Disks,
            Area::Logs => Need::Logs,
            _ if self.reads_recordings => Need::Window,
            Area::Memory | Area::Cpu | Area::Io => Need::Running,
            _ => Need::Files,
        }
    }

    /// Title and page in `lang`.
    pub fn explanation(&self, lang: Lang) -> (String, String) {
        let chinese = (lang == Lang::ZhCn).then(|| toml::from_str::<CheckCatalogue>(self.zh_cn).ok()).flatten();
        let said = |text: String| (!text.is_empty()).then(|| full_width(&text));
        let (title, page) = chinese.map_or((None, None), |chinese| (said(chinese.title), said(chinese.page)));
        let lines = || self.page.lines().map(|line| line.strip_prefix(' ').unwrap_or(line)).collect::<Vec<_>>();
        (title.unwrap_or_else(|| self.title.to_owned()), page.unwrap_or_else(|| lines().join("\n")))
    }
}
