//! `/proc/stat`: proc(5). Times are in ticks of USER_HZ, of which there are 100 a second on every architecture that this is
//! built for.

use bstr::ByteSlice;

/// What a processor, or all of them, did since the start, in ticks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Times {
    /// Programs; guests are in it.
    pub user: u64,
    /// Programs with a lowered priority.
    pub nice: u64,
    /// The kernel.
    pub system: u64,
    /// Nothing.
    pub idle: u64,
    /// Nothing, while a thread that last ran there waited for a disk. Not a time that only grows: it may go back.
    pub iowait: u64,
    /// Interrupts.
    pub irq: u64,
    /// What interrupts leave for later.
    pub softirq: u64,
    /// The hypervisor gave it to others.
    pub steal: u64,
}

impl Times {
    /// All of it.
    pub fn all(&self) -> u64 {
        [self.user, self.nice, self.system, self.idle, self.iowait, self.irq, self.softirq, self.steal]
            .into_iter()
            .fold(0, u64::saturating_add)
    }

    /// Both together.
    pub fn plus(&self, other: &Times) -> Times {
        Times {
            user: self.user.saturating_add(other.user),
            nice: self.nice.saturating_add(other.nice),
            system: self.system.saturating_add(other.system),
            idle: self.idle.saturating_add(other.idle),
            iowait: self.iowait.saturating_add(other.iowait),
            irq: self.irq.saturating_add(other.irq),
            softirq: self.softirq.saturating_add(other.softirq),
            steal: self.steal.saturating_add(other.steal),
        }
    }

    /// The part in which it did nothing.
    pub fn unused(&self) -> u64 {
        self.idle.saturating_add(self.iowait)
    }
}

/// What a source did not tell apart. The kernel does tell all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lumped {
    /// Nothing.
    #[default]
    Nothing,
    /// Interrupts and what they leave for later are in `system`: `iostat`, `sar -u`.
    Interrupts,
    /// And those with a lowered priority are in `user`: `vmstat`.
    NiceToo,
}

/// The file, as far as it is of use.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stat {
    /// All processors together.
    pub total: Times,
    /// Each processor that is online, with its number.
    pub cpus: Vec<(u32, Times)>,
    /// Changes from one thread to another.
    pub switches: Option<u64>,
    /// When the machine started, in seconds since 1970.
    pub started: Option<u64>,
    /// Processes and threads that were made.
    pub made: Option<u64>,
    /// Threads that run or could.
    pub running: Option<u64>,
    /// Threads that wait for a disk and say so; others in uninterruptible sleep are not in it.
    pub blocked: Option<u64>,
    /// What is not told apart in the times.
    pub lumped: Lumped,
    /// The times were made from percentages that a program printed; they are no counters of the kernel's.
    pub is_printed: bool,
    /// What those had counted when they were last seen that are off now.
    pub off: Vec<(u32, Times)>,
}

/// Reads it. Lines of another form are passed over.
pub fn parse(text: &[u8]) -> Stat {
    let mut stat = Stat::default();
    for line in text.lines() {
        let mut words = super::words(line);
        let Some(name) = words.next() else { continue };
        let mut number = || super::digits(words.next()?);
        match name {
            b"cpu" => stat.total = times(line),
            b"ctxt" => stat.switches = number(),
            b"btime" => stat.started = number(),
            b"processes" => stat.made = number(),
            b"procs_running" => stat.running = number(),
            b"procs_blocked" => stat.blocked = number(),
            _ => {
                let cpu = name.strip_prefix(b"cpu").and_then(super::digits).and_then(|cpu| cpu.try_into().ok());
                stat.cpus.extend(cpu.map(|cpu| (cpu, times(line))));
            }
        }
    }
    stat
}

fn times(line: &[u8]) -> Times {
    let mut values = super::words(line).skip(1).map(|word| super::digits(word).unwrap_or(0));
    // What an older kernel does not count is 0.
    let mut next = || values.next().unwrap_or(0);
    Times {
        user: next(),
        nice: next(),
        system: next(),
        idle: next(),
        iowait: next(),
        irq: next(),
        softirq: next(),
        steal: next(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_processors_of_three() {
        let text = b"cpu  10 1 2 80 4 0 1 2 0 0\ncpu0 5 0 1 40 2 0 1 1 0 0\ncpu2 5 1 1 40 2 0 0 1 0 0\n\
            intr 9 9 9\nctxt 77\nbtime 1700000000\nprocesses 1234\nprocs_running 12\nprocs_blocked 27\nsoftirq 1 2\n";
        let stat = parse(text);
        assert_eq!(stat.cpus.iter().map(|(cpu, _)| *cpu).collect::<Vec<_>>(), [0, 2]);
        assert_eq!((stat.total.all(), stat.total.unused(), stat.total.steal), (100, 84, 2));
        assert_eq!((stat.running, stat.blocked, stat.made), (Some(12), Some(27), Some(1234)));
        assert_eq!(parse(b"cpu 1 2 3 4\n").total.all(), 10);
        assert_eq!(parse(b"procs_running x\n").running, None);
    }

    proptest::proptest! {
        #[test]
        fn never_panics(bytes: Vec<u8>, text in "(cpu[0-9]{0,12}|ctxt|processes)( [0-9]{0,21}){0,11}") {
            let _ = (parse(&bytes), parse(text.as_bytes()).total.all());
        }
    }
}
