//! The parts of a sample that are counters of the whole system.
#![allow(clippy::ptr_arg)] // each is given to what codes a part that may be missing, which knows no slices

use bstr::BString;
use sickbay_formats::procfs::diskstats::Disk;
use sickbay_formats::procfs::interrupts::{Interrupts, Row};
use sickbay_formats::procfs::loadavg::LoadAvg;
use sickbay_formats::procfs::mib::Counter;
use sickbay_formats::procfs::net_dev::{Carried, Link};
use sickbay_formats::procfs::pressure::{Pressure, Stall};
use sickbay_formats::procfs::softnet::Softnet;
use sickbay_formats::procfs::stat::{Stat, Times};

use super::super::{CardCounter, Memory, Name, Sockets, Throttled};
use super::words::Coder;

pub(super) fn deltas<const N: usize>(coder: &mut Coder<'_>, state: [&mut u64; N], now: [u64; N]) -> Option<()> {
    state.into_iter().zip(now).try_for_each(|(state, now)| coder.delta(state, now))
}

fn bytes(coder: &mut Coder<'_>, state: &mut BString, now: &BString) -> Option<()> {
    let mut name = std::mem::take(&mut **state);
    let coded = coder.name(&mut name, now);
    **state = name;
    coded
}

pub(super) fn string(coder: &mut Coder<'_>, state: &mut String, now: &str) -> Option<()> {
    let mut name = std::mem::take(state).into_bytes();
    coder.name(&mut name, now.as_bytes())?;
    *state = String::from_utf8(name).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned());
    Some(())
}

pub(super) fn short(coder: &mut Coder<'_>, state: &mut Name, now: Name) -> Option<()> {
    if coder.writes() && *state == now {
        return coder.number(&mut 0);
    }
    let mut name = state.bytes().to_vec();
    coder.name(&mut name, now.bytes())?;
    *state = Name::of(&name);
    Some(())
}

/// A list by the places of what is in it.
pub(super) fn numbers<T: Default>(
    coder: &mut Coder<'_>,
    state: &mut Vec<T>,
    now: &[T],
    mut each: impl FnMut(&mut Coder<'_>, &mut T, &T) -> Option<()>,
) -> Option<()> {
    let mut length = state.len() as u64;
    coder.delta(&mut length, now.len() as u64)?;
    let length = usize::try_from(length).ok().filter(|length| *length <= 1 << 16)?;
    let nothing = T::default();
    state.resize_with(length, T::default);
    state.iter_mut().enumerate().try_for_each(|(at, state)| each(coder, state, now.get(at).unwrap_or(&nothing)))
}

pub(super) fn load(coder: &mut Coder<'_>, state: &mut LoadAvg, now: &LoadAvg) -> Option<()> {
    let [one, five, fifteen] = &mut state.averages;
    deltas(coder, [one, five, fifteen], now.averages)?;
    let state = [&mut state.running, &mut state.total, &mut state.last_pid];
    deltas(coder, state, [now.running, now.total, now.last_pid])
}

fn times(coder: &mut Coder<'_>, state: &mut Times, now: &Times) -> Option<()> {
    let Times { user, nice, system, idle, iowait, irq, softirq, steal } = state;
    let now = [now.user, now.nice, now.system, now.idle, now.iowait, now.irq, now.softirq, now.steal];
    deltas(coder, [user, nice, system, idle, iowait, irq, softirq, steal], now)
}

pub(super) fn stat(coder: &mut Coder<'_>, state: &mut Stat, now: &Stat) -> Option<()> {
    times(coder, &mut state.total, &now.total)?;
    coder.keyed(
        &mut state.cpus,
        &now.cpus,
        |one, other| one.0 == other.0,
        |coder, state, now| coder.small(&mut state.0, now.0),
        |coder, state, now| times(coder, &mut state.1, &now.1),
    )?;
    coder.maybe(&mut state.switches, now.switches)?;
    coder.maybe(&mut state.started, now.started)?;
    coder.maybe(&mut state.made, now.made)?;
    coder.maybe(&mut state.running, now.running)?;
    coder.maybe(&mut state.blocked, now.blocked)
}

pub(super) fn pressure(coder: &mut Coder<'_>, state: &mut Pressure, now: &Pressure) -> Option<()> {
    stall(coder, &mut state.some, now.some)?;
    stall(coder, &mut state.full, now.full)
}

fn stall(coder: &mut Coder<'_>, state: &mut Option<Stall>, now: Option<Stall>) -> Option<()> {
    let mut is_there = state.is_some();
    coder.flag(&mut is_there, now.is_some())?;
    if !is_there {
        *state = None;
        return Some(());
    }
    let (mut stall, now) = (state.unwrap_or_default(), now.unwrap_or_default());
    let [ten, sixty, more] = &mut stall.averages;
    deltas(coder, [ten, sixty, more], now.averages)?;
    coder.delta(&mut stall.total, now.total)?;
    *state = Some(stall);
    Some(())
}

pub(super) fn disks(coder: &mut Coder<'_>, state: &mut Vec<Disk>, now: &Vec<Disk>) -> Option<()> {
    let is_same = |one: &Disk, other: &Disk| (one.device, &one.name) == (other.device, &other.name);
    coder.keyed(
        state,
        now,
        is_same,
        |coder, state, now| {
            coder.small(&mut state.device.0, now.device.0)?;
            coder.small(&mut state.device.1, now.device.1)?;
            bytes(coder, &mut state.name, &now.name)
        },
        |coder, state, now| {
            let state = [
                &mut state.reads,
                &mut state.sectors_read,
                &mut state.read_ms,
                &mut state.writes,
                &mut state.sectors_written,
                &mut state.write_ms,
                &mut state.in_flight,
                &mut state.busy_ms,
                &mut state.weighted_ms,
            ];
            let now = [
                now.reads,
                now.sectors_read,
                now.read_ms,
                now.writes,
                now.sectors_written,
                now.write_ms,
                now.in_flight,
                now.busy_ms,
                now.weighted_ms,
            ];
            deltas(coder, state, now)
        },
    )
}

pub(super) fn interrupts(coder: &mut Coder<'_>, state: &mut Interrupts, now: &Interrupts) -> Option<()> {
    numbers(coder, &mut state.cpus, &now.cpus, |coder, state, now| coder.small(state, *now))?;
    coder.keyed(
        &mut state.rows,
        &now.rows,
        |one, other| one.name == other.name,
        |coder, state: &mut Row, now| bytes(coder, &mut state.name, &now.name),
        |coder, state, now| {
            bytes(coder, &mut state.about, &now.about)?;
            numbers(coder, &mut state.counts, &now.counts, |coder, state, now| coder.delta(state, *now))
        },
    )
}

pub(super) fn softnet(coder: &mut Coder<'_>, state: &mut Vec<Softnet>, now: &Vec<Softnet>) -> Option<()> {
    numbers(coder, state, now, |coder, state, now| {
        let mut cpu = state.cpu.map(u64::from);
        coder.maybe(&mut cpu, now.cpu.map(u64::from))?;
        state.cpu = cpu.map(u32::try_from).transpose().ok()?;
        let Softnet { processed, dropped, squeezed, received_rps, flow_limit, .. } = state;
        let now = [now.processed, now.dropped, now.squeezed, now.received_rps, now.flow_limit];
        deltas(coder, [processed, dropped, squeezed, received_rps, flow_limit], now)
    })
}

pub(super) fn links(coder: &mut Coder<'_>, state: &mut Vec<Link>, now: &Vec<Link>) -> Option<()> {
    let carried = |coder: &mut Coder<'_>, state: &mut Carried, now: &Carried| {
        let Carried { bytes, packets, errors, dropped } = state;
        deltas(coder, [bytes, packets, errors, dropped], [now.bytes, now.packets, now.errors, now.dropped])
    };
    coder.keyed(
        state,
        now,
        |one, other| one.name == other.name,
        |coder, state: &mut Link, now| bytes(coder, &mut state.name, &now.name),
        |coder, state, now| {
            carried(coder, &mut state.received, &now.received)?;
            carried(coder, &mut state.sent, &now.sent)
        },
    )
}

pub(super) fn cards(coder: &mut Coder<'_>, state: &mut Vec<CardCounter>, now: &Vec<CardCounter>) -> Option<()> {
    let is_same = |one: &CardCounter, other: &CardCounter| one.name == other.name && one.link == other.link;
    let mut link = String::new();
    coder.keyed(
        state,
        now,
        is_same,
        |coder, state, now| {
            string(coder, &mut link, &now.link)?;
            state.link.clone_from(&link);
            string(coder, &mut state.name, &now.name)
        },
        |coder, state, now| coder.delta(&mut state.value, now.value),
    )
}

pub(super) fn counters(coder: &mut Coder<'_>, state: &mut Vec<Counter>, now: &Vec<Counter>) -> Option<()> {
    coder.keyed(
        state,
        now,
        |one, other| one.name == other.name,
        |coder, state: &mut Counter, now| bytes(coder, &mut state.name, &now.name),
        |coder, state, now| coder.delta(&mut state.value, now.value),
    )
}

pub(super) fn sockets(coder: &mut Coder<'_>, state: &mut Vec<Sockets>, now: &Vec<Sockets>) -> Option<()> {
    coder.keyed(
        state,
        now,
        |one, other| one.namespace == other.namespace,
        |coder, state: &mut Sockets, now| coder.delta(&mut state.namespace, now.namespace),
        |coder, state, now| {
            coder.small(&mut state.pid, now.pid)?;
            counters(coder, &mut state.tcp, &now.tcp)
        },
    )
}

pub(super) fn memory(coder: &mut Coder<'_>, state: &mut Memory, now: &Memory) -> Option<()> {
    coder.maybe(&mut state.available, now.available)?;
    let state = [
        &mut state.total,
        &mut state.free,
        &mut state.cached,
        &mut state.dirty,
        &mut state.writeback,
        &mut state.shmem,
        &mut state.slab,
        &mut state.swap_total,
        &mut state.swap_free,
    ];
    let now =
        [now.total, now.free, now.cached, now.dirty, now.writeback, now.shmem, now.slab, now.swap_total, now.swap_free];
    deltas(coder, state, now)
}

pub(super) fn throttled(coder: &mut Coder<'_>, state: &mut Vec<Throttled>, now: &Vec<Throttled>) -> Option<()> {
    coder.keyed(
        state,
        now,
        |one, other| one.group == other.group,
        |coder, state: &mut Throttled, now| string(coder, &mut state.group, &now.group),
        |coder, state, now| {
            let Throttled { quota, period, periods, throttled, throttled_us, .. } = state;
            let now = [now.quota, now.period, now.periods, now.throttled, now.throttled_us];
            deltas(coder, [quota, period, periods, throttled, throttled_us], now)
        },
    )
}
