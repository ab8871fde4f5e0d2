//! The menu, and which of its entries boots.

use std::collections::HashMap;

use bstr::{BStr, BString, ByteSlice};

use super::{Argument, Ran, Value};
use crate::lines;

/// What the menu shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// The title.
    pub title: BString,
    /// `--id`, or the name of a boot loader entry.
    pub id: Option<BString>,
    /// Where the title stands.
    pub place: Argument,
    /// `menuentry` or `submenu` itself; `None` for a boot loader entry.
    pub keyword: Option<Argument>,
    /// Only who gives a name and a password may choose it, once `superusers` is set: `--unrestricted` is not there.
    pub is_restricted: bool,
    /// What the entry runs; empty for a submenu.
    pub commands: Vec<Ran>,
    /// The items of a submenu.
    pub below: Option<Vec<Item>>,
}

/// What a run comes to.
#[derive(Clone, Debug, Default)]
pub struct Menu {
    /// In order.
    pub items: Vec<Item>,
    /// The commands outside of all entries that name a file or a device: `search`, `configfile`, `source`, `set`.
    pub commands: Vec<Ran>,
    /// Variables at the end.
    pub variables: HashMap<BString, Value>,
    /// `configfile` and `source` of files that are not there.
    pub lost: Vec<Argument>,
    /// Whether `blscfg` was run.
    pub uses_loader_entries: bool,
    /// Numbers of the files that were run, in order.
    pub files: Vec<usize>,
}

impl Menu {
    /// The entry that `$default` chooses, by GRUB's rules: number, title or id, with `>` into submenus; the first item
    /// when there is no such one. Indices from the top.
    pub fn default_entry(&self) -> Option<Vec<usize>> {
        let wanted = self.variables.get(BStr::new("default")).map(|value| value.text.clone()).unwrap_or_default();
        self.chosen(wanted.as_ref()).or_else(|| descend(&self.items, 0, BStr::new("")))
    }

    /// The entries of `$fallback`.
    pub fn fallback(&self) -> Vec<Vec<usize>> {
        let text = self.variables.get(BStr::new("fallback")).map(|value| value.text.clone()).unwrap_or_default();
        lines::words(&text).filter_map(|word| self.chosen(text.get(word)?.as_bstr())).collect()
    }

    /// The entry that `choice` names.
    pub fn chosen(&self, choice: &BStr) -> Option<Vec<usize>> {
        let (index, rest) = find(&self.items, choice)?;
        descend(&self.items, index, rest)
    }

    /// The item at `path`.
    pub fn item(&self, path: &[usize]) -> Option<&Item> {
        let (last, above) = path.split_last()?;
        let mut items = &self.items;
        for &index in above {
            items = items.get(index)?.below.as_ref()?;
        }
        items.get(*last)
    }

    /// Every entry that is no submenu, with its path.
    pub fn entries(&self) -> Vec<(Vec<usize>, &Item)> {
        fn walk<'a>(items: &'a [Item], above: &[usize], all: &mut Vec<(Vec<usize>, &'a Item)>) {
            for (index, item) in items.iter().enumerate() {
                let path = [above, &[index]].concat();
                match &item.below {
                    Some(below) => walk(below, &path, all),
                    None => all.push((path, item)),
                }
            }
        }
        let mut all = Vec::new();
        walk(&self.items, &[], &mut all);
        all
    }
}

/// The item that the part of `choice` before a `>` names, and what follows; a title may have `>` in it.
fn find<'a>(items: &[Item], choice: &'a BStr) -> Option<(usize, &'a BStr)> {
    let is = |item: &Item, name: &[u8]| item.title == name || item.id.as_ref().is_some_and(|id| id == name);
    if choice.is_empty() {
        return None;
    }
    if let Some(index) = items.iter().position(|item| is(item, choice)) {
        return Some((index, BStr::new("")));
    }
    let (head, rest) = match choice.find_byte(b'>') {
        Some(at) => (choice.get(..at)?, choice.get(at + 1..)?),
        None => (choice.as_bytes(), &b""[..]),
    };
    let digits = head.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let number = head.get(..digits).and_then(|text| text.to_str().ok()).and_then(|text| text.parse::<usize>().ok());
    let index = match number.filter(|_| digits == head.len()) {
        Some(number) => (number < items.len()).then_some(number)?,
        None => items.iter().position(|item| is(item, head))?,
    };
    Some((index, rest.as_bstr()))
}

/// `index`, and on into submenus by `rest`.
fn descend(items: &[Item], index: usize, rest: &BStr) -> Option<Vec<usize>> {
    let item = items.get(index)?;
    let mut path = vec![index];
    if let Some(below) = &item.below {
        let (next, rest) = find(below, rest).unwrap_or((0, BStr::new("")));
        path.extend(descend(below, next, rest)?);
    }
    Some(path)
}
