//! A sample as what changed since the one before. One function for each part writes it and reads it.
#![allow(clippy::ptr_arg)] // as in `counters`

use std::path::PathBuf;
use std::time::Duration;

use sickbay_formats::procfs::diskstats::Disk;
use sickbay_formats::procfs::interrupts::Interrupts;
use sickbay_formats::procfs::loadavg::LoadAvg;
use sickbay_formats::procfs::mib::Counter;
use sickbay_formats::procfs::net_dev::Link;
use sickbay_formats::procfs::pressure::Pressure;
use sickbay_formats::procfs::softnet::Softnet;
use sickbay_formats::procfs::stat::Stat;
use sickbay_target::Moment;

use super::super::{
    CardCounter, Memory, OpenFile, ParameterWrite, ProcessIo, Sample, Sockets, Stack, Thread, Threads, Throttled,
};
use super::counters::{
    cards, counters, deltas, disks, interrupts, links, load, memory, numbers, pressure, short, sockets, softnet, stat,
    string, throttled,
};
use super::words::Coder;

/// What is not in every sample, and yet is compared with what it was when it last was.
#[derive(Debug, Default)]
struct Kept<T> {
    is_there: bool,
    value: T,
}

impl<T: Clone> Kept<T> {
    fn get(&self) -> Option<T> {
        self.is_there.then(|| self.value.clone())
    }
}

/// The sample before, of which each is told by what changed.
#[derive(Debug, Default)]
pub(super) struct State {
    /// In microseconds.
    steady: u64,
    /// How far the clock of the day is from that.
    ahead: u64,
    load: Kept<LoadAvg>,
    stat: Kept<Stat>,
    cpu_pressure: Kept<Pressure>,
    io_pressure: Kept<Pressure>,
    memory_pressure: Kept<Pressure>,
    disks: Kept<Vec<Disk>>,
    /// All threads, in the order of their numbers.
    all: Kept<Threads>,
    /// Some of them.
    some: Kept<Threads>,
    io: Kept<Vec<ProcessIo>>,
    interrupts: Kept<Interrupts>,
    softirqs: Kept<Interrupts>,
    softnet: Kept<Vec<Softnet>>,
    links: Kept<Vec<Link>>,
    cards: Kept<Vec<CardCounter>>,
    tcp: Kept<Vec<Counter>>,
    sockets: Kept<Vec<Sockets>>,
    memory: Kept<Memory>,
    throttled: Kept<Vec<Throttled>>,
    stacks: Vec<Stack>,
    files: Vec<OpenFile>,
    writes: Vec<ParameterWrite>,
}

/// Codes one part that a sample may lack.
fn part<T: Default>(
    coder: &mut Coder<'_>,
    kept: &mut Kept<T>,
    now: Option<&T>,
    body: impl FnOnce(&mut Coder<'_>, &mut T, &T) -> Option<()>,
) -> Option<()> {
    coder.flag(&mut kept.is_there, now.is_some())?;
    if !kept.is_there {
        return Some(());
    }
    let nothing = T::default();
    body(coder, &mut kept.value, now.unwrap_or(&nothing))
}

impl State {
    /// Writes what changed in `sample`, or reads it; the state is that of the sample then.
    pub(super) fn code(&mut self, coder: &mut Coder<'_>, sample: &Sample) -> Option<()> {
        let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        let steady = micros(sample.moment.steady);
        coder.delta(&mut self.steady, steady)?;
        coder.delta(&mut self.ahead, micros(sample.moment.wall).wrapping_sub(steady))?;
        part(coder, &mut self.load, sample.load.as_ref(), load)?;
        part(coder, &mut self.stat, sample.stat.as_ref(), stat)?;
        part(coder, &mut self.cpu_pressure, sample.cpu_pressure.as_ref(), pressure)?;
        part(coder, &mut self.io_pressure, sample.io_pressure.as_ref(), pressure)?;
        part(coder, &mut self.memory_pressure, sample.memory_pressure.as_ref(), pressure)?;
        part(coder, &mut self.disks, sample.disks.as_ref(), disks)?;
        let (all, some) = match &sample.threads {
            Some(threads) if threads.is_all => (Some(threads), None),
            some => (None, some.as_ref()),
        };
        part(coder, &mut self.all, all, |coder, state, now| threads(coder, state, now, &[]))?;
        self.all.value.is_all = true;
        let known = std::mem::take(&mut self.all.value.list);
        let told = part(coder, &mut self.some, some, |coder, state, now| threads(coder, state, now, &known));
        self.all.value.list = known;
        told?;
        part(coder, &mut self.io, sample.io.as_ref(), io)?;
        part(coder, &mut self.interrupts, sample.interrupts.as_ref(), interrupts)?;
        part(coder, &mut self.softirqs, sample.softirqs.as_ref(), interrupts)?;
        part(coder, &mut self.softnet, sample.softnet.as_ref(), softnet)?;
        part(coder, &mut self.links, sample.links.as_ref(), links)?;
        part(coder, &mut self.cards, sample.cards.as_ref(), cards)?;
        part(coder, &mut self.tcp, sample.tcp.as_ref(), counters)?;
        part(coder, &mut self.sockets, sample.sockets.as_ref(), sockets)?;
        part(coder, &mut self.memory, sample.memory.as_ref(), memory)?;
        part(coder, &mut self.throttled, sample.throttled.as_ref(), throttled)?;
        stacks(coder, &mut self.stacks, &sample.stacks)?;
        files(coder, &mut self.files, &sample.files)?;
        writes(coder, &mut self.writes, &sample.writes)
    }

    /// When it was.
    pub(super) fn moment(&self) -> Moment {
        let wall = self.steady.wrapping_add(self.ahead);
        Moment { steady: Duration::from_micros(self.steady), wall: Duration::from_micros(wall) }
    }

    /// How much it tells: of two moments that are as good, the one that tells more is kept.
    pub(super) fn worth(&self) -> u32 {
        u32::from(self.all.is_there) * 4
            + u32::from(self.some.is_there) * 2
            + u32::from(self.io.is_there) * 2
            + u32::from(self.stat.is_there)
    }

    /// The details of moments, which are nowhere else.
    pub(super) fn details(&self) -> (&[Stack], &[OpenFile], &[ParameterWrite]) {
        (&self.stacks, &self.files, &self.writes)
    }

    /// The sample.
    pub(super) fn sample(&self) -> Sample {
        Sample {
            moment: self.moment(),
            load: self.load.get(),
            stat: self.stat.get(),
            cpu_pressure: self.cpu_pressure.get(),
            io_pressure: self.io_pressure.get(),
            memory_pressure: self.memory_pressure.get(),
            disks: self.disks.get(),
            threads: self.all.get().or_else(|| self.some.get()),
            io: self.io.get(),
            interrupts: self.interrupts.get(),
            softirqs: self.softirqs.get(),
            softnet: self.softnet.get(),
            links: self.links.get(),
            cards: self.cards.get(),
            tcp: self.tcp.get(),
            sockets: self.sockets.get(),
            memory: self.memory.get(),
            throttled: self.throttled.get(),
            stacks: self.stacks.clone(),
            files: self.files.clone(),
            writes: self.writes.clone(),
            said: Vec::new(),
            ended: None,
        }
    }
}

/// In the order of their numbers; what is known of a new one of a list of some stands in that of all.
fn threads(coder: &mut Coder<'_>, state: &mut Threads, now: &Threads, known: &[Thread]) -> Option<()> {
    let key = |thread: &Thread| (thread.pid, thread.id, thread.began);
    let (mut pid, mut began) = (0_u32, 0_u64);
    coder.list(
        &mut state.list,
        &now.list,
        |one, other| key(one) == key(other),
        |one, rest| rest.first().is_none_or(|next| key(one) < key(next)),
        |coder, state, now| {
            // Those that are made together are near each other.
            coder.small(&mut pid, now.pid)?;
            state.pid = pid;
            state.id = pid;
            coder.small(&mut state.id, now.id)?;
            coder.delta(&mut began, now.began)?;
            state.began = began;
            if let Ok(index) = known.binary_search_by_key(&key(state), key) {
                state.clone_from(known.get(index)?);
            }
            Some(())
        },
        thread,
    )?;
    coder.delta(&mut state.left_out, now.left_out)
}

fn thread(coder: &mut Coder<'_>, state: &mut Thread, now: &Thread) -> Option<()> {
    coder.small(&mut state.parent, now.parent)?;
    short(coder, &mut state.name, now.name)?;
    coder.small(&mut state.state, now.state)?;
    deltas(
        coder,
        [&mut state.flags, &mut state.ticks, &mut state.faults_of_children],
        [now.flags, now.ticks, now.faults_of_children],
    )?;
    // A function of the kernel has a name; who waits in none has an empty one.
    let mut wait = state.waits_in.take().map(|text| String::from(text).into_bytes()).unwrap_or_default();
    coder.name(&mut wait, now.waits_in.as_deref().unwrap_or_default().as_bytes())?;
    state.waits_in = (!wait.is_empty()).then(|| String::from_utf8_lossy(&wait).into_owned().into_boxed_str());
    coder.maybe(&mut state.slices, now.slices)
}

fn io(coder: &mut Coder<'_>, state: &mut Vec<ProcessIo>, now: &Vec<ProcessIo>) -> Option<()> {
    let key = |process: &ProcessIo| (process.pid, process.began);
    let (mut pid, mut began) = (0_u32, 0_u64);
    coder.list(
        state,
        now,
        |one, other| key(one) == key(other),
        |one, rest| rest.first().is_none_or(|next| key(one) < key(next)),
        |coder, state, now| {
            coder.small(&mut pid, now.pid)?;
            coder.delta(&mut began, now.began)?;
            (state.pid, state.began) = (pid, began);
            Some(())
        },
        |coder, state, now| {
            short(coder, &mut state.name, now.name)?;
            let (io, now) = (&mut state.io, &now.io);
            let state = [&mut io.read_bytes, &mut io.write_bytes, &mut io.cancelled, &mut io.reads, &mut io.writes];
            deltas(coder, state, [now.read_bytes, now.write_bytes, now.cancelled, now.reads, now.writes])
        },
    )
}

fn stacks(coder: &mut Coder<'_>, state: &mut Vec<Stack>, now: &[Stack]) -> Option<()> {
    numbers(coder, state, now, |coder, state, now| {
        coder.small(&mut state.id, now.id)?;
        coder.delta(&mut state.began, now.began)?;
        numbers(coder, &mut state.functions, &now.functions, |coder, state, now| {
            let mut text = String::from(std::mem::take(state));
            string(coder, &mut text, now)?;
            *state = text.into_boxed_str();
            Some(())
        })
    })
}

fn files(coder: &mut Coder<'_>, state: &mut Vec<OpenFile>, now: &[OpenFile]) -> Option<()> {
    use std::os::unix::ffi::{OsStrExt, OsStringExt};
    numbers(coder, state, now, |coder, state, now| {
        coder.small(&mut state.pid, now.pid)?;
        coder.delta(&mut state.began, now.began)?;
        coder.small(&mut state.descriptor, now.descriptor)?;
        let mut path = std::mem::take(&mut state.path).into_os_string().into_vec();
        coder.name(&mut path, now.path.as_os_str().as_bytes())?;
        state.path = PathBuf::from(std::ffi::OsString::from_vec(path));
        let wide = |device: Option<(u32, u32)>| device.map(|(major, minor)| u64::from(major) << 32 | u64::from(minor));
        let mut device = wide(state.device);
        coder.maybe(&mut device, wide(now.device))?;
        state.device = device.map(|device| ((device >> 32) as u32, device as u32));
        coder.maybe(&mut state.position, now.position)?;
        let mut flags = state.flags.map(u64::from);
        coder.maybe(&mut flags, now.flags.map(u64::from))?;
        state.flags = flags.map(u32::try_from).transpose().ok()?;
        Some(())
    })
}

fn writes(coder: &mut Coder<'_>, state: &mut Vec<ParameterWrite>, now: &[ParameterWrite]) -> Option<()> {
    numbers(coder, state, now, |coder, state, now| {
        string(coder, &mut state.parameter, &now.parameter)?;
        coder.small(&mut state.pid, now.pid)?;
        short(coder, &mut state.name, now.name)?;
        let mut is_known = state.value.is_some();
        coder.flag(&mut is_known, now.value.is_some())?;
        let mut value = state.value.take().unwrap_or_default();
        string(coder, &mut value, now.value.as_deref().unwrap_or_default())?;
        state.value = is_known.then_some(value);
        Some(())
    })
}
