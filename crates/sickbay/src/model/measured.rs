//! Values that were measured, with their units and limits: every form of report reads the same.

/// What a value counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Unit {
    /// Bytes.
    Bytes,
    /// Seconds.
    Seconds,
    /// Hundredths of a whole.
    Percent,
    /// Things: processes, sockets, packets, a load.
    Count,
    /// Things in a second.
    PerSecond,
    /// Bytes in a second.
    BytesPerSecond,
}

impl Unit {
    /// So much of it, as people read it.
    pub fn shown(self, value: f64) -> String {
        amount(value, self)
    }
}

/// A value that was measured, with its unit and the limit that it is judged by.
#[derive(Clone, Debug, PartialEq, serde::Serialize, schemars::JsonSchema)]
pub struct Measured {
    /// What was measured, as the kernel or the program that counts it names it: `MemAvailable`.
    pub name: String,
    /// The number, in `unit`.
    pub value: f64,
    /// What it counts.
    pub unit: Unit,
    /// Where there is a bound: how much it may be at most, or must be at least.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<f64>,
}

/// A stretch of time in which something was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct When {
    /// Its beginning.
    pub from: jiff::Timestamp,
    /// Its end.
    pub to: jiff::Timestamp,
}

impl Measured {
    /// The value as people read it: `1.9 GiB`, `12.5 %`, `3/s`.
    pub fn shown(&self) -> String {
        let bound = self.limit.map(|limit| format!(" / {}", amount(limit, self.unit))).unwrap_or_default();
        format!("{} {}{bound}", self.name, amount(self.value, self.unit))
    }
}

fn amount(value: f64, unit: Unit) -> String {
    let plain = |value: f64| if value.fract() == 0.0 { format!("{value:.0}") } else { format!("{value:.2}") };
    match unit {
        Unit::Bytes => binary(value),
        Unit::BytesPerSecond => format!("{}/s", binary(value)),
        Unit::Seconds => format!("{} s", plain(value)),
        Unit::Percent => format!("{} %", plain(value)),
        Unit::Count => plain(value),
        Unit::PerSecond => format!("{}/s", plain(value)),
    }
}

fn binary(bytes: f64) -> String {
    let mut value = bytes;
    for unit in ["B", "KiB", "MiB", "GiB", "TiB"] {
        if value.abs() < 1024.0 {
            return if unit == "B" { format!("{value:.0} B") } else { format!("{value:.1} {unit}") };
        }
        value /= 1024.0;
    }
    format!("{value:.1} PiB")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_people_read_it() {
        let shown = |value, unit, limit| Measured { name: "x".to_owned(), value, unit, limit }.shown();
        assert_eq!(shown(2_040_109_465.6, Unit::Bytes, Some(4_294_967_296.0)), "x 1.9 GiB / 4.0 GiB");
        assert_eq!(shown(104.53, Unit::Percent, None), "x 104.53 %");
        assert_eq!(shown(30.0, Unit::Count, Some(4.0)), "x 30 / 4");
        assert_eq!(shown(512.0, Unit::BytesPerSecond, None), "x 512 B/s");
    }
}
