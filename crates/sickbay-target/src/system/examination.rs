//! Which file systems are examined by their checker, and what becomes of them.
//!
//! A checker reads the whole of a file system, so one is only asked where something hints at damage: the superblock says
//! so or is lost, the kernel refuses to mount it, or the user asks. It works on a view of the disk; what it mended is
//! what the system is then read from.

use std::io;
use std::path::PathBuf;

use sickbay_formats::superblock::condition::Sign;

use super::{System, attach, entries, recipe};
use crate::checker::{self, Examined, Patient, Verdict};
use crate::volumes::Placed;
use crate::{Access, Disk, Options};

/// A volume that could not be mounted for a look.
pub(super) struct Failure {
    pub(super) volume: usize,
    /// Its name and type.
    pub(super) name: String,
    pub(super) why: String,
    /// It may be for damage.
    pub(super) is_suspect: bool,
}

impl System {
    /// Examines what hints at damage. `root` is the volume of the root file system, as far as it is known.
    pub(super) fn examine_suspects(
        &mut self,
        disks: &mut [Disk],
        placed: &mut [Placed],
        failures: &[Failure],
        root: Option<usize>,
        options: &Options,
    ) -> io::Result<Vec<Examined>> {
        let named = match root.and_then(|index| Some((index, placed.get(index)?))) {
            Some((index, place)) => {
                let fstype = place.volume.fstype.clone();
                let device = self.device(disks, index, place, Access::ReadOnly)?;
                self.look_through(&device, &fstype, None, entries).unwrap_or_default()
            }
            None => Vec::new(),
        };
        let mut all = Vec::new();
        for index in 0..placed.len() {
            let Some(place) = placed.get(index) else { continue };
            let refused = failures.iter().find(|failure| failure.volume == index && failure.is_suspect);
            let has_signs = place.volume.condition.as_ref().is_some_and(|condition| !condition.signs.is_empty());
            // Where nothing is known, something may have been long ago: it counts where somebody looks for it.
            let is_missed = place.lost.as_ref().is_some_and(|lost| {
                let mut meant =
                    Placed { volume: place.volume.clone(), extents: Vec::new(), read_only: None, lost: None };
                crate::volumes::identify(&mut meant.volume, Some(lost.superblock.clone()));
                root.is_none()
                    || named.iter().any(|entry| super::resolve(&entry.source(), std::slice::from_ref(&meant)).is_some())
            });
            let known = checker::program(&place.volume.fstype).is_some();
            if place.read_only.is_some()
                || !(known && (refused.is_some() || has_signs || options.thorough) || is_missed)
            {
                continue;
            }
            let refused = refused.map(|failure| failure.why.clone());
            if let Some(examined) = self.examine(disks, placed, index, is_missed, refused, options)? {
                all.push(examined);
            }
        }
        // Without anything mended there is nothing to be held back.
        if !all.iter().any(|examined| matches!(examined.verdict, Verdict::Mended { .. })) {
            self.devices.clear();
            for disk in disks.iter_mut().filter(|disk| disk.is_held()) {
                disk.let_go()?;
            }
        }
        Ok(all)
    }

    fn examine(
        &mut self,
        disks: &mut [Disk],
        placed: &mut [Placed],
        index: usize,
        is_missed: bool,
        refused: Option<String>,
        options: &Options,
    ) -> io::Result<Option<Examined>> {
        let Some(place) = placed.get_mut(index) else { return Ok(None) };
        let [(number, window)] = *place.extents.as_slice() else { return Ok(None) };
        let copy = place.lost.clone().filter(|_| is_missed);
        if let Some(copy) = &copy {
            crate::volumes::identify(&mut place.volume, Some(copy.superblock.clone()));
        }
        let fstype = place.volume.fstype.clone();
        let Some(program) = checker::program(&fstype) else { return Ok(None) };
        if let Some(tell) = options.progress {
            tell(&format!("{program} is checking the file system of {}", place.volume.name));
        }
        let Some(disk) = disks.get_mut(number) else { return Ok(None) };
        // Whatever was attached before was attached to the disk itself.
        self.devices.clear();
        disk.hold(&self.mounts)?;
        let device = attach(disk.blocks(), window, false)?;
        let patient = Patient {
            device: PathBuf::from(device.path()),
            fstype: &fstype,
            condition: place.volume.condition.as_ref(),
            copy: copy.as_ref(),
            is_refused: refused.is_some(),
            recipe: recipe(&fstype, None, Access::ReadWrite),
        };
        let (verdict, complaints, log) = checker::examine(&patient, &self.mounts);
        let mut signs = place.volume.condition.as_ref().map(|found| found.signs.clone()).unwrap_or_default();
        signs.extend(copy.as_ref().map(|copy| Sign::Lost { at: copy.at }));
        device.detach()?;
        if matches!(verdict, Verdict::Mended { .. }) {
            place.look_again(disks)?;
        } else {
            disk.forget(window);
            if is_missed {
                // Nobody shall take it for what it is not any more.
                place.volume.fstype.clear();
            }
        }
        Ok(Some(Examined { volume: index, program, verdict, signs, refused, complaints, log }))
    }
}
