//! Huge pages take the memory that the system needs to start.

use bstr::ByteSlice;

use crate::facts::Facts;
use crate::facts::memory::{Memory, bearable_hugepages};
use crate::facts::system::sysctl_files::SysctlFiles;
use crate::mend::sysctl_lines::{offer, size, unbearable, winner};
use crate::model::finding::Findings;
use crate::model::outcome::{Skip, Verdict};
use crate::model::repair::Risk;
use crate::model::stage::Stage;
use crate::model::subject::Subject;
use crate::model::text::Text;
use crate::{check, tr};

check! {
    /// ## Symptom
    /// You see: the OOM killer during boot ("Out of memory: Killed process …"), services that fail, or a panic, right
    /// after the sysctl settings are applied.
    ///
    /// ## What it finds
    /// A `vm.nr_hugepages` in a sysctl file that reserves more than nine tenths of the machine's memory, or leaves less
    /// than 256 MiB of it. The memory size of a machine that is not running is read from its logs; where they do not
    /// have it, `--memory` says it. Without that, a tebibyte or more is a fault and more than a gibibyte a note.
    /// A database that has 60 % of memory in huge pages
    /// is fine.
    ///
    /// ## Why it matters
    /// What is reserved is taken at once and cannot be used for anything else. The kernel takes as much as it can get;
    /// then the programs that start next find no memory, the OOM killer ends them, and the boot stops or panics.
    ///
    /// ## What the repair does
    /// Comments out the line that takes effect, and every line that would take effect after it and is as large.
    /// That is a risky repair where the memory size is not known.
    ///
    /// ## By hand
    /// ```sh
    /// # or lower it to what the database needs, at most about 70 % of memory
    /// grep -rn nr_hugepages ROOT/etc/sysctl.conf ROOT/etc/sysctl.d
    /// ```
    "sysctl-hugepages", Boot, seed = ["B11"], proves = [], may_stop = [Services], "huge pages leave too little memory to boot"
}

const KEY: &str = "vm.nr_hugepages";

/// No machine that is met has so much to give away: 1 TiB, in KiB.
const ABSURD: u64 = 1 << 30;

/// Every machine that is met has so much to give away: 1 GiB, in KiB.
const DOUBTFUL: u64 = 1 << 20;

fn run(facts: &Facts, found: &mut Findings) -> Verdict {
    let files = facts.get::<SysctlFiles>()?;
    for why in &files.unread {
        found.could_not_tell(why.clone());
    }
    let Some(pages) = winner(&files, KEY).filter(|pages| *pages > 0) else { return Ok(()) };
    let memory = facts.get::<Memory>();
    let page = match &memory {
        Ok(memory) if memory.huge_page.is_some() => memory.huge_page.unwrap_or(2048),
        _ => default_page(facts),
    };
    let limit = match &memory {
        Ok(memory) => bearable_hugepages(memory),
        Err(_) => ABSURD,
    };
    let is_bearable = |pages: u64| pages.saturating_mul(page) <= limit;
    if is_bearable(pages) {
        // Without the memory's size a gibibyte is taken for bearable.
        if let Err(Skip::Unknown(why)) = memory
            && pages.saturating_mul(page) > DOUBTFUL
        {
            doubt(&files, found, page, &why);
        }
        return Ok(());
    }
    let lines = unbearable(&files, KEY, is_bearable);
    let Some((file, assignment, _)) = lines.first() else { return Ok(()) };
    let reserved = size(pages.saturating_mul(page));
    let finding = match &memory {
        Ok(memory) => found.critical(tr!(
            "{key} reserves {reserved} of the machine's {total} of memory for huge pages",
            key = KEY,
            reserved,
            total = size(memory.total)
        )),
        Err(_) => found.critical(tr!("{key} reserves {reserved} of memory for huge pages", key = KEY, reserved)),
    };
    finding
        .at(file, assignment.span)
        .why(tr!("too little is left for the programs that start next: they are killed, and the boot stops"))
        .detail("vm.nr_hugepages", pages)
        .explains(Subject::Parameter("vm.nr_hugepages".to_owned()))
        .detail("Hugepagesize", page.saturating_mul(1024))
        .stops(Stage::Services);
    offer(finding, KEY, &lines, memory.as_deref().ok(), Risk::Safe);
    Ok(())
}

/// So much may be right on a machine whose memory is not known, and too much on another.
fn doubt(files: &SysctlFiles, found: &mut Findings, page: u64, why: &Text) {
    let lines = unbearable(files, KEY, |pages| pages.saturating_mul(page) <= DOUBTFUL);
    let Some((file, assignment, pages)) = lines.first() else { return };
    let reserved = size(pages.saturating_mul(page));
    let finding = found.note(tr!(
        "{key} reserves {reserved} of memory for huge pages, perhaps more than the machine has",
        key = KEY,
        reserved
    ));
    finding
        .at(file, assignment.span)
        .why(tr!("if little more is there, programs are killed and the boot stops; {why}", why = why.clone()))
        .note(tr!("--memory 16G (or whatever it has) makes it certain"))
        .detail("vm.nr_hugepages", *pages)
        .explains(Subject::Parameter("vm.nr_hugepages".to_owned()));
    offer(finding, KEY, &lines, None, Risk::Risky);
}

/// The size of the pages that `vm.nr_hugepages` counts, in KiB: 2 MiB, unless the kernel's command line says 1 GiB.
fn default_page(facts: &Facts) -> u64 {
    let says = |path: &&str| facts.root().read(*path).is_ok_and(|text| text.contains_str("default_hugepagesz=1G"));
    let files = ["/etc/default/grub", "/etc/kernel/cmdline", "/boot/grub/grub.cfg", "/boot/grub2/grub.cfg"];
    if files.iter().any(says) { 1 << 20 } else { 2 << 10 }
}
