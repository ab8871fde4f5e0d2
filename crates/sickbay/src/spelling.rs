//! Words that were meant where others are written.

/// The one of `words` that is nearest to `word`, if no more than `most` letters must be put in, taken away, changed or swapped
/// with their neighbour; none when two are as near.
pub fn nearest<'a>(word: &str, words: impl Iterator<Item = &'a str>, most: usize) -> Option<&'a str> {
    // Nothing so long is a keyword or a file's name that somebody typed.
    if word.len() > 100 {
        return None;
    }
    let mut near: Vec<(usize, &str)> = words
        // Cheaper than to count.
        .filter(|known| known.len().abs_diff(word.len()) <= most.saturating_mul(4))
        .map(|known| (strsim::osa_distance(word, known), known))
        .filter(|(distance, known)| *distance <= most && distance * 2 < known.len())
        .collect();
    near.sort_unstable();
    near.dedup();
    match near.as_slice() {
        [(_, only)] => Some(only),
        [(first, meant), (second, _), ..] if first < second => Some(meant),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn what_is_meant() {
        let kinds = ["auth", "account", "password", "session"];
        let near = |word| nearest(word, kinds.into_iter(), 2);
        assert_eq!(near("auht"), Some("auth"));
        assert_eq!(near("sesion"), Some("session"));
        assert_eq!(near("pasword"), Some("password"));
        assert_eq!(near("xx"), None);
        assert_eq!(near("prompt"), None);
        // As near to one as to another.
        assert_eq!(nearest("pam_sxs.so", ["pam_sss.so", "pam_sas.so"].into_iter(), 2), None);
        assert_eq!(
            nearest("pam_unx.so", ["pam_unix.so", "pam_unix.so", "pam_xauth.so"].into_iter(), 2),
            Some("pam_unix.so")
        );
    }
}
