//! Stacks of tasks in state D that somebody asked the kernel for (SysRq w or t), or wrote into a mail: no sentence of
//! the kernel says that the task was stuck, its state does.

use bstr::ByteSlice;
use memchr::memmem::Finder;

use super::frames::Frames;
use super::message;
use crate::lines::newlines;

/// A task in state D, and where it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Blocked {
    /// Its name.
    pub task: String,
    /// Its number, where the line has it.
    pub pid: Option<u32>,
    /// Where it waits, the innermost function first.
    pub frames: Frames,
    /// The line that names it, and its words.
    pub words: String,
    /// The source it was found in, and its line there, from 1.
    pub source: usize,
    /// See `source`.
    pub line: u64,
}

/// No more are kept.
const MOST: usize = 256;
/// So many lines before a stack's head may name its task.
const BEFORE: usize = 4;
/// So many lines of a stack are looked at.
const DEPTH: usize = 80;

/// Reads logs for such stacks. Feed it blocks of whole lines.
#[derive(Debug, Default)]
pub struct Scanner {
    /// What was seen, in order.
    pub seen: Vec<Blocked>,
    source: usize,
}

impl Scanner {
    /// From now on blocks are of this source.
    pub fn source(&mut self, source: usize) {
        self.source = source;
    }

    /// Reads a block that so many lines of its source are before.
    pub fn block(&mut self, block: &[u8], before: u64) {
        let finder = Finder::new(b"Call Trace:");
        for at in finder.find_iter(block) {
            if self.seen.len() >= MOST {
                return;
            }
            let (head, rest) = block.split_at_checked(at).unwrap_or_default();
            let mut above = head.rsplit(|byte| *byte == b'\n').skip(1).take(BEFORE).enumerate();
            let found = above.find_map(|(index, line)| {
                let text = message(line.get(..512).unwrap_or(line)).text.to_str_lossy().into_owned();
                task(&text).map(|task| (index, task, text))
            });
            let Some((index, (name, pid), words)) = found else { continue };
            let mut frames = Frames::default();
            for line in rest.lines().skip(1).take(DEPTH) {
                let text = message(line.get(..512).unwrap_or(line)).text.to_str_lossy().into_owned();
                if !frames.line(&text) && !text.contains("<TASK>") {
                    break;
                }
            }
            if frames.is_empty() {
                continue;
            }
            let line = before + newlines(head) - (index as u64).min(newlines(head));
            let words = words.trim().chars().take(200).collect();
            self.seen.push(Blocked { task: name, pid, frames, words, source: self.source, line });
        }
    }
}

/// The task that a line says is in state D: `task:rsync           state:D stack:    0 pid: 2211 ppid: …` since 5.9, before
/// `rsync         D ffff88081b2b7ca8     0  2211      1 0x00000080` (show_task() in kernel/sched/core.c).
pub fn task(text: &str) -> Option<(String, Option<u32>)> {
    let text = text.trim();
    if let Some(rest) = text.strip_prefix("task:") {
        let (name, rest) = rest.split_once(" state:D")?;
        let pid = rest.split_once("pid:").and_then(|(_, rest)| rest.trim_start().split(' ').next()?.parse().ok());
        return Some((name.trim().chars().take(40).collect(), pid));
    }
    let (name, rest) = text.split_once(" D ")?;
    let words: Vec<&str> = rest.split_whitespace().take(6).collect();
    // The address or what stands in its place, the free stack, the PID, the parent's, the flags.
    let [place, stack, pid, parent, ..] = words.as_slice() else { return None };
    let is_place = place.len() > 7 && (place.bytes().all(|byte| byte.is_ascii_hexdigit()) || *place == "running");
    let numbers: Option<Vec<u32>> = [stack, pid, parent].iter().map(|word| word.parse().ok()).collect();
    let name = name.trim();
    (is_place && !name.is_empty() && name.len() < 40).then_some(())?;
    Some((name.to_owned(), numbers?.get(1).copied()))
}

/// Whether a text has such a stack.
pub fn resembles(text: &[u8]) -> bool {
    let mut scanner = Scanner::default();
    scanner.block(text, 0);
    !scanner.seen.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tasks_of_old_and_new_kernels() {
        let of = |text| task(text).map(|(name, pid)| format!("{name} {}", pid.unwrap_or(0)));
        assert_eq!(of("httpd         D 0000000000000001     0  2211      1 0x00000080").as_deref(), Some("httpd 2211"));
        assert_eq!(
            of("task:kworker/u8:1    state:D stack:    0 pid:   77 ppid:     2 flags:0x00004000").as_deref(),
            Some("kworker/u8:1 77")
        );
        for text in ["task:rsync           state:R stack: 0 pid: 1", "Vitamin D is good for 3 4 5", " D ", ""] {
            assert_eq!(of(text), None, "{text}");
        }
    }

    #[test]
    fn a_mail_with_a_stack() {
        let text = b"Hello,\n\nhttpd         D 0000000000000001     0  2211      1 0x00000080\n ffff88081b2b7ca8 0000\nCall Trace:\n [<ffff>] io_schedule+0x73/0xc0\n [<ffff>] do_get_write_access+0x29a/0x510 [jbd2]\n\nAny idea?\n";
        let mut scanner = Scanner::default();
        scanner.block(text, 10);
        assert_eq!(scanner.seen.len(), 1);
        let seen = &scanner.seen[0];
        assert_eq!((seen.task.as_str(), seen.line, seen.frames.list().len()), ("httpd", 13, 2));
        assert!(resembles(text) && !resembles(b"Call Trace:\n a+0x1/0x2\n"));
    }

    proptest::proptest! {
        #[test]
        fn never_panics(text: Vec<u8>, words: String) {
            resembles(&text);
            resembles(&[words.as_bytes(), b" D \nCall Trace:\n", &text].concat());
            task(&words);
        }
    }
}
