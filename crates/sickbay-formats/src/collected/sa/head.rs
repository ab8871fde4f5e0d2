//! The head of a file, and what it says of the kinds of statistics in it.

use bstr::BString;

use super::bytes::{Bytes, Types};
use super::{ACTIVITIES, Activity, Error, File, Head, RecordForm, STRUCTURE, skip_extra, statistics};

impl<'a> File<'a> {
    /// Up to 11.6. The size of the head is told since 10.3, and then there are two numbers more in it.
    pub(super) fn old(
        mut bytes: Bytes<'a>,
        version: (u8, u8, u8),
        size: Option<u32>,
        has_magic: bool,
    ) -> Result<File<'a>, Error> {
        let at = bytes.at();
        let damaged = Error::Damaged(at);
        let size = size.map_or(Ok(280), usize::try_from).map_err(|_| damaged)?;
        if !(280..=8192).contains(&size) {
            return Err(damaged);
        }
        let is_later = size > 280;
        let mut head = bytes.part(size).ok_or(Error::Short)?;
        // Its word length is told behind the first number that has it.
        let names = if is_later { 24 } else { 16 };
        let long = head.u8_at(names - 1).ok_or(damaged)?;
        if !head.set_long(long) {
            return Err(damaged);
        }
        let number = |at| head.u32_at(at).ok_or(damaged);
        let (cpus, count, volatile) = match is_later {
            true => (Some(number(8)?), number(12)?, number(16)?),
            false => (None, number(8)?, 0),
        };
        let name = |index: usize| head.text_at(names + index * 65, 65).ok_or(damaged);
        let told = Head {
            version,
            hz: 100,
            began: head.long_at(0).ok_or(damaged)?,
            system: name(0)?,
            node: name(1)?,
            release: name(2)?,
            machine: name(3)?,
            zone: BString::default(),
            cpus: cpus.filter(|cpus| *cpus > 0),
        };
        bytes.set_long(long);
        if count == 0 || count > ACTIVITIES || volatile > count {
            return Err(damaged);
        }
        let mut file =
            File { head: told, bytes, activities: Vec::new(), record: RecordForm::Old, volatile, is_over: false };
        for _ in 0..count {
            let activity = file.old_activity(has_magic)?;
            file.activities.push(activity);
        }
        Ok(file)
    }

    fn old_activity(&mut self, has_magic: bool) -> Result<Activity, Error> {
        let at = self.bytes.at();
        let mut next = || self.bytes.u32().ok_or(Error::Short);
        let id = next()?;
        let (magic, count, sub) = match has_magic {
            true => (next()?, next()?, next()?),
            // Before there were magic numbers there was one layout of each.
            false => (statistics::BASE, next()?, 1),
        };
        let activity = Activity { id, magic, count, sub, is_counted: false, size: next()?, types: None };
        activity.is_sound().then_some(activity).ok_or(Error::Damaged(at))
    }

    /// From 11.7 on.
    pub(super) fn new(mut bytes: Bytes<'a>, version: (u8, u8, u8)) -> Result<File<'a>, Error> {
        let damaged = Error::Damaged(bytes.at());
        let size = bytes.u32().ok_or(Error::Short)?;
        let _upgraded = bytes.u32().ok_or(Error::Short)?;
        let types = bytes.types().ok_or(Error::Short)?;
        bytes.take(48).ok_or(Error::Short)?;
        let size = usize::try_from(size).ok().filter(|size| (280..=8192).contains(size)).ok_or(damaged)?;
        let mut head = bytes.part(size).ok_or(Error::Short)?;
        let text = usize::try_from(types.size()).ok().filter(|end| *end < size).ok_or(damaged)?;
        let long = head.u8_at(text + 2).ok_or(damaged)?;
        if !head.set_long(long) {
            return Err(damaged);
        }
        let int = |index| head.int(&types, index).ok_or(damaged);
        let name = |index: usize| head.text_at(text + 3 + index * 65, 65).ok_or(damaged);
        let told = Head {
            version,
            hz: head.long(&types, 0).filter(|hz| (1..=100_000).contains(hz)).ok_or(damaged)?,
            began: head.wide(&types, 0).ok_or(damaged)?,
            system: name(0)?,
            node: name(1)?,
            release: name(2)?,
            machine: name(3)?,
            zone: head.text_at(text + 3 + 4 * 65, 8).unwrap_or_default(),
            cpus: head.int(&types, 0).and_then(|all| all.checked_sub(1)).filter(|cpus| *cpus > 0),
        };
        let activity_types = Types::new([int(3)?, int(4)?, int(5)?]);
        let record_types = Types::new([int(6)?, int(7)?, int(8)?]);
        let (count, activity_size, record_size) = (int(1)?, int(9)?, int(10)?);
        // Only a file of an older version lacks it.
        let has_more = head.int(&types, 11).unwrap_or(0) != 0;
        let fits = |types: Types, size: u32, most: u32| types.size() <= u64::from(size) && size <= most;
        let is_sound = (1..=ACTIVITIES).contains(&count)
            && fits(activity_types, activity_size, STRUCTURE)
            && fits(record_types, record_size, 512);
        if !is_sound {
            return Err(damaged);
        }
        bytes.set_long(long);
        let mut activities = Vec::new();
        for _ in 0..count {
            let at = bytes.at();
            let part = bytes.part(usize::try_from(activity_size).unwrap_or(usize::MAX)).ok_or(Error::Short)?;
            let int = |index| part.int(&activity_types, index).ok_or(Error::Damaged(at));
            let types = Types::new([int(6)?, int(7)?, int(8)?]);
            let activity = Activity {
                id: int(0)?,
                magic: int(1)?,
                count: int(2)?,
                sub: int(3)?,
                is_counted: int(4)? != 0,
                size: int(5)?,
                types: Some(types),
            };
            if !activity.is_sound() {
                return Err(Error::Damaged(at));
            }
            activities.push(activity);
        }
        if has_more {
            skip_extra(&mut bytes)?;
        }
        let record = RecordForm::New { size: record_size, types: record_types };
        Ok(File { head: told, bytes, activities, record, volatile: 0, is_over: false })
    }
}
