//! The thing that is ill, and the only crate that touches a machine.
//!
//! [`Target::open`] takes what the user names — this host, a mounted root, a disk, a partition, an image — and gives a
//! [`Root`] to read its files through, and the [`Volume`]s and [`Disk`]s that belong to it. Paths always are paths of
//! the target.

mod budget;
mod bytes;
mod card_counters;
mod checker;
pub mod command;
mod content;
mod dir;
mod disk;
pub mod download;
mod error;
pub mod ethtool;
#[cfg(debug_assertions)]
pub mod faults;
mod flags;
mod ids;
mod inside;
mod kernel_files;
mod kernel_value;
mod likeness;
mod limits;
mod log;
mod loops;
mod machine;
pub mod memory;
mod mounts;
mod name_seekers;
pub mod netlink;
mod outlive;
mod own;
mod proc_readers;
mod random;
mod record;
mod recording;
mod ring_files;
mod root;
pub mod signature;
mod spool;
mod sys;
mod system;
mod table;
mod target;
mod tasks;
mod tcp_sockets;
pub mod threads;
pub mod tracer;
mod usage;
mod utf16;
mod view;
pub mod vm;
mod volumes;
mod wakeups;
mod writer;
mod xattr;

pub use budget::Budget;
pub use card_counters::{CardWatch, Counters};
pub use checker::{Examined, Verdict};
pub use dir::Dir;
pub use disk::Disk;
pub use error::OpenError;
pub use flags::Flags;
pub use inside::{Inside, InsideError, Made};
pub use kernel_files::KernelFiles;
pub use kernel_value::{kernel_path, plain_value, sysctl_path};
pub use limits::{LEAST_FILES, raise_files};
pub use log::{Blocks, LogFile, kernel_messages, reading, system_logs};
pub use name_seekers::{NameSeeker, NameStorm, name_seekers};
pub use outlive::{has_parent, outlive, parent, tell_log};
pub use own::user;
pub use proc_readers::{ProcReader, proc_readers};
pub use random::random;
pub use record::Record;
pub use recording::{RECORDINGS, Recording};
pub use ring_files::{RingFile, RingFiles, Taken, open_samples};
pub use root::{DIR_LIMIT, DirEntry, FileKind, FileSystemUse, Metadata, READ_LIMIT, ReadError, Reason, Root, Unread};
pub use table::Table;
pub use target::{Access, Kind, Lack, Options, Target, Volume};
pub use tasks::{Moment, Tasks};
pub use tcp_sockets::tcp_sockets;
pub use usage::{DirUsage, Usage};
pub use view::Extent;
pub use wakeups::{Wakeups, Woken, Written, stand_back};
pub use writer::{Attributes, Lock, Times, WriteError, Writer};
