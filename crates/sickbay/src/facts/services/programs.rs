//! Server programs that run on this system, and in its containers: `/proc/PID/{comm,cmdline,exe,cwd}` of those that are known.

use std::path::PathBuf;

use bstr::{BString, ByteSlice};
use sickbay_target::KernelFiles;

use crate::facts::limits::process::{Door, door_of, parent_of};
use crate::facts::memory::processes::{comm, pids};
use crate::facts::{Fact, Facts};
use crate::model::outcome::Skip;
use crate::model::subject::Subject;

/// What it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// nginx and its descendants.
    Nginx,
    /// A Java virtual machine.
    Java,
    /// A FastCGI process manager of PHP.
    PhpFpm,
}

/// A process.
#[derive(Clone, Debug)]
pub struct Program {
    /// What it is.
    pub kind: Kind,
    /// Its number.
    pub pid: u32,
    /// Its name.
    pub comm: String,
    /// The process that started it.
    pub parent: u32,
    /// Its words; a title that it gave itself is the first.
    pub words: Vec<BString>,
    /// Its program.
    pub exe: Option<PathBuf>,
    /// Where it works.
    pub cwd: Option<PathBuf>,
    /// The unit of systemd that it is in.
    pub unit: Option<String>,
    /// Whether it is in a container, and so has files of its own.
    pub is_contained: bool,
}

impl Program {
    /// What a finding about it is about.
    pub fn subject(&self) -> Subject {
        Subject::Process { pid: self.pid, start: None, name: self.comm.clone() }
    }
}

/// Those that run, by number.
#[derive(Debug, Default)]
pub struct Programs {
    /// At most [`MOST`].
    pub list: Vec<Program>,
}

/// So many are looked at.
const MOST: usize = 4096;
/// Command lines of virtual machines have kilobytes.
const LINE: u64 = 1 << 20;

impl Programs {
    /// Those of one kind that are in no container.
    pub fn of(&self, kind: Kind) -> impl Iterator<Item = &Program> {
        self.list.iter().filter(move |one| one.kind == kind && !one.is_contained)
    }
}

impl Fact for Programs {
    fn gather(facts: &Facts) -> Result<Programs, Skip> {
        let mut list = Vec::new();
        if !facts.runs() {
            return Ok(Programs::default());
        }
        let files = KernelFiles::open(facts.root(), "/proc")?;
        let mut all = pids(facts)?;
        all.sort_unstable();
        for pid in all {
            let comm = comm(facts, pid);
            let kind = match comm.as_str() {
                "nginx" | "openresty" => Kind::Nginx,
                "java" => Kind::Java,
                name if name.starts_with("php-fpm") => Kind::PhpFpm,
                _ => continue,
            };
            let door = door_of(facts, pid);
            if list.len() >= MOST {
                break;
            }
            let line = facts.root().read_up_to(format!("/proc/{pid}/cmdline"), LINE).unwrap_or_default();
            let words = line.split(|byte| *byte == 0).filter(|word| !word.is_empty()).map(BString::from).collect();
            let link = |name: &str| files.link(&format!("{pid}/{name}")).ok().map(PathBuf::from);
            list.push(Program {
                kind,
                pid,
                comm,
                parent: parent_of(facts, pid).unwrap_or(0),
                words,
                exe: link("exe"),
                cwd: link("cwd"),
                is_contained: matches!(door, Door::Container(_)),
                unit: match door {
                    Door::Unit(name) => Some(name),
                    _ => None,
                },
            });
        }
        Ok(Programs { list })
    }
}

/// The option of a command line that follows a word: `-c FILE`.
pub fn after<'a>(words: &'a [BString], option: &str) -> Option<&'a BString> {
    let at = words.iter().position(|word| *word == option)?;
    words.get(at + 1)
}

/// The words of a title that a program gave itself: `nginx: master process /usr/sbin/nginx -c /etc/x.conf`.
pub fn titled(words: &[BString]) -> Vec<BString> {
    match words {
        [title] => title.split(|byte| *byte == b' ').filter(|word| !word.is_empty()).map(BString::from).collect(),
        more => more.iter().map(|word| word.as_bstr().to_owned()).collect(),
    }
}
