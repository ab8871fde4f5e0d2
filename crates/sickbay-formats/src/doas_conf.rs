//! doas.conf(5): rules of which the last that matches decides.

use bstr::{BStr, ByteSlice};

/// A rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule<'a> {
    /// `permit`, else `deny`.
    pub permits: bool,
    /// No password is asked for.
    pub nopass: bool,
    /// A user, or a group behind a colon.
    pub identity: &'a BStr,
    /// As whom; everybody when nobody is named.
    pub target: Option<&'a BStr>,
    /// The only command that it is about.
    pub command: Option<&'a BStr>,
}

/// All rules; `None` when a line is none, and doas does nothing at all.
pub fn rules(text: &[u8]) -> Option<Vec<Rule<'_>>> {
    let mut all = Vec::new();
    for line in text.lines() {
        let line = line.split(|&byte| byte == b'#').next().unwrap_or_default();
        let mut words = line.fields_with(|c: char| c.is_ascii_whitespace()).map(BStr::new);
        let Some(action) = words.next() else { continue };
        let permits = match action.as_bytes() {
            b"permit" => true,
            b"deny" => false,
            _ => return None,
        };
        let mut rule = Rule { permits, nopass: false, identity: BStr::new(""), target: None, command: None };
        loop {
            let word = words.next()?;
            match word.as_bytes() {
                b"nopass" => rule.nopass = true,
                b"persist" | b"keepenv" | b"nolog" => {}
                b"setenv" => {
                    words.by_ref().find(|word| word.ends_with(b"}"))?;
                }
                _ => {
                    rule.identity = word;
                    break;
                }
            }
        }
        while let Some(word) = words.next() {
            match word.as_bytes() {
                b"as" => rule.target = Some(words.next()?),
                b"cmd" => {
                    rule.command = Some(words.next()?);
                    break;
                }
                _ => return None,
            }
        }
        all.push(rule);
    }
    Some(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads() {
        let text =
            b"# who\npermit persist setenv { A B=c } :wheel\npermit nopass alice as root cmd /bin/ls -l\ndeny bob\n";
        let all = rules(text).unwrap();
        assert_eq!(all.iter().map(|rule| rule.identity.to_string()).collect::<Vec<_>>(), [":wheel", "alice", "bob"]);
        assert_eq!(all[1].target, Some(BStr::new("root")));
        assert_eq!(all[1].command, Some(BStr::new("/bin/ls")));
        assert!(all[1].nopass && !all[0].nopass && !all[2].permits);
        assert_eq!(rules(b"allow alice\n"), None);
        assert_eq!(rules(b"permit\n"), None);
    }
}
