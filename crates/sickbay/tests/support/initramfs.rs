//! Initramfses as small as they can be.

/// An archive of the "newc" format with `/init`, unless it shall have none, and modules of a kernel, each empty.
pub fn build(version: &str, modules: &[&str], with_init: bool) -> Vec<u8> {
    let mut archive = Vec::new();
    add(&mut archive, "conf", 0o040_755, b"");
    if with_init {
        add(&mut archive, "init", 0o100_755, b"#!/bin/sh\n");
    }
    for module in modules {
        add(&mut archive, &format!("usr/lib/modules/{version}/kernel/{module}.ko"), 0o100_644, b"");
    }
    add(&mut archive, "TRAILER!!!", 0, b"");
    archive
}

fn add(archive: &mut Vec<u8>, name: &str, mode: u32, content: &[u8]) {
    let (size, length) = (content.len(), name.len() + 1);
    archive.extend(format!("070701{:08x}{mode:08x}{}{size:08x}", 0, "0".repeat(32)).bytes());
    archive.extend(format!("{}{length:08x}{:08x}{name}\0", "0".repeat(32), 0).bytes());
    archive.resize(archive.len().next_multiple_of(4), 0);
    archive.extend(content);
    archive.resize(archive.len().next_multiple_of(4), 0);
}
