//! What a host carries.

use std::fmt::Write as _;

use schemars::JsonSchema;
use serde::Serialize;

use crate::model::text::{Lang, Text};
use crate::report::text::Style;
use crate::tr;
use crate::tune::capacity::{Capacity, Counts, Limit, Whose};

/// What a host carries: `sickbay/capacity/v1`. Fields are only ever added.
#[derive(Debug, Serialize, JsonSchema)]
pub struct CapacityV1 {
    /// Always `sickbay/capacity/v1`.
    pub schema: &'static str,
    /// The limits: the host's own first, by what they count, the tightest at the front.
    pub limits: Vec<LimitV1>,
    /// Hosts that the peak needs by what is known; null without a peak.
    pub hosts: Option<u64>,
    /// The index of the limit that binds; null when none does, or no peak was given.
    pub binds: Option<usize>,
    /// Whose limit binds; null as above.
    pub whose: Option<Whose>,
    /// The answer in one sentence.
    pub says: String,
    /// What follows from the numbers of the peak.
    pub derived: Vec<String>,
    /// What nobody can tell from settings.
    pub untold: Vec<String>,
}

/// A limit.
#[derive(Debug, Serialize, JsonSchema)]
pub struct LimitV1 {
    /// What limits.
    pub what: String,
    /// Whose it is.
    pub whose: Whose,
    /// What it counts.
    pub counts: Counts,
    /// How many of what it `counts` a machine carries before it reaches this limit.
    pub carries: u64,
    /// The arithmetic.
    pub how: String,
    /// Hosts that the peak needs by this limit alone.
    pub hosts: Option<u64>,
    /// How much of it the peak takes, in percent.
    pub used: Option<u64>,
}

/// The capacity for programs.
pub fn capacity_json(capacity: &Capacity, lang: Lang) -> CapacityV1 {
    let one = |limit: &Limit| LimitV1 {
        what: limit.what.render(lang),
        whose: limit.whose,
        counts: limit.counts,
        carries: limit.carries,
        how: limit.how.render(lang),
        hosts: limit.hosts,
        used: limit.used,
    };
    let say = |texts: &[Text]| texts.iter().map(|text| text.render(lang)).collect();
    CapacityV1 {
        schema: "sickbay/capacity/v1",
        limits: capacity.limits.iter().map(one).collect(),
        hosts: capacity.hosts,
        binds: capacity.binds,
        whose: capacity.binds.and_then(|index| capacity.limits.get(index)).map(|limit| limit.whose),
        says: capacity.says.render(lang),
        derived: say(&capacity.derived),
        untold: say(&capacity.untold),
    }
}

/// The capacity for people.
pub fn capacity(capacity: &Capacity, style: &Style) -> String {
    let mut out = String::new();
    style.titled(&mut out, &tr!("answer"), &style.say(&capacity.says));
    for text in &capacity.derived {
        style.titled(&mut out, &tr!("peak"), &style.say(text));
    }
    out.push('\n');
    let mut before = None;
    for (index, limit) in capacity.limits.iter().enumerate() {
        let group = (limit.whose == Whose::Host).then_some(limit.counts);
        if before != Some(group) {
            before = Some(group);
            let heading = match (limit.whose, limit.counts) {
                (Whose::Outside, _) => tr!("outside of this host:"),
                (Whose::Host, Counts::Connections) => tr!("connections of clients at a time:"),
                (Whose::Host, Counts::Requests) => tr!("requests a second:"),
                (Whose::Host, Counts::Bits) => tr!("bits a second:"),
                (Whose::Host, Counts::Hosts) => tr!("hosts:"),
            };
            let _ = writeln!(out, "{}", style.say(&heading));
        }
        let mut line = format!("  {:>14}  {}", limit.carries, style.say(&limit.what));
        if let Some(used) = limit.used {
            line.push_str(&style.say(&tr!(", {used} % taken", used)));
        }
        if let Some(hosts) = limit.hosts {
            line.push_str(&style.say(&tr!(", {hosts} {hosts?host|hosts} by this alone", hosts)));
        }
        if capacity.binds == Some(index) {
            line.push_str(&style.say(&tr!(" ← binds")));
        }
        let _ = writeln!(out, "{}", style.wrapped(&line, 0, 18));
        let _ = writeln!(out, "                  {}", style.wrapped(&style.say(&limit.how), 18, 18));
    }
    for text in &capacity.untold {
        let _ =
            writeln!(out, "{}", style.wrapped(&format!("{}: {}", style.say(&tr!("not known")), style.say(text)), 0, 4));
    }
    out
}
