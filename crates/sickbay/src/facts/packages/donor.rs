//! Whether a root can be the donor that lost files are taken from; [`crate::mend::restore`] takes them.

use sickbay_target::{Architecture, Root, Target};

use crate::model::text::Text;
use crate::tr;

/// Why `donor` cannot give files to `target`; `None` when it can: same distribution, same release, same architecture.
pub fn why_not(target: &Target, donor: &Target) -> Option<Text> {
    let (theirs, ours) = (release(donor.root()), release(target.root()));
    if let (Some(theirs), Some(ours)) = (&theirs, &ours)
        && theirs != ours
    {
        return Some(tr!(
            "the donor is {theirs}, the target {ours}: files are only copied from the same release",
            theirs,
            ours
        ));
    }
    let (theirs, ours) = (Architecture::of(donor.root()), Architecture::of(target.root()));
    match (theirs, ours) {
        (None, _) => Some(tr!("the donor {name} has no system on it", name = donor.name)),
        (Some(theirs), Some(ours)) if theirs != ours => {
            Some(tr!("the donor has a different architecture from the target"))
        }
        _ => None,
    }
}

/// `debian 12`, from os-release(5).
fn release(root: &Root) -> Option<String> {
    let release = crate::facts::system::release::release(root);
    Some(format!("{} {}", release.id?, release.version.unwrap_or_default()))
}
