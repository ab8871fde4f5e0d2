//! One line of a trace: strace(1) with `-f`, `-t`, `-tt`, `-ttt`, `-r`, `-T`, `-y`, and ld.so(8) with `LD_DEBUG=libs`.

use bstr::ByteSlice;

/// What a call gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Result {
    /// The number behind the `=`.
    pub value: Option<i64>,
    /// `ENOENT`
    pub errno: Option<String>,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A call from its beginning to its end.
    Call {
        /// `openat`
        name: String,
        /// What is between the brackets.
        args: String,
        /// What it gave.
        result: Result,
    },
    /// The beginning of a call.
    Unfinished {
        /// `openat`
        name: String,
        /// As far as it is there.
        args: String,
    },
    /// The end of a call.
    Resumed {
        /// `openat`
        name: String,
        /// The rest.
        args: String,
        /// What it gave.
        result: Result,
    },
    /// The process ended with this status.
    Exited(u32),
    /// The process was ended by a signal.
    Killed(String),
    /// ld.so looks for a library.
    Find(String),
    /// ld.so looks for it in this place.
    Try(String),
    /// ld.so has all libraries and starts them.
    Found,
    /// What ld.so tells of its work besides.
    Linker,
    /// What ld.so or a program says in between.
    Message(String),
}

/// A line of a trace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// The process, if the line names one.
    pub pid: Option<u32>,
    /// What happened.
    pub event: Event,
}

/// What a line says; `None` for one that is of no trace.
pub fn line(bytes: &[u8]) -> Option<Line> {
    let says = |words: &str| bytes.contains_str(words);
    let is_of_linker = says("shared object file")
        || says("symbol lookup error")
        || says("version `") && says("not found (required by");
    if !bytes.contains(&b'(') && !bytes.contains_str("+++ ") && !bytes.contains(&b'\t') && !is_of_linker {
        return None;
    }
    let text = bytes.to_str_lossy();
    let text = text.trim_end();
    if let Some(line) = of_linker(text) {
        return Some(line);
    }
    if is_of_linker && !text.contains("write") {
        return Some(Line { pid: None, event: Event::Message(text.to_owned()) });
    }
    let (pid, rest) = prefix(text.trim_start());
    if let Some(inside) = rest.strip_prefix("+++ ").and_then(|rest| rest.strip_suffix(" +++")) {
        let event = match inside.strip_prefix("exited with ") {
            Some(status) => Event::Exited(status.parse().ok()?),
            None => Event::Killed(inside.strip_prefix("killed by ")?.chars().take(40).collect()),
        };
        return Some(Line { pid, event });
    }
    if let Some(rest) = rest.strip_prefix("<... ") {
        let (name, rest) = rest.split_once(" resumed>")?;
        let (args, result) = ending(rest)?;
        let name = Some(name).filter(|name| is_name(name))?.to_owned();
        return Some(Line { pid, event: Event::Resumed { name, args: args.to_owned(), result } });
    }
    let (name, rest) = rest.split_once('(')?;
    let name = Some(name).filter(|name| is_name(name))?.to_owned();
    if let Some(args) = rest.strip_suffix("<unfinished ...>") {
        return Some(Line { pid, event: Event::Unfinished { name, args: args.trim_end().to_owned() } });
    }
    let (args, result) = ending(rest)?;
    Some(Line { pid, event: Event::Call { name, args: args.to_owned(), result } })
}

/// The names of calls are short; those of functions in the log of a program are not taken for them: see the result.
fn is_name(name: &str) -> bool {
    let is_it = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
    (2..=24).contains(&name.len()) && name.bytes().all(is_it)
}

/// The process and the time in front of a call.
fn prefix(text: &str) -> (Option<u32>, &str) {
    let (mut pid, mut rest) = (None, text);
    if let Some((inside, after)) = rest.strip_prefix("[pid").and_then(|rest| rest.split_once(']')) {
        let number = inside.split('<').next().unwrap_or_default();
        (pid, rest) = (number.trim().parse().ok(), after.trim_start());
    }
    for _ in 0..4 {
        // The number of the call (`-n`), and where it was made (`-i`).
        if let Some((inside, after)) = rest.strip_prefix('[').and_then(|rest| rest.split_once(']'))
            && inside.trim().bytes().all(|b| b.is_ascii_hexdigit() || b == b'?')
        {
            rest = after.trim_start();
            continue;
        }
        let Some((word, after)) = rest.split_once(' ') else { break };
        // `4711<sh>` (`--decode-pids=comm`).
        let word = match word.split_once('<') {
            Some((number, comm)) if comm.ends_with('>') => number,
            _ => word,
        };
        let is_number = !word.is_empty() && word.bytes().all(|b| b.is_ascii_digit());
        let is_time = word.len() > 3
            && word.contains([':', '.'])
            && word.bytes().all(|b| b.is_ascii_digit() || b == b':' || b == b'.');
        if is_number && pid.is_none() && word.len() < 9 {
            pid = word.parse().ok();
        } else if !is_time && !is_number {
            break;
        }
        rest = after.trim_start();
    }
    (pid, rest)
}

/// `…) = -1 ENOENT (No such file or directory) <0.000012>`: what is in front, and what it gave.
fn ending(text: &str) -> Option<(&str, Result)> {
    let (at, skipped) = text.rmatch_indices(") ").find_map(|(at, _)| {
        let rest = text.get(at + 2..)?.trim_start();
        rest.starts_with("= ").then(|| Some((at, text.len() - rest.len() + 2)))?
    })?;
    let rest = text.get(skipped..)?;
    let mut words = rest.split_whitespace();
    let word = words.next()?;
    let number = word.split('<').next().unwrap_or(word);
    let value = match number.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16).ok().map(|value| i64::try_from(value).unwrap_or(i64::MAX)),
        None => number.parse().ok(),
    };
    if value.is_none() && number != "?" {
        return None;
    }
    let is_errno =
        |word: &&str| word.starts_with('E') && word.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit());
    let errno = words.next().filter(is_errno).filter(|_| value == Some(-1)).map(str::to_owned);
    Some((text.get(..at)?, Result { value, errno }))
}

/// How lines of ld.so begin that tell of its work: `LD_DEBUG=files`, `bindings`, `symbols`, `versions`, `reloc`, `scopes`, `statistics`.
const OF_LINKER: [&str; 18] = [
    "file=",
    "binding file ",
    "symbol=",
    "relocation processing: ",
    "checking for version ",
    "transferring control: ",
    "calling fini: ",
    "calling preinit: ",
    "runtime linker statistics",
    "dynamic: ",
    "entry: ",
    "opening file=",
    "closing file=",
    "total startup time",
    "time needed",
    "number of ",
    "Initial object scopes",
    "object=",
];

/// A line of `strace -k`: one of the functions that led to a call.
pub fn is_frame(line: &[u8]) -> bool {
    line.starts_with(b" > ") && line.trim_ascii_end().ends_with(b"]")
}

/// `4711:`, a tab, `find library=libc.so.6 [0]; searching`
fn of_linker(text: &str) -> Option<Line> {
    let (pid, rest) = text.trim_start().split_once(":\t")?;
    let pid = Some(pid.parse().ok()?);
    let rest = rest.trim_start();
    let word = |text: &str| text.split([' ', ';']).next().unwrap_or_default().chars().take(400).collect::<String>();
    let event = match () {
        () if rest.starts_with("find library=") => Event::Find(word(rest.strip_prefix("find library=")?)),
        () if rest.starts_with("trying file=") => Event::Try(word(rest.strip_prefix("trying file=")?)),
        () if rest.starts_with("calling init") || rest.starts_with("initialize program") => Event::Found,
        () if rest.starts_with("search path=") || rest.starts_with("search cache=") || rest.is_empty() => {
            Event::Message(String::new())
        }
        () if OF_LINKER.iter().any(|words| rest.starts_with(words)) => Event::Linker,
        () if rest.contains("error: ") => Event::Message(rest.chars().take(300).collect()),
        () => return None,
    };
    Some(Line { pid, event })
}

/// The first quoted text of the arguments of a call: its path.
pub(super) fn first_text(args: &str) -> Option<String> {
    let at = args.find('"')?;
    Some(quoted(args.get(at + 1..)?).0)
}

/// All quoted texts, one behind the other.
pub(super) fn texts(args: &str) -> String {
    let mut out = String::new();
    let mut rest = args;
    while let Some(at) = rest.find('"') {
        let (text, length) = quoted(rest.get(at + 1..).unwrap_or_default());
        out.push_str(&text);
        rest = rest.get(at + 1 + length..).unwrap_or_default();
        if rest.starts_with("...") {
            out.push('…');
        }
    }
    out
}

/// `\x2f` (`-xx`).
fn hex(letter: u8, digits: Option<&[u8]>) -> Option<u8> {
    (letter == b'x').then(|| u8::from_str_radix(digits?.to_str().ok()?, 16).ok()).flatten()
}

/// The address of a peer in full: `127.0.0.1:80` of a call that has it in pieces.
pub(super) fn peer(args: &str) -> Option<String> {
    let port: u16 = args.split_once("_port=htons(")?.1.split(')').next()?.parse().ok()?;
    match args.split_once("inet_addr(\"") {
        Some((_, rest)) => Some(format!("{}:{port}", rest.split('"').next()?)),
        None => Some(format!("[{}]:{port}", args.split_once("inet_pton(AF_INET6, \"")?.1.split('"').next()?)),
    }
}

/// A text up to its closing quote, as it was before strace wrote it in C, and how many bytes that took.
fn quoted(text: &str) -> (String, usize) {
    let bytes = text.as_bytes();
    let mut out: Vec<u8> = Vec::new();
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        at += 1;
        match byte {
            b'"' => break,
            b'\\' => {
                let next = bytes.get(at).copied().unwrap_or_default();
                let octal = bytes
                    .get(at..)
                    .unwrap_or_default()
                    .iter()
                    .take(3)
                    .take_while(|b| (b'0'..=b'7').contains(b))
                    .count();
                if octal > 0 {
                    let digits = bytes.get(at..at + octal).unwrap_or_default();
                    let value = digits.iter().fold(0_u32, |value, digit| value * 8 + u32::from(digit - b'0'));
                    out.push(u8::try_from(value & 0xFF).unwrap_or_default());
                    at += octal;
                } else if let Some(value) = hex(next, bytes.get(at + 1..at + 3)) {
                    out.push(value);
                    at += 3;
                } else {
                    out.push(match next {
                        b'n' => b'\n',
                        b't' => b'\t',
                        b'r' => b'\r',
                        other => other,
                    });
                    at += 1;
                }
            }
            other => out.push(other),
        }
    }
    (out.to_str_lossy().into_owned(), at.min(text.len()))
}
