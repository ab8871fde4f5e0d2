//! The kernel is told something that stops a normal start.

use std::sync::Arc;

use crate::facts::Facts;
use crate::facts::boot::boot_config::{BootConfig, Entry, Loader};
use crate::facts::boot::command_line::{Stop, stops};
use crate::facts::boot::kernels::Kernels;
use crate::mend::boot_entries::{choose, edits, in_sources, is_sound, kernel_of, no_entry};
use crate::model::finding::Findings;
use crate::model::outcome::Verdict;
use crate::model::repair::{Change, Risk};
use crate::model::text::Text;
use crate::{check, tr};

check! {
    /// ## Symptom
    /// You see: the machine boots to a shell or to "You are in rescue mode" on the console, without a network; or the
    /// kernel panics for lack of a root or an init.
    ///
    /// ## What it finds
    /// Parameters on the default entry's kernel command line that prevent a normal boot: an `init=` that is a shell or
    /// does not exist; `single`, `rescue`, `emergency`, `rd.break`, `break`; a `systemd.unit=` with a rescue mode or a
    /// unit that does not exist; a `systemd.mask=` of a unit needed for a login; a `mem=` of less than 192 MiB; a
    /// `hugepages=` that leaves too little memory; `module_blacklist=`, `modprobe.blacklist=` or `rd.driver.blacklist=`
    /// with a driver for the root disk or the network; a `rootfstype=` other than the root's; no `root=` at all, or a
    /// misspelled one.
    ///
    /// ## Why it matters
    /// Such parameters are typed once to get in, and then forgotten. The machine boots to a shell without a network, on
    /// a console that nobody sees.
    ///
    /// ## What the repair does
    /// Removes or corrects that one parameter, also in `/etc/default/grub` and `/etc/kernel/cmdline`, from which the
    /// configuration is regenerated; all other parameters stay. Where the default is a rescue entry, the same kernel's
    /// normal entry becomes the default.
    ///
    /// ## By hand
    /// ```sh
    /// # edit GRUB_CMDLINE_LINUX in /etc/default/grub, then
    /// grub-mkconfig -o /boot/grub/grub.cfg
    /// # Fedora, RHEL
    /// grubby --update-kernel=ALL --remove-args=PARAMETER
    /// ```
    "kernel-command-line", Boot, seed = ["B8", "B13"], proves = [RootDevice], may_stop = [Init, Services], "the kernel command line prevents a normal boot"
}

fn run(facts: &Facts, found: &mut Findings) -> Verdict {
    let config = facts.get::<BootConfig>()?;
    let mut some = false;
    for loader in &config.loaders {
        let Some(entry) = loader.default_entry().filter(|entry| entry.kernel.is_some()) else { continue };
        some = true;
        for stop in stops(facts, &config, entry) {
            let finding = found.add(stop.severity, stop.message.clone());
            finding.at(&stop.word.file, stop.word.span()).why(stop.why.clone());
            if let Some(stage) = stop.stage {
                finding.stops(stage);
            }
            if let Some(clue) = &stop.clue {
                finding.evidence(clue.source.clone(), clue.words.clone());
            }
            match changes(facts, &config, loader, entry, &stop) {
                Some((title, changes)) => {
                    finding.repair(Risk::Safe, title, changes);
                }
                None => {
                    finding.by_hand(tr!("correct the parameter in {path}", path = stop.word.file.path.as_path()));
                }
            }
        }
    }
    if some { Ok(()) } else { Err(no_entry()) }
}

fn changes(
    facts: &Facts,
    config: &BootConfig,
    loader: &Loader,
    entry: &Entry,
    stop: &Stop,
) -> Option<(Text, Vec<Change>)> {
    let kernels = facts.get::<Kernels>().ok()?;
    // A rescue entry is meant as it is: the same kernel's normal one is what should boot.
    let version = kernel_of(facts, &kernels, entry).map(|kernel| kernel.version.as_str());
    let normal = loader.entries.iter().find(|other| {
        kernel_of(facts, &kernels, other).map(|kernel| kernel.version.as_str()) == version
            && is_sound(facts, config, other)
    });
    if let Some(normal) = normal.filter(|_| version.is_some() && stop.new.is_empty())
        && let Some(change) = choose(facts, loader, normal)
        && !stop.word.text.contains('=')
    {
        return Some((tr!("boot {title} by default", title = normal.title.text.as_str()), vec![change]));
    }
    if !stop.word.literal {
        return None;
    }
    let (range, new) = if stop.behind {
        (stop.word.range.end..stop.word.range.end, format!(" {}", stop.new))
    } else {
        (stop.word.range.clone(), stop.new.clone())
    };
    let mut words = vec![(Arc::clone(&stop.word.file), range, new)];
    // Rescue entries want `single` and the like; nothing wants the others.
    if !stop.behind && !["single", "systemd.unit="].iter().any(|wanted| stop.word.text.starts_with(wanted)) {
        let others = loader.entries.iter().flat_map(|entry| &entry.arguments);
        let same = others.filter(|other| other.literal && other.text == stop.word.text);
        words.extend(same.map(|other| (Arc::clone(&other.file), other.range.clone(), stop.new.clone())));
    }
    let mut all = edits(words);
    if !stop.behind {
        all.extend(in_sources(facts, &stop.word.text, &stop.new));
    }
    let word = stop.word.text.as_str();
    let title = match (stop.behind, stop.new.is_empty()) {
        (true, _) => tr!("add {new}", new = stop.new.as_str()),
        (false, true) => tr!("remove {word}", word),
        (false, false) => tr!("replace {word} with {new}", new = stop.new.as_str(), word),
    };
    Some((title, all))
}
