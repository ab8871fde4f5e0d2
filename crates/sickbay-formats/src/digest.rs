//! Digests of files as package databases write them: hexadecimal, the algorithm told apart by the length.

use std::io::{self, Read};

/// The digest of a whole file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Digest {
    /// RFC 1321: dpkg, and rpm before 4.6 (RHEL 5).
    Md5([u8; 16]),
    /// FIPS 180-4: some builds of rpm.
    Sha1([u8; 20]),
    /// FIPS 180-4: rpm since RHEL 6.
    Sha256([u8; 32]),
    /// FIPS 180-4.
    Sha512([u8; 64]),
}

impl Digest {
    /// Reads a digest from its hexadecimal digits; `None` when it is none, or of an algorithm that is not known.
    pub fn from_hex(text: &[u8]) -> Option<Digest> {
        Some(match text.len() {
            32 => Digest::Md5(unhex(text)?),
            40 => Digest::Sha1(unhex(text)?),
            64 => Digest::Sha256(unhex(text)?),
            128 => Digest::Sha512(unhex(text)?),
            _ => return None,
        })
    }

    /// Whether `content` has this digest.
    pub fn fits(&self, content: &[u8]) -> bool {
        self.fits_read(content).unwrap_or(false)
    }

    /// Whether what can be read has this digest; it is not held in memory.
    ///
    /// # Errors
    /// Those of reading.
    pub fn fits_read(&self, content: impl Read) -> io::Result<bool> {
        Ok(match self {
            Digest::Md5(digest) => sum::<md5::Md5>(content)?.as_slice() == digest,
            Digest::Sha1(digest) => sum::<sha1::Sha1>(content)?.as_slice() == digest,
            Digest::Sha256(digest) => sum::<sha2::Sha256>(content)?.as_slice() == digest,
            Digest::Sha512(digest) => sum::<sha2::Sha512>(content)?.as_slice() == digest,
        })
    }
}

impl std::fmt::Display for Digest {
    /// `md5:d41d8c…`
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (name, bytes): (&str, &[u8]) = match self {
            Digest::Md5(bytes) => ("md5", bytes),
            Digest::Sha1(bytes) => ("sha1", bytes),
            Digest::Sha256(bytes) => ("sha256", bytes),
            Digest::Sha512(bytes) => ("sha512", bytes),
        };
        write!(f, "{name}:")?;
        bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

fn sum<D: md5::Digest>(mut content: impl Read) -> io::Result<md5::digest::Output<D>> {
    let mut hasher = D::new();
    let mut buffer = vec![0; 256 << 10];
    loop {
        match content.read(&mut buffer) {
            Ok(0) => return Ok(hasher.finalize()),
            Ok(size) => hasher.update(buffer.get(..size).unwrap_or_default()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

fn unhex<const N: usize>(text: &[u8]) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(text.chunks(2)) {
        let [high, low] = pair else { return None };
        let digit = |byte: u8| char::from(byte).to_digit(16);
        *byte = u8::try_from(digit(*high)? * 16 + digit(*low)?).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_nothing_and_of_something() {
        let empty = [
            "d41d8cd98f00b204e9800998ecf8427e",
            "da39a3ee5e6b4b0d3255bfef95601890afd80709",
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
            "cf83e1357eefb8bdf1542850d66d8007d620e4050b5715dc83f4a921d36ce9ce\
             47d0d13c5d85f2b0ff8318d2877eec2f63b931bd47417a81a538327af927da3e",
        ];
        for hex in empty {
            let digest = Digest::from_hex(hex.as_bytes()).expect(hex);
            assert!(digest.fits(b"") && !digest.fits(b"abc"), "{hex}");
        }
        assert!(Digest::from_hex(b"900150983CD24FB0D6963F7D28E17F72").expect("capitals").fits(b"abc"));
        assert_eq!(Digest::from_hex(b"newconffile"), None);
        assert_eq!(Digest::from_hex("é".repeat(16).as_bytes()), None);
    }
}
