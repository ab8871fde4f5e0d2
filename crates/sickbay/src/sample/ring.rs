//! Recordings of our own: a directory of files that a recorder writes in a ring.
//!
//! `00000001.ring` and so on are segments: a head that tells of the machine, then blocks. A block is some minutes of samples,
//! compressed, with a checksum, and can be read without any other. `open` holds the samples that are not in a block yet, each
//! with a checksum of its own: it is written in place, so that a second of samples reaches the disk as a few bytes
//! and no journal of a file system has to. What is in a block already is known by the number that each sample has.
//!
//! The format has one version for all of it. Whoever finds a newer one says so and reads nothing.

mod collect;
mod counters;
mod frame;
mod reader;
mod recorder;
mod state;
mod words;

pub use frame::{Meta, VERSION};
pub use reader::read;
pub use recorder::{Caps, Kept, Recorder, StartError};

/// A block is closed with so many samples,
const SAMPLES: u32 = 256;

/// or when they have so many bytes,
const BLOCK: usize = 512 << 10;

/// which one that is read never has more of than this.
const MOST: usize = 32 << 20;

#[cfg(test)]
mod tests;
