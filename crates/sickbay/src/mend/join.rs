//! Several edits of one file, made from the same text, as one.

use std::ops::Range;

/// Edits of one file, joined.
#[derive(Debug)]
pub struct Joined {
    /// What the diagnosis saw.
    before: Vec<u8>,
    /// What changes of it, by lines.
    hunks: Vec<Hunk>,
    /// What comes out.
    after: Vec<u8>,
}

/// Lines (from 0) of a file and what comes in their place.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Hunk {
    lines: Range<usize>,
    with: Vec<u8>,
}

impl Hunk {
    /// Whether the two can be made side by side. Lines for lines that is so wherever they do not overlap; where lines come
    /// or go, nobody can say whether they belong before or behind what touches them.
    fn is_clear_of(&self, other: &Hunk) -> bool {
        let one_for_one = |hunk: &Hunk| split(&hunk.with).len() == hunk.lines.len();
        let gap = usize::from(!one_for_one(self) || !one_for_one(other));
        self.lines.end + gap <= other.lines.start || other.lines.end + gap <= self.lines.start
    }
}

fn split(text: &[u8]) -> Vec<&[u8]> {
    text.split_inclusive(|byte| *byte == b'\n').collect()
}

/// What changes from `before` to `after`. A general diff is free to pair equal lines otherwise than they were meant, and two
/// of them together then make lines that nobody wrote. So lines stay in their places where their number does, and everything
/// between the first and the last change is one where it does not.
fn hunks(before: &[u8], after: &[u8]) -> Vec<Hunk> {
    let (old, new) = (split(before), split(after));
    let same = |(a, b): &(&&[u8], &&[u8])| a == b;
    if old.len() == new.len() {
        let changed = old.iter().zip(&new).enumerate().filter(|(_, pair)| !same(pair));
        return changed.map(|(at, (_, with))| Hunk { lines: at..at + 1, with: with.to_vec() }).collect();
    }
    let head = old.iter().zip(&new).take_while(same).count();
    let room = old.len().min(new.len()) - head;
    let tail = old.iter().rev().zip(new.iter().rev()).take_while(same).count().min(room);
    vec![Hunk { lines: head..old.len() - tail, with: new[head..new.len() - tail].concat() }]
}

impl Joined {
    /// A file that holds `before`, without an edit.
    pub fn new(before: &[u8]) -> Joined {
        Joined { before: before.to_vec(), hunks: Vec::new(), after: before.to_vec() }
    }

    /// What comes out.
    pub fn text(&self) -> &[u8] {
        &self.after
    }

    /// The same with one more edit of what the file held, if that does not collide.
    pub fn with(&self, before: &[u8], after: &[u8]) -> Option<Joined> {
        let new = hunks(before, after);
        if before != self.before || new.iter().any(|new| self.hunks.iter().any(|hunk| !hunk.is_clear_of(new))) {
            return None;
        }
        let mut hunks: Vec<Hunk> = self.hunks.iter().cloned().chain(new).collect();
        hunks.sort_by_key(|hunk| hunk.lines.start);
        let (old, mut after, mut at) = (split(before), Vec::with_capacity(after.len()), 0);
        for hunk in &hunks {
            after.extend(old[at..hunk.lines.start].concat());
            after.extend(&hunk.with);
            at = hunk.lines.end;
        }
        after.extend(old[at..].concat());
        Some(Joined { before: before.to_vec(), hunks, after })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn joined(before: &str, edits: &[&str]) -> Option<String> {
        let mut all = Joined::new(before.as_bytes());
        for after in edits {
            all = all.with(before.as_bytes(), after.as_bytes())?;
        }
        Some(String::from_utf8(all.after).expect("text in, text out"))
    }

    #[test]
    fn edits_of_equal_lines_stay_where_they_belong() {
        assert_eq!(joined("a\na\na\n", &["b\na\na\n", "a\na\nc\n", "a\nd\na\n"]).as_deref(), Some("b\nd\nc\n"));
        assert_eq!(joined("a\na\na", &["a\na\nb\n", "c\na\na"]).as_deref(), Some("c\na\nb\n"));
    }

    #[test]
    fn what_comes_and_goes_joins_at_a_distance() {
        assert_eq!(joined("a\nb\nc\nd\n", &["a\nx\nb\nc\nd\n", "a\nb\nc\n"]).as_deref(), Some("a\nx\nb\nc\n"));
        assert_eq!(joined("a\nb\n", &["a\nx\nb\n", "a\ny\nb\n"]), None);
        assert_eq!(joined("a\nb\n", &["a\nx\nb\n", "a\nc\n"]), None, "before or behind c?");
        assert_eq!(joined("a\nb\n", &["c\nb\n", "d\nb\n"]), None);
    }
}
