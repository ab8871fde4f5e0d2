//! GRUB's environment block, `grubenv`: 1024 bytes, lines `name=value`, filled up with `#`.

use std::ops::Range;

use bstr::{BString, ByteSlice};

use crate::lines::lines;

/// The size that GRUB insists on, in bytes (`GRUB_ENVBLK_DEFAULT_SIZE`).
pub const SIZE: usize = 1024;

const SIGNATURE: &[u8] = b"# GRUB Environment Block\n";

/// A variable of the block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Variable {
    /// The name.
    pub name: BString,
    /// The value without its escapes (a backslash before a backslash or a newline).
    pub value: BString,
    /// The bytes of the value as they stand, when nothing in them is escaped.
    pub range: Option<Range<usize>>,
}

/// Whether GRUB accepts the block: it begins with the signature. Another size is accepted for reading.
pub fn is_sound(block: &[u8]) -> bool {
    block.starts_with(SIGNATURE)
}

/// The variables; none of a block that GRUB does not accept.
pub fn variables(block: &[u8]) -> Vec<Variable> {
    if !is_sound(block) {
        return Vec::new();
    }
    let mut all = Vec::new();
    let mut at = 0;
    for line in lines(block) {
        let start = at;
        at += line.text.len() + line.end.len();
        if line.text.starts_with(b"#") {
            continue;
        }
        let Some(equals) = line.text.find_byte(b'=') else { continue };
        let (name, value) = (line.text.get(..equals), line.text.get(equals + 1..));
        let (Some(name), Some(value)) = (name, value) else { continue };
        let escaped = value.contains(&b'\\');
        let mut plain = Vec::new();
        let mut bytes = value.iter();
        while let Some(&byte) = bytes.next() {
            plain.extend(if byte == b'\\' { bytes.next().copied() } else { Some(byte) });
        }
        let from = start + equals + 1;
        all.push(Variable {
            name: name.into(),
            value: plain.into(),
            range: (!escaped).then_some(from..from + value.len()),
        });
    }
    all
}

/// The block with `name` set to `value`, as large as it was; a new block when `block` is none that GRUB accepts. `None`
/// when there is no room.
pub fn with(block: &[u8], name: &str, value: &[u8]) -> Option<Vec<u8>> {
    let size = if is_sound(block) { block.len().max(SIZE) } else { SIZE };
    let mut out = Vec::with_capacity(size);
    let mut done = false;
    let mut set = |out: &mut Vec<u8>| {
        if !std::mem::replace(&mut done, true) {
            out.extend_from_slice(name.as_bytes());
            out.push(b'=');
            for &byte in value {
                out.extend((byte == b'\\' || byte == b'\n').then_some(b'\\'));
                out.push(byte);
            }
            out.push(b'\n');
        }
    };
    if is_sound(block) {
        for line in lines(block) {
            // The filling; behind it is a newline where an editor saved the block.
            if line.text.iter().all(|&byte| byte == b'#') {
                continue;
            }
            if line.text.strip_prefix(name.as_bytes()).is_some_and(|rest| rest.starts_with(b"=")) {
                set(&mut out);
            } else {
                out.extend_from_slice(line.text);
                out.push(b'\n');
            }
        }
    } else {
        out.extend_from_slice(SIGNATURE);
    }
    set(&mut out);
    if out.len() > size {
        return None;
    }
    out.resize(size, b'#');
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_that_an_editor_saved_has_room() {
        let block = [with(b"", "saved_entry", b"a").unwrap().as_slice(), b"\n"].concat();
        let new = with(&block, "saved_entry", b"longer than before").unwrap();
        assert_eq!(variables(&new)[0].value, "longer than before");
        assert_eq!(new.len(), block.len());
    }

    #[test]
    fn a_block_is_edited() {
        let new = with(b"", "saved_entry", b"a>b").unwrap();
        assert_eq!(new.len(), SIZE);
        let all = variables(&new);
        assert_eq!(all.len(), 1);
        assert_eq!(all[0].value, "a>b");
        assert_eq!(new.get(all[0].range.clone().unwrap()), Some(&b"a>b"[..]));
        let two = with(&new, "kernelopts", b"root=UUID=1 ro ").unwrap();
        let three = with(&two, "saved_entry", b"x\\y").unwrap();
        let all: Vec<_> = variables(&three).into_iter().map(|v| (v.name.to_string(), v.value.to_string())).collect();
        assert_eq!(all, [("saved_entry".into(), "x\\y".into()), ("kernelopts".into(), "root=UUID=1 ro ".into())]);
        assert_eq!(three.len(), SIZE);
        assert_eq!(with(&new, "x", &[b'y'; 2000]), None);
    }

    proptest::proptest! {
        #[test]
        fn never_panics(bytes: Vec<u8>) {
            let block = [SIGNATURE, &bytes].concat();
            let _ = variables(&block);
            let _ = with(&block, "a", b"b");
        }

        #[test]
        fn what_is_set_is_read(name in "[a-z]{1,8}", value in "[ -~\n]{0,60}", other in "[a-z ]{0,30}") {
            let block = with(&with(b"", "other_one", other.as_bytes()).unwrap(), &name, value.as_bytes()).unwrap();
            let all = variables(&block);
            proptest::prop_assert!(all.iter().any(|v| v.name == name.as_bytes()) );
            // A newline in a value is legal for GRUB, but nothing here writes one.
            if !value.contains('\n') {
                proptest::prop_assert!(all.iter().any(|v| v.name == name.as_bytes() && v.value == value.as_bytes()));
                proptest::prop_assert!(all.iter().any(|v| v.name == "other_one" && v.value == other.as_bytes()));
            }
            proptest::prop_assert_eq!(block.len(), SIZE);
        }
    }
}
