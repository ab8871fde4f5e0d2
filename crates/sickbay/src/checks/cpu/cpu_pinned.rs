//! One CPU has nothing to spare while the others have: what runs there can have no more.

use crate::facts::Facts;
use crate::facts::cpu::usage::{Busy, Usage, User, split};
use crate::facts::episode::{STEP, Step, average, longest, steps};
use crate::facts::glimpse::{no_rates, tell_time, window_worth_while};
use crate::model::finding::{Findings, Severity};
use crate::model::measured::Unit;
use crate::model::outcome::Verdict;
use crate::model::subject::Subject;
use crate::sample::Window;
use crate::sample::rates::Shares;
use crate::{check, tr};

check! {
    /// ## Symptom
    /// You see: a service is slow and answers late, while `top` shows that most of the CPU time is idle; `mpstat -P ALL`
    /// shows one CPU at 0 % idle.
    ///
    /// ## What it finds
    /// A CPU that is busy all the time while the others are mostly idle, and what keeps it so: one thread that has run
    /// without a pause for longer than a moment, or interrupts and softirqs, which `%system` of some tools hides.
    /// Where the kernel's stack of that thread was recorded it tells what the thread does in the kernel.
    ///
    /// ## Why it matters
    /// A thread has one CPU at most. A program that does everything in one thread is at its end at 100 % of one CPU, whatever
    /// the mean of all of them is; and packets of a network card with one queue are all handled by one CPU.
    ///
    /// ## What the repair does
    /// Nothing by itself: what loops without an end is ended, what works is given more threads or processes by its own
    /// configuration, and interrupts are spread over the CPUs.
    ///
    /// ## By hand
    /// ```sh
    /// # each CPU, interrupts and softirqs shown apart
    /// mpstat -P ALL 2 1
    /// # the busiest threads, and where they are bound to
    /// top -H -b -n 1 | head -20; taskset -cp PID
    /// ```
    "cpu-pinned", Cpu, seed = ["D4", "C8"], proves = [], reads_recordings = true,
    "one CPU is busy all the time while the others are idle"
}

/// From so many percent on it has nothing to spare.
const BUSY: f64 = 95.0;
/// Of all CPUs together no more than this.
const MEAN: f64 = 70.0;
/// A thread that has run for less, in seconds, may be at its end soon.
const LASTS: f64 = 20.0;
/// From so many percent of a CPU on interrupts are what it does.
const INTERRUPTS: f64 = 40.0;

fn run(facts: &Facts, found: &mut Findings) -> Verdict {
    let Some(window) = window_worth_while(facts)? else { return Ok(()) };
    let steps = steps(&window, STEP, |sample| sample.stat.is_some());
    let Some(last) = steps.last().and_then(|step| step.interval.after.stat.as_ref()) else {
        return Err(no_rates("/proc/stat"));
    };
    if last.cpus.len() < 2 {
        return Ok(());
    }
    let cpus = last.cpus.iter().map(|(cpu, _)| *cpu);
    let pinned = cpus.filter_map(|cpu| Some((cpu, longest(&steps, |step| is_pinned(step, cpu))?)));
    let Some((cpu, episode)) = pinned.max_by_key(|(_, episode)| episode.length) else { return Ok(()) };
    let Some(part) = episode.whole(&steps) else { return Ok(()) };
    let Some(usage) = Usage::of(&window, &part) else { return Ok(()) };
    let Some(shares) = usage.each.each.iter().find(|(other, _)| *other == cpu).and_then(|(_, shares)| *shares) else {
        return Ok(());
    };
    let softirq = shares.irq.unwrap_or(0.0) + shares.softirq.unwrap_or(0.0);
    // Where the system itself is there, the checks of packets say whose these are, and whether it is too much.
    let tells_packets = window.last().is_some_and(|last| last.softnet.is_some());
    if softirq >= INTERRUPTS && tells_packets && facts.target().files().is_ok() {
        return Ok(());
    }
    let seconds = episode.length.as_secs_f64();
    let mean = average(episode.of(&steps), |step| Some(step.interval.cpus()?.all?.busy())).unwrap_or(0.0);
    let text = match spinning(&usage, seconds, part.interval.after.moment.steady.as_secs_f64()) {
        _ if softirq >= INTERRUPTS => tr!(
            "CPU {cpu} is saturated, {percent} % of it by interrupts and softirqs, while all CPUs together are {mean} % busy",
            cpu,
            percent = format!("{softirq:.0}"),
            mean = format!("{mean:.0}")
        ),
        Some((user, thread)) => tr!(
            "CPU {cpu} is saturated by one thread of {who}, while all CPUs together are {mean} % busy",
            cpu,
            who = who(user, thread),
            mean = format!("{mean:.0}")
        ),
        // Many that are bound to it, or one after the other: who, nobody saw; a short time says nothing.
        None if seconds >= LASTS => tr!(
            "CPU {cpu} is saturated, though by no single thread, while all CPUs together are {mean} % busy",
            cpu,
            mean = format!("{mean:.0}")
        ),
        None => return Ok(()),
    };
    let thread = spinning(&usage, seconds, part.interval.after.moment.steady.as_secs_f64())
        .filter(|_| softirq < INTERRUPTS)
        .map(|(_, thread)| thread);
    let severity = if softirq >= INTERRUPTS { Severity::Warning } else { Severity::Note };
    let finding = found.add(severity, text);
    finding.at_subject(Subject::Cpu(cpu)).subject(Subject::Cpu(cpu));
    if let Some(thread) = thread {
        let (pid, tid, name) = (thread.pid, thread.id, thread.name.clone());
        finding.about(Subject::Thread { pid, tid, name });
        let (id, name) = (thread.id, thread.name.as_str());
        let percent = format!("{:.0}", (thread.share * 100.0).min(100.0));
        finding.note(match thread.is_always_running {
            true => {
                tr!("thread {id} ({name}) used {percent} % of a CPU and was running at every look", id, name, percent)
            }
            false => tr!("thread {id} ({name}) used {percent} % of a CPU", id, name, percent),
        });
        if let Some(place) = place(&window, thread) {
            finding.note(tr!("in the kernel it was in {function}()", function = place));
        }
        finding.why(tr!("a thread can have no more than one CPU: whatever it does is at its end"));
    } else if softirq >= INTERRUPTS {
        finding
            .why(tr!("packets that arrive there wait or are dropped, and threads on that CPU stand still meanwhile"));
    }
    finding.note(kind(&shares));
    finding.note(split(&shares));
    if seconds > 10.0 {
        tell_time(facts, finding, &episode);
    }
    finding
        .measured("busy", shares.busy(), Unit::Percent, Some(100.0))
        .detail("cpu", cpu)
        .detail("usage", usage.details());
    finding.by_hand(if softirq >= INTERRUPTS {
        tr!("see which interrupts that CPU has and spread them: /proc/interrupts, /proc/softirqs")
    } else {
        tr!("see what the thread does (top -H, strace -c -p, perf top -t); if it does its work, let the program use more threads or processes")
    });
    Ok(())
}

fn is_pinned(step: &Step<'_>, cpu: u32) -> bool {
    let Some(cpus) = step.interval.cpus() else { return false };
    let own = cpus.each.iter().find(|(other, _)| *other == cpu).and_then(|(_, shares)| *shares);
    let mean = cpus.all.map_or(100.0, |all| all.busy());
    own.is_some_and(|own| own.busy() >= BUSY && own.steal < 20.0) && mean <= MEAN
}

/// The thread that had a CPU of its own, for longer than this moment.
fn spinning(usage: &Usage, seconds: f64, now: f64) -> Option<(&User, &Busy)> {
    let all = usage.users.iter().flat_map(|user| user.threads.iter().map(move |thread| (user, thread)));
    let (user, thread) = all.max_by(|(_, one), (_, other)| one.share.total_cmp(&other.share))?;
    // By all that it had since it began: it has been so for long, or this is a long look.
    let age = now - thread.began as f64 / 100.0;
    let before = thread.ticks as f64 / 100.0;
    let lasts = seconds >= LASTS || (before >= LASTS && (age <= 0.0 || before >= age.min(600.0) * 0.3));
    (thread.share >= 0.9 && lasts).then_some((user, thread))
}

fn who(user: &User, thread: &Busy) -> crate::model::text::Text {
    match user.is_kernels {
        true => user.who(),
        false => tr!("{name} (PID {pid})", name = user.name.as_str(), pid = thread.pid),
    }
}

/// Whether it is a program that computes, or the kernel.
fn kind(shares: &Shares) -> crate::model::text::Text {
    let user = shares.user + shares.nice.unwrap_or(0.0);
    let percent = |part: f64| format!("{:.0}", part * 100.0 / shares.busy().max(1.0));
    match shares.system > user {
        true => tr!("{percent} % of that is time in the kernel", percent = percent(shares.system)),
        false => tr!("{percent} % of that is time in programs", percent = percent(user)),
    }
}

/// The function of the kernel that it was in most, where stacks were taken.
fn place(window: &Window, thread: &Busy) -> Option<String> {
    let stacks = window.samples.iter().flat_map(|sample| &sample.stacks);
    let own = stacks.filter(|stack| stack.id == thread.id && stack.began == thread.began);
    let mut counts: Vec<(&str, usize)> = Vec::new();
    for function in own.filter_map(|stack| stack.functions.first()) {
        match counts.iter_mut().find(|(name, _)| *name == &**function) {
            Some((_, count)) => *count += 1,
            None => counts.push((function, 1)),
        }
    }
    counts.into_iter().max_by_key(|(_, count)| *count).map(|(name, _)| name.to_owned())
}
