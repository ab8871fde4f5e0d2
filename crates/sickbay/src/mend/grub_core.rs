//! Writes GRUB's core image to the disk that boots it.

use sickbay_formats::boot_sector::{BootCode, SECTOR};
use sickbay_formats::grub_core::Core;

use crate::facts::Facts;
use crate::facts::boot::boot_loader::{BootDisk, read};
use crate::model::repair::Change;
use crate::model::source::SourceFile;
use crate::model::text::Text;
use crate::tr;

/// How to put core.img where the boot code of the disk looks for it: the title of the repair and the change. `None` where there
/// is no room for it that belongs to no file system.
pub fn write(facts: &Facts, disk: &BootDisk, file: &SourceFile) -> Option<(Text, Change)> {
    let BootCode::Grub2 { kernel_sector: first, drive: None } = disk.code else { return None };
    if disk.is_in_partition(first) {
        return None;
    }
    let wanted = Core::of_file(&file.bytes)?;
    let area = disk.area.filter(|area| area.holds(first, wanted.sectors()))?;
    let room = area.sectors.saturating_sub(usize::try_from(first.checked_sub(area.first)?).ok()?);
    let sectors = wanted.sectors_in(room)?;
    let after = wanted.embedded(first, sectors)?;
    let before = read(facts.target().disks.get(disk.index)?, first, sectors).ok()?;
    if before == after || before.len() != after.len() {
        return None;
    }
    let title = tr!(
        "write {file} to sector {first} of {disk}, with its block list and its error-correction codes",
        file = file.path.as_path(),
        first,
        disk = disk.name
    );
    let offset = first.checked_mul(SECTOR as u64)?;
    Some((title, Change::WriteDisk { disk: disk.index, offset, before, after }))
}
