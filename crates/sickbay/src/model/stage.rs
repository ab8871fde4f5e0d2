//! Stages of the ways from power-on to a prompt.

use crate::model::text::Text;
use crate::tr;

/// A stage of a proof.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// A partition table that leads to the root file system.
    PartitionTable,
    /// The boot loader's own code and modules.
    #[serde(rename = "bootloader")]
    BootLoader,
    /// The boot loader's configuration.
    BootConfig,
    /// The kernel's file.
    Kernel,
    /// The initramfs's file.
    Initramfs,
    /// `root=` resolves.
    RootDevice,
    /// Process 1 and what it needs, and the directories that everything needs.
    Init,
    /// The file systems that must be mounted.
    Mounts,
    /// The units that must start, within the memory that is there.
    Services,
    /// A card gets an address and a default route, by what the files say.
    Network,
    /// The machine is reached from outside: by its network, and by the port of sshd.
    Reachable,
    /// root's line in the account files.
    Account,
    /// A password that can be given.
    Password,
    /// The shell and what it needs.
    Shell,
    /// The PAM stack of login.
    PamLogin,
    /// The PAM stack of sshd.
    PamSshd,
    /// sshd starts, and comes as far as asking who it is.
    Sshd,
    /// What sshd is told lets root in.
    SshdPolicy,
    /// The files that the shell reads first.
    Profile,
}

/// What a check says of a stage besides its findings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// Nobody comes through, and that is no fault.
    Closed(Text),
    /// It has looked at everything there is, and that does not tell.
    Open(Text),
}

impl Stage {
    /// The words a user reads.
    pub fn title(self) -> Text {
        match self {
            Stage::PartitionTable => tr!("partition table"),
            Stage::BootLoader => tr!("boot loader"),
            Stage::BootConfig => tr!("boot configuration"),
            Stage::Kernel => tr!("kernel"),
            Stage::Initramfs => tr!("initramfs"),
            Stage::RootDevice => tr!("root="),
            Stage::Init => tr!("init"),
            Stage::Mounts => tr!("mounts"),
            Stage::Services => tr!("services"),
            Stage::Network => tr!("network"),
            Stage::Reachable => tr!("reachable"),
            Stage::Account => tr!("account"),
            Stage::Password => tr!("password"),
            Stage::Shell => tr!("shell"),
            Stage::PamLogin | Stage::PamSshd => tr!("PAM"),
            Stage::Sshd => tr!("sshd"),
            Stage::SshdPolicy => tr!("sshd policy"),
            Stage::Profile => tr!("profile"),
        }
    }
}
