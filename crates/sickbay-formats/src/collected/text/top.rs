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
            [b"Tasks:" | b"Threads:", rest @ ..] => {
                let of = |name: &[u8]| {
                    let at = rest.iter().position(|word| word.trim_end_with(|c| c == ',') == name)?;
                    number(rest.get(at.checked_sub(1)?)?)
                };
                let (total, running) = (of(b"total"), of(b"running"));
                if let Some(block) = self.block(Source::Top, stamp) {
                    block.running = running;
                    if let (Some(load), Some(total), Some(running)) = (block.load.as_mut(), total, running) {
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
            [b"PID", rest @ ..] if rest.contains(&&b"%CPU"[..]) => {
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
            let mut values = text.split_str(",").map(|value| decimal(value.trim_ascii()));
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
        let at = |name: &str| columns.iter().position(|column| column == name);
        let text = |name: &str| words.get(at(name)?).copied();
        let row = || {
            let id = number(words.first()?)?;
            let cpu = decimal(text("%CPU")?)?;
            let state = match text("S")? {
                [state] if state.is_ascii_alphabetic() => *state,
                _ => return None,
            };
            let name: BString = super::super::program(text("COMMAND")?);
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

/// `%Cpu(s):`, `Cpu(s):`, `%Cpu0`, `Cpu0`.
fn is_cpu(word: &[u8]) -> bool {
    let word = word.strip_prefix(b"%").unwrap_or(word);
    word.starts_with(b"Cpu(s)")
        || word.strip_prefix(b"Cpu").is_some_and(|rest| rest.first().is_some_and(u8::is_ascii_digit))
}

/// ` 1.0 us,  2.0 sy, …` or `  1.0%us,  2.0%sy, …`.
fn shares(line: &[u8]) -> Option<Cpu> {
    let (name, rest) = line.split_once_str(":")?;
    let name = name.trim_ascii();
    let name = name.strip_prefix(b"%").unwrap_or(name);
    let mut cpu = Cpu { number: number(name.strip_prefix(b"Cpu")?), ..Cpu::default() };
    let mut is_told = false;
    for part in rest.split_str(",") {
        let text = part.trim_ascii().to_str().ok()?;
        let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
        let (value, unit) = text.split_at(end);
        let Some(value) = decimal(value.as_bytes()) else { continue };
        let place = match unit.trim_start_matches(['%', ' ']).get(..2) {
            Some("us") => &mut cpu.user,
            Some("sy") => &mut cpu.system,
            Some("ni") => &mut cpu.nice,
            Some("id") => {
                is_told = true;
                &mut cpu.idle
            }
            Some("wa") => &mut cpu.iowait,
            Some("hi") => &mut cpu.irq,
            Some("si") => &mut cpu.softirq,
            Some("st") => &mut cpu.steal,
            _ => continue,
        };
        *place = value;
    }
    is_told.then_some(cpu)
}
