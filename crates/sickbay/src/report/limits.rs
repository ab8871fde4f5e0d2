//! The chain of layers of every limit, for people and for programs.

use std::fmt::Write as _;
use std::path::PathBuf;

use sickbay_formats::procfs::limits::Limit;
use sickbay_formats::rlimits::{Measure, Pair, Resource};

use crate::facts::limits::chain::{Beside, Chain, Layer, Row, Sides};
use crate::facts::memory::size;
use crate::model::text::Text;
use crate::report::text::{Style, printable};
use crate::tr;

/// The chains as text. Without `--verbose` only those that programs run into, and those that a file sets.
pub fn render(chain: &Chain, style: &Style) -> String {
    let say = |text: &Text| printable(&text.render(style.lang));
    let mut out = format!("{}\n\n", say(&chain.who));
    for row in chain.rows.iter().filter(|row| style.verbose || is_worth_a_look(row)) {
        let now = row.now.map_or("–".to_owned(), |now| pair(&row.resource, (now.soft, now.hard), style));
        let mut head = format!("{:<10} {now}", row.resource.name);
        if let Some(wanted) = row.wanted {
            let wanted = pair(&row.resource, wanted, style);
            let _ = write!(head, "   {}", say(&tr!("wanted: {wanted}", wanted)));
        }
        match row.after {
            Some(after) => {
                let after = pair(&row.resource, after, style);
                let _ = write!(head, "   {}", say(&tr!("after a restart: {after}", after)));
            }
            None => {
                let _ = write!(head, "   {}", say(&tr!("after a restart: not known")));
            }
        }
        let _ = writeln!(out, "{head}");
        for (index, layer) in row.layers.iter().enumerate() {
            let mark = if layer.counts { "▶" } else { " " };
            let name = say(&layer.name);
            let value = shown(&row.resource, layer, style);
            let mut line = format!(" {mark} {:>2}  {name:<20} {value:<22} {}", index + 1, place(layer.place.as_ref()));
            if let Some(remark) = &layer.remark {
                let _ = write!(line, "  {}", say(remark));
            }
            let _ = writeln!(out, "{}", line.trim_end());
        }
        for remark in remarks(row) {
            let _ = writeln!(out, "   = {}", say(&remark));
        }
    }
    if !chain.beside.is_empty() {
        let _ = writeln!(out, "\n{}", say(&tr!("beside them")));
    }
    for one in &chain.beside {
        let now = one.now.map_or("–".to_owned(), |now| now.to_string());
        let used = one.used.map(|used| say(&tr!("used {used}", used))).unwrap_or_default();
        let word = one.word.as_deref().map(|word| format!("= {} ", printable(word))).unwrap_or_default();
        let line = format!("   {:<30} {now:<12} {used:<14} {word}{}", printable(&one.name), place(one.place.as_ref()));
        let _ = writeln!(out, "{}", line.trim_end());
    }
    if !chain.remarks.is_empty() {
        out.push('\n');
    }
    for remark in &chain.remarks {
        let _ = writeln!(out, "- {}", say(remark));
    }
    out
}

/// The same as JSON: limits in the kernel's unit, `null` for infinity, a key that is left out for what is not known.
pub fn json(chain: &Chain, style: &Style) -> serde_json::Value {
    let say = |text: &Text| text.render(style.lang);
    let rows: Vec<_> = chain
        .rows
        .iter()
        .map(|row| {
            let layers: Vec<_> = row.layers.iter().map(|layer| of_layer(layer, style)).collect();
            let mut one = serde_json::json!({
                "name": row.resource.name, "unit": measure(row.resource.measure), "layers": layers, "differs": row.differs,
                "remarks": remarks(row).iter().map(say).collect::<Vec<_>>(),
            });
            let both = |(soft, hard): Pair| serde_json::json!({"soft": soft, "hard": hard});
            let now = row.now.map(|Limit { soft, hard }| (soft, hard));
            for (key, value) in [("now", now), ("wanted", row.wanted), ("after_restart", row.after)] {
                if let Some(value) = value {
                    one[key] = both(value);
                }
            }
            if let Some(used) = row.used {
                one["used"] = used.into();
            }
            one
        })
        .collect();
    let beside: Vec<_> = chain
        .beside
        .iter()
        .map(|Beside { name, now, used, place, word }| {
            let (path, line) = parts(place.as_ref());
            serde_json::json!({"name": name, "now": now, "used": used, "set_to": word, "path": path, "line": line})
        })
        .collect();
    serde_json::json!({
        "schema": "sickbay/limits/v1", "who": say(&chain.who), "limits": rows, "beside": beside,
        "remarks": chain.remarks.iter().map(say).collect::<Vec<_>>(),
    })
}

fn of_layer(layer: &Layer, style: &Style) -> serde_json::Value {
    let (path, line) = parts(layer.place.as_ref());
    let mut one =
        serde_json::json!({"name": layer.name.render(style.lang), "path": path, "line": line, "counts": layer.counts});
    if let Some(soft) = layer.sides.0 {
        one["soft"] = soft.into();
    }
    if let Some(hard) = layer.sides.1 {
        one["hard"] = hard.into();
    }
    if let Some(word) = &layer.word {
        one["word"] = word.as_str().into();
    }
    if let Some(remark) = &layer.remark {
        one["remark"] = remark.render(style.lang).into();
    }
    one
}

fn parts(place: Option<&(PathBuf, usize)>) -> (Option<String>, Option<usize>) {
    let path = place.map(|(path, _)| path.display().to_string());
    (path, place.map(|(_, line)| *line).filter(|line| *line > 0))
}

fn place(place: Option<&(PathBuf, usize)>) -> String {
    match place {
        Some((path, 0)) => printable(&path.display().to_string()),
        Some((path, line)) => printable(&format!("{}:{line}", path.display())),
        None => String::new(),
    }
}

/// What a file sets, what programs run into, what does not fit.
fn is_worth_a_look(row: &Row) -> bool {
    row.resource.main || row.differs || row.layers.iter().any(|layer| layer.place.is_some())
}

fn remarks(row: &Row) -> Vec<Text> {
    let mut all = row.remarks.clone();
    if let Some(used) = row.used {
        all.push(match row.now.and_then(|now| now.soft).filter(|soft| *soft > 0) {
            Some(soft) => {
                let percent = used.saturating_mul(100) / soft;
                tr!("used {used} ({percent} % of the soft limit)", used, percent)
            }
            None => tr!("used {used}", used),
        });
    }
    if row.is_too_large() {
        all.push(tr!(
            "so many files that programs which close all of them one by one, or use select(2), take long or fail"
        ));
    }
    all
}

fn shown(resource: &Resource, layer: &Layer, style: &Style) -> String {
    if let Some(word) = &layer.word {
        return printable(word);
    }
    let one = |bound| value(resource, bound, style);
    let (soft, hard): Sides = layer.sides;
    match (soft, hard) {
        (None, None) => "–".to_owned(),
        (Some(soft), Some(hard)) => pair(resource, (soft, hard), style),
        (Some(soft), None) => format!("{} / –", one(soft)),
        (None, Some(hard)) => format!("– / {}", one(hard)),
    }
}

fn pair(resource: &Resource, (soft, hard): Pair, style: &Style) -> String {
    if soft.is_none() && hard.is_none() {
        return value(resource, None, style);
    }
    format!("{} / {}", value(resource, soft, style), value(resource, hard, style))
}

fn value(resource: &Resource, bound: Option<u64>, style: &Style) -> String {
    match (bound, resource.measure) {
        (None, _) => printable(&tr!("unlimited").render(style.lang)),
        (Some(bytes), Measure::Bytes) if bytes >= 1024 && bytes % 1024 == 0 => size(bytes / 1024),
        (Some(number), _) => number.to_string(),
    }
}

fn measure(measure: Measure) -> &'static str {
    match measure {
        Measure::Count => "count",
        Measure::Bytes => "bytes",
        Measure::Seconds => "seconds",
        Measure::Microseconds => "microseconds",
        Measure::Nice => "20 - nice",
    }
}
