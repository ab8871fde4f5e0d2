//! Whether a root can be the donor that lost files are taken from; [`crate::mend::restore`] takes them.

use sickbay_target::{Root, Target};

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
    let (theirs, ours) = (machine(donor.root()), machine(target.root()));
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

/// ELF class and machine of the first program that is there.
pub fn machine(root: &Root) -> Option<[u8; 3]> {
    ["/usr/bin/env", "/usr/lib/systemd/systemd", "/lib/systemd/systemd", "/sbin/init", "/bin/ls", "/usr/bin/ls"]
        .iter()
        .find_map(|path| {
            let head = root.read_head(path, 20).ok()?;
            match head.as_slice() {
                [0x7f, b'E', b'L', b'F', class, .., low, high] => Some([*class, *low, *high]),
                _ => None,
            }
        })
}
