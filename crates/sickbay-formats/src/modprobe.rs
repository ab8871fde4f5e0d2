//! Files of modprobe.d(5): what keeps a module from being loaded.

use bstr::ByteSlice;

use crate::lines::lines;
use crate::modules::plain;
use crate::span::Span;

/// A line that keeps a module from being loaded: for the devices that would ask for it (`blacklist`), or altogether, by a command
/// in its place that does nothing (`install NAME /bin/false`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ban {
    /// The module, with `_` for `-`.
    pub module: String,
    /// Where the module's name stands.
    pub span: Span,
}

/// Commands that load nothing, whatever directory they are in.
const NOTHING: [&[u8]; 3] = [b"true", b"false", b":"];

/// The lines that keep modules from being loaded.
pub fn bans(text: &[u8]) -> Vec<Ban> {
    lines(text)
        .filter_map(|line| {
            let mut words = line.text.fields_with(|one| one.is_ascii_whitespace());
            let command = words.next()?;
            let name = words.next()?;
            let is_ban = match command {
                b"blacklist" => true,
                b"install" => NOTHING.contains(&words.next()?.rsplit(|byte| *byte == b'/').next()?),
                _ => false,
            };
            if !is_ban {
                return None;
            }
            let start = line.text.find(name).filter(|_| command != name).or_else(|| line.text.rfind(name))?;
            let module = plain(name.to_str().ok()?);
            Some(Ban { module, span: line.span(start..start + name.len()) })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_bans_a_module() {
        let text = b"# blacklist a\nblacklist virtio-net\n  install usb-storage /bin/true\ninstall snd modprobe snd2\n\
            options virtio_net csum=0\nalias x y\ninstall cramfs\nblacklist";
        let all: Vec<_> = bans(text).into_iter().map(|ban| (ban.module, ban.span)).collect();
        assert_eq!(
            all,
            [
                ("virtio_net".to_owned(), Span { line: 2, column: 11, len: 10 }),
                ("usb_storage".to_owned(), Span { line: 3, column: 11, len: 11 }),
            ]
        );
    }

    proptest::proptest! {
        #[test]
        fn never_panics(text in "(blacklist|install|[ \t\n/:a-]){0,20}", bytes: Vec<u8>) {
            let _ = (bans(text.as_bytes()), bans(&bytes));
        }
    }
}
