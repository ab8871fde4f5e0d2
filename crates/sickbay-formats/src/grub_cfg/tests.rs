use std::sync::Arc;

use bstr::{BStr, BString};

use super::run::{LoaderEntry, Menu, Search, Value, World, run};
use super::write::{New, NewEntry, write};
use super::*;

/// One volume with UUID `ab`, an environment, and one file that can be included.
#[derive(Default)]
struct Small {
    environment: Vec<(&'static str, &'static str)>,
    included: &'static str,
    loader: Vec<LoaderEntry>,
}

impl World for Small {
    fn size(&self, _: &BStr, path: &BStr) -> Option<u64> {
        (path == "/boot/grub/grubenv").then_some(1024)
    }

    fn read(&self, _: &BStr, path: &BStr) -> Option<(usize, Arc<[u8]>)> {
        (path == "/grub2/grub.cfg").then(|| (1, self.included.as_bytes().into()))
    }

    fn search(&self, by: Search, value: &BStr) -> Option<BString> {
        (by == Search::Uuid && value == "ab").then(|| "hd0,msdos2".into())
    }

    fn loader_entries(&self) -> Vec<LoaderEntry> {
        self.loader.clone()
    }

    fn environment(&self) -> Vec<(BString, Value)> {
        let value = |text: &str| Value { text: text.into(), origin: Some((7, 100)) };
        self.environment.iter().map(|(name, text)| ((*name).into(), value(text))).collect()
    }
}

fn shown(world: &Small, text: &str) -> Menu {
    run(world, 0, text.as_bytes(), BStr::new("hd0,msdos1"), BStr::new("(hd0,msdos1)/boot/grub"))
}

const DEBIAN: &str = r#"
# a comment with 'a quote
if [ -s $prefix/grubenv ]; then
  set have_grubenv=true
  load_env
fi
if [ "${next_entry}" ] ; then
   set default="${next_entry}"
else
   set default="${saved_entry}"
fi
if [ x"${feature_menuentry_id}" = xy ]; then
  menuentry_id_option="--id"
else
  menuentry_id_option=""
fi
function gfxmode {
	set gfxpayload="${1}"
}
if loadfont unicode ; then set gfxmode=auto; fi
menuentry 'Debian' --class debian --class os $menuentry_id_option 'simple' {
	search --no-floppy --fs-uuid --set=root ab
	linux	/boot/vmlinuz-2 root=UUID=ab ro quiet ${extra}
	initrd	/boot/microcode.img /boot/initrd.img-2
}
submenu 'More' $menuentry_id_option 'more' {
	menuentry 'Debian, 2' $menuentry_id_option 'two' {
		search --no-floppy --fs-uuid --set=root cd
		linux	/boot/vmlinuz-2 root=UUID=cd
	}
	menuentry 'Debian, 1' $menuentry_id_option 'one' { linux /boot/vmlinuz-1
	}
}
"#;

#[test]
fn a_menu_of_debian() {
    let menu = shown(&Small::default(), DEBIAN);
    assert_eq!(menu.default_entry(), Some(vec![0]));
    let entries = menu.entries();
    let titles: Vec<_> = entries.iter().map(|(path, item)| (path.clone(), item.title.to_string())).collect();
    assert_eq!(
        titles,
        [(vec![0], "Debian".into()), (vec![1, 0], "Debian, 2".into()), (vec![1, 1], "Debian, 1".into())]
    );
    let linux = &entries[0].1.commands[1];
    assert_eq!(linux.root, "hd0,msdos2");
    let words: Vec<_> = linux.words.iter().map(|word| word.text.to_string()).collect();
    assert_eq!(words, ["linux", "/boot/vmlinuz-2", "root=UUID=ab", "ro", "quiet"]);
    let root = &linux.words[2];
    assert!(root.literal);
    assert_eq!(&DEBIAN[root.range.clone()], "root=UUID=ab");
    assert_eq!(entries[0].1.commands[2].words.len(), 3);
    // What `search` does not find leaves the root as it was.
    let search = &entries[1].1.commands[0];
    assert_eq!(search.in_vain.as_ref().unwrap().text, "cd");
    assert_eq!(entries[1].1.commands[1].root, "hd0,msdos1");
    assert_eq!(parse(DEBIAN.as_bytes()).defects, Vec::<Range<usize>>::new());
}

#[test]
fn the_default_is_chosen_as_grub_does() {
    let chosen =
        |saved| shown(&Small { environment: vec![("saved_entry", saved)], ..Small::default() }, DEBIAN).default_entry();
    assert_eq!(chosen("more>one"), Some(vec![1, 1]));
    assert_eq!(chosen("1>1"), Some(vec![1, 1]));
    assert_eq!(chosen("More>Debian, 2"), Some(vec![1, 0]));
    assert_eq!(chosen("1"), Some(vec![1, 0]));
    assert_eq!(chosen("gone"), Some(vec![0]));
    assert_eq!(chosen("7"), Some(vec![0]));
}

#[test]
fn a_stub_leads_to_the_configuration() {
    let world = Small { included: "menuentry a { linux /vmlinuz root=UUID=ab }\n", ..Small::default() };
    let menu = shown(&world, "search.fs_uuid ab root\nset prefix=($root)'/grub2'\nconfigfile $prefix/grub.cfg\n");
    assert_eq!(menu.variables[BStr::new("prefix")].text, "(hd0,msdos2)/grub2");
    assert_eq!(menu.entries()[0].1.commands[0].root, "hd0,msdos2");
    assert_eq!(menu.files, [0, 1]);
    let menu = shown(&world, "search --no-floppy --fs-uuid --set=dev cd\nconfigfile ($dev)/grub/grub.cfg\n");
    assert_eq!(menu.lost.len(), 1);
    assert!(menu.items.is_empty());
}

#[test]
fn loader_entries_take_their_options_from_variables() {
    let text = "linux /vmlinuz-5\noptions $kernelopts $tuned_params x\n";
    let (linux, options) = (6..16, 25..text.len() - 1);
    let entry = LoaderEntry {
        file: 3,
        text: text.as_bytes().into(),
        id: "id-5".into(),
        title: "Five".into(),
        linux: [linux].into(),
        initrd: Vec::new(),
        options: [options].into(),
    };
    let world =
        Small { loader: vec![entry], environment: vec![("kernelopts", "root=/dev/vda1 ro ")], ..Small::default() };
    let menu =
        shown(&world, "load_env\nif [ -z \"${kernelopts}\" ]; then\n  set kernelopts=\"root=UUID=x \"\nfi\nblscfg\n");
    let linux = &menu.items[0].commands[0];
    let words: Vec<_> = linux.words.iter().map(|w| (w.text.to_string(), w.file, w.range.clone(), w.literal)).collect();
    assert_eq!(words[1], ("/vmlinuz-5".into(), 3, 6..16, true));
    assert_eq!(words[2], ("root=/dev/vda1".into(), 7, 100..114, true));
    assert_eq!(words[4].0, "x");
    let script = "if [ -z \"${kernelopts}\" ]; then set kernelopts=\"root=UUID=x \"; fi\nblscfg\n";
    let menu = shown(&Small { environment: vec![], ..world }, script);
    let root = &menu.items[0].commands[0].words[2];
    assert!(root.literal);
    assert_eq!(&script[root.range.clone()], "root=UUID=x");
}

#[test]
fn garbage_does_not_hide_what_follows() {
    for garbage in ["garbage and more\n", "fi\n", "}\n", "then done\n", "\u{1f600} \0\n", "= =\n"] {
        let menu = shown(&Small::default(), &format!("{garbage}menuentry a {{ linux /v\n}}\n"));
        assert_eq!(menu.entries().len(), 1, "{garbage:?}");
    }
    assert_eq!(parse(b"menuentry 'a {\n linux\n}\n").defects.len(), 1);
    assert_eq!(parse(b"menuentry a {\n linux\n").defects.len(), 1);
}

#[test]
fn what_is_written_is_read() {
    let entry = |n: &str| NewEntry {
        title: format!("Bob's Linux {n}"),
        id: format!("linux-{n}"),
        linux: format!("/boot/vmlinuz-{n}"),
        options: "root=UUID=ab ro console=ttyS0,115200".into(),
        initrd: Some(format!("/boot/initrd.img-{n}")),
    };
    let new = New {
        timeout: 5,
        default: "saved".into(),
        console: vec!["serial --speed=115200".into(), "terminal_output console serial".into()],
        modules: vec!["part_msdos".into(), "ext2".into()],
        search: Some("--fs-uuid ab".into()),
        entries: vec![entry("2"), entry("1")],
        ..New::default()
    };
    let text = write(&new);
    assert_eq!(parse(text.as_bytes()).defects, Vec::<Range<usize>>::new());
    let menu = shown(&Small { environment: vec![("saved_entry", "linux-1")], ..Small::default() }, &text);
    assert_eq!(menu.default_entry(), Some(vec![1]));
    let entries = menu.entries();
    assert_eq!(entries[0].1.title, "Bob's Linux 2");
    let linux = entries[0].1.commands.iter().find(|command| command.name() == "linux").unwrap();
    assert_eq!(linux.root, "hd0,msdos2");
    assert_eq!(linux.words[2].text, "root=UUID=ab");
}

proptest::proptest! {
    #[test]
    fn nothing_panics_or_hangs(bytes: Vec<u8>) {
        let _ = run(&Small::default(), 0, &bytes, BStr::new("hd0"), BStr::new("(hd0)/"));
    }

    #[test]
    fn nothing_panics_on_words(text in "(menuentry|submenu|if|then|else|fi|for|in|do|done|function|set|search|source|a=b|\\$a|\\$\\{a\\}|['\"\\\\{}#;\n =\\[\\]>])*") {
        let script = parse(text.as_bytes());
        for range in &script.defects {
            proptest::prop_assert!(range.end <= text.len());
        }
        let menu = shown(&Small::default(), &text);
        for (path, item) in menu.entries() {
            proptest::prop_assert_eq!(menu.item(&path), Some(item));
            for word in item.commands.iter().flat_map(|command| &command.words).filter(|word| word.literal && word.file == 0) {
                proptest::prop_assert_eq!(text.as_bytes().get(word.range.clone()), Some(word.text.as_slice()));
            }
        }
    }
}

#[test]
fn deep_nesting_is_bounded() {
    let _ = shown(&Small::default(), &"submenu a {\n".repeat(3000));
    let _ = shown(&Small::default(), "function f { f; f\n}\nf\n");
    let _ = shown(&Small::default(), "function f { f; f\n}\nmenuentry a { f\n}\n");
}

#[test]
fn a_text_without_end_is_not_read_to_its_end() {
    let text = "if true; then\n".repeat(1_000_000);
    let script = super::parse(text.as_bytes());
    assert!(!script.defects.is_empty() && script.defects.len() < 1000, "{}", script.defects.len());
    assert!(script.defects.iter().all(|range| range.end <= text.len()));
    // Nor is one that is only long: what closes nothing is a defect each, but there are not more of them than words.
    let flat = super::parse("fi\n".repeat(1_000_000).as_bytes());
    assert!(flat.defects.len() < 300_000, "{}", flat.defects.len());
}
