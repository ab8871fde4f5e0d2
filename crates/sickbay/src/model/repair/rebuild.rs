//! What only a program of the target makes as the target wants it.

use std::path::PathBuf;

/// Where a program puts in the copy what it makes. Not in /boot: that may be FAT, of which there is no copy to write to.
pub const MADE: &str = "/var/tmp/sickbay-made";

/// A program of the target that is run on a copy of the target, and what it makes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rebuild {
    /// The program's name.
    pub program: String,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// Files that it finds in the copy besides the target's own, or in their place.
    pub lent: Vec<(PathBuf, Vec<u8>)>,
    /// The file that becomes what the program puts at [`MADE`].
    pub path: PathBuf,
    /// Files that are made besides and taken over from their own places.
    pub besides: Vec<PathBuf>,
    /// Permission bits, where the file is not there yet.
    pub mode: u32,
    /// What it must be, or it is not taken.
    pub wanted: Wanted,
}

/// What a program is to make.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// An initramfs with these drivers.
    Initramfs(Vec<String>),
    /// A private key of sshd.
    HostKey,
    /// A list of modules that names some.
    Modules,
    /// What setfiles(8) says that it would do: the labels of SELinux that paths should have.
    Labels,
}

impl Rebuild {
    /// The program that is run, as people know it: of a script of ours the one that it is for, which it has as its name.
    pub fn name(&self) -> &str {
        match (self.program.as_str(), self.arguments.as_slice()) {
            ("sh", [option, _, name, ..]) if option == "-c" => name,
            (program, _) => program,
        }
    }

    /// Everything that is run.
    pub fn command_line(&self) -> String {
        let words = std::iter::once(&self.program).chain(&self.arguments).map(|word| match word {
            plain if plain.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_./=+:,@".contains(&b)) => plain.clone(),
            other => format!("'{}'", other.replace('\'', "'\\''")),
        });
        words.collect::<Vec<_>>().join(" ")
    }
}
