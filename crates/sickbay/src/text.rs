//! What is said to the user, in the user's language.
//!
//! English stands at the place of use: `tr!("{mount} is mounted from {device}", mount, device)`. A [`Text`] keeps the
//! English template as its key and is rendered only by a report, so everything before the reports is free of language.
//! The Chinese of a check's texts is in the file `ID.zh-CN.toml` beside the check, that of all others in
//! `locale/zh-CN.toml`; the test `every_text_is_translated` fails when one is missing or no longer used.

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

    /// A sentence that is the same in every language: what the kernel or a library said.
    pub fn verbatim(sentence: impl Into<String>) -> Text {
        Text { template: "{sentence}", arguments: vec![("sentence", Value::Plain(sentence.into()))] }
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
            match self.arguments.iter().find(|(name, _)| *name == &after[..close]) {
                Some((_, Value::Plain(value))) => out.push_str(value),
                Some((_, Value::Text(text))) => out.push_str(&text.render(lang)),
                None => out.push_str(&rest[open..open + close + 2]),
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
        $crate::text::Text::new($template, vec![$((stringify!($name), $crate::tr!(@value $name $($value)?))),*])
    };
    (@value $name:ident) => { $crate::text::IntoValue::to_value(&$name) };
    (@value $name:ident $value:expr) => { $crate::text::IntoValue::to_value(&$value) };
}

/// The Chinese side of a check: the file `ID.zh-CN.toml` beside it.
#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CheckCatalogue {
    /// The check's title.
    pub title: String,
    /// The page that `sickbay explain` shows.
    pub page: String,
    /// English template → Chinese template of every text the check can say.
    #[serde(default)]
    pub messages: HashMap<String, String>,
}

/// The Chinese side of everything that is not a check: `locale/zh-CN.toml`.
pub const GENERAL_ZH_CN: &str = include_str!("../locale/zh-CN.toml");

fn catalogue() -> &'static HashMap<String, String> {
    static CATALOGUE: OnceLock<HashMap<String, String>> = OnceLock::new();
    CATALOGUE.get_or_init(|| {
        // A damaged catalogue is caught by the tests; at run time English is better than nothing.
        let mut all: HashMap<String, String> = toml::from_str(GENERAL_ZH_CN).unwrap_or_default();
        for check in crate::checks::ALL {
            if let Ok(catalogue) = toml::from_str::<CheckCatalogue>(check.zh_cn) {
                all.extend(catalogue.messages);
            }
        }
        all
    })
}
