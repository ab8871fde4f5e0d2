//! nginx.conf: directives, each with the blocks that it stands in. Nothing is expanded; `include` is a directive like any other.

use bstr::{BString, ByteSlice};

/// A directive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Directive {
    /// The line that it begins on, from 1 on.
    pub line: usize,
    /// The names of the blocks around it, the outermost first: `http`, `server`.
    pub inside: Vec<BString>,
    /// Its name and arguments, without quotes.
    pub words: Vec<BString>,
}

/// So many directives are kept, and blocks may be so deep.
const MOST: usize = 50_000;
const DEEPEST: usize = 32;

/// The directives of a file in their order; that which opens a block too.
pub fn parse(text: &[u8]) -> Vec<Directive> {
    let mut all = Vec::new();
    let mut inside: Vec<BString> = Vec::new();
    let mut words: Vec<BString> = Vec::new();
    let (mut line, mut begun) = (1, 1);
    let mut word: Option<Vec<u8>> = None;
    let mut quote = None;
    let mut bytes = text.iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        if byte == b'\n' {
            line += 1;
        }
        if let Some(closing) = quote {
            match byte {
                b'\\' => {
                    if let Some(next) = bytes.next() {
                        line += usize::from(next == b'\n');
                        word.get_or_insert_default().push(next);
                    }
                }
                _ if byte == closing => quote = None,
                _ => word.get_or_insert_default().push(byte),
            }
            continue;
        }
        match byte {
            b'"' | b'\'' if word.is_none() => {
                if words.is_empty() {
                    begun = line;
                }
                quote = Some(byte);
                word = Some(Vec::new());
            }
            b'#' if word.is_none() => {
                while bytes.peek().is_some_and(|next| *next != b'\n') {
                    bytes.next();
                }
            }
            // `${name}` is part of a word.
            b'{' if word.as_ref().is_some_and(|word| word.ends_with(b"$")) => {
                word.get_or_insert_default().push(byte);
                while let Some(next) = bytes.next_if(|next| !matches!(next, b'}' | b'\n')) {
                    word.get_or_insert_default().push(next);
                }
                if let Some(next) = bytes.next_if_eq(&b'}') {
                    word.get_or_insert_default().push(next);
                }
            }
            b';' | b'{' => {
                words.extend(word.take().map(BString::from));
                let words = std::mem::take(&mut words);
                if byte == b'{' && inside.len() < DEEPEST {
                    inside.push(words.first().cloned().unwrap_or_default());
                }
                if !words.is_empty() && all.len() < MOST {
                    let around = inside.len() - usize::from(byte == b'{' && !inside.is_empty());
                    let inside = inside.get(..around).unwrap_or_default().to_vec();
                    all.push(Directive { line: begun, inside, words });
                }
            }
            b'}' => {
                words.clear();
                word = None;
                inside.pop();
            }
            byte if byte.is_ascii_whitespace() => words.extend(word.take().map(BString::from)),
            byte => {
                if words.is_empty() && word.is_none() {
                    begun = line;
                }
                word.get_or_insert_default().push(byte);
            }
        }
    }
    all
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
        let listen = parse(text).into_iter().find(|one| one.name() == b"listen").expect("there");
        assert_eq!((listen.value(), listen.option("backlog")), (Some("80"), Some("65533")));
    }

    proptest::proptest! {
        #[test]
        fn never_panics(bytes: Vec<u8>) {
            let _ = parse(&bytes);
        }

        #[test]
        fn never_panics_on_blocks(text in "[a ${}\"';#\\\\\n]{0,60}") {
            let _ = parse(text.as_bytes());
        }
    }
}
