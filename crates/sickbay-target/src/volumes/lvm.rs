//! Logical volumes, put together from the metadata on the target's own disks. This machine's LVM is not asked: it may
//! know a volume group of the same name, the target's twin, and activating the wrong one would damage both.

use std::collections::HashMap;
use std::io;

use sickbay_formats::lvm::{Layout, Lv, Pv, Vg};
use sickbay_formats::superblock::condition::{condition, copy_of_lost};
use sickbay_formats::superblock::{self, HEAD};

use super::{Described, Placed, blank, identify, read, reader};
use crate::Disk;
use crate::sys::Window;

/// As many pieces as one logical volume may lie in.
const PIECES: usize = 4096;

/// Adds the logical volumes of every volume group whose physical volumes are among the volumes.
pub(super) fn describe(disks: &[Disk], found: &mut Described) -> io::Result<()> {
    let mut places = HashMap::new();
    let mut groups: Vec<Vg> = Vec::new();
    for placed in &found.placed {
        let ([(index, window)], "LVM2_member") = (placed.extents.as_slice(), placed.volume.fstype.as_str()) else {
            continue;
        };
        let Some(disk) = disks.get(*index) else { continue };
        let Some(pv) = Pv::read(&read(disk, *window, 0, HEAD)?) else { continue };
        places.insert(pv.uuid, (*index, *window));
        let Some(vg) = pv.vg else { continue };
        // Every physical volume has a copy; one that was away for a while has an old one.
        match groups.iter_mut().find(|known| known.uuid == vg.uuid) {
            Some(known) if known.seqno < vg.seqno => *known = vg,
            Some(_) => {}
            None => groups.push(vg),
        }
    }
    for vg in &groups {
        let missing = vg.pvs.iter().filter(|pv| !places.contains_key(&pv.uuid)).count();
        if missing > 0 {
            let all = vg.pvs.len();
            found.notes.push(format!(
                "volume group {} lacks {missing} of its {all} physical volumes: give the disk that holds it with `--with`",
                vg.name
            ));
        }
        for lv in vg.lvs.iter().filter(|lv| lv.visible) {
            let name = format!("LV {}/{}", vg.name, lv.name);
            let extents = match locate(lv, vg, &places) {
                Ok(extents) => extents,
                Err(why) => {
                    found.opaque.push(format!("{name} {why}"));
                    found.notes.push(format!("{name} was not read: it {why}"));
                    Vec::new()
                }
            };
            found.placed.push(place(disks, name, vg, lv, extents)?);
        }
    }
    Ok(())
}

fn place(disks: &[Disk], name: String, vg: &Vg, lv: &Lv, extents: Vec<(usize, Window)>) -> io::Result<Placed> {
    let (index, first) = extents.first().copied().unwrap_or((0, Window { start: 0, size: 0 }));
    let mut volume = blank(name, index, first);
    volume.size = lv.size();
    volume.lv = Some((vg.name.clone(), lv.name.clone()));
    let mut lost = None;
    if let Some(disk) = disks.get(index).filter(|_| !extents.is_empty()) {
        identify(&mut volume, superblock::probe(&read(disk, first, 0, HEAD)?, lv.size()));
        let in_one_piece = extents.len() == 1;
        volume.condition = condition(&volume.fstype, &reader(disk, first)).filter(|_| in_one_piece);
        if volume.fstype.is_empty() && in_one_piece {
            lost = copy_of_lost(&reader(disk, first), first.size);
        }
    }
    Ok(Placed { volume, extents, read_only: None, lost })
}

/// Where the bytes of a logical volume are, or why that cannot be told.
fn locate(lv: &Lv, vg: &Vg, places: &HashMap<String, (usize, Window)>) -> Result<Vec<(usize, Window)>, String> {
    let mut extents: Vec<(usize, Window)> = Vec::new();
    let mut offset = 0;
    while offset < lv.size() {
        let Some((pv, at, length)) = lv.locate(offset) else {
            let kind = lv.segments.iter().find_map(|segment| match &segment.layout {
                Layout::Other(kind) => Some(kind.as_str()),
                Layout::Striped { .. } => None,
            });
            return Err(format!("is of a kind that sickbay does not assemble ({})", kind.unwrap_or("incomplete")));
        };
        let place = vg.pvs.get(pv).and_then(|pv| places.get(&pv.uuid));
        let (disk, on_disk) = place.ok_or("is on a physical volume that is missing")?;
        let is_there = at.checked_add(length).is_some_and(|end| end <= on_disk.size);
        if length == 0 || !is_there {
            return Err("is beyond the end of its physical volume".into());
        }
        let start = on_disk.start + at;
        match extents.last_mut() {
            Some((last, window)) if last == disk && window.start + window.size == start => window.size += length,
            _ => extents.push((*disk, Window { start, size: length })),
        }
        if extents.len() > PIECES {
            return Err("is in too many pieces".into());
        }
        offset += length;
    }
    if extents.is_empty() { Err("is empty".into()) } else { Ok(extents) }
}
