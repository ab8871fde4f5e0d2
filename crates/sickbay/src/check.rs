//! What a check is: the function on the arrow from facts to findings.

use crate::facts::Facts;
use crate::finding::Findings;
use crate::proof::Stage;
use crate::text::{CheckCatalogue, Lang, Text, full_width};

/// The part of the system that a check looks at; also the folder its file is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Area {
    /// From the partition table to the last unit that must start.
    Boot,
    /// Files, links, modes and owners of the system itself.
    Files,
    /// What stands between a user and a shell.
    Login,
    /// What the kernel said.
    Logs,
    /// Where the memory of a running system is, and who is refused it.
    Memory,
}

impl Area {
    /// As users write it.
    pub fn name(self) -> &'static str {
        match self {
            Area::Boot => "boot",
            Area::Files => "files",
            Area::Login => "login",
            Area::Logs => "logs",
            Area::Memory => "memory",
        }
    }
}

/// One check. Declared with [`check!`](crate::check), listed in [`crate::checks::ALL`].
#[derive(Debug)]
pub struct Check {
    /// The name that users type: `fstab-missing-device`.
    pub id: &'static str,
    /// The part of the system it looks at.
    pub area: Area,
    /// Rows of the e-book's coverage that it answers: `B7`.
    pub seed: &'static [&'static str],
    /// Stages of the boot and login proofs that it judges; see [`crate::proof`].
    pub proves: &'static [Stage],
    /// Stages that a finding of it may stop, though that it finds nothing proves nothing of them.
    pub may_stop: &'static [Stage],
    /// One line: what is wrong when it finds something.
    pub title: &'static str,
    /// What `sickbay explain` shows, in Markdown.
    pub page: &'static str,
    /// The Chinese side: the text of `ID.zh-CN.toml`.
    pub zh_cn: &'static str,
    /// Looks at the facts and reports.
    pub run: fn(&Facts, &mut Findings) -> Verdict,
}

impl Check {
    /// Title and page in `lang`.
    pub fn explanation(&self, lang: Lang) -> (String, String) {
        if lang == Lang::ZhCn
            && let Ok(catalogue) = toml::from_str::<CheckCatalogue>(self.zh_cn)
        {
            return (full_width(&catalogue.title), full_width(&catalogue.page));
        }
        let page: Vec<&str> = self.page.lines().map(|line| line.strip_prefix(' ').unwrap_or(line)).collect();
        (self.title.to_owned(), page.join("\n"))
    }
}

/// How a check's function ends: `Ok` when it looked at everything, else why it could not or need not look.
pub type Verdict = Result<(), Skip>;

/// Why a check (or a fact that it needs) has nothing to say.
#[derive(Clone, Debug)]
pub enum Skip {
    /// There is nothing of this kind on the target: no GRUB legacy, no sshd.
    NotApplicable(Text),
    /// It could not be told, which is never the same as being well.
    Unknown(Text),
}

impl From<sickbay_target::ReadError> for Skip {
    fn from(error: sickbay_target::ReadError) -> Skip {
        Skip::Unknown(crate::text::Text::verbatim(error.to_string()))
    }
}

/// How a check ended.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// It looked at everything and found nothing.
    Clear,
    /// It found something; whether or not it could look at everything is in the second value.
    Found(Option<Text>),
    /// Nothing of this kind is there.
    NotApplicable(Text),
    /// The user wanted it left out.
    Skipped,
    /// It could not be told.
    Unknown(Text),
    /// The check itself failed; its panic message.
    Broken(Text),
}

/// Declares the check of this file as `pub static CHECK`. The doc comment is the page that `sickbay explain` shows.
///
/// ```ignore
/// check! {
///     /// ## What it finds
///     /// …
///     "fstab-missing-device", Boot, seed = ["B7"], proves = [Mounts], "fstab waits for a device that is not there"
/// }
/// fn run(facts: &Facts, found: &mut Findings) -> Verdict { … }
/// ```
#[macro_export]
macro_rules! check {
    (
        $(#[doc = $page:literal])+
        $id:literal, $area:ident, seed = [$($seed:literal),* $(,)?], proves = [$($stage:ident),* $(,)?],
        $(may_stop = [$($stop:ident),* $(,)?],)? $title:literal $(,)?
    ) => {
        $(#[doc = $page])+
        pub static CHECK: $crate::check::Check = $crate::check::Check {
            id: $id,
            area: $crate::check::Area::$area,
            seed: &[$($seed),*],
            proves: &[$($crate::proof::Stage::$stage),*],
            may_stop: &[$($($crate::proof::Stage::$stop),*)?],
            title: $title,
            page: concat!($($page, "\n"),+),
            zh_cn: include_str!(concat!($id, ".zh-CN.toml")),
            run,
        };
    };
}
