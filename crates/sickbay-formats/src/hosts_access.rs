//! `/etc/hosts.allow` and `/etc/hosts.deny` of TCP wrappers (hosts_access(5), hosts_options(5)).

use bstr::{BString, ByteSlice};

/// `daemons : clients [: option …]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// The line on which it begins, from 1 on.
    pub line: usize,
    daemons: Vec<BString>,
    clients: Vec<BString>,
    options: Vec<BString>,
}

impl Rule {
    /// Whether it is about this program. Whom an EXCEPT leaves out it is not about.
    pub fn is_for(&self, daemon: &[u8]) -> bool {
        named(&self.daemons, |word| {
            // sshd@192.0.2.1: for one of the server's addresses.
            let program = word.split_once_str("@").map_or(word, |(program, _)| program);
            word.eq_ignore_ascii_case(b"ALL") || program.eq_ignore_ascii_case(daemon)
        })
    }

    /// Whether it is about every client, wherever it comes from.
    pub fn is_for_every_client(&self) -> bool {
        !self.clients.iter().any(|word| word.eq_ignore_ascii_case(b"EXCEPT"))
            && self.clients.iter().any(|word| word.eq_ignore_ascii_case(b"ALL"))
    }

    /// Whether an option lets in whom it is about, in whichever file it stands.
    pub fn allows(&self) -> bool {
        self.options.iter().any(|option| option.eq_ignore_ascii_case(b"allow"))
    }
}

/// Whether a list names something; what stands behind EXCEPT is taken out.
fn named(words: &[BString], is_meant: impl Fn(&[u8]) -> bool) -> bool {
    let mut parts = words.split(|word| word.eq_ignore_ascii_case(b"EXCEPT"));
    let has = |part: &[BString]| part.iter().any(|word| is_meant(word));
    parts.next().is_some_and(has) && !parts.any(has)
}

/// The rules of a file, in order; a line that is none is left out, as tcpd leaves it.
pub fn rules(text: &[u8]) -> Vec<Rule> {
    let mut all = Vec::new();
    let mut lines = text.lines().enumerate();
    while let Some((index, line)) = lines.next() {
        let mut whole = line.to_vec();
        // A backslash before the end joins the next line.
        while whole.ends_with(b"\\") {
            whole.pop();
            match lines.next() {
                Some((_, next)) => whole.extend(next),
                None => break,
            }
        }
        if whole.starts_with(b"#") {
            continue;
        }
        let fields = fields(&whole);
        if let [daemons, clients, options @ ..] = fields.as_slice() {
            let words = |list: &BString| {
                list.fields_with(|c| c.is_whitespace() || c == ',').map(BString::from).collect::<Vec<_>>()
            };
            let options = options.iter().map(|option| option.trim_ascii().into()).collect();
            all.push(Rule { line: index + 1, daemons: words(daemons), clients: words(clients), options });
        }
    }
    all
}

/// What stands between the colons; those in `[…]`, of an IPv6 address, and those behind a backslash part nothing.
fn fields(line: &[u8]) -> Vec<BString> {
    let mut fields = vec![BString::default()];
    let (mut inside, mut escaped) = (false, false);
    for &byte in line {
        match byte {
            b':' if !inside && !escaped => fields.push(BString::default()),
            _ => {
                inside = byte == b'[' || inside && byte != b']';
                if let Some(field) = fields.last_mut() {
                    field.push(byte);
                }
            }
        }
        escaped = byte == b'\\' && !escaped;
    }
    fields
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_meant() {
        let text = b"# ALL: ALL\nsshd, vsftpd : ALL EXCEPT 192.0.2.\nALL EXCEPT sshd: ALL\nALL:\\\nALL: spawn /bin/echo: allow\nsshd@192.0.2.1: [2001:db8::]/32\nnothing\n";
        let all = rules(text);
        assert_eq!(all.iter().map(|rule| rule.line).collect::<Vec<_>>(), [2, 3, 4, 6]);
        assert_eq!(all.iter().map(|rule| rule.is_for(b"sshd")).collect::<Vec<_>>(), [true, false, true, true]);
        assert_eq!(all.iter().map(Rule::is_for_every_client).collect::<Vec<_>>(), [false, true, true, false]);
        assert_eq!(all.iter().map(Rule::allows).collect::<Vec<_>>(), [false, false, true, false]);
        assert!(rules(b"\\").is_empty() && rules(b"").is_empty());
    }

    proptest::proptest! {
        #[test]
        fn never_panics(text: Vec<u8>) {
            let _ = rules(&text);
        }
    }
}
