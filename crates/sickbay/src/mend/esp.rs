//! Files onto EFI system partitions, mounted or not.
//!
//! If one belongs at [`PLACE`] and is not mounted, changes of its files are changes of files until they are made ([`onto_disk`]).

use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use sickbay_target::{Disk, Root, Target, Volume};

use crate::facts::Facts;
use crate::facts::boot::esp::{Esp, LARGEST, PLACE, disk, unmounted};
use crate::facts::boot::fat::{View, fat, options};
use crate::model::repair::Change;
use crate::model::text::Text;
use crate::tr;

/// The changes that put files there, with the directories that they need.
///
/// # Errors
/// When the file system is damaged or full.
pub fn write(esp: &Esp, facts: &Facts, files: &[(String, Vec<u8>)]) -> io::Result<Vec<Change>> {
    if let Some(place) = &esp.volume.mounted_on {
        return Ok(changes_of_files(facts.root(), place, files));
    }
    let Some(place) = &esp.place else { return sectors(disk(facts.target(), &esp.volume)?, &esp.volume, files) };
    let change = |(path, content): &(String, Vec<u8>)| match esp.read(facts, path) {
        Ok(before) => Change::Edit { path: place.join(path), before, after: content.clone() },
        Err(_) => Change::create(place.join(path), content.clone(), 0o700),
    };
    Ok(files.iter().map(change).collect())
}

/// The sectors that are others once the files are on the file system.
fn sectors(disk: &Disk, volume: &Volume, files: &[(String, Vec<u8>)]) -> io::Result<Vec<Change>> {
    let mut view = View::new(disk, volume);
    {
        let fat = fatfs::FileSystem::new(&mut view, options())?;
        for (path, content) in files {
            let mut dir = fat.root_dir();
            let mut parts: Vec<&str> = path.split('/').collect();
            let name = parts.pop().unwrap_or_default();
            for part in parts {
                dir = dir.create_dir(part)?;
            }
            let mut file = dir.create_file(name)?;
            file.truncate()?;
            file.write_all(content)?;
            file.flush()?;
        }
        fat.unmount()?;
    }
    view.into_changes()
}

/// The same changes, those of files on the EFI system partition that belongs at [`PLACE`] and is not mounted as sectors.
///
/// # Errors
/// When such a file is another by now, or the file system is damaged or full.
pub fn onto_disk(target: &Target, changes: &[Change]) -> Result<Vec<Change>, Text> {
    let cannot = |error: io::Error| Text::verbatim(error.to_string());
    let mut all = Vec::new();
    let mut files = Vec::new();
    let esp = unmounted(target);
    for change in changes {
        let below = change.path().and_then(|path| path.strip_prefix(PLACE).ok()?.to_str());
        let (Some(volume), Some(below)) = (esp, below.filter(|below| !below.is_empty())) else {
            all.push(change.clone());
            continue;
        };
        let mut is = Vec::new();
        let read =
            |bytes: &mut Vec<u8>| fat(disk(target, volume)?, volume)?.root_dir().open_file(below)?.read_to_end(bytes);
        match (change, read(&mut is)) {
            (Change::Edit { before, after, .. }, Ok(_)) if is == *before => {
                files.push((below.to_owned(), after.clone()));
            }
            (Change::Create { content, .. }, Err(error)) if error.kind() == io::ErrorKind::NotFound => {
                files.push((below.to_owned(), content.clone()));
            }
            // They come with their files.
            (Change::MakeDir { .. }, _) => {}
            (_, Err(error)) => return Err(cannot(error)),
            _ => return Err(tr!("{path} has changed since it was checked", path = Path::new(PLACE).join(below))),
        }
    }
    if let Some(volume) = esp.filter(|_| !files.is_empty()) {
        all.extend(disk(target, volume).and_then(|disk| sectors(disk, volume, &files)).map_err(cannot)?);
    }
    Ok(all)
}

fn changes_of_files(root: &Root, place: &Path, files: &[(String, Vec<u8>)]) -> Vec<Change> {
    let mut changes = Vec::new();
    let mut made: Vec<PathBuf> = Vec::new();
    for (path, content) in files {
        let path = place.join(path);
        let missing: Vec<&Path> =
            path.ancestors().skip(1).take_while(|dir| *dir != place && root.metadata(dir).is_err()).collect();
        for dir in missing.into_iter().rev() {
            if !made.iter().any(|known| known == dir) {
                made.push(dir.to_owned());
                changes.push(Change::make_dir(dir, 0o700));
            }
        }
        changes.push(match root.read_up_to(&path, LARGEST) {
            Ok(before) => Change::Edit { path, before, after: content.clone() },
            Err(_) => Change::create(path, content.clone(), 0o700),
        });
    }
    changes
}
