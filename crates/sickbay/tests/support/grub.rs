//! Core images of GRUB 2 that unpack, and modules with symbols.

use sickbay_formats::boot_sector::SECTOR;

/// Where the decompressor ends and the stream begins.
const STREAM: usize = SECTOR + super::disk::DECOMPRESSOR;

/// The image with another stream: `exports=A,B` are names in it, `ext=HEX` the features that its ext2 takes, `xfs=HEX` those of XFS.
pub fn core(base: &[u8], words: &[&str]) -> Result<Vec<u8>, String> {
    let value = |key: &str| words.iter().find_map(|word| word.strip_prefix(key));
    let hex = |text: &str| u32::from_str_radix(text, 16).map_err(|error| error.to_string());
    let mut content = b"\0grub_machine_init\0".to_vec();
    for name in value("exports=").unwrap_or_default().split(',') {
        content.extend_from_slice(name.as_bytes());
        content.push(0);
    }
    if let Some(takes) = value("ext=") {
        content.extend_from_slice(&[0x8b, 0x43, 0x60, 0xa9]);
        content.extend_from_slice(&(!hex(takes)?).to_le_bytes());
    }
    if let Some(takes) = value("xfs=") {
        content.extend_from_slice(&[0xf7, 0x83, 0xdc, 0, 0, 0]);
        content.extend_from_slice(&(!hex(takes)?).to_be_bytes());
    }
    let stream = literals(&content);
    let mut image = base.get(..STREAM).ok_or("a short image")?.to_vec();
    let (packed, unpacked) = (stream.len() as u32, content.len() as u32);
    image[0x208..0x20C].copy_from_slice(&packed.to_le_bytes());
    image[0x20C..0x210].copy_from_slice(&unpacked.to_le_bytes());
    image.extend(stream);
    Ok(image)
}

/// An LZMA stream without header that consists of literals, with lc=3, lp=0 and pb=2 (the LZMA specification of 7-Zip).
fn literals(content: &[u8]) -> Vec<u8> {
    let mut coder = Coder { low: 0, range: u32::MAX, cache: 0, pending: 1, out: Vec::new() };
    let mut matches = [1024_u16; 4];
    let mut models = vec![[1024_u16; 0x300]; 8];
    let mut before = 0_u8;
    for (at, &byte) in content.iter().enumerate() {
        coder.bit(&mut matches[at % 4], 0);
        let model = &mut models[usize::from(before >> 5)];
        let mut symbol = 1_usize;
        for shift in (0..8).rev() {
            let bit = u32::from(byte >> shift & 1);
            coder.bit(&mut model[symbol], bit);
            symbol = symbol << 1 | bit as usize;
        }
        before = byte;
    }
    for _ in 0..5 {
        coder.shift();
    }
    coder.out
}

struct Coder {
    low: u64,
    range: u32,
    cache: u8,
    pending: u64,
    out: Vec<u8>,
}

impl Coder {
    fn bit(&mut self, model: &mut u16, bit: u32) {
        let bound = (self.range >> 11) * u32::from(*model);
        if bit == 0 {
            self.range = bound;
            *model += (2048 - *model) >> 5;
        } else {
            self.low += u64::from(bound);
            self.range -= bound;
            *model -= *model >> 5;
        }
        while self.range < 1 << 24 {
            self.range <<= 8;
            self.shift();
        }
    }

    fn shift(&mut self) {
        if self.low < 0xFF00_0000 || self.low > 0xFFFF_FFFF {
            let carry = (self.low >> 32) as u8;
            let mut first = self.cache;
            while self.pending > 0 {
                self.out.push(first.wrapping_add(carry));
                first = 0xFF;
                self.pending -= 1;
            }
            self.cache = (self.low >> 24) as u8;
        }
        self.pending += 1;
        self.low = (self.low & 0x00FF_FFFF) << 8;
    }
}

/// A module for 32 bits with a table of symbols: `needs=A,B` and `has=C`.
pub fn module(words: &[&str]) -> Vec<u8> {
    let names = |key: &str| -> Vec<String> {
        let value = words.iter().find_map(|word| word.strip_prefix(key)).unwrap_or_default();
        value.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect()
    };
    let mut strings = vec![0_u8];
    let mut symbols = vec![0_u8; 16];
    let all = names("needs=")
        .into_iter()
        .map(|name| (name, 0_u16))
        .chain(names("has=").into_iter().map(|name| (name, 0xfff1)));
    for (name, section) in all {
        symbols.extend((strings.len() as u32).to_le_bytes());
        symbols.extend([0; 8]);
        symbols.extend([0x12, 0]);
        symbols.extend(section.to_le_bytes());
        strings.extend(name.as_bytes());
        strings.push(0);
    }
    let names = b"\0.symtab\0.strtab\0.shstrtab\0";
    let (at_symbols, at_strings) = (52, 52 + symbols.len());
    let at_names = at_strings + strings.len();
    let at_sections = (at_names + names.len()).next_multiple_of(4);
    let mut file = b"\x7fELF\x01\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    for half in [1_u16, 3] {
        file.extend(half.to_le_bytes());
    }
    for word in [1_u32, 0, 0, at_sections as u32, 0] {
        file.extend(word.to_le_bytes());
    }
    for half in [52_u16, 0, 0, 40, 4, 3] {
        file.extend(half.to_le_bytes());
    }
    file.extend(&symbols);
    file.extend(&strings);
    file.extend(names);
    file.resize(at_sections, 0);
    let sections: [[usize; 10]; 4] = [
        [0; 10],
        [1, 2, 0, 0, at_symbols, symbols.len(), 2, 1, 4, 16],
        [9, 3, 0, 0, at_strings, strings.len(), 0, 0, 1, 0],
        [17, 3, 0, 0, at_names, names.len(), 0, 0, 1, 0],
    ];
    for number in sections.iter().flatten() {
        file.extend((*number as u32).to_le_bytes());
    }
    file
}
