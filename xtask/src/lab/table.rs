//! The table that the lab prints, and the page that it writes.

use std::fmt::Write as _;
use std::path::Path;

use super::disk::DISKS;
use super::trial::Row;

/// The table, in Markdown.
pub(super) fn table(rows: &[Row]) -> String {
    rows.iter().fold(HEAD.to_owned(), |out, row| out + &line(row))
}

const HEAD: &str = "| fault | disk | what it is | console before | findings | repair | after | undo | s |\n|---|---|---|---|---|---|---|---|---|\n";

fn line(row: &Row) -> String {
    let cells = [&row.name, row.disk, &row.what, &row.before, &row.findings, &row.repair, &row.after];
    let cells: Vec<String> = cells.iter().map(|cell| cell.replace('|', "\\|").replace('\n', " ")).collect();
    format!("| {} | {} | {} |\n", cells.join(" | "), row.undone, row.seconds)
}

/// Writes the page. Rows that were not tried this time, or that failed, stay as they were; `names` are all that there are,
/// in order.
pub(super) fn write(path: &Path, rows: &[Row], names: &[String]) -> Result<(), String> {
    let old = std::fs::read_to_string(path).unwrap_or_default();
    let mut table = HEAD.to_owned();
    for name in names {
        match rows.iter().find(|row| row.name == *name && row.failure.is_none()) {
            Some(row) => table.push_str(&line(row)),
            None => old.lines().filter(|line| line.starts_with(&format!("| {name} |"))).for_each(|line| {
                let _ = writeln!(table, "{line}");
            }),
        }
    }
    let disks = DISKS.iter().fold("The disks, which `lab/base.sh` builds:\n\n".to_owned(), |out, disk| {
        format!("{out}- `{}`: {}\n", disk.name, disk.what)
    });
    let text = format!(
        "# The lab\n\nWritten by `cargo xtask lab --write`, which injects every fault into a copy of a real machine's disk, boots it in QEMU without KVM, runs `sickbay check` and \
         `sickbay fix --yes` on the image, boots it again, logs in with a wrong and with the right password, runs `sickbay undo` \
         and compares everything. The seconds are for the whole row on two cores, two machines at a time. What `cargo xtask lab --list` names and the table lacks has not yet been seen to pass as a whole.\n\n{disks}\n{table}"
    );
    std::fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()))
}
