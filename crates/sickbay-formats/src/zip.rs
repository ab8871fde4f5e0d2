//! Archives of ZIP, as jars are: the list at their end, and single members. Only what is stored or deflated; no ZIP64, which no program is.

use std::io::Read;

/// A member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its name with its directories.
    pub name: String,
    /// Whether it is deflated; else it is stored.
    pub is_deflated: bool,
    /// Bytes in the archive.
    pub packed: u64,
    /// Where its own header begins.
    pub header: u64,
}

/// Where the list is: its first byte, and how long it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct List {
    /// From the beginning of the archive.
    pub start: u64,
    /// In bytes.
    pub length: u64,
    /// What stands before the archive: a script that starts it.
    pub before: u64,
}

/// The end with its longest comment.
pub const END: u64 = 22 + 65_535;
/// The longest list that is read, and the longest member.
pub const LONGEST: u64 = 32 << 20;
const MEMBER: u64 = 1 << 20;
/// A member's own header, without its name.
const HEADER: usize = 30;

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(bytes.get(at..at.checked_add(2)?)?.try_into().ok()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from(u32::from_le_bytes(bytes.get(at..at.checked_add(4)?)?.try_into().ok()?)))
}

/// Finds the list by the last bytes of an archive of this size.
pub fn list(tail: &[u8], size: u64) -> Option<List> {
    let at = (0..tail.len().checked_sub(21)?).rev().find(|at| {
        let rest = tail.get(*at..).unwrap_or_default();
        rest.starts_with(b"PK\x05\x06")
            && u16_at(rest, 20).is_some_and(|comment| rest.len() == 22 + usize::from(comment))
    })?;
    let end = tail.get(at..)?;
    let (length, start) = (u32_at(end, 12)?, u32_at(end, 16)?);
    let end_at = size.checked_sub(u64::try_from(tail.len() - at).ok()?)?;
    let before = end_at.checked_sub(start.checked_add(length)?)?;
    (length <= LONGEST).then_some(List { start: start + before, length, before })
}

/// The members that a list names.
pub fn members(list: &[u8]) -> Vec<Member> {
    let mut all = Vec::new();
    let mut rest = list;
    while rest.starts_with(b"PK\x01\x02") {
        let lengths = (u16_at(rest, 28), u16_at(rest, 30), u16_at(rest, 32));
        let (Some(name), Some(extra), Some(comment)) = lengths else { break };
        let name_end = 46 + usize::from(name);
        let Some(text) = rest.get(46..name_end) else { break };
        let (Some(method), Some(packed), Some(header)) = (u16_at(rest, 10), u32_at(rest, 20), u32_at(rest, 42)) else {
            break;
        };
        if matches!(method, 0 | 8) {
            let name = String::from_utf8_lossy(text).into_owned();
            all.push(Member { name, is_deflated: method == 8, packed, header });
        }
        let Some(next) = rest.get(name_end + usize::from(extra) + usize::from(comment)..) else { break };
        rest = next;
    }
    all
}

/// How far behind the beginning of its header a member's bytes begin.
pub fn offset(header: &[u8]) -> Option<u64> {
    let is_one = header.starts_with(b"PK\x03\x04");
    let (name, extra) = (u16_at(header, 26)?, u16_at(header, 28)?);
    is_one.then(|| HEADER as u64 + u64::from(name) + u64::from(extra))
}

/// What a member holds, up to a megabyte.
pub fn unpacked(member: &Member, bytes: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    if member.is_deflated {
        flate2::read::DeflateDecoder::new(bytes).take(MEMBER + 1).read_to_end(&mut out).ok()?;
    } else {
        bytes.take(MEMBER + 1).read_to_end(&mut out).ok()?;
    }
    (u64::try_from(out.len()).ok()? <= MEMBER).then_some(out)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    /// An archive with one deflated member behind a script.
    fn archive(name: &str, text: &[u8]) -> Vec<u8> {
        let mut packed = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::default());
        packed.write_all(text).expect("memory");
        let packed = packed.finish().expect("memory");
        let (n, p, t) = (name.len() as u16, packed.len() as u32, text.len() as u32);
        let common = |out: &mut Vec<u8>| {
            out.extend([20, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
            out.extend(p.to_le_bytes());
            out.extend(t.to_le_bytes());
            out.extend(n.to_le_bytes());
            out.extend([0, 0]);
        };
        let mut out = b"PK\x03\x04".to_vec();
        common(&mut out);
        out.extend(name.as_bytes());
        out.extend(&packed);
        let start = out.len() as u32;
        out.extend(b"PK\x01\x02\x14\0");
        common(&mut out);
        out.extend([0; 10]);
        out.extend([0; 4]);
        out.extend(name.as_bytes());
        let length = out.len() as u32 - start;
        out.extend(b"PK\x05\x06\0\0\0\0\x01\0\x01\0");
        out.extend(length.to_le_bytes());
        out.extend(start.to_le_bytes());
        out.extend([0, 0]);
        [b"#!/bin/bash\n".to_vec(), out].concat()
    }

    #[test]
    fn behind_a_script() {
        let bytes = archive("BOOT-INF/classes/application.properties", b"server.port=8080\n");
        let list = list(&bytes, bytes.len() as u64).expect("a list");
        assert_eq!(list.before, 12);
        let start = list.start as usize;
        let members = members(&bytes[start..start + list.length as usize]);
        let [member] = members.as_slice() else { panic!("{members:?}") };
        assert_eq!(member.name, "BOOT-INF/classes/application.properties");
        let header = (member.header + list.before) as usize;
        let data = header + offset(&bytes[header..]).expect("a header") as usize;
        let text = unpacked(member, &bytes[data..data + member.packed as usize]);
        assert_eq!(text.as_deref(), Some(&b"server.port=8080\n"[..]));
    }

    proptest::proptest! {
        #[test]
        fn never_panics(bytes: Vec<u8>, at in 0_usize..200) {
            let mut broken = archive("a", b"text");
            if let Some(byte) = broken.get_mut(at) {
                *byte = bytes.first().copied().unwrap_or(255);
            }
            for one in [bytes, broken] {
                let _ = (list(&one, 1 << 20), offset(&one), members(&one));
                let member = Member { name: String::new(), is_deflated: true, packed: 9, header: 0 };
                let _ = unpacked(&member, &one);
                let at = one.windows(4).position(|part| part == b"PK\x01\x02").unwrap_or(0);
                let _ = members(&one[at..]);
            }
        }
    }
}
