//! Numbers and names as bytes. Nearly all numbers of a sample are as far from those of the sample before as nothing, so a run of
//! zeros is written as one: how long it is. Both directions are one piece of code, which cannot disagree with itself.

use std::collections::HashMap;

/// Of a stranger's block not more is made: a run of zeros is short however long it claims to be.
const NUMBERS: u64 = 1 << 22;

/// A name is no longer.
const NAME: usize = 1 << 12;

/// Writes what it is given, or reads it: the state of a block goes from sample to sample in it.
#[derive(Debug)]
pub(super) struct Coder<'b> {
    way: Way<'b>,
    zeros: u64,
    names: Names,
}

#[derive(Debug)]
enum Way<'b> {
    Write(Vec<u8>),
    Read(&'b [u8], u64),
}

/// Names that were written in the block, by number.
#[derive(Debug, Default)]
pub(super) struct Names {
    list: Vec<Box<[u8]>>,
    numbers: HashMap<Box<[u8]>, u64>,
}

impl Coder<'static> {
    /// One that writes.
    pub(super) fn writer(names: Names) -> Coder<'static> {
        Coder { way: Way::Write(Vec::new()), zeros: 0, names }
    }

    /// What was written.
    pub(super) fn into_bytes(mut self) -> (Vec<u8>, Names) {
        self.flush();
        match self.way {
            Way::Write(bytes) => (bytes, self.names),
            Way::Read(..) => (Vec::new(), self.names),
        }
    }
}

impl<'b> Coder<'b> {
    /// One that reads.
    pub(super) fn reader(bytes: &'b [u8], names: Names) -> Coder<'b> {
        Coder { way: Way::Read(bytes, NUMBERS), zeros: 0, names }
    }

    /// The names, for the next sample; `None` where something is left, which nobody understood.
    pub(super) fn into_names(self) -> Option<Names> {
        match self.way {
            Way::Read([], _) if self.zeros == 0 => Some(self.names),
            _ => None,
        }
    }

    /// Whether it writes.
    pub(super) fn writes(&self) -> bool {
        matches!(self.way, Way::Write(_))
    }

    fn flush(&mut self) {
        let zeros = std::mem::take(&mut self.zeros);
        if let (Way::Write(bytes), Some(more)) = (&mut self.way, zeros.checked_sub(1)) {
            bytes.push(0);
            varint(bytes, more);
        }
    }

    /// A number as it is.
    pub(super) fn number(&mut self, value: &mut u64) -> Option<()> {
        if self.writes() {
            match *value {
                0 => self.zeros += 1,
                value => {
                    self.flush();
                    if let Way::Write(bytes) = &mut self.way {
                        varint(bytes, value);
                    }
                }
            }
            return Some(());
        }
        if self.zeros > 0 {
            self.zeros -= 1;
            *value = 0;
            return self.spend();
        }
        let Way::Read(bytes, _) = &mut self.way else { return None };
        let first = *bytes.first()?;
        *value = read_varint(bytes)?;
        if first == 0 {
            self.zeros = read_varint(bytes)?;
        }
        self.spend()
    }

    fn spend(&mut self) -> Option<()> {
        if let Way::Read(_, left) = &mut self.way {
            *left = left.checked_sub(1)?;
        }
        Some(())
    }

    /// A number by how far it is from `state`, which becomes it. Backwards and around is as good a way as any.
    pub(super) fn delta(&mut self, state: &mut u64, now: u64) -> Option<()> {
        let by = now.wrapping_sub(*state);
        // Small steps back are small, too.
        let mut step = (by << 1) ^ (by >> 63).wrapping_neg();
        self.number(&mut step)?;
        *state = match self.writes() {
            true => now,
            false => state.wrapping_add((step >> 1) ^ (step & 1).wrapping_neg()),
        };
        Some(())
    }

    /// The same of a smaller number.
    pub(super) fn small<T: TryFrom<u64> + Into<u64> + Copy>(&mut self, state: &mut T, now: T) -> Option<()> {
        let mut wide = (*state).into();
        self.delta(&mut wide, now.into())?;
        *state = T::try_from(wide).ok()?;
        Some(())
    }

    /// Yes or no.
    pub(super) fn flag(&mut self, state: &mut bool, now: bool) -> Option<()> {
        let mut wide = u64::from(*state);
        self.delta(&mut wide, now.into())?;
        *state = wide == 1;
        (wide <= 1).then_some(())
    }

    /// A number that may be missing.
    pub(super) fn maybe(&mut self, state: &mut Option<u64>, now: Option<u64>) -> Option<()> {
        let mut is_there = state.is_some();
        self.flag(&mut is_there, now.is_some())?;
        let mut value = state.unwrap_or(0);
        if is_there {
            self.delta(&mut value, now.unwrap_or(0))?;
        }
        *state = is_there.then_some(value);
        Some(())
    }

    /// A name. `None` for one that is as in the state; its number, where it stands in the block already; else itself.
    pub(super) fn name(&mut self, state: &mut Vec<u8>, now: &[u8]) -> Option<()> {
        let now = now.get(..NAME).unwrap_or(now);
        let known = self.names.numbers.get(now).copied();
        let mut code = match known {
            _ if state == now => 0,
            Some(number) => number.checked_add(2)?,
            None => 1,
        };
        self.number(&mut code)?;
        match code {
            0 => return Some(()),
            1 => {
                let name = self.raw(now)?;
                if self.writes() {
                    let number = self.names.list.len() as u64;
                    self.names.numbers.insert(name.clone(), number);
                }
                *state = name.to_vec();
                self.names.list.push(name);
            }
            number => {
                let index = usize::try_from(number - 2).ok()?;
                *state = self.names.list.get(index)?.to_vec();
            }
        }
        Some(())
    }

    fn raw(&mut self, now: &[u8]) -> Option<Box<[u8]>> {
        let mut length = now.len() as u64;
        self.number(&mut length)?;
        self.flush();
        match &mut self.way {
            Way::Write(bytes) => {
                bytes.extend_from_slice(now);
                Some(now.into())
            }
            Way::Read(bytes, _) => {
                let length = usize::try_from(length).ok().filter(|length| *length <= NAME && self.zeros == 0)?;
                let (name, rest) = bytes.split_at_checked(length)?;
                *bytes = rest;
                Some(name.into())
            }
        }
    }

    /// A short list in any order, by what changed of it: see [`Coder::list`].
    pub(super) fn keyed<T: Default>(
        &mut self,
        state: &mut Vec<T>,
        now: &[T],
        is_same: impl Fn(&T, &T) -> bool,
        key: impl FnMut(&mut Self, &mut T, &T) -> Option<()>,
        body: impl FnMut(&mut Self, &mut T, &T) -> Option<()>,
    ) -> Option<()> {
        let is_gone = |one: &T, rest: &[T]| !rest.iter().any(|other| is_same(one, other));
        self.list(state, now, &is_same, is_gone, key, body)
    }

    /// A list, by what changed of it: so many are still there, so many are gone, so many are new, and so on. `is_gone` tells
    /// of one that was there whether it is not among the rest; `key` writes by what the new ones are known, `body` all else.
    pub(super) fn list<T: Default>(
        &mut self,
        state: &mut Vec<T>,
        now: &[T],
        is_same: impl Fn(&T, &T) -> bool,
        is_gone: impl Fn(&T, &[T]) -> bool,
        mut key: impl FnMut(&mut Self, &mut T, &T) -> Option<()>,
        mut body: impl FnMut(&mut Self, &mut T, &T) -> Option<()>,
    ) -> Option<()> {
        let nothing = T::default();
        let (mut at, mut read) = (0, 0);
        loop {
            let left = state.len().checked_sub(at)?;
            let rest = now.get(read..).unwrap_or_default();
            let same = state.iter().skip(at).zip(rest).take_while(|(one, other)| is_same(one, other)).count();
            let mut lost = (left - same.min(left)) as u64;
            self.number(&mut lost)?;
            let same = left.checked_sub(usize::try_from(lost).ok()?)?;
            for _ in 0..same {
                body(self, state.get_mut(at)?, now.get(read).unwrap_or(&nothing))?;
                (at, read) = (at + 1, read + 1);
            }
            let rest = now.get(read..).unwrap_or_default();
            let (mut gone, mut new) = (0, 0);
            if self.writes() {
                gone = state.iter().skip(at).take_while(|one| is_gone(one, rest)).count() as u64;
            }
            if self.writes() && gone == 0 {
                new = match state.get(at) {
                    // It is there, further on: what stands before it is new.
                    Some(next) => rest.iter().take_while(|one| !is_same(next, one)).count() as u64,
                    None => rest.len() as u64,
                };
            }
            self.number(&mut gone)?;
            self.number(&mut new)?;
            if gone == 0 && new == 0 {
                return (state.len() == at).then_some(());
            }
            let end = at.checked_add(usize::try_from(gone).ok()?).filter(|end| *end <= state.len())?;
            state.drain(at..end);
            let after = state.split_off(at);
            for _ in 0..new {
                let mut one = T::default();
                let told = now.get(read).unwrap_or(&nothing);
                key(self, &mut one, told)?;
                body(self, &mut one, told)?;
                state.push(one);
                (at, read) = (at + 1, read + 1);
            }
            state.extend(after);
        }
    }
}

fn varint(bytes: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        bytes.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
}

fn read_varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f).checked_shl(shift)?;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round(values: &[u64]) -> usize {
        let mut coder = Coder::writer(Names::default());
        for value in values {
            coder.number(&mut value.clone()).expect("written");
        }
        let (bytes, _) = coder.into_bytes();
        let mut reader = Coder::reader(&bytes, Names::default());
        for value in values {
            let mut read = 77;
            reader.number(&mut read).expect("read");
            assert_eq!(read, *value);
        }
        assert!(reader.into_names().is_some());
        bytes.len()
    }

    #[test]
    fn a_run_of_zeros_is_short() {
        assert_eq!(round(&[0; 100]), 2);
        round(&[0, 1, 0, 0, 127, 128, u64::MAX, 0]);
        assert_eq!(round(&[]), 0);
    }

    #[test]
    fn names_stand_once() {
        let write = |names, all: &[&str]| {
            let mut coder = Coder::writer(names);
            let mut state = Vec::new();
            all.iter().for_each(|name| coder.name(&mut state, name.as_bytes()).expect("written"));
            coder.into_bytes()
        };
        let (first, names) = write(Names::default(), &["nginx", "nginx", "java", "nginx", ""]);
        let (second, _) = write(names, &["java"]);
        assert_eq!((first.len(), second.len()), (6 + 1 + 2 + 5 + 1 + 1 + 3, 1));
        let mut reader = Coder::reader(&first, Names::default());
        let mut state = Vec::new();
        for name in ["nginx", "nginx", "java", "nginx", ""] {
            reader.name(&mut state, b"").expect("read");
            assert_eq!(state, name.as_bytes());
        }
        let mut reader = Coder::reader(&second, reader.into_names().expect("all was read"));
        reader.name(&mut state, b"").expect("read");
        assert_eq!(state, b"java");
    }

    fn code(coder: &mut Coder<'_>, state: &mut Vec<(u64, u64)>, now: &[(u64, u64)]) -> Option<()> {
        coder.list(
            state,
            now,
            |one, other| one.0 == other.0,
            |one, rest| !rest.iter().any(|other| other.0 == one.0),
            |coder, state, now| coder.delta(&mut state.0, now.0),
            |coder, state, now| coder.delta(&mut state.1, now.1),
        )
    }

    proptest::proptest! {
        #[test]
        fn lists_come_back(lists in proptest::collection::vec(proptest::collection::vec((0_u64..12, 0_u64..1000), 0..9), 1..6)) {
            let (mut state, mut names, mut records) = (Vec::new(), Names::default(), Vec::new());
            for list in &lists {
                let mut coder = Coder::writer(names);
                code(&mut coder, &mut state, list).expect("written");
                assert_eq!(&state, list);
                let (bytes, kept) = coder.into_bytes();
                names = kept;
                records.push(bytes);
            }
            let (mut state, mut names) = (Vec::new(), Names::default());
            for (list, bytes) in lists.iter().zip(&records) {
                let mut coder = Coder::reader(bytes, names);
                code(&mut coder, &mut state, &[]).expect("read");
                assert_eq!(&state, list);
                names = coder.into_names().expect("all was read");
            }
        }

        #[test]
        fn numbers_come_back(values: Vec<(u64, u64)>) {
            let mut coder = Coder::writer(Names::default());
            for (before, now) in &values {
                coder.delta(&mut before.clone(), *now).expect("written");
            }
            let (bytes, _) = coder.into_bytes();
            let mut reader = Coder::reader(&bytes, Names::default());
            for (before, now) in &values {
                let mut state = *before;
                reader.delta(&mut state, 0).expect("read");
                assert_eq!(state, *now);
            }
        }

        #[test]
        fn never_panics(bytes: Vec<u8>) {
            let mut coder = Coder::reader(&bytes, Names::default());
            let mut state = vec![(1, 2), (3, 4)];
            let _ = code(&mut coder, &mut state, &[]);
            let _ = coder.name(&mut Vec::new(), b"");
            let _ = coder.maybe(&mut None, None);
            let _ = coder.into_names();
        }
    }
}
