//! What is said to the user, in the user's language.
//!
//! English stands at the place of use: `tr!("{mount} is mounted from {device}", mount, device)`. A [`Text`] keeps the
//! English template as its key and is rendered only by a report, so everything before the reports is free of language.
//! The Chinese of a check's texts is in the file `ID.zh-CN.toml` beside the check, that of all others in
//! `locale/zh-CN.toml`; the test `every_text_is_translated` fails when one is missing or no longer used.
//!
//! `{count?file|files}` is the first word where `count` is 1, else the second. Chinese has no need of it.

mod foreign;

use std::collections::HashMap;
use std::sync::OnceLock;

/// A language that reports can be written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Lang {
    /// English, the language of the source.
    En,
    /// Simplified Chinese.
    #[value(name = "zh-CN", alias = "zh")]
    ZhCn,
}

impl Lang {
    /// The language that the environment asks for, by the rules of setlocale(3): `LC_ALL`, `LC_MESSAGES`, `LANG`.
    pub fn from_environment() -> Lang {
        let locale = ["LC_ALL", "LC_MESSAGES", "LANG"]
            .iter()
            .find_map(|name| std::env::var(name).ok().filter(|value| !value.is_empty()));
        match locale {
            Some(locale) if locale.starts_with("zh") => Lang::ZhCn,
            _ => Lang::En,
        }
    }
}

/// A sentence that can be rendered in every [`Lang`]. Made by [`tr!`](crate::tr).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Text {
    template: &'static str,
    arguments: Vec<(&'static str, Value)>,
}

/// The template of a sentence that is nobody's to translate.
const VERBATIM: &str = "{sentence}";

/// What fills a `{name}` of a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// Taken as it is: a path, a number, a word of the kernel.
    Plain(String),
    /// A text of its own, rendered in the same language as the whole.
    Text(Box<Text>),
}

/// What can fill a `{name}`: anything that displays itself, and another [`Text`].
pub trait IntoValue {
    /// The value as the report will need it.
    fn to_value(&self) -> Value;
}

impl IntoValue for Text {
    fn to_value(&self) -> Value {
        Value::Text(Box::new(self.clone()))
    }
}

macro_rules! plain_values {
    ($($type:ty),*) => { $(impl IntoValue for $type {
        fn to_value(&self) -> Value {
            Value::Plain(self.to_string())
        }
    })* };
}
plain_values!(
    str,
    String,
    u8,
    u16,
    u32,
    u64,
    usize,
    i32,
    i64,
    f64,
    char,
    std::borrow::Cow<'_, str>,
    bstr::BStr,
    bstr::BString
);

impl IntoValue for std::path::Path {
    fn to_value(&self) -> Value {
        Value::Plain(self.display().to_string())
    }
}

impl IntoValue for std::path::PathBuf {
    fn to_value(&self) -> Value {
        self.as_path().to_value()
    }
}

impl<T: IntoValue + ?Sized> IntoValue for &T {
    fn to_value(&self) -> Value {
        (**self).to_value()
    }
}

impl Text {
    /// Used by [`tr!`](crate::tr); write that instead.
    pub fn new(template: &'static str, arguments: Vec<(&'static str, Value)>) -> Text {
        Text { template, arguments }
    }

    /// The English sentence without its values.
    pub fn template(&self) -> &'static str {
        self.template
    }

    /// Whether it is what somebody else said, so that the template tells nothing.
    pub fn is_verbatim(&self) -> bool {
        self.template == VERBATIM
    }

    /// A sentence of somebody who knows no languages: of sickbay-target, the kernel, a library. It is English, and in other
    /// languages as well as [`foreign`] knows it.
    pub fn verbatim(sentence: impl Into<String>) -> Text {
        Text { template: VERBATIM, arguments: vec![("sentence", Value::Plain(sentence.into()))] }
    }

    /// The sentence in `lang`. A template that the catalogue lacks is rendered in English.
    pub fn render(&self, lang: Lang) -> String {
        let template = match lang {
            Lang::En => self.template,
            Lang::ZhCn => catalogue().get(self.template).map_or(self.template, String::as_str),
        };
        let mut out = String::with_capacity(template.len() + 32);
        let mut rest = template;
        while let Some(open) = rest.find('{') {
            out.push_str(&rest[..open]);
            let after = &rest[open + 1..];
            let Some(close) = after.find('}') else {
                rest = &rest[open..];
                break;
            };
            let (name, forms) = after[..close].split_once('?').unwrap_or((&after[..close], ""));
            let value = self.arguments.iter().find(|(known, _)| *known == name).map(|(_, value)| value);
            match (value, forms.split_once('|')) {
                (Some(Value::Plain(count)), Some((one, many))) => out.push_str(if count == "1" { one } else { many }),
                (Some(Value::Plain(value)), None) if lang == Lang::ZhCn => out.push_str(&foreign::chinese(value)),
                (Some(Value::Plain(value)), None) => out.push_str(value),
                (Some(Value::Text(text)), _) => out.push_str(&text.render(lang)),
                (None, _) => out.push_str(&rest[open..open + close + 2]),
            }
            rest = &after[close + 1..];
        }
        out.push_str(rest);
        out
    }
}

/// Makes a [`Text`]: `tr!("{path} is empty", path)` or `tr!("{path} is empty", path = entry.path)`.
#[macro_export]
macro_rules! tr {
    ($template:literal $(, $name:ident $(= $value:expr)?)* $(,)?) => {
        $crate::model::text::Text::new($template, vec![$((stringify!($name), $crate::tr!(@value $name $($value)?))),*])
    };
    (@value $name:ident) => { $crate::model::text::IntoValue::to_value(&$name) };
    (@value $name:ident $value:expr) => { $crate::model::text::IntoValue::to_value(&$value) };
}

/// The Chinese side of a check: the file `ID.zh-CN.toml` beside it. What it lacks, all of it in an empty file, is owed and
/// told in English.
#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CheckCatalogue {
    /// The check's title.
    #[serde(default)]
    pub title: String,
    /// The page that `sickbay explain` shows.
    #[serde(default)]
    pub page: String,
    /// English template → Chinese template of every text the check can say.
    #[serde(default)]
    pub messages: HashMap<String, String>,
}

/// The Chinese side of everything that is not a check: `locale/zh-CN.toml`.
pub const GENERAL_ZH_CN: &str = include_str!("../../locale/zh-CN.toml");

/// The Chinese of what the command line says of itself: `locale/help.zh-CN.toml`.
pub const HELP_ZH_CN: &str = include_str!("../../locale/help.zh-CN.toml");

/// The Chinese of what sickbay-target and the kernel say: `locale/target.zh-CN.toml`.
pub const TARGET_ZH_CN: &str = include_str!("../../locale/target.zh-CN.toml");

/// The Chinese sides of all checks. The list of checks is above this module: it says what is in it when it is made.
static OF_CHECKS: OnceLock<Vec<&'static str>> = OnceLock::new();

/// Makes the Chinese of checks known: the text of each `ID.zh-CN.toml`. To be called before the first text is rendered.
pub fn know_checks(catalogues: Vec<&'static str>) {
    // Whoever comes later brings the same.
    let _ = OF_CHECKS.set(catalogues);
}

fn catalogue() -> &'static HashMap<String, String> {
    static CATALOGUE: OnceLock<HashMap<String, String>> = OnceLock::new();
    CATALOGUE.get_or_init(|| {
        // A damaged catalogue is caught by the tests; at run time English is better than nothing.
        let mut all: HashMap<String, String> = toml::from_str(GENERAL_ZH_CN).unwrap_or_default();
        for text in OF_CHECKS.get().into_iter().flatten() {
            if let Ok(catalogue) = toml::from_str::<CheckCatalogue>(text) {
                all.extend(catalogue.messages);
            }
        }
        all.retain(|_, chinese| !chinese.is_empty());
        all.values_mut().for_each(|chinese| *chinese = full_width(chinese));
        all
    })
}

/// Chinese as it is set: commas, colons and brackets beside a Chinese character are as wide as one, whatever the keyboard
/// gave. What stands between backticks is nobody's prose.
pub fn full_width(text: &str) -> String {
    let letters: Vec<char> = text.chars().collect();
    let is_han =
        |letter: Option<&char>| letter.is_some_and(|letter| matches!(letter, '\u{2E80}'..='\u{9FFF}' | '“' | '”'));
    let mut out = String::with_capacity(text.len());
    let mut is_code = false;
    // Whether the brackets that are open are wide ones.
    let mut open = Vec::new();
    let mut index = 0;
    while let Some(&letter) = letters.get(index) {
        let before = index.checked_sub(1).and_then(|at| letters.get(at));
        let blank = letters.get(index + 1) == Some(&' ');
        let after = letters.get(index + if blank { 2 } else { 1 });
        // Between two places: what fills them is named in a Chinese sentence.
        let is_between = !blank && before == Some(&'}') && after == Some(&'{');
        let is_beside = is_han(before) || is_han(after) || is_between;
        is_code ^= letter == '`';
        let wide = match letter {
            _ if is_code => None,
            ',' if is_beside => Some('，'),
            ':' if is_beside => Some('：'),
            ';' if is_beside => Some('；'),
            '?' if is_han(before) => Some('？'),
            '!' if is_han(before) => Some('！'),
            '(' => {
                open.push(is_beside);
                is_beside.then_some('（')
            }
            ')' => open.pop().unwrap_or_default().then_some('）'),
            _ => None,
        };
        out.push(wide.unwrap_or(letter));
        // A wide comma brings its own space.
        index += if wide.is_some_and(|wide| wide != '）') && blank { 2 } else { 1 };
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_not_many() {
        let text = |count: usize| {
            let values = vec![("count", count.to_value()), ("name", "x".to_value())];
            Text::new("{count} {count?path|paths} of {name}", values).render(Lang::En)
        };
        assert_eq!(text(1), "1 path of x");
        assert_eq!(text(0), "0 paths of x");
        assert_eq!(text(21), "21 paths of x");
    }

    #[test]
    fn punctuation_is_as_wide_as_what_it_stands_beside() {
        for (typed, set) in [
            ("没有安装,需要 {tool}(见 {page})", "没有安装，需要 {tool}（见 {page}）"),
            ("{path}:第 {line} 行", "{path}：第 {line} 行"),
            ("{name},{count} 个", "{name}，{count} 个"),
            ("/etc/fstab:{line}, {column}", "/etc/fstab:{line}, {column}"),
            ("格式:`a, 甲: b`", "格式：`a, 甲: b`"),
            ("多少? 很多, 真的", "多少？很多，真的"),
        ] {
            assert_eq!(full_width(typed), set);
        }
    }
}
