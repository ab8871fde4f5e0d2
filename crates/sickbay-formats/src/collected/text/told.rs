//! What is told of a processor, a disk, a process.

use bstr::BString;

/// What a processor did, or all of them, in percent.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Cpu {
    /// Which; `None` of all together.
    pub number: Option<u32>,
    /// Programs.
    pub user: f64,
    /// Programs with a lowered priority.
    pub nice: f64,
    /// The kernel.
    pub system: f64,
    /// Waiting for a disk.
    pub iowait: f64,
    /// Interrupts.
    pub irq: f64,
    /// What they leave for later.
    pub softirq: f64,
    /// Given to others by the hypervisor.
    pub steal: f64,
    /// Nothing.
    pub idle: f64,
}

/// What a disk did; `None` where the program does not tell.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Disk {
    /// `sda`.
    pub name: BString,
    /// Reads and writes a second.
    pub transfers: Option<f64>,
    /// Reads a second.
    pub reads: Option<f64>,
    /// Writes a second.
    pub writes: Option<f64>,
    /// KiB read a second.
    pub read_kb: Option<f64>,
    /// KiB written a second.
    pub written_kb: Option<f64>,
    /// Reads and writes that were joined with others, a second: they help to tell how long the interval was.
    pub merged: [Option<f64>; 2],
    /// Milliseconds that one took.
    pub wait: Option<f64>,
    /// Milliseconds that a read took.
    pub read_wait: Option<f64>,
    /// Milliseconds that a write took.
    pub write_wait: Option<f64>,
    /// How many were on their way.
    pub queue: Option<f64>,
    /// Percent of the time in which one was; above 100 where that is what was printed.
    pub util: Option<f64>,
}

/// What a process or a thread did.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Task {
    /// The process; 0 where only the thread is told.
    pub pid: u32,
    /// The thread; that of the process where the row is of the whole process.
    pub id: u32,
    /// Whether the row is of a whole process.
    pub is_process: bool,
    /// Who made it.
    pub parent: Option<u32>,
    /// Its name.
    pub name: BString,
    /// As proc(5) has it.
    pub state: Option<u8>,
    /// Percent of a processor.
    pub cpu: Option<f64>,
    /// Bytes read a second.
    pub read: Option<f64>,
    /// Bytes written a second.
    pub written: Option<f64>,
    /// Bytes a second that were not written after all.
    pub cancelled: Option<f64>,
    /// Files that its command line names, with `flags` of open(2) where it says how they are opened.
    pub files: Vec<(BString, Option<u32>)>,
}
