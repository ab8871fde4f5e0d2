//! ld.so.preload names what cannot be loaded.

use bstr::ByteSlice;
use sickbay_formats::lines::{lines, with_comment, with_words};
use sickbay_target::Reason;

use crate::check::Verdict;
use crate::facts::Facts;
use crate::finding::Findings;
use crate::repair::{Change, Risk};
use crate::{check, tr};

check! {
    /// ## What it finds
    /// A library in `/etc/ld.so.preload` that is not there, or is no ELF file.
    ///
    /// ## Why it matters
    /// ld.so loads these into every program, and for one that it cannot load every program says "ERROR: ld.so: object '…'
    /// from /etc/ld.so.preload cannot be preloaded". Scripts that read what programs say go wrong, and so do tools that copy
    /// files over ssh. An agent that was removed leaves such a line, and so does an intruder whose library was cleaned away.
    ///
    /// ## What the repair does
    /// Takes the name out. By hand: edit the file; where you know nothing of such a library, ask how it came there.
    "preloaded-library-missing", Files, seed = ["C2", "L3"], proves = [], "ld.so.preload names what cannot be loaded"
}

const PATH: &str = "/etc/ld.so.preload";

fn run(facts: &Facts, found: &mut Findings) -> Verdict {
    let Some(file) = facts.file(PATH)? else { return Ok(()) };
    for line in lines(&file.bytes) {
        let text = line.text.split(|&byte| byte == b'#').next().unwrap_or_default();
        // elf/rtld.c, handle_preload_list: white space and colons part them.
        let words: Vec<&[u8]> =
            text.split(|byte| byte.is_ascii_whitespace() || *byte == b':').filter(|word| !word.is_empty()).collect();
        for word in &words {
            // ld.so puts its own words for a dollar, and looks for a bare name in its directories.
            if !word.starts_with(b"/") || word.contains(&b'$') {
                continue;
            }
            let path = word.to_path_lossy();
            let message = match facts.root().open(&path) {
                Ok(mut library) => {
                    let mut magic = [0; 4];
                    match std::io::Read::read_exact(&mut library, &mut magic) {
                        Ok(()) if magic == *b"\x7fELF" => continue,
                        _ => tr!("{path}, which every program is to load, is no library", path = path.as_ref()),
                    }
                }
                Err(error) if matches!(error.reason, Reason::NotFound | Reason::NotADirectory) => {
                    tr!("{path}, which every program is to load, does not exist", path = path.as_ref())
                }
                Err(error) => return Err(error.into()),
            };
            let start = word.as_ptr() as usize - line.text.as_ptr() as usize;
            let span = line.span(start..start + word.len());
            let rest = if words.len() == 1 {
                with_comment(&file.bytes, line.number)
            } else {
                with_words(&file.bytes, span, b"")
            };
            found
                .warning(message)
                .at(&file, span)
                .about(path.as_ref())
                .why(tr!("every program complains of it, and who reads what programs say goes wrong"))
                .repair(
                    Risk::Safe,
                    tr!("take {path} out of {file}", path = path.as_ref(), file = PATH),
                    [Change::edit(&file, rest)],
                );
        }
    }
    Ok(())
}
