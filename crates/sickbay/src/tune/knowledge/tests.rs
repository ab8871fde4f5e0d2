use std::collections::BTreeSet;

use super::*;

#[test]
fn the_table() {
    let names: Vec<&str> = all().map(|key| key.name).collect();
    assert!(names.len() >= 100, "{}", names.len());
    assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len(), "a name is there twice");
    for key in all() {
        assert!(!key.sources.is_empty(), "{} has no source", key.name);
        assert!(!(key.what)().render(crate::model::text::Lang::En).is_empty());
    }
    assert_eq!(find("net.ipv4.conf.eth0.rp_filter").map(|key| key.name), Some("net.ipv4.conf.*.rp_filter"));
    assert!(find("net.ipv4.conf.eth0.x.rp_filter").is_none());
    assert_eq!(meant("net.core.somaxcon"), Some("net.core.somaxconn"));
    assert_eq!(meant("net.ipv4.somaxconn"), Some("net.core.somaxconn"));
    assert_eq!(meant("net.ipv4.x"), None);
}

#[test]
fn what_an_int_holds() {
    let machine = Machine {
        kernel: crate::tune::kernel::Kernel::parse("6.1").unwrap(),
        memory: None,
        cpus: None,
        bounds: crate::tune::kernel::Bounds::default(),
    };
    let said = |name: &str, value: &str| find(name).unwrap().judge(value, &machine, &|_| None).verdict;
    assert_eq!(said("net.core.somaxconn", "99999999999"), Verdict::Malformed);
    assert_ne!(said("fs.file-max", "9223372036854775807"), Verdict::Malformed);
    assert_ne!(said("vm.dirty_bytes", "4294967296"), Verdict::Malformed);
}

#[test]
fn numbers_as_the_kernel_reads_them() {
    let read = |text: &str, count| numbers(text, count, Unit::Bytes).map_err(|wrong| (wrong.verdict, wrong.suggested));
    assert_eq!(read("0x10", 1), Ok(vec![16]));
    assert_eq!(read("1 # on", 1), Ok(vec![1]));
    assert_eq!(read("4096\t87380 6291456", 3), Ok(vec![4096, 87380, 6_291_456]));
    let wrong = |suggested: Option<&str>| Err((Verdict::Malformed, suggested.map(str::to_owned)));
    assert_eq!(read("5000 --> 50000", 1), wrong(Some("50000")));
    assert_eq!(read("1(5 and 6)", 1), wrong(Some("1")));
    assert_eq!(read("1024", 2), wrong(None));
    assert_eq!(read("many", 1), wrong(None));
    assert_eq!(read("", 1), wrong(None));
    // What was meant.
    assert_eq!(read("16M", 1), wrong(Some("16777216")));
    assert_eq!(read("16 MB", 1), wrong(Some("16777216")));
    assert_eq!(read("20%", 1), wrong(Some("20")));
    assert_eq!(read("yes", 1), wrong(Some("1")));
    assert_eq!(read("1024-65000", 2), wrong(Some("1024 65000")));
    assert_eq!(read("4096,87380,6291456", 3), wrong(Some("4096 87380 6291456")));
    assert_eq!(read("128 → 1024", 1), wrong(Some("1024")));
    assert_eq!(scaled("64M", Unit::Kib), Some(65_536));
    assert_eq!(scaled("5m", Unit::Seconds), Some(300));
    assert_eq!(scaled("5m", Unit::Centiseconds), Some(30_000));
    assert_eq!(scaled("5x", Unit::Seconds), None);
}
