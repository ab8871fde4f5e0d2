//! Private keys of ssh as OpenSSH 6.5 and later write them (PROTOCOL.key), and their public halves.

use base64ct::{Base64, Encoding};
use ed25519_compact::{KeyPair, Seed};

/// The only type that is made here.
const TYPE: &[u8] = b"ssh-ed25519";
/// Characters of a line, as ssh-keygen(1) has them.
const WIDTH: usize = 70;
/// A body that is not encrypted is padded as if its cipher had blocks of so many bytes.
const BLOCK: usize = 8;

/// A key, as text for two files.
pub struct KeyFiles {
    /// What the key's file holds.
    pub private: Vec<u8>,
    /// What the file with `.pub` holds: one line.
    pub public: Vec<u8>,
}

/// The Ed25519 key that a seed stands for. `check` is written twice, by which a reader sees that a passphrase was right.
pub fn ed25519(seed: [u8; 32], check: [u8; 4], comment: &str) -> KeyFiles {
    let pair = KeyPair::from_seed(Seed::new(seed));
    let mut public = Vec::new();
    string(&mut public, TYPE);
    string(&mut public, pair.pk.as_ref());

    let mut body = [check, check].concat();
    body.extend(&public);
    // The secret half is the seed and the public half once more.
    string(&mut body, pair.sk.as_ref());
    string(&mut body, comment.as_bytes());
    let mut pad = 0u8;
    while !body.len().is_multiple_of(BLOCK) {
        pad += 1;
        body.push(pad);
    }

    let mut key = b"openssh-key-v1\0".to_vec();
    string(&mut key, b"none");
    string(&mut key, b"none");
    string(&mut key, b"");
    key.extend(1u32.to_be_bytes());
    string(&mut key, &public);
    string(&mut key, &body);

    let mut private = b"-----BEGIN OPENSSH PRIVATE KEY-----\n".to_vec();
    for line in Base64::encode_string(&key).as_bytes().chunks(WIDTH) {
        private.extend(line);
        private.push(b'\n');
    }
    private.extend(b"-----END OPENSSH PRIVATE KEY-----\n");
    let mut line = [TYPE, b" ", Base64::encode_string(&public).as_bytes()].concat();
    if !comment.is_empty() {
        line.extend([b" ", comment.as_bytes()].concat());
    }
    line.push(b'\n');
    KeyFiles { private, public: line }
}

/// RFC 4251: a length of four bytes, then so many bytes.
fn string(out: &mut Vec<u8>, text: &[u8]) {
    out.extend(u32::try_from(text.len()).unwrap_or(u32::MAX).to_be_bytes());
    out.extend(text);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_public_half_is_that_of_rfc_8032() {
        // Test 1 of section 7.1.
        let seed = [
            0x9d, 0x61, 0xb1, 0x9d, 0xef, 0xfd, 0x5a, 0x60, 0xba, 0x84, 0x4a, 0xf4, 0x92, 0xec, 0x2c, 0xc4, 0x44, 0x49,
            0xc5, 0x69, 0x7b, 0x32, 0x69, 0x19, 0x70, 0x3b, 0xac, 0x03, 0x1c, 0xae, 0x7f, 0x60,
        ];
        let made = ed25519(seed, [1, 2, 3, 4], "");
        let text = String::from_utf8(made.public).unwrap();
        let bytes = Base64::decode_vec(text.trim().strip_prefix("ssh-ed25519 ").unwrap()).unwrap();
        let public = [
            0xd7, 0x5a, 0x98, 0x01, 0x82, 0xb1, 0x0a, 0xb7, 0xd5, 0x4b, 0xfe, 0xd3, 0xc9, 0x64, 0x07, 0x3a, 0x0e, 0xe1,
            0x72, 0xf3, 0xda, 0xa6, 0x23, 0x25, 0xaf, 0x02, 0x1a, 0x68, 0xf7, 0x07, 0x51, 0x1a,
        ];
        assert!(bytes.ends_with(&public));
    }

    /// The word of ssh-keygen, which reads the key and says the same public half.
    #[test]
    #[allow(clippy::disallowed_methods)] // another program is asked
    fn ssh_keygen_reads_it() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        for comment in ["", "a", "root@host"] {
            let path = dir.path().join("key");
            let made = ed25519([7; 32], [9; 4], comment);
            std::fs::write(&path, &made.private).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
            let told = std::process::Command::new("ssh-keygen").arg("-y").arg("-f").arg(&path).output();
            let told = told.expect("ssh-keygen, which ./x test installs");
            assert!(told.status.success(), "{}", String::from_utf8_lossy(&told.stderr));
            assert_eq!(told.stdout, made.public);
        }
    }

    proptest! {
        #[test]
        fn never_panics(seed: [u8; 32], check: [u8; 4], comment in ".*") {
            let made = ed25519(seed, check, &comment);
            prop_assert!(made.private.ends_with(b"PRIVATE KEY-----\n"));
        }
    }
}
