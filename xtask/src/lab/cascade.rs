//! Three faults at once, chosen at random.

use std::collections::BTreeSet;
use std::path::Path;

use super::disk::{BASE, Copy};
use super::faults::{FAULTS, Fault, Way};
use super::trial::{Lab, Row, expect_same, fix};
use super::whole::{Random, row};

/// How many faults a disk gets.
const FAULTS_OF_A_DISK: usize = 3;

impl Lab {
    /// Three faults that are chosen at random, repaired by one `fix`. Whatever each of them alone breaks is seen in its own
    /// row; here the machine is booted only when all is repaired.
    pub(super) fn cascade(&self, number: usize) -> Row {
        let name = format!("cascade-{number}");
        row(&name, &BASE, "", |row| {
            let image = Copy::of(&BASE.healthy()?, &name)?;
            let image = image.path.as_path();
            let faults = break_at_random(image, self.seed.wrapping_mul(1000) + number as u64)?;
            let names: Vec<&str> = faults.iter().map(|fault| fault.name).collect();
            row.what = format!("{} (seed {})", names.join(", "), self.seed);
            let before = BASE.manifest(image)?;
            let donor = faults.iter().find_map(|fault| fault.donor());
            let report = self.report(
                fix(faults.iter().any(|fault| fault.risky)),
                image,
                donor,
                faults.iter().any(|fault| fault.resets_password),
            )?;
            let applied = report["applied"].as_array().cloned().unwrap_or_default();
            row.repair = format!("{} repairs", applied.len());
            self.expect_clear(image).map_err(|why| format!("{}: {why}\n{applied:#?}", row.what))?;
            let by_ssh = faults.iter().any(|fault| matches!(fault.way, Way::Ssh));
            self.works_again(image, &BASE, if by_ssh { Way::Ssh } else { Way::Console }, row)
                .map_err(|why| format!("{}: {why}\n{applied:#?}", row.what))?;
            self.undo(image, None)?;
            expect_same(&before, &BASE.manifest(image)?, row)
        })
    }
}

/// Makes faults until there are enough. One that can no longer be made, or that touches what another has touched, would
/// only overwrite it, and is passed over. Each has its own place in the row of a seed, so that a new fault seldom changes
/// which three they are.
fn break_at_random(image: &Path, seed: u64) -> Result<Vec<&'static Fault>, String> {
    let mut left: Vec<&'static Fault> =
        FAULTS.iter().filter(|fault| fault.disk.name == BASE.name && fault.mixes()).collect();
    left.sort_by_cached_key(|fault| {
        let mixed = fault.name.bytes().fold(seed, |sum, byte| sum.wrapping_mul(31).wrapping_add(u64::from(byte)));
        Random::new(mixed).below(usize::MAX)
    });
    let (mut faults, mut touched) = (Vec::new(), BTreeSet::new());
    while let Some(fault) = left.pop().filter(|_| faults.len() < FAULTS_OF_A_DISK) {
        let before = Copy::of(image, &format!("{}-before", image.file_stem().unwrap_or_default().display()))?;
        let old = state(image)?;
        let made = fault.make(image).is_ok();
        let new = state(image)?;
        let paths: BTreeSet<String> = old.symmetric_difference(&new).map(|(path, _)| path.clone()).collect();
        if made && !paths.is_empty() && paths.is_disjoint(&touched) {
            touched.extend(paths);
            faults.push(fault);
        } else {
            std::fs::rename(&before.path, image).map_err(|error| error.to_string())?;
        }
    }
    Ok(faults)
}

/// Every path that is no directory, with when and how it was changed last, and the sectors of the boot loader.
fn state(image: &Path) -> Result<BTreeSet<(String, String)>, String> {
    let script = r#"for at in 0 1; do printf '(sector %s)\t' $at; dd if="$1" bs=512 skip=$at count=$((1 + at * 2000)) status=none | sha256sum; done
cd "$R"; find . -xdev ! -type d -printf '%p\t%C@ %m %s\n'; find . -xdev -type d -printf '%p\t%m %U:%G\n'; cd /"#;
    let text = BASE.change(image, script)?;
    Ok(text
        .lines()
        .filter_map(|line| line.split_once('\t'))
        .map(|(path, state)| (path.to_owned(), state.to_owned()))
        .collect())
}
