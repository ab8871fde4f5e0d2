//! The smallest ELF file that has what a loader looks at: class, machine, interpreter, needed libraries, soname.

/// An x86-64 shared object or program. `interpreter` is given for programs.
pub fn build(interpreter: Option<&str>, needed: &[&str], soname: Option<&str>, runpath: Option<&str>) -> Vec<u8> {
    const BASE: usize = 64 + 3 * 56;
    let mut strings = vec![0u8];
    let mut string = |text: &str| {
        let at = strings.len();
        strings.extend_from_slice(text.as_bytes());
        strings.push(0);
        at as u64
    };
    let mut dynamic: Vec<(u64, u64)> = needed.iter().map(|name| (1, string(name))).collect();
    if let Some(soname) = soname {
        dynamic.push((14, string(soname)));
    }
    if let Some(runpath) = runpath {
        dynamic.push((29, string(runpath)));
    }
    let interpreter_at = interpreter.map(|path| (string(path), path.len() as u64 + 1));
    let strings_at = BASE as u64;
    let dynamic_at = (BASE + strings.len()).next_multiple_of(8) as u64;
    dynamic.extend([(5, strings_at), (10, strings.len() as u64), (0, 0)]);
    let end = dynamic_at + dynamic.len() as u64 * 16;

    let mut headers: Vec<[u64; 7]> = vec![
        // type and flags, offset, address, address, size in file, size in memory, alignment
        [1 | 4 << 32, 0, 0, 0, end, end, 4096],
        [2 | 4 << 32, dynamic_at, dynamic_at, dynamic_at, end - dynamic_at, end - dynamic_at, 8],
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
    file
}
