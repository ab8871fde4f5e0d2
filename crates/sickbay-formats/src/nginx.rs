//! nginx.conf as nginx itself reads it (ngx_conf_file.c): directives, each with the blocks that it stands in and the bytes that it came from;
//! and the first thing at which nginx would stop, in its own words. Nothing is expanded; `include` is a directive like any other.

mod judge;
mod reader;
pub mod rules;

use std::ops::Range;

use bstr::{BString, ByteSlice};

pub use self::judge::{Judge, listened};
use self::reader::{Reader, Token};

/// A directive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Directive {
    /// The line that it begins on, from 1 on.
    pub line: usize,
    /// The line of its `;` or `{`, which nginx names when it complains.
    pub end_line: usize,
    /// The names of the blocks around it, the outermost first: `http`, `server`.
    pub inside: Vec<BString>,
    /// The directive that opens the block around it, by its place in the list.
    pub parent: Option<usize>,
    /// Whether it opens a block.
    pub opens: bool,
    /// Its name and arguments, without quotes.
    pub words: Vec<BString>,
    /// Where each of them stands, with its quotes.
    pub places: Vec<Range<usize>>,
    /// The whole, with its `;` or `{`.
    pub whole: Range<usize>,
}

/// At what nginx would stop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The line that nginx names.
    pub line: usize,
    /// What nginx says: `unexpected "}"`.
    pub says: String,
}

/// A file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parsed {
    /// What stands before the problem, in order; that which opens a block too.
    pub directives: Vec<Directive>,
    /// Why the rest is not read.
    pub problem: Option<Problem>,
    /// Whether something else than nginx reads a part of it (Lua), or there is more than is kept: what is said of it is no certainty.
    pub is_foreign: bool,
    /// Blocks that were not closed when a problem was met, the outermost first.
    pub open: Vec<usize>,
}

/// So many directives are kept, and blocks may be so deep.
const MOST: usize = 50_000;
const DEEPEST: usize = 64;

/// Reads a file up to the first thing that nginx does not accept as a text.
pub fn read(text: &[u8]) -> Parsed {
    let mut reader = Reader::new(text);
    let mut parsed = Parsed::default();
    let mut open: Vec<usize> = Vec::new();
    loop {
        let (words, token) = reader.directive();
        let opens = match token {
            Token::Error(says) => {
                parsed.problem = Some(Problem { line: reader.line, says });
                break;
            }
            Token::End if open.is_empty() => break,
            Token::End => {
                let says = "unexpected end of file, expecting \"}\"".to_owned();
                parsed.problem = Some(Problem { line: reader.line, says });
                break;
            }
            Token::Close if open.pop().is_some() => continue,
            Token::Close => {
                parsed.problem = Some(Problem { line: reader.line, says: "unexpected \"}\"".to_owned() });
                break;
            }
            Token::Semicolon => false,
            Token::Open => true,
        };
        let Some(first) = words.first() else { continue };
        if parsed.directives.len() >= MOST || open.len() >= DEEPEST {
            parsed.is_foreign = true;
            break;
        }
        let is_lua = opens && first.text.ends_with(b"_by_lua_block");
        let names = open.iter().filter_map(|at| parsed.directives.get(*at)?.words.first().cloned());
        parsed.directives.push(Directive {
            line: first.line,
            end_line: reader.line,
            inside: names.collect(),
            parent: open.last().copied(),
            opens,
            whole: first.place.start..reader.at,
            places: words.iter().map(|word| word.place.clone()).collect(),
            words: words.into_iter().map(|word| word.text).collect(),
        });
        if is_lua {
            // Lua's braces, quotes and comments are none of nginx's.
            parsed.is_foreign = true;
            reader.skip_block();
        } else if opens {
            open.push(parsed.directives.len() - 1);
        }
    }
    parsed.open = open;
    if parsed.is_foreign {
        parsed.problem = None;
    }
    parsed
}

/// The directives of a file in their order.
pub fn parse(text: &[u8]) -> Vec<Directive> {
    read(text).directives
}

impl Directive {
    /// Its name.
    pub fn name(&self) -> &[u8] {
        self.words.first().map_or(b"", |word| word.as_slice())
    }

    /// The first argument as text.
    pub fn value(&self) -> Option<&str> {
        self.words.get(1)?.to_str().ok()
    }

    /// The value of an argument `name=value`: `backlog` of `listen 80 backlog=511`.
    pub fn option(&self, name: &str) -> Option<&str> {
        let options = self.words.iter().skip(1);
        options.filter_map(|word| word.to_str().ok()?.strip_prefix(name)?.strip_prefix('=')).next()
    }

    /// Whether one of its arguments is this word.
    pub fn has(&self, word: &str) -> bool {
        self.words.iter().skip(1).any(|one| *one == word)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directives() {
        let text = b"worker_processes 16; # auto\nevents {\n  worker_connections  10240;\n}\nhttp {\n\
            log_format main '$remote_addr \"$request\";';\n  server {\n    listen 80 backlog=65533;\n    location / { return 301 https://${host}$uri; }\n  }\n}\nuser a;";
        let all: Vec<_> = parse(text)
            .into_iter()
            .map(|one| {
                let words: Vec<String> = one.words.iter().map(ToString::to_string).collect();
                let inside: Vec<String> = one.inside.iter().map(ToString::to_string).collect();
                (one.line, inside.join("/"), words.join("|"))
            })
            .collect();
        let line = |line: usize, inside: &str, words: &str| (line, inside.to_owned(), words.to_owned());
        assert_eq!(
            all,
            [
                line(1, "", "worker_processes|16"),
                line(2, "", "events"),
                line(3, "events", "worker_connections|10240"),
                line(5, "", "http"),
                line(6, "http", "log_format|main|$remote_addr \"$request\";"),
                line(7, "http", "server"),
                line(8, "http/server", "listen|80|backlog=65533"),
                line(9, "http/server", "location|/"),
                line(9, "http/server/location", "return|301|https://${host}$uri"),
                line(12, "", "user|a"),
            ]
        );
        let all = parse(text);
        let listen = all.iter().find(|one| one.name() == b"listen").expect("there");
        assert_eq!((listen.value(), listen.option("backlog")), (Some("80"), Some("65533")));
        assert_eq!(listen.parent.and_then(|at| all.get(at)).map(Directive::name), Some(&b"server"[..]));
        assert_eq!(text.get(listen.whole.clone()), Some(&b"listen 80 backlog=65533;"[..]));
        let format = all.iter().find(|one| one.name() == b"log_format").and_then(|one| one.places.get(2).cloned());
        assert_eq!(format.and_then(|place| text.get(place)), Some(&b"'$remote_addr \"$request\";'"[..]));
    }

    #[test]
    fn lua_is_not_nginx() {
        let text = b"content_by_lua_block {\n local a = {[\"}\"] = '{'} -- }\n}\nroot /a;";
        let parsed = read(text);
        assert!(parsed.is_foreign);
        assert_eq!(parsed.problem, None);
    }

    proptest::proptest! {
        #[test]
        fn never_panics(bytes: Vec<u8>) {
            let parsed = read(&bytes);
            for one in parsed.directives {
                assert!(bytes.get(one.whole).is_some());
                assert!(one.places.iter().all(|place| bytes.get(place.clone()).is_some()));
            }
        }

        #[test]
        fn never_panics_on_blocks(text in "[a ${}\"';#\\\\\n]{0,60}") {
            let _ = read(text.as_bytes());
        }
    }
}
