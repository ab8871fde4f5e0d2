//! `top -b`, of procps before 3.3 and since.

use bstr::{BString, ByteSlice};

use super::super::{decimal, number};
use super::time::Stamp;
use super::{Cpu, Reader, SinceStart, Source, Task};
use crate::procfs::loadavg::LoadAvg;

/// What is known from the lines before.
#[derive(Debug, Default)]
pub(super) struct State {
    stamp: Option<Stamp>,
    columns: Vec<String>,
    /// The process whose threads follow.
    leader: u32,
}

impl State {
    pub(super) fn leader(&self, pid: Option<u32>) -> u32 {
        pid.unwrap_or(self.leader)
    }

    pub(super) fn is_led_by(&mut self, pid: u32) {
        self.leader = pid;
    }
}

impl Reader {
    pub(super) fn top(&mut self, line: &[u8], words: &[&[u8]]) -> bool {
        if let [b"top", b"-", time, ..] = words {
            return self.top_begins(line, time);
        }
        let Some(stamp) = self.top.stamp else { return false };
        match words {
            [first, ..] if first.ends_with(b":") && !is_cpu(first) && tasks(line).is_some() => {
                let (total, running) = tasks(line).unwrap_or_default();
                if let Some(block) = self.block(Source::Top, stamp) {
                    block.running = Some(running);
                    if let Some(load) = block.load.as_mut() {
                        (load.total, load.running) = (total, running);
                    }
                }
                true
            }
            [first, ..] if is_cpu(first) => {
                let Some(cpu) = shares(line) else { return false };
                if let Some(block) = self.block(Source::Top, stamp) {
                    block.cpus.push(cpu);
                }
                true
            }
            // In other languages the first and the last are called otherwise, and that of the state nothing at all.
            [_, rest @ ..] if rest.contains(&&b"%CPU"[..]) && rest.contains(&&b"%MEM"[..]) => {
                self.top.columns = words.iter().map(|word| word.to_str_lossy().into_owned()).collect();
                true
            }
            _ => self.top_row(stamp, words),
        }
    }

    fn top_begins(&mut self, line: &[u8], time: &[u8]) -> bool {
        let Some(clock) = super::time::clock(time) else { return false };
        let is_first = self.top.stamp.is_none();
        let stamp = self.dated(Stamp { clock, ..Stamp::default() });
        self.top = State { stamp: Some(stamp), ..State::default() };
        self.table = None;
        self.is_first = is_first.then_some(SinceStart::Yes);
        let averages = || {
            let (_, text) = line.split_once_str("load average:")?;
            // A comma may be in the numbers, too.
            let mut values = text.split_str(", ").map(|value| decimal(value.trim_ascii()));
            let mut next = || Some(super::table::whole_of(values.next()?? * 100.0));
            Some([next()?, next()?, next()?])
        };
        let load = averages().map(|averages| LoadAvg { averages, ..LoadAvg::default() });
        if let Some(block) = self.block(Source::Top, stamp) {
            block.load = load;
            block.has_states = true;
        }
        true
    }

    fn top_row(&mut self, stamp: Stamp, words: &[&[u8]]) -> bool {
        let columns = &self.top.columns;
        let at = columns.iter().position(|column| column == "%CPU");
        let is_named = columns.iter().any(|column| column == "S");
        let row = || {
            let id = number(words.first()?)?;
            let shift = usize::from(!is_named);
            let cpu_at = at?.checked_add(shift)?;
            let cpu = decimal(words.get(cpu_at)?)?;
            let state = match *words.get(cpu_at.checked_sub(1)?)? {
                [state] if state.is_ascii_alphabetic() => *state,
                _ => return None,
            };
            let command = words.get(columns.len().checked_add(shift)?.checked_sub(1)?)?;
            let name: BString = super::super::program(command);
            let (is_process, pid) = (true, id);
            Some(Task { pid, id, is_process, name, state: Some(state), cpu: Some(cpu), ..Task::default() })
        };
        match row() {
            Some(task) => {
                self.task(Source::Top, stamp, task);
                true
            }
            None => false,
        }
    }
}

/// `Tasks: 158 total, 4 running, 154 sleeping, …` in any language: how many there are, and how many run.
fn tasks(line: &[u8]) -> Option<(u64, u64)> {
    let (_, rest) = line.split_once_str(":")?;
    let mut parts = rest.split_str(",").map(|part| number::<u64>(super::super::words(part).next()?));
    let (total, running) = (parts.next()??, parts.next()??);
    // Sleeping, stopped, zombies.
    (parts.clone().count() >= 2 && parts.all(|part| part.is_some())).then_some((total, running))
}

/// `%Cpu(s):`, `Cpu(s):`, `%Cpu0`, `Cpu0`, `%CPU(s):`.
fn is_cpu(word: &[u8]) -> bool {
    let word = word.strip_prefix(b"%").unwrap_or(word).to_ascii_lowercase();
    let rest = word.strip_prefix(b"cpu");
    rest.is_some_and(|rest| rest.starts_with(b"(s)") || rest.first().is_some_and(u8::is_ascii_digit))
}

/// ` 1.0 us,  2.0 sy, …` or `  1.0%us,  2.0%sy, …`; ` 1,0 us,  2,0 sy,100,0 id` where a comma is in the numbers. Other languages
/// call some otherwise, in the same order.
fn shares(line: &[u8]) -> Option<Cpu> {
    let (name, rest) = line.split_once_str(":")?;
    let name = name.trim_ascii();
    let name = name.strip_prefix(b"%").unwrap_or(name).get(3..)?;
    let mut cpu = Cpu { number: number(name), ..Cpu::default() };
    let mut is_told = false;
    let mut last = 0;
    // A comma between numbers stands behind a letter.
    let is_end = |before: &u8, now: &u8| *now == b',' && !before.is_ascii_digit();
    let ends = rest.iter().zip(rest.iter().skip(1)).enumerate().filter(|(_, (before, now))| is_end(before, now));
    let ends: Vec<usize> = ends.map(|(at, _)| at + 1).chain([rest.len()]).collect();
    for (index, end) in ends.into_iter().enumerate() {
        let part = rest.get(last..end).unwrap_or_default();
        last = end + 1;
        let text = part.trim_ascii().to_str().ok()?;
        let end = text.find(|c: char| !c.is_ascii_digit() && !matches!(c, '.' | ',')).unwrap_or(text.len());
        let (value, unit) = text.split_at(end);
        let Some(value) = decimal(value.as_bytes()) else { continue };
        const NAMES: [&str; 8] = ["us", "sy", "ni", "id", "wa", "hi", "si", "st"];
        let unit = unit.trim_start_matches(['%', ' ']);
        let known = NAMES.iter().position(|name| unit.starts_with(name)).unwrap_or(index);
        is_told |= known == 3;
        let Cpu { user, nice, system, iowait, irq, softirq, steal, idle, .. } = &mut cpu;
        if let Some(place) = [user, system, nice, idle, iowait, irq, softirq, steal].into_iter().nth(known) {
            *place = value;
        }
    }
    is_told.then_some(cpu)
}
