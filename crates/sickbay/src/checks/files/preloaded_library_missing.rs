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
    /// ## What it finds
    /// A library in `/etc/ld.so.preload` that is not there, is no ELF file, or is cut off.
    ///
    /// ## Why it matters
    /// ld.so loads these into every program, and for one that it cannot load every program says "ERROR: ld.so: object '…'
    /// from /etc/ld.so.preload cannot be preloaded". One that is cut off it loads: every program, init too, then dies of a
    /// bus error. Scripts that read what programs say go wrong, and so do tools that copy
    /// files over ssh. An agent that was removed leaves such a line, and so does an intruder whose library was cleaned away.
    ///
    /// ## What the repair does
    /// Takes the name out. By hand: edit the file; where you know nothing of such a library, ask how it came there.
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
                    (tr!("{path}, which every program is to load, does not exist", path = path.as_path()), false)
                }
                // ld.so maps it without a look at its length.
                Body::Broken(Fault::CutOff { size, wanted }) => (
                    tr!(
                        "{path}, which every program is to load, is cut off: it has {size} of at least {wanted} bytes",
                        path = path.as_path(),
                        size = *size,
                        wanted = *wanted
                    ),
                    true,
                ),
                Body::Broken(_) | Body::Script(_) => {
                    (tr!("{path}, which every program is to load, is no library", path = path.as_path()), false)
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
                tr!("every program dies of a bus error when it is started, init first of all")
            } else {
                tr!("every program complains of it, and who reads what programs say goes wrong")
            });
            finding.repair(
                Risk::Safe,
                tr!("take {path} out of {file}", path = path.as_path(), file = PATH),
                [Change::edit(&file, rest)],
            );
        }
    }
    Ok(())
}
