//! The metadata that LVM2 keeps on its physical volumes: which logical volumes there are, and where their bytes lie.
//!
//! Enough to find file systems inside of volume groups without touching the machine's own LVM, whose volume groups may
//! have the same names. Source: `lib/format_text/layout.h` and the text written by vgcfgbackup(8).

mod config;

use self::config::{Node, Scalar, config, list, number, section, sections, text_of};

const SECTOR: u64 = 512;
const LABEL_SECTORS: usize = 4;
const MDA_MAGIC: &[u8] = b" LVM2 x[5A%r0N*>";
/// The header of a metadata area; the text behind it wraps around to its end.
const MDA_HEADER: u64 = 512;

/// A physical volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pv {
    /// Its UUID, in the groups of 6-4-4-4-4-4-6 in which LVM writes it.
    pub uuid: String,
    /// Its size in bytes when it was made.
    pub size: u64,
    /// The volume group as this physical volume knows it. `None` when it belongs to none yet, keeps no metadata
    /// (`--metadatacopies 0`), or the metadata cannot be read.
    pub vg: Option<Vg>,
}

/// A volume group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vg {
    /// Its name.
    pub name: String,
    /// Its UUID.
    pub uuid: String,
    /// Counts the changes; of two copies the one with the higher number is the newer.
    pub seqno: u64,
    /// Size of an extent in bytes.
    pub extent_size: u64,
    /// Its physical volumes, in the order in which [`Stripe::pv`] counts them.
    pub pvs: Vec<VgPv>,
    /// Its logical volumes, hidden ones included.
    pub lvs: Vec<Lv>,
}

/// A physical volume as its group describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VgPv {
    /// Its UUID, as in [`Pv::uuid`].
    pub uuid: String,
    /// Where its first extent begins, in bytes.
    pub pe_start: u64,
    /// Its size in bytes; 0 when the group does not say.
    pub size: u64,
    /// The name in the group's text, by which segments refer to it.
    name: String,
}

/// A logical volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lv {
    /// Its name.
    pub name: String,
    /// Its UUID.
    pub uuid: String,
    /// Whether it gets a node of its own; parts of mirrors and pools do not.
    pub visible: bool,
    /// Its segments by [`Segment::start`].
    pub segments: Vec<Segment>,
}

/// A run of a logical volume that is laid out in one way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Where it begins in the logical volume, in bytes.
    pub start: u64,
    /// Its length in bytes.
    pub len: u64,
    /// How it is laid out.
    pub layout: Layout,
}

/// How a [`Segment`] is laid out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Layout {
    /// Over one physical area (linear) or several in turn.
    Striped {
        /// Bytes on one stripe before the next one's turn; 0 when there is only one.
        stripe_size: u64,
        /// The areas.
        stripes: Vec<Stripe>,
    },
    /// Anything else by its name in the metadata: `raid1`, `thin`, `cache`, `snapshot`.
    Other(String),
}

/// An area of a physical volume.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stripe {
    /// Which of [`Vg::pvs`].
    pub pv: usize,
    /// Where it begins on that physical volume, in bytes.
    pub start: u64,
}

impl Pv {
    /// Reads the label and the first metadata area from the first bytes of a device; [`crate::superblock::HEAD`] of
    /// them hold both, unless the physical volume was made with a larger metadata area.
    pub fn read(head: &[u8]) -> Option<Pv> {
        let header = pv_header(head)?;
        let uuid = dashed(header.get(..32)?)?;
        let size = u64_at(header, 32)?;
        // Two lists of areas, (offset, size) each, each list ended by zeros: data, then metadata.
        let mut areas = Vec::new();
        let mut at = 40;
        for list in [&mut Vec::new(), &mut areas] {
            while let (Some(offset), Some(len)) = (u64_at(header, at), u64_at(header, at + 8)) {
                at += 16;
                if offset == 0 {
                    break;
                }
                list.push((offset, len));
            }
        }
        let vg =
            areas.into_iter().find_map(|(offset, len)| metadata(head, offset, len).and_then(|text| Vg::parse(&text)));
        Some(Pv { uuid, size, vg })
    }

    /// Only the UUID.
    pub(crate) fn uuid_in(head: &[u8]) -> Option<String> {
        dashed(pv_header(head)?.get(..32)?)
    }
}

impl Lv {
    /// Its size in bytes.
    pub fn size(&self) -> u64 {
        self.segments.iter().map(|segment| segment.start.saturating_add(segment.len)).max().unwrap_or(0)
    }

    /// Where a byte of the logical volume lies: the physical volume, the byte on it, and how many bytes follow there
    /// in one piece. `None` behind the end and in segments that are neither linear nor striped.
    pub fn locate(&self, offset: u64) -> Option<(usize, u64, u64)> {
        let segment = self.segments.iter().find(|s| offset >= s.start && offset - s.start < s.len)?;
        let Layout::Striped { stripe_size, stripes } = &segment.layout else { return None };
        let within = offset - segment.start;
        let left = segment.len - within;
        match stripes.as_slice() {
            [] => None,
            [only] => Some((only.pv, only.start.checked_add(within)?, left)),
            several => {
                let chunk = within.checked_div(*stripe_size)?;
                let count = several.len() as u64;
                let stripe = several.get(usize::try_from(chunk % count).ok()?)?;
                let in_chunk = within % stripe_size;
                let on_pv = (chunk / count).checked_mul(*stripe_size)?.checked_add(in_chunk)?;
                Some((stripe.pv, stripe.start.checked_add(on_pv)?, (stripe_size - in_chunk).min(left)))
            }
        }
    }
}

impl Vg {
    /// Reads the text that vgcfgbackup(8) writes and that lies in metadata areas.
    pub fn parse(text: &str) -> Option<Vg> {
        let nodes = config(text);
        let (name, body) = nodes.iter().find_map(|node| match node {
            Node::Section(name, body) => Some((name, body)),
            Node::Value(..) => None,
        })?;
        let extent_size = number(body, "extent_size")?.checked_mul(SECTOR)?;
        let pvs: Vec<VgPv> = sections(section(body, "physical_volumes"))
            .map(|(name, pv)| {
                Some(VgPv {
                    uuid: text_of(pv, "id")?,
                    pe_start: number(pv, "pe_start")?.checked_mul(SECTOR)?,
                    size: number(pv, "dev_size").unwrap_or(0).checked_mul(SECTOR)?,
                    name: name.to_owned(),
                })
            })
            .collect::<Option<_>>()?;
        let lvs = sections(section(body, "logical_volumes"))
            .filter_map(|(name, lv)| {
                let mut segments: Vec<Segment> = sections(lv)
                    .filter(|(name, _)| name.starts_with("segment"))
                    .map(|(_, segment)| read_segment(segment, extent_size, &pvs))
                    .collect::<Option<_>>()?;
                segments.sort_by_key(|segment| segment.start);
                let visible = list(lv, "status").any(|word| matches!(word, Scalar::Text(text) if text == "VISIBLE"));
                Some(Lv { name: name.to_owned(), uuid: text_of(lv, "id")?, visible, segments })
            })
            .collect();
        let seqno = number(body, "seqno").unwrap_or(0);
        Some(Vg { name: name.clone(), uuid: text_of(body, "id")?, seqno, extent_size, pvs, lvs })
    }
}

fn read_segment(segment: &[Node], extent_size: u64, pvs: &[VgPv]) -> Option<Segment> {
    let start = number(segment, "start_extent")?.checked_mul(extent_size)?;
    let len = number(segment, "extent_count")?.checked_mul(extent_size)?;
    start.checked_add(len)?;
    let kind = text_of(segment, "type")?;
    if kind != "striped" {
        return Some(Segment { start, len, layout: Layout::Other(kind) });
    }
    let words: Vec<&Scalar> = list(segment, "stripes").collect();
    let stripes = words
        .chunks(2)
        .map(|pair| {
            let [Scalar::Text(name), Scalar::Number(extent)] = pair else { return None };
            let pv = pvs.iter().position(|pv| pv.name == *name)?;
            let start = extent.checked_mul(extent_size)?.checked_add(pvs.get(pv)?.pe_start)?;
            Some(Stripe { pv, start })
        })
        .collect::<Option<Vec<_>>>();
    // A stripe may lie on another logical volume, as the parts of a mirror do.
    let layout = match stripes {
        Some(stripes) => {
            let stripe_size = number(segment, "stripe_size").unwrap_or(0).checked_mul(SECTOR)?;
            Layout::Striped { stripe_size, stripes }
        }
        None => Layout::Other(kind),
    };
    Some(Segment { start, len, layout })
}

/// The bytes from the header of the physical volume on.
fn pv_header(head: &[u8]) -> Option<&[u8]> {
    (0..LABEL_SECTORS).find_map(|index| {
        let begin = index * SECTOR as usize;
        let label = head.get(begin..begin + SECTOR as usize)?;
        let known =
            label.starts_with(b"LABELONE") && label.get(24..32)? == b"LVM2 001" && u64_at(label, 8)? == index as u64;
        let offset = usize::try_from(u32_at(label, 20)?).ok()?;
        if known { label.get(offset..) } else { None }
    })
}

/// The newest text in a metadata area.
fn metadata(head: &[u8], offset: u64, len: u64) -> Option<String> {
    let begin = usize::try_from(offset).ok()?;
    let header = head.get(begin..)?.get(..MDA_HEADER as usize)?;
    if header.get(4..20)? != MDA_MAGIC {
        return None;
    }
    let area_size = u64_at(header, 32)?.min(len);
    let (text_at, text_len) = (u64_at(header, 40)?, u64_at(header, 48)?);
    if text_at < MDA_HEADER || text_at >= area_size || text_len > area_size - MDA_HEADER {
        return None;
    }
    let piece = |from: u64, len: u64| {
        let from = begin.checked_add(usize::try_from(from).ok()?)?;
        head.get(from..from.checked_add(usize::try_from(len).ok()?)?)
    };
    let first = text_len.min(area_size - text_at);
    let mut text = piece(text_at, first)?.to_vec();
    text.extend_from_slice(piece(MDA_HEADER, text_len - first)?);
    String::from_utf8(text).ok()
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at.checked_add(4)?)?.try_into().ok().map(u32::from_le_bytes)
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..at.checked_add(8)?)?.try_into().ok().map(u64::from_le_bytes)
}

/// 32 characters as LVM shows them.
fn dashed(uuid: &[u8]) -> Option<String> {
    let uuid = std::str::from_utf8(uuid).ok().filter(|uuid| uuid.bytes().all(|byte| byte.is_ascii_alphanumeric()))?;
    let mut rest = uuid;
    let mut parts = Vec::new();
    for len in [6, 4, 4, 4, 4, 4, 6] {
        let (part, tail) = rest.split_at_checked(len)?;
        parts.push(part);
        rest = tail;
    }
    Some(parts.join("-"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Written by vgcfgbackup's writer, LVM 2.03: a striped, a grown linear and a mirrored volume.
    const TEXT: &str = r#"
system {
id = "5kOXfi-1tZE-nKwM-AbCd-0000-1111-222233"
seqno = 7
format = "lvm2"			# informational
status = ["RESIZEABLE", "READ", "WRITE"]
flags = []
extent_size = 8192		# 4 Megabytes
max_lv = 0
max_pv = 0
metadata_copies = 0

physical_volumes {

pv0 {
id = "aaaaaa-aaaa-aaaa-aaaa-aaaa-aaaa-aaaaaa"
device = "/dev/vda2"	# Hint only

status = ["ALLOCATABLE"]
flags = []
dev_size = 20969472
pe_start = 2048
pe_count = 2559
}

pv1 {
id = "bbbbbb-bbbb-bbbb-bbbb-bbbb-bbbb-bbbbbb"
device = "/dev/vdb"
dev_size = 20971520
pe_start = 4096
pe_count = 2559
}
}

logical_volumes {

root {
id = "cccccc-cccc-cccc-cccc-cccc-cccc-cccccc"
status = ["READ", "WRITE", "VISIBLE"]
creation_host = "web-07"
segment_count = 2

segment1 {
start_extent = 0
extent_count = 10
type = "striped"
stripe_count = 1	# linear
stripes = [
"pv0", 5
]
}
segment2 {
start_extent = 10
extent_count = 2
type = "striped"
stripe_count = 1
stripes = ["pv1", 0]
}
}

fast {
id = "dddddd-dddd-dddd-dddd-dddd-dddd-dddddd"
status = ["READ", "WRITE", "VISIBLE"]
segment_count = 1
segment1 {
start_extent = 0
extent_count = 4
type = "striped"
stripe_count = 2
stripe_size = 128
stripes = [ "pv0", 100, "pv1", 200 ]
}
}

safe {
id = "eeeeee-eeee-eeee-eeee-eeee-eeee-eeeeee"
status = ["READ", "WRITE", "VISIBLE"]
segment1 {
start_extent = 0
extent_count = 4
type = "raid1"
raids = ["safe_rmeta_0", "safe_rimage_0"]
}
}

safe_rimage_0 {
id = "ffffff-ffff-ffff-ffff-ffff-ffff-ffffff"
status = ["READ", "WRITE"]
segment1 {
start_extent = 0
extent_count = 4
type = "striped"
stripe_count = 1
stripes = ["pv0", 400]
}
}
}

}
# Generated by LVM2 version 2.03.16(2) (2022-05-18): Fri Jan  1 00:00:00 2021

contents = "Text Format Volume Group"
version = 1
description = "Created \"before\" executing 'lvextend'"
"#;

    const EXTENT: u64 = 4 << 20;

    #[test]
    fn volumes_and_where_they_lie() {
        let vg = Vg::parse(TEXT).expect("parses");
        assert_eq!((vg.name.as_str(), vg.seqno, vg.extent_size, vg.pvs.len()), ("system", 7, EXTENT, 2));
        assert_eq!((vg.pvs[0].pe_start, vg.pvs[1].pe_start), (1 << 20, 2 << 20));
        let lv = |name: &str| vg.lvs.iter().find(|lv| lv.name == name).expect("listed");

        let root = lv("root");
        assert_eq!((root.size(), root.visible), (12 * EXTENT, true));
        assert_eq!(root.locate(0), Some((0, (1 << 20) + 5 * EXTENT, 10 * EXTENT)));
        assert_eq!(root.locate(10 * EXTENT + 3), Some((1, (2 << 20) + 3, 2 * EXTENT - 3)));
        assert_eq!(root.locate(12 * EXTENT), None);

        let fast = lv("fast");
        assert_eq!(fast.locate(0), Some((0, (1 << 20) + 100 * EXTENT, 64 << 10)));
        assert_eq!(fast.locate(64 << 10), Some((1, (2 << 20) + 200 * EXTENT, 64 << 10)));
        assert_eq!(fast.locate((128 << 10) + 1), Some((0, (1 << 20) + 100 * EXTENT + (64 << 10) + 1, (64 << 10) - 1)));

        assert_eq!(lv("safe").segments[0].layout, Layout::Other("raid1".to_owned()));
        assert_eq!(lv("safe").locate(0), None);
        assert!(!lv("safe_rimage_0").visible);
    }

    /// A physical volume whose text begins near the end of the metadata area and goes on at its beginning.
    fn device(text: &str, text_at: usize) -> Vec<u8> {
        const AREA: usize = 4096;
        const LEN: usize = 8192;
        let mut bytes = vec![0; 64 << 10];
        let put = |bytes: &mut Vec<u8>, at: usize, what: &[u8]| bytes[at..at + what.len()].copy_from_slice(what);
        put(&mut bytes, 512, b"LABELONE");
        put(&mut bytes, 520, &1u64.to_le_bytes());
        put(&mut bytes, 532, &32u32.to_le_bytes());
        put(&mut bytes, 536, b"LVM2 001");
        put(&mut bytes, 544, &[b'a'; 32]);
        put(&mut bytes, 576, &(1u64 << 30).to_le_bytes());
        put(&mut bytes, 584, &(1u64 << 20).to_le_bytes());
        put(&mut bytes, 616, &(AREA as u64).to_le_bytes());
        put(&mut bytes, 624, &(LEN as u64).to_le_bytes());
        put(&mut bytes, AREA + 4, MDA_MAGIC);
        put(&mut bytes, AREA + 32, &(LEN as u64).to_le_bytes());
        put(&mut bytes, AREA + 40, &(text_at as u64).to_le_bytes());
        put(&mut bytes, AREA + 48, &(text.len() as u64).to_le_bytes());
        let first = text.len().min(LEN - text_at);
        put(&mut bytes, AREA + text_at, &text.as_bytes()[..first]);
        put(&mut bytes, AREA + 512, &text.as_bytes()[first..]);
        bytes
    }

    #[test]
    fn a_text_that_wraps_around() {
        for text_at in [512, 7000, 8191] {
            let pv = Pv::read(&device(TEXT, text_at)).expect("a physical volume");
            assert_eq!(pv.uuid, "aaaaaa-aaaa-aaaa-aaaa-aaaa-aaaa-aaaaaa");
            assert_eq!(pv.size, 1 << 30);
            assert_eq!(pv.vg, Vg::parse(TEXT), "text at {text_at}");
        }
    }

    #[test]
    fn a_volume_of_no_group() {
        let pv = Pv::read(&device("", 512)).expect("a physical volume");
        assert_eq!(pv.vg, None);
        assert_eq!(Pv::read(&[0; 4096]), None);
    }

    #[test]
    fn sections_without_end_are_none() {
        let text = format!("{}{}", "a{".repeat(400_000), "}".repeat(400_000));
        assert_eq!(Vg::parse(&text), None);
    }

    proptest! {
        #[test]
        fn never_panics(cut in 0usize..4000, noise in any::<[u8; 24]>(), at in 0usize..5000) {
            let mut bytes = device(TEXT.get(..cut).unwrap_or(TEXT), 7000);
            let end = (at + noise.len()).min(bytes.len());
            bytes[at..end].copy_from_slice(&noise[..end - at]);
            if let Some(vg) = Pv::read(&bytes).and_then(|pv| pv.vg) {
                for lv in &vg.lvs {
                    lv.locate(lv.size().saturating_sub(1));
                    lv.locate(cut as u64);
                }
            }
            Pv::read(&bytes[..at]);
        }
    }
}
