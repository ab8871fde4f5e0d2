//! The daily files of `sar` (`/var/log/sa/saDD`, `/var/log/sysstat/saDD`), as `sadc` of sysstat 9.0 to 12 writes them, of
//! machines of either byte order and word length.
//!
//! A file says itself how long its structures are, so those of a later version are read as far as they are known; what is not
//! known is skipped. There are two families. Up to 11.6 (`0x2170`, `0x2171`, `0x2173`) a structure has the layout that its
//! magic number stands for; from 11.7 on (`0x2175`) it says how many fields it has of each length: first those of 64 bits,
//! then longs, each in the room of 64 bits, then ints, and what is no number last.

mod bytes;
mod statistics;

use bstr::BString;

use bytes::{Bytes, Order, Types};
pub use statistics::Statistics;

/// What a file begins with, in its own byte order.
const SYSSTAT: u16 = 0xd596;

/// So many kinds of statistics a file may have.
const ACTIVITIES: u32 = 256;

/// A structure is no longer than this.
const STRUCTURE: u32 = 1024;

/// So many structures of one kind there are in a record at most. Of 4096 processors and 65,536 interrupts nobody reads a file.
const STRUCTURES: u64 = 1 << 22;

/// Why it cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// It is something else.
    Foreign,
    /// sysstat 8 and older, or a future one.
    Format(u16),
    /// It ends within its head.
    Short,
    /// What it says of itself cannot be.
    Damaged(usize),
}

/// What a file says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Head {
    /// That of sysstat: 12.6.1.
    pub version: (u8, u8, u8),
    /// Ticks a second. Old files do not say it; it is 100.
    pub hz: u64,
    /// Seconds since 1970.
    pub began: u64,
    /// `Linux`.
    pub system: BString,
    /// The name of the machine.
    pub node: BString,
    /// The release of its kernel.
    pub release: BString,
    /// `x86_64`.
    pub machine: BString,
    /// The name of its time zone, of files from 12.1 on: `CET`.
    pub zone: BString,
    /// Its processors, as far as the file says.
    pub cpus: Option<u32>,
}

/// One kind of statistics.
#[derive(Clone, Copy, Debug)]
struct Activity {
    id: u32,
    magic: u32,
    count: u32,
    sub: u32,
    /// The count comes before the structures, in each record.
    is_counted: bool,
    size: u32,
    types: Option<Types>,
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq)]
pub enum What {
    /// Counters were read.
    Statistics(Box<Statistics>),
    /// The machine started anew: counters begin again.
    Restart,
    /// Somebody wrote this.
    Comment(BString),
}

/// One record.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// Seconds since 1970.
    pub at: u64,
    /// The time of the day where it was written: hours, minutes, seconds.
    pub clock: (u8, u8, u8),
    /// How long the machine was up, in hundredths of a second.
    pub uptime: u64,
    /// What happened.
    pub what: What,
}

/// A file whose head was read, from which records are taken one by one.
#[derive(Clone, Debug)]
pub struct File<'a> {
    /// What it says of itself.
    pub head: Head,
    bytes: Bytes<'a>,
    activities: Vec<Activity>,
    /// How a record begins.
    record: RecordForm,
    /// So many activities are described anew behind a restart.
    volatile: u32,
    is_over: bool,
}

#[derive(Clone, Copy, Debug)]
enum RecordForm {
    Old,
    New { size: u32, types: Types },
}

/// Whether it is one of these, by how it begins.
pub fn is_sa(bytes: &[u8]) -> bool {
    matches!(bytes, [0x96, 0xd5, _, 0x21, ..] | [0xd5, 0x96, 0x21, _, ..])
}

impl<'a> File<'a> {
    /// Reads its head.
    ///
    /// # Errors
    /// When it is none, or damaged.
    pub fn open(bytes: &'a [u8]) -> Result<File<'a>, Error> {
        let order = match bytes.first_chunk::<2>() {
            Some(magic) if u16::from_le_bytes(*magic) == SYSSTAT => Order::Little,
            Some(magic) if u16::from_be_bytes(*magic) == SYSSTAT => Order::Big,
            _ => return Err(Error::Foreign),
        };
        let mut bytes = Bytes::new(bytes, order);
        let _ = bytes.take(2);
        let format = bytes.u16().ok_or(Error::Short)?;
        let version: [u8; 4] = bytes.array().ok_or(Error::Short)?;
        let version = (version[0], version[1], version[2]);
        match format {
            0x2170 | 0x2171 => File::old(bytes, version, None, format == 0x2171),
            0x2173 => {
                let size = bytes.u32().ok_or(Error::Short)?;
                bytes.take(64).ok_or(Error::Short)?;
                File::old(bytes, version, Some(size), true)
            }
            0x2175 => File::new(bytes, version),
            format => Err(Error::Format(format)),
        }
    }

    /// Up to 11.6. The size of the head is told since 10.3, and then there are two numbers more in it.
    fn old(mut bytes: Bytes<'a>, version: (u8, u8, u8), size: Option<u32>, has_magic: bool) -> Result<File<'a>, Error> {
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
    fn new(mut bytes: Bytes<'a>, version: (u8, u8, u8)) -> Result<File<'a>, Error> {
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

    /// Reads the head of a record; whether more is behind it comes with it.
    fn record_head(&mut self) -> Result<(Record, u8, bool), Error> {
        let at = self.bytes.at();
        let damaged = Error::Damaged(at);
        let (since, uptime, more, kind) = match self.record {
            RecordForm::Old => {
                let head = self.bytes.part(48).ok_or(Error::Short)?;
                let wide = |at| head.u64_at(at).ok_or(damaged);
                // Two uptimes: that of all processors together, and the one of the machine.
                let uptime = wide(16)?.saturating_mul(100).checked_div(self.head.hz).unwrap_or(0);
                (head.long_at(32).ok_or(damaged)?, uptime, 0, head.bytes_at(40, 4).ok_or(damaged)?)
            }
            RecordForm::New { size, types } => {
                let head = self.bytes.part(usize::try_from(size).unwrap_or(usize::MAX)).ok_or(Error::Short)?;
                let wide = |index| head.wide(&types, index).ok_or(damaged);
                let text = usize::try_from(types.size()).map_err(|_| damaged)?;
                (wide(1)?, wide(0)?, head.int(&types, 0).unwrap_or(0), head.bytes_at(text, 4).ok_or(damaged)?)
            }
        };
        let [kind, hour, minute, second] = *kind.first_chunk::<4>().ok_or(damaged)?;
        let most = if matches!(self.record, RecordForm::Old) { 4 } else { 15 };
        if kind == 0 || kind > most || hour > 23 || minute > 59 || second > 60 {
            return Err(damaged);
        }
        let record = Record { at: since, clock: (hour, minute, second), uptime, what: What::Restart };
        Ok((record, kind, more != 0))
    }

    /// The next record that says something; `None` at the end.
    fn next_record(&mut self) -> Result<Option<Record>, Error> {
        loop {
            if self.bytes.is_empty() {
                return Ok(None);
            }
            let (record, kind, has_more) = self.record_head()?;
            let is_new = matches!(self.record, RecordForm::New { .. });
            let extra = |bytes: &mut Bytes<'_>| if has_more { skip_extra(bytes) } else { Ok(()) };
            let what = match kind {
                1 | 3 => {
                    extra(&mut self.bytes)?;
                    What::Statistics(Box::new(self.statistics()?))
                }
                2 => {
                    match is_new {
                        // The number of processors from now on.
                        true => drop(self.bytes.u32().ok_or(Error::Short)?),
                        false => self.volatile_activities()?,
                    }
                    extra(&mut self.bytes)?;
                    What::Restart
                }
                4 => {
                    let text = self.bytes.text(64).ok_or(Error::Short)?;
                    extra(&mut self.bytes)?;
                    What::Comment(text)
                }
                _ => {
                    extra(&mut self.bytes)?;
                    continue;
                }
            };
            return Ok(Some(Record { what, ..record }));
        }
    }

    /// From 10.3 to 11.6: what there may be more or less of after a restart.
    fn volatile_activities(&mut self) -> Result<(), Error> {
        for _ in 0..self.volatile {
            let at = self.bytes.at();
            let mut next = || self.bytes.u32().ok_or(Error::Short);
            // Of the rest nothing is filled in.
            let (id, _magic, count, _sub, _size) = (next()?, next()?, next()?, next()?, next()?);
            let changed = |activity: &Activity| Activity { count, ..*activity };
            for activity in self.activities.iter_mut().filter(|activity| activity.id == id) {
                *activity = Some(changed(activity)).filter(Activity::is_sound).ok_or(Error::Damaged(at))?;
            }
        }
        Ok(())
    }

    fn statistics(&mut self) -> Result<Statistics, Error> {
        let mut statistics = Statistics::default();
        let mut links = statistics::Links::default();
        for activity in &self.activities {
            let at = self.bytes.at();
            let count = match activity.is_counted {
                true => self.bytes.u32().ok_or(Error::Short)?,
                false => activity.count,
            };
            let all = u64::from(count).saturating_mul(u64::from(activity.sub));
            if all > STRUCTURES {
                return Err(Error::Damaged(at));
            }
            let size = usize::try_from(activity.size).map_err(|_| Error::Damaged(at))?;
            let length = usize::try_from(all).unwrap_or(usize::MAX).saturating_mul(size);
            let part = self.bytes.part(length).ok_or(Error::Short)?;
            let items: Vec<Bytes<'_>> = part.parts(size).collect();
            statistics.add(&mut links, activity, &items);
        }
        statistics.links = links.all();
        Ok(statistics)
    }
}

impl Iterator for File<'_> {
    type Item = Result<Record, Error>;

    /// After an error there is nothing more: where the next record would begin is not known then.
    fn next(&mut self) -> Option<Self::Item> {
        if self.is_over {
            return None;
        }
        let next = self.next_record().transpose();
        self.is_over = !matches!(next, Some(Ok(_)));
        next
    }
}

impl Activity {
    fn is_sound(&self) -> bool {
        let all = u64::from(self.count).saturating_mul(u64::from(self.sub));
        let fits = self.types.is_none_or(|types| types.size() <= u64::from(self.size));
        (1..=STRUCTURE).contains(&self.size) && self.sub > 0 && all <= STRUCTURES && fits
    }
}

/// What versions to come add, each with its length.
fn skip_extra(bytes: &mut Bytes<'_>) -> Result<(), Error> {
    loop {
        let at = bytes.at();
        let mut next = || bytes.u32().ok_or(Error::Short);
        let (count, size, more) = (next()?, next()?, next()?);
        bytes.types().ok_or(Error::Short)?;
        if count > 8192 || size > STRUCTURE {
            return Err(Error::Damaged(at));
        }
        let length = usize::try_from(u64::from(count).saturating_mul(u64::from(size))).unwrap_or(usize::MAX);
        bytes.take(length).ok_or(Error::Short)?;
        if more == 0 {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests;
