//! What a check is: the function on the arrow from facts to findings.

use crate::facts::Facts;
use crate::model::about::About;
use crate::model::finding::Findings;
use crate::model::outcome::Verdict;

/// One check. Declared with [`check!`](crate::check), listed by its area (`checks/AREA.rs`).
#[derive(Debug)]
pub struct Check {
    /// What it is about.
    pub about: About,
    /// Looks at the facts and reports.
    pub run: fn(&Facts, &mut Findings) -> Verdict,
}

impl std::ops::Deref for Check {
    type Target = About;

    fn deref(&self) -> &About {
        &self.about
    }
}

/// Declares the check of this file as `pub static CHECK`. The doc comment is the page that `sickbay explain` shows.
///
/// ```ignore
/// check! {
///     /// ## Symptom
///     /// You see: …
///     ///
///     /// ## What it finds
///     /// …
///     "fstab-missing-device", Boot, seed = ["B7"], proves = [Mounts], "fstab waits for a device that does not exist"
/// }
/// fn run(facts: &Facts, found: &mut Findings) -> Verdict { … }
/// ```
#[macro_export]
macro_rules! check {
    (
        $(#[doc = $page:literal])+
        $id:literal, $area:ident, seed = [$($seed:literal),* $(,)?], proves = [$($stage:ident),* $(,)?],
        $(may_stop = [$($stop:ident),* $(,)?],)? $(looks_at_disks_alone = $alone:literal,)?
        $(reads_recordings = $recordings:literal,)? $(runs_last = $last:literal,)? $title:literal $(,)?
    ) => {
        $(#[doc = $page])+
        pub static CHECK: $crate::check::Check = $crate::check::Check {
            about: $crate::model::about::About {
                id: $id,
                area: $crate::model::about::Area::$area,
                seed: &[$($seed),*],
                proves: &[$($crate::model::stage::Stage::$stage),*],
                may_stop: &[$($($crate::model::stage::Stage::$stop),*)?],
                looks_at_disks_alone: false $(|| $alone)?,
                reads_recordings: false $(|| $recordings)?,
                runs_last: false $(|| $last)?,
                title: $title,
                page: concat!($($page, "\n"),+),
                zh_cn: include_str!(concat!($id, ".zh-CN.toml")),
            },
            run,
        };
    };
}
