//! The table of tasks. Its columns changed with the releases, but it always names them.
//!
//! | since | columns between `[ pid ]` and `name` |
//! |---|---|
//! | 2.6.32 | uid tgid total_vm rss cpu oom_adj |
//! | 2.6.36 | uid tgid total_vm rss cpu oom_adj oom_score_adj |
//! | 3.7 | uid tgid total_vm rss nr_ptes swapents oom_score_adj |
//! | 4.0 | … nr_ptes nr_pmds swapents oom_score_adj |
//! | 4.15 | uid tgid total_vm rss pgtables_bytes swapents oom_score_adj |
//! | 6.8 | uid tgid total_vm rss rss_anon rss_file rss_shmem pgtables_bytes swapents oom_score_adj |

use std::collections::HashMap;

use super::Consumer;

/// No table names more commands; processes beyond that count as "…".
const COMMANDS: usize = 4096;

/// No more processes are remembered one by one.
const PROCESSES: usize = 1 << 17;

/// A row.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) pid: u32,
    pub(super) total_vm: u64,
    pub(super) rss: u64,
    pub(super) swap: u64,
    pub(super) adj: Option<i64>,
    pub(super) comm: String,
}

/// The table as far as it was read; numbers in pages.
#[derive(Clone, Debug, Default)]
pub(super) struct Table {
    columns: Vec<String>,
    /// Columns behind the name.
    behind: usize,
    commands: HashMap<String, (u64, u64, u64)>,
    processes: HashMap<u32, (u64, u64, Option<i64>)>,
    rows: u64,
}

impl Table {
    /// The head: `[ pid ]   uid  tgid total_vm …  name`.
    pub(super) fn head(&mut self, text: &str) {
        let names = text.split_once(']').map(|(_, names)| names).unwrap_or_default();
        self.columns = names.split_whitespace().take_while(|name| *name != "name").map(str::to_owned).collect();
        self.behind = names.split_whitespace().skip_while(|name| *name != "name").skip(1).count();
    }

    /// A row: `[  355]     0   355     4868       66 …  name`. The name may be missing, and may have blanks.
    pub(super) fn row(&self, text: &str) -> Option<Row> {
        let (pid, rest) = text.trim_start().strip_prefix('[')?.split_once(']')?;
        let pid = pid.trim().parse().ok()?;
        let mut numbers: Vec<i64> = Vec::new();
        let mut rest = rest.trim_start();
        let most = if self.columns.is_empty() { 10 } else { self.columns.len() };
        while numbers.len() < most {
            let (word, after) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
            let Ok(number) = word.parse() else { break };
            numbers.push(number);
            rest = after.trim_start();
        }
        if numbers.len() < 4.min(most) {
            return None;
        }
        // Other columns may stand behind the name; what is no number is a part of it.
        for _ in 0..self.behind {
            match rest.trim_end().rsplit_once(char::is_whitespace) {
                Some((name, number)) if number.parse::<i64>().is_ok() => rest = name,
                _ => break,
            }
        }
        let at = |name: &str, default: Option<usize>| {
            let place = if self.columns.is_empty() { default } else { self.columns.iter().position(|c| c == name) };
            place.and_then(|place| numbers.get(place).copied())
        };
        let pages = |value: Option<i64>| value.and_then(|value| u64::try_from(value).ok()).unwrap_or(0);
        let swap = (numbers.len() >= 7).then(|| numbers.len() - 2);
        Some(Row {
            pid,
            total_vm: pages(at("total_vm", Some(2))),
            rss: pages(at("rss", Some(3))),
            swap: pages(at("swapents", swap)),
            adj: at("oom_score_adj", numbers.len().checked_sub(1)),
            comm: rest.trim_end().to_owned(),
        })
    }

    /// Whether a row's numbers are all there, so that what follows is its name.
    pub(super) fn is_whole(&self, row: &Row) -> bool {
        !row.comm.is_empty() && !row.comm.ends_with('.')
    }

    pub(super) fn add(&mut self, row: Row) {
        self.rows += 1;
        if self.processes.len() < PROCESSES {
            self.processes.insert(row.pid, (row.total_vm, row.rss, row.adj));
        }
        let full = self.commands.len() >= COMMANDS && !self.commands.contains_key(&row.comm);
        let name = if full { "…".to_owned() } else { row.comm };
        let sums = self.commands.entry(name).or_default();
        sums.0 += 1;
        sums.1 = sums.1.saturating_add(row.rss);
        sums.2 = sums.2.saturating_add(row.swap);
    }

    /// Address space, resident pages and oom_score_adj of a process.
    pub(super) fn process(&self, pid: u32) -> Option<(u64, u64, Option<i64>)> {
        self.processes.get(&pid).copied()
    }

    /// How many rows there were, and the sums by command, largest first.
    pub(super) fn sums(&self, page_kb: u64) -> (u64, Vec<Consumer>) {
        let mut all: Vec<Consumer> = self
            .commands
            .iter()
            .map(|(comm, (processes, rss, swap))| Consumer {
                comm: comm.clone(),
                processes: *processes,
                rss_kb: rss.saturating_mul(page_kb),
                swap_kb: swap.saturating_mul(page_kb),
            })
            .collect();
        all.sort_by(|a, b| (b.rss_kb, b.swap_kb).cmp(&(a.rss_kb, a.swap_kb)).then_with(|| a.comm.cmp(&b.comm)));
        (self.rows, all)
    }
}
