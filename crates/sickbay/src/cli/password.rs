//! Asks for a password: on a terminal twice and without showing it, else as one line from standard input.

use std::io::{BufRead, IsTerminal};

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};

use super::{Context, Failure, complain};
use crate::repair::password::LONGEST;
use crate::tr;

/// Below so many characters a password is guessed soon.
const SHORT: usize = 8;

/// The new password of `user`.
pub(super) fn ask(context: &Context, user: &str) -> Result<String, Failure> {
    if !std::io::stdin().is_terminal() {
        return line();
    }
    let first = hidden(&context.say(&tr!("New password of {user}: ", user)))?;
    if first.chars().count() < SHORT {
        complain(&format!("{}\n", context.say(&tr!("That is short: it is easy to guess."))));
    }
    if hidden(&context.say(&tr!("Once more: ")))? != first {
        return Err(Failure(tr!("the two do not match: nothing was changed")));
    }
    Ok(first)
}

/// The terminal as it was, given back however the reading ends.
struct Hidden(Termios);

impl Drop for Hidden {
    fn drop(&mut self) {
        let _ = tcsetattr(std::io::stdin(), OptionalActions::Flush, &self.0);
        complain("\n");
    }
}

fn hidden(prompt: &str) -> Result<String, Failure> {
    let cannot =
        |errno: rustix::io::Errno| Failure(tr!("the terminal echoes what is typed: {why}", why = errno.to_string()));
    let before = tcgetattr(std::io::stdin()).map_err(cannot)?;
    let mut quiet = before.clone();
    // Without signals, so that Ctrl-C cannot leave the terminal mute; it is seen in the line instead, as getpass(3) does it.
    quiet.local_modes -= LocalModes::ECHO | LocalModes::ISIG;
    tcsetattr(std::io::stdin(), OptionalActions::Flush, &quiet).map_err(cannot)?;
    let _hidden = Hidden(before);
    complain(prompt);
    let text = line()?;
    if text.contains('\u{3}') {
        return Err(Failure(tr!("nothing was changed")));
    }
    Ok(text)
}

/// One line, without its end.
fn line() -> Result<String, Failure> {
    let mut bytes = Vec::new();
    let mut input = std::io::stdin().lock();
    let read = std::io::Read::take(&mut input, LONGEST as u64 + 2).read_until(b'\n', &mut bytes);
    read.map_err(|error| Failure(tr!("cannot read standard input: {why}", why = error.to_string())))?;
    if bytes.last() == Some(&b'\n') {
        bytes.pop();
    }
    if bytes.last() == Some(&b'\r') {
        bytes.pop();
    }
    String::from_utf8(bytes)
        .map_err(|_| Failure(tr!("the password is not valid UTF-8: its bytes depend on the terminal")))
}
