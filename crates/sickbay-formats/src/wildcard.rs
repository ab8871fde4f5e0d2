//! Patterns in which only `*` and `?` are special. What stands in brackets is for the dialects that know it.

/// Whether `text` fits a pattern: sshd's match_pattern() (match.c) does the same.
pub fn fits(text: &[u8], pattern: &[u8]) -> bool {
    // Where the last star was, and how much of the text it has taken: no more than one way back is ever needed.
    let (mut at, mut pattern_at) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while let Some(&byte) = text.get(at) {
        match pattern.get(pattern_at) {
            Some(b'*') => {
                star = Some((pattern_at, at));
                pattern_at += 1;
            }
            Some(&wanted) if wanted == b'?' || wanted == byte => {
                at += 1;
                pattern_at += 1;
            }
            _ => match star {
                Some((star_at, taken)) => {
                    star = Some((star_at, taken + 1));
                    at = taken + 1;
                    pattern_at = star_at + 1;
                }
                None => return false,
            },
        }
    }
    pattern.get(pattern_at..).unwrap_or_default().iter().all(|&byte| byte == b'*')
}
