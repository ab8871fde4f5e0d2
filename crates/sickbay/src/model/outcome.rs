//! How a check, or the gathering of a fact, ended.

use crate::model::text::Text;

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

impl From<sickbay_target::Lack> for Skip {
    fn from(lack: sickbay_target::Lack) -> Skip {
        match lack {
            sickbay_target::Lack::None(why) => Skip::NotApplicable(Text::verbatim(why)),
            sickbay_target::Lack::Unread(why) => Skip::Unknown(Text::verbatim(why)),
        }
    }
}

impl From<sickbay_target::ReadError> for Skip {
    fn from(error: sickbay_target::ReadError) -> Skip {
        let why = Text::verbatim(error.to_string());
        match error.reason {
            // By the nature of the archive, and of the bundle.
            sickbay_target::Reason::NotTold | sickbay_target::Reason::NotCollected(_) => Skip::NotApplicable(why),
            _ => Skip::Unknown(why),
        }
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
