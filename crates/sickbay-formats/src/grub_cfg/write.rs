//! A configuration written anew: what `grub-mkconfig` would write, without its colours.

/// What is to be written.
#[derive(Clone, Debug, Default)]
pub struct New {
    /// Seconds of waiting.
    pub timeout: u32,
    /// `saved` for the entry that grubenv names; else a title, an id or a number.
    pub default: String,
    /// Commands for the console: `serial …`, `terminal_input …`.
    pub console: Vec<String>,
    /// Modules that the volume with the kernels needs: `part_msdos`, `ext2`.
    pub modules: Vec<String>,
    /// The words of the `search` that finds that volume: `--fs-uuid UUID`.
    pub search: Option<String>,
    /// Newest first.
    pub entries: Vec<NewEntry>,
    /// Whether the entries are those of /boot/loader/entries.
    pub loader_entries: bool,
    /// What `$kernelopts` in those entries stands for where grubenv does not say.
    pub kernelopts: Option<String>,
}

/// An entry to be written.
#[derive(Clone, Debug, Default)]
pub struct NewEntry {
    /// What the menu shows.
    pub title: String,
    /// By what grubenv names it.
    pub id: String,
    /// The kernel's path on its volume.
    pub linux: String,
    /// What the kernel is told.
    pub options: String,
    /// The initramfs's path on its volume.
    pub initrd: Option<String>,
}

/// A word between single quotes.
pub fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// The configuration.
pub fn write(new: &New) -> String {
    let default = match new.default.as_str() {
        "saved" => "\"${saved_entry}\"".to_owned(),
        other => quoted(other),
    };
    let mut out = format!(
        "# written by sickbay from the kernels that are complete\n\
         if [ -s $prefix/grubenv ]; then\n  load_env\nfi\n\
         if [ \"${{next_entry}}\" ]; then\n  set default=\"${{next_entry}}\"\n  set next_entry=\n  save_env next_entry\n  \
         set boot_once=true\nelse\n  set default={default}\nfi\n\
         menuentry_id_option=\"\"\nif [ x\"${{feature_menuentry_id}}\" = xy ]; then\n  menuentry_id_option=\"--id\"\nfi\n\
         export menuentry_id_option\n\n"
    );
    let mut line = |indent: &str, text: &str| {
        out.push_str(indent);
        out.push_str(text);
        out.push('\n');
    };
    for command in &new.console {
        line("", command);
    }
    line("", "set timeout_style=menu");
    line("", &format!("set timeout={}", new.timeout));
    let volume: Vec<String> = new
        .modules
        .iter()
        .map(|module| format!("insmod {module}"))
        .chain(new.search.iter().map(|words| format!("search --no-floppy --set=root {words}")))
        .collect();
    if new.loader_entries {
        line("", "");
        volume.iter().for_each(|command| line("", command));
        if let Some(options) = &new.kernelopts {
            line("", "if [ -z \"${kernelopts}\" ]; then");
            line("  ", &format!("set kernelopts={}", quoted(options)));
            line("", "fi");
        }
        line("", "insmod blscfg");
        line("", "blscfg");
    }
    for entry in &new.entries {
        let NewEntry { title, id, linux, options, initrd } = entry;
        line("", "");
        line("", &format!("menuentry {} $menuentry_id_option {} {{", quoted(title), quoted(id)));
        line("\t", "insmod gzio");
        volume.iter().for_each(|command| line("\t", command));
        line("\t", &format!("linux {linux} {options}"));
        if let Some(initrd) = initrd {
            line("\t", &format!("initrd {initrd}"));
        }
        line("", "}");
    }
    out
}
