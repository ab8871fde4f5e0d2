//! Whether an sshd takes a key of this type and length.
//!
//! The type of a key is not the algorithm of its signatures: a key of type `ssh-rsa` signs with `rsa-sha2-256` and `rsa-sha2-512`
//! as well, and is taken by every release, while signatures of the algorithm `ssh-rsa` are not since OpenSSH 8.8.

use base64ct::{Base64, Encoding};
use bstr::ByteSlice;

use super::Key;
use crate::sshd_config::Version;
use crate::wildcard::fits;

/// What decides.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    /// The release of sshd; `None` when it cannot be told.
    pub version: Option<Version>,
    /// `PubkeyAcceptedAlgorithms`, or `PubkeyAcceptedKeyTypes` as it was called before 8.5, in lower case; empty when it is not set.
    pub accepted: String,
    /// `RequiredRSASize`, when it is set.
    pub least_rsa: Option<u32>,
}

/// Why it does not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Releases since this one do not take keys of the type, unless they are told to.
    Since(Version),
    /// The list of accepted algorithms has none with which a key of the type signs.
    Listed,
    /// A key of RSA has so many bits, and must have so many.
    Short {
        /// It has.
        bits: u32,
        /// It must have.
        least: u32,
    },
}

/// The algorithms with which keys of a type sign; `None` for a type that is not known.
fn algorithms(kind: &[u8]) -> Option<&'static [&'static str]> {
    Some(match kind {
        b"ssh-rsa" => &["ssh-rsa", "rsa-sha2-256", "rsa-sha2-512"],
        b"ssh-dss" => &["ssh-dss"],
        b"ssh-ed25519" => &["ssh-ed25519"],
        b"ecdsa-sha2-nistp256" => &["ecdsa-sha2-nistp256"],
        b"ecdsa-sha2-nistp384" => &["ecdsa-sha2-nistp384"],
        b"ecdsa-sha2-nistp521" => &["ecdsa-sha2-nistp521"],
        b"sk-ssh-ed25519@openssh.com" => &["sk-ssh-ed25519@openssh.com"],
        b"sk-ecdsa-sha2-nistp256@openssh.com" => {
            &["sk-ecdsa-sha2-nistp256@openssh.com", "webauthn-sk-ecdsa-sha2-nistp256@openssh.com"]
        }
        _ => return None,
    })
}

/// Since OpenSSH 7.0, keys of DSA are not taken unless a setting says so; 10.0 does not know them any more.
const NO_DSA: Version = Version(7, 0);
const DSA_GONE: Version = Version(10, 0);
/// Since 7.6 a key of RSA has 1024 bits at least; before, it was 768.
const RSA_1024: Version = Version(7, 6);

impl Key<'_> {
    /// Its type as it is written: `ssh-rsa`.
    pub fn kind(&self) -> &[u8] {
        self.rest.split(u8::is_ascii_whitespace).next().unwrap_or_default()
    }

    /// How many bits a key of RSA has.
    pub fn rsa_bits(&self) -> Option<u32> {
        let data = self.rest.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty()).nth(1)?;
        let blob = Base64::decode_vec(data.to_str().ok()?).ok()?;
        // Type, exponent and modulus, each behind its length (RFC 4253, 6.6).
        let (kind, rest) = string(&blob)?;
        let (_, rest) = string(rest)?;
        let (modulus, _) = string(rest)?;
        let modulus = modulus.trim_start_with(|byte| byte == '\0');
        let first = modulus.first().filter(|_| kind == b"ssh-rsa")?;
        u32::try_from(modulus.len()).ok()?.checked_mul(8)?.checked_sub(first.leading_zeros())
    }

    /// Why an sshd does not take it; `None` when it does, and when that cannot be told.
    pub fn refusal(&self, policy: &Policy) -> Option<Refusal> {
        // It is not shown itself: what it signed is.
        if self.options.iter().any(|option| option.eq_ignore_ascii_case(b"cert-authority")) {
            return None;
        }
        let kind = self.kind();
        let signs = algorithms(kind)?;
        let since = |release: Version| policy.version.is_some_and(|version| version >= release);
        if kind == b"ssh-dss" && since(DSA_GONE) {
            return Some(Refusal::Since(DSA_GONE));
        }
        let (form, list) = match policy.accepted.chars().next() {
            Some(sign @ ('+' | '-' | '^')) => (Some(sign), policy.accepted.get(1..).unwrap_or_default()),
            _ => (None, policy.accepted.as_str()),
        };
        let is_in_list = |name: &str| {
            let of = |pattern: &str| fits(name.as_bytes(), pattern.as_bytes());
            let patterns = || list.split(',').map(str::trim).filter(|pattern| !pattern.is_empty());
            let is_denied = patterns().filter_map(|pattern| pattern.strip_prefix('!')).any(of);
            !is_denied && patterns().any(of)
        };
        match form {
            _ if list.is_empty() => {}
            None if !signs.iter().any(|name| is_in_list(name)) => return Some(Refusal::Listed),
            Some('-') if signs.iter().all(|name| is_in_list(name)) => return Some(Refusal::Listed),
            _ => {}
        }
        let is_named = !list.is_empty() && form != Some('-') && signs.iter().any(|name| is_in_list(name));
        if kind == b"ssh-dss" && since(NO_DSA) && !is_named {
            return Some(Refusal::Since(NO_DSA));
        }
        if kind == b"ssh-rsa"
            && let Some(bits) = self.rsa_bits()
        {
            let floor = match policy.version {
                Some(version) if version >= RSA_1024 => 1024,
                _ => 768,
            };
            let least = policy.least_rsa.unwrap_or(0).max(floor);
            return (bits < least).then_some(Refusal::Short { bits, least });
        }
        None
    }
}

fn string(blob: &[u8]) -> Option<(&[u8], &[u8])> {
    let length = usize::try_from(u32::from_be_bytes(*blob.first_chunk()?)).ok()?;
    let rest = blob.get(4..)?;
    Some((rest.get(..length)?, rest.get(length..)?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::keys;
    use super::*;

    /// A key of RSA whose modulus has so many bits.
    fn rsa(bits: usize) -> String {
        let mut blob = Vec::new();
        let mut put = |data: &[u8]| {
            blob.extend(u32::try_from(data.len()).unwrap().to_be_bytes());
            blob.extend_from_slice(data);
        };
        put(b"ssh-rsa");
        put(&[1, 0, 1]);
        let mut modulus = vec![0xffu8; bits.div_ceil(8)];
        if !bits.is_multiple_of(8) {
            modulus[0] = 0xff >> (8 - bits % 8);
        } else {
            modulus.insert(0, 0);
        }
        put(&modulus);
        format!("ssh-rsa {} who@where", Base64::encode_string(&blob))
    }

    fn refusal(line: &str, version: Option<Version>, accepted: &str, least: Option<u32>) -> Option<Refusal> {
        let policy = Policy { version, accepted: accepted.to_owned(), least_rsa: least };
        keys(line.as_bytes()).first().and_then(|key| key.refusal(&policy))
    }

    const DSS: &str = "ssh-dss AAAAB3NzaC1kc3MAAACBAKx who";
    const ED: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl who";

    #[test]
    fn dsa() {
        assert_eq!(refusal(DSS, Some(Version(6, 6)), "", None), None);
        assert_eq!(refusal(DSS, None, "", None), None);
        assert_eq!(refusal(DSS, Some(Version(7, 4)), "", None), Some(Refusal::Since(NO_DSA)));
        assert_eq!(refusal(DSS, Some(Version(7, 4)), "+ssh-dss", None), None);
        assert_eq!(refusal(DSS, Some(Version(7, 4)), "+ssh-rsa", None), Some(Refusal::Since(NO_DSA)));
        assert_eq!(refusal(DSS, Some(Version(8, 4)), "ssh-*", None), None);
        assert_eq!(refusal(DSS, Some(Version(10, 0)), "+ssh-dss", None), Some(Refusal::Since(DSA_GONE)));
    }

    #[test]
    fn rsa_by_its_bits_and_not_by_its_name() {
        let new = Some(Version(9, 2));
        for bits in [768, 1023, 1024, 2047, 2048, 3072] {
            assert_eq!(keys(rsa(bits).as_bytes())[0].rsa_bits(), Some(u32::try_from(bits).unwrap()));
        }
        assert_eq!(refusal(&rsa(2048), new, "", None), None);
        assert_eq!(refusal(&rsa(1024), new, "", None), None);
        assert_eq!(refusal(&rsa(1000), new, "", None), Some(Refusal::Short { bits: 1000, least: 1024 }));
        assert_eq!(refusal(&rsa(1000), Some(Version(7, 4)), "", None), None);
        assert_eq!(refusal(&rsa(1024), new, "", Some(2048)), Some(Refusal::Short { bits: 1024, least: 2048 }));
        // Without the signatures of SHA-1, and with nothing else of RSA.
        assert_eq!(refusal(&rsa(2048), new, "-ssh-rsa", None), None);
        assert_eq!(refusal(&rsa(2048), new, "rsa-sha2-512,ssh-ed25519", None), None);
        assert_eq!(refusal(&rsa(2048), new, "ssh-ed25519,ecdsa-sha2-*", None), Some(Refusal::Listed));
        assert_eq!(refusal(&rsa(2048), new, "-*rsa*", None), Some(Refusal::Listed));
    }

    #[test]
    fn others() {
        assert_eq!(refusal(ED, Some(Version(9, 2)), "", None), None);
        assert_eq!(refusal(ED, Some(Version(9, 2)), "^ecdsa-sha2-nistp256", None), None);
        assert_eq!(refusal(ED, Some(Version(9, 2)), "ecdsa-sha2-nistp256,rsa-sha2-*", None), Some(Refusal::Listed));
        assert_eq!(refusal(&format!("cert-authority {DSS}"), Some(Version(10, 0)), "", None), None);
    }

    proptest! {
        #[test]
        fn never_panics(data in "[A-Za-z0-9+/=]{0,80}", accepted in "[-+^!a-z,*]{0,20}") {
            let line = format!("ssh-rsa AAAA{data} x");
            refusal(&line, Some(Version(9, 9)), &accepted, Some(2048));
        }
    }
}
