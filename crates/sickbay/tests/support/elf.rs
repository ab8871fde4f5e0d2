//! The smallest ELF file that has what a loader looks at: class, machine, interpreter, needed libraries, soname.

/// What is to be in it.
#[derive(Default)]
pub struct Parts<'a> {
    /// Given for programs.
    pub interpreter: Option<&'a str>,
    pub needed: Vec<&'a str>,
    pub soname: Option<&'a str>,
    pub runpath: Option<&'a str>,
    /// A library and a version that it must have.
    pub asks: Vec<(&'a str, &'a str)>,
    /// Versions that it has.
    pub has: Vec<&'a str>,
}

/// An x86-64 shared object or program.
pub fn build(parts: &Parts<'_>) -> Vec<u8> {
    let Parts { interpreter, needed, soname, runpath, asks, has } = parts;
    const BASE: usize = 64 + 3 * 56;
    let mut strings = vec![0u8];
    let mut string = |text: &str| {
        let at = strings.len();
        strings.extend_from_slice(text.as_bytes());
        strings.push(0);
        at as u64
    };
    let mut dynamic: Vec<(u64, u64)> = needed.iter().map(|&name| (1, string(name))).collect();
    if let Some(soname) = soname {
        dynamic.push((14, string(soname)));
    }
    if let Some(runpath) = runpath {
        dynamic.push((29, string(runpath)));
    }
    // Verneed with one Vernaux each, and Verdef with one Verdaux each (elf(5)).
    let mut versions: Vec<u8> = Vec::new();
    let mut put = |bytes: &[&[u8]]| bytes.iter().for_each(|bytes| versions.extend_from_slice(bytes));
    for (at, (library, version)) in asks.iter().enumerate() {
        let next: u32 = if at + 1 < asks.len() { 32 } else { 0 };
        let (library, version) = (string(library) as u32, string(version) as u32);
        let half = |value: u16| value.to_le_bytes();
        put(&[&half(1), &half(1), &library.to_le_bytes(), &16u32.to_le_bytes(), &next.to_le_bytes()]);
        put(&[&0u32.to_le_bytes(), &half(0), &half(2), &version.to_le_bytes(), &0u32.to_le_bytes()]);
    }
    for (at, version) in has.iter().enumerate() {
        let next: u32 = if at + 1 < has.len() { 28 } else { 0 };
        let (name, half) = (string(version) as u32, |value: u16| value.to_le_bytes());
        put(&[&half(1), &half(0), &half(1), &half(1), &0u32.to_le_bytes(), &20u32.to_le_bytes(), &next.to_le_bytes()]);
        put(&[&name.to_le_bytes(), &0u32.to_le_bytes()]);
    }
    let interpreter_at = interpreter.map(|path| (string(path), path.len() as u64 + 1));
    let strings_at = BASE as u64;
    let dynamic_at = (BASE + strings.len()).next_multiple_of(8) as u64;
    dynamic.extend([(5, strings_at), (10, strings.len() as u64)]);
    let tables = 2 * (u64::from(!asks.is_empty()) + u64::from(!has.is_empty()));
    let versions_at = dynamic_at + (dynamic.len() as u64 + tables + 1) * 16;
    if !asks.is_empty() {
        dynamic.extend([(0x6fff_fffe, versions_at), (0x6fff_ffff, asks.len() as u64)]);
    }
    if !has.is_empty() {
        dynamic.extend([(0x6fff_fffc, versions_at + 32 * asks.len() as u64), (0x6fff_fffd, has.len() as u64)]);
    }
    dynamic.push((0, 0));
    let end = versions_at + versions.len() as u64;

    let mut headers: Vec<[u64; 7]> = vec![
        // type and flags, offset, address, address, size in file, size in memory, alignment
        [1 | 4 << 32, 0, 0, 0, end, end, 4096],
        [2 | 4 << 32, dynamic_at, dynamic_at, dynamic_at, versions_at - dynamic_at, versions_at - dynamic_at, 8],
    ];
    if let Some((at, length)) = interpreter_at {
        let at = strings_at + at;
        headers.push([3 | 4 << 32, at, at, at, length, length, 1]);
    }

    let mut file = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    for half in [3u16, 62] {
        file.extend(half.to_le_bytes());
    }
    file.extend(1u32.to_le_bytes());
    for word in [0u64, 64, 0] {
        file.extend(word.to_le_bytes());
    }
    file.extend(0u32.to_le_bytes());
    for half in [64u16, 56, headers.len() as u16, 64, 0, 0] {
        file.extend(half.to_le_bytes());
    }
    for header in &headers {
        for word in header {
            file.extend(word.to_le_bytes());
        }
    }
    file.resize(BASE, 0);
    file.extend(&strings);
    file.resize(dynamic_at as usize, 0);
    for (tag, value) in dynamic {
        file.extend(tag.to_le_bytes());
        file.extend(value.to_le_bytes());
    }
    file.extend(versions);
    file
}
