//! The header of a GUID partition table (UEFI specification, chapter 5.3): in sector 1, and its twin in the last sector.

use crate::boot_sector::{le32, le64};

/// A header whose checksum is right. Places are numbers of sectors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    raw: Vec<u8>,
    /// Where it is.
    pub own: u64,
    /// Where its twin is.
    pub twin: u64,
    /// The first sector that a partition may have.
    pub first_usable: u64,
    /// Where the partitions are described.
    pub entries: u64,
    /// How many bytes that is.
    pub entries_size: usize,
    /// The checksum of these bytes.
    entries_crc: u32,
}

impl Header {
    /// The header in a sector, which is sector `lba` of the disk; `None` when there is none or a checksum is wrong.
    pub fn parse(sector: &[u8], lba: u64) -> Option<Header> {
        let length = usize::try_from(le32(sector, 12)?).ok().filter(|length| (92..=512).contains(length))?;
        let raw = sector.get(..length)?.to_vec();
        let count = usize::try_from(le32(&raw, 80)?).ok()?;
        let size = usize::try_from(le32(&raw, 84)?).ok()?;
        let header = Header {
            own: le64(&raw, 24)?,
            twin: le64(&raw, 32)?,
            first_usable: le64(&raw, 40)?,
            entries: le64(&raw, 72)?,
            // A megabyte of entries is 8192 partitions.
            entries_size: count.checked_mul(size).filter(|size| *size <= 1 << 20)?,
            entries_crc: le32(&raw, 88)?,
            raw,
        };
        let sound = header.raw.starts_with(b"EFI PART")
            && header.own == lba
            && (128..=4096).contains(&size)
            && le32(&header.raw, 16)? == own_crc(&header.raw);
        sound.then_some(header)
    }

    /// Whether these are the bytes that describe the partitions.
    pub fn fits(&self, entries: &[u8]) -> bool {
        entries.len() == self.entries_size && crc32(entries) == self.entries_crc
    }

    /// The header of the twin, whose entries begin in sector `entries`.
    pub fn twin(&self, entries: u64) -> Vec<u8> {
        let mut raw = self.raw.clone();
        let mut put = |at: usize, bytes: &[u8]| {
            if let Some(place) = raw.get_mut(at..at + bytes.len()) {
                place.copy_from_slice(bytes);
            }
        };
        put(24, &self.twin.to_le_bytes());
        put(32, &self.own.to_le_bytes());
        put(72, &entries.to_le_bytes());
        let crc = own_crc(&raw);
        if let Some(place) = raw.get_mut(16..20) {
            place.copy_from_slice(&crc.to_le_bytes());
        }
        raw
    }
}

/// The checksum of a header, taken with zeros in its own place.
fn own_crc(raw: &[u8]) -> u32 {
    let mut zeroed = raw.to_vec();
    if let Some(place) = zeroed.get_mut(16..20) {
        place.fill(0);
    }
    crc32(&zeroed)
}

/// The CRC of GPT (CRC-32/ISO-HDLC, as in Ethernet).
pub fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| if crc & 1 == 1 { (crc >> 1) ^ 0xEDB8_8320 } else { crc >> 1 })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(own: u64, twin: u64, entries: &[u8]) -> Vec<u8> {
        let mut raw = vec![0; 512];
        raw[..8].copy_from_slice(b"EFI PART");
        raw[8..16].copy_from_slice(&[0, 0, 1, 0, 92, 0, 0, 0]);
        raw[24..32].copy_from_slice(&own.to_le_bytes());
        raw[32..40].copy_from_slice(&twin.to_le_bytes());
        raw[40..48].copy_from_slice(&34_u64.to_le_bytes());
        raw[72..80].copy_from_slice(&(own - 32).to_le_bytes());
        raw[80..88].copy_from_slice(&[128, 0, 0, 0, 128, 0, 0, 0]);
        raw[88..92].copy_from_slice(&crc32(entries).to_le_bytes());
        let crc = own_crc(&raw[..92]);
        raw[16..20].copy_from_slice(&crc.to_le_bytes());
        raw
    }

    #[test]
    fn the_twin_is_made_of_the_backup() {
        assert_eq!(crc32(b"123456789"), 0xCBF4_3926);
        let entries = vec![7; 128 * 128];
        let backup = Header::parse(&header(999, 1, &entries), 999).unwrap();
        assert!(backup.fits(&entries) && !backup.fits(&entries[1..]));
        let primary = Header::parse(&backup.twin(2), 1).unwrap();
        assert_eq!((primary.own, primary.twin, primary.entries), (1, 999, 2));
        assert!(primary.fits(&entries));
        // And back again: the same bytes.
        assert_eq!(primary.twin(967), header(999, 1, &entries)[..92]);
        assert_eq!(Header::parse(&header(999, 1, &entries), 1), None);
    }

    proptest::proptest! {
        #[test]
        fn never_panics(bytes: Vec<u8>, lba: u64) {
            if let Some(header) = Header::parse(&bytes, lba) {
                let _ = header.twin(lba);
            }
        }

        #[test]
        fn one_wrong_byte_is_seen(at in 0_usize..92, by in 1_u8..) {
            let mut sector = header(999, 1, &[]);
            sector[at] ^= by;
            proptest::prop_assert_eq!(Header::parse(&sector, 999), None);
        }
    }
}
