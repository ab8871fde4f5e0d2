//! grub.conf and menu.lst, the configuration of GRUB 0.97 (GRUB legacy).

use std::ops::Range;

use bstr::{BString, ByteSlice};

use crate::lines::{self, lines};

/// A word and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Word {
    /// The word.
    pub text: BString,
    /// Its bytes in the file.
    pub range: Range<usize>,
}

/// A command of the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// What it is, without the `=` that may follow: `kernel`.
    pub name: Word,
    /// What follows.
    pub words: Vec<Word>,
}

/// A `title` with its commands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The line of the title without the command's name.
    pub title: Word,
    /// In order.
    pub commands: Vec<Command>,
}

/// A whole configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Config {
    /// What stands before the first title.
    pub globals: Vec<Command>,
    /// In order.
    pub entries: Vec<Entry>,
}

/// What `default` or `fallback` names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Choice {
    /// The entry with this number, from 0.
    Number(usize),
    /// The one that `savedefault` wrote last, in the file `default`.
    Saved,
}

impl Entry {
    /// The first command of this name.
    pub fn command(&self, name: &str) -> Option<&Command> {
        self.commands.iter().find(|command| command.name.text == name)
    }
}

impl Config {
    /// The last global command of this name.
    pub fn global(&self, name: &str) -> Option<&Command> {
        self.globals.iter().rev().find(|command| command.name.text == name)
    }

    /// The entry that is booted when nobody chooses: the first where none is named.
    pub fn default_entry(&self) -> Choice {
        match self.global("default").and_then(|command| command.words.first()) {
            Some(word) if word.text == "saved" => Choice::Saved,
            Some(word) => Choice::Number(number(word).unwrap_or(0)),
            None => Choice::Number(0),
        }
    }

    /// The entries that are tried when the default one fails.
    pub fn fallback(&self) -> Vec<usize> {
        self.global("fallback").map(|command| command.words.iter().filter_map(number).collect()).unwrap_or_default()
    }
}

fn number(word: &Word) -> Option<usize> {
    word.text.to_str().ok()?.parse().ok()
}

/// Reads a configuration.
pub fn parse(text: &[u8]) -> Config {
    let mut config = Config::default();
    let mut at = 0;
    for line in lines(text) {
        let start = at;
        at += line.text.len() + line.end.len();
        let trimmed = line.text.trim_ascii_start();
        if trimmed.is_empty() || trimmed.starts_with(b"#") {
            continue;
        }
        // The name ends at a blank or a `=`.
        let begin = start + line.text.len() - trimmed.len();
        let length =
            trimmed.iter().position(|byte| matches!(byte, b' ' | b'\t' | b'=' | b'\r')).unwrap_or(trimmed.len());
        let (name, rest) = trimmed.split_at(length);
        let name = Word { text: name.into(), range: begin..begin + length };
        let skipped = rest.iter().take_while(|byte| matches!(byte, b' ' | b'\t' | b'=')).count();
        let rest = rest.get(skipped..).unwrap_or_default();
        let from = begin + length + skipped;
        if name.text == "title" {
            let title = rest.trim_ascii_end();
            let title = Word { text: title.into(), range: from..from + title.len() };
            config.entries.push(Entry { title, commands: Vec::new() });
            continue;
        }
        let words = lines::words(rest)
            .map(|range| Word {
                text: rest.get(range.clone()).unwrap_or_default().into(),
                range: from + range.start..from + range.end,
            })
            .collect();
        let command = Command { name, words };
        match config.entries.last_mut() {
            Some(entry) => entry.commands.push(command),
            None => config.globals.push(command),
        }
    }
    config
}

/// What is to be written anew.
#[derive(Clone, Debug, Default)]
pub struct New {
    /// Seconds of waiting.
    pub timeout: u32,
    /// Lines of one's own before the entries: `serial`, `terminal`.
    pub globals: Vec<String>,
    /// The partition as GRUB names it: `(hd0,0)`.
    pub root: String,
    /// Newest first.
    pub entries: Vec<NewEntry>,
}

/// An entry to be written.
#[derive(Clone, Debug, Default)]
pub struct NewEntry {
    /// What the menu shows.
    pub title: String,
    /// The kernel's path on its partition.
    pub kernel: String,
    /// What the kernel is told.
    pub options: String,
    /// The initramfs's path on its partition.
    pub initrd: Option<String>,
}

/// A configuration, the first entry its default.
pub fn write(new: &New) -> String {
    let mut out =
        format!("# written by sickbay from the kernels that are complete\ndefault=0\ntimeout={}\n", new.timeout);
    for line in &new.globals {
        out.push_str(line);
        out.push('\n');
    }
    for entry in &new.entries {
        out.push_str(&format!(
            "title {}\n\troot {}\n\tkernel {} {}\n",
            entry.title, new.root, entry.kernel, entry.options
        ));
        if let Some(initrd) = &entry.initrd {
            out.push_str(&format!("\tinitrd {initrd}\n"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const CENTOS: &[u8] = b"# grub.conf generated by anaconda\n#boot=/dev/vda\ndefault=1\ntimeout 5\nfallback 0 2\n\
        splashimage=(hd0,0)/boot/grub/splash.xpm.gz\nhiddenmenu\n\
        title CentOS (2.6.32-696.el6.x86_64)\n\troot (hd0,0)\n\
        \tkernel /boot/vmlinuz-2.6.32-696.el6.x86_64 ro root=UUID=ab rd_NO_LUKS\n\
        \tinitrd /boot/initramfs-2.6.32-696.el6.x86_64.img\ntitle other\n\tchainloader +1\n";

    #[test]
    fn a_configuration_is_read() {
        let config = parse(CENTOS);
        assert_eq!(config.default_entry(), Choice::Number(1));
        assert_eq!(config.fallback(), [0, 2]);
        assert_eq!(config.entries.len(), 2);
        let entry = &config.entries[0];
        assert_eq!(entry.title.text, "CentOS (2.6.32-696.el6.x86_64)");
        let kernel = entry.command("kernel").unwrap();
        assert_eq!(kernel.words[2].text, "root=UUID=ab");
        assert_eq!(CENTOS.get(kernel.words[2].range.clone()), Some(&b"root=UUID=ab"[..]));
        assert_eq!(entry.command("root").unwrap().words[0].text, "(hd0,0)");
        assert_eq!(parse(b"default saved\n").default_entry(), Choice::Saved);
    }

    #[test]
    fn what_is_written_is_read() {
        let entry = |n: u32| NewEntry {
            title: format!("Linux {n}"),
            kernel: format!("/boot/vmlinuz-{n}"),
            options: "ro root=UUID=1 quiet".into(),
            initrd: (n == 1).then(|| "/boot/initramfs-1.img".into()),
        };
        let text = write(&New {
            timeout: 5,
            globals: vec!["serial --unit=0".into()],
            root: "(hd0,0)".into(),
            entries: vec![entry(1), entry(2)],
        });
        let config = parse(text.as_bytes());
        assert_eq!(config.default_entry(), Choice::Number(0));
        assert_eq!(config.entries.len(), 2);
        assert_eq!(config.entries[0].command("initrd").unwrap().words[0].text, "/boot/initramfs-1.img");
        assert!(config.entries[1].command("initrd").is_none());
        assert_eq!(config.entries[1].command("kernel").unwrap().words.len(), 4);
    }

    proptest::proptest! {
        #[test]
        fn every_word_stands_where_it_says(text in "(title|kernel|root|default|[ =\t\r\n#a()0,/])*") {
            let config = parse(text.as_bytes());
            let commands = config.globals.iter().chain(config.entries.iter().flat_map(|entry| &entry.commands));
            for word in commands.flat_map(|command| command.words.iter().chain([&command.name])) {
                proptest::prop_assert_eq!(text.as_bytes().get(word.range.clone()), Some(word.text.as_slice()));
            }
        }

        #[test]
        fn never_panics(bytes: Vec<u8>) {
            let _ = parse(&bytes);
        }
    }
}
