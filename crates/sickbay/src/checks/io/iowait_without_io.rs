//! One line: what is wrong when this finds something.

use crate::facts::Facts;
use crate::model::finding::Findings;
use crate::model::outcome::Verdict;
use crate::model::repair::{Change, Risk};
use crate::{check, tr};

check! {
    /// ## Symptom
    /// You see: what the user sees on the console or in a log.
    ///
    /// ## What it finds
    /// A file `/etc/iowait-without-io` that says `broken`.
    ///
    /// ## Why it matters
    /// What happens to the user.
    ///
    /// ## What the repair does
    /// Removes it.
    ///
    /// ## By hand
    /// ```sh
    /// rm ROOT/etc/iowait-without-io
    /// ```
    "iowait-without-io", Io, seed = [], proves = [], "a file says broken"
}

fn run(facts: &Facts, found: &mut Findings) -> Verdict {
    // A file that need not be there: facts.file(). One without which there is nothing to look at: facts.required().
    let Some(file) = facts.file("/etc/iowait-without-io")? else { return Ok(()) };
    if file.bytes.starts_with(b"broken") {
        found
            .error(tr!("{path} says broken", path = file.path.as_path()))
            .at_path(&file.path)
            .why(tr!("what is broken does not work"))
            .repair(Risk::Safe, tr!("remove it"), [Change::Remove { path: file.path.clone() }]);
    }
    Ok(())
}
