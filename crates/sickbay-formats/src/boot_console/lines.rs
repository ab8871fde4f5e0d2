//! A line of a terminal as the pieces of text that stood on it.

use bstr::ByteSlice;

use crate::kernel_log::{Stamp, message};

/// Of a line no more is looked at: a menu of GRUB on a serial line is one of 4 KiB.
const LONGEST: usize = 16 << 10;

/// A piece of a line.
pub(super) struct Piece {
    /// Without prefix and control sequences, blanks trimmed.
    pub(super) text: String,
    /// The time since the start of the kernel in microseconds, where the line begins with it.
    pub(super) uptime: Option<u64>,
}

/// The pieces of a line (without its end): a carriage return and a move of the cursor part them. A line that another program
/// than the kernel wrote to a log has none.
pub(super) fn pieces(line: &[u8]) -> Vec<Piece> {
    let line = line.get(..LONGEST).unwrap_or(line);
    let mut all = Vec::new();
    for part in parts(line) {
        let said = message(part);
        // A file of syslog or the journal is no console: it says who wrote each line, on which host.
        if said.host.is_some() && matches!(said.time, Some(Stamp::Date { .. })) {
            continue;
        }
        let text = said.text.to_str_lossy();
        let text: String = text.trim().chars().filter(|c| !c.is_control()).collect();
        if text.is_empty() {
            continue;
        }
        let uptime = match said.time {
            Some(Stamp::Uptime(micros)) => Some(micros),
            _ => None,
        };
        all.push(Piece { text, uptime });
    }
    all
}

/// Parts a line at carriage returns and at sequences that move the cursor or clear (CSI … A to K, f).
fn parts(line: &[u8]) -> Vec<&[u8]> {
    let mut parts = Vec::new();
    let (mut begin, mut at) = (0, 0);
    while let Some(found) = line.get(at..).and_then(|rest| rest.find_byteset(b"\r\x1b")) {
        at += found;
        let mut next = at + 1;
        let mut parted = line.get(at) == Some(&b'\r');
        if !parted && line.get(next) == Some(&b'[') {
            let sequence = line.get(next + 1..).unwrap_or_default();
            let length = sequence.iter().position(|byte| !(0x20..=0x3f).contains(byte)).unwrap_or(sequence.len());
            parted = sequence.get(length).is_some_and(|last| matches!(last, b'A'..=b'K' | b'f'));
            next += 1 + length + usize::from(parted);
        }
        if parted {
            parts.push(line.get(begin..at).unwrap_or_default());
            begin = next.min(line.len());
        }
        at = next.min(line.len());
    }
    parts.push(line.get(begin..).unwrap_or_default());
    parts
}
