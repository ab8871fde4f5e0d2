//! Why a program failed, as a trace of it tells.

use sickbay_formats::trace::{Cause, Failure};

use crate::facts::Facts;
use crate::facts::logs::kernel_log::KernelLog;
use crate::model::finding::Findings;
use crate::model::outcome::{Skip, Verdict};
use crate::model::subject::Subject;
use crate::model::text::Text;
use crate::{check, tr};

check! {
    /// ## Symptom
    /// You see: a program that ends without a message, "I have no name!", "invalid user: 'root:root'" or "error while loading
    /// shared libraries".
    ///
    /// ## What it finds
    /// In what strace wrote (in any of its forms but the summary of `-c`) or `LD_DEBUG`, given as a log: a library that is in none of
    /// the places where it was looked for, or that lacks a symbol; a program that is there while its interpreter is not, that may not be
    /// executed, or that is for another machine; a module of Python, Perl, Java and the like; the file that was missing, or
    /// refused, just before the program complained or ended with an error; a user or group that nobody knows. Everything else that was looked for in
    /// vain is left out: a healthy program does so all the time.
    ///
    /// ## Why it matters
    /// A program that ends without a word, "I have no name!", "invalid user: 'root:root'" mostly lack one file, and a trace has it between
    /// thousands of lines.
    ///
    /// ## What the repair does
    /// Nothing in a log. Point `sickbay check` at the system or its disk: it may know the file and put it back. By hand: look
    /// whether the name is a link that leads nowhere (`ls -l`), and reinstall the package that has the file. From glibc 2.34 on
    /// `libnss_files` is part of libc, and nobody misses it.
    ///
    /// ## By hand
    /// ```sh
    /// strace -f -o trace.log COMMAND
    /// ls -l FILE
    /// ```
    "traced-failure", Logs, seed = ["C2"], proves = [], "a trace shows why a program failed"
}

fn run(facts: &Facts, found: &mut Findings) -> Verdict {
    if facts.target().logs().is_err() {
        return Err(Skip::NotApplicable(tr!("only logs that are given are looked at")));
    }
    let log = facts.get::<KernelLog>()?;
    if log.traced == 0 {
        return Err(Skip::NotApplicable(tr!("no line of strace or of LD_DEBUG is in it")));
    }
    for failure in &log.traces {
        let (message, why, by_hand) = told(failure);
        let source = log.source(failure.source);
        let finding = found.error(message);
        finding.at_path(&source).why(why).by_hand(by_hand);
        let (kind, subject) = named(&failure.cause);
        finding.subject(Subject::Named(format!("{kind} {subject}")));
        finding.detail("cause", kind).detail("subject", subject).detail("processes", failure.count);
        if failure.line > 0 {
            finding.evidence(format!("{}:{}", source.display(), failure.line), failure.words.as_str());
        }
        if let Some(said) = &failure.message {
            finding.note(tr!("the program said: {said}", said = said.as_str())).detail("said", said.as_str());
        }
        if let Some(ended) = &failure.ended {
            finding.note(match ended.parse::<u32>() {
                Ok(status) => tr!("it ended with status {status}", status),
                Err(_) => tr!("it was ended by {signal}", signal = ended.as_str()),
            });
        }
        if let Cause::Library { candidates, .. } = &failure.cause {
            finding.detail("candidates", candidates.clone());
            for path in candidates {
                finding.verbose_note(tr!("looked for as {path}", path = path.as_str()));
            }
        }
    }
    Ok(())
}

/// What kind of cause, and what it is about.
pub(crate) fn named(cause: &Cause) -> (&'static str, &str) {
    match cause {
        Cause::Library { name, .. } => ("library", name),
        Cause::Interpreter(path) => ("interpreter", path),
        Cause::Program(path) => ("program", path),
        Cause::Missing(path) => ("missing", path),
        Cause::Refused(path, _) => ("refused", path),
        Cause::NotExecutable(path) => ("not-executable", path),
        Cause::Format(path) => ("format", path),
        Cause::Module(_, name) => ("module", name),
        Cause::Symbol(name, _) => ("symbol", name),
        Cause::Unknown(name, _) => ("unknown", name),
    }
}

/// What happened, what follows, and what to do.
pub(crate) fn told(failure: &Failure) -> (Text, Text, Text) {
    match &failure.cause {
        Cause::Library { name, candidates } => {
            let count = candidates.len();
            let message = match count {
                0 => tr!("the library {name} is not there", name = name.as_str()),
                _ => tr!(
                    "the library {name} is in none of the {count} {count?place|places} where it was looked for",
                    name = name.as_str(),
                    count
                ),
            };
            let why = if name.starts_with("libnss_") {
                tr!(
                    "without it the names of users and groups cannot be read from their files: \"I have no name!\", \"invalid user\""
                )
            } else {
                tr!("the program does not start without it")
            };
            let by_hand = tr!(
                "look whether {name} is a link that leads nowhere, and put its file back: the package that has it, or a machine of the same release",
                name = name.as_str()
            );
            (message, why, by_hand)
        }
        Cause::Interpreter(path) => (
            tr!("{path} is there, and its interpreter is not", path = path.as_str()),
            tr!(
                "the kernel says \"No such file or directory\" of a program whose ld.so, or whose program behind #!, is missing"
            ),
            tr!(
                "readelf -l, or the first line of a script, names the interpreter; a carriage return at the end of that line is part of its name"
            ),
        ),
        Cause::Program(name) if !name.contains('/') => (
            tr!("the program {name} is in no directory of PATH", name = name.as_str()),
            tr!("a shell, env or a service looks in one after the other, and no further"),
            tr!("install the package that has it, write its path in full, or add its directory to PATH"),
        ),
        Cause::NotExecutable(path) => (
            tr!("the program {path} may not be executed", path = path.as_str()),
            tr!(
                "the kernel refuses it where the file has no x for the user, a directory on the way may not be entered, or the file system is mounted noexec"
            ),
            tr!(
                "namei -l shows modes and owners of each directory on the way, findmnt -T how it is mounted; SELinux and AppArmor have logs of their own"
            ),
        ),
        Cause::Format(path) => (
            tr!("the kernel does not know the format of {path}", path = path.as_str()),
            tr!(
                "it is a program for another machine, a script without #! in its first line, or it is empty or damaged"
            ),
            tr!("file, and uname -m"),
        ),
        Cause::Symbol(name, file) => (
            tr!("{file} needs {name}, which no library has", file = file.as_str(), name = name.as_str()),
            tr!(
                "a library is older, or newer, than the one that it was built against, or another one of that name is found first"
            ),
            tr!(
                "ldd -r {file} shows which files its libraries are; put in the release that it was built for",
                file = file.as_str()
            ),
        ),
        Cause::Module(language, name) => (
            tr!("the {language} module {name} is not found", language = *language, name = name.as_str()),
            tr!(
                "it is in none of the directories in which this interpreter looks: not installed, or for another version of it or another user"
            ),
            tr!("install the package that has it for this very interpreter, or add its directory to the search path"),
        ),
        Cause::Program(path) => (
            tr!("the program {path} cannot be started: it, or its interpreter, is not there", path = path.as_str()),
            tr!("execve says \"No such file or directory\" in both cases"),
            tr!("ls -l, then readelf -l or the first line of a script"),
        ),
        Cause::Missing(path) => (
            tr!("{path} is not there, and the program failed right after it had looked for it", path = path.as_str()),
            tr!("it is the last thing that was looked for in vain before the program complained or ended"),
            tr!("look whether it is a link that leads nowhere, and put it back"),
        ),
        Cause::Refused(path, errno) => (
            if let Some(text) = refusal(path, errno) {
                text
            } else {
                tr!(
                    "{path} was refused to the program ({errno}), and it failed right after that",
                    path = path.as_str(),
                    errno = errno.as_str()
                )
            },
            tr!("it is the last thing that failed before the program complained or ended"),
            match errno.as_str() {
                "EROFS" => {
                    tr!("findmnt -T shows how it is mounted; a file system with errors is made read-only by the kernel")
                }
                "ECONNREFUSED" => tr!("ss -lntxp shows who listens; start what should"),
                "EADDRINUSE" => tr!("ss -lntxp shows who has it"),
                _ => tr!(
                    "namei -l shows modes and owners of each directory on the way; SELinux and AppArmor have logs of their own"
                ),
            },
        ),
        Cause::Unknown(name, read) => (
            tr!("nobody knows the user or group {name}", name = name.as_str()),
            match read.as_slice() {
                [] => tr!("neither /etc/passwd nor /etc/group was read: see the modules that nsswitch.conf names"),
                _ => tr!("{files} was read, and the name is not in it", files = read.join(", ")),
            },
            tr!("getent passwd, getent group; add the name, or correct it where it is used"),
        ),
    }
}

/// What an error means, where its name says too little.
fn refusal(path: &str, errno: &str) -> Option<Text> {
    Some(match errno {
        "ENOTDIR" => {
            tr!("a part of the path {path} is a file, not a directory, and the program failed right after that", path)
        }
        "ELOOP" => tr!("links on the way to {path} lead in a circle, and the program failed right after that", path),
        "EROFS" => {
            tr!("{path} is on a file system that is mounted read-only, and the program failed right after that", path)
        }
        "ECONNREFUSED" => tr!("nobody listens on {path}, and the program failed right after that", path),
        "EADDRINUSE" => {
            tr!("the address {path} is in use by another process, and the program failed right after that", path)
        }
        _ => return None,
    })
}
