//! `iotop -b`: a row for each thread, or process with `-P`.

use bstr::ByteSlice;

use super::super::{decimal, number};
use super::{Reader, Source, Task};

impl Reader {
    /// `10:36:03 11974 be/4 root 0.00 B/s 2.63 M/s 0.00 % 93.95 % fio -direct=1`. Without `-t` there is no time, unless
    /// somebody put one behind the line.
    pub(super) fn iotop(&mut self, line: &[u8], words: &[&[u8]]) -> bool {
        let reading = self.dates.read(words);
        let rest = words.get(reading.map_or(0, |reading| reading.used)..).unwrap_or_default();
        let [id, priority, _user, read, read_unit, written, write_unit, command @ ..] = rest else { return false };
        let is_priority = [&b"be/"[..], b"rt/", b"?"].iter().any(|prefix| priority.starts_with(prefix));
        if !is_priority && *priority != b"idle" {
            return false;
        }
        let (Some(id), Some(read), Some(written)) = (number(id), rate(read, read_unit), rate(written, write_unit))
        else {
            return false;
        };
        // Two shares of the time, each a number with a percent sign, or one word that says that they are not known.
        let is_share = |word: &&&[u8]| **word == b"%" || decimal(word).is_some() || word.starts_with(b"?");
        let shares = command.iter().take_while(is_share).count();
        let command = command.get(shares..).unwrap_or_default();
        let own = reading
            .map(|reading| reading.stamp)
            .or_else(|| self.dates.read(&[line.rsplit_once_str("\t")?.1]).map(|reading| reading.stamp))
            .or_else(|| self.dates.read(&[words.last()?]).map(|reading| reading.stamp));
        self.without_stamp();
        let task = Task {
            pid: id,
            id,
            is_process: true,
            name: super::super::program(command.first().copied().unwrap_or_default()),
            read: Some(read),
            written: Some(written),
            files: super::fio::files_of(command),
            ..Task::default()
        };
        match own {
            Some(stamp) => self.iotop_row(stamp, task),
            // It may be behind the rest of a command line that was broken.
            None => self.pending = Some(task),
        }
        true
    }

    fn iotop_row(&mut self, stamp: super::Stamp, task: Task) {
        let id = task.id;
        self.task(Source::Iotop, stamp, task);
        self.last_row = self.text.blocks.len().checked_sub(1).map(|block| (block, id));
    }

    /// `Total DISK READ: 0.00 B/s | Total DISK WRITE: 0.00 B/s | Tue Dec  1 03:13:07 2026`: iotop-c prints the moment there.
    pub(super) fn total(&mut self, line: &[u8]) -> bool {
        if !line.contains_str("DISK READ") || !line.contains_str("DISK WRITE") {
            return false;
        }
        let words: Vec<&[u8]> =
            line.rsplit(|byte| *byte == b'|').next().map(super::super::words).into_iter().flatten().collect();
        match self.dates.sentence(&words) {
            Some(reading) => self.set_moment(reading.stamp),
            // A new listing, of which the time may be told in each row.
            None => self.without_stamp(),
        }
        true
    }

    /// The last word of a line is a moment, `2018-06-12-10:54:10`, as somebody made awk add it to each row.
    pub(super) fn stamp_behind(&mut self, words: &[&[u8]]) -> bool {
        let is_one = |word: &&&[u8]| word.get(10) == Some(&b'-') && word.contains(&b':');
        let Some(word) = words.last().filter(|_| self.pending.is_some()).filter(is_one) else { return false };
        let Some(reading) = self.dates.read(&[word]) else { return false };
        if let Some(task) = self.pending.take() {
            self.iotop_row(reading.stamp, task);
        }
        true
    }

    /// A row whose time did not come: it is of the moment that was printed before the listing, if one was.
    pub(super) fn without_stamp(&mut self) {
        let Some(task) = self.pending.take() else { return };
        match self.stamp.filter(|_| self.is_fresh) {
            Some(stamp) => self.iotop_row(stamp, task),
            None => self.text.without_time = self.text.without_time.saturating_add(1),
        }
    }
}

/// Bytes a second.
fn rate(value: &[u8], unit: &[u8]) -> Option<f64> {
    let factor = match unit.strip_suffix(b"/s")? {
        b"B" => 1.0,
        b"K" => 1024.0,
        b"M" => 1024.0 * 1024.0,
        b"G" => 1024.0 * 1024.0 * 1024.0,
        _ => return None,
    };
    Some(decimal(value)? * factor)
}
