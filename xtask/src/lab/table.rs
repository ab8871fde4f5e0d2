//! The table that the lab prints, and the page that it writes.

use std::fmt::Write as _;
use std::path::Path;

use super::trial::Row;

/// The table, in Markdown.
pub fn table(rows: &[Row]) -> String {
    let mut out = "| fault | what it is | console before | findings | repair | after | undo | s |\n".to_owned();
    out.push_str("|---|---|---|---|---|---|---|---|\n");
    for row in rows {
        let cells = [&row.name, &row.what, &row.before, &row.findings, &row.repair, &row.after];
        let cells: Vec<String> = cells.iter().map(|cell| cell.replace('|', "\\|").replace('\n', " ")).collect();
        let _ = writeln!(out, "| {} | {} | {} |", cells.join(" | "), row.undone, row.seconds);
    }
    out
}

/// Writes the page.
pub fn write(path: &Path, rows: &[Row]) -> Result<(), String> {
    let text = format!(
        "# The lab\n\nWritten by `cargo xtask lab --write`, which makes every fault on a copy of the disk of a real machine (Debian \
         12, GRUB in its MBR, ext4, two kernels, sshd, serial console), boots it in QEMU without KVM, runs `sickbay check` and \
         `sickbay fix --yes` on the image, boots it again, logs in with a wrong and with the right password, runs `sickbay undo` \
         and compares everything. The seconds are those of the whole row on two cores, two machines at a time.\n\n{}",
        table(rows)
    );
    std::fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()))
}
