//! Limits of processes as limits.conf(5), units and shells set them.

use crate::model::text::Text;
use crate::spelling::nearest;
use crate::tr;
use crate::tune::kernel::{Machine, from};
use crate::tune::knowledge::{Judgement, Verdict};
use sickbay_formats::tuning::Kind;

/// Where a limit is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layer<'a> {
    /// limits.conf(5), for this domain.
    Pam(&'a str),
    /// A shell.
    Shell,
    /// A unit of systemd.
    Unit,
    /// systemd's defaults for units (system.conf).
    Defaults,
}

/// What is known of a limit.
#[derive(Clone, Copy)]
pub struct Item {
    /// As limits.conf(5) calls it.
    pub name: &'static str,
    /// As systemd does behind `Limit`; empty for what is none of the kernel's.
    pub unit: &'static str,
    /// The letter of `ulimit`.
    pub option: Option<char>,
    /// One sentence.
    pub what: fn() -> Text,
}

/// Every limit.
pub const ITEMS: &[Item] = &[
    Item {
        name: "nofile",
        unit: "NOFILE",
        option: Some('n'),
        what: || tr!("descriptors that a process may have open"),
    },
    Item {
        name: "nproc",
        unit: "NPROC",
        option: Some('u'),
        what: || tr!("processes and threads of one user, counted over all sessions"),
    },
    Item {
        name: "core",
        unit: "CORE",
        option: Some('c'),
        what: || tr!("size of a core file in KiB; a core that is piped (systemd-coredump, abrt) is not bounded by it"),
    },
    Item {
        name: "memlock",
        unit: "MEMLOCK",
        option: Some('l'),
        what: || {
            tr!("memory in KiB that may be locked: databases with huge pages, and BPF before Linux 5.11, need more")
        },
    },
    Item {
        name: "stack",
        unit: "STACK",
        option: Some('s'),
        what: || tr!("size of the stack in KiB; every thread gets as much of address space"),
    },
    Item {
        name: "as",
        unit: "AS",
        option: Some('v'),
        what: || tr!("address space in KiB, used or not: java and go ask for far more than they use"),
    },
    Item {
        name: "data",
        unit: "DATA",
        option: Some('d'),
        what: || tr!("data of a process in KiB; since Linux 4.7 all its private memory"),
    },
    Item {
        name: "fsize",
        unit: "FSIZE",
        option: Some('f'),
        what: || tr!("size of a file that is written, in KiB: a log that reaches it ends its process with SIGXFSZ"),
    },
    Item {
        name: "cpu",
        unit: "CPU",
        option: Some('t'),
        what: || tr!("minutes of a processor, after which a process is ended: daemons too"),
    },
    Item { name: "rss", unit: "RSS", option: Some('m'), what: || tr!("resident memory in KiB") },
    Item { name: "locks", unit: "LOCKS", option: Some('x'), what: || tr!("file locks") },
    Item {
        name: "sigpending",
        unit: "SIGPENDING",
        option: Some('i'),
        what: || tr!("signals that wait, of one user: timers count too"),
    },
    Item {
        name: "msgqueue",
        unit: "MSGQUEUE",
        option: Some('q'),
        what: || tr!("bytes in POSIX message queues of one user"),
    },
    Item {
        name: "nice",
        unit: "NICE",
        option: Some('e'),
        what: || tr!("how high a priority a process may give itself"),
    },
    Item {
        name: "rtprio",
        unit: "RTPRIO",
        option: Some('r'),
        what: || tr!("how high a real-time priority a process may give itself"),
    },
    Item {
        name: "rttime",
        unit: "RTTIME",
        option: None,
        what: || tr!("how long a real-time process may run without sleeping"),
    },
    Item { name: "maxlogins", unit: "", option: None, what: || tr!("sessions of one user; root's are not counted") },
    Item {
        name: "maxsyslogins",
        unit: "",
        option: None,
        what: || tr!("sessions of all users; root's are not refused"),
    },
    Item { name: "priority", unit: "", option: None, what: || tr!("the priority that sessions begin with") },
    Item {
        name: "nonewprivs",
        unit: "",
        option: None,
        what: || tr!("programs started from a session get no rights by setuid: sudo and su do nothing then"),
    },
    Item { name: "chroot", unit: "", option: None, what: || tr!("the directory that sessions are shut into (Debian)") },
];

/// `fs.nr_open` where nothing sets it (fs/file.c).
const NR_OPEN: u64 = 1 << 20;

/// What is asked.
pub struct Line<'a> {
    /// Where it is set.
    pub layer: Layer<'a>,
    /// Soft, hard or both.
    pub kind: Kind,
    /// The limit's name of limits.conf(5).
    pub item: &'a str,
    /// What it is set to.
    pub value: &'a str,
}

/// A value as pam_limits(8) and systemd read it; `None` inside for no limit.
pub fn number(value: &str) -> Option<Option<u64>> {
    if ["-", "-1", "unlimited", "infinity"].iter().any(|known| value.eq_ignore_ascii_case(known)) {
        return Some(None);
    }
    value.parse().ok().map(Some)
}

/// What is said of a limit. `other` gives what the same list sets kernel parameters to.
pub fn judge(line: &Line<'_>, machine: &Machine, other: &dyn Fn(&str) -> Option<i128>) -> Judgement {
    let Line { layer, item, value, .. } = line;
    let Some(known) = ITEMS.iter().find(|known| known.name == *item) else {
        let near = nearest(item, ITEMS.iter().map(|known| known.name), 2);
        let message = match near {
            Some(near) => tr!("there is no limit {item}: did you mean {near}?", item = *item, near),
            None => tr!("there is no limit {item}", item = *item),
        };
        let said = Judgement::new(Verdict::Unknown, message).from(&["limits.conf(5)"]);
        return near.map_or(said.clone(), |near| said.with(near));
    };
    // From -20 to 19, as nice(1) counts.
    if matches!(known.name, "nice" | "priority") && value.parse::<i32>().is_ok_and(|nice| (-20..=19).contains(&nice)) {
        return reach(line, known).from(&["limits.conf(5)", "systemd.exec(5)"]);
    }
    let Some(limit) = number(value) else { return no_number(line, known) };
    let limit = match layer {
        Layer::Unit | Layer::Defaults if counts_kib(known) => limit.map(|bytes| bytes / 1024),
        _ => limit,
    };
    let of_list = |key: &str| other(key).and_then(|number| u64::try_from(number).ok());
    let said = match known.name {
        "nofile" => nofile(line, limit, of_list("fs.nr_open").or(machine.bounds.files).unwrap_or(NR_OPEN)),
        "nproc" => nproc(line, limit, machine, &of_list),
        "rss" => Some(Judgement::new(
            Verdict::NoEffect,
            tr!("the kernel has not looked at it since 2.4.30: MemoryMax= of a unit is what bounds memory"),
        )),
        "locks" => Some(Judgement::new(Verdict::NoEffect, tr!("the kernel has not looked at it since 2.4.25"))),
        "as" if limit.is_some_and(|kib| kib < 6000) => Some(
            Judgement::new(
                Verdict::Refuse,
                tr!("no shell starts in {kib} KiB of address space: the login ends at once", kib = limit.unwrap_or(0)),
            )
            .with("unlimited"),
        ),
        "stack" if limit.is_some_and(|kib| kib < 128) => Some(
            Judgement::new(
                Verdict::Refuse,
                tr!("no program starts with a stack of {kib} KiB", kib = limit.unwrap_or(0)),
            )
            .with(8192),
        ),
        "stack" if limit.is_none() => Some(
            Judgement::new(
                Verdict::Adapt,
                tr!("without a limit, programs are laid out in memory the old way, and threads get 2 MiB instead"),
            )
            .with(8192),
        ),
        "maxlogins" | "maxsyslogins" if limit == Some(0) => {
            Some(Judgement::new(Verdict::Refuse, tr!("nobody but root can log in")))
        }
        "cpu" if limit.is_some() && matches!(layer, Layer::Pam("*") | Layer::Defaults) => {
            Some(Judgement::new(Verdict::Adapt, (known.what)()).with("unlimited"))
        }
        _ => None,
    };
    let mut judgement = said.unwrap_or_else(|| reach(line, known));
    if judgement.sources.is_empty() {
        judgement.sources.push(match layer {
            Layer::Pam(_) => "limits.conf(5)",
            Layer::Shell => "setrlimit(2)",
            Layer::Unit => "systemd.exec(5)",
            Layer::Defaults => "systemd-system.conf(5)",
        });
    }
    judgement
}

fn no_number(line: &Line<'_>, known: &Item) -> Judgement {
    let value = line.value;
    // `LimitCORE=1G`, `LimitCPU=5min`.
    if matches!(line.layer, Layer::Unit | Layer::Defaults) && value.starts_with(|c: char| c.is_ascii_digit()) {
        return Judgement::new(Verdict::Ok, (known.what)()).from(&["systemd.exec(5)"]);
    }
    let digits: String = value.chars().take_while(char::is_ascii_digit).collect();
    if digits.is_empty() {
        return Judgement::new(Verdict::Malformed, tr!("{value} is no limit: a number, or unlimited", value));
    }
    Judgement::new(Verdict::Malformed, tr!("of {value} only {digits} is read", value, digits = digits.as_str()))
        .with(digits)
}

/// Whom a limit reaches.
fn reach(line: &Line<'_>, known: &Item) -> Judgement {
    let what = (known.what)();
    match line.layer {
        Layer::Pam(_) if known.unit.is_empty() => Judgement::new(Verdict::Ok, what),
        Layer::Pam(domain) => Judgement::new(Verdict::NoEffect, sessions(domain)).with(for_unit(known, line.value)),
        Layer::Shell => {
            Judgement::new(Verdict::Ok, tr!("{what}; for this shell and what it starts, until it ends", what))
        }
        Layer::Unit if counts_kib(known) => Judgement::new(
            Verdict::Ok,
            tr!("{what}, but here in bytes where no K, M or G follows; from the unit's next start on", what),
        ),
        Layer::Unit => Judgement::new(Verdict::Ok, tr!("{what}; from the unit's next start on", what)),
        Layer::Defaults => Judgement::new(
            Verdict::Ok,
            tr!(
                "{what}; for every unit that sets none by itself, after systemctl daemon-reexec and its next start",
                what
            ),
        ),
    }
}

/// limits.conf(5) and shells count these in KiB, systemd in bytes.
fn counts_kib(known: &Item) -> bool {
    matches!(known.name, "core" | "memlock" | "stack" | "as" | "data" | "fsize" | "rss")
}

/// A limit of limits.conf(5) as a unit has it.
pub fn for_unit(known: &Item, value: &str) -> String {
    let value = match number(value) {
        Some(None) if known.name != "nice" => "infinity".to_owned(),
        Some(Some(_)) if counts_kib(known) => format!("{value}K"),
        Some(Some(_)) if known.name == "cpu" => format!("{value}min"),
        _ => value.to_owned(),
    };
    format!("Limit{}={value}", known.unit)
}

/// Why a line of limits.conf does nothing for a service.
fn sessions(domain: &str) -> Text {
    let only = tr!(
        "only sessions that come through PAM get it (ssh, su, cron): no service reads limits.conf, whether systemd or an init script starts it"
    );
    match domain {
        "*" => tr!("{only}; and * does not include root", only),
        "root" => tr!("{only}; of those, root's alone", only),
        _ => only,
    }
}

fn nofile(line: &Line<'_>, limit: Option<u64>, most: u64) -> Option<Judgement> {
    let is_pam = matches!(line.layer, Layer::Pam(_));
    match limit {
        Some(value) if value > most => {
            let message = match is_pam {
                true => tr!("more than fs.nr_open ({most}): pam_limits is refused, and with it the login, root's too (Debian's goes on without)", most),
                false => tr!("more than fs.nr_open ({most}): the kernel refuses it, and the service or shell goes without", most),
            };
            Some(Judgement::new(Verdict::Refuse, message).with(most).from(&["setrlimit(2)", "modules/pam_limits"]))
        }
        None if is_pam => Some(
            Judgement::new(Verdict::Refuse, tr!("the kernel has no \"unlimited\" here, fs.nr_open ({most}) is the most: an older pam_limits is refused, and with it the login, root's too", most))
                .with(most)
                .from(&["setrlimit(2)", "modules/pam_limits"]),
        ),
        None if line.layer == Layer::Shell => Some(
            Judgement::new(Verdict::Refuse, tr!("the kernel has no \"unlimited\" here, fs.nr_open ({most}) is the most: the shell says \"Operation not permitted\"", most)).with(most),
        ),
        None => Some(
            Judgement::new(Verdict::Ok, tr!("infinity means the hard limit of PID 1 (/proc/1/limits): fs.nr_open with a systemd that knows it, 65536 before; and where it means a billion, programs that walk all descriptors stand still"))
                .from(&["systemd#9205", "containerd#7566", "systemd.exec(5)"]),
        ),
        Some(value) if value < 1024 && line.kind != Kind::Soft || value < 256 => {
            Some(Judgement::new(Verdict::Adapt, tr!("fewer than programs take for granted: \"Too many open files\"")).with(1024))
        }
        Some(_) => None,
    }
}

/// As many processes and threads as there can be: `kernel.pid_max` and `kernel.threads-max` (kernel/fork.c).
fn threads(machine: &Machine, of_list: &dyn Fn(&str) -> Option<u64>) -> Option<(&'static str, u64)> {
    let shipped = from(5, 3).holds(&machine.kernel) && machine.kernel.enterprise != Some(8);
    let pids = of_list("kernel.pid_max").or(machine.bounds.pids).unwrap_or_else(|| match shipped {
        true => 4_194_304,
        false => machine.cpus.unwrap_or(1).saturating_mul(1024).max(32_768),
    });
    let threads = of_list("kernel.threads-max").or(machine.bounds.threads).or_else(|| Some(machine.memory? / 128));
    let pids = ("kernel.pid_max", pids);
    Some(match threads {
        Some(threads) if threads < pids.1 => ("kernel.threads-max", threads),
        Some(_) => pids,
        None if shipped => return None,
        None => pids,
    })
}

fn nproc(
    line: &Line<'_>,
    limit: Option<u64>,
    machine: &Machine,
    of_list: &dyn Fn(&str) -> Option<u64>,
) -> Option<Judgement> {
    if line.layer == Layer::Pam("root") {
        return Some(
            Judgement::new(Verdict::NoEffect, tr!("the kernel does not hold root to it (it has CAP_SYS_RESOURCE)"))
                .from(&["kernel/fork.c", "limits.conf(5)"]),
        );
    }
    if let (Some(value), Some((name, most))) = (limit, threads(machine, of_list))
        && value > most
    {
        return Some(
            Judgement::new(
                Verdict::NoEffect,
                tr!("{name} is reached before, at {most} for all users together", name, most),
            )
            .from(&["kernel/fork.c", "limits.conf(5)"]),
        );
    }
    if limit.is_some_and(|value| value < 128) && !matches!(line.layer, Layer::Unit) {
        return Some(
            Judgement::new(Verdict::Adapt, tr!("threads count too: a session with a few programs cannot fork"))
                .with(4096),
        );
    }
    let file = match machine.kernel.enterprise {
        Some(6) => "/etc/security/limits.d/90-nproc.conf",
        Some(7) => "/etc/security/limits.d/20-nproc.conf",
        _ => return None,
    };
    (line.layer == Layer::Pam("*") && line.kind != Kind::Hard).then(|| {
        Judgement::new(
            Verdict::NoEffect,
            tr!("{file} is read after limits.conf, and its line for * wins; {only}", file, only = sessions("*")),
        )
        .from(&["limits.conf(5)"])
    })
}
