//! What ping prints: of iputils, inetutils, busybox, fping, oping, hping3, macOS and Windows, in whatever language, with or without a
//! time in front of each line; and what its times say of stalls, loss and congestion.

mod line;
mod scan;
mod verdict;

pub use self::line::{Answer, Said, line};
pub use self::scan::{Packet, Scanner, Series};
pub use self::verdict::{Late, Outage, Stall, Verdict};
