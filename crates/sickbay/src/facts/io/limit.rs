//! Limits of disks, and the sizes at which clouds sell them.

/// The limit that something stops at.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Limit {
    /// Reads and writes a second.
    Iops(f64),
    /// Millions of bytes a second.
    Megabytes(f64),
}

/// Sizes at which clouds sell disks.
const IOPS: [f64; 18] = [
    100.0, 120.0, 240.0, 500.0, 600.0, 1000.0, 1100.0, 2300.0, 3000.0, 5000.0, 7500.0, 10_000.0, 16_000.0, 20_000.0,
    25_000.0, 50_000.0, 64_000.0, 100_000.0,
];
/// The same in millions of bytes a second.
const MEGABYTES: [f64; 12] = [25.0, 50.0, 60.0, 90.0, 100.0, 125.0, 150.0, 200.0, 250.0, 350.0, 500.0, 750.0];

impl Limit {
    /// The round number that it is close to, if clouds sell that.
    pub fn sold(self) -> Option<f64> {
        let (value, list): (f64, &[f64]) = match self {
            Limit::Iops(value) => (value, &IOPS),
            Limit::Megabytes(value) => (value, &MEGABYTES),
        };
        // Some count MiB.
        let is_near = |known: f64| (value / known - 1.0).abs() <= 0.03;
        list.iter()
            .copied()
            .find(|known| is_near(*known) || (matches!(self, Limit::Megabytes(_)) && is_near(known * 1.048_576)))
    }
}
