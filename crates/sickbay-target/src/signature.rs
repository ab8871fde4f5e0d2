//! Whether a text is signed by a key that is trusted, by gpgv of this machine: what apt itself asks.

use std::fs::{DirBuilder, File};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::PathBuf;
use std::time::Duration;

use sickbay_formats::apt::{Verdict, verdict};

use crate::command::{self, CommandError};
use crate::vm;

/// How long gpgv may take: it reads some hundred KiB.
const DEADLINE: Duration = Duration::from_secs(20);
/// Of what it says, as much is kept.
const SAID: usize = 64 << 10;
/// A text under a signature may be so large, in bytes: many times that of the largest distributions.
const TEXT: u64 = 64 << 20;

/// A signed text.
#[derive(Clone, Copy, Debug)]
pub enum Signed<'a> {
    /// The signature is in the text, as in `InRelease`.
    Inline(&'a [u8]),
    /// The signature is a file of its own, as for `Release`.
    Detached {
        /// The text.
        text: &'a [u8],
        /// Its signature.
        signature: &'a [u8],
    },
}

/// Why a text is not taken for signed.
#[derive(Debug, thiserror::Error)]
pub enum SignatureError {
    /// There is nothing to ask.
    #[error("gpgv is not installed on this machine")]
    NoProgram,
    /// It was signed by keys that nobody here knows, or by none.
    #[error("it is not signed by a known key")]
    NoKey,
    /// The signature does not fit, or its key has expired or was revoked.
    #[error("its signature is not valid")]
    Bad,
    /// It could not be asked.
    #[error(transparent)]
    Command(CommandError),
    /// The files for it could not be written.
    #[error("writing files for gpgv: {0}")]
    Io(#[from] io::Error),
}

/// The part of a text that is signed by one of the keys in `keyrings`, each a keyring as gpgv reads them.
///
/// # Errors
/// See [`SignatureError`].
pub fn signed_text(signed: Signed<'_>, keyrings: &[Vec<u8>]) -> Result<Vec<u8>, SignatureError> {
    if keyrings.is_empty() {
        return Err(SignatureError::NoKey);
    }
    let dir = Scratch::make()?;
    let text = dir.0.join("text");
    let mut arguments = vec![
        "--homedir".into(),
        dir.0.clone().into_os_string(),
        "--status-fd".into(),
        "1".into(),
        "--output".into(),
        text.clone().into_os_string(),
    ];
    for (number, keyring) in keyrings.iter().enumerate() {
        arguments.extend(["--keyring".into(), dir.write(&format!("keyring{number}.gpg"), keyring)?.into_os_string()]);
    }
    match signed {
        Signed::Inline(text) => arguments.push(dir.write("signed", text)?.into_os_string()),
        Signed::Detached { text, signature } => {
            arguments.push(dir.write("signature", signature)?.into_os_string());
            arguments.push(dir.write("signed", text)?.into_os_string());
        }
    }
    let out = command::run("gpgv", &arguments, b"", DEADLINE, SAID).map_err(|error| match error {
        CommandError::NotFound { .. } => SignatureError::NoProgram,
        other => SignatureError::Command(other),
    })?;
    // Its exit status is no help: a text signed by two keys of which one is unknown ends as one without any.
    match verdict(&out.stdout) {
        Verdict::Good => {}
        Verdict::NoKey => return Err(SignatureError::NoKey),
        Verdict::Bad => return Err(SignatureError::Bad),
    }
    match signed {
        // Only what gpgv says was signed: there may be more in the file.
        Signed::Inline(_) => {
            let mut bytes = Vec::new();
            io::Read::read_to_end(&mut io::Read::take(File::open(&text)?, TEXT), &mut bytes)?;
            Ok(bytes)
        }
        Signed::Detached { text, .. } => Ok(text.to_vec()),
    }
}

/// A directory for nobody else, gone when it is dropped.
struct Scratch(PathBuf);

impl Scratch {
    fn make() -> io::Result<Scratch> {
        let path = vm::spacious().join(vm::unique("sickbay-gpgv"));
        DirBuilder::new().mode(0o700).create(&path)?;
        Ok(Scratch(path))
    }

    fn write(&self, name: &str, content: &[u8]) -> io::Result<PathBuf> {
        let path = self.0.join(name);
        File::options().write(true).create_new(true).mode(0o600).open(&path)?.write_all(content)?;
        Ok(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0); // nothing of it is of use to anybody
    }
}
