//! The Chinese of sentences that come from below: sickbay-target knows no languages, nor does the kernel.
//!
//! Their English is their key as everywhere, only that it comes filled in: a sentence is known by the template of
//! `locale/target.zh-CN.toml` that it was made from. What fills it may be such a sentence too.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::OnceLock;

use super::{TARGET_ZH_CN, full_width};

/// No sentence is so long; what a program printed may be.
const LONGEST: usize = 2000;
/// How deep one sentence may stand in another.
const DEEPEST: usize = 4;

/// `sentence` in Chinese; as it is, where it is nobody's.
pub(super) fn chinese(sentence: &str) -> Cow<'_, str> {
    // A name or a number is no sentence.
    if !sentence.contains(' ') || sentence.len() > LONGEST {
        return Cow::Borrowed(sentence);
    }
    said(sentence, DEEPEST).map_or(Cow::Borrowed(sentence), Cow::Owned)
}

fn said(sentence: &str, depth: usize) -> Option<String> {
    let depth = depth.checked_sub(1)?;
    let part = |text: &str| said(text, depth).unwrap_or_else(|| text.to_owned());
    let mut known = known().iter();
    if let Some((template, values)) = known.find_map(|template| Some((template, template.values(sentence)?))) {
        let mut out = template.chinese.clone();
        for (name, value) in template.names.iter().zip(values) {
            out = out.replacen(&format!("{{{name}}}"), &part(value), 1);
        }
        return Some(out);
    }
    // "/dev/sda: no permission", "no permission (os error 13)".
    let (about, rest) = sentence.split_once(": ")?;
    match (said(about, depth), said(rest, depth)) {
        (None, None) => None,
        (about_, rest_) => {
            Some(format!("{}：{}", about_.as_deref().unwrap_or(about), rest_.as_deref().unwrap_or(rest)))
        }
    }
}

/// What sentences are made from.
struct Template {
    /// What stands before, between and behind the places.
    fixed: Vec<String>,
    /// What the places are called.
    names: Vec<String>,
    chinese: String,
}

impl Template {
    fn new(english: &str, chinese: &str) -> Template {
        let mut fixed = Vec::new();
        let mut names = Vec::new();
        let mut rest = english;
        while let Some((before, (name, after))) =
            rest.split_once('{').and_then(|(before, after)| Some((before, after.split_once('}')?)))
        {
            fixed.push(before.to_owned());
            names.push(name.to_owned());
            rest = after;
        }
        fixed.push(rest.to_owned());
        Template { fixed, names, chinese: full_width(chinese) }
    }

    /// How much of a sentence it vouches for.
    fn weight(&self) -> usize {
        self.fixed.iter().map(String::len).sum()
    }

    /// What fills its places in `sentence`; `None` if that is not made from it.
    fn values<'a>(&self, sentence: &'a str) -> Option<Vec<&'a str>> {
        let (first, others) = self.fixed.split_first()?;
        let mut rest = sentence.strip_prefix(first.as_str())?;
        let Some((last, between)) = others.split_last() else { return rest.is_empty().then(Vec::new) };
        let mut values = Vec::new();
        for fixed in between {
            let (value, after) = rest.split_once(fixed.as_str())?;
            values.push(value);
            rest = after;
        }
        values.push(rest.strip_suffix(last.as_str())?);
        values.iter().all(|value| !value.is_empty()).then_some(values)
    }
}

/// Every template, those that vouch for most first.
fn known() -> &'static [Template] {
    static KNOWN: OnceLock<Vec<Template>> = OnceLock::new();
    KNOWN.get_or_init(|| {
        let all: HashMap<String, String> = toml::from_str(TARGET_ZH_CN).unwrap_or_default();
        let mut all: Vec<Template> = all.iter().map(|(english, chinese)| Template::new(english, chinese)).collect();
        all.sort_by(|a, b| b.weight().cmp(&a.weight()).then_with(|| a.fixed.cmp(&b.fixed)));
        all
    })
}

#[cfg(test)]
mod tests {
    use super::chinese;

    #[test]
    fn a_sentence_is_known_by_its_template() {
        assert_eq!(chinese("/x does not exist"), "/x 不存在");
        assert_eq!(
            chinese("/a: partition 2 (ext4) cannot be mounted: this machine's kernel has no ext4"),
            "/a：分区 2（ext4） 无法挂载：本机内核不支持 ext4"
        );
        assert_eq!(chinese("vmlinuz"), "vmlinuz");
        assert_eq!(chinese("nobody says this of a disk"), "nobody says this of a disk");
        assert_eq!(chinese("/x could not be read: Input/output error (os error 5)"), "无法读取 /x：输入/输出错误");
    }
}
