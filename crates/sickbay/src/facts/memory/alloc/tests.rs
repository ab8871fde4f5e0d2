use super::*;

/// The e-book's machine: 3.8 GB, 256 huge pages, CentOS 7.4.
fn centos() -> Accounting {
    Accounting {
        release: "3.10.0-693.2.2.el7.x86_64".into(),
        version: (3, 10),
        page: 4,
        mode: Some(2),
        ratio: 50,
        meminfo: Fields::parse(
            b"MemTotal: 3881692 kB\nMemFree: 2567724 kB\nMemAvailable: 2968640 kB\nBuffers: 69016 kB\nCached: 536116 kB\n\
              Shmem: 24996 kB\nSReclaimable: 51080 kB\nSwapTotal: 0 kB\nSwapFree: 0 kB\nCommitted_AS: 2282236 kB\n\
              HugePages_Total: 256\nHugepagesize: 2048 kB\n",
        ),
        admin_reserve: Some(8192),
        user_reserve: Some(131_072),
        total_reserve: Some(135_488),
        max_map_count: Some(65_530),
        ..Accounting::default()
    }
}

fn with(accounting: &Accounting, committed: u64, huge: u64) -> Accounting {
    let text = format!(
        "MemTotal: 3881692 kB\nMemAvailable: 3400000 kB\nCommitted_AS: {committed} kB\nHugePages_Total: {huge}\nHugepagesize: 2048 kB\n"
    );
    Accounting { meminfo: Fields::parse(text.as_bytes()), ..accounting.clone() }
}

#[test]
fn huge_pages_do_not_count_towards_the_commit_limit() {
    // (3881692 - 524288) / 2 = 1678702, in whole pages 1678700: as the e-book's report has it.
    assert_eq!(centos().commit_limit(), 1_678_700);
    assert_eq!(with(&centos(), 0, 0).commit_limit(), 1_940_844);
    let mut by_size = centos();
    by_size.kbytes = 1_000_002;
    assert_eq!(by_size.commit_limit(), 1_000_000);
}

#[test]
fn the_e_books_first_refusal() {
    let verdict = centos().judge(3_495_428_096, &Asker { root: true, ..Asker::default() });
    assert_eq!(verdict.says(), Says::Refuses);
    assert!(verdict.rules.iter().any(|rule| rule.formula.contains("= 1678700 kB")), "{verdict:?}");
}

/// The second run of the e-book: 480352 + 1398272 = 1878624 kB are 62220 kB below the limit of 1940844 kB, and yet it is
/// refused: a JVM has more than 2 GiB mapped by then, and of that a thirty-second is kept, here 65600 kB.
#[test]
fn the_reserve_for_the_user_decides() {
    let accounting = with(&centos(), 480_352, 0);
    let new = Asker { root: true, ..Asker::default() };
    assert_eq!(accounting.judge(1_431_830_528, &new).says(), Says::Grants);
    let jvm = Asker { root: true, total_vm: 2_600_000, ..Asker::default() };
    let verdict = accounting.judge(1_431_830_528, &jvm);
    // 1940844 - 81250 = 1859594: 19030 kB too little.
    assert_eq!(verdict.says(), Says::Refuses, "{verdict:?}");
    assert_eq!(accounting.headroom(&jvm), 1_940_844 - 81_250 - 480_352);
    let user = Asker { root: false, ..new };
    assert_eq!(accounting.headroom(&user), 1_940_844 - 8192 - 480_352);
}

#[test]
fn at_the_limit_nobody_can_tell() {
    let accounting = with(&centos(), 480_352, 0);
    let root = Asker { root: true, ..Asker::default() };
    let exact = (1_940_844 - 480_352) * 1024;
    assert_eq!(accounting.judge(exact, &root).says(), Says::Unsure);
    assert_eq!(accounting.judge(exact - (16 << 20), &root).says(), Says::Grants);
    assert_eq!(accounting.judge(exact + (16 << 20), &root).says(), Says::Refuses);
}

/// The e-book's `-Xms5000M` on 3.8 GB: refused by the old guess, granted by the new one.
#[test]
fn the_guess_of_before_and_after_5_2() {
    let mut accounting = Accounting { mode: Some(0), ..centos() };
    let root = Asker { root: true, ..Asker::default() };
    let request = 3_495_428_096;
    // 2567724 + 605132 - 24996 + 51080 - 135488 = 3063452 <= 3413504 kB
    assert_eq!(accounting.judge(request, &root).says(), Says::Refuses);
    assert_eq!(accounting.judge(3_063_452 * 1024, &root).rules.first().map(|rule| rule.says), Some(Says::Refuses));
    assert_eq!(accounting.judge(3_063_448 * 1024, &root).rules.first().map(|rule| rule.says), Some(Says::Grants));
    let user = Asker::default();
    assert_eq!(accounting.judge(3_055_260 * 1024, &user).rules.first().map(|rule| rule.says), Some(Says::Refuses));
    assert_eq!(accounting.judge(3_055_256 * 1024, &user).rules.first().map(|rule| rule.says), Some(Says::Grants));
    accounting.total_reserve = None;
    assert_eq!(accounting.judge(request, &root).says(), Says::Unsure);

    accounting.version = (5, 2);
    let verdict = accounting.judge(request, &root);
    // Granted, and not there: 3413504 kB of 2968640 kB.
    assert_eq!(verdict.says(), Says::Later);
    assert_eq!(accounting.judge(3_881_692 * 1024 + 1, &root).says(), Says::Refuses);

    // 1024000 kB kept free raise the high watermark by half as much again: the e-book's fork that fails.
    let kept = Accounting { version: (3, 10), total_reserve: Some(1_536_000 + 135_488), ..accounting };
    assert_eq!(kept.judge(1 << 30, &root).says(), Says::Grants);
    assert_eq!(kept.judge(1600 << 20, &root).says(), Says::Refuses);
}

#[test]
fn rhel_8_may_have_either_rule() {
    let accounting =
        Accounting { mode: Some(0), version: (4, 18), release: "4.18.0-477.el8.x86_64".into(), ..centos() };
    let root = Asker { root: true, ..Asker::default() };
    assert_eq!(accounting.judge(3_495_428_096, &root).says(), Says::Unsure);
    assert_eq!(accounting.judge(1 << 20, &root).says(), Says::Grants);
    assert_eq!(accounting.judge(4 << 30, &root).says(), Says::Refuses);
}

#[test]
fn limits_of_the_process_and_its_cgroup() {
    let accounting = Accounting { mode: Some(1), version: (6, 1), ..centos() };
    let asker = Asker {
        total_vm: 1_000_000,
        data_vm: 500_000,
        maps: Some(65_530),
        address_space: Some(2_000_000 << 10),
        data: Some(700_000 << 10),
        cgroups: vec![CgroupLimit { path: "memory.max".into(), limit: 300 << 20, used: 250 << 20 }],
        ..Asker::default()
    };
    let says = |bytes: u64, asker: &Asker| accounting.judge(bytes, asker).says();
    assert_eq!(says(10 << 20, &asker), Says::Grants);
    assert_eq!(says(100 << 20, &asker), Says::Later);
    assert_eq!(says(200_000 << 10, &asker), Says::Later);
    assert_eq!(says((200_000 << 10) + 1, &asker), Says::Refuses);
    let no_data = Asker { data: None, ..asker.clone() };
    assert_eq!(says(1_000_000 << 10, &no_data), Says::Later);
    assert_eq!(says((1_000_000 << 10) + 1, &no_data), Says::Refuses);
    assert_eq!(says(1, &Asker { maps: Some(65_531), ..asker.clone() }), Says::Refuses);
    assert_eq!(says(ADDRESSES, &Asker::default()), Says::Refuses);
    // RLIMIT_DATA said nothing of mappings before 4.7.
    let old = Accounting { version: (4, 6), ..accounting };
    assert_eq!(old.judge((200_000 << 10) + 1, &asker).says(), Says::Later);
}

proptest::proptest! {
    #[test]
    fn any_numbers(bytes: u64, mode in 0..4u64, total: u64, committed: u64, vm: u64, reserve: u64, page in 0..100u64) {
        let text = format!("MemTotal: {total} kB\nCommitted_AS: {committed} kB\nHugePages_Total: {vm}\nHugepagesize: {reserve}\n");
        let accounting = Accounting {
            mode: Some(mode),
            page,
            meminfo: Fields::parse(text.as_bytes()),
            admin_reserve: Some(reserve),
            total_reserve: Some(reserve),
            ..Accounting::default()
        };
        let _ = accounting.judge(bytes, &Asker { total_vm: vm, ..Asker::default() });
    }
}
