use proptest::prelude::prop;

use super::*;

#[test]
fn a_loop_around_ps() {
    let text = parse(
        b"at Jan 20 15:54:12 CST 2018\nD      958    958    957 nginx\nR     11908  11908  18870 ps\n\
        Sat Jan 20 15:54:12 CST 2018\n25.76 20.60 19.00 12/404 11912\n",
    );
    let [block] = text.blocks.as_slice() else { panic!("{text:?}") };
    assert_eq!((block.source, block.tasks.len(), block.stamp.clock), (Source::Ps, 2, 57_252.0));
    assert_eq!(block.stamp.date, Some(Date { year: 2018, month: 1, day: 20 }));
}

fn one(text: &str) -> Block {
    let read = parse(text.as_bytes());
    let [block] = read.blocks.as_slice() else { panic!("{read:?}") };
    block.clone()
}

#[test]
fn dates_of_several_languages() {
    let of = |line: &str| {
        let text = format!("{line}\nDevice: tps kB_read/s kB_wrtn/s\nsda 1.00 2.00 3.00\n");
        let stamp = one(&text).stamp;
        let date = stamp.date.map(|date| (date.year, date.month, date.day));
        (date, stamp.clock, stamp.offset)
    };
    let half_past = 10.0 * 3600.0 + 36.0 * 60.0 + 3.0;
    for line in [
        "06/12/2018 10:36:03 AM",
        "06/12/18 10:36:03",
        "2018-06-12 10:36:03",
        "2018-06-12T10:36:03",
        "12.06.2018 10:36:03",
        "2018年06月12日 10时36分03秒",
        "Tue Jun 12 10:36:03 CEST 2018",
        "Tue 12 Jun 2018 10:36:03 AM CST",
        "2018年 06月 12日 星期二 10:36:03 CST",
    ] {
        assert_eq!(of(line), (Some((2018, 6, 12)), half_past, None), "{line}");
    }
    assert_eq!(of("2018-06-12T10:36:03+0800"), (Some((2018, 6, 12)), half_past, Some(28_800)));
    assert_eq!(of("06/12/2018 12:05:00 AM").1, 300.0);
    assert_eq!(of("06/12/2018 12:05:00 PM").1, 12.0 * 3600.0 + 300.0);
    // Only the whole text tells which number is the day.
    let text = "12/06/2018 10:36:03\nDevice tps\nsda 1.00\n\n13/06/2018 10:36:03\nDevice tps\nsda 1.00\n";
    let days: Vec<_> = parse(text.as_bytes()).blocks.iter().filter_map(|block| block.stamp.date).collect();
    assert_eq!(days.iter().map(|date| (date.month, date.day)).collect::<Vec<_>>(), [(6, 12), (6, 13)]);
}

#[test]
fn columns_of_old_and_new_iostat() {
    let new = one("Linux 6.1.0 (host) \t11/30/26 \t_x86_64_\t(2 CPU)\n\n11/30/26 20:17:14\n\
        avg-cpu:  %user   %nice %system %iowait  %steal   %idle\n          57.10    3.99   10.51    0.38    0.08   27.94\n\n\
        Device            r/s     rkB/s   rrqm/s  %rrqm r_await rareq-sz     w/s     wkB/s   wrqm/s  %wrqm w_await wareq-sz     d/s     dkB/s   drqm/s  %drqm d_await dareq-sz     f/s f_await  aqu-sz  %util\n\
        vda             68.06   2836.75     7.32   9.70    1.48    41.68  257.71  12311.30    72.52  21.96    0.46    47.77   15.88   1250.59     0.01   0.08    0.19    78.74   68.27    0.10    0.23   2.82\n");
    let disk = &new.disks[0];
    assert_eq!((new.source, new.since_start, new.lumped), (Source::Iostat, SinceStart::Perhaps, Lumped::Interrupts));
    assert_eq!((disk.reads, disk.written_kb, disk.write_wait), (Some(68.06), Some(12_311.3), Some(0.46)));
    assert_eq!(
        (disk.wait, disk.queue, disk.util, disk.merged),
        (None, Some(0.23), Some(2.82), [Some(7.32), Some(72.52)])
    );
    assert_eq!((new.cpus[0].user, new.cpus[0].idle), (57.10, 27.94));
    // Sectors, MiB, and a comma for the point.
    let old = one(
        "12.06.2018 10:36:03\nDevice: rrqm/s wrqm/s r/s w/s rsec/s wsec/s avgrq-sz avgqu-sz await svctm %util\nsda 0,00 1,00 2,00 3,00 8,00 16,00 8,00 0,10 5,50 1,00 1,25\n",
    );
    assert_eq!((old.disks[0].read_kb, old.disks[0].wait, old.disks[0].util), (Some(4.0), Some(5.5), Some(1.25)));
    let mb = one("06/12/18 10:36:03\nDevice r/s w/s rMB/s wMB/s\nsda 2.00 3.00 1.00 0.50\n");
    assert_eq!((mb.disks[0].read_kb, mb.disks[0].written_kb), (Some(1024.0), Some(512.0)));
    // Without a time nothing can be done with it, and that is said.
    let none = parse(b"Device r/s w/s\nsda 2.00 3.00\n");
    assert_eq!((none.blocks.len(), none.without_time), (0, 1));
}

#[test]
fn processes_of_pidstat() {
    let both = one(
        "# Time        UID      TGID       TID    %usr %system  %guest   %wait    %CPU   CPU   kB_rd/s   kB_wr/s kB_ccwr/s iodelay  Command\n\
        20:17:15        0       321         -   52.73    5.45    0.00    0.00   58.18     0    170.91      0.00      0.00       0  rustc\n\
        20:17:15        0         -       323   52.73    5.45    0.00    0.00   58.18     0     -1.00     -1.00     -1.00       0  |__opt cgu.1\n",
    );
    let tasks: Vec<_> =
        both.tasks.iter().map(|task| (task.pid, task.id, task.is_process, task.cpu, task.read)).collect();
    // A rate below zero stands for what could not be read.
    assert_eq!(tasks, [(321, 321, true, Some(58.18), Some(170.91 * 1024.0)), (321, 323, false, Some(58.18), None)]);
    assert_eq!(both.tasks[1].name, "opt");
    // Two tables of one moment, by a dial of twelve hours.
    let text = "Linux 3.10.0 (host) 06/12/2018 _x86_64_ (4 CPU)\n\n08:17:14 PM   UID       PID    %usr %system  %guest    %CPU   CPU  Command\n\
        08:17:15 PM     0         7    1.00    0.00    0.00    1.00     1  fio\n\n\
        08:17:14 PM   UID       PID   kB_rd/s   kB_wr/s kB_ccwr/s  Command\n08:17:15 PM     0         7      4.00      8.00      0.00  fio\n\n\
        Average:      UID       PID   kB_rd/s   kB_wr/s kB_ccwr/s  Command\nAverage:        0         7      4.00      8.00      0.00  fio\n";
    let tables = one(text);
    let task = &tables.tasks[0];
    assert_eq!((tables.tasks.len(), task.cpu, task.written), (1, Some(1.0), Some(8192.0)));
    assert_eq!(tables.began.map(|began| began.clock), Some(tables.stamp.clock - 1.0));
    // Before 12 the time is seconds since 1970.
    let old = one("#      Time   UID       PID    %usr %system  %guest    %CPU   CPU  Command\n 1528799763     0         7    1.00    0.00    0.00    1.00     1  fio\n"
        .replace("#      Time", "# Time").as_str());
    assert_eq!(old.stamp.epoch, Some(1_528_799_763.0));
}

#[test]
fn rows_of_iotop() {
    let block = one("10:36:03 Total DISK READ :       0.00 B/s | Total DISK WRITE :       2.63 M/s\n\
        10:36:03 Actual DISK READ:       0.00 B/s | Actual DISK WRITE:       2.63 M/s\n\
        \x20   TIME  TID  PRIO  USER     DISK READ  DISK WRITE  SWAPIN     IO>    COMMAND\n\
        10:36:03 11974 be/4 root        1.50 K/s    2.63 M/s  0.00 % 93.95 % /usr/bin/fio -direct=1\n\
        10:36:03    35 be/4 root        0.00 B/s    0.00 B/s ?unavailable?  [kworker/u8:2-flush-254:0]\n");
    let rows: Vec<_> = block.tasks.iter().map(|task| (task.id, task.name.to_string(), task.read)).collect();
    let expected = [(11974, "fio".to_owned(), Some(1536.0)), (35, "kworker/u8:2-flush-254:0".to_owned(), Some(0.0))];
    assert_eq!((rows.as_slice(), block.stamp.date), (&expected[..], None));
    // The time behind each row, in the next line where a terminal broke it; or before all of them.
    let row = "16209 be/4 root 0.00 B/s 2.64 M/s 0.00 % 93.72 % fio -direct=1";
    let behind = one(&format!("{row}\t2018-06-12-10:54:10\n"));
    assert_eq!(behind.stamp, one(&format!("{row}\n-name=Rand_Write\n2018-06-12-10:54:10\n")).stamp);
    assert_eq!(behind.stamp, Stamp { is_inherited: false, ..one(&format!("2018-06-12 10:54:10\n{row}\n")).stamp });
    assert_eq!(parse(row.as_bytes()).without_time, 1);
}

#[test]
fn lines_of_atop() {
    let text = "RESET\nCPU host 1796069966 2026/11/30 20:19:26 1381 100 2 28955 163581 10900 70155 1006 0 416 219 0 5192 100 0 0\nSEP\n\
        CPU host 1796069968 2026/11/30 20:19:28 2 100 2 40 160 0 190 4 2 4 0 0 5192 100 0 0\n\
        cpu host 1796069968 2026/11/30 20:19:28 2 100 1 20 80 0 96 2 0 2 0 0 2596 100 0 0\n\
        CPL host 1796069968 2026/11/30 20:19:28 2 2 4.80 5.86 3.75 884 708\n\
        DSK host 1796069968 2026/11/30 20:19:28 2 vda 500 16 176 24 464 23 464 0 0.00\n\
        PRC host 1796069968 2026/11/30 20:19:28 2 7 (two words) R 100 150 30 -10 110 0 0 1 0 7 y 1455647193 () 0 -3 -3\n\
        PRD host 1796069968 2026/11/30 20:19:28 2 7 (two words) R n y 1 8 2 16 4 7 n y\nSEP\n";
    let text = parse(text.as_bytes());
    let [first, block] = text.blocks.as_slice() else { panic!("{text:?}") };
    assert_eq!((first.since_start, block.since_start, block.interval), (SinceStart::Yes, SinceStart::No, Some(2.0)));
    assert_eq!((block.cpus[0].user, block.cpus[0].idle, block.cpus[1].number), (40.0, 47.5, Some(1)));
    assert_eq!((block.load.map(|load| load.averages), text.cpus), (Some([480, 586, 375]), Some(2)));
    let disk = &block.disks[0];
    assert_eq!((disk.util, disk.reads, disk.written_kb), (Some(25.0), Some(8.0), Some(116.0)));
    let task = &block.tasks[0];
    assert_eq!((task.name.to_string().as_str(), task.cpu, task.state), ("two words", Some(90.0), Some(b'R')));
    assert_eq!((task.read, task.written, task.cancelled), (Some(2048.0), Some(4096.0), Some(1024.0)));
}

#[test]
fn rows_of_vmstat() {
    let text = parse(
        b"procs -----------memory---------- ---swap-- -----io---- -system-- ------cpu----- -----timestamp-----\n \
        r  b   swpd   free   buff  cache   si   so    bi    bo   in   cs us sy id wa st                 UTC\n \
        6  0      0 15148896  65496 7910468    0    0  1376  6674  519 1074 63 11 25  1  0 2026-11-30 20:19:27\n \
        4  2      0 15148896  65496 7910468    0    0 14776    28  808  715 88 12  0  0  0 2026-11-30 20:19:28\n",
    );
    let [first, second] = text.blocks.as_slice() else { panic!("{text:?}") };
    assert_eq!((first.since_start, second.since_start), (SinceStart::Yes, SinceStart::No));
    assert_eq!((second.running, second.blocked, second.switches), (Some(4), Some(2), Some(715.0)));
    assert_eq!((second.cpus[0].user, second.lumped, second.stamp.clock), (88.0, Lumped::NiceToo, 73_168.0));
}

#[test]
fn old_and_new_top() {
    let text = "top - 10:36:03 up 1 day,  2:03,  1 user,  load average: 4.80, 5.86, 3.75\n\
        Tasks:  91 total,   3 running,  88 sleeping,   0 stopped,   0 zombie\n%Cpu(s): 50.0 us, 49.0 sy,  0.0 ni,  0.5 id,  0.0 wa,  0.0 hi,  0.5 si,  0.0 st\n\n  \
        PID USER      PR  NI    VIRT    RES    SHR S  %CPU  %MEM     TIME+ COMMAND\n 5430 root      20   0 1940940   1.1g 203124 D 113.3   4.8   0:20.58 rustc\n\n\
        top - 10:36:06 up 1 day,  2:03,  1 user,  load average: 4.80, 5.86, 3.75\n\
        Tasks:  91 total,   3 running,  88 sleeping,   0 stopped,   0 zombie\nCpu(s): 12.5%us,  2.5%sy,  0.0%ni, 85.0%id,  0.0%wa,  0.0%hi,  0.0%si,  0.0%st\n  \
        PID USER      PR  NI  VIRT  RES  SHR S %CPU %MEM    TIME+  COMMAND\n 5430 root      20   0 1940940   1.1g 203124 R 12.0   4.8   0:20.58 rustc\n";
    let text = parse(text.as_bytes());
    let [first, second] = text.blocks.as_slice() else { panic!("{text:?}") };
    assert_eq!((first.since_start, second.since_start), (SinceStart::Yes, SinceStart::No));
    let load = first.load.expect("the load");
    assert_eq!((load.averages, load.running, load.total), ([480, 586, 375], 3, 91));
    assert_eq!((first.cpus[0].softirq, second.cpus[0].user, second.cpus[0].idle), (0.5, 12.5, 85.0));
    assert_eq!((first.tasks[0].state, first.tasks[0].cpu), (Some(b'D'), Some(113.3)));
    assert_eq!((second.tasks[0].state, second.tasks[0].cpu), (Some(b'R'), Some(12.0)));
}

#[test]
fn rows_of_iotop_c_and_what_their_command_lines_name() {
    let text = "  Total DISK READ:    0.00 B/s |   Total DISK WRITE:    2.00 M/s | Tue Dec  1 03:13:07 2026\n\
        Current DISK READ:    0.00 B/s | Current DISK WRITE:    0.00 B/s\n\
           TID PRIO     USER   DISK READ  DISK WRITE SWAPIN     IO COMMAND\n\
        70937 be/4 root          0.00 B/s    1.50 M/s 0.00 % 0.00 % fio --rw=write --filename=/srv/iotest\n\
           71 be/4 root          0.00 B/s    0.50 M/s 0.00 % 0.00 % dd if=/dev/zero of=/srv/zeros\n\
          Total DISK READ:    0.00 B/s |   Total DISK WRITE:    2.00 M/s | Tue Dec  1 03:13:08 2026\n\
        70937 be/4 root          0.00 B/s    1.25 M/s 0.00 % 0.00 % fio --rw=write\n";
    let text = parse(text.as_bytes());
    let [first, second] = text.blocks.as_slice() else { panic!("{text:?}") };
    assert_eq!((first.source, first.stamp.clock, second.stamp.clock), (Source::Iotop, 11_587.0, 11_588.0));
    let [fio, dd] = first.tasks.as_slice() else { panic!("{first:?}") };
    assert_eq!((fio.id, fio.written, dd.id), (70937, Some(1.5 * 1_048_576.0), 71));
    let files = |task: &Task| task.files.iter().map(|(file, flags)| (file.to_string(), *flags)).collect::<Vec<_>>();
    assert_eq!(files(fio), [("/srv/iotest".to_owned(), None)]);
    assert_eq!(files(dd), [("/dev/zero".to_owned(), Some(0)), ("/srv/zeros".to_owned(), Some(1))]);
}

#[test]
fn iostat_for_people() {
    let text = "Linux 6.1.0 (vm) \t12/01/26 \t_x86_64_\t(2 CPU)\n\n12/01/26 03:13:07\n\
        avg-cpu:  %user   %nice %system %iowait  %steal   %idle\n          61.1%    3.1%   17.1%    0.4%    0.1%   18.2%\n\n\
             r/s     rkB/s   rrqm/s  %rrqm r_await rareq-sz Device\n   78.27      2.5M     5.86   7.0%    0.09    32.3k vda\n\n\
             w/s     wkB/s   wrqm/s  %wrqm w_await wareq-sz Device\n    5.00     20.0k     0.00   0.0%    1.00     4.0k vda\n\n\
             f/s f_await  aqu-sz  %util Device\n    0.00    0.00    0.05   6.9% vda\n";
    let text = parse(text.as_bytes());
    let [block] = text.blocks.as_slice() else { panic!("{text:?}") };
    assert_eq!((block.cpus[0].user, block.cpus[0].idle), (61.1, 18.2));
    let [vda] = block.disks.as_slice() else { panic!("{block:?}") };
    assert_eq!(
        (vda.reads, vda.read_kb, vda.writes, vda.written_kb),
        (Some(78.27), Some(2560.0), Some(5.0), Some(20.0))
    );
    assert_eq!((vda.write_wait, vda.queue, vda.util), (Some(1.0), Some(0.05), Some(6.9)));
}

#[test]
fn top_and_vmstat_of_other_languages() {
    let text = "top - 03:59:21 up  8:02,  0 user,  load average: 17,31, 14,21, 12,67\n\
        Tâches: 158 total,   4 en cours, 154 en veille,   0 arrêté,   0 zombie\n\
        %CPU(s): 50,0 ut, 33,3 sy, 16,7 ni,  0,0 id,  0,0 wa,  0,0 hi,  0,0 si,  0,0 st\n\
        MiB Mem :  24105,6 total,    746,5 libr,   7832,4 util,  16161,5 tamp/cache\n\n    \
        PID UTIL.     PR  NI    VIRT    RES    SHR S  %CPU  %MEM    TEMPS+ COM.\n \
        255294 root      20   0 2064416 468088  89792 D  22,2   1,9   0:17.19 rustc\n\n\
        top - 04:00:00 up  8:03,  0 user,  load average: 18.15, 14.78, 12.93\n\
        任务: 171 total,   2 running, 169 sleeping,   0 stopped,   0 zombie\n\
        %Cpu(s):  0.0 us,  0.0 sy,  0.0 ni,100.0 id,  0.0 wa,  0.0 hi,  0.0 si,  0.0 st\n \
        进程号 USER      PR  NI    VIRT    RES    SHR    %CPU  %MEM     TIME+ COMMAND\n \
        256377 root      20   0 2297948   1.3g 313932 S  20.7   5.4   0:09.71 rustc\n";
    let text = parse(text.as_bytes());
    let [one, two] = text.blocks.as_slice() else { panic!("{text:?}") };
    let load = one.load.expect("the load");
    assert_eq!((load.averages, load.total, load.running), ([1731, 1421, 1267], 158, 4));
    assert_eq!((one.cpus[0].user, one.cpus[0].system, one.cpus[0].nice, two.cpus[0].idle), (50.0, 33.3, 16.7, 100.0));
    let task = |task: &Task| (task.id, task.name.to_string(), task.state, task.cpu);
    assert_eq!(task(&one.tasks[0]), (255_294, "rustc".to_owned(), Some(b'D'), Some(22.2)));
    assert_eq!(task(&two.tasks[0]), (256_377, "rustc".to_owned(), Some(b'S'), Some(20.7)));
    assert_eq!(two.running, Some(2));
    for names in ["swpd   frei   buff  Cache", "交换 空闲 缓冲 缓存"] {
        let text = format!(
            "procs -----------memory---------- ---swap-- -----io---- -system-- ------cpu----- ----Zeitstempel----\n \
            r  b   {names}   si   so    bi    bo   in   cs us sy id wa st                 UTC\n\
            18  0      0 199332 700920 16218940    0    0  4277 10043  594 1517 66 17 17  0  0 2026-12-01 03:59:19\n"
        );
        let text = parse(text.as_bytes());
        assert_eq!((text.blocks[0].cpus[0].user, text.blocks[0].running), (66.0, Some(18)), "{names}");
    }
}

#[test]
fn where_commas_are_in_numbers_the_day_comes_first() {
    let of = |number: &str| {
        let text = format!(
            "Linux 6.1 (vm) \t01/12/2026 \t_x86_64_\t(2 CPU)\n\n03:59:11        CPU     %user     %nice   %system   %iowait    %steal     %idle\n\
            03:59:12        all     {number}      2{sep}90     36{sep}23      0{sep}00      0{sep}00      0{sep}00\n",
            sep = &number[2..3]
        );
        parse(text.as_bytes()).blocks[0].stamp.date.map(|date| (date.month, date.day))
    };
    assert_eq!((of("60,87"), of("60.87")), (Some((12, 1)), Some((1, 12))));
}

#[test]
fn tables_of_sar_that_are_not_read_end_those_before() {
    let text = "Linux 6.1 (vm) \t12/01/26 \t_x86_64_\t(2 CPU)\n\n13:12:10        CPU     %user     %nice   %system   %iowait    %steal     %idle\n\
        13:12:11        all     47.26      1.49      3.98      4.98      0.00     42.29\n\n\
        13:12:10    kbmemfree   kbavail kbmemused  %memused kbbuffers  kbcached  kbcommit\n\
        13:12:11      8846304  22762664   1448608      5.87     62300  13794072    144264\n\n\
        13:12:10          DEV       tps     rkB/s     wkB/s   areq-sz    aqu-sz     await     %util\n\
        13:12:11          vda    218.00    196.00 203776.00   1875.10      0.15      0.67     14.00\n\n\
        13:12:10        IFACE   rxpck/s   txpck/s    rxkB/s    txkB/s   rxcmp/s   txcmp/s  rxmcst/s   %ifutil\n\
        13:12:11         eth0      1.00      2.00      3.00      4.00      0.00      0.00      0.00      0.00\n";
    let block = one(text);
    assert_eq!((block.cpus.len(), block.cpus[0].number), (1, None));
    assert_eq!(block.disks.iter().map(|disk| disk.name.to_string()).collect::<Vec<_>>(), ["vda"]);
    // With -p the name comes last.
    let pretty = one(
        "12/01/26 13:12:10          tps     rkB/s     wkB/s     await     %util DEV\n12/01/26 13:12:11       218.00    196.00 203776.00      0.67     14.00 vda\n",
    );
    assert_eq!((pretty.disks[0].name.to_string(), pretty.disks[0].util), ("vda".to_owned(), Some(14.0)));
}

#[test]
fn dstat_with_its_commas() {
    let head = "\"Dstat 0.8.0 CSV output\"\n\"Author:\",\"A, B <a@b>\",,,,\"URL:\",\"http://host/\"\n\"Host:\",\"vm\",,,,\"User:\",\"root\"\n\
        \"Cmdline:\",\"dstat -tcdr -D total,vda\",,,,\"Date:\",\"01 Dec 2026 13:15:45 UTC\"\n";
    let text = format!(
        "{head}\"system\",\"total cpu usage\",,,,,\"load avg\",,,\"io/total\",,\"io/vda\",,\"dsk/total\",,\"dsk/vda\",,\"procs\",,\n\
        \"time\",\"usr\",\"sys\",\"idl\",\"wai\",\"stl\",\"1m\",\"5m\",\"15m\",\"io/total:read\",\"io/total:writ\",\"io/vda:read\",\"io/vda:writ\",\"dsk/total:read\",\"dsk/total:writ\",\"dsk/vda:read\",\"dsk/vda:writ\",\"run\",\"blk\",\"new\"\n\
        01-12 13:15:45,39.831,14.957,43.230,1.841,0.141,2.580,3.580,5.960,1228.342,462.973,122.145,307.074,42323732,47431183,5282858,42330236,2,0,65.301\n\
        01-12 13:15:46,68.812,28.713,1.980,0.495,0,2.580,3.580,5.960,5665,228,100,167,202064896,36827136,1245184,36376576,3,1,0\n\
        01-12 13:15:47,91.0"
    );
    let read = parse(text.as_bytes());
    let [first, block] = read.blocks.as_slice() else { panic!("{read:?}") };
    assert_eq!((first.since_start, block.since_start), (SinceStart::Yes, SinceStart::No));
    assert_eq!((block.source, block.cpus[0].user, block.cpus[0].idle), (Source::Dstat, 68.812, 1.98));
    assert_eq!(block.stamp.date, Some(Date { year: 2026, month: 12, day: 1 }));
    let [disk] = block.disks.as_slice() else { panic!("{:?}", block.disks) };
    assert_eq!((disk.reads, disk.writes, disk.read_kb), (Some(100.0), Some(167.0), Some(1216.0)));
    assert_eq!((block.running, block.blocked, block.made), (Some(3), Some(1), Some(0.0)));
    assert_eq!(block.load.map(|load| load.averages), Some([258, 358, 596]));
    let epoch = one(
        "\"epoch\",\"total cpu usage\",,,,\n\"epoch\",\"usr\",\"sys\",\"idl\",\"wai\",\"stl\"\n1796130948.882,95.500,3.500,1,0,0\n",
    );
    assert_eq!((epoch.stamp.epoch, epoch.cpus[0].user), (Some(1_796_130_948.882), 95.5));
}

#[test]
fn screens_of_atop() {
    let text = "ATOP - vm      2026/12/01  13:12:10      -----------------      1h56m17s elapsed\n\
        CPU | sys      30% | user     78% | irq       1% | idle     88% | wait      4% |\n\
        *** System and Process Activity since Boot ***                      Rawfile view\n\
        \x20 PID SYSCPU USRCPU BDELAY  VGROW  RGROW  RDDSK  WRDSK  CPU CMD            \n11159  1.49s 91.56s  0.00s   2.1G   1.2G  23.6M  24.0K   1% rustc          \n\n\
        ATOP - vm        2026/12/01  13:12:20        -----------------       10s elapsed\n\
        CPU | sys       7% | user     99% | irq       1% | idle     86% | wait      9% |\n\
        cpu | sys       5% | user     95% | irq       0% | idle      0% | cpu001 w  0% |\n\
        CPL | numcpu     2 | avg1    2.00 | avg5    4.85 | csw    784e1 | intr     777 |\n\
        DSK |          vda | busy     14% | read      16 | write    199 | avio 0.65 ms |\n\
        LVM |      vg-root | busy     14% | read      16 | write    199 | avio 0.65 ms |\n\n\
        \x20 PID SYSCPU USRCPU BDELAY  VGROW  RGROW  RDDSK  WRDSK  CPU CMD        1/2\n\
        11159  0.03s  0.94s  0.00s 224.0M 104.1M     0B   8.0K  99% tmux: server   \n\
        12071  0.02s  0.00s      -     0K     0K      -      -   2% <dd>           \n";
    let read = parse(text.as_bytes());
    let [boot, block] = read.blocks.as_slice() else { panic!("{read:?}") };
    assert_eq!((boot.since_start, boot.interval), (SinceStart::Yes, Some(6977.0)));
    assert_eq!((block.source, block.since_start, block.interval), (Source::Atop, SinceStart::No, Some(10.0)));
    let cpus: Vec<_> = block.cpus.iter().map(|cpu| (cpu.number, cpu.system, cpu.iowait)).collect();
    assert_eq!((cpus.as_slice(), read.cpus), (&[(None, 8.0, 9.0), (Some(1), 5.0, 0.0)][..], Some(2)));
    let [disk] = block.disks.as_slice() else { panic!("{:?}", block.disks) };
    // What a read took is not told.
    assert_eq!((disk.reads, disk.writes, disk.util, disk.wait), (Some(1.6), Some(19.9), Some(14.0), None));
    let tasks: Vec<_> =
        block.tasks.iter().map(|task| (task.id, task.name.to_string(), task.cpu, task.written)).collect();
    let expected =
        [(11159, "tmux: server".to_owned(), Some(99.0), Some(819.2)), (12071, "dd".to_owned(), Some(2.0), None)];
    assert_eq!((tasks.as_slice(), block.switches), (&expected[..], Some(784.0)));
}

#[test]
fn a_log_is_none() {
    for other in [
        "Jun 12 10:36:03 host kernel: sda: Device not ready\nJun 12 10:36:04 host sshd[7]: R 1 2 3 x\n",
        "Tue Jun 12 10:36:03 CST 2018\nhello\n",
        "procs: 5\nCPU 0 1 2\nr b swpd\n",
        "Device: sda\nsda 1 2 3\n",
        "",
    ] {
        assert!(!is_one(other.as_bytes()), "{other}");
    }
}

proptest::proptest! {
    #[test]
    fn never_panics(bytes: Vec<u8>, text in "((06/12/18 )?[0-9:年月日. APM-]{0,20}(\n|Device|CPU|%user|PID|UID|Command|top -|be/4|B/s|r b us id|[0-9., ]{0,9}){0,8}\n){0,8}") {
        let _ = (parse(&bytes), parse(text.as_bytes()));
    }

    #[test]
    fn never_panics_on_json(text in "\\{\"sysstat\": ?(\"nodename\"|\"statistics\": ?\\[|\\{\"timestamp\": ?\"13:12:1[0-9]\"|,\"disk\": ?\\[|\"cpu-load\"|\"avg-cpu\"|\"util\": ?|-?[0-9]{1,3}[.,][0-9]{2}|[{}:, \\]\\[]){0,30}") {
        let _ = parse(text.as_bytes());
    }

    #[test]
    fn never_panics_on_screens(text in "(ATOP - vm 2026/12/01 13:12:1[0-9] -- [0-9]{1,3}[smhd]?s elapsed\n|(CPU|cpu|DSK|CPL) \\|( (sys|user|idle|cpu0 w|busy|vda|csw) +-?[0-9]{0,4}[%e]?[0-9]? \\|){0,5}\n|PID CPU RDDSK CMD\n|[0-9]{1,12} [0-9.]{0,4}% [0-9]{0,3}[KB-] <?x>?\n|\"(time|epoch|system|io/vda|usr|idl)?\",|\n|[0-9.]{1,12},){0,20}") {
        let _ = parse(text.as_bytes());
    }

    #[test]
    fn never_panics_on_spoiled_text(at: prop::sample::Index, byte: u8) {
        let mut text = include_bytes!("../../../../sickbay/tests/collected/e-book-io.txt").to_vec();
        let place = at.index(text.len());
        text[place] = byte;
        let _ = parse(&text);
    }
}

#[test]
fn json_of_sysstat() {
    let head = "{\"sysstat\": {\n\t\"hosts\": [\n\t\t{\n\t\t\t\"nodename\": \"vm\", \"sysname\": \"Linux\", \"release\": \"6.1.0\", \"machine\": \"x86_64\",\n\t\t\t\"number-of-cpus\": 2,\n\t\t\t\"date\": \"12/01/26\",\n\t\t\t\"statistics\": [\n";
    let iostat = format!(
        "{head}{{\"timestamp\": \"12/01/26 13:12:10\", \"avg-cpu\": {{\"user\": 18.88, \"nice\": 19.95, \"system\": 15.42, \"iowait\": 1.84, \"steal\": 0.14, \"idle\": 43.77}}, \"disk\": [\
        {{\"disk_device\": \"vda\", \"r/s\": 170.50, \"w/s\": 7.64, \"rkB/s\": 5889.22, \"wkB/s\": 476.86, \"rrqm/s\": 106.68, \"wrqm/s\": 13.04, \"rrqm\": 38.49, \"r_await\": 0.13, \"w_await\": 0.48, \"aqu-sz\": 0.03, \"util\": 104.93}}]}},\n\
        {{\"timestamp\": \"12/01/26 13:12:11\", \"avg-cpu\": {{\"user\": 1"
    );
    let read = parse(iostat.as_bytes());
    // It was stopped in the middle of the second one.
    let [block] = read.blocks.as_slice() else { panic!("{read:?}") };
    assert_eq!((read.node.as_ref(), read.cpus), (Some(&BString::from("vm")), Some(2)));
    assert_eq!(
        (block.source, block.since_start, block.lumped),
        (Source::Iostat, SinceStart::Perhaps, Lumped::Interrupts)
    );
    assert_eq!((block.cpus[0].user, block.cpus[0].idle), (18.88, 43.77));
    let disk = &block.disks[0];
    assert_eq!((disk.name.clone(), disk.reads, disk.read_kb), ("vda".into(), Some(170.5), Some(5889.22)));
    assert_eq!((disk.merged, disk.write_wait, disk.util), ([Some(106.68), Some(13.04)], Some(0.48), Some(104.93)));
    // Where the locale has commas.
    let commas = with_commas(&iostat);
    assert_eq!(parse(commas.as_bytes()).blocks[0].disks, block.disks);
    let mpstat = format!(
        "{head}{{\"timestamp\": \"13:12:11\", \"cpu-load\": [\
        {{\"cpu\": \"all\", \"usr\": 46.77, \"nice\": 1.99, \"sys\": 4.48, \"iowait\": 4.98, \"irq\": 0.00, \"soft\": 1.00, \"steal\": 0.00, \"guest\": 2.00, \"gnice\": 0.00, \"idle\": 41.79}},\
        {{\"cpu\": \"1\", \"usr\": 94.00, \"nice\": 0.00, \"sys\": 6.00, \"iowait\": 0.00, \"irq\": 0.00, \"soft\": 0.00, \"steal\": 0.00, \"guest\": 0.00, \"gnice\": 0.00, \"idle\": 0.00}}]}}]}}]}}}}\n"
    );
    let block = one(&mpstat);
    let cpus: Vec<_> = block.cpus.iter().map(|cpu| (cpu.number, cpu.user, cpu.softirq)).collect();
    assert_eq!(cpus, [(None, 48.77, 1.0), (Some(1), 94.0, 0.0)]);
    assert_eq!((block.source, block.lumped), (Source::Sar, Lumped::Nothing));
    assert_eq!(block.stamp.date, Some(Date { year: 2026, month: 12, day: 1 }));
    let sadf = format!(
        "{head}{{\"timestamp\": {{\"date\": \"2026-12-01\", \"time\": \"13:12:11\", \"utc\": 1, \"interval\": 600}},\
        \"process-and-context-switch\": {{\"proc\": 3.50, \"cswch\": 786.00}},\
        \"queue\": {{\"runq-sz\": 3, \"plist-sz\": 105, \"ldavg-1\": 2.00, \"ldavg-5\": 4.85, \"ldavg-15\": 6.92, \"blocked\": 1}},\
        \"disk\": [{{\"disk-device\": \"vda\", \"tps\": 218.00, \"rkB\": 196.00, \"wkB\": 203776.00, \"aqu-sz\": 0.15, \"await\": 0.67, \"util-percent\": 14.00}}]}}]}}]}}}}"
    );
    let block = one(&sadf);
    let disk = &block.disks[0];
    assert_eq!((disk.transfers, disk.read_kb, disk.written_kb), (Some(218.0), Some(196.0), Some(203_776.0)));
    assert_eq!((disk.queue, disk.wait, disk.util), (Some(0.15), Some(0.67), Some(14.0)));
    assert_eq!(
        (block.began.map(|began| began.clock), block.made, block.blocked, block.stamp.offset),
        (Some(46_931.0), Some(3.5), Some(1), Some(0))
    );
    assert_eq!(block.load.map(|load| (load.averages, load.running)), Some(([200, 485, 692], 3)));
    // Its beginning is enough to know it.
    assert!(is_one(head.as_bytes()) && is_one(b"{ \"sysstat\" :"));
    assert!(!is_one(b"{\"hosts\": [{\"statistics\": []}]}"));
}

/// With a comma between the digits of each number.
fn with_commas(text: &str) -> String {
    let bytes: Vec<char> = text.chars().collect();
    let is_digit = |at: usize| bytes.get(at).is_some_and(char::is_ascii_digit);
    let comma = |(at, c): (usize, &char)| match c {
        '.' if at > 0 && is_digit(at - 1) && is_digit(at + 1) => ',',
        c => *c,
    };
    bytes.iter().enumerate().map(comma).collect()
}
