//! Secrets in texts, made unreadable where they stand: what is not secret keeps its place, its length and its form, so that
//! whoever reads the text for something else reads the same.
//!
//! Better one word too many than one secret too few, but for texts in which the words mean something else: rules of PAM and the
//! name service, files of packages, the kernel's own.

mod scan;

/// What stands in the place of each byte of a secret.
const MASK: u8 = b'x';

/// Masks the secrets in the text of the file at `path`. Gives how many bytes were masked.
pub fn mask(path: &[u8], text: &mut [u8]) -> usize {
    // Tables of numbers, of which some are long.
    if path.starts_with(b"/sys/")
        || path.starts_with(b"/proc") && path.split(|byte| *byte == b'/').any(|part| part == b"net")
    {
        return 0;
    }
    let name = path.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
    let mut masked = match name {
        b"shadow" | b"shadow-" | b"gshadow" | b"gshadow-" | b"passwd" | b"passwd-" if path.starts_with(b"/etc/") => {
            return accounts(text);
        }
        b".pgpass" => last_fields(text, b':'),
        b"chap-secrets" | b"pap-secrets" => third_words(text),
        _ => 0,
    };
    masked += scan::strong(text);
    if !means_something_else(path) {
        let is_terse = name == b".netrc" || name.starts_with(b"keys-") || path.ends_with(b"/smbpasswd");
        masked += scan::named(text, is_terse);
    }
    masked
}

/// Texts in which "password" is a word of the format.
fn means_something_else(path: &[u8]) -> bool {
    const TREES: [&[u8]; 11] = [
        b"/etc/pam.d/",
        b"/usr/lib/",
        b"/usr/lib64/",
        b"/usr/share/",
        b"/usr/bin/",
        b"/usr/sbin/",
        b"/lib/",
        b"/lib64/",
        b"/var/lib/dpkg/",
        b"/var/lib/rpm/",
        b"/proc/sys/",
    ];
    let is_file = matches!(path, b"/etc/nsswitch.conf" | b"/etc/pam.conf" | b"/etc/login.defs");
    is_file || TREES.iter().any(|tree| path.starts_with(tree))
}

/// The hashes in an account file: which algorithm, whether it is locked or empty, stays.
fn accounts(text: &mut [u8]) -> usize {
    let mut masked = 0;
    for line in text.split_mut(|byte| *byte == b'\n') {
        let Some(field) = line.split_mut(|byte| *byte == b':').nth(1) else { continue };
        masked += hash(field);
    }
    masked
}

/// What is secret in the hash of a password: neither `!`, `*` and `x`, nor the algorithm and its parameters.
fn hash(field: &mut [u8]) -> usize {
    let locks = field.iter().take_while(|byte| matches!(byte, b'!' | b'*')).count();
    let Some(rest) = field.get_mut(locks..) else { return 0 };
    if rest.first() != Some(&b'$') {
        // That of DES has 13 characters; shorter words are marks, `x`, `LK`, `NP`.
        return if rest.len() >= 8 { fill(rest) } else { 0 };
    }
    let mut parts: Vec<&mut [u8]> = rest.split_mut(|byte| *byte == b'$').skip(1).collect();
    let has_parameters = |part: &[u8], name: &[u8]| {
        part.starts_with(b"rounds=")
            || part.starts_with(b"m=")
            || part.starts_with(b"v=")
            || matches!(name, b"y" | b"gy")
    };
    let name = parts.first().map(|name| name.to_vec()).unwrap_or_default();
    let mut masked = 0;
    for (at, part) in parts.iter_mut().enumerate().skip(1) {
        // bcrypt's cost is two digits.
        let is_cost = part.len() <= 2 && part.iter().all(u8::is_ascii_digit);
        if !((at == 1 || part.starts_with(b"m=")) && (has_parameters(part, &name) || is_cost)) {
            masked += fill(part);
        }
    }
    masked
}

fn last_fields(text: &mut [u8], between: u8) -> usize {
    let lines = text.split_mut(|byte| *byte == b'\n').filter(|line| line.first() != Some(&b'#'));
    lines.filter_map(|line| line.rsplit_mut(|byte| *byte == between).next()).map(fill).sum()
}

fn third_words(text: &mut [u8]) -> usize {
    let lines = text.split_mut(|byte| *byte == b'\n').filter(|line| line.first() != Some(&b'#'));
    let of_line = |line: &mut [u8]| {
        line.split_mut(u8::is_ascii_whitespace).filter(|word| !word.is_empty()).nth(2).map_or(0, fill)
    };
    lines.map(of_line).sum()
}

/// Masks all of it.
fn fill(bytes: &mut [u8]) -> usize {
    bytes.fill(MASK);
    bytes.len()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn masked(path: &str, text: &str) -> String {
        let mut bytes = text.as_bytes().to_vec();
        mask(path.as_bytes(), &mut bytes);
        String::from_utf8(bytes).expect("text stays text")
    }

    #[test]
    fn hashes_keep_their_form() {
        let text = "root:$6$salt$hash:1:2\na:!$y$j9T$salt$hash:1\nb::1\nc:!:1\nd:*:\ne:$2b$12$saltandhash:\nf:$6$rounds=50$s$h:\n";
        let seen = "root:$6$xxxx$xxxx:1:2\na:!$y$j9T$xxxx$xxxx:1\nb::1\nc:!:1\nd:*:\ne:$2b$12$xxxxxxxxxxx:\nf:$6$rounds=50$x$x:\n";
        assert_eq!(masked("/etc/shadow", text), seen);
        assert_eq!(masked("/etc/passwd", "root:x:0:0:root:/root:/bin/bash\n"), "root:x:0:0:root:/root:/bin/bash\n");
    }

    #[test]
    fn what_is_no_secret_stays() {
        let texts = [
            (
                "/etc/pam.d/system-auth",
                "password requisite pam_pwquality.so\npassword sufficient pam_unix.so use_authtok\n",
            ),
            ("/etc/nsswitch.conf", "passwd: files sss\nshadow: files\n"),
            ("/etc/ssh/sshd_config", "PasswordAuthentication yes\nPermitEmptyPasswords no\n"),
            ("/etc/sudoers", "%wheel ALL=(ALL) NOPASSWD: ALL\nDefaults passwd_tries=3\n"),
            ("/etc/fstab", "UUID=1 / ext4 defaults 0 1\n//s/d /d cifs credentials=/etc/cred 0 0\n"),
            ("/var/log/auth.log", "sshd[1]: Accepted password for root from 10.0.0.1 port 22\n"),
            ("/proc/cmdline", "root=/dev/vda1 ro quiet\n"),
            ("/etc/x", "see https://host:80/path and a@b.c\npassword = $PASSWORD\ntoken=\n"),
        ];
        for (path, text) in texts {
            assert_eq!(masked(path, text), text, "{path}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(path in ".{0,30}", bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let mut text = bytes.clone();
            mask(path.as_bytes(), &mut text);
            prop_assert_eq!(text.len(), bytes.len());
        }

        #[test]
        fn once_is_enough(text in "(password|token|\\$6\\$|://|@|:|=| |\"|'|\n|-p|mysql|eyJ|[a-z]{1,9}){0,40}") {
            let mut once = text.into_bytes();
            mask(b"/etc/x", &mut once);
            let mut twice = once.clone();
            mask(b"/etc/x", &mut twice);
            prop_assert_eq!(once, twice);
        }
    }
}
