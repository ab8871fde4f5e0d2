//! ld.so.preload names what cannot be loaded.

use bstr::ByteSlice;
use sickbay_formats::lines::{lines, with_comment, with_words};

use crate::facts::Facts;
use crate::facts::packages::libraries::{Body, Fault, Libraries};
use crate::model::finding::Findings;
use crate::model::outcome::{Skip, Verdict};
use crate::model::repair::{Change, Risk};
use crate::model::stage::Stage;
use crate::{check, tr};

check! {
    /// ## Symptom
    /// You see: "ERROR: ld.so: object '…' from /etc/ld.so.preload cannot be preloaded" from every command, or "Bus
    /// error" and a panic when init dies.
    ///
    /// ## What it finds
    /// A library in `/etc/ld.so.preload` that does not exist, is not an ELF file, or is truncated.
    ///
    /// ## Why it matters
    /// ld.so loads these into every program, and for one that it cannot load every program prints "ERROR: ld.so: object
    /// '…' from /etc/ld.so.preload cannot be preloaded". A truncated one it does load: every program, init included,
    /// then dies of a bus error. Scripts that parse the output of programs go wrong, and so do tools that copy files
    /// over ssh. A removed agent leaves such a line behind, and so does an intruder whose library was cleaned away.
    ///
    /// ## What the repair does
    /// Removes the name.
    ///
    /// ## By hand
    /// ```sh
    /// # if you do not recognize the library, find out how it got there
    /// cat ROOT/etc/ld.so.preload
    /// sed -i '\|PATH-OF-LIBRARY|d' ROOT/etc/ld.so.preload
    /// ```
    "preloaded-library-missing", Files, seed = ["C2", "L3"], proves = [], may_stop = [Init, Shell, PamLogin, Sshd], "/etc/ld.so.preload lists a library that cannot be loaded"
}

const PATH: &str = "/etc/ld.so.preload";

fn run(facts: &Facts, found: &mut Findings) -> Verdict {
    let Some(file) = facts.file(PATH)? else { return Ok(()) };
    let libraries = facts.get::<Libraries>()?;
    for line in lines(&file.bytes) {
        let text = line.text.split(|&byte| byte == b'#').next().unwrap_or_default();
        // elf/rtld.c, handle_preload_list: white space and colons part them.
        let words: Vec<&[u8]> =
            text.split(|byte| byte.is_ascii_whitespace() || *byte == b':').filter(|word| !word.is_empty()).collect();
        for word in &words {
            // Where it is depends on the program for some words that ld.so puts for a dollar.
            let Some(path) = libraries.preloaded(facts, word.as_bstr()) else { continue };
            let (message, kills) = match &*libraries.look(facts.root(), &path) {
                Body::Elf(_) => continue,
                Body::Unknown(why) => return Err(Skip::Unknown(why.clone())),
                Body::Broken(Fault::Missing | Fault::Dangling(_)) => {
                    (tr!("{path}, which every program has to load, does not exist", path = path.as_path()), false)
                }
                // ld.so maps it without a look at its length.
                Body::Broken(Fault::CutOff { size, wanted }) => (
                    tr!(
                        "{path}, which every program has to load, is truncated: it has {size} of at least {wanted} bytes",
                        path = path.as_path(),
                        size = *size,
                        wanted = *wanted
                    ),
                    true,
                ),
                Body::Broken(_) | Body::Script(_) => {
                    (tr!("{path}, which every program has to load, is not a library", path = path.as_path()), false)
                }
            };
            let start = word.as_ptr() as usize - line.text.as_ptr() as usize;
            let span = line.span(start..start + word.len());
            let rest = if words.len() == 1 {
                with_comment(&file.bytes, line.number)
            } else {
                with_words(&file.bytes, span, b"")
            };
            let finding = if kills { found.critical(message) } else { found.warning(message) };
            for stage in [Stage::Init, Stage::Shell, Stage::PamLogin, Stage::Sshd].into_iter().filter(|_| kills) {
                finding.stops(stage);
            }
            finding.at(&file, span).about(&path).explains(&path).why(if kills {
                tr!("every program dies of a bus error when it starts, init first of all")
            } else {
                tr!("every program prints an error about it, and whatever parses the output of programs goes wrong")
            });
            finding.repair(
                Risk::Safe,
                tr!("remove {path} from {file}", path = path.as_path(), file = PATH),
                [Change::edit(&file, rest)],
            );
        }
    }
    Ok(())
}
